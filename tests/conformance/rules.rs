//! Rules files against the conformance data set: loading, validating, plugin requirements.

use super::data::{self, Outcome, check, strings, text, unknown};
use falco_sensor::filter::RuleIndex;
use falco_sensor::rules::item::PluginVersion;
use falco_sensor::rules::output::{Append, ExtraText};
use falco_sensor::rules::{Environment, Loader, Priority, Selection, describe, require};
use falco_sensor::sensor::config::tree::{Step, parse_path};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub fn paths(case: &Value, key: &str) -> Vec<PathBuf> {
    let root = data::root().unwrap_or_default();
    strings(&case[key]).into_iter().map(|file| root.join(file)).collect()
}

fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn environment(case: &Value) -> Result<Environment<'static>, Outcome> {
    let mut env = Environment::syscalls();
    for step in case["setup"].as_array().into_iter().flatten() {
        let args = &step["args"];
        let word = |i: usize| args[i].as_str().unwrap_or("").to_owned();
        let mut entry = Append {
            source: None,
            tags: strings(&args[2]).into_iter().collect(),
            rule: optional(&word(3)),
            ..Append::default()
        };
        match text(step, "action") {
            "add_extra_output_format" => {
                entry.source = optional(&word(1));
                entry.format = Some(word(0));
            }
            "add_extra_output_formatted_field" => {
                entry = Append {
                    source: optional(&word(2)),
                    tags: strings(&args[3]).into_iter().collect(),
                    rule: optional(&word(4)),
                    ..Append::default()
                };
                entry.fields.push(ExtraText { name: word(0), text: word(1), raw: false });
            }
            "add_extra_output_raw_field" => {
                entry.source = optional(&word(1));
                entry.fields.push(ExtraText { name: word(0), text: format!("%{}", word(0)), raw: true });
            }
            other => return Err(unknown("setup", other)),
        }
        env.output.entries.push(entry);
    }
    Ok(env)
}

pub fn rules_load(case: &Value) -> Outcome {
    let env = match environment(case) {
        Ok(env) => env,
        Err(why) => return why,
    };
    let mut loader = Loader::new(&env);
    let result = loader.load_file(&paths(case, "rules")[0]);
    let loaded = loader.loaded();
    let messages = |warnings: bool| -> Vec<String> {
        match warnings {
            true => result.warnings.iter().map(|w| format!("{}: {}", w.code.symbol(), w.message)).collect(),
            false => result.errors.iter().map(|e| format!("{}: {}", e.code.symbol(), e.message)).collect(),
        }
    };
    let fail = |key: &str| Outcome::Failed(format!("{key}; says:\n{}", result.text(true)));
    let contains = |messages: &[String], wanted: &str| messages.iter().any(|m| m.contains(wanted));
    let rule = |name: &str| loaded.rules.iter().find(|r| r.name == name);
    for (key, wanted) in case["expected"].as_object().into_iter().flatten() {
        let ok = match key.as_str() {
            "load_ok" => result.successful() == (*wanted == Value::Bool(true)),
            "has_warnings" => result.has_warnings() == (*wanted == Value::Bool(true)),
            "warnings_contain" => strings(wanted).iter().all(|w| contains(&messages(true), w)),
            "warnings_not_contain" => !strings(wanted).iter().any(|w| contains(&messages(true), w)),
            "errors_contain" => strings(wanted).iter().all(|w| contains(&messages(false), w)),
            "schema_validation" => {
                let valid = result.schema_warnings.as_ref().is_none_or(Vec::is_empty);
                match wanted.as_str() {
                    Some("ok") => valid,
                    Some("failed") => !valid,
                    other => return unknown("schema verdict", other.unwrap_or("")),
                }
            }
            "compiled_condition" => wanted.as_object().into_iter().flatten().all(|(name, condition)| {
                rule(name).is_some_and(|r| condition.as_str() == Some(&r.condition.to_string()))
            }),
            "compiled_output" => wanted
                .as_object()
                .into_iter()
                .flatten()
                .all(|(name, output)| rule(name).is_some_and(|r| output.as_str() == Some(&r.output))),
            "compiled_output_not_contains" => wanted
                .as_array()
                .into_iter()
                .flatten()
                .all(|w| rule(text(w, "rule")).is_some_and(|r| !r.output.contains(text(w, "text")))),
            "enabled_rules" => wanted.as_u64() == Some(Selection::of(loaded, Priority::Debug).len() as u64),
            "some_warning" => result.warnings.iter().any(|w| {
                let snippet = w.context.snippet();
                wanted["code"].as_str().is_none_or(|code| code == w.code.symbol())
                    && strings(&wanted["snippet_contains"]).iter().all(|s| snippet.contains(s))
                    && !strings(&wanted["snippet_not_contains"]).iter().any(|s| snippet.contains(s))
            }),
            "result_json" => says(&result.json(), wanted),
            "describe" => {
                let env_all = describe::describe(loaded, &env, None);
                for want in wanted.as_array().into_iter().flatten() {
                    let name = want["describe_rule"].as_str();
                    let description = match name {
                        Some(name) => describe::describe(loaded, &env, Some(name)),
                        None => env_all.clone(),
                    };
                    if let Err(why) = described(&description, want) {
                        return Outcome::Failed(why);
                    }
                }
                true
            }
            other => return unknown("expectation", other),
        };
        if !ok {
            return fail(key);
        }
    }
    steps(case, &loader)
}

