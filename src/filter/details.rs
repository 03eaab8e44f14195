//! What a condition is made of: fields, operators, transformers, event types, names it refers to.
//!
//! For descriptions (`-L`, `-l`), not for evaluation.

use super::ast::{Expr, Modifier, Op, Operand};
use super::lower::EVENT_TYPE_FIELDS;
use std::collections::BTreeSet;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub fields: BTreeSet<String>,
    pub operators: BTreeSet<&'static str>,
    pub transformers: BTreeSet<&'static str>,
    /// Identifiers: macros when the condition is valid.
    pub macros: BTreeSet<String>,
    /// Values that stand where a list's name could.
    pub values: BTreeSet<String>,
    /// Values compared with `evt.type`.
    pub events: BTreeSet<String>,
}

impl Details {
    pub fn of(expr: &Expr) -> Self {
        let mut details = Details::default();
        expr.walk(&mut |node| match node {
            Expr::Identifier { name, .. } => {
                details.macros.insert(name.to_string());
            }
            Expr::Exists { left, .. } => {
                details.operators.insert("exists");
                details.operand(left);
            }
            Expr::Compare { left, op, modifier, right, .. } => {
                details.operators.insert(op.as_str());
                details.operators.extend(modifier.map(Modifier::as_str));
                details.operand(left);
                if let Some(operand) = right.operand() {
                    details.operand(operand);
                }
                let event_type = matches!(left, Operand::Field { name, arg: None, .. }
                    if EVENT_TYPE_FIELDS.contains(&&**name));
                for value in right.literals() {
                    let text = String::from_utf8_lossy(value).into_owned();
                    if event_type && matches!(op.normal(), Op::Eq | Op::In | Op::Ne) {
                        details.events.insert(text.clone());
                    }
                    details.values.insert(text);
                }
            }
            _ => {}
        });
        details
    }

    /// What a field or transformer is made of.
    pub fn of_operand(operand: &Operand) -> Self {
        let mut details = Details::default();
        details.operand(operand);
        details
    }

    fn operand(&mut self, operand: &Operand) {
        operand.walk(&mut |o| match o {
            Operand::Field { name, arg, .. } => {
                self.fields.insert(match arg {
                    Some(arg) => format!("{name}[{}]", String::from_utf8_lossy(arg)),
                    None => name.to_string(),
                });
            }
            Operand::Transform { name, .. } => {
                self.transformers.insert(name.as_str());
            }
            _ => {}
        });
    }
}
