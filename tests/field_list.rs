//! The fields, against the reference's table of them: names, types, arguments and restrictions, what `--list` shows, and that each
//! is answered, with every kind of argument it takes, by an event of a ring and by one of a capture.
//!
//! The table is `reference/engine/fields.tsv` beside the conformance data (FALCO_CONFORMANCE, default ../shared/conformance); without
//! it only the last is tested.

use bumpalo::Bump;
use falco_sensor::capture::thread::Thread;
use falco_sensor::capture::{EventBuf, Inspector, ProcessEntry, ReplayedEvent};
use falco_sensor::event::fields::{self, FIELDS};
use falco_sensor::event::params;
use falco_sensor::event::synthetic::{EventSpec, Fd, Process, Task, World};
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::types::EventCode;
use falco_sensor::event::value::{ArgKind, Extract, FieldDef, FieldUse, Scope};
use falco_sensor::filter::scheme::find_field;
use falco_sensor::filter::{Compiler, Format, Matching, RuleIndex, SyscallScheme, parse};
use falco_sensor::sensor::listing;
use falco_sensor::sensor::options::ListFormat;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A row of the reference: name, type, argument, list-valued, where it may be used, deprecated, class, the rest.
type Row = Vec<String>;

fn reference() -> Vec<Row> {
    let root = PathBuf::from(std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into()));
    let file = root.join("../reference/engine/fields.tsv");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: no file {} (set FALCO_CONFORMANCE to the data set beside the reference)", file.display());
        return Vec::new();
    };
    let rows = text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect());
    // Other plugins' fields are not this catalogue's.
    rows.filter(|row: &Row| !row[6].starts_with("plugin") || row[6] == "plugin container").collect()
}

/// The kinds of argument in the reference's words.
fn argument(words: &str) -> ArgKind {
    match words {
        "none" => ArgKind::None,
        "optional index" | "optional index (ancestor)" => ArgKind::OptionalIndex,
        "optional key" | "optional: .src or .dst (declared required)" => ArgKind::OptionalKey,
        "optional key or index" => ArgKind::OptionalEither,
        "required key" | "required: .NAME" | "required: .SUBSYSTEM" | "required: [TS]" => ArgKind::RequiredKey,
        "required index or key" | "required: .NAME or .NUMBER" | "required: .NAME or [N]" => ArgKind::RequiredEither,
        other => panic!("the reference has an argument '{other}'"),
    }
}

#[test]
fn the_catalogue_is_the_references() {
    let rows = reference();
    if rows.is_empty() {
        return;
    }
    assert_eq!(rows.iter().filter(|row| !row[6].starts_with("plugin")).count(), 233);
    let known: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    // Static fields have the names that a configuration gives them.
    let own = FIELDS.iter().filter(|def| def.class != "static");
    let more: Vec<&str> = own.map(|def| def.name).filter(|name| !known.contains(name)).collect();
    assert!(more.is_empty(), "not in the reference: {more:?}");
    for row in &rows {
        let def = fields::def(fields::lookup(&row[0]).unwrap_or_else(|| panic!("{} is not a field", row[0])));
        let ty = format!("PT_{:?}", def.ty).to_uppercase();
        let scope = match row[4].as_str() {
            "filter only" => Scope::FilterOnly,
            "output only" => Scope::OutputOnly,
            _ => Scope::Both,
        };
        let extra = |word: &str| row[7].contains(word);
        assert_eq!((ty.as_str(), def.arg), (row[1].as_str(), argument(&row[2])), "{}", row[0]);
        // One output-only field is taken in conditions by the original's rules as well.
        assert!(def.scope == scope || def.name == "evt.outputtime", "{}", row[0]);
        assert_eq!((def.list, def.flags.deprecated), (row[3] == "yes", row[5] == "yes"), "{}", row[0]);
        assert_eq!(def.flags.no_transformer, extra("NO_TRANSFORMER"), "{}", row[0]);
        assert_eq!(def.flags.no_rhs, extra("NO_RHS"), "{}", row[0]);
        assert_eq!(def.flags.hidden, extra("TABLE_ONLY") || row[6].contains("hidden"), "{}", row[0]);
        assert_eq!(def.flags.padded, extra("10_PADDED_DEC"), "{}", row[0]);
        assert_eq!(def.flags.suggested, extra("suggested_output"), "{}", row[0]);
    }
}

