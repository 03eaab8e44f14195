//! Brokers, a database and a mail server on loopback, where they are installed (`scripts/deps hub`).

use crate::port::free_port;
use crate::postgresql::{PASSWORD, Server};
use crate::process::{Hub, Process, alert, number, wait_until};
use amqprs::channel::{BasicGetArguments, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

pub fn quick() -> Value {
    json!({"retrymin": "50ms", "retrymax": "200ms"})
}

pub fn post(hub: &Hub, numbers: std::ops::Range<usize>) {
    let batch: Vec<_> = numbers.map(alert).collect();
    assert_eq!(hub.post("/", &Value::Array(batch).to_string()).expect("answered").0, 200);
}

pub fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A certificate of 127.0.0.1 that is its own authority, and its key.
pub fn certificate(directory: &Path) -> (String, String) {
    let path = |name: &str| directory.join(name).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{made:?}");
    (path("cert.pem"), path("key.pem"))
}

/// The numbers of alerts, in order and once each.
pub fn distinct(mut numbers: Vec<usize>) -> Vec<usize> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn mosquitto_in_every_quality() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name);
    let port = free_port();
    let passwords = path("passwords");
    let mut hashed = Command::new("mosquitto_passwd");
    hashed.args(["-b", "-c", passwords.to_str().expect("UTF-8"), "u", "p:ss"]);
    if hashed.output().is_err() {
        println!("skipped: mosquitto is not installed (scripts/deps hub)");
        return;
    }
    let user = if nix::unistd::geteuid().is_root() { "user root\n" } else { "" };
    let config = format!("listener {port} 127.0.0.1\npassword_file {}\n{user}", passwords.display());
    std::fs::write(path("conf"), config).expect("written");
    let address = format!("tcp://127.0.0.1:{port}");
    let target = |name: &str, qos: &str, password: &str| {
        json!({
            "kind": "mqtt", "name": name, "broker": address, "user": "u", "password": password, "qos": qos,
            "topic": format!("falco/{name}"),
        })
    };
    let hub = Hub::started(&json!({
        "hub": quick(),
        "outputs": [target("zero", "0", "p:ss"), target("one", "1", "p:ss"), target("two", "2", "p:ss"), target("wrong", "1", "x")],
    }));
    // The hub is there before its broker.
    post(&hub, 0..1);
    wait_until("the output is seen to be down", SOON, || hub.output("zero")["up"] == false);
    let arguments = ["-c", path("conf").to_str().expect("UTF-8")].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The first alert waits until somebody listens: nobody is there to keep it.
    let Some(_server) = Process::start("mosquitto", &arguments, &path("log")) else {
        return;
    };
    wait_until("mosquitto", SOON, || listens(port));
    let port_text = port.to_string();
    // Into a file it would write what it is told only with the first message.
    let listener = [
        "-oL",
        "mosquitto_sub",
        "-h",
        "127.0.0.1",
        "-p",
        &port_text,
        "-u",
        "u",
        "-P",
        "p:ss",
        "-t",
        "falco/#",
        "-q",
        "2",
        "-F",
        "%t %p",
        "-d",
    ];
    let Some(_listener) = Process::start("stdbuf", &listener, &path("got")) else {
        return;
    };
    let got = || std::fs::read_to_string(path("got")).unwrap_or_default();
    wait_until("somebody listens", SOON, || got().contains("SUBACK"));
    post(&hub, 1..40);
    let of = |topic: &str| {
        let text = got();
        let lines = text.lines().filter_map(|line| line.strip_prefix(topic)?.strip_prefix(' '));
        distinct(lines.filter_map(|line| serde_json::from_str(line).ok()).map(|alert: Value| number(&alert)).collect())
    };
    let wanted: Vec<_> = (1..40).collect();
    for name in ["zero", "one", "two"] {
        let all = || of(&format!("falco/{name}")).into_iter().filter(|n| *n > 0).eq(wanted.iter().copied());
        wait_until(&format!("all of {name}"), SOON, all);
        wait_until(&format!("all of {name} are acknowledged"), SOON, || hub.output(name)["queue"] == 0);
    }
    wait_until("the wrong password is told", SOON, || {
        hub.output("wrong")["last_error"].as_str().is_some_and(|e| e.contains("refused"))
    });
    assert!(of("falco/wrong").is_empty());
}

/// Ends the port mapper that RabbitMQ leaves behind.
struct PortMapper(u16);

