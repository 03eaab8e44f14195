//! Loops on rings in user memory: one, one per CPU, and one whose alerts are written, then for an output that is stuck.
//!
//! Producers fill all rings to the last record, then all loops drain them at once, over and over. What is timed is the
//! draining, on the wall clock, so what is measured includes everything that is slow when several loops run.

use super::load::Load;
use super::{Request, Row, rounds};
use crate::driver::abi::{fsn_consumer, fsn_producer};
use crate::driver::ring::{Memory, Ring};
use crate::enrich::users::Users;
use crate::event::clock::Clock;
use crate::event::live::Host;
use crate::output::alert::Style;
use crate::output::channel::Channel;
use crate::output::queue::{self, Queue};
use crate::output::threads::{Manner, Output};
use crate::sensor::cpu_loop::Handler;
use crate::sensor::fleet::pin;
use crate::sensor::plan::Plan;
use crate::sensor::watch::{Seen, Shared, Watch};
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Bytes of a ring; what is written in one go fits.
const SIZE: usize = 16 << 20;
const EVENTS: usize = 40_000;

/// A ring in ordinary memory. A record that would wrap runs on into the second half.
struct Plain {
    consumer: Box<UnsafeCell<fsn_consumer>>,
    producer: Box<UnsafeCell<fsn_producer>>,
    data: Box<[UnsafeCell<u64>]>,
}

// SAFETY: shared words are read and written as atomics; data between tail and head is not written, and what lies elsewhere
// is touched by the producer alone: see `Plain::fill`.
unsafe impl Sync for Plain {}

// SAFETY: boxes do not move; data is twice SIZE long and aligned to 8.
unsafe impl Memory for Plain {
    fn consumer(&self) -> NonNull<fsn_consumer> {
        // SAFETY: a pointer into a box.
        unsafe { NonNull::new_unchecked(self.consumer.get()) }
    }
    fn producer(&self) -> NonNull<fsn_producer> {
        // SAFETY: a pointer into a box.
        unsafe { NonNull::new_unchecked(self.producer.get()) }
    }
    fn data(&self) -> NonNull<u8> {
        // SAFETY: a pointer into a box.
        unsafe { NonNull::new_unchecked(self.data.as_ptr() as *mut u8) }
    }
    fn size(&self) -> u32 {
        SIZE as u32
    }
}

impl Plain {
    fn new() -> Plain {
        let data = (0..2 * SIZE / 8).map(|_| UnsafeCell::new(0)).collect();
        Plain { consumer: Box::default(), producer: Box::default(), data }
    }

    /// Writes records, as the module does; only one thread may.
    fn fill(&self, load: &Load) -> Result<(), String> {
        // SAFETY: both words live as long as self and are only used as atomics.
        let (head, tail) = unsafe {
            let head = AtomicU64::from_ptr(&raw mut (*self.producer.get()).head);
            (head, AtomicU64::from_ptr(&raw mut (*self.consumer.get()).tail))
        };
        let mut at = head.load(Ordering::Relaxed);
        for bytes in load.bytes() {
            let used = at - tail.load(Ordering::Acquire);
            if used as usize + bytes.len() > SIZE {
                return Err("the load does not fit the ring".to_owned());
            }
            // SAFETY: the place lies behind head and not before tail, so the reader does not look there; a record is
            // shorter than the second half is long.
            unsafe {
                let to = self.data().as_ptr().add(at as usize & (SIZE - 1));
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            }
            at += bytes.len() as u64;
            // The reader's acquire load of head pairs with this.
            head.store(at, Ordering::Release);
        }
        Ok(())
    }
}

/// A loop and the thread that fills its ring. Both wait for a word from here.
struct Pair {
    fill: mpsc::Sender<()>,
    filled: mpsc::Receiver<Result<(), String>>,
    drain: mpsc::Sender<()>,
    drained: mpsc::Receiver<(Instant, Instant, Seen)>,
}

fn pair<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    cpu: u32,
    load: &Arc<Load>,
    watch: impl FnOnce() -> Watch + Send + 's,
) -> Pair {
    let memory = Arc::new(Plain::new());
    let (fill, asked) = mpsc::channel();
    let (done, filled) = mpsc::channel();
    let (load, ring) = (load.clone(), memory.clone());
    scope.spawn(move || while asked.recv().is_ok() && done.send(ring.fill(&load)).is_ok() {});
    let (drain, asked) = mpsc::channel();
    let (done, drained) = mpsc::channel();
    scope.spawn(move || {
        pin(cpu);
        let (mut ring, mut watch) = (Ring::new(memory), watch());
        while asked.recv().is_ok() {
            let start = Instant::now();
            loop {
                match ring.next_record() {
                    Ok(Some(record)) => watch.record(record),
                    Ok(None) => break,
                    Err(damage) => watch.damage(damage),
                }
            }
            ring.release();
            if done.send((start, Instant::now(), watch.seen())).is_err() {
                break;
            }
        }
    });
    Pair { fill, filled, drain, drained }
}

/// One round of all rings: from the first loop's start to the last one's end.
fn round(pairs: &[Pair], seen: &mut Vec<Seen>) -> Result<Duration, String> {
    const GONE: &str = "a thread of the measurement has ended";
    pairs.iter().try_for_each(|pair| pair.fill.send(()).map_err(|_| GONE.to_owned()))?;
    pairs.iter().try_for_each(|pair| pair.filled.recv().map_err(|_| GONE.to_owned())?)?;
    pairs.iter().try_for_each(|pair| pair.drain.send(()).map_err(|_| GONE.to_owned()))?;
    let all = pairs.iter().map(|pair| pair.drained.recv().map_err(|_| GONE.to_owned()));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    *seen = all.iter().map(|(_, _, seen)| *seen).collect();
    let first = all.iter().map(|(start, ..)| *start).min();
    let last = all.iter().map(|(_, end, _)| *end).max();
    Ok(first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first))
}

