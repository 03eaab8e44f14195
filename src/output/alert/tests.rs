//! Lines of alerts, compared byte by byte.

use super::*;
use crate::event::value::Value;
use crate::filter::SyscallScheme;

/// An event with the values of a process that read a file.
struct Synthetic;

impl Extract for Synthetic {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        Some(match (fields::def(field.id).name, &field.arg) {
            ("proc.name", _) => Value::Str(b"cat"),
            ("proc.cmdline", _) => Value::Str(b"cat \"/etc/sha\xffdow\"\n"),
            ("proc.pid", _) => Value::I64(42),
            ("proc.aname", FieldArg::Index(2)) => Value::Str(b"sshd"),
            ("fd.name", _) => Value::Str(b"/etc/shadow"),
            ("fd.num", _) => Value::I64(3),
            ("evt.is_open_read", _) => Value::Bool(true),
            ("evt.time", _) => Value::Str(format_time(TIME.ns, TIME.utc_offset, Form::Time, true, arena)),
            _ => return None,
        })
    }

    fn event_code(&self) -> u16 {
        307
    }
}

/// 2026-11-23 16:05:09.000000042 UTC, an hour later by the local clock.
const TIME: EventTime = EventTime { ns: 1_795_449_909_000_000_042, utc_offset: 3600 };

fn style(json: bool) -> Style {
    Style {
        json,
        output: true,
        message: false,
        fields: true,
        tags: true,
        iso_time: false,
        buffers: Buffers::Printable,
        hostname: "host\"1".into(),
    }
}

fn format(text: &str) -> Format {
    Format::parse(text, &SyscallScheme).expect("a format")
}

fn parts(output: &str) -> RuleParts<'static> {
    RuleParts { name: "Read \"secrets\"", source: "syscall", format: format(output), ..RuleParts::default() }
}

fn line(parts: RuleParts<'_>, style: Style, extra: Option<Extra<'_>>) -> String {
    let rule = RuleForm::new(parts, Priority::Informational, &style);
    let arena = Bump::new();
    let mut line = Vec::new();
    Writer::new(style).write(&rule, &Synthetic, TIME, extra, &arena, &mut line);
    String::from_utf8(line).expect("always UTF-8")
}

#[test]
fn text_lines() {
    for (output, expected) in [
        ("read %fd.name by %proc.name", "read /etc/shadow by cat"),
        ("%proc.cmdline", "cat \\\"/etc/sha\u{fffd}dow\\\"\u{fffd}"),
        ("%user.name|%6proc.name|%2proc.name|", "<NA>|cat   |ca|"),
        ("%proc.aname[2] %proc.aname[3] %evt.is_open_read", "sshd <NA> true"),
        ("at %evt.time", "at 17:05:09.000000042"),
        ("%toupper(proc.name)", "CAT"),
    ] {
        let got = line(parts(output), style(false), None);
        assert_eq!(got, format!("17:05:09.000000042: Informational {expected}"), "{output}");
    }
    let iso = Style { iso_time: true, ..style(false) };
    assert_eq!(line(parts("x"), iso, None), "2026-11-23T16:05:09.000000042+0000: Informational x");
}

#[test]
fn json_lines() {
    let tags = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
    let parts = RuleParts { tags: &tags, ..parts("%fd.name %proc.name %user.name %toupper(proc.cmdline) %fd.num") };
    let got = line(parts, style(true), None);
    let message = "/etc/shadow cat <NA> CAT \\\"/ETC/SHA\u{fffd}DOW\\\"\u{fffd} 3";
    let expected = format!(
        concat!(
            r#"{{"hostname":"host\"1","output":"17:05:09.000000042: Informational {1}","output_fields":{{"#,
            r#""evt.time":1795449909000000042,"fd.name":"/etc/shadow","fd.num":3,"#,
            r#""proc.cmdline":"cat \"/etc/sha{0}dow\"{0}","proc.name":"cat","user.name":null}},"#,
            r#""priority":"Informational","rule":"Read \"secrets\"","source":"syscall","tags":["a","b"],"#,
            r#""time":"2026-11-23T16:05:09.000000042Z"}}"#
        ),
        '\u{fffd}', message
    );
    assert_eq!(got, expected);
    let keys: Vec<String> =
        serde_json::from_str::<serde_json::Map<_, _>>(&got).expect("JSON").keys().cloned().collect();
    assert!(keys.is_sorted());
}

#[test]
fn json_properties_can_be_left_out() {
    let bare = Style { output: false, message: true, fields: false, tags: false, ..style(true) };
    let expected = concat!(
        r#"{"hostname":"host\"1","message":"cat","priority":"Informational","rule":"Read \"secrets\"","#,
        r#""source":"syscall","time":"2026-11-23T16:05:09.000000042Z"}"#
    );
    assert_eq!(line(parts("%proc.name"), bare, None), expected);
    let iso = Style { iso_time: true, tags: false, output: false, ..style(true) };
    assert!(
        line(parts("%evt.time"), iso, None)
            .contains(r#""output_fields":{"evt.time":1795449909000000042,"evt.time.iso8601":1795449909000000042}"#)
    );
}

#[test]
fn added_fields_are_members_and_no_text() {
    let raw = FieldUse { id: fields::id("proc.pid"), arg: FieldArg::None };
    let parts = RuleParts {
        raw_fields: vec![("proc.pid".into(), raw)],
        formatted_fields: vec![("zz".into(), format("%proc.name:%user.name")), ("aa".into(), format("static"))],
        ..parts("x")
    };
    let got = line(parts, Style { tags: false, ..style(true) }, None);
    assert!(got.contains(r#": Informational x","#), "{got}");
    let members = r#"{"aa":"static","evt.time":1795449909000000042,"proc.pid":42,"zz":"cat:<NA>"}"#;
    assert!(got.contains(members), "{got}");
}

#[test]
fn the_other_path_is_shown() {
    let extra = Some(("fd.name.opened", &b"/etc/passwd"[..]));
    let text = line(parts("%fd.name"), style(false), extra);
    assert_eq!(text, "17:05:09.000000042: Informational /etc/shadow fd.name.opened=/etc/passwd");
    let json = line(parts("%fd.name %fd.num"), style(true), extra);
    let members =
        r#"{"evt.time":1795449909000000042,"fd.name":"/etc/shadow","fd.name.opened":"/etc/passwd","fd.num":3}"#;
    assert!(json.contains(members), "{json}");
}

#[test]
fn internal_alerts() {
    use crate::output::internal::{DROP, line};
    let message = (DROP, Priority::Debug, "Falco internal: syscall event drop. 3 system calls dropped in last second.");
    let mut members = [("n_evts", "10".into()), ("ebpf_enabled", "0".into()), ("n_drops", "3".into())];
    let mut text = Writer::new(style(false));
    let got = line(&mut text, message.0, message.1, message.2, TIME, &mut members);
    assert_eq!(
        String::from_utf8(got).expect("UTF-8"),
        format!("17:05:09.000000042: Debug {} (ebpf_enabled=\\\"0\\\" n_drops=\\\"3\\\" n_evts=\\\"10\\\")", message.2)
    );
    let got = line(&mut Writer::new(style(true)), message.0, message.1, message.2, TIME, &mut members);
    let json: serde_json::Value = serde_json::from_slice(&got).expect("JSON");
    assert_eq!(json["source"], "internal");
    assert_eq!(json["output_fields"]["n_drops"], "3");
    assert_eq!(json["rule"], DROP);
    assert!(json.get("tags").is_none());
}
