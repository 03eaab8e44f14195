//! The line of an alert, as Falco writes it: text or JSON.
//!
//! What depends on the rule alone is prepared when rules load. A line is made in the loop that saw the event, because
//! its values lie in the ring.

use super::json;
use crate::event::clock::{Form, format_time};
use crate::event::fields;
use crate::event::text::{Buffers, push_text, to_json};
use crate::event::value::{Extract, FieldArg, FieldUse, Format as NumberFormat};
use crate::filter::format::{Format, Segment, Source};
use crate::rules::Priority;
use bumpalo::Bump;
use std::io::Write;

/// How lines are made.
#[derive(Clone, Debug)]
pub struct Style {
    pub json: bool,
    /// Properties of a JSON alert.
    pub output: bool,
    pub message: bool,
    pub fields: bool,
    pub tags: bool,
    /// Text alerts begin with an ISO 8601 time.
    pub iso_time: bool,
    pub buffers: Buffers,
    pub hostname: String,
}

/// A member of `output_fields`.
#[derive(Clone, Debug)]
enum Member {
    /// A field with its native type.
    Raw(FieldUse),
    /// Text made by a format.
    Formatted(Format),
}

/// One rule, ready to alert.
#[derive(Clone, Debug)]
pub struct RuleForm {
    pub name: String,
    pub priority: Priority,
    format: Format,
    /// Sorted by key.
    members: Vec<(Box<str>, Member)>,
    /// `"priority":...,"rule":...,"source":...` and, with tags, `,"tags":[...]`
    tail: Vec<u8>,
}

/// What a [`RuleForm`] is made of.
#[derive(Clone, Debug, Default)]
pub struct RuleParts<'r> {
    pub name: &'r str,
    pub source: &'r str,
    pub tags: &'r [String],
    /// The rule's output and everything appended to it.
    pub format: Format,
    /// Fields for `output_fields` only.
    pub raw_fields: Vec<(String, FieldUse)>,
    pub formatted_fields: Vec<(String, Format)>,
}

impl RuleForm {
    pub fn new(parts: RuleParts<'_>, priority: Priority, style: &Style) -> RuleForm {
        let mut members: Vec<(Box<str>, Member)> = Vec::new();
        for token in parts.format.tokens() {
            match &token.source {
                // The key is the text as it was written.
                Source::Field(field) => members.push((token.text.clone(), Member::Raw(field.clone()))),
                other => {
                    other.fields(&mut |field| members.push((field_text(field).into(), Member::Raw(field.clone()))))
                }
            }
        }
        members.extend(parts.raw_fields.into_iter().map(|(name, field)| (name.into(), Member::Raw(field))));
        let formatted = parts.formatted_fields.into_iter();
        members.extend(formatted.map(|(name, format)| (name.into(), Member::Formatted(format))));
        let time = if style.iso_time { "evt.time.iso8601" } else { "evt.time" };
        members.retain(|(key, _)| &**key != time);
        // What was given last under a name counts.
        members.reverse();
        members.sort_by(|a, b| a.0.cmp(&b.0));
        members.dedup_by(|a, b| a.0 == b.0);

        let mut tail = b"\"priority\":".to_vec();
        json::push_string(priority.as_str().as_bytes(), &mut tail);
        tail.extend_from_slice(b",\"rule\":");
        json::push_string(parts.name.as_bytes(), &mut tail);
        tail.extend_from_slice(b",\"source\":");
        json::push_string(parts.source.as_bytes(), &mut tail);
        if style.tags {
            let mut tags: Vec<&String> = parts.tags.iter().collect();
            tags.sort();
            tags.dedup();
            tail.extend_from_slice(b",\"tags\":[");
            for (i, tag) in tags.iter().enumerate() {
                if i > 0 {
                    tail.push(b',');
                }
                json::push_string(tag.as_bytes(), &mut tail);
            }
            tail.push(b']');
        }
        RuleForm { name: parts.name.to_owned(), priority, format: parts.format, members, tail }
    }
}