pub fn run(request: &Request<'_>, plan: Plan, style: &Style) -> Result<Vec<Row>, String> {
    let load = Arc::new(Load::mixed(EVENTS));
    let expected = plainly(&load, &plan, request.config.path_views);
    let counters = plan.labels.iter().map(|_| Arc::default()).collect();
    let shared = Arc::new(Shared {
        plan,
        path_views: request.config.path_views,
        match_all: request.config.match_all,
        pushdown: true,
        clock: Default::default(),
        counters,
        timed: false,
    });
    let cpus = crate::driver::cpus::online();
    let mut variants = vec![(1, Alerts::Nowhere), (1, Alerts::Written), (1, Alerts::Stuck)];
    if cpus.len() > 1 {
        variants.insert(1, (cpus.len(), Alerts::Nowhere));
    }
    variants
        .into_iter()
        .map(|(count, kind)| {
            let before: u64 = shared.counters.iter().map(|n| n.alerts.load(Ordering::Relaxed)).sum();
            std::thread::scope(|scope| {
                let (sender, queue) = queue::bounded(0);
                let (output, queue) = output(kind, queue)?;
                let pairs: Vec<Pair> = cpus[..count]
                    .iter()
                    .map(|&cpu| {
                        let (shared, style, sender) = (shared.clone(), style.clone(), sender.clone());
                        pair(scope, cpu, &load, move || {
                            let host = Host::new(Users::none(), Clock::default(), "host", cpu);
                            Watch::new(shared, host, style, sender)
                        })
                    })
                    .collect();
                let mut seen = Vec::new();
                let mut done = 0u64;
                let times = rounds(request.time / 2, || {
                    let time = round(&pairs, &mut seen)?;
                    done += 1;
                    while queue.as_ref().is_some_and(|queue| queue.next(Duration::ZERO, false).is_ok()) {}
                    Ok(time)
                })?;
                let waiting = if kind == Alerts::Stuck { sender.waiting() + sender.dropped() } else { 1 };
                if output.is_some() && waiting == 0 && expected > 0 {
                    return Err("the answer is wrong: an output that is stuck has taken all alerts".to_owned());
                }
                let broken = seen.iter().any(|s| s.events != done * EVENTS as u64 || s.broken + s.damaged > 0);
                let alerts: u64 =
                    shared.counters.iter().map(|n| n.alerts.load(Ordering::Relaxed)).sum::<u64>() - before;
                let per_round = expected * count as u64;
                if broken || alerts != per_round * done {
                    return Err(format!(
                        "the answer is wrong: {alerts} alerts in {done} rounds of {per_round}, loops saw {seen:?}"
                    ));
                }
                let events = (EVENTS * count) as u64;
                let rings = if count == 1 { "1 ring".to_owned() } else { format!("{count} rings") };
                let name = match kind {
                    Alerts::Nowhere => rings,
                    Alerts::Written => rings + ", alerts written",
                    Alerts::Stuck => rings + ", output stuck",
                };
                let mut row = Row::of(&name, events, per_round, &times);
                // Per event and core.
                row.rounds.iter_mut().for_each(|ns| *ns *= count as f64);
                Ok(row)
            })
        })
        .collect()
}

/// Where the alerts of the loops go.
#[derive(Clone, Copy, PartialEq)]
enum Alerts {
    /// Thrown away after each round.
    Nowhere,
    Written,
    /// A program that does not read is to get them.
    Stuck,
}

/// An output of that kind, and what is to be emptied after each round.
fn output(alerts: Alerts, queue: Queue) -> Result<(Option<Output>, Option<Queue>), String> {
    let text = |error: std::io::Error| error.to_string();
    let channel = match alerts {
        Alerts::Nowhere => return Ok((None, Some(queue))),
        Alerts::Written => Channel::file("/dev/null".into(), true).map_err(text)?,
        // It outlives this program by seconds at most.
        Alerts::Stuck => Channel::program("exec sleep 5".to_owned(), false),
    };
    Ok((Some(Output::start(queue, vec![channel], Manner::default()).map_err(text)?), None))
}

/// Alerts of the load, every event evaluated with the rules as they are written.
fn plainly(load: &Load, plan: &Plan, path_views: bool) -> u64 {
    use crate::event::live::PathView;
    let world = load.world();
    let (mut context, mut arena) = (crate::filter::EvalContext::new(), bumpalo::Bump::new());
    let mut count = 0;
    for event in load.views(&world) {
        let mut rules = std::collections::BTreeSet::new();
        plan.program.evaluate_plainly(&event, &mut context, &arena, |rule| {
            rules.insert(rule);
        });
        if path_views && event.paths_differ(&arena) {
            let opened = event.with_paths(PathView::AsOpened);
            plan.program.evaluate_plainly(&opened, &mut context, &arena, |rule| {
                rules.insert(rule);
            });
        }
        count +=
            if plan.program.matching() == crate::filter::Matching::First { rules.len().min(1) } else { rules.len() };
        arena.reset();
    }
    count as u64
}
