//! Evaluating the tree of a template.

use super::TemplateError;
use super::parse::{Node, Operand, Pipeline, Start};
use crate::hub::json::Json;
use std::cmp::Ordering;

pub const FUNCTIONS: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "len", "slice", "print", "printf", "println",
    "html", "js", "urlquery",
];

/// More text than any receiver of a message takes.
const OUTPUT_MAX: usize = 1 << 20;

fn fail<T>(what: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(what.into()))
}

pub fn render(nodes: &[Node], data: &Json) -> Result<String, TemplateError> {
    let mut state = State { variables: vec![("$".to_owned(), data.clone())], out: String::new() };
    state.run(nodes, data)?;
    Ok(state.out)
}

struct State {
    variables: Vec<(String, Json)>,
    out: String,
}

fn truth(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(text) => number(text) != 0.0,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(f64::NAN)
}

fn printed(value: &Json) -> String {
    match value {
        Json::Null => "<no value>".to_owned(),
        value => value.to_string(),
    }
}

impl State {
    fn run(&mut self, nodes: &[Node], dot: &Json) -> Result<(), TemplateError> {
        let scope = self.variables.len();
        for node in nodes {
            if self.out.len() > OUTPUT_MAX {
                return fail("the text becomes too long");
            }
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.out.push_str(&printed(&value));
                }
                Node::Assign(names, new, pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    let old = self.variables.iter_mut().rev().find(|(name, _)| *name == names[0]);
                    match old {
                        Some((_, old)) if !new => *old = value,
                        _ => self.variables.push((names[0].clone(), value)),
                    }
                }
                Node::If(condition, yes, no) => {
                    let branch = if truth(&self.pipeline(condition, dot)?) { yes } else { no };
                    self.run(branch, dot)?;
                }
                Node::With(pipeline, yes, no) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if truth(&value) { self.run(yes, &value)? } else { self.run(no, dot)? }
                }
                Node::Range { names, over, body, otherwise } => {
                    let items: Vec<(Json, Json)> = match self.pipeline(over, dot)? {
                        Json::Array(items) => items.into_iter().enumerate().map(|(i, item)| (index(i), item)).collect(),
                        Json::Object(fields) => fields.into_iter().map(|(k, v)| (Json::String(k), v)).collect(),
                        Json::Null => Vec::new(),
                        other => return fail(format!("'range' over '{other}'")),
                    };
                    if items.is_empty() {
                        self.run(otherwise, dot)?;
                    }
                    for (key, item) in items {
                        let inner = self.variables.len();
                        match names.as_slice() {
                            [] => {}
                            [value] => self.variables.push((value.clone(), item.clone())),
                            [name, value, ..] => {
                                self.variables.push((name.clone(), key));
                                self.variables.push((value.clone(), item.clone()));
                            }
                        }
                        self.run(body, &item)?;
                        self.variables.truncate(inner);
                    }
                }
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Json) -> Result<Json, TemplateError> {
        let mut last = None;
        for command in pipeline {
            let (first, arguments) = match command.split_first() {
                Some(split) => split,
                None => return fail("a value is missing"),
            };
            last = Some(match first {
                Operand::Function(name) => {
                    let mut values = Vec::with_capacity(arguments.len() + 1);
                    for argument in arguments {
                        values.push(self.operand(argument, dot)?);
                    }
                    values.extend(last);
                    call(name, values)?
                }
                _ if last.is_some() => return fail("behind '|' must stand a function"),
                value => self.operand(value, dot)?,
            });
        }
        last.ok_or_else(|| TemplateError("a value is missing".to_owned()))
    }

    fn operand(&self, operand: &Operand, dot: &Json) -> Result<Json, TemplateError> {
        match operand {
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Function(name) => call(name, Vec::new()),
            Operand::Path(Start::Dot, fields) => path(dot, fields),
            Operand::Path(Start::Pipeline(inner), fields) => path(&self.pipeline(inner, dot)?, fields),
            Operand::Path(Start::Variable(name), fields) => {
                match self.variables.iter().rev().find(|(known, _)| known == name) {
                    Some((_, value)) => path(value, fields),
                    None => fail(format!("there is no variable '{name}'")),
                }
            }
        }
    }
}

