//! Scripts of `filter-eval.jsonl`, kind `events`: a process list and events given to the inspector, and what fields, conditions and
//! output formats make of them at that point.

use super::data::{base64, bytes, text};
use bumpalo::Bump;
use falco_sensor::capture::fd::Fd;
use falco_sensor::capture::thread::Thread;
use falco_sensor::capture::{Converter, EventBuf, FdEntry, FdKind, Inspector, ProcessEntry, ReplayedEvent};
use falco_sensor::event::fields;
use falco_sensor::event::params;
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::types::{EVENTS, EventCode};
use falco_sensor::event::value::{Extract, FieldArg, FieldUse, Value as Val};
use falco_sensor::filter::format::{Segment, Source};
use falco_sensor::filter::{Compiler, EvalContext, Format, Matching, Program, RuleIndex, SyscallScheme, parse};
use falco_sensor::output::alert::{EventTime, RuleForm, RuleParts, Style, Writer, push_format};
use falco_sensor::rules::Priority;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Runs a script to its end, or to the first check that does not hold.
pub fn run(case: &Value) -> Result<(), String> {
    let mut script = Script::new();
    for (at, step) in case["steps"].as_array().into_iter().flatten().enumerate() {
        script.step(step).map_err(|why| format!("step {at}: {why}"))?;
    }
    Ok(())
}

/// What an event was about when it was given.
type Subject = falco_sensor::capture::Subject;

struct Script {
    converter: Converter,
    state: Inspector,
    /// The event that was delivered last. The original has one event at a time: its tests that name an earlier one see this one.
    seen: Option<(EventBuf, Subject)>,
    /// Of the event given last, as long as rules may look at it.
    open: Option<Subject>,
    count: u64,
    last_time: u64,
    previous: u64,
    buffers: Buffers,
}

impl Script {
    fn new() -> Script {
        Script {
            converter: Converter::default(),
            state: Inspector::new(0),
            seen: None,
            open: None,
            count: 0,
            last_time: 0,
            previous: 0,
            buffers: Buffers::Printable,
        }
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        match (text(step, "do"), text(step, "check")) {
            ("thread", _) => self.thread(step),
            ("event", _) => return self.event(step),
            ("usergroup", _) => self.usergroup(step),
            ("buffer_format", _) => {
                self.buffers =
                    if text(step, "format").contains("BASE64") { Buffers::Base64 } else { Buffers::Printable };
            }
            (_, "compiles") => {
                let compiled = compile(text(step, "expr")).err();
                return expect(step["result"] == compiled.is_none(), || format!("{}: {compiled:?}", step["expr"]));
            }
            (_, check) if step["event"].is_null() && check == "format" => {
                let parsed = Format::parse(text(step, "format"), &SyscallScheme);
                return expect(step["throws"] == parsed.is_err(), || format!("{}: parsed {parsed:?}", step["format"]));
            }
            (_, check) => return self.look(check, step),
        }
        Ok(())
    }

    fn thread(&mut self, step: &Value) {
        let given = &step["thread"];
        let n = |key: &str| given[key].as_i64().unwrap_or(0);
        let wide = |key: &str| given[key].as_u64().unwrap_or(0);
        let flag = |key: &str| given[key] == true;
        let name = |key: &str| bytes(&given[key]);
        let list = |key: &str| {
            given[key].as_array().into_iter().flatten().fold(Vec::new(), |mut all, one| {
                all.extend(match one {
                    Value::Array(pair) => pair.iter().map(bytes).collect::<Vec<_>>().join(&b'='),
                    one => bytes(one),
                });
                all.push(0);
                all
            })
        };
        let entry = ProcessEntry {
            tid: n("tid"),
            pid: n("pid"),
            ptid: n("ptid"),
            sid: n("sid"),
            vpgid: n("vpgid"),
            pgid: given["pgid"].as_i64(),
            comm: name("comm"),
            exe: name("exe"),
            exepath: name("exepath"),
            args: list("args"),
            cwd: name("cwd"),
            fdlimit: wide("fdlimit"),
            flags: n("flags") as u32,
            uid: n("uid") as u32,
            gid: n("gid") as u32,
            vmsize_kb: n("vmsize_kb") as u32,
            vmrss_kb: n("vmrss_kb") as u32,
            vmswap_kb: n("vmswap_kb") as u32,
            pfmajor: wide("pfmajor"),
            pfminor: wide("pfminor"),
            env: list("env"),
            vtid: n("vtid"),
            vpid: n("vpid"),
            cgroups: list("cgroups"),
            root: name("root"),
            pidns_init_start: wide("pidns_init_start_ts"),
            tty: n("tty") as u32,
            loginuid: n("loginuid") as u32,
            exe_writable: flag("exe_writable"),
            cap_inheritable: wide("cap_inheritable"),
            cap_permitted: wide("cap_permitted"),
            cap_effective: wide("cap_effective"),
            exe_upper_layer: flag("exe_upper_layer"),
            exe_lower_layer: flag("exe_lower_layer"),
            exe_from_memfd: flag("exe_from_memfd"),
            exe_ino: wide("exe_ino"),
            exe_ctime: wide("exe_ino_ctime"),
            exe_mtime: wide("exe_ino_mtime"),
        };
        let tid = entry.tid;
        let mut thread = Thread::listed(entry);
        thread.clone_time = wide("clone_ts");
        self.state.add_thread(thread);
        for fd in step["fds"].as_array().into_iter().flatten() {
            let n = |key: &str| fd[key].as_u64().unwrap_or(0);
            let entry = FdEntry {
                fd: n("fd") as i64,
                ino: n("ino"),
                kind: kind(text(fd, "type")),
                open_flags: n("open_flags") as u32,
                dev: n("dev") as u32,
                name: bytes(&fd["name"]),
                ..FdEntry::default()
            };
            self.state.add_fd(tid, entry.fd, Fd::listed(entry));
        }
    }

