//! What comes in: endpoints, answers, batches, the unix socket, the token, TLS.

use crate::port::free_port;
use crate::process::{Hub, Mode, Process, Receiver, alert, request, wait_until};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[test]
fn endpoints_and_answers() {
    let web = Receiver::http(Mode::Up);
    let hub = Hub::started(&json!({
        "webhook": {"address": web.url(), "customheaders": {"X-Team": "sec"}},
        "customfields": {"team": "a"}, "templatedfields": {"who": "{{ index . \"proc.name\" }}"},
        "bracketreplacer": "_", "hub": {"maxbody": "64KiB"},
    }));
    assert_eq!(hub.get("/ping"), (200, "pong\n".to_owned()));
    assert_eq!(hub.get("/healthz"), (200, "{\"status\": \"ok\"}".to_owned()));
    assert_eq!(hub.get("/test").0, 400);
    assert_eq!(hub.get("/"), (400, "Please send with post http method\n".to_owned()));
    assert_eq!(hub.post("/test", "").expect("answered"), (200, String::new()));
    let mut one = alert(1);
    one["output_fields"]["proc.aname[2]"] = json!("x");
    one["output_fields"]["k8s.ns.name"] = json!(7);
    one["source"] = json!(null);
    assert_eq!(hub.post("/any/path", &format!("{one} trailing")).expect("answered").0, 200, "a number as namespace");
    for (body, part) in [
        ("", "the body is empty"),
        ("{", "not valid JSON"),
        ("{\"priority\":\"x\"}", "'priority' is 'x'"),
        ("\"text\"", "not valid JSON"),
        (&format!("[{}", "[".repeat(50_000)), "not valid JSON"),
        (&alert(1).to_string().replace("2024-01-31T", ""), "'time' is"),
    ] {
        let (status, text) = hub.post("/", body).expect("answered");
        assert!(
            status == 400 && text.starts_with("Please send a valid request body: ") && text.contains(part),
            "{text}"
        );
    }
    let (status, text) = hub.post("/", &" ".repeat(70_000)).expect("answered");
    assert_eq!((status, text.as_str()), (413, "The body is larger than 65536 bytes (hub.maxbody)\n"));

    let requests = web.wait_for(2);
    let (test, one) = (requests[0].json(), requests[1].json());
    assert_eq!(
        (&test["rule"], &test["source"], &test["priority"]),
        (&json!("Test rule"), &json!("internal"), &json!("Debug"))
    );
    assert_eq!(
        one["output_fields"],
        json!({
            "number": 1, "proc.name": "sh", "evt.time": 1_700_000_000_000_000_001u64, "proc.aname_2": "x", "team": "a",
            "who": "sh", "k8s.ns.name": 7,
        })
    );
    assert_eq!((&one["source"], &one["tags"]), (&json!("syscalls"), &json!(["a", "b"])));
    let text = String::from_utf8(requests[1].body.clone()).expect("UTF-8");
    assert!(text.ends_with("}\n") && text.contains("alert \\u003c1\\u003e"), "as Go writes it: {text}");
    assert_eq!(requests[1].method, "POST");
    let headers = &requests[1].headers;
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    assert_eq!((headers["user-agent"].as_str(), headers["x-team"].as_str()), ("Falcosidekick", "sec"));
    assert_eq!(json!(headers["idempotency-key"]), one["uuid"]);

    let metrics = hub.metrics();
    assert_eq!(metrics["falcosecurity_falcosidekick_inputs_total{source=\"requests\",status=\"accepted\"}"], 2.0);
    assert_eq!(metrics["falcosecurity_falcosidekick_inputs_total{source=\"requests\",status=\"rejected\"}"], 9.0);
    assert_eq!(metrics["falcosecurity_falcosidekick_outputs_total{destination=\"webhook\",status=\"ok\"}"], 2.0);
}

