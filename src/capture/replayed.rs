//! Events of a capture as the fields ask for them ([`Payload`]): parameters are already in Falco's terms, descriptors come from the
//! tables the inspector keeps, and so Falco's own limits hold: a relative path below a directory that is not known stays unknown.

use super::event::Event;
use super::inspector::Inspector;
use super::inspector::fd::{Fd, ICMP, RAW, Role, TCP, UDP};
use super::inspector::thread::ThreadId;
use super::inspector::{CapturedTuple, Subject, address, tuple};
use super::meta::{Address, FdKind};
use crate::enrich::runtime::Described;
use crate::enrich::users::{UNKNOWN, Users};
use crate::event::params::{Family, Param};
use crate::event::path;
use crate::event::value::{HEAD, Room, Said, Type, Versioned};
use crate::event::view::{
    Arg, Descriptor, Ends, FdList, Gauge, Kind, Payload, Scene, Socket, Tuple, View, is_number, narrowed,
};
use bumpalo::Bump;
use smallvec::SmallVec;
use std::net::{IpAddr, Ipv4Addr};

/// An event of a capture, and the state around it.
pub type ReplayedEvent<'r> = View<'r, Replayed<'r>>;

/// A captured event's payload.
#[derive(Clone, Copy)]
pub struct Replayed<'r> {
    event: Event<'r>,
    state: &'r Inspector,
    subject: Subject,
}

impl<'r> ReplayedEvent<'r> {
    /// An event between [`Inspector::before`], which gave `subject`, and [`Inspector::after`]. Its thread has to have been
    /// described.
    pub fn of_capture(event: Event<'r>, state: &'r Inspector, subject: Subject, previous: u64) -> ReplayedEvent<'r> {
        let scene = Scene {
            code: event.code,
            task: subject.thread.map(|id| state.task(id)),
            execs: state.execs(),
            host: state.host(),
            number: event.num,
            time: event.time,
            previous,
        };
        View::new(Replayed { event, state, subject }, scene)
    }

    /// The event as it was read.
    pub const fn event(&self) -> &Event<'r> {
        &self.payload().event
    }
}

impl<'r> Replayed<'r> {
    fn thread(&self) -> Option<ThreadId> {
        self.subject.thread
    }

    fn fd(&self, number: i64) -> Option<&'r Fd> {
        self.state.fd(self.thread()?, number)
    }

    /// Whether an address is this side's: the machine's, but in a container only the container's, which captures do not have.
    fn is_local(&self, ip: IpAddr) -> bool {
        let in_container = self.thread().is_some_and(|id| self.state.task(id).cgroups().container_id().is_some());
        !in_container && self.state.is_local(ip)
    }

    fn main(&self) -> Option<(i64, &'r Fd)> {
        let number = self.subject.fd.filter(|number| *number >= 0 || self.subject.fd_of_failure)?;
        Some((number, self.fd(number)?))
    }
}

/// What a descriptor of the format is.
const fn kind(kind: FdKind) -> Kind {
    match kind {
        FdKind::File => Kind::File,
        FdKind::Directory => Kind::Directory,
        FdKind::Ipv4 | FdKind::Ipv4Server => Kind::Ipv4,
        FdKind::Ipv6 | FdKind::Ipv6Server => Kind::Ipv6,
        FdKind::Fifo => Kind::Pipe,
        FdKind::Unix => Kind::Unix,
        FdKind::Event => Kind::Event,
        FdKind::Signalfd => Kind::Signalfd,
        FdKind::Eventpoll => Kind::Eventpoll,
        FdKind::Inotify => Kind::Inotify,
        FdKind::Timerfd => Kind::Timerfd,
        FdKind::Netlink => Kind::Netlink,
        FdKind::Bpf => Kind::Bpf,
        FdKind::Userfaultfd => Kind::Userfaultfd,
        FdKind::IoUring => Kind::IoUring,
        FdKind::Memfd => Kind::Memfd,
        FdKind::Pidfd => Kind::Pidfd,
        FdKind::Unknown | FdKind::Unsupported => Kind::Other,
    }
}

