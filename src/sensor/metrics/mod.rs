//! What the sensor tells of itself: numbers for Prometheus, and the snapshots of `metrics.output_rule` and `metrics.output_file`.
//!
//! [`table`] names them all, [`Telemetry`] knows where each comes from, [`text`] writes them. Whoever asks gets the numbers of that
//! moment: the counters are read from the memory the module counts in and from words the loops store now and then. Invariant:
//! asking touches no loop; counters only grow, whatever is reloaded.

mod host;
pub mod settings;
pub mod table;
pub mod text;

use super::drops;
use super::prepare::Inputs;
use super::tally::Tally;
use super::watch::{Published, Seen};
use crate::driver::abi;
use crate::driver::device::{Info, Mapped};
use crate::driver::ring::{self, Counters, Memory};
use crate::output::queue::Sender;
use serde_json::Value;
pub use settings::Settings;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use table::{Group, Row};

/// One number.
#[derive(Debug)]
pub struct Sample {
    pub row: &'static Row,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// Where the numbers come from.
pub struct Telemetry {
    hostname: String,
    kernel: String,
    engine: &'static str,
    host: host::Host,
    started: (SystemTime, Instant),
    ticks: host::Ticks,
    state: Mutex<State>,
}

/// What changes while the sensor runs.
pub struct State {
    pub inputs: Inputs,
    pub tally: Tally,
    pub running: usize,
    pub loaded: SystemTime,
    pub reloads: [u64; 2],
    pub queue: Option<Sender>,
    /// Alerts dropped by queues there were before.
    pub dropped_before: u64,
    /// Of the module, as it was asked last.
    pub module: Option<Info>,
    /// Memory of the rings; empty before the loops run and after.
    pub rings: Vec<(u32, Arc<Mapped>)>,
    loops: BTreeMap<u32, Arc<Published>>,
    last: Snapshot,
}

/// What the next snapshot compares with.
#[derive(Clone, Copy, Debug, Default)]
struct Snapshot {
    number: u64,
    at: f64,
    events: u64,
    seen: u64,
    drops: u64,
}

impl Telemetry {
    /// `root` is where the host's file system is.
    pub fn new(hostname: &str, engine: &'static str, root: &Path) -> Telemetry {
        let host = host::Host::new(root);
        let ticks = host.ticks();
        let state = State {
            inputs: Inputs::default(),
            tally: Tally::default(),
            running: 0,
            loaded: SystemTime::now(),
            reloads: [0, 0],
            queue: None,
            dropped_before: 0,
            module: None,
            rings: Vec::new(),
            loops: BTreeMap::new(),
            last: Snapshot::default(),
        };
        let (hostname, kernel) = (hostname.to_owned(), host::Host::kernel());
        let started = (SystemTime::now(), Instant::now());
        Telemetry { hostname, kernel, engine, host, started, ticks, state: Mutex::new(state) }
    }

    /// For what has changed. A thread that panicked has left words that belong together as they were or as they are.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the loop of a CPU stores what it has seen.
    pub fn of_loop(&self, cpu: u32) -> Arc<Published> {
        self.state().loops.entry(cpu).or_default().clone()
    }

    /// The numbers of these groups.
    pub fn collect(&self, groups: &[Group]) -> Vec<Sample> {
        let state = self.state();
        let mut samples = Samples { groups, samples: Vec::new() };
        self.always(&state, &mut samples);
        for rule in state.tally.rules() {
            let tags = rule.tags.iter().map(|tag| (format!("tag_{tag}"), "true".to_owned()));
            let name = || ("rule_name".to_owned(), rule.name.clone());
            let source = || ("source".to_owned(), rule.source.clone());
            if rule.count() > 0 {
                let labels = [name(), ("priority".to_owned(), (rule.priority as u8).to_string()), source()];
                let labels = labels.into_iter().chain(tags).collect();
                samples.push("falcosecurity_falco_rules_matches_total", labels, rule.count() as f64);
            }
            if !rule.time().is_zero() {
                let time = rule.time().as_secs_f64();
                samples.push("falco_sensor_rules_time_seconds_total", vec![name(), source()], time);
            }
        }
        if groups.contains(&Group::Resources) {
            for (name, value) in self.host.usage(self.ticks, self.started.1.elapsed().as_secs_f64()) {
                samples.add(name, value);
            }
        }
        state.module(&mut samples);
        state.rings(&mut samples);
        samples.samples
    }

