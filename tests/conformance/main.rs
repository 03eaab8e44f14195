//! The conformance data set: what the original's own tests assert, held against this sensor. `tally` finds it and counts, `data`
//! tells what is skipped; each other module runs the cases of one file, whatever their ids.

mod config;
mod data;
mod engine;
mod events;
mod filter_eval;
mod filter_parse;
mod functions;
mod mock;
mod rules;
mod run;
mod scap;
mod tally;

use serde_json::Value;
use tally::{Outcome, Tally};

/// The file, what runs a case of it, and how many of its public cases docs/falco-compat.md lists as not followed.
type File = (&'static str, fn(&Value) -> Outcome, usize);

const FILES: [File; 4] = [
    ("engine.jsonl", engine::run, 0),
    ("filter-parse.jsonl", filter_parse::run, 0),
    ("filter-eval.jsonl", filter_eval::run, 1),
    ("scap.jsonl", scap::run, 0),
];

#[test]
fn conformance() {
    let Some(root) = tally::root() else { return };
    let mut total = [0; 3];
    let mut too_many = Vec::new();
    for (file, run, listed) in FILES {
        let mut tally = Tally::default();
        for case in tally::cases(&root, file) {
            let outcome = data::later(&case).map_or_else(|| run(&case), Outcome::Skipped);
            tally.add(&case, outcome);
        }
        let counts = tally.finish(file);
        assert!(counts.iter().sum::<usize>() > 0, "{file} has no cases");
        (0..3).for_each(|i| total[i] += counts[i]);
        if counts[1] > listed {
            too_many.push(format!("{file}: {} failed, {listed} are listed", counts[1]));
        }
    }
    println!("total: {} passed, {} failed, {} skipped", total[0], total[1], total[2]);
    assert!(too_many.is_empty(), "{too_many:?}");
}