fn socket(fd: &Fd) -> Option<Socket<'_>> {
    let family = match fd.kind {
        FdKind::Ipv4 | FdKind::Ipv4Server => libc::AF_INET,
        FdKind::Ipv6 | FdKind::Ipv6Server => libc::AF_INET6,
        FdKind::Unix => libc::AF_UNIX,
        FdKind::Netlink => libc::AF_NETLINK,
        _ => return None,
    };
    let l4 = match fd.l4 {
        RAW => Some("raw"),
        // Told when it has an address.
        _ if fd.source.is_none() => None,
        TCP => Some("tcp"),
        UDP => Some("udp"),
        ICMP => Some("icmp"),
        _ => None,
    };
    let server = fd.role == Role::Server;
    let (local, remote) = match fd.destination {
        None => (fd.source, None),
        destination if server => (destination, fd.source),
        destination => (fd.source, destination),
    };
    Some(Socket {
        family,
        l4,
        local,
        remote,
        server,
        listening: matches!(fd.kind, FdKind::Ipv4Server | FdKind::Ipv6Server),
        connected: fd.connected,
        local_name: &fd.name,
        remote_name: b"",
        ino: fd.unix.0,
        peer_ino: 0,
    })
}

fn descriptor(number: i64, fd: &Fd) -> Descriptor<'_> {
    Descriptor {
        number: number as i32,
        kind: kind(fd.kind),
        path: &fd.name,
        given: fd.given_name(),
        dev: fd.dev,
        ino: fd.ino,
        upper_layer: fd.upper_layer,
        lower_layer: fd.lower_layer,
        socket: socket(fd),
    }
}

/// Both ends of an IP socket. Which is this machine's is told from the addresses, the client's first.
fn ends(fd: &Fd, payload: &Replayed<'_>) -> Option<Ends> {
    if !fd.is_ip() {
        return None;
    }
    let (Some(source), Some(destination)) = (fd.source, fd.destination) else {
        // It listens, or has no address yet.
        return fd.source.map(|local| Ends { local: Some(local), remote: None, server: true });
    };
    Some(if payload.is_local(source.0) {
        Ends { local: Some(source), remote: Some(destination), server: false }
    } else {
        Ends { local: Some(destination), remote: Some(source), server: true }
    })
}

/// Ends that are IPv4 addresses in IPv6 clothes, as such; one without an address goes with the other.
fn unmapped(from: Address, to: Address) -> (Address, Address) {
    let plain = |(ip, port): Address| match ip {
        IpAddr::V6(ip) if ip.is_unspecified() => Some((Ipv4Addr::UNSPECIFIED.into(), port)),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map(|ip| (ip.into(), port)),
        IpAddr::V4(_) => None,
    };
    let known = !from.0.is_unspecified() || !to.0.is_unspecified();
    match (plain(from), plain(to)) {
        (Some(from), Some(to)) if known => (from, to),
        _ => (from, to),
    }
}

/// A value whose type stands before it.
fn dynamic<'a>(bytes: &'a [u8], class: &str) -> Option<Arg<'a>> {
    let (kind, value) = bytes.split_first()?;
    let number = || {
        Some(match *value {
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_ne_bytes([a, b])),
            [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            _ => return None,
        })
    };
    Some(match (class, kind) {
        ("sockopt_dynamic_param", 1) => Arg::Errno(number()?.wrapping_neg()),
        ("sockopt_dynamic_param", 2..=4) => Arg::Number(number()?),
        ("sockopt_dynamic_param", _) => Arg::Bytes(value),
        ("ptrace_dynamic_param", 1) => Arg::Signal(number()?),
        _ => match number() {
            Some(number) => Arg::Number(number),
            None => Arg::Bytes(value),
        },
    })
}

