//! The mirrored tasks of one ring: what each slot stands for.
//!
//! The module says what a slot means before it uses it, and says it again when anything changed; between two such
//! records a [`Task`] is constant, so what depends on it alone is computed once. Slots are reused in place: in the
//! steady state a task record allocates nothing.

use super::cgroups::{Cgroups, Met, NONE};
use super::exec::{Exec, ExecIndex, Execs};
use super::record::{ExecId, Record, Slot, TaskRecord};
use super::value::Parts;
use crate::driver::abi::{self, fsn_relative, fsn_task, text};
use std::ops::Range;
use std::sync::Arc;

/// What is known of a task. Constant until the next record of its slot.
#[derive(Debug, Default)]
pub struct Task {
    /// Numbers and flags as the module sent them.
    pub head: fsn_task,
    exec: Option<ExecIndex>,
    birth_exec: Option<ExecIndex>,
    relatives: Vec<Relative>,
    /// Relatives that are ancestors, the nearest first: indices into `relatives`.
    ancestors: Vec<u16>,
    text: Vec<u8>,
    cwd: Range<u32>,
    root: Range<u32>,
    cgroups: Option<Arc<Cgroups>>,
    cmdline: Range<u32>,
    parent_cmdline: Range<u32>,
    exeline: Range<u32>,
    loginshell: Option<i32>,
    /// Its numbers where they may be wider than the module's: those of captures.
    pub(crate) wide: Option<Box<Ids>>,
    /// Tells one filling from another: who fills it sees to that.
    pub(crate) stamp: u64,
    /// Numbers of its parts, where whoever fills it gives them.
    pub(crate) parts: Parts,
}

/// The numbers of a task, in the host's pid namespace and in its own. Sandboxes with kernels of their own (gVisor) have some
/// beyond 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    pub tid: i64,
    pub pid: i64,
    pub ppid: i64,
    pub sid: i64,
    pub pgid: i64,
    pub vtid: i64,
    pub vpid: i64,
    pub vpgid: i64,
}

/// What stands for a number that is too wide for a record of the module: no Linux gives it to a process.
pub const TOO_WIDE: i32 = i32::MAX;

/// A flag of a relative that only captures need, beside `FSN_REL_*`: it leads the group of `vpgid`.
pub const VIRTUAL_GROUP: u32 = 1 << 31;

/// Another process as a task knows it.
#[derive(Clone, Copy, Debug)]
pub struct Relative {
    /// Numbers and flags as the module sent them.
    pub head: fsn_relative,
    exec: Option<ExecIndex>,
}

/// One process of a lineage: the task itself (level 0) or an ancestor.
#[derive(Clone, Copy, Debug)]
pub struct Process<'a> {
    /// comm at its last exec or clone.
    pub comm: &'a [u8],
    /// Its image; None for kernel threads and where the module could not make a record.
    pub exec: Option<&'a Exec>,
    pub pid: i32,
    pub vpid: i32,
    pub sid: i32,
    pub pgid: i32,
    /// Start of the process, ns since boot.
    pub start: u64,
}

impl<'a> Process<'a> {
    /// argv[0]; the comm of a process without an image record.
    pub fn exe(&self) -> &'a [u8] {
        self.exec.map_or(self.comm, Exec::argv0)
    }

    /// Path of the executable; empty when unknown.
    pub fn exe_path(&self) -> &'a [u8] {
        self.exec.map_or(b"", Exec::exe_path)
    }

    /// The arguments joined by blanks.
    pub fn args(&self) -> &'a [u8] {
        self.exec.map_or(b"", Exec::joined_args)
    }
}

impl Task {
    /// Generation of the slot this was sent for; 0 for a slot never filled.
    pub const fn generation(&self) -> u32 {
        self.head.gen_
    }

