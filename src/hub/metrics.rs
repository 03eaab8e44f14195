//! The hub's metrics: Falcosidekick's counters under their names, and what its users miss.
//!
//! The same events of counting go to StatsD where that is configured. Invariant: the number of series is bounded; what
//! is beyond counts under the label `(more)`.

use super::alert::Alert;
use super::config::Section;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Somebody who gets every count: StatsD, OpenTelemetry.
pub trait Counts: Send + Sync {
    /// One more of `name`. Must not wait.
    fn count(&self, name: &str, tags: &[(&str, &str)]);

    /// An alert that was accepted. Must not wait.
    fn alert(&self, _alert: &Alert) {}
}

/// Series of `falco_events_total` beyond this are counted together.
const SERIES_MAX: usize = 10_000;
const MORE: &str = "(more)";
/// What alerts over HTTP come from.
pub const REQUESTS: &str = "requests";

pub struct Metrics {
    registry: Registry,
    inputs: IntCounterVec,
    outputs: IntCounterVec,
    events: IntCounterVec,
    event_series: Mutex<HashSet<Vec<String>>>,
    /// Fields that are labels of `events`, behind the fixed ones.
    event_fields: Vec<String>,
    refused: IntCounterVec,
    taken: IntCounterVec,
    repeated: IntCounterVec,
    input_rejected: IntCounterVec,
    pub input_up: IntGaugeVec,
    pub input_last_success: GaugeVec,
    pub queue: IntGaugeVec,
    pub oldest: GaugeVec,
    pub last_success: GaugeVec,
    pub up: IntGaugeVec,
    pub held: IntGaugeVec,
    pub dead_letters: IntGaugeVec,
    pub latency: HistogramVec,
    pub used: IntGauge,
    pub limit: IntGauge,
    pub removed: IntCounter,
    pub dead_letters_removed: IntCounter,
    pub full: IntGauge,
    pub store_used: IntGauge,
    pub store_limit: IntGauge,
    pub store_removed: IntCounter,
    pub grpc_calls: IntGauge,
    pub grpc_given: IntCounter,
    pub grpc_missed: IntCounter,
    counts: Vec<Box<dyn Counts>>,
}

const FIXED: [&str; 7] = ["hostname", "rule", "priority", "priority_raw", "source", "k8s_ns_name", "k8s_pod_name"];

/// The name of a label for a field; nothing when it cannot be one.
fn label(field: &str) -> Option<String> {
    let name = field.replace('.', "_");
    let first = name.chars().next()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    (!first.is_ascii_digit() && name.chars().all(fits)).then_some(name)
}

/// The labels of `falco_events_total`, and the fields behind those that are not fixed.
pub fn event_labels(core: &Section) -> (Vec<String>, Vec<String>) {
    let mut labels: Vec<String> = FIXED.iter().map(|name| (*name).to_owned()).collect();
    let mut fields = Vec::new();
    let names = |key: &str| core.map(key).iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    for mut group in [names("customfields"), names("templatedfields"), core.list("prometheus.extralabels").to_vec()] {
        group.sort_unstable();
        for field in group {
            match label(&field) {
                Some(name) if !labels.contains(&name) => {
                    labels.push(name);
                    fields.push(field);
                }
                Some(_) => {}
                None => tracing::error!("'{field}' cannot be the name of a label: it is left out of the metrics"),
            }
        }
    }
    (labels, fields)
}

