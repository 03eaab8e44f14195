//! What events do to threads: clone, exec, exit, and changes of their properties.

use super::columns::Named;
use super::descriptors::is_given;
use super::fd::FdsMut;
use super::thread::{
    CLONE_NEWPID, CLONE_NEWUSER, CLONE_PARENT, CLONE_THREAD, CLONE_VFORK, Image, ImageFacts, ImageTexts, Thread,
    ThreadId, comm_of, without_slash,
};
use super::{Action, After, Column, Inspector, Subject};
use crate::capture::event::{Event, EventBuf};
use crate::enrich::users::UNKNOWN;
use crate::event::flags::CLONE_CHILD_IN_PIDNS;
use crate::event::path;
use std::rc::Rc;

/// `RLIMIT_NOFILE`, in Falco's numbers and in the kernel's.
const NOFILE: u64 = 7;

impl Inspector {
    pub(super) fn process(&mut self, action: Action, event: &Event<'_>, subject: &mut Subject) {
        match action {
            Action::Clone => self.cloned(event, subject),
            Action::Exec => self.executed(event, subject),
            _ => self.exited(event, subject),
        }
    }

    /// Both sides of a fork: whichever comes first makes the child.
    fn cloned(&mut self, event: &Event<'_>, subject: &mut Subject) {
        let named = Named::new(event);
        let result = named.result();
        let flags = named.unsigned(Column::Flags).unwrap_or(0) as u32;
        if result < 0 {
            return;
        }
        if result > 0 {
            if subject.thread.is_none() {
                // Falco's table learns of the caller from its own event.
                subject.thread = self.caller(event);
            }
            // The result is another's number where the child has numbers of its own, and vfork returns after the child has run.
            let others = flags & (CLONE_NEWPID | CLONE_VFORK | CLONE_CHILD_IN_PIDNS) != 0
                || event.code.info().name == "vfork"
                || subject.thread.is_some_and(|id| self.threads.get(id).in_pid_namespace());
            if let (Some(id), false) = (subject.thread, others)
                && self.threads.find(result).is_none_or(|child| self.is_stale(child, event))
            {
                let child = self.child_of(id, result, flags, event);
                self.adopt(child, id, flags);
            }
            return;
        }
        let known = subject.thread.filter(|id| !self.threads.get(*id).unknown && !self.is_stale(*id, event));
        // Its maker's event came first, and has told all that Falco takes.
        if known.is_some() {
            return;
        }
        let ptid = named.signed(Column::Ptid).unwrap_or(-1);
        // A thread's maker is its process, whatever its parent is.
        let maker = if flags & CLONE_THREAD != 0 { named.signed(Column::Pid).unwrap_or(-1) } else { ptid };
        let tid = event.tid;
        match self.threads.find(maker).or_else(|| self.threads.find(ptid)) {
            Some(id) => {
                let mut child = self.child_of(id, tid, flags, event);
                set_ids(&mut child, &named);
                self.adopt(child, id, flags);
            }
            None => {
                let mut child = Thread::unknown(tid);
                child.unknown = false;
                fill(&mut child, &named);
                set_ids(&mut child, &named);
                child.flags = flags;
                child.clone_time = event.time;
                self.threads.insert(child);
                self.lineage_seq += 1;
            }
        }
        subject.thread = self.threads.find(tid);
    }

    /// An entry from before: its number was used again.
    fn is_stale(&self, id: ThreadId, event: &Event<'_>) -> bool {
        const A_WHILE: u64 = 2_000_000_000;
        let thread = self.threads.get(id);
        thread.dead || thread.unknown || thread.clone_time.saturating_add(A_WHILE) < event.time
    }

    fn caller(&mut self, event: &Event<'_>) -> Option<ThreadId> {
        let named = Named::new(event);
        let mut thread = Thread::unknown(event.tid);
        thread.unknown = false;
        fill(&mut thread, &named);
        set_ids(&mut thread, &named);
        self.threads.insert(thread)
    }

