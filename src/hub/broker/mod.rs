//! Reaching brokers: what an output that puts alerts into one and an input that takes them out have in common.
//!
//! For each its keys and how a connection is made. Not here: messages, and when to try again.

pub mod kafka;
pub mod nats;
pub mod rabbitmq;
pub mod redis;
