//! Opsgenie: an alert of its alert API.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "opsgenie",
    label: "Opsgenie",
    destination: "opsgenie",
    category: "alerting",
    meaning: "An alert for each alert, its fields as details; its uuid as alias, so that a repetition makes no second one.",
    required: &["apikey"],
    keys: &[
        &[
            Key::secret("apikey", "key of an API integration"),
            Key::new("region", Type::Choice(&["us", "eu"]), "us", "where the account is"),
            Key::text("url", "", "address of the service, where it is not that of the region (ours)"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

/// The characters of a message that the API takes.
const MESSAGE_MAX: usize = 130;

struct Opsgenie {
    url: String,
    key: String,
}

#[derive(serde::Serialize)]
struct Posted<'a> {
    message: String,
    entity: &'static str,
    description: &'a str,
    details: BTreeMap<String, &'a str>,
    priority: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    alias: &'a str,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = match (settings.text("url"), settings.text("region")) {
        ("", "eu") => "https://api.eu.opsgenie.com",
        ("", _) => "https://api.opsgenie.com",
        (url, _) => url.trim_end_matches('/'),
    };
    Ok(Box::new(Opsgenie { url: endpoint(&format!("{host}/v2/alerts"))?, key: settings.text("apikey").to_owned() }))
}

fn posted<'a>(alert: &'a Alert, tags: &'a str) -> Posted<'a> {
    let mut details: BTreeMap<_, _> =
        alert.text_fields().map(|(name, value)| (name.replace('.', "_"), value)).collect();
    let mut detail = |name: &str, value| details.insert(name.to_owned(), value);
    detail("source", &alert.source);
    detail("rule", &alert.rule);
    detail("priority", alert.priority.name());
    if !alert.hostname.is_empty() {
        detail("hostname", &alert.hostname);
    }
    if !tags.is_empty() {
        detail("tags", tags);
    }
    let mut message = alert.output.clone();
    if message.chars().count() > MESSAGE_MAX {
        message = message.chars().take(MESSAGE_MAX - 5).chain("[...]".chars()).collect();
        detail("output", &alert.output);
    }
    let priority = match alert.priority {
        Priority::Emergency | Priority::Alert => "P1",
        Priority::Critical => "P2",
        Priority::Error => "P3",
        Priority::Warning => "P4",
        _ => "P5",
    };
    Posted { message, entity: "Falcosidekick", description: &alert.rule, details, priority, alias: &alert.uuid }
}

impl Payload for Opsgenie {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let body = go(&posted(alert, &alert.sorted_tags().join(", ")));
            Request::post(&*self.url, body).header("Authorization", format!("GenieKey {}", self.key))
        };
        Ok(alerts.iter().map(request).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_and_kept_whole_beside() {
        let mut alert = Alert::test();
        alert.output = "é".repeat(131);
        let posted = posted(&alert, "");
        assert_eq!(posted.message.chars().count(), MESSAGE_MAX);
        assert_eq!(posted.details["output"], alert.output);
    }
}
