//! The fields, against the reference's table of them: names, types, arguments and restrictions, what `--list` shows, and that each
//! is answered, with every kind of argument it takes, by events of a ring and by those of a capture unless the table says
//! otherwise.
//!
//! The reference's is `reference/engine/fields.tsv` beside the conformance data (FALCO_CONFORMANCE, default ../shared/conformance);
//! without it only the last is tested.

#[path = "support/live.rs"]
mod live;

use bumpalo::Bump;
use falco_sensor::capture::thread::Thread;
use falco_sensor::capture::{EventBuf, FdEntry, FdKind, Inspector, ProcessEntry, ReplayedEvent, Subject, encode, fd};
use falco_sensor::driver::abi;
use falco_sensor::event::fields::{self, FIELDS};
use falco_sensor::event::params;
use falco_sensor::event::sources::Answer;
use falco_sensor::event::synthetic::{EventSpec, Fd, Process, START, Task, World};
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::types::EventCode;
use falco_sensor::event::value::{ArgKind, Extract, FieldDef, FieldUse, Scope};
use falco_sensor::filter::scheme::find_field;
use falco_sensor::filter::{Compiler, Format, Matching, RuleIndex, SyscallScheme, parse};
use falco_sensor::sensor::listing;
use falco_sensor::sensor::options::ListFormat;
use std::collections::BTreeSet;
use std::net::SocketAddr;
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

fn field_use(form: &str) -> FieldUse {
    let (name, arg) = match form.split_once('[') {
        Some((name, arg)) => (name, Some(arg.trim_end_matches(']').as_bytes())),
        None => (form, None),
    };
    find_field(&SyscallScheme, name, arg).unwrap_or_else(|e| panic!("{form}: {e:?}"))
}

/// What a field says in a text.
fn text_of(event: &impl Extract, def: &FieldDef, field: &FieldUse, arena: &Bump) -> Option<String> {
    let value = event.extract(field, arena)?;
    let mut text = Vec::new();
    push_text(Some(&value), def, event.number_format(field), Buffers::Printable, &mut text);
    Some(String::from_utf8(text).unwrap_or_else(|e| panic!("{}: {e}", def.name)))
}

/// Every form of every field. Static fields are named by a configuration; this has none.
fn all_forms() -> impl Iterator<Item = (&'static FieldDef, String)> {
    FIELDS
        .iter()
        .filter(|def| def.class != "static")
        .flat_map(|def| forms(def).into_iter().map(move |form| (def, form)))
}

#[test]
fn every_form_of_a_field_compiles_prints_and_is_answered() {
    let mut world = live_world(false);
    let spec = EventSpec::new("openat").fd("fd", 3, Fd::file("/etc/shadow")).arg(0, -100).text("name", "/etc/shadow");
    let record = world.event(&spec);
    let (event, arena, mut with_value) = (world.view(&record), Bump::new(), 0);
    for (def, form) in all_forms() {
        let expr = parse(&format!("{form} exists")).unwrap_or_else(|e| panic!("{form}: {e}"));
        let compiled = Compiler::new(&SyscallScheme, Matching::All).add(RuleIndex(0), &expr).map(|_| ());
        compiled.unwrap_or_else(|e| panic!("{form}: {e}"));
        if def.scope == Scope::Both {
            let format = Format::parse(&format!("%{form}"), &SyscallScheme).unwrap_or_else(|e| panic!("{form}: {e}"));
            assert_eq!(format.segments.len(), 1, "{form} is not taken as a whole");
        }
        with_value += usize::from(text_of(&event, def, &field_use(&form), &arena).is_some());
    }
    assert!(with_value > 150, "{with_value}");
}

/// The process of both worlds: this one, so that /proc tells of it.
fn own() -> i32 {
    std::process::id() as i32
}

/// When its program changed last: between the starts of its pid namespace and of itself.
const CHANGED: u64 = START + 2_000_000_000;
const PARENT: i32 = 3_999_999;
const CGROUP: &str = "/kubepods.slice/kubepods-pod6c7a3cd5_7a3d_4bd0_9ab4_3cd57a3d4bd0.slice/\
                      cri-containerd-3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e.scope";

