//! The field catalogue: every field a condition or an output may name, declared once.
//!
//! Parser, type checker, formatter, `--list` and the extraction all read this table. The order of the rows is the
//! order of the listing and the meaning of [`FieldId`]; rows may move, identifiers are not stored anywhere.
//! Long because it is one row per field; there is no logic here beyond the look-up.

use super::sources::Sources;
use super::value::ArgKind::{OptionalEither, OptionalIndex, OptionalKey, RequiredEither, RequiredKey};
use super::value::Type::{
    AbsTime, Bool, Bytebuf, Charbuf, Double, Dyn, Int16, Int32, Int64, IpAddr, IpNet, Port, RelTime, Uint32, Uint64,
};
use super::value::{ArgKind, Depends, FieldDef, FieldFlags, FieldId, Multi, Part, Scope, Type};
use hashbrown::HashMap;
use std::sync::LazyLock;

/// The identifier of the field called `name` exactly (no argument), or None. Constant time.
pub fn lookup(name: &str) -> Option<FieldId> {
    static BY_NAME: LazyLock<HashMap<&'static str, FieldId>> =
        LazyLock::new(|| FIELDS.iter().zip(0..).map(|(def, id)| (def.name, FieldId(id))).collect());
    BY_NAME.get(name).copied()
}

/// Splits a name as the filter language lexes it into a field and the argument written after a dot:
/// `proc.name` gives the field alone, `evt.arg.flags` the field `evt.arg` and `flags`. The longest field name
/// wins, so `evt.type.is.open` is `evt.type.is` with `open`.
pub fn resolve(name: &str) -> Option<(FieldId, Option<&str>)> {
    if let Some(id) = lookup(name) {
        return Some((id, None));
    }
    let mut end = name.len();
    while let Some(dot) = name[..end].rfind('.') {
        if let Some(id) = lookup(&name[..dot]) {
            let rest = &name[dot + 1..];
            return (def(id).flags.dotted && !rest.is_empty()).then_some((id, Some(rest)));
        }
        end = dot;
    }
    None
}

/// The row of a field.
///
/// # Panics
/// When `id` did not come from this table.
pub fn def(id: FieldId) -> &'static FieldDef {
    &FIELDS[usize::from(id.0)]
}

