//! Alerts as their receivers get them: a capture made here is replayed by the program, and what arrives is looked at.

use falco_sensor::capture::{Metadata, Writer, encode};
use falco_sensor::event::synthetic::{EventSpec, Process, Task, World};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// 2026-11-28 00:00:00 UTC, in seconds.
const DAY: u64 = 1_795_824_000;

/// A folder with `x.scap`, in which a program called `cat` asks for its process at these seconds of the day.
fn capture(seconds: &[u64]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut world = World::new();
    let cat = Process::new(4_000_000, "/usr/bin/cat", &["cat", "/etc/shadow"]);
    world.task(&Task::new(cat).parent(Process::new(3_999_999, "/usr/bin/bash", &["bash"])));
    let mut writer = Writer::create(&folder.path().join("x.scap")).expect("a file");
    writer.section(&Metadata::default()).expect("room");
    let mut event = Default::default();
    // The time in a record is the module's, which a view makes wall time of.
    let first = world.event(&EventSpec::new("getpid"));
    for second in seconds {
        assert!(encode(&world.view(&first), 0, &mut event));
        let mut view = event.view(0);
        view.time = (DAY + second) * 1_000_000_000;
        writer.event(&view).expect("room");
    }
    writer.finish().expect("room");
    folder
}

/// Replays it; gives standard output and standard error.
fn replay(folder: &Path, config: &str) -> (String, String) {
    let rules = "- {rule: asks, desc: d, condition: evt.type = getpid, output: pid %proc.pid, priority: error}\n";
    fs::write(folder.join("r.yaml"), rules).expect("writable");
    let config = format!("engine: {{kind: replay, replay: {{capture_file: x.scap}}}}\nrules_files: [r.yaml]\n{config}");
    fs::write(folder.join("c.yaml"), config).expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_falco-sensor"));
    let command = command.args(["-c", "c.yaml"]).env("FALCO_HOSTNAME", "box").current_dir(folder);
    let Output { status, stdout, stderr } = command.output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(status.success(), "{err}");
    (out, err)
}

#[test]
fn repeated_alerts_are_told_together() {
    let folder = capture(&[0, 1, 9, 10, 11, 40, 60]);
    let config = "json_output: true\nstdout_output: {enabled: true}\n\
                  alert_limits: {rules: [{rule: as*, keys: [proc.name, proc.pid], window: 10s}]}\n";
    let (out, _) = replay(folder.path(), config);
    let alerts: Vec<Value> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let time = |value: &Value| value.as_str().and_then(|text| text.get(11..19)).unwrap_or("-").to_owned();
    let said: Vec<_> = alerts
        .iter()
        .map(|alert| {
            let fields = &alert["output_fields"];
            (
                time(&alert["time"]),
                fields["alert.count"].as_u64(),
                time(&fields["alert.first"]),
                time(&fields["alert.last"]),
            )
        })
        .collect();
    let written = |at: &str| (at.to_owned(), None, "-".to_owned(), "-".to_owned());
    let told = |count, first: &str, last: &str| (last.to_owned(), Some(count), first.to_owned(), last.to_owned());
    assert_eq!(
        said,
        [
            written("00:00:00"),
            told(3, "00:00:00", "00:00:09"),
            written("00:00:10"),
            told(2, "00:00:10", "00:00:11"),
            written("00:00:40"),
            written("00:01:00"),
        ],
        "{out}"
    );
    assert!(alerts.iter().all(|alert| alert["rule"] == "asks" && alert["priority"] == "Error"));
    assert!(out.contains("asks: 7\n"), "every match is counted: {out}");
    // As docs/outputs.md shows it.
    let (out, _) = replay(folder.path(), &config.replace("json_output: true\n", ""));
    let lines: Vec<&str> = out.lines().take_while(|line| !line.starts_with("Events detected")).collect();
    println!("{}", lines.join("\n"));
    assert!(
        lines.len() == 6 && lines[1].contains(" pid 4000000 alert.count=3 alert.first=2026-11-28T00:00:00."),
        "{out}"
    );
    // Off, every alert is written; so it is where a limit is for other rules.
    for config in ["", "alert_limits: {rules: [{rule: other, window: 10s}, {rule: asks, window: 0s}, {window: 1h}]}\n"]
    {
        let (out, err) = replay(folder.path(), &format!("stdout_output: {{enabled: true}}\n{config}"));
        assert_eq!(out.matches("pid 4000000").count(), 7, "{out}");
        assert!(!out.contains("alert.count"));
        assert_eq!(err.contains("there is no rule 'other'"), !config.is_empty(), "{err}");
    }
}
