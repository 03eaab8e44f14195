//! Events without a kernel: records built from a description, read back through the decoder like any other.
//!
//! For tests and benchmarks. A [`World`] plays the module: it holds the tasks of one ring and turns an [`EventSpec`]
//! into a record whose values lie where the module's table says.

use super::clock::Clock;
use super::live::{Host, LiveEvent};
use super::params::{self, EventDef, Source};
use super::record::{self, Record};
use super::task::Tasks;
use super::types::{self, Age, EventCode};
use crate::driver::abi::{
    self, Plain, fsn_att, fsn_event, fsn_exec, fsn_fd, fsn_record, fsn_relative, fsn_sock, fsn_task,
};
use crate::enrich::users::Users;
use std::ffi::c_char;
use std::net::{IpAddr, SocketAddr};

/// Wall time of the first event: 2026-01-01.
pub const START: u64 = 1_767_225_600_000_000_000;

/// The bytes of a record, aligned as in a ring.
#[derive(Clone, Debug, Default)]
pub struct RecordBuf {
    words: Vec<u64>,
    len: usize,
}

impl RecordBuf {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.words.resize(end.div_ceil(8), 0);
        let start = self.len;
        // SAFETY: u64 has no padding and u8 any alignment; the length is that of the words.
        let all = unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast::<u8>(), self.words.len() * 8) };
        all[start..end].copy_from_slice(bytes);
        self.len = end;
    }

    fn push_struct<T: Plain>(&mut self, value: &T) {
        // SAFETY: a Plain struct is integers without padding.
        let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) };
        self.push(bytes);
    }

    fn pad(&mut self) {
        self.len = self.len.next_multiple_of(8);
        self.words.resize(self.len / 8, 0);
    }

    /// Writes the length into the header.
    fn finish(mut self) -> RecordBuf {
        self.pad();
        let len = (self.len as u32).to_ne_bytes();
        let first = self.words[0].to_ne_bytes();
        let word = [len[0], len[1], len[2], len[3], first[4], first[5], first[6], first[7]];
        self.words[0] = u64::from_ne_bytes(word);
        self
    }

    /// The whole record.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: u64 has no padding and u8 any alignment.
        let all = unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast::<u8>(), self.words.len() * 8) };
        &all[..self.len]
    }
}

fn header(kind: u32, slot: u16, time: u64) -> fsn_record {
    fsn_record { len: 0, type_: kind as u16, slot, time }
}

fn comm(name: &str) -> [c_char; abi::FSN_COMM as usize] {
    let mut comm = [0; abi::FSN_COMM as usize];
    for (to, from) in comm.iter_mut().take(15).zip(name.bytes()) {
        *to = from as c_char;
    }
    comm
}

fn block<T: AsRef<str>>(texts: &[T]) -> Vec<u8> {
    texts.iter().flat_map(|t| t.as_ref().bytes().chain([0])).collect()
}

/// A process: what its exec record and its place in a lineage say.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: i32,
    pub comm: String,
    pub exe: String,
    pub argv: Vec<String>,
    pub env: Vec<String>,
    /// `FSN_EXEC_*`.
    pub exec_flags: u32,
    /// Other numbers of the exec record; texts and lengths are filled in.
    pub exec: fsn_exec,
    pub relative: fsn_relative,
}

impl Process {
    /// A process that runs `exe` with these arguments, argv[0] first.
    pub fn new(pid: i32, exe: &str, argv: &[&str]) -> Process {
        let comm = exe.rsplit('/').next().unwrap_or(exe);
        Process {
            pid,
            comm: comm.chars().take(15).collect(),
            exe: exe.into(),
            argv: argv.iter().map(|&a| a.into()).collect(),
            env: Vec::new(),
            exec_flags: 0,
            exec: fsn_exec { exe_ino: 100 + pid as u64, exe_mode: 0o100_755, ..Default::default() },
            relative: fsn_relative { start: 1_000_000_000, ..Default::default() },
        }
    }

