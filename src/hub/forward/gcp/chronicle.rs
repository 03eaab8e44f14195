//! Google Chronicle (Security Operations): alerts imported as raw logs.

use super::{Google, SHARED};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Payload, Request};
use crate::hub::forward::{Batch, Context, Failure, Kind, Work};
use crate::hub::json::go;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "gcp.chronicle",
    label: "GCPChronicle",
    destination: "gcpchronicle",
    category: "SIEM",
    meaning: "Each alert as JSON, a log entry of a type.",
    required: &["region", "projectid", "instanceid"],
    keys: &[
        &[
            Key::text("region", "", "region of the instance"),
            Key::text("projectid", "", "project of the instance"),
            Key::text("instanceid", "", "identifier of the instance"),
            Key::text("logtype", "FALCO_IDS", "type of the log entries"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

struct Chronicle {
    google: Google,
    url: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    for key in ["region", "projectid", "instanceid", "logtype"] {
        let text = settings.text(key);
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.chars().all(fits) {
            return Err(format!("{key}: '{text}' must begin with a letter or digit, and have only these, - and _"));
        }
    }
    let google = Google::new(context)?;
    let region = settings.text("region");
    let host = google.url(&format!("chronicle.{region}.rep.googleapis.com"));
    let (project, instance) = (settings.text("projectid"), settings.text("instanceid"));
    let place = format!("projects/{project}/locations/{region}/instances/{instance}");
    let url = format!("{host}/v1beta/{place}/logTypes/{}/logs:import", settings.text("logtype"));
    Ok(Box::new(Chronicle { google, url }))
}

#[async_trait::async_trait]
impl Payload for Chronicle {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let entry = |alert: &Arc<Alert>| {
            // The service refuses an entry that was collected before it was written.
            let least = alert.time.at + Duration::from_nanos(1);
            let collected = Time { at: jiff::Timestamp::now().max(least), ..Time::now() };
            json!({
                "data": STANDARD.encode(alert.line()),
                "logEntryTime": alert.time.rfc3339(),
                "collectionTime": collected.rfc3339(),
            })
        };
        let entries: Vec<_> = alerts.iter().map(entry).collect();
        let body = go(&json!({"inlineSource": {"logs": entries}}));
        Ok(vec![Request::post(&*self.url, body).header("Content-Type", "application/json")])
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.google.authorization(client).await
    }
}
