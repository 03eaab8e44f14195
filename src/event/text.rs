//! Values as texts of an output and as JSON.
//!
//! Event text is hostile: what is no UTF-8, and every control character, becomes U+FFFD in texts and names, and a dot
//! in buffers, so a line stays a line. Everything is bounded by what a record can hold.

use super::value::{FieldDef, Format, Multi, Type, Value};
use std::io::Write;

/// Text of a value that an event does not have.
pub const MISSING: &str = "<NA>";

/// Longest text of a list, and most bytes of a buffer.
const MAX_SHOWN: usize = 1023;

/// How buffers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Buffers {
    /// With a dot for each byte that cannot be printed.
    #[default]
    Printable,
    Base64,
}

/// Appends the text of a value as `%field` of an output gives it; a value that is None is [`MISSING`]. `format` is how the event
/// has the field's numbers written.
pub fn push_text(value: Option<&Value<'_>>, def: &FieldDef, format: Format, buffers: Buffers, out: &mut Vec<u8>) {
    let Some(value) = value else {
        out.extend_from_slice(MISSING.as_bytes());
        return;
    };
    let number = match value {
        Value::U64(n) => Some(*n),
        Value::I64(n) => Some(*n as u64),
        _ => None,
    };
    match (number, format) {
        (Some(n), Format::Hex) => {
            let _ = write!(out, "{n:X}");
            return;
        }
        (Some(n), Format::Hex32) => {
            let _ = write!(out, "{:X}", n as u32);
            return;
        }
        (Some(n), Format::Octal) => {
            let _ = write!(out, "{n:o}");
            return;
        }
        _ => {}
    }
    if let (Value::List(ancestors), Multi::AnyAncestor) = (value, def.multi) {
        match ancestors.is_empty() {
            true => out.extend_from_slice(MISSING.as_bytes()),
            false => push_ancestors(ancestors, def, buffers, out),
        }
    } else if let Value::List(items) = value {
        let start = out.len();
        out.push(b'(');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            push_scalar(item, def, buffers, out);
            if out.len() - start > MAX_SHOWN {
                break;
            }
        }
        out.push(b')');
        out.truncate(start + floor_char_boundary(&out[start..], MAX_SHOWN));
    } else {
        push_scalar(value, def, buffers, out);
    }
}

/// The value as an element of `output_fields`; null when there is none.
pub fn to_json(value: Option<&Value<'_>>, def: &FieldDef, buffers: Buffers) -> serde_json::Value {
    match value {
        None => serde_json::Value::Null,
        Some(Value::U64(n)) => (*n).into(),
        Some(Value::I64(n)) => (*n).into(),
        Some(Value::F64(n)) => (*n).into(),
        Some(Value::Bool(b)) => (*b).into(),
        Some(Value::List([])) if def.multi == Multi::AnyAncestor => serde_json::Value::Null,
        Some(Value::List(ancestors)) if def.multi == Multi::AnyAncestor => {
            let mut text = Vec::new();
            push_ancestors(ancestors, def, buffers, &mut text);
            String::from_utf8_lossy(&text).into_owned().into()
        }
        Some(Value::List(items)) => items.iter().map(|item| to_json(Some(item), def, buffers)).collect(),
        Some(scalar @ (Value::Str(_) | Value::Bytes(_) | Value::Ip(_))) => {
            let mut text = Vec::new();
            push_scalar(scalar, def, buffers, &mut text);
            String::from_utf8_lossy(&text).into_owned().into()
        }
    }
}

/// What a field says of every ancestor, as one text.
fn push_ancestors(ancestors: &[Value<'_>], def: &FieldDef, buffers: Buffers, out: &mut Vec<u8>) {
    for (at, one) in ancestors.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        push_scalar(one, def, buffers, out);
    }
}

fn push_scalar(value: &Value<'_>, def: &FieldDef, buffers: Buffers, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = match value {
        Value::U64(n) if def.flags.hex => write!(out, "{n:X}"),
        Value::U64(n) if def.flags.octal => write!(out, "{n:o}"),
        Value::U64(n) if def.flags.padded => write!(out, "{n:09}"),
        Value::U64(n) => write!(out, "{n}"),
        // A negative number in hexadecimal is as wide as its type.
        Value::I64(n) if def.flags.hex && matches!(def.ty, Type::Int64) => write!(out, "{n:X}"),
        Value::I64(n) if def.flags.hex => write!(out, "{:X}", *n as i32),
        Value::I64(n) => write!(out, "{n}"),
        Value::F64(n) => write!(out, "{n:.1}"),
        Value::Bool(b) => write!(out, "{b}"),
        Value::Ip(_) if matches!(def.ty, Type::IpNet | Type::Ipv4Net | Type::Ipv6Net) => write!(out, "<IPNET>"),
        Value::Ip(ip) => write!(out, "{ip}"),
        Value::Str(text) => {
            push_clean(text, out);
            Ok(())
        }
        Value::Bytes(bytes) => {
            let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
            match buffers {
                Buffers::Base64 => push_base64(shown, out),
                Buffers::Printable => {
                    out.extend(shown.iter().map(|b| if matches!(b, 0x20..=0x7e) { *b } else { b'.' }))
                }
            }
            Ok(())
        }
        Value::List(_) => Ok(()),
    };
}

