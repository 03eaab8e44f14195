//! Configurations and what becomes of them; the conformance cases of others as far as they are at hand.

use super::*;
use serde_json::Value as Json;
use std::fs;

fn read(text: &str, overrides: &[&str]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("c.yaml");
    fs::write(&path, text).expect("writable");
    let overrides: Vec<Override> = overrides.iter().map(|o| o.parse().expect("KEY=VALUE")).collect();
    load(&path, &overrides).map_err(|e| e.to_string().replace(&path.display().to_string(), "c.yaml"))
}

#[test]
fn defaults_are_those_of_the_table() {
    let config = read("", &[]).expect("empty is fine").config;
    assert_eq!(config.ring_bytes, 8 << 20);
    assert_eq!((config.snaplen, config.queue_capacity, config.output_timeout_ms), (80, 0, 2000));
    assert!(
        !config.json_output && config.json.output && config.json.tags && config.json.fields && !config.json.message
    );
    assert!(config.path_views && !config.match_all && !config.stdout && config.file.is_none());
    assert_eq!(config.drops, Drops { threshold: 0.1, actions: vec![], rate: 0.03333, max_burst: 1, simulate: false });
    assert_eq!((config.log_stderr, LOG_LEVELS[config.log_level]), (true, "info"));
}

#[test]
fn other_engines_are_taken_as_ours() {
    for (kind, preset, bytes) in
        [("kmod", "kmod", 1 << 20), ("modern_ebpf", "modern_ebpf", 512 << 20), ("module", "module", 2 << 20)]
    {
        let number = match bytes >> 20 {
            1 => 1,
            2 => 2,
            _ => 10,
        };
        let text = format!("engine: {{kind: {kind}, {preset}: {{buf_size_preset: {number}}}}}");
        let loaded = read(&text, &[]).expect(kind);
        assert_eq!(loaded.config.ring_bytes, bytes);
        assert_eq!(loaded.infos.len(), usize::from(kind != "module"), "{kind}");
    }
    let error = read("engine: {kind: replay}", &[]).expect_err("no file");
    assert_eq!(error, "c.yaml:1:10: engine.kind: 'replay' wants a file to read: set engine.replay.capture_file");
    let loaded = read("engine: {kind: replay, replay: {capture_file: /x.scap}}", &[]).expect("a file");
    assert_eq!(loaded.config.replay, Some("/x.scap".into()));
}

