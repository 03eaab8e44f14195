//! What the outputs over OpenTelemetry's protocol have in common: the way to the receiver, over HTTP with protobuf bodies or
//! over gRPC, and what its answers mean.
//!
//! Invariant: the same messages go both ways, and an alert meets the same fate: what would meet every alert is tried again,
//! what is wrong with one alert holds up no other.

mod grpc;
pub mod logs;
pub mod metrics;
pub mod proto;
pub mod traces;

use super::http::{Request, client, endpoint, outcome, send};
use super::{Batch, Context, Failure, Forward, all, concurrency};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{Key, Type, Unit};
use crate::hub::json::Fields;
use grpc::Grpc;
use prost::Message;
use proto::{Attribute, Resource, Taken};
use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;

/// Keys of each.
pub const KEYS: &[Key] = &[
    Key::text(
        "endpoint",
        "",
        "address: http://host:4318/v1/logs (or traces, metrics), its path as well; with grpc http://host:4317, or https",
    ),
    Key::new("protocol", Type::Choice(&["http/protobuf", "grpc"]), "http/protobuf", "what the receiver speaks"),
    Key::text("headers", "", "further headers, with grpc metadata: name=value, separated by commas"),
    Key::new(
        "timeout",
        Type::Duration(Unit::Milliseconds),
        "10000",
        "time for an answer; hub.timeout where that is shorter",
    ),
    Key::flag("tls", "false", "taken for a Falcosidekick file's sake: the address says it"),
    Key::new("extraenvvars", Type::Map, "", "taken for a Falcosidekick file's sake: the program has no such variables"),
];

/// The way to a receiver.
pub struct Exporter(Way);

enum Way {
    Http { client: Client, url: String, headers: Vec<(String, String)>, timeout: Duration },
    Grpc(Box<Grpc>),
}

impl Exporter {
    /// `method`: what is called with gRPC, as a path.
    pub fn new(context: &Context, method: &'static str) -> Result<Exporter, String> {
        let settings = context.settings;
        let (check, mutual) = (settings.flag("checkcert"), settings.flag("mutualtls"));
        let mut headers = Vec::new();
        for pair in settings.text("headers").split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("headers: '{pair}' is not name=value"))?;
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let timeout = settings.duration("timeout").max(Duration::from_millis(10));
        let url = endpoint(settings.text("endpoint"))?;
        Ok(Exporter(match settings.text("protocol") {
            "grpc" => {
                let tls = context.tls.client(check, mutual, None)?;
                Way::Grpc(Box::new(Grpc::new(&url, method, &headers, timeout, tls)?))
            }
            _ => Way::Http { client: client(context, check, mutual)?, url, headers, timeout },
        }))
    }

    /// Sends a message, and says what the receiver took of it. `key` lets it tell a repetition.
    pub async fn export<M: Message + 'static>(&self, message: M, key: Option<&str>) -> Result<Taken, Failure> {
        match &self.0 {
            Way::Grpc(grpc) => grpc.export(message, key).await,
            Way::Http { client, url, headers, timeout } => {
                let mut request = Request::post(&**url, message.encode_to_vec())
                    .header("Content-Type", "application/x-protobuf")
                    .headers(headers);
                if let Some(key) = key {
                    request = request.header("Idempotency-Key", key);
                }
                let answer = send(client, Request { timeout: Some(*timeout), ..request }).await?;
                outcome(&answer)?;
                Ok(Taken::decode(&*answer.raw).unwrap_or_default())
            }
        }
    }
}

/// What differs between outputs of alerts.
pub trait Signal: Send + Sync + 'static {
    type Message: Message + 'static;
    /// What is called with gRPC, as a path.
    const METHOD: &'static str;

    fn batch(&self) -> Batch {
        Batch::ONE
    }

    /// Nothing when none of the alerts is for it.
    fn message(&self, alerts: &[Arc<Alert>]) -> Result<Option<Self::Message>, Failure>;
}

struct Alerts<S> {
    signal: S,
    exporter: Exporter,
    concurrency: usize,
}

/// The output for a signal.
pub fn forward<S: Signal>(context: &Context, signal: S) -> Result<Box<dyn Forward>, String> {
    let exporter = Exporter::new(context, S::METHOD)?;
    let concurrency = concurrency(context.settings.int("maxconcurrentrequests"));
    Ok(Box::new(Alerts { signal, exporter, concurrency }))
}

#[async_trait::async_trait]
impl<S: Signal> Forward for Alerts<S> {
    fn batch(&self) -> Batch {
        self.signal.batch()
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let message = match self.signal.message(alerts) {
            Ok(Some(message)) => message,
            other => return all(alerts, other.map(drop)),
        };
        let key = if let [alert] = alerts { Some(alert.uuid.as_str()) } else { None };
        match self.exporter.export(message, key).await {
            Ok(taken) => judge(taken, alerts),
            Err(failure) => all(alerts, Err(failure)),
        }
    }
}

/// What a receiver says of the alerts of one message. It may take only some, and does not tell which.
fn judge(taken: Taken, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
    match taken.partial_success {
        Some(taken) if taken.rejected > 0 => {
            let why = format!("the receiver rejected {} of {}: {}", taken.rejected, alerts.len(), taken.error_message);
            // Each alone tells which; what is rejected alone is not to be sent again.
            let failure = if alerts.len() > 1 { Failure::Refused(why) } else { Failure::Impossible(why) };
            all(alerts, Err(failure))
        }
        _ => all(alerts, Ok(())),
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
