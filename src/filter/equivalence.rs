//! The fast evaluator against the slow one, on generated conditions and events; and what the fast one may not do.

use super::reference;
use super::scheme::{CodeSet, Scheme};
use super::{Compiler, EvalContext, Matching, RuleIndex, Tables, parse};
use crate::event::sources::Sources;
use crate::event::value::{
    ArgKind, Depends, Extract, FieldDef, FieldFlags, FieldId, FieldUse, Multi, Scope, Type, Value, Versioned,
};
use bumpalo::Bump;
use proptest::prelude::*;
use std::net::IpAddr;

/// One field per way of comparing.
const fn field(name: &'static str, ty: Type, list: bool, multi: Multi) -> FieldDef {
    FieldDef {
        name,
        ty,
        arg: ArgKind::None,
        list,
        multi,
        scope: Scope::Both,
        flags: FieldFlags {
            deprecated: false,
            hex: false,
            octal: false,
            no_transformer: !matches!(multi, Multi::One),
            no_rhs: !matches!(multi, Multi::One),
            dotted: false,
            padded: false,
            hidden: false,
            positive: false,
            suggested: false,
        },
        depends: Depends::Event,
        part: None,
        sources: Sources::ALIKE,
        class: "test",
        desc: "",
    }
}

const fn of_task(mut field: FieldDef) -> FieldDef {
    field.depends = Depends::Task;
    field
}

static FIELDS: [FieldDef; 17] = [
    field("evt.type", Type::Charbuf, false, Multi::One),
    of_task(field("t.text", Type::Charbuf, false, Multi::One)),
    field("t.other", Type::Charbuf, false, Multi::One),
    field("t.path", Type::FsPath, false, Multi::One),
    field("t.bytes", Type::Bytebuf, false, Multi::One),
    field("t.unsigned", Type::Uint64, false, Multi::One),
    of_task(field("t.small", Type::Uint32, false, Multi::One)),
    field("t.signed", Type::Int64, false, Multi::One),
    field("t.double", Type::Double, false, Multi::One),
    of_task(field("t.bool", Type::Bool, false, Multi::One)),
    field("t.ip", Type::IpAddr, false, Multi::One),
    field("t.ips", Type::IpAddr, false, Multi::EitherEnd),
    field("fd.net", Type::IpNet, false, Multi::EitherEnd),
    field("t.ports", Type::Port, false, Multi::EitherEnd),
    of_task(field("t.ancestor", Type::Charbuf, false, Multi::AnyAncestor)),
    of_task(field("t.list", Type::Charbuf, true, Multi::One)),
    field("t.numbers", Type::Uint64, true, Multi::One),
];

struct TestScheme;

const EVENTS: [&str; 6] = ["open", "open", "close", "close", "generic", "generic"];

impl Scheme for TestScheme {
    fn field(&self, name: &str) -> Option<FieldId> {
        FIELDS.iter().position(|f| f.name == name).map(|i| FieldId(i as u16))
    }
    fn def(&self, id: FieldId) -> &FieldDef {
        &FIELDS[usize::from(id.0)]
    }
    fn universe(&self) -> CodeSet {
        CodeSet::first(EVENTS.len())
    }
    fn event_codes(&self, name: &str) -> Option<CodeSet> {
        match name {
            "open" => Some([0, 1].into_iter().collect()),
            "close" => Some([2, 3].into_iter().collect()),
            "getpid" | "getuid" => Some([4, 5].into_iter().collect()),
            _ => None,
        }
    }
    fn event_name(&self, code: u16) -> Option<&str> {
        EVENTS.get(usize::from(code)).copied().filter(|name| *name != "generic")
    }
}

const WORDS: [&str; 13] = ["", "a", "ab", "abc", "/a/b", "/a", "b/c", "A", "YWI=", "aXb", "\u{e9}a", "-a", "-bab"];
/// What only events have: text that is not UTF-8.
const BROKEN: [&[u8]; 2] = [b"\xff", b"a\xffb"];
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.1.0.1", "192.168.0.1", "::1"];