    fn part(&self, range: &Range<u32>) -> &[u8] {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// comm at the last exec or clone.
    pub fn comm(&self) -> &[u8] {
        text(&self.head.comm)
    }

    /// Current directory as the task's root sees it, without a slash at the end (but `/` is `/`).
    pub fn cwd(&self) -> &[u8] {
        self.part(&self.cwd)
    }

    /// Its root within the mount it lies in; `/` unless it was changed.
    pub fn root(&self) -> &[u8] {
        self.part(&self.root)
    }

    /// Its control groups, and the container they tell of.
    pub fn cgroups(&self) -> &Cgroups {
        self.cgroups.as_deref().unwrap_or(&NONE)
    }

    /// comm and arguments.
    pub fn cmdline(&self) -> &[u8] {
        self.part(&self.cmdline)
    }

    /// comm and arguments of the parent; empty without a parent.
    pub fn parent_cmdline(&self) -> &[u8] {
        self.part(&self.parent_cmdline)
    }

    /// argv[0], a blank, and the arguments.
    pub fn exeline(&self) -> &[u8] {
        self.part(&self.exeline)
    }

    /// pid of the oldest process in the lineage, the task included, whose comm ends in `sh`.
    pub const fn loginshell(&self) -> Option<i32> {
        self.loginshell
    }

    /// Its numbers.
    pub fn ids(&self) -> Ids {
        let head = &self.head;
        self.wide.as_deref().copied().unwrap_or_else(|| Ids {
            tid: head.tid.into(),
            pid: head.pid.into(),
            ppid: head.ppid.into(),
            sid: head.vsid.into(),
            pgid: head.pgid.into(),
            vtid: head.vtid.into(),
            vpid: head.vpid.into(),
            vpgid: head.vpgid.into(),
        })
    }

    /// Whether this thread is the first of its process.
    pub fn is_main(&self) -> bool {
        let ids = self.ids();
        ids.tid == ids.pid
    }

    /// Number of ancestors known.
    pub fn ancestor_count(&self) -> usize {
        self.ancestors.len()
    }

    /// The task itself as a member of its lineage.
    pub fn itself<'a>(&'a self, execs: &'a Execs) -> Process<'a> {
        Process {
            comm: self.comm(),
            exec: self.exec.and_then(|i| execs.get(i)),
            pid: self.head.pid,
            vpid: self.head.vpid,
            sid: self.head.sid,
            pgid: self.head.pgid,
            start: self.head.pid_start,
        }
    }

    /// A process of the lineage: 0 is the task itself, 1 its parent.
    pub fn level<'a>(&'a self, level: usize, execs: &'a Execs) -> Option<Process<'a>> {
        match level.checked_sub(1) {
            None => Some(self.itself(execs)),
            Some(at) => Some(self.relatives[usize::from(*self.ancestors.get(at)?)].process(execs)),
        }
    }

    /// The ancestors, parent first.
    pub fn ancestors<'a>(&'a self, execs: &'a Execs) -> impl Iterator<Item = Process<'a>> {
        self.ancestors.iter().map(|at| self.relatives[usize::from(*at)].process(execs))
    }

    /// The leader of the session, or the oldest process of the lineage in it.
    pub fn session<'a>(&'a self, execs: &'a Execs) -> Option<Process<'a>> {
        self.leader(abi::FSN_REL_SESSION, self.head.sid, |p| p.sid, execs)
    }

    /// The leader of the process group, or the oldest process of the lineage in it.
    pub fn group<'a>(&'a self, execs: &'a Execs) -> Option<Process<'a>> {
        self.leader(abi::FSN_REL_GROUP, self.head.pgid, |p| p.pgid, execs)
    }

    /// The leader of the group as its own pid namespace numbers it: the same but in captures, where the number may be that of
    /// another namespace.
    pub fn virtual_group<'a>(&'a self, execs: &'a Execs) -> Option<Process<'a>> {
        if self.relatives.iter().any(|r| r.head.flags & VIRTUAL_GROUP != 0) {
            return self.leader(VIRTUAL_GROUP, i32::MIN, |p| p.pgid, execs);
        }
        self.group(execs)
    }

    fn leader<'a>(&'a self, flag: u32, id: i32, of: fn(&Process<'_>) -> i32, execs: &'a Execs) -> Option<Process<'a>> {
        if let Some(leader) = self.relatives.iter().find(|r| r.head.flags & flag != 0) {
            return Some(leader.process(execs));
        }
        if self.head.pid == id {
            return Some(self.itself(execs));
        }
        let mut oldest = self.itself(execs);
        for process in self.ancestors(execs) {
            if of(&process) != id {
                break;
            }
            oldest = process;
        }
        Some(oldest)
    }

