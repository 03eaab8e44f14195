//! `falco-sensor rules` from outside: statuses, what is printed, and captures where the conformance data set has them.

use std::path::{Path, PathBuf};
use std::process::Command;

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_falco-sensor"))
        .arg("rules")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("it ends"), text(output.stdout), text(output.stderr))
}

fn capture() -> Option<PathBuf> {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(root).join("captures/falco/cat_write.scap");
    if !path.is_file() {
        println!("skipped: no {} (set FALCO_CONFORMANCE to the conformance data set)", path.display());
        return None;
    }
    path.canonicalize().ok()
}

const RULE: &str = "rules: []\nalso: |\n  - macro: opens\n    condition: evt.type in (open, openat)\n  - rule: passwd\n    desc: d\n    condition: opens and fd.name = /etc/passwd and not proc.name = x\n    output: '%proc.name opens %fd.name'\n    priority: error\n";

#[test]
fn failures_give_1_and_unusable_files_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.yaml");
    let name = file.to_str().expect("UTF-8");
    let with = |tests: &str| std::fs::write(&file, format!("{RULE}tests:\n{tests}")).expect("written");
    with("- {name: a, expect: passwd, event: {type: open, fd.name: /etc/passwd, proc.name: cat}}\n");
    let (status, out, _) = run(&["test", name]);
    assert_eq!(status, 0);
    assert!(out.contains("\n  ok    a\n1 passed, 0 failed (1 file, "), "{out}");
    with("- {name: a, expect: none, event: {type: open, fd.name: /etc/passwd, proc.name: cat}}\n");
    let (status, out, _) = run(&["test", name]);
    assert_eq!(status, 1);
    assert!(out.contains("  FAIL  a (line 11)\n        not expected: 'passwd': cat opens /etc/passwd\n"), "{out}");
    let (status, out, _) = run(&["test", name, "--format", "json", "--name", "b*"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, json["passed"].as_u64(), json["failed"].as_u64()), (0, Some(0), Some(0)));
    with("- {name: a, expect: none, event: {type: opens}}\n");
    let (status, out, _) = run(&["test", name, "--format", "junit"]);
    assert_eq!(status, 2);
    assert!(
        out.contains("<testsuite name=") && out.contains(":11:41: no event or system call is called 'opens'"),
        "{out}"
    );
    assert_eq!(run(&["test", "missing.yaml"]).0, 2);
}

#[test]
fn explanations_show_what_each_part_saw() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.yaml");
    let name = file.to_str().expect("UTF-8");
    let tests = "- {name: a, expect: passwd, event: {type: open, fd.name: /etc/passwd, proc.name: cat}}\n- {name: b, expect: none, event: {type: open, fd.name: /etc/group}}\n- {name: c, expect: none, event: {type: close}}\n";
    std::fs::write(&file, format!("{RULE}tests:\n{tests}")).expect("written");
    let explain = |test: &str| run(&["explain", "passwd", "--test", name, "--name", test]).1;
    let seen = explain("a");
    for line in [
        "+ and",
        "+   macro opens",
        "+     evt.type in (open, openat)   [evt.type: \"open\"]",
        "+   fd.name = /etc/passwd   [fd.name: \"/etc/passwd\"]",
        "+   not",
        "-     proc.name = x   [proc.name: \"cat\"]",
        "The rule matches.",
    ] {
        assert!(seen.lines().any(|l| l == line), "{line}\n{seen}");
    }
    let seen = explain("b");
    assert!(
        seen.contains(
            "-   fd.name = /etc/passwd   [fd.name: \"/etc/group\"]\n.   not proc.name = x\n\nThe rule does not match."
        ),
        "{seen}"
    );
    assert!(explain("c").contains("does not listen to events of this type"));
    let (status, _, err) = run(&["explain", "passw", "--test", name, "--name", "a"]);
    assert_eq!((status, err.as_str()), (2, "falco-sensor: no rule is called 'passw'; there is 'passwd'\n"));
    let (status, out, _) = run(&["explain", "passwd", "--json", "--test", name, "--name", "a"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((status, &json["matches"]), (0, &true.into()));
    assert_eq!(json["tree"]["children"][1]["values"]["fd.name"], "/etc/passwd");
}

#[test]
fn captures_are_tested_explained_and_profiled() {
    let Some(capture) = capture() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (rules, tests) = (folder.path().join("r.yaml"), folder.path().join("t.yaml"));
    let text = "- rule: cat\n  desc: d\n  condition: evt.type = execve and proc.name = cat\n  output: '%evt.num %proc.cmdline'\n  priority: error\n";
    std::fs::write(&rules, text).expect("written");
    let capture = capture.to_str().expect("UTF-8");
    let text = format!(
        "rules: r.yaml\ntests:\n- {{name: a, capture: '{capture}', expect: {{rule: cat, count: any}}}}\n- {{name: b, capture: '{capture}', expect: none}}\n"
    );
    std::fs::write(&tests, text).expect("written");
    let (tests, rules) = (tests.to_str().expect("UTF-8"), rules.to_str().expect("UTF-8"));
    let (status, out, _) = run(&["test", tests]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("1 passed, 1 failed"), "{out}");
    // The failing test names the alerts, and they their events.
    let failure = out.lines().find_map(|line| line.trim().strip_prefix("not expected: 'cat': ")).expect("an alert");
    let number = failure.split(' ').next().expect("a number");
    let (status, out, err) = run(&["explain", "cat", "-r", rules, "--replay", capture, "--event", number]);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("[proc.name: \"cat\"]") && out.ends_with("The rule matches.\n"), "{out}");
    let (status, _, err) = run(&["explain", "cat", "-r", rules, "--replay", capture, "--event", "99999999"]);
    assert!(status == 2 && err.contains("no event that rules see has the number 99999999"), "{err}");
    let (status, out, _) = run(&["profile", "-r", rules, "--replay", capture, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(status, 0);
    let row = &json["rules"][0];
    assert!(row["matches"].as_u64() > Some(0) && row["evaluations"].as_u64() >= row["matches"].as_u64(), "{out}");
}
