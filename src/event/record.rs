//! Records of a ring, looked at in place.
//!
//! Input is whatever lies in shared memory: every length is checked before it is followed, nothing is copied, and no
//! bytes make this panic. A record that does not fit its own lengths is [`Broken`]; kinds of record and attachment
//! that are not known are passed over, so a newer module can add to them.

use crate::driver::abi::{
    self, fsn_att, fsn_event, fsn_exec, fsn_fd, fsn_relative, fsn_sock, fsn_task, view, view_many,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A task slot of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(pub u16);

/// A process image as the module names it: never reused while the module is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExecId(pub u64);

/// A record whose lengths do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} record of {len} bytes contradicts its own lengths")]
pub struct Broken {
    /// What the record says it is.
    pub kind: &'static str,
    /// Bytes of the whole record.
    pub len: usize,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A process image.
    Exec(ExecRecord<'a>),
    /// What a slot means from here on.
    Task(TaskRecord<'a>),
    /// Something that happened.
    Event(EventRecord<'a>),
    /// Everything sent before is forgotten.
    Reset,
    /// A kind this program does not know.
    Unknown(u16),
}

/// A process image: the struct and the texts behind it.
#[derive(Clone, Copy, Debug)]
pub struct ExecRecord<'a> {
    pub head: &'a fsn_exec,
    /// Kernel path of the executable.
    pub exe: &'a [u8],
    /// What was given to exec.
    pub filename: &'a [u8],
    /// argv, each text NUL-terminated.
    pub args: &'a [u8],
    /// Environment, each text NUL-terminated.
    pub env: &'a [u8],
    /// Whether its user may write to it, where that is known otherwise than from owner and mode.
    pub writable: Option<bool>,
}

/// A snapshot of a task.
#[derive(Clone, Copy, Debug)]
pub struct TaskRecord<'a> {
    pub head: &'a fsn_task,
    /// Ancestors, and the leaders of its session and group.
    pub relatives: &'a [fsn_relative],
    pub cwd: &'a [u8],
    pub root: &'a [u8],
    /// `controllers=path` texts, each NUL-terminated; the unified hierarchy is `=path`.
    pub cgroups: &'a [u8],
}

/// An event. Its attachments have been checked to lie inside the record.
#[derive(Clone, Copy, Debug)]
pub struct EventRecord<'a> {
    pub head: &'a fsn_event,
    attachments: &'a [u8],
    record: &'a [u8],
}

/// One value that no register holds.
#[derive(Clone, Copy, Debug)]
pub struct Attachment<'a> {
    pub head: &'a fsn_att,
    pub data: &'a [u8],
}

/// A descriptor as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub struct FdRecord<'a> {
    pub head: &'a fsn_fd,
    /// Path as the task's root sees it; empty for sockets.
    pub path: &'a [u8],
    pub socket: Option<SocketRecord<'a>>,
}

/// Both ends of a socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketRecord<'a> {
    pub head: &'a fsn_sock,
    /// Names of unix sockets; an abstract one starts with NUL.
    pub local_name: &'a [u8],
    pub remote_name: &'a [u8],
}

/// Looks at a whole record, which starts with its header and is as long as that says.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, Broken> {
    let broken = |kind| Broken { kind, len: bytes.len() };
    let header = view::<abi::fsn_record>(bytes).ok_or(broken("headless"))?;
    match u32::from(header.type_) {
        abi::FSN_REC_EXEC => exec(bytes).map(Record::Exec).ok_or(broken("exec")),
        abi::FSN_REC_TASK => task(bytes).map(Record::Task).ok_or(broken("task")),
        abi::FSN_REC_EVENT => event(bytes).map(Record::Event).ok_or(broken("event")),
        abi::FSN_REC_RESET => Ok(Record::Reset),
        _ => Ok(Record::Unknown(header.type_)),
    }
}

/// Cuts `len` bytes off the front of `rest`.
fn take<'a>(rest: &mut &'a [u8], len: u16) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(usize::from(len))?;
    *rest = tail;
    Some(head)
}

fn exec(bytes: &[u8]) -> Option<ExecRecord<'_>> {
    let head = view::<fsn_exec>(bytes)?;
    let mut rest = bytes.get(size_of::<fsn_exec>()..)?;
    let exe = take(&mut rest, head.exe_len)?;
    let filename = take(&mut rest, head.filename_len)?;
    let args = take(&mut rest, head.args_len)?;
    let env = take(&mut rest, head.env_len)?;
    Some(ExecRecord { head, exe, filename, args, env, writable: None })
}

