//! Outputs whose servers are not to be had: requests are looked at, and answered as the published interfaces say.

use crate::process::{Hub, Mode, Received, Receiver, alert, number, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn quick() -> Value {
    json!({"retrymin": "50ms", "retrymax": "200ms"})
}

fn post(hub: &Hub, numbers: std::ops::Range<usize>) {
    let batch: Vec<_> = numbers.map(alert).collect();
    assert_eq!(hub.post("/", &Value::Array(batch).to_string()).expect("answered").0, 200);
}

/// Lines of JSON, compressed or not.
fn lines(request: &Received) -> Vec<Value> {
    let mut text = String::new();
    match request.headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => flate2::read::GzDecoder::new(&*request.body).read_to_string(&mut text).expect("gzip"),
        _ => (&*request.body).read_to_string(&mut text).expect("UTF-8"),
    };
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn elasticsearch_alone() {
    let server = Receiver::answering(|request| {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        match (request.method.as_str(), text.contains("proc.bad")) {
            ("POST", true) => {
                let reason = "[1:20] failed to parse field [output_fields.proc.bad] of type [long]";
                (400, json!({"error": {"type": "document_parsing_exception", "reason": reason}}).to_string())
            }
            _ => (201, "{}".to_owned()),
        }
    });
    let hub = Hub::started(&json!({"hub": quick(), "elasticsearch": {
        "hostport": server.url(), "suffix": "none", "pipeline": "p", "username": "u", "password": "p",
        "customheaders": {"X-A": "b"},
    }}));
    let mut one = alert(1);
    one["output_fields"]["proc.bad"] = json!("x");
    one["output_fields"]["proc.bad.too"] = json!("y");
    assert_eq!(hub.post("/", &one.to_string()).expect("answered").0, 200);
    let requests = server.wait_for(2);
    assert_eq!(requests[1].path, "/falco/_doc?pipeline=p");
    assert_eq!((&*requests[1].headers["authorization"], &*requests[1].headers["x-a"]), ("Basic dTpw", "b"));
    let document = requests[1].json();
    assert_eq!(document["@timestamp"], "2024-01-31T12:00:00.000000001Z");
    assert_eq!(
        document["output_fields"],
        json!({"number": 1, "proc.name": "sh", "evt.time": 1_700_000_000_000_000_001u64})
    );
    wait_until("settled", SOON, || hub.output("elasticsearch")["last_success"].is_number());
    assert_eq!(server.count(), 2, "once with, once without the fields");
}

#[test]
fn elasticsearch_in_bulk() {
    // Of each bulk, one document is refused at first; the template is not there.
    let server = Receiver::answering(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", _) => (404, "{}".to_owned()),
        (_, "/_bulk") => {
            let documents: Vec<_> = lines(request).into_iter().skip(1).step_by(2).collect();
            let alone = documents.len() == 1;
            let item = |document: &Value| match number(document) {
                3 if !alone => json!({"create": {"status": 429, "error": {"type": "es_rejected_execution_exception"}}}),
                5 => json!({"create": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}}),
                _ => json!({"create": {"status": 201}}),
            };
            let items: Vec<_> = documents.iter().map(item).collect();
            (200, json!({"errors": true, "items": items}).to_string())
        }
        _ => (200, "{}".to_owned()),
    });
    let hub = Hub::started(&json!({"hub": quick(), "elasticsearch": {
        "hostport": server.url(), "createindextemplate": true, "numberofshards": 5, "enablecompression": true,
        "batching": {"enabled": true, "flushinterval": "300ms"},
    }}));
    post(&hub, 0..10);
    wait_until("all are settled", SOON, || {
        let output = hub.output("elasticsearch");
        output["queue"] == 0 && output["held"] == 0 && output["last_success"].is_number() && server.count() >= 4
    });
    let requests = server.all();
    assert_eq!((&*requests[0].method, &*requests[0].path), ("GET", "/_index_template/falco"));
    assert_eq!((&*requests[1].method, &*requests[1].path), ("PUT", "/_index_template/falco"));
    assert_eq!(lines(&requests[1])[0]["template"]["settings"]["number_of_shards"], 5);
    let bulk = lines(&requests[2]);
    assert_eq!((requests.len(), bulk.len()), (4, 20), "ten together, then one alone");
    let index = bulk[0]["create"]["_index"].as_str().expect("an index");
    assert!(index.starts_with("falco-20") && index.len() == "falco-2024.01.31".len(), "{index}");
    assert_eq!(bulk[1]["output_fields"]["proc_name"], "sh", "flattened");
    assert_eq!(lines(&requests[3]).len(), 2);
    assert_eq!(requests[3].headers["content-type"], "application/x-ndjson");
}

#[test]
fn loki() {
    let server = Receiver::http(Mode::Up);
    let hub = Hub::started(&json!({
        "hub": quick(), "customfields": {"team": "a\"b"},
        "loki": {
            "hostport": server.url(), "format": "json", "tenant": "t", "user": "u", "apikey": "p",
            "extralabels": ["proc.name"],
        },
    }));
    post(&hub, 1..2);
    let request = server.wait_for(1).remove(0);
    assert_eq!(request.path, "/loki/api/v1/push");
    assert_eq!((&*request.headers["x-scope-orgid"], &*request.headers["authorization"]), ("t", "Basic dTpw"));
    let stream = &request.json()["streams"][0];
    assert_eq!(
        stream["stream"],
        json!({
            "rule": "Numbered", "source": "syscall", "priority": "Warning", "hostname": "host", "tags": "a,b",
            "team": "ab", "proc_name": "sh",
        })
    );
    assert_eq!(stream["values"][0][0], "1706702400000000001");
    let line: Value = serde_json::from_str(stream["values"][0][1].as_str().expect("a text")).expect("JSON");
    assert_eq!(number(&line), 1);
}

