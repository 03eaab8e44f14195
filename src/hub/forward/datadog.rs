//! Datadog: an event for each alert.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "datadog",
    label: "Datadog",
    destination: "datadog",
    category: "metrics",
    meaning: "An event for each alert, its fields as tags.",
    required: &["apikey"],
    keys: &[
        &[
            Key::secret("apikey", "key of the API"),
            Key::text("host", "https://api.datadoghq.com", "address of the service"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Datadog {
    url: String,
}

#[derive(serde::Serialize)]
struct Event<'a> {
    title: &'a str,
    text: &'a str,
    alert_type: &'static str,
    source_type_name: &'static str,
    tags: Vec<String>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = settings.text_or("host", "https://api.datadoghq.com");
    let mut url = reqwest::Url::parse(&endpoint(&format!("{host}/api/v1/events"))?).map_err(|e| e.to_string())?;
    url.query_pairs_mut().append_pair("api_key", settings.text("apikey"));
    Ok(Box::new(Datadog { url: url.into() }))
}

fn event(alert: &Alert) -> Event<'_> {
    let mut tags: Vec<_> = alert.text_fields().map(|(name, value)| format!("{name}:{value}")).collect();
    tags.push(format!("source:{}", alert.source));
    tags.push("source:falco".to_owned());
    if !alert.hostname.is_empty() {
        tags.push(format!("hostname:{}", alert.hostname));
    }
    tags.extend(alert.sorted_tags().into_iter().map(str::to_owned));
    let alert_type = match alert.priority {
        Priority::Emergency | Priority::Alert | Priority::Critical | Priority::Error => "error",
        Priority::Warning => "warning",
        _ => "info",
    };
    Event { title: &alert.rule, text: &alert.output, alert_type, source_type_name: "falco", tags }
}

impl Payload for Datadog {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| Request::post(&*self.url, go(&event(alert)))).collect())
    }
}
