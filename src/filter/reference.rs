//! A slow evaluator that interprets the tree, to hold the fast one against.
//!
//! Not used by the sensor: property tests generate conditions and events and compare. It shares nothing with the
//! compiled path but the parser, the catalogue and the transformers' meaning: comparisons are written a second time,
//! as plainly as the language's description has them. Invariant: no caching, no precomputation.

use super::ast::{Expr, Modifier, Op, Operand, Text};
use super::literal::{Group, group};
use super::scheme::{Scheme, find_field};
use super::transform::{TermType, apply, result_type};
use crate::event::value::{Extract, Multi, Type, Value};
use bumpalo::Bump;
use std::net::IpAddr;

/// Does the condition hold for the event? The condition must be one that compiles.
pub fn holds<'e, E: Extract>(expr: &Expr, event: &'e E, scheme: &dyn Scheme, arena: &'e Bump) -> bool {
    match expr {
        Expr::And { children, .. } => children.iter().all(|c| holds(c, event, scheme, arena)),
        Expr::Or { children, .. } => children.iter().any(|c| holds(c, event, scheme, arena)),
        Expr::Not { child, .. } => !holds(child, event, scheme, arena),
        Expr::Identifier { .. } => false,
        Expr::Exists { left, .. } => match extract(left, event, scheme, arena) {
            None => false,
            Some((Value::List([]), _, Multi::AnyAncestor)) => false,
            Some(_) => true,
        },
        Expr::Compare { left, op, modifier, right, .. } => {
            let Some((value, ty, multi)) = extract(left, event, scheme, arena) else { return false };
            if let Some(operand) = right.operand() {
                return match extract(operand, event, scheme, arena) {
                    Some((other, _, _)) => fields(*op, &value, &other),
                    None => false,
                };
            }
            let values = right.literals();
            if ty.list {
                let Value::List(items) = value else { return false };
                let inside = |item: &Value<'_>| values.iter().any(|v| scalar(Op::Eq, item, ty.ty, v, scheme));
                return match op {
                    Op::In => items.iter().all(inside),
                    _ => items.iter().any(inside),
                };
            }
            let first_only = matches!(left, Operand::Field { name, .. } if &**name == "fd.net");
            let whole = Whole { op: op.normal(), modifier: *modifier, values, ty: ty.ty, first_only, scheme };
            match value {
                Value::List(items) => whole.several(items, multi),
                value => whole.one(&value),
            }
        }
    }
}

/// A comparison with literals.
struct Whole<'a> {
    op: Op,
    modifier: Option<Modifier>,
    values: &'a [Text],
    ty: Type,
    first_only: bool,
    scheme: &'a dyn Scheme,
}

impl Whole<'_> {
    fn one(&self, v: &Value<'_>) -> bool {
        let compare = |op, text: &Text| scalar(op, v, self.ty, text, self.scheme);
        let hits = |op| self.values.iter().filter(|text| compare(op, text)).count();
        match (self.modifier, self.op) {
            (Some(Modifier::OneOf), op) => hits(op) == 1,
            (Some(Modifier::AnyOf), op) => hits(op) > 0,
            (Some(Modifier::AllOf), op) => !self.values.is_empty() && hits(op) == self.values.len(),
            (None, Op::In | Op::Intersects) if self.first_only => {
                self.values.first().is_some_and(|text| compare(Op::Eq, text))
            }
            (None, Op::In | Op::Intersects) => hits(Op::Eq) > 0,
            (None, Op::PMatch) => hits(Op::PMatch) > 0,
            (None, op) => compare(op, &self.values[0]),
        }
    }

    fn several(&self, items: &[Value<'_>], multi: Multi) -> bool {
        if multi == Multi::AnyAncestor {
            return items.iter().any(|v| self.one(v));
        }
        // Either end, value by value: both ends must differ, one end must be anything else.
        if let Some(modifier) = self.modifier {
            let each = |i: usize| Whole { modifier: None, values: &self.values[i..=i], ..*self };
            let hits = (0..self.values.len()).filter(|i| each(*i).several(items, multi)).count();
            return match modifier {
                Modifier::OneOf => hits == 1,
                Modifier::AnyOf => hits > 0,
                Modifier::AllOf => !self.values.is_empty() && hits == self.values.len(),
            };
        }
        match self.op {
            Op::Ne => !items.is_empty() && items.iter().all(|v| self.one(v)),
            _ => items.iter().any(|v| self.one(v)),
        }
    }
}

