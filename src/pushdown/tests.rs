//! What the module's code stops, against the slow evaluator: on generated rules, and events as records have them.

use super::conditions::Call;
use super::table::RESULT;
use crate::driver::abi::{self, fsn_fact_text, fsn_facts, fsn_program, fsn_table};
use crate::event::live::{self, said};
use crate::event::params::{self, Source};
use crate::event::record::EventRecord;
use crate::event::synthetic::{EventSpec, Fd, Process, RecordBuf, Task, World};
use crate::event::types::EventCode;
use crate::event::view::PathView;
use crate::filter::{Compiler, EvalContext, Matching, Outlook, Program, RuleIndex, SyscallScheme, parse, reference};
use bumpalo::Bump;
use proptest::prelude::*;
use std::net::SocketAddr;

/// A table as the module keeps it.
struct Loaded {
    table: fsn_table,
    /// Aligned as the module's memory is.
    _blob: Vec<u64>,
}

fn load(blob: &[u8]) -> Option<Loaded> {
    let mut words = vec![0u64; blob.len().div_ceil(8)];
    // SAFETY: the words are as long as the blob, rounded up.
    unsafe { std::ptr::copy_nonoverlapping(blob.as_ptr(), words.as_mut_ptr().cast::<u8>(), blob.len()) };
    // SAFETY: a struct of pointers, which the check fills in.
    let mut table: fsn_table = unsafe { std::mem::zeroed() };
    // SAFETY: the blob is `blob.len()` readable bytes and stays where it is.
    let fine = unsafe { abi::fsn_filter_check(words.as_ptr().cast(), blob.len() as u32, &raw mut table) } != 0;
    fine.then_some(Loaded { table, _blob: words })
}

impl Loaded {
    fn program(&self, code: u16) -> Option<*const fsn_program> {
        // SAFETY: a checked table.
        let number = unsafe { (*self.table.head).program[usize::from(code)] };
        // SAFETY: the same; programs are counted from 1.
        (number != 0).then(|| unsafe { self.table.programs.add(usize::from(number) - 1) })
    }

    /// Whether the module would send the event: asked as the probe does, cheap conditions first.
    fn sends(&self, record: &EventRecord<'_>, cwd: &str) -> bool {
        let Some(program) = self.program(record.head.code) else { return true };
        let seen = Seen::of(record, cwd);
        let args = record.head.args.map(|arg| arg as std::ffi::c_ulong);
        let mut facts = seen.facts(record.head.ret, &args);
        let (table, facts) = (&raw const self.table, &raw mut facts);
        // SAFETY: a checked table, its program, and facts whose texts live in `seen`.
        unsafe {
            let at = abi::fsn_filter_begin(table, program, facts);
            abi::fsn_filter_passes(table, program, facts, at) != 0
        }
    }
}

enum Fact {
    Absent,
    Unknown,
    Known(Vec<u8>),
}

/// What facts.c would find of the call whose record this is.
struct Seen {
    raw: Fact,
    given: Fact,
    opened: Fact,
    kind: Option<u32>,
    /// Local, remote.
    ports: Option<(u16, u16)>,
}

