//! Match tables: all comparisons of one value, of all rules, asked together.
//!
//! A column is a term with every predicate on it. Each kind of comparison has a representation whose cost does not grow with
//! the number of predicates that do not hold: a hash for equal values and sets, tries for prefixes and (reversed)
//! suffixes, an automaton for texts searched for, one for all regular expressions, a tree of components for `pmatch`, a hash per prefix length for networks.
//! A pattern is tried only where the text it begins with stands. Few comparisons of a kind are made one by one: that is
//! cheaper, and numbers' order and everything that is not a comparison of one value with constants always are.
//! Invariant: what a table says of a predicate is what its test says.

use super::literal::{Literal, Net};
use super::pathprefix::PathTree;
use super::posix::{self, Pattern};
use super::predicate::{Check, PredicateId, RightKey, Table, Term, TermId};
use super::test::{Test, TestKind, is_clean, number_bits};
use super::trie::Trie;
use crate::event::value::{Multi, Part, Value};
use aho_corasick::automaton::{Automaton, OverlappingState};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Input, MatchKind};
use bumpalo::Bump;
use hashbrown::HashMap;
use regex_automata::{PatternSet, meta};
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::OnceLock;

/// When a kind of comparison gets a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tables {
    /// When it has enough members to be cheaper.
    #[default]
    Sized,
    /// Always: what tests force.
    Always,
    Never,
}

/// Members below which comparing one by one is cheaper than a table: a hash costs about as much as three comparisons of
/// texts, which differ in length mostly; an automaton looks at every byte, a search at a few.
const LEAST: [(Kind, usize); KINDS] = [
    (Kind::Equal, 4),
    (Kind::Prefix, 4),
    (Kind::Suffix, 4),
    (Kind::Search, 6),
    (Kind::SearchAnyCase, 4),
    (Kind::Path, 3),
    (Kind::Pattern, 4),
    (Kind::Network, 3),
    (Kind::Regex, 4),
];

/// A kind of comparison with a representation of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Equal,
    Prefix,
    Suffix,
    Search,
    SearchAnyCase,
    Path,
    Pattern,
    Network,
    Regex,
}

const KINDS: usize = 9;

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Asked(u16);

impl Asked {
    pub const ALL: Asked = Asked(u16::MAX);

    pub fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    fn only(kind: Kind) -> Asked {
        let mut asked = Asked::default();
        asked.add(kind);
        asked
    }

    fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }
}

type Ids = Vec<PredicateId>;

/// An automaton, and the predicates of each of its texts.
#[derive(Debug)]
struct Search {
    automaton: NFA,
    ids: Vec<Ids>,
}

impl Search {
    /// None when the automaton cannot be built (it would be too large): then its members are asked one by one.
    fn new(texts: &HashMap<Box<[u8]>, Ids>, any_case: bool) -> Option<Search> {
        let mut builder = NFA::builder();
        builder.match_kind(MatchKind::Standard).ascii_case_insensitive(any_case);
        let automaton = builder.build(texts.keys()).ok()?;
        Some(Search { automaton, ids: texts.values().cloned().collect() })
    }

    fn find(&self, text: &[u8], found: &mut impl FnMut(PredicateId)) {
        let (input, mut state) = (Input::new(text), OverlappingState::start());
        loop {
            // Searches of this kind are supported by this automaton: it cannot fail.
            if self.automaton.try_find_overlapping(&input, &mut state).is_err() {
                return;
            }
            let Some(hit) = state.get_match() else { return };
            self.ids[hit.pattern().as_usize()].iter().for_each(|id| found(*id));
        }
    }
}

/// Regular expressions as one automaton.
#[derive(Debug)]
struct Regexes {
    patterns: Vec<Pattern>,
    /// By pattern.
    ids: Vec<PredicateId>,
    /// Made when it is asked for the first time, or at once, as that of a [`Pattern`]; None when it would be too large.
    automaton: OnceLock<Option<meta::Regex>>,
}

thread_local! {
    /// Which patterns match: as large as the largest automaton asked so far.
    static MATCHING: RefCell<PatternSet> = RefCell::new(PatternSet::new(0));
}

