//! The process an event happened in, and its lineage: proc.* and thread.*.

use super::{Gauge, Payload, View, answer};
use crate::driver::abi;
use crate::event::arena_text::ArenaText;
use crate::event::exec::{Exec, strings};
use crate::event::flags;
use crate::event::task::{Process, TOO_WIDE, Task};
use crate::event::value::{FieldArg, Value};
use bumpalo::Bump;

/// Levels of the lineage that an environment variable is looked for in.
const ENV_LEVELS: usize = 20;

impl<'r, P: Payload> View<'r, P> {
    fn itself(&self) -> Option<Process<'r>> {
        Some(self.task?.itself(self.execs))
    }

    fn parent(&self) -> Option<Process<'r>> {
        self.task?.level(1, self.execs)
    }

    /// Ancestors with their level, the parent being 1.
    fn lineage(&self) -> impl Iterator<Item = Process<'r>> + use<'r, P> {
        let (task, execs) = (self.task, self.execs);
        task.into_iter().flat_map(move |task| task.ancestors(execs))
    }

    /// More than that it exists.
    fn is_known(&self) -> bool {
        self.task.is_some_and(|task| task.head.pid >= 0)
    }

    fn own_exec(&self) -> Option<&'r Exec> {
        self.itself()?.exec
    }

    /// Of one ancestor when there is an index (0 is the process itself), else of each.
    fn ancestor<'a>(
        &'a self,
        arg: &FieldArg,
        arena: &'a Bump,
        of: impl Fn(Process<'a>) -> Value<'a>,
    ) -> Option<Value<'a>> {
        let task = self.task?;
        if let FieldArg::Index(level) = arg {
            if *level == 0 && !self.is_known() {
                return None;
            }
            return Some(of(task.level(*level as usize, self.execs)?));
        }
        let list = arena.alloc_slice_fill_copy(task.ancestor_count(), Value::Bool(false));
        for (value, process) in list.iter_mut().zip(task.ancestors(self.execs)) {
            *value = of(process);
        }
        Some(Value::List(list))
    }

    /// Start of the process, wall time.
    fn start(&self) -> Option<u64> {
        self.host.clock.wall_of_boot(self.task?.head.pid_start)
    }

    fn parent_start(&self) -> Option<u64> {
        self.host.clock.wall_of_boot(self.parent()?.start)
    }

    fn exec_flag(&self, flag: u32) -> Option<Value<'r>> {
        self.task?;
        Some(Value::Bool(self.own_exec().is_some_and(|e| e.head.flags & flag != 0)))
    }
}

fn str<'a>(text: &'a [u8]) -> Option<Value<'a>> {
    Some(Value::Str(text))
}

fn int<'a>(n: i32) -> Option<Value<'a>> {
    Some(Value::I64(i64::from(n)))
}

fn wide<'a>(n: i64) -> Option<Value<'a>> {
    Some(Value::I64(n))
}

/// A number in the host's pid namespace: none where it is wider than Linux has them.
fn host_number<'a>(n: i64) -> Option<Value<'a>> {
    i32::try_from(n).ok().and_then(int)
}

fn number<'a>(n: u64) -> Option<Value<'a>> {
    Some(Value::U64(n))
}

/// A time that is 0 when it is not known.
fn known<'a>(n: u64) -> Option<Value<'a>> {
    (n != 0).then_some(Value::U64(n))
}

/// comm and arguments of a process of the lineage.
fn cmdline<'a>(process: Process<'a>, arena: &'a Bump) -> &'a [u8] {
    if process.args().is_empty() {
        return process.comm;
    }
    joined([process.comm, process.args()], arena)
}

fn joined<'a>(parts: [&[u8]; 2], arena: &'a Bump) -> &'a [u8] {
    let mut text = ArenaText::with_capacity(parts[0].len() + 1 + parts[1].len(), arena);
    text.push(parts[0]);
    text.push(b" ");
    text.push(parts[1]);
    text.finish()
}

/// An environment as one text.
fn environment<'a>(exec: Option<&Exec>, arena: &'a Bump) -> &'a [u8] {
    let block = exec.map_or(b"".as_slice(), Exec::environ);
    let mut text = ArenaText::with_capacity(block.len(), arena);
    for entry in strings(block) {
        if !text.is_empty() {
            text.push(b" ");
        }
        text.push(entry);
    }
    text.finish()
}

