//! The table of keys as a JSON schema (draft-06), for editors and `--config-schema`.

use super::keys::{KEYS, Key, Kind};
use serde_json::{Map, Value, json};

/// The schema: every key with its type and meaning; no other is known.
pub fn schema() -> Value {
    let mut root = object();
    root["$schema"] = "http://json-schema.org/draft-06/schema#".into();
    root["title"] = "Configuration".into();
    // Shorter paths first: a list is there before the keys of its elements.
    let mut keys: Vec<&Key> = KEYS.iter().collect();
    keys.sort_by_key(|key| key.path.matches(['.', '[']).count());
    for key in keys {
        insert(&mut root, key.path, key);
    }
    root
}

fn object() -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": Map::new()})
}

fn insert(parent: &mut Value, path: &str, key: &Key) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, element) = name.strip_suffix("[]").map_or((name, false), |name| (name, true));
    let place = &mut parent["properties"][name];
    if rest.is_empty() && !element {
        *place = of(key);
        return;
    }
    if element {
        if !place["items"].is_object() {
            place["items"] = object();
        }
        insert(&mut place["items"], rest, key);
        return;
    }
    if !place["properties"].is_object() {
        *place = object();
    }
    insert(place, rest, key);
}

fn of(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int => json!({"type": "integer"}),
        Kind::Number => json!({"type": "number"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Choice(words) => json!({"type": "string", "enum": words}),
        Kind::TextList => json!({"type": ["array", "string"], "items": {"type": "string"}}),
        Kind::MapList => json!({"type": "array", "items": object()}),
        Kind::Anything => json!({}),
    };
    schema["description"] = key.meaning.into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_it() {
        let schema = schema();
        for key in KEYS {
            let pointer =
                format!("/properties/{}", key.path.replace("[].", "/items/properties/").replace('.', "/properties/"));
            assert_eq!(schema.pointer(&pointer).map(|s| &s["description"]), Some(&json!(key.meaning)), "{pointer}");
        }
    }
}
