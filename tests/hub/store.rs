//! The stores: both asked the same, and one that two hubs share while its server goes and comes back.

use super::page::{Page, feed};
use super::postgresql::Server;
use super::process::{Hub, alert, wait_until};
use falco_sensor::hub::alert::{Alert, decode, first_value};
use falco_sensor::hub::config::{Sources, parse};
use falco_sensor::hub::forward::Forward;
use falco_sensor::hub::spool::{Limits, Spool};
use falco_sensor::hub::store::postgresql::Settings;
use falco_sensor::hub::store::{Change, Filter, Found, Group, Overview, Store};
use falco_sensor::hub::tls::Tls;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Alerts in which something can be found, or not.
fn alerts() -> Vec<Arc<Alert>> {
    let many: String = (1..=60_000).map(|number| format!("w{number:06} ")).collect();
    let bodies = [
        json!({"output": "A shell was spawned (été) in c-1", "rule": "Shell \"in\" container", "hostname": "web-1",
            "priority": "Notice", "time": "2026-01-01T00:00:00.000000001Z", "tags": ["b", "a", "a"], "source": "syscall",
            "output_fields": {"proc.name": "sh", "proc.pid": 101, "evt.time": 1_668_000_000_000_000_001_u64,
                "list": [1.5, "z"], "yes": true, "none": null, "map": {"a": 1}}}),
        json!({"output": "write below /etc/passwd", "rule": "Other", "hostname": "web-2", "priority": "Warning",
            "time": "2026-01-01T00:00:00.000000002Z", "tags": ["a"], "source": "syscall",
            "output_fields": {"fd.name": "/etc/passwd", "proc.pid": 1010}}),
        json!({"output": "日本語 ΩMEGA x\0y", "rule": "Rule\0zero", "priority": "Debug", "time": "1601-01-01T00:00:00Z",
            "output_fields": {"proc.name": "s\"h"}}),
        json!({"output": format!("{} tail", "z".repeat(3000)), "rule": "Other", "hostname": "web-1",
            "priority": "Warning", "time": "1969-12-31T23:59:59.5Z", "output_fields": {"k": "v"}}),
        json!({"output": many, "rule": "Many", "hostname": "web-1", "priority": "Critical",
            "time": "2026-01-02T00:00:00Z", "tags": ["a", "b"], "output_fields": {"k": "v"}}),
    ];
    let read = |body: &Value| {
        let mut alert = first_value(body.to_string().as_bytes()).and_then(|value| decode(&value)).expect("an alert");
        alert.uuid = uuid::Uuid::new_v4().to_string();
        Arc::new(alert)
    };
    bodies.iter().map(read).collect()
}

fn spool(directory: &tempfile::TempDir) -> Arc<Spool> {
    Spool::open(directory.path(), Limits { size: i64::MAX, retention: Duration::ZERO, outputs: Vec::new() })
        .expect("opens")
}

fn shared(settings: &Value, spool: &Arc<Spool>) -> Store {
    let text = json!({"hub": {"postgresql": settings, "name": "here"}}).to_string();
    let config = parse(&text, "", &Sources { options: &[], environment: &|_| None }).expect("valid");
    let settings = Settings::new(&config.core, &Tls::new(&config.core)).expect("valid");
    Store::new(Some(settings.expect("a server")), spool).expect("a store")
}

/// Keeps alerts, and brings them where the store is not the spool itself.
async fn keep(store: &Store, spool: &Spool, alerts: &[Arc<Alert>]) {
    spool.append(alerts.to_vec()).await.expect("kept");
    if let Store::Shared(server) = store {
        // What is brought again is there once.
        for _ in 0..2 {
            assert!(server.deliver(alerts).await.iter().all(Result::is_ok));
        }
    }
}