fn is_tidy(path: &[u8]) -> bool {
    let names = path.strip_prefix(b"/").unwrap_or(path);
    !path.is_empty() && names.split(|b| *b == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

impl Seen {
    fn of(record: &EventRecord<'_>, cwd: &str) -> Seen {
        let def = params::event(EventCode(record.head.code)).expect("of the table");
        let place = Call::new(def).place;
        let mut seen =
            Seen { raw: Fact::Unknown, given: Fact::Unknown, opened: Fact::Unknown, kind: None, ports: None };
        let index = def.main_path.filter(|_| place.path.is_some());
        let raw = index.and_then(|index| record.attachment_of(index, abi::FSN_ATT_STR));
        if let Some(raw) = raw.map(|raw| raw.data).filter(|raw| is_tidy(raw) && raw.len() < 1024) {
            seen.raw = Fact::Known(raw.to_vec());
            let plain = abi::FSN_FD_ANON | abi::FSN_FD_DELETED | abi::FSN_FD_OUTSIDE;
            let base = match place.dirfd {
                _ if raw[0] == b'/' => Some(Vec::new()),
                Some(reg) if record.head.args[usize::from(reg)] as i32 != libc::AT_FDCWD => {
                    let holds = |p: &params::Param| p.source == Source::DirFd(reg);
                    let at = def.params.iter().position(holds).expect("a parameter");
                    let fd =
                        record.fd(at as u8).filter(|fd| fd.head.flags & plain == 0 && fd.path.first() == Some(&b'/'));
                    fd.map(|fd| fd.path.to_vec())
                }
                _ => Some(cwd.as_bytes().to_vec()),
            };
            if let Some(base) = base {
                let slash: &[u8] = if raw[0] == b'/' { b"" } else { b"/" };
                let base = if base == b"/" { &[] } else { &base[..] };
                let given = [base, slash, raw].concat();
                if given.len() <= 1024 {
                    seen.given = Fact::Known(given);
                }
            }
        }
        let number = place.fd.map(|reg| match reg {
            RESULT => record.head.ret,
            reg => i64::from(record.head.args[usize::from(reg)] as i32),
        });
        let Some(number) = number else { return seen };
        if number < 0 {
            seen.opened = Fact::Absent;
            return seen;
        }
        let Some(fd) = def.main_fd.and_then(|index| record.fd(index)) else { return seen };
        seen.kind = Some(match fd.socket.map(|socket| i32::from(socket.head.family)) {
            None => abi::FSN_KIND_FILE,
            Some(libc::AF_INET) => abi::FSN_KIND_INET,
            Some(libc::AF_INET6) => abi::FSN_KIND_INET6,
            Some(libc::AF_UNIX) => abi::FSN_KIND_UNIX,
            Some(libc::AF_NETLINK) => abi::FSN_KIND_NETLINK,
            Some(_) => abi::FSN_KIND_OTHER,
        });
        let ends = fd.socket.filter(|socket| {
            let connected = socket.head.flags & abi::FSN_SOCK_CONNECTED != 0;
            connected && [libc::AF_INET, libc::AF_INET6].contains(&i32::from(socket.head.family))
        });
        seen.ports = ends.map(|socket| (socket.head.lport, socket.head.rport));
        let named = fd.head.flags & (abi::FSN_FD_ANON | abi::FSN_FD_DELETED) == 0 && fd.path.first() == Some(&b'/');
        // The kernel walks the tree: it gives no path with "..", "." or an empty name.
        if fd.socket.is_none() && named && (is_tidy(fd.path) || fd.path == b"/") {
            seen.opened = Fact::Known(fd.path.to_vec());
        }
        seen
    }

    fn facts(&self, ret: i64, args: &[std::ffi::c_ulong; 6]) -> fsn_facts {
        let nothing = fsn_fact_text { text: std::ptr::null(), len: 0, state: 0, dotted: 0 };
        let text = |fact: &Fact| match fact {
            Fact::Absent => fsn_fact_text { state: abi::FSN_FACT_ABSENT as u16, ..nothing },
            Fact::Unknown => fsn_fact_text { state: abi::FSN_FACT_UNKNOWN as u16, ..nothing },
            Fact::Known(text) => {
                let dotted = text.windows(2).any(|two| two.iter().all(|byte| b"./".contains(byte)));
                fsn_fact_text {
                    text: text.as_ptr().cast(),
                    len: text.len() as u32,
                    state: abi::FSN_FACT_KNOWN as u16,
                    dotted: u16::from(dotted),
                }
            }
        };
        // SAFETY: integers and pointers, all of which may be zero.
        let nothing: fsn_facts = unsafe { std::mem::zeroed() };
        fsn_facts {
            ret,
            args: args.as_ptr(),
            raw: text(&self.raw),
            given: text(&self.given),
            opened: text(&self.opened),
            kind: self.kind.unwrap_or(0),
            kind_state: if self.kind.is_some() { abi::FSN_FACT_KNOWN } else { abi::FSN_FACT_UNKNOWN },
            ports_state: if self.ports.is_some() { abi::FSN_FACT_KNOWN } else { abi::FSN_FACT_UNKNOWN },
            local_port: self.ports.map_or(0, |(local, _)| local),
            remote_port: self.ports.map_or(0, |(_, remote)| remote),
            ..nothing
        }
    }
}

const CWD: &str = "/home/alice";

fn world() -> World {
    let mut world = World::new();
    world.task(&Task::new(Process::new(10, "/usr/bin/cat", &["cat"])).cwd(CWD));
    world
}

fn compile(conditions: &[String]) -> Program {
    let mut compiler = Compiler::new(&SyscallScheme, Matching::All);
    for (index, text) in (0..).zip(conditions) {
        compiler.add(RuleIndex(index), &parse(text).expect(text)).expect(text);
    }
    compiler.finish()
}

/// Rules that match, by the slow evaluator, with the path as given or as opened.
fn matching(conditions: &[String], program: &Program, world: &World, record: &RecordBuf) -> Vec<u32> {
    let arena = Bump::new();
    let event = world.view(record);
    let opened = event.with_paths(PathView::AsOpened);
    let listening: Vec<RuleIndex> = program.rules_for(event.code().0).collect();
    let holds = |index: &u32| {
        let tree = parse(&conditions[*index as usize]).expect("parsed before");
        listening.contains(&RuleIndex(*index))
            && [&event, &opened].into_iter().any(|event| reference::holds(&tree, event, &SyscallScheme, &arena))
    };
    (0..conditions.len() as u32).filter(holds).collect()
}

fn choose(options: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(options)
}

const PATHS: [&str; 22] = [
    "/etc/shadow",
    "/etc/passwd",
    "/etc",
    "/",
    "/etc/pam.d/su",
    "/etc/pam.d",
    "/etcetera",
    "/home/alice/.ssh/id_rsa",
    "/home/alice",
    ".ssh/id_rsa",
    "id_rsa",
    "shadow",
    "../../etc/shadow",
    "/etc/../etc/shadow",
    "/etc//shadow",
    "./shadow",
    "/var/log/syslog",
    "/var/log",
    "a/b",
    "",
    ".",
    "/proc/sys/kernel/core_pattern",
];

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PATHS[..])
}

