//! Conditions as a graph of shared nodes: what two rules have in common is one node, and simplified once.
//!
//! In negation normal form: only comparisons are negated. Invariant: the children of a node have smaller numbers than the
//! node, so whatever is done to all of them needs no recursion, however deep a condition is.

use super::lower::Cond;
use super::predicate::PredicateId;
use hashbrown::HashMap;

/// Index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Const(bool),
    /// The predicate holds, or does not.
    Is(PredicateId, bool),
    And(Box<[NodeId]>),
    Or(Box<[NodeId]>),
}

pub const FALSE: NodeId = NodeId(0);
pub const TRUE: NodeId = NodeId(1);

/// All nodes.
#[derive(Clone, Debug)]
pub struct Formulas {
    nodes: Vec<Node>,
    depth: Vec<u16>,
    ids: HashMap<Node, NodeId>,
}

impl Default for Formulas {
    fn default() -> Self {
        let mut formulas = Formulas { nodes: Vec::new(), depth: Vec::new(), ids: HashMap::new() };
        formulas.intern(Node::Const(false));
        formulas.intern(Node::Const(true));
        formulas
    }
}

/// What became of nodes.
pub trait Rewritten {
    fn get(&self, id: NodeId) -> Option<NodeId>;
    fn set(&mut self, id: NodeId, became: NodeId);
}

impl Rewritten for HashMap<NodeId, NodeId> {
    fn get(&self, id: NodeId) -> Option<NodeId> {
        HashMap::get(self, &id).copied()
    }

    fn set(&mut self, id: NodeId, became: NodeId) {
        self.insert(id, became);
    }
}

/// What became of nodes in one of many rewritings, in memory that is used again.
#[derive(Debug, Default)]
pub struct Sheet {
    generation: u32,
    /// By node: when, and what.
    nodes: Vec<(u32, NodeId)>,
}

impl Sheet {
    /// Forgets what is written.
    pub fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.nodes.clear();
            self.generation = 1;
        }
    }
}

impl Rewritten for Sheet {
    fn get(&self, id: NodeId) -> Option<NodeId> {
        let (generation, became) = self.nodes.get(id.0 as usize)?;
        (*generation == self.generation).then_some(*became)
    }

    fn set(&mut self, id: NodeId, became: NodeId) {
        let at = id.0 as usize;
        if self.nodes.len() <= at {
            self.nodes.resize(at + 1, (0, FALSE));
        }
        self.nodes[at] = (self.generation, became);
    }
}

