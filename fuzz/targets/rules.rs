//! Any text as a rules file: it loads or is refused, and what loads compiles.
#![no_main]

use falco_sensor::filter::{Matching, SyscallScheme};
use falco_sensor::rules::{Environment, Loader, Priority, Selection};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let environment = Environment::syscalls();
    let mut loader = Loader::new(&environment);
    let result = loader.load("fuzz", text.to_owned());
    // The ways of telling what is wrong must hold as well.
    let _ = (result.text(true), result.json());
    let loaded = loader.finish();
    assert!(result.successful() || loaded.rules.is_empty(), "half a file was loaded");
    let selection = Selection::of(&loaded, Priority::Debug);
    // Names of hosts are asked for while compiling; nothing here may wait for a network.
    if !text.contains("ip.name") {
        let rules = selection.rules().iter().copied();
        loaded.program("syscall", &SyscallScheme, rules, Matching::All).expect("what loads compiles");
    }
});
