//! Signals as values: blocked in every thread, taken by the one that waits for them.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use std::io;
use std::time::Duration;

/// The signals this program reacts to, blocked. Make it before any other thread starts.
pub struct Signals {
    set: SigSet,
}

impl Signals {
    pub fn block() -> io::Result<Signals> {
        let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
        Ok(Signals { set })
    }

    /// The next signal, or None when `timeout` passes without one.
    pub fn wait(&self, timeout: Duration) -> Option<Signal> {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: both pointers are to live values, the info is not asked for.
        let number = unsafe { libc::sigtimedwait(self.set.as_ref(), std::ptr::null_mut(), &timeout) };
        Signal::try_from(number).ok()
    }
}