    #[must_use]
    pub fn comm(mut self, comm: &str) -> Process {
        self.comm = comm.into();
        self
    }

    #[must_use]
    pub fn env(mut self, env: &[&str]) -> Process {
        self.env = env.iter().map(|&e| e.into()).collect();
        self
    }

    /// The record of its image.
    fn record(&self, id: u64) -> RecordBuf {
        let (args, env) = (block(&self.argv), block(&self.env));
        let mut out = RecordBuf::default();
        let filename = &self.exe;
        out.push_struct(&fsn_exec {
            h: header(abi::FSN_REC_EXEC, abi::FSN_SLOT_NONE as u16, 0),
            id,
            pid: self.pid,
            flags: self.exec_flags | self.exec.flags,
            exe_len: self.exe.len() as u16,
            filename_len: filename.len() as u16,
            args_len: args.len() as u16,
            env_len: env.len() as u16,
            comm: comm(&self.comm),
            ..self.exec
        });
        for part in [self.exe.as_bytes(), filename.as_bytes(), &args, &env] {
            out.push(part);
        }
        out.finish()
    }
}

/// Everything a task record says.
#[derive(Clone, Debug)]
pub struct Task {
    pub process: Process,
    /// Parent first.
    pub ancestors: Vec<Process>,
    pub cwd: String,
    /// `controllers=path` each.
    pub cgroups: Vec<String>,
    /// Numbers of the task record; ids of the process and lengths are filled in.
    pub head: fsn_task,
}

impl Task {
    /// A task of root on the host.
    pub fn new(process: Process) -> Task {
        let pid = process.pid;
        let head = fsn_task {
            tid: pid,
            vtid: pid,
            vpid: pid,
            pgid: pid,
            vpgid: pid,
            sid: pid,
            vsid: pid,
            loginuid: u32::MAX,
            pid_start: 1_000_000_000,
            start: 1_000_000_000,
            fdlimit: 1024,
            ..Default::default()
        };
        Task { process, ancestors: Vec::new(), cwd: "/".into(), cgroups: vec!["=/".into()], head }
    }

    #[must_use]
    pub fn parent(mut self, process: Process) -> Task {
        self.ancestors.push(process);
        self
    }

    #[must_use]
    pub fn cwd(mut self, cwd: &str) -> Task {
        self.cwd = cwd.into();
        self
    }

    #[must_use]
    pub fn cgroup(mut self, path: &str) -> Task {
        self.cgroups = vec![format!("={path}")];
        self
    }

    #[must_use]
    pub fn uid(mut self, uid: u32) -> Task {
        (self.head.uid, self.head.euid, self.head.suid, self.head.fsuid) = (uid, uid, uid, uid);
        self
    }

    /// What a ring has of it: the images, then the task. `last_exec` is the last id of an image that was given away.
    pub fn records(&self, slot: u16, generation: u32, last_exec: &mut u64) -> Vec<RecordBuf> {
        let mut records = Vec::new();
        let mut image = |process: &Process| {
            *last_exec += 1;
            records.push(process.record(*last_exec));
            *last_exec
        };
        let exec_id = image(&self.process);
        let relatives: Vec<fsn_relative> = self
            .ancestors
            .iter()
            .zip(self.ancestors.iter().skip(1).map(|p| p.pid).chain([0]))
            .map(|(process, ppid)| fsn_relative {
                exec_id: image(process),
                pid: process.pid,
                ppid,
                vpid: process.pid,
                flags: process.relative.flags | abi::FSN_REL_PARENT,
                comm: comm(&process.comm),
                ..process.relative
            })
            .collect();
        let cgroups = block(&self.cgroups);
        let mut out = RecordBuf::default();
        out.push_struct(&fsn_task {
            h: header(abi::FSN_REC_TASK, slot, 0),
            gen_: generation,
            exec_id,
            pid: self.process.pid,
            ppid: self.ancestors.first().map_or(0, |p| p.pid),
            comm: comm(&self.process.comm),
            nrelatives: relatives.len() as u16,
            cwd_len: self.cwd.len() as u16,
            root_len: 1,
            cgroups_len: cgroups.len() as u16,
            ..self.head
        });
        relatives.iter().for_each(|r| out.push_struct(r));
        for part in [self.cwd.as_bytes(), b"/", &cgroups] {
            out.push(part);
        }
        records.push(out.finish());
        records
    }
}

