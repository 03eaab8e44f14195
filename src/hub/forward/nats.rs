//! NATS: one message for each alert, on a subject made of its priority and rule.
//!
//! NATS has no answer to a message. A request behind it on the same connection has: that comes back only when the server
//! took what was before. With `jetstream`, the stream's own acknowledgement is waited for, and `Nats-Msg-Id` lets it
//! drop repetitions.

use super::{Context, Failure, Forward, Kind, Work, concurrency};
use crate::hub::alert::Alert;
use crate::hub::broker::nats::{self, Server};
use crate::hub::config::keys::{HTTP, Key, Type};
use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap};
use std::sync::Arc;
use tokio::sync::Mutex;

pub const KIND: Kind = Kind {
    section: "nats",
    label: "NATS",
    destination: "nats",
    category: "queue",
    meaning: "Each alert as JSON, published on a subject.",
    required: &["hostport"],
    keys: &[
        nats::ADDRESS,
        &[
            Key::text("subjecttemplate", "falco.<priority>.<rule>", "subject; <priority> and <rule> are replaced"),
            Key::new("jetstream", Type::Bool, "false", "wait for the acknowledgement of a stream (ours)"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Forward(make),
};

struct Nats {
    server: Server,
    subject: String,
    jetstream: bool,
    concurrency: usize,
    client: Mutex<Option<Client>>,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    Ok(Box::new(Nats {
        server: Server::new(settings, context.tls)?,
        subject: settings.text("subjecttemplate").to_owned(),
        jetstream: settings.flag("jetstream"),
        concurrency: concurrency(settings.int("maxconcurrentrequests")),
        client: Mutex::new(None),
    }))
}

/// A subject of an alert: of a rule, what is no letter or digit becomes `_`.
pub fn subject(template: &str, alert: &Alert) -> String {
    let mut rule = String::new();
    for c in alert.rule.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            rule.push(c);
        } else if !rule.ends_with('_') {
            rule.push('_');
        }
    }
    let priority = alert.priority.name().to_ascii_lowercase();
    template.replace("<priority>", &priority).replace("<rule>", rule.trim_matches('_'))
}

impl Nats {
    async fn client(&self) -> Result<Client, Failure> {
        let mut kept = self.client.lock().await;
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let client = self.server.connect().await.map_err(Failure::down)?;
        Ok(kept.insert(client).clone())
    }

    async fn publish(&self, alert: &Alert) -> Result<(), Failure> {
        let client = self.client().await?;
        let subject = subject(&self.subject, alert);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", alert.uuid.as_str());
        let body = alert.line().into();
        if self.jetstream {
            let answer = client.request_with_headers(subject, headers, body).await.map_err(Failure::down)?;
            // `{"error":{...}}` or `{"stream":"...","seq":1}`
            let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
            return match answer.get("error") {
                None if answer.get("stream").is_some() => Ok(()),
                error => Err(Failure::down(error.map_or("no stream answered".to_owned(), ToString::to_string))),
            };
        }
        client.publish_with_headers(subject, headers, body).await.map_err(Failure::down)?;
        match client.request(client.new_inbox(), Default::default()).await {
            // Nobody listens there: the server says so, after it took the message.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
            Err(error) => Err(Failure::down(error)),
        }
    }
}

#[async_trait::async_trait]
impl Forward for Nats {
    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        Some(self.client().await.map(drop))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let mut outcomes = Vec::with_capacity(alerts.len());
        for alert in alerts {
            outcomes.push(self.publish(alert).await);
        }
        if outcomes.iter().any(Result::is_err) {
            // It may hold messages back and send them later, or wait long before it connects again.
            *self.client.lock().await = None;
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        let mut alert = Alert::test();
        alert.rule = "Write below /etc (été)".to_owned();
        assert_eq!(subject("falco.<priority>.<rule>", &alert), "falco.debug.write_below_etc_t");
    }
}
