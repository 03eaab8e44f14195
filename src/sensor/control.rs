//! The control thread of a run: signals, the clock, new CPUs, losses, outputs; second by second.
//!
//! It owns everything that a [`reload`](super::reload) replaces, so loops and outputs never have to agree with each other on what
//! runs. Invariant: nothing here waits for an output; the file of metrics snapshots is the one thing it writes itself.

use super::config::Config;
use super::drops::{self, Monitor};
use super::files::Files;
use super::fleet::Fleet;
use super::hosts::Keeper;
use super::log::{self, Level};
use super::metrics::Telemetry;
use super::notify::{Notifier, Pulse};
use super::options::Options;
use super::prepare::Inputs;
use super::record::{self, Recorder};
use super::run::{finish_outputs, text};
use super::service::Snapshots;
use super::signals::Signals;
use super::statistics;
use super::tally::Tally;
use super::watch::{Seen, Shared, Watch};
use super::web::Server;
use crate::driver::abi::{self, fsn_config};
use crate::driver::ring::Counters;
use crate::enrich::own_users::Reader;
use crate::output::alert::{EventTime, Writer};
use crate::output::internal;
use crate::output::queue::Sender;
use crate::output::threads::Output;
use crate::rules::Priority;
use nix::sys::signal::Signal;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// A program of a configuration that is no more may be at the same alerts, or at its end, for so long.
const RETIRED_PATIENCE: Duration = Duration::from_secs(30);

/// What a run consists of.
pub(super) struct Control<'r> {
    pub options: &'r Options,
    /// The configuration's main file.
    pub file: &'r Path,
    pub inputs: Inputs,
    pub files: Option<Files>,
    pub config: Config,
    /// None without a driver.
    pub fleet: Option<Fleet<Watch>>,
    /// What the module was told.
    pub driver: fsn_config,
    pub shared: Arc<Shared>,
    pub tally: Tally,
    pub sender: Sender,
    pub output: Output,
    /// Outputs of configurations before this one that still have something to write.
    pub retired: Vec<Output>,
    /// Alerts that the queues of those configurations have dropped.
    pub dropped_before: u64,
    pub recorder: Option<Recorder>,
    pub own_users: Reader,
    pub hosts: Keeper,
    pub writer: Writer,
    pub monitor: Monitor,
    pub notifier: Notifier,
    pub telemetry: Arc<Telemetry>,
    pub snapshots: Option<Snapshots>,
    pub web: Option<Server>,
    pub state: State,
}

/// What was said already, and what is still to be done.
#[derive(Default)]
pub(super) struct State {
    /// Alerts dropped by the queue as logged last.
    queue_drops: u64,
    /// Outputs are still to be reopened.
    reopen: bool,
    cpu_trouble: bool,
    pulse: Pulse,
}