/// Environments of the lineage: of ancestor N, the variable NAME of the nearest ancestor that has it, or of each.
fn ancestor_env<'a, P: Payload>(ev: &'a View<'_, P>, arg: &FieldArg, arena: &'a Bump) -> Option<Value<'a>> {
    ev.task?;
    if let FieldArg::Key(name) = arg {
        let found = ev.lineage().take(ENV_LEVELS).find_map(|p| p.exec?.env(name.as_bytes()));
        return str(found.unwrap_or_default());
    }
    let found = ev.ancestor(arg, arena, |p| Value::Str(environment(p.exec, arena)));
    // The ancestors of a task that nothing is known of have empty ones.
    found.or(if !ev.is_known() && matches!(arg, FieldArg::Index(1..)) { str(b"") } else { None })
}

/// Arguments of ancestor N, or of all of them in one text.
fn ancestor_args<'a, P: Payload>(ev: &'a View<'_, P>, arg: &FieldArg, arena: &'a Bump) -> Option<Value<'a>> {
    if let FieldArg::Index(level) = arg {
        ev.task.filter(|_| *level > 0 || ev.is_known())?;
        return str(ev.task?.level(*level as usize, ev.execs)?.args());
    }
    ev.parent()?;
    let mut text = ArenaText::new(arena);
    for process in ev.lineage() {
        if !text.is_empty() {
            text.push(b" ");
        }
        text.push(process.args());
    }
    str(text.finish())
}

/// Current directory with a slash at its end.
fn directory<'a>(task: &'a Task, arena: &'a Bump) -> &'a [u8] {
    let cwd = task.cwd();
    if cwd.is_empty() || cwd.ends_with(b"/") {
        return cwd;
    }
    let mut text = ArenaText::with_capacity(cwd.len() + 1, arena);
    text.push(cwd);
    text.push(b"/");
    text.finish()
}

/// A size or counter, in units of `unit` to its own.
fn gauge<'a, P: Payload>(ev: &View<'_, P>, gauge: Gauge, unit: u64) -> Option<Value<'a>> {
    ev.task?;
    number(P::gauge(ev, gauge)? * unit)
}

/// A size of the process; 0 for threads that are not the first.
fn of_main<'a, P: Payload>(ev: &View<'_, P>, size: Gauge, unit: u64) -> Option<Value<'a>> {
    if ev.task?.is_main() { gauge(ev, size, unit) } else { number(0) }
}

fn standard<'a, P: Payload>(ev: &View<'_, P>, fd: i64) -> Option<Value<'a>> {
    ev.task?;
    Some(Value::Str(P::kind_of_fd(ev, fd)?.type_name()?.as_bytes()))
}

fn standard_name<'a, P: Payload>(ev: &'a View<'_, P>, fd: i64, arena: &'a Bump) -> Option<Value<'a>> {
    ev.task?;
    str(P::name_of_fd(ev, fd, arena)?)
}

