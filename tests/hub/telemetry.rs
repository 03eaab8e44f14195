//! OpenTelemetry: bodies are taken apart by the wire format and by the published messages (opentelemetry-proto, v1). What
//! is not in those, or is there in another type, is a fault.

use crate::process::{Hub, Mode, Receiver, alert, wait_until};
use serde_json::json;
use std::time::Duration;

/// A field of a message: a number, or bytes.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// What a field of a published message is.
#[derive(Clone, Copy)]
enum Kind {
    Varint,
    Fixed64,
    Fixed32,
    Text,
    Bytes,
    /// A message of that name.
    Of(&'static str),
}

use Kind::{Bytes, Fixed32, Fixed64, Of, Text, Varint};

/// The published messages: the numbers and types of their fields, and which of these may repeat.
fn message(name: &str) -> &'static [(u64, Kind, bool)] {
    match name {
        "LogsData" => &[(1, Of("ResourceLogs"), true)],
        "ResourceLogs" => &[(1, Of("Resource"), false), (2, Of("ScopeLogs"), true), (3, Text, false)],
        "ScopeLogs" => &[(1, Of("Scope"), false), (2, Of("LogRecord"), true), (3, Text, false)],
        "LogRecord" => &[
            (1, Fixed64, false),
            (2, Varint, false),
            (3, Text, false),
            (5, Of("AnyValue"), false),
            (6, Of("KeyValue"), true),
            (7, Varint, false),
            (8, Fixed32, false),
            (9, Bytes, false),
            (10, Bytes, false),
            (11, Fixed64, false),
            (12, Text, false),
        ],
        "TracesData" => &[(1, Of("ResourceSpans"), true)],
        "ResourceSpans" => &[(1, Of("Resource"), false), (2, Of("ScopeSpans"), true), (3, Text, false)],
        "ScopeSpans" => &[(1, Of("Scope"), false), (2, Of("Span"), true), (3, Text, false)],
        "Span" => &[
            (1, Bytes, false),
            (2, Bytes, false),
            (3, Text, false),
            (4, Bytes, false),
            (5, Text, false),
            (6, Varint, false),
            (7, Fixed64, false),
            (8, Fixed64, false),
            (9, Of("KeyValue"), true),
            (10, Varint, false),
            (11, Of("Event"), true),
            (12, Varint, false),
            (14, Varint, false),
            (16, Fixed32, false),
        ],
        "Event" => &[(1, Fixed64, false), (2, Text, false), (3, Of("KeyValue"), true), (4, Varint, false)],
        "MetricsData" => &[(1, Of("ResourceMetrics"), true)],
        "ResourceMetrics" => &[(1, Of("Resource"), false), (2, Of("ScopeMetrics"), true), (3, Text, false)],
        "ScopeMetrics" => &[(1, Of("Scope"), false), (2, Of("Metric"), true), (3, Text, false)],
        "Metric" => &[(1, Text, false), (2, Text, false), (3, Text, false), (7, Of("Sum"), false)],
        "Sum" => &[(1, Of("NumberDataPoint"), true), (2, Varint, false), (3, Varint, false)],
        "NumberDataPoint" => &[
            (2, Fixed64, false),
            (3, Fixed64, false),
            (4, Fixed64, false),
            (6, Fixed64, false),
            (7, Of("KeyValue"), true),
            (8, Varint, false),
        ],
        "Resource" => &[(1, Of("KeyValue"), true), (2, Varint, false)],
        "Scope" => &[(1, Text, false), (2, Text, false), (3, Of("KeyValue"), true), (4, Varint, false)],
        "KeyValue" => &[(1, Text, false), (2, Of("AnyValue"), false)],
        "AnyValue" => &[
            (1, Text, false),
            (2, Varint, false),
            (3, Varint, false),
            (4, Fixed64, false),
            (5, Of("ArrayValue"), false),
            (6, Of("KeyValueList"), false),
            (7, Bytes, false),
        ],
        "ArrayValue" => &[(1, Of("AnyValue"), true)],
        "KeyValueList" => &[(1, Of("KeyValue"), true)],
        _ => panic!("no message {name}"),
    }
}

