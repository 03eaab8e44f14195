//! falco-sensor: system calls from a kernel module's per-CPU rings, Falco-language rules, alerts.
//!
//! Rooms, in the direction data flows: [`driver`] (module and ring), [`event`] (typed view of a record and
//! the field catalogue), [`enrich`] (users, containers), [`filter`] (condition language), [`rules`] (rules
//! files), [`kit`] (tools for those who write them), [`sensor`] (the loops), [`output`] (alerts and channels); [`capture`] takes the ring's place when a recording is replayed.
//! [`hub`], which receives, keeps and forwards alerts, is a program of its own; [`ctl`] is what operators do around the sensor. ARCHITECTURE.md has the flow.

pub mod bench;
pub mod capture;
pub mod ctl;
pub mod driver;
pub mod enrich;
pub mod event;
pub mod filter;
#[cfg(feature = "hub")]
pub mod hub;
pub mod kit;
pub mod output;
pub mod pushdown;
pub mod rules;
pub mod sensor;
