//! Configurations and what becomes of them; the conformance cases of others as far as they are at hand.

use super::*;
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
        ("metrics: {enabled: true}", "c.yaml:1:1: metrics.interval: '5000' is no duration"),
        ("metrics: {enabled: true, interval: 1ms}", "c.yaml:1:26: metrics.interval: '1ms' is no duration"),
        ("load_plugins: [x]", "c.yaml:1:1: load_plugins: 'x' is not defined"),
        ("alert_limits: {capacity: 0}", "c.yaml:1:16: alert_limits.capacity: 0 is not between 1 and 1048576"),
        ("alert_limits: {rules: [{rule: x}]}", "c.yaml:1:24: alert_limits.rules: an entry has no window"),
        (
            "alert_limits:\n  rules:\n    - window: soon\n",
            "c.yaml:3:7: alert_limits.rules[].window: 'soon' is no duration of at least 1s",
        ),
        (
            "alert_limits: {rules: {window: 5s, keys: [proc.name, proc.nmae]}}",
            "c.yaml:1:54: alert_limits.rules[].keys: 'proc.nmae' is not a field",
        ),
        (
            "alert_limits: {rules: {window: 5s, keys: \"a %proc.name\"}}",
            "c.yaml:1:36: alert_limits.rules[].keys: 'a %proc.name' is not a field",
        ),
        (
            "syslog_output: {enabled: true, protocol: tcp}",
            "c.yaml:1:32: syslog_output.protocol: no syslog_output.host is given",
        ),
        (
            "syslog_output: {protocol: telnet}",
            "c.yaml:1:17: syslog_output.protocol: 'telnet' is not one of local, udp, tcp, tls",
        ),
        (
            "syslog_output: {protocol: udp, port: 65536}",
            "c.yaml:1:32: syslog_output.port: 65536 is not between 0 and 65535",
        ),
        (
            "syslog_output: {protocol: tls, client_key: k}",
            "c.yaml:1:32: syslog_output.client_key: client_cert is missing",
        ),
        ("append_output: [{extra_fields: [{a: b, c: d}]}]", "c.yaml:1:33: extra_fields is a sequence"),
    ] {
        let error = read(text, &[]).map(|_| ()).expect_err(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn alert_limits_are_entries_of_rules() {
    let text = "alert_limits:\n  rules:\n    - {rule: a*, window: 1m30s, keys: proc.name}\n    - {window: 0s}\n";
    let loaded = read(text, &[]).expect("valid");
    assert!(loaded.schema.is_empty() && loaded.warnings.is_empty());
    let limit = |rule: &str, keys: &[&str], seconds| AlertLimit {
        rule: rule.into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        window: Duration::from_secs(seconds),
    };
    let rules = vec![limit("a*", &["proc.name"], 90), limit("*", &[], 0)];
    assert_eq!(loaded.config.limits, AlertLimits { capacity: 8192, rules });
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
