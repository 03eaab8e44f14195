//! What a capture says before its events: the machine, its processes with their descriptors, interfaces and users.

use super::bounds::{LONG_TEXT, TEXT};
use super::cursor::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Everything that stands before the first event, or between two sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pub machine: Option<Machine>,
    pub processes: Vec<ProcessEntry>,
    /// By the tid of the process list.
    pub fds: Vec<(i64, Vec<FdEntry>)>,
    pub interfaces: Vec<Interface>,
    pub users: Vec<User>,
    pub groups: Vec<Group>,
}

/// The recording machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub cpus: u32,
    pub memory: u64,
    pub max_pid: u64,
    pub hostname: Vec<u8>,
    /// ns since 1970; 0 in old files.
    pub boot_time: u64,
}

/// A thread when the recording began. Texts are cut by the recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessEntry {
    pub tid: i64,
    pub pid: i64,
    pub ptid: i64,
    pub sid: i64,
    pub vpgid: i64,
    pub pgid: Option<i64>,
    pub comm: Vec<u8>,
    pub exe: Vec<u8>,
    pub exepath: Vec<u8>,
    /// After argv[0], NUL-terminated each.
    pub args: Vec<u8>,
    pub cwd: Vec<u8>,
    pub fdlimit: u64,
    pub flags: u32,
    pub uid: u32,
    pub gid: u32,
    pub vmsize_kb: u32,
    pub vmrss_kb: u32,
    pub vmswap_kb: u32,
    pub pfmajor: u64,
    pub pfminor: u64,
    pub env: Vec<u8>,
    pub vtid: i64,
    pub vpid: i64,
    /// `subsystem=path`, NUL-terminated each.
    pub cgroups: Vec<u8>,
    pub root: Vec<u8>,
    pub pidns_init_start: u64,
    pub tty: u32,
    pub loginuid: u32,
    pub exe_writable: bool,
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub exe_upper_layer: bool,
    pub exe_lower_layer: bool,
    pub exe_from_memfd: bool,
    pub exe_ino: u64,
    pub exe_ctime: u64,
    pub exe_mtime: u64,
}

/// What a descriptor of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FdKind {
    #[default]
    Unknown,
    File,
    Directory,
    Ipv4,
    Ipv6,
    Ipv4Server,
    Ipv6Server,
    Fifo,
    Unix,
    Event,
    Unsupported,
    Signalfd,
    Eventpoll,
    Inotify,
    Timerfd,
    Netlink,
    Bpf,
    Userfaultfd,
    IoUring,
    Memfd,
    Pidfd,
}

/// The numbers of the format, by kind.
const KINDS: [(u8, FdKind); 21] = [
    (1, FdKind::File),
    (2, FdKind::Directory),
    (3, FdKind::Ipv4),
    (4, FdKind::Ipv6),
    (5, FdKind::Ipv4Server),
    (6, FdKind::Ipv6Server),
    (7, FdKind::Fifo),
    (8, FdKind::Unix),
    (9, FdKind::Event),
    (10, FdKind::Unsupported),
    (11, FdKind::Signalfd),
    (12, FdKind::Eventpoll),
    (13, FdKind::Inotify),
    (14, FdKind::Timerfd),
    (15, FdKind::Netlink),
    (16, FdKind::File),
    (17, FdKind::Bpf),
    (18, FdKind::Userfaultfd),
    (19, FdKind::IoUring),
    (20, FdKind::Memfd),
    (21, FdKind::Pidfd),
];

/// The form of a file's entry that has open flags.
const FILE_V2: u8 = 16;

impl FdKind {
    /// The kind with a number of the format.
    pub fn of(number: u8) -> FdKind {
        match number {
            0 | 0xff => FdKind::Unknown,
            _ => KINDS.iter().find(|(n, _)| *n == number).map_or(FdKind::Unsupported, |(_, kind)| *kind),
        }
    }

    /// The number that is written.
    pub fn number(self) -> u8 {
        match self {
            FdKind::Unknown => 0,
            FdKind::File => FILE_V2,
            _ => KINDS.iter().find(|(_, kind)| *kind == self).map_or(0, |(n, _)| *n),
        }
    }
}

/// An address of a socket.
pub type Address = (IpAddr, u16);

/// A descriptor when the recording began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdEntry {
    pub fd: i64,
    pub ino: u64,
    pub kind: FdKind,
    /// Path, or what the kind has for a name.
    pub name: Vec<u8>,
    /// Falco's bits.
    pub open_flags: u32,
    pub dev: u32,
    /// Where it comes from; for a server the address it listens at.
    pub source: Option<Address>,
    pub destination: Option<Address>,
    /// Number of the format: unknown, tcp, udp, icmp, raw.
    pub l4: u8,
    /// Ends of a unix socket.
    pub unix: (u64, u64),
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: Vec<u8>,
    pub address: IpAddr,
    pub netmask: IpAddr,
    pub broadcast: IpAddr,
    pub linkspeed: u64,
}