impl Drop for PortMapper {
    fn drop(&mut self) {
        let _ = Command::new("epmd").args(["-port", &self.0.to_string(), "-kill"]).output();
    }
}

/// A RabbitMQ that keeps its files in a directory.
pub struct RabbitMq {
    pub process: Process,
    variables: Vec<(&'static str, String)>,
    _mapper: PortMapper,
}

impl RabbitMq {
    /// Starts it; it listens on `port` after a while.
    pub fn start(directory: &Path, port: u16) -> Option<RabbitMq> {
        let path = |name: &str| directory.join(name).display().to_string();
        let (mapper, distribution) = (free_port(), free_port());
        let server = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
        std::fs::write(path("rabbitmq.conf"), format!("listeners.tcp.local = 127.0.0.1:{port}\n")).expect("written");
        std::fs::write(path("plugins"), "[].\n").expect("written");
        let variables = vec![
            ("HOME", path("")),
            ("ERL_EPMD_PORT", mapper.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODENAME", "falco@localhost".to_owned()),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
            // Without it a shell stands between us and the server.
            ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput +sbwt none".to_owned()),
        ];
        let started = Process::start_with(server.to_str().expect("UTF-8"), &[], &variables, &directory.join("out"));
        // Made first, so that a server that cannot be had leaves none behind.
        let mapper = PortMapper(mapper);
        Some(RabbitMq { process: started?, variables, _mapper: mapper })
    }

    /// Messages in its queues, those that were sent and not acknowledged among them.
    pub fn messages(&self) -> usize {
        let said = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
            .args(["--quiet", "--no-table-headers", "list_queues", "messages"])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("started");
        assert!(said.status.success(), "{said:?}");
        let numbers = String::from_utf8(said.stdout).expect("UTF-8");
        numbers.lines().map(|number| number.trim().parse::<usize>().expect("a number")).sum()
    }
}

#[test]
fn rabbitmq_confirms_each_message() {
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let Some(_server) = RabbitMq::start(directory.path(), port) else { return };
    let hub = Hub::started(&json!({
        "hub": quick(), "rabbitmq": {"url": format!("amqp://guest:guest@127.0.0.1:{port}/"), "queue": "falco"},
    }));
    post(&hub, 0..50);
    // The broker takes a while; then there is no queue, which must not pass for delivered.
    wait_until("the missing queue is told", 2 * SOON, || {
        hub.output("rabbitmq")["last_error"].as_str().is_some_and(|e| e.contains("NO_ROUTE"))
    });
    assert_eq!(hub.output("rabbitmq")["last_success"], Value::Null);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let numbers = runtime.block_on(async {
        let arguments = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
        let connection = Connection::open(&arguments).await.expect("connected");
        let channel = connection.open_channel(None).await.expect("a channel");
        channel.queue_declare(QueueDeclareArguments::durable_client_named("falco")).await.expect("a queue");
        let mut numbers = Vec::new();
        let end = std::time::Instant::now() + SOON;
        while distinct(numbers.clone()).len() < 50 {
            assert!(std::time::Instant::now() < end, "{numbers:?}");
            let arguments = BasicGetArguments::new("falco").no_ack(true).finish();
            match channel.basic_get(arguments).await.expect("answered") {
                None => tokio::time::sleep(Duration::from_millis(20)).await,
                Some((_, properties, body)) => {
                    assert_eq!(properties.content_type().map(String::as_str), Some("text/plain"));
                    let alert: Value = serde_json::from_slice(&body).expect("JSON");
                    assert_eq!(properties.message_id().map(String::as_str), alert["uuid"].as_str());
                    numbers.push(number(&alert));
                }
            }
        }
        numbers
    });
    assert_eq!(distinct(numbers), (0..50).collect::<Vec<_>>());
    wait_until("all are acknowledged", SOON, || {
        hub.output("rabbitmq")["queue"] == 0 && hub.output("rabbitmq")["last_success"].is_number()
    });
}

#[test]
fn postgresql_gets_rows() {
    let Some(server) = Server::started() else { return };
    let port = server.port;
    let psql = |text: &str| server.psql("postgres", text);
    let hub = Hub::started(&json!({
        "hub": quick(), "customfields": {"Team": "it's \"red\"", "a.b": "x"},
        "timescaledb": {"host": "127.0.0.1", "port": port, "password": PASSWORD, "database": "postgres"},
    }));
    post(&hub, 0..30);
    wait_until("the missing table is told", SOON, || {
        hub.output("timescaledb")["last_error"].as_str().is_some_and(|e| e.contains("falcosidekick_events"))
    });
    psql(
        "create table falcosidekick_events (time timestamptz not null, rule text, priority varchar(20), source text, \
         output text, tags text, hostname text, team text, \"a.b\" text)",
    );
    wait_until("all rows", SOON, || psql("select count(distinct output) from falcosidekick_events") == "30");
    let row = "select extract(epoch from time), rule, priority, tags, hostname, team, \"a.b\" from falcosidekick_events limit 1";
    assert_eq!(psql(row), "1706702400.000000|Numbered|Warning|a,b|host|it's \"red\"|x");
}

/// The system's, to which packages belong.
const PYTHON: &str = "/usr/bin/python3";

const MAIL_SERVER: &str = r#"
import asyncio, json, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
port, out, cert, key = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
class Handler:
    async def handle_DATA(self, server, session, envelope):
        if b"alert <3>" in envelope.content: return "550 no"
        with open(out, "a") as f:
            f.write(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
                                "mail": envelope.content.decode()}) + "\n")
        return "250 ok"
    async def auth_OAUTHBEARER(self, server, args):
        import base64
        ok = base64.b64decode(args[1]).endswith(b"\x01auth=Bearer tok\x01\x01")
        return AuthResult(success=ok, auth_data=b"x")