#[test]
fn batches_and_the_socket() {
    let web = Receiver::http(Mode::Up);
    let directory = tempfile::tempdir().expect("directory");
    let socket = directory.path().join("hub.sock");
    let hub = Hub::started(&json!({"webhook": {"address": web.url()}, "hub": {"socket": socket}}));
    let batch = json!([alert(1), {"priority": "x"}, alert(2)]);
    let (status, text) = hub.post("/", &batch.to_string()).expect("answered");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &answer["accepted"], &answer["rejected"][0]["index"]), (200, &json!(2), &json!(1)));
    let lines = format!("{}\n\n{}\n", alert(3), alert(4));
    let headers = [("Content-Type", "application/x-ndjson")];
    let stream = UnixStream::connect(&socket).expect("connected");
    let (status, text) = request(stream, "POST", "/", &headers, &lines).expect("answered");
    assert_eq!((status, text.as_str()), (200, r#"{"accepted":2,"rejected":[]}"#));
    let (status, _) = hub.post("/", "[{},{}]").expect("answered");
    assert_eq!(status, 400, "none was accepted");
    web.wait_for(4);
    // A socket that a killed hub left behind is taken over.
    let mut hub = hub;
    hub.kill();
    hub.start();
    wait_until("the socket", Duration::from_secs(10), || UnixStream::connect(&socket).is_ok());
}

/// As systemd starts it: somebody else listens, and does so while the hub is away.
#[test]
fn a_socket_of_the_service_manager() {
    let web = Receiver::http(Mode::Up);
    let mut hub = Hub::new(&json!({"webhook": {"address": web.url()}}));
    let socket = hub.directory.path().join("given.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    // One that programs inherit.
    let inherited = nix::unistd::dup(&listener).expect("a descriptor");
    let start = |hub: &mut Hub| {
        let config = hub.directory.path().join("hub.yaml");
        let command = format!("export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" -c \"$1\" 3<&{}", inherited.as_raw_fd());
        let arguments = ["-c", &command, env!("CARGO_BIN_EXE_falco-hub"), config.to_str().expect("UTF-8")];
        // A plain sh may know descriptors of one digit only.
        hub.process = Process::start("bash", &arguments, &hub.log());
    };
    std::thread::scope(|scope| {
        for number in 1..=2 {
            let stream = UnixStream::connect(&socket).expect("connected while no hub runs");
            let answer = scope.spawn(move || request(stream, "POST", "/", &[], &alert(number).to_string()));
            start(&mut hub);
            assert_eq!(answer.join().expect("asked").expect("answered").0, 200, "alert {number}");
            hub.kill();
        }
    });
    start(&mut hub);
    web.wait_for(2);
}

/// What a hub sends on keeps its uuid, and is not there twice however often it comes.
#[test]
fn an_idempotency_key_is_the_uuid() {
    let central = Hub::started(&json!({"customfields": {"hub": "central"}, "customtags": ["seen"]}));
    let near = Hub::started(&json!({
        "webhook": {"address": format!("http://127.0.0.1:{}/", central.port)}, "customtags": ["seen"],
        "customfields": {"hub": "near"},
    }));
    let mut one = alert(1);
    one["uuid"] = json!("11111111-2222-4333-8444-555555555555");
    assert_eq!(near.post("/", &one.to_string()).expect("answered").0, 200);
    wait_until("it is there", Duration::from_secs(20), || central.kept().len() == 1);
    let (sent, kept) = (near.kept().remove(0), central.kept().remove(0));
    assert_ne!(sent["uuid"], one["uuid"], "a body alone says nothing over HTTP, as with Falcosidekick");
    assert_eq!(kept["uuid"], sent["uuid"]);
    assert_eq!((&sent["output_fields"]["hub"], &kept["output_fields"]["hub"]), (&json!("near"), &json!("central")));
    assert_eq!((&kept["tags"], &kept["hostname"]), (&json!(["a", "b", "seen"]), &json!("host")));
    let post = |key: &str, body: &Value| {
        let stream = TcpStream::connect(central.address()).expect("connected");
        let headers = [("Idempotency-Key", key)];
        request(stream, "POST", "/", &headers, &body.to_string()).expect("answered")
    };
    let uuid = sent["uuid"].as_str().expect("a text").to_owned();
    for key in [uuid.as_str(), &uuid.to_uppercase(), &uuid.replace('-', "")] {
        assert_eq!(post(key, &alert(2)), (200, String::new()));
    }
    assert_eq!(central.kept(), [kept]);
    assert_eq!(central.metrics()["falco_hub_input_repeated_total{input=\"requests\"}"], 3.0);
    assert_eq!(
        central.metrics()["falcosecurity_falcosidekick_inputs_total{source=\"requests\",status=\"accepted\"}"],
        1.0
    );
    // A key that is no uuid says nothing; of several alerts it cannot be said which it is of.
    for (key, body) in [("x", alert(3)), (uuid.as_str(), json!([alert(3), alert(3)]))] {
        assert_eq!((post(key, &body).0, post(key, &body).0), (200, 200));
    }
    assert_eq!(central.kept().len(), 7);
}

#[test]
fn the_token() {
    let hub = Hub::started(&json!({"hub": {"token": "s3cret"}}));
    let post = |value: &str| {
        let stream = TcpStream::connect(hub.address()).expect("connected");
        let headers = [("Authorization", value)];
        request(stream, "POST", "/", if value.is_empty() { &[] } else { &headers }, &alert(1).to_string())
    };
    assert_eq!(post("").expect("answered").0, 401);
    assert_eq!(post("Bearer s3creT").expect("answered").0, 401);
    assert_eq!(post("Bearer s3cret").expect("answered").0, 200);
    assert_eq!(hub.get("/healthz").0, 200);
}

#[test]
fn a_full_spool_refuses_and_says_so() {
    let web = Receiver::http(Mode::Killed);
    let hub = Hub::started(&json!({
        "webhook": {"address": web.url()}, "hub": {"maxsize": "400KiB", "retrymin": "50ms", "retrymax": "100ms"},
    }));
    let mut accepted = 0;
    let (status, text) = loop {
        let answer = hub.post("/", &alert(accepted).to_string()).expect("answered");
        if answer.0 != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 5000, "the size bounds it");
    };
    assert!(status == 503 && text.contains("hub.maxsize"), "{text}");
    web.set(Mode::Up);
    web.wait_for(accepted);
    wait_until("there is room again", Duration::from_secs(20), || {
        hub.post("/", &alert(accepted).to_string()).expect("answered").0 == 200
    });
}

/// Certificates for the server and the client, of one authority.
pub fn certificates(directory: &Path) -> bool {
    let script = "set -e; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt \
        -subj /CN=ca -days 2; for n in server client; do openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout $n.key -out $n.csr -subj /CN=$n; printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' >ext; \
        openssl x509 -req -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $n.crt; done";
    let made = Command::new("sh").arg("-c").arg(script).current_dir(directory).output().expect("run");
    if !made.status.success() {
        println!("skipped: openssl is not installed (scripts/deps hub): {}", String::from_utf8_lossy(&made.stderr));
    }
    made.status.success()
}

/// TLS in and out: a hub that forwards to another over mutual TLS.
#[test]
fn tls_and_mutual_tls() {
    let directory = tempfile::tempdir().expect("directory");
    if !certificates(directory.path()) {
        return;
    }
    let file = |name: &str| directory.path().join(name);
    let web = Receiver::http(Mode::Up);
    let plain = free_port();
    let server = Hub::started(&json!({
        "webhook": {"address": web.url()},
        "tlsserver": {
            "deploy": true, "mutualtls": true, "notlsport": plain, "notlspaths": ["/healthz"],
            "certfile": file("server.crt"), "keyfile": file("server.key"), "cacertfile": file("ca.crt"),
        },
    }));
    let address = format!("https://127.0.0.1:{}/", server.port);
    let client = |settings: Value, section: Value| {
        let mut config = json!({"hub": {"retrymin": "50ms", "retrymax": "100ms"}, "webhook": section});
        config.as_object_mut().expect("map").extend(settings.as_object().expect("map").clone());
        let hub = Hub::started(&config);
        assert_eq!(hub.post("/", &alert(1).to_string()).expect("answered").0, 200);
        hub
    };
    let mutual = json!({"mutualtlsclient": {
        "certfile": file("client.crt"), "keyfile": file("client.key"), "cacertfile": file("ca.crt"),
    }});
    let _good = client(mutual, json!({"address": address, "mutualtls": true}));
    web.wait_for(1);
    for (section, settings) in
        [(json!({"address": address, "checkcert": false}), json!({})), (json!({"address": address}), json!({}))]
    {
        let hub = client(settings, section);
        wait_until("refused", Duration::from_secs(10), || hub.output("webhook")["up"] == false);
    }
    assert_eq!(web.count(), 1, "nobody else came through");
    let stream = || TcpStream::connect(("127.0.0.1", plain)).expect("connected");
    assert_eq!(request(stream(), "GET", "/healthz", &[], "").expect("answered").0, 200);
    assert_eq!(request(stream(), "POST", "/", &[], "{}").expect("answered").0, 404, "not without TLS");

    // Without mutual TLS, the authority is enough, or nothing with checkcert false.
    let server = Hub::started(&json!({
        "webhook": {"address": web.url()},
        "tlsserver": {"deploy": true, "certfile": file("server.crt"), "keyfile": file("server.key")},
    }));
    let address = format!("https://127.0.0.1:{}/", server.port);
    let _ca = client(json!({"tlsclient": {"cacertfile": file("ca.crt")}}), json!({"address": address}));
    let _unchecked = client(json!({}), json!({"address": address, "checkcert": false}));
    web.wait_for(3);
    let hub = client(json!({}), json!({"address": address}));
    wait_until("refused", Duration::from_secs(10), || hub.output("webhook")["up"] == false);
    assert!(hub.output("webhook")["last_error"].as_str().is_some_and(|e| e.contains("certificate")), "it says why");
}

#[test]
fn the_command_line() {
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_falco-hub"));
        let output = command.args(arguments).envs(variables.iter().copied()).output().expect("run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (ok, out, _) = run(&["-v"], &[]);
    assert!(ok && out.starts_with("falco-hub "));
    let (ok, _, err) = run(&["-c", "/nonexistent.yaml", "config", "check"], &[]);
    assert!(!ok && err.contains("/nonexistent.yaml: the configuration cannot be read"), "{err}");
    let (ok, _, err) = run(&["config", "check"], &[("SLACK_WEBHOOKURL", "localhost")]);
    assert!(!ok && err.contains("slack: 'localhost' is not an address: it must start with http"), "{err}");
    let (ok, out, _) = run(&["config", "check", "-o", "slack.webhookurl=http://x"], &[]);
    assert!(ok && out.contains("outputs: slack"), "{out}");
    let (ok, _, err) = run(&["config", "check"], &[("TEMPLATEDFIELDS", "a:{{ nosuch }}")]);
    assert!(!ok && err.contains("templatedfields.a: there is no function 'nosuch'"), "{err}");
    let (ok, out, _) = run(&["inputs", "list"], &[]);
    assert!(ok && out.lines().count() == 4 && out.contains("\nnats "), "{out}");
    let (ok, out, _) = run(&["inputs", "describe", "Redis"], &[]);
    assert!(ok && out.contains("\nkey\n    [text] name of the list (default: falco)\n"), "{out}");
    let (ok, _, err) = run(&["inputs", "describe", "slack"], &[]);
    assert!(!ok && err.contains("there is no input 'slack'"), "{err}");
    let (ok, out, _) = run(&["outputs", "describe", "slack"], &[]);
    assert!(ok && out.contains("SLACK_WEBHOOKURL"), "{out}");
    let web = Receiver::http(Mode::Up);
    let address = format!("webhook.address={}", web.url());
    let (ok, out, _) = run(&["outputs", "test", "webhook", "-o", &address], &[]);
    assert!(ok && out.contains("was taken") && web.count() == 1, "{out}");
    web.set(Mode::Failing);
    let (ok, _, err) = run(&["outputs", "test", "webhook", "-o", &address], &[]);
    assert!(!ok && err.contains("webhook: 503"), "{err}");
}

/// The unit's own way to give a directory.
#[test]
fn state_directory() {
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let child = Command::new(env!("CARGO_BIN_EXE_falco-hub"))
        .args(["-o", &format!("listenport={port}"), "-o", "hub.uiport=0"])
        .env("STATE_DIRECTORY", directory.path())
        .spawn()
        .expect("started");
    let hub = Process(child);
    wait_until("the database", Duration::from_secs(10), || directory.path().join("alerts.db").exists());
    wait_until("the hub answers", Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).is_ok());
    hub.signal(nix::sys::signal::Signal::SIGTERM);
    let mut hub = hub;
    assert!(hub.0.wait().expect("ended").success(), "SIGTERM ends it in order");
}