/// What every store has to find, by the places of the alerts.
async fn expectations(store: &Store, alerts: &[Arc<Alert>]) {
    let place = |found: &Found| alerts.iter().position(|alert| found.body == alert.line()).expect("one of them");
    let find = async |filter: Filter| -> Vec<usize> {
        let found = store.search(filter.clone(), 0, 100).await.expect("found");
        let mut places: Vec<usize> = found.iter().map(place).collect();
        let page = store.page(filter.clone(), 1, 2).await.expect("found");
        assert_eq!(page, (found.iter().skip(1).take(2).cloned().collect(), found.len() as i64));
        assert_eq!(store.count(filter).await.expect("counted"), places.len() as i64);
        places.sort_unstable();
        places
    };
    let none = Vec::<usize>::new;
    let long = |number: usize, more: &str| format!("{}{more}", "z".repeat(number));
    for (text, expected) in [
        ("", vec![0, 1, 2, 3, 4]),
        ("spawn", vec![0]),
        ("SPAWNED", vec![0]),
        ("ete", vec![0]),
        ("ÉTÉ", vec![0]),
        ("pawn", none()),
        ("shell container", vec![0]),
        ("shell nothing", none()),
        ("etc passwd", vec![1]),
        ("etc/passwd", vec![1]),
        ("/etc/pass", vec![1]),
        ("passwd/etc", none()),
        ("below/etc", vec![1]),
        ("\"", none()),
        ("\" spawn ()", vec![0]),
        ("* OR", none()),
        ("NEAR(", none()),
        ("proc.name sh", vec![0]),
        ("日本", vec![2]),
        ("本語", none()),
        ("ωmega", vec![2]),
        ("x\0y", vec![2]),
        ("' & a | !b:*\\", vec![0, 1, 4]),
        (&long(100, ""), vec![3]),
        (&long(3000, ""), vec![3]),
        (&long(3001, ""), none()),
        (&long(200, "y"), none()),
        ("tail", vec![3]),
        ("w000001 w059999", vec![4]),
        ("w000001/w000002", vec![4]),
        ("w000001/w000003", none()),
        ("web", vec![0, 1, 3, 4]),
        ("fd.name", vec![1]),
    ] {
        assert_eq!(find(Filter { text: text.to_owned(), ..Filter::default() }).await, expected, "text {text:?}");
    }
    for (name, value, expected) in [
        ("proc.name", "sh", vec![0]),
        ("proc.name", "SH", none()),
        ("proc.name", "\"sh\"", none()),
        ("proc.name", "s\"h", vec![2]),
        ("proc.pid", "101", vec![0]),
        ("proc.pid", "1010", vec![1]),
        ("proc.pid", "10", none()),
        ("evt.time", "1668000000000000001", vec![0]),
        ("list", "[1.5,\"z\"]", vec![0]),
        ("yes", "true", vec![0]),
        ("yes", "1", none()),
        ("none", "null", none()),
        ("map", "{\"a\":1}", none()),
        ("fd.name", "/etc/passwd", vec![1]),
        ("k", "v", vec![3, 4]),
        ("k", "'; DROP TABLE alerts; --", none()),
    ] {
        let fields = vec![(name.to_owned(), value.to_owned())];
        assert_eq!(find(Filter { fields, ..Filter::default() }).await, expected, "field {name}={value}");
    }
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let any = Filter::default;
    let at = |place: usize| alerts[place].time.nanoseconds();
    let warning = alerts[1].priority;
    for (filter, expected) in [
        (Filter { priorities: vec![warning], ..any() }, vec![1, 3]),
        (Filter { rules: list(&["Other", "Many"]), ..any() }, vec![1, 3, 4]),
        (Filter { rules: list(&["Rule\0zero"]), ..any() }, vec![2]),
        (Filter { not_rules: list(&["Other"]), hostnames: list(&["web-1"]), ..any() }, vec![0, 4]),
        (Filter { hostnames: list(&[""]), ..any() }, vec![2]),
        (Filter { sources: list(&["syscall"]), ..any() }, vec![0, 1]),
        (Filter { tags: list(&["b", "c"]), ..any() }, vec![0, 4]),
        (Filter { tags: list(&["c"]), ..any() }, none()),
        (Filter { from: Some(at(0)), to: Some(at(1)), ..any() }, vec![0]),
        (Filter { to: Some(0), ..any() }, vec![2, 3]),
        (Filter { text: "web".to_owned(), from: Some(at(0)), to: Some(at(4)), ..any() }, vec![0, 1]),
        (Filter { text: "web".to_owned(), to: Some(i64::MIN), ..any() }, none()),
        (Filter { fields: vec![("k".to_owned(), "v".to_owned())], from: Some(0), ..any() }, vec![4]),
        (Filter { acknowledged: Some(true), ..any() }, none()),
        (Filter { text: "web".to_owned(), rules: list(&["Other"]), acknowledged: Some(false), ..any() }, vec![1, 3]),
    ] {
        assert_eq!(find(filter.clone()).await, expected, "{filter:?}");
    }
    orders(store, place).await;
    changes(store, alerts).await;
}

