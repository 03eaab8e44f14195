//! Where the data set lies, and counting.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The data set's folder, or a printed sentence.
pub fn root() -> Option<PathBuf> {
    let root = PathBuf::from(std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into()));
    if root.is_dir() {
        return Some(root);
    }
    println!("skipped: no folder {} (set FALCO_CONFORMANCE to the conformance data set)", root.display());
    None
}

/// The cases of a file. More files can be named in FALCO_CONFORMANCE_MORE, a folder with the same names.
pub fn cases(root: &Path, file: &str) -> Vec<Value> {
    let more = std::env::var("FALCO_CONFORMANCE_MORE").map(PathBuf::from).ok();
    let mut out = Vec::new();
    for folder in [Some(root.join("public")), more].into_iter().flatten() {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else { continue };
        out.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a case is JSON")));
    }
    out
}

pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(&'static str),
}

pub fn check(ok: bool, why: impl FnOnce() -> String) -> Outcome {
    if ok { Outcome::Passed } else { Outcome::Failed(why()) }
}

#[derive(Default)]
pub struct Tally {
    kinds: BTreeMap<String, [usize; 3]>,
    skipped: BTreeMap<&'static str, usize>,
}

impl Tally {
    pub fn add(&mut self, case: &Value, outcome: Outcome) {
        let counts = self.kinds.entry(case["kind"].as_str().unwrap_or("").to_owned()).or_default();
        match outcome {
            Outcome::Passed => counts[0] += 1,
            Outcome::Failed(why) => {
                counts[1] += 1;
                println!("FAILED {}: {why}", case["id"].as_str().unwrap_or(""));
            }
            Outcome::Skipped(why) => {
                counts[2] += 1;
                *self.skipped.entry(why).or_default() += 1;
            }
        }
    }

    /// Prints the counts of `file` and gives them: passed, failed, skipped.
    pub fn finish(&self, file: &str) -> [usize; 3] {
        let mut sum = [0; 3];
        for (kind, counts) in &self.kinds {
            println!("  {kind}: {} passed, {} failed, {} skipped", counts[0], counts[1], counts[2]);
            (0..3).for_each(|i| sum[i] += counts[i]);
        }
        for (why, n) in &self.skipped {
            println!("  skipped {n}: {why}");
        }
        println!("{file}: {} passed, {} failed, {} skipped", sum[0], sum[1], sum[2]);
        sum
    }
}

pub fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or("")
}
