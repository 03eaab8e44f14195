//! The text of every field of every listed event.

use super::{Report, captures, deliberate, folder, lines};
use bumpalo::Bump;
use falco_sensor::capture::Replay;
use falco_sensor::event::fields;
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::value::{Extract, FieldArg, FieldUse};
use std::collections::{BTreeMap, BTreeSet};

fn field_use(name: &str) -> Option<FieldUse> {
    let (name, bracket) = match name.split_once('[') {
        Some((name, arg)) => (name, Some(arg.trim_end_matches(']'))),
        None => (name, None),
    };
    let (id, dotted) = fields::resolve(name)?;
    let arg = match (bracket, dotted) {
        (None, None) => FieldArg::None,
        (Some(arg), _) => arg.parse().map_or_else(|_| FieldArg::Key(arg.into()), FieldArg::Index),
        (_, Some(arg)) => FieldArg::Key(arg.into()),
    };
    Some(FieldUse { id, arg })
}

fn text(event: &impl Extract, field: &FieldUse, arena: &Bump) -> Option<String> {
    let value = event.extract(field, arena)?;
    let mut out = Vec::new();
    push_text(Some(&value), fields::def(field.id), event.number_format(field), Buffers::Printable, &mut out);
    // The data leaves such values out.
    (out != b"<NA>").then(|| String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn values() {
    let Some(folder) = folder() else { return };
    let mut report = Report::default();
    for capture in captures(&folder) {
        let events: BTreeMap<u64, serde_json::Map<String, serde_json::Value>> =
            lines(&folder.join(format!("{capture}.fields.jsonl.gz")))
                .into_iter()
                .map(|mut line| (line["num"].as_u64().expect("a number"), line["fields"].take()))
                .map(|(num, fields)| (num, fields.as_object().expect("fields").clone()))
                .collect();
        // A field that no event of the capture has a value of may be one that was left out.
        let keys: BTreeSet<&String> = events.values().flat_map(|fields| fields.keys()).collect();
        let uses: BTreeMap<&String, FieldUse> = keys.iter().filter_map(|key| Some((*key, field_use(key)?))).collect();
        keys.iter().filter(|key| !uses.contains_key(*key)).for_each(|key| report.fail(key, "not a field".into()));
        let mut replay = Replay::open(&folder.join(format!("{capture}.scap.gz")), 0).expect("a capture");
        let mut arena = Bump::new();
        let mut seen = 0;
        while let Some(event) = replay.next().expect("an event") {
            let num = event.event().num;
            let Some(expected) = events.get(&num) else { continue };
            seen += 1;
            arena.reset();
            let kind = event.code().info().name;
            let carried: BTreeSet<&str> =
                event.def().map(|def| def.params.iter().map(|p| p.name).collect()).unwrap_or_default();
            for (key, field) in &uses {
                let param = key.strip_prefix("evt.arg.").or(key.strip_prefix("evt.rawarg."));
                if param.is_some_and(|param| !carried.contains(param)) {
                    continue;
                }
                // Only numbers have a raw form in the data.
                if key.starts_with("evt.rawarg.") && !expected.contains_key(*key) {
                    continue;
                }
                let expected = expected.get(*key).and_then(|v| v.as_str());
                let got = text(&event, field, &arena);
                if got.as_deref() == expected {
                    report.passed += 1;
                } else if let Some((_, why)) = deliberate(&capture, key).find(|(event, _)| *event == num) {
                    report.skip(why);
                } else {
                    report.fail(key, format!("{capture} {num} {kind}\texpected {expected:?}\tgot {got:?}"));
                }
            }
        }
        if seen != events.len() {
            report.fail("events", format!("{capture}: {} listed, {seen} seen", events.len()));
        }
    }
    assert_eq!(report.finish("fields"), 0);
}