/// A path as the kernel gives it for what is open: no name in it is empty, "." or "..". It may be missing.
fn opened_path() -> impl Strategy<Value = &'static str> {
    let tidy = |path: &str| path[1..].split('/').all(|name| !["", ".", ".."].contains(&name));
    let given = |path: &&str| ["", "/"].contains(path) || path.starts_with('/') && tidy(path);
    prop::sample::select(PATHS.into_iter().filter(given).collect::<Vec<_>>())
}

fn comparison() -> BoxedStrategy<String> {
    let word = || {
        choose(&[
            "/etc/shadow",
            "/etc",
            "/etc/",
            "/",
            "shadow",
            "/shadow",
            "id_rsa",
            ".ssh",
            "/home/alice",
            "/home",
            "../",
            "/../",
            "log",
            "syslog",
            "/var/log",
            "e",
            "/etc/pam.d",
            "b",
            "/home/alice/shadow",
            "alice",
        ])
    };
    let words = move || prop::collection::vec(word(), 1..4).prop_map(|words| format!("({})", words.join(", ")));
    let field =
        || choose(&["fd.name", "fd.name", "fd.name", "fd.directory", "fd.filename", "fd.nameraw", "fs.path.name"]);
    let number_op = || choose(&["=", "!=", "<", "<=", ">", ">="]);
    let not = || choose(&["", "", "", "not "]);
    let bare = prop_oneof![
        8 => (field(), choose(&["=", "!=", "startswith", "endswith", "contains", "icontains"]), word())
            .prop_map(|(f, o, v)| format!("{f} {o} \"{v}\"")),
        4 => (field(), choose(&["in", "pmatch"]), words()).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        4 => (field(), choose(&["/home/*/.ssh/*", "*../*", "*shadow", "/etc/*", "*a?i*", "/[e]tc/*", "?etc*", "/var/*/syslog"]))
            .prop_map(|(f, v)| format!("{f} glob \"{v}\"")),
        1 => (field(), choose(&["/home/*/.ssh", "/var/l?g", "/e*", "/home/al[i]ce"])).prop_map(|(f, v)| format!("{f} pmatch (\"{v}\")")),
        1 => field().prop_map(|f| format!("{f} exists")),
        1 => field().prop_map(|f| format!("{f} regex \".*shadow\"")),
        3 => (choose(&["evt.rawres", "fd.num"]), number_op(), choose(&["-1", "0", "1", "3", "-13", "-2"]))
            .prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        1 => choose(&["evt.rawres in (0, 3)", "evt.res=SUCCESS", "evt.res!=SUCCESS", "evt.res=EACCES", "evt.res in (SUCCESS, ENOENT)",
            "evt.failed=true", "evt.failed=false", "evt.failed!=true"]).prop_map(str::to_owned),
        3 => (choose(&["evt.is_open_read", "evt.is_open_write"]), choose(&["=", "!="]), choose(&["true", "false"]))
            .prop_map(|(f, o, v)| format!("{f}{o}{v}")),
        1 => choose(&["evt.arg.flags contains O_TRUNC", "evt.arg.flags contains O_CREAT", "evt.arg.mode contains S_ISUID",
            "evt.arg.mode contains S_ISGID", "evt.arg.domain contains AF_PACKET", "evt.arg.domain contains AF_INET",
            "evt.arg.domain contains AF_"]).prop_map(str::to_owned),
        3 => (choose(&["fd.typechar", "fd.type"]), choose(&["=", "!="]), choose(&["f", "d", "4", "6", "u", "n", "p", "file", "directory", "ipv4",
            "ipv6", "unix"])).prop_map(|(f, o, v)| format!("{f}{o}{v}")),
        1 => choose(&["fd.typechar in (4, 6)", "fd.sockfamily=ip", "fd.sockfamily=unix", "fd.l4proto=tcp", "fd.l4proto!=udp"])
            .prop_map(str::to_owned),
        2 => (choose(&["fd.net", "fd.snet", "fd.cnet", "fd.rnet"]), choose(&["=", "!="]), choose(&["10.0.0.0/8", "127.0.0.0/8"]))
            .prop_map(|(f, o, v)| format!("{f} {o} \"{v}\"")),
        2 => (choose(&["fd.sport", "fd.cport", "fd.port", "fd.rport", "fd.lport"]), number_op(), choose(&["22", "443", "0"]))
            .prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        2 => (choose(&["fd.sport", "fd.cport", "fd.port", "fd.rport", "fd.lport"]), choose(&["(22)", "(21, 23)", "(22, 23, 80)", "(0, 80)",
            "(443, 444)"])).prop_map(|(f, v)| format!("{f} in {v}")),
        1 => choose(&["fd.ip=10.0.0.1", "fd.sip!=10.0.0.1", "fd.cip=127.0.0.1", "proc.name=cat", "proc.name=other", "user.uid=0"])
            .prop_map(str::to_owned),
    ];
    (not(), bare).prop_map(|(not, bare)| format!("{not}{bare}")).boxed()
}