    fn child_of(&self, parent: ThreadId, tid: i64, flags: u32, event: &Event<'_>) -> Thread {
        let maker = self.threads.get(parent);
        let named = Named::new(event);
        let mut child = maker.fork(tid);
        fill(&mut child, &named);
        child.flags = flags;
        child.clone_time = event.time;
        if flags & CLONE_THREAD != 0 {
            child.born_in(maker.pid());
            child.vpid = maker.vpid;
            child.born_to(maker.ptid());
            child.clone_time = event.time;
        } else if flags & CLONE_PARENT != 0 {
            child.born_to(maker.ptid());
        }
        child
    }

    fn adopt(&mut self, mut child: Thread, maker: ThreadId, flags: u32) {
        let pid = child.pid();
        if flags & CLONE_THREAD == 0 {
            let owner = self.threads.owner_of_fds(maker);
            // Also when it is shared in the kernel (CLONE_FILES): each has what there was.
            child.fds = self.threads.get(owner).fds.clone();
        }
        let is_thread = child.tid != pid;
        if self.threads.insert(child).is_some()
            && is_thread
            && let Some(main) = self.threads.find(pid)
        {
            self.threads.get_mut(main).threads += 1;
        }
        self.lineage_seq += 1;
    }

    /// The file an execveat was asked to run, where only its enter event says it.
    fn asked_to_run(&self, enter: &EventBuf, id: ThreadId) -> Option<Vec<u8>> {
        const AT_EMPTY_PATH: u64 = 1;
        // Its parameters; the table of columns has none of events that only older recorders write.
        const DIRFD: usize = 0;
        const PATHNAME: usize = 1;
        const FLAGS: usize = 2;
        let enter = enter.view(0);
        let (dirfd, given) = (enter.signed(DIRFD)?, enter.text(PATHNAME)?);
        if given.first() == Some(&b'/') {
            return Some(given.to_vec());
        }
        let base = match dirfd == i64::from(libc::AT_FDCWD) {
            true => &*self.threads.get(self.threads.owner_of_fds(id)).cwd,
            false => &*self.fd(id, dirfd)?.name,
        };
        if is_given(given) {
            let arena = bumpalo::Bump::new();
            return Some(path::absolute(base, given, &arena).to_vec());
        }
        let itself = enter.unsigned(FLAGS).unwrap_or(0) & AT_EMPTY_PATH != 0;
        Some(if itself { base.to_vec() } else { UNKNOWN.to_vec() })
    }

