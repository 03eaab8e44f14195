//! CloudEvents over HTTP in binary mode, version 1.0: what Knative and its like take.
//!
//! Attributes are headers, so they are encoded as the HTTP binding says: space, `"`, `%` and what is not ASCII as `%XX`.
//! Control characters, which a text of the specification cannot have, become spaces before.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use std::fmt::Write as _;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "cloudevents",
    label: "CloudEvents",
    destination: "cloudevents",
    category: "FaaS",
    meaning: "Each alert as a CloudEvent of type falco.rule.output.v1, its uuid as ce-id.",
    required: &["address"],
    keys: &[
        &[
            Key::text("address", "", "where events go"),
            Key::new("extensions", Type::Map, "", "further attributes; names are lower-case letters and digits"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

/// Attributes that are the event's own, and a name that none may have.
const TAKEN: [&str; 7] = ["specversion", "id", "source", "type", "time", "datacontenttype", "data"];

struct CloudEvents {
    address: String,
    extensions: Vec<(String, String)>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    for (name, _) in settings.map("extensions") {
        if name.is_empty() || !name.chars().all(fits) {
            return Err(format!(
                "extensions: '{name}' cannot be the name of an attribute: only a-z and 0-9 may be in it"
            ));
        }
        if TAKEN.contains(&name.as_str()) {
            return Err(format!(
                "extensions: '{name}' cannot be added: CloudEvents gives that name a meaning of its own"
            ));
        }
    }
    Ok(Box::new(CloudEvents {
        address: endpoint(settings.text("address"))?,
        extensions: settings.map("extensions").to_vec(),
    }))
}

/// A value as it stands in a header.
fn encoded(value: &str) -> String {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    value.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%') {
            out.push(byte.into());
        } else {
            // Writing to a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

impl CloudEvents {
    fn request(&self, alert: &Alert) -> Request {
        let time = alert.time.rfc3339();
        let mut attributes = vec![
            ("specversion", "1.0"),
            ("id", &alert.uuid),
            ("source", "https://falco.org"),
            ("type", "falco.rule.output.v1"),
            ("time", &time),
            ("priority", alert.priority.name()),
            ("rule", &alert.rule),
            ("eventsource", &alert.source),
            ("hostname", &alert.hostname),
        ];
        attributes.extend(self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let request = Request::post(&*self.address, alert.body()).header("Content-Type", "application/json");
        // An attribute that is empty does not exist.
        attributes
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .fold(request, |request, (name, value)| request.header(&format!("ce-{name}"), encoded(value)))
    }
}

impl Payload for CloudEvents {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| self.request(alert)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_encoded() {
        // The example of the HTTP binding, 3.1.3.2.
        assert_eq!(encoded("Euro € \u{1f600}"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encoded("a\"%\r\u{9f}/:"), "a%22%25%20%20/:");
    }
}
