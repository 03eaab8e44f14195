//! Alerts and where they go.
//!
//! [`alert`] makes the line of an alert in the loop that saw the event; [`queue`] carries it, bounded, to the one
//! output thread; [`channel`] writes it. What values look like in it is told by
//! [`crate::event::text`].
//!
//! Invariant: a loop never waits for an output. When the queue is full the alert is dropped and counted.

pub mod alert;
pub mod channel;
pub mod internal;
pub mod json;
pub mod queue;
