//! The narrower shape of a rules file that the published JSON schema describes.
//!
//! It can only warn. Invariant: a file that the loader refuses for its shape is never praised here, but the reverse
//! happens: the schema knows fewer spellings than the loader.

use super::yaml::{Node, Yaml};

/// What the schema would say; empty when the file fits.
pub fn check(documents: &[Node]) -> Vec<String> {
    let mut out = Vec::new();
    for document in documents {
        let Some(items) = document.sequence() else { continue };
        for (i, item) in items.iter().enumerate() {
            exceptions(item, i, &mut out);
        }
    }
    out
}

fn exceptions(item: &Node, i: usize, out: &mut Vec<String>) {
    let Some(exceptions) = item.get("exceptions").and_then(Node::sequence) else { return };
    for (e, exception) in exceptions.iter().enumerate() {
        let Yaml::Mapping(entries) = &exception.value else { continue };
        if exception.get("values").is_none() {
            out.push(format!("/{i}/exceptions/{e}: missing required property 'values'"));
        }
        for (key, _) in entries {
            let key = key.text().unwrap_or("");
            if !["name", "fields", "comps", "values"].contains(&key) {
                out.push(format!("/{i}/exceptions/{e}: unknown property '{key}'"));
            }
        }
    }
}
