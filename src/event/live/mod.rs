//! Events of a ring: what the module's records say, as the fields ask for it ([`Payload`]).
//!
//! Where Falco's own state machine loses track (a relative path after a lost chdir, an `*at` call on a relative path without a
//! directory descriptor) the kernel's answer is given instead of its placeholder. Which end of a connection is the client: the
//! call says it (connect, accept), else the socket does.

mod procfs;
pub mod said;

#[cfg(test)]
mod tests;

pub use super::view::{Host, PathView};

use super::arena_text::ArenaText;
use super::exec::DELETED;
use super::flags;
use super::params::{Family, Param, Source};
use super::path;
use super::record::{Address, Attachment, EventRecord, FdRecord, Slot, SocketRecord};
use super::task::Tasks;
use super::types::EventCode;
use super::value::{Room, Said, Type, Versioned};
use super::view::{
    Arg, Descriptor, Ends, FdList, Gauge, Kind, Payload, Scene, Socket, Tuple, View, is_number, narrowed,
};
use crate::driver::abi::{self, fsn_event};
use crate::enrich::users::{UNKNOWN, Users};
use bumpalo::Bump;
use smallvec::SmallVec;
use std::net::IpAddr;

/// An event of a ring.
pub type LiveEvent<'r> = View<'r, Recorded<'r>>;

/// A record's payload.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'r> {
    record: EventRecord<'r>,
    /// The descriptor it is about, once it was looked for.
    main: Option<Option<&'r Descriptor<'r>>>,
}

