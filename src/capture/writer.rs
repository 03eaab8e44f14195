//! Writing .scap files: today's blocks only, as the original tools read them.
//!
//! A file is sections: a header, what is known of the machine, then events ([`Writer::section`], [`Writer::event`]). Not where these
//! come from. Invariant: reading what was written gives the same metadata and the same events. What the format has no room for is
//! cut (a text) or not written and counted (an event).

use super::block::{
    EVENT, EVENT_WITH_FLAGS, FDS, INTERFACES, LARGE_EVENT, LARGE_EVENT_WITH_FLAGS, MACHINE, MAGIC, PROCESSES, SECTION,
    USERS, VERSION,
};
use super::bounds::{LONG_TEXT, TEXT};
use super::event::Event;
use super::meta::{Address, FdEntry, FdKind, Group, Interface, Machine, Metadata, ProcessEntry, User};
use crate::event::types::flag;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;

/// Who is to read what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Those that know today's schema: nothing is lost.
    Today,
    /// Those that know the schema of libs 0.23 (sysdig 0.41) as well.
    Older,
}

/// Last parameters that came later than [`Readers::Older`]: by event, the number of those before, and their default. Older readers stop
/// at an event that has one; younger ones take the default where it is missing, so that a default is never written.
const LATE: [(u16, usize, &[u8]); 2] = [(19, 4, &[0; 4]), (151, 3, &[0; 8])];

/// Bytes of header and trailer of a block.
const FRAME: usize = 12;
/// Bytes of an event's header in a counted block, flags excluded.
const EVENT_HEADER: usize = 26;
/// Longest event whose lengths have 16 bits.
const SHORT_EVENT: usize = 65_536;
/// A list of processes is continued in another block from here on.
const LIST: usize = 16 << 20;

enum Output {
    Plain(Box<dyn Write + Send>),
    Gzip(Box<GzEncoder<Box<dyn Write + Send>>>),
}

/// A capture being written.
pub struct Writer {
    output: Output,
    buffer: Vec<u8>,
    readers: Readers,
    /// Events that the format cannot hold: longer than 64 KiB, of a type that is never so.
    pub refused: u64,
}

impl Writer {
    /// Makes a file, in the place of one that is there; packed when its name ends in `.gz`.
    pub fn create(path: &Path) -> io::Result<Writer> {
        let file = BufWriter::with_capacity(256 << 10, File::create(path)?);
        let gzip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        Ok(Writer::new(file, gzip))
    }

    /// Writes to anything.
    pub fn new(output: impl Write + Send + 'static, gzip: bool) -> Writer {
        let output: Box<dyn Write + Send> = Box::new(output);
        let output = if gzip {
            Output::Gzip(Box::new(GzEncoder::new(output, Compression::fast())))
        } else {
            Output::Plain(output)
        };
        Writer { output, buffer: Vec::new(), readers: Readers::Today, refused: 0 }
    }

    /// The same writer, for others to read.
    #[must_use]
    pub fn for_readers(mut self, readers: Readers) -> Writer {
        self.readers = readers;
        self
    }

    /// Begins a section: its header, and everything that is known before its events.
    pub fn section(&mut self, metadata: &Metadata) -> io::Result<()> {
        self.begin(SECTION);
        self.u32(MAGIC);
        self.u16(VERSION.0);
        self.u16(VERSION.1);
        self.u64(u64::MAX);
        self.end()?;
        if let Some(machine) = &metadata.machine {
            self.machine(machine)?;
        }
        self.interfaces(&metadata.interfaces)?;
        self.users(&metadata.users, &metadata.groups)?;
        self.processes(&metadata.processes)?;
        metadata.fds.iter().try_for_each(|(tid, fds)| self.fds(*tid, fds))
    }

