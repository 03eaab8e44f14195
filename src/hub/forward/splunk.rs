//! Splunk: an event for each alert, to the HTTP event collector.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "splunk",
    label: "Splunk",
    destination: "splunk",
    category: "SIEM",
    meaning: "Each alert as an event of the HTTP event collector.",
    required: &["host"],
    keys: &[
        &[
            Key::text("host", "", "whole address, with /services/collector/event"),
            Key::secret("token", "token of the collector"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Splunk {
    url: String,
    token: String,
    headers: Vec<(String, String)>,
}

#[derive(serde::Serialize)]
struct Event<'a> {
    event: &'a Alert,
    sourcetype: &'static str,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Splunk {
        url: endpoint(settings.text("host"))?,
        token: settings.text("token").to_owned(),
        headers: settings.map("customheaders").to_vec(),
    }))
}

impl Payload for Splunk {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(&*self.url, go(&Event { event: alert, sourcetype: "falcosidekick" }));
            let request = match self.token.as_str() {
                "" => request,
                token => request.header("Authorization", format!("Splunk {token}")),
            };
            request.headers(&self.headers)
        };
        Ok(alerts.iter().map(request).collect())
    }
}
