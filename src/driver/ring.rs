//! One CPU's ring, read in place: the consumer's half of the protocol of docs/abi.md.
//!
//! The module publishes bytes by storing `head` with release; the reader loads it with acquire, hands out the
//! records between its own position and `head` without copying, and gives the space back by storing `tail` with
//! release, several records at a time.
//!
//! Invariant: every [`Record`] lies inside the published bytes. What the shared memory says is checked, never
//! trusted: on a position or length that cannot be, the reader reports [`Damage`], skips what is there and asks the
//! module to start over.

use super::abi::{
    FSN_DROP_MAX, FSN_FILTERED_MAX, FSN_RECORD_MAX, FSN_SLOTS, fsn_consumer, fsn_producer, fsn_record, view,
};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// One record, still in the ring.
#[derive(Clone, Copy)]
pub struct Record<'r> {
    bytes: &'r [u8],
    header: fsn_record,
}

impl<'r> Record<'r> {
    /// Whole record with its header; aligned to 8 bytes, as long as the header says.
    pub fn bytes(&self) -> &'r [u8] {
        self.bytes
    }

    /// `FSN_REC_*`, or anything else from a newer module.
    pub fn kind(&self) -> u32 {
        u32::from(self.header.type_)
    }

    /// Task slot the record belongs to, or `FSN_SLOT_NONE`.
    pub fn slot(&self) -> u16 {
        self.header.slot
    }

    /// Nanoseconds of the module's clock.
    pub fn time(&self) -> u64 {
        self.header.time
    }
}

/// What the shared memory held that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// `head` is behind the reader, or further ahead than the ring is long.
    Head { head: u64, tail: u64 },
    /// A record shorter than its header, longer than what is published, or not a multiple of 8.
    Length { len: u32, published: u64 },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Head { head, tail } => write!(f, "ring head {head} does not fit the reader's position {tail}"),
            Damage::Length { len, published } => write!(f, "record of {len} bytes where {published} are published"),
        }
    }
}

/// The module's counters of one ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub events: u64,
    pub tasks: u64,
    pub execs: u64,
    pub wakeups: u64,
    pub faults: u64,
    pub truncated: u64,
    /// By `FSN_DROP_*`.
    pub drops: [u64; FSN_DROP_MAX as usize],
    /// By `FSN_FILTERED_*`.
    pub filtered: [u64; FSN_FILTERED_MAX as usize],
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.tasks += other.tasks;
        self.execs += other.execs;
        self.wakeups += other.wakeups;
        self.faults += other.faults;
        self.truncated += other.truncated;
        self.drops.iter_mut().zip(other.drops).for_each(|(a, b)| *a += b);
        self.filtered.iter_mut().zip(other.filtered).for_each(|(a, b)| *a += b);
    }
}

/// The shared memory of one ring. Whoever implements it keeps the memory mapped as long as it lives.
///
/// # Safety
/// `consumer` points to a writable and `producer` to a readable struct, `data` to `2 * size` readable bytes, aligned
/// to 8, the second half showing the same memory as the first or never written; `size` is a power of two of at
/// least 8. All stay valid and in place until the value is dropped. Nobody writes to the bytes between `tail` and
/// `head`.
pub unsafe trait Memory {
    fn consumer(&self) -> NonNull<fsn_consumer>;
    fn producer(&self) -> NonNull<fsn_producer>;
    fn data(&self) -> NonNull<u8>;
    fn size(&self) -> u32;
}

/// What the module has counted for a ring.
pub fn counters(memory: &impl Memory) -> Counters {
    let producer = memory.producer().as_ptr();
    // SAFETY: callers pass fields of the producer's page, aligned u64 that the module updates as whole words.
    let read = |field: *const u64| unsafe { field.read_volatile() };
    // SAFETY: takes addresses inside the struct only.
    unsafe {
        Counters {
            events: read(&raw const (*producer).events),
            tasks: read(&raw const (*producer).tasks),
            execs: read(&raw const (*producer).execs),
            wakeups: read(&raw const (*producer).wakeups),
            faults: read(&raw const (*producer).faults),
            truncated: read(&raw const (*producer).truncated),
            drops: std::array::from_fn(|i| read(&raw const (*producer).drops[i])),
            filtered: std::array::from_fn(|i| read(&raw const (*producer).filtered[i])),
        }
    }
}

/// Bytes of a ring that are published and not given back yet.
pub fn used(memory: &impl Memory) -> u64 {
    // SAFETY: both words are valid and aligned as long as the memory is; each is written by one side as a whole.
    let (head, tail) = unsafe {
        let head = AtomicU64::from_ptr(&raw mut (*memory.producer().as_ptr()).head);
        let tail = AtomicU64::from_ptr(&raw mut (*memory.consumer().as_ptr()).tail);
        // The tail first: it may only have been further back.
        let tail = tail.load(Ordering::Acquire);
        (head.load(Ordering::Acquire), tail)
    };
    head.wrapping_sub(tail).min(u64::from(memory.size()))
}

// SAFETY: the same memory, kept as long as any of the owners lives.
unsafe impl<M: Memory> Memory for Arc<M> {
    fn consumer(&self) -> NonNull<fsn_consumer> {
        self.as_ref().consumer()
    }
    fn producer(&self) -> NonNull<fsn_producer> {
        self.as_ref().producer()
    }
    fn data(&self) -> NonNull<u8> {
        self.as_ref().data()
    }
    fn size(&self) -> u32 {
        self.as_ref().size()
    }
}

/// Space is given back at the latest after this share of the ring.
const RELEASE_SHARE: u64 = 8;