/// A field as it is written: `proc.aname[2]`.
fn field_text(field: &FieldUse) -> String {
    let name = fields::def(field.id).name;
    match &field.arg {
        FieldArg::None => name.to_owned(),
        FieldArg::Index(index) => format!("{name}[{index}]"),
        FieldArg::Key(key) => format!("{name}[{key}]"),
    }
}

/// When an event happened: the wall clock, and what local time differs from UTC.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventTime {
    /// ns since 1970.
    pub ns: u64,
    pub utc_offset: i32,
}

/// Makes lines. One per thread; its buffers keep their size.
#[derive(Debug)]
pub struct Writer {
    style: Style,
    message: Vec<u8>,
    head: Vec<u8>,
    member: Vec<u8>,
}

/// One more member of `output_fields`, known only when the event is there. The key must not be a field's.
pub type Extra<'e> = (&'static str, &'e [u8]);

impl Writer {
    pub fn new(style: Style) -> Writer {
        Writer { style, message: Vec::new(), head: Vec::new(), member: Vec::new() }
    }

    /// Appends the line of an alert to `line`, without a newline. `extra` is sorted into `output_fields`, and stands
    /// behind the message in text.
    pub fn write<'e, E: Extract>(
        &mut self,
        rule: &'e RuleForm,
        event: &'e E,
        time: EventTime,
        extra: Option<Extra<'_>>,
        arena: &'e Bump,
        line: &mut Vec<u8>,
    ) {
        self.message.clear();
        push_format(&rule.format, event, self.style.buffers, arena, &mut self.message);
        if let Some((name, value)) = extra {
            self.message.push(b' ');
            self.message.extend_from_slice(name.as_bytes());
            self.message.push(b'=');
            self.message.extend_from_slice(value);
        }
        self.head(rule.priority.as_str(), time, arena);
        if !self.style.json {
            json::push_escaped(&self.head, line);
            json::push_escaped(&self.message, line);
            return;
        }
        self.json_head(time, arena, line);
        if self.style.fields {
            self.members(rule, event, time, extra, arena, line);
        }
        line.extend_from_slice(&rule.tail);
        self.json_time(time, arena, line);
    }

    /// The line of an alert that no rule made. `members` must be sorted by name.
    pub(super) fn write_internal(
        &mut self,
        (rule, priority, message): (&str, Priority, &str),
        time: EventTime,
        members: &[(&str, serde_json::Value)],
        line: &mut Vec<u8>,
    ) {
        let arena = Bump::new();
        self.message.clear();
        self.message.extend_from_slice(message.as_bytes());
        if !members.is_empty() {
            for (i, (name, value)) in members.iter().enumerate() {
                let _ = write!(self.message, "{}{name}={value}", if i == 0 { " (" } else { " " });
            }
            self.message.push(b')');
        }
        self.head(priority.as_str(), time, &arena);
        if !self.style.json {
            json::push_escaped(&self.head, line);
            json::push_escaped(&self.message, line);
            return;
        }
        self.json_head(time, &arena, line);
        if self.style.fields {
            let members: serde_json::Map<String, serde_json::Value> =
                members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let _ = write!(line, "\"output_fields\":{},", serde_json::Value::Object(members));
        }
        line.extend_from_slice(b"\"priority\":");
        json::push_string(priority.as_str().as_bytes(), line);
        line.extend_from_slice(b",\"rule\":");
        json::push_string(rule.as_bytes(), line);
        line.extend_from_slice(b",\"source\":\"internal\"");
        self.json_time(time, &arena, line);
    }

    /// `<time>: <Priority> `
    fn head(&mut self, priority: &str, time: EventTime, arena: &Bump) {
        let form = if self.style.iso_time { Form::Iso8601 } else { Form::Time };
        self.head.clear();
        self.head.extend_from_slice(format_time(time.ns, time.utc_offset, form, true, arena));
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(priority.as_bytes());
        self.head.push(b' ');
    }

    fn json_head(&self, _time: EventTime, _arena: &Bump, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"hostname\":");
        json::push_string(self.style.hostname.as_bytes(), line);
        line.push(b',');
        if self.style.message {
            line.extend_from_slice(b"\"message\":");
            json::push_string(&self.message, line);
            line.push(b',');
        }
        if self.style.output {
            line.extend_from_slice(b"\"output\":\"");
            json::push_escaped(&self.head, line);
            json::push_escaped(&self.message, line);
            line.extend_from_slice(b"\",");
        }
    }

    fn json_time(&self, time: EventTime, arena: &Bump, line: &mut Vec<u8>) {
        let text = format_time(time.ns, 0, Form::Iso8601, true, arena);
        line.extend_from_slice(b",\"time\":\"");
        // The property has Z where the field has an offset.
        line.extend_from_slice(text.strip_suffix(b"+0000").unwrap_or(text));
        line.extend_from_slice(b"Z\"}");
    }

    fn members<'e, E: Extract>(
        &mut self,
        rule: &'e RuleForm,
        event: &'e E,
        time: EventTime,
        extra: Option<Extra<'_>>,
        arena: &'e Bump,
        line: &mut Vec<u8>,
    ) {
        line.extend_from_slice(b"\"output_fields\":{");
        let time_key = if self.style.iso_time { "evt.time.iso8601" } else { "evt.time" };
        // The two that are no fields of the rule, in the order of their keys.
        let mut others = [(time_key, None), extra.map_or(("", None), |(name, value)| (name, Some(value)))];
        others.sort();
        let mut others = others.into_iter().filter(|(name, _)| !name.is_empty()).peekable();
        let mut first = true;
        let mut key = |name: &str, line: &mut Vec<u8>| {
            if !std::mem::take(&mut first) {
                line.push(b',');
            }
            json::push_string(name.as_bytes(), line);
            line.push(b':');
        };
        let other_value = |value: Option<&[u8]>, line: &mut Vec<u8>| match value {
            Some(text) => json::push_string(text, line),
            None => drop(write!(line, "{}", time.ns)),
        };
        for (name, member) in &rule.members {
            while let Some((other, value)) = others.next_if(|(other, _)| *other < &**name) {
                key(other, line);
                other_value(value, line);
            }
            key(name, line);
            match member {
                // An absolute time, whatever its text form.
                Member::Raw(field) if is_event_time(field) => drop(write!(line, "{}", time.ns)),
                Member::Raw(field) => {
                    let value = event.extract(field, arena);
                    let value = to_json(value.as_ref(), fields::def(field.id), self.style.buffers);
                    drop(write!(line, "{value}"));
                }
                Member::Formatted(format) => {
                    self.member.clear();
                    push_format(format, event, self.style.buffers, arena, &mut self.member);
                    json::push_string(&self.member, line);
                }
            }
        }
        for (other, value) in others {
            key(other, line);
            other_value(value, line);
        }
        line.extend_from_slice(b"},");
    }
}

const fn is_event_time(field: &FieldUse) -> bool {
    const TIME: u16 = fields::id("evt.time").0;
    const ISO: u16 = fields::id("evt.time.iso8601").0;
    field.id.0 == TIME || field.id.0 == ISO
}

/// Appends a format's text for an event.
pub fn push_format<'e, E: Extract>(
    format: &'e Format,
    event: &'e E,
    buffers: Buffers,
    arena: &'e Bump,
    out: &mut Vec<u8>,
) {
    for segment in &format.segments {
        match segment {
            Segment::Text(text) => out.extend_from_slice(text.as_bytes()),
            Segment::Value(token) => {
                let start = out.len();
                // What a transformer gives is printed like a field of plain text.
                let (id, format) = match &token.source {
                    Source::Field(field) => (field.id, event.number_format(field)),
                    _ => (const { fields::id("proc.name") }, NumberFormat::Decimal),
                };
                push_text(token.source.evaluate(event, arena).as_ref(), fields::def(id), format, buffers, out);
                if let Some(width) = token.width {
                    out.resize(start + width as usize, b' ');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
