//! What an event's descriptor is, wherever that is known from.

use crate::event::arena_text::ArenaText;
use std::net::IpAddr;

/// What kind of thing a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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

    /// `fd.typechar`
    pub const fn letter(self) -> &'static str {
        self.names().1
    }

    pub const fn type_name(self) -> Option<&'static str> {
        self.names().0
    }

    /// `fd.type` and `fd.types`, where what has no type has a text all the same.
    pub const fn type_text(self) -> &'static str {
        match self.names().0 {
            Some(name) => name,
            None => "<NA>",
        }
    }

    pub const fn is_ip(self) -> bool {
        matches!(self, Kind::Ipv4 | Kind::Ipv6)
    }

    /// The category of input and output on it.
    pub const fn category(self) -> &'static str {
        match self {
            Kind::File | Kind::Directory => "file",
            Kind::Ipv4 | Kind::Ipv6 => "net",
            Kind::Unix | Kind::Pipe | Kind::Event | Kind::Signalfd | Kind::Inotify | Kind::Userfaultfd => "ipc",
            _ => "unknown",
        }
    }

    /// What a link of /proc/PID/fd says it is.
    pub fn of_link(link: &[u8]) -> Kind {
        match link {
            [b'/', ..] if link.starts_with(b"/memfd:") => Kind::Memfd,
            [b'/', ..] => Kind::File,
            _ if link.starts_with(b"pipe:") => Kind::Pipe,
            _ => Kind::of_anonymous(link),
        }
    }

    /// What the name of an anonymous file says it is.
    pub fn of_anonymous(name: &[u8]) -> Kind {
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

/// A descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor<'a> {
    pub number: i32,
    pub kind: Kind,
    /// Path of a file, without what the kernel adds to unlinked ones; what else has a name.
    pub path: &'a [u8],
    /// The path as the program gave it, where that is known.
    pub given: &'a [u8],
    /// `new_encode_dev`.
    pub dev: u32,
    pub ino: u64,
    /// In which layer of an overlay the file lies.
    pub upper_layer: bool,
    pub lower_layer: bool,
    pub socket: Option<Socket<'a>>,
}

/// Both ends of a socket, as the socket knows them.
#[derive(Clone, Copy, Debug)]
pub struct Socket<'a> {
    /// `AF_*`
    pub family: i32,
    /// `tcp`, `udp`, `icmp`, `raw`
    pub l4: Option<&'static str>,
    pub local: Option<Address>,
    pub remote: Option<Address>,
    /// The other end made the connection.
    pub server: bool,
    pub listening: bool,
    pub connected: bool,
    /// Names of a unix socket.
    pub local_name: &'a [u8],
    pub remote_name: &'a [u8],
    /// What tells the ends of a unix socket.
    pub ino: u64,
    pub peer_ino: u64,
}

/// Address and port.
pub type Address = (IpAddr, u16);

/// Both ends of a socket, sorted.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub local: Option<Address>,
    pub remote: Option<Address>,
    /// The other end made the connection.
    pub server: bool,
}

impl Ends {
    /// Who asked.
    pub fn client(&self) -> Option<Address> {
        let remote = self.remote?;
        if self.server { Some(remote) } else { self.local }
    }

    /// Who answers. Of a socket without another end this is where it listens.
    pub fn service(&self) -> Option<Address> {
        match self.remote {
            None => self.local,
            Some(_) if self.server => self.local,
            remote => remote,
        }
    }
}

impl<'a> Descriptor<'a> {
    /// A file with a name in a file system.
    pub const fn is_named_file(&self) -> bool {
        matches!(self.kind, Kind::File | Kind::Directory)
    }

    /// `fd.typechar`
    pub const fn type_char(&self) -> &'static str {
        self.kind.letter()
    }

    /// `fd.l4proto`
    pub fn l4(&self) -> Option<&'static str> {
        self.socket?.l4
    }

    /// The letter that texts put behind the type's.
    pub fn l4_char(&self) -> &'static str {
        self.l4().map_or("", |name| &name[..1])
    }

    /// Name of what is no socket.
    pub fn plain_name(&self) -> &'a [u8] {
        match self.kind {
            Kind::File | Kind::Directory => self.path,
            // Known by its process in captures only.
            Kind::Pidfd if self.path.first() == Some(&b'/') => self.path,
            Kind::Memfd => self.path.strip_prefix(b"/memfd:").unwrap_or(self.path),
            _ => b"",
        }
    }

    /// Name without knowledge of the event: for descriptors that are not the main one.
    pub fn push_name(&self, text: &mut ArenaText<'_>) {
        match &self.socket {
            Some(socket) => socket.push_name(socket.ends(), text),
            None => text.push(self.plain_name()),
        }
    }
}

impl Socket<'_> {
    /// Sorted by what the socket knows.
    pub fn ends(&self) -> Ends {
        let local = self.local.filter(|(ip, port)| *port != 0 || !ip.is_unspecified());
        Ends { local, remote: self.remote, server: self.server }
    }

    /// `CLIENT:PORT->SERVER:PORT`, `ADDRESS:PORT` where it listens, and for unix sockets `INODE->INODE PATH`.
    pub fn push_name(&self, ends: Ends, text: &mut ArenaText<'_>) {
        if self.family == libc::AF_UNIX {
            self.push_unix(text);
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

    /// `INODE->INODE PATH`
    pub fn push_unix(&self, text: &mut ArenaText<'_>) {
        if self.peer_ino != 0 {
            text.push_fmt(format_args!("{:x}->{:x} ", self.ino, self.peer_ino));
        }
        text.push(if self.remote_name.is_empty() { self.local_name } else { self.remote_name });
    }
}

/// `ADDRESS:PORT`
pub fn push_address(ip: IpAddr, port: u16, text: &mut ArenaText<'_>) {
    text.push_fmt(format_args!("{ip}:{port}"));
}

#[cfg(test)]
mod tests {
    use super::*;

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
