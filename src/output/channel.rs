//! Where alerts go: standard output, the system log, a file, a program, a web server, a log server.
//!
//! A channel is written by one thread of its own ([`super::threads`]) and may take its time. After an error the next alert begins anew:
//! what was open is opened again.

use super::http::Http;
use super::program::{Leash, Program};
use super::syslog::Syslog;
use crate::rules::Priority;
use crate::sensor::log::{SYSLOG, syslog_message};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One place alerts are written to.
#[derive(Debug)]
pub enum Channel {
    Stdout,
    /// Appended to; opened for every alert unless `keep_alive`.
    File {
        path: PathBuf,
        keep_alive: bool,
        open: Option<File>,
        /// The last line was not written to its end.
        torn: bool,
    },
    /// The system log, with the severity of the rule. Facility and form are those of the C library's default.
    Syslog {
        path: PathBuf,
        open: Option<UnixDatagram>,
    },
    Program(Program),
    /// A syslog server somewhere else.
    RemoteSyslog(Box<Syslog>),
    /// A web server that gets a POST for every alert.
    Http(Box<Http>),
}

/// What a channel did not take.
#[derive(Debug)]
pub struct Failure {
    pub error: io::Error,
    /// Alerts that were not written, or not to their end.
    pub lost: usize,
}

impl Channel {
    /// A file channel; tells now whether the file can be written. A FIFO that nobody reads yet is looked at again with every alert.
    pub fn file(path: PathBuf, keep_alive: bool) -> io::Result<Channel> {
        let open = match open_append(&path) {
            Ok(file) => keep_alive.then_some(file),
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => None,
            Err(error) => return Err(error),
        };
        Ok(Channel::File { path, keep_alive, open, torn: false })
    }

    /// The system log of this host; looked for with the first alert.
    pub fn syslog() -> Channel {
        Channel::Syslog { path: SYSLOG.into(), open: None }
    }

    /// A program channel; the command is started with the first alert.
    pub fn program(command: String, keep_alive: bool) -> Channel {
        Channel::Program(Program::new(command, keep_alive))
    }

    /// What ends a program that is stuck.
    pub fn leash(&self) -> Option<Arc<Leash>> {
        match self {
            Channel::Program(program) => Some(program.leash()),
            _ => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Channel::Stdout => "stdout".to_owned(),
            Channel::File { path, .. } => path.display().to_string(),
            Channel::Syslog { path, .. } => format!("the system log ({})", path.display()),
            Channel::Program(program) => format!("the program '{}'", program.command),
            Channel::RemoteSyslog(syslog) => syslog.name(),
            Channel::Http(http) => http.url().to_owned(),
        }
    }

    /// Whether several alerts can be written at once; the others are a message each.
    pub const fn is_stream(&self) -> bool {
        matches!(self, Channel::Stdout | Channel::File { .. } | Channel::Program(Program { keep_alive: true, .. }))
    }

    /// Lines with their ends, and the priority of each; one only where the channel is no stream.
    pub fn write(&mut self, lines: &[u8], priorities: &[Priority]) -> Result<(), Failure> {
        let all = |error| Failure { error, lost: priorities.len() };
        match self {
            Channel::Syslog { path, open } => {
                let priority = priorities.first().copied().unwrap_or(Priority::Debug);
                send(path, open, &syslog_message(priority as u8, without_end(lines))).map_err(all)
            }
            Channel::RemoteSyslog(syslog) => {
                let priority = priorities.first().copied().unwrap_or(Priority::Debug);
                syslog.send(without_end(lines), priority).map_err(all)
            }
            Channel::Stdout => {
                let mut out = io::stdout().lock();
                write_lines(&mut out, lines, &mut false)?;
                out.flush().map_err(all)
            }
            Channel::File { path, keep_alive, open, torn } => {
                let mut file = match open.take() {
                    Some(file) => file,
                    None => open_append(path).map_err(all)?,
                };
                write_lines(&mut file, lines, torn)?;
                *open = keep_alive.then_some(file);
                Ok(())
            }
            Channel::Program(program) => program.write(lines).map_err(all),
            Channel::Http(http) => http.post(without_end(lines)).map_err(all),
        }
    }

