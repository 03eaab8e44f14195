//! `scap.jsonl` of the conformance data set: old events brought to today's schema, and facts about replaying real captures.

use super::data::{self, Outcome, base64, root, text, unknown};
use bumpalo::Bump;
use falco_sensor::capture::{Converter, EventBuf, Reader, Replay, ReplayedEvent, Step, Writer};
use falco_sensor::event::fields;
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::types::EventCode;
use falco_sensor::event::value::{Extract, FieldArg, FieldUse};
use falco_sensor::filter::{Compiler, EvalContext, Matching, Program, RuleIndex, SyscallScheme, parse};
use serde_json::Value;
use std::collections::BTreeMap;

pub fn run(case: &Value) -> Outcome {
    let result = match text(case, "kind") {
        "convert" => convert(case),
        "capture_counts" => counts(case),
        "capture_event" => present(case),
        "capture_fields" => fields_of_matching(case),
        "capture_threads" => threads(case),
        "capture_filtered_dump" => filtered_dump(case),
        kind => return unknown("kind", kind),
    };
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

// ---- events ---------------------------------------------------------------------------------------------------------

fn number(value: &Value) -> i128 {
    value.as_i64().map(i128::from).or(value.as_u64().map(i128::from)).expect("a number")
}

fn parameter(param: &Value) -> Vec<u8> {
    if param["empty"] == true || (param["value"].is_null() && param["bytes"].is_null()) {
        return Vec::new();
    }
    if let Some(bytes) = param["bytes"].as_str() {
        return base64(bytes);
    }
    let kind = text(param, "type");
    let width = match kind {
        "PT_CHARBUF" | "PT_FSPATH" | "PT_FSRELPATH" => {
            let mut bytes = data::bytes(&param["value"]);
            bytes.push(0);
            return bytes;
        }
        "PT_INT8" | "PT_UINT8" | "PT_FLAGS8" | "PT_ENUMFLAGS8" | "PT_SIGTYPE" | "PT_L4PROTO" | "PT_SOCKFAMILY" => 1,
        "PT_INT16" | "PT_UINT16" | "PT_FLAGS16" | "PT_ENUMFLAGS16" | "PT_SYSCALLID" | "PT_PORT" => 2,
        "PT_INT32" | "PT_UINT32" | "PT_FLAGS32" | "PT_ENUMFLAGS32" | "PT_UID" | "PT_GID" | "PT_MODE" | "PT_SIGSET"
        | "PT_BOOL" | "PT_FD32" | "PT_PID32" => 4,
        "PT_INT64" | "PT_UINT64" | "PT_ERRNO" | "PT_FD" | "PT_PID" | "PT_RELTIME" | "PT_ABSTIME" => 8,
        other => panic!("a value of {other} in the data set"),
    };
    number(&param["value"]).to_le_bytes()[..width].to_vec()
}

fn event(case: &Value) -> EventBuf {
    let code = EventCode(case["code"].as_u64().expect("a code") as u16);
    let mut event = EventBuf::new(code, case["ts"].as_u64().unwrap_or(0), case["tid"].as_i64().unwrap_or(0));
    case["params"].as_array().into_iter().flatten().for_each(|param| event.push(&parameter(param)));
    event
}

fn same(what: &str, got: &falco_sensor::capture::Event<'_>, expected: &Value) -> Result<(), String> {
    let expected = event(expected);
    let expected = expected.view(0);
    let params = |e: &falco_sensor::capture::Event<'_>| e.params().map(<[u8]>::to_vec).collect::<Vec<_>>();
    let parts = |e: &falco_sensor::capture::Event<'_>| (e.code, e.time, e.tid, params(e));
    if parts(got) == parts(&expected) {
        return Ok(());
    }
    Err(format!("{what}: expected {:?}, got {:?}", parts(&expected), parts(got)))
}

// ---- conversion -----------------------------------------------------------------------------------------------------

fn convert(case: &Value) -> Result<(), String> {
    let mut converter = Converter::default();
    for step in case["steps"].as_array().into_iter().flatten() {
        match text(step, "check") {
            "convert" | "convertibility" => {
                let given = event(&step["input"]);
                let result = converter.step(&given.view(0));
                let expected = text(step, "result");
                let name = match result {
                    Ok(Step::Drop) => "drop",
                    Ok(Step::Pass | Step::Done) => "pass",
                    Ok(Step::Continue) => "continue",
                    Err(_) => "error",
                };
                if name != expected {
                    return Err(format!("expected {expected}, got {name}"));
                }
                if !step["output"].is_null() {
                    let made = matches!(result, Ok(Step::Done | Step::Continue));
                    let output = if made { converter.result() } else { given.view(0) };
                    same("step", &output, &step["output"])?;
                }
            }
            "convert_fully" => {
                let given = event(&step["input"]);
                let output = converter.convert(given.view(0)).map_err(|e| e.to_string())?;
                same("whole", &output.ok_or("dropped")?, &step["output"])?;
            }
            "enter_event_kept" => {
                let expected = &step["event"];
                let kept = converter.kept(expected["tid"].as_i64().unwrap_or(0)).ok_or("not kept")?;
                same("kept", &kept, expected)?;
            }
            other => return Err(format!("check {other} is not known")),
        }
    }
    Ok(())
}

// ---- captures -------------------------------------------------------------------------------------------------------

fn path(case: &Value) -> std::path::PathBuf {
    root().expect("there are cases").join(text(case, "capture"))
}

fn counts(case: &Value) -> Result<(), String> {
    let mut reader = Reader::open(&path(case)).map_err(|e| e.to_string())?;
    let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
    while let Some(event) = reader.next().map_err(|e| e.to_string())? {
        *counts.entry(event.code.0).or_default() += 1;
    }
    // By the names of the data set; these are all that it asks for.
    let code = |name: &str| match name {
        "PPME_SYSCALL_FUTEX_E" => Ok(64),
        "PPME_SYSCALL_FUTEX_X" => Ok(65),
        "PPME_SYSCALL_NANOSLEEP_E" => Ok(134),
        "PPME_SYSCALL_NANOSLEEP_X" => Ok(135),
        other => Err(format!("the code of {other} is not known")),
    };
    let expected = case["expected"]["event_type_counts_after_conversion"].as_object().ok_or("no counts")?;
    for (name, count) in expected {
        let got = counts.get(&code(name)?).copied().unwrap_or(0);
        if count.as_u64() != Some(got) {
            return Err(format!("{name}: expected {count}, got {got}"));
        }
    }
    Ok(())
}

fn present(case: &Value) -> Result<(), String> {
    for expected in case["expected"]["events_present"].as_array().into_iter().flatten() {
        let mut reader = Reader::open(&path(case)).map_err(|e| e.to_string())?;
        let mut found = false;
        while let Some(event) = reader.next().map_err(|e| e.to_string())? {
            found |= same("", &event, expected).is_ok();
        }
        if !found {
            return Err(format!("no event is {expected}"));
        }
    }
    Ok(())
}

fn filter(text: &str) -> Result<Program, String> {
    let expr = parse(text).map_err(|e| e.to_string())?;
    let mut compiler = Compiler::new(&SyscallScheme, Matching::All);
    compiler.add(RuleIndex(0), &expr).map_err(|e| e.to_string())?;
    Ok(compiler.finish())
}

fn holds(program: &Program, event: &ReplayedEvent<'_>) -> bool {
    let mut matched = false;
    program.evaluate(event, &mut EvalContext::new(), &Bump::new(), |_| matched = true);
    matched
}

/// What an output format of one field makes of an event.
fn formatted(text: &str, event: &ReplayedEvent<'_>) -> Result<String, String> {
    let id = text.strip_prefix("*%").and_then(fields::lookup).ok_or_else(|| format!("{text} is no field"))?;
    let field = FieldUse { id, arg: FieldArg::None };
    let arena = Bump::new();
    let mut out = Vec::new();
    let value = event.extract(&field, &arena);
    push_text(value.as_ref(), fields::def(id), event.number_format(&field), Buffers::Printable, &mut out);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn one_check(wanted: &Value, event: &ReplayedEvent<'_>) -> Result<(), String> {
    let num = event.event().num;
    if let Some(text) = wanted["filter"].as_str() {
        return if holds(&filter(text)?, event) { Ok(()) } else { Err(format!("event {num}: {text} does not hold")) };
    }
    let format = text(wanted, "format");
    let got = formatted(format, event)?;
    // Services have their numbers here; where there is a name only, the end with the number is compared by what stands before.
    let accepted = |one: &str| one == got || service(one) == got;
    if wanted["one_of"].as_array().into_iter().flatten().filter_map(Value::as_str).any(accepted) {
        return Ok(());
    }
    Err(format!("event {num}: {format} is {got}, expected one of {}", wanted["one_of"]))
}

/// A text that ends in a service's name, with its number ("numeric ports are acceptable where names are listed").
fn service(text: &str) -> String {
    let names = [("domain", "53"), ("http", "80"), ("dbm", "2345"), ("search-agent", "1234")];
    for (name, number) in names {
        if let Some(start) = text.strip_suffix(name) {
            return format!("{start}{number}");
        }
    }
    text.to_owned()
}

fn fields_of_matching(case: &Value) -> Result<(), String> {
    let program = filter(text(case, "filter"))?;
    let expected = &case["expected"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (every, first) = (list(&expected["every_matching_event"]), &expected["from_first_event_of_type"]);
    let starters: Vec<String> = list(&first["types"]).iter().filter_map(|t| Some(t.as_str()?.to_owned())).collect();
    let in_order = list(&expected["consecutive_send_or_sendto_events"]);
    let (mut started, mut sends) = (false, 0);
    let mut replay = Replay::open(&path(case), 0).map_err(|e| e.to_string())?;
    while let Some(event) = replay.next().map_err(|e| e.to_string())? {
        if !holds(&program, &event) {
            continue;
        }
        every.iter().try_for_each(|wanted| one_check(wanted, &event))?;
        let name = event.code().info().name;
        started |= starters.iter().any(|s| s == name);
        if started {
            list(&first["checks"]).iter().try_for_each(|wanted| one_check(wanted, &event))?;
        }
        if matches!(name, "send" | "sendto") {
            if let Some(wanted) = in_order.get(sends) {
                one_check(wanted, &event)?;
            }
            sends += 1;
        }
    }
    // What is said of every matching event may be said of none: one filter of the data set names a process that the capture does
    // not describe, and the original finds no event either.
    if sends < in_order.len() { Err(format!("{sends} events send")) } else { Ok(()) }
}

/// What is known of threads when the file's first event is read.
fn threads(case: &Value) -> Result<(), String> {
    let mut replay = Replay::open(&path(case), 0).map_err(|e| e.to_string())?;
    replay.next().map_err(|e| e.to_string())?;
    let known = replay.state().threads();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (key, wanted) in case["expected"].as_object().into_iter().flatten() {
        // By thread number, or one after the other.
        let entries: Vec<(Option<i64>, &Value)> = match (key.as_str(), wanted) {
            ("count" | "n_threads" | "thread_count", wanted) => {
                if wanted.as_u64() != Some(known.len() as u64) {
                    return Err(format!("{key}: expected {wanted}, got {}", known.len()));
                }
                continue;
            }
            ("threads", Value::Object(map)) => map.iter().map(|(tid, what)| (tid.parse().ok(), what)).collect(),
            ("threads", Value::Array(list)) => list.iter().map(|what| (what["tid"].as_i64(), what)).collect(),
            _ => return Err(format!("expectation '{key}' is not known to this runner")),
        };
        for (tid, what) in entries {
            let thread = tid.and_then(|tid| known.by_tid(tid)).ok_or_else(|| format!("no thread {tid:?}"))?;
            let all = serde_json::json!({
                "tid": thread.tid, "pid": thread.pid(), "ptid": thread.ptid(), "sid": thread.sid, "pgid": thread.pgid,
                "vtid": thread.vtid, "vpid": thread.vpid, "vpgid": thread.vpgid,
                "uid": thread.uid, "gid": thread.gid, "loginuid": thread.loginuid, "tty": thread.tty,
                "comm": text(thread.comm_text()), "name": text(thread.comm_text()),
                "exe": text(thread.image.exe()), "exepath": text(thread.image.exepath()),
                "exe_path": text(thread.image.exepath()), "cwd": text(&thread.cwd), "root": text(&thread.root),
            });
            let stated: Vec<(&str, &Value)> = match what {
                Value::Object(map) => map.iter().map(|(key, value)| (key.as_str(), value)).collect(),
                name => vec![("comm", name)],
            };
            for (key, wanted) in stated {
                let got = all.get(key).ok_or_else(|| format!("'{key}' of a thread is not known to this runner"))?;
                if got != wanted {
                    return Err(format!("thread {tid:?}: {key}: expected {wanted}, got {got}"));
                }
            }
        }
    }
    Ok(())
}

/// Writes the events that a filter lets through to another capture, and reads that.
fn filtered_dump(case: &Value) -> Result<(), String> {
    let program = filter(text(case, "filter"))?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("dump.scap");
    let failed = |e: std::io::Error| e.to_string();
    let mut metadata = Reader::open(&path(case)).map_err(|e| e.to_string())?;
    let mut writer = Writer::create(&file).map_err(failed)?;
    writer.section(&metadata.take_metadata()).map_err(failed)?;
    let mut written = 0u64;
    let mut replay = Replay::open(&path(case), 0).map_err(|e| e.to_string())?;
    while let Some(event) = replay.next().map_err(|e| e.to_string())? {
        if holds(&program, &event) {
            writer.event(event.event()).map_err(failed)?;
            written += 1;
        }
    }
    writer.finish().map_err(failed)?;
    let (mut read, mut matching) = (0u64, 0u64);
    let mut replay = Replay::open(&file, 0).map_err(|e| e.to_string())?;
    while let Some(event) = replay.next().map_err(|e| e.to_string())? {
        read += 1;
        matching += u64::from(holds(&program, &event));
    }
    if read != written {
        return Err(format!("{written} events written, {read} read"));
    }
    for (key, wanted) in case["expected"].as_object().into_iter().flatten() {
        let ok = match key.as_str() {
            "count" | "events" | "n_events" | "event_count" => wanted.as_u64() == Some(read),
            "n_matching" | "matching" => wanted.as_u64() == Some(matching),
            "all_match" | "every_event_matches" => *wanted == (matching == read),
            _ => return Err(format!("expectation '{key}' is not known to this runner")),
        };
        if !ok {
            return Err(format!("{key}: expected {wanted}; {read} events, {matching} match"));
        }
    }
    Ok(())
}
