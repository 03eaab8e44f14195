//! The project's own rules: they load without an error or a warning, keep the names of upstream's stable rules, and decide
//! the events of `rules/tests` as those files say.

use falco_sensor::kit::command::{RulesCommand, Shape, TestOptions, run};
use falco_sensor::rules::{Environment, LoadedRules, Loader};
use std::path::{Path, PathBuf};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/default.yaml")
}

fn load(path: &Path) -> LoadedRules {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load_file(path);
    assert!(result.successful(), "{}", result.text(true));
    loader.finish()
}

#[test]
fn load_without_warnings() {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load_file(&file());
    assert!(result.successful() && !result.has_warnings(), "{}", result.text(true));
}

#[test]
fn have_the_names_and_priorities_of_the_stable_rules() {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let upstream = PathBuf::from(&root).join("rules/upstream/falco_rules.yaml");
    if !upstream.is_file() {
        println!("skipped: no {} (set FALCO_CONFORMANCE to the conformance data set)", upstream.display());
        return;
    }
    let (theirs, ours) = (load(&upstream), load(&file()));
    for rule in &theirs.rules {
        let same = ours.rules.iter().find(|other| other.name == rule.name);
        let same = same.unwrap_or_else(|| panic!("no rule {:?}", rule.name));
        assert_eq!(same.priority, rule.priority, "{:?}", rule.name);
        for tag in &rule.tags {
            assert!(same.tags.contains(tag), "{:?} without {tag}", rule.name);
        }
    }
}

/// Every file of rules/tests, as `falco-sensor rules test rules/tests/*.yaml --every-rule` runs them.
#[test]
fn decide_the_events_of_their_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/tests");
    let files = std::fs::read_dir(folder).expect("rules/tests").map(|entry| entry.expect("an entry").path()).collect();
    let options = TestOptions { files, name: None, format: Shape::Text, every_rule: true };
    let (text, status) = run(&RulesCommand::Test(options)).expect("tests to run");
    assert_eq!(status, 0, "{text}");
}