    fn always(&self, state: &State, samples: &mut Samples<'_>) {
        let info = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        samples.push("falcosecurity_falco_version_info", info("version", env!("CARGO_PKG_VERSION")), 1.0);
        let files = [
            ("falcosecurity_falco_sha256_rules_files_info", &state.inputs.rules),
            ("falcosecurity_falco_sha256_config_files_info", &state.inputs.config),
        ];
        for (name, files) in files {
            for file in files {
                let path = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy();
                samples.push(name, [info("file_name", &path), info("sha256", &file.sha256)].concat(), 1.0);
            }
        }
        samples.push("falcosecurity_falco_kernel_release_info", info("kernel_release", &self.kernel), 1.0);
        samples.push("falcosecurity_evt_hostname_info", info("hostname", &self.hostname), 1.0);
        let source = info("evt_source", super::plan::SOURCE);
        samples.push("falcosecurity_scap_engine_name_info", [info("engine_name", self.engine), source].concat(), 1.0);
        let queue = state.queue.as_ref();
        let dropped = state.dropped_before + queue.map_or(0, Sender::dropped);
        samples.add("falcosecurity_falco_outputs_queue_num_drops_total", dropped as f64);
        samples.add("falco_sensor_outputs_queue_waiting", queue.map_or(0, Sender::waiting) as f64);
        for (outcome, count) in queue.map_or_else(Default::default, |queue| queue.limits().outcomes().to_vec()) {
            samples.push("falco_sensor_alert_limits_total", info("outcome", outcome), count as f64);
        }
        samples.add("falco_sensor_alert_limits_open", queue.map_or(0, |queue| queue.limits().open()) as f64);
        samples.add("falcosecurity_falco_reload_timestamp_nanoseconds", nanoseconds(state.loaded));
        samples.add("falcosecurity_falco_start_timestamp_nanoseconds", nanoseconds(self.started.0));
        samples.add("falcosecurity_falco_duration_seconds_total", self.started.1.elapsed().as_secs() as f64);
        samples.add("falcosecurity_falco_host_boot_timestamp_nanoseconds", self.host.boot() as f64);
        samples.add("falcosecurity_falco_host_num_cpus_total", crate::driver::cpus::online().len() as f64);
        for (result, count) in ["done", "refused"].into_iter().zip(state.reloads) {
            samples.push("falco_sensor_reloads_total", info("result", result), count as f64);
        }
        samples.add("falco_sensor_rules_loaded", state.running as f64);
    }

    /// The members of a snapshot; rates are since the one before.
    pub fn snapshot(&self, settings: &Settings) -> (u64, Vec<(String, Value)>) {
        let samples = self.collect(&settings.groups);
        let mut members = text::members(&samples, settings.megabytes, settings.empty_values);
        let mut state = self.state();
        let counters = state.counters();
        let drops = drops::lost(&counters);
        let now = Snapshot {
            number: state.last.number + 1,
            at: self.started.1.elapsed().as_secs_f64(),
            events: counters.events + drops,
            seen: state.seen().events,
            drops,
        };
        let last = std::mem::replace(&mut state.last, now);
        let matches: u64 = state.tally.rules().iter().map(super::tally::Counted::count).sum();
        drop(state);
        let rate = |now: u64, last: u64, seconds: f64| ((now.saturating_sub(last)) as f64 / seconds.max(0.001)).round();
        let seconds = now.at - last.at;
        let mut add = |name: &str, value: Value| {
            if settings.empty_values || !(value.as_f64() == Some(0.0) || value.as_str() == Some("")) {
                members.push((name.to_owned(), value));
            }
        };
        add("evt.source", super::plan::SOURCE.into());
        add("evt.time", text::number(nanoseconds(SystemTime::now())));
        add("scap.engine_name", self.engine.into());
        for (name, protocol, addresses) in host::Host::addresses() {
            add(&format!("falco.host_netinfo.interfaces.{name}.protocols.{protocol}.addresses"), addresses.into());
        }
        add("falco.num_evts", now.seen.into());
        add("falco.num_evts_prev", last.seen.into());
        add("falco.evts_rate_sec", text::number(rate(now.seen, last.seen, seconds)));
        if settings.groups.contains(&Group::Rules) {
            add("falco.rules.matches_total", matches.into());
        }
        if settings.groups.contains(&Group::Kernel) {
            let (events, lost) = (now.events - last.events.min(now.events), now.drops - last.drops.min(now.drops));
            add("scap.n_evts_prev", last.events.into());
            add("scap.evts_rate_sec", text::number(rate(now.events, last.events, seconds)));
            add("scap.n_drops_prev", last.drops.into());
            add("scap.evts_drop_rate_sec", text::number(rate(now.drops, last.drops, seconds)));
            add("scap.n_drops_perc", text::number(if events == 0 { 0.0 } else { 100.0 * lost as f64 / events as f64 }));
        }
        members.sort_by(|a, b| a.0.cmp(&b.0));
        (now.number, members)
    }
}

fn nanoseconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as f64
}

