//! The sensor's program: arguments and wiring only.

fn main() -> std::process::ExitCode {
    falco_sensor::sensor::command::main()
}
