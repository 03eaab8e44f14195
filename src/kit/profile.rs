//! What each rule costs on the events of a capture.
//!
//! Every rule is compiled alone and timed alone, so the evaluator has no instruments in it. What rules share is
//! counted for each of them: the shares say where time goes, not what removing a rule would save.

use super::check::SOURCE;
use crate::capture::Replay;
use crate::event::clock;
use crate::filter::{EvalContext, Matching, Program, RuleIndex, SyscallScheme};
use crate::rules::{LoadedRules, Priority, Selection};
use bumpalo::Bump;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The costs of all rules that run.
#[derive(Debug)]
pub struct Profile {
    /// Events that rules see.
    pub events: u64,
    /// All rules together, as the sensor runs them.
    pub together: Duration,
    /// The most expensive first.
    pub rows: Vec<Row>,
}

#[derive(Debug)]
pub struct Row {
    pub rule: String,
    /// Events of the types it listens to.
    pub evaluations: u64,
    pub matches: u64,
    pub time: Duration,
}

struct Alone {
    program: Program,
    ctx: EvalContext,
    row: Row,
}

/// Times the enabled rules on a capture.
pub fn profile(loaded: &LoadedRules, capture: &Path) -> Result<Profile, String> {
    let selection = Selection::of(loaded, Priority::Debug);
    let program = |rules: &[RuleIndex], matching| {
        loaded.program(SOURCE, &SyscallScheme, rules.iter().copied(), matching).map_err(|e| e.to_string())
    };
    let of_source = selection.rules().iter().filter(|index| loaded.rule(**index).source == SOURCE);
    let mut alone = of_source
        .map(|index| {
            let row = Row { rule: loaded.rule(*index).name.clone(), evaluations: 0, matches: 0, time: Duration::ZERO };
            Ok(Alone { program: program(&[*index], Matching::First)?, ctx: EvalContext::new(), row })
        })
        .collect::<Result<Vec<_>, String>>()?;
    let (all, mut ctx) = (program(selection.rules(), Matching::All)?, EvalContext::new());

    let (mut events, mut together) = (0, Duration::ZERO);
    let mut replay = Replay::open(capture, 0).map_err(|e| e.to_string())?;
    let mut arena = Bump::new();
    while let Some(event) = replay.next().map_err(|e| e.to_string())? {
        events += 1;
        let code = crate::event::value::Extract::event_code(&event);
        if all.wants(code) {
            let start = Instant::now();
            all.evaluate(&event, &mut ctx, &arena, |_| {});
            together += start.elapsed().saturating_sub(*clock::COST);
        }
        for one in alone.iter_mut().filter(|one| one.program.wants(code)) {
            one.row.evaluations += 1;
            let start = Instant::now();
            one.program.evaluate(&event, &mut one.ctx, &arena, |_| one.row.matches += 1);
            one.row.time += start.elapsed().saturating_sub(*clock::COST);
        }
        arena.reset();
    }
    let mut rows: Vec<Row> = alone.into_iter().map(|one| one.row).collect();
    rows.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.rule.cmp(&b.rule)));
    Ok(Profile { events, together, rows })
}

impl Profile {
    fn sum(&self) -> Duration {
        self.rows.iter().map(|row| row.time).sum()
    }

    fn share(&self, row: &Row) -> f64 {
        let sum = self.sum().as_secs_f64();
        if sum > 0.0 { 100.0 * row.time.as_secs_f64() / sum } else { 0.0 }
    }

    pub fn text(&self) -> String {
        // Writing into a String cannot fail.
        let mut out = String::from("evaluations    matches   ns each   share  rule\n");
        for row in &self.rows {
            let each = row.time.as_nanos() as f64 / row.evaluations.max(1) as f64;
            let (share, rule) = (self.share(row), &row.rule);
            let _ = writeln!(out, "{:11} {:10} {each:9.0} {share:6.1}%  {rule}", row.evaluations, row.matches);
        }
        let _ = writeln!(
            out,
            "{} events; {:.2} ms rule by rule, {:.2} ms all rules in one program",
            self.events,
            self.sum().as_secs_f64() * 1e3,
            self.together.as_secs_f64() * 1e3
        );
        out
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "rule": row.rule,
                "evaluations": row.evaluations,
                "matches": row.matches,
                "nanoseconds": row.time.as_nanos() as u64,
                "share": self.share(row),
            })
        });
        json!({
            "events": self.events,
            "nanoseconds_together": self.together.as_nanos() as u64,
            "rules": rows.collect::<Vec<_>>(),
        })
    }
}
