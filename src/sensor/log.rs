//! The sensor's own log: one line per message on standard error.
//!
//! Not on the path of events: loops log only what cannot happen in a sound system.

use super::config::keys::LOG_LEVELS;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Severity, most severe first; the order of [`LOG_LEVELS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static TO_STDERR: AtomicBool = AtomicBool::new(true);

/// Says what is logged from now on. `level` is an index into [`LOG_LEVELS`].
pub fn configure(level: usize, stderr: bool) {
    LEVEL.store(level.min(LOG_LEVELS.len() - 1) as u8, Ordering::Relaxed);
    TO_STDERR.store(stderr, Ordering::Relaxed);
}

/// Logs a message.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if level as u8 > LEVEL.load(Ordering::Relaxed) || !TO_STDERR.load(Ordering::Relaxed) {
        return;
    }
    // Standard error may be gone; there is no one left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}: {}: {message}", now(), LOG_LEVELS[level as usize]);
}

/// Says that every ring is attached and the capture runs: whatever the level, because tests and service managers wait
/// for it.
pub fn ready(cpus: usize) {
    let _ = writeln!(std::io::stderr().lock(), "ready: watching {cpus} CPUs");
}

/// UTC, to the second.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let arena = bumpalo::Bump::new();
    let text =
        crate::event::clock::format_time(since.as_nanos() as u64, 0, crate::event::clock::Form::Iso8601, false, &arena);
    String::from_utf8_lossy(text).into_owned()
}
