//! Legal conditions that probably do not do what their author wanted.
//!
//! Invariant: a warning never changes whether or what a condition matches.

use super::ast::{Expr, Op, Operand, Text, TransformerName};
use super::error::{FilterWarning, WarningKind};
use super::parser::parse_operand;
use super::scheme::{Scheme, find_field};

/// Fields that will go away, in conditions and outputs.
pub const DEPRECATED_FIELDS: [&str; 6] =
    ["evt.dir", "evt.latency", "evt.latency.s", "evt.latency.ns", "evt.latency.human", "evt.wait_latency"];

/// Warnings of the rules loader, which need no catalogue: unsafe comparisons and deprecated fields.
pub fn rule_warnings(expr: &Expr) -> Vec<FilterWarning> {
    let mut out: Vec<FilterWarning> = Vec::new();
    let deprecated = |operand: &Operand, out: &mut Vec<FilterWarning>| {
        operand.walk(&mut |o| {
            if let Operand::Field { pos, name, .. } = o
                && DEPRECATED_FIELDS.contains(&&**name)
            {
                let message = deprecated_message(name, "condition");
                if !out.iter().any(|w| w.message == message) {
                    out.push(FilterWarning { kind: WarningKind::DeprecatedField, pos: *pos, message });
                }
            }
        });
    };
    expr.walk(&mut |node| match node {
        Expr::Exists { left, .. } => deprecated(left, &mut out),
        Expr::Compare { left, op, right, .. } => {
            deprecated(left, &mut out);
            if let Some(operand) = right.operand() {
                deprecated(operand, &mut out);
            }
            let compares = matches!(op.normal(), Op::Eq | Op::Ne | Op::In | Op::Intersects | Op::PMatch);
            if compares && is_audit_field(left) && right.literals().iter().any(|v| &**v == b"<NA>") {
                out.push(FilterWarning {
                    kind: WarningKind::UnsafeNa,
                    pos: left.pos(),
                    message: format!("comparing a field value with <NA> is unsafe: write \"{left} exists\" instead"),
                });
            }
        }
        _ => {}
    });
    out
}

/// `place`: condition or output.
pub fn deprecated_message(field: &str, place: &str) -> String {
    format!("usage of deprecated field '{field}' has been detected in the rule {place}")
}

/// Fields of the Kubernetes audit source, which are missing rather than `<NA>`.
fn is_audit_field(operand: &Operand) -> bool {
    let mut found = false;
    operand.walk(&mut |o| {
        if let Operand::Field { name, .. } = o {
            found |= name.starts_with("ka.") || name.starts_with("jevt.");
        }
    });
    found
}

/// Warnings of the compiler.
pub fn compile_warnings(expr: &Expr, scheme: &dyn Scheme) -> Vec<FilterWarning> {
    let mut out = Vec::new();
    expr.walk(&mut |node| {
        let Expr::Compare { op, right, .. } = node else { return };
        for value in right.literals() {
            let mut warn = |kind, message| out.push(FilterWarning { kind, pos: right.pos(), message });
            let shown = || String::from_utf8_lossy(value);
            if *op == Op::Regex && is_plain_regex(value) {
                warn(
                    WarningKind::PlainRegex,
                    format!(
                        "regular expression '{}' has no special characters: \
                         'contains', 'startswith', 'endswith' or 'glob' would do the same and cost less",
                        shown()
                    ),
                );
            }
            if let Some(kind) = looks_like(value, scheme) {
                let shown = shown();
                let (what, instead) = match kind {
                    WarningKind::FieldAsConstant => ("field", format!("write val({shown}) to compare with it")),
                    _ => ("field transformer", "write it without quotes and blanks to apply it".to_owned()),
                };
                warn(kind, format!("'{shown}' may be a valid {what} misused as a const string value: {instead}"));
            }
        }
    });
    out
}

/// Only plain characters between an optional `^` or `.*` in front and `$` or `.*` behind?
fn is_plain_regex(pattern: &[u8]) -> bool {
    const WILD: [&[u8]; 3] = [b".*", b".+", b".?"];
    let mut body = pattern;
    body = body.strip_prefix(b"^").unwrap_or(body);
    body = body.strip_suffix(b"$").unwrap_or(body);
    for wild in WILD {
        if let Some(rest) = body.strip_prefix(wild) {
            body = rest;
            break;
        }
    }
    for wild in WILD {
        // An escaped dot is a dot.
        if let Some(rest) = body.strip_suffix(wild)
            && !rest.ends_with(b"\\")
        {
            body = rest;
            break;
        }
    }
    !body.iter().any(|b| b"\\^$.|?*+()[]{}".contains(b))
}

fn looks_like(value: &Text, scheme: &dyn Scheme) -> Option<WarningKind> {
    // Every field's name has a dot, every transformer its parentheses.
    if !value.iter().any(|byte| matches!(byte, b'.' | b'(')) {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let (word, rest) = text.split_at(text.find(['(', '[']).unwrap_or(text.len()));
    if rest.starts_with('(') && rest.ends_with(')') {
        let known = word == "val" || TransformerName::from_word(word).is_some();
        return known.then_some(WarningKind::TransformerAsConstant);
    }
    match parse_operand(&text) {
        Ok(Operand::Field { name, arg, .. }) => {
            find_field(scheme, &name, arg.as_deref()).ok().map(|_| WarningKind::FieldAsConstant)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regexes_that_need_not_be() {
        for plain in ["syscall", "^a$", "a.*", ".*a.*", "a.+", ".?a"] {
            assert!(is_plain_regex(plain.as_bytes()), "{plain}");
        }
        for real in ["a.b", "s.*l", r"a\.*", "a.{1}", "[l]?", "a|b"] {
            assert!(!is_plain_regex(real.as_bytes()), "{real}");
        }
    }
}
