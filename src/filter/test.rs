//! What a predicate does to a value: the typed comparisons, ready to run.
//!
//! Built once when rules load, run for every event. Invariant: running one never touches the heap (subjects of
//! regular expressions that are not UTF-8 are repaired in the arena), but the first times that an expression is asked, whose
//! automaton grows then, and is made if it is small.

use super::ast::{Modifier, Op};
use super::glob::Glob;
use super::host::Host;
use super::literal::{Literal, Net};
use super::pathprefix::PathPrefixes;
use super::posix::Pattern;
use crate::event::value::{Multi, Value};
use bumpalo::Bump;
use hashbrown::HashSet;
use memchr::memmem::Finder;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

/// A comparison of one value; `negate` turns `=` into `!=`.
#[derive(Debug)]
pub struct Test {
    pub kind: TestKind,
    pub negate: bool,
}

#[derive(Debug)]
pub enum TestKind {
    Const(bool),
    Equal(Literal),
    Order(Op, Literal),
    NumberSet(Box<[u64]>),
    BytesSet(Box<BytesSet>),
    AddrSet(Box<HashSet<IpAddr>>),
    Nets(Box<[Net]>),
    /// The addresses of any of these.
    Hosts(Box<[Arc<Host>]>),
    Contains(Box<Finder<'static>>),
    IContains(Box<[u8]>),
    StartsWith(Box<[u8]>),
    EndsWith(Box<[u8]>),
    Glob(Glob),
    Regex(Box<Pattern>),
    PathPrefix(Box<PathPrefixes>),
    /// A modifier over several comparisons.
    Many(Modifier, Box<[Test]>),
    /// `evt.around[T]=D`: the value is the distance from T in nanoseconds.
    Within(u64),
}

/// A set of byte strings behind a length filter.
#[derive(Debug, Default)]
pub struct BytesSet {
    min: usize,
    max: usize,
    set: HashSet<Box<[u8]>>,
}

impl BytesSet {
    pub fn new(values: impl IntoIterator<Item = Box<[u8]>>) -> Self {
        let set: HashSet<_> = values.into_iter().collect();
        BytesSet {
            min: set.iter().map(|v| v.len()).min().unwrap_or(usize::MAX),
            max: set.iter().map(|v| v.len()).max().unwrap_or(0),
            set,
        }
    }

    pub fn texts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.set.iter().map(|text| &**text)
    }

    pub fn contains(&self, value: &[u8]) -> bool {
        (self.min..=self.max).contains(&value.len()) && self.set.contains(value)
    }
}

impl TestKind {
    pub const fn plain(self) -> Test {
        Test { kind: self, negate: false }
    }
}

fn bytes<'a>(v: &Value<'a>) -> Option<&'a [u8]> {
    match v {
        Value::Str(s) | Value::Bytes(s) => Some(s),
        _ => None,
    }
}

/// The bits of a number: what sets of numbers are keyed by.
pub fn number_bits(v: &Value<'_>) -> Option<u64> {
    match *v {
        Value::U64(n) => Some(n),
        Value::I64(n) => Some(n as u64),
        Value::Bool(b) => Some(u64::from(b)),
        Value::F64(n) => Some(n.to_bits()),
        _ => None,
    }
}

pub fn literal_bits(literal: &Literal) -> Option<u64> {
    match *literal {
        Literal::U64(n) => Some(n),
        Literal::I64(n) => Some(n as u64),
        Literal::Bool(b) => Some(u64::from(b)),
        Literal::F64(n) => Some(n.to_bits()),
        _ => None,
    }
}