impl State {
    /// The module's, of all rings.
    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.rings.iter().for_each(|(_, memory)| sum += ring::counters(memory));
        sum.drops[abi::FSN_DROP_NO_RING as usize] += self.module.as_ref().map_or(0, |module| module.no_ring);
        sum
    }

    fn seen(&self) -> Seen {
        let mut sum = Seen::default();
        self.loops.values().for_each(|published| sum += published.get());
        sum
    }

    fn module(&self, samples: &mut Samples<'_>) {
        let (counters, seen) = (self.counters(), self.seen());
        if let Some(module) = &self.module {
            samples.add("falcosecurity_scap_n_threads_total", module.threads_live as f64);
            samples.add("falcosecurity_scap_n_drops_full_threadtable_total", module.no_memory as f64);
            samples.add("falco_sensor_images", module.execs_live as f64);
        }
        if self.rings.is_empty() {
            return;
        }
        samples.add("falco_sensor_task_records_total", counters.tasks as f64);
        samples.add("falco_sensor_exec_records_total", counters.execs as f64);
        samples.add("falco_sensor_events_without_task_total", seen.without_task as f64);
        samples.add("falco_sensor_broken_records_total", (seen.broken + seen.damaged) as f64);
        let lost = drops::lost(&counters);
        samples.add("falcosecurity_scap_n_evts_total", (counters.events + lost) as f64);
        samples.add("falcosecurity_scap_n_drops_total", lost as f64);
        samples.add("falcosecurity_scap_n_preemptions_total", counters.drops[abi::FSN_DROP_NESTED as usize] as f64);
        for (cause, word) in drops::CAUSES {
            let label = vec![("cause".to_owned(), word.replace(' ', "_"))];
            samples.push("falco_sensor_drops_total", label, counters.drops[cause as usize] as f64);
        }
        for (reason, word) in drops::FILTERED.into_iter().chain([(abi::FSN_FILTERED_SELF, "self")]) {
            let label = vec![("reason".to_owned(), word.to_owned())];
            samples.push("falco_sensor_filtered_total", label, counters.filtered[reason as usize] as f64);
        }
        samples.add("falco_sensor_wakeups_total", counters.wakeups as f64);
        samples.add("falco_sensor_faults_total", counters.faults as f64);
        samples.add("falco_sensor_truncated_total", counters.truncated as f64);
    }

    fn rings(&self, samples: &mut Samples<'_>) {
        if !samples.groups.contains(&Group::PerCpu) {
            return;
        }
        for (cpu, memory) in &self.rings {
            let counters = ring::counters(memory);
            let cpu = || vec![("cpu".to_owned(), cpu.to_string())];
            let lost = drops::lost(&counters);
            samples.push("falcosecurity_scap_n_evts_cpu_total", cpu(), (counters.events + lost) as f64);
            samples.push("falcosecurity_scap_n_drops_cpu_total", cpu(), lost as f64);
            for (cause, word) in drops::CAUSES.iter().filter(|(cause, _)| *cause != abi::FSN_DROP_NO_RING) {
                let labels = [cpu(), vec![("cause".to_owned(), word.replace(' ', "_"))]].concat();
                samples.push("falco_sensor_drops_cpu_total", labels, counters.drops[*cause as usize] as f64);
            }
            let filtered: u64 = drops::FILTERED.iter().map(|(stage, _)| counters.filtered[*stage as usize]).sum();
            samples.push("falco_sensor_filtered_cpu_total", cpu(), filtered as f64);
            samples.push("falco_sensor_ring_used_bytes", cpu(), ring::used(memory) as f64);
            samples.push("falco_sensor_ring_size_bytes", cpu(), f64::from(memory.size()));
        }
    }
}

struct Samples<'g> {
    groups: &'g [Group],
    samples: Vec<Sample>,
}

impl Samples<'_> {
    fn add(&mut self, name: &str, value: f64) {
        self.push(name, Vec::new(), value);
    }

    fn push(&mut self, name: &str, labels: Vec<(String, String)>, value: f64) {
        let row = table::find(name);
        debug_assert!(row.is_some(), "{name} is not in the table");
        if let Some(row) = row.filter(|row| row.group == Group::Always || self.groups.contains(&row.group)) {
            self.samples.push(Sample { row, labels, value });
        }
    }
}

#[cfg(test)]
mod tests;