#[test]
fn the_listings_show_all_but_the_hidden_ones() {
    let shown: Vec<&FieldDef> = FIELDS.iter().filter(|def| !def.flags.hidden).collect();
    let list = |names, format| listing::fields("syscall", names, format).expect("a source");
    let names: Vec<String> = shown.iter().map(|def| def.name.to_owned()).collect();
    assert_eq!(list(true, ListFormat::Text).lines().collect::<Vec<_>>(), names);
    let json: serde_json::Value = serde_json::from_str(&list(false, ListFormat::Json)).expect("JSON");
    let listed: Vec<&str> =
        json["fields"].as_array().into_iter().flatten().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(listed, names);
    let (text, markdown) = (list(false, ListFormat::Text), list(false, ListFormat::Markdown));
    for def in shown {
        assert!(text.lines().any(|line| line.starts_with(def.name) && line.ends_with(def.desc)), "{}", def.name);
        assert!(markdown.lines().any(|line| line.starts_with(&format!("`{}", def.name))), "{}", def.name);
    }
}

/// A field as it may be written.
fn forms(def: &FieldDef) -> Vec<String> {
    let name = def.name;
    let key = match name {
        "evt.arg" | "evt.rawarg" => ".fd",
        "evt.type.is" => ".openat",
        "evt.abspath" => ".src",
        "thread.cgroup" => ".cpuset",
        "evt.around" => "[1404996934793590564]",
        _ => "[HOME]",
    };
    let (bare, index, key) = (name.to_owned(), format!("{name}[1]"), format!("{name}{key}"));
    match def.arg {
        ArgKind::None => vec![bare],
        ArgKind::OptionalIndex => vec![bare, format!("{name}[0]"), index],
        ArgKind::RequiredIndex => vec![format!("{name}[0]"), index],
        ArgKind::OptionalKey => vec![bare, key],
        ArgKind::RequiredKey => vec![key],
        ArgKind::OptionalEither => vec![bare, index, key],
        ArgKind::RequiredEither => vec![index, key],
    }
}

/// Every field of an event, in every form: it compiles, it prints, and what it gives is of its type. Returns those with a value.
fn answered(event: &impl Extract) -> BTreeSet<String> {
    let (mut with_value, arena) = (BTreeSet::new(), Bump::new());
    // Static fields are named by a configuration; this has none.
    for def in FIELDS.iter().filter(|def| def.class != "static") {
        for form in forms(def) {
            let expr = parse(&format!("{form} exists")).unwrap_or_else(|e| panic!("{form}: {e}"));
            let compiled = Compiler::new(&SyscallScheme, Matching::All).add(RuleIndex(0), &expr).map(|_| ());
            compiled.unwrap_or_else(|e| panic!("{form}: {e}"));
            if def.scope == Scope::Both {
                let format =
                    Format::parse(&format!("%{form}"), &SyscallScheme).unwrap_or_else(|e| panic!("{form}: {e}"));
                assert_eq!(format.segments.len(), 1, "{form} is not taken as a whole");
            }
            let (name, arg) = match form.split_once('[') {
                Some((name, arg)) => (name, Some(arg.trim_end_matches(']').as_bytes())),
                None => (form.as_str(), None),
            };
            let field: FieldUse = find_field(&SyscallScheme, name, arg).unwrap_or_else(|e| panic!("{form}: {e:?}"));
            let Some(value) = event.extract(&field, &arena) else { continue };
            let mut text = Vec::new();
            push_text(Some(&value), def, event.number_format(&field), Buffers::Printable, &mut text);
            assert!(std::str::from_utf8(&text).is_ok(), "{form}");
            with_value.insert(form);
        }
    }
    with_value
}

