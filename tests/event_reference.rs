//! Fields of live events against what the reference computed for the same calls.
//!
//! Each line of a reference file has the fields of one event of a real capture. Its task and its record are
//! described anew from those fields, sent through decoder and tables like a ring's, and every field is compared.
//! Runs only where `FALCO_SENSOR_REFERENCE` names the folder with `*.fields.jsonl.gz`.

use bumpalo::Bump;
use falco_sensor::driver::abi;
use falco_sensor::event::fields;
use falco_sensor::event::flags;
use falco_sensor::event::live::LiveEvent;
use falco_sensor::event::params::{self, EventDef, Param, Source};
use falco_sensor::event::synthetic::{EventSpec, Fd, Process, Task, World};
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::types::{Age, EventCode, codes_of_event};
use falco_sensor::event::value::{Extract, FieldArg, FieldUse, Type};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

type Fields = BTreeMap<String, String>;

/// Fields that depend on the recorder, the moment or on tables that live events do not need.
const NOT_COMPARED: &[&str] = &[
    "evt.num",
    "evt.time",
    "evt.time.s",
    "evt.time.iso8601",
    "evt.datetime",
    "evt.datetime.s",
    "evt.rawtime",
    "evt.rawtime.s",
    "evt.rawtime.ns",
    "evt.reltime",
    "evt.reltime.s",
    "evt.reltime.ns",
    "evt.outputtime",
    "evt.cpu",
    "proc.fdopencount",
    "proc.fdusage",
    "proc.vmsize",
    "proc.vmrss",
    "proc.vmswap",
    "thread.vmsize",
    "thread.vmrss",
    "thread.vmsize.b",
    "thread.vmrss.b",
    "thread.pfmajor",
    "thread.pfminor",
    "proc.nthreads",
    "proc.nchilds",
    "proc.stdin.type",
    "proc.stdout.type",
    "proc.stderr.type",
    "proc.stdin.name",
    "proc.stdout.name",
    "proc.stderr.name",
    "fd.types",
    "thread.cpu",
    "thread.cpu.user",
    "thread.cpu.system",
    "proc.duration",
    "proc.ppid.duration",
    "proc.pid.ts",
    "proc.ppid.ts",
    "proc.exe_ino.ctime",
    "proc.exe_ino.mtime",
    "proc.exe_ino.ctime_duration_proc_start",
    "proc.exe_ino.ctime_duration_pidns_start",
    "proc.exe_ino",
    "proc.pidns_init_start_ts",
    "thread.cgroups",
    "container.start_ts",
    "container.duration",
    "fd.ino",
    // Leaders are relatives of their own, which the reference's fields do not describe.
    "proc.sname",
    "proc.sid.exe",
    "proc.sid.exepath",
    "proc.pgid.name",
    "proc.pgid.exe",
    "proc.pgid.exepath",
    "proc.vpgid.name",
    "proc.vpgid.exe",
    "proc.vpgid.exepath",
    "proc.loginshellid",
    "proc.aenv",
    // Names of users of the recorder's host; the same of arguments.
    "user.name",
    "user.homedir",
    "user.shell",
    "group.name",
    // The parameters that only the recorder has, and those printed in the format of the parameter.
    "evt.rawarg",
    "evt.arg.cgroups",
    "evt.arg.env",
    "evt.arg.exe_ino",
    "evt.arg.exe_ino_ctime",
    "evt.arg.exe_ino_mtime",
    "evt.arg.nativeID",
    // Known of the descriptor's open, which is another event.
    "fd.is_upper_layer",
    "fd.is_lower_layer",
];

fn parse_addr(text: &str) -> Option<std::net::SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    Some((ip.parse::<std::net::IpAddr>().ok()?, port.parse().ok()?).into())
}

