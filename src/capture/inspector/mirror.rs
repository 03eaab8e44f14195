//! What rules see of a thread: a task filled as the kernel module fills those of a ring.
//!
//! The module's rule holds here too: a task is told anew before an event when something in it has changed, and an image goes into
//! the dictionary before the first task that names it. When the dictionary is full everything is told again.

use super::Inspector;
use super::thread::{Image, Mirror, Thread, ThreadId, Threads};
use crate::driver::abi::{self, fsn_exec, fsn_relative, fsn_task};
use crate::event::exec::Execs;
use crate::event::record::{ExecRecord, TaskRecord};
use crate::event::task::{Ids, TOO_WIDE, Task, VIRTUAL_GROUP};
use std::ffi::c_char;
use std::sync::LazyLock;

/// Memory for what is being told.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    relatives: Vec<fsn_relative>,
    /// Numbers of the ancestors' programs.
    programs: Vec<u64>,
    argv: Vec<u8>,
}

/// A number as the module would tell it.
fn narrow(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(TOO_WIDE)
}

fn comm(comm: &[u8; 16]) -> [c_char; 16] {
    let mut out = [0; 16];
    out.iter_mut().zip(comm).for_each(|(to, byte)| *to = *byte as c_char);
    out
}

impl Inspector {
    /// Brings what rules see of a thread up to date.
    pub fn describe(&mut self, id: ThreadId) {
        if self.execs.is_full() {
            self.execs.clear();
            self.dictionary += 1;
        }
        let thread = self.threads.get(id);
        let mirror = &thread.mirror;
        let same = mirror.version == thread.version && mirror.dictionary == self.dictionary;
        if same && mirror.lineage_seq == self.lineage_seq {
            return;
        }
        let hash = self.lineage_hash(id);
        if same && mirror.lineage_hash == hash {
            self.threads.get_mut(id).mirror.lineage_seq = self.lineage_seq;
            return;
        }
        let mut task = self.threads.take_task(id);
        let mut scratch = std::mem::take(&mut self.scratch);
        self.fill(id, &mut task, &mut scratch);
        self.scratch = scratch;
        let thread = self.threads.get_mut(id);
        thread.mirror = Mirror {
            task: Some(task),
            version: thread.version,
            lineage_seq: self.lineage_seq,
            lineage_hash: hash,
            dictionary: self.dictionary,
        };
    }

    /// What rules see of a thread, as of the last [`Inspector::describe`].
    pub fn task(&self, id: ThreadId) -> &Task {
        static NOBODY: LazyLock<Task> = LazyLock::new(Task::default);
        self.threads.get(id).mirror.task.as_deref().unwrap_or_else(|| &NOBODY)
    }

    /// Grows with every description of a thread that differs from the one before.
    pub fn generation(&self, id: ThreadId) -> u32 {
        self.task(id).generation()
    }

