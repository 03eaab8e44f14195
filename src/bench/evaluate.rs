//! The evaluator alone: events of a capture, or of the mixed load, again and again.

use super::load::Load;
use super::snapshot::{Camera, Columns, Snapshot};
use super::{Request, Row, rounds};
use crate::capture::Replay;
use crate::filter::{EvalContext, RuleIndex};
use crate::sensor::plan::Plan;
use bumpalo::Bump;
use std::time::Instant;

/// Events kept of a capture, from its beginning, and of the load: their fields take about a kilobyte each.
const KEPT: usize = 50_000;
const OF_LOAD: usize = 5_000;

pub fn run(request: &Request<'_>, plan: &Plan) -> Result<Vec<Row>, String> {
    let columns = Columns::of(&plan.program);
    let (kept, mut arena) = (Bump::new(), Bump::new());
    let mut camera = Camera::new(&columns, &kept);
    let mut events = Vec::new();
    if let Some(file) = request.capture {
        let mut replay = Replay::open(file, 0).map_err(|e| e.to_string())?;
        while events.len() < KEPT
            && let Some(event) = replay.next().map_err(|e| e.to_string())?
        {
            events.push(camera.take(&event, &arena));
            arena.reset();
        }
    } else {
        let load = Load::mixed(OF_LOAD);
        let world = load.world();
        for event in load.views(&world) {
            events.push(camera.take(&event, &arena));
            arena.reset();
        }
    }
    let mut context = EvalContext::new();
    let dead: Vec<bool> = events.iter().map(|event| !plan.program.is_live(event, &mut context, &arena)).collect();
    let mut rows = vec![row("all events", &events, request, plan)?, plainly(&events, request, plan)?];
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

/// The same with every rule as it is written, one after the other: what tables and tasks save, in the same run.
fn plainly(events: &[Snapshot<'_>], request: &Request<'_>, plan: &Plan) -> Result<Row, String> {
    let (mut context, mut arena) = (EvalContext::new(), Bump::new());
    let mut alerts = 0;
    let times = rounds(request.time / 4, || {
        alerts = 0;
        let start = Instant::now();
        for event in events {
            plan.program.evaluate_plainly(event, &mut context, &arena, |_| alerts += 1);
            arena.reset();
        }
        Ok(start.elapsed())
    })?;
    Ok(Row::of("all, one by one", events.len() as u64, alerts, &times))
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
    let times = rounds(request.time / 4, || {
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
