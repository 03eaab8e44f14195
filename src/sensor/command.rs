//! From the command line to a running sensor and its exit status.

use super::options::Options;
use super::records;
use clap::Parser;
use std::process::ExitCode;

/// The program. 0 after a normal end, 1 after any failure.
pub fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let result = match &options.dump {
        Some(syscalls) => records::run(&options, syscalls),
        None => Err("rules are not evaluated yet: only --dump works".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("falco-sensor: {error}");
            ExitCode::FAILURE
        }
    }
}
