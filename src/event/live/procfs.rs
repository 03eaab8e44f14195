//! Fields that no record carries, read from /proc when a rule asks for them.
//!
//! The exception to "no system call on the path of an event": these are about the process now, not when the event
//! happened, and missing when it is gone. Rules that do not name them pay nothing.

use crate::event::arena_text::ArenaText;
use crate::event::view::Kind;
use bumpalo::Bump;
use smallvec::SmallVec;
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

/// Path of a file of a process, on the stack.
struct ProcPath(SmallVec<[u8; 64]>);

impl ProcPath {
    fn new(pid: i32, file: std::fmt::Arguments<'_>) -> ProcPath {
        let mut path = ProcPath(SmallVec::new());
        let _ = write!(path, "/proc/{pid}/{file}");
        path
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Write for ProcPath {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}

/// The beginning of a file of a process.
fn read(pid: i32, file: &str, buffer: &mut [u8; 4096]) -> Option<usize> {
    let mut from = fs::File::open(ProcPath::new(pid, format_args!("{file}")).as_str()).ok()?;
    from.read(buffer).ok()
}

/// A number of /proc/PID/status, by the name its line starts with.
pub(super) fn status(pid: i32, name: &str) -> Option<u64> {
    let mut buffer = [0; 4096];
    let len = read(pid, "status", &mut buffer)?;
    let line = buffer[..len].split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    std::str::from_utf8(line).ok()?.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

/// A number of /proc/PID/stat, by its place counted from 1 as in proc(5).
pub(super) fn stat(pid: i32, place: usize) -> Option<u64> {
    let mut buffer = [0; 4096];
    let len = read(pid, "stat", &mut buffer)?;
    // The name, second, may hold blanks and parentheses.
    let after_name = memchr::memrchr(b')', &buffer[..len])? + 1;
    std::str::from_utf8(&buffer[after_name..len]).ok()?.split_whitespace().nth(place.checked_sub(3)?)?.parse().ok()
}

/// The name of a thread.
pub(super) fn name(tid: i32, arena: &Bump) -> Option<&[u8]> {
    let mut buffer = [0; 4096];
    let len = read(tid, "comm", &mut buffer)?;
    Some(arena.alloc_slice_copy(buffer[..len].strip_suffix(b"\n")?))
}

/// Number of open descriptors.
pub(super) fn count_fds(pid: i32) -> Option<u64> {
    Some(fs::read_dir(ProcPath::new(pid, format_args!("fd")).as_str()).ok()?.count() as u64)
}

fn link_of_fd(pid: i32, fd: i64) -> Option<std::path::PathBuf> {
    fs::read_link(ProcPath::new(pid, format_args!("fd/{fd}")).as_str()).ok()
}

/// The kind of a socket, by the name of its protocol: what the kernel tells of it to others than its owner. That an IPv4 connection was
/// made by an IPv6 socket it does not tell.
fn kind_of_socket(path: &ProcPath) -> Option<Kind> {
    let mut path = path.0.clone();
    path.push(0);
    let mut name = [0u8; 32];
    // SAFETY: both texts end in NUL; at most as many bytes are written as the buffer has.
    let len = unsafe {
        libc::getxattr(path.as_ptr().cast(), c"system.sockprotoname".as_ptr(), name.as_mut_ptr().cast(), name.len())
    };
    let name = name.get(..usize::try_from(len).ok()?)?;
    Some(match name.strip_suffix(b"\0").unwrap_or(name) {
        b"TCP" | b"UDP" | b"UDP-Lite" | b"RAW" | b"PING" | b"SCTP" | b"MPTCP" | b"DCCP" => Kind::Ipv4,
        name if name.starts_with(b"UNIX") => Kind::Unix,
        b"NETLINK" => Kind::Netlink,
        name if name.ends_with(b"v6") => Kind::Ipv6,
        _ => Kind::Other,
    })
}

/// What kind of thing a descriptor is.
pub(super) fn kind_of_fd(pid: i32, fd: i64) -> Option<Kind> {
    let path = ProcPath::new(pid, format_args!("fd/{fd}"));
    let link = fs::read_link(path.as_str()).ok()?;
    let link = link.as_os_str().as_bytes();
    if link.starts_with(b"socket:") {
        return Some(kind_of_socket(&path).unwrap_or(Kind::Other));
    }
    let kind = Kind::of_link(link);
    let is_directory = kind == Kind::File && fs::metadata(path.as_str()).is_ok_and(|m| m.is_dir());
    Some(if is_directory { Kind::Directory } else { kind })
}

/// The distinct types of the descriptors of a process.
pub(super) fn kinds_of_fds(pid: i32) -> Option<SmallVec<[&'static str; 8]>> {
    let mut names: SmallVec<[&'static str; 8]> = SmallVec::new();
    for entry in fs::read_dir(ProcPath::new(pid, format_args!("fd")).as_str()).ok()?.flatten().take(4096) {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some(name) = kind_of_fd(pid, fd).map(Kind::type_text) else { continue };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

/// The name of a descriptor; empty for one without a path.
pub(super) fn name_of_fd(pid: i32, fd: i64, arena: &Bump) -> Option<&[u8]> {
    let link = link_of_fd(pid, fd)?;
    let link = link.as_os_str().as_bytes();
    let mut text = ArenaText::with_capacity(link.len(), arena);
    if link.first() == Some(&b'/') {
        text.push(link);
    }
    Some(text.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let pid = std::process::id() as i32;
        assert!(status(pid, "VmRSS").is_some_and(|kb| kb > 0));
        assert!(status(pid, "Threads").is_some_and(|n| n > 0));
        assert_eq!(status(pid, "Nothing"), None);
        assert!(stat(pid, 10).is_some());
        let own = fs::read("/proc/self/comm").expect("comm");
        assert_eq!(name(pid, &Bump::new()), own.strip_suffix(b"\n"));
        assert_eq!(name(-1, &Bump::new()), None);
        let file = fs::File::open("/").expect("open");
        let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(kind_of_fd(pid, fd), Some(Kind::Directory));
        let _socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let _other = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let kinds = kinds_of_fds(pid).expect("this process");
        assert!(["directory", "unix", "ipv4"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        for (family, kind) in [(AddressFamily::Inet6, Kind::Ipv6), (AddressFamily::Netlink, Kind::Netlink)] {
            // A machine may have been started without IPv6.
            if let Ok(socket) = socket(family, SockType::Datagram, SockFlag::empty(), None) {
                let fd = i64::from(std::os::fd::AsRawFd::as_raw_fd(&socket));
                assert_eq!(kind_of_fd(pid, fd), Some(kind));
            }
        }
        assert!(count_fds(pid).is_some_and(|n| n > 0));
        let arena = Bump::new();
        assert_eq!(name_of_fd(pid, fd, &arena), Some(b"/".as_slice()));
        assert_eq!(kind_of_fd(pid, 1_000_000), None);
        assert_eq!(status(-1, "VmRSS"), None);
    }
}