impl<'r> LiveEvent<'r> {
    /// An event and its surroundings. `number` counts the events of the ring from 1; `previous` is the wall time of
    /// the event before it, 0 for the first.
    pub fn of_ring(
        record: EventRecord<'r>,
        tasks: &'r Tasks,
        host: &'r Host,
        number: u64,
        previous: u64,
    ) -> LiveEvent<'r> {
        let scene = Scene {
            code: EventCode(record.head.code),
            task: tasks.get(Slot(record.head.h.slot), record.head.gen_),
            execs: tasks.execs(),
            host,
            number,
            time: host.clock.wall(record.head.h.time),
            previous,
        };
        View::new(Recorded { record, main: None }, scene)
    }

    /// The same event, its descriptor taken from the record once for all fields that ask.
    #[must_use]
    pub fn with_descriptor(mut self, arena: &'r Bump) -> LiveEvent<'r> {
        let main = Recorded::main_fd(&self).and_then(|index| self.record().fd(index));
        self.payload.main = Some(main.map(|record| &*arena.alloc(descriptor_of(record))));
        self
    }

    /// The record it was read from.
    pub const fn record(&self) -> &EventRecord<'r> {
        &self.payload.record
    }

    fn register(&self, n: u8) -> u64 {
        self.record().head.args.get(usize::from(n)).copied().unwrap_or(0)
    }

    fn attached<'a>(&'a self, index: u8, param: &'static Param) -> Option<Arg<'a>> {
        if param.ty == Type::SockTuple {
            let peer = self.record().attachment_of(index, abi::FSN_ATT_SOCKADDR).and_then(|a| a.address());
            let socket = self.main_socket().is_some();
            return (socket || peer.is_some()).then(|| Arg::Tuple(self.tuple(peer)));
        }
        let mut found = None;
        // A descriptor pair attaches its number and the descriptor itself.
        for attachment in self.record().attachments().filter(|a| a.head.param == index) {
            match u32::from(attachment.head.kind) {
                abi::FSN_ATT_STR | abi::FSN_ATT_PATH => found = Some(Arg::Text(attachment.data)),
                abi::FSN_ATT_BYTES if param.ty == Type::FdList => {
                    found = Some(Arg::FdList(FdList::Poll(attachment.data)))
                }
                abi::FSN_ATT_BYTES if param.ty == Type::Dyn => found = Some(self.option(attachment.data)),
                abi::FSN_ATT_BYTES | abi::FSN_ATT_STRV => found = Some(Arg::Bytes(attachment.data)),
                abi::FSN_ATT_U64 => {
                    let number = self.translated(param, attachment.number(0)?);
                    found = Some(if self.is_signal(index, param) { Arg::Signal(number) } else { Arg::Number(number) });
                }
                abi::FSN_ATT_SOCKADDR => found = attachment.address().map(Arg::Address),
                _ => {}
            }
        }
        match (found, param.ty) {
            // A number that could not be read is 0, as in Falco; a descriptor of a failed call is -1.
            (None, Type::Fd) => Some(Arg::Number(-1i64 as u64)),
            (None, ty) if is_number(ty) => Some(Arg::Number(self.translated(param, 0))),
            (found, _) => found,
        }
    }

    /// From the kernel's number to the one rules see: by its class first, then as wide as the type.
    fn translated(&self, param: &Param, raw: u64) -> u64 {
        let mut value = match param.convert {
            None => raw,
            // What an option is depends on the level it belongs to.
            Some(_) if param.socket_level && self.register(1) as i32 != libc::SOL_SOCKET => 0,
            Some(convert) => u64::from(convert(raw as u32)),
        };
        if self.family() == Family::Open
            && param.name == "flags"
            && let Some(fd) = self.record().fd(0)
        {
            let bit = |flag, bit| if fd.head.flags & flag != 0 { u64::from(bit) } else { 0 };
            value |= bit(abi::FSN_FD_CREATED, flags::open_bit::F_CREATED)
                | bit(abi::FSN_FD_UPPER, flags::open_bit::UPPER_LAYER)
                | bit(abi::FSN_FD_LOWER, flags::open_bit::LOWER_LAYER);
        }
        if self.family() == Family::Clone
            && param.name == "flags"
            && self.task.is_some_and(|task| task.head.flags & abi::FSN_TASK_CHILD_PIDNS != 0)
        {
            value |= u64::from(flags::CLONE_CHILD_IN_PIDNS);
        }
        narrowed(param.ty, value)
    }

    /// Whether a parameter of ptrace is the signal a traced process goes on with.
    fn is_signal(&self, index: u8, param: &Param) -> bool {
        const WITH_SIGNAL: [u64; 8] = [7, 9, 17, 24, 31, 32, 33, 8];
        param.class_name == "ptrace_dynamic_param"
            && self.def.and_then(|def| def.param("data")).is_some_and(|(data, _)| data == index)
            && WITH_SIGNAL.contains(&self.register(0))
    }

    /// The value of a socket option, by what the option holds.
    fn option<'a>(&self, bytes: &'a [u8]) -> Arg<'a> {
        let socket_level = self.register(1) as i32 == libc::SOL_SOCKET;
        let word = bytes.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
        match (self.register(2) as i32, word) {
            (libc::SO_ERROR, Some(error)) if socket_level => Arg::Errno(u64::from(error)),
            (option, Some(word)) if socket_level && bytes.len() == 4 && INT_OPTIONS.contains(&option) => {
                Arg::Number(u64::from(word))
            }
            _ => Arg::Bytes(bytes),
        }
    }

    fn main_socket(&self) -> Option<Socket<'r>> {
        match self.payload.main {
            Some(main) => main?.socket,
            None => self.record().fd(Recorded::main_fd(self)?)?.socket.map(socket_of),
        }
    }

    /// The other end as the call names it.
    fn named_peer(&self) -> Option<Address<'r>> {
        let is_peer = matches!(self.family(), Family::Connect | Family::Send | Family::Receive);
        let kind = abi::FSN_ATT_SOCKADDR;
        let record = self.payload.record;
        let found = is_peer.then(|| record.attachments().find(|a| u32::from(a.head.kind) == kind))??;
        found.address()
    }

    /// From where the bytes come to where they go; None when there are no two ends.
    fn tuple(&self, peer: Option<Address<'_>>) -> Option<Tuple<'r>> {
        let socket = self.main_socket()?;
        if socket.family == libc::AF_UNIX {
            let name = if socket.remote_name.is_empty() { socket.local_name } else { socket.remote_name };
            let unnamed = name.is_empty() && socket.peer_ino == 0;
            return (!unnamed).then_some(Tuple::Unix { from: socket.ino, to: socket.peer_ino, name });
        }
        let ends = with_peer(&socket, peer.or(self.named_peer()), None);
        let unset = |like: IpAddr| match like {
            IpAddr::V4(_) => IpAddr::from([0u8; 4]),
            IpAddr::V6(_) => IpAddr::from([0u8; 16]),
        };
        let remote = ends.remote?;
        let port = socket.local.map_or(0, |(_, port)| port);
        let local = ends.local.unwrap_or((unset(remote.0), port));
        let (from, to) = match self.family() {
            Family::Accept | Family::Receive => (remote, local),
            _ => (local, remote),
        };
        Some(Tuple::Ip { from, to })
    }
}

