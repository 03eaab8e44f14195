//! Fields of the descriptor an event is about: fd.*.
//!
//! The kernel resolved it through its own objects when the call returned, so there is no table of descriptors to be
//! wrong. Which end of a connection is the client: the call says it (connect, accept), else the socket does.

use super::{LiveEvent, PathView, answer, procfs};
use crate::driver::abi;
use crate::event::arena_text::{ArenaText, decimal};
use crate::event::exec::DELETED;
use crate::event::params::Family;
use crate::event::path;
use crate::event::record::{Address, FdRecord, SocketRecord};
use crate::event::types::Category;
use crate::event::value::{FieldArg, Value};
use bumpalo::Bump;
use std::net::IpAddr;

/// What kind of thing a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Ipv4,
    Ipv6,
    Unix,
    Netlink,
    Pipe,
    Event,
    Signalfd,
    Eventpoll,
    Inotify,
    Timerfd,
    Bpf,
    Userfaultfd,
    IoUring,
    Memfd,
    Pidfd,
    /// A socket of another family, or an anonymous file of another kind.
    Other,
}

impl Kind {
    /// `fd.type` and `fd.typechar`.
    const fn names(self) -> (Option<&'static str>, &'static str) {
        match self {
            Kind::File => (Some("file"), "f"),
            Kind::Directory => (Some("directory"), "d"),
            Kind::Ipv4 => (Some("ipv4"), "4"),
            Kind::Ipv6 => (Some("ipv6"), "6"),
            Kind::Unix => (Some("unix"), "u"),
            Kind::Netlink => (Some("netlink"), "n"),
            Kind::Pipe => (Some("pipe"), "p"),
            Kind::Event => (Some("event"), "e"),
            Kind::Signalfd => (Some("signalfd"), "s"),
            Kind::Eventpoll => (Some("eventpoll"), "l"),
            Kind::Inotify => (Some("inotify"), "i"),
            Kind::Timerfd => (Some("timerfd"), "t"),
            Kind::Bpf => (Some("bpf"), "b"),
            Kind::Userfaultfd => (Some("userfaultfd"), "u"),
            Kind::IoUring => (Some("io_uring"), "r"),
            Kind::Memfd => (Some("memfd"), "m"),
            Kind::Pidfd => (Some("pidfd"), "P"),
            Kind::Other => (None, "o"),
        }
    }

    pub(super) const fn type_name(self) -> Option<&'static str> {
        self.names().0
    }

    const fn is_ip(self) -> bool {
        matches!(self, Kind::Ipv4 | Kind::Ipv6)
    }

    /// The category of input and output on it.
    pub(super) const fn category(self) -> &'static str {
        match self {
            Kind::File | Kind::Directory => "file",
            Kind::Ipv4 | Kind::Ipv6 => "net",
            Kind::Unix | Kind::Pipe | Kind::Event | Kind::Signalfd | Kind::Inotify => "ipc",
            _ => "unknown",
        }
    }

    /// What a link of /proc/PID/fd says it is.
    pub(super) fn of_link(link: &[u8]) -> Kind {
        match link {
            [b'/', ..] if link.starts_with(b"/memfd:") => Kind::Memfd,
            [b'/', ..] => Kind::File,
            _ if link.starts_with(b"pipe:") => Kind::Pipe,
            _ => Kind::of_anonymous(link),
        }
    }

    /// What the name of an anonymous file says it is.
    fn of_anonymous(name: &[u8]) -> Kind {
        let name = name.strip_prefix(b"anon_inode:").unwrap_or(name);
        let name = name.strip_prefix(b"/anon_inode:").unwrap_or(name);
        match name {
            b"[eventfd]" => Kind::Event,
            b"[signalfd]" => Kind::Signalfd,
            b"[eventpoll]" => Kind::Eventpoll,
            b"inotify" | b"[inotify]" => Kind::Inotify,
            b"[timerfd]" => Kind::Timerfd,
            b"[userfaultfd]" => Kind::Userfaultfd,
            b"[io_uring]" => Kind::IoUring,
            b"[pidfd]" => Kind::Pidfd,
            _ if name.starts_with(b"/memfd:") => Kind::Memfd,
            _ if name.starts_with(b"bpf") || name.starts_with(b"[bpf") => Kind::Bpf,
            _ => Kind::Other,
        }
    }
}