    fn event(&mut self, step: &Value) -> Result<(), String> {
        self.close();
        let given = encoded(step);
        let delivered = match self.converter.convert(given.view(0)) {
            Err(problem) => return Err(format!("event {}: {problem}", step["id"])),
            Ok(None) => None,
            Ok(Some(event)) => {
                let mut kept = EventBuf::new(event.code, event.time, event.tid);
                // Where the original's tests have their events happen.
                (kept.cpu, kept.flags) = (1, event.flags);
                event.params().for_each(|param| kept.push(param));
                Some(kept)
            }
        };
        let wanted = step["expect"].is_null();
        let Some(event) = delivered else { return Ok(()) };
        self.count += 1;
        let subject = self.state.before(&event.view(self.count));
        expect(wanted || subject.hidden, || format!("event {} is delivered", step["id"]))?;
        self.previous = std::mem::replace(&mut self.last_time, event.time);
        self.open = Some(subject);
        if !subject.hidden {
            self.seen = Some((event, subject));
        }
        Ok(())
    }

    /// What the last event was to change when rules had seen it.
    fn close(&mut self) {
        if let Some(subject) = self.open.take() {
            self.state.after(&subject);
        }
    }

    /// A change of the table of users, as the event that tells of it.
    fn usergroup(&mut self, step: &Value) {
        let op = text(step, "op");
        let (name, columns): (&str, &[&str]) = match op {
            "add_user" => ("useradded", &["container_id", "", "uid", "gid", "name", "home", "shell"]),
            "rm_user" => ("userdeleted", &["container_id", "uid"]),
            "add_group" => ("groupadded", &["container_id", "", "gid", "name"]),
            "rm_group" => ("groupdeleted", &["container_id", "gid"]),
            other => panic!("{other} of users and groups"),
        };
        let code = (0..EVENTS.len() as u16).map(EventCode).find(|code| code.info().name == name).expect("an event");
        let mut event = EventBuf::new(code, self.last_time, -1);
        for param in &params::event(code).expect("a schema").params {
            let value = columns.iter().position(|c| *c == param.name).map_or(&Value::Null, |at| &step["args"][at]);
            match value {
                Value::Number(_) => event.push(&value.as_u64().unwrap_or(0).to_le_bytes()[..usize::from(param.width)]),
                Value::Null if param.width > 0 => event.push(&[0; 8][..usize::from(param.width)]),
                value => event.push(&[bytes(value), vec![0]].concat()),
            }
        }
        self.state.before(&event.view(0));
    }

    fn look(&mut self, check: &str, step: &Value) -> Result<(), String> {
        let buffers = self.buffers;
        let event = self.seen()?;
        match check {
            "filter" => {
                let expr = text(step, "expr");
                let program = compile(expr);
                if step["throws"] == true {
                    return expect(program.is_err(), || format!("{expr} compiles"));
                }
                let result = holds(&program?, &event);
                expect(step["result"] == result, || format!("{expr} is {result}"))
            }
            "field" => {
                let name = text(step, "field");
                let got = field(name).and_then(|field| shown(&field, &event, buffers));
                if step["throws"] == true {
                    return expect(got.is_err(), || format!("{name} is a field"));
                }
                let got = got?.ok_or_else(|| format!("{name} has no value, expected {}", step["equals"]))?;
                let (wanted, key) = match &step["not_equals"] {
                    Value::Null => (true, "equals"),
                    _ => (false, "not_equals"),
                };
                let expected = String::from_utf8_lossy(&bytes(&step[key])).into_owned();
                expect((got == expected) == wanted, || format!("{name} is {got}, expected {wanted}: {expected}"))
            }
            "field_has_value" | "field_exists" => {
                let name = text(step, "field");
                let got = match field(name) {
                    Ok(_) if check == "field_exists" => true,
                    Ok(field) => event.extract(&field, &Bump::new()).is_some(),
                    Err(_) if check == "field_exists" => false,
                    Err(why) => return Err(why),
                };
                expect(step["result"] == got, || format!("{name}: {check} is {got}"))
            }
            "fields_equal" => {
                let one = shown(&field(text(step, "field"))?, &event, buffers)?;
                let other = shown(&field(text(step, "other_field"))?, &event, buffers)?;
                expect(one == other && one.is_some(), || format!("{} is {one:?}, not {other:?}", step["field"]))
            }
            "format" => printed(step, &event, buffers),
            other => Err(format!("check {other} is not known")),
        }
    }

