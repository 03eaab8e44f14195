//! What becomes of the conditions of a plan when comparisons of the task are answered.
//!
//! Answers for one task differ from those for the one before in a few comparisons, however many rules there are: only conditions that
//! ask one of these are written anew, the others became what they became before. Not what is made of the conditions (`residual`).

use super::formula::{Formulas, NodeId, Sheet};
use super::kept::SetId;
use super::predicate::PredicateId;
use super::program::{Plan, Program};

/// The predicates that hold, of each column that a plan asks of the task: sorted.
pub struct Answers<'a> {
    pub program: &'a Program,
    pub plan: &'a Plan,
    /// By column of the plan, in its order.
    pub answers: &'a [SetId],
    pub sets: &'a [Box<[PredicateId]>],
}

impl Answers<'_> {
    /// Whether a predicate holds; None for one that is not of the task.
    fn of(&self, id: PredicateId) -> Option<bool> {
        let column = self.program.column_of[id.0 as usize];
        let at = self.plan.task_columns.binary_search(&column).ok()?;
        let is_of_task = self.program.table.predicate(id).task_only;
        is_of_task.then(|| self.sets[self.answers[at] as usize].binary_search(&id).is_ok())
    }
}

/// The conditions of one plan as they became last.
#[derive(Default)]
pub struct Remains {
    /// Empty before the first answers.
    nodes: Vec<NodeId>,
    answers: Vec<SetId>,
    /// Each predicate of the task with the places of the conditions that ask it; sorted.
    asking: Vec<(PredicateId, u32)>,
}

impl Remains {
    /// The plan's conditions, in their order, as they become with these answers.
    pub fn with(&mut self, given: &Answers<'_>, formulas: &mut Formulas, sheet: &mut Sheet) -> &[NodeId] {
        sheet.clear();
        let mut write = |node| formulas.rewrite(node, &|id| given.of(id), sheet);
        let entries = &given.plan.entries;
        if self.nodes.len() == entries.len() {
            let mut changed = Vec::new();
            for (old, new) in self.answers.iter().zip(given.answers).filter(|(old, new)| old != new) {
                let of = |set: SetId| &given.sets[set as usize];
                for_each_in_one(of(*old), of(*new), |id| {
                    let from = self.asking.partition_point(|(asked, _)| *asked < id);
                    let asking = self.asking[from..].iter().take_while(|(asked, _)| *asked == id);
                    changed.extend(asking.map(|(_, place)| *place));
                });
            }
            changed.sort_unstable();
            changed.dedup();
            for place in changed {
                self.nodes[place as usize] = write(entries[place as usize].node);
            }
        } else {
            self.nodes = entries.iter().map(|entry| write(entry.node)).collect();
            for (entry, place) in entries.iter().zip(0..) {
                formulas.predicates(std::iter::once(entry.node), |id| {
                    if given.of(id).is_some() {
                        self.asking.push((id, place));
                    }
                });
            }
            self.asking.sort_unstable();
        }
        self.answers.clear();
        self.answers.extend_from_slice(given.answers);
        &self.nodes
    }
}

/// Hands out what is in one of two sorted sets only.
fn for_each_in_one(a: &[PredicateId], b: &[PredicateId], mut found: impl FnMut(PredicateId)) {
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(one), Some(other)) if one == other => {
                a.next();
                b.next();
                continue;
            }
            (Some(one), Some(other)) if one > other => b.next(),
            (Some(_), _) => a.next(),
            (None, Some(_)) => b.next(),
        };
        next.into_iter().for_each(&mut found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_one_set_only() {
        let set = |ids: &[u32]| ids.iter().map(|id| PredicateId(*id)).collect::<Vec<_>>();
        for (a, b, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[1, 3, 5], &[], &[1, 3, 5]),
            (&[], &[2], &[2]),
            (&[1, 3, 5], &[3, 4], &[1, 4, 5]),
            (&[1, 3], &[1, 3], &[]),
            (&[1], &[0, 1, 2, 9], &[0, 2, 9]),
        ] {
            let mut found = Vec::new();
            for_each_in_one(&set(a), &set(b), |id| found.push(id.0));
            assert_eq!(found, expected);
        }
    }
}