/// A process of the host or of a container, as a ring tells of it.
fn live_world(in_container: bool) -> World {
    let mut world = World::new();
    let parent = Process::new(PARENT, "/usr/bin/bash", &["bash"]);
    let mut child = Process::new(own(), "/usr/bin/cat", &["cat", "/etc/shadow"]).env(&["HOME=/root"]);
    (child.exec.exe_ctime, child.exec.exe_mtime) = (CHANGED, CHANGED);
    let mut task = Task::new(child).parent(parent).cwd("/root").uid(1000);
    (task.head.start, task.head.pid_start) = (3_000_000_000, 3_000_000_000);
    if in_container {
        task = task.cgroup(CGROUP);
        (task.head.vpid, task.head.vtid, task.head.pidns_init_start) = (7, 7, 1_000_000_000);
    }
    world.host.first_event = START + 1_000_000_000;
    world.task(&task);
    world
}

/// The same, as a capture tells of it.
fn captured_world(in_container: bool) -> Inspector {
    let mut state = Inspector::new(0);
    let users = &mut state.host_mut().users;
    users.set_user(1000, b"alice", b"/home/alice", b"/bin/sh");
    users.set_group(0, b"root");
    for (pid, ptid, path, args) in [(PARENT, 0, "/usr/bin/bash", ""), (own(), PARENT, "/usr/bin/cat", "/etc/shadow\0")]
    {
        let inside = in_container && pid == own();
        let (pid, vpid) = (i64::from(pid), if inside { 7 } else { i64::from(pid) });
        let comm = path.rsplit('/').next().unwrap_or_default();
        let entry = ProcessEntry {
            tid: pid,
            pid,
            ptid: i64::from(ptid),
            vtid: vpid,
            vpid,
            sid: pid,
            pgid: Some(pid),
            vpgid: pid,
            comm: comm.into(),
            exe: comm.into(),
            exepath: path.into(),
            args: args.into(),
            env: b"HOME=/root\0".to_vec(),
            cwd: b"/root".to_vec(),
            root: b"/".to_vec(),
            cgroups: format!("={}\0", if inside { CGROUP } else { "/" }).into_bytes(),
            exe_ino: 100 + pid as u64,
            exe_ctime: CHANGED,
            exe_mtime: CHANGED,
            uid: 1000,
            loginuid: u32::MAX,
            fdlimit: 1024,
            pidns_init_start: if inside { START + 1_000_000_000 } else { 0 },
            ..ProcessEntry::default()
        };
        let mut thread = Thread::listed(entry);
        thread.clone_time = START + 3_000_000_000;
        state.add_thread(thread);
    }
    let address = |text: &str| text.parse::<SocketAddr>().map(|address| (address.ip(), address.port())).ok();
    let file = FdEntry { kind: FdKind::File, name: b"/tmp/x".to_vec(), ..FdEntry::default() };
    let socket = FdEntry {
        kind: FdKind::Ipv4,
        source: address("198.51.100.7:51332"),
        destination: address("203.0.113.9:443"),
        ..FdEntry::default()
    };
    for (number, entry) in [(0, &file), (1, &file), (2, &file), (9, &file), (3, &socket)] {
        state.add_fd(i64::from(own()), number, fd::Fd::listed(entry.clone()));
    }
    state
}

/// What only captures have: events that tell of containers.
fn container_events() -> [EventBuf; 2] {
    let id = &CGROUP[CGROUP.len() - ".scope".len() - 64..][..64];
    let of_container = format!(
        r#"{{"id":"{id}","type":7,"name":"web","image":"a/b:1","imageid":"i","imagerepo":"a/b","imagetag":"1","imagedigest":"d",
            "privileged":false,"host_pid":false,"host_network":false,"host_ipc":false,"ip":"10.0.0.2","cni_json":"{{}}","pod_sandbox_id":"s",
            "labels":{{"io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"n","HOME":"x"}},
            "pod_sandbox_labels":{{"HOME":"x"}},
            "Mounts":[{{}},{{"Source":"HOME","Destination":"HOME","Mode":"ro","RW":true,"Propagation":"rshared"}}]}}"#
    );
    let json = format!("{{\"container\":{of_container}}}\0");
    let mut by_plugin = EventBuf::new(EventCode(402), START, i64::from(own()));
    [&0u32.to_le_bytes()[..], b"container\0", json.as_bytes()].iter().for_each(|param| by_plugin.push(param));
    let mut by_itself = EventBuf::new(EventCode(324), START, i64::from(own()));
    by_itself.push(json.as_bytes());
    [by_plugin, by_itself]
}