/// Goes through a whole message.
fn check(name: &str, bytes: &[u8]) {
    let known = message(name);
    let found = fields(bytes);
    let one = |number: u64| found.iter().find(|(n, _, _)| *n == number).map(|(_, _, field)| field.clone());
    for (number, wire, field) in &found {
        let row = known.iter().find(|(n, _, _)| n == number);
        let (_, kind, repeats) = row.unwrap_or_else(|| panic!("{name} has no field {number}"));
        assert!(*repeats || found.iter().filter(|(n, _, _)| n == number).count() == 1, "{name}.{number} repeats");
        match (kind, field) {
            (Varint, Field::Number(_)) => assert_eq!(*wire, 0, "{name}.{number}"),
            (Fixed64, Field::Number(_)) => assert_eq!(*wire, 1, "{name}.{number}"),
            (Fixed32, Field::Number(_)) => assert_eq!(*wire, 5, "{name}.{number}"),
            (Text, Field::Bytes(text)) => assert!(std::str::from_utf8(text).is_ok(), "{name}.{number}"),
            (Bytes, Field::Bytes(_)) => {}
            (Of(inner), Field::Bytes(bytes)) => check(inner, bytes),
            _ => panic!("{name}.{number}: wire type {wire}"),
        }
    }
    let length = |number: u64| match one(number) {
        Some(Field::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    let number = |number: u64| match one(number) {
        Some(Field::Number(value)) => value,
        _ => 0,
    };
    // What the comments of the published messages ask for.
    match name {
        "AnyValue" => assert!(found.len() <= 1, "one of the values"),
        "KeyValue" => assert!(length(1) > 0, "a key is not empty"),
        "LogRecord" => assert!(number(11) > 0 && number(2) <= 24, "it was observed, and its severity exists"),
        "Span" => {
            assert_eq!((length(1), length(2)), (16, 8), "sizes of identifiers");
            assert!(length(5) > 0 && number(6) <= 5 && number(7) > 0 && number(8) >= number(7), "name, kind, times");
        }
        "Metric" => assert!(length(1) > 0 && one(7).is_some(), "a metric has a name and data"),
        "Sum" => assert!([1, 2].contains(&number(2)), "a temporality"),
        "NumberDataPoint" => {
            assert!(one(4).is_some() != one(6).is_some(), "one value");
            assert!(number(3) >= number(2) && number(2) > 0, "times");
        }
        _ => {}
    }
    let attributes = known.iter().find(|(_, kind, repeats)| *repeats && matches!(kind, Of("KeyValue")));
    if let Some((number, _, _)) = attributes {
        let mut keys: Vec<_> = at(bytes, &[*number, 1]).into_iter().map(|key| format!("{key:?}")).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all, "keys of {name} are unique");
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a byte");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}

/// Number, wire type and value of each field.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, 0, Field::Number(varint(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).expect("small"),
            5 => 4,
            kind => panic!("wire type {kind}"),
        };
        let (taken, rest) = bytes.split_at_checked(length).expect("as many bytes as it says");
        bytes = rest;
        let field = match key & 7 {
            1 => Field::Number(u64::from_le_bytes(taken.try_into().expect("8 bytes"))),
            5 => Field::Number(u32::from_le_bytes(taken.try_into().expect("4 bytes")).into()),
            _ => Field::Bytes(taken.to_vec()),
        };
        fields.push((key >> 3, key & 7, field));
    }
    fields
}

/// All that is at a path of field numbers.
fn at(bytes: &[u8], path: &[u64]) -> Vec<Field> {
    let (first, rest) = path.split_first().expect("a number");
    let found = fields(bytes).into_iter().filter(|(number, _, _)| number == first).map(|(_, _, field)| field);
    if rest.is_empty() {
        return found.collect();
    }
    found.flat_map(|field| if let Field::Bytes(bytes) = field { at(&bytes, rest) } else { Vec::new() }).collect()
}

