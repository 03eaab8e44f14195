//! Running tests: load the rules, evaluate the events, compare the alerts.
//!
//! The alerts are the sensor's own: the same program, the same text. Invariant: a test passes only if every alert raised was
//! expected (or others are allowed) and every expected one was raised.

use super::suite::{Expected, Input, Suite, SuiteError, Test};
use crate::capture::{CaptureError, Replay};
use crate::event::text::Buffers;
use crate::event::value::Extract;
use crate::filter::{EvalContext, Matching, Program, SyscallScheme};
use crate::output::alert::{EventTime, RuleForm, RuleParts, Style, Writer};
use crate::rules::{Environment, LoadedRules, Loader, Priority, Selected, Selection, Selector};
use bumpalo::Bump;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// The source that tests describe events of.
pub const SOURCE: &str = "syscall";

/// What became of a test.
#[derive(Debug)]
pub struct Outcome {
    pub name: String,
    pub line: usize,
    /// None: it passed.
    pub failures: Vec<String>,
    pub duration: Duration,
}

/// What became of a file.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub tests: Vec<Outcome>,
    /// Rules that run.
    pub rules: BTreeSet<String>,
    /// Rules that a test raised.
    pub raised: BTreeSet<String>,
    /// Rules the file says no test can raise.
    pub untested: BTreeSet<String>,
}

/// An alert that was raised.
struct Alert {
    rule: String,
    message: String,
    fields: Value,
}

/// The rules of a suite, ready to be asked.
pub struct Bench {
    pub rules: LoadedRules,
    pub program: Program,
    forms: Vec<RuleForm>,
}

/// Loads the rules of a suite.
pub fn load_rules(suite: &Suite) -> Result<LoadedRules, SuiteError> {
    let fail = |message: String| SuiteError { file: suite.file.clone(), place: None, message };
    let environment = Environment::syscalls();
    let mut loader = Loader::new(&environment);
    let load = |result: crate::rules::FileResult| match result.successful() {
        true => Ok(()),
        false => Err(fail(format!("its rules do not load\n{}", result.text(true).trim_end()))),
    };
    for path in &suite.rules {
        load(loader.load_file(path))?;
    }
    if let Some(text) = &suite.also {
        load(loader.load(&format!("{} (also)", suite.file.display()), text.clone()))?;
    }
    Ok(loader.finish())
}

impl Bench {
    pub fn new(suite: &Suite) -> Result<Bench, SuiteError> {
        let fail = |message: String| SuiteError { file: suite.file.clone(), place: None, message };
        let rules = load_rules(suite)?;
        let mut selection = Selection::of(&rules, Priority::Debug);
        for (names, enable) in [(&suite.enable, true), (&suite.disable, false)] {
            for name in names {
                let what = Selected::Rule(name.clone());
                if !rules.rules.iter().any(|rule| what.matches(rule)) {
                    return Err(fail(format!("no rule is called '{name}'")));
                }
                selection.apply(&rules, Priority::Debug, &Selector { enable, what });
            }
        }
        // Rules run in the order of their definition here too.
        let mut selected = selection.rules().to_vec();
        selected.sort_unstable();
        let named = suite.tests.iter().flat_map(|test| test.expect.iter().map(|e| (&e.rule, Some(e.line))));
        for (name, line) in named.chain(suite.untested.iter().map(|name| (name, None))) {
            let Some(rule) = selected.iter().find(|index| rules.rule(**index).name == **name) else {
                let known = rules.rules.iter().any(|rule| rule.name == *name);
                let why = if known { "is not enabled: list it under 'enable'" } else { "does not exist" };
                let place = line.map(|line| (line, 1));
                return Err(SuiteError { file: suite.file.clone(), place, message: format!("rule '{name}' {why}") });
            };
            if rules.rule(*rule).source != SOURCE {
                return Err(fail(format!("rule '{name}' is of source '{}'", rules.rule(*rule).source)));
            }
        }
        let matching = if suite.match_all { Matching::All } else { Matching::First };
        let program = rules.program(SOURCE, &SyscallScheme, selected.iter().copied(), matching);
        let program = program.map_err(|e| fail(e.to_string()))?;
        let style = style();
        let forms = rules.rules.iter().map(|rule| form(rule, &style)).collect();
        Ok(Bench { rules, program, forms })
    }

    /// Names of the rules that run.
    fn names(&self) -> BTreeSet<String> {
        let indices =
            self.program.event_codes().iter().flat_map(|code| self.program.rules_for(code).collect::<Vec<_>>());
        indices.map(|index| self.rules.rule(index).name.clone()).collect()
    }

