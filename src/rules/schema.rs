//! The narrower shape of a rules file that the published JSON schema describes.
//!
//! It can only warn. The schema knows one kind of item with the keys of all kinds, and refuses any other key, in items
//! and in exceptions. Invariant: its verdict never changes what is loaded.

use super::item::{LIST_KEYS, MACRO_KEYS, RULE_KEYS};
use super::yaml::{Node, Yaml};

const EXCEPTION_KEYS: &[&str] = &["name", "fields", "comps", "values"];
const PLUGIN_KEYS: &[&str] = &["name", "version", "alternatives"];

/// What the schema would say; empty when the file fits.
pub fn check(documents: &[Node]) -> Vec<String> {
    let mut out = Vec::new();
    for document in documents {
        for (i, item) in document.sequence().unwrap_or_default().iter().enumerate() {
            let path = format!("/{i}");
            let top = [LIST_KEYS, MACRO_KEYS, RULE_KEYS, &["required_engine_version", "required_plugin_versions"]];
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

fn keys(node: &Node, path: &str, allowed: &[&[&str]], out: &mut Vec<String>) {
    let Yaml::Mapping(entries) = &node.value else { return };
    for (key, _) in entries {
        let key = key.text().unwrap_or("");
        if !allowed.iter().any(|keys| keys.contains(&key)) {
            out.push(format!("{path}: the schema has no property '{key}' here"));
        }
    }
}