/// A user of the recording machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub name: Vec<u8>,
    pub home: Vec<u8>,
    pub shell: Vec<u8>,
}

/// A group of the recording machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub gid: u32,
    pub name: Vec<u8>,
}

/// The body of a machine block.
pub(super) fn machine(body: &[u8]) -> Option<Machine> {
    let mut from = Cursor(body);
    let cpus = from.u32()?;
    let memory = from.u64()?;
    let max_pid = from.u64()?;
    let hostname = from.take(128)?;
    let boot_time = from.u64()?;
    from.take(24)?;
    let hostname = hostname[..memchr::memchr(0, hostname).unwrap_or(hostname.len())].to_vec();
    Some(Machine { cpus, memory, max_pid, hostname, boot_time })
}

/// The body of a list of processes, of version 1 to 9.
pub(super) fn processes(body: &[u8], version: u8, out: &mut Vec<ProcessEntry>) -> Option<()> {
    let mut from = Cursor(body);
    // Padding after the last entry is shorter than any entry.
    while from.0.len() > 3 {
        if version < 9 {
            out.push(process(&mut from, version)?);
            continue;
        }
        let len = from.u32()? as usize;
        let mut entry = Cursor(from.take(len.checked_sub(4)?)?);
        let mut process = process(&mut entry, version)?;
        // What newer recorders append is passed over, what older ones lack stays as it is.
        let _ = appended(&mut entry, &mut process);
        out.push(process);
    }
    Some(())
}

fn process(from: &mut Cursor<'_>, version: u8) -> Option<ProcessEntry> {
    let since = |v| version >= v;
    let mut p = ProcessEntry { loginuid: u32::MAX, ..ProcessEntry::default() };
    p.tid = from.i64()?;
    p.pid = from.i64()?;
    p.ptid = from.i64()?;
    p.sid = if since(6) { from.i64()? } else { 0 };
    p.vpgid = if since(8) { from.i64()? } else { -1 };
    p.comm = from.text(TEXT)?.to_vec();
    p.exe = from.text(TEXT)?.to_vec();
    p.exepath = if since(7) { from.text(TEXT)?.to_vec() } else { Vec::new() };
    p.args = from.text(LONG_TEXT)?.to_vec();
    p.cwd = from.text(TEXT)?.to_vec();
    p.fdlimit = from.u64()?;
    p.flags = from.u32()?;
    p.uid = from.u32()?;
    p.gid = from.u32()?;
    if since(2) {
        (p.vmsize_kb, p.vmrss_kb, p.vmswap_kb) = (from.u32()?, from.u32()?, from.u32()?);
        (p.pfmajor, p.pfminor) = (from.u64()?, from.u64()?);
    }
    p.env = if since(3) { from.text(LONG_TEXT)?.to_vec() } else { Vec::new() };
    (p.vtid, p.vpid) = (p.tid, p.pid);
    if since(4) {
        (p.vtid, p.vpid) = (from.i64()?, from.i64()?);
        p.cgroups = from.text(LONG_TEXT)?.to_vec();
    }
    p.root = if since(5) { from.text(TEXT)?.to_vec() } else { Vec::new() };
    Some(p)
}

/// Fields that came without a new version of the list.
fn appended(from: &mut Cursor<'_>, p: &mut ProcessEntry) -> Option<()> {
    // Early writers had neither of these two.
    if from.0.len() > 29 {
        p.pidns_init_start = from.u64()?;
        p.tty = from.u32()?;
    }
    p.loginuid = from.u32()?;
    p.exe_writable = from.u8()? != 0;
    p.cap_inheritable = from.u64()?;
    p.cap_permitted = from.u64()?;
    p.cap_effective = from.u64()?;
    p.exe_upper_layer = from.u8()? != 0;
    p.exe_ino = from.u64()?;
    p.exe_ctime = from.u64()?;
    p.exe_mtime = from.u64()?;
    p.exe_from_memfd = from.u8()? != 0;
    p.exe_lower_layer = from.u8()? != 0;
    p.pgid = Some(from.i64()?);
    Some(())
}

/// The body of a list of descriptors: the thread they belong to, and they.
pub(super) fn fds(body: &[u8], version: u8) -> Option<(i64, Vec<FdEntry>)> {
    let mut from = Cursor(body);
    let tid = from.i64()?;
    if version < 2 {
        // Files got a device without a new version: entries of either form fill the list without a rest.
        return Some((tid, fds_without_lengths(from, true).or_else(|| fds_without_lengths(from, false))?));
    }
    let mut all = Vec::new();
    while from.0.len() > 3 {
        let len = from.u32()? as usize;
        let mut entry = Cursor(from.take(len.checked_sub(4)?)?);
        let device = |rest: &mut Cursor<'_>| Some(rest.u32().unwrap_or(0));
        all.push(fd(&mut entry, device)?);
    }
    Some((tid, all))
}