#[derive(Clone, Debug)]
struct TestEvent {
    code: u16,
    call: &'static str,
    text: [Option<&'static [u8]>; 4],
    number: [Option<i64>; 3],
    double: Option<i32>,
    bool: Option<bool>,
    ips: Vec<usize>,
    ports: Vec<u64>,
    texts: Vec<&'static str>,
    numbers: Vec<u64>,
    task: Option<Versioned>,
}

/// Gives the events tasks: two with the same values of what depends on a task may share its state.
fn with_tasks(mut events: Vec<TestEvent>, places: &[Option<u32>]) -> Vec<TestEvent> {
    let state = |e: &TestEvent| (e.text[0], e.number[1], e.bool, e.texts.clone());
    for at in 0..events.len() {
        let same = events.iter().position(|other| state(other) == state(&events[at])).unwrap_or(at);
        let place = places[at % places.len()];
        events[at].task = place.map(|place| Versioned { place, stamp: same as u64 + 1, facts: 0 });
    }
    events
}

fn ip(i: usize) -> Value<'static> {
    Value::Ip(ADDRESSES[i].parse::<IpAddr>().unwrap())
}

impl Extract for TestEvent {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        let text = |i: usize| self.text[i];
        let texts = || {
            let values = self.texts.iter().map(|t| Value::Str(t.as_bytes()));
            (!self.texts.is_empty()).then(|| Value::List(arena.alloc_slice_fill_iter(values)))
        };
        match FIELDS[usize::from(field.id.0)].name {
            "evt.type" => Some(Value::Str(match self.code {
                4 | 5 => self.call.as_bytes(),
                code => EVENTS[usize::from(code)].as_bytes(),
            })),
            "t.text" => text(0).map(Value::Str),
            "t.other" => text(1).map(Value::Str),
            "t.path" => text(2).map(Value::Str),
            "t.bytes" => text(3).map(Value::Bytes),
            "t.unsigned" => self.number[0].map(|n| Value::U64(n as u64)),
            "t.small" => self.number[1].map(|n| Value::U64(u64::from(n as u32))),
            "t.signed" => self.number[2].map(Value::I64),
            "t.double" => self.double.map(|n| Value::F64(f64::from(n))),
            "t.bool" => self.bool.map(Value::Bool),
            "t.ip" => self.ips.first().map(|i| ip(*i)),
            "t.ips" | "fd.net" => Some(Value::List(arena.alloc_slice_fill_iter(self.ips.iter().map(|i| ip(*i))))),
            "t.ports" => Some(Value::List(arena.alloc_slice_fill_iter(self.ports.iter().map(|p| Value::U64(*p))))),
            "t.ancestor" | "t.list" => texts(),
            "t.numbers" => Some(Value::List(arena.alloc_slice_fill_iter(self.numbers.iter().map(|n| Value::U64(*n))))),
            _ => None,
        }
    }
    fn event_code(&self) -> u16 {
        self.code
    }
    fn task(&self) -> Option<Versioned> {
        self.task
    }
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&WORDS[..])
}

fn event() -> impl Strategy<Value = TestEvent> {
    let any_word = || prop_oneof![9 => word().prop_map(str::as_bytes), 1 => prop::sample::select(&BROKEN[..])];
    let maybe_word = || prop::option::weighted(0.8, any_word());
    let number = || prop::option::weighted(0.8, prop::sample::select(vec![-1i64, 0, 1, 2, 7, 1 << 40]));
    (
        (0..6u16, prop::sample::select(vec!["getpid", "getuid"])),
        prop::array::uniform4(maybe_word()),
        prop::array::uniform3(number()),
        (prop::option::of(-1..3i32), prop::option::of(any::<bool>())),
        prop::collection::vec(0..ADDRESSES.len(), 0..3),
        prop::collection::vec(prop::sample::select(vec![0u64, 22, 80, 65535]), 0..3),
        prop::collection::vec(word(), 0..4),
        prop::collection::vec(0..4u64, 0..4),
    )
        .prop_map(|((code, call), text, number, (double, bool), ips, ports, texts, numbers)| TestEvent {
            code,
            call,
            text,
            number,
            double,
            bool,
            ips,
            ports,
            texts,
            numbers,
            task: None,
        })
}

