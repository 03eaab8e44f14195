//! What is left of the rules of an event code for tasks of one kind, in the order that asks least.
//!
//! Rules whose comparisons of the task fail are gone, the others have lost them. What several of the rest require is asked
//! once, before all of them; where many rules hang on the value of one field, one look into its tables gives the rules
//! worth asking, and the others are not touched. Invariant: a rule is passed over only when something it requires
//! was asked and does not hold.

use super::ast::Op;
use super::column::{Asked, Column};
use super::formula::{FALSE, Formulas, Node, NodeId, TRUE};
use super::literal::Literal;
use super::predicate::{Check, PredicateId, Table, TermKind};
use super::test::TestKind;
use crate::event::value::Type;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::ops::Range;

/// Where a test continues: an instruction, or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target(pub u32);

impl Target {
    pub const MATCH: Target = Target(u32::MAX);
    pub const FAIL: Target = Target(u32::MAX - 1);
}

/// "Test this predicate, go there if it holds, there if not". Targets count from the start of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instr {
    pub predicate: PredicateId,
    pub yes: Target,
    pub no: Target,
}

/// Rules that share a condition, by their places in the order in which rules are tried.
#[derive(Clone, Debug)]
pub struct Same {
    /// First instruction; [`Target::MATCH`] when nothing is left to ask.
    pub start: Target,
    pub orders: Range<u32>,
}

#[derive(Debug)]
pub enum Step {
    /// What the steps up to `otherwise` require.
    Guard { start: Target, otherwise: u32 },
    /// Rules of one condition.
    Rules(Same),
    /// The rules filed under a predicate's answer.
    Ask { predicate: PredicateId, holds: bool, filed: Range<u32> },
    /// One look into a column's tables; then the rules filed under what holds.
    Look { column: u32, asked: Asked, files: Range<u32> },
}

#[derive(Debug, Default)]
pub struct Residual {
    pub steps: Vec<Step>,
    pub code: Vec<Instr>,
    /// Sorted by predicate within each look; which of `filed` it leads to.
    pub files: Vec<(PredicateId, Range<u32>)>,
    pub filed: Vec<Same>,
    pub orders: Vec<u32>,
}

/// Rules that hang on one column below which asking each is cheaper than looking.
const LEAST_FILED: usize = 4;

/// What building needs to know.
pub struct Site<'p> {
    pub formulas: &'p mut Formulas,
    pub table: &'p Table,
    pub columns: &'p [Column],
    /// By predicate.
    pub column_of: &'p [u32],
    /// File rules even when they are few.
    pub always_file: bool,
}

/// A rule on the way: what it still requires, and whose it is.
struct Open {
    parts: Vec<NodeId>,
    orders: Vec<u32>,
}

impl Residual {
    /// From the conditions of rules in their order.
    pub fn build(conditions: &[(u32, NodeId)], site: &mut Site<'_>) -> Residual {
        let mut by_node: HashMap<NodeId, usize> = HashMap::new();
        let mut open: Vec<Open> = Vec::new();
        for (order, node) in conditions.iter().filter(|(_, node)| *node != FALSE) {
            let at = *by_node.entry(*node).or_insert_with(|| {
                let mut parts = match site.formulas.node(*node) {
                    Node::And(children) => children.to_vec(),
                    _ if *node == TRUE => Vec::new(),
                    _ => vec![*node],
                };
                parts.sort_by(|a, b| site.weight(*a).rank().total_cmp(&site.weight(*b).rank()));
                open.push(Open { parts, orders: Vec::new() });
                open.len() - 1
            });
            open[at].orders.push(*order);
        }
        let mut building = Building { residual: Residual::default(), blocks: HashMap::new() };
        building.rules(open, site);
        building.residual
    }

    /// Whether no rule can match.
    pub fn is_dead(&self) -> bool {
        self.steps.is_empty()
    }
}

struct Building {
    residual: Residual,
    blocks: HashMap<Vec<Instr>, u32>,
}

