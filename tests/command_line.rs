//! The program as its user meets it: exit statuses and messages. Nothing here needs the module.

use std::path::Path;
use std::process::{Command, Output};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("temporary folder"));
        folder.write("c.yaml", "stdout_output: {enabled: true}\n");
        folder.write("r.yaml", &rule("evt.type=openat"));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("writable");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the program in the folder; gives status, standard output and standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let program = env!("CARGO_BIN_EXE_falco-sensor");
        let Output { status, stdout, stderr } =
            Command::new(program).args(arguments).current_dir(self.path()).output().expect("runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.code().expect("no signal"), text(stdout), text(stderr))
    }
}

fn rule(condition: &str) -> String {
    format!("- rule: r\n  desc: says something\n  condition: {condition}\n  output: x\n  priority: NOTICE\n")
}

#[test]
fn options_that_only_print() {
    let folder = Folder::new();
    for (arguments, expected) in [
        (&["--help"][..], "Usage: falco-sensor"),
        (&["-h"], "--dry-run"),
        (&["-c", "c.yaml", "--version"], "Falco version: 0."),
        (&["-c", "c.yaml", "-o", "json_output=true", "--version"], "\"engine_version_semver\":\"0."),
        (&["--list"], "proc.name"),
        (&["--list=syscall", "-N"], "\nfd.name\n"),
        (&["--list", "--format", "json"], "\"name\": \"proc.pname\""),
        (&["--list", "--markdown"], "`proc.aname[n]` |"),
        (&["--list-events"], "openat("),
        (&["-i"], "- read\n"),
        (&["--page-size"], "page size is: "),
        (&["-c", "c.yaml", "-r", "r.yaml", "-L"], "says something"),
        (&["-c", "c.yaml", "-r", "r.yaml", "-l", "r"], "says something"),
        (&["-c", "c.yaml", "-r", "r.yaml", "--support"], "\"rules_files\":[{"),
        (&["-c", "c.yaml", "-V", "r.yaml"], "r.yaml: Ok"),
    ] {
        let (status, out, err) = folder.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {err}");
        assert!(out.contains(expected), "{arguments:?}: {out}");
    }
}

#[test]
fn json_results_are_json() {
    let folder = Folder::new();
    folder.write("bad.yaml", &rule("evt.type="));
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let (status, out, _) = folder.run(&["-c", "c.yaml", "-o", "json_output=true", "-V", "r.yaml"]);
    assert_eq!((status, &json(&out)["falco_load_results"][0]["successful"]), (0, &true.into()));
    let (status, out, _) = folder.run(&["-c", "c.yaml", "-r", "r.yaml", "-o", "json_output=true", "-l", "r"]);
    assert_eq!((status, &json(&out)["rules"][0]["info"]["name"]), (0, &"r".into()));
    let (status, out, _) = folder.run(&["-c", "c.yaml", "-o", "json_output=true", "-V", "bad.yaml"]);
    let result = &json(&out)["falco_load_results"][0];
    assert_eq!((status, &result["errors"][0]["code"]), (1, &"LOAD_ERR_COMPILE_CONDITION".into()));
}

