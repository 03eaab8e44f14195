//! The rule kit: what a rule's author needs between writing a rule and trusting it.
//!
//! [`suite`] reads tests written beside the rules, [`described`] makes events of their values, [`check`] runs them and
//! [`report`] tells how it went; [`explain`] shows why a rule did or did not match, [`profile`]
//! what it costs; [`command`] is `falco-sensor rules`.
//! docs/rules.md is the author's view. Not on the path of an event: everything here asks the same loader, compiler and
//! evaluator as the sensor, and nothing of them asks anything here.

pub mod check;
pub mod command;
pub mod described;
pub mod explain;
pub mod profile;
pub mod report;
pub mod suite;