/// A descriptor from its text, `<4t>1.2.3.4:5->6.7.8.9:10`.
fn descriptor(text: &str, fields: &Fields) -> Option<Fd> {
    let (kind, name) = text.strip_prefix('<')?.split_once('>')?;
    Some(match kind.as_bytes().first()? {
        b'f' => match Fd::file(name) {
            Fd::File { path, mode, open, flags, .. } => {
                let dev = u32::from_str_radix(fields.get("fd.dev").map_or("0", |d| d), 16).ok()?;
                let ino = fields.get("fd.ino").and_then(|i| i.parse().ok()).unwrap_or(0);
                Fd::File { path, mode, open, flags, dev, ino }
            }
            other => other,
        },
        b'd' => match Fd::directory(name) {
            Fd::File { path, mode, open, flags, .. } => {
                let dev = u32::from_str_radix(fields.get("fd.dev").map_or("0", |d| d), 16).ok()?;
                let ino = fields.get("fd.ino").and_then(|i| i.parse().ok()).unwrap_or(0);
                Fd::File { path, mode, open, flags, dev, ino }
            }
            other => other,
        },
        b'p' => Fd::anonymous("pipe:[1]"),
        b'e' => Fd::anonymous("anon_inode:[eventfd]"),
        b's' => Fd::anonymous("anon_inode:[signalfd]"),
        b'l' => Fd::anonymous("anon_inode:[eventpoll]"),
        b't' => Fd::anonymous("anon_inode:[timerfd]"),
        b'i' => Fd::anonymous("anon_inode:inotify"),
        b'b' => Fd::anonymous("anon_inode:bpf-map"),
        b'r' => Fd::anonymous("anon_inode:[io_uring]"),
        b'm' => Fd::anonymous(&format!("/memfd:{name} (deleted)")),
        b'4' => {
            let (local, remote) = match name.split_once("->") {
                Some((client, server)) => {
                    let client_is_local = match fields["evt.type"].as_str() {
                        "accept" | "accept4" => false,
                        "connect" => true,
                        _ => fields.get("fd.lport") == fields.get("fd.cport"),
                    };
                    let (c, s) = (parse_addr(client)?, parse_addr(server)?);
                    if client_is_local { (Some(c), Some(s)) } else { (Some(s), Some(c)) }
                }
                None => (Some(parse_addr(name)?), None),
            };
            let kind = match kind.as_bytes().get(1) {
                Some(b't') => libc::SOCK_STREAM,
                Some(b'u') => libc::SOCK_DGRAM,
                Some(b'r') => libc::SOCK_RAW,
                _ => return None,
            };
            let client = fields.get("fd.lport") == fields.get("fd.cport") || fields["evt.type"] == "connect";
            let role = if client { abi::FSN_ROLE_CLIENT } else { abi::FSN_ROLE_SERVER };
            Fd::Socket { local, remote, kind, role }
        }
        _ => return None,
    })
}

/// The kernel's number whose translation is `value`, where there is one.
fn native(param: &Param, event: &str, value: u64) -> Option<u64> {
    let forward = |n| flags::from_native(param.class_name, event, n);
    if param.class_name.is_empty() || forward(value) == value && param.class_name != "file_flags" {
        return Some(value);
    }
    let mut found = (0..32).map(|bit| 1u64 << bit).filter(|b| forward(*b) & !value & !1 == 0).fold(0, |n, b| n | b);
    if param.class_name == "file_flags" && event.starts_with("open") {
        let kernel_made = 0x4000 | 0x8000 | 0x1_0000;
        let asked = value & !kernel_made;
        found = (0..32)
            .map(|bit| 1u64 << bit)
            .filter(|b| *b > 3 && forward(*b) & !1 & !asked == 0 && forward(*b) & !1 != 0)
            .fold(0, |n, b| n | b)
            | match value & 3 {
                3 => 2,
                2 => 1,
                _ => 0,
            };
        return (forward(found) == asked).then_some(found);
    }
    if forward(found) == value {
        return Some(found);
    }
    (0..70_000).find(|n| forward(*n) == value)
}

/// The raw text of every parameter, cut out of `evt.args` with the help of the resolved ones.
fn raw_params<'a>(def: &EventDef, fields: &'a Fields) -> Option<Vec<&'a str>> {
    let mut rest = fields.get("evt.args")?.as_str();
    let mut raws = Vec::new();
    for (at, param) in def.params.iter().enumerate() {
        rest = rest.strip_prefix(&format!("{}=", param.name))?;
        let end = match def.params.get(at + 1) {
            Some(next) => rest.find(&format!(" {}=", next.name))?,
            None => rest.len(),
        };
        let (chunk, tail) = rest.split_at(end);
        rest = tail.strip_prefix(' ').unwrap_or(tail);
        let resolved = fields.get(&format!("evt.arg.{}", param.name));
        let raw = resolved.and_then(|r| chunk.strip_suffix(&format!("({r})"))).unwrap_or(chunk);
        raws.push(raw);
    }
    Some(raws)
}