/// Events in a few tasks, which come again.
fn events(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<TestEvent>> {
    let places = prop::collection::vec(prop::option::weighted(0.8, 0..3u32), 1..8);
    (prop::collection::vec(event(), count), places).prop_map(|(events, places)| {
        let mut events = with_tasks(events, &places);
        events.extend(events.clone());
        events
    })
}

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

/// `(a, b, ...)`
fn list(item: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(item, 0..4).prop_map(|items| format!("({})", items.join(", ")))
}

fn choose(options: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(options)
}

fn leaf() -> BoxedStrategy<String> {
    let text_field = || {
        choose(&[
            "t.text",
            "t.other",
            "t.path",
            "t.ancestor",
            "tolower(t.text)",
            "toupper(t.path)",
            "b64(t.text)",
            "basename(t.path)",
            "concat(t.text, t.other)",
            "join(\"/\", (t.text, t.unsigned, \"b\"))",
        ])
    };
    let text_op = || choose(&["=", "==", "!=", "contains", "icontains", "startswith", "endswith"]);
    let words = || word().prop_map(quoted);
    let pattern = || {
        prop::collection::vec(choose(&["a", "b", "c", "*", "?", "/", "A", "X"]), 0..5)
            .prop_map(|parts| quoted(&parts.concat()))
    };
    let number = || choose(&["-1", "0", "1", "2", "7", "1099511627776"]).prop_map(str::to_owned);
    let number_op = || choose(&["=", "!=", "<", "<=", ">", ">="]);
    let address = || prop::sample::select(&ADDRESSES[..]).prop_map(str::to_owned);
    let net = || {
        choose(&["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "192.168.0.1/32", "::/1", "::1/128"]).prop_map(str::to_owned)
    };
    let modifier = || choose(&["oneof", "anyof", "allof"]);
    let set_op = || choose(&["in", "intersects"]);
    let number_field = || choose(&["t.unsigned", "t.small", "t.signed", "len(t.text)", "len(t.list)", "len(t.bytes)"]);
    prop_oneof![
        (text_field(), text_op(), words()).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (text_field(), set_op(), list(words())).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (text_field(), list(words())).prop_map(|(f, v)| format!("{f} pmatch {v}")),
        (text_field(), choose(&["glob", "iglob"]), pattern()).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (text_field(), choose(&["a.*", "^/a", "[ab]+c?", ".*(b|c)", "a+"]).prop_map(quoted))
            .prop_map(|(f, v)| format!("{f} regex {v}")),
        // The grammar gives these numbers to compare with; texts compare with their digits.
        (text_field(), choose(&["<", "<=", ">", ">="]), number()).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (
            text_field(),
            choose(&["=", "==", "!=", "contains", "icontains", "startswith", "endswith", "glob", "iglob", "regex"]),
            modifier(),
            list(choose(&["", "a", "ab", "/a", "A", "b/c"]).prop_map(quoted))
        )
            .prop_map(|(f, o, m, v)| format!("{f} {o} {m} {v}")),
        (number_field(), choose(&["=", "!="]), modifier(), list(number()))
            .prop_map(|(f, o, m, v)| format!("{f} {o} {m} {v}")),
        (
            choose(&["bcontains", "bstartswith"]),
            modifier(),
            list(choose(&["61", "6162", "ff"]).prop_map(str::to_owned))
        )
            .prop_map(|(o, m, v)| format!("t.bytes {o} {m} {v}")),
        (set_op(), list(words())).prop_map(|(o, v)| format!("t.bytes {o} {v}")),
        (set_op(), list(choose(&["true", "false"]).prop_map(str::to_owned)))
            .prop_map(|(o, v)| format!("t.bool {o} {v}")),
        (set_op(), list(choose(&["-1", "0", "1", "2"]).prop_map(str::to_owned)))
            .prop_map(|(o, v)| format!("t.double {o} {v}")),
        (set_op(), list(choose(&["22", "80", "0"]).prop_map(str::to_owned)))
            .prop_map(|(o, v)| format!("t.ports {o} {v}")),
        (choose(&["=", "!="]), modifier(), list(choose(&["22", "80", "0"]).prop_map(str::to_owned)))
            .prop_map(|(o, m, v)| format!("t.ports {o} {m} {v}")),
        (set_op(), list(words())).prop_map(|(o, v)| format!("getopt(t.list, \"a:b\") {o} {v}")),
        (choose(&["a", "b"]), choose(&["=", "!=", "startswith"]), words())
            .prop_map(|(x, o, v)| format!("getopt(t.list, \"a:b\")[{x}] {o} {v}")),
        (choose(&["t.bytes"]), choose(&["=", "!=", "contains", "startswith", "endswith"]), words())
            .prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        choose(&["bcontains", "bstartswith"])
            .prop_flat_map(|o| choose(&["61", "6162", "2f"]).prop_map(move |v| format!("t.bytes {o} {v}"))),
        (number_field(), number_op(), number()).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (number_field(), set_op(), list(number())).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (number_op(), choose(&["0", "1", "2"])).prop_map(|(o, v)| format!("t.double {o} {v}")),
        (choose(&["=", "!="]), choose(&["true", "false"])).prop_map(|(o, v)| format!("t.bool {o} {v}")),
        (choose(&["t.ip", "t.ips"]), choose(&["=", "!="]), address()).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (choose(&["t.ip", "t.ips"]), set_op(), list(address())).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (choose(&["t.ips", "fd.net"]), choose(&["=", "!="]), modifier(), list(address()), list(net()))
            .prop_map(|(f, o, m, a, n)| format!("{f} {o} {m} {}", if f == "fd.net" { n } else { a })),
        (choose(&["=", "!="]), net()).prop_map(|(o, v)| format!("fd.net {o} {v}")),
        (set_op(), list(net())).prop_map(|(o, v)| format!("fd.net {o} {v}")),
        (number_op(), choose(&["22", "80", "0"])).prop_map(|(o, v)| format!("t.ports {o} {v}")),
        (choose(&["t.list", "toupper(t.list)"]), set_op(), list(words())).prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (set_op(), list(number())).prop_map(|(o, v)| format!("t.numbers {o} {v}")),
        choose(&[
            "t.text",
            "t.ancestor",
            "t.ips",
            "t.list",
            "b64(t.text)",
            "t.double",
            "t.bytes",
            "evt.type",
            "getopt(t.list, \"a\")[a]"
        ])
        .prop_map(|f| format!("{f} exists")),
        (
            choose(&["=", "!=", "contains", "icontains", "startswith", "endswith", "glob", "<", ">="]),
            choose(&["val(t.other)", "tolower(t.other)"])
        )
            .prop_map(|(o, v)| format!("t.text {o} {v}")),
        (number_op(), choose(&["val(t.unsigned)", "len(t.list)", "len(t.text)"]))
            .prop_map(|(o, v)| format!("t.unsigned {o} {v}")),
        (choose(&["t.text", "tolower(t.other)"]), set_op(), choose(&["val(t.text)", "val(t.other)"]))
            .prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        (choose(&["t.list", "toupper(t.list)"]), set_op(), choose(&["val(t.list)", "toupper(t.list)"]))
            .prop_map(|(f, o, v)| format!("{f} {o} {v}")),
        choose(&[
            "t.ip = val(t.ip)",
            "t.ip != val(t.ip)",
            "t.double <= val(t.double)",
            "t.bool = val(t.bool)",
            "t.numbers intersects val(t.numbers)",
            "t.bytes contains val(t.bytes)",
            "t.bytes bstartswith val(t.bytes)",
            "t.small < val(t.small)",
            "t.signed >= val(t.signed)",
        ])
        .prop_map(str::to_owned),
        (choose(&["=", "!="]), modifier(), list(choose(&["open", "close", "getuid"]).prop_map(str::to_owned)))
            .prop_map(|(o, m, v)| format!("evt.type {o} {m} {v}")),
        (choose(&["contains", "startswith", "endswith"]), choose(&["open", "close", "getpid"]))
            .prop_map(|(o, v)| format!("evt.type {o} {v}")),
        (choose(&["=", "!="]), choose(&["open", "close", "getpid"])).prop_map(|(o, v)| format!("evt.type {o} {v}")),
        list(choose(&["open", "close", "getuid"]).prop_map(str::to_owned)).prop_map(|v| format!("evt.type in {v}")),
    ]
    .boxed()
}

fn condition() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" or "))),
            inner.prop_map(|c| format!("not ({c})")),
        ]
    })
}