    /// The event as rules see it now.
    fn seen(&mut self) -> Result<ReplayedEvent<'_>, String> {
        let (event, subject) = self.seen.as_ref().ok_or("no event was delivered")?;
        if let Some(thread) = subject.thread {
            self.state.describe(thread);
        }
        Ok(ReplayedEvent::of_capture(event.view(self.count), &self.state, *subject, self.previous))
    }
}

fn expect(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// What a descriptor of the process list is.
fn kind(name: &str) -> FdKind {
    match name {
        "file" | "file_v2" => FdKind::File,
        "directory" => FdKind::Directory,
        "fifo" => FdKind::Fifo,
        other => panic!("a descriptor of type {other} in the data set"),
    }
}

/// An event in the parameters of the format.
pub fn encoded(given: &Value) -> EventBuf {
    let code = EventCode(given["code"].as_u64().expect("a code") as u16);
    let mut event = EventBuf::new(code, given["ts"].as_u64().unwrap_or(0), given["tid"].as_i64().unwrap_or(0));
    given["params"].as_array().into_iter().flatten().for_each(|param| event.push(&parameter(param)));
    event
}

fn parameter(param: &Value) -> Vec<u8> {
    if param["empty"] == true || (param["value"].is_null() && param["bytes"].is_null()) {
        return Vec::new();
    }
    if let Some(bytes) = param["bytes"].as_str() {
        return base64(bytes);
    }
    let width = match text(param, "type") {
        "PT_CHARBUF" | "PT_FSPATH" | "PT_FSRELPATH" => return [bytes(&param["value"]), vec![0]].concat(),
        "PT_INT8" | "PT_UINT8" | "PT_FLAGS8" | "PT_ENUMFLAGS8" | "PT_SIGTYPE" | "PT_L4PROTO" | "PT_SOCKFAMILY" => 1,
        "PT_INT16" | "PT_UINT16" | "PT_FLAGS16" | "PT_ENUMFLAGS16" | "PT_SYSCALLID" | "PT_PORT" => 2,
        "PT_INT32" | "PT_UINT32" | "PT_FLAGS32" | "PT_ENUMFLAGS32" | "PT_UID" | "PT_GID" | "PT_MODE" | "PT_SIGSET"
        | "PT_BOOL" | "PT_FD32" | "PT_PID32" => 4,
        "PT_INT64" | "PT_UINT64" | "PT_ERRNO" | "PT_FD" | "PT_PID" | "PT_RELTIME" | "PT_ABSTIME" => 8,
        other => panic!("a value of {other} in the data set"),
    };
    let value = &param["value"];
    let number = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from)).expect("a number");
    number.to_le_bytes()[..width].to_vec()
}

fn compile(expr: &str) -> Result<Program, String> {
    let expr = parse(expr).map_err(|e| e.to_string())?;
    let mut compiler = Compiler::new(&SyscallScheme, Matching::All);
    compiler.add(RuleIndex(0), &expr).map_err(|e| e.to_string())?;
    Ok(compiler.finish())
}

fn holds(program: &Program, event: &ReplayedEvent<'_>) -> bool {
    let mut matched = false;
    program.evaluate(event, &mut EvalContext::new(), &Bump::new(), |_| matched = true);
    matched
}

/// A field as it is written, its argument in brackets or behind a dot.
fn field(written: &str) -> Result<FieldUse, String> {
    let format = Format::parse(&format!("%{written}"), &SyscallScheme).map_err(|e| e.to_string())?;
    match format.segments.as_slice() {
        [Segment::Value(token)] => match &token.source {
            Source::Field(field) => Ok(field.clone()),
            _ => Err(format!("{written} is no field")),
        },
        _ => Err(format!("{written} is no field")),
    }
}

