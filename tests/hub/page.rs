//! The page's interface from outside: who may ask, what is answered.

use super::port::free_port;
use super::process::{Hub, request, wait_until};
use base64::Engine;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Duration;

/// A hub with a page, and the password it made.
pub struct Page {
    pub hub: Hub,
    pub port: u16,
    pub password: String,
    authorization: String,
}

impl Page {
    pub fn started(mut config: Value) -> Page {
        let port = free_port();
        config["hub"]["uiport"] = json!(port);
        let hub = Hub::started(&config);
        let healthy = || {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            request(stream, "GET", "/api/v1/healthz", &[], "")
        };
        wait_until("the page answers", Duration::from_secs(60), || healthy().is_ok_and(|(status, _)| status == 200));
        let file = hub.directory.path().join("data/initial-password");
        let password = std::fs::read_to_string(&file).expect("the password's file").trim().to_owned();
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).expect("the password's file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "only the hub's user can read it");
        let log = std::fs::read_to_string(hub.log()).expect("log");
        assert_eq!(log.matches(&password).count(), 1, "it is in the log once");
        let authorization = basic("admin", &password);
        Page { hub, port, password, authorization }
    }

    pub fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        request(stream, method, path, headers, body).expect("answered")
    }

    /// As the operator.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.with(method, path, &[("Authorization", &self.authorization)], body);
        let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
        (status, value)
    }

    /// The header's value of the operator.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {value}");
        value
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

/// Alerts of three rules on two hosts, the newest last.
pub fn feed(page: &Page, number: usize) {
    let lines: String = (0..number)
        .map(|i| {
            let (priority, rule) =
                [("Notice", "Quiet"), ("Critical", "Loud, with a comma"), ("Warning", "Between")][i % 3];
            let time = jiff::Timestamp::now() - Duration::from_secs((number - i) as u64);
            json!({
                "output": format!("alert {i} happened"), "priority": priority, "rule": rule, "time": time.to_string(),
                "source": "syscall", "hostname": format!("host-{}", i % 2), "tags": ["mitre_execution", "T1059"],
                "output_fields": {
                    "proc.name": "sh", "proc.pid": 100 + i % 3, "proc.cmdline": format!("sh -c 'echo {i}'"),
                    "proc.pname": "bash", "proc.aname[2]": "sshd", "evt.time": 1_700_000_000_123_456_789_u64,
                },
            })
            .to_string()
                + "\n"
        })
        .collect();
    let stream = TcpStream::connect(page.hub.address()).expect("connected");
    let headers = [("Content-Type", "application/x-ndjson")];
    let (status, text) = request(stream, "POST", "/", &headers, &lines).expect("answered");
    assert_eq!((status, text.contains(&format!("\"accepted\":{number}"))), (200, true), "{text}");
}

