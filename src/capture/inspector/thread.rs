//! Threads: a slab, found by tid.

use super::fd::FdTable;
use crate::capture::bounds;
use crate::capture::meta::ProcessEntry;
use crate::event::task::Task;
use hashbrown::HashMap;
use std::cell::Cell;
use std::rc::Rc;

/// Place of a thread in the table; valid until the thread is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(u32);

impl ThreadId {
    pub const fn place(self) -> u32 {
        self.0
    }
}

/// Bits of `Thread::flags` (clone flags).
pub const CLONE_NEWPID: u32 = 1 << 6;
pub const CLONE_PARENT: u32 = 1 << 8;
pub const CLONE_THREAD: u32 = 1 << 13;
pub const CLONE_NEWUSER: u32 = 1 << 20;
pub const CLONE_VFORK: u32 = 1 << 27;

/// A process image, shared by forks.
#[derive(Debug, Default)]
pub struct Image {
    /// Its texts one behind the other, in the order of [`ImageTexts`], and where each ends.
    text: Box<[u8]>,
    ends: [u32; 5],
    pub facts: ImageFacts,
    /// Its number in the dictionary of a generation of it.
    pub(super) sent: Cell<(u32, u64)>,
}

/// The texts of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageTexts<'a> {
    pub exepath: &'a [u8],
    pub exe: &'a [u8],
    /// After argv[0], NUL-terminated each.
    pub args: &'a [u8],
    pub filename: &'a [u8],
    pub env: &'a [u8],
}

/// What else is known of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageFacts {
    pub ino: u64,
    pub ctime: u64,
    pub mtime: u64,
    pub writable: bool,
    pub upper_layer: bool,
    pub lower_layer: bool,
    pub from_memfd: bool,
}

impl Image {
    pub fn new(texts: &ImageTexts<'_>, facts: ImageFacts) -> Image {
        let ImageTexts { exepath, exe, args, filename, env } = *texts;
        let texts = [exepath, exe, args, filename, env];
        let mut end = 0;
        let ends = texts.map(|text| {
            end += text.len() as u32;
            end
        });
        Image { text: texts.concat().into(), ends, facts, sent: Cell::default() }
    }

    fn part(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start as usize..self.ends[at] as usize]
    }

    pub fn exepath(&self) -> &[u8] {
        self.part(0)
    }

    pub fn exe(&self) -> &[u8] {
        self.part(1)
    }

    /// See [`ImageTexts::args`].
    pub fn args(&self) -> &[u8] {
        self.part(2)
    }

    pub fn filename(&self) -> &[u8] {
        self.part(3)
    }

    pub fn env(&self) -> &[u8] {
        self.part(4)
    }

    pub fn texts(&self) -> ImageTexts<'_> {
        ImageTexts {
            exepath: self.exepath(),
            exe: self.exe(),
            args: self.args(),
            filename: self.filename(),
            env: self.env(),
        }
    }
}

/// A thread.
#[derive(Debug)]
pub struct Thread {
    pub tid: i64,
    /// See [`Threads::set_process`].
    pid: i64,
    /// See [`Threads::set_parent`].
    ptid: i64,
    pub sid: i64,
    pub pgid: i64,
    pub vtid: i64,
    pub vpid: i64,
    pub vpgid: i64,
    pub comm: [u8; 16],
    pub image: Rc<Image>,
    /// Number of its name and image; 0 when it is not known yet.
    pub(super) program: Cell<u64>,
    pub cwd: Rc<[u8]>,
    pub root: Rc<[u8]>,
    pub cgroups: Rc<[u8]>,
    pub uid: u32,
    pub gid: u32,
    pub loginuid: u32,
    pub fdlimit: i64,
    /// Clone flags.
    pub flags: u32,
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub tty: u32,
    pub pidns_init_start: u64,
    /// When it was made, or its process called exec last: ns since 1970, 0 when that was before the capture.
    pub clone_time: u64,
    pub exec_time: u64,
    pub vmsize_kb: u32,
    pub vmrss_kb: u32,
    pub vmswap_kb: u32,
    pub pfmajor: u64,
    pub pfminor: u64,
    /// ns between the switches to it and those before them on the same CPU.
    pub exec_total: u64,
    pub subreaper: bool,
    /// Its exit has been seen.
    pub dead: bool,
    /// Nothing is known but that it exists.
    pub unknown: bool,
    /// Of the process's first thread, or of one that does not share.
    pub fds: FdTable,
    /// Threads of the process, this one included; kept by the first.
    pub threads: u32,
    /// Grows with every change that rules can see.
    pub version: u32,
    /// Grows with every change that descendants can see.
    pub family_version: u32,
    pub(super) mirror: Mirror,
}

