//! Events that were met before and that no rule matched.
//!
//! A host does the same things over and over: the same libraries are loaded by the same kinds of process. Where all that
//! was asked of an event follows from what it says of itself, the next one that says the same, in a task for which the same
//! of the rules is left, has the same answer.
//!
//! Of what was said a fingerprint of 128 bits is kept, made with keys that are drawn at random when the program starts and that nobody learns: one event
//! passes for another that is kept with a probability of 2^-64, whatever both say ([`Keys::print`]). Kept whole they took
//! most of a processor's second cache. Invariant: nothing here changes what an event matches, so all of it may be forgotten at any time.

use crate::event::value::{HEAD, REST, Said, Versioned};
use std::hash::{BuildHasher, RandomState};

/// An event has one set, and any of its ways.
const SETS: usize = 256;
const WAYS: usize = 8;
/// Bits that tell what came once, and how many are set before they are forgotten.
const ONCE: usize = 1 << 15;
const MOST: u32 = 1 << 12;

/// What is kept of an event.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Place {
    print: u128,
    /// [`ANY`] where it is not bound to one.
    task: Versioned,
}

/// No state of a task has this stamp.
const ANY: Versioned = Versioned { place: 0, stamp: 0, facts: 0 };

/// Pairs of words that a print is made of: those of the head, which has one more word, and those of the rest.
const PAIRS: usize = (1 + HEAD + REST) / 2;

/// What prints are made with.
struct Keys([[u64; 2]; PAIRS]);

#[derive(Clone, Copy, Default)]
struct Set {
    /// A byte of each hash: way 0 has the lowest. 0 where nothing is kept.
    tags: u64,
}

/// Which way of a full set is given away. Were they given away in turn, nine that come in turn would never be known.
struct Lot(u64);

/// What was met by one loop.
#[derive(Default)]
pub struct Met {
    epoch: u32,
    /// None until something is kept.
    store: Option<Box<Store>>,
}

struct Store {
    keys: Keys,
    sets: [Set; SETS],
    places: [[Place; WAYS]; SETS],
    once: Once,
    lot: Lot,
}

/// What came once, and lately. It may take another event for one that came, which is then kept too early.
struct Once {
    bits: [u64; ONCE / 64],
    set: u32,
}

/// Where a print says that an event is.
#[derive(Clone, Copy)]
struct Whereabouts {
    set: usize,
    tag: u8,
    once: usize,
}

impl Met {
    /// Whether an event that says this, in a task of this state, was met with these rules left.
    #[inline]
    pub fn knows(&self, epoch: u32, residual: u32, said: &Said<'_>, task: Option<Versioned>) -> bool {
        let Some(store) = self.store.as_ref().filter(|_| self.epoch == epoch) else { return false };
        // What is not kept need not be hashed, however long it is.
        if said.rest.len() > REST {
            return false;
        }
        let print = store.keys.print(residual, said);
        let at = Whereabouts::of(print);
        let bound = |kept: Versioned| kept.stamp == 0 || task == Some(kept);
        let mut ways = store.sets[at.set].having(at.tag);
        while ways != 0 {
            let place = &store.places[at.set][ways.trailing_zeros() as usize / 8 % WAYS];
            if place.print == print && bound(place.task) {
                return true;
            }
            ways &= ways - 1;
        }
        false
    }

    /// Keeps what is not known, unless it comes for the first time.
    pub fn add(&mut self, epoch: u32, residual: u32, said: &Said<'_>) {
        if said.rest.len() > REST {
            return;
        }
        let fresh = self.epoch != epoch;
        self.epoch = epoch;
        let store = self.store.get_or_insert_with(Store::new);
        if fresh {
            store.clear();
        }
        let print = store.keys.print(residual, said);
        let at = Whereabouts::of(print);
        if !store.once.had(at.once) {
            return;
        }
        let way = store.sets[at.set].take(at.tag, &mut store.lot);
        store.places[at.set][way] = Place { print, task: said.task.unwrap_or(ANY) };
    }
}

impl Store {
    fn new() -> Box<Store> {
        let place = Place { print: 0, task: ANY };
        Box::new(Store {
            keys: Keys::drawn(),
            sets: [Set::default(); SETS],
            places: [[place; WAYS]; SETS],
            once: Once { bits: [0; ONCE / 64], set: 0 },
            lot: Lot(0),
        })
    }

    fn clear(&mut self) {
        // A place is not looked at where its set has no tag for it.
        self.sets.fill(Set::default());
        self.once.clear();
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
        let differing = self.tags ^ (LOWEST * u64::from(tag));
        differing.wrapping_sub(LOWEST) & !differing & LOWEST << 7
    }

