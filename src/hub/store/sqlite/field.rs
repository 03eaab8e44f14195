//! Whether an alert has a field with a text: a function for statements, `has_field(body, name, value)`.
//!
//! A text as it is, any other value as its JSON; no search finds an object or nothing. Of a body, the fields are read once,
//! without making anything of them; SQLite's own functions take it apart for every question anew. Invariant: bodies are what
//! [`Alert::line`](crate::hub::alert::Alert::line) wrote.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Makes the function known to a connection.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("has_field", 3, flags, |context| {
        let text = |at: usize| context.get_raw(at).as_str();
        Ok(has(text(0)?, text(1)?, text(2)?))
    })
}

/// Where fields begin in a body. Before them are texts alone, in which a quotation mark has a backslash before it.
const FIELDS: &str = "\"output_fields\":";

fn has(body: &str, name: &str, value: &str) -> bool {
    let Some(at) = memchr::memmem::find(body.as_bytes(), FIELDS.as_bytes()) else { return false };
    let mut fields = serde_json::Deserializer::from_str(&body[at + FIELDS.len()..]);
    Fields { name, value }.deserialize(&mut fields).unwrap_or(false)
}

fn is(json: &str, value: &str) -> bool {
    match json.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => text == value.as_bytes(),
        [b'"', ..] => serde_json::from_str::<String>(json).is_ok_and(|text| text == value),
        [b'{', ..] | b"null" => false,
        _ => json == value,
    }
}

/// The field that is looked for among those of an alert.
struct Fields<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, fields: D) -> Result<bool, D::Error> {
        fields.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut keys: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(here) = keys.next_key_seed(Key(self.name))? {
            if here {
                found |= is(keys.next_value::<&RawValue>()?.get(), self.value);
            } else {
                keys.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Key<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<bool, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_they_are_searched() {
        let body = r#"{"output":"\"output_fields\":{\"a\":\"no\"}","output_fields":{"a":"x","q\"\n":"\u00e9\"y","n":18446744073709551617,
            "list":[1.50,"z"],"yes":true,"none":null,"map":{"a":"inner"},"empty":""},"a":"outer","tags":["a"]}"#;
        for (name, value) in [
            ("a", "x"),
            ("q\"\n", "é\"y"),
            ("n", "18446744073709551617"),
            ("list", "[1.50,\"z\"]"),
            ("yes", "true"),
            ("empty", ""),
        ] {
            assert!(has(body, name, value), "{name}={value}");
        }
        for (name, value) in [
            ("a", "\"x\""),
            ("a", "no"),
            ("a", "inner"),
            ("a", "outer"),
            ("none", "null"),
            ("map", "{\"a\":\"inner\"}"),
            ("b", ""),
        ] {
            assert!(!has(body, name, value), "{name}={value}");
        }
        assert!(!has("broken", "a", "x") && !has("{\"output_fields\":1}", "a", "x"));
    }
}