/// What threads share with those they made.
struct Texts {
    image: Rc<Image>,
    cwd: Rc<[u8]>,
    root: Rc<[u8]>,
    cgroups: Rc<[u8]>,
}

/// The name of a thread of which nothing is known.
const NOTHING: &[u8] = b"<NA>";

/// What the evaluator sees of a thread, and of which of its states.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// None until it is filled.
    pub task: Option<Box<Task>>,
    pub version: u32,
    pub lineage_seq: u64,
    pub lineage_hash: u64,
    pub dictionary: u32,
}

/// The first 15 bytes of a name.
pub fn comm_of(text: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    let len = text.len().min(15);
    comm[..len].copy_from_slice(&text[..len]);
    comm
}

impl Thread {
    /// One of the list that a capture begins with.
    pub fn listed(entry: ProcessEntry) -> Thread {
        let texts =
            ImageTexts { exepath: &entry.exepath, exe: &entry.exe, args: &entry.args, filename: b"", env: &entry.env };
        let facts = ImageFacts {
            ino: entry.exe_ino,
            ctime: entry.exe_ctime,
            mtime: entry.exe_mtime,
            writable: entry.exe_writable,
            upper_layer: entry.exe_upper_layer,
            lower_layer: entry.exe_lower_layer,
            from_memfd: entry.exe_from_memfd,
        };
        let image = Image::new(&texts, facts);
        let texts = Texts {
            image: Rc::new(image),
            cwd: without_slash(&entry.cwd).into(),
            root: entry.root.into(),
            cgroups: entry.cgroups.into(),
        };
        Thread {
            pid: entry.pid,
            ptid: entry.ptid,
            sid: entry.sid,
            pgid: entry.pgid.unwrap_or(-1),
            vtid: entry.vtid,
            vpid: entry.vpid,
            vpgid: entry.vpgid,
            comm: comm_of(&entry.comm),
            uid: entry.uid,
            gid: entry.gid,
            loginuid: entry.loginuid,
            fdlimit: entry.fdlimit as i64,
            flags: entry.flags,
            cap_inheritable: entry.cap_inheritable,
            cap_permitted: entry.cap_permitted,
            cap_effective: entry.cap_effective,
            tty: entry.tty,
            pidns_init_start: entry.pidns_init_start,
            vmsize_kb: entry.vmsize_kb,
            vmrss_kb: entry.vmrss_kb,
            vmswap_kb: entry.vmswap_kb,
            pfmajor: entry.pfmajor,
            pfminor: entry.pfminor,
            ..Thread::of_texts(entry.tid, texts)
        }
        .known()
    }

    fn known(mut self) -> Thread {
        self.unknown = false;
        self.threads = 1;
        self
    }

    /// One of which nothing is known.
    pub fn unknown(tid: i64) -> Thread {
        let image = Image::new(&ImageTexts { exe: NOTHING, ..ImageTexts::default() }, ImageFacts::default());
        let texts =
            Texts { image: Rc::new(image), cwd: Rc::from(*b"."), root: Rc::from(*b""), cgroups: Rc::from(*b"") };
        Thread::of_texts(tid, texts)
    }

