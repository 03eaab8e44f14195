//! What events do to descriptors.

use super::columns::Named;
use super::fd::{Fd, ICMP, Opened, RAW, Role, Slot, TCP, UDP, bounded};
use super::thread::ThreadId;
use super::{Action, Column, Inspector, Subject};
use crate::capture::event::Event;
use crate::capture::meta::{Address, FdKind};
use crate::enrich::users::UNKNOWN;
use crate::event::flags::open_bit;
use crate::event::params;
use crate::event::path;
use crate::event::record::Address as Asked;
use bumpalo::Bump;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

/// Falco's `F_DUPFD`, `F_DUPFD_CLOEXEC`, `F_SETFD`.
const F_DUPFD: u64 = 1;
const F_DUPFD_CLOEXEC: u64 = 26;
const F_SETFD: u64 = 3;
/// Falco's `CLOSE_RANGE_CLOEXEC`.
const CLOSE_RANGE_CLOEXEC: u64 = 4;
/// Falco's `O_CLOEXEC`, and what it is within the type of a socket and other calls' flags.
const O_CLOEXEC: u64 = 1 << 12;

/// Both ends as a parameter has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapturedTuple<'a> {
    Ip(Address, Address),
    Unix(u64, u64, &'a [u8]),
}

/// The value of a tuple; None when it has none, or of another family.
pub fn tuple(bytes: &[u8]) -> Option<CapturedTuple<'_>> {
    let (family, rest) = bytes.split_first()?;
    match i32::from(*family) {
        libc::AF_INET => {
            let (source, rest) = ipv4(rest)?;
            let (destination, _) = ipv4(rest)?;
            Some(CapturedTuple::Ip(source, destination))
        }
        libc::AF_INET6 => {
            let (source, rest) = ipv6(rest)?;
            let (destination, _) = ipv6(rest)?;
            Some(CapturedTuple::Ip(source, destination))
        }
        libc::AF_UNIX => {
            let (source, rest) = rest.split_first_chunk()?;
            let (destination, path) = rest.split_first_chunk()?;
            let path = &path[..memchr::memchr(0, path).unwrap_or(path.len())];
            Some(CapturedTuple::Unix(u64::from_ne_bytes(*source), u64::from_ne_bytes(*destination), path))
        }
        _ => None,
    }
}