impl Regexes {
    fn new(members: Vec<(PredicateId, Pattern)>) -> Regexes {
        let (ids, patterns) = members.into_iter().unzip();
        let regexes = Regexes { patterns, ids, automaton: OnceLock::new() };
        if regexes.patterns.iter().map(Pattern::most).fold(0, usize::saturating_add) > posix::MOST {
            regexes.automaton();
        }
        regexes
    }

    /// None when it would be too large: then its members are asked one by one.
    #[inline]
    fn automaton(&self) -> Option<&meta::Regex> {
        self.automaton.get_or_init(|| self.build()).as_ref()
    }

    #[cold]
    fn build(&self) -> Option<meta::Regex> {
        let config = posix::config()
            .match_kind(regex_automata::MatchKind::All)
            .nfa_size_limit(Some(8 << 20))
            .hybrid_cache_capacity(1 << 20);
        let patterns: Vec<&str> = self.patterns.iter().map(Pattern::translated).collect();
        meta::Builder::new().configure(config).syntax(posix::syntax()).build_many(&patterns).ok()
    }

    /// `text` is UTF-8.
    fn find(&self, automaton: &meta::Regex, text: &[u8], found: &mut impl FnMut(PredicateId)) {
        MATCHING.with_borrow_mut(|matching| {
            if matching.capacity() < self.ids.len() {
                *matching = PatternSet::new(self.ids.len());
            }
            matching.clear();
            automaton.which_overlapping_matches(&regex_automata::Input::new(text), matching);
            matching.iter().for_each(|pattern| found(self.ids[pattern.as_usize()]));
        });
    }
}

/// All predicates on a term.
#[derive(Debug)]
pub struct Column {
    pub term: TermId,
    pub predicates: Vec<PredicateId>,
    /// Asked one by one.
    single: Vec<PredicateId>,
    texts: HashMap<Box<[u8]>, Ids>,
    numbers: HashMap<u64, Ids>,
    addresses: HashMap<IpAddr, Ids>,
    /// By length of the prefix, IPv4 then IPv6.
    nets: [Vec<(u8, HashMap<u128, Ids>)>; 2],
    prefixes: Trie,
    suffixes: Trie,
    /// Patterns by the text they begin with: candidates only.
    patterns: Trie,
    paths: PathTree,
    search: Option<Search>,
    search_any_case: Option<Search>,
    regexes: Option<Regexes>,
    kinds: Asked,
    is_function: bool,
    part: Option<Part>,
}

/// What a test of constants compares, if one of the tables can hold it.
fn kind_of(test: &Test, multi: Multi) -> Option<Kind> {
    // All of a connection's ends, any of the ancestors: asked one by one.
    if test.negate {
        return None;
    }
    let _ = multi;
    Some(match &test.kind {
        TestKind::Equal(Literal::Bytes(_) | Literal::U64(_) | Literal::I64(_) | Literal::Addr(_)) => Kind::Equal,
        TestKind::NumberSet(_) | TestKind::BytesSet(_) | TestKind::AddrSet(_) => Kind::Equal,
        TestKind::Nets(_) => Kind::Network,
        TestKind::Contains(finder) if !finder.needle().is_empty() => Kind::Search,
        TestKind::IContains(needle) if !needle.is_empty() => Kind::SearchAnyCase,
        TestKind::StartsWith(_) => Kind::Prefix,
        TestKind::EndsWith(_) => Kind::Suffix,
        TestKind::Glob(glob) if !glob.literal_prefix().is_empty() => Kind::Pattern,
        TestKind::PathPrefix(_) => Kind::Path,
        TestKind::Regex(_) => Kind::Regex,
        _ => return None,
    })
}

