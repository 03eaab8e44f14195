//! Any text as an output format: it is refused, or prints as it was written.
#![no_main]

use falco_sensor::filter::{Format, SyscallScheme};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Format::parse(text, &SyscallScheme) {
        Err(error) => {
            let _ = error.with_caret(text);
        }
        Ok(format) => {
            for token in format.tokens() {
                let _ = token.field_names();
            }
            let printed = format.to_string();
            let again = Format::parse(&printed, &SyscallScheme).expect("what was parsed prints as a format");
            assert_eq!(again.to_string(), printed);
        }
    }
});