#[test]
fn slack() {
    let server = Receiver::http(Mode::Up);
    let slack = |name: &str, format: &str| {
        json!({
            "kind": "slack", "name": name, "webhookurl": format!("{}/{name}", server.url()), "outputformat": format,
            "messageformat": "{{ .Rule }}@{{ .Hostname }} {{ range .Tags }}#{{ . }} {{ end }}", "channel": "c",
        })
    };
    let hub = Hub::started(&json!({
        "hub": quick(), "outputs": [slack("all", "all"), slack("text", "text"), slack("fields", "fields")],
    }));
    post(&hub, 1..2);
    let requests = server.wait_for(3);
    let of = |path: &str| requests.iter().find(|r| r.path == path).expect("the request").json();
    let title = |name: &str, value: &str, short: bool| json!({"title": name, "value": value, "short": short});
    let fields = json!([
        title("rule", "Numbered", true),
        title("priority", "Warning", true),
        title("source", "syscall", true),
        title("hostname", "host", true),
        title("tags", "a, b", true),
        title("proc.name", "sh", true),
        title("time", "2024-01-31 12:00:00.000000001 +0000 UTC", false),
    ]);
    let all = of("/all");
    assert_eq!(
        (&all["text"], &all["channel"], &all["username"]),
        (&json!("Numbered@host #a #b "), &json!("c"), &json!("Falcosidekick"))
    );
    let attachment = &all["attachments"][0];
    assert_eq!((&attachment["color"], &attachment["text"]), (&json!("#ffc700"), &json!("alert <1>")));
    assert_eq!(attachment["fields"], fields);
    assert_eq!(of("/text")["attachments"][0].get("fields"), None);
    assert_eq!(of("/fields")["attachments"][0].get("text"), None);
}

#[test]
fn redirections() {
    let target = Receiver::http(Mode::Up);
    let url = target.url();
    // Followed, the first would become a GET, which delivers nothing.
    let moved = Receiver::answering(move |request| match request.path.as_str() {
        "/302" => (302, format!("{url}/from302")),
        _ => (307, format!("{url}/from307")),
    });
    let hub = Hub::started(&json!({
        "hub": quick(), "webhook": {"address": format!("{}/302", moved.url())},
        "outputs": [{"kind": "webhook", "name": "kept", "address": format!("{}/307", moved.url())}],
    }));
    post(&hub, 0..3);
    let numbers: BTreeSet<_> = target.wait_for(3).iter().map(|r| number(&r.json())).collect();
    assert_eq!(numbers.len(), 3);
    wait_until("not delivered", SOON, || hub.output("webhook")["up"] == false);
    assert_eq!(hub.output("webhook")["last_success"], Value::Null);
    assert!(target.all().iter().all(|r| r.path == "/from307" && r.method == "POST"), "{:?}", target.all());
}

/// A dozen outputs, none of which is there: the hub starts, takes alerts, and says so of each.
#[test]
fn a_configuration_of_falcosidekick_as_it_is() {
    let mut hub = Hub::new(&json!({}));
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hub/falcosidekick.yaml");
    std::fs::copy(file, hub.directory.path().join("hub.yaml")).expect("copied");
    let web = Receiver::http(Mode::Up);
    hub.variables = vec![
        ("LISTENPORT", hub.port.to_string()),
        ("HUB_UIPORT", "0".to_owned()),
        ("HUB_DIRECTORY", hub.directory.path().join("data").display().to_string()),
        ("HUB_RETRYMIN", "50ms".to_owned()),
        // As a chart overrides the file.
        ("WEBHOOK_ADDRESS", web.url()),
    ];
    hub.start();
    hub.wait_ready();
    let names = [
        "alertmanager",
        "discord",
        "elasticsearch",
        "influxdb",
        "kafka",
        "loki",
        "mqtt",
        "nats",
        "redis",
        "slack",
        "smtp",
        "syslog",
        "webhook",
    ];
    let mut urgent = alert(1);
    urgent["priority"] = json!("critical");
    urgent["output"] = json!("12:00:00.000000001: Critical alert one");
    assert_eq!(hub.post("/", &urgent.to_string()).expect("answered").0, 200);
    let request = web.wait_for(1).remove(0);
    let got = request.json();
    assert_eq!(request.headers["authorization"], "Bearer x:y");
    assert_eq!(got["tags"], json!(["a", "b", "eu"]));
    assert_eq!(
        (&got["output_fields"]["owner"], &got["output_fields"]["namespace"]),
        (&json!("team:blue"), &json!("none"))
    );
    let text = got["output"].as_str().expect("a text");
    assert!(
        text.starts_with("12:00:00.000000001: Critical alert one environment=production owner=team:blue"),
        "{text}"
    );
    for name in names {
        let up = name == "webhook";
        wait_until(name, Duration::from_secs(60), || hub.output(name)["up"] == up);
    }
    let ready: Value = serde_json::from_str(&hub.get("/readyz").1).expect("JSON");
    assert_eq!(ready["outputs"].as_array().map(Vec::len), Some(names.len()), "{ready}");
    let log = std::fs::read_to_string(hub.log()).expect("log");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("tlsclient.cacertfile: there is no /etc/certs/client/ca.crt"),
        "{log}"
    );
}
