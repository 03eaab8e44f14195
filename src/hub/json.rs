//! JSON values that keep numbers as they were written, and JSON as Go's encoder writes it.
//!
//! An alert carries 64-bit times and identifiers, which receivers get digit by digit. Not a document model for
//! anything else: payloads are plain serde structures. Invariant: a number is always the text of a valid JSON number.

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// Fields by name, in the order of their names, as Go's encoder writes them.
pub type Fields = BTreeMap<String, Json>;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number's text.
    Number(Box<str>),
    String(String),
    Array(Vec<Json>),
    Object(Fields),
}

/// Values nested deeper are refused: reading them costs a pass over the text for each level.
const DEPTH_MAX: usize = 64;

impl Json {
    /// Reads one value; `text` must be a whole JSON value already (what a `RawValue` holds).
    pub fn from_raw(raw: &RawValue) -> Result<Json, serde_json::Error> {
        Self::read(raw, DEPTH_MAX)
    }

    fn read(raw: &RawValue, depth: usize) -> Result<Json, serde_json::Error> {
        let text = raw.get();
        if depth == 0 {
            return Err(serde_json::Error::custom(format!("values are nested more than {DEPTH_MAX} deep")));
        }
        Ok(match text.as_bytes()[0] {
            b'n' => Json::Null,
            b't' => Json::Bool(true),
            b'f' => Json::Bool(false),
            b'"' => Json::String(serde_json::from_str(text)?),
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                Json::Array(items.into_iter().map(|item| Self::read(item, depth - 1)).collect::<Result<_, _>>()?)
            }
            b'{' => {
                let Entries(entries) = serde_json::from_str(text)?;
                let read = |(name, value): (String, Box<RawValue>)| Ok((name, Self::read(&value, depth - 1)?));
                Json::Object(entries.into_iter().map(read).collect::<Result<_, serde_json::Error>>()?)
            }
            _ => Json::Number(text.into()),
        })
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::String(text.to_owned())
    }
}

/// As Go's `%v` prints it.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("<nil>"),
            Json::Bool(value) => value.fmt(f),
            Json::Number(text) => f.write_str(text),
            Json::String(text) => f.write_str(text),
            Json::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Json::Object(fields) => {
                f.write_str("map[")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}:{value}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => to.serialize_unit(),
            Json::Bool(value) => to.serialize_bool(*value),
            Json::Number(text) => {
                RawValue::from_string(text.to_string()).map_err(serde::ser::Error::custom)?.serialize(to)
            }
            Json::String(text) => to.serialize_str(text),
            Json::Array(items) => {
                let mut list = to.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Json::Object(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

/// The members of an object in the order they were written, values unread.
pub struct Entries(pub Vec<(String, Box<RawValue>)>);

impl<'de> serde::Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(Members)
    }
}

/// The first `most` bytes of a text, or fewer where a character would be cut in two.
pub fn head(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// A payload as Go's encoder writes it: `<`, `>`, `&` and the two line separators escaped, and a newline at the end.
pub fn go(payload: &impl Serialize) -> Vec<u8> {
    // Serialising to memory fails only for maps whose keys are no texts; no payload has any.
    let text = serde_json::to_string(payload).unwrap_or_else(|error| {
        tracing::error!(%error, "a payload could not be written as JSON");
        "null".to_owned()
    });
    let mut out = Vec::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // Outside of strings JSON has none of these.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Json, serde_json::Error> {
        Json::from_raw(&serde_json::from_str::<Box<RawValue>>(text)?)
    }

    #[test]
    fn numbers_keep_their_digits() {
        for text in ["18446744073709551616123", "1.10", "-0", "1e400", "1668000000000000001"] {
            let value = read(&format!("{{\"n\":[{text}]}}")).expect("valid");
            assert_eq!(serde_json::to_string(&value).expect("text"), format!("{{\"n\":[{text}]}}"));
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(read(&format!("{}{}", "[".repeat(60), "]".repeat(60))).is_ok());
        let error = read(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).expect_err("too deep");
        assert!(error.to_string().contains("64 deep"), "{error}");
    }

    #[test]
    fn escaped_like_go() {
        assert_eq!(go(&"a<b>&\u{2028}é"), "\"a\\u003cb\\u003e\\u0026\\u2028é\"\n".as_bytes());
    }

    #[test]
    fn printed_like_go() {
        let value = read(r#"{"b":[1,"x",null],"a":{"c":true}}"#).expect("valid");
        assert_eq!(value.to_string(), "map[a:map[c:true] b:[1 x <nil>]]");
    }
}
