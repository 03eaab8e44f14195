//! Values of keys: reading them from YAML, from the environment and from defaults, by the type the table gives.
//!
//! Invariant: a [`Value`] fits the type of its key, so whoever asks for it need not check again.

use super::keys::{Type, Unit};
use crate::filter::glob::Glob;
use crate::hub::alert::{Alert, Priority};
use crate::rules::yaml::{Node, Yaml};
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
    Priority(Priority),
    Duration(Duration),
    List(Vec<String>),
    Map(Vec<(String, String)>),
    Match(Match),
}

/// Why a text is no value of a type.
type Reason = String;

fn fits(kind: Type, text: &str) -> Result<Value, Reason> {
    let text = text.trim();
    let expected = |what: &str| format!("'{text}' is not {what}");
    Ok(match kind {
        Type::Text | Type::Secret => Value::Text(text.to_owned()),
        Type::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" | "on" | "y" => Value::Bool(true),
            "" | "false" | "f" | "0" | "no" | "off" | "n" => Value::Bool(false),
            _ => return Err(expected("true or false")),
        },
        Type::Int if text.is_empty() => Value::Int(0),
        Type::Int => Value::Int(text.parse().map_err(|_| expected("a whole number"))?),
        Type::Priority if text.is_empty() => Value::Priority(Priority::Unknown),
        Type::Priority => match Priority::from_name(text) {
            Priority::Unknown => {
                return Err(expected(
                    "a priority: emergency, alert, critical, error, warning, notice, informational or debug",
                ));
            }
            priority => Value::Priority(priority),
        },
        Type::Duration(unit) => {
            Value::Duration(duration(text, unit).ok_or_else(|| expected("a duration such as 30s, 5m, 36h or 7d"))?)
        }
        Type::Size => Value::Int(size(text).ok_or_else(|| expected("a size such as 512, 64MiB or 2GiB"))?),
        Type::Choice(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
            Some(word) => Value::Text((*word).to_owned()),
            None => return Err(expected(&format!("one of: {}", words.join(", ")))),
        },
        Type::List => Value::List(text.split(',').map(|i| i.trim().to_owned()).filter(|i| !i.is_empty()).collect()),
        Type::Map => {
            let mut map = Vec::new();
            for entry in text.split(',').filter(|entry| !entry.trim().is_empty()) {
                let (key, value) = entry
                    .split_once(':')
                    .ok_or_else(|| format!("'{}' is not key:value; entries are separated by commas", entry.trim()))?;
                map.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            Value::Map(map)
        }
        Type::Match if text.is_empty() => Value::Match(Match::default()),
        Type::Match => return Err("patterns are given as a map in the file".to_owned()),
    })
}

/// From the table's default. A default that does not fit is a fault of the table, which a test looks for.
pub fn default(kind: Type, text: &str) -> Result<Value, Reason> {
    fits(kind, text)
}

/// From an environment variable; `%NAME` as a map's value is that variable.
pub fn from_environment(kind: Type, text: &str) -> Result<Value, Reason> {
    let mut value = fits(kind, text)?;
    if let Value::Map(map) = &mut value {
        for (_, value) in map {
            if let Some(name) = value.strip_prefix('%') {
                *value = std::env::var(name).unwrap_or_default();
            }
        }
    }
    Ok(value)
}

/// From a configuration file.
pub fn from_yaml(kind: Type, node: &Node) -> Result<Value, (Reason, Node)> {
    let wrong = |what: &str| Err((what.to_owned(), node.clone()));
    match (kind, &node.value) {
        (_, Yaml::Null) => fits(kind, "").map_err(|reason| (reason, node.clone())),
        (Type::List, Yaml::Sequence(items)) => {
            let text =
                |item: &Node| item.text().map(str::to_owned).ok_or(("a list of texts is wanted".into(), item.clone()));
            items.iter().map(text).collect::<Result<_, _>>().map(Value::List)
        }
        (Type::Map, Yaml::Mapping(entries)) => {
            let mut map = Vec::new();
            for (key, value) in entries {
                match (key.text(), &value.value) {
                    (Some(key), Yaml::Scalar { text, .. }) => map.push((key.to_owned(), text.clone())),
                    (Some(key), Yaml::Null) => map.push((key.to_owned(), String::new())),
                    _ => return Err(("a map of texts is wanted".to_owned(), value.clone())),
                }
            }
            Ok(Value::Map(map))
        }
        (Type::Match, _) => Match::from_yaml(node).map(Value::Match),
        (_, Yaml::Scalar { text, .. }) => fits(kind, text).map_err(|reason| (reason, node.clone())),
        (Type::List, _) => wrong("a list is wanted"),
        (Type::Map, _) => wrong("a map is wanted"),
        _ => wrong("one value is wanted, not a list or a map"),
    }
}

/// Several numbers with units may follow one another, as in `1h30m`.
fn duration(text: &str, unit: Unit) -> Option<Duration> {
    let bare = match unit {
        Unit::Milliseconds => 1.0,
        Unit::Seconds => 1e3,
        Unit::Minutes => 60e3,
    };
    if text.is_empty() {
        return Some(Duration::ZERO);
    }
    let mut milliseconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (name, tail) = tail.split_at(letters);
        milliseconds += number.parse::<f64>().ok()?
            * match name {
                "" if number.len() == text.len() => bare,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 60e3,
                "h" => 3600e3,
                "d" => 86_400e3,
                "w" => 7.0 * 86_400e3,
                _ => return None,
            };
        rest = tail;
    }
    Duration::try_from_secs_f64(milliseconds / 1e3).ok()
}

