//! The messages of Falco's gRPC services (falco.outputs, falco.version, falco.schema), with the numbers of their fields.

use crate::hub::alert::Alert;
use crate::hub::json::Json;
use crate::rules::ENGINE_VERSION;
use prost::Message;
use std::collections::BTreeMap;

/// What `sub`, `get` and `version` are asked with: nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Request {}

/// An alert.
#[derive(Clone, PartialEq, Message)]
pub struct Output {
    #[prost(message, optional, tag = "1")]
    pub time: Option<Timestamp>,
    /// 0 emergency .. 7 debug, as syslog counts.
    #[prost(int32, tag = "2")]
    pub priority: i32,
    /// 0 syscall, 1 k8s_audit, 2 internal, 3 any other plugin's.
    #[prost(int32, tag = "3")]
    pub source_deprecated: i32,
    #[prost(string, tag = "4")]
    pub rule: String,
    #[prost(string, tag = "5")]
    pub output: String,
    #[prost(btree_map = "string, string", tag = "6")]
    pub output_fields: BTreeMap<String, String>,
    #[prost(string, tag = "7")]
    pub hostname: String,
    #[prost(string, repeated, tag = "8")]
    pub tags: Vec<String>,
    #[prost(string, tag = "9")]
    pub source: String,
}

/// google.protobuf.Timestamp
#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Version {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(uint32, tag = "2")]
    pub major: u32,
    #[prost(uint32, tag = "3")]
    pub minor: u32,
    #[prost(uint32, tag = "4")]
    pub patch: u32,
    #[prost(string, tag = "5")]
    pub prerelease: String,
    #[prost(string, tag = "6")]
    pub build: String,
    #[prost(uint32, tag = "7")]
    pub engine_version: u32,
    // 8, the checksum of the fields: the hub loads no rules, so it has none.
    #[prost(uint32, tag = "9")]
    pub engine_major: u32,
    #[prost(uint32, tag = "10")]
    pub engine_minor: u32,
    #[prost(uint32, tag = "11")]
    pub engine_patch: u32,
}

/// What a field's value is as a text: nothing is an empty one.
fn text(value: &Json) -> String {
    if matches!(value, Json::Null) { String::new() } else { value.to_string() }
}

impl From<&Alert> for Output {
    fn from(alert: &Alert) -> Output {
        let nanoseconds = i128::from(alert.time.nanoseconds());
        Output {
            // Both fit: the whole was 64 bits of nanoseconds, the rest is less than a second of them.
            time: Some(Timestamp {
                seconds: nanoseconds.div_euclid(1_000_000_000) as i64,
                nanos: nanoseconds.rem_euclid(1_000_000_000) as i32,
            }),
            priority: alert.priority.syslog_severity().into(),
            source_deprecated: match alert.source.as_str() {
                "syscall" => 0,
                "k8s_audit" => 1,
                "internal" => 2,
                _ => 3,
            },
            rule: alert.rule.clone(),
            output: alert.output.clone(),
            output_fields: alert.output_fields.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            hostname: alert.hostname.clone(),
            tags: alert.tags.clone(),
            source: alert.source.clone(),
        }
    }
}

impl Version {
    /// This program's, and that of the rules language it belongs to.
    pub fn ours() -> Version {
        let own = semver::Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or(semver::Version::new(0, 0, 0));
        let engine = semver::Version::parse(ENGINE_VERSION).unwrap_or(semver::Version::new(0, 0, 0));
        let number = |part: u64| u32::try_from(part).unwrap_or(u32::MAX);
        Version {
            version: own.to_string(),
            major: number(own.major),
            minor: number(own.minor),
            patch: number(own.patch),
            prerelease: own.pre.to_string(),
            build: own.build.to_string(),
            engine_version: number(engine.minor),
            engine_major: number(engine.major),
            engine_minor: number(engine.minor),
            engine_patch: number(engine.patch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::alert::Time;

    #[test]
    fn an_alert_as_a_message() {
        let mut alert = Alert::test();
        alert.time = Time::parse("1969-12-31T23:59:59.5Z").expect("a time");
        alert.output_fields = [("a".to_owned(), Json::Null), ("b".to_owned(), Json::Number("1.10".into()))].into();
        let output = Output::from(&alert);
        assert_eq!(output.time, Some(Timestamp { seconds: -1, nanos: 500_000_000 }));
        assert_eq!((output.priority, output.source_deprecated, &*output.source), (7, 3, "debug"));
        let fields = [("a", ""), ("b", "1.10")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(output.output_fields, fields.into());
    }
}