fn task(bytes: &[u8]) -> Option<TaskRecord<'_>> {
    let head = view::<fsn_task>(bytes)?;
    let rest = bytes.get(size_of::<fsn_task>()..)?;
    let (relatives, mut rest) = view_many::<fsn_relative>(rest, usize::from(head.nrelatives))?;
    let cwd = take(&mut rest, head.cwd_len)?;
    let root = take(&mut rest, head.root_len)?;
    let cgroups = take(&mut rest, head.cgroups_len)?;
    Some(TaskRecord { head, relatives, cwd, root, cgroups })
}

fn event(bytes: &[u8]) -> Option<EventRecord<'_>> {
    let head = view::<fsn_event>(bytes)?;
    let attachments = bytes.get(size_of::<fsn_event>()..)?;
    let mut rest = attachments;
    for _ in 0..head.natts {
        next_attachment(&mut rest)?;
    }
    let used = attachments.len() - rest.len();
    Some(EventRecord { head, attachments: &attachments[..used], record: bytes })
}

fn next_attachment<'a>(rest: &mut &'a [u8]) -> Option<Attachment<'a>> {
    let head = view::<fsn_att>(rest)?;
    let body = rest.get(size_of::<fsn_att>()..)?;
    let data = body.get(..usize::try_from(head.len).ok()?)?;
    // The padding of the last one may be missing.
    let padded = data.len().next_multiple_of(8).min(body.len());
    *rest = &body[padded..];
    Some(Attachment { head, data })
}

impl<'a> EventRecord<'a> {
    /// The whole record, as it lies in the ring.
    pub const fn bytes(&self) -> &'a [u8] {
        self.record
    }

    /// The attachments in the order the module wrote them.
    pub fn attachments(&self) -> impl Iterator<Item = Attachment<'a>> + use<'a> {
        let mut rest = self.attachments;
        std::iter::from_fn(move || next_attachment(&mut rest))
    }

    /// The first attachment of a parameter, or None.
    pub fn attachment(&self, param: u8) -> Option<Attachment<'a>> {
        self.attachments().find(|a| a.head.param == param)
    }

    /// The attachment of a parameter that has a kind (`FSN_ATT_*`), or None.
    pub fn attachment_of(&self, param: u8, kind: u32) -> Option<Attachment<'a>> {
        self.attachments().find(|a| a.head.param == param && u32::from(a.head.kind) == kind)
    }

    /// The descriptor attached to a parameter, or None.
    pub fn fd(&self, param: u8) -> Option<FdRecord<'a>> {
        self.attachment_of(param, abi::FSN_ATT_FD)?.fd()
    }
}

impl<'a> Attachment<'a> {
    /// The `index`-th number of a `FSN_ATT_U64`.
    pub fn number(&self, index: usize) -> Option<u64> {
        let bytes = self.data.get(index.checked_mul(8)?..)?.get(..8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// The numbers of a `FSN_ATT_U64`.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + use<'a> {
        let at = *self;
        (0..self.data.len() / 8).filter_map(move |i| at.number(i))
    }

    /// The descriptor of a `FSN_ATT_FD`, or None when it is none or does not fit its lengths.
    pub fn fd(&self) -> Option<FdRecord<'a>> {
        if u32::from(self.head.kind) != abi::FSN_ATT_FD {
            return None;
        }
        let head = view::<fsn_fd>(self.data)?;
        let name = self.data.get(size_of::<fsn_fd>()..)?.get(..usize::try_from(head.name_len).ok()?)?;
        if head.flags & abi::FSN_FD_SOCKET != 0 {
            Some(FdRecord { head, path: &[], socket: Some(socket(name)?) })
        } else {
            Some(FdRecord { head, path: name, socket: None })
        }
    }

