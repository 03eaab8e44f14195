//! The events that each filter matches.

use super::{Report, captures, deliberate, folder, lines};
use bumpalo::Bump;
use falco_sensor::capture::Replay;
use falco_sensor::event::value::Extract;
use falco_sensor::filter::{Compiler, EvalContext, Matching, RuleIndex, SyscallScheme, parse};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// As the data has it.
fn hash(numbers: &[u64]) -> String {
    let mut text = String::new();
    for (i, num) in numbers.iter().enumerate() {
        let _ = write!(text, "{}{num}", if i == 0 { "" } else { "\n" });
    }
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

/// Whether the numbers are as expected when some of the events that are meant to differ are answered the other way.
fn but_for_deliberate(
    capture: &str,
    filter: &str,
    numbers: &[u64],
    is_expected: impl Fn(&[u64]) -> bool,
) -> Option<&'static str> {
    let events: Vec<(u64, &str)> = deliberate(capture, filter).collect();
    let why = events.first()?.1;
    let mut answers = (1..1u32 << events.len()).map(|chosen| {
        let other = events.iter().enumerate().filter(|(at, _)| chosen & 1 << at != 0).map(|(_, (event, _))| *event);
        let mut numbers: BTreeSet<u64> = numbers.iter().copied().collect();
        other.for_each(|event| {
            if !numbers.remove(&event) {
                numbers.insert(event);
            }
        });
        numbers.into_iter().collect::<Vec<u64>>()
    });

    answers.any(|numbers| is_expected(&numbers)).then_some(why)
}

fn compiles(filter: &str) -> Result<(), String> {
    let expr = parse(filter).map_err(|e| e.to_string())?;
    let mut compiler = Compiler::new(&SyscallScheme, Matching::All);
    compiler.add(RuleIndex(0), &expr).map_err(|e| e.to_string())
}

#[test]
fn matches() {
    let Some(folder) = folder() else { return };
    let mut report = Report::default();
    for capture in captures(&folder) {
        let filters = lines(&folder.join(format!("{capture}.filters.jsonl.gz")));
        let mut compiler = Compiler::new(&SyscallScheme, Matching::All);
        let mut usable = vec![true; filters.len()];
        for (at, filter) in filters.iter().enumerate() {
            let text = filter["filter"].as_str().expect("a filter");
            let added = parse(text).and_then(|expr| compiler.add(RuleIndex(at as u32), &expr));
            if let Err(error) = added {
                usable[at] = false;
                report.fail(text, format!("{capture}: does not compile: {error}"));
            }
        }
        let program = compiler.finish();
        let mut matched: Vec<Vec<u64>> = vec![Vec::new(); filters.len()];
        let mut replay = Replay::open(&folder.join(format!("{capture}.scap.gz")), 0).expect("a capture");
        let (mut context, mut arena) = (EvalContext::new(), Bump::new());
        while let Some(event) = replay.next().expect("an event") {
            arena.reset();
            let num = event.event().num;
            assert!(event.event_code() < 454);
            program.evaluate(&event, &mut context, &arena, |rule| matched[rule.0 as usize].push(num));
        }
        for ((filter, numbers), _) in filters.iter().zip(&matched).zip(&usable).filter(|(_, usable)| **usable) {
            let subject = filter["filter"].as_str().expect("a filter");
            if filter["sha256"] == hash(numbers).as_str() {
                report.passed += 1;
                continue;
            }
            let is_expected =
                |numbers: &[u64]| filter["count"] == numbers.len() as u64 && filter["sha256"] == hash(numbers).as_str();
            if let Some(why) = but_for_deliberate(&capture, subject, numbers, is_expected) {
                report.skip(why);
                continue;
            }
            let first: Vec<u64> = filter["first"].as_array().into_iter().flatten().filter_map(|n| n.as_u64()).collect();
            let here: Vec<u64> = numbers.iter().take(20).copied().collect();
            let missing = first.iter().find(|n| !numbers.contains(n));
            let extra = here.iter().find(|n| !first.contains(n) && (first.len() < 20 || **n < first[19]));
            let (count, got) = (&filter["count"], numbers.len());
            report.fail(
                subject,
                format!("{capture}: expected {count} events, got {got}; first missing {missing:?}, extra {extra:?}"),
            );
        }
    }
    assert_eq!(report.finish("filters"), 0);
}

#[test]
fn rejections() {
    let Some(folder) = folder() else { return };
    let mut report = Report::default();
    for line in lines(&folder.join("rejected.jsonl")) {
        let filter = line["filter"].as_str().expect("a filter");
        match compiles(filter) {
            Err(_) => report.passed += 1,
            Ok(()) => report.fail(filter, format!("compiles; the reference says: {}", line["error"])),
        }
    }
    assert_eq!(report.finish("rejections"), 0);
}
