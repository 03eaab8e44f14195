//! Events that were met before and that no rule matched.
//!
//! A host does the same things over and over: the same libraries are loaded by the same kinds of process. Where all that
//! was asked of an event follows from what it says of itself, the next one that says the same, in a task for which the same
//! of the rules is left, has the same answer. What was said is kept whole and compared whole: nobody can make an event pass for another. Invariant: nothing here
//! changes what an event matches, so all of it may be forgotten at any time.

use crate::event::value::Said;
use hashbrown::DefaultHashBuilder;
use std::hash::BuildHasher;

/// Pairs of places; one event has one pair.
const PAIRS: usize = 512;
/// Longer events are not remembered.
const BYTES: usize = 256;

#[derive(Clone, Copy)]
struct Place {
    residual: u32,
    /// Of `bytes`; nothing is kept here when it is [`EMPTY`].
    len: u32,
    words: [u64; 10],
    bytes: [u8; BYTES],
}

const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Pair {
    hashes: [u64; 2],
    /// Of the last event that was not kept: only what comes twice is.
    came: u64,
    places: [Place; 2],
    next: bool,
}

/// What was met by one loop.
#[derive(Default)]
pub struct Met {
    epoch: u32,
    hasher: DefaultHashBuilder,
    /// None until something is kept.
    pairs: Option<Box<[Pair]>>,
}

impl Met {
    /// Whether an event that says this was met with these rules left.
    #[inline]
    pub fn knows(&self, epoch: u32, residual: u32, said: &Said<'_>) -> bool {
        let Some(pairs) = self.pairs.as_deref().filter(|_| self.epoch == epoch) else { return false };
        let hash = hash(&self.hasher, residual, said);
        let pair = &pairs[hash as usize % PAIRS];
        pair.hashes.iter().zip(&pair.places).any(|(kept, place)| *kept == hash && place.is(residual, said))
    }

    /// Keeps what is not known, unless it comes for the first time.
    pub fn add(&mut self, epoch: u32, residual: u32, said: &Said<'_>) {
        if said.bytes.len() > BYTES {
            return;
        }
        if self.epoch != epoch || self.pairs.is_none() {
            self.epoch = epoch;
            let empty = Place { residual: 0, len: EMPTY, words: [0; 10], bytes: [0; BYTES] };
            let pair = Pair { hashes: [0; 2], came: 0, places: [empty; 2], next: false };
            match &mut self.pairs {
                Some(pairs) => pairs.fill(pair),
                none => *none = Some(vec![pair; PAIRS].into()),
            }
        }
        let Some(pairs) = &mut self.pairs else { return };
        let hash = hash(&self.hasher, residual, said);
        let pair = &mut pairs[hash as usize % PAIRS];
        if std::mem::replace(&mut pair.came, hash) != hash {
            return;
        }
        let at = usize::from(pair.next);
        pair.next = !pair.next;
        pair.hashes[at] = hash;
        let place = &mut pair.places[at];
        (place.residual, place.len, place.words) = (residual, said.bytes.len() as u32, said.words);
        place.bytes[..said.bytes.len()].copy_from_slice(said.bytes);
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
