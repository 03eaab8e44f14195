//! Events that were met before and that no rule matched.
//!
//! A host does the same things over and over: the same libraries are loaded by the same kinds of process. Where all that
//! was asked of an event follows from what it says of itself, the next one that says the same, in a task for which the same
//! of the rules is left, has the same answer. What was said is kept whole and compared whole: nobody can make an event pass for another. Invariant: nothing here
//! changes what an event matches, so all of it may be forgotten at any time.

use crate::event::value::Said;
use hashbrown::DefaultHashBuilder;
use std::hash::BuildHasher;

/// An event has one set, and any of its ways.
const SETS: usize = 128;
const WAYS: usize = 8;
/// Longer events are not remembered.
const BYTES: usize = 256;
/// Bits that tell what came once, and how many are set before they are forgotten.
const ONCE: usize = 1 << 14;
const MOST: u32 = 1 << 11;

#[derive(Clone, Copy)]
struct Place {
    residual: u32,
    /// Of `bytes`; nothing is kept here when it is [`EMPTY`].
    len: u32,
    words: [u64; 10],
    bytes: [u8; BYTES],
}

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Set {
    /// A byte of each hash: way 0 has the lowest. 0 where nothing is kept.
    tags: u64,
    /// The way that is taken next.
    next: u8,
}

/// What was met by one loop.
#[derive(Default)]
pub struct Met {
    epoch: u32,
    hasher: DefaultHashBuilder,
    /// None until something is kept.
    store: Option<Store>,
}

struct Store {
    sets: Box<[Set; SETS]>,
    places: Box<[[Place; WAYS]; SETS]>,
    once: Once,
}

/// What came once, and lately. It may take another event for one that came, which is then kept too early.
struct Once {
    bits: Box<[u64; ONCE / 64]>,
    set: u32,
}

/// Where a hash says that an event is.
#[derive(Clone, Copy)]
struct Whereabouts {
    set: usize,
    tag: u8,
    once: usize,
}

impl Met {
    /// Whether an event that says this was met with these rules left.
    #[inline]
    pub fn knows(&self, epoch: u32, residual: u32, said: &Said<'_>) -> bool {
        let Some(store) = self.store.as_ref().filter(|_| self.epoch == epoch) else { return false };
        let at = Whereabouts::of(hash(&self.hasher, residual, said));
        let mut ways = store.sets[at.set].having(at.tag);
        while ways != 0 {
            if store.places[at.set][ways.trailing_zeros() as usize / 8].is(residual, said) {
                return true;
            }
            ways &= ways - 1;
        }
        false
    }

    /// Keeps what is not known, unless it comes for the first time.
    pub fn add(&mut self, epoch: u32, residual: u32, said: &Said<'_>) {
        if said.bytes.len() > BYTES {
            return;
        }
        let fresh = self.epoch != epoch;
        self.epoch = epoch;
        let store = self.store.get_or_insert_with(Store::new);
        if fresh {
            store.clear();
        }
        let at = Whereabouts::of(hash(&self.hasher, residual, said));
        if !store.once.had(at.once) {
            return;
        }
        let place = &mut store.places[at.set][store.sets[at.set].take(at.tag)];
        (place.residual, place.len, place.words) = (residual, said.bytes.len() as u32, said.words);
        place.bytes[..said.bytes.len()].copy_from_slice(said.bytes);
    }
}

impl Store {
    fn new() -> Store {
        // By way of a vector: it is too large for the stack.
        fn boxed<T: Clone, const N: usize>(value: T) -> Box<[T; N]> {
            vec![value; N].into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("as long as it says"))
        }
        let empty = Place { residual: 0, len: EMPTY, words: [0; 10], bytes: [0; BYTES] };
        let once = Once { bits: boxed(0), set: 0 };
        Store { sets: boxed(Set::default()), places: boxed([empty; WAYS]), once }
    }

    fn clear(&mut self) {
        self.sets.fill(Set::default());
        self.once.clear();
        self.places.as_flattened_mut().iter_mut().for_each(|place| place.len = EMPTY);
    }
}

impl Once {
    /// Whether this came before; from now on it has.
    fn had(&mut self, at: usize) -> bool {
        let (word, bit) = (at / 64, 1 << (at % 64));
        let had = self.bits[word] & bit != 0;
        if !had {
            if self.set == MOST {
                self.clear();
            }
            self.bits[word] |= bit;
            self.set += 1;
        }
        had
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        self.set = 0;
    }
}

