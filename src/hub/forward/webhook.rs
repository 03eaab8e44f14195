//! Webhook: the alert as it is, to any address.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "webhook",
    label: "Webhook",
    destination: "webhook",
    category: "web",
    meaning: "Each alert as JSON, by POST or PUT, to an address.",
    required: &["address"],
    keys: &[
        &[
            Key::text("address", "", "where alerts go"),
            Key::new("method", Type::Choice(&["POST", "PUT"]), "POST", "method of the request"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Webhook {
    address: String,
    method: reqwest::Method,
    headers: Vec<(String, String)>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Webhook {
        address: endpoint(settings.text("address"))?,
        method: if settings.text("method") == "PUT" { reqwest::Method::PUT } else { reqwest::Method::POST },
        headers: settings.map("customheaders").to_vec(),
    }))
}

impl Payload for Webhook {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(&*self.address, alert.body()).headers(&self.headers);
            Request { method: self.method.clone(), ..request }
        };
        Ok(alerts.iter().map(request).collect())
    }
}