#[test]
fn every_endpoint_of_falcosidekick_ui() {
    let page = Page::started(json!({}));
    feed(&page, 30);
    assert_eq!(page.get("/api/v1/events/count")["statistics"]["all"], 30);
    assert_eq!(page.get("/api/v1/events/count?priority=critical,warning&hostname=host-0")["statistics"]["all"], 10);
    assert_eq!(page.get(r"/api/v1/events/count?rule=Loud\,%20with%20a%20comma")["statistics"]["all"], 10);
    assert_eq!(
        page.get("/api/v1/events/count?since=5s&filter=happ")["statistics"]["all"].as_i64().map(|n| n < 8),
        Some(true)
    );
    assert_eq!(page.get("/api/v1/events/count?field=proc.pid=101")["statistics"]["all"], 10);
    assert_eq!(page.get("/api/v1/events/count?field=evt.time=1700000000123456789")["statistics"]["all"], 30);
    let tags = page.get("/api/v1/events/count/tags");
    assert_eq!(tags["results"], json!({"mitre_execution": 30, "T1059": 30}));
    assert_eq!(tags["statistics"], json!({"all": 60, "distincts": 2}));
    assert_eq!(page.ask("GET", "/api/v1/events/count/weather", "").0, 400);
    let search = page.get("/api/v1/events/search?limit=4&page=2&pretty=true");
    assert_eq!(search["statistics"], json!({"returned": 4, "all": 30}));
    assert_eq!(search["results"][0]["output"], "alert 25 happened", "newest first, the second page");
    let (_, text) = page.with("GET", "/api/v1/events/search?limit=1", &[("Authorization", &page.authorization)], "");
    assert!(text.contains("\"evt.time\":1700000000123456789"), "digit by digit: {text}");
    assert_eq!(page.get("/api/v1/outputs"), json!([]));
    assert_eq!(page.get("/api/v1/config")["credentials"], "*******");
    assert_eq!(page.get("/api/v1/version")["GitVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(page.with("GET", "/api/v1/healthz", &[], ""), (200, r#"{"status":"ok"}"#.to_owned()));
    assert_eq!(page.ask("POST", "/api/v1/auth", ""), (200, json!("authorized")));
    assert_eq!(page.with("POST", "/api/v1/authenticate", &[], "").0, 401);
    let event = json!({"event": {"output": "öffnete", "priority": "Error", "rule": "Added",
        "time": "2026-01-01T00:00:00Z", "output_fields": {"a": "b"}}, "outputs": ["slack"]});
    for path in ["/", "/api/v1/", "/api/v1/events/add"] {
        assert_eq!(page.with("POST", path, &[], &event.to_string()), (200, "\"{}\"".to_owned()), "{path}");
    }
    assert_eq!(page.get("/api/v1/events/count?rule=Added&filter=%C3%B6ffnete")["statistics"]["all"], 3);
    let overview = page.get("/api/v1/events/overview?since=1h");
    assert_eq!(overview["all"], 30);
    assert_eq!(overview["by"]["rule"]["distincts"], 3);
    let lines = overview["timeline"]["by"]["priority"]["lines"].as_array().expect("lines").clone();
    let points = lines.iter().flat_map(|line| line["points"].as_array().expect("points"));
    assert_eq!(points.map(|point| point[1].as_i64().expect("a number")).sum::<i64>(), 30);
    assert_eq!(page.ask("GET", "/api/v1/events/search?hostnme=a", "").0, 400, "a misspelt filter is not left out");
}

#[test]
fn who_may_do_what() {
    let page = Page::started(json!({}));
    feed(&page, 3);
    let asked = ["config", "version", "outputs", "events/count", "events/search", "events/overview", "session"];
    for path in asked.into_iter().chain(["events/stream", "events/export", "outputs/state", "deadletters"]) {
        assert_eq!(page.with("GET", &format!("/api/v1/{path}"), &[], "").0, 401, "{path}");
    }
    let add = |name: &str, role: &str| {
        use std::io::Write;
        let mut command = page.hub.command();
        let mut child = command
            .args(["users", "set", name, "--role", role])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("started");
        child.stdin.take().expect("piped").write_all(b"a long password\n").expect("written");
        assert!(child.wait().expect("ended").success());
    };
    add("vera", "viewer");
    let body = json!({"name": "vera", "password": "a long password"}).to_string();
    let stream = TcpStream::connect(("127.0.0.1", page.port)).expect("connected");
    let raw = super::process::raw_request(stream, "POST", "/api/v1/login", &[], &body).expect("answered");
    let cookie = raw.split("set-cookie: ").nth(1).and_then(|rest| rest.split(';').next()).expect("a cookie").to_owned();
    assert!(raw.contains("; HttpOnly; SameSite=Strict"), "{raw}");
    assert!(raw.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{raw}");
    let vera = [("Cookie", cookie.as_str())];
    let (status, found) = page.with("GET", "/api/v1/events/search", &vera, "");
    assert_eq!(status, 200);
    let found: Value = serde_json::from_str(&found).expect("JSON");
    let uuid = found["results"][0]["uuid"].as_str().expect("a uuid").to_owned();
    let path = format!("/api/v1/events/{uuid}");
    assert_eq!(page.with("DELETE", &path, &vera, "").0, 403, "a viewer looks");
    assert_eq!(page.with("POST", &format!("{path}/acknowledgement"), &vera, "").0, 403);
    let foreign = [("Cookie", cookie.as_str()), ("Origin", "http://elsewhere.example")];
    assert_eq!(page.with("POST", "/api/v1/logout", &foreign, "").0, 403, "not from another site");
    add("vera", "operator");
    assert_eq!(page.with("GET", "/api/v1/session", &vera, "").0, 401, "a change of the user ends the session");

    assert_eq!(page.ask("POST", &format!("{path}/acknowledgement"), r#"{"note": "seen"}"#).0, 204);
    let one = page.get(&path);
    assert_eq!(
        (&one["event"]["acknowledged"]["by"], &one["event"]["acknowledged"]["note"]),
        (&json!("admin"), &json!("seen"))
    );
    assert_eq!(page.get("/api/v1/events/count?acknowledged=true")["statistics"]["all"], 1);
    let near = page.get(&format!("{path}/neighbours"));
    assert_eq!(near["process"], json!([]), "each of three has its own process");
    assert_eq!(near["host"].as_array().map(Vec::len), Some(1), "of three alerts two are of one host");
    assert_eq!(page.ask("DELETE", &format!("{path}/acknowledgement"), "").0, 204);
    assert_eq!(page.ask("DELETE", &path, "").0, 204);
    assert_eq!(page.ask("GET", &path, "").0, 404);
    assert_eq!(page.get("/api/v1/events/count")["statistics"]["all"], 2);

    let wrong = basic("admin", "wrong password");
    let answers: Vec<u16> =
        (0..7).map(|_| page.with("POST", "/api/v1/auth", &[("Authorization", &wrong)], "").0).collect();
    assert!(answers.starts_with(&[401]) && answers.ends_with(&[429]), "{answers:?}");
}

#[test]
fn what_became_of_an_alert_is_told_for_each_output() {
    let directory = tempfile::tempdir().expect("directory");
    let config = json!({
        "file": {"path": directory.path().join("alerts").to_str()},
        "webhook": {"address": format!("http://127.0.0.1:{}/", free_port())},
        "hub": {"retrymin": "10ms", "retrymax": "20ms"},
        "slack": {"webhookurl": "http://127.0.0.1:9/", "minimumpriority": "emergency"},
    });
    let page = Page::started(config);
    feed(&page, 1);
    let uuid = page.get("/api/v1/events/search")["results"][0]["uuid"].as_str().expect("a uuid").to_owned();
    let state = |name: &str| {
        let one = page.get(&format!("/api/v1/events/{uuid}"));
        let outputs = one["outputs"].as_array().expect("a list").clone();
        outputs.iter().find(|output| output["name"] == name).expect("the output")["state"].clone()
    };
    wait_until("delivered", Duration::from_secs(30), || state("file") == "delivered");
    wait_until("put aside", Duration::from_secs(30), || state("webhook") == "tried again");
    assert_eq!(state("slack"), "not for it");
    let (status, test) = page.ask("POST", "/api/v1/outputs/file/test", "");
    assert_eq!((status, &test["taken"]), (200, &json!(true)), "{test}");
    let (_, test) = page.ask("POST", "/api/v1/outputs/webhook/test", "");
    assert!(test["error"].as_str().is_some_and(|error| error.contains("refused")), "{test}");
    assert_eq!(page.ask("POST", "/api/v1/outputs/nothing/test", "").0, 404);
    let written = std::fs::read_to_string(directory.path().join("alerts")).expect("written");
    assert_eq!(written.lines().count(), 2, "the alert and the test");
}

#[test]
fn the_live_stream_sends_what_fits_and_goes_on_after_a_break() {
    use std::io::{BufRead, BufReader, Write};
    let page = Page::started(json!({}));
    feed(&page, 3);
    let open = |path: &str, more: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", page.port)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let authorization = &page.authorization;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n{more}\r\n").expect("sent");
        BufReader::new(stream).lines().map(|line| line.expect("a line before the time is over"))
    };
    let mut live = open("/api/v1/events/stream?priority=critical", "");
    live.find(|line| line == "event: start").expect("it starts");
    feed(&page, 6);
    let data: Vec<String> = live.filter(|line| line.starts_with("data: {\"uuid\"")).take(2).collect();
    assert!(data[0].contains("alert 1 ") && data[1].contains("alert 4 "), "only what fits, none of before: {data:?}");
    let mut again = open("/api/v1/events/stream?priority=critical", "Last-Event-ID: 5\r\n");
    let next = again.find(|line| line.starts_with("data: {\"uuid\"")).expect("an alert");
    assert!(next.contains("alert 4 "), "what came after number 5: {next}");
}

#[test]
fn export() {
    let page = Page::started(json!({}));
    feed(&page, 600);
    let get = |path: &str| page.with("GET", path, &[("Authorization", &page.authorization)], "").1;
    let lines = get("/api/v1/events/export?priority=notice,warning");
    assert_eq!(lines.lines().count(), 400);
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["output"], "alert 599 happened", "newest first");
    let csv = get("/api/v1/events/export?format=csv&priority=critical");
    assert_eq!(csv.lines().count(), 201);
    assert!(csv.lines().nth(1).is_some_and(|line| line.contains("\"Loud, with a comma\"")), "{csv}");
}
