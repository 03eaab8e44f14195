//! A capture from its first byte to its alerts, again and again, without threads and outputs.

use super::{Request, Row, counted, rounds};
use crate::capture::Replay;
use crate::filter::EvalContext;
use crate::output::alert::{EventTime, Style, Writer};
use crate::sensor::plan::Plan;
use bumpalo::Bump;
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Default, PartialEq, Eq, Debug)]
struct Answer {
    events: u64,
    /// By rule.
    alerts: Vec<u64>,
}

pub fn run(request: &Request<'_>, plan: &Plan, style: &Style) -> Result<Row, String> {
    let file = request.capture.ok_or("--bench replay needs a capture: name one with --capture")?;
    let plain = plainly(file, plan)?;
    let mut alerts = 0;
    let times = rounds(request.time, || {
        let (answer, time) = once(file, plan, style)?;
        if answer != plain {
            return Err(format!("the answer is wrong: {answer:?}, where a plain run has {plain:?}"));
        }
        alerts = answer.alerts.iter().sum();
        Ok(time)
    })?;
    Ok(Row::of("replay", plain.events, alerts, &times))
}

fn once(file: &Path, plan: &Plan, style: &Style) -> Result<(Answer, Duration), String> {
    let start = Instant::now();
    let mut replay = Replay::open(file, 0).map_err(|e| e.to_string())?;
    replay.limit_to(plan.demand);
    let mut writer = Writer::new(style.clone());
    let (mut context, mut arena, mut line, mut matched) = (EvalContext::new(), Bump::new(), Vec::new(), Vec::new());
    let mut answer = Answer { events: 0, alerts: counted(plan) };
    let program = &plan.program;
    loop {
        let event = replay.next_wanted(|event| program.wants(event.code));
        let Some(event) = event.map_err(|e| e.to_string())? else { break };
        if program.is_known_dead(&event, &context) || program.was_met(&event, &mut context) {
            continue;
        }
        matched.clear();
        program.evaluate(&event, &mut context, &arena, |rule| matched.push(rule));
        if matched.is_empty() {
            program.meet(&event, &mut context);
        }
        for rule in &matched {
            let Some(Some(form)) = plan.forms.get(rule.0 as usize) else { continue };
            line.clear();
            let time = EventTime { ns: event.time(), utc_offset: 0 };
            writer.write(form, &event, time, None, &arena, &mut line);
            answer.alerts[rule.0 as usize] += 1;
        }
        arena.reset();
    }
    answer.events = replay.seen();
    Ok((answer, start.elapsed()))
}

/// Every event, every rule as it is written.
fn plainly(file: &Path, plan: &Plan) -> Result<Answer, String> {
    let mut replay = Replay::open(file, 0).map_err(|e| e.to_string())?;
    let (mut context, mut arena) = (EvalContext::new(), Bump::new());
    let mut answer = Answer { events: 0, alerts: counted(plan) };
    while let Some(event) = replay.next().map_err(|e| e.to_string())? {
        answer.events += 1;
        let count = |rule: crate::filter::RuleIndex| answer.alerts[rule.0 as usize] += 1;
        plan.program.evaluate_plainly(&event, &mut context, &arena, count);
        arena.reset();
    }
    Ok(answer)
}