    /// The way for something new, whose tag it has from now on.
    fn take(&mut self, tag: u8, lot: &mut Lot) -> usize {
        let way = match self.having(0) {
            0 => lot.draw(),
            // The lowest is one for certain.
            empty => empty.trailing_zeros() as usize / 8,
        };
        self.tags = self.tags & !(0xff << (8 * way)) | u64::from(tag) << (8 * way);
        way
    }
}

impl Lot {
    fn draw(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 32) as usize % WAYS
    }
}

impl Whereabouts {
    fn of(print: u128) -> Whereabouts {
        // The highest bits of the product follow from all of the print.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let hash = (print as u64 ^ (print >> 64) as u64).wrapping_mul(ODD);
        Whereabouts {
            set: (hash >> 56) as usize % SETS,
            // 0 says that nothing is kept.
            tag: ((hash >> 48) as u8).max(1),
            once: (hash >> 33) as usize % ONCE,
        }
    }
}

impl Keys {
    fn drawn() -> Keys {
        let random = RandomState::new();
        Keys(std::array::from_fn(|at| [0, 1].map(|side| random.hash_one((at, side)))))
    }

    /// A print of what is said and of the rules that are left: NH, the universal hash of UMAC (RFC 4418), with words of 64 bits.
    /// Two words are added to two of the key and multiplied, and the products are added up. Two contents that differ have the
    /// same sum with one key in 2^64. How many words there are is one of them, so a content is none that begins like it.
    #[inline]
    fn print(&self, residual: u32, said: &Said<'_>) -> u128 {
        let product = |words: [u64; 2], keys: &[u64; 2]| {
            let [a, b] = std::array::from_fn(|side| u128::from(words[side].wrapping_add(keys[side])));
            a * b
        };
        let (head_keys, rest_keys) =
            self.0.split_first_chunk::<{ HEAD.div_ceil(2) }>().unwrap_or_else(|| unreachable!("there are more"));
        let [first, head @ ..] = said.counting();
        let mut sum = product([u64::from(residual) | (said.rest.len() as u64) << 32, first], &head_keys[0]);
        for (words, keys) in head.as_chunks().0.iter().zip(&head_keys[1..]) {
            sum = sum.wrapping_add(product(*words, keys));
        }
        let (pairs, last) = said.rest.as_chunks();
        for (words, keys) in pairs.iter().zip(rest_keys) {
            sum = sum.wrapping_add(product(*words, keys));
        }
        if let ([word], Some(keys)) = (last, rest_keys.get(pairs.len())) {
            sum = sum.wrapping_add(product([*word, 0], keys));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u64; HEAD] = [u64::MAX; HEAD];

    fn said<'a>(head: &'a [u64; HEAD], rest: &'a [u64]) -> Said<'a> {
        Said { head, mask: &ALL, rest, task: None }
    }

    /// Whether it was known; it is met then.
    fn meet(met: &mut Met, epoch: u32, residual: u32, said: &Said<'_>) -> bool {
        let known = met.knows(epoch, residual, said, None);
        if !known {
            met.add(epoch, residual, said);
        }
        known
    }

    #[test]
    fn only_what_said_the_same_twice_is_known() {
        let mut met = Met::default();
        let (head, rest) = ([7; HEAD], [1, 2, 3, 4, 5]);
        let one = said(&head, &rest);
        assert_eq!([1, 2, 3, 4].map(|_| meet(&mut met, 1, 3, &one)), [false, false, true, true]);
        assert!(!met.knows(1, 4, &one, None));
        assert!(!met.knows(1, 3, &said(&head, &[1, 2, 3, 4, 5, 0]), None));
        assert!(!met.knows(1, 3, &said(&head, &[1, 2, 3, 4]), None));
        for at in 0..rest.len() * 64 {
            let mut other = rest;
            other[at / 64] ^= 1 << (at % 64);
            assert!(!met.knows(1, 3, &said(&head, &other), None), "bit {at}");
        }
        for at in 0..HEAD * 64 {
            let mut other = head;
            other[at / 64] ^= 1 << (at % 64);
            assert!(!met.knows(1, 3, &said(&other, &rest), None), "bit {at} of the head");
            let mut mask = ALL;
            mask[at / 64] ^= 1 << (at % 64);
            assert!(Said { mask: &mask, ..said(&other, &rest) } == Said { mask: &mask, ..one });
        }
        // Rules have other numbers from here on.
        assert_eq!([1, 2, 3].map(|_| meet(&mut met, 2, 3, &one)), [false, false, true]);
        let long = [0; REST + 1];
        assert!([1, 2, 3].iter().all(|_| !meet(&mut met, 2, 3, &said(&head, &long))));
    }

    #[test]
    fn bits_that_do_not_count_are_passed_over() {
        let mut met = Met::default();
        let mut mask = ALL;
        mask[4] = 0xff;
        let heads =
            [0x1_11, 0x2_11, 0x3_11, 0x3_12].map(|word| std::array::from_fn(|at| if at == 4 { word } else { 9 }));
        let known = heads.each_ref().map(|head| meet(&mut met, 1, 1, &Said { mask: &mask, ..said(head, &[5]) }));
        assert_eq!(known, [false, false, true, false]);
    }

    #[test]
    fn what_belongs_to_a_state_of_a_task_is_known_in_no_other() {
        let mut met = Met::default();
        let state = Versioned { place: 3, stamp: 8, facts: 1 };
        let bound = Said { task: Some(state), ..said(&[0; HEAD], &[1]) };
        (0..2).for_each(|_| met.add(1, 1, &bound));
        assert!(met.knows(1, 1, &bound, Some(state)));
        let others =
            [Versioned { place: 4, ..state }, Versioned { stamp: 9, ..state }, Versioned { facts: 2, ..state }];
        assert!(others.iter().all(|other| !met.knows(1, 1, &bound, Some(*other))));
        assert!(!met.knows(1, 1, &bound, None));
    }

    #[test]
    fn as_many_as_a_set_has_ways_are_kept_and_no_other_is_taken_for_them() {
        let (mut set, mut lot) = (Set::default(), Lot(0));
        for (tag, way) in (1..=8).zip(0..) {
            assert_eq!(set.take(tag, &mut lot), way);
        }
        for tag in 1..=8u8 {
            let ways = set.having(tag);
            assert_eq!(ways & 0xff << (8 * (tag - 1)), 0x80 << (8 * (tag - 1)), "{tag}: {ways:#x}");
        }
        assert_eq!(set.having(9) | set.having(255), 0);
        let way = set.take(200, &mut lot);
        assert_eq!(set.having(200), 0x80 << (8 * way));
        assert_eq!(set.having(way as u8 + 1) & 0xff << (8 * way), 0);
    }

    #[test]
    fn of_more_than_a_set_has_ways_that_come_in_turn_most_are_known() {
        let mut met = Met { epoch: 1, store: Some(Store::new()) };
        let head = [0; HEAD];
        let keys = &met.store.as_ref().unwrap().keys;
        let same_set: Vec<[u64; 1]> = (0..)
            .map(|n| [n])
            .filter(|rest| Whereabouts::of(keys.print(1, &said(&head, rest))).set == 5)
            .take(9)
            .collect();
        let mut turn = || same_set.iter().filter(|rest| meet(&mut met, 1, 1, &said(&head, &rest[..]))).count();
        let known: usize = (0..100).map(|_| turn()).sum();
        assert!(known > 600, "{known} of 900");
    }

    #[test]
    fn some_hundred_that_come_in_turn_are_known_from_the_third_time_on() {
        let mut met = Met::default();
        let mut turn = || (0..300).filter(|n| !meet(&mut met, 1, 7, &said(&[0; HEAD], &[2, 3, *n]))).count();
        let unknown: Vec<usize> = (0..3).map(|_| turn()).collect();
        assert_eq!(unknown[0], 300);
        // More of them than it has ways may fall into one set.
        assert!(unknown[2] < 50, "{unknown:?}");
    }

    #[test]
    fn more_than_there_is_room_for_displaces_and_is_never_mistaken() {
        let mut met = Met::default();
        for _ in 0..3 {
            for (n, residual) in (0..5_000).zip(0..) {
                assert!(!met.knows(1, residual, &said(&[0; HEAD], &[n, 1]), None));
                meet(&mut met, 1, residual, &said(&[0; HEAD], &[n, 0]));
            }
        }
    }

    /// Words that differ little, or in two places at once, seldom share a set and a tag.
    #[test]
    fn what_differs_in_a_bit_is_told_apart_by_the_print() {
        let (head, keys) = ([3; HEAD], Keys::drawn());
        let mut seen = std::collections::HashSet::new();
        let mut same = 0;
        for (a, b) in (0..20 * 64).map(|a| (a, 0)).chain((1..64).flat_map(|a| (64..20 * 64).map(move |b| (a, b)))) {
            let mut rest = [0x6c69_622f_7273_752f; 20];
            rest[a / 64] ^= 1 << (a % 64);
            rest[b / 64] ^= 1 << (b % 64);
            let at = Whereabouts::of(keys.print(1, &said(&head, &rest)));
            same += usize::from(!seen.insert((at.set, at.tag, at.once)));
        }
        // Of 80,000 with 29 bits six are expected to share them.
        assert!(same < 30, "{same}");
    }
}
