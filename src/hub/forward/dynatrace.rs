//! Dynatrace: a log record for each alert.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority, Time};
use crate::hub::config::keys::{Key, Type};
use crate::hub::json::{Fields, Json, go};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "dynatrace",
    label: "Dynatrace",
    destination: "dynatrace",
    category: "SIEM",
    meaning: "A log record for each alert.",
    required: &["apitoken", "apiurl"],
    keys: &[&[
        Key::secret("apitoken", "token with the right to ingest logs"),
        Key::text("apiurl", "", "address of the API: https://ID.live.dynatrace.com/api"),
        Key::new("checkcert", Type::Bool, "true", "verify the server's certificate"),
    ]],
    shared: &[],
    work: Work::Http(make),
};

struct Dynatrace {
    url: String,
    token: String,
}

#[derive(serde::Serialize)]
struct Record<'a> {
    timestamp: Time,
    #[serde(rename = "event.id", skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(rename = "event.name")]
    name: &'a str,
    #[serde(rename = "event.provider")]
    provider: &'static str,
    severity: Priority,
    #[serde(rename = "host.name", skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(rename = "log.source")]
    source: &'a str,
    content: Content<'a>,
    #[serde(rename = "mitre.technique", skip_serializing_if = "Option::is_none")]
    technique: Option<&'a str>,
    #[serde(rename = "mitre.tactic", skip_serializing_if = "Option::is_none")]
    tactic: Option<&'a str>,
    #[serde(rename = "container.id", skip_serializing_if = "Option::is_none")]
    container_id: Option<&'a str>,
    #[serde(rename = "container.name", skip_serializing_if = "Option::is_none")]
    container_name: Option<&'a str>,
    #[serde(rename = "container.image.name", skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(rename = "k8s.namespace.name", skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(rename = "k8s.pod.name", skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
    #[serde(rename = "k8s.pod.uid", skip_serializing_if = "Option::is_none")]
    pod_uid: Option<&'a str>,
    #[serde(rename = "process.executable.name", skip_serializing_if = "Option::is_none")]
    process: Option<&'a str>,
    #[serde(rename = "span.id", skip_serializing_if = "Option::is_none")]
    span: Option<String>,
}

#[derive(serde::Serialize)]
struct Content<'a> {
    output: &'a str,
    output_fields: &'a Fields,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Dynatrace {
        url: endpoint(&format!("{}/v2/logs/ingest", settings.text("apiurl").trim_end_matches('/')))?,
        token: settings.text("apitoken").to_owned(),
    }))
}

/// `T1059`, `T1059.001`.
fn is_technique(tag: &str) -> bool {
    tag.strip_prefix('T').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn record(alert: &Alert) -> Record<'_> {
    let last = |fits: fn(&str) -> bool| alert.tags.iter().map(String::as_str).rfind(|tag| fits(tag));
    Record {
        timestamp: alert.time,
        id: &alert.uuid,
        name: &alert.rule,
        provider: "Falco",
        severity: alert.priority,
        host: &alert.hostname,
        source: &alert.source,
        content: Content { output: &alert.output, output_fields: &alert.output_fields, tags: &alert.tags },
        technique: last(is_technique),
        tactic: last(|tag| tag.len() > "mitre_".len() && tag.starts_with("mitre_")),
        container_id: alert.field("container.id"),
        container_name: alert.field("container.name"),
        image: alert.field("container.image"),
        namespace: alert.field("k8s.ns.name"),
        pod: alert.field("k8s.pod.name"),
        pod_uid: alert.field("k8s.pod.id"),
        process: alert.field("proc.name"),
        span: alert.output_fields.get("span.id").filter(|value| **value != Json::Null).map(ToString::to_string),
    }
}

impl Payload for Dynatrace {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let records: Vec<_> = alerts.iter().map(|alert| record(alert)).collect();
        let request = Request::post(&*self.url, go(&records));
        Ok(vec![request.header("Authorization", format!("Api-Token {}", self.token))])
    }
}