/// A descriptor to attach.
#[derive(Clone, Debug)]
pub enum Fd {
    /// A path, `st_mode`, and native open flags.
    File { path: String, mode: u32, open: u32, flags: u32, dev: u32, ino: u64 },
    /// An IP socket: this end, the other, the type (`SOCK_*`), and who offers the service.
    Socket { local: Option<SocketAddr>, remote: Option<SocketAddr>, kind: i32, role: u32 },
    /// A unix socket: its name and inode numbers.
    Unix { name: String, ino: u64, peer: u64 },
}

impl Fd {
    /// A regular file.
    pub fn file(path: &str) -> Fd {
        Fd::File { path: path.into(), mode: 0o100_644, open: 0, flags: 0, dev: 0xfe00, ino: 7 }
    }

    /// A directory opened as one.
    pub fn directory(path: &str) -> Fd {
        let open = libc::O_DIRECTORY as u32;
        Fd::File { path: path.into(), mode: 0o40_755, open, flags: 0, dev: 0xfe00, ino: 8 }
    }

    /// Something without a name in a file system, as the kernel calls it.
    pub fn anonymous(name: &str) -> Fd {
        let mode = if name.starts_with("pipe:") { 0o10_600 } else { 0o600 };
        let deleted = if name.ends_with(" (deleted)") { abi::FSN_FD_DELETED } else { 0 };
        Fd::File { path: name.into(), mode, open: 0, flags: abi::FSN_FD_ANON | deleted, dev: 0, ino: 9 }
    }

    fn push(&self, number: i32, out: &mut RecordBuf) {
        let fd = fsn_fd { fd: number, ..Default::default() };
        match self {
            Fd::File { path, mode, open, flags, dev, ino } => {
                out.push_struct(&fsn_fd {
                    flags: *flags,
                    f_flags: *open,
                    mode: *mode,
                    dev: *dev,
                    ino: *ino,
                    name_len: path.len() as u32,
                    ..fd
                });
                out.push(path.as_bytes());
            }
            Fd::Socket { local, remote, kind, role } => {
                let v6 = local.or(*remote).is_some_and(|a| a.is_ipv6());
                let connected = if remote.is_some() { abi::FSN_SOCK_CONNECTED } else { 0 };
                let mut sock = fsn_sock {
                    family: if v6 { libc::AF_INET6 } else { libc::AF_INET } as u16,
                    type_: *kind as u16,
                    role: *role as u8,
                    flags: connected,
                    ..Default::default()
                };
                (sock.laddr, sock.lport) = octets(*local);
                (sock.raddr, sock.rport) = octets(*remote);
                push_socket(fd, &sock, b"", out);
            }
            Fd::Unix { name, ino, peer } => {
                let sock = fsn_sock {
                    family: libc::AF_UNIX as u16,
                    type_: libc::SOCK_STREAM as u16,
                    ino: *ino,
                    peer_ino: *peer,
                    rname_len: name.len() as u16,
                    ..Default::default()
                };
                push_socket(fd, &sock, name.as_bytes(), out);
            }
        }
    }
}

fn push_socket(fd: fsn_fd, sock: &fsn_sock, name: &[u8], out: &mut RecordBuf) {
    out.push_struct(&fsn_fd {
        flags: abi::FSN_FD_SOCKET,
        mode: libc::S_IFSOCK,
        name_len: (size_of::<fsn_sock>() + name.len()) as u32,
        ..fd
    });
    out.push_struct(sock);
    out.push(name);
}

