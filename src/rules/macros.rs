//! Macros: names in a condition's tree replaced by the macros' own trees.
//!
//! Invariant: a resolved tree has no identifiers, is bounded in size, and every node that came out of a macro has
//! the position of the name in the condition it was put into.

use crate::filter::ast::{Expr, Operand, Pos, Right};
use hashbrown::{HashMap, HashSet};

/// A macro's own condition, parsed.
#[derive(Clone, Debug)]
pub struct ParsedMacro {
    pub index: usize,
    pub visibility: usize,
    pub expr: Expr,
}

/// Macros by name.
pub type Macros = HashMap<String, ParsedMacro>;

/// Why a name cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    Undefined { name: String, pos: Pos },
    Loop { pos: Pos },
    TooLarge { pos: Pos },
}

impl Problem {
    pub fn pos(&self) -> Pos {
        match self {
            Problem::Undefined { pos, .. } | Problem::Loop { pos } | Problem::TooLarge { pos } => *pos,
        }
    }

    pub fn message(&self) -> String {
        match self {
            Problem::Undefined { name, .. } => format!("Undefined macro '{name}' used in filter."),
            Problem::Loop { .. } => "reference loop in macro".into(),
            Problem::TooLarge { .. } => "the condition grows too large when its macros are expanded".into(),
        }
    }
}

/// Checks a condition may grow to; macros of macros get there in a few lines.
const MAX_NODES: usize = 1_000_000;
/// Nesting a condition may grow to.
const MAX_DEPTH: usize = 2000;

/// Replaces all macros in `expr`. `visible_before`: only macros with a lower index are seen (inside a macro).
pub fn resolve(
    expr: &Expr,
    macros: &Macros,
    visible_before: Option<usize>,
    used: &mut HashSet<String>,
) -> Result<Expr, Problem> {
    let mut resolver = Resolver { macros, used, path: Vec::new(), nodes: 0 };
    let resolved = resolver.expr(expr, visible_before, None, 0)?;
    Ok(resolved)
}

struct Resolver<'m> {
    macros: &'m Macros,
    used: &'m mut HashSet<String>,
    path: Vec<&'m str>,
    nodes: usize,
}

impl<'m> Resolver<'m> {
    /// `place`: position to give every node, when inside a macro.
    fn expr(&mut self, expr: &Expr, before: Option<usize>, place: Option<Pos>, depth: usize) -> Result<Expr, Problem> {
        let pos = place.unwrap_or(expr.pos());
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(Problem::TooLarge { pos });
        }
        let mut all = |children: &[Expr]| {
            children.iter().map(|c| self.expr(c, before, place, depth + 1)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match expr {
            Expr::And { children, .. } => Expr::And { pos, children: all(children)? },
            Expr::Or { children, .. } => Expr::Or { pos, children: all(children)? },
            Expr::Not { child, .. } => Expr::Not { pos, child: Box::new(self.expr(child, before, place, depth + 1)?) },
            Expr::Exists { left, .. } => Expr::Exists { pos, left: moved(left, place) },
            Expr::Compare { left, op, modifier, right, .. } => Expr::Compare {
                pos,
                left: moved(left, place),
                op: *op,
                modifier: *modifier,
                right: moved_right(right, place),
            },
            Expr::Identifier { name, .. } => {
                let named = self.macros.get_key_value(&**name);
                let visible = named.filter(|(_, found)| before.is_none_or(|before| found.index < before));
                let Some((known, found)) = visible else {
                    return Err(Problem::Undefined { name: name.to_string(), pos });
                };
                if self.path.contains(&&**known) {
                    return Err(Problem::Loop { pos });
                }
                self.used.insert(name.to_string());
                self.path.push(known);
                let out = self.expr(&found.expr, Some(found.visibility), Some(pos), depth + 1)?;
                self.path.pop();
                out
            }
        })
    }
}

fn moved(operand: &Operand, place: Option<Pos>) -> Operand {
    let mut out = operand.clone();
    if let Some(place) = place {
        place_operand(&mut out, place);
    }
    out
}

fn place_operand(operand: &mut Operand, place: Pos) {
    match operand {
        Operand::Field { pos, .. } | Operand::Literal { pos, .. } => *pos = place,
        Operand::Transform { pos, args: inner, .. } | Operand::List { pos, items: inner } => {
            *pos = place;
            inner.iter_mut().for_each(|o| place_operand(o, place));
        }
    }
}

fn moved_right(right: &Right, place: Option<Pos>) -> Right {
    let mut out = right.clone();
    if let Some(place) = place {
        match &mut out {
            Right::Value { pos, .. } | Right::List { pos, .. } => *pos = place,
            Right::Field { pos, field } => {
                *pos = place;
                place_operand(field, place);
            }
            Right::Operand(operand) => place_operand(operand, place),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::parse;

    fn run(condition: &str, macros: &[(&str, &str, usize)], before: Option<usize>) -> String {
        let macros: Macros = macros
            .iter()
            .enumerate()
            .map(|(index, (name, text, visibility))| {
                ((*name).into(), ParsedMacro { index, visibility: *visibility, expr: parse(text).unwrap() })
            })
            .collect();
        match resolve(&parse(condition).unwrap(), &macros, before, &mut HashSet::new()) {
            Ok(expr) => expr.to_string(),
            Err(problem) => problem.message(),
        }
    }

    #[test]
    fn macros_behave_as_if_in_parentheses() {
        let macros = [("m", "a.b = 1 or a.b = 2", 0), ("n", "not m", 1)];
        assert_eq!(run("x.y = 1 and m", &macros, None), "(x.y = 1 and (a.b = 1 or a.b = 2))");
        assert_eq!(run("not n", &macros, None), "not (not (a.b = 1 or a.b = 2))");
        assert_eq!(run("z", &macros, None), "Undefined macro 'z' used in filter.");
        assert_eq!(run("n", &macros, Some(1)), "Undefined macro 'n' used in filter.");
    }

    #[test]
    fn loops_and_explosions_are_errors() {
        assert_eq!(run("m", &[("m", "n", 5), ("n", "m", 5)], None), "reference loop in macro");
        let big: Vec<(String, String)> = (0..30)
            .map(|i| (format!("m{i}"), if i == 0 { "a.b=1".into() } else { format!("m{0} or m{0}", i - 1) }))
            .collect();
        let macros: Vec<_> = big.iter().enumerate().map(|(i, (n, t))| (&**n, &**t, i)).collect();
        assert!(run("m29", &macros, None).contains("too large"));
    }
}
