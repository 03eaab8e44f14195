//! How often each rule has alerted since the start and what it cost, however often rules were loaded meanwhile.

use super::plan::{Labels, Plan};
use crate::rules::Priority;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the loops count of a rule.
#[derive(Debug, Default)]
pub struct Counters {
    pub alerts: AtomicU64,
    /// Time its condition took, estimated from a sample (`watch.rs`).
    pub nanoseconds: AtomicU64,
}

/// A rule and its counters.
#[derive(Clone, Debug)]
pub struct Counted {
    pub name: String,
    pub source: String,
    pub priority: Priority,
    pub tags: Vec<String>,
    counters: Arc<Counters>,
}

impl Counted {
    pub fn count(&self) -> u64 {
        self.counters.alerts.load(Ordering::Relaxed)
    }

    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.counters.nanoseconds.load(Ordering::Relaxed))
    }
}

/// Rules in the order in which they were first loaded.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rules: Vec<Counted>,
}

impl Tally {
    /// The counters for the loops, by rule index: a rule that was there before goes on with its own.
    pub fn counters(&mut self, plan: &Plan) -> Box<[Arc<Counters>]> {
        let known = self.rules.iter().enumerate().map(|(at, rule)| ((rule.name.clone(), rule.source.clone()), at));
        let known: HashMap<(String, String), usize> = known.collect();
        let mut counter = |labels: &Labels| {
            let Labels { name, source, priority, tags } = labels.clone();
            if let Some(at) = known.get(&(name.clone(), source.clone())) {
                let rule = &mut self.rules[*at];
                (rule.priority, rule.tags) = (priority, tags);
                return rule.counters.clone();
            }
            let counters = Arc::<Counters>::default();
            self.rules.push(Counted { name, source, priority, tags, counters: counters.clone() });
            counters
        };
        plan.labels.iter().map(&mut counter).collect()
    }

    pub fn rules(&self) -> &[Counted] {
        &self.rules
    }
}