fn octets(addr: Option<SocketAddr>) -> ([u8; 16], u16) {
    let mut octets = [0; 16];
    let Some(addr) = addr else { return (octets, 0) };
    match addr.ip() {
        IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => octets = ip.octets(),
    }
    (octets, addr.port())
}

/// An event to be recorded.
#[derive(Clone, Debug)]
pub struct EventSpec {
    head: fsn_event,
    def: Option<&'static EventDef>,
    attachments: Vec<(u8, Attached)>,
}

#[derive(Clone, Debug)]
enum Attached {
    Text(u32, Vec<u8>),
    Number(u64),
    Fd(i32, Fd),
}

impl EventSpec {
    /// An event by its `evt.type`: its current exit code, or the generic one of a system call without its own.
    ///
    /// # Panics
    /// When nothing has this name.
    pub fn new(name: &str) -> EventSpec {
        let codes = types::codes_of_event(name);
        let current = |code: &&EventCode| code.info().age == Age::Current;
        let code = codes.iter().filter(current).max_by_key(|code| code.0).copied().unwrap_or(EventCode(1));
        let sc = types::syscalls_of_type(name).next().map_or(0, |call| call.code);
        assert!(!codes.is_empty() || sc != 0, "no event is called {name}");
        let head = fsn_event { code: code.0, sc, ..Default::default() };
        EventSpec { head, def: params::event(code), attachments: Vec::new() }
    }

    fn index(&self, param: &str) -> u8 {
        let found = self.def.and_then(|def| def.param(param));
        found.unwrap_or_else(|| panic!("{:?} has no parameter {param}", self.def.map(|def| def.name))).0
    }

    /// The return value.
    #[must_use]
    pub fn ret(mut self, ret: i64) -> EventSpec {
        self.head.ret = ret;
        self
    }

    /// An argument register.
    #[must_use]
    pub fn arg(mut self, register: usize, value: i64) -> EventSpec {
        self.head.args[register] = value as u64;
        self
    }

    /// It came from a tracepoint: a successful exec.
    #[must_use]
    pub fn tracepoint(mut self) -> EventSpec {
        self.head.flags |= abi::FSN_EVENT_TRACEPOINT;
        self
    }

    /// A number of a parameter in the kernel's own terms, wherever the table has it.
    #[must_use]
    pub fn number(mut self, param: &str, value: u64) -> EventSpec {
        let index = self.index(param);
        match self.def.and_then(|def| def.at(index)).map(|p| p.source) {
            Some(Source::Ret | Source::RetFd) => self.head.ret = value as i64,
            Some(Source::Arg(n) | Source::Fd(n) | Source::DirFd(n) | Source::OpenMode(n, _)) => {
                self.head.args[usize::from(n)] = value;
            }
            _ => self.attachments.push((index, Attached::Number(value))),
        }
        self
    }

    /// A text the program passed.
    #[must_use]
    pub fn text(mut self, param: &str, text: impl AsRef<[u8]>) -> EventSpec {
        let attached = Attached::Text(abi::FSN_ATT_STR, text.as_ref().to_vec());
        self.attachments.push((self.index(param), attached));
        self
    }

    /// A buffer.
    #[must_use]
    pub fn bytes(mut self, param: &str, bytes: &[u8]) -> EventSpec {
        self.attachments.push((self.index(param), Attached::Text(abi::FSN_ATT_BYTES, bytes.to_vec())));
        self
    }

    /// Texts, as an argument vector.
    #[must_use]
    pub fn texts(mut self, param: &str, texts: &[&str]) -> EventSpec {
        self.attachments.push((self.index(param), Attached::Text(abi::FSN_ATT_STRV, block(texts))));
        self
    }

