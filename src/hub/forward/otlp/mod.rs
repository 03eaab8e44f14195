//! What the outputs over OpenTelemetry's protocol have in common. HTTP with protobuf bodies; gRPC is not spoken.

pub mod logs;
pub mod metrics;
pub mod proto;
pub mod traces;

use super::http::{Answer, Request, endpoint, outcome};
use super::{Context, Failure, all};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{Key, Type, Unit};
use crate::hub::json::Fields;
use prost::Message;
use proto::{Attribute, Resource, Taken};
use std::sync::Arc;
use std::time::Duration;

/// Keys of each.
pub const KEYS: &[Key] = &[
    Key::text("endpoint", "", "address, with its path: http://host:4318/v1/logs (or traces, metrics)"),
    Key::new("protocol", Type::Choice(&["http/protobuf", "grpc"]), "http/protobuf", "only http/protobuf is spoken"),
    Key::text("headers", "", "further headers: name=value, separated by commas"),
    Key::new(
        "timeout",
        Type::Duration(Unit::Milliseconds),
        "10000",
        "time for an answer; hub.timeout where that is shorter",
    ),
    Key::flag("tls", "false", "taken for a Falcosidekick file's sake: the address says it"),
    Key::new("extraenvvars", Type::Map, "", "taken for a Falcosidekick file's sake: the program has no such variables"),
];

pub struct Receiver {
    url: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

impl Receiver {
    pub fn new(context: &Context) -> Result<Receiver, String> {
        let settings = context.settings;
        if settings.text("protocol") == "grpc" {
            return Err("protocol: grpc is not spoken; collectors take http/protobuf on port 4318".to_owned());
        }
        let mut headers = Vec::new();
        for pair in settings.text("headers").split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("headers: '{pair}' is not name=value"))?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let timeout = settings.duration("timeout").max(Duration::from_millis(10));
        Ok(Receiver { url: endpoint(settings.text("endpoint"))?, headers, timeout })
    }

    pub fn request(&self, message: &impl Message) -> Request {
        let request = Request::post(&*self.url, message.encode_to_vec());
        Request { timeout: Some(self.timeout), ..request }
            .header("Content-Type", "application/x-protobuf")
            .headers(&self.headers)
    }
}

/// What a receiver says of the alerts of one request. It may take only some, and does not tell which.
pub fn judge(answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
    let taken = Taken::decode(&*answer.raw).ok().and_then(|taken| taken.partial_success);
    match (outcome(answer), taken) {
        (Ok(()), Some(taken)) if taken.rejected > 0 => {
            let why = format!("the receiver rejected {} of {}: {}", taken.rejected, alerts.len(), taken.error_message);
            // Each alone tells which; what is rejected alone is not to be sent again.
            let failure = if alerts.len() > 1 { Failure::Refused(why) } else { Failure::Impossible(why) };
            all(alerts, Err(failure))
        }
        (outcome, _) => all(alerts, outcome),
    }
}

/// The alert's own attributes and its fields. Names are unique: of two that are the same the first stays.
fn attributes(mut own: Vec<Attribute>, fields: &Fields) -> Vec<Attribute> {
    let more = fields.iter().filter(|(name, _)| !own.iter().any(|attribute| attribute.key == **name));
    let more: Vec<_> = more.map(|(name, value)| Attribute::new(name, value)).collect();
    own.extend(more);
    own
}

pub fn resource() -> Resource {
    Resource {
        attributes: vec![Attribute::text("service.name", "falco"), Attribute::text("service.version", "v0.1.0")],
    }
}

/// Nanoseconds since 1970; nothing is before.
pub fn nanoseconds(time: Time) -> u64 {
    u64::try_from(time.nanoseconds()).unwrap_or(0)
}