fn number(param: &Param, raw: &str) -> Option<u64> {
    use falco_sensor::event::params::Format;
    let flags = matches!(
        param.ty,
        Type::Flags8 | Type::Flags16 | Type::Flags32 | Type::EnumFlags8 | Type::EnumFlags16 | Type::EnumFlags32
    );
    match param.format {
        Format::Hex if !flags && param.ty != Type::Errno => u64::from_str_radix(raw, 16).ok(),
        Format::Octal => u64::from_str_radix(raw, 8).ok(),
        _ => raw.parse::<i64>().ok().map(|n| n as u64).or_else(|| raw.parse().ok()),
    }
}

fn event_spec(def: &'static EventDef, fields: &Fields) -> Option<EventSpec> {
    let mut spec = EventSpec::new(def.name);
    let raws = raw_params(def, fields)?;
    for (param, raw) in def.params.iter().zip(raws) {
        let resolved = fields.get(&format!("evt.arg.{}", param.name)).map_or("", |r| r);
        match (param.source, param.ty) {
            (Source::Task(_) | Source::ExecArg0 { .. } | Source::ExecArgv { .. } | Source::ExecFilename { .. }, _) => {}
            (Source::FdDev(_) | Source::FdIno(_) | Source::FdPath(_) | Source::FdLayer(_) | Source::Socket(_), _) => {}
            // The reference takes every small result for a descriptor.
            (Source::RetFd, _) if def.name == "fcntl" && !fields["evt.arg.cmd"].starts_with("F_DUPFD") => {
                spec = spec.number(param.name, number(param, raw)?);
            }
            (_, Type::Fd | Type::Errno) if resolved.starts_with('<') => {
                let fd = descriptor(resolved, fields)?;
                let fd = match fd {
                    Fd::File { path, mode, open, dev, ino, flags: 0 } if param.source == Source::RetFd => {
                        let flags = fields.get("evt.rawarg.flags").and_then(|f| u64::from_str_radix(f, 16).ok());
                        let flags = flags.unwrap_or(0);
                        let bit = |b, f| if def.name.starts_with("open") && flags & b != 0 { f } else { 0 };
                        let fd_flags = bit(0x4000, abi::FSN_FD_CREATED)
                            | bit(0x8000, abi::FSN_FD_UPPER)
                            | bit(0x1_0000, abi::FSN_FD_LOWER);
                        Fd::File { path, mode, open, flags: fd_flags, dev, ino }
                    }
                    other => other,
                };
                spec = spec.fd(param.name, raw.parse().ok()?, fd);
            }
            (_, Type::Charbuf | Type::FsPath | Type::FsRelPath) => {
                if raw != "<NA>" {
                    if raw.contains('\u{fffd}') {
                        return None;
                    }
                    spec = spec.text(param.name, raw);
                }
            }
            (_, Type::Bytebuf) => {
                if raw != "NULL" {
                    spec = spec.bytes(param.name, raw.as_bytes());
                }
            }
            (_, Type::SockAddr | Type::SockTuple) => match parse_addr(raw) {
                Some(addr) => spec = spec.address(param.name, addr),
                None if raw == "<NA>" || raw == "NULL" => {}
                None => return None,
            },
            (_, Type::Dyn | Type::FdList | Type::SigSet) => return None,
            _ if raw == "<NA>" => return None,
            _ => spec = spec.number(param.name, native(param, def.name, number(param, raw)?)?),
        }
    }
    Some(spec)
}

