//! OpenTelemetry logs: a record for each alert.

use super::proto::{Attribute, LogRecord, Logs, ResourceLogs, Scope, ScopeLogs, Value};
use super::{KEYS, Signal, forward, nanoseconds, resource};
use crate::hub::alert::{Alert, Priority, Time};
use crate::hub::config::keys::HTTP;
use crate::hub::forward::{Batch, Failure, Kind, Work};
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "otlp.logs",
    label: "OTLPLogs",
    destination: "otlplogs",
    category: "logs",
    meaning: "A log record for each alert, with its priority as severity and its fields as attributes.",
    required: &["endpoint"],
    keys: &[KEYS, HTTP],
    shared: &[],
    work: Work::Forward(|context| forward(context, OtlpLogs)),
};

struct OtlpLogs;

/// Number and name of a severity, as the data model maps syslog's.
fn severity(priority: Priority) -> (i32, &'static str) {
    match priority {
        Priority::Unknown => (0, ""),
        Priority::Debug => (5, "DEBUG"),
        Priority::Informational => (9, "INFO"),
        Priority::Notice => (10, "INFO2"),
        Priority::Warning => (13, "WARN"),
        Priority::Error => (17, "ERROR"),
        Priority::Critical => (18, "ERROR2"),
        Priority::Alert => (19, "ERROR3"),
        Priority::Emergency => (21, "FATAL"),
    }
}

fn record(alert: &Alert) -> LogRecord {
    let mut attributes = vec![
        Attribute::text("uuid", &alert.uuid),
        Attribute::text("priority", alert.priority.name()),
        Attribute::text("source", &alert.source),
        Attribute::text("rule", &alert.rule),
    ];
    if !alert.hostname.is_empty() {
        attributes.push(Attribute::text("hostname", &alert.hostname));
    }
    if !alert.tags.is_empty() {
        attributes.push(Attribute::text("tags", &alert.tags.join(",")));
    }
    attributes.push(Attribute::text("timestamp", &alert.time.rfc3339()));
    let (severity_number, severity_text) = severity(alert.priority);
    LogRecord {
        time_unix_nano: nanoseconds(alert.time),
        observed_time_unix_nano: nanoseconds(Time::now()),
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(Value::Text(alert.output.clone()).into()),
        attributes: super::attributes(attributes, &alert.output_fields),
    }
}

impl Signal for OtlpLogs {
    type Message = Logs;
    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    fn message(&self, alerts: &[Arc<Alert>]) -> Result<Option<Logs>, Failure> {
        let scope = Scope { name: "falco".to_owned(), version: String::new() };
        let records = alerts.iter().map(|alert| record(alert)).collect();
        let scopes = vec![ScopeLogs { scope: Some(scope), records }];
        Ok(Some(Logs { resources: vec![ResourceLogs { resource: Some(resource()), scopes }] }))
    }
}