#[test]
fn refusals_name_the_place() {
    for (text, expected) in [
        ("a: [", "c.yaml:"),
        (
            "engine: {kind: kmod, kmod: {buf_size_preset: 11}}",
            "c.yaml:1:29: engine.kmod.buf_size_preset: 11 is not between 1 and 10",
        ),
        ("rules_file: [a]\nrules_files: [b]\n", "c.yaml:1:1: rules_file: given together with rules_files"),
        ("rules:\n  - enable: {}\n", "c.yaml:2:5: an entry of rules is"),
        ("file_output: {enabled: true}", "c.yaml:1:15: file_output.enabled: no file_output.filename"),
        (
            "syscall_event_drops: {actions: [ignore, log]}",
            "c.yaml:1:23: syscall_event_drops.actions: syscall event drop action \"log\" does not",
        ),
        ("syscall_event_drops: {actions: [shout]}", "c.yaml:1:23: syscall_event_drops.actions: 'shout' is not one of"),
        (
            "syscall_event_drops: {threshold: 2}",
            "c.yaml:1:23: syscall_event_drops.threshold: syscall event drops threshold must be a double in the range",
        ),
        ("load_plugins: [x]", "c.yaml:1:1: load_plugins: 'x' is not defined"),
        ("append_output: [{extra_fields: [{a: b, c: d}]}]", "c.yaml:1:33: extra_fields is a sequence"),
    ] {
        let error = read(text, &[]).map(|_| ()).expect_err(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn rules_files_and_folders() {
    let folder = tempfile::tempdir().expect("temporary folder");
    for name in ["b.yaml", "a.yml", "c.txt"] {
        fs::write(folder.path().join(name), "").expect("writable");
    }
    let named = folder.path().join("c.txt");
    let text = format!("rules_files: [{}, /nonexistent.yaml, {}]", named.display(), folder.path().display());
    let paths = read(&text, &[]).expect("loads").config.rules_paths();
    let names: Vec<_> = paths.iter().filter_map(|p| p.file_name()?.to_str()).collect();
    assert_eq!(names, ["c.txt", "a.yml", "b.yaml"]);
}

/// The data set of `FALCO_CONFORMANCE` (its README.md tells the format); skipped where it is not.
#[test]
fn conformance_cases() {
    let Some(root) = std::env::var_os("FALCO_CONFORMANCE") else { return };
    let text = fs::read_to_string(Path::new(&root).join("public/engine.jsonl")).expect("the data set");
    let (mut ran, mut failures) = (0, Vec::new());
    for line in text.lines() {
        let case: Json = serde_json::from_str(line).expect("JSON lines");
        if case["kind"] != "config" || case["function"].is_string() || case["env"].is_object() {
            continue;
        }
        ran += 1;
        if let Err(why) = run_case(&case) {
            failures.push(format!("{}: {why}", case["id"]));
        }
    }
    assert!(failures.is_empty(), "{} of {ran}:\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 0);
}

fn run_case(case: &Json) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let dir = folder.path().display().to_string();
    let place = |text: &str| text.replace("${TMP}", &dir).replace("${CWD}", &dir);
    let mut main = "config.yaml".to_owned();
    if let Some(files) = case["config_files"].as_object() {
        main = place(case["main"].as_str().unwrap_or_default());
        for (name, text) in files {
            let path = folder.path().join(place(name));
            fs::create_dir_all(path.parent().expect("has one")).map_err(|e| e.to_string())?;
            // Names relative to the working directory, which tests share: make them absolute.
            let mut text = place(text.as_str().unwrap_or_default());
            for other in files.keys().filter(|k| !k.starts_with("${")) {
                text = text.replace(&format!(" {other}"), &format!(" {dir}/{other}"));
            }
            fs::write(path, text).map_err(|e| e.to_string())?;
        }
    } else {
        let text = case["config_inline"].as_str().unwrap_or_default();
        fs::write(folder.path().join(&main), text).map_err(|e| e.to_string())?;
    }
    let overrides: Vec<Override> = case["config_overrides"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| o.as_str()?.replace("=conf_", &format!("={dir}/conf_")).parse().ok())
        .collect();
    let main = folder.path().join(main);
    let expected = &case["expected"];
    if let Some(key) = case["get"]["key"].as_str() {
        let Ok(path) = parse_path(key) else {
            return if expected["error"] == true { Ok(()) } else { Err("path refused".into()) };
        };
        let tree = merge::load(&main, &overrides).map_err(|e| e.to_string())?.tree;
        let found = tree.get(&path);
        if let Some(defined) = expected["defined"].as_bool() {
            return if found.is_some() == defined { Ok(()) } else { Err("defined or not".into()) };
        }
        return same(found, &expected["value"]);
    }
    let loaded = load(&main, &overrides);
    if expected["load_ok"] == false {
        return if loaded.is_err() { Ok(()) } else { Err("loaded".into()) };
    }
    let loaded = loaded.map_err(|e| e.to_string())?;
    match expected["schema_validation"].as_str() {
        Some("ok") if !loaded.schema.is_empty() => {
            return Err("unknown key".into());
        }
        Some("failed") if loaded.schema.is_empty() => return Err("no warning".into()),
        _ => {}
    }
    for check in expected["checks"].as_array().into_iter().flatten() {
        if let Some(count) = check["n_files_loaded"].as_u64() {
            if loaded.files.len() as u64 != count {
                return Err(format!("{} files", loaded.files.len()));
            }
            continue;
        }
        let found = loaded.tree.get(&parse_path(check["key"].as_str().unwrap_or_default())?);
        if let Some(defined) = check["defined"].as_bool() {
            if found.is_some() != defined {
                return Err(check.to_string());
            }
        } else if check["sequence"].is_array() {
            if found.map(Json::from) != Some(check["sequence"].clone()) {
                return Err(check.to_string());
            }
        } else {
            same(found, &check["value"])?;
        }
    }
    if let Some(wanted) = expected["append_output"].as_array() {
        append_like(&loaded.config.append_output, wanted)?;
    }
    if let Some(wanted) = expected["rule_selection"].as_array() {
        let ours: Vec<Json> = loaded.config.selection.iter().map(selection_json).collect();
        if ours != *wanted {
            return Err(format!("{ours:?}"));
        }
    }
    Ok(())
}

fn selection_json(one: &Selection) -> Json {
    let op = if one.enable { "enable" } else { "disable" };
    match &one.by {
        SelectBy::Rule(rule) => serde_json::json!({"op": op, "rule": rule}),
        SelectBy::Tag(tag) => serde_json::json!({"op": op, "tag": tag}),
    }
}

fn append_like(ours: &[AppendOutput], wanted: &[Json]) -> Result<(), String> {
    if ours.len() != wanted.len() {
        return Err(format!("{} entries", ours.len()));
    }
    for (ours, wanted) in ours.iter().zip(wanted) {
        let texts = |key: &str| -> Vec<&str> {
            wanted[key].as_array().into_iter().flatten().filter_map(Json::as_str).collect()
        };
        let formatted: Vec<(String, String)> = wanted["formatted_fields"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()))
            .collect();
        let same = ours.source.as_deref() == wanted["source"].as_str()
            && ours.rule.as_deref() == wanted["rule"].as_str()
            && ours.text.as_deref() == wanted["format"].as_str()
            && ours.tags == texts("tags")
            && ours.raw_fields == texts("raw_fields")
            && ours.formatted_fields == formatted;
        if !same {
            return Err(format!("{ours:?} is not {wanted}"));
        }
    }
    Ok(())
}

fn same(found: Option<&Node>, wanted: &Json) -> Result<(), String> {
    let text = found.and_then(Node::text);
    let wanted_text = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    if text == Some(&wanted_text) { Ok(()) } else { Err(format!("{text:?} is not {wanted_text:?}")) }
}