    fn executed(&mut self, event: &Event<'_>, subject: &mut Subject) {
        let named = Named::new(event);
        let enter = self.enter_of(event);
        let Some(mut id) = subject.thread else { return };
        if named.result() < 0 {
            return;
        }
        // Another thread's exec takes the first one's place; the others are gone.
        let pid = named.signed(Column::Pid).filter(|pid| *pid >= 0).unwrap_or(event.tid);
        if self.threads.get(id).threads != 1 || !self.threads.get(id).is_main() {
            self.end_threads_of(pid, id);
        }
        if let Some(main) = self.threads.find(pid) {
            id = main;
            subject.thread = Some(main);
        }
        let asked = enter.and_then(|enter| self.asked_to_run(&enter, id));
        let maker = named.signed(Column::Ptid).filter(|tid| self.threads.find(*tid).is_some());
        let is_unknown = self.threads.get(id).unknown;
        // Nothing else tells who made it; one that is not known is no parent.
        if let Some(maker) = maker.filter(|_| is_unknown) {
            self.threads.set_parent(id, maker);
        }
        self.threads.set_process(id, pid);
        let thread = self.threads.get_mut(id);
        let old = thread.image.clone();
        if is_unknown {
            thread.cwd = Rc::from(*b"");
        }
        thread.unknown = false;
        if let Some(comm) = named.text(Column::Comm) {
            thread.comm = comm_of(comm);
        }
        let flags = named.unsigned(Column::Flags).unwrap_or(0);
        let filename = named.text(Column::Filename).unwrap_or_default();
        let arena = bumpalo::Bump::new();
        let exepath = match named.text(Column::TrustedExepath) {
            // What the kernel adds to the name of a file that is gone.
            Some(path) if !path.is_empty() => path.strip_suffix(b" (deleted)").unwrap_or(path),
            // Captures of old recorders do not have it.
            _ if !filename.is_empty() => path::absolute(&thread.cwd, filename, &arena),
            _ => asked.as_deref().unwrap_or_else(|| old.exepath()),
        };
        // 32-bit programs' is not captured.
        let env = if self.demand.env { named.bytes(Column::Env).unwrap_or_else(|| old.env()) } else { &[] };
        let texts = ImageTexts {
            exepath,
            exe: named.text(Column::Exe).unwrap_or_default(),
            args: named.bytes(Column::Args).unwrap_or_default(),
            filename,
            env,
        };
        let facts = ImageFacts {
            ino: named.unsigned(Column::ExeIno).unwrap_or(0),
            ctime: named.unsigned(Column::ExeCtime).unwrap_or(0),
            mtime: named.unsigned(Column::ExeMtime).unwrap_or(0),
            writable: flags & 1 != 0,
            upper_layer: flags & 2 != 0,
            from_memfd: flags & 4 != 0,
            lower_layer: flags & 8 != 0,
        };
        thread.image = Rc::new(Image::new(&texts, facts));
        thread.program.set(0);
        thread.exec_time = event.time;
        set_counters(thread, &named);
        if let Some(cgroups) = named.bytes(Column::Cgroups)
            && *cgroups != *thread.cgroups
        {
            thread.cgroups = cgroups.into();
        }
        let set = |to: &mut i64, c| *to = named.signed(c).unwrap_or(*to);
        set(&mut thread.vpgid, Column::Vpgid);
        set(&mut thread.pgid, Column::Pgid);
        let set = |to: &mut u32, c| *to = named.unsigned(c).map_or(*to, |n| n as u32);
        set(&mut thread.tty, Column::Tty);
        set(&mut thread.loginuid, Column::LoginUid);
        set(&mut thread.uid, Column::Uid);
        set(&mut thread.gid, Column::Gid);
        let set = |to: &mut u64, c| *to = named.unsigned(c).unwrap_or(*to);
        set(&mut thread.cap_inheritable, Column::CapInheritable);
        set(&mut thread.cap_permitted, Column::CapPermitted);
        set(&mut thread.cap_effective, Column::CapEffective);
        if thread.vtid < 0 {
            (thread.vtid, thread.vpid) = (thread.tid, thread.pid());
        }
        FdsMut { table: &mut thread.fds, room: &self.room }.retain(|_, slot| !slot.close_on_exec);
        thread.threads = 1;
        thread.touch();
        thread.family_version += 1;
        self.lineage_seq += 1;
    }

    /// Ends the threads of a process but its first; the first gets what `caller` has when they are not the same.
    fn end_threads_of(&mut self, pid: i64, caller: ThreadId) {
        let of_process = self.threads.of_process(pid).map(|id| self.threads.get(id).tid);
        let others: Vec<i64> = of_process.filter(|tid| *tid != pid).collect();
        let caller_tid = self.threads.get(caller).tid;
        for tid in others.into_iter().filter(|tid| *tid != caller_tid || *tid != pid) {
            if let Some(id) = self.threads.find(tid) {
                self.threads.remove(id);
                let orphans = self.orphans(tid, pid);
                self.give(orphans, pid);
            }
        }
    }

    /// The children of a thread that is gone, but for those of its process.
    fn orphans(&self, tid: i64, pid: i64) -> Vec<ThreadId> {
        let is_left = |id: &ThreadId| {
            let child = self.threads.get(*id);
            !child.dead && child.pid() != pid
        };
        self.threads.children(tid).filter(is_left).collect()
    }

    fn give(&mut self, orphans: Vec<ThreadId>, parent: i64) {
        for child in orphans {
            self.threads.set_parent(child, parent);
            self.threads.get_mut(child).touch();
        }
    }

    fn exited(&mut self, event: &Event<'_>, subject: &mut Subject) {
        let Some(id) = subject.thread else { return };
        let reaper = Named::new(event).signed(Column::ReaperTid).unwrap_or(0);
        let thread = self.threads.get_mut(id);
        thread.dead = true;
        let (tid, pid, is_main) = (thread.tid, thread.pid(), thread.is_main());
        if let Some(main) = if is_main { Some(id) } else { self.threads.find(pid) } {
            let main = self.threads.get_mut(main);
            main.threads = main.threads.saturating_sub(1);
        }
        let orphans = self.orphans(tid, pid);
        if !orphans.is_empty() {
            let reaper = if reaper > 0 { reaper } else { self.reaper_of(id) };
            self.give(orphans, reaper);
            self.lineage_seq += 1;
        }
        subject.after = After::RemoveThread;
    }