fn size(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// Patterns over an alert. A list that is empty says nothing; all that are not must have a pattern that fits.
#[derive(Clone, Debug, Default)]
pub struct Match {
    rules: Vec<Glob>,
    priorities: Vec<Priority>,
    sources: Vec<Glob>,
    tags: Vec<Glob>,
    hostnames: Vec<Glob>,
    fields: Vec<(String, Vec<Glob>)>,
}

impl Match {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.priorities.is_empty()
            && self.sources.is_empty()
            && self.tags.is_empty()
            && self.hostnames.is_empty()
            && self.fields.is_empty()
    }

    pub fn fits(&self, alert: &Alert) -> bool {
        let any = |patterns: &[Glob], text: &str| patterns.iter().any(|p| p.is_match(text.as_bytes()));
        let one = |patterns: &[Glob], text: &str| patterns.is_empty() || any(patterns, text);
        one(&self.rules, &alert.rule)
            && (self.priorities.is_empty() || self.priorities.contains(&alert.priority))
            && one(&self.sources, &alert.source)
            && (self.tags.is_empty() || alert.tags.iter().any(|tag| any(&self.tags, tag)))
            && one(&self.hostnames, &alert.hostname)
            && self.fields.iter().all(|(name, patterns)| {
                alert.output_fields.get(name).is_some_and(|value| any(patterns, &value.to_string()))
            })
    }

    fn from_yaml(node: &Node) -> Result<Match, (Reason, Node)> {
        const KEYS: &str = "rules, priorities, sources, tags, hostnames, fields";
        let mut found = Match::default();
        let Yaml::Mapping(entries) = &node.value else {
            return Err((format!("a map is wanted, with the keys: {KEYS}"), node.clone()));
        };
        for (key, value) in entries {
            let globs = || -> Result<Vec<Glob>, (Reason, Node)> {
                Ok(texts(value)?.iter().map(|text| Glob::new(text.as_bytes())).collect())
            };
            match key.text().unwrap_or_default().to_ascii_lowercase().as_str() {
                "rules" | "rule" => found.rules = globs()?,
                "sources" | "source" => found.sources = globs()?,
                "tags" | "tag" => found.tags = globs()?,
                "hostnames" | "hostname" => found.hostnames = globs()?,
                "priorities" | "priority" => {
                    for text in texts(value)? {
                        match Priority::from_name(&text) {
                            Priority::Unknown => {
                                return Err((format!("'{text}' is not a priority"), value.clone()));
                            }
                            priority => found.priorities.push(priority),
                        }
                    }
                }
                "fields" => {
                    let Some(fields) = value.mapping() else {
                        return Err(("a map of field names to patterns is wanted".to_owned(), value.clone()));
                    };
                    for (name, patterns) in fields {
                        let patterns = texts(patterns)?.iter().map(|text| Glob::new(text.as_bytes())).collect();
                        found.fields.push((name.text().unwrap_or_default().to_owned(), patterns));
                    }
                }
                other => return Err((format!("'{other}' is none of: {KEYS}"), key.clone())),
            }
        }
        Ok(found)
    }
}

/// One text or a list of them.
fn texts(node: &Node) -> Result<Vec<String>, (Reason, Node)> {
    match &node.value {
        Yaml::Scalar { text, .. } => Ok(vec![text.clone()]),
        Yaml::Sequence(items) => items
            .iter()
            .map(|i| i.text().map(str::to_owned).ok_or(("a text is wanted".to_owned(), i.clone())))
            .collect(),
        _ => Err(("a text or a list of texts is wanted".to_owned(), node.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, expected) in
            [("", 0), ("5", 5000), ("1h30m", 5_400_000), ("250ms", 250), ("7d", 604_800_000), ("0", 0)]
        {
            assert_eq!(duration(text, Unit::Seconds), Some(Duration::from_millis(expected)), "{text}");
        }
        for text in ["x", "5 s", "1h5", "h", "-1s"] {
            assert_eq!(duration(text, Unit::Seconds), None, "{text}");
        }
        assert_eq!((size("64MiB"), size("2 GB"), size("x")), (Some(64 << 20), Some(2_000_000_000), None));
        assert_eq!(size("99999999999999GiB"), None);
    }

    #[test]
    fn maps_of_the_environment_keep_colons() {
        let Ok(Value::Map(map)) = from_environment(Type::Map, "a:b, url:http://x:1/ ,c:") else { panic!("a map") };
        let expected = [("a", "b"), ("url", "http://x:1/"), ("c", "")];
        assert_eq!(map, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(from_environment(Type::Map, "a").is_err());
    }

    #[test]
    fn patterns() {
        let text = "{rules: 'Test *', tags: [x, exam*], priorities: debug, fields: {proc.name: [sh, falco*]}}";
        let node = crate::rules::yaml::parse(text).expect("valid").remove(0);
        let found = Match::from_yaml(&node).expect("valid");
        let mut alert = Alert::test();
        assert!(found.fits(&alert));
        alert.output_fields.remove("proc.name");
        assert!(!found.fits(&alert), "a field that is absent fits nothing");
        assert!(Match::default().is_empty() && Match::default().fits(&alert));
    }
}
