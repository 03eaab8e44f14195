//! Falco's published rules load without an error, together and each alone; so do our own.

use falco_sensor::filter::{Matching, Program};
use falco_sensor::rules::{Environment, Loader, Priority, Selection};
use std::path::PathBuf;

const FILES: [&str; 4] =
    ["falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml", "falco-deprecated_rules.yaml"];

fn folder() -> Option<PathBuf> {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let folder = PathBuf::from(&root).join("rules/upstream");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no folder {} (set FALCO_CONFORMANCE to the conformance data set)", folder.display());
    None
}

fn program(loader: &Loader<'_>) -> Program {
    let loaded = loader.loaded();
    let selection = Selection::of(loaded, Priority::Debug);
    loaded
        .program("syscall", &falco_sensor::filter::SyscallScheme, selection.rules().iter().copied(), Matching::First)
        .expect("what loaded compiles")
}

#[test]
fn all_files_in_order() {
    let Some(folder) = folder() else { return };
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    for file in FILES {
        let result = loader.load_file(&folder.join(file));
        assert!(result.successful(), "{}", result.text(true));
    }
    assert_eq!(loader.loaded().rules.len(), 97);
    let program = program(&loader);
    assert!(program.wants(293), "execve is what most rules are about");
    assert!(program.predicate_count() > 300);
}

#[test]
fn each_file_alone() {
    let Some(folder) = folder() else { return };
    let env = Environment::syscalls();
    for file in FILES {
        let mut loader = Loader::new(&env);
        let result = loader.load_file(&folder.join(file));
        assert!(result.successful(), "{}", result.text(true));
        program(&loader);
    }
}

#[test]
fn our_own_rules() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules");
    let env = Environment::syscalls();
    for entry in std::fs::read_dir(folder).expect("the rules are part of the project") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let mut loader = Loader::new(&env);
            let result = loader.load_file(&path);
            assert!(result.successful() && !result.has_warnings(), "{}", result.text(true));
            program(&loader);
        }
    }
}
