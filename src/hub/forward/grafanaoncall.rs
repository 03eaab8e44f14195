//! Grafana OnCall: an alert group through a formatted webhook.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use serde_json::json;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "grafanaoncall",
    label: "GrafanaOnCall",
    destination: "grafanaoncall",
    category: "alerting",
    meaning: "Each alert, in state 'alerting', under its uuid.",
    required: &["webhookurl"],
    keys: &[
        &[
            Key::secret("webhookurl", "address of the integration's webhook"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct GrafanaOnCall {
    url: String,
    headers: Vec<(String, String)>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(GrafanaOnCall {
        url: endpoint(settings.text("webhookurl"))?,
        headers: settings.map("customheaders").to_vec(),
    }))
}

impl Payload for GrafanaOnCall {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let body = json!({
                "alert_uid": alert.uuid, "state": "alerting",
                "title": format!("[{}] {}", alert.priority.name(), alert.rule), "message": alert.output,
            });
            Request::post(&*self.url, go(&body)).headers(&self.headers)
        };
        Ok(alerts.iter().map(request).collect())
    }
}