/// A field's text; None when it has no value.
fn shown(field: &FieldUse, event: &ReplayedEvent<'_>, buffers: Buffers) -> Result<Option<String>, String> {
    let arena = Bump::new();
    let Some(value) = event.extract(field, &arena) else { return Ok(None) };
    let mut out = Vec::new();
    push_text(Some(&value), fields::def(field.id), event.number_format(field), buffers, &mut out);
    String::from_utf8(out).map(Some).map_err(|e| e.to_string())
}

// ---- formats --------------------------------------------------------------------------------------------------------

/// What is printed, as the data set names it, and its value.
fn named<'e>(
    source: &'e Source,
    event: &'e ReplayedEvent<'_>,
    arena: &'e Bump,
    all: &mut BTreeMap<String, String>,
) -> String {
    let mut inner = |sources: &'e [Source]| -> String {
        sources.iter().map(|one| named(one, event, arena, all)).collect::<Vec<_>>().join(",")
    };
    let name = match source {
        Source::Field(field) => match &field.arg {
            FieldArg::None => fields::def(field.id).name.to_owned(),
            FieldArg::Index(index) => format!("{}[{index}]", fields::def(field.id).name),
            FieldArg::Key(key) if fields::def(field.id).flags.dotted => format!("{}.{key}", fields::def(field.id).name),
            FieldArg::Key(key) => format!("{}[{key}]", fields::def(field.id).name),
        },
        Source::Literal(text) => return String::from_utf8_lossy(text).into_owned(),
        Source::List(items) => return format!("({})", inner(items)),
        Source::Apply { name, args, .. } => format!("{}({})", name.as_str(), inner(args)),
    };
    let value = match source.evaluate(event, arena) {
        Some(Val::Str(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(Val::U64(n)) => n.to_string(),
        Some(Val::I64(n)) => n.to_string(),
        _ => return name,
    };
    all.insert(name.clone(), value);
    name
}

fn printed(step: &Value, event: &ReplayedEvent<'_>, buffers: Buffers) -> Result<(), String> {
    let given = text(step, "format");
    // A star in front: fields without a value do not make the output one that is not to be printed.
    let star = given.starts_with('*');
    let format = Format::parse(given.strip_prefix('*').unwrap_or(given), &SyscallScheme).map_err(|e| e.to_string())?;
    let arena = Bump::new();
    if step["names"].is_array() {
        let got: Vec<String> = format.tokens().flat_map(|token| token.field_names()).collect();
        expect(step["names"] == Value::from(got.clone()), || format!("names {got:?}"))?;
    }
    let resolved = star || format.tokens().all(|token| token.source.evaluate(event, &arena).is_some());
    if let Some(wanted) = step["resolved"].as_bool() {
        expect(wanted == resolved, || format!("{given}: resolved is {resolved}"))?;
    }
    let mut values = BTreeMap::new();
    format.tokens().for_each(|token| {
        named(&token.source, event, &arena, &mut values);
    });
    for (name, value) in step["fields"].as_object().into_iter().flatten() {
        let got = values.get(name);
        expect(got.is_some_and(|got| *value == **got), || format!("{name} is {got:?}, expected {value}; {values:?}"))?;
    }
    let Some(expected) = step["output"].as_str() else { return Ok(()) };
    if text(step, "output_format") != "json" {
        let mut out = Vec::new();
        push_format(&format, event, buffers, &arena, &mut out);
        let got = String::from_utf8_lossy(&out);
        return expect(got == expected, || format!("{given}: {got}"));
    }
    let expected: Map<String, Value> = match serde_json::from_str(expected) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let got = if step["resolve_transformers"] == true {
        values.into_iter().map(|(name, value)| (name, value.into())).collect()
    } else {
        alert_fields(&format, event)
    };
    expect(got == expected, || format!("{given}: {got:?}"))
}

/// `output_fields` of an alert, without those that have no value.
fn alert_fields(format: &Format, event: &ReplayedEvent<'_>) -> Map<String, Value> {
    let style = Style {
        json: true,
        output: false,
        message: false,
        fields: true,
        tags: false,
        iso_time: false,
        buffers: Buffers::Printable,
        hostname: String::new(),
    };
    let parts = RuleParts { name: "rule", source: "syscall", format: format.clone(), ..RuleParts::default() };
    let form = RuleForm::new(parts, Priority::Debug, &style);
    let (arena, mut line) = (Bump::new(), Vec::new());
    Writer::new(style).write(&form, event, EventTime::default(), None, &arena, &mut line);
    let alert: Value = serde_json::from_slice(&line).expect("JSON");
    let Value::Object(members) = alert["output_fields"].clone() else { return Map::new() };
    members.into_iter().filter(|(key, value)| !value.is_null() && !key.starts_with("evt.time")).collect()
}
