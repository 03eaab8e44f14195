//! Start, second by second, stop.
//!
//! The order of the start is the order of what can fail without a trace: outputs, module, device, rings. The stop is
//! the reverse, so that nothing is lost on the way out: the capture ends, the loops drain their rings, the output
//! thread drains its queue, the module goes if this program brought it.

use super::clock::SharedClock;
use super::config::Config;
use super::drops::{self, Monitor};
use super::fleet::Fleet;
use super::log::{self, Level};
use super::plan::Plan;
use super::record::{Recorder, Tap};
use super::signals::Signals;
use super::statistics;
use super::watch::{Seen, Shared, Watch};
use crate::driver::ring::Counters;
use crate::driver::{Device, abi, load, seed};
use crate::enrich::users::Users;
use crate::event::live::Host;
use crate::output::alert::{EventTime, Style, Writer};
use crate::output::channel::{Channel, Output};
use crate::output::queue;
use crate::rules::Priority;
use nix::sys::signal::Signal;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How a run is to go.
pub struct Run<'c> {
    pub config: &'c Config,
    pub plan: Plan,
    pub style: Style,
    /// Load this file rather than the installed module.
    pub module: Option<PathBuf>,
    /// Neither load nor unload.
    pub no_load: bool,
    /// Let the module leave out events that no rule can match.
    pub pushdown: bool,
    /// Record everything to this file.
    pub record: Option<PathBuf>,
    /// Stop after this long.
    pub duration: Option<Duration>,
}

/// Outputs get this long to take what is queued when the run ends.
const PATIENCE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// Watches until a signal or the end of the duration. What it returns is the sentence for the operator.
pub fn run(run: Run<'_>) -> Result<(), String> {
    let signals = Signals::block().map_err(text)?;
    let config = run.config;
    let (sender, queue) = queue::bounded(config.queue_capacity);
    let output = Output::start(queue, channels(config)?, config.buffered).map_err(text)?;

    let loaded = if run.no_load { None } else { Some(load::load(run.module.as_deref()).map_err(text)?) };
    let device = Device::open().map_err(text)?;
    let clock = SharedClock::default();
    clock.update(|| device.info().map(|info| info.clock)).map_err(text)?;
    let driver = run.plan.driver;
    let matches: Box<[AtomicU64]> = run.plan.forms.iter().map(|_| AtomicU64::new(0)).collect();
    let shared = Arc::new(Shared {
        plan: run.plan,
        path_views: config.path_views,
        match_all: config.match_all,
        pushdown: run.pushdown,
        clock,
        matches,
    });
    let recorder = recorder(run.record.as_deref(), config)?;
    let make = {
        let tap = recorder.as_ref().map(Recorder::tap);
        let (shared, style, sender) = (shared.clone(), run.style.clone(), sender.clone());
        let root = host_root();
        move |cpu| {
            let host = Host::new(Users::new(&root), shared.clock.get(), &style.hostname, cpu);
            let watch = Watch::new(shared.clone(), host, style.clone(), sender.clone());
            watch.recorded_by(tap.as_ref().map(Tap::another))
        }
    };
    let fleet = Fleet::start(device, &driver, Box::new(make)).map_err(text)?;
    let seeded = seed::seed(fleet.device(), &host_root().join("proc"), driver.features & abi::FSN_CAP_ENV != 0);
    log::write(Level::Debug, format_args!("told the module of {} older processes", seeded.told));
    recorder.iter().for_each(Recorder::begin);
    log::ready(fleet.cpus());

    let mut control = Control {
        fleet,
        shared: &shared,
        sender,
        output: &output,
        writer: Writer::new(run.style),
        monitor: Monitor::new(config.drops.clone(), Instant::now()),
        timeout: Duration::from_millis(config.output_timeout_ms),
        blocked: false,
        queue_drops: 0,
        reopen: false,
        cpu_trouble: false,
    };
    let result = control.watch(&signals, run.duration.map(|d| Instant::now() + d));
    let finished = control.finish();
    recorder.into_iter().for_each(Recorder::finish);
    finish_outputs(output);
    finished.report(&shared);
    let unloaded = loaded.map_or(Ok(()), |loaded| loaded.unload().map_err(text));
    result.and(unloaded)
}

