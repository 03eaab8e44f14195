//! Numbers for what threads have in common: the same number, the same name, executable and arguments; the same ancestors; the same
//! user. What rules ask of such a part is answered once for all threads that have it.
//!
//! Not the parts themselves. Invariants: a number is given to one content only and never again; what was forgotten gets a new one.

use super::thread::{Image, Thread};
use crate::event::value::Parts;
use hashbrown::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// Contents that are known at a time, of each kind: then all of the kind are forgotten.
const KNOWN: usize = 1 << 10;

/// A name and an image, but for its file's numbers and its environment.
#[derive(Debug)]
struct Program {
    comm: [u8; 16],
    image: Rc<Image>,
}

impl Program {
    fn texts(image: &Image) -> [&[u8]; 3] {
        [&image.exe, &image.exepath, &image.args]
    }

    fn flags(image: &Image) -> [bool; 3] {
        [image.upper_layer, image.lower_layer, image.from_memfd]
    }
}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.comm);
        state.write(&self.image.exepath);
        state.write(&self.image.args);
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        let (a, b) = (&self.image, &other.image);
        let same = || Program::texts(a) == Program::texts(b) && Program::flags(a) == Program::flags(b);
        self.comm == other.comm && (Rc::ptr_eq(a, b) || same())
    }
}

impl Eq for Program {}

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
    programs: HashMap<Program, u64>,
    /// By the numbers of the ancestors' programs.
    lineages: HashMap<Box<[u64]>, u64>,
    users: HashMap<Identity, u64>,
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
        let program = Program { comm: thread.comm, image: thread.image.clone() };
        if self.programs.len() >= KNOWN {
            self.programs.clear();
        }
        let number = *self.programs.entry(program).or_insert_with(|| next(&mut self.last));
        thread.program.set(number);
        number
    }
}

fn next(last: &mut u64) -> u64 {
    *last += 1;
    *last
}