/// The orders in which alerts are found, and how one goes on behind one of them.
async fn orders(store: &Store, place: impl Fn(&Found) -> usize) {
    let places = |found: &[Found]| found.iter().map(&place).collect::<Vec<_>>();
    let newest = store.search(Filter::default(), 0, 100).await.expect("found");
    assert_eq!(places(&newest), [4, 1, 0, 3, 2]);
    assert_eq!(places(&store.search(Filter::default(), 1, 2).await.expect("found")), [1, 0]);
    assert_eq!(places(&store.nearest(Filter::default(), 2).await.expect("found")), [2, 3]);
    let arrived = store.arrived(Filter::default(), 100).await.expect("found");
    assert_eq!(places(&arrived), [0, 1, 2, 3, 4]);
    assert!(arrived.windows(2).all(|two| two[0].seq < two[1].seq));
    let after = Filter { after: Some(arrived[2].seq), text: "web".to_owned(), ..Filter::default() };
    assert_eq!(places(&store.arrived(after, 100).await.expect("found")), [3, 4]);
    let behind = Filter { behind: Some((newest[1].time, newest[1].seq)), ..Filter::default() };
    assert_eq!(places(&store.search(behind, 0, 2).await.expect("found")), [0, 3]);
    assert_eq!(store.latest().await.expect("asked"), arrived[4].seq);
    let span = store.span().await.expect("asked").expect("there are some");
    assert_eq!(span, (newest[4].time, newest[0].time));
}

async fn changes(store: &Store, alerts: &[Arc<Alert>]) {
    let uuid = alerts[1].uuid.clone();
    let change = async |change: Change| store.change(change).await.expect("changed");
    let acknowledge = |note: &str| Change::Acknowledge { uuid: uuid.clone(), by: "me".into(), note: note.into() };
    assert_eq!(change(acknowledge("first")).await, 1);
    assert_eq!(change(acknowledge("se\0cond")).await, 1);
    let of = async || store.by_uuid(&uuid).await.expect("asked");
    let done = of().await.expect("there").acknowledged.expect("acknowledged");
    assert_eq!((done.by.as_str(), done.note.replace('\0', "\u{fffd}").as_str()), ("me", "se\u{fffd}cond"));
    let acknowledged = Filter { acknowledged: Some(true), ..Filter::default() };
    assert_eq!(store.count(acknowledged.clone()).await.expect("counted"), 1);
    assert_eq!(change(Change::Unacknowledge { uuid: uuid.clone() }).await, 1);
    assert_eq!(store.count(acknowledged).await.expect("counted"), 0);
    assert_eq!(change(Change::Delete { uuid: uuid.clone() }).await, 1);
    assert_eq!(change(Change::Delete { uuid: uuid.clone() }).await, 0);
    assert_eq!(change(acknowledge("too late")).await, 0);
    assert_eq!(of().await, None);
    assert_eq!(store.by_uuid("nothing'\0").await.expect("asked"), None);
    let text = Filter { text: "passwd".to_owned(), ..Filter::default() };
    assert_eq!(store.count(text).await.expect("counted"), 0);
    let rules = store.count_by(Group::Rule, Filter::default()).await.expect("counted");
    assert_eq!((rules["Other"], rules.values().sum::<i64>()), (1, 4));
    let hosts = store.count_by(Group::Hostname, Filter::default()).await.expect("counted");
    assert_eq!(hosts.get("web-2"), None, "what has no alert any more has no name either");
}