    /// The address of a `FSN_ATT_SOCKADDR`, or None when it is of another family or cut.
    pub fn address(&self) -> Option<Address<'a>> {
        if u32::from(self.head.kind) != abi::FSN_ATT_SOCKADDR {
            return None;
        }
        let family = u16::from_ne_bytes(self.data.get(..2)?.try_into().ok()?);
        let port = || Some(u16::from_be_bytes(self.data.get(2..4)?.try_into().ok()?));
        match i32::from(family) {
            libc::AF_INET => {
                let octets: [u8; 4] = self.data.get(4..8)?.try_into().ok()?;
                Some(Address::Ip(Ipv4Addr::from(octets).into(), port()?))
            }
            libc::AF_INET6 => {
                let octets: [u8; 16] = self.data.get(8..24)?.try_into().ok()?;
                Some(Address::Ip(plain(Ipv6Addr::from(octets).into()), port()?))
            }
            libc::AF_UNIX => Some(Address::Unix(unix_name(&self.data[2..]))),
            _ => None,
        }
    }
}

/// An address given to or taken from a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    Ip(IpAddr, u16),
    Unix(&'a [u8]),
}

/// An IPv4 address in IPv6 clothes is an IPv4 address.
fn plain(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// The name of a unix socket: up to the first NUL, without the one an abstract name starts with.
fn unix_name(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b"\0").unwrap_or(name);
    &name[..memchr::memchr(0, name).unwrap_or(name.len())]
}

fn socket(bytes: &[u8]) -> Option<SocketRecord<'_>> {
    let head = view::<fsn_sock>(bytes)?;
    let mut rest = bytes.get(size_of::<fsn_sock>()..)?;
    let local_name = unix_name(take(&mut rest, head.lname_len)?);
    let remote_name = unix_name(take(&mut rest, head.rname_len)?);
    Some(SocketRecord { head, local_name, remote_name })
}

impl SocketRecord<'_> {
    /// Address and port of this end; None when it is no IP socket.
    pub fn local(&self) -> Option<(IpAddr, u16)> {
        Some((self.ip(&self.head.laddr)?, self.head.lport))
    }

    /// Address and port of the other end; None when it is no IP socket or has no other end.
    pub fn remote(&self) -> Option<(IpAddr, u16)> {
        let addr = self.ip(&self.head.raddr)?;
        (self.head.rport != 0 || !addr.is_unspecified()).then_some((addr, self.head.rport))
    }

    fn ip(&self, addr: &[u8; 16]) -> Option<IpAddr> {
        match i32::from(self.head.family) {
            libc::AF_INET => Some(Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3]).into()),
            libc::AF_INET6 => Some(plain(Ipv6Addr::from(*addr).into())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes at an address that is a multiple of 8, as in a ring.
    fn aligned(bytes: &[u8]) -> Vec<u64> {
        bytes
            .chunks(8)
            .map(|c| {
                let mut word = [0; 8];
                word[..c.len()].copy_from_slice(c);
                u64::from_ne_bytes(word)
            })
            .collect()
    }

    fn touch(record: Record<'_>) {
        match record {
            Record::Event(e) => {
                for a in e.attachments() {
                    if let Some(socket) = a.fd().and_then(|fd| fd.socket) {
                        let _ = (socket.local(), socket.remote());
                    }
                    let _ = (a.address(), a.numbers().count(), a.number(usize::MAX));
                }
                for param in 0..=u8::MAX {
                    let _ = e.fd(param);
                }
            }
            Record::Task(t) => assert!(t.relatives.len() <= usize::from(t.head.nrelatives)),
            Record::Exec(_) | Record::Reset | Record::Unknown(_) => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_make_it_panic(kind in 0u16..6, body in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(body);
            let words = aligned(&bytes);
            // SAFETY: u64 has no padding and u8 any alignment.
            let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), words.len() * 8) };
            for end in [0, 4, 8, 16, bytes.len() / 2, bytes.len()] {
                if let Ok(record) = decode(&bytes[..end.min(bytes.len())]) {
                    touch(record);
                }
            }
        }

        // Small numbers in every length field get further than random ones.
        #[test]
        fn small_lengths_make_it_no_panic(kind in 1u16..4, body in prop::collection::vec(0u8..9, 80..400)) {
            let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(body);
            let words = aligned(&bytes);
            // SAFETY: u64 has no padding and u8 any alignment.
            let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), words.len() * 8) };
            if let Ok(record) = decode(bytes) {
                touch(record);
            }
        }
    }

    #[test]
    fn unix_names_end_at_nul() {
        assert_eq!(unix_name(b"/run/x\0rest"), b"/run/x");
        assert_eq!(unix_name(b"\0abstract"), b"abstract");
        assert_eq!(unix_name(b""), b"");
    }
}
