//! The spool alone: what is kept, what is removed, what is found again.

use super::*;
use crate::hub::store::{Filter, Store};

async fn count(spool: &Arc<Spool>) -> i64 {
    Store::Own(spool.clone()).count(Filter::default()).await.expect("count")
}

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
            Ok(_) => kept += 100,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "the size bounds it");
    };
    assert!(matches!(refused, SpoolError::Full), "{refused}");
    assert_eq!(count(&spool).await, kept, "nothing was removed");
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
    assert_eq!(count(&spool).await, 1);
}

#[tokio::test]
async fn a_uuid_is_kept_once_and_positions_with_it() {
    let directory = tempfile::tempdir().expect("directory");
    let position = |next| Position { input: "in".to_owned(), place: "t/0".to_owned(), next };
    {
        let spool = Spool::open(directory.path(), limits(&[])).expect("opens");
        let (one, two) = (alert("r", "one"), alert("r", "two"));
        let alerts = vec![one.clone(), one.clone(), two.clone()];
        assert_eq!(spool.append_from(alerts, vec![position(3)]).await.expect("kept"), [1]);
        assert_eq!(spool.append(vec![two, alert("r", "three"), one]).await.expect("kept"), [0, 2]);
    }
    let spool = Spool::open(directory.path(), limits(&[])).expect("opens");
    assert_eq!(spool.read(0, 10).await.expect("read").len(), 3);
    assert_eq!(spool.append_from(Vec::new(), vec![position(4)]).await.expect("kept"), [0; 0]);
    assert_eq!(spool.positions("in").await.expect("read"), [("t/0".to_owned(), 4)].into());
    assert!(spool.positions("other").await.expect("read").is_empty());
}