    /// The comm of a process this task knows of: itself or a relative.
    pub fn name_of_pid(&self, pid: i64) -> Option<&[u8]> {
        let pid = i32::try_from(pid).ok().filter(|p| *p > 0)?;
        if pid == self.head.pid || pid == self.head.tid {
            return Some(self.comm());
        }
        self.relatives.iter().find(|r| r.head.pid == pid).map(|r| text(&r.head.comm))
    }

    /// The image of the parent at fork: other than the parent's when the task was given to another one.
    pub fn birth_exec<'a>(&self, execs: &'a Execs) -> Option<&'a Exec> {
        self.birth_exec.and_then(|i| execs.get(i))
    }

    /// Whether the user who runs it may write to its executable.
    pub fn exe_writable(&self, execs: &Execs) -> bool {
        let Some(exec) = self.exec.and_then(|i| execs.get(i)) else { return false };
        if let Some(known) = exec.writable {
            return known;
        }
        let exec = &exec.head;
        const DAC_OVERRIDE: u64 = 1 << 1;
        let bit = if self.head.cap_effective & DAC_OVERRIDE != 0 {
            return true;
        } else if exec.exe_uid == self.head.fsuid {
            0o200
        } else if exec.exe_gid == self.head.fsgid {
            0o020
        } else {
            0o002
        };
        exec.exe_mode & bit != 0
    }

    /// Becomes what a record says.
    pub(crate) fn fill(&mut self, record: &TaskRecord<'_>, execs: &Execs, cgroups: &mut Met) {
        self.head = *record.head;
        self.exec = execs.find(ExecId(record.head.exec_id));
        self.birth_exec = execs.find(ExecId(record.head.birth_exec_id));
        self.relatives.clear();
        self.relatives
            .extend(record.relatives.iter().map(|r| Relative { head: *r, exec: execs.find(ExecId(r.exec_id)) }));
        self.ancestors.clear();
        self.ancestors.extend(
            (0u16..).zip(record.relatives).filter(|(_, r)| r.flags & abi::FSN_REL_PARENT != 0).map(|(at, _)| at),
        );
        if self.cgroups().raw() != record.cgroups {
            self.cgroups = Some(cgroups.of(record.cgroups));
        }
        // Built outside of self, because the texts come from its other parts.
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let (itself, parent) = (self.itself(execs), self.level(1, execs));
        // As much as is needed and no more: there are two thousand of these on two CPUs.
        let lines = itself.comm.len() + itself.exe().len() + 2 * (itself.args().len() + 1);
        let line_of_parent = parent.map_or(0, |parent| parent.comm.len() + 1 + parent.args().len());
        text.reserve_exact(record.cwd.len() + record.root.len() + lines + line_of_parent);
        let cwd = append(&mut text, |t| t.extend_from_slice(record.cwd));
        let root = append(&mut text, |t| t.extend_from_slice(record.root));
        let cmdline = append(&mut text, |t| push_line(itself.comm, itself.args(), t));
        let exeline = append(&mut text, |t| {
            t.extend_from_slice(itself.exe());
            t.push(b' ');
            t.extend_from_slice(itself.args());
        });
        let parent_cmdline = match parent {
            Some(parent) => append(&mut text, |t| push_line(parent.comm, parent.args(), t)),
            None => 0..0,
        };
        (self.cwd, self.root) = (cwd, root);
        (self.cmdline, self.exeline, self.parent_cmdline) = (cmdline, exeline, parent_cmdline);
        self.text = text;
        self.loginshell = (0..=self.ancestors.len())
            .rev()
            .filter_map(|level| self.level(level, execs))
            .find(|p| p.comm.ends_with(b"sh"))
            .map(|p| p.pid);
    }
}

