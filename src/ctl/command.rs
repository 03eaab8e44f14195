//! From the command line to an exit status: 0 done, 1 it could not be done or something is missing, 2 a wrong command line.

use super::host::Host;
use super::options::{DriverCommand, Options, Room};
use super::{build, doctor, module};
use clap::Parser;
use std::io::Write;
use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    let Room::Driver(command) = Options::parse().room;
    let host = Host::this();
    let done = match command {
        DriverCommand::Doctor => Ok(doctor::report(&doctor::examine(&host))),
        DriverCommand::Status => Ok(module::status(&host)),
        DriverCommand::Build(options) => build::build(&host, &options).map(|said| (format!("{said}\n"), true)),
        DriverCommand::Sign(options) => module::sign(&host, &options).map(|said| (said, true)),
        DriverCommand::Load(options) => module::load(&host, &options).map(|said| (said, true)),
        DriverCommand::Unload => module::unload(&host).map(|said| (said, true)),
    };
    let (text, well) = match done {
        Ok((text, well)) => (text, well),
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "falco-ctl: {message}");
            return ExitCode::FAILURE;
        }
    };
    // A reader that has gone away is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
