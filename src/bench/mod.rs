//! `--bench`: what an event costs, measured by the sensor itself and with its own answer checked.
//!
//! One file per mode. Every mode does its work in rounds until the time is over and reports the median round, so that a
//! disturbed round does not count; a round whose alerts differ from those of a plain run (no tables, nothing kept per
//! task) is an error, not a figure.

mod evaluate;
mod live;
pub mod load;
mod replay;
mod ring;
pub mod snapshot;

use crate::output::alert::Style;
use crate::rules::{Priority, Selection};
use crate::sensor::config::Config;
use crate::sensor::plan::{self, Plan};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The evaluator alone, on events whose fields are ready
    Evaluate,
    /// Loops that drain rings in user memory which a producer fills: one, then one per CPU
    Ring,
    /// Reading, state, evaluation and alerts of a capture
    Replay,
    /// What system calls take their callers without a sensor and with one (root; --module or the installed module)
    Live,
}

/// What was asked for.
pub struct Request<'c> {
    pub mode: Mode,
    pub config: &'c Config,
    pub rules: &'c [PathBuf],
    pub capture: Option<&'c Path>,
    /// Live: the configuration file and the module that a sensor is started with.
    pub file: Option<&'c Path>,
    pub module: Option<&'c Path>,
    pub time: Duration,
}

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub name: String,
    pub events: u64,
    pub alerts: u64,
    /// Of one round, per event of it.
    pub rounds: Vec<f64>,
    /// All threads together.
    pub events_per_second: f64,
}

/// The result.
pub struct Report {
    mode: &'static str,
    rules: usize,
    load: Duration,
    rows: Vec<Row>,
    /// Live: what the sensors said at their end.
    said: Vec<String>,
}

/// Rounds that make a median.
const LEAST_ROUNDS: usize = 5;

/// Loads and compiles rules as the sensor does; the number of those that run comes with them.
pub fn plan(config: &Config, files: &[PathBuf], style: &Style) -> Result<(Plan, usize), String> {
    let environment = plan::environment(config, None);
    let (results, loaded) = plan::load_rules(files, &environment);
    let failed = results.iter().find(|result| !result.successful()).map(|result| result.text(true));
    let loaded = loaded.map_err(|why| failed.map_or(why, |text| text.trim_end().to_owned()))?;
    let plan = plan::plan(config, &loaded, style)?;
    // A resolver is not what is measured: no host has an address.
    plan.program.hosts().iter().for_each(|host| host.keep(None));
    Ok((plan, Selection::of(&loaded, Priority::Debug).rules().len()))
}

/// Measures.
pub fn run(request: &Request<'_>) -> Result<Report, String> {
    if let (Mode::Ring | Mode::Live, Some(file)) = (request.mode, request.capture) {
        let file = file.display();
        return Err(format!(
            "--bench ring and live have loads of their own: --capture {file} is for evaluate and replay"
        ));
    }
    let start = Instant::now();
    let style = plan::style(request.config, "host".to_owned());
    let (plan, rules) = plan(request.config, request.rules, &style)?;
    let load = start.elapsed();
    let mut said = Vec::new();
    let (mode, rows) = match request.mode {
        Mode::Evaluate => ("evaluate", evaluate::run(request, &plan)?),
        Mode::Replay => ("replay", vec![replay::run(request, &plan, &style)?]),
        Mode::Ring => ("ring", ring::run(request, plan, &style)?),
        Mode::Live => {
            let (rows, told) = live::run(request)?;
            said = told;
            ("live", rows)
        }
    };
    Ok(Report { mode, rules, load, rows, said })
}

/// Repeats a round, which gives what it took, until the time is over; at least so often that there is a median.
fn rounds(time: Duration, mut round: impl FnMut() -> Result<Duration, String>) -> Result<Vec<Duration>, String> {
    let start = Instant::now();
    let mut all = Vec::new();
    while all.len() < LEAST_ROUNDS || start.elapsed() < time {
        all.push(round()?);
    }
    Ok(all)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl Row {
    /// A row of rounds of `events` events each, by one thread.
    fn of(name: &str, events: u64, alerts: u64, rounds: &[Duration]) -> Row {
        let each: Vec<f64> = rounds.iter().map(|round| round.as_nanos() as f64 / events.max(1) as f64).collect();
        let ns = median(&each);
        let events_per_second = if ns > 0.0 { 1e9 / ns } else { 0.0 };
        Row { name: name.to_owned(), events, alerts, rounds: each, events_per_second }
    }

    fn ns_per_event(&self) -> f64 {
        median(&self.rounds)
    }
}

/// The most memory this process had resident, in bytes.
fn max_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

impl Report {
    pub fn text(&self) -> String {
        // Writing into a String cannot fail.
        let mut out = String::new();
        let load = self.load.as_secs_f64() * 1e3;
        let _ = writeln!(out, "{}: {} rules, loaded and compiled in {load:.1} ms", self.mode, self.rules);
        let _ = writeln!(
            out,
            "{:<32} {:>10} {:>8} {:>9} {:>14} {:>7}",
            "", "events", "alerts", "ns/event", "events/s", "rounds"
        );
        for row in &self.rows {
            let _ = writeln!(
                out,
                "{:<32} {:>10} {:>8} {:>9.1} {:>14.0} {:>7}",
                row.name,
                row.events,
                row.alerts,
                row.ns_per_event(),
                row.events_per_second,
                row.rounds.len()
            );
        }
        for line in &self.said {
            let _ = writeln!(out, "{line}");
        }
        let _ = writeln!(out, "most memory resident: {:.1} MB", max_rss() as f64 / 1e6);
        out
    }

    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "name": row.name,
                "events": row.events,
                "alerts": row.alerts,
                "ns_per_event": row.ns_per_event(),
                "events_per_second": row.events_per_second,
                "rounds": row.rounds.len(),
            })
        };
        let first = self.rows.first().cloned().unwrap_or_default();
        json!({
            "mode": self.mode,
            "rules": self.rules,
            "load_ms": self.load.as_secs_f64() * 1e3,
            "events": first.events,
            "alerts": first.alerts,
            "ns_per_event": first.ns_per_event(),
            "events_per_second": first.events_per_second,
            "max_rss_bytes": max_rss(),
            "sensors": self.said,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

/// The forms of alerts that a plan has, where a mode must have one.
fn counted(plan: &Plan) -> Vec<u64> {
    vec![0; plan.forms.len()]
}
