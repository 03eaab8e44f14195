//! One CPU's loop: drain the ring, sleep until the module has more.
//!
//! It knows nothing of what records mean; a [`Handler`] does. Other threads ask things of the handler through a [`Remote`]:
//! the loop looks for them between portions of records, never per record. Invariant: it sleeps only on an empty ring and
//! after telling the module so, and the ring is empty when it returns.

use crate::driver::abi::FSN_SLOTS;
use crate::driver::ring::{Damage, Memory, Record, Ring};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// What is done with the records of one ring. Called from its loop's thread only.
pub trait Handler {
    /// What other threads may ask of it.
    type Order: Send + 'static;
    /// Somebody asks for something, between two records.
    fn order(&mut self, order: Self::Order);
    /// A record, valid during the call.
    fn record(&mut self, record: Record<'_>);
    /// The ring held something that cannot be; records were skipped and everything will be sent again.
    fn damage(&mut self, damage: Damage);
    /// The ring is empty for now.
    fn idle(&mut self);
    /// A portion of records is done with; more may follow at once.
    fn between(&mut self) {}
    /// The loop has slept: what others found out meanwhile holds for the records that come now.
    fn woken(&mut self) {}
    /// What the last record taught of a slot's interests, to be told to the module.
    fn interest(&mut self) -> Option<Wanted> {
        None
    }
    /// Whether all interests told so far may be wrong; asked once per portion.
    fn forgets_interest(&mut self) -> bool {
        false
    }
    /// Whether the module is to forget what it sent, so that everything comes again; asked once per portion.
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

/// Records between two looks at what other threads ask.
const PORTION: usize = 1024;

/// An order, and the end of a channel that is dropped once it has been obeyed.
type Asked<O> = (O, Sender<()>);

/// What another thread needs to steer a loop.
pub struct Remote<O> {
    flag: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    orders: Sender<Asked<O>>,
    waker: Waker,
}

impl<O> Remote<O> {
    /// Ends the loop after it has drained what is in the ring now.
    pub fn stop(&self) {
        self.flag.store(true, Ordering::Release);
        self.wake();
    }

    /// How often the loop has gone round: at least once a second as long as it runs.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Gives an order. `obeyed` is dropped when the loop has carried it out and the module was told what follows from it, or
    /// when the loop has ended.
    pub fn tell(&self, order: O, obeyed: Sender<()>) {
        if self.orders.send((order, obeyed)).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        // Cannot fail but for a full eventfd counter, and then the loop is being woken already.
        let _ = self.waker.wake();
    }
}

/// A loop that is ready to run.
pub struct CpuLoop<M, O> {
    ring: Ring<M>,
    poll: Poll,
    flag: Arc<AtomicBool>,
    /// Written by this loop only.
    rounds: Arc<AtomicU64>,
    orders: Receiver<Asked<O>>,
}

impl<M: Memory + AsRawFd, O> CpuLoop<M, O> {
    pub fn new(ring: Ring<M>) -> io::Result<(CpuLoop<M, O>, Remote<O>)> {
        let poll = Poll::new()?;
        // Edge-triggered: the module's wake-up is the edge, and the ring is drained after each one.
        poll.registry().register(&mut SourceFd(&ring.memory().as_raw_fd()), RING, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let flag = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (sender, orders) = mpsc::channel();
        let remote = Remote { flag: flag.clone(), rounds: rounds.clone(), orders: sender, waker };
        Ok((CpuLoop { ring, poll, flag, rounds, orders }, remote))
    }

    /// Runs until stopped.
    pub fn run(mut self, handler: &mut impl Handler<Order = O>) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        loop {
            let stopping = self.flag.load(Ordering::Acquire);
            while self.portion(handler) {
                self.between(handler);
            }
            self.between(handler);
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
            handler.woken();
        }
    }

    /// Reads records; false once the ring is empty.
    fn portion(&mut self, handler: &mut impl Handler<Order = O>) -> bool {
        for _ in 0..PORTION {
            match self.ring.next_record() {
                Ok(Some(record)) => {
                    handler.record(record);
                    if let Some(Wanted { slot, generation, mask }) = handler.interest() {
                        self.ring.set_interest(slot, generation, mask);
                    }
                }
                Ok(None) => return false,
                Err(damage) => handler.damage(damage),
            }
        }
        true
    }

    fn between(&mut self, handler: &mut impl Handler<Order = O>) {
        self.ring.release();
        self.rounds.store(self.rounds.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        handler.between();
        while let Ok((order, obeyed)) = self.orders.try_recv() {
            handler.order(order);
            self.settle(handler);
            drop(obeyed);
        }
        self.settle(handler);
    }

    /// Tells the module what the handler wants it to forget.
    fn settle(&mut self, handler: &mut impl Handler<Order = O>) {
        if handler.forgets_interest() {
            // No slot ever has generation 0; whoever has just seen the one before it finds a mask that hides nothing.
            (0..FSN_SLOTS as u16).for_each(|slot| self.ring.set_interest(slot, 0, u64::MAX));
        }
        if handler.wants_reset() {
            self.ring.request_reset();
        }
    }
}
