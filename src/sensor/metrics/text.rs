//! Samples as Prometheus reads them, and as members of a snapshot.

use super::Sample;
use super::table::{Kind, ROWS, Unit};
use crate::sensor::metric_name;
use serde_json::Value;
use std::fmt::Write;

/// Prometheus' text format 0.0.4: what is said of a metric stands once, before all of its samples.
pub fn prometheus(samples: &[Sample]) -> String {
    let mut text = String::new();
    for row in ROWS {
        let mut of_row = samples.iter().filter(|sample| sample.row.name == row.name).peekable();
        if of_row.peek().is_none() {
            continue;
        }
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {kind}", row.name, row.help, row.name);
        for sample in of_row {
            text.push_str(row.name);
            for (i, (name, value)) in sample.labels.iter().enumerate() {
                text.push(if i == 0 { '{' } else { ',' });
                let _ = write!(text, "{}=\"{}\"", label_name(name), escaped(value));
            }
            let _ = writeln!(text, "{} {}", if sample.labels.is_empty() { "" } else { "}" }, sample.value);
        }
    }
    text
}

/// What a label's name cannot have is `_`.
fn label_name(name: &str) -> String {
    let allowed = |(at, c): (usize, char)| {
        if c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit()) { c } else { '_' }
    };
    name.chars().enumerate().map(allowed).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The members of a snapshot. `megabytes`: memory in MB; `empty`: zeros and empty texts as well.
pub fn members(samples: &[Sample], megabytes: bool, empty: bool) -> Vec<(String, Value)> {
    let mut members = Vec::new();
    for sample in samples.iter().filter(|sample| !sample.row.native.is_empty()) {
        let first = sample.labels.first().map_or("", |(_, value)| value.as_str());
        let part = match sample.labels.first() {
            Some((name, _)) if name == "file_name" => first.to_owned(),
            _ => metric_name::of_rule(first),
        };
        let mut name = sample.row.native.replace("{}", &part);
        let rounded = |value: f64| (value * 10.0).round() / 10.0;
        let value = match sample.row.unit {
            Unit::Info => Value::from(sample.labels.last().map_or("", |(_, value)| value.as_str())),
            Unit::Ratio => Value::from(rounded(sample.value * 100.0)),
            Unit::Plain => number(sample.value),
            Unit::Bytes => {
                let kilobytes = name.ends_with("_kb");
                if megabytes {
                    let stem = name.trim_end_matches("_kb").trim_end_matches("_bytes");
                    name = format!("{stem}_mb");
                    Value::from(rounded(sample.value / f64::from(1 << 20)))
                } else {
                    number(if kilobytes { (sample.value / 1024.0).round() } else { sample.value })
                }
            }
        };
        if empty || !(value.as_f64() == Some(0.0) || value.as_str() == Some("")) {
            members.push((name, value));
        }
    }
    members
}

/// Whole numbers without a point.
pub(super) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value >= 0.0 && value < u64::MAX as f64 {
        Value::from(value as u64)
    } else {
        Value::from(value)
    }
}