impl Building {
    fn rules(&mut self, mut open: Vec<Open>, site: &mut Site<'_>) {
        while !open.is_empty() {
            let shared = most_shared(&open, site);
            // A part that few of many share would leave a long row of such parts.
            let few = shared.is_none_or(|(_, count)| count * 4 < open.len());
            if few || site.always_file {
                let before = open.len();
                open = self.file(open, site);
                if open.len() < before {
                    continue;
                }
            }
            // What nearly always holds is not asked first, however many require it.
            let first = |rule: &Open| rule.parts.first().map_or(0.0, |part| site.weight(*part).rank());
            let own = open.iter().map(first).sum::<f64>() / open.len() as f64;
            let worth = |(part, count): &(NodeId, usize)| site.weight(*part).rank() / *count as f64 <= own;
            let Some((part, _)) = shared.filter(worth) else {
                for rule in open {
                    let same = self.same(&rule, site);
                    self.residual.steps.push(Step::Rules(same));
                }
                return;
            };
            let (mut with, without): (Vec<Open>, Vec<Open>) = open.into_iter().partition(|o| o.parts.contains(&part));
            with.iter_mut().for_each(|rule| rule.parts.retain(|p| *p != part));
            let start = self.block(part, site);
            let guard = self.residual.steps.len();
            self.residual.steps.push(Step::Guard { start, otherwise: 0 });
            self.rules(with, site);
            let end = self.residual.steps.len() as u32;
            if let Step::Guard { otherwise, .. } = &mut self.residual.steps[guard] {
                *otherwise = end;
            }
            open = without;
        }
    }

    /// Files what can be filed, if that is worth it; gives the rest.
    fn file(&mut self, open: Vec<Open>, site: &mut Site<'_>) -> Vec<Open> {
        let mut shared: HashMap<PredicateId, u32> = HashMap::new();
        for part in open.iter().flat_map(|rule| &rule.parts) {
            site.formulas.predicates(std::iter::once(*part), |id| *shared.entry(id).or_default() += 1);
        }
        let access: Vec<Option<Way>> = open
            .iter()
            .map(|rule| {
                let ways = rule.parts.iter().filter_map(|part| site.way(*part, &shared));
                let best = ways.min_by(|a, b| a.effort.total_cmp(&b.effort));
                best.filter(|way| site.always_file || way.effort < WORTH_FILING)
            })
            .collect();
        let fileable = access.iter().flatten().count();
        if fileable < if site.always_file { 1 } else { LEAST_FILED } {
            return open;
        }
        let mut rest = Vec::new();
        let mut filed: BTreeMap<(Option<u32>, PredicateId, bool), Vec<Same>> = BTreeMap::new();
        for (rule, access) in open.into_iter().zip(access) {
            let Some(access) = access else {
                rest.push(rule);
                continue;
            };
            let same = self.same(&rule, site);
            for (id, holds) in access.answers {
                let column = site.in_table(id).filter(|_| holds);
                filed.entry((column, id, holds)).or_default().push(same.clone());
            }
        }
        let out = &mut self.residual;
        let mut look: Option<(u32, Asked, u32)> = None;
        for ((column, predicate, holds), rules) in filed {
            let first = out.filed.len() as u32;
            out.filed.extend(rules);
            let filed = first..out.filed.len() as u32;
            let Some(at) = column else {
                out.steps.push(Step::Ask { predicate, holds, filed });
                continue;
            };
            if let Some((column, asked, from)) = look.take_if(|(column, ..)| *column != at) {
                out.steps.push(Step::Look { column, asked, files: from..out.files.len() as u32 });
            }
            let (_, asked, _) = look.get_or_insert((at, Asked::default(), out.files.len() as u32));
            if let Some(kind) = site.columns[at as usize].kind(predicate, site.table) {
                asked.add(kind);
            }
            out.files.push((predicate, filed));
        }
        if let Some((column, asked, from)) = look {
            out.steps.push(Step::Look { column, asked, files: from..out.files.len() as u32 });
        }
        rest
    }

    fn same(&mut self, rule: &Open, site: &mut Site<'_>) -> Same {
        let node = site.formulas.and(&rule.parts);
        let start = self.block(node, site);
        let from = self.residual.orders.len() as u32;
        self.residual.orders.extend(&rule.orders);
        Same { start, orders: from..self.residual.orders.len() as u32 }
    }