fn compare(v: &Value<'_>, literal: &Literal) -> Option<Ordering> {
    match (v, literal) {
        (Value::U64(a), Literal::U64(b)) => Some(a.cmp(b)),
        (Value::I64(a), Literal::I64(b)) => Some(a.cmp(b)),
        // The value's own type decides when it is not what the catalogue said (`evt.rawarg`).
        (Value::U64(a), Literal::I64(b)) => Some(a.cmp(&(*b as u64))),
        (Value::I64(a), Literal::U64(b)) => Some(a.cmp(&(*b as i64))),
        (Value::F64(a), Literal::F64(b)) => a.partial_cmp(b),
        (Value::Bool(a), Literal::Bool(b)) => Some(a.cmp(b)),
        (Value::U64(a), Literal::Bool(b)) => Some((*a != 0).cmp(b)),
        (Value::Str(a) | Value::Bytes(a), Literal::Bytes(b)) => Some((*a).cmp(b)),
        (Value::Ip(a), Literal::Addr(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

pub fn ordered(op: Op, ordering: Ordering) -> bool {
    match op {
        Op::Eq | Op::EqEq => ordering.is_eq(),
        Op::Ne => ordering.is_ne(),
        Op::Lt => ordering.is_lt(),
        Op::Le => ordering.is_le(),
        Op::Gt => ordering.is_gt(),
        Op::Ge => ordering.is_ge(),
        _ => false,
    }
}

/// Does `text` contain `needle`, whatever the case of ASCII letters? `needle` is in lower case.
pub fn contains_ignoring_case(text: &[u8], needle: &[u8]) -> bool {
    let Some((&first, _)) = needle.split_first() else { return true };
    let (lower, upper) = (first, first.to_ascii_uppercase());
    let mut at = 0;
    while at + needle.len() <= text.len() {
        let last = text.len() - needle.len();
        let Some(hit) = memchr::memchr2(lower, upper, &text[at..=last]) else { return false };
        at += hit;
        if text[at..at + needle.len()].eq_ignore_ascii_case(needle) {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether a text is characters without control characters: else it is repaired before a regular expression sees it.
pub fn is_clean(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' '..=b'~'))
        || std::str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control))
}

fn is_full_match(regex: &Pattern, subject: &[u8], arena: &Bump) -> bool {
    if is_clean(subject) {
        return regex.is_match(subject);
    }
    // Every control character, and what is no part of a character, becomes U+FFFD, as Falco's sanitiser does.
    let mut repaired = bumpalo::collections::Vec::with_capacity_in(subject.len() + 16, arena);
    for chunk in subject.utf8_chunks() {
        for c in chunk.valid().chars() {
            let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
            repaired.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if !chunk.invalid().is_empty() {
            repaired.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    regex.is_match(&repaired)
}

impl Test {
    /// The comparison with one scalar.
    pub fn scalar(&self, v: &Value<'_>, arena: &Bump) -> bool {
        let result = match &self.kind {
            TestKind::Const(b) => return *b,
            // A family or type that cannot be compared is "different".
            TestKind::Equal(literal) => compare(v, literal) == Some(Ordering::Equal),
            TestKind::Order(op, literal) => compare(v, literal).is_some_and(|o| ordered(*op, o)),
            TestKind::NumberSet(set) => number_bits(v).is_some_and(|n| set.binary_search(&n).is_ok()),
            TestKind::BytesSet(set) => bytes(v).is_some_and(|s| set.contains(s)),
            TestKind::AddrSet(set) => matches!(v, Value::Ip(ip) if set.contains(ip)),
            TestKind::Nets(nets) => matches!(v, Value::Ip(ip) if nets.iter().any(|n| n.contains(*ip))),
            TestKind::Hosts(hosts) => matches!(v, Value::Ip(ip) if hosts.iter().any(|host| host.has(*ip))),
            TestKind::Contains(finder) => bytes(v).is_some_and(|s| finder.find(s).is_some()),
            TestKind::IContains(needle) => bytes(v).is_some_and(|s| contains_ignoring_case(s, needle)),
            TestKind::StartsWith(prefix) => bytes(v).is_some_and(|s| s.starts_with(prefix)),
            TestKind::EndsWith(suffix) => bytes(v).is_some_and(|s| s.ends_with(suffix)),
            TestKind::Glob(glob) => bytes(v).is_some_and(|s| glob.is_match(s)),
            TestKind::Regex(regex) => bytes(v).is_some_and(|s| is_full_match(regex, s, arena)),
            TestKind::PathPrefix(paths) => bytes(v).is_some_and(|s| paths.is_match(s)),
            TestKind::Within(ms) => matches!(v, Value::U64(ns) if *ns <= ms.saturating_mul(1_000_000)),
            TestKind::Many(modifier, tests) => count(*modifier, tests, |t| t.scalar(v, arena)),
        };
        result != self.negate
    }

    /// The comparison with a field that has several values: one must satisfy it, for both ends of a connection
    /// and a negative comparison all must.
    pub fn several(&self, values: &[Value<'_>], multi: Multi, arena: &Bump) -> bool {
        match (&self.kind, multi) {
            (TestKind::Const(b), _) => *b,
            (TestKind::Many(modifier, tests), Multi::EitherEnd) => {
                count(*modifier, tests, |t| t.several(values, multi, arena)) != self.negate
            }
            (_, Multi::EitherEnd) if self.negate => !values.is_empty() && values.iter().all(|v| self.scalar(v, arena)),
            _ => values.iter().any(|v| self.scalar(v, arena)),
        }
    }
}

fn count(modifier: Modifier, tests: &[Test], holds: impl Fn(&Test) -> bool) -> bool {
    match modifier {
        Modifier::OneOf => tests.iter().filter(|t| holds(t)).count() == 1,
        Modifier::AnyOf => tests.iter().any(holds),
        Modifier::AllOf => !tests.is_empty() && tests.iter().all(holds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containment_ignoring_case() {
        assert!(contains_ignoring_case(b"xxHeLLo", b"hello"));
        assert!(contains_ignoring_case(b"anything", b""));
        assert!(!contains_ignoring_case(b"hell", b"hello"));
        assert!(contains_ignoring_case(b"hhello", b"hello"));
    }

    #[test]
    fn both_ends_and_ancestors_differ_on_negation() {
        let arena = Bump::new();
        let not_one = Test { kind: TestKind::Equal(Literal::U64(1)), negate: true };
        let ports = [Value::U64(1), Value::U64(2)];
        assert!(!not_one.several(&ports, Multi::EitherEnd, &arena));
        assert!(not_one.several(&ports, Multi::AnyAncestor, &arena));
        assert!(!not_one.several(&[], Multi::EitherEnd, &arena));
    }

    #[test]
    fn regular_expressions_see_clean_texts() {
        let arena = Bump::new();
        let matches = |pattern: &str, text: &[u8]| is_full_match(&Pattern::new(pattern).expect("valid"), text, &arena);
        assert!(matches("/tmp/.*", b"/tmp/new\nline") && matches("a.c", b"a\xffc") && matches("a\u{fffd}c", b"a\tc"));
        assert!(!matches("a\tc", b"a\tc") && matches("\u{e9}.", "\u{e9}x".as_bytes()));
    }
}