/// What records, when anything is to be or may be recorded.
fn recorder(all: Option<&Path>, config: &Config) -> Result<Option<Recorder>, String> {
    if all.is_none() && config.capture.is_none() {
        return Ok(None);
    }
    let failed = |error| format!("{}: {error}", all.unwrap_or(Path::new("the recorder")).display());
    Recorder::start(all, config.capture.clone(), &host_root()).map(Some).map_err(failed)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where the host's root file system is, seen from here.
fn host_root() -> PathBuf {
    std::env::var_os("HOST_ROOT").filter(|root| !root.is_empty()).map_or_else(|| Path::new("/").into(), PathBuf::from)
}

/// The name alerts carry: `FALCO_HOSTNAME`, or what the host calls itself.
pub fn hostname() -> String {
    std::env::var("FALCO_HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| {
        nix::unistd::gethostname().map_or_else(|_| "<NA>".to_owned(), |name| name.to_string_lossy().into_owned())
    })
}

pub(super) fn channels(config: &Config) -> Result<Vec<Channel>, String> {
    let mut channels = Vec::new();
    if config.stdout {
        channels.push(Channel::Stdout);
    }
    if let Some(file) = &config.file {
        let opened = Channel::file(file.path.clone(), file.keep_alive);
        channels.push(opened.map_err(|e| format!("file_output.filename: {}: {e}", file.path.display()))?);
    }
    if let Some(program) = &config.program {
        channels.push(Channel::program(program.command.clone(), program.keep_alive));
    }
    if config.syslog {
        channels.push(Channel::syslog());
    }
    if channels.is_empty() {
        return Err(
            "no output is enabled: set stdout_output.enabled, syslog_output.enabled, file_output.enabled or program_output.enabled to true"
                .to_owned(),
        );
    }
    Ok(channels)
}

struct Control<'r> {
    fleet: Fleet<Watch>,
    shared: &'r Shared,
    sender: queue::Sender,
    output: &'r Output,
    writer: Writer,
    monitor: Monitor,
    timeout: Duration,
    /// The output's blocking was logged.
    blocked: bool,
    /// Alerts dropped by the queue as logged last.
    queue_drops: u64,
    /// Outputs are still to be reopened.
    reopen: bool,
    cpu_trouble: bool,
}