    fn block(&mut self, node: NodeId, site: &Site<'_>) -> Target {
        let mut out = Vec::new();
        match emit(node, Target::MATCH, Target::FAIL, site.formulas, &mut out) {
            end @ (Target::MATCH | Target::FAIL) => end,
            start => {
                let (code, start) = straighten(&out, start);
                let all = &mut self.residual.code;
                let at = *self.blocks.entry(code).or_insert_with_key(|block| {
                    all.extend(block);
                    (all.len() - block.len()) as u32
                });
                Target(at + start)
            }
        }
    }
}

/// The part that is best asked for all rules that share it; None when no two share any.
fn most_shared(open: &[Open], site: &Site<'_>) -> Option<(NodeId, usize)> {
    let mut counts: HashMap<NodeId, usize> = HashMap::new();
    for part in open.iter().flat_map(|rule| &rule.parts) {
        *counts.entry(*part).or_default() += 1;
    }
    let ranked = counts.into_iter().filter(|(_, count)| *count > 1).map(|(part, count)| {
        let each = site.weight(part).rank() / count as f64;
        (each, part, count)
    });
    ranked.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map(|(_, part, count)| (part, count))
}

/// What asking a node takes, in nanoseconds or so, and how often it holds: guesses that order what is asked, no more.
#[derive(Clone, Copy)]
struct Weight {
    cost: f64,
    holds: f64,
}

impl Weight {
    /// The less, the earlier it is asked: what is cheap and seldom holds comes first.
    fn rank(self) -> f64 {
        self.cost / (1.0 - self.holds).max(0.01)
    }
}

impl Site<'_> {
    /// Recurses as deep as the node is.
    fn weight(&self, node: NodeId) -> Weight {
        match self.formulas.node(node) {
            Node::Const(value) => Weight { cost: 0.0, holds: f64::from(u8::from(*value)) },
            Node::Is(id, wanted) => {
                let weight = self.weight_of(*id);
                Weight { holds: if *wanted { weight.holds } else { 1.0 - weight.holds }, ..weight }
            }
            Node::And(children) | Node::Or(children) => {
                let and = matches!(self.formulas.node(node), Node::And(_));
                // How likely the next one is asked at all.
                let (mut cost, mut goes_on) = (0.0, 1.0);
                for child in children {
                    let weight = self.weight(*child);
                    cost += goes_on * weight.cost;
                    goes_on *= if and { weight.holds } else { 1.0 - weight.holds };
                }
                Weight { cost, holds: if and { goes_on } else { 1.0 - goes_on } }
            }
        }
    }

    fn weight_of(&self, id: PredicateId) -> Weight {
        let predicate = self.table.predicate(id);
        let term = self.table.term(predicate.key.left);
        let extract = match (&term.kind, term.ty.ty) {
            (TermKind::Apply { .. } | TermKind::List(_), _) => 50.0,
            (_, Type::Bool | Type::Int64 | Type::Uint64 | Type::Uint32) => 10.0,
            (_, Type::IpAddr | Type::IpNet | Type::Port) => 20.0,
            _ => 25.0,
        };
        let (compare, holds) = match &predicate.check {
            Check::Exists => (1.0, 0.95),
            Check::Term(..) | Check::ListIn(_) | Check::ListIntersects(_) => (10.0, 0.3),
            Check::Literal(test) => {
                let (compare, holds) = match &test.kind {
                    TestKind::Equal(Literal::Bool(_)) => (1.0, 0.5),
                    TestKind::Equal(Literal::Bytes(text)) if text.len() < 4 => (2.0, 0.5),
                    TestKind::Order(Op::Ge | Op::Gt, _) => (1.0, 0.97),
                    TestKind::Equal(_) | TestKind::Order(..) | TestKind::NumberSet(_) => (2.0, 0.2),
                    TestKind::Nets(_) | TestKind::AddrSet(_) => (5.0, 0.2),
                    TestKind::Hosts(_) => (10.0, 0.05),
                    TestKind::BytesSet(_) => (10.0, 0.1),
                    TestKind::StartsWith(_) | TestKind::EndsWith(_) => (3.0, 0.05),
                    TestKind::Contains(_) | TestKind::IContains(_) | TestKind::Glob(_) => (15.0, 0.03),
                    TestKind::PathPrefix(_) => (20.0, 0.05),
                    TestKind::Regex(_) => (80.0, 0.03),
                    TestKind::Many(_, tests) => (5.0 * tests.len() as f64, 0.2),
                    TestKind::Const(_) | TestKind::Within(_) => (1.0, 0.5),
                };
                (compare, if test.negate { 1.0 - holds } else { holds })
            }
        };
        Weight { cost: extract + compare, holds }
    }

    /// The column whose tables hold a predicate.
    fn in_table(&self, id: PredicateId) -> Option<u32> {
        let at = self.column_of[id.0 as usize];
        self.columns[at as usize].kind(id, self.table).map(|_| at)
    }

    /// Answers of which one is given whenever the node holds. Recurses as deep as the node is.
    fn way(&self, node: NodeId, shared: &HashMap<PredicateId, u32>) -> Option<Way> {
        match self.formulas.node(node) {
            Node::Const(_) => None,
            Node::Is(id, holds) => {
                let odds = self.weight(node).holds;
                // A table answers at no cost to speak of; what is asked by itself is asked once for all that share it.
                let asked = match self.in_table(*id).filter(|_| *holds) {
                    Some(_) => 0.01,
                    None => 0.05 + 1.0 / f64::from(shared.get(id).copied().unwrap_or(1)),
                };
                Some(Way { answers: vec![(*id, *holds)], effort: odds + asked })
            }
            Node::Or(children) => {
                let mut all = Way { answers: Vec::new(), effort: 0.0 };
                for child in children {
                    let way = self.way(*child, shared)?;
                    all.answers.extend(way.answers);
                    all.effort += way.effort;
                }
                all.answers.sort_unstable();
                all.answers.dedup();
                Some(all)
            }
            Node::And(children) => {
                let ways = children.iter().filter_map(|child| self.way(*child, shared));
                ways.min_by(|a, b| a.effort.total_cmp(&b.effort))
            }
        }
    }
}