fn live() -> BTreeSet<String> {
    let mut world = World::new();
    let child = Process::new(152, "/usr/bin/cat", &["cat", "/etc/shadow"]).env(&["HOME=/root"]);
    world.task(&Task::new(child).parent(Process::new(1, "/sbin/init", &["init"])).cwd("/root"));
    let spec = EventSpec::new("openat").fd("fd", 3, Fd::file("/etc/shadow")).arg(0, -100).text("name", "/etc/shadow");
    let record = world.event(&spec);
    answered(&world.view(&record))
}

fn replayed() -> BTreeSet<String> {
    let mut state = Inspector::new(0);
    for (tid, ptid, comm) in [(1, 0, "init"), (152, 1, "cat")] {
        let entry = ProcessEntry {
            tid,
            pid: tid,
            ptid,
            vtid: tid,
            vpid: tid,
            comm: comm.into(),
            exe: comm.into(),
            exepath: format!("/bin/{comm}").into(),
            args: b"/etc/shadow\0".to_vec(),
            env: b"HOME=/root\0".to_vec(),
            cwd: b"/root".to_vec(),
            cgroups: b"cpuset=/\0".to_vec(),
            exe_ino: 7,
            ..ProcessEntry::default()
        };
        let mut thread = Thread::listed(entry);
        thread.clone_time = 1_600_000_000_000_000_000;
        state.add_thread(thread);
    }
    let code = EventCode(307);
    let mut event = EventBuf::new(code, 1_700_000_000_000_000_000, 152);
    for param in &params::event(code).expect("openat").params {
        match param.name {
            "fd" => event.push(&3i64.to_le_bytes()),
            "dirfd" => event.push(&(-100i64).to_le_bytes()),
            "name" => event.push(b"/etc/shadow\0"),
            _ => event.push(&[0; 8][..usize::from(param.width)]),
        }
    }
    let view = event.view(1);
    let subject = state.before(&view);
    state.describe(subject.thread.expect("a thread"));
    answered(&ReplayedEvent::of_capture(view, &state, subject, 0))
}

/// Live, these are read from /proc when they are asked for, where the process of the test does not exist.
const FROM_PROC: [&str; 14] = [
    "fd.types",
    "proc.fdopencount",
    "proc.fdusage",
    "proc.nchilds",
    "proc.nthreads",
    "proc.vmrss",
    "proc.vmsize",
    "proc.vmswap",
    "thread.pfmajor",
    "thread.pfminor",
    "thread.vmrss",
    "thread.vmrss.b",
    "thread.vmsize",
    "thread.vmsize.b",
];

#[test]
fn switches_count_the_time_between_them() {
    let mut state = Inspector::new(0);
    state.add_thread(Thread::listed(ProcessEntry { tid: 7, pid: 7, ..ProcessEntry::default() }));
    let mut seen = Vec::new();
    for (number, (time, cpu)) in (1..).zip([(1_000, 0), (1_500, 1), (1_700, 0), (2_500, 0)]) {
        let code = EventCode(152);
        let mut event = EventBuf::new(code, time, 7);
        event.cpu = cpu;
        let params = &params::event(code).expect("switch").params;
        params.iter().for_each(|param| event.push(&[0; 8][..usize::from(param.width)]));
        let view = event.view(number);
        let subject = state.before(&view);
        state.describe(subject.thread.expect("a thread"));
        let event = ReplayedEvent::of_capture(view, &state, subject, 0);
        seen.push(["thread.exectime", "thread.totexectime"].map(|name| {
            let field = find_field(&SyscallScheme, name, None).expect("a field");
            event.extract(&field, &Bump::new()).map(|value| format!("{value:?}")).unwrap_or_default()
        }));
        state.after(&subject);
    }
    assert_eq!(seen, [["U64(0)", "U64(0)"], ["U64(0)", "U64(0)"], ["U64(700)", "U64(700)"], ["U64(800)", "U64(1500)"]]);
}

#[test]
fn every_field_is_answered_live_and_in_replay() {
    let (live, replayed) = (live(), replayed());
    // Of the same open by the same process; docs/falco-compat.md says of which fields the values may differ.
    assert_eq!(live.symmetric_difference(&replayed).map(String::as_str).collect::<Vec<_>>(), FROM_PROC);
    assert!(replayed.len() > 150, "{replayed:?}");
}
