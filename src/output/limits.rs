//! `alert_limits`: of alerts that are the same, the first of a window is written at once; those that follow are held back, and when the
//! window closes one line tells how many there were, since when and until when.
//!
//! Alerts are the same when their rule and the values of the limit's fields are. A loop says which alert it is ([`Limit::of`]); the thread
//! that gives every output its copy holds back ([`Limiter`]), because the same alert may come from several CPUs. Invariant: an alert is
//! written, or it is counted in a line that is written; what there is no room to remember is written.

use super::alert::push_format;
use super::json;
use crate::event::clock::{Form, format_time};
use crate::event::text::Buffers;
use crate::event::value::Extract;
use crate::filter::format::Format;
use crate::rules::Priority;
use crate::sensor::log::{self, Level};
use bumpalo::Bump;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of the lines that are held back, of all alerts together.
const HELD: usize = 16 << 20;

/// Members of the line that stands for the others, in the order of their names.
const COUNT: &str = "alert.count";
const FIRST: &str = "alert.first";
const LAST: &str = "alert.last";

/// What makes alerts the same.
type Key = [u8; 32];

/// The limit of one rule.
#[derive(Clone, Debug)]
pub struct Limit {
    pub window: Duration,
    /// One field each.
    pub keys: Vec<Format>,
}

/// An alert that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    key: Key,
    window: Duration,
    /// ns since 1970.
    time: u64,
}

impl Limited {
    /// Since 1970.
    pub const fn time(&self) -> Duration {
        Duration::from_nanos(self.time)
    }
}

impl Limit {
    /// What the alert of `rule` on `event` is to the limiter; `time` in ns since 1970.
    pub fn of<'e, E: Extract>(&'e self, rule: &str, event: &'e E, time: u64, arena: &'e Bump) -> Limited {
        let mut hash = Sha256::new();
        let mut add = |text: &[u8]| {
            hash.update(text.len().to_ne_bytes());
            hash.update(text);
        };
        add(rule.as_bytes());
        let mut text = Vec::new();
        for key in &self.keys {
            text.clear();
            push_format(key, event, Buffers::Base64, arena, &mut text);
            add(&text);
        }
        Limited { key: hash.finalize().into(), window: self.window, time }
    }
}

/// What the limits have done so far; kept through reloads.
#[derive(Debug, Default)]
pub struct Counters {
    held: AtomicU64,
    summaries: AtomicU64,
    unlimited: AtomicU64,
    open: AtomicI64,
}

impl Counters {
    /// By outcome: alerts held back, lines that tell of them, alerts written because there was no room to remember them.
    pub fn outcomes(&self) -> [(&'static str, u64); 3] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("held_back", count(&self.held)), ("summary", count(&self.summaries)), ("no_room", count(&self.unlimited))]
    }

    /// Windows that are open.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed).max(0) as u64
    }
}

/// What is known of alerts that are the same.
struct Window {
    /// The first one, which was written, included.
    count: u64,
    first: u64,
    last: u64,
    /// The latest that was held back.
    held: Option<(Box<[u8]>, Priority)>,
}

/// Holds back. Time is any clock that does not go back; it is told with each call.
pub struct Limiter {
    capacity: usize,
    counters: Arc<Counters>,
    open: HashMap<Key, Window>,
    /// One entry for each window that is open.
    ends: BinaryHeap<Reverse<(Duration, Key)>>,
    held: usize,
    full: bool,
}

impl Limiter {
    /// One that remembers `capacity` alerts at a time.
    pub fn new(capacity: usize, counters: Arc<Counters>) -> Limiter {
        Limiter { capacity, counters, open: HashMap::new(), ends: BinaryHeap::new(), held: 0, full: false }
    }