impl Control<'_> {
    /// Runs until a signal, `end` or an error.
    pub fn watch(&mut self, signals: &Signals, end: Option<Instant>) -> Result<(), String> {
        let mut tick = Instant::now() + SECOND;
        loop {
            let look = self.files.as_ref().map(Files::next);
            let snapshot = self.snapshots.as_ref().map(|snapshots| snapshots.due);
            let next = [Some(tick), end, look, snapshot].into_iter().flatten().min().unwrap_or(tick);
            match signals.wait(next.saturating_duration_since(Instant::now())) {
                Some(Signal::SIGUSR1) => self.state.reopen = true,
                Some(Signal::SIGHUP) => self.reload_told("SIGHUP received")?,
                Some(signal) => {
                    self.notifier.stopping();
                    log::write(Level::Info, format_args!("{signal}: stopping"));
                    return Ok(());
                }
                None => {}
            }
            let now = Instant::now();
            let changed = self.files.as_mut().and_then(|files| files.changed(now, self.options, &self.inputs));
            if let Some(path) = changed {
                self.reload_told(&format!("{} has changed: as if SIGHUP received", path.display()))?;
            }
            if self.state.reopen && self.sender.reopen() {
                self.state.reopen = false;
            }
            let now = Instant::now();
            self.snapshot(now);
            if end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            if now >= tick {
                tick = now + SECOND;
                self.second(now)?;
            }
        }
    }

    /// Reloads, and the service manager knows about it.
    fn reload_told(&mut self, reason: &str) -> Result<(), String> {
        self.notifier.reloading();
        self.reload(reason)?;
        self.notifier.ready(self.fleet.as_ref().map_or(0, Fleet::cpus));
        Ok(())
    }

    fn second(&mut self, now: Instant) -> Result<(), String> {
        self.outputs();
        let limited = self.recorder.as_ref().map_or_else(Vec::new, Recorder::limited);
        self.tell_limited(&limited);
        let (fleet, pulse) = (&self.fleet, &mut self.state.pulse);
        self.notifier.watchdog(now, || pulse.all_moved(fleet.iter().flat_map(Fleet::rounds)));
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        if fleet.is_broken() {
            return Err("a loop has ended by itself, see above: stopping".to_owned());
        }
        let device = fleet.device();
        self.shared.clock.update(|| device.info().map(|info| info.clock)).map_err(text)?;
        self.telemetry.state().module = Some(device.info().map_err(text)?);
        match fleet.adopt_new_cpus() {
            Ok(0) => self.state.cpu_trouble = false,
            Ok(count) => {
                self.telemetry.state().rings = fleet.rings();
                log::write(Level::Notice, format_args!("{count} CPUs came online and are watched"));
            }
            Err(error) if !self.state.cpu_trouble => {
                self.state.cpu_trouble = true;
                log::write(Level::Error, format_args!("a CPU that came online is not watched: {error}"));
            }
            Err(_) => {}
        }
        let counters = self.counters()?;
        self.losses(&counters, now)
    }

    fn counters(&self) -> Result<Counters, String> {
        let Some(fleet) = &self.fleet else { return Ok(Counters::default()) };
        let mut counters = fleet.counters();
        counters.drops[abi::FSN_DROP_NO_RING as usize] += fleet.device().info().map_err(text)?.no_ring;
        Ok(counters)
    }

    fn outputs(&mut self) {
        let timeout = Duration::from_millis(self.config.output_timeout_ms);
        for (name, busy) in self.output.newly_blocked(timeout) {
            log::write(
                Level::Critical,
                format_args!("the output to {name} has been blocked for {} ms", busy.as_millis()),
            );
        }
        let dropped = self.dropped();
        if dropped > self.state.queue_drops {
            let count = dropped - self.state.queue_drops;
            log::write(Level::Error, format_args!("{count} alerts were dropped: an output's queue is full"));
            self.state.queue_drops = dropped;
        }
        self.retired.retain(|output| !output.is_finished());
        self.retired.iter().for_each(|output| output.give_up_programs(RETIRED_PATIENCE));
    }

    /// Alerts that found a queue full since the start.
    fn dropped(&self) -> u64 {
        self.dropped_before + self.sender.dropped()
    }

    fn losses(&mut self, counters: &Counters, now: Instant) -> Result<(), String> {
        let verdict = self.monitor.second(counters, now);
        let lost: u64 = verdict.lost.iter().sum();
        if lost > 0 {
            let causes = drops::describe(&verdict.lost);
            log::write(Level::Notice, format_args!("events lost in the last second: {causes}"));
        }
        let time = self.now();
        let sender = &self.sender;
        drops::act(&verdict, &mut self.writer, time, &mut |line| {
            sender.alert(line, Priority::Debug);
        })
    }

    /// Lets those who ask for metrics know what runs now. `loaded`: rules and configuration have been loaded.
    pub fn publish(&self, loaded: bool) {
        let mut state = self.telemetry.state();
        state.inputs.clone_from(&self.inputs);
        state.tally.clone_from(&self.tally);
        state.running = self.shared.plan.forms.iter().flatten().count();
        state.queue = Some(self.sender.clone());
        state.dropped_before = self.dropped_before;
        state.rings = self.fleet.as_ref().map_or_else(Vec::new, Fleet::rings);
        if loaded {
            state.loaded = std::time::SystemTime::now();
        }
    }

    /// Takes a snapshot of the metrics when one is due.
    fn snapshot(&mut self, now: Instant) {
        let (Some(snapshots), Some(settings)) = (&mut self.snapshots, &self.config.metrics) else { return };
        if now < snapshots.due {
            return;
        }
        let time = EventTime { ns: wall_now(), utc_offset: self.shared.clock.get().utc_offset };
        let alert = snapshots.take(now, settings, &self.telemetry, time, &mut self.writer);
        if let Some(line) = alert {
            self.sender.alert(&line, Priority::Informational);
        }
    }

    /// An alert of the sensor about itself.
    pub fn tell(&mut self, rule: &str, priority: Priority, message: &str) {
        let time = self.now();
        let line = internal::line(&mut self.writer, rule, priority, message, time, &mut []);
        self.sender.alert(&line, priority);
    }

    /// Alerts about recordings that ended because of their size.
    pub fn tell_limited(&mut self, files: &[PathBuf]) {
        tell_limited(files, &mut self.writer, &self.sender, now(&self.shared));
    }

    fn now(&self) -> EventTime {
        now(&self.shared)
    }

    /// Ends the capture; the loops drain their rings, the recorder and the outputs take what there is. Says what the run
    /// amounts to.
    pub fn finish(self) {
        let Control {
            fleet,
            output,
            retired,
            recorder,
            sender,
            dropped_before,
            monitor,
            tally,
            telemetry,
            web,
            mut writer,
            shared,
            ..
        } = self;
        // Its clients ask for memory that goes with the device.
        web.into_iter().for_each(Server::stop);
        {
            let mut state = telemetry.state();
            (state.rings, state.queue) = (Vec::new(), None);
        }
        let (occurrences, actions_taken) = (monitor.occurrences, monitor.actions_taken);
        let mut finished = Finished { occurrences, actions_taken, ..Finished::default() };
        if let Some(fleet) = fleet {
            let no_ring = fleet.device().info().map_or(0, |info| info.no_ring);
            let (watches, counters) = fleet.stop();
            finished.counters = counters;
            finished.counters.drops[abi::FSN_DROP_NO_RING as usize] += no_ring;
            watches.iter().for_each(|watch| finished.seen += watch.seen());
        }
        let limited = recorder.map_or_else(Vec::new, Recorder::finish);
        tell_limited(&limited, &mut writer, &sender, now(&shared));
        // The loops are gone: no more of them.
        finished.queue_drops = dropped_before + sender.dropped();
        drop(sender);
        retired.into_iter().chain([output]).for_each(finish_outputs);
        finished.report(&tally);
    }
}

