//! OpenTelemetry: bodies are taken apart by the wire format and by the published messages (opentelemetry-proto, v1). What
//! is not in those, or is there in another type, is a fault.

use crate::grpc::{Answer, Collector};
use crate::input::certificates;
use crate::port::free_port;
use crate::process::{Hub, Mode, Receiver, alert, wait_until};
use falco_sensor::hub::tls::{self, Files};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// A field of a message: a number, or bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
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
        // Falco's own: falco.outputs.response, falco.version.response.
        "Output" => &[
            (1, Of("Timestamp"), false),
            (2, Varint, false),
            (3, Varint, false),
            (4, Text, false),
            (5, Text, false),
            (6, Of("Entry"), true),
            (7, Text, false),
            (8, Text, true),
            (9, Text, false),
        ],
        "Timestamp" => &[(1, Varint, false), (2, Varint, false)],
        "Entry" => &[(1, Text, false), (2, Text, false)],
        "Version" => &[
            (1, Text, false),
            (2, Varint, false),
            (3, Varint, false),
            (4, Varint, false),
            (5, Text, false),
            (6, Text, false),
            (7, Varint, false),
            (8, Text, false),
            (9, Varint, false),
            (10, Varint, false),
            (11, Varint, false),
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
pub fn check(name: &str, bytes: &[u8]) {
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
pub fn at(bytes: &[u8], path: &[u64]) -> Vec<Field> {
    let (first, rest) = path.split_first().expect("a number");
    let found = fields(bytes).into_iter().filter(|(number, _, _)| number == first).map(|(_, _, field)| field);
    if rest.is_empty() {
        return found.collect();
    }
    found.flat_map(|field| if let Field::Bytes(bytes) = field { at(&bytes, rest) } else { Vec::new() }).collect()
}

pub fn text(field: &str) -> Field {
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

/// A collector that takes everything.
fn taking(port: u16, tls: Option<rustls::ServerConfig>) -> Collector {
    Collector::start(port, tls, |_, _| Answer::Message(Vec::new()))
}

#[test]
fn the_same_over_grpc() {
    let server = taking(free_port(), None);
    let to = || format!("http://127.0.0.1:{}", server.port);
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms"},
        "otlp": {
            "logs": {"protocol": "grpc", "endpoint": to(), "headers": "X-A=b, X-C = d=e"},
            "traces": {"protocol": "grpc", "endpoint": to() + "/v1/traces"},
            "metrics": {"protocol": "grpc", "endpoint": to(), "interval": "200ms"},
        },
    }));
    assert_eq!(hub.post("/", &alert(1).to_string()).expect("answered").0, 200);
    let of = |path: &str| server.calls().into_iter().rev().find(|call| call.path == path);
    let [logs, traces, metrics] = [("logs", "Logs"), ("trace", "Trace"), ("metrics", "Metrics")]
        .map(|(package, name)| format!("/opentelemetry.proto.collector.{package}.v1.{name}Service/Export"));
    let whole = || of(&metrics).filter(|call| at(&call.body, &[1, 2, 2, 1]).len() == 3);
    let all = || of(&logs).is_some() && of(&traces).is_some() && whole().is_some();
    wait_until("all three", Duration::from_secs(20), all);
    for call in server.calls() {
        // A request of a service has the fields of the data that a file has.
        let name = match &call.path {
            path if *path == logs => "LogsData",
            path if *path == traces => "TracesData",
            path if *path == metrics => "MetricsData",
            other => panic!("nobody is to ask for {other}"),
        };
        check(name, &call.body);
        let headers = ["content-type", "te"].map(|name| &*call.headers[name]);
        assert_eq!((&*call.method, headers), ("POST", ["application/grpc", "trailers"]));
        assert!(call.headers["user-agent"].starts_with("Falcosidekick "), "{call:?}");
        assert_eq!(call.headers["grpc-timeout"], "10000000u", "{call:?}");
    }
    let logs = of(&logs).expect("a call");
    assert_eq!(at(&logs.body, &[1, 2, 2, 5, 1]), [text("alert <1>")]);
    let attributes = at(&logs.body, &[1, 2, 2, 6]);
    let Some([(1, uuid)]) = attribute(&attributes, "uuid").as_deref().map(|list| [list[0].clone()]) else {
        panic!("a text")
    };
    let headers = ["x-a", "x-c", "idempotency-key"].map(|name| text(&logs.headers[name]));
    assert_eq!(headers, [text("b"), text("d=e"), uuid]);
    for name in ["otlp.logs", "otlp.traces"] {
        wait_until(name, Duration::from_secs(20), || hub.output(name)["queue"] == 0);
        assert_eq!((&hub.output(name)["held"], &hub.output(name)["dead_letters"]), (&json!(0), &json!(0)));
    }
}

