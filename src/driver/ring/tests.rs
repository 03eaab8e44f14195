//! The reader against a ring in ordinary memory, honest and hostile.

use super::*;
use crate::driver::abi::{FSN_REC_EVENT, FSN_SLOT_NONE};
use crate::driver::dump::Line;
use proptest::prelude::*;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Memory laid out like the module's, filled by the test. The second copy of the data is written with the first.
pub(crate) struct Fake {
    consumer: NonNull<fsn_consumer>,
    producer: NonNull<fsn_producer>,
    data: NonNull<u8>,
    size: u32,
}

fn zeroed<T>(layout: Layout) -> NonNull<T> {
    // SAFETY: the layouts used here are not empty.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout)).cast()
}

impl Fake {
    pub(crate) fn new(size: u32) -> Fake {
        Fake {
            consumer: zeroed(Layout::new::<fsn_consumer>()),
            producer: zeroed(Layout::new::<fsn_producer>()),
            data: zeroed(Self::data_layout(size)),
            size,
        }
    }

    fn data_layout(size: u32) -> Layout {
        Layout::from_size_align(2 * size as usize, 4096).expect("small")
    }

    fn head(&self) -> &AtomicU64 {
        // SAFETY: allocated in new().
        unsafe { AtomicU64::from_ptr(&raw mut (*self.producer.as_ptr()).head) }
    }

    fn tail(&self) -> u64 {
        // SAFETY: allocated in new().
        unsafe { AtomicU64::from_ptr(&raw mut (*self.consumer.as_ptr()).tail) }.load(Ordering::Acquire)
    }

    fn set_tail(&self, tail: u64) {
        // SAFETY: allocated in new().
        unsafe { AtomicU64::from_ptr(&raw mut (*self.consumer.as_ptr()).tail) }.store(tail, Ordering::Release);
    }

    fn write(&self, position: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let at = ((position + i as u64) & u64::from(self.size - 1)) as usize;
            // SAFETY: at < size, and the data is 2 * size long.
            unsafe {
                self.data.as_ptr().add(at).write(*byte);
                self.data.as_ptr().add(at + self.size as usize).write(*byte);
            }
        }
    }

    /// What the module does; false when there is no room.
    pub(crate) fn publish(&self, kind: u32, slot: u16, time: u64, body: &[u8]) -> bool {
        let len = (16 + body.len()).next_multiple_of(8);
        let head = self.head().load(Ordering::Relaxed);
        if u64::from(self.size) - (head - self.tail()) < len as u64 {
            return false;
        }
        let mut bytes = Vec::with_capacity(len);
        bytes.extend((len as u32).to_ne_bytes());
        bytes.extend((kind as u16).to_ne_bytes());
        bytes.extend(slot.to_ne_bytes());
        bytes.extend(time.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(len, 0);
        self.write(head, &bytes);
        self.head().store(head + len as u64, Ordering::Release);
        true
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // SAFETY: allocated in new() with these layouts.
        unsafe {
            dealloc(self.consumer.as_ptr().cast(), Layout::new::<fsn_consumer>());
            dealloc(self.producer.as_ptr().cast(), Layout::new::<fsn_producer>());
            dealloc(self.data.as_ptr(), Self::data_layout(self.size));
        }
    }
}

// SAFETY: allocated in new() as long and as aligned as asked for; tests write outside tail..head only, or from the
// same thread while no record is borrowed.
unsafe impl Memory for Fake {
    fn consumer(&self) -> NonNull<fsn_consumer> {
        self.consumer
    }
    fn producer(&self) -> NonNull<fsn_producer> {
        self.producer
    }
    fn data(&self) -> NonNull<u8> {
        self.data
    }
    fn size(&self) -> u32 {
        self.size
    }
}

// SAFETY: plain memory.
unsafe impl Send for Fake {}
// SAFETY: the shared words are accessed atomically; the data as the trait says.
unsafe impl Sync for Fake {}

const SIZE: u32 = 1 << 16;

#[test]
fn an_empty_ring_has_nothing() {
    let mut ring = Ring::new(Fake::new(SIZE));
    assert!(ring.next_record().expect("sound").is_none());
    assert_eq!(counters(ring.memory()), Counters::default());
}

#[test]
fn records_come_in_order_across_many_wraps() {
    let mut ring = Ring::new(Fake::new(SIZE));
    let (mut sent, mut seen) = (0u64, 0u64);
    while seen < 20_000 {
        while ring.memory().publish(FSN_REC_EVENT, 7, sent, &vec![sent as u8; (sent % 700) as usize]) {
            sent += 1;
        }
        while let Some(record) = ring.next_record().expect("sound") {
            assert_eq!((record.kind(), record.slot(), record.time()), (FSN_REC_EVENT, 7, seen));
            let body = &record.bytes()[16..];
            assert_eq!(body.len(), (16 + (seen % 700) as usize).next_multiple_of(8) - 16);
            assert!(body[..(seen % 700) as usize].iter().all(|b| *b == seen as u8));
            seen += 1;
        }
        ring.release();
        assert_eq!(ring.memory().tail(), ring.memory().head().load(Ordering::Relaxed));
    }
}

