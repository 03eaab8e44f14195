//! Signals as values: blocked in every thread, taken by the one that waits for them.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The signals this program reacts to, blocked. Make it before any other thread starts.
pub struct Signals {
    signals: SignalFd,
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
        // Not shorter than asked, or the caller would ask again and again.
        let timeout = timeout + Duration::from_micros(999);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        // An error is an interruption: the caller has to look at the time in any case.
        let _ = poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout);
        let signal = self.signals.read_signal().ok()??;
        Signal::try_from(signal.ssi_signo as i32).ok()
    }
}
