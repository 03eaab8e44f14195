//! Signals as values: blocked in every thread, taken by the one that waits for them.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The signals this program reacts to, blocked. Make it before any other thread starts.
pub struct Signals {
    signals: SignalFd,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    Signal(Signal),
    /// The descriptor that was waited for as well.
    Readable,
    Timeout,
}

impl Signals {
    pub fn block() -> io::Result<Signals> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect();
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { signals })
    }

    /// The next signal, or None when `timeout` passes without one.
    pub fn wait(&self, timeout: Duration) -> Option<Signal> {
        match self.wait_with(timeout, None) {
            Woken::Signal(signal) => Some(signal),
            Woken::Readable | Woken::Timeout => None,
        }
    }

    /// Waits for the next signal, or until `other` can be read.
    pub fn wait_with(&self, timeout: Duration, other: Option<BorrowedFd<'_>>) -> Woken {
        // Not shorter than asked, or the caller would ask again and again.
        let timeout = timeout + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(other.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // An error is an interruption: the caller has to look at the time in any case.
        let _ = poll(&mut fds, timeout);
        if let Ok(Some(signal)) = self.signals.read_signal()
            && let Ok(signal) = Signal::try_from(signal.ssi_signo as i32)
        {
            return Woken::Signal(signal);
        }
        if fds.get(1).is_some_and(|fd| fd.any() == Some(true)) { Woken::Readable } else { Woken::Timeout }
    }
}
