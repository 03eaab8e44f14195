//! Google Pub/Sub: a message of a topic for each alert.

use super::{Google, SHARED};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::forward::http::{Payload, Request};
use crate::hub::forward::{Batch, Context, Failure, Kind, Work};
use crate::hub::json::go;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "gcp.pubsub",
    label: "GCPPubSub",
    destination: "gcppubsub",
    category: "queue",
    meaning: "Each alert as JSON, a message of a topic.",
    required: &["projectid", "topic"],
    keys: &[
        &[
            Key::text("projectid", "", "project of the topic"),
            Key::text("topic", "", "name of the topic"),
            Key::new("customattributes", Type::Map, "", "attributes of every message"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

struct PubSub {
    google: Google,
    url: String,
    attributes: BTreeMap<String, String>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let google = Google::new(context)?;
    let (project, topic) = (settings.text("projectid"), settings.text("topic"));
    Ok(Box::new(PubSub {
        url: format!("{}/v1/projects/{project}/topics/{topic}:publish", google.url("pubsub.googleapis.com")),
        google,
        attributes: settings.map("customattributes").iter().cloned().collect(),
    }))
}

#[async_trait::async_trait]
impl Payload for PubSub {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let message = |alert: &Arc<Alert>| {
            let mut message = json!({"data": STANDARD.encode(alert.line())});
            if !self.attributes.is_empty() {
                message["attributes"] = json!(self.attributes);
            }
            message
        };
        let messages: Vec<_> = alerts.iter().map(message).collect();
        Ok(vec![Request::post(&*self.url, go(&json!({"messages": messages})))])
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.google.authorization(client).await
    }
}