/// A descriptor as the kernel resolved it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor<'r> {
    record: FdRecord<'r>,
    kind: Kind,
}

/// Both ends of a socket, sorted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    local: Option<(IpAddr, u16)>,
    remote: Option<(IpAddr, u16)>,
    /// The other end made the connection.
    server: bool,
}

impl Ends {
    fn client(&self) -> Option<(IpAddr, u16)> {
        let remote = self.remote?;
        if self.server { Some(remote) } else { self.local }
    }

    /// Of a socket without another end this is where it listens.
    fn service(&self) -> Option<(IpAddr, u16)> {
        match self.remote {
            None => self.local,
            Some(_) if self.server => self.local,
            remote => remote,
        }
    }
}

impl<'r> Descriptor<'r> {
    pub(super) fn of(record: FdRecord<'r>) -> Descriptor<'r> {
        const O_DIRECTORY: u32 = libc::O_DIRECTORY as u32;
        let head = record.head;
        let kind = match record.socket {
            Some(socket) => match i32::from(socket.head.family) {
                libc::AF_INET => Kind::Ipv4,
                // An IPv4 connection of an IPv6 socket is one.
                libc::AF_INET6 if socket.remote().or(socket.local()).is_some_and(|(ip, _)| ip.is_ipv4()) => Kind::Ipv4,
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
        Descriptor { record, kind }
    }

    /// Its number.
    pub(super) const fn number(&self) -> i32 {
        self.record.head.fd
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) const fn type_char(&self) -> &'static str {
        self.kind.names().1
    }

    /// A file with a name in a file system.
    pub(super) const fn is_named_file(&self) -> bool {
        matches!(self.kind, Kind::File | Kind::Directory)
    }

    /// Path as the kernel has it, without what it adds to unlinked files.
    pub(super) fn opened_path(&self) -> &'r [u8] {
        let path = self.record.path;
        if self.record.head.flags & abi::FSN_FD_DELETED != 0 {
            path.strip_suffix(DELETED).unwrap_or(path)
        } else {
            path
        }
    }

    fn l4(&self) -> Option<&'static str> {
        let socket = self.record.socket?.head;
        if !matches!(i32::from(socket.family), libc::AF_INET | libc::AF_INET6) {
            return None;
        }
        Some(match (i32::from(socket.type_), i32::from(socket.protocol)) {
            (libc::SOCK_RAW, _) => "raw",
            (_, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => "icmp",
            (libc::SOCK_STREAM, _) => "tcp",
            (libc::SOCK_DGRAM, _) => "udp",
            _ => return None,
        })
    }

    /// The letter that texts put behind the type's.
    pub(super) fn l4_char(&self) -> &'static str {
        self.l4().map_or("", |name| &name[..1])
    }

    /// Name without knowledge of the event: for descriptors that are not the main one.
    pub(super) fn push_name(&self, text: &mut ArenaText<'_>) {
        match self.record.socket {
            Some(socket) => push_socket(&socket, ends(&socket, None, None), text),
            None => text.push(self.plain_name()),
        }
    }

    /// Name of what is no socket.
    fn plain_name(&self) -> &'r [u8] {
        match self.kind {
            Kind::File | Kind::Directory => self.opened_path(),
            Kind::Memfd => {
                let path = self.opened_path();
                path.strip_prefix(b"/memfd:").unwrap_or(path)
            }
            _ => b"",
        }
    }
}

/// Sorts the ends of a socket; `peer` and `server` are what the call knows better.
fn ends(socket: &SocketRecord<'_>, peer: Option<Address<'_>>, server: Option<bool>) -> Ends {
    let peer = match peer {
        Some(Address::Ip(ip, port)) => Some((ip, port)),
        _ => None,
    };
    let local = socket.local().filter(|(ip, port)| *port != 0 || !ip.is_unspecified());
    Ends {
        local,
        remote: peer.or(socket.remote()),
        server: server.unwrap_or(u32::from(socket.head.role) == abi::FSN_ROLE_SERVER),
    }
}

