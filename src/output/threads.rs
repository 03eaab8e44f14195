//! The threads that write alerts: one for each output, and one that gives every output its copy.
//!
//! Each output has a bounded queue of its own, so one that is slow, stuck or gone costs the others nothing: what it has no room for is
//! dropped for it alone, counted and told. An output that fails says so once, and again when it works.

use super::channel::Channel;
use super::limits::{Limited, Limiter};
use super::program::Leash;
use super::queue::{DEFAULT_CAPACITY, Message, Queue, Waiting, receive};
use crate::rules::Priority;
use crate::sensor::log::{self, Level};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Buffered output is written at this size, or when its oldest line is a second old.
const BUFFER: usize = 64 * 1024;
const LONGEST_BUFFERED: Duration = Duration::from_secs(1);

/// How outputs are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Alerts that may wait for each output; 0: [`DEFAULT_CAPACITY`].
    pub capacity: usize,
    /// Alerts are written together where that can be.
    pub buffered: bool,
    /// Alerts wait for room at every output, where events wait too, as in a replay. Time is the alerts' then.
    pub patient: bool,
    /// Different alerts that are remembered for their limits.
    pub limited: usize,
}

/// What other threads may know of an output.
#[derive(Debug, Default)]
struct State {
    /// Milliseconds since the start at which the write in progress began, plus 1; 0: none. Opening and closing count: a program
    /// that is to end may take its time.
    busy_since: AtomicU64,
    /// Alerts that wait, the one being written included.
    waiting: AtomicI64,
    /// The same of all outputs and of the queue before them.
    all_waiting: Waiting,
    /// Alerts that the channel could not take.
    failed: AtomicU64,
    /// Alerts that there was no room for.
    dropped: AtomicU64,
}

impl State {
    fn wait(&self, alerts: i64) {
        self.waiting.fetch_add(alerts, Ordering::Relaxed);
        self.all_waiting.add(alerts);
    }
}

#[derive(Debug)]
struct Lane {
    name: String,
    thread: JoinHandle<()>,
    state: Arc<State>,
    leash: Option<Arc<Leash>>,
    /// What it is at has been told of as taking too long.
    blocked: bool,
}

impl Lane {
    /// How long it has been at the same write, opening or closing.
    fn busy(&self, now: Duration) -> Option<Duration> {
        let since = self.state.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
        now.checked_sub(Duration::from_millis(since))
    }
}

/// All outputs of a configuration.
#[derive(Debug)]
pub struct Output {
    distributor: JoinHandle<()>,
    lanes: Vec<Lane>,
    started: Instant,
}

/// What goes to one output.
#[derive(Clone, Debug)]
enum Item {
    Alert(Arc<[u8]>, Priority),
    Reopen,
}

impl Output {
    /// Starts writing what comes through `queue`.
    pub fn start(queue: Queue, channels: Vec<Channel>, manner: Manner) -> io::Result<Output> {
        let started = Instant::now();
        let capacity = if manner.capacity == 0 { DEFAULT_CAPACITY } else { manner.capacity };
        let (mut lanes, mut gates) = (Vec::new(), Vec::new());
        for channel in channels {
            let (sender, items) = sync_channel(capacity);
            let (name, leash) = (channel.name(), channel.leash());
            let state = Arc::new(State { all_waiting: queue.waiting(), ..State::default() });
            gates.push(Gate { name: name.clone(), sender, state: state.clone(), full_since: None, reopen: false });
            let mut writer = Writer { channel, has_failed: false, state: state.clone(), started };
            let thread = thread::Builder::new().name("output".into()).spawn(move || writer.run(&items, manner))?;
            lanes.push(Lane { name, thread, state, leash, blocked: false });
        }
        let limiter = Limiter::new(manner.limited, queue.limits());
        let distributor = Distributor { gates, limiter, patient: manner.patient, started, latest: Duration::ZERO };
        let distributor = thread::Builder::new().name("outputs".into()).spawn(move || distributor.run(&queue))?;
        Ok(Output { distributor, lanes, started })
    }