/// The value of an address.
pub fn address(bytes: &[u8]) -> Option<Asked<'_>> {
    let (family, rest) = bytes.split_first()?;
    match i32::from(*family) {
        libc::AF_INET => ipv4(rest).map(|((ip, port), _)| Asked::Ip(ip, port)),
        libc::AF_INET6 => ipv6(rest).map(|((ip, port), _)| Asked::Ip(ip, port)),
        libc::AF_UNIX => Some(Asked::Unix(&rest[..memchr::memchr(0, rest).unwrap_or(rest.len())])),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<(Address, &[u8])> {
    let (ip, rest) = bytes.split_first_chunk::<4>()?;
    let (port, rest) = rest.split_first_chunk()?;
    Some(((Ipv4Addr::from(*ip).into(), u16::from_ne_bytes(*port)), rest))
}

fn ipv6(bytes: &[u8]) -> Option<(Address, &[u8])> {
    let (ip, rest) = bytes.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk()?;
    Some(((Ipv6Addr::from(*ip).into(), u16::from_ne_bytes(*port)), rest))
}

/// An IPv4 address in IPv6 clothes is an IPv4 address.
fn plain((ip, port): Address) -> Address {
    (ip.to_canonical(), port)
}

/// Whether a text of an event is one: what could not be read has a text of its own.
pub(super) fn is_given(text: &[u8]) -> bool {
    !text.is_empty() && text != UNKNOWN
}

impl Inspector {
    pub(super) fn descriptor(&mut self, action: Action, event: &Event<'_>, id: ThreadId, subject: &mut Subject) {
        let named = Named::new(event);
        let result = named.result();
        match action {
            Action::Open | Action::OpenByHandle => self.opened(event, id, subject),
            Action::CloseRange if result >= 0 => {
                let first = named.unsigned(Column::First).unwrap_or(0) as i64;
                let last = named.unsigned(Column::Last).unwrap_or(0) as i64;
                if named.unsigned(Column::Flags).unwrap_or(0) & CLOSE_RANGE_CLOEXEC == 0 {
                    self.fds_mut(id).retain(|number, _| !(first..=last).contains(&number));
                } else {
                    self.fds_mut(id).close_range_on_exec(&(first..=last));
                }
            }
            Action::Socket => {
                let close_on_exec = named.unsigned(Column::Type).unwrap_or(0) as i32 & libc::SOCK_CLOEXEC != 0;
                self.made(id, result, socket_of(&named), close_on_exec, subject);
            }
            Action::Make(kind) => {
                // A process's descriptor is called after the process.
                let name = match named.signed(Column::Pid) {
                    Some(pid) if kind == FdKind::Pidfd => format!("/proc/{pid}").into_bytes(),
                    _ => Vec::new(),
                };
                let close_on_exec = named.unsigned(Column::Flags).is_some_and(|flags| flags & (O_CLOEXEC | 1) != 0);
                subject.renamed = result >= 0 && !name.is_empty();
                self.made(id, result, Fd { name, ..Fd::of(kind) }, close_on_exec, subject);
            }
            // Falco has a descriptor of a failure too, under its number.
            Action::Memfd if result < 0 => {
                subject.fd = Some(result);
                subject.fd_of_failure = true;
                self.keep(id, result, Fd::of(FdKind::Unknown), false);
            }
            Action::Memfd => {
                let name = bounded(named.text(Column::Name).unwrap_or_default()).to_vec();
                let close_on_exec = named.unsigned(Column::Flags).unwrap_or(0) & 1 != 0;
                self.made(id, result, Fd { name, ..Fd::of(FdKind::Memfd) }, close_on_exec, subject);
                subject.renamed = result >= 0;
            }
            Action::PidfdGetfd if result >= 0 => {
                let target = named.signed(Column::TargetFd).unwrap_or(-1);
                let pidfd = named.signed(Column::PidFd).and_then(|fd| self.fd(id, fd));
                let pid = pidfd
                    .and_then(|fd| std::str::from_utf8(fd.name.strip_prefix(b"/proc/")?).ok()?.parse::<i64>().ok());
                let other = pid.and_then(|pid| self.threads.find(pid));
                let slot = other.and_then(|other| self.fds(other).slot(target)).cloned();
                self.copied(id, result, slot, subject);
            }
            Action::Dup if result >= 0 => {
                let old = named.signed(Column::OldFd).and_then(|fd| self.fds(id).slot(fd)).cloned();
                let close_on_exec = named.unsigned(Column::Flags).unwrap_or(0) & O_CLOEXEC != 0;
                if old.is_none() {
                    subject.fd = named.signed(Column::OldFd);
                    return;
                }
                self.copied(id, result, old.map(|slot| Slot { close_on_exec, ..slot }), subject);
            }
            Action::Dup => subject.fd = named.signed(Column::OldFd),
            Action::Fcntl => self.controlled(&named, id, subject),
            Action::SocketPair if result >= 0 => {
                let unix = (named.unsigned(Column::Source).unwrap_or(0), named.unsigned(Column::Peer).unwrap_or(0));
                let cloexec = named.unsigned(Column::Type).unwrap_or(0) & libc::SOCK_CLOEXEC as u64 != 0;
                for (number, unix) in [(Column::Fd1, unix), (Column::Fd2, (unix.1, unix.0))] {
                    let fd = Fd { unix, ..Fd::of(FdKind::Unix) };
                    let number = named.signed(number).unwrap_or(-1);
                    self.made(id, number, fd, cloexec, subject);
                }
            }
            Action::Pipe if result >= 0 => {
                let ino = named.unsigned(Column::Ino).unwrap_or(0);
                let cloexec = named.unsigned(Column::Flags).unwrap_or(0) & O_CLOEXEC != 0;
                for number in [Column::Fd1, Column::Fd2] {
                    let fd = Fd { ino, ..Fd::of(FdKind::Fifo) };
                    let number = named.signed(number).unwrap_or(-1);
                    self.made(id, number, fd, cloexec, subject);
                }
            }
            Action::Bind if result >= 0 => self.bound(&named, id, subject),
            Action::Connect => self.connected(&named, id, result, subject),
            Action::Accept => self.accepted(&named, id, result, subject),
            Action::Send | Action::Receive if result >= 0 => {
                self.transferred(&named, id, action == Action::Receive, subject);
            }
            _ => {}
        }
    }

    /// A call made a descriptor.
    fn made(&mut self, id: ThreadId, number: i64, fd: Fd, close_on_exec: bool, subject: &mut Subject) {
        self.copied(id, number, Some(Slot { fd: Rc::new(fd), close_on_exec }), subject);
    }

    /// A call made a copy of a descriptor. One of a descriptor that is not known leaves what is known of its number, as in Falco.
    fn copied(&mut self, id: ThreadId, number: i64, slot: Option<Slot>, subject: &mut Subject) {
        subject.fd = Some(number);
        if number >= 0
            && let Some(slot) = slot
        {
            self.fds_mut(id).set(number, slot);
        }
    }

    fn keep(&mut self, id: ThreadId, number: i64, fd: Fd, close_on_exec: bool) {
        self.fds_mut(id).set(number, Slot { fd: Rc::new(fd), close_on_exec });
    }

    fn opened(&mut self, event: &Event<'_>, id: ThreadId, subject: &mut Subject) {
        let named = Named::new(event);
        let number = named.result();
        subject.fd = Some(number);
        subject.told = is_rooted(&named);
        if number < 0 {
            return;
        }
        let enter = self.enter_of(event);
        subject.told &= enter.is_none();
        let enter = enter.as_ref().map(|enter| enter.view(event.num));
        // What the kernel read first counts: the program may have changed its memory since.
        let first = enter.as_ref().and_then(|enter| Named::new(enter).text(Column::Name)).filter(|name| is_given(name));
        let exit = || named.text(Column::Name).or_else(|| named.text(Column::Path));
        let Some(given) = first.or_else(exit) else { return };
        let arena = Bump::new();
        let name = match given {
            UNKNOWN => given,
            given => path::absolute(self.base(event, id), given, &arena),
        };
        let is_creat = event.code.info().name == "creat";
        let flags = match named.unsigned(Column::Flags) {
            Some(flags) => flags as u32,
            None if is_creat => open_bit::WRITE | open_bit::CREAT,
            None => 0,
        };
        let kind = if flags & open_bit::DIRECTORY != 0 { FdKind::Directory } else { FdKind::File };
        let mut layers = flags;
        if let Some(creat) = named.unsigned(Column::CreatFlags) {
            // Bits of their own: upper and lower layer.
            layers |= if creat & 1 != 0 { open_bit::UPPER_LAYER } else { 0 };
            layers |= if creat & 2 != 0 { open_bit::LOWER_LAYER } else { 0 };
        }
        // What needed no tidying has no slashes too many either.
        let given = if std::ptr::eq(name, given) { None } else { Some(path::single_slashes(given, &arena)) };
        let mut fd = self.room.spare();
        if let Some(fd) = Rc::get_mut(&mut fd) {
            let opened = Opened {
                kind,
                open_flags: flags,
                dev: named.unsigned(Column::Dev).unwrap_or(0) as u32,
                ino: named.unsigned(Column::Ino).unwrap_or(0),
                upper_layer: layers & open_bit::UPPER_LAYER != 0,
                lower_layer: layers & open_bit::LOWER_LAYER != 0,
            };
            fd.become_opened(&opened, name, given);
        }
        self.fds_mut(id).set(number, Slot { fd, close_on_exec: u64::from(flags) & O_CLOEXEC != 0 });
        subject.renamed = true;
    }

    /// Where a relative path of an open starts.
    fn base(&self, event: &Event<'_>, id: ThreadId) -> &[u8] {
        let cwd = || {
            let owner = self.threads.owner_of_fds(id);
            &*self.threads.get(owner).cwd
        };
        let dirfd = Named::new(event).signed(Column::DirFd);
        match dirfd {
            None => cwd(),
            Some(fd) if fd == i64::from(libc::AT_FDCWD) => cwd(),
            Some(fd) => self.fd(id, fd).map_or(path::UNKNOWN_DIR, |fd| &fd.name),
        }
    }

    fn controlled(&mut self, named: &Named<'_>, id: ThreadId, subject: &mut Subject) {
        let (number, result) = (named.signed(Column::Fd).unwrap_or(-1), named.result());
        let command = named.unsigned(Column::Cmd).unwrap_or(0);
        match command {
            F_DUPFD | F_DUPFD_CLOEXEC if result >= 0 => {
                let close_on_exec = command == F_DUPFD_CLOEXEC;
                let copy = self.fds(id).slot(number).map(|slot| Slot { fd: slot.fd.clone(), close_on_exec });
                self.copied(id, result, copy, subject);
            }
            F_SETFD if result >= 0 => {
                let on = named.unsigned(Column::Arg).unwrap_or(0) & 1 != 0;
                self.fds_mut(id).close_on_exec(number, on);
            }
            _ => {}
        }
    }

    fn bound(&mut self, named: &Named<'_>, id: ThreadId, subject: &mut Subject) {
        let Some(bytes) = named.bytes(Column::Addr) else { return };
        let Some(fd) = subject.fd.and_then(|fd| self.fds_mut(id).get_mut(fd)) else { return };
        match address(bytes) {
            Some(Asked::Ip(ip, port)) => {
                let (ip, port) = plain((ip, port));
                if !fd.is_ip() {
                    return;
                }
                fd.kind = if ip.is_ipv4() { FdKind::Ipv4Server } else { FdKind::Ipv6Server };
                fd.source = Some((ip, port));
                fd.destination = None;
                fd.role = Role::Server;
                fd.rename();
            }
            Some(Asked::Unix(path)) => {
                fd.new_name().extend_from_slice(bounded(path));
            }
            None => return,
        }
        subject.renamed = true;
    }

    fn connected(&mut self, named: &Named<'_>, id: ThreadId, result: i64, subject: &mut Subject) {
        let pending = result == -i64::from(libc::EINPROGRESS);
        let enter = self.enter_of(named.event);
        if result < 0 && !pending {
            return;
        }
        let enter = enter.as_ref().map(|enter| enter.view(named.event.num));
        let first = enter.as_ref().and_then(|enter| Named::new(enter).bytes(Column::Addr)).and_then(address);
        let tuple = match (named.bytes(Column::Tuple).and_then(tuple), first) {
            // What the kernel read first counts.
            (Some(CapturedTuple::Ip(source, destination)), Some(Asked::Ip(ip, port)))
                if ip.is_ipv4() == destination.0.is_ipv4() =>
            {
                Some(CapturedTuple::Ip(source, (ip, port)))
            }
            (tuple, _) => tuple,
        };
        let Some(fd) = subject.fd.and_then(|fd| self.fds_mut(id).get_mut(fd)) else { return };
        match tuple {
            Some(CapturedTuple::Ip(source, destination)) => {
                set_ends(fd, source, destination);
                fd.role = Role::Client;
                fd.connected = true;
            }
            Some(CapturedTuple::Unix(source, destination, path)) => {
                fd.kind = FdKind::Unix;
                fd.unix = (source, destination);
                fd.role = Role::Client;
                fd.connected = result >= 0;
                fd.name_unix(path);
            }
            None => return,
        }
        subject.renamed = true;
    }

    fn accepted(&mut self, named: &Named<'_>, id: ThreadId, number: i64, subject: &mut Subject) {
        subject.fd = Some(number);
        let Some(tuple) = named.bytes(Column::Tuple).and_then(tuple) else { return };
        if number < 0 {
            return;
        }
        let mut fd = Fd { role: Role::Server, connected: true, ..Fd::default() };
        match tuple {
            CapturedTuple::Ip(source, destination) => {
                fd.l4 = TCP;
                set_ends(&mut fd, source, destination);
            }
            CapturedTuple::Unix(source, destination, path) => {
                fd.kind = FdKind::Unix;
                fd.unix = (source, destination);
                fd.name_unix(path);
            }
        }
        let cloexec = named.unsigned(Column::Flags).unwrap_or(0) & (O_CLOEXEC | libc::SOCK_CLOEXEC as u64) != 0;
        self.keep(id, number, fd, cloexec);
        subject.renamed = true;
    }

    /// Data came or went: a tuple with it says who talks with whom on a socket that is not connected.
    fn transferred(&mut self, named: &Named<'_>, id: ThreadId, incoming: bool, subject: &mut Subject) {
        let Some(tuple) = named.bytes(Column::Tuple).and_then(tuple) else { return };
        let bound = |port: u16, fds: &super::FdTable| {
            fds.iter().any(|(_, fd)| {
                matches!(fd.kind, FdKind::Ipv4Server | FdKind::Ipv6Server)
                    && fd.source.is_some_and(|(_, own)| own == port)
            })
        };
        let Some(number) = subject.fd else { return };
        let own_port = match tuple {
            CapturedTuple::Ip(source, destination) => Some(if incoming { destination.1 } else { source.1 }),
            CapturedTuple::Unix(..) => None,
        };
        let serves = own_port.is_some_and(|port| bound(port, self.fds(id)));
        let inferred = match tuple {
            CapturedTuple::Ip(source, destination) if source.0.is_unspecified() => self.infer_address(destination.0),
            _ => None,
        };
        let Some(fd) = self.fds_mut(id).get_mut(number) else { return };
        match tuple {
            CapturedTuple::Ip(source, destination) => {
                if !fd.is_ip() {
                    return;
                }
                let source = (inferred.unwrap_or(source.0), source.1);
                fd.connected |= !incoming;
                if fd.role == Role::None {
                    fd.role = guess_role(source, destination, serves, incoming);
                }
                // The tuple has the sender first, the name the client.
                let sender_is_client = incoming == (fd.role == Role::Server);
                let (client, server) = if sender_is_client { (source, destination) } else { (destination, source) };
                let (client, server) = (plain(client), plain(server));
                if (fd.source, fd.destination) == (Some(client), Some(server)) {
                    return;
                }
                set_ends(fd, client, server);
            }
            CapturedTuple::Unix(source, destination, path) => {
                if fd.kind != FdKind::Unix {
                    return;
                }
                let before = std::mem::take(&mut fd.name);
                fd.unix = (source, destination);
                fd.name_unix(path);
                if before == fd.name {
                    return;
                }
            }
        }
        subject.renamed = true;
    }

    /// The address that bytes to `destination` leave from: that of the interface whose net it is in, else the first that is
    /// no loopback.
    fn infer_address(&self, destination: IpAddr) -> Option<IpAddr> {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let family = || self.interfaces.iter().filter(|i| i.address.is_ipv4() == destination.is_ipv4());
        let same = || family().find(|i| i.address == destination);
        let of_net = || family().find(|i| bits(i.address) & bits(i.netmask) == bits(destination) & bits(i.netmask));
        let other = || family().find(|i| !i.address.is_loopback());
        same().or_else(of_net).or_else(other).map(|interface| interface.address)
    }

    /// Whether an address is one of the machine's.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) if ip.is_loopback() => true,
            // That of IPv6 is looked for in the list.
            IpAddr::V6(ip) if ip.is_unspecified() => true,
            _ => self.interfaces.iter().any(|interface| interface.address == ip),
        }
    }

    /// The number of the descriptor an event is about, where only its parameters tell.
    pub fn main_fd(event: &Event<'_>) -> Option<i64> {
        event.signed(usize::from(params::event(event.code)?.main_fd?))
    }
}

