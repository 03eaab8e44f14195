//! Alerts and where they go.
//!
//! [`alert`] makes the line of an alert in the loop that saw the event; [`queue`] carries it, bounded, to the
//! [`threads`] of the outputs, each with a queue of its own, unless [`limits`] hold it back; [`channel`] writes it, [`http`] to a web server, [`syslog`] to a log server, [`program`] to a command. What values
//! look like in it is told by [`crate::event::text`].
//!
//! Invariant: a loop never waits for an output. When a queue is full the alert is dropped and counted.

pub mod alert;
pub mod channel;
pub mod http;
pub mod internal;
pub mod json;
pub mod limits;
pub mod program;
pub mod queue;
pub mod syslog;
pub mod threads;
mod tls;
