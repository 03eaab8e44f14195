//! Transformers: which types each takes, what it gives, and doing it.
//!
//! Results live in the event's arena; nothing here touches the heap. A transformer that cannot do its work (bad
//! base64, a missing option) gives None: the field is missing.

use super::ast::TransformerName;
use super::error::type_name;
use crate::event::value::{Type, Value};
use bumpalo::Bump;

/// Static type of a term: element type, and whether it is a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TermType {
    pub ty: Type,
    pub list: bool,
}

impl TermType {
    pub const fn scalar(ty: Type) -> Self {
        TermType { ty, list: false }
    }
}

fn is_text(ty: Type) -> bool {
    matches!(ty, Type::Charbuf | Type::FsPath | Type::FsRelPath)
}

/// Type of the result, or a sentence why these arguments do not fit.
pub fn result_type(name: TransformerName, args: &[TermType], selector: bool) -> Result<TermType, String> {
    use TransformerName::*;
    if selector && name != GetOpt {
        return Err(format!("filter error: transformer '{name}' does not support field arguments"));
    }
    let mismatch = |t: &TermType| {
        let list = if t.list { "list of " } else { "" };
        Err(format!("transformer '{name}' cannot be applied to type {list}{}", type_name(t.ty)))
    };
    let count = |what: &str| Err(format!("transformer '{name}' takes {what}, not {} arguments", args.len()));
    match name {
        ToLower | ToUpper | B64 | Basename | Len => {
            let [arg] = args else { return count("one argument") };
            let fits = match name {
                ToLower | ToUpper | Basename => is_text(arg.ty),
                B64 => is_text(arg.ty) || arg.ty == Type::Bytebuf,
                _ => arg.list || is_text(arg.ty) || arg.ty == Type::Bytebuf,
            };
            match (fits, name) {
                (false, _) => mismatch(arg),
                (true, Len) => Ok(TermType::scalar(Type::Uint64)),
                (true, _) => Ok(*arg),
            }
        }
        Join => match args {
            [separator, list] if !separator.list && separator.ty == Type::Charbuf && list.list => {
                Ok(TermType::scalar(Type::Charbuf))
            }
            [_, _] => Err("transformer 'join' takes a text separator and a list".into()),
            _ => count("a separator and a list"),
        },
        Concat => {
            if args.len() < 2 {
                return count("two or more arguments");
            }
            match args.iter().find(|t| t.list || t.ty != Type::Charbuf) {
                Some(bad) => mismatch(bad),
                None => Ok(TermType::scalar(Type::Charbuf)),
            }
        }
        GetOpt => match args {
            [list, options]
                if list.list && list.ty == Type::Charbuf && !options.list && options.ty == Type::Charbuf =>
            {
                Ok(TermType { ty: Type::Charbuf, list: !selector })
            }
            [_, _] => Err("transformer 'getopt' takes a list of arguments and a text of options".into()),
            _ => count("a list of arguments and a text of options"),
        },
    }
}

/// Applies a transformer.
pub fn apply<'a>(
    name: TransformerName,
    args: &[Value<'a>],
    selector: Option<&[u8]>,
    arena: &'a Bump,
) -> Option<Value<'a>> {
    use TransformerName::*;
    match (name, args) {
        (ToLower, [v]) => each(v, arena, &|s| Some(map_bytes(s, arena, u8::to_ascii_lowercase))),
        (ToUpper, [v]) => each(v, arena, &|s| Some(map_bytes(s, arena, u8::to_ascii_uppercase))),
        (B64, [v]) => each(v, arena, &|s| base64(s, arena)),
        (Basename, [v]) => {
            each(v, arena, &|s| Some(&s[s.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1)..]))
        }
        (Len, [v]) => Some(Value::U64(match v {
            Value::List(items) => items.len() as u64,
            Value::Str(s) => s.iter().position(|&b| b == 0).unwrap_or(s.len()) as u64,
            Value::Bytes(s) => s.len() as u64,
            _ => return None,
        })),
        (Join, [separator, Value::List(items)]) => {
            let separator = bytes(separator)?;
            let mut out = bumpalo::collections::Vec::new_in(arena);
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(separator);
                }
                render(item, &mut out);
            }
            Some(Value::Str(out.into_bump_slice()))
        }
        (Concat, parts) => {
            let mut out = bumpalo::collections::Vec::new_in(arena);
            for part in parts {
                out.extend_from_slice(bytes(part)?);
            }
            Some(Value::Str(out.into_bump_slice()))
        }
        (GetOpt, [Value::List(items), options]) => getopt(items, bytes(options)?, selector, arena),
        _ => None,
    }
}

fn bytes<'a>(v: &Value<'a>) -> Option<&'a [u8]> {
    match v {
        Value::Str(s) | Value::Bytes(s) => Some(s),
        _ => None,
    }
}

/// Applies `f` to a text, or to every text of a list; one failure makes the whole missing.
fn each<'a>(v: &Value<'a>, arena: &'a Bump, f: &dyn Fn(&'a [u8]) -> Option<&'a [u8]>) -> Option<Value<'a>> {
    match v {
        Value::Str(s) => f(s).map(Value::Str),
        Value::Bytes(s) => f(s).map(Value::Bytes),
        Value::List(items) => {
            let mut out = bumpalo::collections::Vec::with_capacity_in(items.len(), arena);
            for item in *items {
                out.push(each(item, arena, f)?);
            }
            Some(Value::List(out.into_bump_slice()))
        }
        _ => None,
    }
}

fn map_bytes<'a>(s: &[u8], arena: &'a Bump, f: fn(&u8) -> u8) -> &'a [u8] {
    arena.alloc_slice_fill_iter(s.iter().map(f))
}