    /// Closes and opens what has a name.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Channel::File { path, keep_alive: true, open, .. } = self {
            *open = None;
            *open = Some(open_append(path)?);
        }
        self.end()
    }

    /// Lets a program that is kept running see the end of its input, and waits for it.
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Channel::Program(program) => program.end(),
            _ => Ok(()),
        }
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Writes lines and says how many were not written. A line that was torn is ended before the next one begins.
fn write_lines(out: &mut impl Write, lines: &[u8], torn: &mut bool) -> Result<(), Failure> {
    let count = |lines: &[u8]| memchr::memchr_iter(b'\n', lines).count();
    if *torn {
        out.write_all(b"\n").map_err(|error| Failure { error, lost: count(lines) })?;
        *torn = false;
    }
    let mut rest = lines;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(Failure { error: io::ErrorKind::WriteZero.into(), lost: count(rest) }),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                *torn = rest.len() < lines.len() && !lines[..lines.len() - rest.len()].ends_with(b"\n");
                return Err(Failure { error, lost: count(rest) });
            }
        }
    }
    Ok(())
}

/// Sends a message to the system log. That may have been started anew: then once more on a new socket.
fn send(path: &Path, open: &mut Option<UnixDatagram>, message: &[u8]) -> io::Result<()> {
    if open.take_if(|socket| socket.send(message).is_err()).is_some() || open.is_none() {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.send(message)?;
        *open = Some(socket);
    }
    Ok(())
}

/// Opens for appending; a FIFO without a reader is an error (ENXIO), not a wait for one.
fn open_append(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
    fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_system_log_gets_severities_and_is_found_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let mut channel = Channel::Syslog { path: path.clone(), open: None };
        assert!(channel.write(b"lost\n", &[Priority::Error]).is_err(), "nobody listens");
        for _ in 0..2 {
            let log = UnixDatagram::bind(&path).expect("binds");
            for (severity, priority) in [(2, Priority::Critical), (7, Priority::Debug)] {
                channel.write(b"text\n", &[priority]).expect("written");
                let mut message = [0; 100];
                let len = log.recv(&mut message).expect("a message");
                let expected = format!("<{}>falco-sensor[{}]: text", 8 + severity, std::process::id());
                assert_eq!(String::from_utf8_lossy(&message[..len]), expected);
            }
            fs::remove_file(&path).expect("there");
        }
    }

    /// Takes so many bytes and then none, until `room` is given.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn of_a_full_disk_what_is_lost_is_counted_and_a_torn_line_ended() {
        for (room, lost, then) in [
            (0, 3, "next\n"),
            (4, 2, "one\nnext\n"),
            (6, 2, "one\ntw\nnext\n"),
            (8, 1, "one\ntwo\nnext\n"),
            (13, 1, "one\ntwo\nthree\nnext\n"),
        ] {
            let (mut disk, mut torn) = (Disk { room, written: Vec::new() }, false);
            let failure = write_lines(&mut disk, b"one\ntwo\nthree\n", &mut torn).expect_err("full");
            assert_eq!(failure.lost, lost, "{room}");
            disk.room = 100;
            write_lines(&mut disk, b"next\n", &mut torn).expect("there is room");
            assert_eq!(String::from_utf8_lossy(&disk.written), then, "{room}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_refused_at_once() {
        assert!(Channel::file("/nonexistent/events.txt".into(), false).is_err());
    }

    #[test]
    fn a_fifo_without_reader_is_an_error_for_each_alert_and_works_when_there_is_one() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        for keep_alive in [true, false] {
            let mut channel = Channel::file(path.clone(), keep_alive).expect("is no reason not to start");
            assert_eq!(channel.write(b"one\n", &[Priority::Error]).expect_err("nobody reads").lost, 1);
            let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).expect("opens");
            channel.write(b"two\n", &[Priority::Error]).expect("read");
            let mut text = [0; 10];
            assert_eq!(nix::unistd::read(&reader, &mut text), Ok(4));
            drop(reader);
            assert!(channel.write(b"three\n", &[Priority::Error]).is_err(), "the reader is gone");
            let _reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).expect("opens");
            channel.write(b"four\n", &[Priority::Error]).expect("there is another one");
        }
    }
}
