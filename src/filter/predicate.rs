//! Terms and predicates: every value and every comparison of all rules, each once.
//!
//! A term is a field with its argument, a literal, or a transformer over terms. A predicate is a term, an operator
//! and a right-hand side. Rules name both by index, so what two rules share is evaluated once per event.
//! Invariant: indices stay valid as long as the table; nothing is ever removed.

use super::ast::{Modifier, Op, Text, TransformerName};
use super::test::{Test, number_bits, ordered};
use super::transform::TermType;
use crate::event::value::{FieldUse, Multi, Part, Value};
use bumpalo::Bump;
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

impl Check {
    /// Whether it holds of a value that is there. `right` fetches the other side of a field-to-field comparison.
    #[inline]
    pub fn holds<'e>(
        &self,
        multi: Multi,
        left: &Value<'e>,
        arena: &'e Bump,
        right: impl FnOnce(TermId) -> Option<Value<'e>>,
    ) -> bool {
        match (self, left) {
            (Check::Exists, Value::List([])) => multi != Multi::AnyAncestor,
            (Check::Exists, _) => true,
            (Check::Literal(test), Value::List(values)) => test.several(values, multi, arena),
            (Check::Literal(test), value) => test.scalar(value, arena),
            (Check::ListIn(test), Value::List(values)) => values.iter().all(|v| test.scalar(v, arena)),
            (Check::ListIntersects(test), Value::List(values)) => values.iter().any(|v| test.scalar(v, arena)),
            (Check::ListIn(test) | Check::ListIntersects(test), value) => test.scalar(value, arena),
            (Check::Term(op, id), left) => right(*id).is_some_and(|right| field_to_field(*op, left, &right)),
        }
    }
}

fn field_to_field(op: Op, left: &Value<'_>, right: &Value<'_>) -> bool {
    let contains = |v: &Value<'_>| match right {
        Value::List(set) => set.contains(v),
        one => one == v,
    };
    if let Value::List(values) = left {
        return match op {
            Op::In => values.iter().all(contains),
            Op::Intersects => values.iter().any(contains),
            _ => false,
        };
    }
    match op {
        Op::In | Op::Intersects => return contains(left),
        Op::Eq | Op::EqEq => return left == right,
        Op::Ne => return left != right,
        _ => {}
    }
    match (left, right) {
        (Value::Str(a) | Value::Bytes(a), Value::Str(b) | Value::Bytes(b)) => match op {
            Op::Contains | Op::BContains => memchr::memmem::find(a, b).is_some(),
            Op::IContains => b.is_empty() || a.windows(b.len()).any(|window| window.eq_ignore_ascii_case(b)),
            Op::StartsWith | Op::BStartsWith => a.starts_with(b),
            Op::EndsWith => a.ends_with(b),
            // The one comparison that may allocate: the pattern is another field's value.
            Op::Glob => super::glob::Glob::new(b).is_match(a),
            Op::IGlob => super::glob::Glob::ignoring_case(b).is_match(a),
            op => ordered(op, a.cmp(b)),
        },
        (Value::I64(a), Value::I64(b)) => ordered(op, a.cmp(b)),
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b).is_some_and(|o| ordered(op, o)),
        (a, b) => match (number_bits(a), number_bits(b)) {
            (Some(a), Some(b)) => ordered(op, a.cmp(&b)),
            _ => false,
        },
    }
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