fn text(field: &str) -> Field {
    Field::Bytes(field.as_bytes().to_vec())
}

/// The value of an attribute: field 1 of a KeyValue is its name, 2 its value.
fn attribute(attributes: &[Field], name: &str) -> Option<Vec<(u64, Field)>> {
    attributes.iter().find_map(|field| {
        let Field::Bytes(bytes) = field else { return None };
        (at(bytes, &[1]) == [text(name)]).then(|| match at(bytes, &[2]).remove(0) {
            Field::Bytes(value) => fields(&value).into_iter().map(|(number, _, field)| (number, field)).collect(),
            Field::Number(_) => panic!("a value is a message"),
        })
    })
}

#[test]
fn logs_traces_and_metrics() {
    let server = Receiver::http(Mode::Up);
    let to = |signal: &str| format!("{}/v1/{signal}", server.url());
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms"},
        "otlp": {
            "logs": {"endpoint": to("logs"), "headers": "X-A=b, X-C = d=e"},
            "traces": {"endpoint": to("traces"), "duration": 2000},
            "metrics": {"endpoint": to("metrics"), "interval": "200ms", "extraattributes": ["proc.name"]},
        },
    }));
    let mut one = alert(1);
    one["output_fields"]["evt.hostname"] = json!("localhost");
    // Not twice among the attributes.
    one["output_fields"]["source"] = json!("another");
    one["output_fields"]["share"] = json!(0.5);
    assert_eq!(hub.post("/", &one.to_string()).expect("answered").0, 200);
    let matches = || {
        let requests = server.all();
        requests.into_iter().rev().find(|r| r.path == "/v1/metrics" && at(&r.body, &[1, 2, 2, 1]).len() == 3)
    };
    let all =
        || matches().is_some() && ["/v1/logs", "/v1/traces"].iter().all(|p| server.all().iter().any(|r| r.path == *p));
    wait_until("all three", Duration::from_secs(20), all);
    let requests = server.all();
    for request in &requests {
        let name = match &*request.path {
            "/v1/logs" => "LogsData",
            "/v1/traces" => "TracesData",
            "/v1/metrics" => "MetricsData",
            other => panic!("nobody is to ask for {other}"),
        };
        check(name, &request.body);
    }
    let of = |path: &str| requests.iter().find(|request| request.path == path).expect("a request");
    let start = 1_706_702_400_000_000_001;

    let logs = of("/v1/logs");
    let headers = ["content-type", "x-a", "x-c"].map(|name| logs.headers[name].clone());
    assert_eq!(headers, ["application/x-protobuf", "b", "d=e"]);
    // resource_logs, scope_logs, log_records
    let record = at(&logs.body, &[1, 2, 2]);
    let Field::Bytes(record) = &record[0] else { panic!("a message") };
    assert_eq!((at(record, &[1]), at(record, &[2])), (vec![Field::Number(start)], vec![Field::Number(13)]));
    assert_eq!((at(record, &[3]), at(record, &[5, 1])), (vec![text("WARN")], vec![text("alert <1>")]));
    let attributes = at(record, &[6]);
    assert_eq!(attribute(&attributes, "rule"), Some(vec![(1, text("Numbered"))]));
    assert_eq!(attribute(&attributes, "tags"), Some(vec![(1, text("a,b"))]));
    assert_eq!(attribute(&attributes, "evt.time"), Some(vec![(3, Field::Number(1_700_000_000_000_000_001))]));
    assert_eq!(attribute(&attributes, "source"), Some(vec![(1, text("syscall"))]));
    assert_eq!(attribute(&attributes, "share"), Some(vec![(4, Field::Number(0.5_f64.to_bits()))]));
    let resource = at(&logs.body, &[1, 1, 1]);
    assert_eq!(attribute(&resource, "service.name"), Some(vec![(1, text("falco"))]));

    // resource_spans, scope_spans, spans
    let span = at(&of("/v1/traces").body, &[1, 2, 2]);
    let Field::Bytes(span) = &span[0] else { panic!("a message") };
    let trace: Vec<u8> = (0..16)
        .map(|i| u8::from_str_radix(&"b96c8fbfe005d268653aef8210412f0a"[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    assert_eq!(at(span, &[1]), [Field::Bytes(trace)], "of the host's name");
    assert!(matches!(&at(span, &[2])[0], Field::Bytes(id) if id.len() == 8 && id.iter().any(|b| *b != 0)));
    assert_eq!((at(span, &[5]), at(span, &[6])), (vec![text("Numbered")], vec![Field::Number(2)]));
    assert_eq!(
        (at(span, &[7]), at(span, &[8])),
        (vec![Field::Number(start)], vec![Field::Number(start + 2_000_000_000)])
    );
    assert_eq!(at(span, &[11, 2]), [text("alert <1>")]);
    assert_eq!(attribute(&at(span, &[9]), "proc.name"), Some(vec![(1, text("sh"))]));

    // resource_metrics, scope_metrics, metrics: by name
    let metrics = matches().expect("a report");
    assert_eq!(
        at(&metrics.body, &[1, 2, 2, 1]),
        [
            text("falcosecurity_falco_rules_matches_total"),
            text("falcosecurity_falcosidekick_inputs"),
            text("falcosecurity_falcosidekick_outputs")
        ]
    );
    let Field::Bytes(first) = &at(&metrics.body, &[1, 2, 2])[0] else { panic!("a message") };
    // sum: cumulative, only growing; its point is one
    assert_eq!((at(first, &[7, 2]), at(first, &[7, 3])), (vec![Field::Number(2)], vec![Field::Number(1)]));
    assert_eq!(at(first, &[7, 1, 6]), [Field::Number(1)]);
    let attributes = at(first, &[7, 1, 7]);
    assert_eq!(attribute(&attributes, "proc.name"), Some(vec![(1, text("sh"))]));
    let Some([(5, Field::Bytes(tags))]) = attribute(&attributes, "tags").as_deref().map(|list| [list[0].clone()])
    else {
        panic!("a list")
    };
    assert_eq!(at(&tags, &[1, 1]), [text("a"), text("b")]);
}

#[test]
fn a_receiver_that_takes_only_some() {
    // It rejects by content: partial_success is field 1, the number of those rejected field 1 in it, its reason field 2.
    let server = Receiver::answering(|request| {
        let bad = request.body.windows(9).any(|part| part == b"alert <3>");
        (200, if bad { "\n\x08\x08\x01\x12\x04none".to_owned() } else { String::new() })
    });
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "20ms", "retrymax": "50ms"},
        "otlp": {"logs": {"endpoint": format!("{}/v1/logs", server.url())}},
    }));
    let batch: Vec<_> = (0..6).map(alert).collect();
    assert_eq!(hub.post("/", &json!(batch).to_string()).expect("answered").0, 200);
    wait_until("a dead letter", Duration::from_secs(20), || hub.output("otlp.logs")["dead_letters"] == 1);
    wait_until("the others are taken", Duration::from_secs(20), || hub.output("otlp.logs")["queue"] == 0);
    assert_eq!(hub.output("otlp.logs")["held"], 0);
    let alone = server.all().into_iter().filter(|request| at(&request.body, &[1, 2, 2, 5, 1]) == [text("alert <3>")]);
    assert_eq!(alone.count(), 1, "what is rejected alone is not sent again");
    let list = hub.command().args(["dead-letters", "list"]).output().expect("run");
    let told = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(told.contains("the receiver rejected 1 of 1: none"), "{told}");
}

#[test]
fn grpc_is_refused_at_the_start() {
    let hub = Hub::new(&json!({"otlp": {"logs": {"endpoint": "http://127.0.0.1:4317", "protocol": "grpc"}}}));
    let out = hub.command().output().expect("run");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("otlp.logs: protocol: grpc is not spoken"), "{told}");
}
