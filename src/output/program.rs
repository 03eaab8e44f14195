//! A shell command that reads alerts. Another thread can end it when it neither reads nor ends ([`Leash`]).

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct Program {
    pub command: String,
    /// It is started once, not for every alert.
    pub keep_alive: bool,
    running: Option<Child>,
    leash: Arc<Leash>,
}

/// What ends a program from outside. Invariant: the number in it is that of a child that nobody has waited for.
#[derive(Debug, Default)]
pub struct Leash(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    running: Option<Pid>,
    given_up: bool,
}

impl Leash {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Both words are right after every step of whoever holds it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills what runs; nothing is started any more.
    pub fn give_up(&self) {
        let mut held = self.held();
        held.given_up = true;
        if let Some(leader) = held.running {
            // It is there, if only to be waited for; what it has started may be gone.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

impl Program {
    /// The command is started with the first alert.
    pub fn new(command: String, keep_alive: bool) -> Program {
        Program { command, keep_alive, running: None, leash: Arc::default() }
    }

    pub fn leash(&self) -> Arc<Leash> {
        self.leash.clone()
    }

    /// Hands over lines.
    pub fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let child = match &mut self.running {
            Some(child) => child,
            none => none.insert(start(&self.command, &self.leash)?),
        };
        let input = child.stdin.as_mut();
        let written = input.map_or(Ok(()), |input| input.write_all(lines).and_then(|()| input.flush()));
        if self.keep_alive && written.is_ok() {
            return written;
        }
        // When one that is kept has ended by itself, how is worth more than that the pipe broke. The next alert starts it anew.
        self.end().and(written)
    }

    /// Lets it see the end of its input, and waits for it.
    pub fn end(&mut self) -> io::Result<()> {
        let Some(mut child) = self.running.take() else { return Ok(()) };
        drop(child.stdin.take());
        let id = Pid::from_raw(child.id().cast_signed());
        while waitid(Id::Pid(id), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        let status = {
            let mut held = self.leash.held();
            held.running = None;
            child.wait()?
        };
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
    }
}

/// In a group of its own, so that all of it can be killed.
fn start(command: &str, leash: &Leash) -> io::Result<Child> {
    let mut held = leash.held();
    if held.given_up {
        return Err(io::Error::other("it was given up"));
    }
    let child = Command::new("/bin/sh").arg("-c").arg(command).stdin(Stdio::piped()).process_group(0).spawn()?;
    held.running = Some(Pid::from_raw(child.id().cast_signed()));
    Ok(child)
}
