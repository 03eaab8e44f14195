//! How often each rule has alerted since the start, however often rules were loaded meanwhile.

use super::plan::{Labels, Plan};
use crate::rules::Priority;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A rule and its counter.
#[derive(Clone, Debug)]
pub struct Counted {
    pub name: String,
    pub source: String,
    pub priority: Priority,
    pub tags: Vec<String>,
    count: Arc<AtomicU64>,
}

impl Counted {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Rules in the order in which they were first loaded.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rules: Vec<Counted>,
}

impl Tally {
    /// The counters for the loops, by rule index: a rule that was there before goes on with its own.
    pub fn counters(&mut self, plan: &Plan) -> Box<[Arc<AtomicU64>]> {
        let known = self.rules.iter().enumerate().map(|(at, rule)| ((rule.name.clone(), rule.source.clone()), at));
        let known: HashMap<(String, String), usize> = known.collect();
        let mut counter = |labels: &Labels| {
            let Labels { name, source, priority, tags } = labels.clone();
            if let Some(at) = known.get(&(name.clone(), source.clone())) {
                let rule = &mut self.rules[*at];
                (rule.priority, rule.tags) = (priority, tags);
                return rule.count.clone();
            }
            let count = Arc::new(AtomicU64::new(0));
            self.rules.push(Counted { name, source, priority, tags, count: count.clone() });
            count
        };
        plan.labels.iter().map(&mut counter).collect()
    }

    pub fn rules(&self) -> &[Counted] {
        &self.rules
    }
}