fn task(fields: &Fields) -> Option<Task> {
    let get = |name: &str| fields.get(name).map(String::as_str);
    let int = |name: &str| get(name).and_then(|n| n.parse::<i64>().ok()).map(|n| n as i32);
    let argv = |exe: &str, args: &str| {
        let mut argv = vec![exe.to_owned()];
        argv.extend(args.split(' ').filter(|_| !args.is_empty()).map(str::to_owned));
        argv
    };
    let process = |exe: &str, path: &str, args: &str, comm: &str, pid: i32| {
        let mut process = Process::new(pid, path, &[]).comm(comm);
        process.argv = argv(exe, args);
        process
    };
    let args = get("proc.aargs[0]").unwrap_or("");
    if args.contains('\u{fffd}') || get("proc.cmdline")?.contains('\u{fffd}') {
        return None;
    }
    let mut own = process(get("proc.exe")?, get("proc.exepath")?, args, get("proc.name")?, int("proc.pid")?);
    for (name, flag) in [
        ("proc.is_exe_upper_layer", abi::FSN_EXEC_UPPER),
        ("proc.is_exe_lower_layer", abi::FSN_EXEC_LOWER),
        ("proc.is_exe_from_memfd", abi::FSN_EXEC_MEMFD),
    ] {
        if get(name) == Some("true") {
            own.exec_flags |= flag;
        }
    }
    own.env = ["PATH", "HOME", "TERM"]
        .iter()
        .filter_map(|n| Some(format!("{n}={}", get(&format!("proc.env[{n}]")).filter(|v| !v.is_empty())?)))
        .collect();
    let mut task = Task::new(own);
    for level in 1..5 {
        let of = |field: &str| get(&format!("proc.{field}[{level}]"));
        let Some(comm) = of("aname") else { break };
        let pid = int(&format!("proc.apid[{level}]")).unwrap_or(level);
        let (exe, path) = (of("aexe").unwrap_or(comm), of("aexepath").unwrap_or(comm));
        let mut ancestor = process(exe, path, of("aargs").unwrap_or(""), comm, pid);
        ancestor.relative.vpid = pid;
        task = task.parent(ancestor);
    }
    let head = &mut task.head;
    head.tid = int("thread.tid")?;
    head.vtid = int("thread.vtid")?;
    head.vpid = int("proc.vpid")?;
    head.vsid = int("proc.sid")?;
    head.sid = int("proc.sid")?;
    head.pgid = int("proc.pgid")?;
    head.vpgid = int("proc.vpgid")?;
    head.tty = int("proc.tty")? as u32;
    head.loginuid = int("user.loginuid")? as u32;
    let uid = get("user.uid")?.parse().ok()?;
    let gid: u32 = get("group.gid")?.parse().ok()?;
    (head.egid, head.gid, head.fsgid) = (gid, gid, gid);
    head.fdlimit = int("proc.fdlimit")? as u64;
    for (set, field) in [
        (&mut head.cap_permitted, "thread.cap_permitted"),
        (&mut head.cap_inheritable, "thread.cap_inheritable"),
        (&mut head.cap_effective, "thread.cap_effective"),
    ] {
        for name in get(field).unwrap_or("").split(' ').filter(|n| !n.is_empty()) {
            *set |= 1 << flags::CAPABILITIES.iter().position(|c| *c == name)?;
        }
    }
    let cwd = get("proc.cwd").unwrap_or("/");
    let cwd = if cwd == "/" { cwd } else { cwd.strip_suffix('/').unwrap_or(cwd) };
    let mut task = task.cwd(cwd).uid(uid);
    if let Some(cgroup) = get("thread.cgroup.cpu") {
        task = task.cgroup(cgroup);
    }
    Some(task)
}

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