fn now(shared: &Shared) -> EventTime {
    EventTime { ns: wall_now(), utc_offset: shared.clock.get().utc_offset }
}

fn tell_limited(files: &[PathBuf], writer: &mut Writer, sender: &Sender, time: EventTime) {
    for file in files {
        let message = format!("{}: {}", record::LIMIT, file.display());
        let line = internal::line(writer, record::LIMIT, Priority::Informational, &message, time, &mut []);
        sender.alert(&line, Priority::Informational);
    }
}

fn wall_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// What a run amounts to.
#[derive(Default)]
struct Finished {
    seen: Seen,
    counters: Counters,
    queue_drops: u64,
    occurrences: u64,
    actions_taken: u64,
}

impl Finished {
    fn report(&self, tally: &Tally) {
        let rules = tally.rules().iter().map(|rule| (rule.name.as_str(), rule.priority, rule.count()));
        // Whoever read the alerts may be gone.
        let _ = std::io::stdout().write_all(statistics::alerts(rules).as_bytes());
        let (c, seen) = (&self.counters, &self.seen);
        let stages = drops::FILTERED.map(|(stage, _)| c.filtered[stage as usize]);
        log::write(
            Level::Info,
            format_args!(
                "statistics: {} events, {} of them met before, {} task and {} exec records, {} wake-ups; {} events that no rule could match were \
                 not sent, {} by their task, {} by their arguments, {} by their paths or descriptors; lost {}; {} events \
                 without task, {} broken records, {} damaged places; {} alerts dropped",
                c.events,
                seen.met,
                c.tasks,
                c.execs,
                c.wakeups,
                stages.iter().sum::<u64>(),
                stages[0],
                stages[1],
                stages[2],
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