/// The reader of one ring. There is one per ring; it is not shared between threads.
pub struct Ring<M> {
    memory: M,
    /// Position of the next record.
    position: u64,
    /// What the module was told in `tail`.
    released: u64,
    /// `head` as it was read last: everything before it is published.
    published: u64,
}

impl<M: Memory> Ring<M> {
    /// A reader that begins where the last consumer's `tail` says.
    pub fn new(memory: M) -> Self {
        let mut ring = Ring { memory, position: 0, released: 0, published: 0 };
        let tail = ring.tail().load(Ordering::Relaxed);
        (ring.position, ring.released, ring.published) = (tail, tail, tail);
        ring
    }

    /// The next record, or None when everything published was read. Space of the records read before is given
    /// back now and then; [`Ring::release`] gives all of it back.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Damage> {
        let size = u64::from(self.memory.size());
        if self.position == self.published {
            // Pairs with the module's release store of head: the bytes before it are written.
            let head = self.head().load(Ordering::Acquire);
            if head.wrapping_sub(self.position) > size {
                return Err(self.start_over(Damage::Head { head, tail: self.position }));
            }
            self.published = head;
            if head == self.position {
                return Ok(None);
            }
        }
        if self.position.wrapping_sub(self.released) >= size / RELEASE_SHARE {
            self.release();
        }
        let published = self.published.wrapping_sub(self.position);
        let offset = (self.position & (size - 1)) as usize;
        let room = published.min(u64::from(FSN_RECORD_MAX)) as usize;
        // SAFETY: offset < size and room <= size, so the range lies in the 2 * size bytes of data; nobody writes
        // to it before the space is given back, which needs &mut self and so outlives the borrow.
        let bytes = unsafe { std::slice::from_raw_parts(self.memory.data().as_ptr().add(offset), room) };
        let Some(header) = view::<fsn_record>(bytes).copied() else {
            return Err(self.start_over(Damage::Length { len: 0, published }));
        };
        let len = header.len as usize;
        if len < size_of::<fsn_record>() || len > room || !len.is_multiple_of(8) {
            return Err(self.start_over(Damage::Length { len: header.len, published }));
        }
        self.position = self.position.wrapping_add(len as u64);
        Ok(Some(Record { bytes: &bytes[..len], header }))
    }

    /// Gives the space of every record read so far back to the module.
    #[inline]
    pub fn release(&mut self) {
        if self.released != self.position {
            self.released = self.position;
            // Pairs with the module's acquire load of tail: our reads are over before it writes there.
            self.tail().store(self.position, Ordering::Release);
        }
    }

    /// Says that this reader is about to sleep. False when records came in the meantime: it must not sleep then.
    pub fn prepare_sleep(&mut self) -> bool {
        self.release();
        self.sleeping().store(1, Ordering::Relaxed);
        // Pairs with the module's full barrier between its store of head and its load of sleeping: either it sees
        // that we sleep, or we see its head.
        fence(Ordering::SeqCst);
        if self.head().load(Ordering::Acquire) != self.position {
            self.woken();
            return false;
        }
        true
    }

    /// Says that this reader is awake: no wake-up is needed.
    pub fn woken(&mut self) {
        self.sleeping().store(0, Ordering::Relaxed);
    }

    /// Asks the module to forget which tasks and images it has sent: a reset record follows, then everything again.
    pub fn request_reset(&mut self) {
        self.reset().fetch_add(1, Ordering::Release);
    }

    /// Sets the classes of events somebody wants of the task in `slot`, valid for this generation only.
    pub fn set_interest(&mut self, slot: u16, generation: u32, mask: u64) {
        let slot = usize::from(slot);
        if slot >= FSN_SLOTS as usize {
            return;
        }
        let consumer = self.memory.consumer().as_ptr();
        // SAFETY: slot is inside the array; the atomics alias only the module's reads of the same words.
        let (generation_word, mask_word) = unsafe {
            let entry = &raw mut (*consumer).interest[slot];
            (AtomicU32::from_ptr(&raw mut (*entry).gen_), AtomicU64::from_ptr(&raw mut (*entry).mask))
        };
        // While the two words do not belong together no generation stands there, so the module takes neither.
        generation_word.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        mask_word.store(mask, Ordering::Relaxed);
        // Pairs with the module's acquire load of gen: it sees this mask or a later one.
        generation_word.store(generation, Ordering::Release);
    }

    /// Bytes of the data area.
    pub fn size(&self) -> u32 {
        self.memory.size()
    }

    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Skips to `head`, which the module stores at record boundaries only, and asks for everything again.
    #[cold]
    fn start_over(&mut self, damage: Damage) -> Damage {
        self.position = self.head().load(Ordering::Acquire);
        self.published = self.position;
        self.released = self.position.wrapping_sub(1);
        self.release();
        self.request_reset();
        damage
    }

    fn head(&self) -> &AtomicU64 {
        // SAFETY: valid and aligned for as long as self; written by the module as a whole word.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.memory.producer().as_ptr()).head) }
    }

    fn tail(&self) -> &AtomicU64 {
        // SAFETY: valid and aligned for as long as self; written by this reader only.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.memory.consumer().as_ptr()).tail) }
    }

    fn sleeping(&self) -> &AtomicU32 {
        // SAFETY: valid and aligned for as long as self; written by both sides as a whole word.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.memory.consumer().as_ptr()).sleeping) }
    }

    fn reset(&self) -> &AtomicU32 {
        // SAFETY: valid and aligned for as long as self; written by this reader only.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.memory.consumer().as_ptr()).reset) }
    }
}

#[cfg(test)]
mod tests;
