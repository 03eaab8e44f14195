//! falco-hub from outside: the program is started, fed, killed, and what arrives is looked at.

mod brokers;
mod browser;
mod clouds;
mod clusters;
#[path = "../conformance/tally.rs"]
mod conformance;
mod delivery;
mod documents;
mod falco_grpc;
mod functions;
mod grpc;
mod input;
mod inputs;
mod kafka;
mod outputs;
mod page;
mod payloads;
#[path = "../support/port.rs"]
mod port;
mod postgresql;
mod process;
mod receivers;
mod sidekick;
mod store;
mod telemetry;
