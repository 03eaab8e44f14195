//! One CPU's loop: drain the ring, sleep until the module has more.
//!
//! It knows nothing of what records mean; a [`Handler`] does. Invariant: it sleeps only on an empty ring and after
//! telling the module so, and the ring is empty when it returns.

use crate::driver::abi::FSN_SLOTS;
use crate::driver::ring::{Damage, Memory, Record, Ring};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What is done with the records of one ring. Called from its loop's thread only.
pub trait Handler {
    /// A record, valid during the call.
    fn record(&mut self, record: Record<'_>);
    /// The ring held something that cannot be; records were skipped and everything will be sent again.
    fn damage(&mut self, damage: Damage);
    /// The ring is empty for now.
    fn idle(&mut self);
    /// What the last record taught of a slot's interests, to be told to the module.
    fn interest(&mut self) -> Option<Wanted> {
        None
    }
    /// Whether all interests told so far may be wrong; asked once per draining.
    fn forgets_interest(&mut self) -> bool {
        false
    }
    /// Whether the module is to forget what it sent, so that everything comes again; asked once per draining.
    fn wants_reset(&mut self) -> bool {
        false
    }
}

/// The classes of events that are wanted of the task in a slot, for one generation of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub slot: u16,
    pub generation: u32,
    pub mask: u64,
}

const RING: Token = Token(0);
const WAKE: Token = Token(1);

/// Sleep at most this long: a backstop, not the way records are noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// What another thread needs to end a loop.
pub struct Stop {
    flag: Arc<AtomicBool>,
    waker: Waker,
}

impl Stop {
    /// Ends the loop after it has drained what is in the ring now.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        // Cannot fail but for a full eventfd counter, and then the loop is being woken already.
        let _ = self.waker.wake();
    }
}

/// A loop that is ready to run.
pub struct CpuLoop<M> {
    ring: Ring<M>,
    poll: Poll,
    flag: Arc<AtomicBool>,
}

impl<M: Memory + AsRawFd> CpuLoop<M> {
    pub fn new(ring: Ring<M>) -> io::Result<(CpuLoop<M>, Stop)> {
        let poll = Poll::new()?;
        // Edge-triggered: the module's wake-up is the edge, and the ring is drained after each one.
        poll.registry().register(&mut SourceFd(&ring.memory().as_raw_fd()), RING, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let flag = Arc::new(AtomicBool::new(false));
        Ok((CpuLoop { ring, poll, flag: flag.clone() }, Stop { flag, waker }))
    }

    /// Runs until stopped.
    pub fn run(mut self, handler: &mut impl Handler) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        loop {
            let stopping = self.flag.load(Ordering::Acquire);
            self.drain(handler);
            handler.idle();
            if stopping {
                return Ok(());
            }
            if !self.ring.prepare_sleep() {
                continue;
            }
            match self.poll.poll(&mut events, Some(LONGEST_SLEEP)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.ring.woken(),
            }
        }
    }

    fn drain(&mut self, handler: &mut impl Handler) {
        loop {
            match self.ring.next_record() {
                Ok(Some(record)) => {
                    handler.record(record);
                    if let Some(Wanted { slot, generation, mask }) = handler.interest() {
                        self.ring.set_interest(slot, generation, mask);
                    }
                }
                Ok(None) => break,
                Err(damage) => handler.damage(damage),
            }
        }
        self.ring.release();
        if handler.forgets_interest() {
            // No slot ever has generation 0.
            (0..FSN_SLOTS as u16).for_each(|slot| self.ring.set_interest(slot, 0, 0));
        }
        if handler.wants_reset() {
            self.ring.request_reset();
        }
    }
}
