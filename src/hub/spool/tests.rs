//! The spool alone: what is kept, what is removed, what is found again.

use super::query::{Change, Filter, Group};
use super::*;

fn alert(rule: &str, text: &str) -> Arc<Alert> {
    let mut alert = Alert::test();
    alert.uuid = uuid::Uuid::new_v4().to_string();
    alert.rule = rule.to_owned();
    alert.output = text.to_owned();
    alert.output_fields.insert("evt.time".to_owned(), crate::hub::json::Json::Number("1668000000000000001".into()));
    Arc::new(alert)
}

fn limits(outputs: &[&str]) -> Limits {
    let outputs = outputs.iter().map(|o| (*o).to_owned()).collect();
    Limits { size: i64::MAX, retention: Duration::ZERO, outputs }
}

#[tokio::test]
async fn what_is_appended_is_there_after_opening_again() {
    let directory = tempfile::tempdir().expect("directory");
    let first = alert("r", "one");
    {
        let spool = Spool::open(directory.path(), limits(&[])).expect("opens");
        spool.append(vec![first.clone(), alert("r", "two")]).await.expect("kept");
    }
    let spool = Spool::open(directory.path(), limits(&[])).expect("opens");
    assert_eq!(spool.state().borrow().latest, 2);
    let stored = spool.read(0, 10).await.expect("read");
    assert_eq!(stored.iter().map(|s| s.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(stored[0].alert, first, "from the disk it is the same, digit by digit");
    assert_eq!(spool.read(1, 10).await.expect("read").len(), 1);
    spool.append(vec![alert("r", "three")]).await.expect("kept");
    assert_eq!(spool.read(2, 10).await.expect("read")[0].alert.output, "three", "from memory");
}

#[tokio::test]
async fn cursors_and_held_alerts() {
    let directory = tempfile::tempdir().expect("directory");
    let spool = Spool::open(directory.path(), limits(&["a"])).expect("opens");
    spool.append(vec![alert("r", "1"), alert("r", "2")]).await.expect("kept");
    assert_eq!(spool.cursor("a").await.expect("cursor"), 2, "a new output starts at what comes next");
    spool.set_cursor("a", 1).await.expect("set");
    spool.hold("a", 2, 3, Some(5), "no").await.expect("held");
    spool.hold("a", 1, 9, None, "never").await.expect("held");
    assert_eq!(spool.cursor("a").await.expect("cursor"), 1);
    assert_eq!(spool.held_count("a").await.expect("count"), (1, 1));
    assert_eq!(spool.held("a", 4, vec![], 10).await.expect("held").len(), 0, "not yet due");
    let held = spool.held("a", 5, vec![], 10).await.expect("held");
    assert_eq!((held[0].seq, held[0].attempts, held[0].alert.output.as_str()), (2, 3, "2"));
    assert_eq!(spool.held("a", 5, vec![2], 10).await.expect("held").len(), 0);
    assert_eq!(spool.dead_letters(10).await.expect("letters")[0].error, "never");
    assert_eq!(spool.revive("a").await.expect("revived"), 1);
    spool.release("a", 2).await.expect("released");
    spool.flush().await.expect("flushed");
    assert_eq!(spool.held_count("a").await.expect("count"), (1, 0));
}

#[tokio::test]
async fn only_what_every_output_settled_is_removed() {
    let directory = tempfile::tempdir().expect("directory");
    let mut limits = limits(&["a", "b"]);
    limits.size = 600_000;
    let spool = Spool::open(directory.path(), limits).expect("opens");
    spool.cursor("a").await.expect("cursor");
    spool.cursor("b").await.expect("cursor");
    let mut kept = 0;
    let refused = loop {
        let alerts = (0..100).map(|i| alert("r", &format!("{i} {}", "x".repeat(500)))).collect();
        match spool.append(alerts).await {
            Ok(()) => kept += 100,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "the size bounds it");
    };
    assert!(matches!(refused, SpoolError::Full), "{refused}");
    assert_eq!(spool.count(Filter::default()).await.expect("count"), kept, "nothing was removed");
    // One output is behind, the other has a single alert aside.
    spool.set_cursor("a", kept).await.expect("set");
    spool.set_cursor("b", kept / 2).await.expect("set");
    spool.hold("a", 1, 1, Some(0), "no").await.expect("held");
    let mut appended = false;
    for _ in 0..20 {
        appended |= spool.append(vec![alert("r", "new")]).await.is_ok();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(appended, "there is room again");
    let left = spool.read(0, usize::MAX >> 1).await.expect("read");
    assert_eq!(left[0].seq, 1, "what is put aside stays");
    assert!(left[1].seq <= kept / 2 + 1, "what b waits for stays");
    assert!(spool.state().borrow().removed > 0);
}

#[tokio::test]
async fn retention_by_age() {
    let directory = tempfile::tempdir().expect("directory");
    let mut limits = limits(&["a"]);
    limits.retention = Duration::from_millis(1);
    let spool = Spool::open(directory.path(), limits).expect("opens");
    assert_eq!(spool.cursor("a").await.expect("cursor"), 0);
    spool.append(vec![alert("r", "1"), alert("r", "2"), alert("r", "3")]).await.expect("kept");
    spool.hold("a", 2, 1, None, "dead").await.expect("held");
    spool.set_cursor("a", 2).await.expect("set");
    let mut state = spool.state();
    let gone = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| state.removed == 2)).await;
    assert!(gone.is_ok(), "the first two go, the third is not settled");
    assert_eq!(spool.state().borrow().dead_letters_removed, 1);
    assert_eq!(spool.count(Filter::default()).await.expect("count"), 1);
}

#[tokio::test]
async fn questions() {
    let directory = tempfile::tempdir().expect("directory");
    let spool = Spool::open(directory.path(), limits(&[])).expect("opens");
    let one = alert("Shell \"in\" container", "a shell was spawned (été)");
    let alerts = vec![one.clone(), alert("Other", "write below etc"), alert("Other", "nothing")];
    spool.append(alerts).await.expect("kept");
    let count = async |filter: Filter| spool.count(filter).await.expect("count");
    assert_eq!(count(Filter::default()).await, 3);
    assert_eq!(count(Filter { rules: vec!["Other".to_owned()], ..Filter::default() }).await, 2);
    assert_eq!(count(Filter { not_rules: vec!["Other".to_owned()], ..Filter::default() }).await, 1);
    for (text, expected) in
        [("spawn", 1), ("below etc", 1), ("below nothing", 0), ("falcosidekick", 3), ("ete", 1), ("\" OR *", 0)]
    {
        assert_eq!(count(Filter { text: text.to_owned(), ..Filter::default() }).await, expected, "{text}");
    }
    let fields = vec![("proc.name".to_owned(), "falcosidekick".to_owned())];
    assert_eq!(count(Filter { fields, tags: vec!["test".to_owned()], ..Filter::default() }).await, 3);
    let at = one.time.nanoseconds();
    assert_eq!(count(Filter { from: Some(at), to: Some(at + 1), ..Filter::default() }).await, 1);
    let by = async |group| spool.count_by(group, Filter::default()).await.expect("counts");
    assert_eq!(by(Group::Rule).await["Other"], 2);
    assert_eq!(by(Group::Tags).await["example"], 3);
    assert_eq!(by(Group::Priority).await["Debug"], 3);
    let page = spool.search(Filter::default(), 1, 1).await.expect("found");
    assert_eq!(page.len(), 1);
    let width = 1_000_000_000_000_000;
    let overview = spool.overview(Filter::default(), Group::ALL.to_vec(), Some(width)).await.expect("counted");
    assert_eq!(overview.all, 3);
    for (timeline, group) in overview.timelines.iter().zip(Group::ALL) {
        assert!(timeline.keys().all(|start| start % width == 0));
        let sum: i64 = timeline.values().flat_map(|counts| counts.values()).sum();
        assert_eq!(sum, if group == Group::Tags { 6 } else { 3 }, "{group:?}");
        let all = spool.overview(Filter::default(), vec![group], None).await.expect("counted");
        assert_eq!(all.groups[0], overview.groups[Group::ALL.iter().position(|g| *g == group).expect("one of all")]);
    }

    let uuid = one.uuid.clone();
    let by = "someone".to_owned();
    let acknowledge = Change::Acknowledge { uuid: uuid.clone(), by, note: "fine".to_owned() };
    assert_eq!(spool.change(acknowledge).await.expect("changed"), 1);
    let found = spool.by_uuid(&uuid).await.expect("found").expect("there");
    assert_eq!(found.acknowledged.map(|a| a.note), Some("fine".to_owned()));
    assert_eq!(found.body, one.line());
    assert_eq!(count(Filter { acknowledged: Some(false), ..Filter::default() }).await, 2);
    assert_eq!(spool.change(Change::Delete { uuid: uuid.clone() }).await.expect("changed"), 1);
    assert_eq!(spool.change(Change::Delete { uuid: uuid.clone() }).await.expect("changed"), 0);
    assert_eq!(spool.by_uuid(&uuid).await.expect("asked"), None);
    assert_eq!(count(Filter { text: "spawned".to_owned(), ..Filter::default() }).await, 0);
}
