//! Sockets of a network namespace by their inode, from /proc/PID/net. A namespace is read once, for the first process that has a
//! socket in it.

use super::super::inspector::fd::{ICMP, RAW, TCP, UDP};
use super::super::meta::{Address, FdEntry, FdKind};
use super::{lines, number};
use hashbrown::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is known of a namespace's sockets.
#[derive(Default)]
pub(super) struct Sockets {
    namespaces: HashMap<u64, HashMap<u64, FdEntry>>,
}

/// Files, and what is in them.
const INET: [(&str, u8); 8] = [
    ("tcp", TCP),
    ("tcp6", TCP),
    ("udp", UDP),
    ("udp6", UDP),
    ("icmp", ICMP),
    ("icmp6", ICMP),
    ("raw", RAW),
    ("raw6", RAW),
];

/// State of a socket that listens, as these files have it.
const LISTEN: &[u8] = b"0A";

impl Sockets {
    /// A socket of a process, from the process's folder.
    pub fn find(&mut self, folder: &Path, ino: u64) -> FdEntry {
        let namespace = std::fs::metadata(folder.join("ns/net")).map_or(0, |meta| meta.ino());
        let known = self.namespaces.entry(namespace).or_insert_with(|| read(&folder.join("net")));
        let unknown = FdEntry { kind: FdKind::Unsupported, ..FdEntry::default() };
        known.get(&ino).cloned().unwrap_or(unknown)
    }
}

fn read(net: &Path) -> HashMap<u64, FdEntry> {
    let mut all = HashMap::new();
    for (file, l4) in INET {
        all.extend(lines(&net.join(file)).iter().skip(1).filter_map(|line| inet(line, l4)));
    }
    all.extend(lines(&net.join("unix")).iter().skip(1).filter_map(|line| unix(line)));
    all.extend(lines(&net.join("netlink")).iter().skip(1).filter_map(|line| {
        let ino = number(line.split(|b| *b == b' ').rfind(|word| !word.is_empty())?)?;
        Some((ino, FdEntry { kind: FdKind::Netlink, ..FdEntry::default() }))
    }));
    all
}

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| *b == b' ').filter(|word| !word.is_empty()).collect()
}

/// `sl local remote st tx:rx tr:tm retr uid timeout inode ...`
fn inet(line: &[u8], l4: u8) -> Option<(u64, FdEntry)> {
    let words = words(line);
    let (local, remote, state) = (address(words.get(1)?)?, address(words.get(2)?)?, words.get(3)?);
    let ino = number(words.get(9)?)?;
    // An IPv4 connection of an IPv6 socket is one.
    let v4 = if remote.1 == 0 { local.0.is_ipv4() } else { remote.0.is_ipv4() };
    let listens = *state == LISTEN || (remote.1 == 0 && local.1 != 0);
    let entry = FdEntry {
        kind: match (v4, listens) {
            (true, true) => FdKind::Ipv4Server,
            (true, false) => FdKind::Ipv4,
            (false, true) => FdKind::Ipv6Server,
            (false, false) => FdKind::Ipv6,
        },
        source: Some(local),
        destination: if listens { None } else { Some(remote) },
        l4,
        ..FdEntry::default()
    };
    Some((ino, entry))
}

/// `0100007F:1F90`: the address in words of the machine's byte order, the port as a number.
fn address(text: &[u8]) -> Option<Address> {
    let (ip, port) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(8 * at..8 * at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn unix(line: &[u8]) -> Option<(u64, FdEntry)> {
    let words = words(line);
    let own = words.first()?.strip_suffix(b":")?;
    let own = u64::from_str_radix(std::str::from_utf8(own).ok()?, 16).ok()?;
    let name = words.get(7).copied().unwrap_or_default().to_vec();
    let entry = FdEntry { kind: FdKind::Unix, unix: (own, 0), name, ..FdEntry::default() };
    Some((number(words.get(6)?)?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sockets() {
        let line =
            b"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5678 1 x";
        let (ino, listening) = inet(line, TCP).expect("a socket");
        assert_eq!((ino, listening.kind), (5678, FdKind::Ipv4Server));
        assert_eq!(listening.source, Some((Ipv4Addr::LOCALHOST.into(), 8080)));
        let line =
            b" 1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:C350 01 0:0 0:0 0 0 0 9 1";
        let (_, mapped) = inet(line, TCP).expect("a socket");
        assert_eq!((mapped.kind, mapped.destination), (FdKind::Ipv4, Some((Ipv4Addr::LOCALHOST.into(), 50000))));
        let (ino, named) = unix(b"000000001a2b: 00000002 00000000 00010000 0001 01 4711 /run/x").expect("a socket");
        assert_eq!((ino, &*named.name, named.unix.0), (4711, &b"/run/x"[..], 0x1a2b));
        assert!(inet(b"", TCP).is_none() && unix(b"").is_none() && address(b"00:1").is_none());
    }
}
