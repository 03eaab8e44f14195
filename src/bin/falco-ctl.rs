//! The operator's program: arguments and wiring only.

fn main() -> std::process::ExitCode {
    falco_sensor::ctl::command::main()
}
