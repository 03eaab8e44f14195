//! Lost events: what is said about them, and the actions of `syscall_event_drops`.

use super::config::{DropAction, Drops};
use super::log::{self, Level};
use crate::driver::abi;
use crate::driver::ring::Counters;
use crate::output::alert::{EventTime, Writer};
use crate::output::internal;
use crate::rules::Priority;
use std::fmt::Write;
use std::time::Instant;

/// Words for the causes, by `FSN_DROP_*`.
pub const CAUSES: [(u32, &str); 6] = [
    (abi::FSN_DROP_RING_FULL, "ring full"),
    (abi::FSN_DROP_TASK_FULL, "ring full for a task record"),
    (abi::FSN_DROP_NESTED, "probe interrupted a probe"),
    (abi::FSN_DROP_TOO_LARGE, "too large"),
    (abi::FSN_DROP_NO_MEMORY, "no memory"),
    (abi::FSN_DROP_NO_RING, "CPU without a ring"),
];

/// What the module found that no rule can match, by the stage that told it: `FSN_FILTERED_*`.
pub const FILTERED: [(u32, &str); 3] =
    [(abi::FSN_FILTERED_MASK, "mask"), (abi::FSN_FILTERED_CALL, "call"), (abi::FSN_FILTERED_OBJECT, "object")];

/// The counters that mean a lost event.
pub fn lost(counters: &Counters) -> u64 {
    counters.drops.iter().sum()
}

/// `12 (ring full 10, no memory 2)`
pub fn describe(drops: &[u64; abi::FSN_DROP_MAX as usize]) -> String {
    let mut text = drops.iter().sum::<u64>().to_string();
    let causes = CAUSES.iter().filter(|(cause, _)| drops[*cause as usize] > 0);
    for (i, (cause, word)) in causes.enumerate() {
        let _ = write!(text, "{}{word} {}", if i == 0 { " (" } else { ", " }, drops[*cause as usize]);
    }
    if text.contains('(') {
        text.push(')');
    }
    text
}

/// What to do about one second.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// Events lost in this second, by cause.
    pub lost: [u64; abi::FSN_DROP_MAX as usize],
    /// Events of this second, the lost ones included.
    pub events: u64,
    /// Empty below the threshold, or when there were too many already.
    pub actions: Vec<DropAction>,
}

/// Takes the actions of a verdict: an error is the sentence with which the run ends. `alert` gets the line of an internal alert.
pub fn act(
    verdict: &Verdict,
    writer: &mut Writer,
    time: EventTime,
    alert: &mut dyn FnMut(&[u8]),
) -> Result<(), String> {
    let lost: u64 = verdict.lost.iter().sum();
    let message = format!("{}. {lost} system calls dropped in last second.", internal::DROP);
    for action in &verdict.actions {
        match action {
            DropAction::Log => log::write(Level::Debug, format_args!("{message}")),
            DropAction::Alert => {
                let count = |n: u64| serde_json::Value::from(n.to_string());
                let of = |cause: u32| verdict.lost[cause as usize];
                let mut members = [
                    ("ebpf_enabled", "0".into()),
                    ("n_drops", count(lost)),
                    ("n_drops_buffer_total", count(of(abi::FSN_DROP_RING_FULL) + of(abi::FSN_DROP_TASK_FULL))),
                    // Whatever is not for lack of room: with the two others it makes the sum.
                    ("n_drops_bug", count(lost - of(abi::FSN_DROP_RING_FULL) - of(abi::FSN_DROP_TASK_FULL))),
                    ("n_drops_page_faults", count(0)),
                    ("n_drops_scratch_map", count(0)),
                    ("n_evts", count(verdict.events)),
                ];
                let line = internal::line(writer, internal::DROP, Priority::Debug, &message, time, &mut members);
                alert(&line);
            }
            DropAction::Exit => return Err(format!("{message} Exiting, as syscall_event_drops.actions says.")),
        }
    }
    Ok(())
}

/// Watches the counters second by second.
#[derive(Debug)]
pub struct Monitor {
    config: Drops,
    last: Counters,
    tokens: f64,
    refilled: Instant,
    /// Seconds in which the threshold was passed.
    pub occurrences: u64,
    /// Times actions were taken.
    pub actions_taken: u64,
}

impl Monitor {
    pub fn new(config: Drops, now: Instant) -> Monitor {
        let tokens = f64::from(config.max_burst);
        Monitor { config, last: Counters::default(), tokens, refilled: now, occurrences: 0, actions_taken: 0 }
    }

    /// Goes by another configuration from now on.
    pub fn configure(&mut self, config: Drops) {
        self.tokens = self.tokens.min(f64::from(config.max_burst));
        self.config = config;
    }

    /// Looks at the counters of the second that ended.
    pub fn second(&mut self, counters: &Counters, now: Instant) -> Verdict {
        let mut lost: [u64; abi::FSN_DROP_MAX as usize] =
            std::array::from_fn(|i| counters.drops[i].saturating_sub(self.last.drops[i]));
        let mut events = counters.events.saturating_sub(self.last.events);
        self.last = *counters;
        if self.config.simulate {
            lost[abi::FSN_DROP_RING_FULL as usize] += 1;
        }
        let total: u64 = lost.iter().sum();
        events += total;
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + elapsed * self.config.rate).min(f64::from(self.config.max_burst));
        let threshold = if self.config.simulate { 0.0 } else { self.config.threshold };
        if total == 0 || total as f64 / events as f64 <= threshold {
            return Verdict { lost, events, actions: Vec::new() };
        }
        self.occurrences += 1;
        if self.tokens < 1.0 {
            return Verdict { lost, events, actions: Vec::new() };
        }
        self.tokens -= 1.0;
        self.actions_taken += 1;
        Verdict { lost, events, actions: self.config.actions.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn counters(events: u64, full: u64) -> Counters {
        let mut counters = Counters { events, ..Counters::default() };
        counters.drops[0] = full;
        counters
    }

    #[test]
    fn actions_are_limited() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let config = Drops { threshold: 0.1, actions: vec![DropAction::Log], rate: 0.5, max_burst: 1, simulate: false };
        let mut monitor = Monitor::new(config, start);
        assert!(monitor.second(&counters(100, 0), at(1)).actions.is_empty());
        assert!(monitor.second(&counters(190, 10), at(2)).actions.is_empty(), "not above the threshold");
        let verdict = monitor.second(&counters(200, 30), at(3));
        assert_eq!((verdict.events, verdict.lost[0], verdict.actions), (30, 20, vec![DropAction::Log]));
        assert!(monitor.second(&counters(200, 40), at(4)).actions.is_empty(), "no token");
        assert!(!monitor.second(&counters(200, 50), at(5)).actions.is_empty(), "a token again");
        assert_eq!((monitor.occurrences, monitor.actions_taken), (3, 2));
    }

    #[test]
    fn causes_are_named() {
        assert_eq!(describe(&[0; 8]), "0");
        assert_eq!(describe(&[10, 0, 0, 0, 2, 0, 0, 0]), "12 (ring full 10, no memory 2)");
        assert_eq!(CAUSES.map(|(cause, _)| cause), [0, 1, 2, 3, 4, 5]);
    }
}
