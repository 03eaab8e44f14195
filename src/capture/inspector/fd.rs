//! Descriptors of a process as events made them.

use crate::capture::bounds;
use crate::capture::meta::{Address, FdEntry, FdKind};
use hashbrown::HashMap;
use std::cell::Cell;
use std::io::Write;
use std::ops::RangeInclusive;
use std::rc::Rc;

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
    pub name_raw: Option<Rc<[u8]>>,
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
        self.name.extend_from_slice(bounded(path));
    }
}

/// As much of a name as is kept.
pub fn bounded(name: &[u8]) -> &[u8] {
    &name[..name.len().min(bounds::TEXT)]
}

/// A descriptor in a table.
#[derive(Clone, Debug)]
pub struct Slot {
    pub fd: Rc<Fd>,
    pub close_on_exec: bool,
}

/// What all tables of a capture take, and what there was no room for.
#[derive(Debug, Default)]
pub struct Room {
    bytes: Cell<usize>,
    /// Tables and descriptors that were not kept.
    refused: Cell<u64>,
}

impl Room {
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Whether so many bytes more may be taken; counts a refusal.
    fn has(&self, more: usize) -> bool {
        let has = self.bytes.get() + more <= bounds::FD_TABLES;
        self.refused.set(self.refused.get() + u64::from(!has));
        has
    }
}

/// A table's slots, and what they take of the room.
#[derive(Debug)]
struct Slots {
    all: HashMap<i64, Slot>,
    room: Rc<Room>,
    charged: usize,
}

impl Slots {
    fn new(all: HashMap<i64, Slot>, room: &Rc<Room>) -> Slots {
        let mut slots = Slots { all, room: room.clone(), charged: 0 };
        slots.charge();
        slots
    }

    fn charge(&mut self) {
        let bytes = self.all.allocation_size() + size_of::<Slots>();
        self.room.bytes.set(self.room.bytes.get() + bytes - self.charged);
        self.charged = bytes;
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.room.bytes.set(self.room.bytes.get() - self.charged);
    }
}

/// The descriptors of a process. Processes that were forked share a table until one of them changes it.
#[derive(Clone, Debug, Default)]
pub struct FdTable {
    shared: Option<Rc<Slots>>,
}

impl FdTable {
    pub fn get(&self, fd: i64) -> Option<&Fd> {
        self.slot(fd).map(|slot| &*slot.fd)
    }

    pub fn slot(&self, fd: i64) -> Option<&Slot> {
        self.shared.as_ref()?.all.get(&fd)
    }

    pub fn len(&self) -> usize {
        self.shared.as_ref().map_or(0, |slots| slots.all.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &Fd)> {
        self.shared.iter().flat_map(|slots| &slots.all).map(|(number, slot)| (*number, &*slot.fd))
    }
}

/// A table to be changed.
#[derive(Debug)]
pub struct FdsMut<'t> {
    pub table: &'t mut FdTable,
    pub room: &'t Rc<Room>,
}

impl<'t> FdsMut<'t> {
    /// The slots as nobody else's. A table that is shared and that there is no room to copy is given up: none of its descriptors is
    /// known any more.
    fn own(self) -> Option<&'t mut Slots> {
        let FdsMut { table, room } = self;
        if let Some(shared) = table.shared.as_ref().filter(|slots| Rc::strong_count(slots) > 1) {
            let copy = room.has(shared.charged).then(|| Rc::new(Slots::new(shared.all.clone(), room)));
            table.shared = copy;
        }
        table.shared.as_mut().and_then(Rc::get_mut)
    }

    pub fn get_mut(self, fd: i64) -> Option<&'t mut Fd> {
        self.table.slot(fd)?;
        Some(Rc::make_mut(&mut self.own()?.all.get_mut(&fd)?.fd))
    }

    /// Adds or replaces one; a new one beyond the limit of a process, or of all tables, is not kept.
    pub fn set(self, fd: i64, slot: Slot) {
        let FdsMut { table, room } = self;
        let own = FdsMut { table: &mut *table, room }.own();
        if own.is_none() {
            table.shared = Some(Rc::new(Slots::new(HashMap::new(), room)));
        }
        let Some(slots) = table.shared.as_mut().and_then(Rc::get_mut) else { return };
        if let Some(known) = slots.all.get_mut(&fd) {
            *known = slot;
        } else if slots.all.len() < bounds::FDS {
            let grows = slots.all.len() == slots.all.capacity();
            if !grows || room.has(slots.charged) {
                slots.all.insert(fd, slot);
                slots.charge();
            }
        }
    }

    pub fn remove(self, fd: i64) {
        if self.table.slot(fd).is_some()
            && let Some(slots) = self.own()
        {
            slots.all.remove(&fd);
        }
    }

    pub fn retain(self, keep: impl Fn(i64, &Slot) -> bool) {
        let Some(shared) = &mut self.table.shared else { return };
        if let Some(slots) = Rc::get_mut(shared) {
            slots.all.retain(|number, slot| keep(*number, slot));
            return;
        }
        let kept = || shared.all.iter().filter(|(number, slot)| keep(**number, slot));
        let count = kept().count();
        if count == shared.all.len() {
            return;
        }
        if !self.room.has(shared.charged) {
            self.table.shared = None;
            return;
        }
        let mut all = HashMap::with_capacity(count);
        all.extend(kept().map(|(number, slot)| (*number, slot.clone())));
        *shared = Rc::new(Slots::new(all, self.room));
    }

    /// Sets whether exec closes one.
    pub fn close_on_exec(self, fd: i64, on: bool) {
        if self.table.slot(fd).is_some_and(|slot| slot.close_on_exec != on)
            && let Some(slot) = self.own().and_then(|slots| slots.all.get_mut(&fd))
        {
            slot.close_on_exec = on;
        }
    }

    /// The descriptors of a range are closed by exec.
    pub fn close_range_on_exec(self, range: &RangeInclusive<i64>) {
        let concerns = |number: &i64, slot: &Slot| range.contains(number) && !slot.close_on_exec;
        if self.table.shared.iter().flat_map(|slots| &slots.all).any(|(number, slot)| concerns(number, slot)) {
            let all = self.own().into_iter().flat_map(|slots| &mut slots.all);
            all.filter(|(number, _)| range.contains(number)).for_each(|(_, slot)| slot.close_on_exec = true);
        }
    }
}