    /// One of which only these texts are known.
    fn of_texts(tid: i64, texts: Texts) -> Thread {
        let Texts { image, cwd, root, cgroups } = texts;
        Thread {
            tid,
            pid: -1,
            ptid: -1,
            sid: -1,
            pgid: -1,
            vtid: -1,
            vpid: -1,
            vpgid: -1,
            comm: comm_of(NOTHING),
            image,
            program: Cell::default(),
            cwd,
            root,
            cgroups,
            uid: u32::MAX,
            gid: u32::MAX,
            loginuid: u32::MAX,
            fdlimit: 0,
            flags: 0,
            cap_inheritable: 0,
            cap_permitted: 0,
            cap_effective: 0,
            tty: 0,
            pidns_init_start: 0,
            clone_time: 0,
            exec_time: 0,
            vmsize_kb: 0,
            vmrss_kb: 0,
            vmswap_kb: 0,
            pfmajor: 0,
            pfminor: 0,
            exec_total: 0,
            subreaper: false,
            dead: false,
            unknown: true,
            fds: FdTable::default(),
            threads: 0,
            version: 1,
            family_version: 1,
            mirror: Mirror::default(),
        }
    }

    /// A child as it is when fork returns; its numbers are still those of its maker.
    pub fn fork(&self, tid: i64) -> Thread {
        let texts = Texts {
            image: self.image.clone(),
            cwd: self.cwd.clone(),
            root: self.root.clone(),
            cgroups: self.cgroups.clone(),
        };
        Thread {
            pid: tid,
            ptid: self.tid,
            program: self.program.clone(),
            comm: self.comm,
            sid: self.sid,
            pgid: self.pgid,
            vtid: tid,
            vpid: tid,
            vpgid: self.vpgid,
            uid: self.uid,
            gid: self.gid,
            loginuid: self.loginuid,
            fdlimit: self.fdlimit,
            cap_inheritable: self.cap_inheritable,
            cap_permitted: self.cap_permitted,
            cap_effective: self.cap_effective,
            tty: self.tty,
            pidns_init_start: self.pidns_init_start,
            ..Thread::of_texts(tid, texts)
        }
        .known()
    }

    /// Its name.
    pub fn comm_text(&self) -> &[u8] {
        &self.comm[..memchr::memchr(0, &self.comm).unwrap_or(self.comm.len())]
    }

    /// The first thread of its process.
    pub const fn is_main(&self) -> bool {
        self.tid == self.pid
    }

    /// The tid of the first thread of its process.
    pub const fn pid(&self) -> i64 {
        self.pid
    }

    /// Says what its process is, before it is in a table.
    pub const fn born_in(&mut self, pid: i64) {
        self.pid = pid;
    }

    /// The tid of its parent.
    pub const fn ptid(&self) -> i64 {
        self.ptid
    }

    /// Says who its parent is, before it is in a table.
    pub const fn born_to(&mut self, ptid: i64) {
        self.ptid = ptid;
    }

    /// Whether its number is another in its own pid namespace.
    pub const fn in_pid_namespace(&self) -> bool {
        self.tid != self.vtid || self.pid != self.vpid
    }

    /// It changed in a way that rules can see.
    pub fn touch(&mut self) {
        self.version = self.version.wrapping_add(1);
    }
}

/// A directory without the slash at its end.
pub fn without_slash(path: &[u8]) -> &[u8] {
    match path {
        [b'/'] => path,
        [rest @ .., b'/'] => rest,
        _ => path,
    }
}

