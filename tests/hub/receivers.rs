//! Real servers on loopback, where they are installed (`scripts/deps hub`).

use crate::port::free_port;
use crate::process::{Hub, Process, alert, number, request, syslog_json, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn post(hub: &Hub, numbers: std::ops::Range<usize>) {
    for i in numbers {
        assert_eq!(hub.post("/", &alert(i).to_string()).expect("answered").0, 200);
    }
}

fn quick() -> Value {
    json!({"retrymin": "50ms", "retrymax": "200ms"})
}

#[test]
fn rsyslog_over_tcp_and_udp() {
    let directory = tempfile::tempdir().expect("directory");
    let (tcp, udp) = (free_port(), free_port());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let config = format!(
        "module(load=\"imtcp\")\nmodule(load=\"imudp\")\n$MaxMessageSize 64k\n\
         template(name=\"l\" type=\"string\" string=\"%pri% %hostname% %programname%:%msg%\\n\")\n\
         ruleset(name=\"t\") {{ action(type=\"omfile\" file=\"{}\" template=\"l\" asyncWriting=\"off\") }}\n\
         ruleset(name=\"u\") {{ action(type=\"omfile\" file=\"{}\" template=\"l\" asyncWriting=\"off\") }}\n\
         input(type=\"imtcp\" port=\"{tcp}\" address=\"127.0.0.1\" ruleset=\"t\")\n\
         input(type=\"imudp\" port=\"{udp}\" address=\"127.0.0.1\" ruleset=\"u\")\n",
        path("tcp.log"),
        path("udp.log"),
    );
    std::fs::write(directory.path().join("rsyslog.conf"), config).expect("written");
    // The hub is there before its receiver.
    let hub = Hub::started(&json!({
        "hub": quick(),
        "syslog": {"host": "127.0.0.1", "port": tcp, "protocol": "tcp"},
        "outputs": [{"kind": "syslog", "name": "cef", "host": "127.0.0.1", "port": udp, "protocol": "udp", "format": "cef"}],
    }));
    wait_until("the output is seen to be down", SOON, || hub.output("syslog")["up"] == false);
    let arguments = ["-n", "-f", &path("rsyslog.conf"), "-i", &path("pid")];
    let Some(_server) = Process::start("rsyslogd", &arguments, &directory.path().join("log")) else { return };
    wait_until("it is reached without an alert", SOON, || hub.output("syslog")["up"] == true);
    post(&hub, 0..30);
    let lines = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    wait_until("all lines", SOON, || lines("tcp.log").lines().count() >= 30 && lines("udp.log").lines().count() >= 30);
    let mut numbers: Vec<_> = lines("tcp.log").lines().map(|line| number(&syslog_json(line.as_bytes()))).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    let line = lines("tcp.log").lines().next().expect("a line").to_owned();
    assert!(line.starts_with("4 ") && line.contains(" Falco: {\"uuid\""), "a warning of the kernel's facility: {line}");
    assert!(lines("udp.log").contains(" Falco: CEF:0|Falcosecurity|Falco|1.0|Falco Event|Numbered|6|uuid="));
}

/// A NATS server with JetStream.
pub fn nats(directory: &std::path::Path, port: u16) -> Option<Process> {
    let (text, store) = (port.to_string(), directory.join("js"));
    let arguments = ["-a", "127.0.0.1", "-p", &text, "-js", "-sd", store.to_str().expect("UTF-8")];
    Process::start("nats-server", &arguments, &directory.join("log"))
}

fn redis(port: u16, arguments: &[&str], log: &std::path::Path) -> Option<Process> {
    let port_text = port.to_string();
    let all = [&["--port", port_text.as_str(), "--bind", "127.0.0.1", "--save", ""], arguments].concat();
    let server = Process::start("redis-server", &all, log)?;
    wait_until("redis", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some(server)
}

pub fn redis_ask(port: u16, commands: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.write_all(format!("{commands}QUIT\r\n").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn redis_with_a_password_as_list_and_hash() {
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let password = "p@ss:w/rd#";
    let log = directory.path().join("log");
    let Some(_server) = redis(port, &["--requirepass", password], &log) else { return };
    let address = format!("127.0.0.1:{port}");
    let hub = Hub::started(&json!({
        "hub": quick(),
        "redis": {"address": address, "password": password, "database": 3},
        "outputs": [
            {"kind": "redis", "name": "hash", "address": address, "password": password, "storagetype": "hashmap", "key": "h"},
            {"kind": "redis", "name": "wrong", "address": address, "password": "x"},
        ],
    }));
    post(&hub, 0..100);
    let asked =
        || redis_ask(port, &format!("AUTH {password}\r\nHLEN h\r\nSELECT 3\r\nLLEN falco\r\nLINDEX falco 0\r\n"));
    wait_until("both have all", SOON, || asked().starts_with("+OK\r\n:100\r\n+OK\r\n:100\r\n"));
    assert!(asked().contains(r#""output":"alert \u003c0\u003e""#), "{}", asked());
    wait_until("the wrong password is told", SOON, || {
        hub.output("wrong")["last_error"].as_str().is_some_and(|e| e.contains("authentication failed"))
    });
}

#[test]
fn nats_and_its_streams() {
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let Some(_server) = nats(directory.path(), port) else { return };
    wait_until("nats", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(SOON)).expect("timeout");
    let mut reader = BufReader::new(stream.try_clone().expect("stream"));
    let stream_config = r#"{"name":"falco","subjects":["stream.>"],"storage":"file"}"#;
    let create = format!("PUB $JS.API.STREAM.CREATE.falco {}\r\n{stream_config}\r\n", stream_config.len());
    let connect = "CONNECT {\"verbose\":false,\"headers\":true,\"protocol\":1}\r\nSUB falco.> 1\r\n";
    stream.write_all(format!("{connect}{create}PING\r\n").as_bytes()).expect("sent");
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("a line");
    }
    let address = format!("nats://127.0.0.1:{port}");
    let hub = Hub::started(&json!({
        "hub": quick(),
        "nats": {"hostport": address, "maxconcurrentrequests": 4},
        "outputs": [{
            "kind": "nats", "name": "stream", "hostport": address, "jetstream": true,
            "subjecttemplate": "stream.<priority>.<rule>",
        }],
    }));
    post(&hub, 0..50);
    let mut got = Vec::new();
    while got.len() < 50 {
        line.clear();
        reader.read_line(&mut line).expect("a line");
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["HMSG", subject, _, head, all] => {
                assert_eq!(*subject, "falco.warning.numbered");
                let mut body = vec![0; all.parse::<usize>().expect("a number") + 2];
                reader.read_exact(&mut body).expect("the message");
                let head: usize = head.parse().expect("a number");
                assert!(String::from_utf8_lossy(&body[..head]).contains("Nats-Msg-Id: "));
                got.push(number(&serde_json::from_slice(&body[head..]).expect("JSON")));
            }
            ["PING"] => stream.write_all(b"PONG\r\n").expect("sent"),
            _ => {}
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..50).collect::<Vec<_>>());
    wait_until("the stream has acknowledged all", SOON, || {
        hub.output("stream")["queue"] == 0 && hub.output("stream")["last_success"].is_number()
    });
    // The number of messages that the stream holds.
    stream.write_all(b"SUB answer 2\r\nPUB $JS.API.STREAM.INFO.falco answer 0\r\n\r\n").expect("sent");
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a line");
        if line.contains("\"messages\":") {
            assert!(line.contains("\"messages\":50,"), "{line}");
            return;
        }
    }
}

#[test]
fn alertmanager_takes_alerts() {
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let config = directory.path().join("am.yml");
    std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("written");
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", directory.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let log = directory.path().join("log");
    let Some(_server) = Process::start("prometheus-alertmanager", &arguments, &log) else { return };
    let hub = Hub::started(&json!({
        "hub": quick(),
        "alertmanager": {"hostport": [format!("http://127.0.0.1:{port}")], "expiresafter": 0, "extralabels": {"env": "test"}},
    }));
    let mut now = alert(1);
    now["rule"] = json!("Write below etc");
    assert_eq!(hub.post("/", &now.to_string()).expect("answered").0, 200);
    wait_until("it is up and has taken the alert", SOON, || hub.output("alertmanager")["last_success"].is_number());
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    let (status, body) = request(stream, "GET", "/api/v2/alerts", &[], "").expect("answered");
    assert_eq!(status, 200);
    // The body is in chunks; what matters is in one of them.
    for part in [r#""alertname":"Write below etc""#, r#""env":"test""#, r#""number":"1""#, r#""tags":"a,b""#] {
        assert!(body.contains(part), "{part}: {body}");
    }
}

#[test]
fn counters_of_statsd() {
    let (plain, tagged) =
        (UdpSocket::bind("127.0.0.1:0").expect("bound"), UdpSocket::bind("127.0.0.1:0").expect("bound"));
    let address = |socket: &UdpSocket| socket.local_addr().expect("an address").to_string();
    let hub = Hub::started(&json!({
        "statsd": {"forwarder": address(&plain)}, "dogstatsd": {"forwarder": address(&tagged), "tags": ["env:test"]},
    }));
    post(&hub, 0..1);
    let _ = hub.post("/", "{");
    let packets = |socket: &UdpSocket, number: usize| {
        socket.set_read_timeout(Some(SOON)).expect("timeout");
        let mut buffer = [0; 512];
        let mut next = || {
            let length = socket.recv(&mut buffer).expect("a packet");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        (0..number).map(|_| next()).collect::<Vec<_>>()
    };
    assert_eq!(
        packets(&plain, 5),
        [
            "falcosidekick.total:1|c",
            "falcosidekick.inputs.requests.accepted:1|c",
            "falcosidekick.falco.accepted.Warning:1|c",
            "falcosidekick.total:1|c",
            "falcosidekick.inputs.requests.rejected.invalidjson:1|c",
        ]
    );
    assert_eq!(packets(&tagged, 3)[2], "falcosidekick.falco.accepted:1|c|#env:test,priority:Warning");
}

/// What a server answers at a path, as JSON; nothing while it does not answer.
fn answer(port: u16, method: &str, path: &str) -> Value {
    let answer = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| request(stream, method, path, &[], ""));
    answer.ok().and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default()
}

#[test]
fn prometheus_reads_the_metrics() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let hub = Hub::started(&json!({"hub": quick(), "file": {"path": path("alerts")}}));
    post(&hub, 0..3);
    let targets = format!("[{{targets: ['127.0.0.1:{}']}}]", hub.port);
    let config =
        format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: hub, static_configs: {targets}}}]\n");
    std::fs::write(path("prometheus.yml"), config).expect("written");
    let port = free_port();
    let arguments = [
        format!("--config.file={}", path("prometheus.yml")),
        format!("--storage.tsdb.path={}", path("data")),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(_server) = Process::start("prometheus", &arguments, &directory.path().join("log")) else { return };
    let value = |query: &str| {
        answer(port, "GET", &format!("/api/v1/query?query={query}"))["data"]["result"][0]["value"][1].clone()
    };
    wait_until("the alerts are counted there", SOON, || {
        value("sum(falcosecurity_falcosidekick_falco_events_total)") == "3"
    });
    wait_until("all are delivered", SOON, || value("falco_hub_output_queue%7Boutput=%22file%22%7D") == "0");
    for (query, expected) in [
        ("up", "1"),
        ("falco_hub_output_up%7Boutput=%22file%22%7D", "1"),
        ("falcosecurity_falcosidekick_outputs_total%7Bdestination=%22file%22,status=%22ok%22%7D", "3"),
        ("falco_hub_delivery_seconds_count", "1"),
    ] {
        let value = value(query);
        // Deliveries may have gone together.
        let counted = value.as_str().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        assert!(value == expected || (query.ends_with("_count") && counted >= 1), "{query}: {value}");
    }
}

