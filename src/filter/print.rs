//! Canonical text of a condition: `and`/`or` groups in parentheses, one blank around operators, literals quoted
//! only when they must be.
//!
//! Invariant: parsing what is printed gives an equal tree.

use super::ast::{Expr, Operand, Right, Text};
use super::escape::quote;
use std::fmt;

/// Prints a literal. Bytes that are not UTF-8 are written as `\xHH`, which reads back as the same byte.
fn literal(f: &mut fmt::Formatter<'_>, text: &Text) -> fmt::Result {
    if std::str::from_utf8(text).is_ok() {
        return f.write_str(&String::from_utf8_lossy(&quote(text)));
    }
    f.write_str("\"")?;
    for chunk in text.utf8_chunks() {
        // The quoted form without its quotes; text that needs none is its own.
        let quoted = quote(chunk.valid().as_bytes());
        let inner = match &quoted[..] {
            [b'"', inner @ .., b'"'] => inner,
            bare => bare,
        };
        f.write_str(&String::from_utf8_lossy(inner))?;
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    f.write_str("\"")
}

fn argument(f: &mut fmt::Formatter<'_>, arg: &Option<Text>) -> fmt::Result {
    let Some(arg) = arg else { return Ok(()) };
    let bare = !arg.is_empty()
        && arg.iter().all(|&b| !matches!(b, b'[' | b']' | b'"' | b'\'' | b'\\' | 0x0c) && b > b' ' && b < 0x7f);
    f.write_str("[")?;
    if bare {
        f.write_str(&String::from_utf8_lossy(arg))?;
    } else {
        let quoted = quote(arg);
        match quoted.first() {
            Some(b'"') => literal(f, arg)?,
            // Fine as a bare value, but not between brackets.
            _ => write!(f, "\"{}\"", String::from_utf8_lossy(&quoted))?,
        }
    }
    f.write_str("]")
}

fn join<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
    print: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        print(f, item)?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::And { children, .. } | Expr::Or { children, .. } => {
                let word = if matches!(self, Expr::And { .. }) { " and " } else { " or " };
                f.write_str("(")?;
                join(f, children, word, |f, c| write!(f, "{c}"))?;
                f.write_str(")")
            }
            // A not of a not is two nodes only when parentheses stood between them.
            Expr::Not { child, .. } => match **child {
                Expr::Not { .. } => write!(f, "not ({child})"),
                _ => write!(f, "not {child}"),
            },
            Expr::Identifier { name, .. } => f.write_str(name),
            Expr::Exists { left, .. } => write!(f, "{left} exists"),
            Expr::Compare { left, op, modifier, right, .. } => {
                write!(f, "{left} {op} ")?;
                if let Some(modifier) = modifier {
                    write!(f, "{modifier} ")?;
                }
                write!(f, "{right}")
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Field { name, arg, .. } => {
                f.write_str(name)?;
                argument(f, arg)
            }
            Operand::Transform { name, args, arg, .. } => {
                write!(f, "{name}(")?;
                join(f, args, ",", |f, a| write!(f, "{a}"))?;
                f.write_str(")")?;
                argument(f, arg)
            }
            // Numbers may stand without quotes, other literals may not; quoting all reads back the same.
            Operand::Literal { text, .. } => {
                let quoted = quote(text);
                match quoted.first() {
                    Some(b'"') => literal(f, text),
                    _ if std::str::from_utf8(text).is_err() => literal(f, text),
                    _ => write!(f, "\"{}\"", String::from_utf8_lossy(&quoted)),
                }
            }
            Operand::List { items, .. } => {
                f.write_str("(")?;
                join(f, items, ", ", |f, a| write!(f, "{a}"))?;
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::Value { text, .. } => literal(f, text),
            Right::List { values, .. } => {
                f.write_str("(")?;
                join(f, values, ", ", literal)?;
                f.write_str(")")
            }
            Right::Field { field, .. } => write!(f, "val({field})"),
            Right::Operand(operand) => write!(f, "{operand}"),
        }
    }
}
