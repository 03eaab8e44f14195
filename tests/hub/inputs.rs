//! Alerts out of brokers: a hub puts them in, another takes them out, and both, and the broker, are killed meanwhile.

use crate::brokers::{RabbitMq, distinct, listens, post, quick};
use crate::delivery::{self, alerts};
use crate::kafka::kcat;
use crate::port::free_port;
use crate::process::{Hub, Mode, Process, Receiver, number, wait_until};
use crate::receivers::{nats, redis_ask};
use amqprs::BasicProperties;
use amqprs::channel::BasicPublishArguments;
use amqprs::connection::{Connection, OpenConnectionArguments};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
enum Kind {
    Nats,
    RabbitMq,
    Redis,
}

enum Running {
    Plain(Process),
    RabbitMq(RabbitMq),
}

struct Broker {
    kind: Kind,
    directory: tempfile::TempDir,
    port: u16,
    running: Option<Running>,
}

impl Broker {
    fn new(kind: Kind) -> Broker {
        Broker { kind, directory: tempfile::tempdir().expect("directory"), port: free_port(), running: None }
    }

    /// False when it is not installed.
    fn start(&mut self) -> bool {
        let directory = self.directory.path();
        self.running = match self.kind {
            Kind::Nats => nats(directory, self.port).map(Running::Plain),
            Kind::RabbitMq => RabbitMq::start(directory, self.port).map(Running::RabbitMq),
            Kind::Redis => delivery::redis(directory, self.port).map(Running::Plain),
        };
        if self.running.is_some() {
            wait_until("the broker", SOON, || listens(self.port));
        }
        self.running.is_some()
    }

    /// In order, as an operator does.
    fn stop(&mut self) {
        let mut running = self.running.take().expect("running");
        let process = match &mut running {
            Running::Plain(process) => process,
            Running::RabbitMq(server) => &mut server.process,
        };
        process.signal(Signal::SIGTERM);
        process.0.wait().expect("ended");
    }

    fn output(&self) -> Value {
        match self.kind {
            Kind::Nats => json!({
                "kind": "nats", "name": "out", "hostport": format!("nats://127.0.0.1:{}", self.port), "jetstream": true,
                "maxconcurrentrequests": 16,
            }),
            Kind::RabbitMq => json!({
                "kind": "rabbitmq", "name": "out", "url": format!("amqp://127.0.0.1:{}/", self.port), "queue": "falco",
            }),
            Kind::Redis => json!({"kind": "redis", "name": "out", "address": format!("127.0.0.1:{}", self.port)}),
        }
    }

    fn input(&self) -> Value {
        let mut input = self.output();
        let own = match self.kind {
            Kind::Nats => json!({"stream": "falco", "create": true}),
            Kind::RabbitMq => json!({"create": true}),
            Kind::Redis => json!({}),
        };
        let map = input.as_object_mut().expect("an object");
        map.retain(|key, _| !["jetstream", "maxconcurrentrequests"].contains(&key.as_str()));
        map.extend(own.as_object().expect("an object").clone());
        input["name"] = json!("in");
        input
    }