impl Column {
    /// Every column of a table.
    pub fn all(table: &Table, tables: Tables) -> Vec<Column> {
        let mut by_term: HashMap<TermId, Vec<PredicateId>> = HashMap::new();
        let mut order = Vec::new();
        for id in (0..table.predicates.len() as u32).map(PredicateId) {
            let predicate = table.predicate(id);
            let list = by_term.entry(predicate.key.left).or_insert_with(|| {
                order.push(predicate.key.left);
                Vec::new()
            });
            list.push(id);
        }
        order
            .into_iter()
            .map(|term| Column::new(term, by_term.remove(&term).unwrap_or_default(), table, tables))
            .collect()
    }

    fn new(term: TermId, predicates: Vec<PredicateId>, table: &Table, tables: Tables) -> Column {
        let Term { multi, part, .. } = *table.term(term);
        let is_function = !predicates.iter().any(|id| matches!(table.predicate(*id).check, Check::Term(..)));
        let mut column = Column {
            term,
            single: Vec::new(),
            texts: HashMap::new(),
            numbers: HashMap::new(),
            addresses: HashMap::new(),
            nets: Default::default(),
            prefixes: Trie::default(),
            suffixes: Trie::default(),
            patterns: Trie::default(),
            paths: PathTree::default(),
            search: None,
            search_any_case: None,
            regexes: None,
            kinds: Asked::default(),
            is_function,
            part: part.filter(|_| is_function),
            predicates,
        };
        let kind = |id: PredicateId| match &table.predicate(id).check {
            Check::Literal(test) => kind_of(test, multi).map(|kind| (kind, test)),
            _ => None,
        };
        let mut counts = [0usize; KINDS];
        for (kind, test) in column.predicates.iter().filter_map(|id| kind(*id)) {
            counts[kind as usize] += members(test);
        }
        for (kind, least) in LEAST {
            let enough = match tables {
                Tables::Sized => counts[kind as usize] >= least,
                Tables::Always => counts[kind as usize] > 0,
                Tables::Never => false,
            };
            if enough {
                column.kinds.add(kind);
            }
        }
        let (mut search, mut search_any_case): (HashMap<_, Ids>, HashMap<_, Ids>) = Default::default();
        let mut regexes = Vec::new();
        for id in column.predicates.clone() {
            match kind(id).filter(|(kind, _)| column.kinds.has(*kind)) {
                None => column.single.push(id),
                Some((Kind::Search, test)) => {
                    let TestKind::Contains(finder) = &test.kind else { continue };
                    search.entry(finder.needle().into()).or_default().push(id);
                }
                Some((Kind::SearchAnyCase, test)) => {
                    let TestKind::IContains(needle) = &test.kind else { continue };
                    search_any_case.entry(needle.clone()).or_default().push(id);
                }
                Some((Kind::Regex, test)) => {
                    let TestKind::Regex(regex) = &test.kind else { continue };
                    regexes.push((id, Pattern::clone(regex)));
                }
                Some((_, test)) => column.put(id, test, &table.predicate(id).key.right),
            }
        }
        for (kind, texts, any_case) in [(Kind::Search, search, false), (Kind::SearchAnyCase, search_any_case, true)] {
            if texts.is_empty() {
                continue;
            }
            let built = Search::new(&texts, any_case);
            if built.is_none() {
                column.single.extend(texts.values().flatten());
                column.kinds.0 &= !(1 << kind as u16);
            }
            *if any_case { &mut column.search_any_case } else { &mut column.search } = built;
        }
        column.regexes = (!regexes.is_empty()).then(|| Regexes::new(regexes));
        column
    }