/// Every rule the compiled program reports holds by the slow evaluator, and the other way round, however comparisons are
/// decided; and what is passed over because of its task matches nothing.
fn same_answers(conditions: &[String], events: &[TestEvent]) -> Result<(), TestCaseError> {
    let trees: Vec<_> = conditions.iter().map(|c| parse(c).unwrap()).collect();
    for tables in [Tables::Sized, Tables::Always, Tables::Never] {
        for matching in [Matching::All, Matching::First] {
            let mut compiler = Compiler::new(&TestScheme, matching).with_tables(tables);
            for (tree, i) in trees.iter().zip(0..) {
                compiler.add(RuleIndex(i), tree).unwrap();
            }
            let program = compiler.finish();
            let mut ctx = EvalContext::new();
            for event in events {
                let arena = Bump::new();
                let mut expected: Vec<u32> = trees
                    .iter()
                    .zip(0..)
                    .filter(|(tree, _)| super::infer::event_codes(tree, &TestScheme).contains(event.code))
                    .filter(|(tree, _)| reference::holds(tree, event, &TestScheme, &arena))
                    .map(|(_, i)| i)
                    .collect();
                if matching == Matching::First {
                    expected.truncate(1);
                }
                let mut matched = Vec::new();
                program.evaluate(event, &mut ctx, &arena, |rule| matched.push(rule.0));
                prop_assert_eq!(&matched, &expected, "{:?} {:?} {:?}", tables, conditions, event);
                let mut plain = Vec::new();
                program.evaluate_plainly(event, &mut ctx, &arena, |rule| plain.push(rule.0));
                prop_assert_eq!(&plain, &expected, "plainly {:?} {:?}", conditions, event);
                prop_assert!(program.is_live(event, &mut ctx, &arena) || expected.is_empty());
                prop_assert!(!program.is_known_dead(event, &ctx) || expected.is_empty());
                // A mask computed at one event of a task holds for all of them.
                for other in events.iter().filter(|other| other.task.is_some() && other.task == event.task) {
                    let mask = program.interest(other, &mut ctx, &arena);
                    let wanted = mask >> program.class_of(event.code) & 1 == 1;
                    prop_assert!(wanted || expected.is_empty(), "masked: {:?} {:?}", conditions, event);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    /// Every kind of comparison, many times: a wrong one shows here.
    #[test]
    fn each_comparison_equals_reference(conditions in prop::collection::vec(leaf(), 12..24), events in events(6..10)) {
        same_answers(&conditions, &events)?;
    }

    /// Connectives, jumps and sharing between rules.
    #[test]
    fn compiled_equals_reference(conditions in prop::collection::vec(condition(), 1..6), events in events(1..6)) {
        same_answers(&conditions, &events)?;
    }

    /// So many rules that tables and files are worth it, and many share parts.
    #[test]
    fn many_rules_equal_reference(
        parts in prop::collection::vec(condition(), 3..6),
        rules in prop::collection::vec((0..6usize, leaf(), leaf()), 20..40),
        events in events(2..4),
    ) {
        let conditions: Vec<String> = rules
            .into_iter()
            .map(|(part, one, other)| match parts.get(part) {
                Some(part) => format!("{part} and {one} and {other}"),
                None => format!("{one} and {other}"),
            })
            .collect();
        same_answers(&conditions, &events)?;
    }

    /// Printing and parsing again gives the same tree.
    #[test]
    fn printing_is_inverted_by_parsing(text in condition()) {
        let tree = parse(&text).unwrap();
        prop_assert_eq!(parse(&tree.to_string()).unwrap(), tree);
    }

    /// The parser ends, and never panics, on anything.
    #[test]
    fn any_text_is_parsed_or_refused(text in "[a-c.()\\[\\]=!<>, \"'\\\\x0-9\n]{0,40}|(not |\\(|a.b=1 and |val\\(|tolower\\(|in ){0,12}") {
        let _ = parse(&text);
    }
}

#[test]
fn rules_are_tried_in_order_and_the_first_match_can_end_it() {
    let event = TestEvent {
        code: 0,
        call: "",
        text: [Some(b"a"); 4],
        number: [None; 3],
        double: None,
        bool: None,
        ips: vec![],
        ports: vec![],
        texts: vec![],
        numbers: vec![],
        task: None,
    };
    for (matching, expected) in [(Matching::First, vec![1]), (Matching::All, vec![1, 2, 3])] {
        let mut compiler = Compiler::new(&TestScheme, matching);
        for (i, text) in
            ["t.text = b", "t.text = a", "evt.type = open", "t.text != b", "evt.type = close"].iter().enumerate()
        {
            compiler.add(RuleIndex(i as u32), &parse(text).unwrap()).unwrap();
        }
        let program = compiler.finish();
        let mut matched = Vec::new();
        program.evaluate(&event, &mut EvalContext::new(), &Bump::new(), |r| matched.push(r.0));
        assert_eq!(matched, expected);
        assert!(program.wants(2) && !program.wants(400));
    }
}