impl Control<'_> {
    fn watch(&mut self, signals: &Signals, end: Option<Instant>) -> Result<(), String> {
        let mut tick = Instant::now() + SECOND;
        loop {
            let next = end.map_or(tick, |end| tick.min(end));
            match signals.wait(next.saturating_duration_since(Instant::now())) {
                Some(Signal::SIGUSR1) => self.reopen = true,
                Some(Signal::SIGHUP) => log::write(
                    Level::Warning,
                    format_args!("SIGHUP: this version does not reload; restart it to read the files again"),
                ),
                Some(signal) => {
                    log::write(Level::Info, format_args!("{signal}: stopping"));
                    return Ok(());
                }
                None => {}
            }
            self.reopen &= !self.sender.reopen();
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            if now >= tick {
                tick = now + SECOND;
                self.second(now)?;
            }
        }
    }

    fn second(&mut self, now: Instant) -> Result<(), String> {
        if self.fleet.is_broken() {
            return Err("a loop has ended by itself, see above: stopping".to_owned());
        }
        let device = self.fleet.device();
        self.shared.clock.update(|| device.info().map(|info| info.clock)).map_err(text)?;
        match self.fleet.adopt_new_cpus() {
            Ok(0) => self.cpu_trouble = false,
            Ok(count) => log::write(Level::Notice, format_args!("{count} CPUs came online and are watched")),
            Err(error) if !self.cpu_trouble => {
                self.cpu_trouble = true;
                log::write(Level::Error, format_args!("a CPU that came online is not watched: {error}"));
            }
            Err(_) => {}
        }
        self.outputs();
        let counters = self.counters()?;
        self.losses(&counters, now)
    }

    fn counters(&self) -> Result<Counters, String> {
        let mut counters = self.fleet.counters();
        counters.drops[abi::FSN_DROP_NO_RING as usize] += self.fleet.device().info().map_err(text)?.no_ring;
        Ok(counters)
    }

    fn outputs(&mut self) {
        let busy = self.output.busy_for().filter(|busy| *busy > self.timeout);
        if let Some(busy) = busy
            && !self.blocked
        {
            log::write(Level::Critical, format_args!("an output has been blocked for {} ms", busy.as_millis()));
        }
        self.blocked = busy.is_some();
        let dropped = self.sender.dropped();
        if dropped > self.queue_drops {
            let count = dropped - self.queue_drops;
            log::write(Level::Error, format_args!("{count} alerts were dropped: the output queue is full"));
            self.queue_drops = dropped;
        }
    }

    fn losses(&mut self, counters: &Counters, now: Instant) -> Result<(), String> {
        let verdict = self.monitor.second(counters, now);
        let lost: u64 = verdict.lost.iter().sum();
        if lost > 0 {
            let causes = drops::describe(&verdict.lost);
            log::write(Level::Notice, format_args!("events lost in the last second: {causes}"));
        }
        let time = EventTime { ns: wall_now(), utc_offset: self.shared.clock.get().utc_offset };
        let sender = &self.sender;
        drops::act(&verdict, &mut self.writer, time, &mut |line| {
            sender.alert(line, Priority::Debug);
        })
    }

    /// Ends the capture; the loops drain their rings and let go of the queue.
    fn finish(self) -> Finished {
        let no_ring = self.fleet.device().info().map_or(0, |info| info.no_ring);
        let (watches, mut counters) = self.fleet.stop();
        counters.drops[abi::FSN_DROP_NO_RING as usize] += no_ring;
        let mut seen = Seen::default();
        watches.iter().for_each(|watch| seen += watch.seen());
        Finished {
            seen,
            counters,
            queue_drops: self.sender.dropped(),
            occurrences: self.monitor.occurrences,
            actions_taken: self.monitor.actions_taken,
        }
    }
}

fn wall_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// What a run amounts to.
struct Finished {
    seen: Seen,
    counters: Counters,
    queue_drops: u64,
    occurrences: u64,
    actions_taken: u64,
}

impl Finished {
    fn report(&self, shared: &Shared) {
        let counts: Vec<u64> = shared.matches.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        // Whoever read the alerts may be gone.
        let _ = std::io::stdout().write_all(statistics::alerts(&shared.plan.forms, &counts).as_bytes());
        let (c, seen) = (&self.counters, &self.seen);
        log::write(
            Level::Info,
            format_args!(
                "statistics: {} events, {} task and {} exec records, {} wake-ups; {} events that no rule could match were \
                 not sent; lost {}; {} events without task, {} broken records, {} damaged places; {} alerts dropped",
                c.events,
                c.tasks,
                c.execs,
                c.wakeups,
                c.filtered[abi::FSN_FILTERED_MASK as usize],
                drops::describe(&c.drops),
                seen.without_task,
                seen.broken,
                seen.damaged,
                self.queue_drops
            ),
        );
        report_drop_monitor(self.occurrences, self.actions_taken);
    }
}

/// What `syscall_event_drops` did in a run, in Falco's words.
pub(super) fn report_drop_monitor(occurrences: u64, taken: u64) {
    log::write(
        Level::Info,
        format_args!(
            "syscall event drop monitoring: event drop detected: {occurrences} occurrences, num times actions taken: {taken}"
        ),
    );
}

/// Waits for the outputs to take what is queued, within reason; the senders must be gone.
pub(super) fn finish_outputs(output: Output) {
    if !output.finish(PATIENCE) {
        log::write(Level::Error, format_args!("an output is blocked: alerts that were waiting for it are lost"));
    }
}