/// Is everything that is stated there? Of objects the stated keys are compared.
fn says(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (_, Value::Object(keys)) => keys.iter().all(|(key, value)| says(&got[key], value)),
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(got, wanted)| says(got, wanted))
        }
        _ => got == wanted,
    }
}

/// Follows a path into a description.
pub fn described(description: &Value, want: &Value) -> Result<(), String> {
    let mut at = description;
    // A list of keys and indexes, or one text of them.
    match &want["path"] {
        Value::Array(parts) => {
            for part in parts {
                at = match part {
                    Value::String(key) => &at[key],
                    part => &at[part.as_u64().unwrap_or(0) as usize],
                };
            }
        }
        path => {
            for step in parse_path(path.as_str().unwrap_or(""))? {
                at = match step {
                    Step::Key(key) => &at[key],
                    Step::Index(index) => &at[index],
                    Step::Append => &Value::Null,
                };
            }
        }
    }
    let ok = if let Some(len) = want["len"].as_u64() {
        at.as_array().is_some_and(|a| a.len() as u64 == len)
    } else if !want["contains"].is_null() {
        match at {
            Value::Array(items) => items.contains(&want["contains"]),
            Value::String(s) => want["contains"].as_str().is_some_and(|c| s.contains(c)),
            _ => false,
        }
    } else if want["empty"] == Value::Bool(true) {
        at.as_array().is_some_and(Vec::is_empty)
    } else {
        *at == want["equals"]
    };
    if ok { Ok(()) } else { Err(format!("{want}: is {at}")) }
}

/// Named rulesets: enabling by name, exact name, wildcard and tag.
fn steps(case: &Value, loader: &Loader<'_>) -> Outcome {
    let loaded = loader.loaded();
    let mut sets: BTreeMap<String, Selection> = BTreeMap::new();
    for step in case["steps"].as_array().into_iter().flatten() {
        if text(step, "check") == "num_rules_for_ruleset" {
            let len = sets.get(text(step, "ruleset")).map_or(0, Selection::len);
            if step["equals"].as_u64() != Some(len as u64) {
                return Outcome::Failed(format!("{step}: has {len}"));
            }
            continue;
        }
        let args = &step["args"];
        let pattern = args[0].as_str().unwrap_or("");
        let by = |holds: &dyn Fn(&falco_sensor::rules::Rule) -> bool| -> Vec<RuleIndex> {
            loaded.rules.iter().zip(0..).filter(|(r, _)| holds(r)).map(|(_, i)| RuleIndex(i)).collect()
        };
        let chosen = match text(step, "action") {
            "enable_rule" => by(&|r| r.name.contains(pattern)),
            "enable_rule_exact" => by(&|r| pattern.is_empty() || r.name == pattern),
            "enable_rule_wildcard" => {
                let what = falco_sensor::rules::Selected::Rule(pattern.into());
                by(&|r| what.matches(r))
            }
            "enable_rule_by_tag" => {
                let tags = strings(&args[0]);
                by(&|r| tags.iter().any(|t| r.tags.contains(t)))
            }
            other => return unknown("step", other),
        };
        let set = sets.entry(args[2].as_str().unwrap_or("").to_owned()).or_insert_with(Selection::none);
        set.set(chosen, args[1] == Value::Bool(true));
    }
    Outcome::Passed
}

pub fn plugin_requirements(case: &Value) -> Outcome {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load_file(&paths(case, "rules")[0]);
    let plugins: Vec<PluginVersion> = case["loaded_plugins"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| Some(PluginVersion { name: text(p, "name").into(), version: text(p, "version").parse().ok()? }))
        .collect();
    let met = result.successful() && require::check(&loader.loaded().collected.required_plugins, &plugins).is_ok();
    check(Value::Bool(met) == case["expected"]["requirements_met"], || result.text(true))
}
