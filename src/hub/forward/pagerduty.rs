//! PagerDuty: an event (v2) that triggers an incident, for each alert.
//!
//! The alert's uuid is the event's `dedup_key`: a repeated delivery makes no second incident.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::{Fields, Json, go};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "pagerduty",
    label: "Pagerduty",
    destination: "pagerduty",
    category: "alerting",
    meaning: "An event for each alert that triggers an incident.",
    required: &["routingkey"],
    keys: &[
        &[
            Key::secret("routingkey", "integration key of the service"),
            Key::new("region", Type::Choice(&["us", "eu"]), "us", "region of the account"),
            Key::text("host", "", "address of the service, where it is not that of the region (ours)"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct PagerDuty {
    url: String,
    key: String,
}

#[derive(serde::Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    event_action: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    dedup_key: &'a str,
    payload: Details<'a>,
}

#[derive(serde::Serialize)]
struct Details<'a> {
    summary: &'a str,
    source: &'static str,
    severity: &'static str,
    timestamp: Time,
    custom_details: Fields,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = match (settings.text("host"), settings.text("region")) {
        ("", "eu") => "https://events.eu.pagerduty.com",
        ("", _) => "https://events.pagerduty.com",
        (host, _) => host,
    };
    Ok(Box::new(PagerDuty {
        url: endpoint(&format!("{host}/v2/enqueue"))?,
        key: settings.text("routingkey").to_owned(),
    }))
}

impl Payload for PagerDuty {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let mut custom_details = alert.output_fields.clone();
            if !alert.hostname.is_empty() {
                custom_details.insert("hostname".to_owned(), Json::from(alert.hostname.as_str()));
            }
            let payload = Details {
                summary: &alert.output,
                source: "falco",
                severity: "critical",
                timestamp: alert.time,
                custom_details,
            };
            let event = Event { routing_key: &self.key, event_action: "trigger", dedup_key: &alert.uuid, payload };
            Request::post(&*self.url, go(&event))
        };
        Ok(alerts.iter().map(request).collect())
    }
}
