//! Quoting of literals in conditions.
//!
//! Invariant: `unquote(quote(x)) == x` for every byte string. Bare text has no escapes at all.

/// Why a quoted literal cannot be read; `at` is the byte offset inside its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported string escape sequence")]
pub struct BadEscape {
    pub at: usize,
}

/// The literal as it must be written in a condition: bare when that reads back as the same, else in double quotes.
pub fn quote(text: &[u8]) -> Vec<u8> {
    if !text.is_empty() && text.iter().all(|&b| is_bare(b) && !matches!(b, b'\\' | 0 | 0x0c)) {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for (i, &b) in text.iter().enumerate() {
        match b {
            // `\\"` would not end the literal: the reader looks at one byte before the quote.
            b'\\' if i + 1 == text.len() => out.extend(b"\\x5c"),
            0x08 => out.extend(b"\\b"),
            0x0c => out.extend(b"\\f"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'\\' => out.extend(b"\\\\"),
            b'"' => out.extend(b"\\\""),
            0 => out.extend(b"\\x00"),
            b => out.push(b),
        }
    }
    out.push(b'"');
    out
}

/// May this byte stand in a bare literal?
pub fn is_bare(b: u8) -> bool {
    !matches!(b, b'(' | b')' | b'"' | b'\'' | b'=' | b',') && !is_blank(b)
}

/// Blanks of the condition language (form feed is not one).
pub fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x08 | b'\r' | b'\n')
}

/// Reads the contents of a quoted literal (without its quotes).
pub fn unescape(body: &[u8], quote: u8) -> Result<Vec<u8>, BadEscape> {
    let mut out = Vec::with_capacity(body.len());
    let mut i = 0;
    while i < body.len() {
        if body[i] != b'\\' {
            out.push(body[i]);
            i += 1;
            continue;
        }
        let bad = BadEscape { at: i };
        match *body.get(i + 1).ok_or(bad)? {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'\\' => out.push(b'\\'),
            b'/' => out.push(b'/'),
            // Rules in the field write a lone backslash before a blank: one backslash, the blank is lost.
            b' ' => out.push(b'\\'),
            q @ (b'"' | b'\'') if q == quote => out.push(q),
            b'x' => {
                let hex = |b: Option<&u8>| b.and_then(|&b| (b as char).to_digit(16)).ok_or(bad);
                let (hi, lo) = (hex(body.get(i + 2))?, hex(body.get(i + 3))?);
                // Two hex digits are at most 255.
                out.push((hi * 16 + lo) as u8);
                i += 2;
            }
            _ => return Err(bad),
        }
        i += 2;
    }
    Ok(out)
}

/// Reads a literal with or without quotes around it, the inverse of [`quote`].
pub fn unquote(text: &[u8]) -> Result<Vec<u8>, BadEscape> {
    match text {
        [q @ (b'"' | b'\''), body @ .., last] if last == q => unescape(body, *q),
        _ => Ok(text.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_inverted_by_unquoting() {
        for b in 0..=255u8 {
            for text in [vec![b], vec![b'a', b, b'z'], vec![b, b]] {
                assert_eq!(unquote(&quote(&text)).unwrap(), text);
            }
        }
        assert_eq!(quote(b""), b"\"\"");
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(br"a\ b", b'"').unwrap(), b"a\\b");
        assert_eq!(unescape(br"\x41\/\n", b'"').unwrap(), b"A/\n");
        for bad in [&br"\q"[..], br"\x4", br"\xg0", br"\", br"\'"] {
            assert!(unescape(bad, b'"').is_err(), "{bad:?}");
        }
    }
}