impl Metrics {
    pub fn new(core: &Section, counts: Vec<Box<dyn Counts>>) -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let vector = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vector.clone()))?;
            prometheus::Result::Ok(vector)
        };
        let gauges = |label: &str, name: &str, help: &str| {
            let vector = GaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(vector.clone()))?;
            prometheus::Result::Ok(vector)
        };
        let int_gauges = |label: &str, name: &str, help: &str| {
            let vector = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(vector.clone()))?;
            prometheus::Result::Ok(vector)
        };
        let int_gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let (labels, event_fields) = event_labels(core);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let latency = HistogramVec::new(
            HistogramOpts::new("falco_hub_delivery_seconds", "Time of one attempt to deliver")
                .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0]),
            &["output"],
        )?;
        registry.register(Box::new(latency.clone()))?;
        let started = Gauge::new("falco_hub_start_time_seconds", "When the hub was started, since 1970")?;
        registry.register(Box::new(started.clone()))?;
        started.set(super::spool::now() as f64 / 1e3);
        Ok(Metrics {
            inputs: counters("falcosecurity_falcosidekick_inputs_total", "Alerts received", &["source", "status"])?,
            outputs: counters(
                "falcosecurity_falcosidekick_outputs_total",
                "Deliveries of alerts, those in vain as well",
                &["destination", "status"],
            )?,
            events: counters("falcosecurity_falcosidekick_falco_events_total", "Alerts accepted", &labels)?,
            refused: counters("falco_hub_refused_total", "Alerts not accepted, by reason", &["reason"])?,
            taken: counters("falco_hub_input_alerts_total", "Alerts taken from a broker and kept", &["input"])?,
            repeated: counters(
                "falco_hub_input_repeated_total",
                "Alerts not kept again because their uuid was there; requests: with an Idempotency-Key over HTTP",
                &["input"],
            )?,
            input_rejected: counters(
                "falco_hub_input_rejected_total",
                "Messages of a broker that were no alerts, by reason",
                &["input", "reason"],
            )?,
            input_up: int_gauges("input", "falco_hub_input_up", "1 when the last attempt found the broker working")?,
            input_last_success: gauges(
                "input",
                "falco_hub_input_last_success_seconds",
                "Time alerts of a broker were last kept, since 1970",
            )?,
            queue: int_gauges("output", "falco_hub_output_queue", "Alerts that wait for an output")?,
            oldest: gauges(
                "output",
                "falco_hub_output_oldest_seconds",
                "Age of the oldest alert that waits for an output",
            )?,
            last_success: gauges(
                "output",
                "falco_hub_output_last_success_seconds",
                "Time of the last delivery, since 1970",
            )?,
            up: int_gauges("output", "falco_hub_output_up", "1 when the last attempt found the output working")?,
            held: int_gauges(
                "output",
                "falco_hub_output_held",
                "Alerts of an output that are put aside and tried again",
            )?,
            dead_letters: int_gauges("output", "falco_hub_output_dead_letters", "Alerts that an output did not get")?,
            used: int_gauge("falco_hub_spool_bytes", "Size of the database in use")?,
            limit: int_gauge("falco_hub_spool_limit_bytes", "Size at which delivered alerts are removed")?,
            full: int_gauge("falco_hub_spool_full", "1 when new alerts are refused because nothing may be removed")?,
            removed: counter("falco_hub_removed_total", "Alerts removed, too old or too many")?,
            dead_letters_removed: counter(
                "falco_hub_dead_letters_removed_total",
                "Dead letters removed with their alerts: an output never got them",
            )?,
            store_used: int_gauge("falco_hub_store_bytes", "Size of the alerts in the shared store")?,
            store_limit: int_gauge("falco_hub_store_limit_bytes", "Size at which the oldest of them are removed")?,
            store_removed: counter("falco_hub_store_removed_total", "Alerts this hub removed from the shared store")?,
            grpc_calls: int_gauge("falco_hub_grpc_calls", "Calls of gRPC clients (sub, get) that are open")?,
            grpc_given: counter("falco_hub_grpc_alerts_total", "Alerts given to gRPC clients")?,
            grpc_missed: counter(
                "falco_hub_grpc_missed_total",
                "Alerts that were removed before a gRPC client took them, for each such client",
            )?,
            latency,
            event_series: Mutex::default(),
            event_fields,
            registry,
            counts,
        })
    }

    fn count(&self, name: &str, tags: &[(&str, &str)]) {
        self.counts.iter().for_each(|to| to.count(name, tags));
    }

    /// `source`: [`REQUESTS`], or the kind of broker.
    pub fn accepted(&self, source: &str, alert: &Alert) {
        self.inputs.with_label_values(&[source, "accepted"]).inc();
        self.count("total", &[]);
        self.count(&format!("inputs.{source}.accepted"), &[]);
        self.count("falco.accepted", &[("priority", alert.priority.name())]);
        self.counts.iter().for_each(|to| to.alert(alert));
        let field = |name: &str| alert.field(name).unwrap_or_default().to_owned();
        let hostname = if alert.hostname.is_empty() { "unknown" } else { &alert.hostname };
        let mut values = vec![
            hostname.to_owned(),
            alert.rule.clone(),
            (alert.priority as u8).to_string(),
            alert.priority.name().to_ascii_lowercase(),
            alert.source.clone(),
            field("k8s.ns.name"),
            field("k8s.pod.name"),
        ];
        for name in &self.event_fields {
            values.push(alert.output_fields.get(name).map(ToString::to_string).unwrap_or_default());
        }
        let mut series = self.event_series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= SERIES_MAX && !series.contains(&values) {
            // What an attacker can choose must not make more series; the priority stays.
            for (i, value) in values.iter_mut().enumerate() {
                if i != 2 && i != 3 {
                    MORE.clone_into(value);
                }
            }
        }
        self.events.with_label_values(&values).inc();
        series.insert(values);
    }

    /// `reason`: one word.
    pub fn rejected(&self, source: &str, reason: &str) {
        self.inputs.with_label_values(&[source, "rejected"]).inc();
        self.refused.with_label_values(&[reason]).inc();
        self.count("total", &[]);
        self.count(
            &format!("inputs.{source}.rejected"),
            &[("error", if reason == "empty" { "nobody" } else { "invalidjson" })],
        );
    }

    /// What became of messages that an input took, or of requests that repeat an alert.
    pub fn taken(&self, input: &str, kept: usize, repeated: usize) {
        for (counter, number) in [(&self.taken, kept), (&self.repeated, repeated)] {
            // A series begins with the first.
            if number > 0 {
                counter.with_label_values(&[input]).inc_by(number as u64);
            }
        }
    }

    /// A message of an input that was no alert.
    pub fn input_rejected(&self, input: &str, reason: &str) {
        self.input_rejected.with_label_values(&[input, reason]).inc();
    }

    /// One attempt to deliver one alert.
    pub fn delivered(&self, destination: &str, ok: bool) {
        let status = if ok { "ok" } else { "error" };
        self.outputs.with_label_values(&[destination, status]).inc();
        self.count("outputs", &[("output", destination), ("status", status)]);
    }

    pub fn took(&self, output: &str, time: Duration) {
        self.latency.with_label_values(&[output]).observe(time.as_secs_f64());
    }

    /// In Prometheus' text form.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::config::{Sources, parse};

    #[test]
    fn series_are_bounded() {
        let config = parse("", "", &Sources { options: &[], environment: &|_| None }).expect("valid");
        let metrics = Metrics::new(&config.core, Vec::new()).expect("metrics");
        let mut alert = Alert::test();
        for i in 0..SERIES_MAX + 50 {
            alert.hostname = format!("h{i}");
            metrics.accepted(REQUESTS, &alert);
        }
        let text = metrics.text();
        let series = text.lines().filter(|line| line.starts_with("falcosecurity_falcosidekick_falco_events_total"));
        assert_eq!(series.count(), SERIES_MAX + 1);
        assert!(text.contains(r#"hostname="(more)""#) && text.contains("priority_raw=\"debug\""), "one for the rest");
        assert!(
            text.contains(r#"falcosecurity_falcosidekick_inputs_total{source="requests",status="accepted"} 10050"#)
        );
    }
}