/// How to get to a rule without asking it.
struct Way {
    answers: Vec<(PredicateId, bool)>,
    /// Beside asking the rule itself, which is 1.
    effort: f64,
}

/// Effort beyond which rules are asked themselves.
const WORTH_FILING: f64 = 0.8;

/// Emits code backwards, so that every target is known; gives where to enter. Recurses as deep as the node is.
pub fn emit(node: NodeId, yes: Target, no: Target, formulas: &Formulas, out: &mut Vec<Instr>) -> Target {
    match formulas.node(node) {
        Node::Const(value) => {
            if *value {
                yes
            } else {
                no
            }
        }
        Node::And(children) => children.iter().rev().fold(yes, |next, c| emit(*c, next, no, formulas, out)),
        Node::Or(children) => children.iter().rev().fold(no, |next, c| emit(*c, yes, next, formulas, out)),
        Node::Is(..) if yes == no => yes,
        Node::Is(predicate, holds) => {
            let (yes, no) = if *holds { (yes, no) } else { (no, yes) };
            out.push(Instr { predicate: *predicate, yes, no });
            Target(out.len() as u32 - 1)
        }
    }
}

/// Puts the code in the order it runs and drops what cannot be reached.
pub fn straighten(out: &[Instr], start: Target) -> (Vec<Instr>, u32) {
    let mut reached = vec![false; out.len()];
    let mut stack = vec![start];
    while let Some(at) = stack.pop() {
        if let Some(seen @ false) = reached.get_mut(at.0 as usize) {
            *seen = true;
            stack.extend([out[at.0 as usize].yes, out[at.0 as usize].no]);
        }
    }
    // Targets always point to instructions emitted earlier, so reversing makes every jump go forward.
    let mut place = vec![0u32; out.len()];
    for (next, i) in (0..out.len()).rev().filter(|&i| reached[i]).enumerate() {
        place[i] = next as u32;
    }
    let moved = |t: Target| place.get(t.0 as usize).map_or(t, |&p| Target(p));
    let code = (0..out.len())
        .rev()
        .filter(|&i| reached[i])
        .map(|i| Instr { predicate: out[i].predicate, yes: moved(out[i].yes), no: moved(out[i].no) })
        .collect();
    (code, moved(start).0)
}