    /// Who gets the children of a thread that ends, where the recorder does not say.
    fn reaper_of(&self, id: ThreadId) -> i64 {
        let thread = self.threads.get(id);
        let mut of_process = self.threads.of_process(thread.pid()).map(|id| self.threads.get(id));
        let sibling = of_process.find(|t| t.tid != thread.tid && !t.dead);
        if let Some(sibling) = sibling {
            return sibling.tid;
        }
        self.threads.ancestors(id).find(|t| t.subreaper && !t.dead).map_or(1, |t| t.tid)
    }

    /// Removes a thread that has ended; the first of a process stays while it has others.
    pub(super) fn remove_thread(&mut self, id: ThreadId) {
        let thread = self.threads.get(id);
        let (tid, pid) = (thread.tid, thread.pid());
        if thread.is_main() && thread.threads > 0 {
            return;
        }
        self.threads.remove(id);
        self.lineage_seq += 1;
        // The last of the others takes the first with it.
        if tid != pid
            && let Some(main) = self.threads.find(pid)
            && self.threads.get(main).dead
            && self.threads.get(main).threads == 0
        {
            self.threads.remove(main);
        }
    }

    /// Changes of a thread's own properties.
    pub(super) fn property(&mut self, action: Action, event: &Event<'_>, id: ThreadId) {
        let named = Named::new(event);
        let result = named.result();
        if result < 0 {
            return;
        }
        let fchdir = (action == Action::Fchdir)
            .then(|| named.signed(Column::Fd).and_then(|fd| self.fd(id, fd)).map(|fd| fd.name.clone()))
            .flatten();
        let limit = match action {
            Action::Rlimit if named.unsigned(Column::Resource) == Some(NOFILE) => {
                named.signed(Column::NewCur).or_else(|| named.signed(Column::Cur)).filter(|limit| *limit >= 0)
            }
            _ => None,
        };
        let limited = match named.signed(Column::Pid) {
            Some(pid) if action == Action::Rlimit && pid > 0 => self.threads.find(pid),
            _ => Some(id),
        };
        if let (Some(limit), Some(limited)) = (limit, limited) {
            let thread = self.threads.get_mut(limited);
            thread.fdlimit = limit;
            thread.touch();
            return;
        }
        // Directories belong to the process.
        let owner = self.threads.owner_of_fds(id);
        if matches!(action, Action::Chdir | Action::Fchdir | Action::Getcwd | Action::Chroot) {
            let thread = self.threads.get_mut(owner);
            let given = named.text(Column::Path);
            let arena = bumpalo::Bump::new();
            match (action, given, fchdir) {
                (Action::Chdir, Some(path), _) => {
                    thread.cwd = without_slash(path::absolute(&thread.cwd, path, &arena)).into()
                }
                (Action::Getcwd, Some(path), _) if path.first() == Some(&b'/') => {
                    thread.cwd = without_slash(path).into()
                }
                (Action::Fchdir, _, Some(path)) if path.first() == Some(&b'/') => {
                    thread.cwd = without_slash(&path).into()
                }
                (Action::Chroot, Some(path), _) => thread.root = path::absolute(&thread.cwd, path, &arena).into(),
                _ => return,
            }
            thread.touch();
            let cwd = thread.cwd.clone();
            if owner != id {
                let thread = self.threads.get_mut(id);
                thread.cwd = cwd;
                thread.touch();
            }
            return;
        }
        let thread = self.threads.get_mut(id);
        // A number that is to stay as it is (-1) is taken for a new one, as in Falco.
        let uid = |effective, plain| named.unsigned(effective).or_else(|| named.unsigned(plain)).map(|n| n as u32);
        match action {
            Action::SetUid => thread.uid = uid(Column::Euid, Column::Uid).unwrap_or(thread.uid),
            Action::SetGid => thread.gid = uid(Column::Egid, Column::Gid).unwrap_or(thread.gid),
            Action::Setsid => thread.sid = result,
            Action::Capset => {
                let set = |to: &mut u64, c| *to = named.unsigned(c).unwrap_or(*to);
                set(&mut thread.cap_inheritable, Column::CapInheritable);
                set(&mut thread.cap_permitted, Column::CapPermitted);
                set(&mut thread.cap_effective, Column::CapEffective);
            }
            Action::Namespace => {
                let kinds = named.unsigned(Column::Flags).or_else(|| named.unsigned(Column::NsType)).unwrap_or(0);
                if kinds as u32 & CLONE_NEWUSER == 0 {
                    return;
                }
                const ALL: u64 = (1 << 41) - 1;
                (thread.cap_inheritable, thread.cap_permitted, thread.cap_effective) = (ALL, ALL, ALL);
            }
            Action::Prctl => {
                // The numbers of both directions of the option; Falco takes asking for setting.
                const SET_CHILD_SUBREAPER: u64 = 36;
                if named.unsigned(Column::Option) == Some(SET_CHILD_SUBREAPER) {
                    thread.subreaper = named.signed(Column::Arg2).unwrap_or(0) != 0;
                }
                return;
            }
            _ => return,
        }
        thread.touch();
    }
}