fn value(event: &LiveEvent<'_>, field: &FieldUse, arena: &Bump) -> Option<String> {
    let value = event.extract(field, arena)?;
    let mut out = Vec::new();
    push_text(Some(&value), fields::def(field.id), event.number_format(field), Buffers::Printable, &mut out);
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Fields that differ in more than one value of twenty, and why that is right.
const DIFFERENT: &[(&str, &str)] = &[
    ("evt.arg[1]", "the native number of a call is not described"),
    ("evt.arg.args", "arguments with blanks cannot be told apart in the reference's texts"),
    ("evt.arg.exe", "of a failed exec, which is not described"),
    ("evt.arg.filename", "of a failed exec, which is not described"),
    ("evt.arg.ino", "of pipes, which are not described"),
    ("evt.arg.next", "only captures have it"),
    ("evt.arg.tuple", "of calls with several messages"),
    ("evt.arg.type", "socket flags and type share a register"),
    ("evt.arg.egid", "names of the recorder's groups"),
    ("evt.arg.euid", "names of the recorder's users"),
    ("evt.arg.ruid", "names of the recorder's users"),
    ("evt.arg.suid", "names of the recorder's users"),
    ("evt.arg.pid", "processes the task does not know"),
    ("evt.arg.pgid", "processes the task does not know"),
    ("evt.arg.vpgid", "processes the task does not know"),
    ("evt.arg.pidns_init_start_ts", "not described"),
    ("evt.arg.id", "type of the register"),
    ("evt.arg.pgft_min", "not described"),
    ("evt.buflen.net", "of descriptors that the fields do not name"),
    ("fd.nameraw", "later events have the kernel's path, which is all that is known of an earlier open"),
    ("fd.lport", "which end is local is what the kernel says, not a guess by addresses"),
    ("fd.lproto", "the same"),
    ("fd.rport", "the same"),
    ("fd.rproto", "the same"),
    ("fs.path.source", "relative paths are resolved where the reference gives <UNKNOWN> or the wrong folder"),
    ("proc.args[1]", "arguments with blanks cannot be told apart in the reference's texts"),
    ("proc.args[2]", "the same"),
    ("proc.cmdlenargs", "the same"),
    ("proc.cmdnargs", "the same"),
    ("thread.cgroup.cpuacct", "no controller of the unified hierarchy"),
];

#[derive(Default)]
struct Tally {
    equal: u64,
    different: u64,
    examples: Vec<String>,
}

#[test]
fn fields_agree_with_the_reference() {
    let Some(folder) = std::env::var_os("FALCO_SENSOR_REFERENCE") else { return };
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut used, mut skipped) = (0u32, BTreeMap::<String, u32>::new());
    let mut names: Vec<_> = std::fs::read_dir(&folder).expect("folder").flatten().map(|e| e.path()).collect();
    names.sort();
    for path in names.iter().filter(|p| p.to_string_lossy().ends_with(".fields.jsonl.gz")) {
        for fields in lines(path) {
            let name = &fields["evt.type"];
            if matches!(name.as_str(), "switch" | "page_fault") {
                // Tracepoints that only captures have.
                continue;
            }
            let code = codes_of_event(name).iter().filter(|c| c.info().age == Age::Current).max().copied();
            let def = code.map_or(params::event(EventCode(1)), params::event).expect("in the table");
            let spec = if code.is_none() { Some(EventSpec::new(name)) } else { event_spec(def, &fields) };
            let exec_done = name.starts_with("exec") && fields.get("evt.res").is_some_and(|r| r == "SUCCESS");
            let (Some(spec), Some(task)) = (spec, task(&fields)) else {
                *skipped.entry(name.clone()).or_default() += 1;
                continue;
            };
            used += 1;
            let mut world = World::new();
            world.task(&task);
            let spec = if exec_done { spec.tracepoint() } else { spec };
            let record = world.event(&spec);
            let event = world.view(&record);
            let arena = Bump::new();
            for (field, expected) in &fields {
                let plain = field.split('[').next().expect("a name");
                if NOT_COMPARED.contains(&plain) || field.starts_with("evt.rawarg.") {
                    continue;
                }
                let Some(field_use) = field_use(field) else { continue };
                let got = value(&event, &field_use, &arena);
                let tally = tallies.entry(field.clone()).or_default();
                if got.as_ref() == Some(expected) {
                    tally.equal += 1;
                } else {
                    tally.different += 1;
                    if tally.examples.len() < 400 {
                        tally.examples.push(format!("{name}: {:?} instead of {expected:?}", got.unwrap_or_default()));
                    }
                }
            }
        }
    }
    let (mut equal, mut different) = (0, 0);
    for (field, tally) in &tallies {
        equal += tally.equal;
        different += tally.different;
        if tally.different > 0 {
            println!("{field}: {} of {} differ", tally.different, tally.equal + tally.different);
            let mut shown: BTreeMap<&str, u32> = BTreeMap::new();
            for example in &tally.examples {
                let event = example.split(':').next().expect("a name");
                let count = shown.entry(event).or_default();
                *count += 1;
                if *count <= 2 {
                    println!("    {}", example.chars().take(300).collect::<String>());
                }
            }
        }
    }
    println!("{used} events, {equal} values equal, {different} different; not described: {skipped:?}");
    assert!(used > 10_000 && different * 50 < equal);
    for (field, tally) in &tallies {
        let known = DIFFERENT.iter().any(|(name, _)| name == field);
        let few = tally.different * 20 <= tally.equal + tally.different;
        assert!(known || few, "{field}: {} of {} differ", tally.different, tally.equal + tally.different);
    }
}

fn lines(path: &Path) -> Vec<Fields> {
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip");
    let text = String::from_utf8(output.stdout).expect("JSON");
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let fields = line["fields"].as_object().expect("fields");
            fields.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
        })
        .collect()
}