    /// The outputs that are at the same write, opening or closing for longer than `timeout`, and for how long; each once, until it is
    /// done with that.
    pub fn newly_blocked(&mut self, timeout: Duration) -> impl Iterator<Item = (&str, Duration)> {
        let now = self.started.elapsed();
        self.lanes.iter_mut().filter_map(move |lane| {
            let busy = lane.busy(now).filter(|busy| *busy > timeout);
            let known = std::mem::replace(&mut lane.blocked, busy.is_some());
            busy.filter(|_| !known).map(|busy| (lane.name.as_str(), busy))
        })
    }

    /// Alerts that an output could not take, by output: there was no room for it, or writing failed.
    pub fn lost(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.lanes.iter().map(move |l| (l.name.as_str(), count(&l.state.dropped), count(&l.state.failed)))
    }

    /// Whether the senders are gone and everything is written.
    pub fn is_finished(&self) -> bool {
        self.distributor.is_finished() && self.lanes.iter().all(|lane| lane.thread.is_finished())
    }

    /// Kills the programs that have been at the same alerts, or at their end, for longer than `patience`, and starts no others: what
    /// still waits for them is lost.
    pub fn give_up_programs(&self, patience: Duration) {
        let now = self.started.elapsed();
        for lane in self.lanes.iter().filter(|lane| lane.busy(now).is_some_and(|busy| busy > patience)) {
            if let Some(leash) = &lane.leash {
                log::write(Level::Error, format_args!("output to {} is given up: the program is killed", lane.name));
                leash.give_up();
            }
        }
    }

    /// Waits until everything is written; the senders must be gone. An output for which `patience` was not enough is left alone. Says
    /// what was lost. False when anything was.
    pub fn finish(self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while !self.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        let mut complete = self.distributor.is_finished();
        for lane in &self.lanes {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (dropped, failed) = (count(&lane.state.dropped), count(&lane.state.failed));
            let waiting = if lane.thread.is_finished() { 0 } else { lane.state.waiting.load(Ordering::Relaxed) };
            if dropped + failed > 0 || waiting > 0 {
                complete = false;
                log::write(
                    Level::Error,
                    format_args!(
                        "output to {} lost alerts: {dropped} it had no room for, {failed} it could not write, {waiting} it did not \
                         take before the end",
                        lane.name
                    ),
                );
            }
            complete &= lane.thread.is_finished();
        }
        complete
    }
}

/// The way to an output.
struct Gate {
    name: String,
    sender: SyncSender<Item>,
    state: Arc<State>,
    /// The count of dropped alerts when there was no room any more.
    full_since: Option<u64>,
    /// A reopening is still to be asked for.
    reopen: bool,
}

impl Gate {
    /// False: there was no room.
    fn offer(&mut self, item: Item, patient: bool) -> bool {
        self.state.wait(1);
        let sent = if patient { self.sender.send(item).is_ok() } else { self.sender.try_send(item).is_ok() };
        if sent {
            if let Some(before) = self.full_since.take() {
                let lost = self.state.dropped.load(Ordering::Relaxed) - before;
                log::write(
                    Level::Notice,
                    format_args!("output to {} takes alerts again, {lost} were dropped for it", self.name),
                );
            }
            return true;
        }
        self.state.wait(-1);
        let before = self.state.dropped.fetch_add(1, Ordering::Relaxed);
        if self.full_since.is_none() {
            self.full_since = Some(before);
            log::write(Level::Error, format_args!("output to {} is too slow: alerts for it are dropped", self.name));
        }
        false
    }

    fn ask_for_reopening(&mut self) {
        self.reopen = self.reopen && self.sender.try_send(Item::Reopen).is_err();
    }
}

/// Gives every output its copy of what comes through the queue and is not held back.
struct Distributor {
    gates: Vec<Gate>,
    limiter: Limiter,
    patient: bool,
    started: Instant,
    /// Of a limited alert, where time is the alerts'.
    latest: Duration,
}

impl Distributor {
    /// Runs until the senders are gone; then every window closes.
    fn run(mut self, queue: &Queue) {
        loop {
            let message = queue.next(self.patience(), self.patient);
            self.close(queue, self.now());
            match message {
                Ok(Message::Alert { line, priority, limited: None }) => self.give(queue, line, priority),
                Ok(Message::Alert { line, priority, limited: Some(limited) }) => {
                    self.limited(queue, line, priority, limited);
                }
                Ok(Message::Reopen) => self.gates.iter_mut().for_each(|gate| gate.reopen = true),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.close(queue, Duration::MAX),
            }
            self.gates.iter_mut().for_each(Gate::ask_for_reopening);
        }
    }