    /// Appends an event.
    pub fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.buffer.clear();
        if !event_block(event, self.readers, &mut self.buffer) {
            self.refused += 1;
        }
        self.write()
    }

    /// Appends a block that [`event_block`] made.
    pub fn block(&mut self, block: &[u8]) -> io::Result<()> {
        match &mut self.output {
            Output::Plain(output) => output.write_all(block),
            Output::Gzip(output) => output.write_all(block),
        }
    }

    /// Writes everything out. What a writer that is dropped had not written yet may be lost.
    pub fn finish(self) -> io::Result<()> {
        match self.output {
            Output::Plain(mut output) => output.flush(),
            Output::Gzip(encoder) => encoder.finish()?.flush(),
        }
    }

    fn machine(&mut self, machine: &Machine) -> io::Result<()> {
        const HOSTNAME: usize = 128;
        self.begin(MACHINE);
        self.u32(machine.cpus);
        self.u64(machine.memory);
        self.u64(machine.max_pid);
        // One byte stays for the NUL.
        let name = &machine.hostname[..machine.hostname.len().min(HOSTNAME - 1)];
        self.buffer.extend_from_slice(name);
        self.buffer.resize(self.buffer.len() + HOSTNAME - name.len(), 0);
        self.u64(machine.boot_time);
        (0..3).for_each(|_| self.u64(0));
        self.end()
    }

    fn interfaces(&mut self, interfaces: &[Interface]) -> io::Result<()> {
        self.begin(INTERFACES);
        for interface in interfaces {
            // This length does not count itself.
            let entry = self.open_entry();
            self.u16(if interface.address.is_ipv4() { 1 } else { 2 });
            let name = cut(&interface.name, TEXT);
            self.u16(name.len() as u16);
            [interface.address, interface.netmask, interface.broadcast]
                .into_iter()
                .for_each(|address| self.ip(address));
            self.u64(interface.linkspeed);
            self.buffer.extend_from_slice(name);
            self.close_entry(entry, 0);
        }
        self.end()
    }

    fn users(&mut self, users: &[User], groups: &[Group]) -> io::Result<()> {
        self.begin(USERS);
        for user in users {
            let entry = self.open_entry();
            self.buffer.push(0);
            self.u32(user.uid);
            self.u32(user.gid);
            [&user.name, &user.home, &user.shell].into_iter().for_each(|text| self.text(text, TEXT));
            self.close_entry(entry, 4);
        }
        for group in groups {
            let entry = self.open_entry();
            self.buffer.push(1);
            self.u32(group.gid);
            self.text(&group.name, TEXT);
            self.close_entry(entry, 4);
        }
        self.end()
    }

    fn processes(&mut self, processes: &[ProcessEntry]) -> io::Result<()> {
        self.begin(PROCESSES);
        for process in processes {
            if self.buffer.len() > LIST {
                self.end()?;
                self.begin(PROCESSES);
            }
            self.process(process);
        }
        self.end()
    }

    fn process(&mut self, p: &ProcessEntry) {
        let entry = self.open_entry();
        [p.tid, p.pid, p.ptid, p.sid, p.vpgid].into_iter().for_each(|number| self.i64(number));
        [&p.comm, &p.exe, &p.exepath].into_iter().for_each(|text| self.text(text, TEXT));
        self.text(&p.args, LONG_TEXT);
        self.text(&p.cwd, TEXT);
        self.u64(p.fdlimit);
        [p.flags, p.uid, p.gid, p.vmsize_kb, p.vmrss_kb, p.vmswap_kb].into_iter().for_each(|number| self.u32(number));
        self.u64(p.pfmajor);
        self.u64(p.pfminor);
        self.text(&p.env, LONG_TEXT);
        self.i64(p.vtid);
        self.i64(p.vpid);
        self.text(&p.cgroups, LONG_TEXT);
        self.text(&p.root, TEXT);
        self.u64(p.pidns_init_start);
        self.u32(p.tty);
        self.u32(p.loginuid);
        self.buffer.push(u8::from(p.exe_writable));
        [p.cap_inheritable, p.cap_permitted, p.cap_effective].into_iter().for_each(|set| self.u64(set));
        self.buffer.push(u8::from(p.exe_upper_layer));
        [p.exe_ino, p.exe_ctime, p.exe_mtime].into_iter().for_each(|number| self.u64(number));
        self.buffer.push(u8::from(p.exe_from_memfd));
        self.buffer.push(u8::from(p.exe_lower_layer));
        // The last one: an entry without it is an older recorder's.
        if let Some(pgid) = p.pgid {
            self.i64(pgid);
        }
        self.close_entry(entry, 4);
    }

    fn fds(&mut self, tid: i64, fds: &[FdEntry]) -> io::Result<()> {
        self.begin(FDS);
        self.i64(tid);
        for fd in fds {
            let entry = self.open_entry();
            self.i64(fd.fd);
            self.u64(fd.ino);
            self.buffer.push(fd.kind.number());
            match fd.kind {
                FdKind::Ipv4 | FdKind::Ipv6 => {
                    let v6 = fd.kind == FdKind::Ipv6;
                    let (source, destination) = (end_of(fd.source, v6), end_of(fd.destination, v6));
                    self.ip(source.0);
                    self.ip(destination.0);
                    self.u16(source.1);
                    self.u16(destination.1);
                    self.buffer.push(fd.l4);
                }
                FdKind::Ipv4Server | FdKind::Ipv6Server => {
                    let (ip, port) = end_of(fd.source, fd.kind == FdKind::Ipv6Server);
                    self.ip(ip);
                    self.u16(port);
                    self.buffer.push(fd.l4);
                }
                FdKind::Unix => {
                    self.u64(fd.unix.0);
                    self.u64(fd.unix.1);
                    self.text(&fd.name, TEXT);
                }
                FdKind::File => {
                    self.u32(fd.open_flags);
                    self.text(&fd.name, TEXT);
                    self.u32(fd.dev);
                }
                _ => self.text(&fd.name, TEXT),
            }
            self.close_entry(entry, 4);
        }
        self.end()
    }

    fn begin(&mut self, kind: u32) {
        self.buffer.clear();
        self.u32(kind);
        self.u32(0);
    }

    /// Closes the block and writes it.
    fn end(&mut self) -> io::Result<()> {
        close(&mut self.buffer, 0);
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        match &mut self.output {
            Output::Plain(output) => output.write_all(&self.buffer),
            Output::Gzip(output) => output.write_all(&self.buffer),
        }
    }

    /// Leaves room for an entry's length; gives its place.
    fn open_entry(&mut self) -> usize {
        self.u32(0);
        self.buffer.len()
    }

    /// Says how long an entry is; `own` bytes of its length count.
    fn close_entry(&mut self, start: usize, own: usize) {
        let len = (self.buffer.len() - start + own) as u32;
        self.buffer[start - 4..start].copy_from_slice(&len.to_ne_bytes());
    }

    fn u16(&mut self, number: u16) {
        self.buffer.extend_from_slice(&number.to_ne_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.buffer.extend_from_slice(&number.to_ne_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.buffer.extend_from_slice(&number.to_ne_bytes());
    }

    fn i64(&mut self, number: i64) {
        self.buffer.extend_from_slice(&number.to_ne_bytes());
    }

    fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(ip) => self.buffer.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => self.buffer.extend_from_slice(&ip.octets()),
        }
    }

    /// A text with its length before it, cut to what readers take.
    fn text(&mut self, text: &[u8], limit: usize) {
        let text = cut(text, limit);
        self.u16(text.len() as u16);
        self.buffer.extend_from_slice(text);
    }
}

