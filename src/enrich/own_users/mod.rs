//! Names of users and groups in containers, from the `passwd` and `group` below each container's own root.
//!
//! A loop answers from memory ([`OwnUsers`]). What it does not know it asks for between two portions of records, of one thread for
//! all loops ([`Reader`]), which looks below the root of a process of that container. Until it has, nobody but root has a
//! name there. Invariant: no look-up waits or makes a system call, and none answers with the host's names before a process
//! of the container has kept the host's root for seconds.

mod look;
mod reader;

#[cfg(test)]
mod tests;

pub use reader::Reader;

use super::users::Users;
use hashbrown::HashMap;
use reader::Want;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A container's id in full; most are of this length.
type Id = SmallVec<[u8; 64]>;

/// What has been read, by container.
type Known = HashMap<Id, Arc<Entry>>;

#[derive(Debug)]
struct Entry {
    /// None where the container's root is the host's.
    users: Option<Users>,
    /// It is not known any more of any process through which changes of the files could be seen.
    adrift: AtomicBool,
}

/// Containers that a loop asks for at a time, and how long it waits before it asks again.
const WANTS: usize = 16;
const PAUSE: Duration = Duration::from_millis(100);

/// What one loop knows of the users of containers.
#[derive(Debug)]
pub struct OwnUsers {
    /// Without one nothing is ever known.
    reader: Option<Reader>,
    known: Arc<Known>,
    version: u64,
    generation: u32,
    wanted: RefCell<Vec<Want>>,
    asked: Option<Instant>,
    nobody: Users,
}

impl Default for OwnUsers {
    fn default() -> Self {
        OwnUsers {
            reader: None,
            known: Arc::default(),
            version: 0,
            generation: 0,
            wanted: RefCell::default(),
            asked: None,
            nobody: Users::none(),
        }
    }
}

impl OwnUsers {
    /// What `reader` finds out.
    pub fn of(reader: Reader) -> OwnUsers {
        let wanted = RefCell::new(Vec::with_capacity(WANTS));
        OwnUsers { reader: Some(reader), wanted, ..OwnUsers::default() }
    }

    /// The names that hold in a container: its own, or the host's where it has the host's root. `pid` is a process in it, as the
    /// host numbers it.
    pub fn find<'a>(&'a self, container: &[u8], pid: i32, host: &'a Users) -> &'a Users {
        let Some(entry) = self.known.get(container) else {
            self.want(container, pid);
            return &self.nobody;
        };
        if entry.adrift.load(Ordering::Relaxed) {
            self.want(container, pid);
        }
        entry.users.as_ref().unwrap_or(host)
    }

    fn want(&self, container: &[u8], pid: i32) {
        let mut wanted = self.wanted.borrow_mut();
        let has_room = self.reader.is_some() && wanted.len() < WANTS;
        if has_room && wanted.iter().all(|want| want.container[..] != *container) {
            wanted.push(Want { container: container.into(), pid });
        }
    }

    /// Asks for what was not known. To be called between portions of events.
    pub fn ask(&mut self, now: Instant) {
        let wanted = self.wanted.get_mut();
        let Some(reader) = self.reader.as_ref().filter(|_| !wanted.is_empty()) else { return };
        if self.asked.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE) {
            self.asked = Some(now);
            wanted.drain(..).for_each(|want| reader.ask(want));
        }
    }

    /// Takes over what has been read since. Returns whether names changed.
    pub fn refresh(&mut self) -> bool {
        let Some(new) = self.reader.as_ref().and_then(|reader| reader.newer(self.version)) else { return false };
        (self.version, self.known) = new;
        self.generation = self.generation.wrapping_add(1);
        true
    }

    /// Grows whenever names may have changed: what was computed from them is computed again.
    pub const fn generation(&self) -> u32 {
        self.generation
    }
}