    fn evaluate<E: Extract>(&self, event: &E, time: EventTime, ctx: &mut EvalContext, alerts: &mut Vec<Alert>) {
        let arena = Bump::new();
        let mut matched = Vec::new();
        self.program.evaluate(event, ctx, &arena, |index| matched.push(index));
        let mut writer = Writer::new(style());
        for index in matched {
            let form = &self.forms[index.0 as usize];
            let mut line = Vec::new();
            writer.write(form, event, time, None, &arena, &mut line);
            let alert: Value = serde_json::from_slice(&line).unwrap_or_default();
            alerts.push(Alert {
                rule: form.name.clone(),
                message: alert["message"].as_str().unwrap_or_default().to_owned(),
                fields: alert["output_fields"].clone(),
            });
        }
    }
}

fn style() -> Style {
    Style {
        json: true,
        output: false,
        message: true,
        fields: true,
        tags: false,
        iso_time: false,
        buffers: Buffers::Printable,
        hostname: String::new(),
    }
}

fn form(rule: &crate::rules::Rule, style: &Style) -> RuleForm {
    let parts =
        RuleParts { name: &rule.name, source: &rule.source, format: rule.format.clone(), ..RuleParts::default() };
    RuleForm::new(parts, rule.priority, style)
}

/// Runs the tests of a suite whose name `wanted` accepts.
pub fn run(suite: &Suite, wanted: &dyn Fn(&str) -> bool) -> Result<Outcomes, SuiteError> {
    let bench = Bench::new(suite)?;
    let mut out =
        Outcomes { rules: bench.names(), untested: suite.untested.iter().cloned().collect(), ..Outcomes::default() };
    for test in suite.tests.iter().filter(|test| wanted(&test.name)) {
        let start = Instant::now();
        let failures = run_one(test, suite, &bench, &mut out.raised)?;
        out.tests.push(Outcome { name: test.name.clone(), line: test.line, failures, duration: start.elapsed() });
    }
    Ok(out)
}

fn run_one(
    test: &Test,
    suite: &Suite,
    bench: &Bench,
    raised: &mut BTreeSet<String>,
) -> Result<Vec<String>, SuiteError> {
    let mut failures = Vec::new();
    let mut judge = |alerts: &[Alert], place: &str| {
        raised.extend(alerts.iter().map(|alert| alert.rule.clone()));
        failures.extend(compare(test, alerts).into_iter().map(|failure| format!("{place}{failure}")));
    };
    match &test.input {
        Input::Run(events) => {
            let (mut ctx, mut alerts) = (EvalContext::new(), Vec::new());
            events.iter().for_each(|(_, event)| bench.evaluate(event, EventTime::default(), &mut ctx, &mut alerts));
            judge(&alerts, "");
        }
        Input::Each(events) => {
            for (line, event) in events {
                let mut alerts = Vec::new();
                bench.evaluate(event, EventTime::default(), &mut EvalContext::new(), &mut alerts);
                judge(&alerts, &format!("event of line {line}: "));
            }
        }
        Input::Capture(path) => judge(&replay(path, suite, test, bench)?, ""),
    }
    Ok(failures)
}

/// The alerts a whole capture raises.
fn replay(path: &Path, suite: &Suite, test: &Test, bench: &Bench) -> Result<Vec<Alert>, SuiteError> {
    let fail =
        |e: CaptureError| SuiteError { file: suite.file.clone(), place: Some((test.line, 1)), message: e.to_string() };
    // Times of expected texts must not depend on where the tests run.
    let mut replay = Replay::open(path, 0).map_err(fail)?;
    let (mut ctx, mut alerts) = (EvalContext::new(), Vec::new());
    while let Some(event) = replay.next().map_err(fail)? {
        bench.evaluate(&event, EventTime { ns: event.time(), utc_offset: 0 }, &mut ctx, &mut alerts);
    }
    Ok(alerts)
}

/// What is wrong with the alerts of a test.
fn compare(test: &Test, alerts: &[Alert]) -> Vec<String> {
    let mut out = Vec::new();
    for expected in &test.expect {
        let found: Vec<&Alert> = alerts.iter().filter(|alert| alert.rule == expected.rule).collect();
        let wanted = match expected.count {
            None => (!found.is_empty()).then_some(()).ok_or("at least one alert".to_owned()),
            Some(n) if n == found.len() as u64 => Ok(()),
            Some(1) => Err("one alert".to_owned()),
            Some(n) => Err(format!("{n} alerts")),
        };
        if let Err(wanted) = wanted {
            out.push(format!("expected {wanted} of '{}', got {}", expected.rule, found.len()));
        }
        found.iter().for_each(|alert| differences(expected, alert, &mut out));
    }
    if !test.others {
        let named = |alert: &&Alert| test.expect.iter().any(|expected| expected.rule == alert.rule);
        for alert in alerts.iter().filter(|alert| !named(alert)) {
            out.push(format!("not expected: '{}': {}", alert.rule, alert.message));
        }
    }
    out
}

