//! The project's own rules load without an error or a warning, listen to few event types, and keep the names of upstream's
//! stable rules.

use falco_sensor::filter::{Matching, Program, SyscallScheme};
use falco_sensor::rules::{Environment, Loader, Priority, Selection};
use std::path::{Path, PathBuf};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/default.yaml")
}

#[test]
fn load_without_warnings() {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load_file(&file());
    assert!(result.successful() && !result.has_warnings(), "{}", result.text(true));
    let loaded = loader.loaded();
    let selection = Selection::of(loaded, Priority::Debug);
    let program: Program = loaded
        .program("syscall", &SyscallScheme, selection.rules().iter().copied(), Matching::First)
        .expect("what loaded compiles");
    assert!(program.wants(293), "execve is what most rules are about");
}

#[test]
fn have_the_names_and_priorities_of_the_stable_rules() {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let upstream = PathBuf::from(&root).join("rules/upstream/falco_rules.yaml");
    if !upstream.is_file() {
        println!("skipped: no {} (set FALCO_CONFORMANCE to the conformance data set)", upstream.display());
        return;
    }
    let env = Environment::syscalls();
    let load = |path: &Path| {
        let mut loader = Loader::new(&env);
        let result = loader.load_file(path);
        assert!(result.successful(), "{}", result.text(true));
        loader.finish()
    };
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
