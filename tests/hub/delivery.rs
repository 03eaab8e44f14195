//! Nothing that was acknowledged is lost: outputs are killed, hung and brought back, and the hub is killed, while alerts
//! come in.

use crate::port::free_port;
use crate::process::{Hub, Mode, Process, Receiver, alert, number, syslog_json, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many alerts; more with FALCO_HUB_ALERTS.
pub fn alerts() -> usize {
    std::env::var("FALCO_HUB_ALERTS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000)
}

pub fn redis(directory: &Path, port: u16) -> Option<Process> {
    let port = port.to_string();
    let directory_text = directory.to_str().expect("UTF-8");
    // What Redis acknowledges survives its being killed, as in the hub.
    let arguments = [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--dir",
        directory_text,
    ];
    Process::start("redis-server", &arguments, &directory.join("redis.log"))
}

/// The list that the hub fills, asked in Redis' own protocol.
fn redis_list(port: u16) -> Option<Vec<Value>> {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"LRANGE falco 0 -1\r\n").ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let count: usize = line.strip_prefix('*')?.trim().parse().ok()?;
    (0..count)
        .map(|_| {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let mut text = vec![0; line.strip_prefix('$')?.trim().parse::<usize>().ok()? + 2];
            reader.read_exact(&mut text).ok()?;
            serde_json::from_slice(&text).ok()
        })
        .collect()
}

/// Sends alerts until all are acknowledged; whatever is not acknowledged is sent again.
fn feed(hub: &Mutex<Hub>, next: &AtomicUsize, acknowledged: &AtomicUsize, total: usize) {
    let port = hub.lock().expect("lock").port;
    loop {
        // Single alerts and batches in turn.
        let first = next.fetch_add(7, Ordering::SeqCst);
        if first >= total {
            return;
        }
        let batch: Vec<_> = (first..total.min(first + 7)).map(alert).collect();
        let bodies: Vec<Value> =
            if first.is_multiple_of(2) { vec![Value::Array(batch.clone())] } else { batch.clone() };
        for body in bodies {
            loop {
                let answer = std::net::TcpStream::connect(("127.0.0.1", port))
                    .and_then(|stream| crate::process::request(stream, "POST", "/", &[], &body.to_string()));
                match answer {
                    Ok((200, _)) => break,
                    Ok((status, text)) => assert_eq!(status, 503, "{text}"),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        }
        acknowledged.fetch_add(batch.len(), Ordering::SeqCst);
    }
}

#[test]
fn every_acknowledged_alert_arrives_everywhere() {
    let total = alerts();
    // More alerts take longer; the kills are spread over all of it.
    let scale = u32::try_from(total / 4000).expect("not as many").max(1);
    let (web, syslog) = (Receiver::http(Mode::Up), Receiver::lines(Mode::Up));
    let redis_directory = tempfile::tempdir().expect("directory");
    let redis_port = free_port();
    let mut server = redis(redis_directory.path(), redis_port);
    let mut config = json!({
        "hub": {"retrymin": "50ms", "retrymax": "500ms", "timeout": "1s"},
        "webhook": {"address": web.url(), "maxconcurrentrequests": 8},
        "syslog": {"host": "127.0.0.1", "port": syslog.port, "protocol": "tcp"},
    });
    if server.is_some() {
        config["redis"] = json!({"address": format!("127.0.0.1:{redis_port}")});
    }
    let hub = Mutex::new(Hub::started(&config));
    let (next, acknowledged, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let mut kills = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| feed(&hub, &next, &acknowledged, total));
        }
        // Each output is killed, hung and brought back in turn; the hub is killed between.
        scope.spawn(|| {
            let pause = || std::thread::sleep(Duration::from_millis(300));
            let mut round = 0;
            while !stop.load(Ordering::SeqCst) || round < 2 {
                for receiver in [&web, &syslog] {
                    for mode in [Mode::Killed, Mode::Up, Mode::Hung, Mode::Up, Mode::Failing, Mode::Up] {
                        receiver.set(mode);
                        pause();
                    }
                }
                if let Some(running) = server.take() {
                    running.signal(Signal::SIGSTOP);
                    pause();
                    running.signal(Signal::SIGCONT);
                    pause();
                    running.kill();
                    pause();
                    server = redis(redis_directory.path(), redis_port);
                    pause();
                }
                round += 1;
            }
        });
        let end = Instant::now() + Duration::from_secs(300) * scale;
        while kills < 10 || acknowledged.load(Ordering::SeqCst) < total {
            assert!(Instant::now() < end, "{} of {total} were acknowledged", acknowledged.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(400) * scale);
            let mut hub = hub.lock().expect("lock");
            hub.kill();
            hub.start();
            kills += 1;
        }
        stop.store(true, Ordering::SeqCst);
    });
    let hub = hub.into_inner().expect("lock");
    hub.wait_ready();
    let has_redis = config.get("redis").is_some();
    let wanted: BTreeSet<usize> = (0..total).collect();
    let mut report = BTreeMap::new();
    let mut arrived = |name: &'static str, numbers: Vec<usize>| {
        let all = numbers.len();
        let distinct: BTreeSet<usize> = numbers.into_iter().collect();
        let missing = wanted.difference(&distinct).count();
        report.insert(name, (all, missing));
        missing == 0
    };
    let end = Instant::now() + Duration::from_secs(120) * scale;
    loop {
        let web_numbers = web.all().iter().map(|r| number(&r.json())).collect();
        let syslog_numbers = syslog.all().iter().map(|r| number(&syslog_json(&r.body))).collect();
        let mut done = arrived("webhook", web_numbers) & arrived("syslog", syslog_numbers);
        if has_redis {
            let list = redis_list(redis_port).unwrap_or_default();
            done &= arrived("redis", list.iter().map(number).collect());
        }
        if done {
            break;
        }
        assert!(Instant::now() < end, "(deliveries, missing) of {total}: {report:?}; log: {}", hub.log().display());
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("{total} alerts, the hub killed {kills} times; (deliveries, missing): {report:?}");
}