impl Payload for Replayed<'_> {
    fn ret(&self) -> i64 {
        self.event.signed(0).unwrap_or(0)
    }

    fn syscall(&self) -> u16 {
        if self.event.code.is_generic() { self.event.unsigned(0).unwrap_or(0) as u16 } else { 0 }
    }

    /// Of opens whose path starts at the root: nothing else is known of their descriptors than what they say.
    fn said<'a>(ev: &'a View<'_, Self>, room: &'a mut Room) -> Option<Said<'a>> {
        static ALL: [u64; HEAD] = [u64::MAX; HEAD];
        let Replayed { event, subject, .. } = ev.payload();
        let made = event.signed(0)?;
        let (first, ends) = room.head.split_first_mut()?;
        // A descriptor may have found no room.
        if !subject.told || event.len() > ends.len() || (made >= 0 && ev.payload().fd(made).is_none()) {
            return None;
        }
        *first = u64::from(event.code.0) | (event.len() as u64) << 16;
        ends.fill(0);
        for (end, span) in ends.iter_mut().zip(event.spans) {
            *end = u64::from(span.end);
        }
        // Where the last parameter ends tells how much of the last word counts.
        let (words, last) = event.data.as_chunks();
        let rest = room.rest.get_mut(..event.data.len().div_ceil(size_of::<u64>()))?;
        for (word, bytes) in rest.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        if let (Some(word), false) = (rest.last_mut(), last.is_empty()) {
            let mut bytes = [0; size_of::<u64>()];
            bytes[..last.len()].copy_from_slice(last);
            *word = u64::from_le_bytes(bytes);
        }
        Some(Said { head: &room.head, mask: &ALL, rest, task: None })
    }

    fn is_exec_success(&self) -> bool {
        false
    }

    fn arg<'a>(ev: &'a View<'_, Self>, index: u8, param: &'static Param) -> Option<Arg<'a>> {
        let event = &ev.payload().event;
        let bytes = event.param(usize::from(index))?;
        match param.ty {
            // A text that was not there has one of its own.
            Type::Charbuf | Type::FsPath | Type::FsRelPath => {
                Some(Arg::Text(event.text(usize::from(index)).unwrap_or(UNKNOWN)))
            }
            Type::Bytebuf => Some(Arg::Bytes(bytes)),
            Type::SockAddr => address(bytes).map(Arg::Address),
            Type::SockTuple => Some(Arg::Tuple(match tuple(bytes)? {
                CapturedTuple::Ip(from, to) => {
                    let (from, to) = unmapped(from, to);
                    Some(Tuple::Ip { from, to })
                }
                CapturedTuple::Unix(from, to, name) => Some(Tuple::Unix { from, to, name }),
            })),
            Type::FdList => Some(Arg::FdList(FdList::Captured(bytes.get(2..)?))),
            Type::Dyn => dynamic(bytes, param.class_name),
            Type::SigSet => Some(Arg::Number(event.unsigned(usize::from(index)).unwrap_or(0) & u64::from(u32::MAX))),
            _ if bytes.is_empty() => Some(Arg::Text(UNKNOWN)),
            // These are as wide as they were written.
            Type::Fd | Type::Pid if bytes.len() == 8 => event.unsigned(usize::from(index)).map(Arg::Number),
            ty if is_number(ty) => event.unsigned(usize::from(index)).map(|n| Arg::Number(narrowed(ty, n))),
            _ => Some(Arg::Bytes(bytes)),
        }
    }

    fn tid(ev: &View<'_, Self>) -> Option<i32> {
        i32::try_from(ev.payload().event.tid).ok()
    }

    fn fd_number(ev: &View<'_, Self>) -> Option<i64> {
        let main = ev.def()?.main_fd?;
        ev.payload().subject.fd.or_else(|| ev.payload().event.signed(usize::from(main)))
    }

    fn main_fd(ev: &View<'_, Self>) -> Option<u8> {
        ev.def()?.main_fd
    }

    fn descriptor<'a>(ev: &'a View<'_, Self>) -> Option<Descriptor<'a>> {
        let (number, fd) = ev.payload().main()?;
        Some(descriptor(number, fd))
    }

    fn descriptor_of<'a>(ev: &'a View<'_, Self>, index: u8) -> Option<Descriptor<'a>> {
        let number = ev.payload().event.signed(usize::from(index))?;
        Some(descriptor(number, ev.payload().fd(number)?))
    }

    fn ends(ev: &View<'_, Self>) -> Option<Ends> {
        ends(ev.payload().main()?.1, ev.payload())
    }

    fn is_connected(ev: &View<'_, Self>) -> bool {
        ev.payload().main().is_some_and(|(_, fd)| fd.is_ip() && fd.connected)
    }

    fn is_server(ev: &View<'_, Self>) -> bool {
        let Some((_, fd)) = ev.payload().main() else { return false };
        match fd.kind {
            FdKind::Ipv4Server | FdKind::Ipv6Server => true,
            FdKind::Ipv4 => fd.destination.is_some_and(|(ip, _)| ev.payload().is_local(ip)),
            FdKind::Ipv6 => fd.destination.is_none_or(|(ip, _)| ev.payload().is_local(ip)),
            _ => false,
        }
    }

    fn name_changed(ev: &View<'_, Self>) -> bool {
        ev.payload().subject.renamed
    }

    fn fd_name<'a>(ev: &'a View<'_, Self>, arena: &'a Bump) -> &'a [u8] {
        match ev.payload().main() {
            Some((_, fd)) => &fd.name,
            None => match ev.family() {
                // Nothing was opened: the name is what was asked for.
                Family::Open | Family::Creat => ev.given_path(arena).unwrap_or_default(),
                // The text of the tuple that is not there.
                Family::Accept | Family::Connect => b"NULL",
                _ => b"",
            },
        }
    }

    fn base<'a>(ev: &'a View<'_, Self>, dirfd: Option<u8>) -> &'a [u8] {
        let Some(dirfd) = dirfd else { return ev.cwd() };
        match ev.payload().event.signed(usize::from(dirfd)) {
            Some(fd) if fd == i64::from(libc::AT_FDCWD) => ev.cwd(),
            Some(fd) => ev.payload().fd(fd).map_or(path::UNKNOWN_DIR, |fd| &fd.name),
            None => path::UNKNOWN_DIR,
        }
    }

    fn operand<'a>(ev: &'a View<'_, Self>, index: u8, arena: &'a Bump) -> Option<&'a [u8]> {
        let (given, def) = (ev.text_of_param(index)?, ev.def()?);
        if given.first() == Some(&b'/') {
            return ev.path_of_param(index, arena);
        }
        let own = def.at(index)?.dirfd;
        let here = own.and_then(|fd| ev.payload().event.signed(usize::from(fd))) == Some(i64::from(libc::AT_FDCWD));
        let base = match def.name {
            "openat" | "openat2" if ev.payload().ret() < 0 => return Some(path::UNKNOWN_DIR),
            "mount" if given.is_empty() => return Some(given),
            "open" | "renameat" | "linkat" => ev.cwd(),
            "symlinkat" if own.is_none() => path::UNKNOWN_DIR,
            // The directory is looked for among the event's descriptors, where this number is none.
            "mkdirat" | "unlinkat" | "fchmodat" | "fchownat" | "symlinkat" if here => path::UNKNOWN_DIR,
            _ => return ev.path_of_param(index, arena),
        };
        Some(path::absolute(base, given, arena))
    }

    fn versioned(ev: &View<'_, Self>) -> Option<Versioned> {
        let Replayed { state, .. } = ev.payload();
        let thread = ev.payload().thread()?;
        Some(Versioned { place: thread.place(), stamp: ev.task()?.stamp, facts: state.facts() })
    }

    fn users<'a>(ev: &'a View<'_, Self>) -> &'a Users {
        match ev.task().and_then(|task| task.cgroups().container_id()) {
            Some(container) => ev.payload().state.users_of_container(container),
            None => &ev.payload().state.host().users,
        }
    }

    fn described<'a>(ev: &'a View<'_, Self>, id: &[u8]) -> Option<&'a Described> {
        ev.payload().state.containers().find(id)
    }

    fn gauge(ev: &View<'_, Self>, gauge: Gauge) -> Option<u64> {
        let Replayed { state, .. } = ev.payload();
        let id = ev.payload().thread()?;
        let threads = state.threads();
        let thread = threads.get(id);
        let main = threads.get(threads.owner_of_fds(id));
        Some(match gauge {
            Gauge::Threads => u64::from(main.threads),
            Gauge::Children => u64::from(main.threads.saturating_sub(1)),
            Gauge::OpenFds => state.fds(id).len() as u64,
            Gauge::VmSizeKb => u64::from(thread.vmsize_kb),
            Gauge::VmRssKb => u64::from(thread.vmrss_kb),
            Gauge::VmSwapKb => u64::from(thread.vmswap_kb),
            Gauge::MinorFaults => thread.pfminor,
            Gauge::MajorFaults => thread.pfmajor,
            Gauge::ExecTime => ev.payload().subject.exec_time,
            Gauge::TotalExecTime => thread.exec_total,
        })
    }

    fn kind_of_fd(ev: &View<'_, Self>, fd: i64) -> Option<Kind> {
        ev.payload().fd(fd).map(|fd| kind(fd.kind))
    }

    fn ends_of_fd(ev: &View<'_, Self>, fd: i64) -> Option<Ends> {
        ends(ev.payload().fd(fd)?, ev.payload())
    }

    /// A thread that is known at all has names.
    fn nobody(_ev: &View<'_, Self>) -> Option<&'static [u8]> {
        None
    }

    fn letter_of_fd(ev: &View<'_, Self>, fd: i64) -> &'static str {
        ev.payload().fd(fd).map_or("?", |fd| kind(fd.kind).letter())
    }

    fn name_of_fd<'a>(ev: &'a View<'_, Self>, fd: i64, _arena: &'a Bump) -> Option<&'a [u8]> {
        ev.payload().fd(fd).map(|fd| &*fd.name)
    }

    fn kinds_of_fds(ev: &View<'_, Self>) -> Option<SmallVec<[&'static str; 8]>> {
        let mut names: SmallVec<[&'static str; 8]> = SmallVec::new();
        for (_, fd) in ev.payload().state.fds(ev.payload().thread()?).iter() {
            let name = kind(fd.kind).type_text();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // The table has no order of its own.
        names.sort_unstable();
        Some(names)
    }

    fn name_of_tid<'a>(ev: &'a View<'_, Self>, tid: i64, _arena: &'a Bump) -> Option<&'a [u8]> {
        ev.payload().state.threads().by_tid(tid).map(|thread| thread.comm_text())
    }
}
