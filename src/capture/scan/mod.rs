//! What a recording says of this host before its events: machine, interfaces, users, and every thread with its descriptors, from /proc.
//!
//! A process may end or change while it is looked at, and much of /proc is not for everybody: what cannot be read stays empty, a
//! process that is gone is left out. Nothing here fails.

mod sockets;

use super::bounds::FDS;
use super::meta::{FdEntry, FdKind, Group, Interface, Machine, Metadata, ProcessEntry, User};
use crate::event::flags;
use crate::event::view::Kind;
use nix::time::ClockId;
use sockets::Sockets;
use std::fs;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Clone flag: descriptors are shared.
const CLONE_FILES: u32 = 1;
/// Clone flags of a thread that is not the first of its process, as the original tools note them.
const THREAD_FLAGS: u32 = super::thread::CLONE_THREAD | CLONE_FILES;

/// Describes the host whose root file system is at `root` (`/`, or `$HOST_ROOT`).
pub fn host(root: &Path) -> Metadata {
    let proc = root.join("proc");
    let mut metadata = Metadata {
        machine: Some(machine(&proc)),
        interfaces: interfaces(),
        users: lines(&root.join("etc/passwd")).iter().filter_map(|line| user(line)).collect(),
        groups: lines(&root.join("etc/group")).iter().filter_map(|line| group(line)).collect(),
        ..Metadata::default()
    };
    let mut sockets = Sockets::default();
    for pid in numbers(&proc) {
        let folder = proc.join(pid.to_string());
        for tid in numbers(&folder.join("task")) {
            metadata.processes.extend(thread(&folder.join("task").join(tid.to_string()), pid, tid));
        }
        let fds = descriptors(&folder, &mut sockets);
        if !fds.is_empty() {
            metadata.fds.push((pid, fds));
        }
    }
    metadata
}

/// Names of a folder that are numbers.
fn numbers(folder: &Path) -> Vec<i64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn lines(file: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(file).unwrap_or_default();
    bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// A number within text.
fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn machine(proc: &Path) -> Machine {
    let read = |id| nix::time::clock_gettime(id).map_or(Duration::ZERO, Duration::from);
    let (uptime, now) = (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_REALTIME));
    let total = lines(&proc.join("meminfo"))
        .iter()
        .find_map(|line| number::<u64>(line.strip_prefix(b"MemTotal:")?.strip_suffix(b"kB")?));
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    Machine {
        cpus: crate::driver::cpus::online().len() as u32,
        memory: total.unwrap_or(0) << 10,
        max_pid: number(&fs::read(proc.join("sys/kernel/pid_max")).unwrap_or_default()).unwrap_or(0),
        hostname: hostname.as_bytes().to_vec(),
        boot_time: now.saturating_sub(uptime).as_nanos() as u64,
    }
}

fn interfaces() -> Vec<Interface> {
    let ip = |address: Option<nix::sys::socket::SockaddrStorage>| -> Option<IpAddr> {
        let address = address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
    };
    let mut all = Vec::new();
    for found in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = ip(found.address) else { continue };
        let none = if address.is_ipv4() { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
        let like = |other: Option<IpAddr>| other.filter(|o| o.is_ipv4() == address.is_ipv4()).unwrap_or(none);
        all.push(Interface {
            name: found.interface_name.into_bytes(),
            address,
            netmask: like(ip(found.netmask)),
            broadcast: like(ip(found.broadcast)),
            linkspeed: 0,
        });
    }
    all
}

fn user(line: &[u8]) -> Option<User> {
    let parts: Vec<&[u8]> = line.split(|b| *b == b':').collect();
    let [name, _, uid, gid, _, home, shell] = parts[..] else { return None };
    Some(User { uid: number(uid)?, gid: number(gid)?, name: name.into(), home: home.into(), shell: shell.into() })
}

fn group(line: &[u8]) -> Option<Group> {
    let mut parts = line.split(|b| *b == b':');
    let name = parts.next()?.to_vec();
    Some(Group { gid: number(parts.nth(1)?)?, name })
}

