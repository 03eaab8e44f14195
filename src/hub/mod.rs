//! falco-hub: receives alerts, keeps them, forwards them.
//!
//! Rooms, in the direction an alert goes: [`input`] takes it, over HTTP or out of a [`broker`], [`enrich`] completes it,
//! [`spool`] keeps it on disk, [`forward`] brings it to every output, [`grpc`] gives it to who asks, [`ui`] shows it, which
//! [`store`] finds it for. [`config`] is Falcosidekick's. An ordinary tokio service; the sensor needs nothing of it. Invariant:
//! an alert is answered with 200 only after it is on disk.

pub mod alert;
pub mod broker;
pub mod causes;
pub mod command;
pub mod config;
pub mod enrich;
pub mod forward;
pub mod grpc;
pub mod input;
pub mod json;
pub mod metrics;
pub mod postgresql;
pub mod run;
pub mod spool;
pub mod store;
pub mod template;
pub mod tls;
pub mod ui;
