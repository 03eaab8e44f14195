//! An alert: its model, and reading it from Falco's JSON.
//!
//! Invariant: an [`Alert`] that [`decode`] returned has a known priority, a rule, a time and at least one field. What
//! cannot become one is refused with a sentence that names the key.

use super::json::{Entries, Fields, Json};
use jiff::{Timestamp, tz::Offset};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::time::{Duration, SystemTime};

/// How severe; `Unknown` is what no alert has but what a configuration may leave open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    #[default]
    Unknown = 0,
    Debug = 1,
    Informational,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Priority {
    pub const ALL: [Priority; 8] = [
        Priority::Debug,
        Priority::Informational,
        Priority::Notice,
        Priority::Warning,
        Priority::Error,
        Priority::Critical,
        Priority::Alert,
        Priority::Emergency,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Priority::Unknown => "",
            Priority::Debug => "Debug",
            Priority::Informational => "Informational",
            Priority::Notice => "Notice",
            Priority::Warning => "Warning",
            Priority::Error => "Error",
            Priority::Critical => "Critical",
            Priority::Alert => "Alert",
            Priority::Emergency => "Emergency",
        }
    }

    /// In any case of letters; `info` is `informational`. Anything else is `Unknown`.
    pub fn from_name(name: &str) -> Priority {
        let name = if name.eq_ignore_ascii_case("info") { "informational" } else { name };
        Self::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name)).unwrap_or_default()
    }

    /// 0 is `Unknown`, 1 `Debug`, 8 `Emergency`.
    pub fn from_number(number: i64) -> Priority {
        Self::ALL.into_iter().find(|p| *p as i64 == number).unwrap_or_default()
    }

    /// As syslog counts: 0 is an emergency, 7 is debug.
    pub fn syslog_severity(self) -> u8 {
        8 - (self as u8).max(1)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// A point in time and the offset from UTC it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub at: Timestamp,
    pub offset: Offset,
}

impl Time {
    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Time> {
        use jiff::fmt::temporal::{Pieces, PiecesOffset};
        // Pieces take more forms than RFC 3339 has.
        if text.as_bytes().get(10) != Some(&b'T') {
            return None;
        }
        let pieces = Pieces::parse(text).ok().filter(|pieces| pieces.time_zone_annotation().is_none())?;
        let offset = match pieces.offset()? {
            PiecesOffset::Zulu => Offset::UTC,
            PiecesOffset::Numeric(numeric) => numeric.offset(),
            _ => return None,
        };
        let at = offset.to_timestamp(pieces.date().to_datetime(pieces.time()?)).ok()?;
        Some(Time { at, offset })
    }

    pub fn now() -> Time {
        Time { at: Timestamp::now(), offset: Offset::UTC }
    }

    /// Go's zero time, which stands for "no time".
    pub fn is_zero(self) -> bool {
        self.rfc3339().starts_with("0001-01-01T00:00:00")
    }

    /// Nanoseconds since 1970, at the ends of what 64 bits hold beyond them.
    pub fn nanoseconds(self) -> i64 {
        self.at.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    pub fn system(self) -> SystemTime {
        let nanoseconds = self.nanoseconds();
        let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
        if nanoseconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
    }

    fn fraction(self) -> String {
        let nanoseconds = self.offset.to_datetime(self.at).subsec_nanosecond();
        let digits = format!("{nanoseconds:09}");
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() { String::new() } else { format!(".{digits}") }
    }

    /// RFC 3339 with as many digits as it needs, as Go writes times into JSON.
    pub fn rfc3339(self) -> String {
        let local = self.offset.to_datetime(self.at);
        let zone = if self.offset == Offset::UTC { "Z".to_owned() } else { self.numeric_offset(":") };
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{zone}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
            self.fraction()
        )
    }

    fn numeric_offset(self, separator: &str) -> String {
        let seconds = self.offset.seconds();
        let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
        format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
    }

    /// As Go prints a time: `2001-01-01 01:10:00 +0000 UTC`.
    pub fn go(self) -> String {
        let local = self.offset.to_datetime(self.at);
        let numeric = self.numeric_offset("");
        let zone = if self.offset == Offset::UTC { "UTC" } else { &numeric };
        format!("{}{} {numeric} {zone}", local.strftime("%Y-%m-%d %H:%M:%S"), self.fraction())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.rfc3339())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub uuid: String,
    pub output: String,
    pub priority: Priority,
    pub rule: String,
    pub time: Time,
    pub output_fields: Fields,
    pub source: String,
    pub tags: Vec<String>,
    pub hostname: String,
}

