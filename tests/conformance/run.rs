//! Kinds `run` and `validate` of `engine.jsonl`: the program is started as its user would start it.
//!
//! It is called `falco` here, by a link, as where it takes Falco's place. What older versions had as -D, -T, -t and -A is said with
//! today's options. Nothing is written outside the run's own folder.

use super::data::{self, Outcome, check, strings, text, unknown};
use super::rules::described;
use regex::RegexBuilder;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than any case takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the configurations of the data set let outputs write.
const OUTPUTS: &str = "/tmp/falco_outputs";

/// What a run left behind.
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn failed(&self) -> bool {
        self.status != Some(0)
    }

    fn shown(&self, what: &str) -> String {
        format!("{what}; status {:?}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

/// A folder with the program and the configuration of a case.
struct Place {
    folder: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = env!("CARGO_BIN_EXE_falco-sensor");
        std::os::unix::fs::symlink(program, folder.path().join("falco")).expect("a link to the program");
        let root = data::root().and_then(|root| root.canonicalize().ok()).expect("there are cases");
        Place { folder, root }
    }

    /// The names the data set uses for folders of the harness.
    fn here(&self, text: &str) -> String {
        let folder = self.folder.path().display().to_string();
        text.replace("${WORKDIR}", &folder).replace(OUTPUTS, &folder)
    }

    fn read(&self, file: &str) -> String {
        let path = self.root.join(file);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The program's arguments for a configuration: the case's own, or that which its version shipped.
    fn config(&self, case: &Value) -> Vec<String> {
        let default = if data::is_old(case) { "configs/legacy/falco.yaml" } else { "configs/upstream/falco.yaml" };
        let given = match (case["config_inline"].as_str(), case["config"].as_str()) {
            (Some(inline), _) => inline.to_owned(),
            (None, file) => self.read(file.unwrap_or(default)),
        };
        let path = self.folder.path().join("config.yaml");
        fs::write(&path, self.here(&given)).expect("writable");
        let mut arguments = vec!["-c".to_owned(), path.display().to_string()];
        strings(&case["config_overrides"]).iter().for_each(|o| arguments.extend(["-o".to_owned(), self.here(o)]));
        arguments
    }

    /// Does what a case wants done while the program runs, once that is ready.
    fn meanwhile(&self, what: &str) -> Result<(), Outcome> {
        if what != "append whitespace to the config file 2 s after start" {
            return Err(unknown("during_run", what));
        }
        let file = File::options().append(true).open(self.folder.path().join("config.yaml"));
        file.and_then(|mut file| file.write_all(b"\n ")).map_err(|e| Outcome::Failed(e.to_string()))
    }

    fn run(&self, arguments: &[String], case: &Value) -> Result<Ran, Outcome> {
        let folder = self.folder.path();
        let file = |name: &str| File::create(folder.join(name)).expect("writable");
        let mut child = Command::new(folder.join("falco"))
            .args(arguments)
            .envs(case["env"].as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or(""))))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program starts");
        let end = Instant::now() + PATIENCE;
        let mut later = case["during_run"].as_str();
        let is_ready = || fs::read_to_string(folder.join("stderr")).is_ok_and(|said| said.contains("ready: "));
        let mut done = Ok(());
        let status = loop {
            if let Some(what) = later.take_if(|_| is_ready()) {
                done = self.meanwhile(what);
            }
            match child.try_wait().expect("can be waited for") {
                Some(status) => break status.code(),
                None if Instant::now() > end => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let read = |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned();
        done?;
        Ok(Ran { status, stdout: read("stdout"), stderr: read("stderr") })
    }
}

/// The options of older versions in today's.
fn older_options(case: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let mut set = |option: String| out.extend(["-o".to_owned(), option]);
    strings(&case["disabled_rules"]).iter().for_each(|part| set(format!("rules[].disable.rule=*{part}*")));
    strings(&case["disabled_tags"]).iter().for_each(|tag| set(format!("rules[].disable.tag={tag}")));
    let run_tags = strings(&case["run_tags"]);
    if !run_tags.is_empty() {
        set("rules[].disable.rule=*".to_owned());
    }
    run_tags.iter().for_each(|tag| set(format!("rules[].enable.tag={tag}")));
    if case["all_events"] == true {
        set("base_syscalls.all=true".to_owned());
    }
    out
}

pub fn run(case: &Value) -> Outcome {
    let place = Place::new();
    let mut arguments = place.config(case);
    arguments.extend(older_options(case));
    if let Some(capture) = case["capture"].as_str() {
        let file = place.root.join(capture);
        arguments.extend(["-o".to_owned(), "engine.kind=replay".to_owned()]);
        arguments.extend(["-o".to_owned(), format!("engine.replay.capture_file={}", file.display())]);
    }
    let given = match case["rules_given_as_directory"].as_str() {
        Some(folder) => vec![folder.to_owned()],
        None => strings(&case["rules"]),
    };
    for file in given {
        arguments.extend(["-r".to_owned(), place.root.join(file).display().to_string()]);
    }
    arguments.extend(strings(&case["cli_args"]));
    let ran = match place.run(&arguments, case) {
        Ok(ran) => ran,
        Err(outcome) => return outcome,
    };
    for (key, wanted) in case["expected"].as_object().into_iter().flatten() {
        match holds(&place, key, wanted, &ran) {
            Ok(true) => {}
            Ok(false) => return Outcome::Failed(ran.shown(&format!("{key}: {wanted}"))),
            Err(outcome) => return outcome,
        }
    }
    Outcome::Passed
}

/// A regular expression of the data set: searched for, a dot takes line ends too. A text that must not follow the start is the one thing
/// in them that these expressions lack.
fn search(pattern: &str, text: &str) -> Result<bool, Outcome> {
    let compiled = |pattern: &str| {
        let built = RegexBuilder::new(pattern).dot_matches_new_line(true).build();
        built.map_err(|e| Outcome::Failed(format!("the pattern {pattern}: {e}")))
    };
    if let Some(refused) = pattern.strip_prefix("^(?!").and_then(|rest| rest.strip_suffix(')')) {
        return Ok(!compiled(&format!("^(?:{refused})"))?.is_match(text));
    }
    Ok(compiled(pattern)?.is_match(text))
}

fn all(patterns: &Value, text: &str, matching: bool) -> Result<bool, Outcome> {
    for pattern in strings(patterns) {
        if search(&pattern, text)? != matching {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The lines of `wanted` are among those of `text`, in order; objects by what they say, as the order of keys is nobody's promise.
fn has_lines(wanted: &str, text: &str) -> bool {
    let mut lines = text.lines();
    let same = |line: &str, other: &str| match json(line) {
        Value::Object(wanted) => json(other).as_object() == Some(&wanted),
        _ => other.contains(line),
    };
    wanted.lines().all(|line| lines.any(|other| same(line, other)))
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}

/// The number behind `name:` in the statistics that end a run.
fn count(ran: &Ran, name: &str) -> u64 {
    let statistics = ran.stdout.rfind("Events detected: ").map_or("", |at| &ran.stdout[at..]);
    let line = statistics.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn holds(place: &Place, key: &str, wanted: &Value, ran: &Ran) -> Result<bool, Outcome> {
    let list = || wanted.as_array().into_iter().flatten();
    let detected = count(ran, "Events detected");
    Ok(match key {
        "exit_status" => wanted.as_i64() == ran.status.map(i64::from),
        "run_error" => *wanted == ran.failed(),
        "detect" => *wanted == (detected > 0),
        "detect_total" => wanted.as_u64() == Some(detected),
        "detect_level" => strings(wanted).iter().all(|level| count(ran, level) > 0),
        "not_detect_level" => strings(wanted).iter().all(|level| count(ran, level) == 0),
        "detect_counts" => {
            wanted.as_object().into_iter().flatten().all(|(rule, n)| n.as_u64() == Some(count(ran, rule)))
        }
        "stdout_contains" => strings(wanted).iter().all(|w| ran.stdout.contains(w)),
        "stderr_contains" => strings(wanted).iter().all(|w| ran.stderr.contains(w)),
        "stdout_matches" => all(wanted, &ran.stdout, true)?,
        "stderr_matches" => all(wanted, &ran.stderr, true)?,
        "stdout_not_matches" => all(wanted, &ran.stdout, false)?,
        "stderr_not_matches" => all(wanted, &ran.stderr, false)?,
        "stdout_contains_lines_of" => has_lines(&place.read(wanted.as_str().unwrap_or("")), &ran.stdout),
        "stdout_json_lines_equal" => {
            let expected = place.read(wanted.as_str().unwrap_or(""));
            let lines = |text: &str| text.lines().map(json).filter(Value::is_object).collect::<Vec<_>>();
            lines(&expected) == lines(&ran.stdout)
        }
        "file_equals" => list().all(|one| {
            let file = fs::read_to_string(place.here(text(one, "file"))).unwrap_or_default();
            file == place.read(text(one, "equals_file"))
        }),
        "file_contains_lines_of" => list().all(|one| {
            let file = fs::read_to_string(place.here(text(one, "file"))).unwrap_or_default();
            has_lines(&place.read(text(one, "lines_of")), &file)
        }),
        "json_lines_have" => {
            let lines: Vec<Value> = ran.stdout.lines().filter(|line| line.starts_with('{')).map(json).collect();
            let keys = strings(wanted);
            !lines.is_empty() && lines.iter().all(|line| keys.iter().all(|key| line.get(key).is_some()))
        }
        "stdout_json_has_keys" => {
            let all = json(&ran.stdout);
            strings(wanted).iter().all(|key| all.get(key).is_some())
        }
        "describe" => {
            let description = json(&ran.stdout);
            for want in list() {
                described(&description, want).map_err(|why| Outcome::Failed(ran.shown(&why)))?;
            }
            true
        }
        other => return Err(unknown("expectation", other)),
    })
}

// ---- -V -------------------------------------------------------------------------------------------------------------

/// `wording`: do messages have to be the same?
fn has_entry(results: &[Value], want: &Value, key: &str, wording: bool) -> Result<bool, Outcome> {
    for entry in results.iter().flat_map(|result| result[key].as_array().into_iter().flatten()) {
        let message = text(entry, "message");
        let matches = want["message_matches"].as_str().map_or(Ok(true), |pattern| search(pattern, message))?;
        let item = |location: &Value| {
            ["item_type", "item_name"].iter().all(|part| want[*part].is_null() || want[*part] == location[*part])
        };
        if (want["code"].is_null() || want["code"] == entry["code"])
            && (!wording || want["message"].as_str().is_none_or(|m| m == message))
            && want["message_contains"].as_str().is_none_or(|m| message.contains(m))
            && (!wording || matches)
            && entry["context"]["locations"].as_array().into_iter().flatten().any(item)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub fn validate(case: &Value) -> Outcome {
    let place = Place::new();
    let mut arguments = place.config(case);
    arguments.extend(["-o".to_owned(), "json_output=true".to_owned()]);
    for file in strings(&case["validate_rules"]) {
        arguments.extend(["-V".to_owned(), place.root.join(file).display().to_string()]);
    }
    let ran = match place.run(&arguments, case) {
        Ok(ran) => ran,
        Err(outcome) => return outcome,
    };
    let all = json(&ran.stdout);
    let results = all["falco_load_results"].as_array().cloned().unwrap_or_default();
    // Messages were worded differently then; what has no twin among today's cases is held to code and item.
    let wording = !data::is_old(case) || !case["current_port"].is_null();
    let sum = |key: &str| results.iter().filter_map(|r| Some(r[key].as_array()?.len() as u64)).sum::<u64>();
    let expected = &case["expected"];
    let mut wrong = Vec::new();
    for (key, wanted) in expected.as_object().into_iter().flatten() {
        let ok = match key.as_str() {
            "exit_status" | "run_error" => match holds(&place, key, wanted, &ran) {
                Ok(ok) => ok,
                Err(outcome) => return outcome,
            },
            "validation" => true,
            // Stated by the data set as not asserted.
            "unchecked_rule_event_types" => true,
            other => return unknown("expectation", other),
        };
        if !ok {
            wrong.push(format!("{key}: {wanted}"));
        }
    }
    for (key, wanted) in expected["validation"].as_object().into_iter().flatten() {
        let list = || wanted.as_array().into_iter().flatten();
        let ok = match key.as_str() {
            "errors" | "warnings" => {
                let mut ok = true;
                for want in list() {
                    match has_entry(&results, want, key, wording) {
                        Ok(has) => ok &= has,
                        Err(outcome) => return outcome,
                    }
                }
                ok
            }
            "error_count" => wanted.as_u64() == Some(sum("errors")),
            "warning_count" => wanted.as_u64() == Some(sum("warnings")),
            "ok" => list().all(|name| {
                let is_it = |r: &&Value| {
                    Path::new(text(r, "name")).file_name().is_some_and(|n| Some(n) == name.as_str().map(AsRef::as_ref))
                };
                results.iter().find(is_it).is_some_and(|r| r["successful"] == true)
            }),
            "results" => list().all(|want| {
                let at = want["index"].as_u64().unwrap_or(u64::MAX) as usize;
                results.get(at).is_some_and(|r| r["successful"] == want["successful"])
            }),
            other => return unknown("expectation", other),
        };
        if !ok {
            wrong.push(format!("{key}: {wanted}"));
        }
    }
    check(wrong.is_empty(), || ran.shown(&wrong.join("; ")))
}
