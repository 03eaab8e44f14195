//! Where alerts go: standard output, the system log, a file, a program. And the one thread that writes them.
//!
//! A channel that fails says so once, and again when it works: alerts of the time between are lost for this channel
//! and counted.

use super::queue::{Message, Queue};
use crate::rules::Priority;
use crate::sensor::log::{self, Level};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Where the system log listens, and the number of its facility "user".
const SYSLOG: &str = "/dev/log";
const USER: u8 = 1;

/// One place alerts are written to.
#[derive(Debug)]
pub enum Channel {
    Stdout,
    /// Appended to; opened for every alert unless `keep_alive`.
    File {
        path: PathBuf,
        keep_alive: bool,
        open: Option<File>,
    },
    /// The system log, with the severity of the rule. Facility and form are those of the C library's default.
    Syslog {
        path: PathBuf,
        open: Option<UnixDatagram>,
    },
    /// A shell command that reads alerts; started for every alert unless `keep_alive`.
    Program {
        command: String,
        keep_alive: bool,
        running: Option<Child>,
    },
}

impl Channel {
    /// A file channel; tells now whether the file can be written.
    pub fn file(path: PathBuf, keep_alive: bool) -> io::Result<Channel> {
        let file = open_append(&path)?;
        Ok(Channel::File { path, keep_alive, open: keep_alive.then_some(file) })
    }

    /// The system log of this host; looked for with the first alert.
    pub fn syslog() -> Channel {
        Channel::Syslog { path: SYSLOG.into(), open: None }
    }

    /// A program channel; the command is started with the first alert.
    pub const fn program(command: String, keep_alive: bool) -> Channel {
        Channel::Program { command, keep_alive, running: None }
    }

    fn name(&self) -> String {
        match self {
            Channel::Stdout => "stdout".to_owned(),
            Channel::File { path, .. } => path.display().to_string(),
            Channel::Syslog { path, .. } => format!("the system log ({})", path.display()),
            Channel::Program { command, .. } => format!("the program '{command}'"),
        }
    }

    /// Lines with their ends, and the priority of each.
    fn write(&mut self, lines: &[u8], priorities: &[Priority]) -> io::Result<()> {
        match self {
            Channel::Syslog { path, open } => {
                for (line, priority) in lines.split_inclusive(|byte| *byte == b'\n').zip(priorities) {
                    let message = syslog_message(line.strip_suffix(b"\n").unwrap_or(line), *priority);
                    // The log may have been started anew: once more on a new socket.
                    if open.take_if(|socket| socket.send(&message).is_err()).is_some() || open.is_none() {
                        let socket = UnixDatagram::unbound()?;
                        socket.connect(&*path)?;
                        socket.send(&message)?;
                        *open = Some(socket);
                    }
                }
                Ok(())
            }
            Channel::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Channel::File { path, keep_alive: false, .. } => open_append(path)?.write_all(lines),
            Channel::File { path, open, .. } => {
                if open.is_none() {
                    *open = Some(open_append(path)?);
                }
                match open {
                    Some(file) => file.write_all(lines),
                    None => Ok(()),
                }
            }
            Channel::Program { command, keep_alive: false, .. } => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    let mut child = start(command)?;
                    let written = feed(&mut child, line);
                    end(child).and(written)?;
                }
                Ok(())
            }
            Channel::Program { command, running, .. } => {
                let child = match running {
                    Some(child) => child,
                    None => running.insert(start(command)?),
                };
                let written = feed(child, lines);
                if let (Err(_), Some(child)) = (&written, running.take_if(|_| written.is_err())) {
                    // It has ended by itself: how is worth more than that the pipe broke. The next alert starts it anew.
                    end(child)?;
                }
                written
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Channel::File { path, keep_alive: true, open } = self {
            *open = None;
            *open = Some(open_append(path)?);
        }
        self.end()
    }

    /// Lets a program that is kept running see the end of its input, and waits for it.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Channel::Program { running, .. } => running.take().map_or(Ok(()), end),
            _ => Ok(()),
        }
    }
}

fn syslog_message(line: &[u8], priority: Priority) -> Vec<u8> {
    let head = format!("<{}>falco-sensor[{}]: ", (USER << 3) | priority as u8, std::process::id());
    [head.as_bytes(), line].concat()
}

