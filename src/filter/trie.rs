//! A trie of bytes: all texts that are a prefix of a given one, in one walk.
//!
//! Invariant: a walk looks at no byte twice and ends where no text of the trie goes on.

use super::predicate::PredicateId;

#[derive(Debug, Default)]
pub struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    ends: Vec<PredicateId>,
    /// By byte, sorted.
    edges: Vec<(u8, u32)>,
}

impl Trie {
    pub fn insert(&mut self, text: impl Iterator<Item = u8>, id: PredicateId) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for byte in text {
            at = match self.nodes[at].edges.binary_search_by_key(&byte, |edge| edge.0) {
                Ok(edge) => self.nodes[at].edges[edge].1 as usize,
                Err(place) => {
                    let new = self.nodes.len();
                    self.nodes[at].edges.insert(place, (byte, new as u32));
                    self.nodes.push(Node::default());
                    new
                }
            };
        }
        self.nodes[at].ends.push(id);
    }

    /// Hands out what ends on the way along a text.
    pub fn walk(&self, text: impl Iterator<Item = u8>, found: &mut impl FnMut(PredicateId)) {
        let Some(mut node) = self.nodes.first() else { return };
        node.ends.iter().for_each(|id| found(*id));
        for byte in text {
            let next = match &node.edges[..] {
                [] => return,
                [(only, next)] if *only == byte => *next,
                [_] => return,
                edges => match edges.binary_search_by_key(&byte, |edge| edge.0) {
                    Ok(edge) => edges[edge].1,
                    Err(_) => return,
                },
            };
            node = &self.nodes[next as usize];
            node.ends.iter().for_each(|id| found(*id));
        }
    }
}
