//! Rules files damaged in every way: they load or are refused with an error, quickly, and never by half.

use falco_sensor::rules::{Environment, Loader};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// What one loads must take, however it looks; far more than any does.
const LONGEST: Duration = Duration::from_secs(20);

fn load(text: &str) -> bool {
    let environment = Environment::syscalls();
    let mut loader = Loader::new(&environment);
    let started = Instant::now();
    let result = loader.load("mutated.yaml", text.to_owned());
    assert!(started.elapsed() < LONGEST, "{} bytes took {:?}", text.len(), started.elapsed());
    let loaded = loader.finish();
    assert!(result.successful() || loaded.rules.is_empty(), "half a file was loaded");
    // Telling what is wrong works as well.
    assert!(result.text(true).starts_with("mutated.yaml: "));
    result.json();
    result.successful()
}

/// The items of our rules.
fn items() -> Vec<&'static str> {
    include_str!("../rules/default.yaml").split_inclusive("\n\n").collect()
}

const SPLICES: [&str; 24] = [
    "\n",
    "  ",
    "\t",
    ":",
    "- ",
    "'",
    "\"",
    "&a ",
    "*a ",
    "!t ",
    "[",
    "]",
    "{",
    "}",
    "|\n",
    ">\n",
    "not ",
    "(",
    ")",
    ",",
    "%",
    "\\x00",
    "override: {condition: append}\n",
    "\u{feff}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn spliced_files_are_loaded_or_refused(
        first in 0..items().len(),
        count in 1..6usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..SPLICES.len(), 0..12usize), 0..8),
    ) {
        let all = items();
        let mut text: String = all[first..(first + count).min(all.len())].concat();
        for (at, splice, cut) in edits {
            let mut from = at.index(text.len() + 1);
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            let mut to = (from + cut).min(text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            text.replace_range(from..to, SPLICES[splice]);
        }
        load(&text);
    }
}

#[test]
fn hostile_shapes_are_bounded() {
    let rule =
        |condition: &str| format!("- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: {condition}\n");
    // The innermost parenthesis counts too.
    let nested = |n: usize| rule(&format!("{}evt.type=open{}", "(".repeat(n), ")".repeat(n)));
    assert!(load(&nested(900)));
    assert!(!load(&nested(100_000)));
    assert!(!load(&rule(&format!("evt.type=open and {}(proc.name)=a", "tolower(".repeat(100_000)))));
    assert!(load(&rule(&format!("evt.type=open and {} proc.name=a", "not ".repeat(100_000)))));
    assert!(load(&rule(&format!("evt.type=open and proc.name in ({}a)", "a,".repeat(100_000)))));
    assert!(load(&rule(&format!("evt.type=open{}", " or proc.name=a".repeat(20_000)))));
    assert!(!load(&format!("{}a{}", "[".repeat(100_000), "]".repeat(100_000))));
    assert!(!load(&format!("- rule: {}\n", "{a: ".repeat(100_000))));
    // Lists of lists, macros of macros and aliases of aliases grow by a power of ten at every line.
    let mut lists = String::from("- list: l0\n  items: [a, a, a, a, a, a, a, a, a, a]\n");
    let mut macros = String::from("- macro: m0\n  condition: evt.type=open\n");
    let mut aliases = String::from("- &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..20 {
        let last = n - 1;
        lists += &format!("- list: l{n}\n  items: [{}]\n", vec![format!("l{last}"); 10].join(", "));
        macros += &format!("- macro: m{n}\n  condition: {}\n", vec![format!("m{last}"); 10].join(" or "));
        aliases += &format!("- &a{n} [{}]\n", vec![format!("*a{last}"); 10].join(", "));
    }
    load(&(lists + &rule("evt.type=open and proc.name in (l19)")));
    assert!(!load(&(macros + &rule("m19"))));
    assert!(!load(&aliases));
}
