//! What a record of the ring says of its event, read where it lies and without taking it apart.
//!
//! Of the struct at its beginning some bits say nothing that a field follows from: the generation of the slot, and registers that
//! the call does not use or that hold addresses. A mask for each type of event leaves them out. What is attached counts as it is,
//! padding and all. Invariant: the masks of a record follow from bits that they do not leave out.

use super::super::flags;
use super::super::params::{self, EventDef};
use super::super::types::{EVENTS, EventCode};
use super::super::value::{HEAD, Said};
use crate::driver::abi::{self, fsn_event, fsn_record};
use std::sync::LazyLock;

const _: () = assert!(size_of::<fsn_event>() == size_of::<fsn_record>() + HEAD * size_of::<u64>());

/// What the head of an event of one type says.
struct Meaning {
    /// The bits that count: where no file is made, and where the mode of one does too.
    masks: [[u64; HEAD]; 2],
    /// The register with the flags of an open.
    open_flags: Option<u8>,
}

/// What an event says whose record this is; None where that is not all that its fields follow from. Where a text says
/// something else in another state of the task is not asked: that follows from what is attached.
#[inline]
pub fn of(record: &[u8]) -> Option<Said<'_>> {
    static ALL: LazyLock<Vec<Option<Meaning>>> =
        LazyLock::new(|| (0..EVENTS.len() as u16).map(|code| Meaning::of(params::event(EventCode(code))?)).collect());
    let event = abi::view::<fsn_event>(record)?;
    let meaning = ALL.get(usize::from(event.code))?.as_ref()?;
    // Without the header that every record has.
    let (head, rest) = abi::words(record.get(size_of::<fsn_record>()..)?)?.split_first_chunk()?;
    let makes = |n: u8| event.args.get(usize::from(n)).is_some_and(|flags| flags::creates_file(*flags as u32));
    let mask = &meaning.masks[usize::from(meaning.open_flags.is_some_and(makes))];
    Some(Said { head, mask, rest, task: None })
}

impl Meaning {
    fn of(def: &EventDef) -> Option<Meaning> {
        let registers = def.registers?;
        let mask = |makes_file| {
            let mut event =
                fsn_event { code: !0, sc: !0, ret: !0, flags: !0, natts: !0, nr: !0, ..fsn_event::default() };
            let mut count = |n: u8| event.args[usize::from(n)] = !0;
            (0..6).filter(|n| registers.used >> n & 1 == 1).for_each(&mut count);
            if let Some((mode, flags)) = registers.open_mode {
                count(flags);
                if makes_file {
                    count(mode);
                }
            }
            let mut bytes = Vec::new();
            abi::push(&[event], &mut bytes);
            let (words, _) = bytes[size_of::<fsn_record>()..].as_chunks();
            std::array::from_fn(|at| u64::from_ne_bytes(words[at]))
        };
        Some(Meaning { masks: [mask(false), mask(true)], open_flags: registers.open_mode.map(|(_, flags)| flags) })
    }
}
