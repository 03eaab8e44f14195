//! `falco-sensor rules ...`: what was asked for, and an exit status.
//!
//! Status 0: done, and all tests passed; 1: a test failed; 2: a file cannot be used.

use super::report::Report;
use super::suite::{Input, Suite};
use super::{check, described, explain, profile, suite};
use crate::capture::Replay;
use crate::event::clock;
use crate::event::value::{Extract, Value};
use crate::filter::glob::Glob;
use crate::rules::{Environment, LoadedRules, Loader};
use bumpalo::Bump;
use clap::{Args, Subcommand, ValueEnum};
use described::Described;
use explain::{Explanation, Seen};
use std::path::{Path, PathBuf};

/// Tools for those who write rules.
#[derive(Subcommand, Clone, Debug)]
pub enum RulesCommand {
    /// Run tests written beside the rules: events or captures, and the alerts expected
    Test(TestOptions),
    /// Show a rule's condition taken apart and, for an event, why it matches or not
    Explain(ExplainOptions),
    /// What each rule costs on the events of a capture
    Profile(ProfileOptions),
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    Text,
    Json,
    Junit,
}

#[derive(Args, Clone, Debug)]
pub struct TestOptions {
    /// Files of tests
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only tests of this name; `*` and `?` as in a shell
    #[arg(long, value_name = "PATTERN")]
    pub name: Option<String>,
    /// Form of the results
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Shape,
    /// Fail, too, when a rule is raised by no test
    #[arg(long)]
    pub every_rule: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ExplainOptions {
    /// The rule's name
    pub rule: String,
    /// Rules files, in order; repeatable [default: those of the test]
    #[arg(short = 'r', value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// Take the event from this file of tests ...
    #[arg(long, value_name = "FILE", requires = "name")]
    pub test: Option<PathBuf>,
    /// ... from the test of this name
    #[arg(long, value_name = "NAME", requires = "test")]
    pub name: Option<String>,
    /// Take the event from this capture
    #[arg(long, value_name = "FILE", conflicts_with = "test")]
    pub replay: Option<PathBuf>,
    /// The event's number: its evt.num in a capture, its place from 1 in a test
    #[arg(long, value_name = "N", default_value = "1")]
    pub event: u64,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Clone, Debug)]
pub struct ProfileOptions {
    /// Rules files, in order; repeatable
    #[arg(short = 'r', required = true, value_name = "PATH")]
    pub rules: Vec<PathBuf>,
    /// The capture
    #[arg(long, required = true, value_name = "FILE")]
    pub replay: PathBuf,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// What to print and the status to end with, or why nothing could be done.
pub type Done = Result<(String, u8), String>;

pub fn run(command: &RulesCommand) -> Done {
    match command {
        RulesCommand::Test(options) => Ok(test(options)),
        RulesCommand::Explain(options) => explain_rule(options).map(|text| (text, 0)),
        RulesCommand::Profile(options) => {
            let profile = profile::profile(&load(&options.rules)?, &options.replay)?;
            let text = if options.json { format!("{:#}\n", profile.json()) } else { profile.text() };
            Ok((text, 0))
        }
    }
}

fn test(options: &TestOptions) -> (String, u8) {
    let pattern = options.name.as_ref().map(|pattern| Glob::new(pattern.as_bytes()));
    let wanted = |name: &str| pattern.as_ref().is_none_or(|glob| glob.is_match(name.as_bytes()));
    let mut report = Report { files: Vec::new(), every_rule: options.every_rule };
    for file in &options.files {
        let result = suite::read(file).and_then(|suite| check::run(&suite, &wanted));
        report.files.push((file.clone(), result));
    }
    let text = match options.format {
        Shape::Text => report.text(),
        Shape::Json => format!("{:#}\n", report.json()),
        Shape::Junit => report.junit(),
    };
    (text, report.status())
}

fn load(files: &[PathBuf]) -> Result<LoadedRules, String> {
    let environment = Environment::syscalls();
    let mut loader = Loader::new(&environment);
    for file in files {
        let result = loader.load_file(file);
        if !result.successful() {
            return Err(result.text(true).trim_end().to_owned());
        }
    }
    Ok(loader.finish())
}

fn explain_rule(options: &ExplainOptions) -> Result<String, String> {
    let suite = options.test.as_ref().map(|file| suite::read(file).map_err(|e| e.to_string())).transpose()?;
    let loaded = match (&suite, &options.rules[..]) {
        (Some(suite), []) => check::load_rules(suite).map_err(|e| e.to_string())?,
        (None, []) => return Err("no rules: name files with -r, or a test with --test and --name".into()),
        (_, files) => load(files)?,
    };
    let explanation = explain::explain(&loaded, &options.rule)?;
    let seen = match (&suite, &options.replay) {
        (Some(suite), _) => Some(explanation.ask(event_of(suite, options)?)),
        (None, Some(file)) => Some(ask_capture(&explanation, file, options.event)?),
        (None, None) => None,
    };
    Ok(match options.json {
        true => format!("{:#}\n", explanation.json(seen.as_ref())),
        false => explanation.text(seen.as_ref()),
    })
}

fn event_of<'s>(suite: &'s Suite, options: &ExplainOptions) -> Result<&'s Described, String> {
    let file = suite.file.display();
    let name = options.name.as_deref().unwrap_or_default();
    let test = suite.tests.iter().find(|test| test.name == name);
    let test = test.ok_or_else(|| format!("{file}: no test is called '{name}'"))?;
    let events = match &test.input {
        Input::Run(events) | Input::Each(events) => events,
        Input::Capture(_) => return Err(format!("{file}:{}: '{name}' reads a capture", test.line)),
    };
    let at = options.event.checked_sub(1).and_then(|at| events.get(usize::try_from(at).ok()?));
    at.map(|(_, event)| event).ok_or_else(|| format!("'{name}' has {} events, --event counts from 1", events.len()))
}

/// Asks for the event of this number in a capture.
fn ask_capture(explanation: &Explanation<'_>, file: &Path, number: u64) -> Result<Option<Seen>, String> {
    let mut replay = Replay::open(file, clock::local_offset()).map_err(|e| e.to_string())?;
    let field = described::field("evt.num")?;
    let (mut last, mut arena) = (0, Bump::new());
    while let Some(event) = replay.next().map_err(|e| e.to_string())? {
        if let Some(Value::U64(n)) = event.extract(&field, &arena) {
            last = n;
        }
        if last == number {
            return Ok(explanation.ask(&event));
        }
        arena.reset();
    }
    Err(format!("{}: no event that rules see has the number {number}; the last one is {last}", file.display()))
}