    /// The line, if it is to be written now.
    pub fn take(
        &mut self,
        line: Box<[u8]>,
        priority: Priority,
        limited: Limited,
        now: Duration,
    ) -> Option<(Box<[u8]>, Priority)> {
        let Limited { key, window, time } = limited;
        if let Some(open) = self.open.get_mut(&key) {
            let before = open.held.as_ref().map_or(0, |(line, _)| line.len());
            if self.held - before + line.len() > HELD {
                self.no_room();
                return Some((line, priority));
            }
            self.held = self.held - before + line.len();
            open.held = Some((line, priority));
            open.count += 1;
            (open.first, open.last) = (open.first.min(time), open.last.max(time));
            self.counters.held.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if self.open.len() >= self.capacity {
            self.no_room();
        } else {
            self.open.insert(key, Window { count: 1, first: time, last: time, held: None });
            self.ends.push(Reverse((now.saturating_add(window), key)));
            self.counters.open.fetch_add(1, Ordering::Relaxed);
        }
        Some((line, priority))
    }

    fn no_room(&mut self) {
        self.counters.unlimited.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.full, true) {
            log::write(
                Level::Warning,
                format_args!(
                    "alert_limits: there is no room for more than {} different alerts at a time, or {} MiB of their lines: others are \
                     written as if they had no limit",
                    self.capacity,
                    HELD >> 20
                ),
            );
        }
    }

    /// The line of a window that has closed; ask until there is none.
    pub fn closed(&mut self, now: Duration) -> Option<(Box<[u8]>, Priority)> {
        while self.ends.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            let window = self.ends.pop().and_then(|Reverse((_, key))| self.open.remove(&key));
            self.counters.open.fetch_sub(1, Ordering::Relaxed);
            self.full &= self.open.len() > self.capacity / 2;
            if let Some(Window { count, first, last, held: Some((line, priority)) }) = window {
                self.held -= line.len();
                self.counters.summaries.fetch_add(1, Ordering::Relaxed);
                return Some((summary(&line, count, first, last), priority));
            }
        }
        None
    }

    /// When the next window closes.
    pub fn next_end(&self) -> Option<Duration> {
        self.ends.peek().map(|Reverse((end, _))| *end)
    }
}

/// The latest line of a window, with what is told of all of them: in `output_fields`, and behind the text.
fn summary(line: &[u8], count: u64, first: u64, last: u64) -> Box<[u8]> {
    let arena = Bump::new();
    let time = |ns| {
        let text = format_time(ns, 0, Form::Iso8601, true, &arena);
        format!("{}Z", String::from_utf8_lossy(text.strip_suffix(b"+0000").unwrap_or(text)))
    };
    let (first, last) = (time(first), time(last));
    let text = format!(" {COUNT}={count} {FIRST}={first} {LAST}={last}");
    let Ok(serde_json::Value::Object(mut alert)) = serde_json::from_slice(line) else {
        return [line, text.as_bytes()].concat().into();
    };
    for name in ["output", "message"] {
        if let Some(serde_json::Value::String(value)) = alert.get_mut(name) {
            value.push_str(&text);
        }
    }
    // Where fields are left out as well, nothing else might tell.
    let fields = alert.entry("output_fields").or_insert_with(|| serde_json::Map::new().into());
    if let Some(fields) = fields.as_object_mut() {
        fields.insert(COUNT.to_owned(), count.into());
        fields.insert(FIRST.to_owned(), first.into());
        fields.insert(LAST.to_owned(), last.into());
    }
    // Members in the order of their names, as in every alert.
    let mut out = Vec::with_capacity(line.len() + 2 * text.len());
    write_sorted(&serde_json::Value::Object(alert), &mut out);
    out.into()
}

/// Writes objects with their members sorted, whatever order the map has that the library was built with.
fn write_sorted(value: &serde_json::Value, out: &mut Vec<u8>) {
    let serde_json::Value::Object(members) = value else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{value}");
        return;
    };
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    out.push(b'{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::push_string(name.as_bytes(), out);
        out.push(b':');
        write_sorted(value, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
