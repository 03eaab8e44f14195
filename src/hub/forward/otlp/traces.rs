//! OpenTelemetry traces: a span for each alert about system calls.
//!
//! Alerts of one pod, else of one container, else of one host, are one trace.

use super::proto::{Attribute, Event, ResourceSpans, Scope, ScopeSpans, Span, Traces};
use super::{KEYS, Signal, forward, nanoseconds, resource};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type, Unit};
use crate::hub::forward::{Context, Failure, Forward, Kind, Work};
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "otlp.traces",
    label: "OTLPTraces",
    destination: "otlptraces",
    category: "traces",
    meaning: "A span for each alert of the source syscall, in a trace of its pod, container or host; others are left out.",
    required: &["endpoint"],
    keys: &[
        &[
            Key::new("duration", Type::Duration(Unit::Milliseconds), "1000", "length of a span"),
            Key::flag("synced", "false", "taken for a Falcosidekick file's sake: every request is waited for"),
        ],
        KEYS,
        HTTP,
    ],
    shared: &[],
    work: Work::Forward(make),
};

struct OtlpTraces {
    duration: Duration,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    forward(context, OtlpTraces { duration: context.settings.duration("duration") })
}

/// FNV-1a of 128 bits.
fn fnv(text: &str) -> u128 {
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b_u128;
    text.bytes().fold(start, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(prime))
}

/// The trace of an alert; nothing when no field tells where it happened.
pub fn trace_id(alert: &Alert) -> Option<u128> {
    let field = |name: &str| alert.field(name).filter(|value| !value.is_empty());
    let pod = field("k8s.ns.name").zip(field("k8s.pod.name")).map(|(namespace, pod)| format!("{namespace}:{pod}"));
    let container = || field("container.id").filter(|id| *id != "host").map(str::to_owned);
    let host = || field("evt.hostname").or(Some(&*alert.hostname).filter(|name| !name.is_empty())).map(str::to_owned);
    pod.or_else(container).or_else(host).map(|place| fnv(&place))
}

impl OtlpTraces {
    fn span(&self, alert: &Alert) -> Result<Span, Failure> {
        let trace = trace_id(alert).ok_or_else(|| {
            let fields = "k8s.ns.name with k8s.pod.name, container.id, evt.hostname, hostname";
            Failure::Impossible(format!("it has nothing that makes a trace: {fields}"))
        })?;
        let start = nanoseconds(alert.time);
        let length = u64::try_from(self.duration.as_nanos()).unwrap_or(0);
        let attributes = vec![
            Attribute::text("uuid", &alert.uuid),
            Attribute::text("source", &alert.source),
            Attribute::text("priority", alert.priority.name()),
            Attribute::text("rule", &alert.rule),
            Attribute::text("output", &alert.output),
            Attribute::text("hostname", &alert.hostname),
            Attribute::text("tags", &alert.tags.join(",")),
        ];
        Ok(Span {
            trace_id: trace.to_be_bytes().to_vec(),
            // Of the uuid, so that a repetition is the same span.
            span_id: fnv(&alert.uuid).to_be_bytes()[8..].to_vec(),
            name: alert.rule.clone(),
            // A server.
            kind: 2,
            start_time_unix_nano: start,
            end_time_unix_nano: start.saturating_add(length),
            attributes: super::attributes(attributes, &alert.output_fields),
            events: vec![Event { time_unix_nano: start, name: alert.output.clone() }],
        })
    }
}

impl Signal for OtlpTraces {
    type Message = Traces;
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    fn message(&self, alerts: &[Arc<Alert>]) -> Result<Option<Traces>, Failure> {
        let ours = alerts.iter().filter(|alert| matches!(&*alert.source, "syscall" | "syscalls"));
        let spans = ours.map(|alert| self.span(alert)).collect::<Result<Vec<_>, _>>()?;
        if spans.is_empty() {
            return Ok(None);
        }
        let scope = Scope { name: "falco".to_owned(), version: String::new() };
        let scopes = vec![ScopeSpans { scope: Some(scope), spans }];
        Ok(Some(Traces { resources: vec![ResourceSpans { resource: Some(resource()), scopes }] }))
    }
}