/// The identifier of a field known at compile time; a misspelt name stops the build when used in a `const`.
pub const fn id(name: &str) -> FieldId {
    let mut i = 0;
    while i < FIELDS.len() {
        if same(FIELDS[i].name, name) {
            return FieldId(i as u16);
        }
        i += 1;
    }
    panic!("no such field")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn row(
    class: &'static str,
    depends: Depends,
    part: Option<Part>,
    name: &'static str,
    ty: Type,
    desc: &'static str,
) -> FieldDef {
    FieldDef {
        name,
        ty,
        arg: ArgKind::None,
        list: false,
        multi: Multi::One,
        scope: Scope::Both,
        flags: FieldFlags {
            deprecated: false,
            hex: false,
            octal: false,
            no_transformer: false,
            no_rhs: false,
            dotted: false,
            padded: false,
            hidden: false,
            positive: false,
            suggested: false,
        },
        depends,
        part,
        sources: Sources::ALIKE,
        class,
        desc,
    }
}

macro_rules! classes {
    ($($fn_name:ident = $class:literal, $depends:ident, $part:expr;)*) => {
        $(const fn $fn_name(name: &'static str, ty: Type, desc: &'static str) -> FieldDef {
            row($class, Depends::$depends, $part, name, ty, desc)
        })*
    };
}

classes! {
    evt = "evt", Event, None;
    process = "process", Task, None;
    own = "process", Task, Some(Part::Own);
    parent = "process", Task, Some(Part::Parent);
    lineage = "process", Task, Some(Part::Lineage);
    user = "user", Task, Some(Part::User);
    group = "group", Task, Some(Part::User);
    container = "container", Task, Some(Part::Cgroups);
    fd = "fd", Event, None;
    fs_path = "fs.path", Event, None;
    util = "util", Event, None;
    fdlist = "fdlist", Event, None;
    constant = "static", Event, None;
}

/// What a row adds to the defaults of its class.
impl FieldDef {
    const fn arg(mut self, arg: ArgKind) -> Self {
        self.arg = arg;
        self
    }
    const fn any_ancestor(mut self) -> Self {
        self.multi = Multi::AnyAncestor;
        self
    }
    const fn either_end(mut self) -> Self {
        self.multi = Multi::EitherEnd;
        self
    }
    const fn list(mut self) -> Self {
        self.list = true;
        self
    }
    const fn filter_only(mut self) -> Self {
        self.scope = Scope::FilterOnly;
        self
    }
    const fn per_event(mut self) -> Self {
        self.depends = Depends::Event;
        self.part = None;
        self
    }
    /// Follows from more than the part of its class.
    const fn of_task(mut self) -> Self {
        self.part = None;
        self
    }
    const fn positive(mut self) -> Self {
        self.flags.positive = true;
        self
    }
    const fn of_record(mut self) -> Self {
        self.depends = Depends::Record;
        self
    }
    const fn deprecated(mut self) -> Self {
        self.flags.deprecated = true;
        self
    }
    const fn hex(mut self) -> Self {
        self.flags.hex = true;
        self
    }
    const fn padded(mut self) -> Self {
        self.flags.padded = true;
        self
    }
    const fn dotted(mut self) -> Self {
        self.flags.dotted = true;
        self
    }
    const fn no_transformer(mut self) -> Self {
        self.flags.no_transformer = true;
        self
    }
    const fn no_rhs(mut self) -> Self {
        self.flags.no_rhs = true;
        self
    }
    const fn hidden(mut self) -> Self {
        self.flags.hidden = true;
        self
    }
    const fn sources(mut self, sources: Sources) -> Self {
        self.sources = sources;
        self
    }
    const fn suggested(mut self) -> Self {
        self.flags.suggested = true;
        self
    }
}

/// Every field, in the order of the listing. Types, arguments and restrictions are those of Falco's fields.
#[rustfmt::skip]
pub static FIELDS: &[FieldDef] = &[
    evt("evt.num", Uint64, "sequence number of the event within its CPU ring, starts at 1").positive().sources(Sources::NUMBER),
    evt("evt.time", Charbuf, "local-time clock HH:MM:SS.nnnnnnnnn of the event (JSON output: integer ns since epoch)"),
    evt("evt.time.s", Charbuf, "local-time clock without the nanoseconds"),
    evt("evt.time.iso8601", Charbuf, "UTC ISO-8601 time with nanoseconds and offset"),
    evt("evt.datetime", Charbuf, "local date + time with nanoseconds"),
    evt("evt.datetime.s", Charbuf, "local date + time without nanoseconds"),
    evt("evt.rawtime", AbsTime, "ns since the epoch"),
    evt("evt.rawtime.s", AbsTime, "seconds part of the ns timestamp"),
    evt("evt.rawtime.ns", AbsTime, "sub-second remainder of the timestamp, rendered zero-padded").padded(),
    evt("evt.reltime", RelTime, "ns since the first event of the capture").padded().sources(Sources::SINCE_FIRST),
    evt("evt.reltime.s", RelTime, "whole seconds since the first event").sources(Sources::SINCE_FIRST),
    evt("evt.reltime.ns", RelTime, "sub-second remainder of the relative time").padded().sources(Sources::SINCE_FIRST),
    evt("evt.pluginname", Charbuf, "name of the plugin that produced the event; missing for system calls").sources(Sources::PLUGIN),
    evt("evt.plugininfo", Charbuf, "summary of the event written by its plugin; missing for system calls").sources(Sources::PLUGIN),
    evt("evt.source", Charbuf, "where the event comes from: syscall, or a plugin source").of_record(),
    evt("evt.is_async", Bool, "true for any meta-event (category EC_METAEVENT), not only for asyncevent"),
    evt("evt.asynctype", Charbuf, "for meta-events: the async name carried in asyncevent, else the event name; absent otherwise").sources(Sources::ASYNC),
    evt("evt.hostname", Charbuf, "name of the host (FALCO_HOSTNAME overrides it)").sources(Sources::HOSTNAME),
    evt("evt.latency", RelTime, "always 0 since enter events were dropped").deprecated(),
    evt("evt.latency.s", RelTime, "always 0").deprecated(),
    evt("evt.latency.ns", RelTime, "always 0").deprecated().padded(),
    evt("evt.latency.quantized", Uint64, "always 0; hidden table field").deprecated().hidden(),
    evt("evt.latency.human", Charbuf, "always the string 0ns").deprecated(),
    evt("evt.deltatime", RelTime, "ns since the event before it on the same CPU, 0 for the first").sources(Sources::SINCE),
    evt("evt.deltatime.s", RelTime, "whole seconds since the event before it on the same CPU").sources(Sources::SINCE),
    evt("evt.deltatime.ns", RelTime, "sub-second part of evt.deltatime").padded().sources(Sources::SINCE),
    // Meant for outputs, but conditions with it load in Falco too.
    evt("evt.outputtime", Charbuf, "time of the event in the form the output asks for"),
    evt("evt.infra.docker.name", Charbuf, "event name of the legacy infrastructure event; missing").hidden().sources(Sources::INFRASTRUCTURE),
    evt("evt.infra.docker.container.id", Charbuf, "container id of the legacy infrastructure event; missing").hidden().sources(Sources::INFRASTRUCTURE),
    evt("evt.infra.docker.container.name", Charbuf, "container name of the legacy infrastructure event; missing").hidden().sources(Sources::INFRASTRUCTURE),
    evt("evt.infra.docker.container.image", Charbuf, "image of the legacy infrastructure event; missing").hidden().sources(Sources::INFRASTRUCTURE),
    evt("evt.dir", Charbuf, "> for even event codes (enter), < for odd (exit); only < is seen for current syscalls").of_record().deprecated(),
    evt("evt.type", Charbuf, "event name; for generic events the syscall name; for asyncevent the async name").of_record(),
    evt("evt.type.is", Uint32, "evt.type.is.NAME or .NUMBER: 1 when the event code equals it, else 0").of_record().arg(RequiredEither).dotted(),
    evt("syscall.type", Charbuf, "syscall name, absent when the event category has no EC_SYSCALL bit").of_record(),
    evt("evt.category", Charbuf, "low-level category name; I/O events report the category of the fd (file, net, ipc, unknown)").of_record(),
    evt("evt.cpu", Int16, "CPU number the event was recorded on"),
    evt("evt.args", Charbuf, "all parameters as NAME=VALUE or NAME=VALUE(RESOLVED) separated by a space; empty string for generic events").sources(Sources::PEOPLE),
    evt("evt.arg", Charbuf, "one parameter by name (evt.arg.NAME) or position (evt.arg[N]); resolved text when there is one, else the raw text").of_record().arg(RequiredEither).dotted().sources(Sources::PEOPLE),
    evt("evt.rawarg", Dyn, "one parameter by name with its native type (evt.rawarg.NAME)").of_record().arg(RequiredKey).dotted().no_transformer().no_rhs(),
    evt("evt.info", Charbuf, "same value as evt.args").sources(Sources::PEOPLE),
    evt("evt.buffer", Bytebuf, "I/O data of the parameter named data; bytes when compared, escaped text when printed"),
    evt("evt.buflen", Uint64, "return value (>=0) of an exit event of an I/O category that has fd info"),
    evt("evt.res", Charbuf, "SUCCESS when the return value is >=0, otherwise the errno name").of_record(),
    evt("evt.rawres", Int64, "return value as a signed integer").of_record(),
    evt("evt.failed", Bool, "true when the return value is negative; absent for events without return value").of_record(),
    evt("evt.is_io", Bool, "true when the event reads from or writes to an fd").of_record(),
    evt("evt.is_io_read", Bool, "true when the event reads from an fd").of_record(),
    evt("evt.is_io_write", Bool, "true when the event writes to an fd").of_record(),
    evt("evt.io_dir", Charbuf, "read or write (full words, not the letters the help text mentions); absent otherwise"),
    evt("evt.is_wait", Bool, "true for events flagged as waiting"),
    evt("evt.wait_latency", RelTime, "always 0").deprecated(),
    evt("evt.is_syslog", Bool, "true for writes on a fd that is /dev/log"),
    evt("evt.count", Uint32, "constant 1"),
    evt("evt.count.error", Uint32, "1 when the event failed, 0 otherwise; absent without return value"),
    evt("evt.count.error.file", Uint32, "1 when the event failed and is about a file or an open, 0 when it is and did not fail"),
    evt("evt.count.error.net", Uint32, "1 when the event failed and is about an IP socket, accept or connect, 0 when it is and did not fail"),
    evt("evt.count.error.memory", Uint32, "1 when an event of the memory category failed, 0 when it did not"),
    evt("evt.count.error.other", Uint32, "1 when an event failed that is about no file, socket or memory, 0 when it did not"),
    evt("evt.count.exit", Uint32, "1 on exit events, absent on enter events"),
    evt("evt.count.procinfo", Uint32, "1 for procinfo events of a main thread, else 0").hidden(),
    evt("evt.count.threadinfo", Uint32, "1 for procinfo events, else 0").hidden(),
    evt("evt.around", Uint64, "true-by-distance helper: evt.around[T]=D holds when the event happened within D milliseconds of T (ns since the epoch); only = may be used").arg(RequiredKey).filter_only().no_transformer().no_rhs(),
    evt("evt.abspath", Charbuf, "absolute path of a dirfd-relative call; .src and .dst choose the path on two-path calls").arg(OptionalKey).dotted(),
    evt("evt.buflen.in", Uint64, "evt.buflen restricted to read category").hidden(),
    evt("evt.buflen.out", Uint64, "evt.buflen restricted to write category").hidden(),
    evt("evt.buflen.file", Uint64, "evt.buflen restricted to regular files").hidden(),
    evt("evt.buflen.file.in", Uint64, "evt.buflen, file reads").hidden(),
    evt("evt.buflen.file.out", Uint64, "evt.buflen, file writes").hidden(),
    evt("evt.buflen.net", Uint64, "evt.buflen, IPv4/IPv6 sockets").hidden(),
    evt("evt.buflen.net.in", Uint64, "evt.buflen, socket reads").hidden(),
    evt("evt.buflen.net.out", Uint64, "evt.buflen, socket writes").hidden(),
    evt("evt.is_open_read", Bool, "true for open/openat/openat2/open_by_handle_at whose flags include the read bit (O_RDWR sets both bits)").of_record(),
    evt("evt.is_open_write", Bool, "true for open/openat/openat2/open_by_handle_at whose flags include the write bit (O_RDWR sets both bits)").of_record(),
    evt("evt.is_open_exec", Bool, "true when a file is created (O_CREAT or O_TMPFILE, or creat) with any x bit in mode; never for open_by_handle_at").of_record(),
    evt("evt.is_open_create", Bool, "true when the kernel created the file (O_F_CREATED) or a successful O_TMPFILE").of_record(),
    own("proc.exe", Charbuf, "argv[0]"),
    parent("proc.pexe", Charbuf, "argv[0] of the parent process"),
    lineage("proc.aexe", Charbuf, "argv[0] of ancestor N (0 = self); without index a comparison is true when ANY ancestor from the parent up matches").arg(OptionalIndex).any_ancestor().no_transformer().no_rhs(),
    own("proc.exepath", Charbuf, "resolved path of the executable"),
    parent("proc.pexepath", Charbuf, "executable path of the parent"),
    lineage("proc.aexepath", Charbuf, "executable path of ancestor N / any ancestor").arg(OptionalIndex).any_ancestor().no_transformer().no_rhs(),
    own("proc.name", Charbuf, "comm of the process as of its last exec or clone (15 characters; a later prctl does not change it); the text <NA> when unknown"),
    parent("proc.pname", Charbuf, "comm of the parent process main thread"),
    lineage("proc.aname", Charbuf, "comm of ancestor N / any ancestor").arg(OptionalIndex).any_ancestor().no_transformer().no_rhs(),
    own("proc.args", Charbuf, "arguments after argv[0] joined by a space; proc.args[N] the Nth (0-based), empty string when out of range").arg(OptionalIndex),
    lineage("proc.aargs", Charbuf, "arguments of ancestor N; without index the space-joined text of all ancestors (no per-ancestor matching)").arg(OptionalIndex),
    own("proc.cmdline", Charbuf, "comm + arguments joined by a space"),
    parent("proc.pcmdline", Charbuf, "command line of the parent"),
    lineage("proc.acmdline", Charbuf, "command line of ancestor N / any ancestor").arg(OptionalIndex).any_ancestor().no_transformer().no_rhs(),
    own("proc.cmdnargs", Uint64, "number of arguments"),
    own("proc.cmdlenargs", Uint64, "sum of the argument lengths without separators"),
    own("proc.exeline", Charbuf, "argv[0] + space + arguments joined by a space (trailing space when there are none)"),
    process("proc.env", Charbuf, "environment joined by a space, or the value of proc.env[NAME] (empty when unset)").arg(OptionalKey),
    process("proc.aenv", Charbuf, "environment of ancestors: any ancestor / [N] / first ancestor defining [NAME] (max 20 levels)").arg(OptionalEither).any_ancestor().no_transformer().no_rhs(),
    process("proc.cwd", Charbuf, "working directory of the main thread, ends with /"),
    process("proc.loginshellid", Int64, "pid of the oldest ancestor (or self) whose comm ends with sh"),
    process("proc.tty", Uint32, "controlling tty device number, 0 when none").sources(Sources::LAST_EXEC),
    process("proc.pid", Int64, "thread group id in the host namespace"),
    process("proc.ppid", Int64, "pid of the parent process"),
    process("proc.apid", Int64, "pid of ancestor N / any ancestor; printed without index it is the own pid").arg(OptionalIndex).any_ancestor().no_transformer().no_rhs(),
    process("proc.vpid", Int64, "pid in the innermost pid namespace"),
    process("proc.pvpid", Int64, "innermost-namespace pid of the parent"),
    process("proc.sid", Int64, "session id (namespace view)").sources(Sources::SESSION),
    process("proc.sname", Charbuf, "comm of the session leader or of the oldest ancestor with the same sid").sources(Sources::SESSION),
    process("proc.sid.exe", Charbuf, "argv[0] of the session leader, or of the oldest ancestor with the same sid").sources(Sources::SESSION),
    process("proc.sid.exepath", Charbuf, "executable path of the session leader, or of the oldest ancestor with the same sid").sources(Sources::SESSION),
    process("proc.vpgid", Int64, "process group id in the pid namespace").sources(Sources::GROUP),
    process("proc.vpgid.name", Charbuf, "comm of the group leader (vpgid) or oldest ancestor of the group").sources(Sources::GROUP),
    process("proc.vpgid.exe", Charbuf, "argv[0] of the process group leader, or of the oldest ancestor of the group").sources(Sources::GROUP),
    process("proc.vpgid.exepath", Charbuf, "executable path of the process group leader, or of the oldest ancestor of the group").sources(Sources::GROUP),
    process("proc.pgid", Int64, "process group id in the host namespace").sources(Sources::GROUP),
    process("proc.pgid.name", Charbuf, "comm of the group leader (pgid) or oldest ancestor of the group").sources(Sources::GROUP),
    process("proc.pgid.exe", Charbuf, "argv[0] of the process group leader, or of the oldest ancestor of the group").sources(Sources::GROUP),
    process("proc.pgid.exepath", Charbuf, "executable path of the process group leader, or of the oldest ancestor of the group").sources(Sources::GROUP),
    process("proc.duration", RelTime, "event time minus process start (ns); absent when start is unknown").per_event().sources(Sources::START),
    process("proc.ppid.duration", RelTime, "event time minus parent start (ns)").per_event().sources(Sources::PARENT_START),
    process("proc.pid.ts", RelTime, "process start, ns since epoch").sources(Sources::START),
    process("proc.ppid.ts", RelTime, "parent start, ns since epoch").sources(Sources::PARENT_START),
    process("proc.is_exe_writable", Bool, "executable writable by the user who ran it").sources(Sources::LAST_EXEC),
    own("proc.is_exe_upper_layer", Bool, "executable lives in the overlayfs upper layer"),
    own("proc.is_exe_lower_layer", Bool, "executable lives in the overlayfs lower layer"),
    own("proc.is_exe_from_memfd", Bool, "executable is a memfd"),
    process("proc.is_sid_leader", Bool, "sid == vpid").sources(Sources::SESSION),
    process("proc.is_vpgid_leader", Bool, "vpgid == vpid").sources(Sources::GROUP),
    process("proc.is_pgid_leader", Bool, "pgid == pid").sources(Sources::GROUP),
    process("proc.exe_ino", Int64, "inode of the executable; absent when 0"),
    process("proc.exe_ino.ctime", AbsTime, "ctime of the executable, ns epoch; absent when 0"),
    process("proc.exe_ino.mtime", AbsTime, "mtime of the executable, ns epoch; absent when 0"),
    process("proc.exe_ino.ctime_duration_proc_start", AbsTime, "process start minus executable ctime, ns").sources(Sources::START),
    process("proc.exe_ino.ctime_duration_pidns_start", AbsTime, "executable ctime minus pid namespace start when later, ns").sources(Sources::CONTAINER_START),
    process("proc.pidns_init_start_ts", Uint64, "start of the pid namespace init, ns epoch").sources(Sources::CONTAINER_START),
    process("thread.cap_permitted", Charbuf, "permitted capabilities, names separated by a space").sources(Sources::CAPABILITIES),
    process("thread.cap_inheritable", Charbuf, "inheritable capabilities").sources(Sources::CAPABILITIES),
    process("thread.cap_effective", Charbuf, "effective capabilities").sources(Sources::CAPABILITIES),
    process("proc.fdopencount", Uint64, "open descriptors known for the process").per_event().sources(Sources::DESCRIPTORS),
    process("proc.fdlimit", Int64, "descriptor limit").per_event().sources(Sources::FILE_LIMIT),
    process("proc.fdusage", Double, "open/limit in percent").per_event().sources(Sources::DESCRIPTORS),
    process("proc.vmsize", Uint64, "virtual size, kB").per_event().sources(Sources::MEMORY),
    process("proc.vmrss", Uint64, "resident size, kB").per_event().sources(Sources::MEMORY),
    process("proc.vmswap", Uint64, "swapped size, kB").per_event().sources(Sources::MEMORY),
    process("thread.pfmajor", Uint64, "major faults").per_event().sources(Sources::MEMORY),
    process("thread.pfminor", Uint64, "minor faults").per_event().sources(Sources::MEMORY),
    process("thread.tid", Int64, "thread id; available even without thread info"),
    process("thread.ismain", Bool, "tid == pid (main-thread flag)"),
    process("thread.vtid", Int64, "thread id in the innermost pid namespace"),
    process("thread.nametid", Charbuf, "comm immediately followed by the tid").hidden(),
    process("thread.cgroups", Charbuf, "all SUBSYSTEM=PATH pairs separated by a space").sources(Sources::CGROUPS),
    process("thread.cgroup", Charbuf, "thread.cgroup.SUBSYSTEM path").arg(RequiredKey).dotted().sources(Sources::CGROUPS),
    process("thread.exectime", RelTime, "ns since the previous switch on that CPU; 0 for other events than switch").per_event().sources(Sources::SWITCHES),
    process("thread.totexectime", RelTime, "thread.exectime of all switches to the thread so far").per_event().sources(Sources::SWITCHES),
    process("proc.nthreads", Uint64, "live threads including the leader").per_event().sources(Sources::THREADS),
    process("proc.nchilds", Uint64, "live non-leader threads (not child processes)").per_event().sources(Sources::THREADS),
    process("thread.cpu", Double, "CPU used in the last second, percent; known of procinfo events only, which nothing sends any more").per_event().sources(Sources::PROCESSOR),
    process("thread.cpu.user", Double, "user part of thread.cpu").per_event().sources(Sources::PROCESSOR),
    process("thread.cpu.system", Double, "system part of thread.cpu").per_event().sources(Sources::PROCESSOR),
    process("thread.vmsize", Uint64, "kB, main thread only, 0 otherwise").per_event().sources(Sources::MEMORY),
    process("thread.vmrss", Uint64, "kB, main thread only, 0 otherwise").per_event().sources(Sources::MEMORY),
    process("thread.vmsize.b", Uint64, "bytes variant").hidden().per_event().sources(Sources::MEMORY),
    process("thread.vmrss.b", Uint64, "bytes variant").hidden().per_event().sources(Sources::MEMORY),
    process("proc.stdin.type", Charbuf, "fd type of descriptor 0").per_event().sources(Sources::DESCRIPTORS),
    process("proc.stdout.type", Charbuf, "fd type of descriptor 1").per_event().sources(Sources::DESCRIPTORS),
    process("proc.stderr.type", Charbuf, "fd type of descriptor 2").per_event().sources(Sources::DESCRIPTORS),
    process("proc.stdin.name", Charbuf, "name of descriptor 0").per_event().sources(Sources::DESCRIPTORS),
    process("proc.stdout.name", Charbuf, "name of descriptor 1").per_event().sources(Sources::DESCRIPTORS),
    process("proc.stderr.name", Charbuf, "name of descriptor 2").per_event().sources(Sources::DESCRIPTORS),
    user("user.uid", Uint32, "uid of the process").sources(Sources::IDENTITY),
    user("user.name", Charbuf, "login of that uid; root when uid 0 is unresolvable, else the text <NA>").sources(Sources::USERS),
    user("user.homedir", Charbuf, "home of that uid; /root for unresolvable uid 0").sources(Sources::USERS),
    user("user.shell", Charbuf, "shell of that uid").sources(Sources::USERS),
    user("user.loginuid", Int64, "audit uid, -1 when unset").sources(Sources::LAST_EXEC),
    user("user.loginname", Charbuf, "login of the audit uid").sources(Sources::USERS),
    group("group.gid", Uint32, "gid of the process").sources(Sources::IDENTITY),
    group("group.name", Charbuf, "name of that gid; root for unresolvable gid 0, else <NA>").sources(Sources::USERS),
    fd("fd.num", Int64, "descriptor number of the event").of_record(),
    fd("fd.type", Charbuf, "file, directory, ipv4, ipv6, unix, pipe, event, signalfd, eventpoll, inotify, timerfd, netlink, bpf, userfaultfd, io_uring, memfd, pidfd ...").of_record(),
    fd("fd.typechar", Charbuf, "one-character type code").of_record(),
    fd("fd.name", Charbuf, "full path of a file, or CLIENT:PORT->SERVER:PORT of a connection; built from the arguments when the call failed").of_record().sources(Sources::PATH),
    fd("fd.directory", Charbuf, "directory part of fd.name for files; / when there is no slash or only a leading one").of_record().sources(Sources::PATH),
    fd("fd.filename", Charbuf, "last component of fd.name for files").of_record().sources(Sources::PATH),
    fd("fd.ip", IpAddr, "true when client or server address matches (!= requires both to differ)").of_record().either_end().filter_only().no_transformer().no_rhs(),
    fd("fd.cip", IpAddr, "client address").of_record(),
    fd("fd.sip", IpAddr, "server address").of_record(),
    fd("fd.lip", IpAddr, "local address").of_record().sources(Sources::SIDES),
    fd("fd.rip", IpAddr, "remote address").of_record().sources(Sources::SIDES),
    fd("fd.port", Port, "either port matches").of_record().either_end().filter_only().no_transformer().no_rhs(),
    fd("fd.cport", Port, "client port").of_record(),
    fd("fd.sport", Port, "server port").of_record(),
    fd("fd.lport", Port, "local port").of_record().sources(Sources::SIDES),
    fd("fd.rport", Port, "remote port").of_record().sources(Sources::SIDES),
    fd("fd.l4proto", Charbuf, "tcp, udp, icmp, raw, or the text <NA>").of_record(),
    fd("fd.sockfamily", Charbuf, "ip or unix, absent otherwise").of_record(),
    fd("fd.is_server", Bool, "listening socket, or server address is a local address").of_record().sources(Sources::SIDES),
    fd("fd.uid", Charbuf, "tid concatenated with fd number"),
    fd("fd.containername", Charbuf, "CONTAINERID:FDNAME").sources(Sources::OPENED),
    fd("fd.containerdirectory", Charbuf, "CONTAINERID:DIRECTORY").sources(Sources::OPENED),
    fd("fd.proto", Port, "either port matches, value may be a service name").either_end().filter_only().no_transformer().no_rhs(),
    fd("fd.cproto", Charbuf, "client port as text (service name when resolution is on)"),
    fd("fd.sproto", Charbuf, "server port as text"),
    fd("fd.lproto", Charbuf, "local port as text").sources(Sources::SIDES),
    fd("fd.rproto", Charbuf, "remote port as text").sources(Sources::SIDES),
    fd("fd.net", IpNet, "either address is inside the CIDR").of_record().either_end().filter_only().no_transformer().no_rhs(),
    fd("fd.cnet", IpNet, "client address inside the CIDR").of_record().filter_only().no_transformer().no_rhs(),
    fd("fd.snet", IpNet, "server address inside the CIDR").of_record().filter_only().no_transformer().no_rhs(),
    fd("fd.lnet", IpNet, "local address inside the CIDR").of_record().filter_only().no_transformer().no_rhs().sources(Sources::SIDES),
    fd("fd.rnet", IpNet, "remote address inside the CIDR").of_record().filter_only().no_transformer().no_rhs().sources(Sources::SIDES),
    fd("fd.connected", Bool, "socket is connected").of_record(),
    fd("fd.name_changed", Bool, "this event changed the fd name (e.g. new UDP peer)"),
    fd("fd.cip.name", Charbuf, "domain of the client address, matched by resolving the filter value").no_transformer().no_rhs(),
    fd("fd.sip.name", Charbuf, "domain of the server address").no_transformer().no_rhs(),
    fd("fd.lip.name", Charbuf, "domain of the local address").no_transformer().no_rhs().sources(Sources::SIDES),
    fd("fd.rip.name", Charbuf, "domain of the remote address").no_transformer().no_rhs().sources(Sources::SIDES),
    fd("fd.dev", Int32, "device number (kernel encoded)").hex(),
    fd("fd.dev.major", Int32, "device major"),
    fd("fd.dev.minor", Int32, "device minor"),
    fd("fd.ino", Int64, "inode number"),
    fd("fd.nameraw", Charbuf, "path as the program passed it, duplicate slashes removed").of_record().sources(Sources::OPENED),
    fd("fd.types", Charbuf, "distinct types of the descriptors of the process, or with [N] the type of descriptor N").arg(OptionalIndex).list().no_rhs().sources(Sources::DESCRIPTORS),
    fd("fd.is_upper_layer", Bool, "file in the overlayfs upper layer").of_record(),
    fd("fd.is_lower_layer", Bool, "file in the overlayfs lower layer").of_record(),
    fs_path("fs.path.name", Charbuf, "path operand resolved to absolute; only on success of the call").of_record().sources(Sources::PATH),
    fs_path("fs.path.nameraw", Charbuf, "path operand as given").of_record(),
    fs_path("fs.path.source", Charbuf, "source operand of two-path calls, resolved (for link/symlink it is the NEW link path)").of_record().sources(Sources::PATH),
    fs_path("fs.path.sourceraw", Charbuf, "source operand of two-path calls as given").of_record(),
    fs_path("fs.path.target", Charbuf, "target operand of two-path calls, resolved (for link/symlink it is the EXISTING object)").of_record().sources(Sources::PATH),
    fs_path("fs.path.targetraw", Charbuf, "target operand of two-path calls as given").of_record(),
    util("util.cnt", Uint64, "number of times this expression was evaluated").hidden().sources(Sources::EVALUATIONS),
    fdlist("fdlist.nums", Charbuf, "comma list of fd numbers of poll/ppoll"),
    fdlist("fdlist.names", Charbuf, "comma list of fd names, <NA> for unknown ones").sources(Sources::DESCRIPTORS),
    fdlist("fdlist.cips", Charbuf, "comma list of client addresses, of connections").sources(Sources::ADDRESSES),
    fdlist("fdlist.sips", Charbuf, "comma list of server addresses, of connections and listening sockets").sources(Sources::ADDRESSES),
    fdlist("fdlist.cports", Charbuf, "comma list of client ports, of connections").sources(Sources::ADDRESSES),
    fdlist("fdlist.sports", Charbuf, "comma list of server ports, of connections").sources(Sources::ADDRESSES),
    constant("static", Charbuf, "the value that static_fields of the configuration gives to the name: static.NAME").arg(RequiredKey).dotted().hidden(),
    container("container.id", Charbuf, "first 12 characters of the container id found in the cgroups of the process; host outside containers").suggested().sources(Sources::CONTAINER),
    container("container.full_id", Charbuf, "container id as long as the cgroups give it; missing outside containers").sources(Sources::CONTAINER),
    container("container.name", Charbuf, "name of the container: its id until the runtime has told the name; host outside containers").suggested().sources(Sources::NAME),
    container("container.image", Charbuf, "image reference; missing until the container runtime has told it").sources(Sources::IMAGE),
    container("container.image.id", Charbuf, "image id; missing until the container runtime has told it").sources(Sources::IMAGE),
    container("container.type", Charbuf, "engine recognised by the cgroup path: docker, podman, cri-o, containerd, lxc, libvirt-lxc, bpm, systemd-nspawn; host outside containers").sources(Sources::KIND),
    container("container.privileged", Bool, "privileged container; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("container.mounts", Charbuf, "mounts SRC:DST:MODE:RDWR:PROP joined by a comma; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("container.mount", Charbuf, "one mount by index or by regex on its source; absent when none matches; missing until the container runtime has told it").arg(RequiredEither).sources(Sources::RUNTIME),
    container("container.mount.source", Charbuf, "source of a mount, by index or by regex on its DESTINATION; missing until the container runtime has told it").arg(RequiredEither).sources(Sources::RUNTIME),
    container("container.mount.dest", Charbuf, "destination of a mount, by index or by regex on its source; missing until the container runtime has told it").arg(RequiredEither).sources(Sources::RUNTIME),
    container("container.mount.mode", Charbuf, "mode string of a mount; missing until the container runtime has told it").arg(RequiredEither).sources(Sources::RUNTIME),
    container("container.mount.rdwr", Charbuf, "true/false text of a mount; missing until the container runtime has told it").arg(RequiredEither).sources(Sources::RUNTIME),
    container("container.mount.propagation", Charbuf, "propagation of a mount; missing until the container runtime has told it").arg(RequiredEither).sources(Sources::RUNTIME),
    container("container.image.repository", Charbuf, "repository part of the image; missing until the container runtime has told it").suggested().sources(Sources::IMAGE),
    container("container.image.tag", Charbuf, "tag part of the image; missing until the container runtime has told it").suggested().sources(Sources::IMAGE),
    container("container.image.digest", Charbuf, "registry digest; missing until the container runtime has told it").sources(Sources::IMAGE),
    container("container.healthcheck", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("container.liveness_probe", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("container.readiness_probe", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("container.start_ts", AbsTime, "pid namespace init start, ns epoch").of_task().sources(Sources::CONTAINER_START),
    container("container.duration", RelTime, "event time minus container.start_ts").per_event().sources(Sources::CONTAINER_START),
    container("container.ip", Charbuf, "primary IPv4 from the runtime; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("container.cni.json", Charbuf, "CNI result of the pod sandbox; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("container.host_pid", Bool, "shares host pid namespace").sources(Sources::RUNTIME),
    container("container.host_network", Bool, "shares host network namespace").sources(Sources::RUNTIME),
    container("container.host_ipc", Bool, "shares host ipc namespace").sources(Sources::RUNTIME),
    container("container.label", Charbuf, "value of one label; missing until the container runtime has told it").arg(RequiredKey).sources(Sources::RUNTIME),
    container("container.labels", Charbuf, "K:V pairs joined by comma+space, internal io.kubernetes.* and annotation.* labels excluded; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("proc.is_container_healthcheck", Bool, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("proc.is_container_liveness_probe", Bool, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("proc.is_container_readiness_probe", Bool, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.pod.name", Charbuf, "label io.kubernetes.pod.name of the container; missing until the container runtime has told it").suggested().sources(Sources::RUNTIME),
    container("k8s.ns.name", Charbuf, "label io.kubernetes.pod.namespace of the container; missing until the container runtime has told it").suggested().sources(Sources::RUNTIME),
    container("k8s.pod.id", Charbuf, "same value as k8s.pod.uid (old name)").sources(Sources::POD),
    container("k8s.pod.uid", Charbuf, "uid of the pod, from the cgroup path of the container; missing outside pods").sources(Sources::POD),
    container("k8s.pod.sandbox_id", Charbuf, "pod sandbox id, 12 characters; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("k8s.pod.full_sandbox_id", Charbuf, "pod sandbox id in full; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("k8s.pod.label", Charbuf, "one pod sandbox label; missing until the container runtime has told it").arg(RequiredKey).sources(Sources::RUNTIME),
    container("k8s.pod.labels", Charbuf, "pod sandbox labels; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("k8s.pod.ip", Charbuf, "pod IPv4; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("k8s.pod.cni.json", Charbuf, "CNI result of the pod; missing until the container runtime has told it").sources(Sources::RUNTIME),
    container("k8s.rc.name", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.rc.id", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.rc.label", Charbuf, "never has a value, as in Falco; accepted so that older rules load").arg(RequiredKey).deprecated().sources(Sources::REMOVED),
    container("k8s.rc.labels", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.svc.name", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.svc.id", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.svc.label", Charbuf, "never has a value, as in Falco; accepted so that older rules load").arg(RequiredKey).deprecated().sources(Sources::REMOVED),
    container("k8s.svc.labels", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.ns.id", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.ns.label", Charbuf, "never has a value, as in Falco; accepted so that older rules load").arg(RequiredKey).deprecated().sources(Sources::REMOVED),
    container("k8s.ns.labels", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.rs.name", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.rs.id", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.rs.label", Charbuf, "never has a value, as in Falco; accepted so that older rules load").arg(RequiredKey).deprecated().sources(Sources::REMOVED),
    container("k8s.rs.labels", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.deployment.name", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.deployment.id", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
    container("k8s.deployment.label", Charbuf, "never has a value, as in Falco; accepted so that older rules load").arg(RequiredKey).deprecated().sources(Sources::REMOVED),
    container("k8s.deployment.labels", Charbuf, "never has a value, as in Falco; accepted so that older rules load").deprecated().sources(Sources::REMOVED),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, f) in FIELDS.iter().enumerate() {
            assert_eq!(lookup(f.name), Some(FieldId(i as u16)), "{}", f.name);
            assert!(!f.desc.is_empty(), "{}", f.name);
        }
        assert_eq!(lookup("proc"), None);
        assert_eq!(lookup("evt.arg.flags"), None);
    }

    #[test]
    fn dotted_arguments_are_split_off() {
        let with = |n: &'static str| resolve(n).map(|(f, a)| (def(f).name, a));
        assert_eq!(with("proc.name"), Some(("proc.name", None)));
        assert_eq!(with("evt.arg.flags"), Some(("evt.arg", Some("flags"))));
        assert_eq!(with("evt.rawarg.a.b"), Some(("evt.rawarg", Some("a.b"))));
        assert_eq!(with("evt.type.is.open"), Some(("evt.type.is", Some("open"))));
        assert_eq!(with("evt.abspath.src"), Some(("evt.abspath", Some("src"))));
        assert_eq!(with("thread.cgroup.cpu"), Some(("thread.cgroup", Some("cpu"))));
        assert_eq!(with("proc.name.x"), None);
        assert_eq!(with("nothing"), None);
        assert_eq!(with("evt.arg."), None);
    }

    #[test]
    fn constant_look_up_agrees() {
        const NAME: FieldId = id("proc.name");
        assert_eq!(Some(NAME), lookup("proc.name"));
    }
}