/// Rule of the alert that `/test` and `outputs test` send.
pub const TEST_RULE: &str = "Test rule";

impl Alert {
    /// What `/test` puts in.
    pub fn test() -> Alert {
        let field = |name: &str| (name.to_owned(), Json::from("falcosidekick"));
        Alert {
            uuid: String::new(),
            output: "This is a test from falcosidekick".to_owned(),
            priority: Priority::Debug,
            rule: TEST_RULE.to_owned(),
            time: Time::now(),
            output_fields: [field("proc.name"), field("user.name")].into(),
            source: "debug".to_owned(),
            tags: vec!["test".to_owned(), "example".to_owned()],
            hostname: "falcosidekick".to_owned(),
        }
    }

    /// The text of a field; nothing when it is no text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.output_fields.get(name)?.text()
    }

    /// Fields whose values are texts, by name.
    pub fn text_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.output_fields.iter().filter_map(|(name, value)| Some((name.as_str(), value.text()?)))
    }

    pub fn sorted_tags(&self) -> Vec<&str> {
        let mut tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
        tags.sort_unstable();
        tags
    }

    /// The whole alert, as most receivers get it.
    pub fn body(&self) -> Vec<u8> {
        super::json::go(self)
    }

    /// The same without the newline, for where it is a part of something.
    pub fn line(&self) -> String {
        let mut body = self.body();
        body.pop();
        // The encoder takes and gives UTF-8.
        String::from_utf8(body).unwrap_or_default()
    }
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut alert = to.serialize_struct("Alert", 9)?;
        if !self.uuid.is_empty() {
            alert.serialize_field("uuid", &self.uuid)?;
        }
        alert.serialize_field("output", &self.output)?;
        alert.serialize_field("priority", &self.priority)?;
        alert.serialize_field("rule", &self.rule)?;
        alert.serialize_field("time", &self.time)?;
        alert.serialize_field("output_fields", &self.output_fields)?;
        alert.serialize_field("source", &self.source)?;
        if !self.tags.is_empty() {
            alert.serialize_field("tags", &self.tags)?;
        }
        if !self.hostname.is_empty() {
            alert.serialize_field("hostname", &self.hostname)?;
        }
        alert.end()
    }
}

/// Why a text is no alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the body is empty")]
    Empty,
    #[error("not valid JSON: {0}")]
    Json(String),
    #[error("'{key}' must be {wanted}")]
    Type { key: &'static str, wanted: &'static str },
    #[error("'{0}' is missing or empty")]
    Missing(&'static str),
    #[error(
        "'priority' is '{0}': it must be Emergency, Alert, Critical, Error, Warning, Notice, Informational or Debug"
    )]
    Priority(String),
    #[error("'time' is '{0}': it must be a time like 2024-01-31T12:00:00.000000001Z (RFC 3339)")]
    Time(String),
}

/// The first JSON value of a body. Invalid UTF-8 is replaced as Go does.
pub fn first_value(body: &[u8]) -> Result<Box<RawValue>, Refused> {
    let text = String::from_utf8_lossy(body);
    match serde_json::Deserializer::from_str(&text).into_iter::<Box<RawValue>>().next() {
        None => Err(Refused::Empty),
        Some(Err(error)) => Err(Refused::Json(error.to_string())),
        Some(Ok(value)) => Ok(value),
    }
}

/// What a sender wrote, fit to be shown and logged.
fn shown(text: &str) -> String {
    super::json::head(text, 100).escape_debug().to_string()
}

fn string(key: &'static str, raw: &RawValue) -> Result<String, Refused> {
    match Json::from_raw(raw) {
        Ok(Json::String(text)) => Ok(text),
        Ok(Json::Null) => Ok(String::new()),
        _ => Err(Refused::Type { key, wanted: "a text" }),
    }
}