fn start(command: &str) -> io::Result<Child> {
    Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::piped()).spawn()
}

fn feed(child: &mut Child, lines: &[u8]) -> io::Result<()> {
    child.stdin.as_mut().map_or(Ok(()), |input| input.write_all(lines).and_then(|()| input.flush()))
}

fn end(mut child: Child) -> io::Result<()> {
    // Waiting closes its input first.
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn open_append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// What other threads may know of the output thread.
#[derive(Debug, Default)]
pub struct State {
    /// Milliseconds since the thread's start at which the write in progress began, plus 1; 0: none.
    busy_since: AtomicU64,
    /// Alerts that a channel could not take.
    failed: AtomicU64,
}

/// The output thread.
#[derive(Debug)]
pub struct Output {
    thread: JoinHandle<()>,
    state: Arc<State>,
    started: Instant,
}

/// Buffered output is written at this size, or after a second.
const BUFFER: usize = 64 * 1024;
const LONGEST_BUFFERED: Duration = Duration::from_secs(1);

impl Output {
    /// Starts writing what comes through `queue`.
    pub fn start(queue: Queue, channels: Vec<Channel>, buffered: bool) -> io::Result<Output> {
        let state = Arc::new(State::default());
        let started = Instant::now();
        let mut writer =
            Writer { channels: channels.into_iter().map(|c| (c, false)).collect(), state: state.clone(), started };
        let thread = thread::Builder::new().name("output".into()).spawn(move || writer.run(&queue, buffered))?;
        Ok(Output { thread, state, started })
    }

    /// How long the write in progress takes already.
    pub fn busy_for(&self) -> Option<Duration> {
        let since = self.state.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
        self.started.elapsed().checked_sub(Duration::from_millis(since))
    }

    /// Alerts that a channel could not take.
    pub fn failed(&self) -> u64 {
        self.state.failed.load(Ordering::Relaxed)
    }

    /// Whether the senders are gone and everything is written.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until everything is written; the senders must be gone. False when `patience` was not enough: the thread is
    /// left alone then.
    pub fn finish(self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while !self.thread.is_finished() {
            if Instant::now() >= end {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.thread.join().is_ok()
    }
}

struct Writer {
    /// With "has failed".
    channels: Vec<(Channel, bool)>,
    state: Arc<State>,
    started: Instant,
}

impl Writer {
    fn run(&mut self, queue: &Queue, buffered: bool) {
        let (mut lines, mut priorities) = (Vec::new(), Vec::new());
        loop {
            let message = queue.next(LONGEST_BUFFERED);
            let ended = message == Err(RecvTimeoutError::Disconnected);
            if let Ok(Message::Alert { line, priority }) = &message {
                lines.extend_from_slice(line);
                lines.push(b'\n');
                priorities.push(*priority);
            }
            let waits = buffered && message.is_ok() && lines.len() < BUFFER;
            if !lines.is_empty() && !waits {
                self.write(&lines, &priorities);
                lines.clear();
                priorities.clear();
            }
            if message == Ok(Message::Reopen) {
                self.reopen();
            }
            if ended {
                self.end();
                return;
            }
        }
    }

    fn end(&mut self) {
        for (channel, _) in &mut self.channels {
            if let Err(error) = channel.end() {
                log::write(Level::Error, format_args!("output to {} failed: {error}", channel.name()));
            }
        }
    }

    fn write(&mut self, lines: &[u8], priorities: &[Priority]) {
        for (channel, has_failed) in &mut self.channels {
            self.state.busy_since.store(self.started.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
            let result = channel.write(lines, priorities);
            self.state.busy_since.store(0, Ordering::Relaxed);
            match result {
                Ok(()) if !*has_failed => {}
                Ok(()) => log::write(Level::Notice, format_args!("output to {} works again", channel.name())),
                Err(ref error) => {
                    self.state.failed.fetch_add(priorities.len() as u64, Ordering::Relaxed);
                    if !*has_failed {
                        log::write(Level::Error, format_args!("output to {} failed: {error}", channel.name()));
                    }
                }
            }
            *has_failed = result.is_err();
        }
    }

    fn reopen(&mut self) {
        for (channel, _) in &mut self.channels {
            if let Err(error) = channel.reopen() {
                log::write(Level::Error, format_args!("{} cannot be opened again: {error}", channel.name()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue;
    use super::*;
    use std::fs;

    #[test]
    fn a_file_gets_every_line_and_is_reopened() {
        for keep_alive in [true, false] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let path = folder.path().join("events.txt");
            let (sender, queue) = queue::bounded(10);
            let channel = Channel::file(path.clone(), keep_alive).expect("writable");
            let output = Output::start(queue, vec![channel], false).expect("starts");
            assert!(sender.alert(b"one", Priority::Notice));
            while fs::read(&path).expect("there").is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
            fs::rename(&path, folder.path().join("old")).expect("renamed");
            assert!(sender.reopen());
            while keep_alive && !path.exists() {
                thread::sleep(Duration::from_millis(1));
            }
            assert!(sender.alert(b"two", Priority::Notice) && sender.alert(b"three", Priority::Notice));
            drop(sender);
            assert!(output.finish(Duration::from_secs(10)));
            assert_eq!(fs::read_to_string(folder.path().join("old")).expect("there"), "one\n");
            assert_eq!(fs::read_to_string(&path).expect("there"), "two\nthree\n");
        }
    }

    #[test]
    fn the_system_log_gets_severities_and_is_found_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let mut channel = Channel::Syslog { path: path.clone(), open: None };
        assert!(channel.write(b"lost\n", &[Priority::Error]).is_err(), "nobody listens");
        for _ in 0..2 {
            let log = UnixDatagram::bind(&path).expect("binds");
            channel.write(b"one\ntwo\n", &[Priority::Critical, Priority::Debug]).expect("written");
            for (severity, text) in [(2, "one"), (7, "two")] {
                let mut message = [0; 100];
                let len = log.recv(&mut message).expect("a message");
                let expected = format!("<{}>falco-sensor[{}]: {text}", 8 + severity, std::process::id());
                assert_eq!(String::from_utf8_lossy(&message[..len]), expected);
            }
            fs::remove_file(&path).expect("there");
        }
    }

    #[test]
    fn a_program_gets_every_line() {
        for (keep_alive, starts) in [(true, 1), (false, 3)] {
            let folder = tempfile::tempdir().expect("temporary folder");
            let (out, log) = (folder.path().join("out"), folder.path().join("starts"));
            let command = format!("echo started >> {}; cat >> {}", log.display(), out.display());
            let (sender, queue) = queue::bounded(10);
            let output = Output::start(queue, vec![Channel::program(command, keep_alive)], true).expect("starts");
            assert!(
                sender.alert(b"one", Priority::Notice)
                    && sender.alert(b"two \"x\"", Priority::Notice)
                    && sender.alert(b"three", Priority::Notice)
            );
            drop(sender);
            assert!(output.finish(Duration::from_secs(10)));
            assert_eq!(fs::read_to_string(&out).expect("written"), "one\ntwo \"x\"\nthree\n");
            assert_eq!(fs::read_to_string(&log).expect("written").lines().count(), starts);
        }
    }

    #[test]
    fn a_program_that_fails_is_counted_and_started_again() {
        let (sender, queue) = queue::bounded(10);
        let output = Output::start(queue, vec![Channel::program("exit 3".to_owned(), false)], false).expect("starts");
        assert!(sender.alert(b"one", Priority::Notice) && sender.alert(b"two", Priority::Notice));
        let state = output.state.clone();
        drop(sender);
        assert!(output.finish(Duration::from_secs(10)));
        assert_eq!(state.failed.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let (sender, queue) = queue::bounded(10);
        let channel = Channel::file("/dev/full".into(), true).expect("opens");
        let output = Output::start(queue, vec![channel], true).expect("starts");
        assert!(sender.alert(b"one", Priority::Notice) && sender.alert(b"two", Priority::Notice));
        let state = output.state.clone();
        drop(sender);
        assert!(output.finish(Duration::from_secs(10)));
        assert_eq!(state.failed.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_refused_at_once() {
        assert!(Channel::file("/nonexistent/events.txt".into(), false).is_err());
    }
}
