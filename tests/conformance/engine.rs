//! `engine.jsonl`: which module runs which kind.

use super::data::{Outcome, text, unknown};
use super::{config, functions, rules, run};
use serde_json::Value;

pub fn run(case: &Value) -> Outcome {
    match text(case, "kind") {
        "run" => run::run(case),
        "validate" => run::validate(case),
        "rules_load" => rules::rules_load(case),
        "plugin_requirements" => rules::plugin_requirements(case),
        "util" => functions::util(case),
        "config" => config::run(case),
        kind => unknown("kind", kind),
    }
}
