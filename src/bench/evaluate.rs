//! The evaluator alone: events of a capture, or of the mixed load, again and again.

use super::load::Load;
use super::snapshot::{Columns, Snapshot};
use super::{Request, Row, rounds};
use crate::capture::Replay;
use crate::event::synthetic::World;
use crate::filter::{EvalContext, RuleIndex};
use crate::sensor::plan::Plan;
use bumpalo::Bump;
use std::time::Instant;

/// Events kept of a capture, from its beginning: their fields take about a kilobyte each.
const KEPT: usize = 50_000;

pub fn run(request: &Request<'_>, plan: &Plan) -> Result<Vec<Row>, String> {
    let columns = Columns::of(&plan.program);
    let mut events = Vec::new();
    let mut arena = Bump::new();
    if let Some(file) = request.capture {
        let mut replay = Replay::open(file, 0).map_err(|e| e.to_string())?;
        while events.len() < KEPT
            && let Some(event) = replay.next().map_err(|e| e.to_string())?
        {
            events.push(Snapshot::of(&event, &columns, &arena));
            arena.reset();
        }
    } else {
        let load = Load::mixed(20_000);
        let mut world = World::new();
        load.tasks.iter().for_each(|record| world.send(record));
        for record in &load.events {
            events.push(Snapshot::of(&world.view(record), &columns, &arena));
            arena.reset();
        }
    }
    let mut context = EvalContext::new();
    let dead: Vec<bool> = events.iter().map(|event| !plan.program.is_live(event, &mut context, &arena)).collect();
    let mut rows = vec![row("all events", &events, request, plan)?];
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for (event, dead) in events.into_iter().zip(dead) {
        if dead { without.push(event) } else { with.push(event) }
    }
    for (name, events) in [("with a live rule", with), ("without a live rule", without)] {
        if !events.is_empty() {
            rows.push(row(name, &events, request, plan)?);
        }
    }
    Ok(rows)
}

fn row(name: &str, events: &[Snapshot<'_>], request: &Request<'_>, plan: &Plan) -> Result<Row, String> {
    let program = &plan.program;
    let (mut context, mut arena) = (EvalContext::new(), Bump::new());
    let mut plain: Vec<(usize, RuleIndex)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        program.evaluate_plainly(event, &mut context, &arena, |rule| plain.push((at, rule)));
        arena.reset();
    }
    let mut matched = Vec::new();
    let times = rounds(request.time / 3, || {
        matched.clear();
        let start = Instant::now();
        for (at, event) in events.iter().enumerate() {
            program.evaluate(event, &mut context, &arena, |rule| matched.push((at, rule)));
            arena.reset();
        }
        let time = start.elapsed();
        match matched == plain {
            true => Ok(time),
            false => Err(format!("the answer is wrong: {} alerts, {} in a plain run", matched.len(), plain.len())),
        }
    })?;
    Ok(Row::of(name, events.len() as u64, plain.len() as u64, &times))
}
