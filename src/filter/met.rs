//! Events that were met before and that no rule matched.
//!
//! A host does the same things over and over: the same libraries are loaded by the same kinds of process. Where all that
//! was asked of an event follows from what it says of itself, the next one that says the same, in a task for which the same
//! of the rules is left, has the same answer. What was said is kept whole and compared whole: nobody can make an event pass for another. Invariant: nothing here
//! changes what an event matches, so all of it may be forgotten at any time.

use crate::event::value::{HEAD, REST, Said, Versioned};

/// An event has one set, and any of its ways.
const SETS: usize = 256;
const WAYS: usize = 8;
/// Bits that tell what came once, and how many are set before they are forgotten.
const ONCE: usize = 1 << 15;
const MOST: u32 = 1 << 12;

#[derive(Clone, Copy)]
struct Place {
    residual: u32,
    /// Words of `rest`; nothing is kept here when it is [`EMPTY`].
    len: u32,
    task: Option<Versioned>,
    /// The bits that count, the others 0.
    head: [u64; HEAD],
    rest: [u64; REST],
}

const EMPTY: u32 = u32::MAX;

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
    store: Option<Store>,
}

struct Store {
    sets: Box<[Set; SETS]>,
    places: Box<[[Place; WAYS]; SETS]>,
    once: Once,
    lot: Lot,
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
    /// Whether an event that says this, in a task of this state, was met with these rules left.
    #[inline]
    pub fn knows(&self, epoch: u32, residual: u32, said: &Said<'_>, task: Option<Versioned>) -> bool {
        let Some(store) = self.store.as_ref().filter(|_| self.epoch == epoch) else { return false };
        // What is not kept need not be hashed, however long it is.
        if said.rest.len() > REST {
            return false;
        }
        let head = said.counting();
        let at = Whereabouts::of(hash(residual, &head, said.rest));
        let mut ways = store.sets[at.set].having(at.tag);
        while ways != 0 {
            if store.places[at.set][ways.trailing_zeros() as usize / 8 % WAYS].is(residual, &head, said.rest, task) {
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
        let head = said.counting();
        let at = Whereabouts::of(hash(residual, &head, said.rest));
        if !store.once.had(at.once) {
            return;
        }
        let way = store.sets[at.set].take(at.tag, &mut store.lot);
        let place = &mut store.places[at.set][way];
        (place.residual, place.len, place.task) = (residual, said.rest.len() as u32, said.task);
        place.head = head;
        place.rest[..said.rest.len()].copy_from_slice(said.rest);
    }
}

impl Store {
    fn new() -> Store {
        // By way of a vector: it is too large for the stack.
        fn boxed<T: Clone, const N: usize>(value: T) -> Box<[T; N]> {
            vec![value; N].into_boxed_slice().try_into().unwrap_or_else(|_| unreachable!("as long as it says"))
        }
        let empty = Place { residual: 0, len: EMPTY, task: None, head: [0; HEAD], rest: [0; REST] };
        let once = Once { bits: boxed(0), set: 0 };
        Store { sets: boxed(Set::default()), places: boxed([empty; WAYS]), once, lot: Lot(0) }
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
    fn of(hash: u64) -> Whereabouts {
        Whereabouts {
            set: hash as usize % SETS,
            // 0 says that nothing is kept.
            tag: ((hash >> 56) as u8).max(1),
            once: (hash >> 16) as usize % ONCE,
        }
    }
}

/// Tells apart what is said. That is compared whole all the same: it need not be a hash that nobody can foresee. Words are
/// multiplied by twos, as wyhash does it, in two lanes, because each step waits for the one before it.
#[inline]
fn hash(residual: u32, head: &[u64; HEAD], rest: &[u64]) -> u64 {
    // Digits of pi.
    const KEYS: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];
    let folded = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let mut lanes = [head[8] ^ KEYS[2], u64::from(residual)];
    let mut take = |lane: usize, a: u64, b: u64| lanes[lane] = folded(a ^ KEYS[lane], b ^ lanes[lane]);
    for at in [0, 4] {
        take(0, head[at], head[at + 1]);
        take(1, head[at + 2], head[at + 3]);
    }
    let (fours, others) = rest.as_chunks::<4>();
    for [a, b, c, d] in fours {
        take(0, *a, *b);
        take(1, *c, *d);
    }
    let (two, one) = others.as_chunks::<2>();
    if let [[a, b]] = two {
        take(0, *a, *b);
    }
    if let [word] = one {
        take(1, *word, KEYS[2]);
    }
    folded(lanes[0] ^ KEYS[0], lanes[1] ^ KEYS[1])
}

impl Place {
    /// Whether this is kept here. Which bits of a head count follows from those that do: what is equal was masked alike.
    #[inline]
    fn is(&self, residual: u32, head: &[u64; HEAD], rest: &[u64], task: Option<Versioned>) -> bool {
        // Words that differ are rare where the hash is the same, so all are looked at without asking in between.
        let differing = (0..HEAD).fold(0, |bits, at| bits | (self.head[at] ^ head[at]));
        // What is said tells whether it is bound to a task.
        let bound = |kept: Versioned| task == Some(kept);
        self.residual == residual
            && differing == 0
            && self.len as usize == rest.len()
            && self.rest.get(..rest.len()) == Some(rest)
            && self.task.is_none_or(bound)
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
        let mut met = Met::default();
        let head = [0; HEAD];
        let same_set: Vec<[u64; 1]> =
            (0..).map(|n| [n]).filter(|rest| Whereabouts::of(hash(1, &head, rest)).set == 5).take(9).collect();
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
    fn what_differs_in_a_bit_is_told_apart_by_the_hash() {
        let head = [3; HEAD];
        let mut seen = std::collections::HashSet::new();
        let mut same = 0;
        for (a, b) in (0..20 * 64).map(|a| (a, 0)).chain((1..64).flat_map(|a| (64..20 * 64).map(move |b| (a, b)))) {
            let mut rest = [0x6c69_622f_7273_752f; 20];
            rest[a / 64] ^= 1 << (a % 64);
            rest[b / 64] ^= 1 << (b % 64);
            let at = Whereabouts::of(hash(1, &head, &rest));
            same += usize::from(!seen.insert((at.set, at.tag, at.once)));
        }
        // Of 80,000 with 29 bits six are expected to share them.
        assert!(same < 30, "{same}");
    }
}
