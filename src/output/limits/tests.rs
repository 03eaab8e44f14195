use super::*;
use crate::event::fields;
use crate::event::value::{FieldUse, Value};
use crate::filter::SyscallScheme;
use serde_json::Value as Json;

const MINUTE: Duration = Duration::from_secs(60);
/// 2026-11-28 00:00:00 UTC.
const DAY: u64 = 1_795_824_000_000_000_000;

struct Process(&'static str, i64);

impl Extract for Process {
    fn extract<'a>(&'a self, field: &FieldUse, _: &'a Bump) -> Option<Value<'a>> {
        match fields::def(field.id).name {
            "proc.name" => Some(Value::Str(self.0.as_bytes())),
            "proc.pid" => Some(Value::I64(self.1)),
            _ => None,
        }
    }

    fn event_code(&self) -> u16 {
        307
    }
}

fn limit(keys: &[&str]) -> Limit {
    let keys = keys.iter().map(|key| Format::parse(&format!("%{key}"), &SyscallScheme).expect("a field")).collect();
    Limit { window: MINUTE, keys }
}

/// A limiter, and the clock it is told.
struct Bench {
    limiter: Limiter,
    seconds: u64,
    written: Vec<String>,
}

impl Bench {
    fn new(capacity: usize) -> Bench {
        Bench { limiter: Limiter::new(capacity, Arc::default()), seconds: 0, written: Vec::new() }
    }

    fn at(&mut self, seconds: u64) {
        self.seconds = seconds;
        while let Some((line, _)) = self.limiter.closed(Duration::from_secs(seconds)) {
            self.written.push(String::from_utf8(line.into()).expect("UTF-8"));
        }
    }

    fn alert(&mut self, rule: &str, process: &Process, keys: &[&str]) {
        let (arena, limit) = (Bump::new(), limit(keys));
        let limited = limit.of(rule, process, DAY + self.seconds * 1_000_000_000, &arena);
        let line = format!("{rule} {} {}", process.0, process.1);
        let now = Duration::from_secs(self.seconds);
        let taken = self.limiter.take(line.into_bytes().into(), Priority::Error, limited, now);
        self.written.extend(taken.map(|(line, _)| String::from_utf8(line.into()).expect("UTF-8")));
    }

    fn outcomes(&self) -> [u64; 3] {
        self.limiter.counters.outcomes().map(|(_, count)| count)
    }
}

#[test]
fn repeats_are_told_when_the_window_closes_and_the_next_alert_opens_another() {
    let mut bench = Bench::new(10);
    for (second, pid) in [(0, 1), (10, 2), (59, 3)] {
        bench.at(second);
        bench.alert("r", &Process("cat", pid), &["proc.name"]);
    }
    assert_eq!((bench.written.as_slice(), bench.outcomes()), (&["r cat 1".to_owned()][..], [2, 0, 0]));
    assert_eq!(bench.limiter.next_end(), Some(MINUTE));
    bench.at(60);
    let told =
        "r cat 3 alert.count=3 alert.first=2026-11-28T00:00:00.000000000Z alert.last=2026-11-28T00:00:59.000000000Z";
    assert_eq!((bench.written[1].as_str(), bench.limiter.counters.open()), (told, 0));
    bench.alert("r", &Process("cat", 4), &["proc.name"]);
    bench.at(1000);
    // It was alone: nothing is to be told of it.
    assert_eq!((bench.written.len(), bench.outcomes()), (3, [2, 1, 0]));
    assert_eq!((bench.limiter.next_end(), bench.limiter.held), (None, 0));
}

#[test]
fn alerts_differ_by_rule_and_by_the_values_of_the_keys() {
    for (keys, written) in [(&[][..], 2), (&["proc.name"], 3), (&["proc.name", "proc.pid"], 4), (&["fd.name"], 2)] {
        let mut bench = Bench::new(10);
        for (rule, process) in [("r", Process("cat", 1)), ("r", Process("cat", 2)), ("r", Process("ls", 2))] {
            bench.alert(rule, &process, keys);
            bench.alert(rule, &process, keys);
        }
        bench.alert("s", &Process("ls", 2), keys);
        assert_eq!(bench.written.len(), written, "{keys:?}");
    }
    // Values that are the same one after the other are not the same.
    let mut bench = Bench::new(10);
    bench.alert("ra", &Process("b", 1), &["proc.name"]);
    bench.alert("r", &Process("ab", 1), &["proc.name"]);
    assert_eq!(bench.written.len(), 2);
}

#[test]
fn what_there_is_no_room_for_is_written_and_counted() {
    let mut bench = Bench::new(2);
    for pid in [1, 2, 3, 3, 1] {
        bench.alert("r", &Process("cat", pid), &["proc.pid"]);
    }
    assert_eq!(bench.written, ["r cat 1", "r cat 2", "r cat 3", "r cat 3"]);
    assert_eq!((bench.outcomes(), bench.limiter.counters.open()), ([1, 0, 2], 2));
    bench.at(60);
    bench.alert("r", &Process("cat", 3), &["proc.pid"]);
    bench.alert("r", &Process("cat", 3), &["proc.pid"]);
    assert_eq!((bench.written.len(), bench.outcomes()), (6, [2, 1, 2]));
}

#[test]
fn lines_that_are_held_back_have_a_bound_together() {
    let mut limiter = Limiter::new(10, Arc::default());
    let (arena, limit) = (Bump::new(), limit(&["proc.pid"]));
    let mut take = |pid, len: usize| {
        let limited = limit.of("r", &Process("x", pid), DAY, &arena);
        limiter.take(vec![b'x'; len].into(), Priority::Error, limited, Duration::ZERO).is_some()
    };
    assert!(take(1, 1) && take(2, 1));
    assert!(!take(1, HELD - 1), "held back");
    assert!(take(2, 2), "no room");
    assert!(!take(2, 1) && !take(1, 1) && !take(2, HELD - 1), "a line takes the place of the one before");
    assert_eq!(limiter.held, HELD);
}

#[test]
fn a_summary_in_json_has_members_and_text() {
    let line = r#"{"hostname":"h","output":"o","output_fields":{"a":1,"proc.pid":18446744073709551615},"priority":"Error","rule":"r","time":"t"}"#;
    let text = String::from_utf8(summary(line.as_bytes(), 7, DAY, DAY + 1).into()).expect("UTF-8");
    let (first, last) = ("2026-11-28T00:00:00.000000000Z", "2026-11-28T00:00:00.000000001Z");
    let expected = format!(
        r#"{{"hostname":"h","output":"o alert.count=7 alert.first={first} alert.last={last}","output_fields":{{"a":1,"alert.count":7,"alert.first":"{first}","alert.last":"{last}","proc.pid":18446744073709551615}},"priority":"Error","rule":"r","time":"t"}}"#
    );
    assert_eq!(text, expected);
    let bare: Json = serde_json::from_slice(&summary(br#"{"rule":"r"}"#, 2, DAY, DAY)).expect("JSON");
    assert_eq!((&bare["output_fields"]["alert.count"], &bare["output"]), (&2.into(), &Json::Null));
}
