//! Outputs into Kubernetes: through an API server that keeps objects as the real one does, versions and all.

use crate::process::{Hub, Receiver, alert, number, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn kubeconfig(directory: &tempfile::TempDir, server: &str) -> String {
    let path = directory.path().join("kubeconfig");
    let config = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "falco"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}], "users": [{"name": "u", "user": {"token": "t"}}],
    });
    std::fs::write(&path, config.to_string()).expect("written");
    path.display().to_string()
}

#[test]
fn functions_through_the_api_server() {
    let server = Receiver::answering(|_| (200, String::new()));
    let directory = tempfile::tempdir().expect("directory");
    let config = kubeconfig(&directory, &server.url());
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms"},
        "kubeless": {"namespace": "ns", "function": "f", "kubeconfig": config},
        "openfaas": {"functionname": "f", "kubeconfig": config},
        "fission": {"function": "f", "kubeconfig": config},
    }));
    assert_eq!(hub.post("/", &alert(1).to_string()).expect("answered").0, 200);
    let requests = server.wait_for(3);
    let at = |path: &str| {
        let request = requests.iter().find(|r| r.path == path).unwrap_or_else(|| panic!("{path}: {requests:?}"));
        assert_eq!((&*request.method, &*request.headers["authorization"]), ("POST", "Bearer t"));
        assert_eq!(number(&request.json()), 1);
        request
    };
    let kubeless = at("/api/v1/namespaces/ns/services/f:8080/proxy/");
    assert_eq!((&*kubeless.headers["event-type"], &*kubeless.headers["event-namespace"]), ("falco", "ns"));
    assert_eq!(kubeless.headers["event-id"], kubeless.json()["uuid"].as_str().expect("a text"));
    at("/api/v1/namespaces/openfaas/services/gateway:8080/proxy/function/f.openfaas-fn");
    let fission = at("/api/v1/namespaces/fission/services/router:80/proxy/fission-function/f");
    assert_eq!(fission.headers["event-id"], fission.json()["uuid"].as_str().expect("a text"));
}

/// Objects by their paths. A write must name the version that is there; the second one loses against somebody else.
fn api_server() -> (Receiver, Arc<Mutex<BTreeMap<String, Value>>>) {
    let objects: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    let (kept, writes) = (objects.clone(), Mutex::new(0));
    let server = Receiver::answering(move |request| {
        let mut objects = kept.lock().expect("lock");
        let path = request.path.clone();
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        match request.method.as_str() {
            "GET" => match objects.get(&path) {
                Some(object) => (200, object.to_string()),
                None => (404, r#"{"kind":"Status","reason":"NotFound"}"#.to_owned()),
            },
            "POST" if path.contains("/namespaces/gone/") => (404, r#"{"kind":"Status"}"#.to_owned()),
            "POST" => {
                let mut object = request.json();
                object["metadata"]["resourceVersion"] = json!("1");
                let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
                objects.insert(format!("{path}/{name}"), object);
                (201, "{}".to_owned())
            }
            _ => {
                let mut object = request.json();
                let mut writes = writes.lock().expect("lock");
                *writes += 1;
                if *writes == 2 || version(&object) != version(&objects[&path]) {
                    return (409, r#"{"kind":"Status","reason":"Conflict"}"#.to_owned());
                }
                let next: usize = version(&object).expect("a version").parse().expect("a number");
                object["metadata"]["resourceVersion"] = json!((next + 1).to_string());
                objects.insert(path, object);
                (200, "{}".to_owned())
            }
        }
    });
    (server, objects)
}

#[test]
fn policy_reports() {
    let (server, objects) = api_server();
    let directory = tempfile::tempdir().expect("directory");
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "20ms", "retrymax": "50ms"},
        "policyreport": {
            "enabled": true, "kubeconfig": kubeconfig(&directory, &server.url()), "maxevents": 3, "prunebypriority": true,
        },
    }));
    let about = |i: usize, namespace: Option<&str>, priority: &str| {
        let mut alert = alert(i);
        alert["priority"] = json!(priority);
        if let Some(namespace) = namespace {
            alert["output_fields"]["k8s.ns.name"] = json!(namespace);
            alert["output_fields"]["k8s.pod.name"] = json!("pod");
        }
        alert
    };
    let mut other = alert(9);
    other["source"] = json!("okta");
    let alerts = [
        about(1, Some("prod"), "Critical"),
        about(2, Some("prod"), "Notice"),
        about(3, Some("prod"), "Warning"),
        about(4, Some("prod"), "Error"),
        about(5, None, "Warning"),
        about(6, Some("gone"), "Warning"),
        other,
    ];
    assert_eq!(hub.post("/", &json!(alerts).to_string()).expect("answered").0, 200);
    wait_until("all are reported", SOON, || {
        let output = hub.output("policyreport");
        output["queue"] == 0
            && output["held"] == 0
            && output["last_success"].is_number()
            && objects.lock().expect("lock").len() == 3
    });
    let objects = objects.lock().expect("lock");
    let of = |path: &str| &objects[&format!("/apis/wgpolicyk8s.io/v1alpha2/{path}")];
    let prod = of("namespaces/prod/policyreports/falco-policy-report");
    let severities: Vec<_> =
        prod["results"].as_array().expect("a list").iter().map(|r| r["severity"].clone()).collect();
    assert_eq!(severities, ["critical", "medium", "high"], "three, without the least severe");
    assert_eq!(prod["summary"], json!({"pass": 0, "fail": 2, "warn": 1, "error": 0, "skip": 0}));
    assert_eq!(prod["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "falcosidekick"}));
    let first = &prod["results"][0];
    assert_eq!(
        (&first["policy"], &first["rule"], &first["result"]),
        (&json!("syscall"), &json!("Numbered"), &json!("fail"))
    );
    assert_eq!(first["timestamp"], json!({"seconds": 1_706_702_400, "nanos": 1}));
    assert_eq!(first["resources"], json!([{"apiVersion": "v1", "kind": "Pod", "name": "pod", "namespace": "prod"}]));
    assert_eq!((&first["message"], &first["properties"]["proc.name"]), (&json!("alert <1>"), &json!("sh")));
    assert_eq!(of("clusterpolicyreports/falco-cluster-policy-report")["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(of("namespaces/falco/policyreports/falco-policy-report")["results"].as_array().map(Vec::len), Some(1));
    let conflicts = server.all().iter().filter(|r| r.method == "PUT").count();
    assert_eq!(conflicts, 4, "three changes, of which one lost against somebody else at first");
}
