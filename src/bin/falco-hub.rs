//! The hub's program: arguments and wiring only.

fn main() -> std::process::ExitCode {
    falco_sensor::hub::command::main()
}
