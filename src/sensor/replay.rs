//! A run on a capture instead of this host: every event of the file through the same program, forms and outputs.
//!
//! One thread and no module. Time is the capture's: a second is over when an event of the next one comes. An output may slow a
//! replay down, nothing is shed. Invariant: what was read before a damaged place has been evaluated, and the run then fails.

use super::config::Config;
use super::control::report_drop_monitor;
use super::drops::{self, Monitor};
use super::log::{self, Level};
use super::plan::Plan;
use super::run::{channels, finish_outputs, manner};
use super::statistics;
use crate::capture::{self, Replay};
use crate::driver::ring::Counters;
use crate::event::clock;
use crate::filter::EvalContext;
use crate::output::alert::{EventTime, Style, Writer};
use crate::output::queue;
use crate::output::threads::{Manner, Output};
use crate::rules::Priority;
use bumpalo::Bump;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;

/// Evaluates a capture. What it returns is the sentence for the operator.
///
/// With `record` what is read is written there anew, as far as it is evaluated.
pub fn run(
    config: &Config,
    plan: &Plan,
    style: Style,
    file: &Path,
    record: Option<&Path>,
    duration: Option<Duration>,
) -> Result<(), String> {
    let reader = capture::Reader::open(file).map_err(|e| e.to_string())?;
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let copy = record.map(|path| capture::Writer::create(path).map_err(|e| failed(path, e))).transpose()?;
    let mut replay = Replay::copying(reader, clock::local_offset(), copy);
    replay.limit_to(plan.demand);
    let (sender, queue) = queue::bounded(config.queue_capacity);
    let output = Output::start(queue, channels(config)?, Manner { patient: true, ..manner(config) })
        .map_err(|e| e.to_string())?;
    let mut writer = Writer::new(style);
    let (started, mut monitor) = (Instant::now(), Monitor::new(config.drops.clone(), Instant::now()));
    let (mut context, mut arena, mut line) = (EvalContext::new(), Bump::new(), Vec::new());
    let mut matches = vec![0u64; plan.forms.len()];
    let mut matched = Vec::new();
    let mut counters = Counters::default();
    let (mut first, mut tick, mut end) = (0u64, 0u64, u64::MAX);
    let mut result = Ok(());
    let utc_offset = replay.state().host().clock.utc_offset;
    let program = &plan.program;
    loop {
        // State is kept of every event, but only those that rules listen to, and those that end a second, are looked at.
        let next = replay.next_wanted(|event| program.wants(event.code) || event.time >= tick.min(end));
        let event = match next {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(error) => {
                result = Err(error.to_string());
                break;
            }
        };
        let now = event.time();
        if first == 0 {
            (first, tick) = (now, now.saturating_add(SECOND));
            end = duration.map_or(end, |d| now.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)));
        }
        if now >= end {
            break;
        }
        if now > tick {
            // Seconds in which nothing happened are not looked at one by one.
            tick = now + SECOND;
            counters.events = event.event().num;
            let verdict = monitor.second(&counters, started + Duration::from_nanos(now.saturating_sub(first)));
            let time = EventTime { ns: now, utc_offset };
            result = drops::act(&verdict, &mut writer, time, &mut |line| sender.deliver(line, Priority::Debug, None));
            if result.is_err() {
                break;
            }
        }
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
            writer.write(form, &event, EventTime { ns: now, utc_offset }, None, &arena, &mut line);
            matches[rule.0 as usize] += 1;
            sender.deliver(&line, form.priority, plan.limited(*rule, &event, now, &arena));
        }
        arena.reset();
    }
    if let (Some(path), Err(error)) = (record, replay.finish_copy()) {
        result = result.and(Err(failed(path, error)));
    }
    drop(sender);
    finish_outputs(output);
    let refused = replay.state().threads().refused;
    if refused > 0 {
        log::write(Level::Warning, format_args!("{refused} threads were not kept: the table of threads was full"));
    }
    let refused = replay.state().room().refused();
    if refused > 0 {
        log::write(
            Level::Warning,
            format_args!(
                "descriptors were forgotten or not kept {refused} times: their tables were full; fd.* of these has no value"
            ),
        );
    }
    let refused = replay.state().containers().refused;
    if refused > 0 {
        log::write(
            Level::Warning,
            format_args!("{refused} descriptions of containers were not kept: there was no room for more"),
        );
    }
    // Whoever read the alerts may be gone.
    let forms = plan.forms.iter().zip(&matches);
    let fired = forms.filter_map(|(form, count)| form.as_ref().map(|form| (form.name.as_str(), form.priority, *count)));
    let _ = std::io::stdout().write_all(statistics::alerts(fired).as_bytes());
    log::write(Level::Info, format_args!("statistics: {} events of {} evaluated", replay.seen(), file.display()));
    report_drop_monitor(monitor.occurrences, monitor.actions_taken);
    result
}