fn path(from: &Json, fields: &[String]) -> Result<Json, TemplateError> {
    let mut value = from;
    for name in fields {
        value = match value {
            Json::Object(object) => object.get(name).unwrap_or(&Json::Null),
            Json::Null => &Json::Null,
            Json::String(_) => return fail(format!("'{name}' of a text")),
            other => return fail(format!("'{name}' of '{other}'")),
        };
    }
    Ok(value.clone())
}

fn index(number: usize) -> Json {
    Json::Number(number.to_string().into())
}

fn position(value: &Json, length: usize) -> Result<usize, TemplateError> {
    match value {
        Json::Number(text) => match text.parse::<usize>() {
            Ok(at) if at <= length => Ok(at),
            _ => fail(format!("index {text} is out of range: there are {length}")),
        },
        other => fail(format!("'{other}' is no index")),
    }
}

fn compare(a: &Json, b: &Json) -> Result<Ordering, TemplateError> {
    let ordering = match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.parse::<i128>(), b.parse::<i128>()) {
            (Ok(a), Ok(b)) => Some(a.cmp(&b)),
            _ => number(a).partial_cmp(&number(b)),
        },
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    ordering.ok_or_else(|| TemplateError(format!("'{a}' and '{b}' cannot be compared")))
}

fn equal(a: &Json, b: &Json) -> bool {
    compare(a, b).map_or_else(|_| a == b, Ordering::is_eq)
}

/// Joined as Go's `Sprint` does: a blank between two values that are no texts.
fn sprint(values: &[Json]) -> String {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 && !matches!(value, Json::String(_)) && !matches!(values[i - 1], Json::String(_)) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

fn call(name: &str, mut values: Vec<Json>) -> Result<Json, TemplateError> {
    let least = match name {
        "print" | "println" | "html" | "js" | "urlquery" => 0,
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => 2,
        _ => 1,
    };
    if values.len() < least {
        return fail(format!("'{name}' needs more arguments"));
    }
    Ok(match name {
        "and" | "or" => {
            let wanted = name == "or";
            let at = values.iter().position(|value| truth(value) == wanted).unwrap_or(values.len() - 1);
            values.swap_remove(at)
        }
        "not" => Json::Bool(!truth(&values[0])),
        "eq" => Json::Bool(values[1..].iter().any(|other| equal(&values[0], other))),
        "ne" => Json::Bool(!equal(&values[0], &values[1])),
        "lt" => Json::Bool(compare(&values[0], &values[1])?.is_lt()),
        "le" => Json::Bool(compare(&values[0], &values[1])?.is_le()),
        "gt" => Json::Bool(compare(&values[0], &values[1])?.is_gt()),
        "ge" => Json::Bool(compare(&values[0], &values[1])?.is_ge()),
        "index" => {
            let mut keys = values.into_iter();
            let first = keys.next().unwrap_or(Json::Null);
            keys.try_fold(first, |value, key| match (value, key) {
                (Json::Object(mut object), Json::String(key)) => Ok(object.remove(&key).unwrap_or(Json::Null)),
                (Json::Array(mut items), key) => {
                    let at = position(&key, items.len().saturating_sub(1))?;
                    if at < items.len() { Ok(items.swap_remove(at)) } else { fail("index out of range: it is empty") }
                }
                (value, key) => fail(format!("'{key}' is no index of '{value}'")),
            })?
        }
        "len" => match &values[0] {
            Json::String(text) => index(text.len()),
            Json::Array(items) => index(items.len()),
            Json::Object(fields) => index(fields.len()),
            other => return fail(format!("'{other}' has no length")),
        },
        "slice" => {
            let length = match &values[0] {
                Json::String(text) => text.len(),
                Json::Array(items) => items.len(),
                other => return fail(format!("'{other}' cannot be sliced")),
            };
            let from = values.get(1).map_or(Ok(0), |value| position(value, length))?;
            let to = values.get(2).map_or(Ok(length), |value| position(value, length))?;
            match &values[0] {
                Json::String(text) => match text.get(from..to) {
                    Some(part) => Json::from(part),
                    None => return fail(format!("{from} to {to} is no part of the text")),
                },
                Json::Array(items) => match items.get(from..to) {
                    Some(part) => Json::Array(part.to_vec()),
                    None => return fail(format!("{from} to {to} is no part of the list")),
                },
                _ => Json::Null,
            }
        }
        "print" => Json::String(sprint(&values)),
        "println" => {
            let words: Vec<_> = values.iter().map(Json::to_string).collect();
            Json::String(words.join(" ") + "\n")
        }
        "printf" => Json::String(printf(&values[0], &values[1..])?),
        "html" => Json::String(escaped(&sprint(&values), |c| match c {
            '"' => Some("&#34;".to_owned()),
            '\'' => Some("&#39;".to_owned()),
            '&' => Some("&amp;".to_owned()),
            '<' => Some("&lt;".to_owned()),
            '>' => Some("&gt;".to_owned()),
            '\0' => Some("\u{fffd}".to_owned()),
            _ => None,
        })),
        "js" => Json::String(escaped(&sprint(&values), |c| match c {
            '\\' | '\'' | '"' => Some(format!("\\{c}")),
            '<' | '>' | '&' | '=' => Some(format!("\\u{:04X}", c as u32)),
            c if c.is_control() => Some(format!("\\u{:04X}", c as u32)),
            _ => None,
        })),
        "urlquery" => Json::String(sprint(&values).bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b' ' => out.push('+'),
                b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => out.push(b as char),
                b => out.push_str(&format!("%{b:02X}")),
            }
            out
        })),
        other => return fail(format!("there is no function '{other}'")),
    })
}

