//! Outputs: where alerts go.
//!
//! One file per kind, and one row of [`KINDS`] each. From the rows come the configuration keys, the environment
//! variables, the metrics' names, `falco-hub outputs` and docs/outputs.md. To add one: write `forward/NAME.rs` with a
//! `pub const KIND`, and add it to the list. An output over HTTP implements [`http::Payload`], any other [`Forward`].
//!
//! Invariant: an output only says whether the alerts arrived; when to try again is decided in [`worker`] alone.

pub mod chat;
pub mod function;
pub mod health;
pub mod http;
pub mod kind;
pub mod kubernetes;
pub mod lines;
pub mod token;
pub mod whole;
pub mod worker;

pub mod alertmanager;
pub mod aws;
pub mod cliq;
pub mod cloudevents;
pub mod datadog;
pub mod datadoglogs;
pub mod discord;
pub mod dogstatsd;
pub mod dynatrace;
pub mod elasticsearch;
pub mod eventhub;
pub mod file;
pub mod fission;
pub mod gcp;
pub mod googlechat;
pub mod gotify;
pub mod grafana;
pub mod grafanaoncall;
pub mod influxdb;
pub mod kafka;
pub mod kafkarest;
pub mod kubeless;
pub mod logstash;
pub mod loki;
pub mod mattermost;
pub mod mqtt;
pub mod n8n;
pub mod nats;
pub mod nodered;
pub mod openfaas;
pub mod openobserve;
pub mod opsgenie;
pub mod otlp;
pub mod pagerduty;
pub mod policyreport;
pub mod prometheus;
pub mod quickwit;
pub mod rabbitmq;
pub mod redis;
pub mod rocketchat;
pub mod slack;
pub mod smtp;
pub mod splunk;
pub mod spyderbat;
pub mod stan;
pub mod statsd;
pub mod sumologic;
pub mod syslog;
pub mod talon;
pub mod teams;
pub mod tekton;
pub mod telegram;
pub mod timescaledb;
pub mod wavefront;
pub mod webex;
pub mod webhook;
pub mod webui;
pub mod yandex;
pub mod zincsearch;

pub use kind::{Context, Kind, Work};

use super::alert::Alert;
use std::sync::Arc;
use std::time::Duration;

/// Every kind of output.
pub const KINDS: &[&Kind] = &[
    &alertmanager::KIND,
    &aws::cloudwatchlogs::KIND,
    &aws::kinesis::KIND,
    &aws::lambda::KIND,
    &aws::s3::KIND,
    &aws::securitylake::KIND,
    &aws::sns::KIND,
    &aws::sqs::KIND,
    &cliq::KIND,
    &cloudevents::KIND,
    &datadog::KIND,
    &datadoglogs::KIND,
    &discord::KIND,
    &dogstatsd::KIND,
    &dynatrace::KIND,
    &elasticsearch::KIND,
    &eventhub::KIND,
    &file::KIND,
    &fission::KIND,
    &gcp::chronicle::KIND,
    &gcp::cloudfunctions::KIND,
    &gcp::cloudrun::KIND,
    &gcp::pubsub::KIND,
    &gcp::storage::KIND,
    &googlechat::KIND,
    &gotify::KIND,
    &grafana::KIND,
    &grafanaoncall::KIND,
    &influxdb::KIND,
    &kafka::KIND,
    &kafkarest::KIND,
    &kubeless::KIND,
    &logstash::KIND,
    &loki::KIND,
    &mattermost::KIND,
    &mqtt::KIND,
    &n8n::KIND,
    &nats::KIND,
    &nodered::KIND,
    &openfaas::KIND,
    &openobserve::KIND,
    &opsgenie::KIND,
    &otlp::logs::KIND,
    &otlp::metrics::KIND,
    &otlp::traces::KIND,
    &pagerduty::KIND,
    &policyreport::KIND,
    &prometheus::KIND,
    &quickwit::KIND,
    &rabbitmq::KIND,
    &redis::KIND,
    &rocketchat::KIND,
    &slack::KIND,
    &smtp::KIND,
    &splunk::KIND,
    &spyderbat::KIND,
    &stan::KIND,
    &statsd::KIND,
    &sumologic::KIND,
    &syslog::KIND,
    &talon::KIND,
    &teams::KIND,
    &tekton::KIND,
    &telegram::KIND,
    &timescaledb::KIND,
    &wavefront::KIND,
    &webex::KIND,
    &webhook::KIND,
    &webui::KIND,
    &yandex::datastreams::KIND,
    &yandex::s3::KIND,
    &zincsearch::KIND,
];

/// The kind of that name, which is its section in the configuration.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.section.eq_ignore_ascii_case(name))
}

/// Why alerts did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing would arrive now: unreachable, overloaded, wrong credentials. Tried again until the alert is too old.
    #[error("{what}")]
    Down { what: String, after: Option<Duration> },
    /// The receiver refuses this alert while it may take others. Tried again a few times, others go ahead.
    #[error("refused: {0}")]
    Refused(String),
    /// This alert cannot be expressed for the receiver. Never tried again.
    #[error("cannot be sent: {0}")]
    Impossible(String),
}

impl Failure {
    pub fn down(what: impl std::fmt::Display) -> Failure {
        Failure::Down { what: what.to_string(), after: None }
    }
}

/// How many alerts an output takes in one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub alerts: usize,
    /// Of their bodies.
    pub bytes: usize,
    /// How long to wait for more when there are fewer.
    pub linger: Duration,
}

impl Batch {
    pub const ONE: Batch = Batch { alerts: 1, bytes: usize::MAX, linger: Duration::ZERO };
}

/// A target. Connections are made when they are needed and made anew when they break.
#[async_trait::async_trait]
pub trait Forward: Send + Sync {
    fn batch(&self) -> Batch {
        Batch::ONE
    }

    /// Whether it is never one alert's fault when several are not taken: they are tried again together.
    fn alike(&self) -> bool {
        false
    }

    /// Deliveries at a time.
    fn concurrency(&self) -> usize {
        1
    }

    /// Whether the receiver can be reached, where that can be told without sending anything. Asked at the start and
    /// while the output is down with nothing to send.
    async fn reach(&self) -> Option<Result<(), Failure>> {
        None
    }

    /// Delivers up to [`Forward::batch`] alerts, of which there is at least one. One result for each: an alert of which
    /// `Ok` is said must have been taken by the receiver.
    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>>;
}

/// The most deliveries at a time an output can be told.
pub const CONCURRENCY_MAX: usize = 64;

/// What a `maxconcurrentrequests` means.
pub fn concurrency(requests: i64) -> usize {
    usize::try_from(requests).ok().filter(|n| *n > 0).unwrap_or(CONCURRENCY_MAX).min(CONCURRENCY_MAX)
}

/// The same outcome for each of `alerts`.
pub fn all(alerts: &[Arc<Alert>], outcome: Result<(), Failure>) -> Vec<Result<(), Failure>> {
    vec![outcome; alerts.len()]
}