fn condition() -> impl Strategy<Value = String> {
    let types = choose(&[
        "evt.type in (open, openat, openat2)",
        "evt.type in (open, openat, openat2, creat)",
        "evt.type=openat",
        "evt.type=read",
        "evt.type in (connect, sendto)",
        "evt.type in (chmod, fchmod, fchmodat, socket)",
        "evt.type exists",
        "evt.type!=close",
        "evt.type in (close, write, dup, unlinkat, open_by_handle_at)",
    ]);
    let inner = comparison().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
            inner.prop_map(|part| format!("not ({part})")),
        ]
    });
    (types, prop::collection::vec(inner, 1..4)).prop_map(|(ty, parts)| format!("{ty} and {}", parts.join(" and ")))
}

fn descriptor() -> impl Strategy<Value = Fd> {
    let address = || prop::option::weighted(0.8, choose(&["10.0.0.1:22", "127.0.0.1:443", "0.0.0.0:0", "[::1]:22"]));
    let parsed = |text: Option<&'static str>| text.map(|text| text.parse::<SocketAddr>().expect("an address"));
    prop_oneof![
        6 => (opened_path(), any::<bool>()).prop_map(|(path, folder)| if folder { Fd::directory(path) } else { Fd::file(path) }),
        1 => choose(&["pipe:[7]", "/memfd:x (deleted)", "anon_inode:[eventfd]"]).prop_map(Fd::anonymous),
        1 => opened_path().prop_map(|path| Fd::File {
            path: format!("{path} (deleted)"), mode: 0o100_644, open: 0, flags: abi::FSN_FD_DELETED, dev: 1, ino: 2,
        }),
        2 => (address(), address(), choose(&["tcp", "udp"])).prop_filter_map("families differ", move |(local, remote, kind)| {
            let (local, remote) = (parsed(local), parsed(remote));
            let same = local.zip(remote).is_none_or(|(a, b)| a.is_ipv4() == b.is_ipv4());
            let kind = if kind == "tcp" { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
            same.then_some(Fd::Socket { local, remote, kind, role: 0 })
        }),
        1 => Just(Fd::Unix { name: "/run/log".into(), ino: 4, peer: 5 }),
    ]
}

fn event() -> impl Strategy<Value = EventSpec> {
    let result = || prop::sample::select(vec![-13i64, -2, -1, 0, 1, 3, -115]);
    let flags = || prop::sample::select(vec![0i64, 1, 2, 3, 0o101, 0o1001, 0o200_000, 0o2_000_001]);
    let maybe_path = || prop::option::weighted(0.95, path());
    let maybe_fd = || prop::option::weighted(0.9, descriptor());
    let open = (
        choose(&["open", "openat", "openat2", "creat"]),
        result(),
        flags(),
        maybe_path(),
        maybe_fd(),
        maybe_fd(),
        0..3,
    )
        .prop_map(|(name, ret, flags, path, fd, base, dirfd)| {
            let mut spec = EventSpec::new(name).ret(ret);
            if name == "openat" || name == "openat2" {
                spec = match base.filter(|_| dirfd != 0) {
                    Some(base) => spec.fd("dirfd", 5, base),
                    None => spec.number("dirfd", if dirfd == 1 { i64::from(libc::AT_FDCWD) as u64 } else { 77 }),
                };
            }
            if name != "creat" {
                spec = spec.number("flags", flags as u64);
            }
            if let Some(path) = path {
                spec = spec.text("name", path);
            }
            match fd.filter(|_| ret >= 0) {
                Some(fd) => spec.fd("fd", ret as i32, fd),
                None => spec,
            }
        });
    let on_descriptor = (
        choose(&["read", "write", "connect", "sendto", "fchmod"]),
        result(),
        prop::option::weighted(0.9, descriptor()),
    )
        .prop_map(|(name, ret, fd)| {
            let spec = EventSpec::new(name).ret(ret);
            match fd {
                Some(fd) => spec.fd("fd", 4, fd),
                None => spec.number("fd", 4),
            }
        });
    let chmod = (result(), path(), prop::sample::select(vec![0u64, 0o644, 0o4755, 0o2755]))
        .prop_map(|(ret, path, mode)| EventSpec::new("chmod").ret(ret).text("filename", path).number("mode", mode));
    let other = (choose(&["close", "dup", "getpid", "unlinkat"]), result())
        .prop_map(|(name, ret)| EventSpec::new(name).ret(ret));
    let socket = prop::sample::select(vec![0u64, 1, 2, 10, 16, 17, 999])
        .prop_map(|domain| EventSpec::new("socket").ret(3).number("domain", domain));
    prop_oneof![6 => open, 3 => on_descriptor, 1 => chmod, 1 => socket, 1 => other]
}

fn record_of(world: &mut World, spec: &EventSpec) -> RecordBuf {
    world.event(spec)
}

/// How often something was stopped, so that a table that lets everything pass does not look sound.
fn check(conditions: &[String], events: &[EventSpec]) -> Result<usize, TestCaseError> {
    let program = compile(conditions);
    let Some(blob) = super::table(&program) else { return Ok(0) };
    let Some(table) = load(&blob) else { return Err(TestCaseError::fail("the module refuses the table")) };
    let mut world = world();
    let mut stopped = 0;
    for spec in events {
        let record = record_of(&mut world, spec);
        let event = world.view(&record);
        if table.sends(event.record(), CWD) {
            continue;
        }
        stopped += 1;
        let matched = matching(conditions, &program, &world, &record);
        prop_assert!(
            matched.is_empty(),
            "{:?} is stopped, and {:?} hold for it",
            spec,
            matched.iter().map(|i| &conditions[*i as usize]).collect::<Vec<_>>()
        );
    }
    Ok(stopped)
}

/// How often something had been met. Every event comes three times in each of two tasks.
fn meet(conditions: &[String], events: &[EventSpec]) -> Result<usize, TestCaseError> {
    let program = compile(conditions);
    let (mut context, mut met) = (EvalContext::new(), 0);
    let mut world = world();
    for turn in 0..6 {
        let (name, cwd) = if turn % 2 == 0 { ("cat", CWD) } else { ("other", "/etc") };
        world.task(&Task::new(Process::new(10 + turn % 2, name, &[name])).cwd(cwd));
        // A task comes back as another state of the slot; what is left of the rules is found when it is evaluated.
        for spec in events.iter().chain(events) {
            let (record, arena) = (record_of(&mut world, spec), Bump::new());
            let event = world.view(&record);
            let known = program.was_met(&event, &mut context);
            // As the loop asks, which has not taken the record apart then.
            let task = live::task_of(event.record().head, &world.tasks, &world.host);
            let outlook = program.outlook(event.code().0, task, |_| said::of(record.bytes()), &mut context);
            prop_assert_eq!(known, outlook == Outlook::Met);
            if outlook == Outlook::Dead {
                prop_assert!(matching(conditions, &program, &world, &record).is_empty(), "{:?} is dead", spec);
            }
            if known {
                met += 1;
                let matched = matching(conditions, &program, &world, &record);
                prop_assert!(
                    matched.is_empty(),
                    "{:?} was met, and {:?} of {:?} hold for it",
                    spec,
                    matched,
                    conditions
                );
                continue;
            }
            let mut matched = false;
            for view in [event, event.with_paths(PathView::AsOpened)] {
                program.evaluate(&view, &mut context, &arena, |_| matched = true);
            }
            if !matched {
                program.meet(&event, &mut context);
            }
        }
    }
    Ok(met)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_stopped_no_rule_matches(
        conditions in prop::collection::vec(condition(), 1..5),
        events in prop::collection::vec(event(), 8..16),
    ) {
        check(&conditions, &events)?;
    }

    /// Single comparisons: a wrong one is not hidden by others.
    #[test]
    fn each_comparison_is_weakened(one in comparison(), events in prop::collection::vec(event(), 24..48)) {
        check(&[format!("evt.type exists and {one}")], &events)?;
        check(&[format!("evt.type in (open, openat, openat2, creat, read, connect) and {one}")], &events)?;
    }

    /// What the loop passes over because it was met before, whichever of two tasks did it then.
    #[test]
    fn what_was_met_no_rule_matches(
        conditions in prop::collection::vec(condition(), 1..5),
        events in prop::collection::vec(event(), 4..8),
    ) {
        meet(&conditions, &events)?;
    }

    /// Whatever the bytes are: the check ends, and what it accepts runs within its bounds.
    #[test]
    fn damaged_tables_are_refused_or_harmless(
        conditions in prop::collection::vec(condition(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        events in prop::collection::vec(event(), 1..4),
    ) {
        let Some(mut blob) = super::table(&compile(&conditions)) else { return Ok(()) };
        for (at, byte) in changes {
            let at = at.index(blob.len());
            blob[at] = byte;
        }
        let Some(table) = load(&blob) else { return Ok(()) };
        let mut world = world();
        for spec in &events {
            let record = record_of(&mut world, spec);
            let event = world.view(&record);
            let _ = table.sends(event.record(), CWD);
        }
    }
}

#[test]
fn enough_is_stopped() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut stopped, mut met, mut all) = (0, 0, 0);
    for _ in 0..200 {
        let condition =
            format!("evt.type in (open, openat) and {}", comparison().new_tree(&mut runner).unwrap().current());
        let events: Vec<_> = (0..20).map(|_| event().new_tree(&mut runner).unwrap().current()).collect();
        stopped += check(std::slice::from_ref(&condition), &events).unwrap();
        met += meet(&[condition], &events).unwrap();
        all += events.len();
    }
    assert!(stopped * 25 > all, "{stopped} of {all}");
    assert!(met * 2 > all, "{met} of {all}");
}

/// Each rule's texts fit a set. Those of all, which are one set for opens that any of them may match, do not.
#[test]
fn texts_that_come_together_for_some_calls_only_are_no_more_than_the_module_takes() {
    let texts = |letter: char| {
        let one = |n| format!("fd.name contains {letter}{n:02}");
        (0..40).map(one).collect::<Vec<_>>().join(" or ")
    };
    let conditions = [
        format!("evt.type=openat and evt.is_open_read=true and ({})", texts('r')),
        format!("evt.type=openat and evt.is_open_write=true and ({})", texts('w')),
        format!("evt.type=openat and fd.num>=0 and ({})", texts('x')),
    ];
    let blob = super::table(&compile(&conditions)).expect("a table");
    assert!(load(&blob).is_some(), "the module refuses it");
}

#[test]
fn of_more_texts_than_there_is_room_for_some_are_asked() {
    let calls = [
        "open", "openat", "openat2", "creat", "unlink", "unlinkat", "chmod", "fchmodat", "mkdir", "rmdir", "rename",
        "link",
    ];
    let conditions = calls.map(|call| {
        let text = |n| format!("fd.name startswith /{call}/{n:04}/{}", "x".repeat(60));
        let texts: Vec<String> = (0..700).map(text).collect();
        format!("evt.type={call} and evt.rawres>=0 and ({})", texts.join(" or "))
    });
    let program = compile(&conditions);
    let blob = super::table(&program).expect("a table");
    assert!(blob.len() <= abi::FSN_FILTER_MAX as usize, "{}", blob.len());
    let table = load(&blob).expect("the module takes it");
    let mut world = world();
    let mut sends = |call| {
        let record = world.event(&EventSpec::new(call).text("name", "/tmp/file").fd("fd", 3, Fd::file("/tmp/file")));
        table.sends(world.view(&record).record(), CWD)
    };
    let sent = ["open", "creat"].map(&mut sends);
    assert!(sent.contains(&false), "some fit");
}

#[test]
fn the_default_rules_stop_what_they_do_not_look_for() {
    let loaded = crate::rules::Environment::syscalls();
    let (_, rules) = crate::sensor::plan::load_rules(&["rules/default.yaml".into()], &loaded);
    let rules = rules.expect("our own rules");
    let indices = (0..rules.rules.len() as u32).map(RuleIndex);
    let program = rules.program("syscall", &SyscallScheme, indices, Matching::First).expect("they compile");
    let blob = super::table(&program).expect("a table");
    let table = load(&blob).expect("the module takes it");
    let mut world = world();
    let mut sends = |spec: EventSpec| {
        let record = world.event(&spec);
        let event = world.view(&record);
        table.sends(event.record(), CWD)
    };
    let open = |path: &str, flags: u64| {
        EventSpec::new("openat")
            .number("dirfd", i64::from(libc::AT_FDCWD) as u64)
            .number("flags", flags)
            .text("name", path)
    };
    let opened = |path: &str, flags: u64, real: &str| open(path, flags).fd("fd", 3, Fd::file(real));
    assert!(!sends(opened("/usr/lib/libc.so.6", 0, "/usr/lib/libc.so.6")));
    assert!(!sends(opened("notes", 0o101, "/home/alice/notes")));
    assert!(!sends(open("/usr/lib/nothing", 0).ret(-2)));
    assert!(sends(opened("/etc/shadow", 0, "/etc/shadow")));
    assert!(sends(opened("link", 0, "/etc/shadow")), "by what it leads to");
    assert!(sends(opened("/etc/shadow", 0, "/var/fake")), "by its name");
    assert!(sends(opened(".ssh/authorized_keys", 1, "/home/alice/.ssh/authorized_keys")));
    assert!(sends(opened("../../etc/shadow", 0, "/etc/shadow")));
    assert!(sends(opened("/var/log/syslog", 0o1001, "/var/log/syslog")));
    assert!(!sends(opened("/var/log/syslog", 0o2001, "/var/log/syslog")), "appended to");
    let chmod = |mode| EventSpec::new("chmod").ret(0).text("filename", "/x").number("mode", mode);
    assert!(sends(chmod(0o4755)) && !sends(chmod(0o755)));
    let socket = |domain| EventSpec::new("socket").ret(3).number("domain", domain);
    assert!(sends(socket(17)) && !sends(socket(2)));
    let unix = EventSpec::new("connect").ret(0).fd("fd", 4, Fd::Unix { name: "/dev/log".into(), ino: 1, peer: 2 });
    assert!(!sends(unix));
}

#[test]
fn connections_to_other_ports_are_stopped() {
    let blob = super::table(&compile(&["evt.type in (connect, sendto) and fd.sport in (22, 6000, 6001, 6002)".into()]));
    let table = load(&blob.expect("a table")).expect("the module takes it");
    let mut world = world();
    let mut sends = |name: &str, local: &str, remote: Option<&str>| {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let fd =
            Fd::Socket { local: Some(address(local)), remote: remote.map(address), kind: libc::SOCK_STREAM, role: 0 };
        let record = world.event(&EventSpec::new(name).ret(0).fd("fd", 4, fd));
        table.sends(world.view(&record).record(), CWD)
    };
    assert!(!sends("connect", "10.0.0.1:40000", Some("10.0.0.2:443")));
    assert!(sends("connect", "10.0.0.1:40000", Some("10.0.0.2:6001")));
    assert!(sends("sendto", "[::1]:22", Some("[::1]:40000")));
    assert!(!sends("sendto", "[::1]:5999", Some("[::1]:6003")));
    assert!(sends("sendto", "0.0.0.0:0", None), "it may be told by the call");
}