    /// An address the program passed.
    #[must_use]
    pub fn address(mut self, param: &str, addr: SocketAddr) -> EventSpec {
        let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u16;
        let mut bytes = family.to_ne_bytes().to_vec();
        bytes.extend(addr.port().to_be_bytes());
        let (octets, _) = octets(Some(addr));
        if addr.is_ipv4() {
            bytes.extend(&octets[..4]);
            bytes.resize(16, 0);
        } else {
            bytes.extend([0; 4]);
            bytes.extend(octets);
            bytes.extend([0; 4]);
        }
        self.attachments.push((self.index(param), Attached::Text(abi::FSN_ATT_SOCKADDR, bytes)));
        self
    }

    /// A descriptor of a parameter, with its number.
    #[must_use]
    pub fn fd(self, param: &str, number: i32, fd: Fd) -> EventSpec {
        let index = self.index(param);
        let mut spec = self.number(param, i64::from(number) as u64);
        spec.attachments.push((index, Attached::Fd(number, fd)));
        spec
    }

    /// The record of this event in a slot.
    pub fn record(&self, slot: u16, generation: u32, time: u64) -> RecordBuf {
        let mut out = RecordBuf::default();
        out.push_struct(&fsn_event {
            h: header(abi::FSN_REC_EVENT, slot, time),
            gen_: generation,
            natts: self.attachments.len() as u16,
            ..self.head
        });
        for (param, attached) in &self.attachments {
            let mut data = RecordBuf::default();
            let kind = match attached {
                Attached::Text(kind, bytes) => {
                    data.push(bytes);
                    *kind
                }
                Attached::Number(n) => {
                    data.push(&n.to_ne_bytes());
                    abi::FSN_ATT_U64
                }
                Attached::Fd(number, fd) => {
                    fd.push(*number, &mut data);
                    abi::FSN_ATT_FD
                }
            };
            out.push_struct(&fsn_att { kind: kind as u8, param: *param, flags: 0, len: data.len as u32 });
            out.push(data.bytes());
            out.pad();
        }
        out.finish()
    }
}

/// One ring's tasks and its host.
#[derive(Debug)]
pub struct World {
    pub tasks: Tasks,
    pub host: Host,
    generation: u32,
    next_exec: u64,
    events: u64,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// A host called `host` with two users, root and alice (1000).
    pub fn new() -> World {
        let users = Users::from_texts(
            b"root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/sh\n",
            b"root:x:0:\nalice:x:1000:\n",
        );
        let clock = Clock { wall_minus_module: START as i64, wall_minus_boot: START as i64, utc_offset: 0 };
        let mut host = Host::new(users, clock, "host", 0);
        host.first_event = START;
        World { tasks: Tasks::new(), host, generation: 0, next_exec: 0, events: 0 }
    }

    /// Sends a record.
    ///
    /// # Panics
    /// When the decoder does not accept it.
    pub fn send(&mut self, record: &RecordBuf) {
        let record = record::decode(record.bytes()).expect("a whole record");
        self.tasks.apply(&record);
    }

    /// Makes slot 0 stand for a task.
    pub fn task(&mut self, task: &Task) {
        self.generation += 1;
        for record in task.records(0, self.generation, &mut self.next_exec) {
            self.send(&record);
        }
    }

    /// The record of the next event of slot 0, one second after the one before.
    pub fn event(&mut self, spec: &EventSpec) -> RecordBuf {
        self.events += 1;
        spec.record(0, self.generation, self.events * 1_000_000_000)
    }

    /// Looks at an event's record.
    ///
    /// # Panics
    /// When the decoder does not accept it, or it is no event.
    pub fn view<'r>(&'r self, record: &'r RecordBuf) -> LiveEvent<'r> {
        match record::decode(record.bytes()) {
            Ok(Record::Event(event)) => LiveEvent::of_ring(event, &self.tasks, &self.host, self.events, 0),
            other => panic!("no event: {other:?}"),
        }
    }
}