fn differences(expected: &Expected, alert: &Alert, out: &mut Vec<String>) {
    let rule = &expected.rule;
    if let Some(wanted) = expected.output.as_ref().filter(|wanted| **wanted != alert.message) {
        out.push(format!("output of '{rule}'\n  expected: {wanted}\n  got:      {}", alert.message));
    }
    for part in expected.output_contains.iter().filter(|part| !alert.message.contains(&***part)) {
        out.push(format!("output of '{rule}' does not contain '{part}'\n  got: {}", alert.message));
    }
    for (field, wanted) in &expected.fields {
        let Some(value) = alert.fields.get(field) else {
            out.push(format!("'{rule}' has no output field '{field}'"));
            continue;
        };
        let got = match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        if got != *wanted {
            let show = |v: &Option<String>| v.as_ref().map_or("null".to_owned(), |v| format!("'{v}'"));
            out.push(format!("'{rule}' field {field}: expected {}, got {}", show(wanted), show(&got)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::suite;

    const RULES: &str = "rules: []\nalso: |\n  - rule: r\n    desc: d\n    condition: evt.type = open and proc.name in (a, b)\n    output: o %proc.name %fd.num\n    priority: error\n  - rule: s\n    desc: d\n    condition: evt.type = open and fd.num = 3\n    output: s\n    priority: error\n    enabled: false\n";

    fn failures(rest: &str) -> Vec<String> {
        let suite = suite::parse(Path::new("t.yaml"), &format!("{RULES}{rest}")).unwrap();
        let outcomes = run(&suite, &|_| true).unwrap();
        outcomes.tests.into_iter().flat_map(|test| test.failures).collect()
    }

    #[test]
    fn alerts_are_compared_in_everything_a_test_says() {
        let test = |event: &str, expect: &str| {
            failures(&format!("tests:\n- name: t\n  event: {{type: open, {event}}}\n  expect: {expect}\n"))
        };
        assert!(test("proc.name: a", "r").is_empty());
        assert!(test("proc.name: c", "none").is_empty());
        assert!(
            test("proc.name: a, fd.num: 3", "{rule: r, output: o a 3, fields: {fd.num: 3, proc.name: a}}").is_empty()
        );
        assert!(test("proc.name: a", "{rule: r, output: o a <NA>, fields: {fd.num: ~}}").is_empty());
        assert_eq!(test("proc.name: c", "r"), ["expected one alert of 'r', got 0"]);
        assert_eq!(test("proc.name: a", "none"), ["not expected: 'r': o a <NA>"]);
        assert_eq!(test("proc.name: a", "{rule: r, count: 2}"), ["expected 2 alerts of 'r', got 1"]);
        assert_eq!(
            test("proc.name: b", "{rule: r, fields: {proc.name: a}}"),
            ["'r' field proc.name: expected 'a', got 'b'"]
        );
        assert_eq!(test("proc.name: b", "{rule: r, fields: {x: a}}"), ["'r' has no output field 'x'"]);
        assert!(test("proc.name: b", "{rule: r, output: x}")[0].contains("got:      o b <NA>"));
        assert!(test("proc.name: b", "{rule: r, output_contains: x}")[0].contains("does not contain 'x'"));
    }

    #[test]
    fn runs_count_and_each_counts_for_itself() {
        let events = "[{type: open, proc.name: a}, {type: open, proc.name: b}, {type: open, proc.name: c}]";
        let test = |input: &str, expect: &str| {
            failures(&format!("tests:\n- name: t\n  {input}: {events}\n  expect: {expect}\n"))
        };
        assert!(test("events", "{rule: r, count: 2}").is_empty());
        assert!(test("events", "{rule: r, count: any}").is_empty());
        assert_eq!(test("each", "r"), ["event of line 16: expected one alert of 'r', got 0"]);
    }

    #[test]
    fn rules_are_switched_for_a_file_and_names_must_exist() {
        let event = "tests:\n- name: t\n  event: {type: open, proc.name: a, fd.num: 3}\n";
        assert!(failures(&format!("enable: s\nmatching: all\n{event}  expect: [r, s]\n")).is_empty());
        assert!(failures(&format!("enable: s\ndisable: r\n{event}  expect: s\n")).is_empty());
        let error = |rest: &str| {
            let suite = suite::parse(Path::new("t.yaml"), &format!("{RULES}{rest}")).unwrap();
            run(&suite, &|_| true).unwrap_err().to_string()
        };
        assert_eq!(error(&format!("{event}  expect: q\n")), "t.yaml:17:1: rule 'q' does not exist");
        assert!(error(&format!("{event}  expect: s\n")).contains("is not enabled"));
        let broken = RULES.replace("proc.name in", "proc.nam in");
        let suite = suite::parse(Path::new("t.yaml"), &format!("{broken}{event}  expect: r\n")).unwrap();
        let error = run(&suite, &|_| true).unwrap_err().to_string();
        assert!(error.contains("its rules do not load") && error.contains("t.yaml (also):3:3"), "{error}");
    }
}