impl Formulas {
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// Levels of connectives below a node.
    pub fn depth(&self, id: NodeId) -> u16 {
        self.depth[id.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    fn intern(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.ids.get(&node) {
            return *id;
        }
        let depth = match &node {
            Node::And(children) | Node::Or(children) => {
                1 + children.iter().map(|child| self.depth(*child)).max().unwrap_or(0)
            }
            _ => 0,
        };
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(node.clone());
        self.depth.push(depth);
        self.ids.insert(node, id);
        id
    }

    pub fn is(&mut self, predicate: PredicateId, holds: bool) -> NodeId {
        self.intern(Node::Is(predicate, holds))
    }

    pub fn and(&mut self, children: &[NodeId]) -> NodeId {
        self.join(children, true)
    }

    /// Children in their order, without what decides nothing, and without what is said twice.
    fn join(&mut self, children: &[NodeId], and: bool) -> NodeId {
        let (neutral, decisive) = if and { (TRUE, FALSE) } else { (FALSE, TRUE) };
        let mut out: Vec<NodeId> = Vec::with_capacity(children.len());
        let mut seen = hashbrown::HashSet::new();
        for child in children {
            let one = std::slice::from_ref(child);
            let parts = match (self.node(*child), and) {
                (Node::And(inner), true) | (Node::Or(inner), false) => inner,
                _ => one,
            };
            for part in parts {
                if *part == decisive {
                    return decisive;
                }
                if *part != neutral && (out.len() < 8 && !out.contains(part) || out.len() >= 8 && seen.insert(*part)) {
                    out.push(*part);
                    if out.len() == 8 {
                        seen.extend(out.iter().copied());
                    }
                }
            }
        }
        match out[..] {
            [] => neutral,
            [one] => one,
            _ if and => self.intern(Node::And(out.into())),
            _ => self.intern(Node::Or(out.into())),
        }
    }

    /// The node of a condition, or of its negation. Recurses as deep as the condition is.
    pub fn of(&mut self, cond: &Cond, holds: bool) -> NodeId {
        match cond {
            Cond::Is(id) => self.is(*id, holds),
            Cond::Not(child) => self.of(child, !holds),
            Cond::And(children) | Cond::Or(children) => {
                let and = matches!(cond, Cond::And(_)) == holds;
                let children: Vec<NodeId> = children.iter().map(|child| self.of(child, holds)).collect();
                self.join(&children, and)
            }
        }
    }

    /// What remains of a node when some predicates are decided. `known` keeps what became of the nodes on the way.
    pub fn rewrite(
        &mut self,
        root: NodeId,
        decided: &impl Fn(PredicateId) -> Option<bool>,
        known: &mut impl Rewritten,
    ) -> NodeId {
        let mut pending = vec![root];
        while let Some(id) = pending.last().copied() {
            if known.get(id).is_some() {
                pending.pop();
                continue;
            }
            let became = match self.node(id) {
                Node::Const(_) => id,
                Node::Is(predicate, holds) => match decided(*predicate) {
                    Some(value) if value == *holds => TRUE,
                    Some(_) => FALSE,
                    None => id,
                },
                Node::And(children) | Node::Or(children) => {
                    let and = matches!(self.node(id), Node::And(_));
                    let decisive = if and { FALSE } else { TRUE };
                    let mut parts = Vec::with_capacity(children.len());
                    let (mut missing, mut ends) = (None, false);
                    for child in children {
                        match known.get(*child) {
                            Some(part) if part == decisive => {
                                ends = true;
                                break;
                            }
                            Some(part) => parts.push(part),
                            None => {
                                missing = Some(*child);
                                break;
                            }
                        }
                    }
                    if let Some(child) = missing {
                        pending.push(child);
                        continue;
                    }
                    match ends {
                        true => decisive,
                        false if *parts == **children => id,
                        false => self.join(&parts, and),
                    }
                }
            };
            known.set(id, became);
            pending.pop();
        }
        known.get(root).unwrap_or(root)
    }

    /// Hands out every predicate below the nodes, each once.
    pub fn predicates(&self, roots: impl Iterator<Item = NodeId>, mut found: impl FnMut(PredicateId)) {
        let mut seen: hashbrown::HashSet<NodeId> = hashbrown::HashSet::new();
        let mut predicates: hashbrown::HashSet<PredicateId> = hashbrown::HashSet::new();
        let mut pending: Vec<NodeId> = roots.collect();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.node(id) {
                Node::Const(_) => {}
                Node::Is(predicate, _) => {
                    if predicates.insert(*predicate) {
                        found(*predicate);
                    }
                }
                Node::And(children) | Node::Or(children) => pending.extend(children.iter().copied()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: [PredicateId; 3] = [PredicateId(0), PredicateId(1), PredicateId(2)];

    #[test]
    fn equal_conditions_are_one_node() {
        let mut f = Formulas::default();
        let is = |i: usize| Cond::Is(P[i]);
        let a = f.of(&Cond::And(vec![is(0), Cond::And(vec![is(1), is(0)])]), true);
        let b = f.of(&Cond::And(vec![is(0), is(1)]), true);
        assert_eq!(a, b);
        let negated = f.of(&Cond::Not(Box::new(Cond::Or(vec![Cond::Not(Box::new(is(0))), is(1)]))), true);
        let (yes, no) = (f.is(P[0], true), f.is(P[1], false));
        assert_eq!(negated, f.and(&[yes, no]));
    }

    #[test]
    fn what_is_decided_vanishes() {
        let mut f = Formulas::default();
        let [a, b, c] = P.map(|p| f.is(p, true));
        let either = f.join(&[b, c], false);
        let both = f.and(&[a, either]);
        let rewrite = |f: &mut Formulas, known: &dyn Fn(PredicateId) -> Option<bool>| {
            f.rewrite(both, &|p| known(p), &mut HashMap::new())
        };
        assert_eq!(rewrite(&mut f, &|p| (p == P[0]).then_some(true)), either);
        assert_eq!(rewrite(&mut f, &|p| (p == P[0]).then_some(false)), FALSE);
        assert_eq!(rewrite(&mut f, &|p| (p == P[2]).then_some(true)), a);
        assert_eq!(rewrite(&mut f, &|p| Some(p != P[1])), TRUE);
        let rest = f.and(&[a, b]);
        assert_eq!(rewrite(&mut f, &|p| (p == P[2]).then_some(false)), rest);
    }
}