impl Set {
    /// The ways with this tag, each as the highest bit of its byte; there may be some that have another.
    fn having(&self, tag: u8) -> u64 {
        const LOWEST: u64 = u64::from_ne_bytes([1; 8]);
        let differing = self.tags ^ LOWEST * u64::from(tag);
        differing.wrapping_sub(LOWEST) & !differing & LOWEST << 7
    }

    /// The way for something new, whose tag it has from now on.
    fn take(&mut self, tag: u8) -> usize {
        let way = self.next;
        self.next = (way + 1) % WAYS as u8;
        self.tags = self.tags & !(0xff << (8 * way)) | u64::from(tag) << (8 * way);
        usize::from(way)
    }
}

impl Whereabouts {
    fn of(hash: u64) -> Whereabouts {
        Whereabouts {
            set: hash as usize % SETS,
            // 0 says that nothing is kept.
            tag: ((hash >> 56) as u8).max(1),
            once: (hash >> 16) as usize % ONCE,
        }
    }
}

/// The words are folded first: hashing them one by one takes as long as the bytes do.
fn hash(hasher: &DefaultHashBuilder, residual: u32, said: &Said<'_>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |folded: u64, word: &u64| (folded.rotate_left(29) ^ word).wrapping_mul(ODD);
    hasher.hash_one((said.words.iter().fold(u64::from(residual), fold), said.bytes))
}

impl Place {
    fn is(&self, residual: u32, said: &Said<'_>) -> bool {
        self.residual == residual
            && self.len as usize == said.bytes.len()
            && self.words == said.words
            && self.bytes[..said.bytes.len()] == *said.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_said_the_same_twice_is_known() {
        let mut met = Met::default();
        let said = |bytes| Said { words: [7; 10], bytes };
        let mut meet = |epoch, residual, said: Said<'_>| {
            let known = met.knows(epoch, residual, &said);
            if !known {
                met.add(epoch, residual, &said);
            }
            known
        };
        assert_eq!([1, 2, 3, 4].map(|_| meet(1, 3, said(b"/etc/passwd"))), [false, false, true, true]);
        assert!(!meet(1, 3, said(b"/etc/passwd0")));
        assert!(!meet(1, 4, said(b"/etc/passwd")));
        assert!(!meet(1, 3, Said { words: [8; 10], bytes: b"/etc/passwd" }));
        // Rules have other numbers from here on.
        assert_eq!([1, 2, 3].map(|_| meet(2, 3, said(b"/etc/passwd"))), [false, false, true]);
        let long = [b'x'; BYTES + 1];
        assert!([1, 2, 3].iter().all(|_| !meet(2, 3, said(&long))));
    }

    #[test]
    fn as_many_as_a_set_has_ways_are_kept_and_no_other_is_taken_for_them() {
        let mut set = Set::default();
        for (tag, way) in (1..=8).zip(0..) {
            assert_eq!(set.take(tag), way);
        }
        for tag in 1..=8u8 {
            let ways = set.having(tag);
            assert_eq!(ways & 0xff << (8 * (tag - 1)), 0x80 << (8 * (tag - 1)), "{tag}: {ways:#x}");
        }
        assert_eq!(set.having(9) | set.having(255), 0);
        // The oldest goes.
        assert_eq!((set.take(200), set.having(200) & 0xff), (0, 0x80));
        assert_eq!(set.having(1) & 0xff, 0);
    }

    #[test]
    fn some_hundred_that_come_in_turn_are_known_from_the_third_time_on() {
        let mut met = Met::default();
        let texts: Vec<String> = (0..300).map(|n| format!("/usr/lib/{n}.so")).collect();
        let mut turn = || {
            let unknown = texts.iter().filter(|text| {
                let said = Said { words: [0; 10], bytes: text.as_bytes() };
                let known = met.knows(1, 7, &said);
                if !known {
                    met.add(1, 7, &said);
                }
                !known
            });
            unknown.count()
        };
        let unknown: Vec<usize> = (0..3).map(|_| turn()).collect();
        assert_eq!(unknown[0], 300);
        // More of them than it has ways may fall into one set.
        assert!(unknown[2] < 50, "{unknown:?}");
    }

    #[test]
    fn more_than_there_is_room_for_displaces_and_is_never_mistaken() {
        let mut met = Met::default();
        let texts: Vec<String> = (0..5_000).map(|n| format!("/tmp/{n}")).collect();
        for _ in 0..3 {
            for (text, residual) in texts.iter().zip(0..) {
                let said = Said { words: [0; 10], bytes: text.as_bytes() };
                let other = Said { words: [0; 10], bytes: &text.as_bytes()[1..] };
                assert!(!met.knows(1, residual, &other));
                if !met.knows(1, residual, &said) {
                    met.add(1, residual, &said);
                }
            }
        }
    }
}
