//! The narrower shape of a rules file that the published JSON schema describes.
//!
//! It can only warn. The schema knows one kind of item with the keys of all kinds, and refuses any other key, in items
//! and in exceptions. Invariant: its verdict never changes what is loaded.

use super::item::{LIST_KEYS, MACRO_KEYS, Priority, RULE_KEYS};
use super::yaml::{Node, Yaml};
use serde_json::{Map, Value, json};

const EXCEPTION_KEYS: &[&str] = &["name", "fields", "comps", "values"];
const REQUIREMENT_KEYS: &[&str] = &["required_engine_version", "required_plugin_versions"];
const PLUGIN_KEYS: &[&str] = &["name", "version", "alternatives"];

/// What the schema would say; empty when the file fits.
pub fn check(documents: &[Node]) -> Vec<String> {
    let mut out = Vec::new();
    for document in documents {
        for (i, item) in document.sequence().unwrap_or_default().iter().enumerate() {
            let path = format!("/{i}");
            let top = [LIST_KEYS, MACRO_KEYS, RULE_KEYS, REQUIREMENT_KEYS];
            keys(item, &path, &top, &mut out);
            for (key, allowed) in [("exceptions", EXCEPTION_KEYS), ("required_plugin_versions", PLUGIN_KEYS)] {
                let inner = item.get(key).and_then(Node::sequence).unwrap_or_default();
                for (n, entry) in inner.iter().enumerate() {
                    keys(entry, &format!("{path}/{key}/{n}"), &[allowed], &mut out);
                }
            }
        }
    }
    out
}

/// The schema itself, for editors and `--rule-schema`.
pub fn schema() -> Value {
    let text = json!({"type": "string"});
    let priorities = Priority::ALL.map(Priority::as_str);
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let item = |name: &str| match name {
        "tags" => texts.clone(),
        "enabled" | "append" | "warn_evttypes" | "skip-if-unknown-filter" | "capture" => json!({"type": "boolean"}),
        "capture_duration" => json!({"type": "integer", "minimum": 0}),
        "items" => json!({"type": "array", "items": {"type": ["string", "number", "boolean"]}}),
        "priority" => {
            json!({"type": "string", "description": format!("one of {}, in any case", priorities.join(", "))})
        }
        "exceptions" => json!({"type": "array", "items": object(EXCEPTION_KEYS, &|_| json!({}))}),
        "override" => json!({"type": "object", "additionalProperties": {"enum": ["append", "replace"]}}),
        "required_plugin_versions" => json!({"type": "array", "items": object(PLUGIN_KEYS, &|name| match name {
            "alternatives" => json!({"type": "array", "items": object(&PLUGIN_KEYS[..2], &|_| json!({"type": "string"}))}),
            _ => json!({"type": "string"}),
        })}),
        _ => text.clone(),
    };
    let mut names: Vec<&str> = [LIST_KEYS, MACRO_KEYS, RULE_KEYS, REQUIREMENT_KEYS].concat();
    names.sort_unstable();
    names.dedup();
    json!({
        "$schema": "http://json-schema.org/draft-06/schema#",
        "title": "Rules file",
        "type": "array",
        "items": object(&names, &item),
    })
}

fn object(names: &[&str], of: &dyn Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), of(name))).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn keys(node: &Node, path: &str, allowed: &[&[&str]], out: &mut Vec<String>) {
    let Yaml::Mapping(entries) = &node.value else { return };
    for (key, _) in entries {
        let key = key.text().unwrap_or("");
        if !allowed.iter().any(|keys| keys.contains(&key)) {
            out.push(format!("{path}: the schema has no property '{key}' here"));
        }
    }
}