/// The state of an event's task, as its view has it.
#[inline]
pub fn task_of(event: &fsn_event, tasks: &Tasks, host: &Host) -> Option<Versioned> {
    let slot = event.h.slot;
    let stamp = tasks.stamp(Slot(slot), event.gen_)?;
    Some(Versioned { place: u32::from(slot), stamp, facts: host.facts() })
}

/// A socket's record, neutrally.
fn socket_of(record: SocketRecord<'_>) -> Socket<'_> {
    let head = record.head;
    let family = i32::from(head.family);
    let is_ip = matches!(family, libc::AF_INET | libc::AF_INET6);
    let l4 = match (i32::from(head.type_), i32::from(head.protocol)) {
        _ if !is_ip => None,
        (libc::SOCK_RAW, _) => Some("raw"),
        (_, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => Some("icmp"),
        (libc::SOCK_STREAM, _) => Some("tcp"),
        (libc::SOCK_DGRAM, _) => Some("udp"),
        _ => None,
    };
    Socket {
        family,
        l4,
        local: record.local(),
        remote: record.remote(),
        server: u32::from(head.role) == abi::FSN_ROLE_SERVER,
        listening: head.flags & abi::FSN_SOCK_LISTEN != 0,
        connected: head.flags & abi::FSN_SOCK_CONNECTED != 0,
        local_name: record.local_name,
        remote_name: record.remote_name,
        ino: head.ino,
        peer_ino: head.peer_ino,
    }
}

/// A descriptor's record, neutrally.
fn descriptor_of(record: FdRecord<'_>) -> Descriptor<'_> {
    const O_DIRECTORY: u32 = libc::O_DIRECTORY as u32;
    let head = record.head;
    let socket = record.socket.map(socket_of);
    let kind = match &socket {
        Some(socket) => match socket.family {
            libc::AF_INET => Kind::Ipv4,
            // An IPv4 connection of an IPv6 socket is one.
            libc::AF_INET6 if socket.remote.or(socket.local).is_some_and(|(ip, _)| ip.is_ipv4()) => Kind::Ipv4,
            libc::AF_INET6 => Kind::Ipv6,
            libc::AF_UNIX => Kind::Unix,
            libc::AF_NETLINK => Kind::Netlink,
            _ => Kind::Other,
        },
        None if head.flags & abi::FSN_FD_ANON != 0 || record.path.first() != Some(&b'/') => {
            if head.mode & libc::S_IFMT == libc::S_IFIFO { Kind::Pipe } else { Kind::of_anonymous(record.path) }
        }
        // A directory is one when it was opened as one, as the flags rules see say.
        None if head.mode & libc::S_IFMT == libc::S_IFDIR && head.f_flags & O_DIRECTORY != 0 => Kind::Directory,
        None => Kind::File,
    };
    let deleted = head.flags & abi::FSN_FD_DELETED != 0;
    let path = if deleted { record.path.strip_suffix(DELETED).unwrap_or(record.path) } else { record.path };
    let named = matches!(kind, Kind::File | Kind::Directory);
    Descriptor {
        number: head.fd,
        kind,
        path,
        // The kernel does not remember it.
        given: if named { path } else { b"" },
        dev: head.dev,
        ino: head.ino,
        upper_layer: head.flags & abi::FSN_FD_UPPER != 0,
        lower_layer: head.flags & abi::FSN_FD_LOWER != 0,
        socket,
    }
}

/// Sorts the ends of a socket; `peer` and `server` are what the call knows better.
fn with_peer(socket: &Socket<'_>, peer: Option<Address<'_>>, server: Option<bool>) -> Ends {
    let peer = match peer {
        Some(Address::Ip(ip, port)) => Some((ip, port)),
        _ => None,
    };
    let ends = socket.ends();
    Ends { remote: peer.or(ends.remote), server: server.unwrap_or(ends.server), ..ends }
}

/// Of two ends that know no roles, the one with the well-known (lower) port offers the service.
fn is_service(socket: &Socket<'_>, peer: Option<Address<'_>>) -> bool {
    match (peer, socket.local) {
        (Some(Address::Ip(_, port)), Some((_, local))) => local < port,
        _ => false,
    }
}

impl Payload for Recorded<'_> {
    fn ret(&self) -> i64 {
        self.record.head.ret
    }

    fn syscall(&self) -> u16 {
        self.record.head.sc
    }

    fn said<'a>(ev: &'a View<'_, Self>, _room: &'a mut Room) -> Option<Said<'a>> {
        let said = said::of(ev.record().bytes())?;
        // What does not start at the root starts where the task says.
        let is_text = |kind: u8| matches!(u32::from(kind), abi::FSN_ATT_STR | abi::FSN_ATT_PATH);
        let relative = |a: Attachment<'_>| is_text(a.head.kind) && a.data.first() != Some(&b'/');
        let task = if ev.record().attachments().any(relative) { Some(Self::versioned(ev)?) } else { None };
        Some(Said { task, ..said })
    }

    fn is_exec_success(&self) -> bool {
        self.record.head.flags & abi::FSN_EVENT_TRACEPOINT != 0
    }

    fn arg<'a>(ev: &'a View<'_, Self>, index: u8, param: &'static Param) -> Option<Arg<'a>> {
        let record = ev.record();
        let number = |raw| Some(Arg::Number(ev.translated(param, raw)));
        if param.on_success && record.head.ret < 0 {
            // As Falco has them: a limit that nobody told is none, and a size is 0. Ids, texts and bytes are missing.
            return match param.ty {
                Type::Int64 => number(-1i64 as u64),
                Type::Uint32 => number(0),
                _ => None,
            };
        }
        let signal =
            |n: u64| if ev.is_signal(index, param) { Some(Arg::Signal(ev.translated(param, n))) } else { number(n) };
        match param.source {
            Source::Absent => None,
            Source::Ret | Source::RetFd => number(record.head.ret as u64),
            Source::Arg(n) => signal(ev.register(n)),
            Source::Fd(n) | Source::DirFd(n) => number(ev.register(n)),
            Source::OpenMode(mode, open) => {
                number(if flags::creates_file(ev.register(open) as u32) { ev.register(mode) } else { 0 })
            }
            Source::Syscall => number(u64::from(record.head.sc)),
            Source::Number => number(u64::from(record.head.nr)),
            Source::Const(value) => number(u64::from(value)),
            Source::Task(value) => ev.task_value(u32::from(value)),
            Source::FdDev(of) => number(record.fd(of).map_or(0, |fd| u64::from(fd.head.dev))),
            Source::FdIno(of) => number(record.fd(of).map_or(0, |fd| fd.head.ino)),
            Source::FdPath(of) => Some(Arg::Text(descriptor_of(record.fd(of)?).path)),
            Source::FdLayer(of) => {
                let flags = record.fd(of).map_or(0, |fd| fd.head.flags);
                let upper = u64::from(flags & abi::FSN_FD_UPPER != 0);
                let lower = u64::from(flags & abi::FSN_FD_LOWER != 0);
                Some(Arg::Number(upper | lower << 1))
            }
            Source::Socket(of) => record.fd(of)?.socket.map(|_| Arg::Tuple(ev.tuple(None))),
            Source::ExecArg0 { param: of, value } => {
                if ev.payload.is_exec_success() {
                    return ev.task_value(u32::from(value));
                }
                let argv = record.attachment_of(of, abi::FSN_ATT_STRV)?.data;
                Some(Arg::Text(argv.split(|b| *b == 0).next().unwrap_or_default()))
            }
            Source::ExecArgv { value } => {
                if ev.payload.is_exec_success() {
                    return ev.task_value(u32::from(value));
                }
                let argv = record.attachment_of(index, abi::FSN_ATT_STRV)?.data;
                // The arguments start after argv[0]; an environment starts at its start.
                let start = if u32::from(value) == abi::FSN_V_ARGS {
                    memchr::memchr(0, argv).map_or(argv.len(), |end| end + 1)
                } else {
                    0
                };
                Some(Arg::Bytes(&argv[start..]))
            }
            Source::ExecFilename { value } => {
                if ev.payload.is_exec_success() {
                    return ev.task_value(u32::from(value));
                }
                Some(Arg::Text(record.attachment_of(index, abi::FSN_ATT_STR)?.data))
            }
            Source::Attached => ev.attached(index, param),
        }
    }

    fn access(ev: &View<'_, Self>) -> Option<u32> {
        let param = ev.def?.at(ev.def?.flags?)?;
        match param.source {
            // Without the rest of the translation.
            Source::Arg(n) if !param.on_success => Some(flags::access(ev.register(n) as u32)),
            _ => ev.open_flags(),
        }
    }

    fn tid(ev: &View<'_, Self>) -> Option<i32> {
        Some(ev.task?.head.tid)
    }

    fn fd_number(ev: &View<'_, Self>) -> Option<i64> {
        Some(ev.number_of_param(Self::main_fd(ev)?)? as i64)
    }

    /// A copy when one was made, else what was to be copied.
    fn main_fd(ev: &View<'_, Self>) -> Option<u8> {
        let def = ev.def?;
        let main = def.main_fd?;
        match def.family {
            Family::Fcntl if ev.record().fd(0).is_some() => Some(0),
            Family::Dup if ev.record().head.ret < 0 => def.param("oldfd").map(|(index, _)| index),
            _ => Some(main),
        }
    }

    fn descriptor<'a>(ev: &'a View<'_, Self>) -> Option<Descriptor<'a>> {
        match ev.payload.main {
            Some(main) => main.copied(),
            None => ev.record().fd(Self::main_fd(ev)?).map(descriptor_of),
        }
    }

    fn descriptor_of<'a>(ev: &'a View<'_, Self>, index: u8) -> Option<Descriptor<'a>> {
        ev.record().fd(index).map(descriptor_of)
    }

    fn ends(ev: &View<'_, Self>) -> Option<Ends> {
        let socket = ev.main_socket()?;
        let (_, local_port) = socket.local?;
        let peer = match ev.family() {
            // The socket knows where it got; when it got nowhere, what connect was given is where it was to go.
            Family::Connect if socket.remote.is_some_and(|(_, port)| port != 0) => None,
            _ if socket.connected => None,
            _ => ev.named_peer(),
        };
        let server = match ev.family() {
            Family::Connect => Some(false),
            Family::Accept | Family::Bind => Some(true),
            // Who talks first on an unconnected socket is the client.
            Family::Send if peer.is_some() => Some(local_port != 0 && is_service(&socket, peer)),
            Family::Receive if peer.is_some() => Some(is_service(&socket, peer)),
            _ => None,
        };
        Some(with_peer(&socket, peer, server))
    }

    fn is_connected(ev: &View<'_, Self>) -> bool {
        let Some(socket) = ev.main_socket() else { return false };
        let asked = ev.family() == Family::Connect && ev.record().head.ret == -i64::from(libc::EINPROGRESS);
        socket.local.is_some() && (asked || socket.connected)
    }

    /// It listens, or the server's address is one of this host's.
    fn is_server(ev: &View<'_, Self>) -> bool {
        let (Some(socket), Some(ends)) = (ev.main_socket(), Self::ends(ev)) else { return false };
        if ends.remote.is_none() {
            return ends.local.is_some();
        }
        let own = |ip: IpAddr| ip.is_loopback() || ends.local.is_some_and(|(local, _)| local == ip);
        socket.listening || ends.service().is_some_and(|(ip, _)| own(ip))
    }

    fn name_changed(ev: &View<'_, Self>) -> bool {
        let Some(fd) = Self::descriptor(ev) else { return false };
        let ret = ev.record().head.ret;
        match ev.family() {
            Family::Open | Family::Creat | Family::Accept | Family::Bind => ret >= 0,
            Family::Connect => ret >= 0 || ret == -i64::from(libc::EINPROGRESS),
            Family::Send | Family::Receive => fd.kind.is_ip() && ev.named_peer().is_some() && !Self::is_connected(ev),
            _ => {
                matches!(fd.kind, Kind::Memfd | Kind::Pidfd) && ev.def.is_some_and(|def| def.has(abi::FSN_P_CREATES_FD))
            }
        }
    }

    fn fd_name<'a>(ev: &'a View<'_, Self>, arena: &'a Bump) -> &'a [u8] {
        let Some(fd) = Self::descriptor(ev) else {
            return match ev.family() {
                // Nothing was opened: the name is what was asked for.
                Family::Open | Family::Creat => ev.given_path(arena).unwrap_or_default(),
                _ => b"",
            };
        };
        if let Some(socket) = fd.socket {
            let mut text = ArenaText::new(arena);
            match Self::ends(ev) {
                Some(ends) => socket.push_name(ends, &mut text),
                None => fd.push_name(&mut text),
            }
            return text.finish();
        }
        if ev.view == PathView::AsGiven
            && matches!(ev.family(), Family::Open | Family::Creat)
            && fd.is_named_file()
            && !ev.is_given(fd.path)
            && let Some(given) = ev.given_path(arena)
        {
            return given;
        }
        fd.plain_name()
    }

    fn base<'a>(ev: &'a View<'_, Self>, dirfd: Option<u8>) -> &'a [u8] {
        let Some(dirfd) = dirfd else { return ev.cwd() };
        match ev.number_of_param(dirfd) {
            Some(fd) if fd as i32 == libc::AT_FDCWD => ev.cwd(),
            _ => ev.record().fd(dirfd).map_or(path::UNKNOWN_DIR, |fd| descriptor_of(fd).path),
        }
    }

    fn versioned(ev: &View<'_, Self>) -> Option<Versioned> {
        let place = u32::from(ev.record().head.h.slot);
        Some(Versioned { place, stamp: ev.task?.stamp, facts: ev.host.facts() })
    }

    fn users<'a>(ev: &'a View<'_, Self>) -> &'a Users {
        ev.host.users_of(ev.task)
    }

    fn gauge(ev: &View<'_, Self>, gauge: Gauge) -> Option<u64> {
        let head = &ev.task?.head;
        match gauge {
            Gauge::Threads => procfs::status(head.pid, "Threads"),
            Gauge::Children => procfs::status(head.pid, "Threads").map(|all| all.saturating_sub(1)),
            Gauge::OpenFds => procfs::count_fds(head.pid),
            Gauge::VmSizeKb => procfs::status(head.pid, "VmSize"),
            Gauge::VmRssKb => procfs::status(head.pid, "VmRSS"),
            Gauge::VmSwapKb => procfs::status(head.pid, "VmSwap"),
            Gauge::MinorFaults => procfs::stat(head.tid, 10),
            Gauge::MajorFaults => procfs::stat(head.tid, 12),
            // Nothing tells of switches.
            Gauge::ExecTime | Gauge::TotalExecTime => Some(0),
        }
    }

    fn kind_of_fd(ev: &View<'_, Self>, fd: i64) -> Option<Kind> {
        procfs::kind_of_fd(ev.task?.head.pid, fd)
    }

    /// /proc does not tell.
    fn ends_of_fd(_ev: &View<'_, Self>, _fd: i64) -> Option<Ends> {
        None
    }

    /// Its record was lost.
    fn nobody(_ev: &View<'_, Self>) -> Option<&'static [u8]> {
        Some(UNKNOWN)
    }

    /// Not looked up for a text that is one of many.
    fn letter_of_fd(_ev: &View<'_, Self>, _fd: i64) -> &'static str {
        "?"
    }

    fn name_of_fd<'a>(ev: &'a View<'_, Self>, fd: i64, arena: &'a Bump) -> Option<&'a [u8]> {
        procfs::name_of_fd(ev.task?.head.pid, fd, arena)
    }

    fn kinds_of_fds(ev: &View<'_, Self>) -> Option<SmallVec<[&'static str; 8]>> {
        procfs::kinds_of_fds(ev.task?.head.pid)
    }

    fn name_of_tid<'a>(_ev: &'a View<'_, Self>, tid: i64, arena: &'a Bump) -> Option<&'a [u8]> {
        procfs::name(i32::try_from(tid).ok()?, arena)
    }
}

/// Socket options whose value is a number.
const INT_OPTIONS: [i32; 24] = [
    libc::SO_DEBUG,
    libc::SO_REUSEADDR,
    libc::SO_TYPE,
    libc::SO_DONTROUTE,
    libc::SO_BROADCAST,
    libc::SO_SNDBUF,
    libc::SO_RCVBUF,
    libc::SO_SNDBUFFORCE,
    libc::SO_RCVBUFFORCE,
    libc::SO_KEEPALIVE,
    libc::SO_OOBINLINE,
    libc::SO_PRIORITY,
    libc::SO_REUSEPORT,
    libc::SO_PASSCRED,
    libc::SO_RCVLOWAT,
    libc::SO_SNDLOWAT,
    libc::SO_TIMESTAMP,
    libc::SO_ACCEPTCONN,
    libc::SO_MARK,
    libc::SO_PROTOCOL,
    libc::SO_DOMAIN,
    libc::SO_RXQ_OVFL,
    libc::SO_PEEK_OFF,
    libc::SO_BUSY_POLL,
];
