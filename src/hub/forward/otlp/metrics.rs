//! OpenTelemetry metrics: the hub's counters and the matches of rules, at intervals. Not alerts.
//!
//! Counting never waits; a report that fails is made up for by the next one, as counters only grow.

use super::proto::{
    AnyValue, Attribute, List, Metric, Metrics, Point, ResourceMetrics, Scope, ScopeMetrics, Sum, Value,
};
use super::{Exporter, KEYS, nanoseconds, resource};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{HTTP, Key, Type, Unit};
use crate::hub::forward::{Context, Kind, Work};
use crate::hub::metrics::Counts;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "otlp.metrics",
    label: "OTLPMetrics",
    destination: "otlpmetrics",
    category: "metrics",
    meaning: "Counters of what came in, what went out, and the matches of each rule.",
    required: &["endpoint"],
    keys: &[
        KEYS,
        &[
            Key::new("extraattributes", Type::List, "", "fields that are attributes of the matches"),
            Key::new("interval", Type::Duration(Unit::Seconds), "60", "time between two reports (ours)"),
            Key::text("minimumpriority", "", "taken for a Falcosidekick file's sake: it has no effect there either"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Counts(make),
};

/// What is called with gRPC.
const METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Series beyond this are counted together.
const SERIES_MAX: usize = 10_000;
const INPUTS: &str = "falcosecurity_falcosidekick_inputs";
const OUTPUTS: &str = "falcosecurity_falcosidekick_outputs";
const MATCHES: &str = "falcosecurity_falco_rules_matches_total";

/// Name and attributes; of an attribute with several values each is one.
type Series = (&'static str, Vec<(String, Vec<String>)>);
type Counters = Mutex<BTreeMap<Series, i64>>;

struct OtlpMetrics {
    counters: Arc<Counters>,
    fields: Vec<String>,
}

fn make(context: &Context) -> Result<Box<dyn Counts>, String> {
    let settings = context.settings;
    let exporter = Exporter::new(context, METHOD)?;
    let interval = settings.duration("interval").max(Duration::from_millis(100));
    let maps = ["customfields", "templatedfields"].map(|key| context.core.map(key));
    let mut fields: Vec<String> = maps.concat().into_iter().map(|(name, _)| name).collect();
    fields.extend(settings.list("extraattributes").iter().cloned());
    let counters: Arc<Counters> = Arc::default();
    let (counted, start) = (counters.clone(), nanoseconds(Time::now()));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            let Some(message) = report(&counted, start) else { continue };
            if let Err(why) = exporter.export(message, None).await {
                tracing::error!("OTLPMetrics: {why}");
            }
        }
    });
    Ok(Box::new(OtlpMetrics { counters, fields }))
}

/// Nothing while nothing was counted.
fn report(counters: &Counters, start: u64) -> Option<Metrics> {
    let now = nanoseconds(Time::now());
    let mut metrics: Vec<Metric> = Vec::new();
    for ((name, attributes), count) in &*counters.lock().unwrap_or_else(PoisonError::into_inner) {
        let attribute = |(key, values): &(String, Vec<String>)| match values.as_slice() {
            [value] if key != "tags" => Attribute::text(key, value),
            values => {
                let values = values.iter().map(|value| AnyValue::from(Value::Text(value.clone()))).collect();
                Attribute::new(key, Value::List(List { values }))
            }
        };
        let point = Point {
            start_time_unix_nano: start,
            time_unix_nano: now,
            as_int: Some(*count),
            attributes: attributes.iter().map(attribute).collect(),
        };
        match metrics.last_mut().filter(|metric| metric.name == *name).and_then(|metric| metric.sum.as_mut()) {
            Some(sum) => sum.points.push(point),
            None => {
                // Cumulative.
                let sum = Sum { points: vec![point], aggregation_temporality: 2, is_monotonic: true };
                metrics.push(Metric { name: (*name).to_owned(), sum: Some(sum) });
            }
        }
    }
    if metrics.is_empty() {
        return None;
    }
    let scope = Scope { name: "falcosecurity.falco.otlpmetrics.meter".to_owned(), version: String::new() };
    let scopes = vec![ScopeMetrics { scope: Some(scope), metrics }];
    Some(Metrics { resources: vec![ResourceMetrics { resource: Some(resource()), scopes }] })
}

impl OtlpMetrics {
    fn add(&self, name: &'static str, attributes: Vec<(&str, Vec<String>)>) {
        let attributes: Vec<_> = attributes.into_iter().map(|(key, values)| (key.to_owned(), values)).collect();
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut series = (name, attributes);
        if counters.len() >= SERIES_MAX && !counters.contains_key(&series) {
            series = (name, vec![("more".to_owned(), vec!["true".to_owned()])]);
        }
        *counters.entry(series).or_default() += 1;
    }
}

impl Counts for OtlpMetrics {
    fn count(&self, name: &str, tags: &[(&str, &str)]) {
        let one = |value: &str| vec![value.to_owned()];
        match name {
            "inputs.requests.accepted" => {
                self.add(INPUTS, vec![("source", one("requests")), ("status", one("accepted"))])
            }
            "inputs.requests.rejected" => {
                self.add(INPUTS, vec![("source", one("requests")), ("status", one("rejected"))])
            }
            "outputs" => {
                let name = |key: &str| if key == "output" { "destination" } else { "status" };
                self.add(OUTPUTS, tags.iter().map(|(key, value)| (name(key), one(value))).collect());
            }
            _ => {}
        }
    }

    fn alert(&self, alert: &Alert) {
        let mut attributes = vec![
            ("source", vec![alert.source.clone()]),
            ("priority", vec![alert.priority.name().to_owned()]),
            ("rule", vec![alert.rule.clone()]),
            ("hostname", vec![alert.hostname.clone()]),
            ("tags", alert.tags.clone()),
        ];
        for field in &self.fields {
            let new = !attributes.iter().any(|(name, _)| *name == field.as_str());
            if let Some(value) = alert.output_fields.get(field).filter(|_| new) {
                attributes.push((field.as_str(), vec![value.to_string()]));
            }
        }
        self.add(MATCHES, attributes);
    }
}