/// Appends an event's block; false, appending nothing, when the format cannot hold it.
pub fn event_block(event: &Event<'_>, readers: Readers, out: &mut Vec<u8>) -> bool {
    let large = event.code.info().has(flag::LARGE);
    let width = if large { 4 } else { 2 };
    let late = LATE.iter().find(|(code, before, default)| {
        let has_it = *code == event.code.0 && event.len() == before + 1;
        has_it && (readers == Readers::Older || event.param(*before) == Some(*default))
    });
    let count = late.map_or(event.len(), |(_, before, _)| *before);
    let params = || event.params().take(count);
    let len = EVENT_HEADER + count * width + params().map(<[u8]>::len).sum::<usize>();
    let too_long = !large && (len > SHORT_EVENT || params().any(|p| p.len() > usize::from(u16::MAX)));
    if too_long || u32::try_from(len + FRAME + 8).is_err() {
        return false;
    }
    let start = out.len();
    let kind = match (event.flags != 0, large) {
        (false, false) => EVENT,
        (true, false) => EVENT_WITH_FLAGS,
        (false, true) => LARGE_EVENT,
        (true, true) => LARGE_EVENT_WITH_FLAGS,
    };
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&event.cpu.to_ne_bytes());
    if event.flags != 0 {
        out.extend_from_slice(&event.flags.to_ne_bytes());
    }
    out.extend_from_slice(&event.time.to_ne_bytes());
    out.extend_from_slice(&event.tid.to_ne_bytes());
    out.extend_from_slice(&(len as u32).to_ne_bytes());
    out.extend_from_slice(&event.code.0.to_ne_bytes());
    out.extend_from_slice(&(count as u32).to_ne_bytes());
    for param in params() {
        match large {
            true => out.extend_from_slice(&(param.len() as u32).to_ne_bytes()),
            false => out.extend_from_slice(&(param.len() as u16).to_ne_bytes()),
        }
    }
    params().for_each(|param| out.extend_from_slice(param));
    close(out, start);
    true
}

/// Pads the block that begins at `start` and says how long it is, at both ends.
fn close(buffer: &mut Vec<u8>, start: usize) {
    let padding = (buffer.len() - start).next_multiple_of(4) - (buffer.len() - start);
    buffer.extend_from_slice(&[0; 4][..padding]);
    let len = (buffer.len() - start + 4) as u32;
    buffer[start + 4..start + 8].copy_from_slice(&len.to_ne_bytes());
    buffer.extend_from_slice(&len.to_ne_bytes());
}

fn cut(text: &[u8], limit: usize) -> &[u8] {
    &text[..text.len().min(limit)]
}

/// An end of a socket in the family of its descriptor; zeros when it has none of that family.
fn end_of(end: Option<Address>, v6: bool) -> Address {
    match end {
        Some((IpAddr::V4(ip), port)) if v6 => (ip.to_ipv6_mapped().into(), port),
        Some((ip, port)) if ip.is_ipv6() == v6 => (ip, port),
        _ if v6 => (std::net::Ipv6Addr::UNSPECIFIED.into(), 0),
        _ => (std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}