/// All threads.
#[derive(Debug, Default)]
pub struct Threads {
    slab: Vec<Option<Thread>>,
    /// By place, what is looked for when a thread ends or executes a program: the parent's tid, and the process.
    parents: Vec<i64>,
    processes: Vec<i64>,
    free: Vec<u32>,
    by_tid: HashMap<i64, ThreadId>,
    /// Who was found last: the next event is often of the same thread.
    found: Cell<Option<(i64, ThreadId)>>,
    /// Whose descriptors were asked for last.
    owner: Cell<Option<(i64, ThreadId)>>,
    /// Threads that were not kept because the table was full.
    pub refused: u64,
    /// What was seen of threads that are gone: the memory serves those to come.
    #[expect(clippy::vec_box, reason = "a thread takes the box, not what is in it")]
    spare: Vec<Box<Task>>,
}

impl Threads {
    #[inline]
    pub fn find(&self, tid: i64) -> Option<ThreadId> {
        match self.found.get() {
            Some((found, id)) if found == tid => Some(id),
            _ => self.look_up(tid),
        }
    }

    /// Not where it is asked for: in the loop that passes events over it takes the registers of what is asked of each.
    #[inline(never)]
    fn look_up(&self, tid: i64) -> Option<ThreadId> {
        let id = *self.by_tid.get(&tid)?;
        self.found.set(Some((tid, id)));
        Some(id)
    }

    pub fn get(&self, id: ThreadId) -> &Thread {
        // An id is made by `insert` and not used after `remove`.
        self.slab[id.0 as usize].as_ref().unwrap_or_else(|| unreachable!("a thread that was removed"))
    }

    pub fn get_mut(&mut self, id: ThreadId) -> &mut Thread {
        self.slab[id.0 as usize].as_mut().unwrap_or_else(|| unreachable!("a thread that was removed"))
    }

    /// Gives a thread another parent.
    pub fn set_parent(&mut self, id: ThreadId, ptid: i64) {
        self.get_mut(id).ptid = ptid;
        self.parents[id.0 as usize] = ptid;
    }

    /// Gives a thread another process.
    pub fn set_process(&mut self, id: ThreadId, pid: i64) {
        self.get_mut(id).pid = pid;
        self.processes[id.0 as usize] = pid;
    }

    /// The threads whose parent has this tid.
    pub fn children(&self, tid: i64) -> impl Iterator<Item = ThreadId> {
        self.places_of(&self.parents, tid)
    }

    /// The threads of a process.
    pub fn of_process(&self, pid: i64) -> impl Iterator<Item = ThreadId> {
        self.places_of(&self.processes, pid)
    }

    fn places_of<'t>(&'t self, numbers: &'t [i64], wanted: i64) -> impl Iterator<Item = ThreadId> + 't {
        const FEW: usize = 16;
        // Most have none of them, which is seen without looking at one after the other.
        let has = move |few: &[i64]| few.iter().fold(false, |any, number| any | (*number == wanted));
        let some = (0..).zip(numbers.chunks(FEW)).filter(move |(_, few)| has(few));
        let places = some.flat_map(move |(at, few)| {
            (at * FEW as u32..).zip(few).filter(move |(_, number)| **number == wanted).map(|(place, _)| ThreadId(place))
        });
        places.filter(|id| self.slab[id.0 as usize].is_some())
    }

    pub fn by_tid(&self, tid: i64) -> Option<&Thread> {
        self.find(tid).map(|id| self.get(id))
    }

    /// Adds a thread, in the place of another with its tid; None when the table is full.
    pub fn insert(&mut self, thread: Thread) -> Option<ThreadId> {
        if let Some(id) = self.find(thread.tid) {
            self.slab[id.0 as usize] = Some(thread);
            return Some(id);
        }
        if self.by_tid.len() >= bounds::THREADS {
            self.refused += 1;
            return None;
        }
        let (tid, pid, ptid) = (thread.tid, thread.pid, thread.ptid);
        let id = match self.free.pop() {
            Some(place) => {
                self.slab[place as usize] = Some(thread);
                self.parents[place as usize] = ptid;
                self.processes[place as usize] = pid;
                ThreadId(place)
            }
            None => {
                self.slab.push(Some(thread));
                self.parents.push(ptid);
                self.processes.push(pid);
                ThreadId(self.slab.len() as u32 - 1)
            }
        };
        self.by_tid.insert(tid, id);
        Some(id)
    }

