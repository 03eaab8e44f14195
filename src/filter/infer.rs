//! Which event types a condition can hold for, judged from its `evt.type` comparisons alone.
//!
//! Not satisfiability: anything else in a condition is neutral. Invariant: the same answer as Falco's, false
//! negatives with generic system calls included, because rules are dispatched by it.

use super::ast::{Expr, Op, Operand, Right};
use super::lower::EVENT_TYPE_FIELDS;
use super::scheme::{CodeSet, Scheme};

/// Event codes the condition listens to.
pub fn event_codes(expr: &Expr, scheme: &dyn Scheme) -> CodeSet {
    let names = |name: &str| scheme.event_codes(name).unwrap_or(CodeSet::EMPTY);
    infer(expr, false, &names, &scheme.universe())
}

/// System calls the condition listens to; more exact than event codes, which generic system calls share.
pub fn syscall_codes(expr: &Expr, scheme: &dyn Scheme) -> CodeSet {
    infer(expr, false, &|name| scheme.syscall_codes(name), &scheme.syscalls())
}

fn infer(expr: &Expr, negated: bool, names: &dyn Fn(&str) -> CodeSet, all: &CodeSet) -> CodeSet {
    let group = |children: &[Expr], and: bool| {
        let sets = children.iter().map(|c| infer(c, negated, names, all));
        // De Morgan: a negated `and` is an `or` of negations.
        if and != negated {
            sets.fold(*all, |a, b| a.intersection(&b))
        } else {
            sets.fold(CodeSet::EMPTY, |a, b| a.union(&b))
        }
    };
    let decided = |holds: bool| if holds != negated { *all } else { CodeSet::EMPTY };
    match expr {
        Expr::And { children, .. } => group(children, true),
        Expr::Or { children, .. } => group(children, false),
        Expr::Not { child, .. } => infer(child, !negated, names, all),
        Expr::Identifier { .. } => *all,
        Expr::Exists { left, .. } if is_field(left, &EVENT_TYPE_FIELDS) => decided(true),
        Expr::Exists { .. } => *all,
        Expr::Compare { left, op, modifier: None, right, .. }
            if is_field(left, &EVENT_TYPE_FIELDS) && right.operand().is_none() =>
        {
            let listed = || {
                right
                    .literals()
                    .iter()
                    .filter_map(|text| std::str::from_utf8(text).ok())
                    .fold(CodeSet::EMPTY, |set, name| set.union(&names(name)))
            };
            let (set, complement) = match op.normal() {
                Op::Eq | Op::In => (listed(), negated),
                Op::Ne => (listed(), !negated),
                _ => return *all,
            };
            if complement { all.difference(&set) } else { set }
        }
        Expr::Compare { left, op, modifier: None, right, .. } if is_field(left, &["evt.num"]) => {
            match event_number(op.normal(), right) {
                Some(holds) => decided(holds),
                None => *all,
            }
        }
        Expr::Compare { .. } => *all,
    }
}

fn is_field(operand: &Operand, names: &[&str]) -> bool {
    matches!(operand, Operand::Field { name, arg: None, .. } if names.contains(&&**name))
}

/// Event numbers start at 1: some comparisons are never true, some always.
fn event_number(op: Op, right: &Right) -> Option<bool> {
    if right.operand().is_some() {
        return None;
    }
    let values: Vec<u64> =
        right.literals().iter().map(|text| std::str::from_utf8(text).ok()?.parse().ok()).collect::<Option<_>>()?;
    if op == Op::In {
        return values.iter().all(|&n| n == 0).then_some(false);
    }
    match (op, *values.first()?) {
        (Op::Eq | Op::Le, 0) | (Op::Lt, 0 | 1) => Some(false),
        (Op::Ne | Op::Gt, 0) | (Op::Ge, 0 | 1) => Some(true),
        _ => None,
    }
}
