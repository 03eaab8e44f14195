//! JSON, written straight into a byte buffer. The bytes of events are hostile: what is no UTF-8 becomes U+FFFD.

use std::io::Write;

/// Appends `bytes` as the inside of a JSON string, without the quotes.
pub fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\');
    // As nearly all are; seen without a branch for each byte.
    if bytes.iter().fold(true, |all, byte| all & is_plain(byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        let mut plain = 0;
        let valid = chunk.valid().as_bytes();
        for (at, byte) in valid.iter().enumerate() {
            let short: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\n' => b"\\n",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0x08 => b"\\b",
                0x0c => b"\\f",
                0..0x20 => b"",
                _ => continue,
            };
            out.extend_from_slice(&valid[plain..at]);
            plain = at + 1;
            if short.is_empty() {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
            } else {
                out.extend_from_slice(short);
            }
        }
        out.extend_from_slice(&valid[plain..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `bytes` as a JSON string.
pub fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(bytes, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(bytes, &mut out);
        String::from_utf8(out).expect("always UTF-8")
    }

    #[test]
    fn strings_are_what_a_json_reader_takes_for_the_text() {
        for text in ["", "plain", "a\"b\\c", "\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}", "ünï ☂ 𝄞"] {
            assert_eq!(serde_json::from_str::<String>(&string(text.as_bytes())).expect("JSON"), text);
        }
        assert_eq!(string(b"a\xff\xfeb\xe2\x82"), "\"a\u{fffd}\u{fffd}b\u{fffd}\"");
        assert_eq!(string(b"\x01"), "\"\\u0001\"");
    }
}
