//! The alerts of the published rules, property by property.

use super::{Report, captures, folder, lines};
use bumpalo::Bump;
use falco_sensor::capture::Replay;
use falco_sensor::event::text::Buffers;
use falco_sensor::filter::{EvalContext, Matching};
use falco_sensor::output::alert::{EventTime, Style, Writer};
use falco_sensor::rules::{Environment, Loader};
use falco_sensor::sensor::config;
use falco_sensor::sensor::plan;
use serde_json::Value;
use std::path::PathBuf;

const FILES: [&str; 4] =
    ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml", "falco-deprecated_rules.yaml"];

/// Properties of an alert that are compared.
const PROPERTIES: [&str; 6] = ["rule", "priority", "source", "tags", "output_fields", "output"];

fn rules_folder() -> Option<PathBuf> {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let folder = PathBuf::from(root).join("rules/upstream");
    if !folder.is_dir() {
        println!("skipped: no folder {} (set FALCO_CONFORMANCE to the conformance data set)", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn alerts() {
    let (Some(folder), Some(rules)) = (folder(), rules_folder()) else { return };
    let mut report = Report::default();
    let work = tempfile::tempdir().expect("a folder");
    let file = work.path().join("falco.yaml");
    for (ruleset, count) in [("falco_rules", 1), ("all_four", 4)] {
        for (matching, name) in [(Matching::First, "first"), (Matching::All, "all")] {
            let text = format!(
                "json_output: true\nrule_matching: {name}\nstdout_output: {{enabled: true}}\n\
                 append_output: [{{suggested_output: true}}]\n"
            );
            std::fs::write(&file, text).expect("written");
            let config = config::load(&file, &[]).expect("a configuration").config;
            let environment: Environment<'static> = plan::environment(&config, None);
            let mut loader = Loader::new(&environment);
            for file in &FILES[..count] {
                assert!(loader.load_file(&rules.join(file)).successful());
            }
            let style = Style { hostname: String::new(), ..plan::style(&config, String::new()) };
            assert_eq!(style.buffers, Buffers::Printable);
            let plan = plan::plan(&config, &loader.finish(), &style).expect("a plan");
            assert_eq!(config.match_all, matching == Matching::All);
            for capture in captures(&folder) {
                let expected: Vec<Value> = lines(&folder.join(format!("{capture}.alerts.jsonl")))
                    .into_iter()
                    .filter(|line| line["ruleset"] == ruleset && line["matching"] == name)
                    .collect();
                let mut got: Vec<(u64, Value)> = Vec::new();
                let mut replay = Replay::open(&folder.join(format!("{capture}.scap.gz")), 0).expect("a capture");
                let (mut context, mut arena, mut writer) =
                    (EvalContext::new(), Bump::new(), Writer::new(style.clone()));
                while let Some(event) = replay.next().expect("an event") {
                    let mut matched = Vec::new();
                    plan.program.evaluate(&event, &mut context, &arena, |rule| matched.push(rule));
                    for rule in matched {
                        let form = plan.forms[rule.0 as usize].as_ref().expect("a rule that runs");
                        let mut line = Vec::new();
                        let time = EventTime { ns: event.time(), utc_offset: 0 };
                        writer.write(form, &event, time, None, &arena, &mut line);
                        got.push((event.event().num, serde_json::from_slice(&line).expect("JSON")));
                    }
                    arena.reset();
                }
                compare(&format!("{capture} {ruleset} {name}"), &expected, &got, &mut report);
            }
        }
    }
    assert_eq!(report.finish("alerts"), 0);
}

fn compare(what: &str, expected: &[Value], got: &[(u64, Value)], report: &mut Report) {
    let key = |num: &Value, rule: &Value| format!("{num} {rule}");
    let mut left: Vec<&(u64, Value)> = got.iter().collect();
    for alert in expected {
        let mut alert = alert.clone();
        name_container(&mut alert);
        let wanted = key(&alert["evt_num"], &alert["rule"]);
        let found = left.iter().position(|(num, line)| key(&(*num).into(), &line["rule"]) == wanted);
        let Some(found) = found else {
            report.fail("missing", format!("{what}: {wanted}"));
            continue;
        };
        let (_, line) = left.remove(found);
        let mut same = true;
        for property in PROPERTIES {
            if alert[property] != line[property] {
                same = false;
                report
                    .fail(property, format!("{what}: {wanted}\texpected {}\tgot {}", alert[property], line[property]));
            }
        }
        report.passed += u64::from(same);
    }
    for (num, line) in left {
        report.fail("not expected", format!("{what}: {num} {}", line["rule"]));
    }
}

/// Without its runtime a container has no name in the original; here it is called by its id (docs/falco-compat.md).
fn name_container(alert: &mut Value) {
    if !alert["output_fields"]["container.name"].is_null() {
        return;
    }
    let id = alert["output_fields"]["container.id"].clone();
    if let (Some(id), Some(output)) = (id.as_str(), alert["output"].as_str()) {
        alert["output"] = output.replace("container_name=<NA>", &format!("container_name={id}")).into();
        alert["output_fields"]["container.name"] = id.into();
    }
}