#[test]
fn an_output_that_is_down_is_tried_until_it_is_up() {
    let web = Receiver::http(Mode::Killed);
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms", "retrymax": "200ms"}, "webhook": {"address": web.url()},
    }));
    for i in 0..20 {
        assert_eq!(hub.post("/", &alert(i).to_string()).expect("answered").0, 200);
    }
    wait_until("the output is seen to be down", Duration::from_secs(10), || hub.output("webhook")["up"] == false);
    assert_eq!(hub.get("/readyz").0, 503);
    assert!(hub.output("webhook")["last_error"].as_str().is_some_and(|e| e.contains("refused")));
    wait_until("the metrics tell", Duration::from_secs(10), || {
        let metrics = hub.metrics();
        let of = |name: &str| metrics.get(&format!("{name}{{output=\"webhook\"}}")).copied().unwrap_or(-1.0);
        of("falco_hub_output_queue") + of("falco_hub_output_held") >= 20.0 && of("falco_hub_output_up") == 0.0
    });
    web.set(Mode::Up);
    let numbers: BTreeSet<_> = web.wait_for(20).iter().map(|r| number(&r.json())).collect();
    assert_eq!(numbers.len(), 20);
    wait_until("ready", Duration::from_secs(10), || hub.get("/readyz").0 == 200);
}