/// Reads one alert. Unknown keys are dropped, the case of known ones does not matter, of a repeated one the last
/// counts.
pub fn decode(value: &RawValue) -> Result<Alert, Refused> {
    let Entries(entries) = serde_json::from_str(value.get()).map_err(|error| Refused::Json(error.to_string()))?;
    let mut alert = Alert {
        uuid: String::new(),
        output: String::new(),
        priority: Priority::Unknown,
        rule: String::new(),
        time: Time { at: Timestamp::UNIX_EPOCH, offset: Offset::UTC },
        output_fields: Fields::new(),
        source: String::new(),
        tags: Vec::new(),
        hostname: String::new(),
    };
    let mut priority = String::new();
    let mut time = String::new();
    for (key, raw) in entries {
        match key.to_ascii_lowercase().as_str() {
            "uuid" => alert.uuid = string("uuid", &raw)?,
            "output" => alert.output = string("output", &raw)?,
            "priority" => priority = string("priority", &raw)?,
            "rule" => alert.rule = string("rule", &raw)?,
            "time" => time = string("time", &raw)?,
            "source" => alert.source = string("source", &raw)?,
            "hostname" => alert.hostname = string("hostname", &raw)?,
            "output_fields" => match Json::from_raw(&raw).map_err(|error| Refused::Json(error.to_string()))? {
                Json::Object(fields) => alert.output_fields = fields,
                Json::Null => {}
                _ => return Err(Refused::Type { key: "output_fields", wanted: "an object" }),
            },
            "tags" => match Json::from_raw(&raw).map_err(|error| Refused::Json(error.to_string()))? {
                Json::Array(tags) => {
                    let text = |tag| match tag {
                        Json::String(tag) => Ok(tag),
                        _ => Err(Refused::Type { key: "tags", wanted: "a list of texts" }),
                    };
                    alert.tags = tags.into_iter().map(text).collect::<Result<_, _>>()?;
                }
                Json::Null => {}
                _ => return Err(Refused::Type { key: "tags", wanted: "a list of texts" }),
            },
            _ => {}
        }
    }
    alert.priority = Priority::from_name(&priority);
    match () {
        () if priority.is_empty() => return Err(Refused::Missing("priority")),
        () if alert.priority == Priority::Unknown => return Err(Refused::Priority(shown(&priority))),
        () if alert.rule.is_empty() => return Err(Refused::Missing("rule")),
        () if time.is_empty() => return Err(Refused::Missing("time")),
        () => {}
    }
    alert.time = Time::parse(&time).ok_or_else(|| Refused::Time(shown(&time)))?;
    if alert.time.is_zero() {
        return Err(Refused::Missing("time"));
    }
    Ok(alert)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Alert, Refused> {
        decode(&first_value(text.as_bytes())?)
    }

    #[test]
    fn decoded_and_written_again() {
        let text = r#"{"output":"o<","priority":"INFO","rule":"r","time":"2023-03-03T03:03:03.0003Z","extra":1,
            "output_fields":{"b":1.10,"a":18446744073709551617}} trailing"#;
        let alert = read(text).expect("valid");
        assert_eq!(
            alert.line(),
            r#"{"output":"o\u003c","priority":"Informational","rule":"r","time":"2023-03-03T03:03:03.0003Z","output_fields":{"a":18446744073709551617,"b":1.10},"source":""}"#
        );
    }

    #[test]
    fn refusals_name_the_key() {
        for (text, expected) in [
            ("", "the body is empty"),
            ("{", "not valid JSON"),
            ("[]", "not valid JSON"),
            ("{}", "'priority' is missing"),
            (r#"{"priority":"high"}"#, "'priority' is 'high'"),
            (r#"{"priority":1}"#, "'priority' must be a text"),
            (r#"{"priority":"Debug"}"#, "'rule' is missing"),
            (r#"{"priority":"Debug","rule":"r"}"#, "'time' is missing"),
            (r#"{"priority":"Debug","rule":"r","time":"yesterday"}"#, "'time' is 'yesterday'"),
            (r#"{"priority":"Debug","rule":"r","time":"2023-03-03 03:03:03Z"}"#, "'time' is '2023"),
            (r#"{"priority":"Debug","rule":"r","time":"0001-01-01T00:00:00Z"}"#, "'time' is missing"),
            (r#"{"output_fields":[]}"#, "'output_fields' must be an object"),
            (r#"{"tags":[1]}"#, "'tags' must be a list of texts"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn times() {
        for (text, json, go) in [
            ("2001-01-01T01:10:00Z", "2001-01-01T01:10:00Z", "2001-01-01 01:10:00 +0000 UTC"),
            ("2001-01-01T01:10:00.120+02:30", "2001-01-01T01:10:00.12+02:30", "2001-01-01 01:10:00.12 +0230 +0230"),
            ("2001-01-01T01:10:00-05:00", "2001-01-01T01:10:00-05:00", "2001-01-01 01:10:00 -0500 -0500"),
        ] {
            let time = Time::parse(text).expect(text);
            assert_eq!((time.rfc3339().as_str(), time.go().as_str()), (json, go));
        }
        assert_eq!(Time::parse("2001-01-01T01:10:00Z").map(Time::nanoseconds), Some(978_311_400_000_000_000));
        for bad in ["", "2001-01-01", "2001-01-01T01:10:00", "2001-13-01T01:10:00Z", "2001-01-01T01:10:00Z[UTC]"] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }
}
