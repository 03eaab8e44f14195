//! Descriptors of a process as events made them.

use crate::capture::bounds;
use crate::capture::meta::{Address, FdEntry, FdKind};
use hashbrown::HashMap;
use std::cell::{Cell, RefCell};
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

/// A name as the program gave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given {
    #[default]
    Unknown,
    /// The same as rules see.
    Name,
    Other(Rc<[u8]>),
}

/// What is known of a descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fd {
    pub kind: FdKind,
    /// As rules see it: an absolute path, both ends of a socket.
    pub name: Vec<u8>,
    pub given: Given,
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

/// What an open tells of a file beside its name.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    pub kind: FdKind,
    pub open_flags: u32,
    pub dev: u32,
    pub ino: u64,
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

    /// Becomes a file that was opened, in the memory it has. `as_given` is the name as the program gave it, if that is another.
    pub fn become_opened(&mut self, opened: &Opened, text: &[u8], as_given: Option<&[u8]>) {
        // All there is: nothing is left of what it was.
        let Fd {
            kind,
            name,
            given,
            open_flags,
            dev,
            ino,
            source,
            destination,
            l4,
            unix,
            role,
            connected,
            upper_layer,
            lower_layer,
        } = self;
        (*source, *destination, *l4, *unix, *role, *connected) = (None, None, 0, (0, 0), Role::None, false);
        (*kind, *open_flags, *dev, *ino) = (opened.kind, opened.open_flags, opened.dev, opened.ino);
        (*upper_layer, *lower_layer) = (opened.upper_layer, opened.lower_layer);
        name.clear();
        name.extend_from_slice(text);
        *given = match as_given.filter(|as_given| *as_given != text) {
            Some(as_given) => Given::Other(as_given.into()),
            None => Given::Name,
        };
    }

    /// Its name as the program gave it, or nothing.
    pub fn given_name(&self) -> &[u8] {
        match &self.given {
            Given::Unknown => b"",
            Given::Name => &self.name,
            Given::Other(given) => given,
        }
    }

    /// An empty name, to be written anew.
    pub fn new_name(&mut self) -> &mut Vec<u8> {
        if self.given == Given::Name {
            self.given = Given::Other(self.name[..].into());
        }
        self.name.clear();
        &mut self.name
    }

    pub fn is_ip(&self) -> bool {
        matches!(self.kind, FdKind::Ipv4 | FdKind::Ipv6 | FdKind::Ipv4Server | FdKind::Ipv6Server)
    }

    /// Makes the name from the ends.
    pub fn rename(&mut self) {
        let (source, destination) = (self.source, self.destination);
        let name = self.new_name();
        if let Some((ip, port)) = source {
            let _ = write!(name, "{ip}:{port}");
        }
        if let Some((ip, port)) = destination {
            let _ = write!(name, "->{ip}:{port}");
        }
    }

    /// Makes the name of a unix socket from its ends and a path.
    pub fn name_unix(&mut self, path: &[u8]) {
        let (source, destination) = self.unix;
        let name = self.new_name();
        let _ = write!(name, "{source:x}->{destination:x} ");
        name.extend_from_slice(bounded(path));
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
    /// Descriptors that were closed and are nobody's: the memory serves those to come.
    spare: RefCell<Vec<Rc<Fd>>>,
}

/// Closed descriptors whose memory is kept.
const SPARE: usize = 64;

impl Room {
    /// A descriptor that is nobody else's, to become another.
    pub(super) fn spare(&self) -> Rc<Fd> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    fn take_back(&self, mut slot: Slot) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && Rc::get_mut(&mut slot.fd).is_some() {
            spare.push(slot.fd);
        }
    }

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

/// Numbers that have a place of their own: those of most processes.
const LOW: usize = 64;

/// Slots by number.
#[derive(Clone, Debug, Default)]
struct Numbers {
    low: Vec<Option<Slot>>,
    high: HashMap<i64, Slot>,
    /// Of both.
    count: usize,
}

impl Numbers {
    fn get(&self, number: i64) -> Option<&Slot> {
        if (0..LOW as i64).contains(&number) { self.low.get(number as usize)?.as_ref() } else { self.high.get(&number) }
    }

    fn get_mut(&mut self, number: i64) -> Option<&mut Slot> {
        if (0..LOW as i64).contains(&number) {
            self.low.get_mut(number as usize)?.as_mut()
        } else {
            self.high.get_mut(&number)
        }
    }

    /// Whether one that is not there would take memory.
    fn would_grow(&self, number: i64) -> bool {
        if (0..LOW as i64).contains(&number) {
            number as usize >= self.low.capacity()
        } else {
            self.high.len() == self.high.capacity()
        }
    }

    fn insert(&mut self, number: i64, slot: Slot) {
        let old = if (0..LOW as i64).contains(&number) {
            let at = number as usize;
            if at >= self.low.len() {
                self.low.resize(at + 1, None);
            }
            self.low[at].replace(slot)
        } else {
            self.high.insert(number, slot)
        };
        self.count += usize::from(old.is_none());
    }

