//! What must hold of an event for any rule of its code to match, in terms that somebody else can decide.
//!
//! A weakening of the compiled conditions: a comparison that the other side cannot decide, or only partly, is replaced by
//! one that holds whenever it does. In negation normal form every condition is monotone in its comparisons, so the
//! whole holds whenever a rule's condition does; `pushdown` proves it on generated rules and events.

use super::ast::{Op, Text};
use super::formula::{Node, NodeId};
use super::predicate::{Check, PredicateId, RightKey, TermKind};
use super::program::Program;
use crate::event::value::FieldUse;
use hashbrown::HashMap;

/// A condition over comparisons of another kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Need<L> {
    /// It may always hold.
    Always,
    Never,
    Is(L),
    All(Vec<Need<L>>),
    Any(Vec<Need<L>>),
}

/// A comparison of a field with literals, as a rule has it.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'p> {
    pub field: &'p FieldUse,
    pub op: Op,
    pub values: &'p [Text],
    /// The comparison holds, or it does not.
    pub holds: bool,
}

/// Conditions with more nodes are not looked at: everything may hold.
const MOST_NODES: usize = 20_000;

impl<L: Clone + PartialEq> Need<L> {
    /// Every one of them.
    pub fn all(parts: impl IntoIterator<Item = Need<L>>) -> Need<L> {
        Need::joined(parts, true)
    }

    /// At least one of them.
    pub fn any(parts: impl IntoIterator<Item = Need<L>>) -> Need<L> {
        Need::joined(parts, false)
    }

    fn joined(parts: impl IntoIterator<Item = Need<L>>, every: bool) -> Need<L> {
        let mut out = Vec::new();
        for part in parts {
            let inner = match (part, every) {
                (Need::Always, true) | (Need::Never, false) => continue,
                (Need::Never, true) => return Need::Never,
                (Need::Always, false) => return Need::Always,
                (Need::All(inner), true) | (Need::Any(inner), false) => inner,
                (part, _) => vec![part],
            };
            for part in inner {
                if !out.contains(&part) {
                    out.push(part);
                }
            }
        }
        match (out.len(), every) {
            (0, true) => Need::Always,
            (0, false) => Need::Never,
            (1, _) => out.remove(0),
            (_, true) => Need::All(out),
            (_, false) => Need::Any(out),
        }
    }

    /// With every comparison replaced.
    pub fn map(&self, leaf: &mut impl FnMut(&L) -> Need<L>) -> Need<L> {
        match self {
            Need::Always => Need::Always,
            Need::Never => Need::Never,
            Need::Is(one) => leaf(one),
            Need::All(parts) => Need::all(parts.iter().map(|part| part.map(leaf)).collect::<Vec<_>>()),
            Need::Any(parts) => Need::any(parts.iter().map(|part| part.map(leaf)).collect::<Vec<_>>()),
        }
    }
}

impl Program {
    /// What must hold of an event of this code for any rule to match. `leaf` weakens a comparison. None where no rule listens.
    pub fn necessary<L: Clone + PartialEq>(
        &self,
        code: u16,
        leaf: &mut impl FnMut(&Comparison<'_>) -> Need<L>,
    ) -> Option<Need<L>> {
        let nodes = self.conditions(code)?;
        let mut known = HashMap::new();
        let parts = nodes.into_iter().map(|node| self.weakened(node, leaf, &mut known));
        let parts: Vec<Need<L>> = parts.collect();
        Some(Need::any(parts))
    }

    /// Recurses as deep as the node is; conditions that nest too deep are not asked about.
    fn weakened<L: Clone + PartialEq>(
        &self,
        node: NodeId,
        leaf: &mut impl FnMut(&Comparison<'_>) -> Need<L>,
        known: &mut HashMap<NodeId, Need<L>>,
    ) -> Need<L> {
        if let Some(need) = known.get(&node) {
            return need.clone();
        }
        if known.len() > MOST_NODES {
            return Need::Always;
        }
        let need = match self.formulas.node(node) {
            Node::Const(true) => Need::Always,
            Node::Const(false) => Need::Never,
            Node::Is(id, holds) => self.comparison(*id, *holds).map_or(Need::Always, |comparison| leaf(&comparison)),
            Node::And(children) => {
                Need::all(children.iter().map(|child| self.weakened(*child, leaf, known)).collect::<Vec<_>>())
            }
            Node::Or(children) => {
                Need::any(children.iter().map(|child| self.weakened(*child, leaf, known)).collect::<Vec<_>>())
            }
        };
        known.insert(node, need.clone());
        need
    }

    /// A predicate as a comparison of a field with literals, if it is one.
    fn comparison(&self, id: PredicateId, holds: bool) -> Option<Comparison<'_>> {
        let predicate = self.table.predicate(id);
        let key = &predicate.key;
        let (Check::Literal(_), TermKind::Field(field)) = (&predicate.check, &self.table.term(key.left).kind) else {
            return None;
        };
        match (&key.right, key.op, key.modifier) {
            (RightKey::Values(values), Some(op), None) => Some(Comparison { field, op: op.normal(), values, holds }),
            _ => None,
        }
    }
}