/// Standard alphabet, padding optional; bits of the last digit that no byte takes must be zero.
fn base64<'a>(s: &[u8], arena: &'a Bump) -> Option<&'a [u8]> {
    let digits = match s {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] if s.len().is_multiple_of(4) => rest,
        _ => s,
    };
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut out = bumpalo::collections::Vec::with_capacity_in(digits.len() / 4 * 3 + 3, arena);
    for chunk in digits.chunks(4) {
        let mut word = 0u32;
        for &b in chunk {
            word = word << 6
                | u32::from(match b {
                    b'A'..=b'Z' => b - b'A',
                    b'a'..=b'z' => b - b'a' + 26,
                    b'0'..=b'9' => b - b'0' + 52,
                    b'+' => 62,
                    b'/' => 63,
                    _ => return None,
                });
        }
        word <<= 6 * (4 - chunk.len());
        let [_, bytes @ ..] = word.to_be_bytes();
        let (bytes, unused) = bytes.split_at(chunk.len() - 1);
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(bytes);
    }
    Some(out.into_bump_slice())
}

/// Text of one element of a joined list.
fn render(v: &Value<'_>, out: &mut bumpalo::collections::Vec<'_, u8>) {
    use std::io::Write;
    // Writing into memory cannot fail.
    let _ = match v {
        Value::Str(s) | Value::Bytes(s) => out.write_all(s),
        Value::U64(n) => write!(out, "{n}"),
        Value::I64(n) => write!(out, "{n}"),
        Value::F64(n) => write!(out, "{n:.1}"),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Ip(ip) => write!(out, "{ip}"),
        Value::List(items) => {
            out.push(b'(');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                render(item, out);
            }
            out.push(b')');
            Ok(())
        }
    };
}

/// The options of a command line, as `getopt(3)` without long options and without permutation finds them.
fn getopt<'a>(items: &[Value<'a>], options: &[u8], selector: Option<&[u8]>, arena: &'a Bump) -> Option<Value<'a>> {
    let options = options.strip_prefix(b":").unwrap_or(options);
    let takes_value = |c: u8| -> Option<bool> {
        let at = options.iter().position(|&o| o == c && c != b':')?;
        Some(options.get(at + 1) == Some(&b':'))
    };
    let mut found = bumpalo::collections::Vec::new_in(arena);
    let mut selected = None;
    let mut tokens = items.iter().filter_map(bytes);
    while let Some(token) = tokens.next() {
        if token == b"--" || token.first() != Some(&b'-') || token.len() < 2 {
            break;
        }
        if token.starts_with(b"--") {
            continue;
        }
        let mut at = 1;
        while at < token.len() {
            let name = &token[at..=at];
            at += 1;
            let hit = selector == Some(name);
            match takes_value(name[0]) {
                None => found.push(Value::Str(b"?")),
                Some(false) => {
                    found.push(Value::Str(name));
                    if hit {
                        selected = Some(name);
                    }
                }
                Some(true) => {
                    let value = match &token[at..] {
                        [] => tokens.next().unwrap_or(b""),
                        rest => rest,
                    };
                    at = token.len();
                    found.push(Value::Str(name));
                    found.push(Value::Str(value));
                    if hit {
                        selected = Some(value);
                    }
                }
            }
        }
    }
    match selector {
        Some(_) => selected.map(Value::Str),
        None => Some(Value::List(found.into_bump_slice())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TransformerName::*;

    fn run(name: TransformerName, args: &[Value<'_>], selector: Option<&[u8]>) -> String {
        let arena = Bump::new();
        match apply(name, args, selector, &arena) {
            None => "missing".into(),
            Some(v) => {
                let mut out = bumpalo::collections::Vec::new_in(&arena);
                render(&v, &mut out);
                String::from_utf8_lossy(&out).into_owned()
            }
        }
    }

    const fn s(text: &'static str) -> Value<'static> {
        Value::Str(text.as_bytes())
    }

    #[test]
    fn texts() {
        assert_eq!(run(ToUpper, &[s("aé")], None), "Aé");
        assert_eq!(run(Basename, &[s("/a/b")], None), "b");
        assert_eq!(run(Basename, &[s("/a/")], None), "");
        assert_eq!(run(B64, &[s("aGVsbG8=")], None), "hello");
        assert_eq!(run(B64, &[s("aGVsbG8")], None), "hello");
        assert_eq!(run(B64, &[s("aGV*")], None), "missing");
        // "aux" is two bytes and two bits.
        assert_eq!(run(B64, &[s("aux")], None), "missing");
        assert_eq!((run(B64, &[s("YQ")], None), run(B64, &[s("YR==")], None)), ("a".into(), "missing".into()));
        assert_eq!(run(Len, &[Value::List(&[])], None), "0");
        assert_eq!(run(Join, &[s("-"), Value::List(&[s("a"), Value::U64(1)])], None), "a-1");
        assert_eq!(run(Concat, &[s("a"), s("b")], None), "ab");
    }

    #[test]
    fn options() {
        let args = [s("-nt"), s("5"), s("--long"), s("-x"), s("-f"), s("file"), s("-n")];
        assert_eq!(run(GetOpt, &[Value::List(&args), s("nt:")], None), "(n,t,5,?,?)");
        assert_eq!(run(GetOpt, &[Value::List(&args), s("nt:")], Some(b"t")), "5");
        assert_eq!(run(GetOpt, &[Value::List(&args), s("nt:")], Some(b"n")), "n");
        assert_eq!(run(GetOpt, &[Value::List(&args), s("nt:")], Some(b"q")), "missing");
        assert_eq!(run(GetOpt, &[Value::List(&[s("-t")]), s("t:")], None), "(t,)");
    }
}
