//! What each output over HTTP sends: method, address, headers and body, as its receiver's interface is published.
//!
//! All outputs of a group are in one hub, which gets one alert; requests are told apart by their paths.

use crate::process::{Hub, Received, Receiver, alert};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Read;

/// The requests by their paths, when an alert was posted to a hub with these outputs.
fn sent(server: &Receiver, mut config: Value, alert: &Value, count: usize) -> HashMap<String, Received> {
    config["hub"] = json!({"retrymin": "50ms", "retrymax": "200ms"});
    let hub = Hub::started(&config);
    assert_eq!(hub.post("/", &alert.to_string()).expect("answered").0, 200);
    let requests = server.wait_for(count);
    requests.into_iter().map(|request| (format!("{} {}", request.method, request.path), request)).collect()
}

/// The alert as the hub hands it on: with a uuid and sorted tags.
fn whole(request: &Received) -> Value {
    let mut body = request.json();
    let uuid = body.as_object_mut().expect("an object").remove("uuid").expect("a uuid");
    assert_eq!(uuid, *request.headers["idempotency-key"], "its key is its uuid");
    let mut expected = alert(1);
    expected["tags"] = json!(["a", "b"]);
    assert_eq!(body, expected);
    assert!(request.body.ends_with(b"}\n"), "a newline behind it");
    body
}