/// The value, type and meaning of several values of an operand.
fn extract<'e, E: Extract>(
    operand: &Operand,
    event: &'e E,
    scheme: &dyn Scheme,
    arena: &'e Bump,
) -> Option<(Value<'e>, TermType, Multi)> {
    match operand {
        Operand::Field { name, arg, .. } => {
            let field = find_field(scheme, name, arg.as_deref()).ok()?;
            let def = scheme.def(field.id);
            let ty = match def.ty {
                Type::Dyn => scheme.dynamic_type(&field)?,
                ty => ty,
            };
            // The extractor borrows the field for as long as the event.
            let field = arena.alloc(field);
            Some((event.extract(field, arena)?, TermType { ty, list: def.list }, def.multi))
        }
        Operand::Literal { text, .. } => {
            Some((Value::Str(arena.alloc_slice_copy(text)), TermType::scalar(Type::Charbuf), Multi::One))
        }
        Operand::List { items, .. } => {
            let values: Option<Vec<Value<'e>>> =
                items.iter().map(|i| extract(i, event, scheme, arena).map(|(v, _, _)| v)).collect();
            let list = Value::List(arena.alloc_slice_copy(&values?));
            Some((list, TermType { ty: Type::Charbuf, list: true }, Multi::One))
        }
        Operand::Transform { name, args, arg, .. } => {
            let all: Option<Vec<_>> = args.iter().map(|a| extract(a, event, scheme, arena)).collect();
            let all = all?;
            let types: Vec<TermType> = all.iter().map(|(_, ty, _)| *ty).collect();
            let values: Vec<Value<'e>> = all.iter().map(|(v, _, _)| *v).collect();
            let ty = result_type(*name, &types, arg.is_some()).ok()?;
            Some((apply(*name, &values, arg.as_deref(), arena)?, ty, Multi::One))
        }
    }
}

fn scalar(op: Op, v: &Value<'_>, ty: Type, text: &Text, scheme: &dyn Scheme) -> bool {
    let shown = String::from_utf8_lossy(text).into_owned();
    match (group(ty), v) {
        (Group::Text | Group::Bytes, Value::Str(s) | Value::Bytes(s)) => bytes(op, s, text),
        (Group::Unsigned, Value::U64(n)) if ty == Type::Port => {
            let port: u16 = match shown.parse::<u32>() {
                Ok(n) => n as u16,
                Err(_) if shown.is_empty() => 0,
                Err(_) => scheme.service_port(&shown).unwrap_or(0),
            };
            order(op, *n, u64::from(port))
        }
        (Group::Unsigned, Value::U64(n)) => match shown.parse::<i128>() {
            // Literals wrap around at the width of the type.
            Ok(literal) => order(op, *n, literal.rem_euclid(1 << bits(ty)) as u64),
            Err(_) => false,
        },
        (Group::Signed, Value::I64(n)) => shown.parse::<i64>().is_ok_and(|literal| order(op, *n, literal)),
        (Group::Float, Value::F64(n)) => shown.parse::<i32>().is_ok_and(|literal| order(op, *n, f64::from(literal))),
        (Group::Bool, Value::Bool(b)) => order(op, b.to_string(), shown),
        (Group::Addr, Value::Ip(ip)) => shown.parse::<IpAddr>().is_ok_and(|literal| order(op, *ip, literal)),
        (Group::Net, Value::Ip(ip)) => inside(*ip, &shown) != (op == Op::Ne),
        _ => false,
    }
}

fn bits(ty: Type) -> u32 {
    match ty {
        Type::Uint8 | Type::Flags8 | Type::EnumFlags8 | Type::SigType => 8,
        Type::Uint16 | Type::Flags16 | Type::EnumFlags16 | Type::SyscallId => 16,
        Type::Uint32 | Type::Flags32 | Type::EnumFlags32 | Type::Mode => 32,
        _ => 64,
    }
}