    /// Messages it still has, those that were given and not acknowledged among them.
    fn left(&self) -> usize {
        match (self.kind, self.running.as_ref().expect("running")) {
            (Kind::Nats, _) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let client = async_nats::connect(format!("127.0.0.1:{}", self.port)).await.expect("connected");
                    let answer = client.request("$JS.API.CONSUMER.INFO.falco.falco-hub", "".into()).await;
                    let state: Value = serde_json::from_slice(&answer.expect("answered").payload).expect("JSON");
                    let number = |name: &str| usize::try_from(state[name].as_u64().expect("a number")).expect("small");
                    number("num_pending") + number("num_ack_pending")
                })
            }
            (Kind::RabbitMq, Running::RabbitMq(server)) => server.messages(),
            (Kind::Redis, _) => {
                let answer = redis_ask(self.port, "LLEN falco\r\nLLEN falco:taking:in\r\n");
                answer.lines().filter_map(|line| line.strip_prefix(':')?.parse::<usize>().ok()).sum()
            }
            (Kind::RabbitMq, Running::Plain(_)) => unreachable!("it was started as one"),
        }
    }

    /// Puts a message into it that no hub made.
    fn put(&self, text: &str) {
        match self.kind {
            Kind::Nats => {
                let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
                let message = format!("PUB falco.bad {}\r\n{text}\r\nPING\r\n", text.len());
                stream.write_all(format!("CONNECT {{\"verbose\":false}}\r\n{message}").as_bytes()).expect("sent");
                let mut answer = String::new();
                while !answer.contains("PONG") {
                    let mut bytes = [0; 4096];
                    let number = stream.read(&mut bytes).expect("answered");
                    assert!(number > 0, "{answer}");
                    answer += &String::from_utf8_lossy(&bytes[..number]);
                }
            }
            Kind::RabbitMq => {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let arguments = OpenConnectionArguments::new("127.0.0.1", self.port, "guest", "guest");
                    let connection = Connection::open(&arguments).await.expect("connected");
                    let channel = connection.open_channel(None).await.expect("a channel");
                    let to = BasicPublishArguments::new("", "falco");
                    channel.basic_publish(BasicProperties::default(), text.into(), to).await.expect("sent");
                    channel.close().await.expect("closed");
                    connection.close().await.expect("closed");
                });
            }
            Kind::Redis => {
                let command = format!("*3\r\n$5\r\nRPUSH\r\n$5\r\nfalco\r\n${}\r\n{text}\r\n", text.len());
                assert!(redis_ask(self.port, &command).starts_with(':'));
            }
        }
    }
}