def check(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and data.login == b"u" and data.password == b"p"
    return AuthResult(success=right, handled=False)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
c = Controller(Handler(), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True,
               auth_required=True, authenticator=check)
c.start()
asyncio.new_event_loop().run_forever()
"#;

#[test]
fn mail_over_tls_with_a_password() {
    let directory = tempfile::tempdir().expect("directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let known = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).output();
    if !known.is_ok_and(|out| out.status.success()) {
        println!("skipped: python3-aiosmtpd is not installed (scripts/deps hub)");
        return;
    }
    let port = free_port();
    let port_text = port.to_string();
    let (out, (cert, key)) = (path("out"), certificate(directory.path()));
    let arguments = ["-c", MAIL_SERVER, &port_text, &out, &cert, &key];
    let Some(_server) = Process::start(PYTHON, &arguments, &directory.path().join("log")) else {
        return;
    };
    wait_until("the mail server", SOON, || listens(port));
    let target = |name: &str, more: Value| {
        let mut target = json!({
            "kind": "smtp", "name": name, "hostport": format!("127.0.0.1:{port}"), "from": "Falco <falco@example.org>",
            "to": "a@example.org,b@example.org", "user": "u", "password": "p",
        });
        target.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        target
    };
    let mut settings = quick();
    settings["refusals"] = json!(2);
    let hub = Hub::started(&json!({
        "hub": settings, "tlsclient": {"cacertfile": cert},
        "outputs": [
            target("plain", json!({"outputformat": "text"})),
            target("bearer", json!({"authmechanism": "oauthbearer", "token": "tok"})),
            target("wrong", json!({"password": "x"})),
        ],
    }));
    post(&hub, 0..6);
    let mails = || -> Vec<Value> {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    wait_until("five mails of two outputs", SOON, || mails().len() >= 10);
    wait_until("what is refused is a dead letter", SOON, || {
        hub.output("plain")["dead_letters"] == 1 && hub.output("bearer")["dead_letters"] == 1
    });
    for mail in mails() {
        assert_eq!(mail["to"], json!(["a@example.org", "b@example.org"]));
        assert_eq!((&mail["from"], &mail["tls"]), (&json!("falco@example.org"), &json!(true)));
        let text = mail["mail"].as_str().expect("a text");
        assert!(
            text.contains("Subject: [Warning] alert <") && text.contains("Date: Wed, 31 Jan 2024 12:00:00 +0000"),
            "{text}"
        );
        assert!(text.contains("proc.name: sh"), "{text}");
    }
    let html = mails().iter().filter(|mail| mail["mail"].as_str().is_some_and(|m| m.contains("text/html"))).count();
    assert_eq!(html, 5, "the text alone, and with HTML");
    wait_until("the wrong password is told", SOON, || {
        hub.output("wrong")["last_error"].as_str().is_some_and(|e| e.contains("535"))
    });
}
