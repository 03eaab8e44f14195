//! How the data set writes things, and which of its cases are left to later versions.

pub use super::tally::{Outcome, check, root, text};
use serde_json::Value;

/// Why a case is left to a later version: what it needs, or that what it expects was changed since.
pub fn later(case: &Value) -> Option<&'static str> {
    let needs = strings(&case["needs"]);
    let any = |start: &str| needs.iter().any(|need| need.starts_with(start));
    if any("plugin:") || any("native test plugins") {
        return Some("needs a loaded plugin");
    }
    let function = text(case, "function");
    if any("grpc") || function == "is_unix_scheme" {
        return Some("needs the gRPC output");
    }
    if function == "split" {
        return Some("is about a function whose place the standard library takes");
    }
    // What Falco 0.34 did and today's does not; the data set names the difference.
    (!case["differs_from_current"].is_null()).then_some("belongs to an older version and differs today")
}

/// Is it a case of the suite that Falco had up to 0.35?
pub fn is_old(case: &Value) -> bool {
    text(case, "era").starts_with("falco 0.3")
}

/// A word of the data set that this runner cannot act on: never silently passed over.
pub fn unknown(what: &str, word: &str) -> Outcome {
    Outcome::Failed(format!("{what} '{word}' is not known to this runner"))
}

pub fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// A text, or bytes written as base64.
pub fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        value => base64(value["str_b64"].as_str().unwrap_or("")),
    }
}

pub fn base64(text: &str) -> Vec<u8> {
    let arena = bumpalo::Bump::new();
    let value = falco_sensor::event::value::Value::Str(arena.alloc_slice_copy(text.as_bytes()));
    let name = falco_sensor::filter::ast::TransformerName::B64;
    match falco_sensor::filter::transform::apply(name, &[value], None, &arena) {
        Some(falco_sensor::event::value::Value::Str(bytes)) => bytes.to_vec(),
        _ => panic!("the data set is valid base64"),
    }
}
