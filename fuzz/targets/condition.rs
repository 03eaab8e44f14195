//! Any text as a condition: it is parsed or refused, and what is parsed prints as the same condition.
#![no_main]

use falco_sensor::filter::lower::Lower;
use falco_sensor::filter::{SyscallScheme, infer, parse, warn};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse(text) {
        Err(error) => {
            let _ = error.with_caret(text);
        }
        Ok(tree) => {
            let printed = tree.to_string();
            let again = parse(&printed).unwrap_or_else(|e| panic!("{}", e.with_caret(&printed)));
            assert_eq!(again, tree, "{printed}");
            if let Err(error) = Lower::new(&SyscallScheme).condition(&tree) {
                let _ = error.with_caret(text);
            }
            let _ = (infer::event_codes(&tree, &SyscallScheme), infer::syscall_codes(&tree, &SyscallScheme));
            let _ = (warn::rule_warnings(&tree), warn::compile_warnings(&tree, &SyscallScheme));
        }
    }
});