/// What clone's parameters say of the image's texts and counters: those of the child, or of its maker, which are the same.
fn fill(thread: &mut Thread, named: &Named<'_>) {
    if let Some(comm) = named.text(Column::Comm).map(comm_of)
        && comm != thread.comm
    {
        thread.comm = comm;
        thread.program.set(0);
    }
    let exe = named.text(Column::Exe);
    let args = named.bytes(Column::Args).unwrap_or_default();
    if let Some(exe) = exe
        && (exe != thread.image.exe() || args != thread.image.args())
    {
        let old = &thread.image;
        thread.image = Rc::new(Image::new(&ImageTexts { exe, args, ..old.texts() }, old.facts));
        thread.program.set(0);
    }
    if let Some(cgroups) = named.bytes(Column::Cgroups)
        && *cgroups != *thread.cgroups
    {
        thread.cgroups = cgroups.into();
    }
    if let Some(uid) = named.unsigned(Column::Uid) {
        thread.uid = uid as u32;
    }
    if let Some(gid) = named.unsigned(Column::Gid) {
        thread.gid = gid as u32;
    }
    set_counters(thread, named);
}

/// Numbers that only the thread's own event has.
fn set_ids(thread: &mut Thread, named: &Named<'_>) {
    let set = |to: &mut i64, c| *to = named.signed(c).filter(|n| *n >= 0).unwrap_or(*to);
    let (mut pid, mut ptid) = (thread.pid(), thread.ptid());
    set(&mut pid, Column::Pid);
    set(&mut ptid, Column::Ptid);
    thread.born_in(pid);
    thread.born_to(ptid);
    set(&mut thread.vtid, Column::Vtid);
    set(&mut thread.vpid, Column::Vpid);
    if let Some(start) = named.unsigned(Column::PidnsInitStart) {
        thread.pidns_init_start = start;
    }
    if let Some(cgroups) = named.bytes(Column::Cgroups)
        && *cgroups != *thread.cgroups
    {
        thread.cgroups = cgroups.into();
    }
}

pub(super) fn set_counters(thread: &mut Thread, named: &Named<'_>) {
    if let Some(limit) = named.signed(Column::FdLimit) {
        thread.fdlimit = limit;
    }
    let set = |to: &mut u64, c| *to = named.unsigned(c).unwrap_or(*to);
    set(&mut thread.pfmajor, Column::PfMajor);
    set(&mut thread.pfminor, Column::PfMinor);
    set_memory(thread, named);
}

pub(super) fn set_memory(thread: &mut Thread, named: &Named<'_>) {
    let set = |to: &mut u32, c| *to = named.unsigned(c).map_or(*to, |n| n as u32);
    set(&mut thread.vmsize_kb, Column::VmSize);
    set(&mut thread.vmrss_kb, Column::VmRss);
    set(&mut thread.vmswap_kb, Column::VmSwap);
}
