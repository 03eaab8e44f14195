//! Numbers for what threads have in common: the same number, the same name, executable and arguments; the same ancestors; the same
//! user. What rules ask of such a part is answered once for all threads that have it.
//!
//! Not the parts themselves. Invariants: a number is given to one content only and never again; what was forgotten gets a new one.

use super::thread::{ImageFacts, ImageTexts, Thread};
use crate::event::value::Parts;
use hashbrown::HashMap;

/// Contents that are known at a time, of each kind: then all of the kind are forgotten.
const KNOWN: usize = 1 << 10;

/// Who a thread runs as, and the number of the control groups that say whose names its numbers mean.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    uid: u32,
    gid: u32,
    loginuid: u32,
    cgroups: u64,
}

/// The numbers given so far.
#[derive(Debug, Default)]
pub struct Numbers {
    last: u64,
    /// By [`write_program`]'s bytes.
    programs: HashMap<Box<[u8]>, u64>,
    /// By the numbers of the ancestors' programs.
    lineages: HashMap<Box<[u64]>, u64>,
    users: HashMap<Identity, u64>,
    key: Vec<u8>,
}

impl Numbers {
    /// The numbers of a thread's parts. `lineage` are those of its ancestors' programs, `cgroups` is that of its control groups.
    pub fn of(&mut self, thread: &Thread, lineage: &[u64], cgroups: u64) -> Parts {
        let own = self.program(thread);
        if self.lineages.len() >= KNOWN {
            self.lineages.clear();
        }
        if self.users.len() >= KNOWN {
            self.users.clear();
        }
        let parent = lineage.first().copied().unwrap_or(0);
        let lineage = *self.lineages.entry_ref(lineage).or_insert_with(|| next(&mut self.last));
        let identity = Identity { uid: thread.uid, gid: thread.gid, loginuid: thread.loginuid, cgroups };
        let user = *self.users.entry(identity).or_insert_with(|| next(&mut self.last));
        Parts { own, parent, lineage, user, cgroups }
    }

    /// The number of a thread's name and image.
    pub fn program(&mut self, thread: &Thread) -> u64 {
        let known = thread.program.get();
        if known != 0 {
            return known;
        }
        self.key.clear();
        write_program(thread, &mut self.key);
        if self.programs.len() >= KNOWN {
            self.programs.clear();
        }
        let number = *self.programs.entry_ref(&self.key[..]).or_insert_with(|| next(&mut self.last));
        thread.program.set(number);
        number
    }
}

/// What tells a name and an image from others, but for the image's file's numbers and its environment.
fn write_program(thread: &Thread, key: &mut Vec<u8>) {
    let image = &thread.image;
    let ImageTexts { exepath, exe, args, .. } = image.texts();
    let ImageFacts { upper_layer, lower_layer, from_memfd, .. } = image.facts;
    key.extend(thread.comm);
    key.extend([upper_layer, lower_layer, from_memfd].map(u8::from));
    for text in [exepath, exe, args] {
        key.extend((text.len() as u32).to_ne_bytes());
        key.extend_from_slice(text);
    }
}

fn next(last: &mut u64) -> u64 {
    *last += 1;
    *last
}