    fn put(&mut self, id: PredicateId, test: &Test, right: &RightKey) {
        match &test.kind {
            TestKind::Equal(Literal::Bytes(text)) => self.texts.entry(text.clone()).or_default().push(id),
            TestKind::Equal(Literal::U64(n)) => self.numbers.entry(*n).or_default().push(id),
            TestKind::Equal(Literal::I64(n)) => self.numbers.entry(*n as u64).or_default().push(id),
            TestKind::Equal(Literal::Addr(ip)) => self.addresses.entry(*ip).or_default().push(id),
            TestKind::NumberSet(set) => set.iter().for_each(|n| self.numbers.entry(*n).or_default().push(id)),
            TestKind::BytesSet(set) => {
                set.texts().for_each(|text| self.texts.entry_ref(text).or_default().push(id));
            }
            TestKind::AddrSet(set) => set.iter().for_each(|ip| self.addresses.entry(*ip).or_default().push(id)),
            TestKind::Nets(nets) => nets.iter().for_each(|net| self.put_net(id, *net)),
            TestKind::StartsWith(prefix) => self.prefixes.insert(prefix.iter().copied(), id),
            TestKind::EndsWith(suffix) => self.suffixes.insert(suffix.iter().rev().copied(), id),
            TestKind::Glob(glob) => self.patterns.insert(glob.literal_prefix().into_iter(), id),
            TestKind::PathPrefix(_) => {
                if let RightKey::Values(paths) = right {
                    paths.iter().for_each(|path| self.paths.insert(path, id.0));
                }
            }
            _ => self.single.push(id),
        }
    }

    fn put_net(&mut self, id: PredicateId, net: Net) {
        let (family, bits) = (usize::from(!net.is_v4()), net.bits());
        let by_length = &mut self.nets[family];
        let at = by_length.iter().position(|(length, _)| *length == bits).unwrap_or_else(|| {
            by_length.push((bits, HashMap::new()));
            by_length.len() - 1
        });
        let ids = by_length[at].1.entry(masked(net.base(), bits)).or_default();
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }

    /// The kind whose table answers a predicate; None when it is asked by itself.
    pub fn kind(&self, id: PredicateId, table: &Table) -> Option<Kind> {
        let predicate = table.predicate(id);
        let Check::Literal(test) = &predicate.check else { return None };
        let kind = kind_of(test, table.term(predicate.key.left).multi)?;
        self.kinds.has(kind).then_some(kind)
    }