/// How often each number is there.
fn numbers(hub: &Hub) -> Vec<usize> {
    let mut numbers: Vec<_> = hub.kept().iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

fn count(hub: &Hub) -> usize {
    let path = hub.directory.path().join("data/alerts.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(path, flags);
    // It is made by the hub, in its time.
    let count = database.and_then(|d| d.query_row("SELECT count(*) FROM alerts", [], |row| row.get::<_, i64>(0)));
    count.unwrap_or(0).try_into().expect("not negative")
}

fn settings(name: &str) -> Value {
    let mut hub = quick();
    hub["name"] = json!(name);
    hub
}

/// The hub that takes is there before the broker, is killed three times, and the broker is stopped and started.
fn every_alert_is_there_once(kind: Kind) {
    let total = alerts();
    let mut broker = Broker::new(kind);
    let mut taking = Hub::started(&json!({"hub": settings("taking"), "inputs": [broker.input()]}));
    wait_until("the input is seen to be down", SOON, || taking.input("in")["up"] == false);
    assert_eq!(taking.get("/readyz").0, 503);
    assert_eq!(taking.metrics()["falco_hub_input_up{input=\"in\"}"], 0.0);
    if !broker.start() {
        return;
    }
    wait_until("the input is up", SOON, || taking.input("in")["up"] == true);
    assert_eq!(taking.get("/readyz").0, 200);
    for bad in ["no JSON", "{\"priority\": \"x\"}", ""] {
        broker.put(bad);
    }
    let giving = Hub::started(&json!({"hub": settings("giving"), "outputs": [broker.output()]}));
    wait_until("bad messages are counted", SOON, || taking.input("in")["rejected"] == 3);
    let metrics = taking.metrics();
    assert_eq!(metrics["falco_hub_input_rejected_total{input=\"in\",reason=\"invalid\"}"], 2.0);
    assert_eq!(metrics["falco_hub_input_rejected_total{input=\"in\",reason=\"empty\"}"], 1.0);
    let start = Instant::now();
    let parts = 4;
    for part in 0..parts {
        let before = count(&taking);
        for first in (part * total / parts..(part + 1) * total / parts).step_by(500) {
            post(&giving, first..(first + 500).min((part + 1) * total / parts));
        }
        // In the middle of what comes.
        wait_until("some more are there", SOON, || count(&taking) >= before + total / parts / 8);
        taking.kill();
        taking.start();
        taking.wait_ready();
        if part == 1 {
            broker.stop();
            wait_until("the input is seen to be down", SOON, || taking.input("in")["up"] == false);
            assert!(broker.start());
        }
    }
    wait_until("all are there", SOON, || count(&taking) >= total);
    println!("{total} alerts in {:.1?}, with all kills and waits", start.elapsed());
    let wanted: Vec<usize> = (0..total).collect();
    assert!(numbers(&taking) == wanted, "none is missing and none is there twice");
    let sent: Vec<Value> = giving.kept();
    let uuids = |alerts: &[Value]| {
        let mut uuids: Vec<String> = alerts.iter().map(|a| a["uuid"].to_string()).collect();
        uuids.sort_unstable();
        uuids
    };
    assert!(uuids(&sent) == uuids(&taking.kept()), "under the uuids they were sent with");
    wait_until("the sender has settled all", SOON, || giving.output("out")["queue"] == 0);
    // What a killed hub had kept and not acknowledged comes again, when the broker has seen that it is gone.
    wait_until("the broker has none left", SOON, || broker.left() == 0);
    assert!(numbers(&taking) == wanted, "what came again was not kept again");
    // Stopped in order and started again, it has nothing to take.
    let mut process = taking.process.take().expect("running");
    process.signal(Signal::SIGTERM);
    assert!(process.0.wait().expect("ended").success());
    assert_eq!(broker.left(), 0);
    taking.start();
    taking.wait_ready();
    wait_until("the input is up", SOON, || taking.input("in")["up"] == true);
    post(&giving, total..total + 1);
    wait_until("one more", SOON, || taking.input("in")["alerts"] == 1);
    let state = taking.input("in");
    assert_eq!((&state["repeated"], &state["rejected"]), (&json!(0), &json!(0)));
    assert!(count(&taking) == total + 1 && state["last_success"].is_number());
    let log = std::fs::read_to_string(taking.log()).expect("a log");
    let downs = log.lines().filter(|line| line.contains("down: ")).count();
    assert!((1..=6).contains(&downs), "once for each outage of each run, not for each attempt: {downs}\n{log}");
}

#[test]
fn out_of_nats_every_alert_is_there_once() {
    every_alert_is_there_once(Kind::Nats);
}

#[test]
fn out_of_rabbitmq_every_alert_is_there_once() {
    every_alert_is_there_once(Kind::RabbitMq);
}

#[test]
fn out_of_redis_every_alert_is_there_once() {
    every_alert_is_there_once(Kind::Redis);
}

/// The spool fills up, which loses nothing, and goes on when there is room.
fn a_full_spool_leaves_alerts_in_the_broker(kind: Kind) {
    let mut broker = Broker::new(kind);
    if !broker.start() {
        return;
    }
    let total = 3000;
    let web = Receiver::http(Mode::Killed);
    let mut hub = settings("taking");
    hub["maxsize"] = json!("400KiB");
    let taking = Hub::started(&json!({
        "hub": hub, "webhook": {"address": web.url(), "maxconcurrentrequests": 16}, "inputs": [broker.input()],
    }));
    let giving = Hub::started(&json!({"hub": settings("giving"), "outputs": [broker.output()]}));
    for first in (0..total).step_by(500) {
        post(&giving, first..first + 500);
    }
    wait_until("the spool is full", SOON, || {
        taking.input("in")["last_error"].as_str().is_some_and(|error| error.contains("hub.maxsize"))
    });
    wait_until("the sender is rid of all", SOON, || giving.output("out")["queue"] == 0);
    let kept = count(&taking);
    assert!(kept < total, "it is full with {kept}");
    std::thread::sleep(Duration::from_secs(2));
    assert!(count(&taking) < total);
    web.set(Mode::Up);
    let got = || distinct(web.all().iter().map(|request| number(&request.json())).collect());
    let wanted: Vec<usize> = (0..total).collect();
    wait_until("all got through", SOON, || web.count() >= total && got() == wanted);
    wait_until("the input has no trouble", SOON, || taking.input("in")["last_error"].is_null());
    wait_until("each was kept once", SOON, || taking.input("in")["alerts"] == total);
}

#[test]
fn a_full_spool_leaves_alerts_in_nats() {
    a_full_spool_leaves_alerts_in_the_broker(Kind::Nats);
}

#[test]
fn a_full_spool_leaves_alerts_in_rabbitmq() {
    a_full_spool_leaves_alerts_in_the_broker(Kind::RabbitMq);
}

#[test]
fn a_full_spool_leaves_alerts_in_redis() {
    a_full_spool_leaves_alerts_in_the_broker(Kind::Redis);
}

/// Several hubs share what is in a broker; an alert is at one of them.
fn hubs_share(kind: Kind) {
    let mut broker = Broker::new(kind);
    if !broker.start() {
        return;
    }
    let taking = ["one", "two"].map(|name| Hub::started(&json!({"hub": settings(name), "inputs": [broker.input()]})));
    wait_until("both are up", SOON, || taking.iter().all(|hub| hub.input("in")["up"] == true));
    let giving = Hub::started(&json!({"hub": settings("giving"), "outputs": [broker.output()]}));
    let total = 2000;
    for first in (0..total).step_by(100) {
        post(&giving, first..first + 100);
    }
    wait_until("all are there", SOON, || taking.iter().map(count).sum::<usize>() >= total);
    let mut all: Vec<usize> = taking.iter().flat_map(numbers).collect();
    all.sort_unstable();
    assert!(all == (0..total).collect::<Vec<_>>());
    println!("{:?} of {total}", taking.each_ref().map(count));
}

#[test]
fn hubs_share_a_consumer_of_nats() {
    hubs_share(Kind::Nats);
}

#[test]
fn hubs_share_a_queue_of_rabbitmq() {
    hubs_share(Kind::RabbitMq);
}

#[test]
fn hubs_share_a_list_of_redis() {
    hubs_share(Kind::Redis);
}

/// Kafka: partitions are shared out; where a hub is in them is in its database.
#[test]
fn out_of_kafka_every_alert_is_there_once() {
    let directory = tempfile::tempdir().expect("directory");
    let Some((brokers, addresses)) = kcat(directory.path()) else { return };
    let total = alerts();
    let input = |partitions: Value| {
        let input = json!({"kind": "kafka", "name": "in", "hostport": addresses, "topic": "falco"});
        let mut inputs = json!([input]);
        inputs[0]["partitions"] = partitions;
        inputs
    };
    let config = |name: &str, partitions: Value| json!({"hub": settings(name), "inputs": input(partitions)});
    let mut all = Hub::started(&config("all", json!([])));
    let [even, odd] = [json!([0, 2]), json!(["1", 3])].map(|partitions| Hub::started(&config("part", partitions)));
    let none = Hub::started(&config("none", json!([7])));
    let giving = Hub::started(&json!({
        "hub": settings("giving"),
        "kafka": {"hostport": addresses, "topic": "falco", "compression": "LZ4"},
    }));
    let parts = 4;
    for part in 0..parts {
        let before = count(&all);
        for first in (part * total / parts..(part + 1) * total / parts).step_by(500) {
            post(&giving, first..(first + 500).min((part + 1) * total / parts));
        }
        wait_until("some more are there", SOON, || count(&all) >= before + total / parts / 8);
        all.kill();
        all.start();
        all.wait_ready();
    }
    wait_until("all are there", SOON, || count(&all) >= total && count(&even) + count(&odd) >= total);
    let wanted: Vec<usize> = (0..total).collect();
    assert!(numbers(&all) == wanted, "none is missing and none is there twice");
    let mut both = [numbers(&even), numbers(&odd)].concat();
    both.sort_unstable();
    assert!(both == wanted && count(&even) > 0 && count(&odd) > 0);
    assert!(none.input("in")["last_error"].as_str().is_some_and(|e| e.contains("has no partition 7")));
    // What is no alert does not hold up what comes behind it.
    let mut bad = Command::new("kcat")
        .args(["-P", "-b", &addresses, "-t", "falco", "-p", "2"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kcat");
    bad.stdin.take().expect("a pipe").write_all(b"no JSON\n{}\n").expect("written");
    assert!(bad.wait().expect("ended").success());
    wait_until("bad messages are counted", SOON, || all.input("in")["rejected"] == 2);
    // The brokers hang, and go on.
    brokers.signal(Signal::SIGSTOP);
    wait_until("the input is seen to be down", SOON, || all.input("in")["up"] == false);
    brokers.signal(Signal::SIGCONT);
    post(&giving, total..total + 100);
    wait_until("the rest", SOON, || count(&all) >= total + 100);
    assert!(numbers(&all) == (0..total + 100).collect::<Vec<_>>());
    assert_eq!(all.input("in")["repeated"], 0, "the place in a partition is kept with the alerts");
    // One that is new begins where it is told to.
    let mut late = input(json!([]));
    late[0]["from"] = json!("latest");
    let mut late = Hub::started(&json!({"hub": settings("late"), "inputs": late}));
    wait_until("it is up", SOON, || late.input("in")["up"] == true);
    late.kill();
    post(&giving, total + 100..total + 150);
    late.start();
    wait_until("what came after it began", SOON, || count(&late) >= 50);
    assert_eq!(numbers(&late), (total + 100..total + 150).collect::<Vec<_>>());
}

/// How many alerts a second an input takes that are in the broker already. A measurement: with FALCO_HUB_RATES, which says how
/// many, `--nocapture --test-threads 1`.
#[test]
fn rates_of_inputs() {
    let Some(total) = std::env::var("FALCO_HUB_RATES").ok().and_then(|number| number.parse::<usize>().ok()) else {
        println!("skipped: FALCO_HUB_RATES is not set");
        return;
    };
    let measure = |name: &str, output: Value, input: Value| {
        // What a broker needs is made by the input.
        let mut taking = Hub::started(&json!({"hub": settings("taking"), "inputs": [input]}));
        wait_until("the input is up", SOON, || taking.input("in")["up"] == true);
        taking.kill();
        let giving = Hub::started(&json!({"hub": settings("giving"), "outputs": [output]}));
        let start = Instant::now();
        for first in (0..total).step_by(1000) {
            post(&giving, first..(first + 1000).min(total));
        }
        wait_until("the broker has all", 5 * SOON, || giving.output("out")["queue"] == 0);
        let put = start.elapsed();
        taking.start();
        taking.wait_ready();
        wait_until("the first", SOON, || count(&taking) > 0);
        let (start, first) = (Instant::now(), count(&taking));
        wait_until("all", 5 * SOON, || count(&taking) >= total);
        let rate = |number: usize, time: Duration| (number as f64 / time.as_secs_f64()).round();
        let (put, got) = (rate(total, put), rate(total - first, start.elapsed()));
        println!("{name}: put in {put} a second, taken out {got} a second");
        assert!(numbers(&taking) == (0..total).collect::<Vec<_>>());
    };
    for (name, kind) in [("nats", Kind::Nats), ("rabbitmq", Kind::RabbitMq), ("redis", Kind::Redis)] {
        let mut broker = Broker::new(kind);
        if broker.start() {
            measure(name, broker.output(), broker.input());
        }
    }
    let directory = tempfile::tempdir().expect("directory");
    if let Some((_brokers, addresses)) = kcat(directory.path()) {
        let kafka = json!({"kind": "kafka", "name": "out", "hostport": addresses, "topic": "falco"});
        let mut input = kafka.clone();
        input["name"] = json!("in");
        measure("kafka", kafka, input);
    }
}

#[test]
fn what_is_wrong_with_inputs_is_told_at_the_start() {
    let told = |input: Value| {
        let hub = Hub::new(&json!({"inputs": [input]}));
        let out = hub.command().args(["config", "check"]).output().expect("run");
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let named = |kind: &str, more: Value| {
        let mut input = json!({"kind": kind, "name": "in"});
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        input
    };
    for (input, error) in [
        (
            named("kafka", json!({"hostport": "h:1", "topic": "t", "partitions": [-1]})),
            "in: partitions: '-1' is no number",
        ),
        (named("kafka", json!({"hostport": "h", "topic": "t"})), "in: hostport: 'h' is not host:port"),
        (named("nats", json!({"hostport": "nats://h", "stream": "a.b"})), "in: stream: 'a.b' is no name"),
        (named("nats", json!({"hostport": "nats://h", "stream": "s", "durable": " "})), "in: durable: '' is no name"),
        (named("rabbitmq", json!({"url": "http://h", "queue": "q"})), "in: url is not an address"),
        (
            named("rabbitmq", json!({"url": "amqp://h", "queue": "q", "prefetch": 0})),
            "in: prefetch: 0 is not 1 to 65535",
        ),
        (
            named("redis", json!({"address": "h:1", "processing": "falco"})),
            "in: processing: 'falco' is the list itself",
        ),
        (named("redis", json!({})), "inputs: 'in' needs 'address'"),
    ] {
        let text = told(input);
        assert!(text.contains(error), "{text}");
    }
    let hub = Hub::new(&json!({"inputs": [named("redis", json!({"address": "127.0.0.1:1"}))]}));
    let out = hub.command().args(["config", "check"]).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "the configuration is valid; outputs: ; inputs: in\n");
}
