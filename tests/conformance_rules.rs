//! Rules files against the conformance data set: loading, validating, plugin requirements.

mod conformance;

use conformance::{Outcome, Tally, check, text};
use falco_sensor::filter::RuleIndex;
use falco_sensor::rules::item::PluginVersion;
use falco_sensor::rules::output::{Append, ExtraText};
use falco_sensor::rules::{Environment, FileResult, Loader, Priority, Selection, describe, require};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[test]
fn rules_files() {
    let mut tally = Tally::default();
    for case in conformance::cases("engine.jsonl") {
        let outcome = match text(&case, "kind") {
            "rules_load" => rules_load(&case),
            "validate" => validate(&case),
            "plugin_requirements" => plugin_requirements(&case),
            _ => continue,
        };
        tally.add(&case, outcome);
    }
    assert_eq!(tally.finish(), 0);
}

fn paths(case: &Value, key: &str) -> Vec<PathBuf> {
    let root = conformance::root().unwrap_or_default();
    strings(&case[key]).into_iter().map(|file| root.join(file)).collect()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn environment(case: &Value) -> Result<Environment<'static>, &'static str> {
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
            _ => return Err("a setup this test does not know"),
        }
        env.output.entries.push(entry);
    }
    Ok(env)
}

fn rules_load(case: &Value) -> Outcome {
    let env = match environment(case) {
        Ok(env) => env,
        Err(why) => return Outcome::Skipped(why),
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
                    _ => return Outcome::Skipped("a schema verdict this test does not know"),
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
            _ => return Outcome::Skipped("an expectation this test does not know"),
        };
        if !ok {
            return fail(key);
        }
    }
    steps(case, &loader)
}

/// Follows a path into a description.
fn described(description: &Value, want: &Value) -> Result<(), String> {
    let mut at = description;
    for part in want["path"].as_array().into_iter().flatten() {
        at = match part {
            Value::String(key) => &at[key],
            part => &at[part.as_u64().unwrap_or(0) as usize],
        };
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
            _ => return Outcome::Skipped("a step this test does not know"),
        };
        let set = sets.entry(args[2].as_str().unwrap_or("").to_owned()).or_insert_with(Selection::none);
        set.set(chosen, args[1] == Value::Bool(true));
    }
    Outcome::Passed
}

/// `wording`: do messages have to be the same?
fn has_entry(results: &[FileResult], want: &Value, errors: bool, wording: bool) -> bool {
    let fits = |code: &str, message: &str, context: &falco_sensor::rules::result::Context| {
        let item = want["item_type"].as_str();
        let name = want["item_name"].as_str();
        want["code"].as_str().is_none_or(|c| c == code)
            && (!wording || want["message"].as_str().is_none_or(|m| m == message))
            && want["message_contains"].as_str().is_none_or(|m| message.contains(m))
            && context
                .locations
                .iter()
                .any(|l| item.is_none_or(|i| i == l.item_type) && name.is_none_or(|n| n == l.item_name))
    };
    results.iter().any(|r| match errors {
        true => r.errors.iter().any(|e| fits(e.code.symbol(), &e.message, &e.context)),
        false => r.warnings.iter().any(|w| fits(w.code.symbol(), &w.message, &w.context)),
    })
}

fn validate(case: &Value) -> Outcome {
    // Cases of an older Falco whose expectation is known to differ today are covered by their current twins.
    if !case["differs_from_current"].is_null() {
        return Outcome::Skipped("belongs to an older version and differs today");
    }
    if case["needs"].as_array().is_some_and(|needs| !needs.is_empty()) {
        return Outcome::Skipped("needs a plugin");
    }
    // Messages were worded differently then; what has no twin among today's cases is held to code and item.
    let wording = !text(case, "era").starts_with("falco 0.3") || !case["current_port"].is_null();
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let results: Vec<FileResult> = paths(case, "validate_rules").iter().map(|p| loader.load_file(p)).collect();
    let all = || results.iter().map(|r| r.text(true)).collect::<String>();
    let expected = &case["expected"];
    let failed = results.iter().any(|r| !r.successful());
    if expected["exit_status"].as_u64().is_some_and(|status| (status != 0) != failed) {
        return Outcome::Failed(all());
    }
    let validation = &expected["validation"];
    for (key, errors) in [("errors", true), ("warnings", false)] {
        for want in validation[key].as_array().into_iter().flatten() {
            if !want["message_matches"].is_null() {
                return Outcome::Skipped("a message given as a pattern");
            }
            if !has_entry(&results, want, errors, wording) {
                return Outcome::Failed(format!("{want}; says:\n{}", all()));
            }
        }
    }
    let count = |key: &str, n: usize| validation[key].as_u64().is_none_or(|want| want == n as u64);
    let sizes = count("error_count", results.iter().map(|r| r.errors.len()).sum())
        && count("warning_count", results.iter().map(|r| r.warnings.len()).sum());
    let verdicts = validation["results"].as_array().into_iter().flatten().all(|want| {
        let at = want["index"].as_u64().unwrap_or(0) as usize;
        results.get(at).is_some_and(|r| Value::Bool(r.successful()) == want["successful"])
    });
    check(sizes && verdicts, all)
}

fn plugin_requirements(case: &Value) -> Outcome {
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