/// `CLIENT:PORT->SERVER:PORT`, `ADDRESS:PORT` where it listens, and for unix sockets `INODE->INODE PATH`.
fn push_socket(socket: &SocketRecord<'_>, ends: Ends, text: &mut ArenaText<'_>) {
    if i32::from(socket.head.family) == libc::AF_UNIX {
        push_unix(socket, text);
        return;
    }
    if let Some((ip, port)) = ends.client() {
        push_address(ip, port, text);
        text.push(b"->");
    } else if ends.remote.is_some() {
        // Sent from a socket that has no address yet.
        text.push(b"0.0.0.0:0->");
    }
    if let Some((ip, port)) = ends.service() {
        push_address(ip, port, text);
    }
}

fn push_unix(socket: &SocketRecord<'_>, text: &mut ArenaText<'_>) {
    let head = socket.head;
    if head.peer_ino != 0 {
        text.push_fmt(format_args!("{:x}->{:x} ", head.ino, head.peer_ino));
    }
    text.push(if socket.remote_name.is_empty() { socket.local_name } else { socket.remote_name });
}

pub(super) fn push_address(ip: IpAddr, port: u16, text: &mut ArenaText<'_>) {
    text.push_fmt(format_args!("{ip}:{port}"));
}

impl<'r> LiveEvent<'r> {
    /// The descriptor the event is about, as the kernel knows it; None when there is none or the call failed.
    pub(super) fn descriptor(&self) -> Option<Descriptor<'r>> {
        self.record.fd(self.main_index()?).map(Descriptor::of)
    }

    /// The parameter with the descriptor the event is about: a copy when one was made, else what was to be copied.
    fn main_index(&self) -> Option<u8> {
        let def = self.def?;
        let main = def.main_fd?;
        match def.family {
            Family::Fcntl if self.record.fd(0).is_some() => Some(0),
            Family::Dup if self.record.head.ret < 0 => def.param("oldfd").map(|(index, _)| index),
            _ => Some(main),
        }
    }

    pub(super) fn main_socket(&self) -> Option<SocketRecord<'r>> {
        self.record.fd(self.main_index()?)?.socket
    }

    /// The event is about a descriptor, known or not. A command that returns one may be about another.
    fn has_fd(&self) -> bool {
        self.def.is_some_and(|def| def.main_fd.is_some())
    }

    /// The other end as the call names it.
    fn named_peer(&self) -> Option<Address<'r>> {
        let is_peer = matches!(self.family(), Family::Connect | Family::Send | Family::Receive);
        let kind = abi::FSN_ATT_SOCKADDR;
        let found = is_peer.then(|| self.record.attachments().find(|a| u32::from(a.head.kind) == kind))??;
        found.address()
    }

    fn ends(&self) -> Option<Ends> {
        let socket = self.main_socket()?;
        socket.local()?;
        let peer = match self.family() {
            // The socket knows where it got; when it got nowhere, what connect was given is where it was to go.
            Family::Connect if socket.head.rport != 0 => None,
            _ if socket.head.flags & abi::FSN_SOCK_CONNECTED != 0 => None,
            _ => self.named_peer(),
        };
        let server = match self.family() {
            Family::Connect => Some(false),
            Family::Accept | Family::Bind => Some(true),
            // Who talks first on an unconnected socket is the client.
            Family::Send if peer.is_some() => Some(socket.head.lport != 0 && is_service(&socket, peer)),
            Family::Receive if peer.is_some() => Some(is_service(&socket, peer)),
            _ => None,
        };
        Some(ends(&socket, peer, server))
    }

    /// `fd.name`.
    pub(super) fn fd_name<'a>(&'a self, arena: &'a Bump) -> &'a [u8] {
        let Some(fd) = self.descriptor() else {
            return match self.family() {
                // Nothing was opened: the name is what was asked for.
                Family::Open | Family::Creat => self.given_path(arena).unwrap_or_default(),
                _ => b"",
            };
        };
        if let Some(socket) = fd.record.socket {
            let mut text = ArenaText::new(arena);
            match self.ends() {
                Some(ends) => push_socket(&socket, ends, &mut text),
                None => fd.push_name(&mut text),
            }
            return text.finish();
        }
        if self.view == PathView::AsGiven
            && self.opened_by_path().is_some()
            && let Some(given) = self.given_path(arena)
        {
            return given;
        }
        fd.plain_name()
    }

    /// A tuple as a parameter: from where the bytes come to where they go. False when there are no two ends.
    pub(super) fn push_tuple(&self, peer: Option<Address<'_>>, text: &mut ArenaText<'_>) -> bool {
        let Some(socket) = self.main_socket() else { return false };
        if i32::from(socket.head.family) == libc::AF_UNIX {
            let start = text.len();
            push_unix(&socket, text);
            return text.len() > start;
        }
        let ends = ends(&socket, peer.or(self.named_peer()), None);
        let unset = |like: IpAddr| match like {
            IpAddr::V4(_) => IpAddr::from([0u8; 4]),
            IpAddr::V6(_) => IpAddr::from([0u8; 16]),
        };
        let Some(remote) = ends.remote else { return false };
        let local = ends.local.unwrap_or((unset(remote.0), socket.head.lport));
        let (from, to) = match self.family() {
            Family::Accept | Family::Receive => (remote, local),
            _ => (local, remote),
        };
        push_address(from.0, from.1, text);
        text.push(b"->");
        push_address(to.0, to.1, text);
        true
    }

    /// The type letter: of the descriptor, or of what a failed call would have made.
    fn type_char(&self, arena: &Bump) -> &'static str {
        if let Some(fd) = self.descriptor() {
            return fd.type_char();
        }
        let Some(def) = self.def else { return "o" };
        match def.name {
            "open" | "openat" | "openat2" if self.given_path(arena).is_some() => "f",
            "creat" => "f",
            "accept" | "accept4" => "4",
            "socket" => match self.number_of_param(1).unwrap_or(0) as i32 {
                libc::AF_INET => "4",
                libc::AF_INET6 => "6",
                libc::AF_UNIX => "u",
                libc::AF_NETLINK => "n",
                _ => "o",
            },
            "pipe" | "pipe2" => "p",
            "socketpair" => "u",
            "signalfd" | "signalfd4" => "s",
            "timerfd_create" => "t",
            "eventfd" | "eventfd2" => "e",
            "inotify_init" | "inotify_init1" => "i",
            "memfd_create" => "?",
            _ => "o",
        }
    }

    /// The number of the descriptor; -1 for one that was not made.
    fn fd_number(&self) -> Option<i64> {
        let def = self.def?;
        let number = self.number_of_param(self.main_index()?)? as i64;
        let made = def.has(abi::FSN_P_CREATES_FD);
        Some(if made && number < 0 && def.name != "memfd_create" { -1 } else { number })
    }

    /// Whether this event gave the descriptor the name it has.
    fn name_changed(&self) -> bool {
        let Some(fd) = self.descriptor() else { return false };
        match self.family() {
            Family::Open | Family::Creat | Family::Accept | Family::Bind => self.record.head.ret >= 0,
            Family::Connect => self.record.head.ret >= 0 || self.record.head.ret == -i64::from(libc::EINPROGRESS),
            Family::Send | Family::Receive => fd.kind.is_ip() && self.named_peer().is_some() && !self.is_connected(),
            _ => {
                matches!(fd.kind, Kind::Memfd | Kind::Pidfd)
                    && self.def.is_some_and(|def| def.has(abi::FSN_P_CREATES_FD))
            }
        }
    }

    fn is_connected(&self) -> bool {
        let Some(socket) = self.main_socket() else { return false };
        let asked = self.family() == Family::Connect && self.record.head.ret == -i64::from(libc::EINPROGRESS);
        socket.local().is_some() && (asked || socket.head.flags & abi::FSN_SOCK_CONNECTED != 0)
    }

    /// Whether this end offers the service: it listens, or the server's address is one of this host's.
    fn is_server(&self) -> bool {
        let (Some(socket), Some(ends)) = (self.main_socket(), self.ends()) else { return false };
        if ends.remote.is_none() {
            return ends.local.is_some();
        }
        let own = |ip: IpAddr| ip.is_loopback() || ends.local.is_some_and(|(local, _)| local == ip);
        socket.head.flags & abi::FSN_SOCK_LISTEN != 0 || ends.service().is_some_and(|(ip, _)| own(ip))
    }

    /// The category an input or output event reports.
    pub(super) fn io_category(&self, category: Category) -> &'static str {
        if category.is_io() { self.descriptor().map_or("unknown", |fd| fd.kind.category()) } else { category.name() }
    }

    fn port_text<'a>(&self, port: Option<u16>, arena: &'a Bump) -> Option<Value<'a>> {
        self.ends()?;
        Some(Value::Str(port.map_or(b"", |port| decimal(port, arena))))
    }
}