#[test]
fn grpc_over_tls() {
    let directory = tempfile::tempdir().expect("directory");
    if !certificates(directory.path()) {
        return;
    }
    let file = |name: &str| directory.path().join(name);
    let files = Files { certificate: file("server.crt"), key: file("server.key"), authorities: file("ca.crt") };
    let open = taking(free_port(), Some(tls::server(&files, false, b"h2").expect("TLS")));
    let mutual = taking(free_port(), Some(tls::server(&files, true, b"h2").expect("TLS")));
    let to = |name: &str, server: &Collector, more: Value| {
        let address = format!("https://127.0.0.1:{}", server.port);
        let mut target = json!({"kind": "otlp.logs", "name": name, "protocol": "grpc", "endpoint": address});
        target.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        target
    };
    let client = json!({"certfile": file("client.crt"), "keyfile": file("client.key"), "cacertfile": file("ca.crt")});
    let hub = |core: Value, outputs: Value| {
        let mut config = json!({"hub": {"retrymin": "20ms", "retrymax": "50ms"}, "outputs": outputs});
        config.as_object_mut().expect("a map").extend(core.as_object().expect("a map").clone());
        let hub = Hub::started(&config);
        assert_eq!(hub.post("/", &alert(1).to_string()).expect("answered").0, 200);
        hub
    };
    let stranger =
        hub(json!({}), json!([to("strict", &open, json!({})), to("lax", &open, json!({"checkcert": false}))]));
    let friend = hub(
        json!({"tlsclient": {"cacertfile": file("ca.crt")}, "mutualtlsclient": client}),
        json!([
            to("known", &open, json!({})),
            to("with", &mutual, json!({"mutualtls": true})),
            to("without", &mutual, json!({})),
        ]),
    );
    for (hub, name) in [(&stranger, "lax"), (&friend, "known"), (&friend, "with")] {
        wait_until(name, Duration::from_secs(20), || hub.output(name)["last_success"].is_number());
    }
    for (hub, name) in [(&stranger, "strict"), (&friend, "without")] {
        wait_until(name, Duration::from_secs(20), || hub.output(name)["up"] == false);
    }
    let why = stranger.output("strict")["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("invalid peer certificate: UnknownIssuer"), "{why}");
    assert_eq!((open.calls().len(), mutual.calls().len()), (2, 1));
}

/// google.rpc.Status with a RetryInfo of 400 ms.
fn retry_after() -> Vec<u8> {
    let message =
        |number: u8, body: &[u8]| [&[(number << 3) | 2, u8::try_from(body.len()).expect("short")][..], body].concat();
    // 400,000,000 as a varint
    let info = message(1, &[0x10, 0x80, 0x88, 0xde, 0xbe, 0x01]);
    let any = [message(1, b"type.googleapis.com/google.rpc.RetryInfo"), message(2, &info)].concat();
    message(3, &any)
}

#[test]
fn what_grpc_statuses_mean() {
    let port = free_port();
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "20ms", "retrymax": "500ms", "refusals": 2},
        "otlp": {"logs": {"protocol": "grpc", "endpoint": format!("http://127.0.0.1:{port}"), "timeout": 1000}},
    }));
    assert_eq!(hub.post("/", &alert(1).to_string()).expect("answered").0, 200);
    wait_until("nobody is there", Duration::from_secs(20), || hub.output("otlp.logs")["up"] == false);
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = times.clone();
    let server = Collector::start(port, None, move |before, call| {
        noted.lock().expect("lock").push(Instant::now());
        let holds = |text: &str| call.body.windows(text.len()).any(|part| part == text.as_bytes());
        match before {
            0 => Answer::Error(Status::unavailable("not yet")),
            1 => Answer::Error(Status::with_details(Code::ResourceExhausted, "slowly", retry_after().into())),
            2 => Answer::Silence,
            3 => Answer::Error(Status::unauthenticated("who?")),
            _ if holds("alert <3>") => Answer::Error(Status::invalid_argument("never 3")),
            // Rejected, and why: the message of a partial success.
            _ if holds("alert <4>") => Answer::Message(b"\n\x08\x08\x01\x12\x04none".to_vec()),
            _ => Answer::Message(Vec::new()),
        }
    });
    wait_until("it is delivered", Duration::from_secs(20), || hub.output("otlp.logs")["last_success"].is_number());
    assert_eq!(server.calls().len(), 5, "tried until it was taken");
    let times = times.lock().expect("lock").clone();
    let between = |a: usize, b: usize| times[b] - times[a];
    assert!(between(1, 2) >= Duration::from_millis(400), "it comes when it was told to: {times:?}");
    assert!(between(2, 3) >= Duration::from_millis(1000), "silence has an end: {times:?}");
    assert!(server.connections() >= 2, "a connection over which nothing came is not used again");

    let batch: Vec<_> = (2..7).map(alert).collect();
    assert_eq!(hub.post("/", &json!(batch).to_string()).expect("answered").0, 200);
    wait_until("two dead letters", Duration::from_secs(20), || hub.output("otlp.logs")["dead_letters"] == 2);
    wait_until("the others are taken", Duration::from_secs(20), || {
        hub.output("otlp.logs")["queue"] == 0 && hub.output("otlp.logs")["held"] == 0
    });
    let list = hub.command().args(["dead-letters", "list"]).output().expect("run");
    let told = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(told.contains("refused: InvalidArgument: never 3"), "{told}");
    assert!(told.contains("the receiver rejected 1 of 1: none"), "{told}");
    let alone = |number: usize| {
        let body = [text(&format!("alert <{number}>"))];
        server.calls().into_iter().filter(|call| at(&call.body, &[1, 2, 2, 5, 1]) == body).count()
    };
    assert_eq!(alone(4), 1, "what is rejected alone is not sent again");
}

#[test]
fn what_cannot_be_metadata_is_told_at_the_start() {
    let logs = json!({"endpoint": "http://127.0.0.1:4317", "protocol": "grpc", "headers": "a b=c"});
    let out = Hub::new(&json!({"otlp": {"logs": logs}})).command().output().expect("run");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("otlp.logs: headers: 'a b' cannot be the name"), "{told}");
}
