//! Any text as a configuration file, without the files it names.
#![no_main]

use falco_sensor::sensor::config;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(error) = config::read(text, Path::new("fuzz.yaml")) {
        let _ = error.to_string();
    }
});
