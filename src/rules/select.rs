//! Which of the loaded rules run.
//!
//! Invariant: rules run in definition order, except that a rule first disabled and then enabled goes to the end.

use super::item::Priority;
use super::load::{LoadedRules, Rule};
use crate::filter::RuleIndex;
use crate::filter::glob::Glob;

/// One entry of the configuration's `rules:` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub enable: bool,
    pub what: Selected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// Name of rules; `*` stands for anything.
    Rule(String),
    Tag(String),
}

impl Selected {
    pub fn matches(&self, rule: &Rule) -> bool {
        match self {
            Selected::Rule(pattern) => wildcard(pattern).is_match(rule.name.as_bytes()),
            Selected::Tag(tag) => rule.tags.contains(tag),
        }
    }
}

/// Only `*` is special in the names of rules.
pub fn wildcard(pattern: &str) -> Glob {
    let escaped: Vec<u8> = pattern
        .bytes()
        .flat_map(|b| match b {
            b'?' | b'[' | b'\\' => vec![b'\\', b],
            b => vec![b],
        })
        .collect();
    Glob::new(&escaped)
}

/// A growing selection of rules.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    enabled: Vec<RuleIndex>,
}

impl Selection {
    /// Nothing selected.
    pub fn none() -> Self {
        Self::default()
    }

    /// The rules their files enable, unless less severe than `threshold`.
    pub fn of(loaded: &LoadedRules, threshold: Priority) -> Self {
        let mut selection = Selection::none();
        for (rule, index) in loaded.rules.iter().zip(0..) {
            if rule.enabled && rule.priority <= threshold {
                selection.enabled.push(RuleIndex(index));
            }
        }
        selection
    }

    /// Applies one entry. Rules below the threshold stay out.
    pub fn apply(&mut self, loaded: &LoadedRules, threshold: Priority, selector: &Selector) {
        let matching = (0..loaded.rules.len() as u32)
            .map(RuleIndex)
            .filter(|index| loaded.rule(*index).priority <= threshold && selector.what.matches(loaded.rule(*index)));
        self.set(matching.collect::<Vec<_>>(), selector.enable);
    }

    /// Selects or drops rules.
    pub fn set(&mut self, rules: impl IntoIterator<Item = RuleIndex>, enable: bool) {
        for index in rules {
            let at = self.enabled.iter().position(|e| *e == index);
            match (at, enable) {
                (None, true) => self.enabled.push(index),
                (Some(at), false) => {
                    self.enabled.remove(at);
                }
                _ => {}
            }
        }
    }

    /// The rules to run, in the order they are tried.
    pub fn rules(&self) -> &[RuleIndex] {
        &self.enabled
    }

    pub fn len(&self) -> usize {
        self.enabled.len()
    }

    pub fn is_empty(&self) -> bool {
        self.enabled.is_empty()
    }
}
