//! Which alerts a request means: its parameters as a [`Filter`].
//!
//! Falcosidekick UI's parameters keep their meaning. What is not understood is refused with a sentence; nothing is
//! left out silently.

use super::Failed;
use crate::hub::alert::{Priority, Time};
use crate::hub::spool::now;
use crate::hub::store::Filter;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

/// The parameters of a question.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    pub filter: Filter,
    pub pretty: bool,
    /// From 1.
    pub page: usize,
    pub limit: usize,
    /// Parameters that only some endpoints have, by name.
    own: Vec<(String, String)>,
}

/// Alerts in one answer.
pub const LIMIT_MAX: usize = 10_000;
const LIMIT: usize = 100;
/// Parameters that belong to an endpoint. Each is looked at there.
const OWN: &[&str] = &["format", "minutes", "buckets", "groups"];

impl Ask {
    pub fn own(&self, name: &str) -> Option<&str> {
        self.own.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn parse(parameters: Vec<(String, String)>) -> Result<Ask, String> {
        let mut ask = Ask { page: 1, limit: LIMIT, ..Ask::default() };
        let filter = &mut ask.filter;
        for (name, value) in parameters {
            if value.is_empty() || value == "null" {
                continue;
            }
            match name.as_str() {
                "priority" => {
                    for name in list(&value) {
                        match Priority::from_name(&name) {
                            Priority::Unknown => return Err(format!("priority: '{name}' is none")),
                            priority => filter.priorities.push(priority),
                        }
                    }
                }
                "rule" => filter.rules.extend(list(&value)),
                "notrule" => filter.not_rules.extend(list(&value)),
                "source" => filter.sources.extend(list(&value)),
                "hostname" => filter.hostnames.extend(list(&value)),
                "tags" => filter.tags.extend(list(&value)),
                "filter" => filter.text = value,
                "field" => match value.split_once('=') {
                    Some((name, value)) if !name.is_empty() => filter.fields.push((name.to_owned(), value.to_owned())),
                    _ => return Err(format!("field: '{value}' is not of the form name=value")),
                },
                "since" => {
                    let seconds = since(&value).ok_or_else(|| {
                        format!("since: '{value}' is no duration; write a number and s, min, h, d, w, M or y")
                    })?;
                    filter.from = Some(now().saturating_sub(seconds.saturating_mul(1000)).saturating_mul(1_000_000));
                }
                "from" => filter.from = Some(time(&name, &value)?),
                "to" => filter.to = Some(time(&name, &value)?),
                "acknowledged" => filter.acknowledged = Some(boolean(&name, &value)?),
                "pretty" => ask.pretty = boolean(&name, &value)?,
                "page" => ask.page = number(&name, &value)?.max(1),
                "limit" => {
                    ask.limit = match number(&name, &value)? {
                        0 => LIMIT,
                        limit if limit <= LIMIT_MAX => limit,
                        _ => return Err(format!("limit: at most {LIMIT_MAX}; use page, or export")),
                    }
                }
                other if OWN.contains(&other) => ask.own.push((name, value)),
                _ => return Err(format!("there is no parameter '{name}'")),
            }
        }
        Ok(ask)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Ask {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Ask, Failed> {
        let parameters: Query<Vec<(String, String)>> =
            Query::try_from_uri(&parts.uri).map_err(|error| Failed::bad(error.body_text()))?;
        Ask::parse(parameters.0).map_err(Failed::bad)
    }
}

/// What commas separate; `\,` is a comma.
fn list(value: &str) -> Vec<String> {
    let (mut items, mut item) = (Vec::new(), String::new());
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next_if_eq(&',').is_some() => item.push(','),
            ',' => items.push(std::mem::take(&mut item)),
            letter => item.push(letter),
        }
    }
    items.push(item);
    items.retain(|item| !item.is_empty());
    items
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{name}: '{value}' is neither true nor false"))
}

fn number(name: &str, value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("{name}: '{value}' is no number"))
}

/// Seconds of Falcosidekick UI's durations.
fn since(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "s" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "W" | "week" | "weeks" => 7 * 86_400,
        "M" | "month" | "months" => 30 * 86_400,
        "y" | "year" | "years" => 365 * 86_400,
        _ => return None,
    };
    text[..digits].parse::<i64>().ok()?.checked_mul(unit)
}

/// Nanoseconds since 1970 of RFC 3339 or of milliseconds since 1970.
fn time(name: &str, value: &str) -> Result<i64, String> {
    let milliseconds = value.parse::<i64>().ok().and_then(|number| number.checked_mul(1_000_000));
    milliseconds
        .or_else(|| Time::parse(value).map(Time::nanoseconds))
        .ok_or_else(|| format!("{name}: '{value}' is no time; write 2026-01-31T12:00:00Z, or milliseconds since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(parameters: &[(&str, &str)]) -> Result<Ask, String> {
        Ask::parse(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn parameters() {
        let asked = ask(&[
            ("priority", "info,Critical"),
            ("rule", r"A,B\, with a comma"),
            ("tags", "null"),
            ("field", "proc.cmdline=a=b"),
            ("page", "0"),
            ("limit", "0"),
            ("to", "1970-01-01T00:00:01Z"),
        ])
        .expect("valid");
        assert_eq!(asked.filter.priorities, [Priority::Informational, Priority::Critical]);
        assert_eq!(asked.filter.rules, ["A", "B, with a comma"]);
        assert!(asked.filter.tags.is_empty());
        assert_eq!(asked.filter.fields, [("proc.cmdline".to_owned(), "a=b".to_owned())]);
        assert_eq!((asked.page, asked.limit, asked.filter.to), (1, 100, Some(1_000_000_000)));
        for wrong in [
            ("priority", "high"),
            ("since", "5 parsecs"),
            ("limit", "10001"),
            ("field", "x"),
            ("fitler", "x"),
            ("from", "yesterday"),
            ("acknowledged", "1"),
        ] {
            let error = ask(&[wrong]).expect_err(wrong.0);
            assert!(error.contains(wrong.0) || error.contains(wrong.1), "{error}");
        }
    }

    #[test]
    fn durations_of_falcosidekick_ui() {
        for (text, expected) in [
            ("30", Some(30)),
            ("15min", Some(900)),
            ("1M", Some(2_592_000)),
            ("2y", Some(63_072_000)),
            ("2w", Some(1_209_600)),
            ("h", None),
            ("1x", None),
            ("é", None),
        ] {
            assert_eq!(since(text), expected, "{text}");
        }
    }
}