    fn remove(&mut self, number: i64) -> Option<Slot> {
        let old = if (0..LOW as i64).contains(&number) {
            self.low.get_mut(number as usize).and_then(Option::take)
        } else {
            self.high.remove(&number)
        };
        self.count -= usize::from(old.is_some());
        old
    }

    fn iter(&self) -> impl Iterator<Item = (i64, &Slot)> {
        let low = (0..).zip(&self.low).filter_map(|(number, slot)| Some((number, slot.as_ref()?)));
        low.chain(self.high.iter().map(|(number, slot)| (*number, slot)))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (i64, &mut Slot)> {
        let low = (0..).zip(&mut self.low).filter_map(|(number, slot)| Some((number, slot.as_mut()?)));
        low.chain(self.high.iter_mut().map(|(number, slot)| (*number, slot)))
    }

    fn retain(&mut self, keep: impl Fn(i64, &Slot) -> bool) {
        for (number, slot) in (0..).zip(&mut self.low) {
            slot.take_if(|slot| !keep(number, slot));
        }
        self.high.retain(|number, slot| keep(*number, slot));
        self.count = self.low.iter().flatten().count() + self.high.len();
    }

    fn bytes(&self) -> usize {
        self.low.capacity() * size_of::<Option<Slot>>() + self.high.allocation_size()
    }
}

/// A table's slots, and what they take of the room.
#[derive(Debug)]
struct Slots {
    all: Numbers,
    room: Rc<Room>,
    charged: usize,
}

impl Slots {
    fn new(all: Numbers, room: &Rc<Room>) -> Slots {
        let mut slots = Slots { all, room: room.clone(), charged: 0 };
        slots.charge();
        slots
    }

    fn charge(&mut self) {
        let bytes = self.all.bytes() + size_of::<Slots>();
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
        self.shared.as_ref()?.all.get(fd)
    }

    pub fn len(&self) -> usize {
        self.shared.as_ref().map_or(0, |slots| slots.all.count)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &Fd)> {
        self.shared.iter().flat_map(|slots| slots.all.iter()).map(|(number, slot)| (number, &*slot.fd))
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
        Some(Rc::make_mut(&mut self.own()?.all.get_mut(fd)?.fd))
    }

    /// Adds or replaces one; a new one beyond the limit of a process, or of all tables, is not kept.
    pub fn set(self, fd: i64, slot: Slot) {
        let FdsMut { table, room } = self;
        let own = FdsMut { table: &mut *table, room }.own();
        if own.is_none() {
            table.shared = Some(Rc::new(Slots::new(Numbers::default(), room)));
        }
        let Some(slots) = table.shared.as_mut().and_then(Rc::get_mut) else { return };
        if let Some(known) = slots.all.get_mut(fd) {
            *known = slot;
        } else if slots.all.count < bounds::FDS {
            let grows = slots.all.would_grow(fd);
            if !grows || room.has(slots.charged) {
                slots.all.insert(fd, slot);
                if grows {
                    slots.charge();
                }
            }
        }
    }

    pub fn remove(self, fd: i64) {
        let room = self.room;
        if self.table.slot(fd).is_some()
            && let Some(slots) = self.own()
            && let Some(closed) = slots.all.remove(fd)
        {
            room.take_back(closed);
        }
    }

    pub fn retain(self, keep: impl Fn(i64, &Slot) -> bool) {
        let Some(shared) = &mut self.table.shared else { return };
        if let Some(slots) = Rc::get_mut(shared) {
            slots.all.retain(keep);
            return;
        }
        let kept = || shared.all.iter().filter(|(number, slot)| keep(*number, slot));
        if kept().count() == shared.all.count {
            return;
        }
        if !self.room.has(shared.charged) {
            self.table.shared = None;
            return;
        }
        let mut all = Numbers::default();
        kept().for_each(|(number, slot)| all.insert(number, slot.clone()));
        *shared = Rc::new(Slots::new(all, self.room));
    }

    /// Sets whether exec closes one.
    pub fn close_on_exec(self, fd: i64, on: bool) {
        if self.table.slot(fd).is_some_and(|slot| slot.close_on_exec != on)
            && let Some(slot) = self.own().and_then(|slots| slots.all.get_mut(fd))
        {
            slot.close_on_exec = on;
        }
    }

    /// The descriptors of a range are closed by exec.
    pub fn close_range_on_exec(self, range: &RangeInclusive<i64>) {
        let concerns = |number: i64, slot: &Slot| range.contains(&number) && !slot.close_on_exec;
        if self.table.shared.iter().flat_map(|slots| slots.all.iter()).any(|(number, slot)| concerns(number, slot)) {
            let all = self.own().into_iter().flat_map(|slots| slots.all.iter_mut());
            all.filter(|(number, _)| range.contains(number)).for_each(|(_, slot)| slot.close_on_exec = true);
        }
    }
}
