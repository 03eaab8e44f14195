//! The sensor's own log: one line per message on standard error.
//!
//! Where that is the journal a line carries its severity in the journal's way (sd-daemon(3)) and no time, which the journal has itself.
//!
//! Not on the path of events: loops log only what cannot happen in a sound system.

use super::config::keys::LOG_LEVELS;
use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
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
    let text = if to_journal() {
        journal_lines(level, &message.to_string())
    } else {
        format!("{}: {}: {message}\n", now(), LOG_LEVELS[level as usize])
    };
    // Standard error may be gone; there is no one left to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// True when standard error is the stream to the journal that systemd has named: the variable alone may be an ancestor's.
fn to_journal() -> bool {
    static TO_JOURNAL: OnceLock<bool> = OnceLock::new();
    *TO_JOURNAL.get_or_init(|| {
        let stream = nix::sys::stat::fstat(std::io::stderr());
        std::env::var("JOURNAL_STREAM").is_ok_and(|name| stream.is_ok_and(|s| is_stream(&name, s.st_dev, s.st_ino)))
    })
}

/// Whether `DEVICE:INODE` names a file.
fn is_stream(name: &str, device: u64, inode: u64) -> bool {
    name.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(device) && ino.parse() == Ok(inode))
}

/// Every line is an entry of its own there, and each needs the severity.
fn journal_lines(level: Level, message: &str) -> String {
    message.lines().map(|line| format!("<{}>{line}\n", level as u8)).collect()
}

/// Says why the program ends, whatever the level and wherever else the log goes.
pub fn failure(message: &str) {
    let text = if to_journal() { journal_lines(Level::Error, message) } else { format!("falco-sensor: {message}\n") };
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Says that every ring is attached and the capture runs: whatever the level, because tests and service managers wait
/// for it.
pub fn ready(cpus: usize) {
    let priority = if to_journal() { "<6>" } else { "" };
    let _ = writeln!(std::io::stderr().lock(), "{priority}ready: watching {cpus} CPUs");
}

/// UTC, to the second.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let arena = bumpalo::Bump::new();
    let text =
        crate::event::clock::format_time(since.as_nanos() as u64, 0, crate::event::clock::Form::Iso8601, false, &arena);
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_the_severity_of_every_line() {
        assert_eq!(journal_lines(Level::Error, "first\nsecond"), "<3>first\n<3>second\n");
        assert_eq!(journal_lines(Level::Debug, "one"), "<7>one\n");
    }

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert!(is_stream("9:4711", 9, 4711));
        assert!(!is_stream("9:4711", 9, 4712) && !is_stream("8:4711", 9, 4711));
        assert!(!is_stream("", 0, 0) && !is_stream("9", 9, 0) && !is_stream("9:x", 9, 0));
    }
}
