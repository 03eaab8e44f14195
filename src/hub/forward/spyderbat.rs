//! Spyderbat: compressed lines of JSON, from a source that is registered first.

use super::http::{Payload, Request, endpoint, send, status_text};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::{Json, go};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub const KIND: Kind = Kind {
    section: "spyderbat",
    label: "Spyderbat",
    destination: "spyderbat",
    category: "SIEM",
    meaning: "A record for each alert that has the fields evt.time and proc.pid; others become dead letters.",
    required: &["orguid"],
    keys: &[
        &[
            Key::text("orguid", "", "identifier of the organisation"),
            Key::secret("apikey", "key of the API"),
            Key::text("apiurl", "https://api.spyderbat.com", "address of the service"),
            Key::text("source", "falcosidekick", "name of the source"),
            Key::text("sourcedescription", "", "its description"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Spyderbat {
    /// Up to the slash behind `source`.
    sources: String,
    uid: String,
    key: String,
    name: String,
    description: String,
    registered: AtomicBool,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let organization = settings.text("orguid");
    let host = settings.text_or("apiurl", "https://api.spyderbat.com");
    Ok(Box::new(Spyderbat {
        sources: endpoint(&format!("{}/api/v1/org/{organization}/source/", host.trim_end_matches('/')))?,
        uid: format!("falcosidekick_{organization}"),
        key: settings.text("apikey").to_owned(),
        name: settings.text("source").to_owned(),
        description: settings.text("sourcedescription").to_owned(),
        registered: AtomicBool::new(false),
    }))
}

fn number(alert: &Alert, field: &str) -> Result<i64, Failure> {
    match alert.output_fields.get(field) {
        Some(Json::Number(text)) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| Failure::Impossible(format!("the field {field} is no whole number; the rule's output must have it")))
}

fn record(alert: &Alert) -> Result<Value, Failure> {
    let time = number(alert, "evt.time")? as f64 / 1e9;
    let pid = number(alert, "proc.pid")?;
    let level = match alert.priority {
        Priority::Emergency | Priority::Alert | Priority::Critical => "critical",
        Priority::Error => "high",
        Priority::Warning => "medium",
        Priority::Notice => "low",
        _ => "info",
    };
    let now = jiff::Timestamp::now();
    // A text as `12:00:00.1: Warning what happened`: the words behind time and priority.
    let words: Vec<_> = alert.output.split(' ').skip(2).collect();
    Ok(json!({
        "schema": "falco_alert::1.0.0",
        "id": format!("event_alert:{}", alert.uuid),
        "monotonic_time": alert.time.nanoseconds(),
        "orc_time": now.as_nanosecond() as f64 / 1e9,
        "time": time,
        "pid": pid,
        "level": level,
        "msg": words,
        "args": alert.field("proc.cmdline").unwrap_or_default(),
        "container": alert.field("container.id").unwrap_or_default(),
    }))
}

impl Spyderbat {
    fn authorized(&self, request: Request) -> Request {
        request.header("Authorization", format!("Bearer {}", self.key))
    }
}

#[async_trait::async_trait]
impl Payload for Spyderbat {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let url = format!("{}{}/data/sb-agent", self.sources, self.uid);
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(url.as_str(), go(&record(alert)?));
            Ok(self.authorized(request.header("Content-Type", "application/ndjson").gzip()))
        };
        alerts.iter().map(request).collect()
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        if self.registered.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let asked = self.authorized(Request::post(&*self.sources, Vec::new()));
        let answer = send(client, Request { method: Method::GET, ..asked }).await?;
        let failed = |answer: &super::http::Answer| {
            Failure::down(format!("registering the source: {}", status_text(answer.status, &answer.body)))
        };
        if !answer.status.is_success() {
            return Err(failed(&answer));
        }
        let known: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if !known.as_array().into_iter().flatten().any(|source| source["uid"] == *self.uid) {
            let source = json!({"name": self.name, "description": self.description, "uid": self.uid});
            let made = send(client, self.authorized(Request::post(&*self.sources, go(&source)))).await?;
            if !made.status.is_success() {
                return Err(failed(&made));
            }
        }
        self.registered.store(true, Ordering::Relaxed);
        Ok(Vec::new())
    }
}