/// Events of every type by a process of the host and by one of a container, live and as their recording tells them: the fields that
/// had a value in any, live and in the capture.
fn with_value() -> [BTreeSet<&'static str>; 2] {
    let uses: Vec<_> = all_forms().map(|(def, form)| (def, field_use(&form))).collect();
    let socket = |role| Fd::Socket {
        local: Some("198.51.100.7:51332".parse().expect("an address")),
        remote: Some("203.0.113.9:443".parse().expect("an address")),
        kind: libc::SOCK_STREAM,
        role,
    };
    let client = || socket(abi::FSN_ROLE_CLIENT);
    let mut specs = vec![
        EventSpec::new("poll").ret(1).bytes("fds", &[3, 0, 0, 0, 1, 0, 1, 0, 9, 0, 0, 0, 4, 0, 4, 0]),
        EventSpec::new("read").ret(3).fd("fd", 9, Fd::file("/tmp/x")).bytes("data", b"abc"),
        EventSpec::new("write").ret(3).fd("fd", 9, Fd::file("/tmp/x")).bytes("data", b"abc"),
        EventSpec::new("recvfrom").ret(3).fd("fd", 3, client()).bytes("data", b"abc"),
        EventSpec::new("sendto").ret(3).fd("fd", 3, client()).bytes("data", b"abc"),
        EventSpec::new("mkdir").text("path", "a"),
        EventSpec::new("rename").text("oldpath", "a").text("newpath", "/b"),
        EventSpec::new("mmap").ret(-12),
    ];
    specs.extend(live::specs());
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for in_container in [false, true] {
        let (mut world, mut state) = (live_world(in_container), captured_world(in_container));
        let (mut recorded, mut arena) = (EventBuf::default(), Bump::new());
        for event in &container_events() {
            let event = event.view(0);
            let subject = state.before(&event);
            let captured = ReplayedEvent::of_capture(event, &state, Subject::default(), 0);
            let with_value = uses.iter().filter(|(_, field)| captured.extract(field, &arena).is_some());
            seen[1].extend(with_value.map(|(def, _)| def.name));
            state.after(&subject);
        }
        for (number, spec) in (1..).zip(&specs) {
            arena.reset();
            let record = world.event(spec);
            let live = world.view(&record);
            assert!(encode(&live, 0, &mut recorded));
            let event = recorded.view(number);
            let subject = state.before(&event);
            state.describe(subject.thread.expect("a thread"));
            let captured = ReplayedEvent::of_capture(event, &state, subject, 0);
            for (def, field) in &uses {
                if !seen[0].contains(def.name) && text_of(&live, def, field, &arena).is_some() {
                    seen[0].insert(def.name);
                }
                if !seen[1].contains(def.name) && text_of(&captured, def, field, &arena).is_some() {
                    seen[1].insert(def.name);
                }
            }
            state.after(&subject);
        }
    }
    seen
}

#[test]
fn live_events_and_captures_have_a_value_where_the_table_says_so() {
    let seen = with_value();
    let mut wrong = Vec::new();
    for def in FIELDS.iter().filter(|def| def.class != "static") {
        let answers = [("live", def.sources.live), ("in a capture", def.sources.capture)];
        for ((source, answer), with_value) in answers.into_iter().zip(&seen) {
            if matches!(answer, Answer::Value(_)) != with_value.contains(def.name) {
                wrong.push(format!("{} {source}: {answer:?}", def.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

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