impl Relative {
    fn process<'a>(&'a self, execs: &'a Execs) -> Process<'a> {
        Process {
            comm: text(&self.head.comm),
            exec: self.exec.and_then(|i| execs.get(i)),
            pid: self.head.pid,
            vpid: self.head.vpid,
            sid: self.head.sid,
            pgid: self.head.pgid,
            start: self.head.start,
        }
    }
}

/// Adds to the text and says where.
fn append(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<u32> {
    let start = text.len() as u32;
    write(text);
    start..text.len() as u32
}

/// comm and arguments, separated by a blank when there are arguments.
fn push_line(comm: &[u8], args: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(comm);
    if !args.is_empty() {
        text.push(b' ');
        text.extend_from_slice(args);
    }
}

/// The tasks of one ring and the images they refer to.
#[derive(Debug, Default)]
pub struct Tasks {
    slots: Vec<Task>,
    /// By slot: generation and stamp of its task, which most events need nothing else of.
    states: Vec<(u32, u64)>,
    execs: Execs,
    cgroups: Met,
    fills: u64,
}

impl Tasks {
    /// No task is known.
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Takes in what is not an event. Returns the slot that was filled, so that what depends on the task can be
    /// computed anew.
    pub fn apply(&mut self, record: &Record<'_>) -> Option<Slot> {
        match record {
            Record::Exec(exec) => {
                if self.execs.is_overfull() {
                    // The module was asked for a reset and did not answer: memory is bounded all the same.
                    self.clear();
                }
                self.execs.insert(exec);
                None
            }
            Record::Task(task) => {
                let slot = Slot(task.head.h.slot);
                let at = usize::from(slot.0);
                if at >= abi::FSN_SLOTS as usize {
                    return None;
                }
                if at >= self.slots.len() {
                    self.slots.resize_with(at + 1, Task::default);
                    self.states.resize(at + 1, (0, 0));
                }
                self.slots[at].fill(task, &self.execs, &mut self.cgroups);
                self.fills += 1;
                self.slots[at].stamp = self.fills;
                self.states[at] = (task.head.gen_, self.fills);
                Some(slot)
            }
            Record::Reset => {
                self.clear();
                None
            }
            Record::Event(_) | Record::Unknown(_) => None,
        }
    }

    fn clear(&mut self) {
        self.slots.iter_mut().for_each(|task| task.head.gen_ = 0);
        self.states.fill((0, 0));
        self.execs.clear();
    }

    /// The task a slot stands for, when `generation` is the one it was last sent for.
    pub fn get(&self, slot: Slot, generation: u32) -> Option<&Task> {
        self.slots.get(usize::from(slot.0)).filter(|t| t.generation() == generation && generation != 0)
    }

    /// The stamp of the task that [`Tasks::get`] gives.
    #[inline]
    pub(crate) fn stamp(&self, slot: Slot, generation: u32) -> Option<u64> {
        let (known, stamp) = *self.states.get(usize::from(slot.0))?;
        (known == generation && generation != 0).then_some(stamp)
    }

    /// What was last sent for a slot.
    pub fn in_slot(&self, slot: Slot) -> Option<&Task> {
        self.slots.get(usize::from(slot.0))
    }

    /// The images of this ring.
    pub const fn execs(&self) -> &Execs {
        &self.execs
    }

    /// True when the module should be asked to forget what it has sent: see [`Execs::is_full`].
    pub fn wants_reset(&self) -> bool {
        self.execs.is_full()
    }
}