#[test]
fn failures_are_sentences() {
    let folder = Folder::new();
    folder.write("bad.yaml", &rule("evt.type=openat and nosuch.field=1"));
    folder.write("broken.yaml", "json_output: [\n");
    folder.write("wrong.yaml", "\njson_output: perhaps\n");
    folder.write("silent.yaml", "");
    for (arguments, expected) in [
        (&["--nosuch"][..], "unexpected argument '--nosuch'"),
        (&["-o", "novalue"], "'novalue' is not KEY=VALUE"),
        (&["-c", "missing.yaml"], "missing.yaml: cannot be read: No such file"),
        (&["-c", "broken.yaml"], "broken.yaml:2:1: not valid YAML"),
        (&["-c", "wrong.yaml"], "wrong.yaml:2:1: json_output: 'perhaps' is not true or false"),
        (&["-c", "c.yaml", "-o", "engine.kind=replay"], "-o engine.kind: engine.kind: 'replay' wants a file to read"),
        (&["-c", "c.yaml", "-r", "r.yaml", "--replay", "missing.scap"], "missing.scap: cannot be opened: No such file"),
        (&["-c", "c.yaml", "-r", "missing.yaml"], "missing.yaml: no such rules file"),
        (&["-c", "c.yaml"], "no rules: none of the files of rules_files exists"),
        (&["-c", "c.yaml", "-r", "bad.yaml"], "LOAD_ERR_COMPILE_CONDITION"),
        (&["-c", "c.yaml", "-V", "bad.yaml"], ""),
        (&["-c", "c.yaml", "-r", "r.yaml", "-l", "nosuch"], "there is no rule 'nosuch'"),
        (&["-c", "c.yaml", "-r", "r.yaml", "-o", "priority=loud", "--dry-run"], "priority: Invalid priority 'loud'"),
        (&["--list=k8s_audit"], "there is no such source"),
        (&["-c", "silent.yaml", "-r", "r.yaml", "--no-load"], "no output is enabled"),
        (&["-c", "c.yaml", "-r", "r.yaml", "--no-load", "--module", "x.ko"], "cannot be used with"),
        (
            &["-c", "c.yaml", "-r", "r.yaml", "-o", "file_output.enabled=true", "-o", "file_output.filename=/no/f"],
            "file_output.filename: /no/f: No such file",
        ),
        (&["--dump=nosuch"], "there is no system call 'nosuch'"),
    ] {
        let (status, out, err) = folder.run(arguments);
        assert_eq!(status, 1, "{arguments:?}: {out}{err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
}

#[test]
fn the_module_is_asked_for() {
    if Path::new("/sys/module/falco_sensor").exists() {
        return;
    }
    let folder = Folder::new();
    folder.write("not.ko", "#!/bin/sh\n");
    let base = ["-c", "c.yaml", "-r", "r.yaml"];
    let run = |more: &[&str]| folder.run(&[&base[..], more].concat());
    let (status, _, err) = run(&["--no-load"]);
    assert_eq!(status, 1);
    assert!(err.contains("the module is not loaded (no /dev/falco-sensor)"), "{err}");
    let (status, _, err) = run(&["--module", "missing.ko"]);
    assert_eq!(status, 1);
    assert!(err.contains("missing.ko: No such file"), "{err}");
    // What is refused depends on who asks: root is told about the file, others about being root.
    let (status, _, err) = run(&["--module", "not.ko"]);
    assert_eq!(status, 1);
    assert!(["no ELF file", "needs root", "cannot load modules"].iter().any(|s| err.contains(s)), "{err}");
}

#[test]
fn a_dry_run_names_what_has_no_effect() {
    let folder = Folder::new();
    folder.write("c.yaml", "engine: {kmod: {drop_failed_exit: true}}\nunknown_key: 1\nrules_files: [r.yaml]\n");
    let (status, out, err) = folder.run(&["-c", "c.yaml", "--dry-run"]);
    assert_eq!((status, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("c.yaml:1:17: engine.kmod.drop_failed_exit: this version does not have that yet"), "{err}");
    assert!(err.contains("c.yaml:2:1: unknown key 'unknown_key', ignored"), "{err}");
    assert!(err.contains("1 of 1 rules run, 1 system calls are captured"), "{err}");
}

#[test]
fn static_fields_are_fields() {
    let folder = Folder::new();
    folder.write("s.yaml", "- rule: s\n  desc: d\n  condition: evt.type=openat and static.site = here\n  output: at %static.site\n  priority: INFO\n");
    let (status, out, err) = folder.run(&["-c", "c.yaml", "-V", "s.yaml"]);
    assert_eq!(status, 1, "{err}");
    assert!(out.contains("there is no static field site"), "{out}");
    let given = [
        "-c",
        "c.yaml",
        "-o",
        "static_fields.site=here",
        "-o",
        "append_output[].suggested_output=true",
        "-o",
        "json_output=true",
    ];
    let (status, out, err) = folder.run(&[&given[..], &["-r", "s.yaml", "-l", "s"]].concat());
    assert_eq!(status, 0, "{err}");
    let described: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let details = &described["rules"][0]["details"];
    assert_eq!(details["condition_fields"], serde_json::json!(["evt.type", "static.site"]));
    assert!(
        details["output_compiled"]
            .as_str()
            .is_some_and(|o| o.contains("at %static.site") && o.contains("static_site=%static.site")),
        "{details}"
    );
}

#[test]
fn options_of_older_versions_name_todays() {
    let folder = Folder::new();
    for (option, expected) in
        [("-A", "base_syscalls.all=true"), ("-T", "disable.tag"), ("-t", "enable.tag"), ("-e", "--replay")]
    {
        let (status, _, err) = folder.run(&[option, "x"]);
        assert_eq!(status, 1, "{err}");
        assert!(err.contains(expected), "{option}: {err}");
    }
}
