//! The sensor's own log: one line per message on standard error, and a message to the system log.
//!
//! Where standard error is the journal a line carries its severity in the journal's way (sd-daemon(3)) and no time, which the journal
//! has itself; nothing goes to the system log then, which the journal is as well.
//!
//! Not on the path of events: loops log only what cannot happen in a sound system.

use super::config::keys::LOG_LEVELS;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
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
static TO_SYSLOG: AtomicBool = AtomicBool::new(false);

/// Where the system log listens, and the number of its facility "user".
pub const SYSLOG: &str = "/dev/log";
const USER: u8 = 1;

/// Says what is logged from now on. `level` is an index into [`LOG_LEVELS`].
pub fn configure(level: usize, stderr: bool, syslog: bool) {
    LEVEL.store(level.min(LOG_LEVELS.len() - 1) as u8, Ordering::Relaxed);
    TO_STDERR.store(stderr, Ordering::Relaxed);
    TO_SYSLOG.store(syslog, Ordering::Relaxed);
}

/// Logs a message.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if level as u8 > LEVEL.load(Ordering::Relaxed) {
        return;
    }
    if TO_SYSLOG.load(Ordering::Relaxed) && !(TO_STDERR.load(Ordering::Relaxed) && to_journal()) {
        // Without a system log there is standard error, if that is wanted.
        let _ = send_to_syslog(Path::new(SYSLOG), level, &message.to_string());
    }
    if !TO_STDERR.load(Ordering::Relaxed) {
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

/// A message as the C library's default writes it: facility "user", the program's name and process.
pub fn syslog_message(severity: u8, text: &[u8]) -> Vec<u8> {
    let head = format!("<{}>falco-sensor[{}]: ", (USER << 3) | severity, std::process::id());
    [head.as_bytes(), text].concat()
}

/// Sends a message if that goes at once: nobody waits for the system log.
fn send_to_syslog(path: &Path, level: Level, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(&syslog_message(level as u8, message.as_bytes()), path).map(drop)
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
    fn the_system_log_gets_facility_severity_and_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        assert!(send_to_syslog(&path, Level::Notice, "lost").is_err(), "nobody listens");
        let log = UnixDatagram::bind(&path).expect("binds");
        send_to_syslog(&path, Level::Warning, "text").expect("sent");
        let mut message = [0; 100];
        let len = log.recv(&mut message).expect("a message");
        assert_eq!(String::from_utf8_lossy(&message[..len]), format!("<12>falco-sensor[{}]: text", std::process::id()));
    }

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert!(is_stream("9:4711", 9, 4711));
        assert!(!is_stream("9:4711", 9, 4712) && !is_stream("8:4711", 9, 4711));
        assert!(!is_stream("", 0, 0) && !is_stream("9", 9, 0) && !is_stream("9:x", 9, 0));
    }
}