/// Whether an open's path starts at the root, and no directory is named beside it.
fn is_rooted(named: &Named<'_>) -> bool {
    named.bytes(Column::Name).is_some_and(|name| name[0] == b'/')
        && named.signed(Column::DirFd).is_none_or(|fd| fd == i64::from(libc::AT_FDCWD))
}

/// What socket() made.
fn socket_of(named: &Named<'_>) -> Fd {
    let number = |c| named.unsigned(c).unwrap_or(0) as i32;
    let (domain, kind, proto) = (number(Column::Domain), number(Column::Type), number(Column::Proto));
    let l4 = match (kind & 0xff, proto) {
        (libc::SOCK_STREAM, _) => TCP,
        (libc::SOCK_DGRAM, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => ICMP,
        (libc::SOCK_DGRAM, _) => UDP,
        (libc::SOCK_RAW, _) => RAW,
        _ => 0,
    };
    let kind = match domain {
        libc::AF_INET => FdKind::Ipv4,
        libc::AF_INET6 => FdKind::Ipv6,
        libc::AF_UNIX => FdKind::Unix,
        libc::AF_NETLINK => FdKind::Netlink,
        _ => FdKind::Unknown,
    };
    let l4 = if matches!(kind, FdKind::Ipv4 | FdKind::Ipv6) { l4 } else { 0 };
    Fd { l4, ..Fd::of(kind) }
}

/// Gives a socket its ends, client first.
fn set_ends(fd: &mut Fd, client: Address, server: Address) {
    let (client, mut server) = (plain(client), plain(server));
    if client.0.is_ipv4() && server.0.is_unspecified() {
        server.0 = Ipv4Addr::UNSPECIFIED.into();
    }
    fd.kind = if client.0.is_ipv4() && server.0.is_ipv4() { FdKind::Ipv4 } else { FdKind::Ipv6 };
    fd.source = Some(client);
    fd.destination = Some(server);
    fd.rename();
}

/// Who is who on a socket that neither connected nor accepted: the process that listens on its port serves; else the lower
/// port does.
fn guess_role(source: Address, destination: Address, serves: bool, incoming: bool) -> Role {
    let (own, other) = if incoming { (destination, source) } else { (source, destination) };
    if serves || (incoming && own.1 < other.1) { Role::Server } else { Role::Client }
}