    pub fn remove(&mut self, id: ThreadId) {
        let place = &mut self.slab[id.0 as usize];
        if let Some(thread) = place {
            self.by_tid.remove(&thread.tid);
            if let Some(task) = thread.mirror.task.take()
                && self.spare.len() < SPARE
            {
                self.spare.push(task);
            }
            *place = None;
            self.found.set(None);
            self.owner.set(None);
            self.free.push(id.0);
        }
    }

    /// The task of a thread's mirror, to be filled. Where there is none yet it has the memory of another's.
    pub(super) fn take_task(&mut self, id: ThreadId) -> Box<Task> {
        let own = self.get_mut(id).mirror.task.take();
        own.unwrap_or_else(|| {
            let mut task = self.spare.pop().unwrap_or_default();
            task.head.gen_ = 0;
            task
        })
    }

    pub fn len(&self) -> usize {
        self.by_tid.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_tid.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Thread> {
        self.slab.iter().flatten()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Thread> {
        self.slab.iter_mut().flatten()
    }

    /// The thread whose table of descriptors a thread uses: the first of its process.
    #[inline]
    pub fn owner_of_fds(&self, id: ThreadId) -> ThreadId {
        let thread = self.get(id);
        if thread.is_main() {
            return id;
        }
        match self.owner.get() {
            Some((pid, owner)) if pid == thread.pid => owner,
            _ => self.look_up_owner(thread.pid).unwrap_or(id),
        }
    }

    fn look_up_owner(&self, pid: i64) -> Option<ThreadId> {
        let owner = *self.by_tid.get(&pid)?;
        self.owner.set(Some((pid, owner)));
        Some(owner)
    }

    /// The ancestors, parent first, until one is not known or seen before.
    pub fn ancestors(&self, id: ThreadId) -> impl Iterator<Item = &Thread> {
        let mut left = MAX_ANCESTORS;
        let first = self.get(id);
        let mut next = first.ptid;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            // Not `find`: who is asked for next is not an ancestor but the thread of an event.
            let parent = self.get(*self.by_tid.get(&next)?);
            if parent.tid == first.tid {
                return None;
            }
            next = if parent.ptid == parent.tid { 0 } else { parent.ptid };
            Some(parent)
        })
    }
}

/// Tasks of threads that are gone whose memory is kept.
const SPARE: usize = 64;

/// Ancestors that are looked at: more are a circle, or as good as one.
const MAX_ANCESTORS: usize = crate::driver::abi::FSN_LINEAGE_MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is found by parent and by process is what looking at each thread finds.
        #[test]
        fn threads_are_found_by_what_they_say(steps in prop::collection::vec((0..5u8, 0..6i64, 0..6i64), 1..60)) {
            let mut threads = Threads::default();
            for (what, tid, number) in steps {
                match (what, threads.find(tid)) {
                    (0 | 1, None) => {
                        let mut thread = Thread::unknown(tid);
                        thread.born_in(number);
                        thread.born_to(5 - number);
                        threads.insert(thread);
                    }
                    (2, Some(id)) => threads.remove(id),
                    (3, Some(id)) => threads.set_parent(id, number),
                    (4, Some(id)) => threads.set_process(id, number),
                    _ => {}
                }
                for number in 0..6 {
                    let tids = |ids: Vec<ThreadId>| ids.into_iter().map(|id| threads.get(id).tid).collect::<Vec<_>>();
                    let having = |of: fn(&Thread) -> i64| -> Vec<i64> {
                        threads.iter().filter(|thread| of(thread) == number).map(|thread| thread.tid).collect()
                    };
                    prop_assert_eq!(tids(threads.children(number).collect()), having(Thread::ptid));
                    prop_assert_eq!(tids(threads.of_process(number).collect()), having(Thread::pid));
                }
            }
        }
    }
}