/// Of two ends that know no roles, the one with the well-known (lower) port offers the service.
fn is_service(socket: &SocketRecord<'_>, peer: Option<Address<'_>>) -> bool {
    match peer {
        Some(Address::Ip(_, port)) => socket.head.lport < port,
        _ => false,
    }
}

fn ip(end: Option<(IpAddr, u16)>) -> Option<Value<'static>> {
    end.map(|(ip, _)| Value::Ip(ip))
}

fn port(end: Option<(IpAddr, u16)>) -> Option<Value<'static>> {
    end.map(|(_, port)| Value::U64(u64::from(port)))
}

/// Both ends' values; of a listening socket only its own.
fn both<'a>(ends: Ends, of: fn(Option<(IpAddr, u16)>) -> Option<Value<'static>>, arena: &'a Bump) -> Option<Value<'a>> {
    let values = [of(ends.client()), of(ends.service())];
    let list = arena.alloc_slice_fill_iter(values.iter().flatten().copied().collect::<smallvec::SmallVec<[_; 2]>>());
    Some(Value::List(list))
}

fn text(value: &str) -> Option<Value<'_>> {
    Some(Value::Str(value.as_bytes()))
}

fn prefixed<'a>(ev: &LiveEvent<'_>, name: &[u8], arena: &'a Bump) -> Option<Value<'a>> {
    let mut out = ArenaText::with_capacity(16 + name.len(), arena);
    out.push(ev.task.and_then(|task| task.container_id()).unwrap_or_default());
    out.push(b":");
    out.push(name);
    Some(Value::Str(out.finish()))
}