answer! {
    /// proc.*, thread.*; without a task only its placeholders.
    fn extract(ev, field, arena) {
        "proc.name" => str(ev.task.map(Task::comm).or(P::nobody(ev))?),
        "proc.exe" => str(ev.itself().map(|p| p.exe()).or(P::nobody(ev))?),
        "proc.exepath" => str(ev.itself()?.exe_path()),
        "proc.cmdline" => str(ev.task.map(Task::cmdline).or(P::nobody(ev))?),
        "proc.exeline" => str(ev.task.map(Task::exeline).or(P::nobody(ev))?),
        "proc.args" => match &field.arg {
            FieldArg::Index(n) => {
                ev.task?;
                str(ev.own_exec().and_then(|e| e.args().nth(*n as usize)).unwrap_or_default())
            }
            _ => str(ev.itself()?.args()),
        },
        "proc.cmdnargs" => number(u64::from(ev.own_exec()?.arg_count())),
        "proc.cmdlenargs" => number(ev.own_exec()?.args().map(|a| a.len() as u64).sum()),
        "proc.env" => match &field.arg {
            FieldArg::Key(name) => {
                ev.task?;
                str(ev.own_exec().and_then(|e| e.env(name.as_bytes())).unwrap_or_default())
            }
            _ => { ev.task?; str(environment(ev.own_exec(), arena)) }
        },
        "proc.cwd" => str(directory(ev.task?, arena)),
        "proc.pexe" => str(ev.parent()?.exe()),
        "proc.pexepath" => str(ev.parent()?.exe_path()),
        "proc.pname" => str(ev.parent()?.comm),
        "proc.pcmdline" => {
            ev.parent()?;
            str(ev.task?.parent_cmdline())
        },
        "proc.aexe" => ev.ancestor(&field.arg, arena, |p| Value::Str(p.exe())),
        "proc.aexepath" => ev.ancestor(&field.arg, arena, |p| Value::Str(p.exe_path())),
        "proc.aname" => ev.ancestor(&field.arg, arena, |p| Value::Str(p.comm)),
        "proc.acmdline" => ev.ancestor(&field.arg, arena, |p| Value::Str(cmdline(p, arena))),
        "proc.apid" => ev
            .ancestor(&field.arg, arena, |p| Value::I64(i64::from(p.pid)))
            .filter(|value| *value != Value::I64(i64::from(TOO_WIDE))),
        "proc.aargs" => ancestor_args(ev, &field.arg, arena),
        "proc.aenv" => ancestor_env(ev, &field.arg, arena),
        "proc.loginshellid" => int(ev.task?.loginshell()?),
        "proc.tty" => number(u64::from(ev.task?.head.tty)),
        "proc.pid" => host_number(ev.task?.ids().pid),
        "proc.ppid" => host_number(ev.task?.ids().ppid).filter(|_| ev.task.is_some_and(|task| task.head.ppid > 0)),
        "proc.vpid" => wide(ev.task?.ids().vpid).filter(|_| ev.is_known()),
        "proc.pvpid" => int(ev.parent()?.vpid),
        "proc.sid" => wide(ev.task?.ids().sid),
        "proc.sname" => str(ev.task?.session(ev.execs)?.comm),
        "proc.sid.exe" => str(ev.task?.session(ev.execs)?.exe()),
        "proc.sid.exepath" => str(ev.task?.session(ev.execs)?.exe_path()),
        "proc.vpgid" => wide(ev.task?.ids().vpgid),
        "proc.pgid" => wide(ev.task?.ids().pgid),
        "proc.vpgid.name" => str(ev.task?.virtual_group(ev.execs)?.comm),
        "proc.pgid.name" => str(ev.task?.group(ev.execs)?.comm),
        "proc.vpgid.exe" => str(ev.task?.virtual_group(ev.execs)?.exe()),
        "proc.pgid.exe" => str(ev.task?.group(ev.execs)?.exe()),
        "proc.vpgid.exepath" => str(ev.task?.virtual_group(ev.execs)?.exe_path()),
        "proc.pgid.exepath" => str(ev.task?.group(ev.execs)?.exe_path()),
        "proc.duration" => number(ev.time().saturating_sub(ev.start()?)),
        "proc.ppid.duration" => {
            ev.parent()?;
            number(ev.parent_start().map_or(0, |start| ev.time().saturating_sub(start)))
        },
        "proc.pid.ts" => number(ev.start()?),
        // 0 where the parent is older than the recording.
        "proc.ppid.ts" => { ev.parent()?; number(ev.parent_start().unwrap_or(0)) },
        "proc.is_exe_writable" => Some(Value::Bool(ev.task?.exe_writable(ev.execs))),
        "proc.is_exe_upper_layer" => ev.exec_flag(abi::FSN_EXEC_UPPER),
        "proc.is_exe_lower_layer" => ev.exec_flag(abi::FSN_EXEC_LOWER),
        "proc.is_exe_from_memfd" => ev.exec_flag(abi::FSN_EXEC_MEMFD),
        "proc.is_sid_leader" => Some(Value::Bool(ev.task?.ids().sid == ev.task?.ids().vpid)),
        "proc.is_vpgid_leader" => Some(Value::Bool(ev.task?.ids().vpgid == ev.task?.ids().vpid)),
        "proc.is_pgid_leader" => Some(Value::Bool(ev.task?.ids().pgid == ev.task?.ids().pid)),
        "proc.exe_ino" => Some(Value::I64(ev.own_exec()?.head.exe_ino as i64)).filter(|v| *v != Value::I64(0)),
        "proc.exe_ino.ctime" => known(ev.own_exec()?.head.exe_ctime),
        "proc.exe_ino.mtime" => known(ev.own_exec()?.head.exe_mtime),
        "proc.exe_ino.ctime_duration_proc_start" => {
            let (start, changed) = (ev.start()?, ev.own_exec()?.head.exe_ctime);
            (changed != 0 && start > changed).then(|| Value::U64(start - changed))
        },
        "proc.exe_ino.ctime_duration_pidns_start" => {
            let start = ev.host.clock.wall_of_boot(ev.task?.head.pidns_init_start)?;
            let changed = ev.own_exec()?.head.exe_ctime;
            (changed > start).then(|| Value::U64(changed - start))
        },
        // Of processes in a namespace of their own.
        "proc.pidns_init_start_ts" => {
            let ids = ev.task?.ids();
            (ids.vtid != ids.tid || ids.vpid != ids.pid).then_some(())?;
            number(ev.host.clock.wall_of_boot(ev.task?.head.pidns_init_start)?)
        },
        "thread.cap_permitted" => str(flags::capabilities(ev.task?.head.cap_permitted, arena)),
        "thread.cap_inheritable" => str(flags::capabilities(ev.task?.head.cap_inheritable, arena)),
        "thread.cap_effective" => str(flags::capabilities(ev.task?.head.cap_effective, arena)),
        "proc.fdlimit" => Some(Value::I64(ev.task?.head.fdlimit as i64)),
        "proc.fdopencount" => gauge(ev, Gauge::OpenFds, 1),
        "proc.fdusage" => {
            let limit = ev.task?.head.fdlimit;
            let open = P::gauge(ev, Gauge::OpenFds)?;
            Some(Value::F64(if (limit as i64) > 0 { open as f64 * 100.0 / limit as f64 } else { 0.0 }))
        },
        "proc.vmsize" => gauge(ev, Gauge::VmSizeKb, 1),
        "proc.vmrss" => gauge(ev, Gauge::VmRssKb, 1),
        "proc.vmswap" => gauge(ev, Gauge::VmSwapKb, 1),
        "thread.cpu" | "thread.cpu.user" | "thread.cpu.system" => None,
        "thread.vmsize" => of_main(ev, Gauge::VmSizeKb, 1),
        "thread.vmrss" => of_main(ev, Gauge::VmRssKb, 1),
        "thread.vmsize.b" => of_main(ev, Gauge::VmSizeKb, 1024),
        "thread.vmrss.b" => of_main(ev, Gauge::VmRssKb, 1024),
        "thread.pfminor" => gauge(ev, Gauge::MinorFaults, 1),
        "thread.pfmajor" => gauge(ev, Gauge::MajorFaults, 1),
        "thread.exectime" => gauge(ev, Gauge::ExecTime, 1),
        "thread.totexectime" => gauge(ev, Gauge::TotalExecTime, 1),
        "thread.tid" => int(P::tid(ev)?),
        "thread.ismain" => Some(Value::Bool(ev.task?.is_main())),
        "thread.vtid" => wide(ev.task?.ids().vtid).filter(|_| ev.is_known()),
        "thread.nametid" => {
            let task = ev.task?;
            let mut text = ArenaText::new(arena);
            text.push(task.comm());
            text.push_fmt(format_args!("{}", task.ids().tid));
            str(text.finish())
        },
        "thread.cgroups" => str(ev.task?.cgroups().text()).filter(|_| !ev.task.is_some_and(|t| t.cgroups().raw().is_empty())),
        "thread.cgroup" => match &field.arg {
            FieldArg::Key(controller) => ev.task?.cgroups().path(controller.as_bytes()).map(Value::Str),
            _ => None,
        },
        "proc.nthreads" => gauge(ev, Gauge::Threads, 1),
        "proc.nchilds" => gauge(ev, Gauge::Children, 1),
        "proc.stdin.type" => standard(ev, 0),
        "proc.stdout.type" => standard(ev, 1),
        "proc.stderr.type" => standard(ev, 2),
        "proc.stdin.name" => standard_name(ev, 0, arena),
        "proc.stdout.name" => standard_name(ev, 1, arena),
        "proc.stderr.name" => standard_name(ev, 2, arena),
    }
}