/// A thread, from its folder; None when it is gone.
fn thread(folder: &Path, pid: i64, tid: i64) -> Option<ProcessEntry> {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    let link = |name: &str| {
        let text =
            fs::read_link(folder.join(name)).map(|path| path.as_os_str().as_bytes().to_vec()).unwrap_or_default();
        text.strip_suffix(b" (deleted)").map_or(text.clone(), <[u8]>::to_vec)
    };
    let status = lines(&folder.join("status"));
    let words = |name: &str| -> Vec<&[u8]> {
        let line = status.iter().find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"));
        line.unwrap_or_default().split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty()).collect()
    };
    let word = |name: &str, at: usize| words(name).get(at).and_then(|word| number::<u64>(word));
    let set = |name: &str| {
        let text = words(name).first().and_then(|word| std::str::from_utf8(word).ok());
        text.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
    };
    // In the innermost namespace: the last number.
    let inner = |name: &str, outer: i64| words(name).last().and_then(|word| number(word)).unwrap_or(outer);

    let stat = read("stat");
    // The name, second, may hold blanks and parentheses.
    let after_name = memchr::memrchr(b')', &stat)? + 1;
    let stat: Vec<&[u8]> = stat[after_name..].split(|b| *b == b' ').filter(|word| !word.is_empty()).collect();
    // Places as in proc(5), where the state is the third.
    let place = |place: usize| stat.get(place - 3).and_then(|word| number::<i64>(word)).unwrap_or(0);

    let command = read("cmdline");
    let first = memchr::memchr(0, &command).unwrap_or(command.len());
    let (uid, gid) = (word("Uid", 1)? as u32, word("Gid", 1)? as u32);
    let exe = fs::metadata(folder.join("exe")).ok();
    let nanoseconds = |s: i64, ns: i64| (s as u64).wrapping_mul(1_000_000_000).wrapping_add(ns as u64);
    let writable = |exe: &fs::Metadata| {
        let mode = exe.mode();
        uid == 0
            || (exe.uid() == uid && mode & 0o200 != 0)
            || (exe.gid() == gid && mode & 0o020 != 0)
            || mode & 0o002 != 0
    };
    let limit = lines(&folder.join("limits")).iter().find_map(|line| {
        let line = line.strip_prefix(b"Max open files")?;
        number::<u64>(line.split(|b| *b == b' ').find(|word| !word.is_empty())?)
    });
    let mut cgroups = Vec::new();
    for line in lines(&folder.join("cgroup")) {
        let mut parts = line.splitn(3, |b| *b == b':').skip(1);
        if let (Some(controllers), Some(path)) = (parts.next(), parts.next()) {
            cgroups.extend([controllers, b"=", path, b"\0"].concat());
        }
    }
    let mut comm = read("comm");
    comm.pop_if(|last| *last == b'\n');
    Some(ProcessEntry {
        tid,
        pid,
        ptid: place(4),
        sid: place(6),
        vpgid: inner("NSpgid", place(5)),
        pgid: Some(place(5)),
        comm,
        exe: command[..first].to_vec(),
        exepath: link("exe"),
        args: command.get(first + 1..).unwrap_or_default().to_vec(),
        cwd: link("cwd"),
        fdlimit: limit.unwrap_or(u64::MAX),
        flags: if tid == pid { 0 } else { THREAD_FLAGS },
        uid,
        gid,
        vmsize_kb: word("VmSize", 0).unwrap_or(0) as u32,
        vmrss_kb: word("VmRSS", 0).unwrap_or(0) as u32,
        vmswap_kb: word("VmSwap", 0).unwrap_or(0) as u32,
        pfmajor: place(12) as u64,
        pfminor: place(10) as u64,
        env: read("environ"),
        vtid: inner("NSpid", tid),
        vpid: inner("NStgid", pid),
        cgroups,
        root: link("root"),
        pidns_init_start: 0,
        tty: place(7) as u32,
        loginuid: number(&read("loginuid")).unwrap_or(u32::MAX),
        exe_writable: exe.as_ref().is_some_and(writable),
        cap_inheritable: set("CapInh"),
        cap_permitted: set("CapPrm"),
        cap_effective: set("CapEff"),
        exe_upper_layer: false,
        exe_lower_layer: false,
        exe_from_memfd: link("exe").starts_with(b"/memfd:"),
        exe_ino: exe.as_ref().map_or(0, MetadataExt::ino),
        exe_ctime: exe.as_ref().map_or(0, |exe| nanoseconds(exe.ctime(), exe.ctime_nsec())),
        exe_mtime: exe.as_ref().map_or(0, |exe| nanoseconds(exe.mtime(), exe.mtime_nsec())),
    })
}

/// The descriptors of a process, from its folder.
fn descriptors(folder: &Path, sockets: &mut Sockets) -> Vec<FdEntry> {
    let mut all = Vec::new();
    for number in numbers(&folder.join("fd")).into_iter().take(FDS) {
        let path = folder.join("fd").join(number.to_string());
        let Ok(link) = fs::read_link(&path) else { continue };
        let link = link.as_os_str().as_bytes();
        if let Some(ino) = link.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]")) {
            let ino = self::number(ino).unwrap_or(0);
            all.push(FdEntry { fd: number, ino, ..sockets.find(folder, ino) });
            continue;
        }
        let stat = fs::metadata(&path).ok();
        let is_directory = stat.as_ref().is_some_and(fs::Metadata::is_dir);
        let kind = match Kind::of_link(link) {
            Kind::File if is_directory => FdKind::Directory,
            Kind::File => FdKind::File,
            other => anonymous(other),
        };
        let name = match kind {
            FdKind::File | FdKind::Directory => link.strip_suffix(b" (deleted)").unwrap_or(link),
            FdKind::Memfd => {
                link.strip_prefix(b"/memfd:").map_or(link, |name| name.strip_suffix(b" (deleted)").unwrap_or(name))
            }
            _ => b"",
        };
        all.push(FdEntry {
            fd: number,
            ino: stat.as_ref().map_or(0, MetadataExt::ino),
            kind,
            name: name.to_vec(),
            open_flags: open_flags(&folder.join("fdinfo").join(number.to_string())),
            dev: stat.as_ref().map_or(0, |stat| device(stat.dev())),
            ..FdEntry::default()
        });
    }
    all
}