/// Is the address in the network, bit by bit?
fn inside(ip: IpAddr, net: &str) -> bool {
    let Some((base, bits)) = net.split_once('/') else { return false };
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<usize>()) else { return false };
    let (base, ip) = (octets(base), octets(ip));
    let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
    base.len() == ip.len() && (0..bits).all(|i| bit(&base, i) == bit(&ip, i))
}

fn order<T: PartialOrd>(op: Op, a: T, b: T) -> bool {
    match op {
        Op::Eq | Op::EqEq => a == b,
        Op::Ne => a != b,
        Op::Lt => a < b,
        Op::Le => a <= b,
        Op::Gt => a > b,
        Op::Ge => a >= b,
        _ => false,
    }
}

fn bytes(op: Op, s: &[u8], text: &[u8]) -> bool {
    let lower = |s: &[u8]| s.to_ascii_lowercase();
    let contains = |s: &[u8], t: &[u8]| (0..=s.len()).any(|i| s[i..].starts_with(t));
    let hex = || -> Vec<u8> {
        text.chunks(2).filter_map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok()).collect()
    };
    match op {
        Op::Contains => contains(s, text),
        Op::IContains => contains(&lower(s), &lower(text)),
        Op::BContains => contains(s, &hex()),
        Op::StartsWith => s.starts_with(text),
        Op::BStartsWith => s.starts_with(&hex()),
        Op::EndsWith => s.ends_with(text),
        Op::Glob => glob(text, s),
        Op::IGlob => glob(&lower(text), &lower(s)),
        Op::Regex => super::posix::Pattern::new(&String::from_utf8_lossy(text))
            .is_ok_and(|r| r.is_match(String::from_utf8_lossy(s).replace(char::is_control, "\u{fffd}").as_bytes())),
        Op::PMatch => {
            let parts = |p: &[u8]| -> Vec<Vec<u8>> {
                p.split(|&b| b == b'/').filter(|c| !c.is_empty()).map(<[u8]>::to_vec).collect()
            };
            let (prefix, path) = (parts(text), parts(s));
            prefix.len() <= path.len()
                && prefix.iter().zip(&path).all(
                    |(p, c)| {
                        if p.iter().any(|b| b"?*[".contains(b)) { glob(p, c) } else { p == c }
                    },
                )
        }
        op => order(op, s, text),
    }
}

/// Shell patterns by plain recursion; brackets are left to the tested matcher.
fn glob(pattern: &[u8], s: &[u8]) -> bool {
    match pattern {
        [] => s.is_empty(),
        _ if pattern.contains(&b'[') || pattern.contains(&b'\\') => super::glob::Glob::new(pattern).is_match(s),
        [b'*', rest @ ..] => (0..=s.len()).any(|i| glob(rest, &s[i..])),
        [b'?', rest @ ..] => !s.is_empty() && glob(rest, &s[1..]),
        [b, rest @ ..] => s.first() == Some(b) && glob(rest, &s[1..]),
    }
}

fn fields(op: Op, a: &Value<'_>, b: &Value<'_>) -> bool {
    let among = |v: &Value<'_>| match b {
        Value::List(items) => items.contains(v),
        b => v == b,
    };
    match (op.normal(), a, b) {
        (Op::In, Value::List(items), _) => items.iter().all(among),
        (Op::Intersects, Value::List(items), _) => items.iter().any(among),
        (Op::In | Op::Intersects, a, _) => among(a),
        (op, Value::Str(a) | Value::Bytes(a), Value::Str(b) | Value::Bytes(b)) => match op {
            // Their right side is bytes here, not hexadecimal text.
            Op::BContains => bytes(Op::Contains, a, b),
            Op::BStartsWith => bytes(Op::StartsWith, a, b),
            op => bytes(op, a, b),
        },
        (op, Value::U64(a), Value::U64(b)) => order(op, a, b),
        (op, Value::I64(a), Value::I64(b)) => order(op, a, b),
        (op, Value::F64(a), Value::F64(b)) => order(op, a, b),
        (op, Value::Bool(a), Value::Bool(b)) => order(op, a, b),
        (op, Value::Ip(a), Value::Ip(b)) => order(op, a, b),
        _ => false,
    }
}
