//! The table of brokers that alerts are taken from, and what a row of it does.
//!
//! From the rows come the keys of `inputs`, `falco-hub inputs` and docs/hub-inputs.md. To add one: write `input/NAME.rs` with a
//! `pub const KIND`, and add it to the list. Invariant: a broker says only what it has and what it was told; what is kept and when
//! to try again is decided in [`worker`](super::worker) alone.

use super::{kafka, nats, rabbitmq, redis};
use crate::hub::config::Section;
use crate::hub::config::keys::Key;
use crate::hub::spool::Position;
use crate::hub::tls::Tls;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Every kind of input.
pub const KINDS: &[&Kind] = &[&kafka::KIND, &nats::KIND, &rabbitmq::KIND, &redis::KIND];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name.eq_ignore_ascii_case(name))
}

pub struct Kind {
    /// What it is called in the configuration and on the command line.
    pub name: &'static str,
    /// What it is called in messages.
    pub label: &'static str,
    /// One sentence: what is read, and when the broker may forget it.
    pub meaning: &'static str,
    /// The keys that must be set.
    pub required: &'static [&'static str],
    pub keys: &'static [&'static [Key]],
    pub make: fn(&Context) -> Result<Box<dyn Take>, String>,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What an input is made from.
pub struct Context<'c> {
    /// Of the input.
    pub name: &'c str,
    pub settings: &'c Section,
    /// Keys that belong to no input.
    pub core: &'c Section,
    pub tls: &'c Arc<Tls>,
}

/// Messages taken at a time, about: what came together is not taken apart.
pub const MESSAGES: usize = 512;
/// Bytes at a time, where the broker lets itself be told.
pub const BYTES: usize = 4 << 20;
/// How long a first message is waited for.
pub const WAIT: Duration = Duration::from_secs(1);

/// What was taken at once.
#[derive(Debug, Default)]
pub struct Taken {
    pub bodies: Vec<Vec<u8>>,
    /// Where the input is with that, for a broker that does not remember it.
    pub positions: Vec<Position>,
}

impl Taken {
    /// Whether that is as much as is taken at once.
    pub fn full(&self, bytes: usize) -> bool {
        self.bodies.len() >= MESSAGES || bytes >= BYTES
    }
}

/// A broker that messages are taken from, one after the other: connect, then take and settle in turn.
#[async_trait::async_trait]
pub trait Take: Send {
    /// Connects, anew where it was connected. `positions`: where the input is, by place.
    async fn connect(&mut self, positions: &BTreeMap<String, i64>) -> Result<(), String>;

    /// Takes what there is. Waits for a first message no longer than [`WAIT`]; nothing is no failure.
    async fn take(&mut self) -> Result<Taken, String>;

    /// What was taken last is on disk or no alert: the broker may forget it.
    async fn settle(&mut self) -> Result<(), String>;

    /// Gives back what was taken and not settled, as well as that can be done, and disconnects. The broker gives it to somebody
    /// again in any case, but perhaps later.
    async fn leave(&mut self);
}