#[test]
fn influxdb_takes_points() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (port, inner) = (free_port(), free_port());
    let config = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:{inner}\"\n[meta]\ndir = \"{}\"\n\
         [data]\ndir = \"{}\"\nwal-dir = \"{}\"\n[http]\nbind-address = \"127.0.0.1:{port}\"\n",
        path("meta"),
        path("data"),
        path("wal"),
    );
    std::fs::write(path("influxdb.conf"), config).expect("written");
    let log = directory.path().join("log");
    let Some(_server) = Process::start("influxd", &["-config", &path("influxdb.conf")], &log) else { return };
    let ask = |query: &str| answer(port, "POST", &format!("/query?db=falco&q={query}"));
    wait_until("the server answers", SOON, || ask("CREATE%20DATABASE%20falco")["results"].is_array());
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms", "retrymax": "200ms", "refusals": 1},
        "influxdb": {"hostport": format!("http://127.0.0.1:{port}")},
    }));
    // What the line protocol separates with, and what would end a line.
    let texts = ["plain", "a b", "a,b=c", "a\\b", "a\\", "\"q\"", "é", "x\ny", "\\,", "\t"];
    for (at, text) in texts.iter().enumerate() {
        let mut alert = alert(at);
        (alert["rule"], alert["output"]) = (json!(format!("r {text}")), json!(text));
        alert["output_fields"][format!("f{text}")] = json!(text);
        assert_eq!(hub.post("/", &alert.to_string()).expect("answered").0, 200);
    }
    let points =
        || ask("SELECT%20rule,priority,hostname,value%20FROM%20events")["results"][0]["series"][0]["values"].clone();
    wait_until("all are there", SOON, || points().as_array().is_some_and(|points| points.len() >= texts.len()));
    let points = points();
    let mut values: Vec<(String, String)> = points
        .as_array()
        .expect("points")
        .iter()
        .map(|point| {
            (point[1].as_str().unwrap_or_default().to_owned(), point[4].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let mut expected: Vec<(String, String)> = texts
        .iter()
        .map(|text| {
            (format!("r {text}").replace([' ', '\n'], "_").trim_end_matches('\\').to_owned(), (*text).to_owned())
        })
        .collect();
    values.sort();
    expected.sort();
    assert_eq!(values, expected);
    assert_eq!((&points[0][2], &points[0][3]), (&json!("Warning"), &json!("host")));
}
