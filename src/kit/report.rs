//! How a test run is told: text for people, JSON and JUnit's XML for machines.
//!
//! Nothing is decided here.

use super::check::{Outcome, Outcomes};
use super::suite::SuiteError;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// What became of every file that was named.
#[derive(Debug, Default)]
pub struct Report {
    pub files: Vec<(PathBuf, Result<Outcomes, SuiteError>)>,
    /// Every rule that runs must be raised by some test.
    pub every_rule: bool,
}

impl Report {
    fn outcomes(&self) -> impl Iterator<Item = &Outcomes> {
        self.files.iter().filter_map(|(_, result)| result.as_ref().ok())
    }

    pub fn failed(&self) -> usize {
        self.outcomes().flat_map(|o| &o.tests).filter(|test| !test.failures.is_empty()).count()
    }

    pub fn passed(&self) -> usize {
        self.outcomes().map(|o| o.tests.len()).sum::<usize>() - self.failed()
    }

    /// Files that could not be used.
    pub fn broken(&self) -> usize {
        self.files.iter().filter(|(_, result)| result.is_err()).count()
    }

    /// Rules that run and that no test raises.
    pub fn untested(&self) -> BTreeSet<&str> {
        let names = |of: fn(&Outcomes) -> &BTreeSet<String>| self.outcomes().flat_map(of).map(String::as_str);
        let mut rules: BTreeSet<&str> = names(|o| &o.rules).collect();
        names(|o| &o.raised).chain(names(|o| &o.untested)).for_each(|name| {
            rules.remove(name);
        });
        rules
    }

    /// 0: all is well; 1: a test failed; 2: a file cannot be used.
    pub fn status(&self) -> u8 {
        match (self.broken(), self.failed()) {
            (1.., _) => 2,
            (0, 1..) => 1,
            _ => u8::from(self.every_rule && !self.untested().is_empty()),
        }
    }

    pub fn text(&self) -> String {
        // Writing into a String cannot fail.
        let mut out = String::new();
        let mut duration = Duration::ZERO;
        for (file, result) in &self.files {
            let _ = writeln!(out, "{}", file.display());
            match result {
                Err(error) => drop(writeln!(out, "  unusable  {}", indented(&error.to_string(), 12))),
                Ok(outcomes) => {
                    for test in &outcomes.tests {
                        duration += test.duration;
                        push_test(test, &mut out);
                    }
                }
            }
        }
        if self.every_rule {
            for rule in self.untested() {
                let _ = writeln!(out, "no test raises '{rule}'");
            }
        }
        let _ = write!(out, "{} passed, {} failed", self.passed(), self.failed());
        if self.broken() > 0 {
            let _ = write!(out, ", {} unusable", plural(self.broken(), "file"));
        }
        let _ = writeln!(out, " ({}, {:.1} ms)", plural(self.files.len(), "file"), duration.as_secs_f64() * 1e3);
        out
    }

    pub fn json(&self) -> Value {
        let files: Vec<Value> = self
            .files
            .iter()
            .map(|(file, result)| match result {
                Err(error) => json!({"file": file, "error": error.to_string(), "tests": []}),
                Ok(outcomes) => json!({
                    "file": file,
                    "tests": outcomes.tests.iter().map(|test| json!({
                        "name": test.name,
                        "line": test.line,
                        "passed": test.failures.is_empty(),
                        "failures": test.failures,
                        "seconds": test.duration.as_secs_f64(),
                    })).collect::<Vec<_>>(),
                }),
            })
            .collect();
        json!({
            "files": files,
            "passed": self.passed(),
            "failed": self.failed(),
            "unusable": self.broken(),
            "untested_rules": self.untested(),
        })
    }

    pub fn junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for (file, result) in &self.files {
            let name = escaped(&file.display().to_string());
            match result {
                Err(error) => {
                    let text = escaped(&error.to_string());
                    let _ = writeln!(out, "<testsuite name=\"{name}\" tests=\"1\" errors=\"1\">");
                    let _ = writeln!(out, "<testcase name=\"load\"><error message=\"{text}\"/></testcase>");
                }
                Ok(outcomes) => {
                    let failed = outcomes.tests.iter().filter(|test| !test.failures.is_empty()).count();
                    let count = outcomes.tests.len();
                    let _ = writeln!(out, "<testsuite name=\"{name}\" tests=\"{count}\" failures=\"{failed}\">");
                    for test in &outcomes.tests {
                        let (case, time) = (escaped(&test.name), test.duration.as_secs_f64());
                        let _ = write!(out, "<testcase name=\"{case}\" classname=\"{name}\" time=\"{time:.6}\">");
                        for failure in &test.failures {
                            let _ = write!(out, "<failure message=\"{}\"/>", escaped(failure));
                        }
                        out.push_str("</testcase>\n");
                    }
                }
            }
            out.push_str("</testsuite>\n");
        }
        out + "</testsuites>\n"
    }
}

fn push_test(test: &Outcome, out: &mut String) {
    if test.failures.is_empty() {
        let _ = writeln!(out, "  ok    {}", test.name);
        return;
    }
    let _ = writeln!(out, "  FAIL  {} (line {})", test.name, test.line);
    for failure in &test.failures {
        let _ = writeln!(out, "        {}", indented(failure, 8));
    }
}

fn indented(text: &str, by: usize) -> String {
    text.replace('\n', &format!("\n{:by$}", ""))
}

fn plural(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(failures: Vec<String>) -> Report {
        let test = Outcome { name: "a <b>".into(), line: 7, failures, duration: Duration::ZERO };
        let outcomes = Outcomes {
            tests: vec![test],
            rules: ["r", "s", "t"].map(String::from).into(),
            raised: ["r".to_owned()].into(),
            untested: ["s".to_owned()].into(),
        };
        Report { files: vec![("f.yaml".into(), Ok(outcomes))], every_rule: false }
    }

    #[test]
    fn the_status_says_what_is_wrong() {
        assert_eq!(report(vec![]).status(), 0);
        assert_eq!(Report { every_rule: true, ..report(vec![]) }.status(), 1);
        let mut failed = report(vec!["x\ny".into()]);
        assert_eq!(failed.status(), 1);
        assert_eq!(
            failed.text(),
            "f.yaml\n  FAIL  a <b> (line 7)\n        x\n        y\n0 passed, 1 failed (1 file, 0.0 ms)\n"
        );
        assert!(failed.junit().contains("<testcase name=\"a &lt;b&gt;\""));
        assert_eq!(failed.json()["untested_rules"], json!(["t"]));
        let error = SuiteError { file: "g.yaml".into(), place: Some((1, 2)), message: "m".into() };
        failed.files.push(("g.yaml".into(), Err(error)));
        assert_eq!(failed.status(), 2);
        assert!(
            failed
                .text()
                .ends_with("  unusable  g.yaml:1:2: m\n0 passed, 1 failed, 1 file unusable (2 files, 0.0 ms)\n")
        );
    }
}