/// Directory of a file; `/` for a descriptor that is not known.
fn directory<'a>(ev: &'a LiveEvent<'_>, arena: &'a Bump) -> Option<&'a [u8]> {
    match ev.descriptor() {
        // A directory is its own.
        Some(fd) if fd.kind == Kind::Directory => Some(ev.fd_name(arena)),
        Some(fd) if fd.kind == Kind::File => Some(path::directory(ev.fd_name(arena))),
        Some(_) => None,
        None => Some(path::directory(ev.fd_name(arena))),
    }
}

const fn major(dev: u32) -> u32 {
    (dev & 0xf_ff00) >> 8
}

const fn minor(dev: u32) -> u32 {
    dev & 0xff | dev >> 12 & 0xf_ff00
}

/// A text of the process's descriptor table.
fn types<'a>(ev: &'a LiveEvent<'_>, arg: &FieldArg, arena: &'a Bump) -> Option<Value<'a>> {
    let pid = ev.task?.head.pid;
    match arg {
        FieldArg::Index(fd) => {
            let kind = procfs::kind_of_fd(pid, i64::from(*fd))?;
            text(kind.type_name()?)
        }
        _ => {
            let kinds = procfs::kinds_of_fds(pid)?;
            Some(Value::List(arena.alloc_slice_fill_iter(kinds.iter().map(|name| Value::Str(name.as_bytes())))))
        }
    }
}