fn fds_without_lengths(mut from: Cursor<'_>, with_device: bool) -> Option<Vec<FdEntry>> {
    let mut all = Vec::new();
    while from.0.len() > 3 {
        all.push(fd(&mut from, |rest| if with_device { rest.u32() } else { Some(0) })?);
    }
    from.0.iter().all(|byte| *byte == 0).then_some(all)
}

fn fd(from: &mut Cursor<'_>, device: impl Fn(&mut Cursor<'_>) -> Option<u32>) -> Option<FdEntry> {
    let mut fd = FdEntry { fd: from.i64()?, ino: from.u64()?, ..FdEntry::default() };
    let number = from.u8()?;
    fd.kind = FdKind::of(number);
    match fd.kind {
        FdKind::Ipv4 => {
            let (sip, dip) = (from.array::<4>()?, from.array::<4>()?);
            let (sport, dport) = (from.u16()?, from.u16()?);
            fd.l4 = from.u8()?;
            fd.source = Some((Ipv4Addr::from(sip).into(), sport));
            fd.destination = Some((Ipv4Addr::from(dip).into(), dport));
        }
        FdKind::Ipv4Server => {
            fd.source = Some((Ipv4Addr::from(from.array::<4>()?).into(), from.u16()?));
            fd.l4 = from.u8()?;
        }
        FdKind::Ipv6 => {
            let (sip, dip) = (from.array::<16>()?, from.array::<16>()?);
            let (sport, dport) = (from.u16()?, from.u16()?);
            fd.l4 = from.u8()?;
            fd.source = Some((Ipv6Addr::from(sip).into(), sport));
            fd.destination = Some((Ipv6Addr::from(dip).into(), dport));
        }
        FdKind::Ipv6Server => {
            fd.source = Some((Ipv6Addr::from(from.array::<16>()?).into(), from.u16()?));
            fd.l4 = from.u8()?;
        }
        FdKind::Unix => {
            fd.unix = (from.u64()?, from.u64()?);
            fd.name = from.text(TEXT)?.to_vec();
        }
        _ if number == FILE_V2 => {
            fd.open_flags = from.u32()?;
            fd.name = from.text(TEXT)?.to_vec();
            fd.dev = device(from)?;
        }
        FdKind::Unsupported if number != 10 => {
            from.text(TEXT)?;
            fd.name = format!("unknown-type:[{number}]").into_bytes();
        }
        _ => fd.name = from.text(TEXT)?.to_vec(),
    }
    Some(fd)
}

/// The body of a list of interfaces.
pub(super) fn interfaces(body: &[u8], version: u8, out: &mut Vec<Interface>) -> Option<()> {
    let mut from = Cursor(body);
    while from.0.len() > 3 {
        if version < 2 {
            out.extend(interface(&mut from)?);
            continue;
        }
        let len = from.u32()? as usize;
        out.extend(interface(&mut Cursor(from.take(len)?))?);
    }
    Some(())
}

/// None when damaged, `Some(None)` when of a kind that is not known.
fn interface(from: &mut Cursor<'_>) -> Option<Option<Interface>> {
    let kind = from.u16()?;
    let name_len = usize::from(from.u16()?);
    let v4 = |from: &mut Cursor<'_>| Some(IpAddr::from(Ipv4Addr::from(from.array::<4>()?)));
    let v6 = |from: &mut Cursor<'_>| Some(IpAddr::from(Ipv6Addr::from(from.array::<16>()?)));
    let (address, netmask, broadcast) = match kind {
        1 | 3 => (v4(from)?, v4(from)?, v4(from)?),
        2 | 4 => (v6(from)?, v6(from)?, v6(from)?),
        _ => return Some(None),
    };
    let linkspeed = if kind < 3 { from.u64()? } else { 0 };
    let name = from.take(name_len)?.to_vec();
    Some(Some(Interface { name, address, netmask, broadcast, linkspeed }))
}

/// The body of a list of users and groups.
pub(super) fn users(body: &[u8], version: u8, users: &mut Vec<User>, groups: &mut Vec<Group>) -> Option<()> {
    let mut from = Cursor(body);
    while from.0.len() > 3 {
        let mut entry = from;
        if version >= 2 {
            let len = from.u32()? as usize;
            entry = Cursor(from.take(len.checked_sub(4)?)?);
        }
        match entry.u8()? {
            0 => users.push(User {
                uid: entry.u32()?,
                gid: entry.u32()?,
                name: entry.text(TEXT)?.to_vec(),
                home: entry.text(TEXT)?.to_vec(),
                shell: entry.text(TEXT)?.to_vec(),
            }),
            1 => groups.push(Group { gid: entry.u32()?, name: entry.text(TEXT)?.to_vec() }),
            _ if version < 2 => return None,
            _ => {}
        }
        if version < 2 {
            from = entry;
        }
    }
    Some(())
}