/// Everything that is counted, for comparison.
async fn counted(store: &Store) -> Vec<Overview> {
    let mut all = Vec::new();
    let any = Filter::default;
    let filters = [
        any(),
        Filter { text: "web".to_owned(), ..any() },
        Filter { from: Some(-500_000_000), ..any() },
        Filter { to: Some(1_767_225_600_000_000_002), hostnames: vec!["web-1".to_owned()], ..any() },
        Filter { from: Some(1_767_225_600_000_000_002), to: Some(i64::MAX), ..any() },
    ];
    for filter in filters {
        for width in [None, Some(1), Some(1_000_000_000), Some(86_400_000_000_000), Some(i64::MAX)] {
            all.push(store.overview(filter.clone(), Group::ALL.to_vec(), width).await.expect("counted"));
        }
    }
    for overview in &mut all {
        // PostgreSQL's texts have no character zero.
        for counts in overview.groups.iter_mut().chain(overview.timelines.iter_mut().flat_map(|t| t.values_mut())) {
            *counts = counts.iter().map(|(name, number)| (name.replace('\0', "\u{fffd}"), *number)).collect();
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_its_own_answers() {
    let directory = tempfile::tempdir().expect("directory");
    let (spool, alerts) = (spool(&directory), alerts());
    let store = Store::new(None, &spool).expect("a store");
    keep(&store, &spool, &alerts).await;
    let before = counted(&store).await;
    assert_eq!((before[0].all, before[0].groups[0]["Warning"], before[0].groups[4]["a"]), (5, 2, 3));
    for overview in &before {
        for (counts, timeline) in overview.groups.iter().zip(&overview.timelines) {
            let sum: i64 = timeline.values().flat_map(|counts| counts.values()).sum();
            assert_eq!(sum, counts.values().sum::<i64>());
        }
    }
    expectations(&store, &alerts).await;
}

/// What was counted when alerts came is what is counted one by one, also when some have gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_ahead_is_what_is_there() {
    let directory = tempfile::tempdir().expect("directory");
    let own_spool = spool(&directory);
    let store = Store::new(None, &own_spool).expect("a store");
    counted_ahead(&store, &own_spool).await;
    let left = "SELECT (SELECT count(*) FROM counts) + (SELECT count(*) FROM moments) + (SELECT count(*) FROM labels)";
    let left = own_spool.with_reader(move |connection| Ok(connection.query_row(left, [], |row| row.get::<_, i64>(0))?));
    assert_eq!(left.await.expect("counted"), 0, "nothing is left of what has gone");
    let Some(server) = Server::started() else { return };
    let directory = tempfile::tempdir().expect("directory");
    let shared_spool = spool(&directory);
    counted_ahead(&shared(&server.database("ahead"), &shared_spool), &shared_spool).await;
    let left = "select (select count(*) from falco_hub.counts) + (select count(*) from falco_hub.labels)";
    assert_eq!(server.psql("ahead", left), "0", "nothing is left of what has gone");
}

async fn counted_ahead(store: &Store, spool: &Spool) {
    let (hour, start) = (3_600_000_000_000_i64, 1_767_225_600_000_000_000_i64);
    let alerts: Vec<Arc<Alert>> = (0..400)
        .map(|i: i64| {
            let mut alert = (*alerts()[0]).clone();
            // Some are just before an hour or a day, some long before 1970.
            let at = if i % 50 == 7 { -i * 1_000_003 * hour / 7 } else { start + i * hour / 3 - i % 2 };
            alert.time.at = jiff::Timestamp::from_nanosecond(at.into()).expect("a time");
            (alert.rule, alert.hostname) = (format!("rule {}", i % 3), format!("host {}", i % 2));
            alert.uuid = format!("{i}");
            Arc::new(alert)
        })
        .collect();
    keep(store, spool, &alerts).await;
    let any = Filter::default;
    let filters = [
        any(),
        Filter { rules: vec!["rule 1".to_owned()], ..any() },
        Filter { from: Some(start + hour / 2), ..any() },
        Filter { to: Some(start + 49 * hour - 1), not_rules: vec!["rule 2".to_owned()], ..any() },
        Filter { from: Some(start - 1), to: Some(start + 24 * hour), ..any() },
        Filter { from: Some(start + 5), to: Some(start + 6), ..any() },
        Filter { from: Some(i64::MIN), to: Some(start), hostnames: vec!["host 1".to_owned()], ..any() },
    ];
    let agree = async || {
        for filter in &filters {
            // A condition on numbers that all fulfil makes the store look at each.
            let each = Filter { after: Some(0), ..filter.clone() };
            for width in [None, Some(90), Some(3600), Some(43_200), Some(86_400), Some(604_800)] {
                let width = width.map(|seconds: i64| seconds * 1_000_000_000);
                let ask = async |filter: &Filter| store.overview(filter.clone(), Group::ALL.to_vec(), width).await;
                assert_eq!(
                    ask(filter).await.expect("counted"),
                    ask(&each).await.expect("counted"),
                    "{filter:?} {width:?}"
                );
            }
            let page = async |filter: &Filter| store.page(filter.clone(), 3, 20).await.expect("found");
            assert_eq!(page(filter).await, page(&each).await, "{filter:?}");
        }
    };
    agree().await;
    for alert in alerts.iter().step_by(3) {
        let change = Change::Delete { uuid: alert.uuid.clone() };
        assert_eq!(store.change(change).await.expect("changed"), 1);
    }
    agree().await;
    for alert in &alerts {
        store.change(Change::Delete { uuid: alert.uuid.clone() }).await.expect("changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_store_answers_alike() {
    let Some(server) = Server::started() else { return };
    let (here, there) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
    let (own_spool, shared_spool, alerts) = (spool(&here), spool(&there), alerts());
    let own = Store::new(None, &own_spool).expect("a store");
    let shared = shared(&server.database("alike"), &shared_spool);
    assert_eq!(shared.span().await.expect("asked"), None, "nothing at first");
    assert_eq!(shared.latest().await.expect("asked"), 0);
    for store in [(&own, &own_spool), (&shared, &shared_spool)] {
        keep(store.0, store.1, &alerts).await;
    }
    assert_eq!(counted(&own).await, counted(&shared).await);
    expectations(&shared, &alerts).await;
    // What was deleted does not come back, and the sums are those of what is there.
    let Store::Shared(postgresql) = &shared else { panic!("a shared one") };
    assert!(postgresql.deliver(&alerts).await.iter().all(Result::is_ok));
    assert_eq!(shared.count(Filter::default()).await.expect("counted"), 4);
    sums_are_right(&server, "alike");
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_before_take_their_acknowledgement_along() {
    let Some(server) = Server::started() else { return };
    let directory = tempfile::tempdir().expect("directory");
    let (spool, alerts) = (spool(&directory), alerts());
    let own = Store::new(None, &spool).expect("a store");
    spool.append(alerts.clone()).await.expect("kept");
    let uuid = alerts[0].uuid.clone();
    let change = Change::Acknowledge { uuid: uuid.clone(), by: "me".into(), note: "known".into() };
    assert_eq!(own.change(change).await.expect("changed"), 1);
    let before = own.by_uuid(&uuid).await.expect("asked").expect("there");
    let shared = shared(&server.database("before"), &spool);
    let Store::Shared(postgresql) = &shared else { panic!("a shared one") };
    assert!(postgresql.deliver(&alerts).await.iter().all(Result::is_ok));
    let after = shared.by_uuid(&uuid).await.expect("asked").expect("there");
    assert_eq!(
        (after.received, &after.acknowledged, &after.body),
        (before.received, &before.acknowledged, &before.body)
    );
    assert_eq!(after.hub.as_deref(), Some("here"));
}

/// The counts of labels are those of the alerts.
fn sums_are_right(server: &Server, database: &str) {
    let sql = "select count(*) from (select label, count(*) as n, sum(bytes) as b from falco_hub.alerts group by 1) a \
               full join falco_hub.labels l on l.id = a.label where (a.n, a.b) is distinct from (l.alerts, l.bytes)";
    assert_eq!(server.psql(database, sql), "0");
    let sql = "select count(*) from (select width, floor(time::numeric / width) as number, label, count(*) as n \
               from falco_hub.alerts, falco_hub.widths group by 1, 2, 3) a full join falco_hub.counts c \
               using (width, number, label) where a.n is distinct from c.alerts";
    assert_eq!(server.psql(database, sql), "0");
}

fn quick(mut postgresql: Value, name: &str, more: Value) -> Value {
    postgresql.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    json!({"hub": {"name": name, "retrymin": "50ms", "retrymax": "200ms", "timeout": "5s", "postgresql": postgresql}})
}

fn all(page: &Page) -> i64 {
    let (status, count) = page.ask("GET", "/api/v1/events/count", "");
    if status == 200 { count["statistics"]["all"].as_i64().expect("a number") } else { -1 }
}

#[test]
fn two_hubs_share_one_store() {
    use std::io::{BufRead, BufReader, Write};
    let Some((server, authority)) = Server::started_with_tls() else { return };
    let database = server.database("two");
    let directory = tempfile::tempdir().expect("directory");
    let mut first = quick(database.clone(), "a", json!({"sslmode": "verify-full"}));
    first["tlsclient"] = json!({"cacertfile": authority});
    let mut second = quick(database.clone(), "b", json!({}));
    second["file"] = json!({"path": directory.path().join("alerts").to_str()});
    // They start together, and there are no tables yet.
    let (a, mut b) = std::thread::scope(|scope| {
        let (a, b) = (scope.spawn(|| Page::started(first)), scope.spawn(|| Page::started(second)));
        (a.join().expect("a"), b.join().expect("b"))
    });
    feed(&a, 9);
    feed(&b, 6);
    wait_until("both have what each received", SOON, || all(&a) == 15 && all(&b) == 15);
    let list = |page: &Page| page.get("/api/v1/events/search?limit=100");
    assert_eq!(list(&a), list(&b));
    let results = list(&a)["results"].as_array().expect("a list").clone();
    let of = |hub: &str| results.iter().filter(|alert| alert["hub"] == hub).cloned().collect::<Vec<_>>();
    assert_eq!((of("a").len(), of("b").len()), (9, 6));
    let path = |alert: &Value| format!("/api/v1/events/{}", alert["uuid"].as_str().expect("a uuid"));
    let (kept, deleted) = (path(&of("b")[0]), path(&of("b")[1]));
    // What became of it at the outputs is known where it was received.
    assert_eq!(a.get(&kept)["outputs"], Value::Null);
    wait_until("b's file has it", SOON, || {
        let outputs = b.get(&kept)["outputs"].as_array().expect("a list").clone();
        outputs.iter().any(|output| output["name"] == "file" && output["state"] == "delivered")
    });
    assert_eq!(a.ask("POST", &format!("{kept}/acknowledgement"), r#"{"note": "seen by a"}"#).0, 204);
    assert_eq!(b.get(&kept)["event"]["acknowledged"]["note"], "seen by a");
    assert_eq!(b.get("/api/v1/events/count?acknowledged=true")["statistics"]["all"], 1);
    assert_eq!(a.ask("DELETE", &deleted, "").0, 204);
    assert_eq!(b.ask("GET", &deleted, "").0, 404);
    assert_eq!((all(&a), all(&b)), (14, 14));
    assert_eq!(a.get("/api/v1/events/overview")["all"], 14);

    // Who watches at one hub sees what comes to the other.
    let mut stream = TcpStream::connect(("127.0.0.1", a.port)).expect("connected");
    stream.set_read_timeout(Some(SOON)).expect("set");
    let authorization = a.authorization();
    write!(
        stream,
        "GET /api/v1/events/stream?priority=critical HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
    )
    .expect("sent");
    let mut live = BufReader::new(stream).lines().map(|line| line.expect("a line before the time is over"));
    live.find(|line| line == "event: start").expect("it starts");
    feed(&b, 6);
    let data: Vec<String> = live.filter(|line| line.starts_with("data: {\"uuid\"")).take(2).collect();
    assert!(data[0].contains("alert 1 ") && data[1].contains("alert 4 "), "only what fits, each once: {data:?}");

    // A hub that died before it could note what it had brought brings it again; neither that nor what was deleted is
    // there twice.
    wait_until("all is brought", SOON, || all(&a) == 20 && b.hub.output("hub.postgresql")["queue"] == 0);
    b.hub.kill();
    let spool = rusqlite::Connection::open(b.hub.directory.path().join("data/alerts.db")).expect("opens");
    let back = spool.execute("UPDATE cursors SET seq = 0 WHERE output = 'hub.postgresql'", []).expect("set");
    assert_eq!(back, 1);
    drop(spool);
    b.hub.start();
    b.hub.wait_ready();
    wait_until("it is brought again", SOON, || {
        let state = b.hub.output("hub.postgresql");
        state["queue"] == 0 && state["last_success"].is_number()
    });
    assert_eq!((all(&a), all(&b)), (20, 20));
    sums_are_right(&server, "two");

    // One that does not know the certificate says so, takes alerts all the same, and tells the page what is wrong.
    let stranger = Hub::started(&quick(database, "c", json!({"sslmode": "verify-full"})));
    assert_eq!(stranger.post("/", &alert(1).to_string()).expect("answered").0, 200);
    wait_until("the certificate is told of", SOON, || {
        stranger.output("hub.postgresql")["last_error"].as_str().is_some_and(|e| e.contains("invalid peer certificate"))
    });
    assert_eq!(stranger.get("/readyz").0, 503);
}

#[test]
fn a_database_that_goes_and_comes_back_loses_and_doubles_nothing() {
    let Some(mut server) = Server::started() else { return };
    let database = server.database("gone");
    let mut hubs = ["a", "b"].map(|name| Page::started(quick(database.clone(), name, json!({}))));
    let next = AtomicUsize::new(0);
    let post = |hub: &Hub| {
        let from = next.fetch_add(5, Ordering::SeqCst);
        let batch: Vec<Value> = (from..from + 5).map(alert).collect();
        let (status, text) = hub.post("/", &Value::Array(batch).to_string()).expect("answered");
        assert_eq!(status, 200, "whether the database is there or not: {text}");
    };
    for round in 0..3 {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for page in &hubs {
                let (post, over) = (&post, &over);
                scope.spawn(move || {
                    while !over.load(Ordering::SeqCst) {
                        post(&page.hub);
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(1000));
            server.stop();
            wait_until("both hubs notice", SOON, || {
                hubs.iter().all(|page| page.hub.output("hub.postgresql")["up"] == false)
            });
            let (status, answer) = hubs[0].ask("GET", "/api/v1/events/count", "");
            let told = answer["error"].as_str().is_some_and(|error| error.contains("the shared store (127.0.0.1:"));
            assert!(status == 503 && told, "{status} {answer}");
            assert_eq!(hubs[0].hub.get("/readyz").0, 503);
            std::thread::sleep(Duration::from_millis(500));
            over.store(true, Ordering::SeqCst);
        });
        // One is killed as well, at different moments.
        if round > 0 {
            hubs[1].hub.kill();
            hubs[1].hub.start();
            hubs[1].hub.wait_ready();
        }
        server.start();
        let wanted = next.load(Ordering::SeqCst) as i64;
        wait_until("everything is there", 2 * SOON, || all(&hubs[0]) >= wanted);
        wait_until("each is done", SOON, || {
            hubs.iter().all(|page| {
                let state = page.hub.output("hub.postgresql");
                state["queue"] == 0 && state["held"] == 0
            })
        });
        assert_eq!((all(&hubs[0]), all(&hubs[1])), (wanted, wanted));
        let sql = "select count(*), count(distinct uuid), count(distinct fields->>'number') from falco_hub.alerts";
        assert_eq!(server.psql("gone", sql), format!("{wanted}|{wanted}|{wanted}"));
    }
    for page in &hubs {
        assert_eq!(page.hub.output("hub.postgresql")["dead_letters"], 0);
    }
    sums_are_right(&server, "gone");
}

#[test]
fn a_shared_store_is_bounded_by_age_and_size() {
    let Some(server) = Server::started() else { return };
    let limit = 300 << 10;
    let by_size = server.database("by_size");
    let hubs = ["a", "b"].map(|name| Page::started(quick(by_size.clone(), name, json!({"maxsize": "300KiB"}))));
    for _ in 0..4 {
        hubs.iter().for_each(|page| feed(page, 150));
    }
    let number = |database: &str, sql: &str| server.psql(database, sql).parse::<i64>().unwrap_or(-1);
    wait_until("all came", SOON, || number("by_size", "select max(seq) from falco_hub.alerts") >= 1200);
    let used = "select coalesce(sum(bytes), 0) from falco_hub.alerts";
    wait_until("the oldest went", SOON, || number("by_size", used) <= limit);
    let left = number("by_size", "select count(*) from falco_hub.alerts");
    assert!(left > 100, "no more than that goes: {left}");
    let sql = "select min(seq) + count(*) - 1 - max(seq) from falco_hub.alerts";
    assert_eq!(number("by_size", sql), 0, "what is left is the newest");
    sums_are_right(&server, "by_size");
    let metrics = hubs[0].hub.metrics();
    assert_eq!(metrics["falco_hub_store_limit_bytes"], limit as f64);
    let removed: f64 = hubs.iter().map(|page| page.hub.metrics()["falco_hub_store_removed_total"]).sum();
    wait_until("the metrics tell", SOON, || {
        hubs.iter().all(|page| page.hub.metrics()["falco_hub_store_bytes"] <= limit as f64)
    });
    assert_eq!(removed, (1200 - left) as f64);
    // The spools have bounds of their own.
    assert_eq!(hubs[0].hub.metrics()["falco_hub_removed_total"], 0.0);

    let by_age = server.database("by_age");
    let page = Page::started(quick(by_age, "a", json!({"retention": "8s"})));
    feed(&page, 30);
    wait_until("they are there", SOON, || all(&page) == 30);
    let uuid = page.get("/api/v1/events/search?limit=1")["results"][0]["uuid"].as_str().expect("a uuid").to_owned();
    assert_eq!(page.ask("DELETE", &format!("/api/v1/events/{uuid}"), "").0, 204);
    assert_eq!(number("by_age", "select count(*) from falco_hub.deleted"), 1);
    wait_until("they are too old", SOON, || all(&page) == 0);
    wait_until("so is what was deleted", SOON, || number("by_age", "select count(*) from falco_hub.deleted") == 0);
    assert_eq!(number("by_age", "select count(*) from falco_hub.labels"), 0);
}

#[test]
fn what_is_wrong_with_a_database_is_told() {
    let Some(server) = Server::started() else { return };
    server.psql("postgres", "create role weak login password 'weak'");
    server.database("weak");
    server.psql("postgres", "create database latin encoding 'LATIN1' locale 'C' template template0");
    let newer = server.database("newer");
    server.psql("newer", "create schema falco_hub");
    server.psql("newer", "create table falco_hub.version (number int4); insert into falco_hub.version values (99)");
    let with = |database: &str, user: &str, password: &str| {
        let mut settings = newer.clone();
        (settings["database"], settings["user"], settings["password"]) =
            (json!(database), json!(user), json!(password));
        quick(settings, "a", json!({}))
    };
    let password = super::postgresql::PASSWORD;
    let cases: HashMap<&str, Value> = [
        ("GRANT CREATE ON DATABASE", with("weak", "weak", "weak")),
        ("the database's encoding is LATIN1", with("latin", "postgres", password)),
        ("those of a newer version (99, this one knows 2)", with("newer", "postgres", password)),
        ("password authentication failed", with("weak", "weak", "wrong")),
        ("does not exist", with("nowhere", "postgres", password)),
    ]
    .into();
    for (expected, config) in cases {
        let hub = Hub::started(&config);
        let mut error = String::new();
        wait_until(expected, SOON, || {
            error = hub.output("hub.postgresql")["last_error"].as_str().unwrap_or_default().to_owned();
            error.contains(expected)
        });
    }
    // A configuration that cannot be is refused at once.
    let hub = Hub::new(&quick(newer, "a", json!({"port": 70_000})));
    let checked = hub.command().args(["config", "check"]).output().expect("ran");
    let text = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && text.contains("hub.postgresql.port: 70000 is no port"), "{text}");
    let taken = json!({"outputs": [{"kind": "webhook", "name": "hub.postgresql", "address": "http://127.0.0.1:9/"}]});
    let checked = Hub::new(&taken).command().args(["config", "check"]).output().expect("ran");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("the name 'hub.postgresql' is taken"), "{checked:?}");
}