    /// How long to wait for an alert: not past the end of a window.
    fn patience(&self) -> Duration {
        let end = self.limiter.next_end().filter(|_| !self.patient);
        end.map_or(LONGEST_BUFFERED, |end| end.saturating_sub(self.now()).min(LONGEST_BUFFERED))
    }

    fn now(&self) -> Duration {
        if self.patient { self.latest } else { self.started.elapsed() }
    }

    fn limited(&mut self, queue: &Queue, line: Box<[u8]>, priority: Priority, limited: Limited) {
        if self.patient {
            self.latest = self.latest.max(limited.time());
            self.close(queue, self.latest);
        }
        let now = self.now();
        if let Some((line, priority)) = self.limiter.take(line, priority, limited, now) {
            self.give(queue, line, priority);
        }
    }

    /// Writes what is to be told of the windows that have closed.
    fn close(&mut self, queue: &Queue, now: Duration) {
        while let Some((line, priority)) = self.limiter.closed(now) {
            self.give(queue, line, priority);
        }
    }

    fn give(&mut self, queue: &Queue, line: Box<[u8]>, priority: Priority) {
        let line: Arc<[u8]> = line.into();
        for gate in &mut self.gates {
            if !gate.offer(Item::Alert(line.clone(), priority), self.patient) {
                queue.count_dropped();
            }
        }
    }
}

struct Writer {
    channel: Channel,
    has_failed: bool,
    state: Arc<State>,
    started: Instant,
}

impl Writer {
    fn run(&mut self, items: &Receiver<Item>, manner: Manner) {
        let is_stream = self.channel.is_stream();
        let (mut lines, mut priorities) = (Vec::new(), Vec::new());
        let mut oldest = Instant::now();
        let mut taken = None;
        loop {
            let item = match taken.take() {
                Some(item) => Ok(item),
                None => {
                    let waited = if lines.is_empty() { Duration::ZERO } else { oldest.elapsed() };
                    receive(items, LONGEST_BUFFERED.saturating_sub(waited), manner.patient)
                }
            };
            if let Ok(Item::Alert(line, priority)) = &item {
                if lines.is_empty() {
                    oldest = Instant::now();
                }
                lines.extend_from_slice(line);
                lines.push(b'\n');
                priorities.push(*priority);
            }
            let room = lines.len() < BUFFER && oldest.elapsed() < LONGEST_BUFFERED;
            // What is there already is written together with it.
            taken = if is_stream { items.try_recv().ok() } else { None };
            let more = is_stream && (manner.buffered || matches!(taken, Some(Item::Alert(..))));
            let waits = more && matches!(item, Ok(Item::Alert(..))) && room;
            if !lines.is_empty() && !waits {
                self.write(&lines, &priorities);
                lines.clear();
                priorities.clear();
            }
            match item {
                Ok(Item::Reopen) => {
                    if let Err(error) = self.busy(Channel::reopen) {
                        log::write(
                            Level::Error,
                            format_args!("{} cannot be opened again: {error}", self.channel.name()),
                        );
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    if let Err(error) = self.busy(Channel::end) {
                        log::write(Level::Error, format_args!("output to {} failed: {error}", self.channel.name()));
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    /// Does what may take its time, and lets others see for how long.
    fn busy<T>(&mut self, work: impl FnOnce(&mut Channel) -> T) -> T {
        self.state.busy_since.store(self.started.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        let result = work(&mut self.channel);
        self.state.busy_since.store(0, Ordering::Relaxed);
        result
    }

    fn write(&mut self, lines: &[u8], priorities: &[Priority]) {
        let result = self.busy(|channel| channel.write(lines, priorities));
        self.state.wait(-(priorities.len() as i64));
        match &result {
            Ok(()) if !self.has_failed => {}
            Ok(()) => log::write(Level::Notice, format_args!("output to {} works again", self.channel.name())),
            Err(failure) => {
                self.state.failed.fetch_add(failure.lost as u64, Ordering::Relaxed);
                if !self.has_failed {
                    log::write(
                        Level::Error,
                        format_args!("output to {} failed: {}", self.channel.name(), failure.error),
                    );
                }
            }
        }
        self.has_failed = result.is_err();
    }
}

#[cfg(test)]
mod tests;