fn headers<const N: usize>(request: &Received, expected: [(&str, &str); N]) {
    for (name, value) in expected {
        assert_eq!(request.headers.get(name).map(String::as_str), Some(value), "{name} of {}", request.path);
    }
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
/// Of user `u` and password `p`.
const BASIC: (&str, &str) = ("authorization", "Basic dTpw");

#[test]
fn the_whole_alert() {
    let server = Receiver::answering(|request| match request.path.as_str() {
        "/topics/falco" => (200, json!({"offsets": [{"partition": 0, "offset": 7}]}).to_string()),
        _ => (200, String::new()),
    });
    let url = server.url();
    let at = |path: &str| format!("{url}{path}");
    let config = json!({
        "zincsearch": {"hostport": url, "username": "u", "password": "p"},
        "openobserve": {"hostport": at("/"), "username": "u", "password": "p", "customheaders": {"X-A": "b"}},
        "sumologic": {"receiverurl": at("/sumo"), "sourcecategory": "c", "sourcehost": "h", "name": "n"},
        "nodered": {"address": at("/nodered"), "user": "u", "password": "p", "customheaders": {"X-A": "b"}},
        "n8n": {"address": at("/n8n"), "headerauthname": "X-Key", "headerauthvalue": "v"},
        "tekton": {"eventlistener": at("/tekton")},
        "talon": {"address": at("/talon")},
        "gcp": {"cloudrun": {"endpoint": at("/cloudrun"), "jwt": "token"}},
        "cloudevents": {"address": at("/cloudevents"), "extensions": {"cluster": "prod \"1\""}},
        "webui": {"url": at("/webui")},
        "kafkarest": {"address": at("/topics/falco")},
    });
    let requests = sent(&server, config, &alert(1), 11);
    let of = |path: &str| requests.get(&format!("POST {path}")).unwrap_or_else(|| panic!("{path}: {requests:?}"));
    let zinc = of("/api/falco/_doc");
    let plain = [zinc, of("/api/default/falco/_multi"), of("/sumo"), of("/nodered"), of("/n8n"), of("/tekton")];
    for request in plain.into_iter().chain([of("/talon"), of("/cloudrun"), of("/cloudevents")]) {
        whole(request);
    }
    for request in plain {
        headers(request, [JSON, ("user-agent", "Falcosidekick")]);
    }
    headers(zinc, [BASIC]);
    headers(of("/api/default/falco/_multi"), [BASIC, ("x-a", "b")]);
    headers(of("/sumo"), [("x-sumo-category", "c"), ("x-sumo-host", "h"), ("x-sumo-name", "n")]);
    headers(of("/nodered"), [BASIC, ("x-a", "b")]);
    headers(of("/n8n"), [("x-key", "v")]);
    assert_eq!(of("/n8n").headers.get("authorization"), None);
    headers(of("/cloudrun"), [("authorization", "Bearer token")]);
    let event = of("/cloudevents");
    headers(
        event,
        [("ce-specversion", "1.0"), ("ce-source", "https://falco.org"), ("ce-type", "falco.rule.output.v1")],
    );
    headers(
        event,
        [("ce-time", "2024-01-31T12:00:00.000000001Z"), ("ce-priority", "Warning"), ("ce-rule", "Numbered")],
    );
    headers(event, [("ce-eventsource", "syscall"), ("ce-hostname", "host"), ("ce-cluster", "prod%20%221%22")]);
    headers(event, [("ce-id", &event.headers["idempotency-key"]), ("content-type", "application/json")]);
    let page = of("/webui").json();
    assert_eq!(page["event"]["output_fields"], alert(1)["output_fields"]);
    let names = page["outputs"].as_array().expect("a list");
    assert!(names.len() == 11 && names.contains(&json!("NodeRed")), "{page}");
    let kafka = of("/topics/falco");
    headers(kafka, [("content-type", "application/vnd.kafka.binary.v2+json")]);
    let record = kafka.json()["records"][0]["value"].as_str().expect("a text").to_owned();
    let record = base64::engine::general_purpose::STANDARD.decode(record).expect("base64");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!(record["output_fields"], alert(1)["output_fields"]);
}

#[test]
fn chats_and_alerting() {
    let server = Receiver::answering(|_| (200, "{}".to_owned()));
    let url = server.url();
    let at = |path: &str| format!("{url}{path}");
    let template = "{{ .Rule }}!";
    let config = json!({
        "rocketchat": {"webhookurl": at("/rocketchat"), "messageformat": template},
        "cliq": {"webhookurl": at("/cliq"), "messageformat": template, "useemoji": true},
        "webex": {"webhookurl": at("/webex")},
        "gotify": {"hostport": url, "token": "t", "format": "plaintext"},
        "grafana": {"hostport": url, "apikey": "k", "dashboardid": 3, "allfieldsastags": true},
        "grafanaoncall": {"webhookurl": at("/oncall"), "customheaders": {"X-A": "b"}},
        "opsgenie": {"apikey": "k", "url": url},
        "datadoglogs": {"apikey": "k", "host": at("/"), "service": "s"},
        "outputs": [
            {"kind": "rocketchat", "name": "text", "webhookurl": at("/text"), "outputformat": "text", "messageformat": template},
            {"kind": "cliq", "name": "plain", "webhookurl": at("/plain"), "outputformat": "text"},
            {"kind": "gotify", "name": "push", "hostport": at("/push")},
            {"kind": "sumologic", "instance": "sumo", "name": "n", "receiverurl": at("/sumo")},
        ],
    });
    let requests = sent(&server, config, &alert(1), 12);
    let of = |path: &str| requests.get(&format!("POST {path}")).unwrap_or_else(|| panic!("{path}: {requests:?}"));
    let title = |name: &str, value: &str, short: bool| json!({"title": name, "value": value, "short": short});
    assert_eq!(
        of("/rocketchat").json(),
        json!({
            "text": "Numbered!", "username": "Falcosidekick",
            "icon_url": "https://raw.githubusercontent.com/falcosecurity/falcosidekick/master/imgs/falcosidekick.png",
            "attachments": [{
                "fallback": "alert <1>", "color": "#ffc700", "text": "alert <1>",
                "fields": [
                    title("rule", "Numbered", true), title("priority", "Warning", true), title("source", "syscall", true),
                    title("tags", "a, b", true), title("proc.name", "sh", true),
                    title("time", "2024-01-31 12:00:00.000000001 +0000 UTC", false), title("hostname", "host", true),
                ],
            }],
        })
    );
    let text = of("/text").json();
    assert_eq!((&text["text"], text.get("attachments")), (&json!("Numbered!"), None));
    let row = |field: &str, value: &str| json!({"field": field, "value": value});
    let cliq = of("/cliq").json();
    assert!(cliq["text"].as_str().is_some_and(|text| text.ends_with(" Numbered!")), "{cliq}");
    assert_eq!(
        cliq["slides"],
        json!([
            {"type": "text", "data": "alert <1>"},
            {"type": "table", "data": {"headers": ["field", "value"], "rows": [
                row("rule", "Numbered"), row("priority", "Warning"), row("hostname", "host"), row("proc.name", "sh"),
                row("time", "2024-01-31 12:00:00.000000001 +0000 UTC"),
            ]}},
        ])
    );
    let plain = of("/plain").json();
    assert_eq!((&plain["text"], &plain["bot"]["name"]), (&json!("alert <1>"), &json!("Falcosidekick")));
    assert_eq!(plain.get("slides"), None);
    let webex = of("/webex").json()["markdown"].as_str().expect("a text").to_owned();
    for part in ["`alert <1>`", "**hostname**: `host`", "**number**: `1`", "**tags**: `a, b`"] {
        assert!(webex.contains(part), "{part}: {webex}");
    }
    let gotify = of("/message");
    headers(gotify, [("x-gotify-key", "t")]);
    assert_eq!(gotify.json()["title"], "[Falco] [Warning] Numbered");
    assert_eq!(
        (&gotify.json()["priority"], gotify.json()["extras"]["client::display"]["contentType"].as_str()),
        (&json!(4), Some("text/plain"))
    );
    assert!(
        gotify.json()["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("alert <1>\n\n") && m.contains("- number: 1\n"))
    );
    assert!(of("/push/message").json()["message"].as_str().is_some_and(|m| m.starts_with("**alert \\<1\\>**\n")));
    let grafana = of("/api/annotations");
    headers(grafana, [("authorization", "Bearer k")]);
    assert_eq!(
        grafana.json(),
        json!({
            "dashboardId": 3, "time": 1_706_702_400_000u64, "timeEnd": 1_706_702_400_000u64, "text": "alert <1>",
            "tags": ["falco", "Warning", "Numbered", "syscall", "host", "1700000000000000001", "1", "sh", "a", "b"],
        })
    );
    let oncall = of("/oncall");
    headers(oncall, [("x-a", "b")]);
    assert_eq!(
        oncall.json(),
        json!({
            "alert_uid": oncall.headers["idempotency-key"], "state": "alerting", "title": "[Warning] Numbered",
            "message": "alert <1>",
        })
    );
    let opsgenie = of("/v2/alerts");
    headers(opsgenie, [("authorization", "GenieKey k")]);
    assert_eq!(
        opsgenie.json(),
        json!({
            "message": "alert <1>", "entity": "Falcosidekick", "description": "Numbered", "priority": "P4",
            "details": {
                "proc_name": "sh", "source": "syscall", "rule": "Numbered", "priority": "Warning", "hostname": "host",
                "tags": "a, b",
            },
            "alias": opsgenie.headers["idempotency-key"],
        })
    );
    let logs = of("/api/v2/logs");
    headers(logs, [("dd-api-key", "k")]);
    let record = logs.json();
    let expected = [("ddsource", "falco"), ("ddtags", "a,b"), ("hostname", "host"), ("service", "s")];
    assert!(expected.iter().all(|(name, value)| record[*name] == *value), "{record}");
    let message: Value = serde_json::from_str(record["message"].as_str().expect("a text")).expect("JSON");
    assert_eq!(message["output_fields"], alert(1)["output_fields"]);
    headers(of("/sumo"), [("x-sumo-name", "n")]);
}

#[test]
fn what_must_be_there_first_is_made() {
    let server = Receiver::answering(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/api/v1/indexes/falco/describe") => (404, "{}".to_owned()),
        ("GET", _) => (200, "[]".to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let config = json!({
        "quickwit": {"hostport": server.url(), "autocreateindex": true, "customheaders": {"X-A": "b"}},
        "spyderbat": {"orguid": "org", "apikey": "k", "apiurl": server.url(), "sourcedescription": "d"},
    });
    let mut one = alert(1);
    one["output"] = json!("12:00:00.1: Warning a shell");
    one["output_fields"]["proc.pid"] = json!(42);
    one["output_fields"]["proc.cmdline"] = json!("sh -c");
    let requests = sent(&server, config, &one, 6);
    let of = |request: &str| requests.get(request).unwrap_or_else(|| panic!("{request}: {requests:?}"));
    headers(of("GET /api/v1/indexes/falco/describe"), [("x-a", "b")]);
    let index = of("POST /api/v1/indexes").json();
    assert_eq!((&index["index_id"], &index["version"]), (&json!("falco"), &json!("0.7")));
    assert_eq!(
        (&index["doc_mapping"]["mode"], &index["doc_mapping"]["timestamp_field"]),
        (&json!("dynamic"), &json!("time"))
    );
    assert_eq!(of("POST /api/v1/falco/ingest").json()["rule"], "Numbered");
    let source = of("POST /api/v1/org/org/source/");
    headers(source, [("authorization", "Bearer k")]);
    assert_eq!(source.json(), json!({"name": "falcosidekick", "description": "d", "uid": "falcosidekick_org"}));
    let data = of("POST /api/v1/org/org/source/falcosidekick_org/data/sb-agent");
    headers(data, [("authorization", "Bearer k"), ("content-encoding", "gzip")]);
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*data.body).read_to_string(&mut text).expect("gzip");
    let record: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&record["schema"], &record["msg"]), (&json!("falco_alert::1.0.0"), &json!(["a", "shell"])));
    assert_eq!((&record["pid"], &record["args"], &record["level"]), (&json!(42), &json!("sh -c"), &json!("medium")));
    assert!((record["time"].as_f64().expect("a number") - 1.7e9).abs() < 1e-3, "{record}");
}
