//! `--bench`: its object, and that it refuses to measure what it cannot check.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn bench(mode: &str, more: &[&str]) -> Output {
    let rules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules/default.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_falco-sensor"));
    command.args(["--bench", mode, "--seconds", "0", "--json", "-r"]).arg(rules).args(more);
    command.output().expect("it runs")
}

fn object(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn modes_give_one_object_with_every_figure() {
    for (mode, rows) in [("evaluate", 4), ("ring", 1)] {
        let object = object(&bench(mode, &[]));
        assert_eq!(object["mode"], mode);
        for key in ["events", "ns_per_event", "events_per_second", "max_rss_bytes", "alerts", "rules"] {
            assert!(object[key].as_f64().is_some_and(|n| n > 0.0), "{mode}: {key} of {object}");
        }
        assert!(object["rows"].as_array().is_some_and(|all| all.len() >= rows), "{mode}: {object}");
        assert!(object["rows"][0]["rounds"].as_u64().is_some_and(|n| n >= 5), "a median of five at least");
    }
}

#[test]
fn a_replay_needs_a_capture_that_can_be_read() {
    for more in [&[][..], &["--capture", "/nonexistent.scap"]] {
        let output = bench("replay", more);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(String::from_utf8_lossy(&output.stderr).contains("capture") || !more.is_empty());
    }
}