answer! {
    /// fd.*; every field is missing for an event that is not about a descriptor.
    fn fields_of(ev, field, arena) {
        "fd.num" => ev.fd_number().map(Value::I64),
        "fd.type" => text(ev.descriptor()?.kind.type_name()?),
        "fd.typechar" => text(ev.type_char(arena)),
        "fd.name" => Some(Value::Str(ev.fd_name(arena))),
        "fd.directory" => directory(ev, arena).map(Value::Str),
        "fd.filename" => {
            let fd = ev.descriptor()?;
            (fd.kind == Kind::File).then(|| Value::Str(path::file_name(ev.fd_name(arena))))
        },
        "fd.nameraw" => Some(Value::Str(match (ev.def?.main_path, ev.descriptor()) {
            (Some(given), _) if ev.family() == Family::Open || ev.family() == Family::Creat => {
                path::single_slashes(ev.text_of_param(given)?, arena)
            }
            (_, Some(fd)) => fd.plain_name(),
            _ => b"",
        })),
        "fd.ip" | "fd.net" => both(ev.ends()?, ip, arena),
        "fd.port" | "fd.proto" => both(ev.ends()?, port, arena),
        "fd.cip" | "fd.cnet" | "fd.cip.name" => ip(ev.ends()?.client()),
        "fd.sip" | "fd.snet" | "fd.sip.name" => ip(ev.ends()?.service()),
        "fd.lip" | "fd.lnet" | "fd.lip.name" => {
            let ends = ev.ends()?;
            ip(ends.local.filter(|_| ends.remote.is_some()))
        },
        "fd.rip" | "fd.rnet" | "fd.rip.name" => ip(ev.ends()?.remote),
        "fd.cport" => port(ev.ends()?.client()),
        "fd.sport" => port(ev.ends()?.service()),
        "fd.lport" => {
            let ends = ev.ends()?;
            port(ends.local.filter(|_| ends.remote.is_some()))
        },
        "fd.rport" => port(ev.ends()?.remote),
        "fd.cproto" => { let end = ev.ends()?.client(); ev.port_text(end.map(|e| e.1), arena) },
        "fd.sproto" => {
            let ends = ev.ends()?;
            ev.port_text(ends.service().filter(|_| ends.remote.is_some()).map(|e| e.1), arena)
        },
        "fd.lproto" => {
            let ends = ev.ends()?;
            ends.remote?;
            ev.port_text(ends.local.map(|e| e.1), arena)
        },
        "fd.rproto" => { let end = ev.ends()?.remote?; ev.port_text(Some(end.1), arena) },
        "fd.l4proto" => text(ev.descriptor().and_then(|fd| fd.l4()).unwrap_or("<NA>")),
        "fd.sockfamily" => match ev.descriptor()?.kind {
            kind if kind.is_ip() => text("ip"),
            Kind::Unix => text("unix"),
            _ => None,
        },
        "fd.is_server" => Some(Value::Bool(ev.is_server())),
        "fd.connected" => Some(Value::Bool(ev.is_connected())),
        "fd.name_changed" => Some(Value::Bool(ev.name_changed())),
        "fd.uid" => {
            let mut out = ArenaText::new(arena);
            out.push_fmt(format_args!("{}{}", ev.task?.head.tid, ev.fd_number()?));
            Some(Value::Str(out.finish()))
        },
        "fd.containername" => prefixed(ev, ev.fd_name(arena), arena),
        "fd.containerdirectory" => prefixed(ev, directory(ev, arena)?, arena),
        "fd.dev" => Some(Value::I64(i64::from(ev.descriptor()?.record.head.dev))),
        "fd.dev.major" => Some(Value::I64(i64::from(major(ev.descriptor()?.record.head.dev)))),
        "fd.dev.minor" => Some(Value::I64(i64::from(minor(ev.descriptor()?.record.head.dev)))),
        "fd.ino" => Some(Value::I64(ev.descriptor()?.record.head.ino as i64)),
        "fd.types" => types(ev, &field.arg, arena),
        "fd.is_upper_layer" => Some(Value::Bool(ev.descriptor()?.record.head.flags & abi::FSN_FD_UPPER != 0)),
        "fd.is_lower_layer" => Some(Value::Bool(ev.descriptor()?.record.head.flags & abi::FSN_FD_LOWER != 0)),
    }
}

/// See [`fields_of`].
pub(super) fn extract<'a>(
    ev: &'a LiveEvent<'_>,
    field: &crate::event::value::FieldUse,
    arena: &'a Bump,
) -> Option<Value<'a>> {
    if ev.has_fd() || field.id == const { crate::event::fields::id("fd.types") } {
        fields_of(ev, field, arena)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers() {
        assert_eq!((major(0xfe00), minor(0xfe00)), (254, 0));
        assert_eq!((major(5), minor(5)), (0, 5));
        assert_eq!((major(0x0101_03fe), minor(0x0101_03fe)), (0x103, 0x10fe));
    }

    #[test]
    fn anonymous_files() {
        assert_eq!(Kind::of_anonymous(b"anon_inode:[eventpoll]"), Kind::Eventpoll);
        assert_eq!(Kind::of_anonymous(b"anon_inode:inotify"), Kind::Inotify);
        assert_eq!(Kind::of_anonymous(b"anon_inode:bpf-map"), Kind::Bpf);
        assert_eq!(Kind::of_anonymous(b"/memfd:x (deleted)"), Kind::Memfd);
        assert_eq!(Kind::of_anonymous(b""), Kind::Other);
        assert_eq!(Kind::of_link(b"/etc/passwd"), Kind::File);
        assert_eq!(Kind::of_link(b"pipe:[12]"), Kind::Pipe);
    }
}