    /// Hands out the predicates of the tables asked that hold for a value, some more than once.
    pub fn holding<'e>(
        &self,
        value: &Value<'e>,
        asked: Asked,
        table: &Table,
        arena: &'e Bump,
        found: &mut impl FnMut(PredicateId),
    ) {
        match value {
            Value::List(values) => values.iter().for_each(|value| self.holding(value, asked, table, arena, found)),
            Value::Str(text) | Value::Bytes(text) => {
                if asked.has(Kind::Equal)
                    && let Some(ids) = self.texts.get(*text)
                {
                    ids.iter().for_each(|id| found(*id));
                }
                if asked.has(Kind::Prefix) {
                    self.prefixes.walk(text.iter().copied(), found);
                }
                if asked.has(Kind::Suffix) {
                    self.suffixes.walk(text.iter().rev().copied(), found);
                }
                if asked.has(Kind::Path) {
                    self.paths.walk(text, &mut |id| found(PredicateId(id)));
                }
                if asked.has(Kind::Pattern) {
                    self.patterns.walk(text.iter().copied(), &mut |id| {
                        let predicate = table.predicate(id);
                        if let Check::Literal(test) = &predicate.check
                            && test.scalar(value, arena)
                        {
                            found(id);
                        }
                    });
                }
                if asked.has(Kind::Search)
                    && let Some(search) = &self.search
                {
                    search.find(text, found);
                }
                if asked.has(Kind::SearchAnyCase)
                    && let Some(search) = &self.search_any_case
                {
                    search.find(text, found);
                }
                if asked.has(Kind::Regex)
                    && let Some(regexes) = &self.regexes
                {
                    match regexes.automaton().filter(|_| is_clean(text)) {
                        Some(automaton) => regexes.find(automaton, text, found),
                        // A text that is not clean is repaired first: as its test does.
                        None => self.one_by_one(value, Asked::only(Kind::Regex), table, arena, found),
                    }
                }
            }
            Value::U64(_) | Value::I64(_) => {
                if asked.has(Kind::Equal)
                    && let Some(ids) = number_bits(value).and_then(|n| self.numbers.get(&n))
                {
                    ids.iter().for_each(|id| found(*id));
                }
            }
            Value::Ip(ip) => {
                if asked.has(Kind::Equal)
                    && let Some(ids) = self.addresses.get(ip)
                {
                    ids.iter().for_each(|id| found(*id));
                }
                if asked.has(Kind::Network) {
                    for (bits, nets) in &self.nets[usize::from(ip.is_ipv6())] {
                        if let Some(ids) = nets.get(&masked(*ip, *bits)) {
                            ids.iter().for_each(|id| found(*id));
                        }
                    }
                }
            }
            // Of another type than the field's: no table was made for it.
            Value::Bool(_) | Value::F64(_) => self.one_by_one(value, asked, table, arena, found),
        }
    }

    fn one_by_one<'e>(
        &self,
        value: &Value<'e>,
        asked: Asked,
        table: &Table,
        arena: &'e Bump,
        found: &mut impl FnMut(PredicateId),
    ) {
        for id in &self.predicates {
            if let (Some(kind), Check::Literal(test)) = (self.kind(*id, table), &table.predicate(*id).check)
                && asked.has(kind)
                && test.scalar(value, arena)
            {
                found(*id);
            }
        }
    }

    /// Hands out every predicate on a value that holds, in no order, some more than once. `right` fetches the other side of
    /// a comparison of fields.
    pub fn answer<'e>(
        &self,
        value: &Value<'e>,
        table: &Table,
        arena: &'e Bump,
        mut right: impl FnMut(TermId) -> Option<Value<'e>>,
        found: &mut impl FnMut(PredicateId),
    ) {
        self.holding(value, Asked::ALL, table, arena, found);
        let multi = table.term(self.term).multi;
        for id in &self.single {
            if table.predicate(*id).check.holds(multi, value, arena, &mut right) {
                found(*id);
            }
        }
    }

    /// Whether the answer follows from the value of the term alone.
    pub fn is_function(&self) -> bool {
        self.is_function
    }

    /// The part of the task's state that the answer follows from, where there is one.
    pub fn part(&self) -> Option<Part> {
        self.part
    }

    /// How a predicate is decided, in a few words.
    pub fn representation(&self, id: PredicateId, table: &Table) -> String {
        let count = |kind: Kind| {
            let of_kind = self.predicates.iter().filter(|id| self.kind(**id, table) == Some(kind));
            of_kind
                .map(|id| if let Check::Literal(test) = &table.predicate(*id).check { members(test) } else { 0 })
                .sum()
        };
        let Some(kind) = self.kind(id, table) else { return "by itself".to_owned() };
        let members: usize = count(kind);
        match kind {
            Kind::Equal => format!("one hash of {members}"),
            Kind::Prefix => format!("one trie of {members}"),
            Kind::Suffix => format!("one reversed trie of {members}"),
            Kind::Search | Kind::SearchAnyCase => format!("one automaton of {members}"),
            Kind::Path => format!("one tree of {members} paths"),
            Kind::Pattern => format!("behind a trie of {members} beginnings"),
            Kind::Regex if self.regexes.as_ref().and_then(Regexes::automaton).is_none() => "by itself".to_owned(),
            Kind::Regex => format!("one automaton of {members} expressions"),
            Kind::Network => format!("one table of {members} networks"),
        }
    }
}

/// Values that a test compares with.
fn members(test: &Test) -> usize {
    match &test.kind {
        TestKind::NumberSet(set) => set.len(),
        TestKind::BytesSet(set) => set.texts().len(),
        TestKind::AddrSet(set) => set.len(),
        TestKind::Nets(nets) => nets.len(),
        _ => 1,
    }
}

fn masked(ip: IpAddr, bits: u8) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)),
        IpAddr::V6(ip) => u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_may_be_large_together_are_not_left_to_whoever_asks_first() {
        let column = |number: usize, pattern: &str| {
            let members = (0..number as u32).map(|at| (PredicateId(at), Pattern::new(pattern).expect("valid")));
            Regexes::new(members.collect()).automaton.get().is_some()
        };
        assert!(!column(3, "(docker[.]io|ghcr[.]io)/.*"));
        assert!(column(300, "(docker[.]io|ghcr[.]io)/.*"));
    }
}