/// How a descriptor was opened, in Falco's bits.
fn open_flags(info: &Path) -> u32 {
    let flags = lines(info).iter().find_map(|line| {
        let text = std::str::from_utf8(line.strip_prefix(b"flags:")?).ok()?;
        u64::from_str_radix(text.trim(), 8).ok()
    });
    flags.map_or(0, |flags| flags::from_native("file_flags", "open", flags) as u32)
}

/// A device number as the kernel packs it (`new_encode_dev`).
fn device(dev: u64) -> u32 {
    let (major, minor) = (nix::sys::stat::major(dev) as u32, nix::sys::stat::minor(dev) as u32);
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

const fn anonymous(kind: Kind) -> FdKind {
    match kind {
        Kind::Pipe => FdKind::Fifo,
        Kind::Event => FdKind::Event,
        Kind::Signalfd => FdKind::Signalfd,
        Kind::Eventpoll => FdKind::Eventpoll,
        Kind::Inotify => FdKind::Inotify,
        Kind::Timerfd => FdKind::Timerfd,
        Kind::Bpf => FdKind::Bpf,
        Kind::Userfaultfd => FdKind::Userfaultfd,
        Kind::IoUring => FdKind::IoUring,
        Kind::Memfd => FdKind::Memfd,
        Kind::Pidfd => FdKind::Pidfd,
        _ => FdKind::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn this_process_is_described() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"x").expect("room");

        let host = host(Path::new("/"));
        let pid = i64::from(std::process::id());
        let me = host.processes.iter().find(|p| p.tid == pid).expect("this process");
        assert_eq!(me.cwd, std::env::current_dir().expect("a directory").as_os_str().as_bytes());
        assert_eq!(me.exepath, std::env::current_exe().expect("a program").as_os_str().as_bytes());
        assert_eq!(me.ptid, i64::from(std::os::unix::process::parent_id()));
        assert_eq!(me.uid, nix::unistd::geteuid().as_raw());
        assert!(me.exe_ino != 0 && me.comm.len() <= 15 && me.fdlimit > 0);
        assert!(host.processes.iter().any(|p| p.pid == pid && p.tid != pid && p.flags == THREAD_FLAGS));

        let fds = &host.fds.iter().find(|(owner, _)| *owner == pid).expect("descriptors").1;
        let fd = |raw: i32| fds.iter().find(|fd| fd.fd == i64::from(raw)).expect("a descriptor");
        let open = fd(file.as_raw_fd());
        assert_eq!((open.kind, &*open.name), (FdKind::File, file.path().as_os_str().as_bytes()));
        assert_eq!(open.open_flags & 3, 3, "for reading and writing");
        let address = |a: std::io::Result<std::net::SocketAddr>| a.map(|a| (a.ip(), a.port())).ok();
        let connected = fd(client.as_raw_fd());
        assert_eq!((connected.kind, connected.source), (FdKind::Ipv4, address(client.local_addr())));
        assert_eq!(connected.destination, address(client.peer_addr()));
        let listening = fd(listener.as_raw_fd());
        assert_eq!((listening.kind, listening.source), (FdKind::Ipv4Server, address(listener.local_addr())));
        assert!(host.machine.is_some_and(|m| m.cpus > 0 && m.memory > 0 && m.boot_time > 0 && m.max_pid > 0));
        assert!(host.interfaces.iter().any(|i| i.name == b"lo"));
        assert!(host.users.iter().any(|u| u.uid == 0 && u.name == b"root"));
    }

    #[test]
    fn lines_of_users_and_groups() {
        let root = user(b"root:x:0:0:root:/root:/bin/bash").expect("a user");
        assert_eq!((root.uid, &*root.home, &*root.shell), (0, &b"/root"[..], &b"/bin/bash"[..]));
        assert!(user(b"+nis").is_none() && user(b"").is_none());
        assert_eq!(group(b"adm:x:4:syslog").map(|g| (g.gid, g.name)), Some((4, b"adm".to_vec())));
    }
}
