//! `--dump`: every record as a line on standard output. For tests of the module, and for looking at it.

use super::cpu_loop::Handler;
use super::fleet::Fleet;
use super::log;
use super::options::Options;
use crate::driver::abi::{self, fsn_config};
use crate::driver::ring::{Damage, Record};
use crate::driver::{Device, dump, load, seed, table};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

struct Printer {
    cpu: u32,
    lines: Vec<u8>,
}

impl Printer {
    fn flush(&mut self) {
        if !self.lines.is_empty() {
            // A reader that went away ends the output, not the run.
            let _ = std::io::stdout().lock().write_all(&self.lines);
            self.lines.clear();
        }
    }
}

impl Handler for Printer {
    type Order = std::convert::Infallible;

    fn order(&mut self, order: Self::Order) {
        match order {}
    }

    fn record(&mut self, record: Record<'_>) {
        let _ = writeln!(self.lines, "[{}] {}", self.cpu, dump::Line(record));
        if self.lines.len() > 1 << 16 {
            self.flush();
        }
    }

    fn damage(&mut self, damage: Damage) {
        let _ = writeln!(self.lines, "[{}] DAMAGE {damage}", self.cpu);
    }

    fn idle(&mut self) {
        self.flush();
    }
}

/// Prints records of `syscalls` until -M or a signal ends it.
pub fn run(options: &Options, syscalls: &str) -> Result<(), String> {
    let config = config(syscalls)?;
    let signals = super::signals::Signals::block().map_err(text)?;
    let loaded = if options.no_load { None } else { Some(load::load(options.module.as_deref()).map_err(text)?) };
    let device = Device::open().map_err(text)?;
    let fleet = Fleet::start(device, &config, Box::new(|cpu| Printer { cpu, lines: Vec::new() })).map_err(text)?;
    let seeded = seed::seed(fleet.device(), Path::new("/proc"), true);
    log::ready(fleet.cpus());
    let end = options.seconds.map(|s| Instant::now() + Duration::from_secs(s));

    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) || fleet.is_broken() {
            break;
        }
        if signals.wait(left.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1))).is_some() {
            break;
        }
    }
    let (_, counters) = fleet.stop();
    let _ = writeln!(std::io::stderr(), "seeded: {seeded:?}\ncounters: {counters:?}");
    loaded.map_or(Ok(()), |l| l.unload().map_err(text))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Everything on, for the named system calls.
fn config(syscalls: &str) -> Result<fsn_config, String> {
    let mut config = fsn_config {
        tracepoints: abi::FSN_TP_SYSCALLS | abi::FSN_TP_PROCEXIT,
        features: abi::FSN_CAP_ENV | abi::FSN_CAP_DATA | abi::FSN_CAP_LINEAGE,
        snaplen: 80,
        ring_bytes: 8 << 20,
        watermark: 64 << 10,
        latency_us: 10_000,
        wanted: [if syscalls == "all" { u64::MAX } else { 0 }; 8],
        ..fsn_config::default()
    };
    for name in syscalls.split(',').filter(|name| *name != "all" && !name.is_empty()) {
        let call = table::syscalls().iter().find(|s| table::syscall_name(s) == name);
        let sc = call.ok_or_else(|| format!("--dump: there is no system call '{name}'"))?.sc;
        config.wanted[usize::from(sc) / 64] |= 1 << (sc % 64);
    }
    Ok(config)
}
