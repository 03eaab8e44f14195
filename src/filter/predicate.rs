//! Terms and predicates: every value and every comparison of all rules, each once.
//!
//! A term is a field with its argument, a literal, or a transformer over terms. A predicate is a term, an operator
//! and a right-hand side. Rules name both by index, so what two rules share is evaluated once per event.
//! Invariant: indices stay valid as long as the table; nothing is ever removed.

use super::ast::{Modifier, Op, Text, TransformerName};
use super::test::Test;
use super::transform::TermType;
use crate::event::value::{FieldUse, Multi, Part};
use hashbrown::HashMap;
use std::sync::Arc;

/// Index of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TermId(pub u32);

/// Index of a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PredicateId(pub u32);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TermKind {
    Field(FieldUse),
    Literal(Text),
    List(Box<[TermId]>),
    Apply { name: TransformerName, args: Box<[TermId]>, selector: Option<Text> },
}

#[derive(Clone, Debug)]
pub struct Term {
    pub kind: TermKind,
    pub ty: TermType,
    /// What several values of a scalar mean.
    pub multi: Multi,
    /// Does the value depend on the task alone?
    pub task_only: bool,
    /// Does it depend on what the event says of itself alone?
    pub of_record: bool,
    /// The part of the task's state that the value follows from, where there is one.
    pub part: Option<Part>,
}

/// The right-hand side as written, for interning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RightKey {
    None,
    Values(Arc<[Text]>),
    Term(TermId),
}

/// `None` as operator is `exists`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PredicateKey {
    pub left: TermId,
    pub op: Option<Op>,
    pub modifier: Option<Modifier>,
    pub right: RightKey,
}

#[derive(Debug)]
pub enum Check {
    Exists,
    Literal(Test),
    /// Every element is in the set / one is. `negate` of the test is unused.
    ListIn(Test),
    ListIntersects(Test),
    /// Field to field.
    Term(Op, TermId),
}

#[derive(Debug)]
pub struct Predicate {
    pub check: Check,
    /// Of the key: what is compared, and what several values of it mean.
    pub left: TermId,
    pub multi: Multi,
    /// What made it; not needed to decide it, so out of the way.
    pub key: Box<PredicateKey>,
    /// Is the left side `evt.type`, so that the event's code decides?
    pub event_type: bool,
    pub task_only: bool,
    pub of_record: bool,
}

/// All terms and predicates of a compilation.
#[derive(Debug, Default)]
pub struct Table {
    pub terms: Vec<Term>,
    pub predicates: Vec<Predicate>,
    term_ids: HashMap<TermKind, TermId>,
    predicate_ids: HashMap<PredicateKey, PredicateId>,
}

impl Table {
    pub fn term(&self, id: TermId) -> &Term {
        &self.terms[id.0 as usize]
    }

    pub fn predicate(&self, id: PredicateId) -> &Predicate {
        &self.predicates[id.0 as usize]
    }

    pub fn intern_term(&mut self, term: Term) -> TermId {
        *self.term_ids.entry(term.kind.clone()).or_insert_with(|| {
            self.terms.push(term);
            TermId(self.terms.len() as u32 - 1)
        })
    }

    /// The predicate of this key, built by `build` when it is new.
    pub fn intern_predicate<Er>(
        &mut self,
        key: PredicateKey,
        build: impl FnOnce(&Self) -> Result<(Check, bool), Er>,
    ) -> Result<PredicateId, Er> {
        if let Some(id) = self.predicate_ids.get(&key) {
            return Ok(*id);
        }
        let (check, event_type) = build(self)?;
        let both = |of: fn(&Term) -> bool| {
            let right = if let Check::Term(_, right) = check { of(self.term(right)) } else { true };
            of(self.term(key.left)) && right
        };
        let (task_only, of_record) = (both(|term| term.task_only), both(|term| term.of_record));
        let (left, multi) = (key.left, self.term(key.left).multi);
        let key_kept = Box::new(key.clone());
        self.predicates.push(Predicate { check, left, multi, key: key_kept, event_type, task_only, of_record });
        let id = PredicateId(self.predicates.len() as u32 - 1);
        self.predicate_ids.insert(key, id);
        Ok(id)
    }
}