#[test]
fn space_is_given_back_in_batches_while_reading() {
    let mut ring = Ring::new(Fake::new(SIZE));
    while ring.memory().publish(FSN_REC_EVENT, 0, 0, &[0; 112]) {}
    let mut releases = 0;
    let mut last = 0;
    while ring.next_record().expect("sound").is_some() {
        let tail = ring.memory().tail();
        releases += u32::from(tail != last);
        last = tail;
    }
    assert!((RELEASE_SHARE as u32 - 1..=RELEASE_SHARE as u32).contains(&releases), "{releases}");
}

#[test]
fn a_reader_sleeps_only_on_an_empty_ring() {
    let mut ring = Ring::new(Fake::new(SIZE));
    assert!(ring.prepare_sleep());
    assert_eq!(ring.sleeping().load(Ordering::Relaxed), 1);
    ring.woken();
    ring.memory().publish(FSN_REC_EVENT, 0, 0, &[]);
    assert!(!ring.prepare_sleep());
    assert_eq!(ring.sleeping().load(Ordering::Relaxed), 0);
    assert!(ring.next_record().expect("sound").is_some());
    assert!(ring.prepare_sleep());
}

#[test]
fn positions_may_pass_the_end_of_u64() {
    let fake = Fake::new(SIZE);
    let start = u64::MAX - 63; // a multiple of 64
    fake.set_tail(start);
    fake.head().store(start, Ordering::Relaxed);
    let mut ring = Ring::new(fake);
    for time in 0..8 {
        let mut bytes = vec![0; 32];
        bytes[..4].copy_from_slice(&32u32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&u64::to_ne_bytes(time));
        let head = ring.memory().head().load(Ordering::Relaxed);
        ring.memory().write(head & u64::from(SIZE - 1), &bytes);
        ring.memory().head().store(head.wrapping_add(32), Ordering::Relaxed);
        assert_eq!(ring.next_record().expect("sound").map(|r| r.time()), Some(time));
    }
}

#[test]
fn damage_is_reported_and_skipped() {
    let mut ring = Ring::new(Fake::new(SIZE));
    ring.memory().publish(FSN_REC_EVENT, FSN_SLOT_NONE as u16, 1, &[0; 16]);
    ring.memory().write(0, &8u32.to_ne_bytes());
    assert_eq!(ring.next_record().err(), Some(Damage::Length { len: 8, published: 32 }));
    assert_eq!(ring.reset().load(Ordering::Relaxed), 1);
    assert_eq!(ring.memory().tail(), 32);
    ring.memory().publish(FSN_REC_EVENT, 0, 2, &[]);
    assert_eq!(ring.next_record().expect("sound").map(|r| r.time()), Some(2));
    ring.memory().head().store(3, Ordering::Relaxed);
    assert_eq!(ring.next_record().err(), Some(Damage::Head { head: 3, tail: 48 }));
}

#[test]
fn interest_is_written_to_its_slot_only() {
    let mut ring = Ring::new(Fake::new(SIZE));
    ring.set_interest(1023, 9, 0xff);
    ring.set_interest(1024, 9, 0xff);
    // SAFETY: allocated by the fake.
    let consumer = unsafe { ring.memory().consumer().as_ref() };
    assert_eq!((consumer.interest[1023].gen_, consumer.interest[1023].mask), (9, 0xff));
    assert!(consumer.interest[..1023].iter().all(|i| i.gen_ == 0 && i.mask == 0));
}

#[test]
fn a_writer_on_another_thread_is_followed() {
    const COUNT: u64 = 50_000;
    let fake = Arc::new(Fake::new(SIZE));
    let mut ring = Ring::new(fake.clone());
    let writer = std::thread::spawn(move || {
        for time in 0..COUNT {
            while !fake.publish(FSN_REC_EVENT, 0, time, &time.to_ne_bytes()) {
                std::thread::yield_now();
            }
        }
    });
    let mut seen = 0;
    while seen < COUNT {
        match ring.next_record().expect("sound") {
            Some(record) => {
                assert_eq!(record.time(), seen);
                assert_eq!(record.bytes()[16..24], seen.to_ne_bytes());
                seen += 1;
            }
            None => ring.release(),
        }
    }
    writer.join().expect("writes all");
}

proptest! {
    /// Whatever the memory holds: no panic, no access outside, and the reader goes on.
    #[test]
    fn garbage_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..4096),
        head in prop_oneof![any::<u64>(), 0u64..5000],
        tail in prop_oneof![Just(0u64), any::<u64>(), 0u64..5000],
    ) {
        let fake = Fake::new(4096);
        fake.write(0, &bytes);
        fake.set_tail(tail);
        fake.head().store(head, Ordering::Relaxed);
        let mut ring = Ring::new(fake);
        for _ in 0..1000 {
            match ring.next_record() {
                Ok(Some(record)) => {
                    prop_assert!(record.bytes().len() >= 16 && record.bytes().len() % 8 == 0);
                    let _ = Line(record).to_string();
                }
                Ok(None) => break,
                Err(damage) => { let _ = damage.to_string(); }
            }
        }
        prop_assert!(ring.next_record().is_ok_and(|r| r.is_none()), "settles at head");
    }

    /// Sound headers with any content: printing a record never fails.
    #[test]
    fn any_record_is_printed(kind in 0u32..6, body in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut ring = Ring::new(Fake::new(4096));
        ring.memory().publish(kind, 3, 0, &body);
        let line = ring.next_record().expect("sound").map(|r| Line(r).to_string());
        prop_assert!(line.is_some_and(|l| !l.contains('\n')));
    }
}
