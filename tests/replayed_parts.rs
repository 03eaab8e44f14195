//! What is answered once in a replay is the same wherever it is said to be: parts of tasks with the same number, and opens that say
//! the same. On the captures in `FALCO_CONFORMANCE` (default ../shared/conformance), where there are any.

use bumpalo::Bump;
use falco_sensor::capture::Replay;
use falco_sensor::event::fields;
use falco_sensor::event::value::{ArgKind, Depends, Extract, FieldArg, FieldUse, HEAD, Room};
use std::collections::HashMap;
use std::path::PathBuf;

fn captures() -> Vec<PathBuf> {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let mut folders = ["captures", "oracle"].map(|folder| PathBuf::from(&root).join(folder)).to_vec();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(".scap") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Ways to ask for the fields that `wanted` chooses.
fn uses(wanted: impl Fn(&FieldUse) -> bool, names: &[&'static str]) -> Vec<FieldUse> {
    let ids = fields::FIELDS.iter().map(|def| (def, fields::lookup(def.name).expect("it is in the catalogue")));
    let all = ids.flat_map(|(def, id)| {
        let keys = names.iter().map(|name| FieldArg::Key((*name).into()));
        let args: Vec<FieldArg> = match def.arg {
            ArgKind::None => vec![FieldArg::None],
            ArgKind::OptionalIndex => (0..4).map(FieldArg::Index).chain([FieldArg::None]).collect(),
            ArgKind::RequiredIndex => (0..4).map(FieldArg::Index).collect(),
            ArgKind::OptionalKey | ArgKind::OptionalEither => keys.chain([FieldArg::None]).collect(),
            ArgKind::RequiredKey | ArgKind::RequiredEither => keys.collect(),
        };
        args.into_iter().map(move |arg| FieldUse { id, arg })
    });
    all.filter(wanted).collect()
}

#[test]
fn parts_with_the_same_number_have_the_same_fields() {
    let part = |field: &FieldUse| fields::def(field.id).part_of(&field.arg);
    let uses = uses(|field| part(field).is_some(), &["io.kubernetes.pod.uid", "/etc"]);
    assert!(uses.len() > 60, "{}", uses.len());
    let (mut arena, mut compared) = (Bump::new(), 0);
    for capture in captures() {
        let mut replay = Replay::open(&capture, 0).expect("a capture");
        let mut known: HashMap<(usize, u64, u32), String> = HashMap::new();
        let mut seen: HashMap<u32, (u64, u32)> = HashMap::new();
        while let Ok(Some(event)) = replay.next() {
            let Some(task) = Extract::task(&event) else { continue };
            if seen.insert(task.place, (task.stamp, task.facts)) == Some((task.stamp, task.facts)) {
                continue;
            }
            for (at, field) in uses.iter().enumerate() {
                let part = part(field).expect("these have one");
                let number = event.part(part);
                let facts = if part.needs_facts() { task.facts } else { 0 };
                if number == 0 {
                    continue;
                }
                let value = format!("{:?}", event.extract(field, &arena));
                match known.get(&(at, number, facts)) {
                    Some(known) => {
                        compared += 1;
                        assert_eq!(*known, value, "{} {:?}", fields::def(field.id).name, field.arg);
                    }
                    None => {
                        known.insert((at, number, facts), value);
                    }
                }
            }
            arena.reset();
        }
    }
    println!("{compared} values");
    assert!(captures().is_empty() || compared > 10_000, "{compared} values");
}

#[test]
fn events_that_say_the_same_have_the_same_fields() {
    let of_record = |field: &FieldUse| fields::def(field.id).depends == Depends::Record;
    let uses = uses(of_record, &["fd", "dirfd", "name", "flags", "mode", "dev", "ino", "resolve"]);
    let (mut arena, mut compared) = (Bump::new(), 0);
    let mut known: HashMap<([u64; HEAD], Vec<u64>), Vec<String>> = HashMap::new();
    for capture in captures() {
        let mut replay = Replay::open(&capture, 0).expect("a capture");
        while let Ok(Some(event)) = replay.next() {
            let mut room = Room::default();
            let Some(said) = event.said(&mut room) else { continue };
            let said = (said.counting(), said.rest.to_vec());
            let values = || uses.iter().map(|field| format!("{:?}", event.extract(field, &arena))).collect::<Vec<_>>();
            match known.get(&said) {
                Some(known) => {
                    compared += 1;
                    for ((field, known), value) in uses.iter().zip(known).zip(values()) {
                        assert_eq!(*known, value, "{} {:?}", fields::def(field.id).name, field.arg);
                    }
                }
                None => {
                    known.insert(said, values());
                }
            }
            arena.reset();
        }
    }
    println!("{compared} events");
    assert!(captures().is_empty() || compared > 1_000, "{compared} events");
}
