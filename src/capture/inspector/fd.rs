//! Descriptors of a process as events made them.

use crate::capture::bounds;
use crate::capture::meta::{Address, FdEntry, FdKind};
use hashbrown::HashMap;
use std::io::Write;

/// Who asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Role {
    #[default]
    None,
    Client,
    Server,
}

/// What is known of a descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fd {
    pub kind: FdKind,
    /// As rules see it: an absolute path, both ends of a socket.
    pub name: Vec<u8>,
    /// As the program gave it.
    pub name_raw: Vec<u8>,
    /// Falco's bits.
    pub open_flags: u32,
    pub dev: u32,
    pub ino: u64,
    /// Of a socket: the client's end, or where it listens.
    pub source: Option<Address>,
    /// The server's end.
    pub destination: Option<Address>,
    /// Number of the format: unknown, tcp, udp, icmp, raw.
    pub l4: u8,
    /// What tells the ends of a unix socket.
    pub unix: (u64, u64),
    pub role: Role,
    pub connected: bool,
    pub close_on_exec: bool,
    pub upper_layer: bool,
    pub lower_layer: bool,
}

pub const TCP: u8 = 1;
pub const UDP: u8 = 2;
pub const ICMP: u8 = 3;
pub const RAW: u8 = 4;

impl Fd {
    /// A descriptor of a kind, without a name.
    pub fn of(kind: FdKind) -> Fd {
        Fd { kind, ..Fd::default() }
    }

    /// One of the list that a capture begins with.
    pub fn listed(entry: FdEntry) -> Fd {
        let mut fd = Fd {
            kind: entry.kind,
            name_raw: Vec::new(),
            name: entry.name,
            open_flags: entry.open_flags,
            dev: entry.dev,
            ino: entry.ino,
            source: entry.source,
            destination: entry.destination,
            l4: entry.l4,
            unix: entry.unix,
            ..Fd::default()
        };
        match fd.kind {
            FdKind::Ipv4 | FdKind::Ipv6 => {
                fd.role = Role::Client;
                fd.connected = true;
            }
            FdKind::Ipv4Server | FdKind::Ipv6Server => fd.role = Role::Server,
            _ => {}
        }
        if fd.is_ip() {
            fd.rename();
        } else if fd.kind == FdKind::Unix && fd.unix != (0, 0) {
            let path = std::mem::take(&mut fd.name);
            fd.name_unix(&path);
        }
        fd
    }

    pub fn is_ip(&self) -> bool {
        matches!(self.kind, FdKind::Ipv4 | FdKind::Ipv6 | FdKind::Ipv4Server | FdKind::Ipv6Server)
    }

    /// Makes the name from the ends.
    pub fn rename(&mut self) {
        self.name.clear();
        if let Some((ip, port)) = self.source {
            let _ = write!(self.name, "{ip}:{port}");
        }
        if let Some((ip, port)) = self.destination {
            let _ = write!(self.name, "->{ip}:{port}");
        }
    }

    /// Makes the name of a unix socket from its ends and a path.
    pub fn name_unix(&mut self, path: &[u8]) {
        self.name.clear();
        let (source, destination) = self.unix;
        let _ = write!(self.name, "{source:x}->{destination:x} ");
        self.name.extend_from_slice(path);
    }
}

/// The descriptors of a process.
#[derive(Clone, Debug, Default)]
pub struct FdTable {
    all: HashMap<i64, Fd>,
}

impl FdTable {
    pub fn get(&self, fd: i64) -> Option<&Fd> {
        self.all.get(&fd)
    }

    pub fn get_mut(&mut self, fd: i64) -> Option<&mut Fd> {
        self.all.get_mut(&fd)
    }

    /// Adds or replaces one; a new one beyond the limit is not kept.
    pub fn set(&mut self, fd: i64, info: Fd) {
        if self.all.len() < bounds::FDS || self.all.contains_key(&fd) {
            self.all.insert(fd, info);
        }
    }

    pub fn remove(&mut self, fd: i64) {
        self.all.remove(&fd);
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn retain(&mut self, keep: impl Fn(i64, &Fd) -> bool) {
        self.all.retain(|number, fd| keep(*number, fd));
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &Fd)> {
        self.all.iter().map(|(number, fd)| (*number, fd))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (i64, &mut Fd)> {
        self.all.iter_mut().map(|(number, fd)| (*number, fd))
    }
}