fn escaped(text: &str, replace: impl Fn(char) -> Option<String>) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match replace(c) {
            Some(text) => out.push_str(&text),
            None => out.push(c),
        }
        out
    })
}

/// Widths and precisions beyond this are a mistake.
const WIDTH_MAX: usize = 1000;

/// The verbs `%v %s %d %q %x %X %f %e %g %t %%` with flags `-` and `0`, a width and a precision.
fn printf(format: &Json, values: &[Json]) -> Result<String, TemplateError> {
    let Some(format) = format.text() else { return fail("the format of 'printf' must be a text") };
    let mut values = values.iter();
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zero) = (false, false);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | '#' | ' ')) {
            left |= flag == '-';
            zero |= flag == '0';
        }
        let mut digits = String::new();
        while let Some(digit) = chars.next_if(|c| c.is_ascii_digit() || *c == '.') {
            digits.push(digit);
        }
        let (width, precision) = digits.split_once('.').map_or((digits.as_str(), None), |(w, p)| (w, Some(p)));
        let size = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok().filter(|n| *n <= WIDTH_MAX) };
        let (Some(width), Some(precision)) = (size(width), precision.map_or(Some(None), |p| size(p).map(Some))) else {
            return fail(format!("'%{digits}' is too wide"));
        };
        let verb = chars.next().unwrap_or('!');
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else { return fail(format!("'%{verb}' has no argument")) };
        let text = match (verb, value) {
            ('v' | 's' | 't', value) => value.to_string(),
            ('d', Json::Number(text)) => text.to_string(),
            ('f' | 'e' | 'g', Json::Number(text)) => match verb {
                'f' => format!("{:.*}", precision.unwrap_or(6), number(text)),
                'e' => format!("{:.*e}", precision.unwrap_or(6), number(text)),
                _ => number(text).to_string(),
            },
            ('q', value) => format!("{:?}", value.to_string()),
            ('x' | 'X', value) => {
                let hex = match value {
                    Json::Number(text) => match text.parse::<i128>() {
                        Ok(number) => format!("{number:x}"),
                        Err(_) => return fail(format!("'%{verb}' of '{text}'")),
                    },
                    other => other.to_string().bytes().map(|b| format!("{b:02x}")).collect(),
                };
                if verb == 'X' { hex.to_uppercase() } else { hex }
            }
            (verb, value) => return fail(format!("'%{verb}' of '{value}' is not supported")),
        };
        let text: String = match (verb, precision) {
            ('s' | 'v', Some(most)) => text.chars().take(most).collect(),
            _ => text,
        };
        let padding = width.saturating_sub(text.chars().count());
        match (left, zero && matches!(value, Json::Number(_))) {
            (true, _) => out.extend(text.chars().chain(std::iter::repeat_n(' ', padding))),
            (false, true) => out.extend(std::iter::repeat_n('0', padding).chain(text.chars())),
            (false, false) => out.extend(std::iter::repeat_n(' ', padding).chain(text.chars())),
        }
    }
    Ok(out)
}