#[test]
fn one_refused_alert_does_not_hold_up_others() {
    // 404 of one path is everybody's fault, 400 is the alert's own: a receiver that refuses by content is made here.
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let script = directory.path().join("sink.py");
    std::fs::write(
        &script,
        "import http.server,sys\n\
         class H(http.server.BaseHTTPRequestHandler):\n\
         \x20 def do_POST(s):\n\
         \x20   b = s.rfile.read(int(s.headers['Content-Length'])); bad = b'alert \\\\u003c3\\\\u003e' in b\n\
         \x20   if not bad: open(sys.argv[2], 'ab').write(b)\n\
         \x20   s.send_response(400 if bad else 200); s.end_headers()\n\
         http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()\n",
    )
    .expect("written");
    let got = directory.path().join("got");
    let arguments = [script.to_str().expect("UTF-8"), &port.to_string(), got.to_str().expect("UTF-8")];
    let Some(_sink) = Process::start("python3", &arguments, &directory.path().join("log")) else { return };
    wait_until("the sink", Duration::from_secs(10), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "20ms", "retrymax": "50ms", "refusals": 3},
        "webhook": {"address": format!("http://127.0.0.1:{port}/")},
    }));
    for i in 0..10 {
        assert_eq!(hub.post("/", &alert(i).to_string()).expect("answered").0, 200);
    }
    let read = || std::fs::read_to_string(&got).unwrap_or_default();
    wait_until("nine arrive", Duration::from_secs(10), || read().lines().count() == 9);
    wait_until("a dead letter", Duration::from_secs(20), || hub.output("webhook")["dead_letters"] == 1);
    assert_eq!(hub.get("/readyz").0, 200, "the output works");
    let list = hub.command().args(["dead-letters", "list"]).output().expect("run");
    let letter: Value = serde_json::from_slice(&list.stdout).expect("one line of JSON");
    assert_eq!((&letter["output"], &letter["attempts"]), (&json!("webhook"), &json!(3)));
    assert!(letter["error"].as_str().is_some_and(|e| e.contains("400")), "{letter}");
    let retried = hub.command().args(["dead-letters", "retry", "webhook"]).output().expect("run");
    assert!(String::from_utf8_lossy(&retried.stdout).starts_with("1 alerts"));
    wait_until("a dead letter again", Duration::from_secs(20), || hub.output("webhook")["dead_letters"] == 1);
}

#[test]
fn dead_letters_that_follow_each_other_are_two_lines_in_the_log() {
    let web = Receiver::answering(|_| (422, String::new()));
    let mut hub = Hub::started(&json!({"hub": {"refusals": 1}, "webhook": {"address": web.url()}}));
    for i in 0..20 {
        assert_eq!(hub.post("/", &alert(i).to_string()).expect("answered").0, 200);
    }
    wait_until("dead letters", Duration::from_secs(20), || hub.output("webhook")["dead_letters"] == 20);
    let mut process = hub.process.take().expect("it runs");
    process.signal(Signal::SIGTERM);
    process.0.wait().expect("it ends");
    let log = std::fs::read_to_string(hub.log()).expect("a log");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("now a dead letter: refused: 422") && lines[1].contains("more=19"), "{log}");
}

#[test]
fn routing() {
    let web = Receiver::http(Mode::Up);
    let url = |path: &str| format!("{}/{path}", web.url());
    let hub = Hub::started(&json!({
        "webhook": {"address": url("high"), "minimumpriority": "error"},
        "outputs": [
            {"kind": "webhook", "name": "rules", "address": url("rules"), "match": {"rules": "Num*"}},
            {"kind": "webhook", "name": "fields", "address": url("fields"), "match": {"fields": {"proc.name": ["ba*", "zsh"]}}},
            {"kind": "webhook", "name": "tags", "address": url("tags"), "exclude": {"tags": "a", "hostnames": "host"}},
        ],
    }));
    let mut second = alert(2);
    second["rule"] = json!("Other");
    second["priority"] = json!("critical");
    second["output_fields"]["proc.name"] = json!("bash");
    second["tags"] = json!(["b"]);
    for alert in [alert(1), second] {
        assert_eq!(hub.post("/", &alert.to_string()).expect("answered").0, 200);
    }
    let got: BTreeSet<_> = web.wait_for(4).iter().map(|r| (r.path.clone(), number(&r.json()))).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(web.count(), 4, "and no more");
    let expected = [("/fields", 2), ("/high", 2), ("/rules", 1), ("/tags", 2)];
    assert_eq!(got, expected.map(|(path, number)| (path.to_owned(), number)).into());
}