    /// Tells one state of a thread's ancestors from another.
    fn lineage_hash(&self, id: ThreadId) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut hash = 0u64;
        for thread in self.threads.ancestors(id) {
            hash = (hash ^ thread.tid as u64).wrapping_mul(ODD);
            hash = (hash ^ u64::from(thread.family_version)).wrapping_mul(ODD) ^ thread.clone_time;
        }
        hash
    }

    fn fill(&mut self, id: ThreadId, task: &mut Task, scratch: &mut Scratch) {
        let Inspector { threads, execs, cgroups, numbers, dictionary, next_image, fills, .. } = self;
        let thread = threads.get(id);
        let mut image_id = |image: &Image| told(image, *dictionary, next_image, execs, &mut scratch.argv);
        let exec_id = image_id(&thread.image);
        let main = if thread.is_main() { thread } else { threads.by_tid(thread.pid()).unwrap_or(thread) };
        scratch.relatives.clear();
        scratch.programs.clear();
        for ancestor in threads.ancestors(id) {
            let relative = relative(ancestor, image_id(&ancestor.image));
            scratch.relatives.push(fsn_relative { flags: abi::FSN_REL_PARENT, ..relative });
            scratch.programs.push(numbers.program(ancestor));
        }
        let leaders = [
            (abi::FSN_REL_SESSION, leader(threads, id, thread.sid, |t| t.sid)),
            (abi::FSN_REL_GROUP, leader(threads, id, thread.pgid, |t| t.pgid)),
            (VIRTUAL_GROUP, leader(threads, id, thread.vpgid, |t| t.vpgid)),
        ];
        for (flags, leader) in leaders {
            // One that is not known has empty names.
            let nobody = fsn_relative::default();
            let relative = leader.map_or(nobody, |leader| relative(leader, image_id(&leader.image)));
            scratch.relatives.push(fsn_relative { flags, ..relative });
        }
        let head = fsn_task {
            gen_: task.generation().wrapping_add(1).max(1),
            flags: 0,
            exec_id,
            start: thread.clone_time,
            // Rules see the thread's, as in Falco.
            pid_start: thread.clone_time,
            pidns_init_start: thread.pidns_init_start,
            cap_inheritable: thread.cap_inheritable,
            cap_permitted: thread.cap_permitted,
            cap_effective: thread.cap_effective,
            fdlimit: main.fdlimit as u64,
            tid: narrow(thread.tid),
            pid: narrow(thread.pid()),
            ppid: narrow(thread.ptid()),
            pgid: narrow(thread.pgid),
            sid: narrow(thread.sid),
            vtid: narrow(thread.vtid),
            vpid: narrow(thread.vpid),
            vpgid: narrow(thread.vpgid),
            vsid: narrow(thread.sid),
            uid: thread.uid,
            euid: thread.uid,
            suid: thread.uid,
            fsuid: thread.uid,
            gid: thread.gid,
            egid: thread.gid,
            sgid: thread.gid,
            fsgid: thread.gid,
            loginuid: thread.loginuid,
            tty: thread.tty,
            comm: comm(&thread.comm),
            comm_now: comm(&thread.comm),
            ..fsn_task::default()
        };
        let record = TaskRecord {
            head: &head,
            relatives: &scratch.relatives,
            cwd: &main.cwd,
            root: &thread.root,
            cgroups: &thread.cgroups,
        };
        task.fill(&record, execs, cgroups);
        let wide = Ids {
            tid: thread.tid,
            pid: thread.pid(),
            ppid: thread.ptid(),
            sid: thread.sid,
            pgid: thread.pgid,
            vtid: thread.vtid,
            vpid: thread.vpid,
            vpgid: thread.vpgid,
        };
        match &mut task.wide {
            Some(room) => **room = wide,
            none => *none = Some(Box::new(wide)),
        }
        task.parts = numbers.of(thread, &scratch.programs, task.cgroups().number());
        *fills += 1;
        task.stamp = *fills;
    }
}

/// Who leads the session or group with a number: the thread of that number, which is the host's; in a pid namespace, and where
/// there is none, the oldest in a row of ancestors that are in it too.
fn leader(threads: &Threads, id: ThreadId, number: i64, of: fn(&Thread) -> i64) -> Option<&Thread> {
    let thread = threads.get(id);
    if !thread.in_pid_namespace()
        && let Some(leader) = threads.by_tid(number)
    {
        return Some(leader);
    }
    threads.ancestors(id).take_while(|t| of(t) == number).last()
}

fn relative(thread: &Thread, exec_id: u64) -> fsn_relative {
    fsn_relative {
        exec_id,
        start: thread.clone_time,
        pid: narrow(thread.pid()),
        ppid: narrow(thread.ptid()),
        vpid: narrow(thread.vpid),
        pgid: narrow(thread.pgid),
        sid: narrow(thread.sid),
        uid: thread.uid,
        loginuid: thread.loginuid,
        tty: thread.tty,
        comm: comm(&thread.comm),
        ..fsn_relative::default()
    }
}

/// The number of an image in the dictionary, where it is put if it is not there yet.
fn told(image: &Image, dictionary: u32, next: &mut u64, execs: &mut Execs, argv: &mut Vec<u8>) -> u64 {
    let (generation, id) = image.sent.get();
    if generation == dictionary {
        return id;
    }
    *next += 1;
    image.sent.set((dictionary, *next));
    argv.clear();
    argv.extend_from_slice(image.exe());
    argv.push(0);
    argv.extend_from_slice(image.args());
    let facts = &image.facts;
    let bit = |set, flag| if set { flag } else { 0 };
    let head = fsn_exec {
        id: *next,
        exe_ino: facts.ino,
        exe_ctime: facts.ctime,
        exe_mtime: facts.mtime,
        flags: bit(facts.upper_layer, abi::FSN_EXEC_UPPER)
            | bit(facts.lower_layer, abi::FSN_EXEC_LOWER)
            | bit(facts.from_memfd, abi::FSN_EXEC_MEMFD),
        ..fsn_exec::default()
    };
    execs.insert(&ExecRecord {
        head: &head,
        exe: image.exepath(),
        filename: image.filename(),
        args: argv,
        env: image.env(),
        writable: Some(facts.writable),
    });
    *next
}
