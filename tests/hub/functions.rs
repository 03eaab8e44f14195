//! Functions and workflows that alerts call: what they get, taken apart as strictly as the published formats allow.

use crate::process::{Hub, Received, Receiver, alert};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A text as the HTTP binding of CloudEvents writes it into a header, read back (3.1.3.2).
fn decoded(value: &str) -> String {
    assert!(value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'), "to be encoded: {value:?}");
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(&tail[..2]).expect("two digits");
        assert_eq!(digits, digits.to_uppercase(), "{value:?}");
        bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
        rest = &tail[2..];
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The attributes of an event in binary mode, checked against the specification of version 1.0.
fn cloud_event(request: &Received) -> BTreeMap<String, String> {
    assert_eq!(request.method, "POST");
    let mut attributes = BTreeMap::new();
    for (name, value) in &request.headers {
        let Some(name) = name.strip_prefix("ce-") else { continue };
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        assert!((1..=20).contains(&name.len()) && name.chars().all(valid), "the name of an attribute: {name}");
        let value = decoded(value);
        assert!(!value.is_empty() && !value.chars().any(char::is_control), "the text of {name}: {value:?}");
        attributes.insert(name.to_owned(), value);
    }
    assert_eq!(attributes["specversion"], "1.0");
    for name in ["id", "source", "type"] {
        assert!(attributes.contains_key(name), "{name} is required: {attributes:?}");
    }
    assert!(is_address(&attributes["source"]), "source is a URI: {}", attributes["source"]);
    attributes["time"].parse::<jiff::Timestamp>().expect("time is RFC 3339");
    // In binary mode the content type is the data's, and says so in the usual header alone.
    assert!(!attributes.contains_key("datacontenttype") && !attributes.contains_key("data"), "{attributes:?}");
    assert_eq!(request.headers["content-type"], "application/json");
    request.json();
    attributes
}

fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| scheme == "https" && !rest.is_empty())
}

#[test]
fn cloud_events() {
    let server = Receiver::answering(|_| (202, String::new()));
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms"},
        "cloudevents": {"address": server.url(), "extensions": {"cluster": "prod \"1\"", "subject": "80% \u{2713}"}},
    }));
    let mut strange = alert(2);
    strange["rule"] = json!("Ünsafe \"100%\"\nrule");
    strange["hostname"] = json!("");
    strange["priority"] = json!("emergency");
    for one in [alert(1), strange] {
        assert_eq!(hub.post("/", &one.to_string()).expect("answered").0, 200);
    }
    let requests = server.wait_for(2);
    let of = |number: u64| {
        let request = requests.iter().find(|r| r.json()["output_fields"]["number"] == number).expect("the alert");
        (cloud_event(request), request.json())
    };
    let (event, body) = of(1);
    let expected = [
        ("cluster", "prod \"1\""),
        ("eventsource", "syscall"),
        ("hostname", "host"),
        ("id", body["uuid"].as_str().expect("a uuid")),
        ("priority", "Warning"),
        ("rule", "Numbered"),
        ("source", "https://falco.org"),
        ("specversion", "1.0"),
        ("subject", "80% \u{2713}"),
        ("time", "2024-01-31T12:00:00.000000001Z"),
        ("type", "falco.rule.output.v1"),
    ];
    let expected: BTreeMap<_, _> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(event, expected);
    let (event, body) = of(2);
    assert_eq!(event["rule"], "Ünsafe \"100%\" rule");
    assert_eq!(body["rule"], "Ünsafe \"100%\"\nrule", "the data is the alert as it is");
    assert_eq!((&*event["priority"], event.get("hostname")), ("Emergency", None), "what is empty does not exist");
}

#[test]
fn attributes_of_cloud_events_that_cannot_be() {
    for (name, why) in
        [("id", "a meaning of its own"), ("datacontenttype", "a meaning of its own"), ("Cluster", "only a-z")]
    {
        let hub = Hub::new(&json!({"cloudevents": {"address": "http://localhost", "extensions": {name: "x"}}}));
        let checked = hub.command().args(["config", "check"]).output().expect("run");
        let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
        assert!(!checked.status.success() && said.contains(why), "{name}: {said}");
    }
}

/// Without a kubeconfig the names of the cluster's network are called: seen here by a proxy in their place.
#[test]
fn functions_in_the_cluster() {
    let proxy = Receiver::answering(|_| (200, String::new()));
    let mut hub = Hub::new(&json!({
        "hub": {"retrymin": "50ms"},
        "kubeless": {"namespace": "ns", "function": "f", "port": 81},
        "openfaas": {"functionname": "f", "functionnamespace": "fns", "gatewayport": 8081},
        "fission": {"function": "f"},
        "tekton": {"eventlistener": "http://el-falco.ns.svc:8080"},
        "n8n": {"address": "http://n8n.ns:5678/webhook/falco", "user": "u", "password": "p", "headerauthname": "X-K", "headerauthvalue": "v"},
        "nodered": {"address": "http://nodered.ns:1880/falco"},
    }));
    hub.variables.push(("HTTP_PROXY", proxy.url()));
    hub.variables.push(("http_proxy", proxy.url()));
    hub.start();
    hub.wait_ready();
    assert_eq!(hub.post("/", &alert(1).to_string()).expect("answered").0, 200);
    let requests = proxy.wait_for(6);
    let mut expected = alert(1);
    expected["tags"] = json!(["a", "b"]);
    let at = |url: &str| {
        let request = requests.iter().find(|r| r.path == url).unwrap_or_else(|| panic!("{url}: {requests:?}"));
        let mut body = request.json();
        let uuid: Value = body.as_object_mut().expect("an object").remove("uuid").expect("a uuid");
        assert_eq!((&*request.method, &body), ("POST", &expected), "{url}");
        assert_eq!(request.headers["content-type"], "application/json; charset=utf-8", "{url}");
        (request.headers.clone(), uuid.as_str().expect("a text").to_owned())
    };
    let (kubeless, uuid) = at("http://f.ns.svc.cluster.local:81/");
    assert_eq!(
        (&kubeless["event-id"], &*kubeless["event-type"], &*kubeless["event-namespace"]),
        (&uuid, "falco", "ns")
    );
    at("http://gateway.openfaas:8081/function/f.fns");
    // Port 80 is not written.
    let (fission, uuid) = at("http://router.fission.svc.cluster.local/fission-function/f");
    assert_eq!(fission["event-id"], uuid);
    at("http://el-falco.ns.svc:8080/");
    let (n8n, _) = at("http://n8n.ns:5678/webhook/falco");
    assert_eq!((&*n8n["authorization"], &*n8n["x-k"]), ("Basic dTpw", "v"));
    let (nodered, _) = at("http://nodered.ns:1880/falco");
    assert_eq!(nodered.get("authorization"), None);
}
