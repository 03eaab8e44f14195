//! Pure functions by the names the data set gives them.

use super::data::{Outcome, bytes, check, text, unknown};
use bumpalo::Bump;
use falco_sensor::output::json::push_string;
use serde_json::{Value, json};

/// Kind `util` of `engine.jsonl`.
pub fn util(case: &Value) -> Outcome {
    let arg = |at: usize| case["args"][at].as_str().unwrap_or("");
    let got = match text(case, "function") {
        "matches_wildcard" => json!(falco_sensor::rules::select::wildcard(arg(0)).is_match(arg(1).as_bytes())),
        "parse_prometheus_interval" => {
            json!(falco_sensor::sensor::interval::parse(arg(0)).map_or(0, |interval| interval.as_millis() as u64))
        }
        "sanitize_rule_name" => json!(falco_sensor::sensor::metric_name::of_rule(arg(0))),
        other => return unknown("function", other),
    };
    check(got == case["expected"]["returns"], || format!("{got}"))
}

/// Kind `function` of `filter-eval.jsonl`.
pub fn of_events(case: &Value) -> Outcome {
    let arena = Bump::new();
    let (first, second) = (bytes(&case["args"][0]), bytes(&case["args"][1]));
    let expected = &case["expected"]["returns"];
    let got: Vec<Vec<u8>> = match text(case, "function") {
        "concatenate_paths" => vec![falco_sensor::event::path::absolute(&first, &second, &arena).to_vec()],
        "utf8_sanitize" => {
            // What is no UTF-8 is repaired where JSON is written.
            let mut line = Vec::new();
            push_string(&first, &mut line);
            let text: String = serde_json::from_slice(&line).expect("a JSON text");
            vec![text.into_bytes()]
        }
        other => return unknown("function", other),
    };
    let wanted: Vec<Vec<u8>> = match expected {
        Value::Array(all) => all.iter().map(bytes).collect(),
        one => vec![bytes(one)],
    };
    let shown = || format!("{:?}", got.iter().map(|g| String::from_utf8_lossy(g)).collect::<Vec<_>>());
    check(got == wanted, shown)
}