/// Text with U+FFFD for every control character and for what is no UTF-8.
fn push_clean(text: &[u8], out: &mut Vec<u8>) {
    const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
    for chunk in text.utf8_chunks() {
        let mut clean = 0;
        let valid = chunk.valid();
        for (at, c) in valid.char_indices().filter(|(_, c)| c.is_control()) {
            out.extend_from_slice(&valid.as_bytes()[clean..at]);
            out.extend_from_slice(REPLACEMENT);
            clean = at + c.len_utf8();
        }
        out.extend_from_slice(&valid.as_bytes()[clean..]);
        if !chunk.invalid().is_empty() {
            // One for each byte, so that a name's length can be told.
            chunk.invalid().iter().for_each(|_| out.extend_from_slice(REPLACEMENT));
        }
    }
}

fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            out.push(if i <= group.len() { DIGITS[(bits >> (18 - 6 * i) & 63) as usize] } else { b'=' });
        }
    }
}

/// The largest length up to `max` that cuts no character of `text` in two.
fn floor_char_boundary(text: &[u8], max: usize) -> usize {
    let mut len = text.len().min(max);
    while len > 0 && len < text.len() && text[len] & 0xc0 == 0x80 {
        len -= 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::*;
    use std::net::IpAddr;

    fn def(name: &str) -> &'static FieldDef {
        fields::def(fields::lookup(name).expect("a field"))
    }

    fn text(name: &str, value: Value<'_>) -> String {
        let mut out = Vec::new();
        push_text(Some(&value), def(name), Format::Decimal, Buffers::Printable, &mut out);
        String::from_utf8(out).expect("valid")
    }

    #[test]
    fn texts_of_values() {
        assert_eq!(text("fd.dev", Value::I64(0xfe00)), "FE00");
        assert_eq!(text("evt.reltime", Value::U64(3_350_932)), "003350932");
        assert_eq!(text("evt.reltime", Value::U64(12_003_350_932)), "12003350932");
        assert_eq!(text("user.loginuid", Value::I64(-1)), "-1");
        assert_eq!(text("proc.fdusage", Value::F64(0.29296875)), "0.3");
        assert_eq!(text("evt.failed", Value::Bool(false)), "false");
        let ip = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(text("fd.sip", Value::Ip(ip)), "127.0.0.1");
        assert_eq!(text("fd.snet", Value::Ip(ip)), "<IPNET>");
        assert_eq!(text("evt.buffer", Value::Bytes(b"GET /\r\n\xff")), "GET /...");
        assert_eq!(text("fd.types", Value::List(&[Value::Str(b"file"), Value::Str(b"pipe")])), "(file,pipe)");
        let mut out = Vec::new();
        push_text(None, def("proc.name"), Format::Decimal, Buffers::Printable, &mut out);
        assert_eq!(out, MISSING.as_bytes());
    }

    #[test]
    fn hostile_text_stays_one_line_of_valid_characters() {
        assert_eq!(text("fd.name", Value::Str(b"/tmp/tab\there")), "/tmp/tab\u{fffd}here");
        assert_eq!(text("fd.name", Value::Str(b"a\nb\x1b[0m\xff\xfec")), "a\u{fffd}b\u{fffd}[0m\u{fffd}\u{fffd}c");
        assert_eq!(text("fd.name", Value::Str("é \u{85}".as_bytes())), "é \u{fffd}");
    }

    #[test]
    fn ancestors_are_one_text() {
        let names = Value::List(&[Value::Str(b"bash"), Value::Str(b"init")]);
        assert_eq!(text("proc.aname", names), "bash init");
        assert_eq!(text("proc.aname", Value::List(&[])), MISSING);
        assert_eq!(to_json(Some(&names), def("proc.aname"), Buffers::Printable), serde_json::json!("bash init"));
        assert!(to_json(Some(&Value::List(&[])), def("proc.aname"), Buffers::Printable).is_null());
    }

    #[test]
    fn long_lists_are_cut() {
        let items = vec![Value::Str("é".as_bytes()); 1000];
        let shown = text("fd.types", Value::List(&items));
        assert!(shown.len() <= MAX_SHOWN && shown.len() > MAX_SHOWN - 4);
    }

    #[test]
    fn base64() {
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            let mut out = Vec::new();
            push_text(
                Some(&Value::Bytes(bytes.as_bytes())),
                def("evt.buffer"),
                Format::Decimal,
                Buffers::Base64,
                &mut out,
            );
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn json_keeps_types() {
        let json = |name, value| to_json(Some(&value), def(name), Buffers::Printable);
        assert_eq!(json("user.loginuid", Value::I64(-1)), serde_json::json!(-1));
        assert_eq!(json("fd.dev", Value::I64(0xfe00)), serde_json::json!(0xfe00));
        assert_eq!(json("proc.name", Value::Str(b"a\tb")), serde_json::json!("a\u{fffd}b"));
        assert_eq!(json("fd.types", Value::List(&[Value::Str(b"file")])), serde_json::json!(["file"]));
        assert_eq!(json("evt.failed", Value::Bool(true)), serde_json::json!(true));
        assert_eq!(to_json(None, def("proc.name"), Buffers::Printable), serde_json::Value::Null);
    }
}
