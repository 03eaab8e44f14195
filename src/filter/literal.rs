//! Typed literals: from the text in a condition to the value compared with.
//!
//! Invariant: what is accepted is what Falco's rules rely on, quirks included (decimal only, `-1` for unsigned types
//! wraps, 8 and 16 bit types truncate). No literal of a text contains a NUL.

use super::error::type_name;
use super::scheme::Scheme;
use crate::event::value::Type;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest text a literal may have, in bytes, where a value is stored.
pub const MAX_LITERAL: usize = 255;

/// How values of a type compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Unsigned,
    Signed,
    Float,
    Bool,
    Text,
    Bytes,
    Addr,
    Net,
    /// Only `exists`.
    Opaque,
}

pub fn group(ty: Type) -> Group {
    use Type::*;
    match ty {
        Int8 | Int16 | Int32 | Int64 | Errno | Fd | Pid => Group::Signed,
        Uint8 | Uint16 | Uint32 | Uint64 | SyscallId | SigType | RelTime | AbsTime | Port | Flags8 | Flags16
        | Flags32 | EnumFlags8 | EnumFlags16 | EnumFlags32 | Mode => Group::Unsigned,
        Double => Group::Float,
        Bool => Group::Bool,
        Charbuf | FsPath | FsRelPath => Group::Text,
        Bytebuf => Group::Bytes,
        Ipv4Addr | Ipv6Addr | IpAddr => Group::Addr,
        Ipv4Net | Ipv6Net | IpNet => Group::Net,
        SockAddr | SockTuple | FdList | L4Proto | SockFamily | Dyn | Uid | Gid | SigSet => Group::Opaque,
    }
}

/// An IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    base: IpAddr,
    bits: u8,
}

impl Net {
    pub fn parse(text: &str) -> Option<Net> {
        let (addr, bits) = text.split_once('/')?;
        let base: IpAddr = addr.parse().ok()?;
        if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        let fine = match base {
            IpAddr::V4(_) => bits <= 32,
            IpAddr::V6(_) => (1..=128).contains(&bits),
        };
        fine.then_some(Net { base, bits })
    }

    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// Length of the prefix.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    pub fn is_v4(&self) -> bool {
        self.base.is_ipv4()
    }

    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.base, addr) {
            (IpAddr::V4(base), IpAddr::V4(addr)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (u32::from(base) ^ u32::from(addr)) & mask == 0
            }
            (IpAddr::V6(base), IpAddr::V6(addr)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                (u128::from(base) ^ u128::from(addr)) & mask == 0
            }
            _ => false,
        }
    }
}

/// A parsed literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    U64(u64),
    I64(i64),
    F64(f64),
    Bool(bool),
    Bytes(Box<[u8]>),
    Addr(IpAddr),
    Net(Net),
}

/// Reads `text` as a value of type `ty`. The error is a sentence for the rule's author.
pub fn parse(ty: Type, text: &[u8], scheme: &dyn Scheme) -> Result<Literal, String> {
    let shown = String::from_utf8_lossy(text);
    // Data may hold any byte.
    if ty != Type::Bytebuf && text.contains(&0) {
        return Err(format!("filter value '{}' contains a NUL character", shown.escape_default()));
    }
    let number = || integer(text).ok_or_else(|| format!("'{shown}' is not a valid number"));
    let bad = |what: &str| Err(format!("'{shown}' is not a valid {what}"));
    match group(ty) {
        Group::Unsigned if ty == Type::Port => port(text, scheme)
            .map(|port| Literal::U64(u64::from(port)))
            .ok_or_else(|| format!("'{shown}' is neither a port number nor the name of a service")),
        Group::Unsigned => {
            let n = wrap(number()?);
            Ok(Literal::U64(match width(ty) {
                8 => u64::from(n as u8),
                16 => u64::from(n as u16),
                32 => u64::from(n as u32),
                _ => n,
            }))
        }
        Group::Signed => {
            let n = number()?.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            Ok(Literal::I64(match width(ty) {
                8 => i64::from(n as i8),
                16 => i64::from(n as i16),
                32 => i64::from(n as i32),
                _ => n,
            }))
        }
        Group::Float => Ok(Literal::F64(f64::from(number()?.clamp(-(1 << 31), (1 << 31) - 1) as i32))),
        Group::Bool => match text {
            b"true" => Ok(Literal::Bool(true)),
            b"false" => Ok(Literal::Bool(false)),
            _ => Err(format!("filter error: unrecognized boolean value '{shown}': write true or false")),
        },
        Group::Text | Group::Bytes => match text.len() {
            0..=MAX_LITERAL => Ok(Literal::Bytes(text.into())),
            n => Err(format!("filter value too long: {n} bytes, at most {MAX_LITERAL} are accepted")),
        },
        Group::Addr => {
            // A dot decides the family: an IPv4 address written as an IPv6 one is neither.
            let addr = if text.contains(&b'.') {
                shown.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
            } else {
                shown.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
            };
            match (ty, addr) {
                (Type::IpAddr, Some(addr))
                | (Type::Ipv4Addr, Some(addr @ IpAddr::V4(_)))
                | (Type::Ipv6Addr, Some(addr @ IpAddr::V6(_))) => Ok(Literal::Addr(addr)),
                _ => bad("IP address"),
            }
        }
        Group::Net => match (ty, Net::parse(&shown)) {
            (Type::IpNet, Some(net)) => Ok(Literal::Net(net)),
            (Type::Ipv4Net, Some(net)) if net.is_v4() => Ok(Literal::Net(net)),
            (Type::Ipv6Net, Some(net)) if !net.is_v4() => Ok(Literal::Net(net)),
            _ => bad("IP network (address/prefix)"),
        },
        Group::Opaque => Err(format!("values of type {} cannot be compared", type_name(ty))),
    }
}

/// A literal of hexadecimal digits, for `bcontains` and `bstartswith`.
pub fn parse_hex(text: &[u8]) -> Result<Box<[u8]>, String> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let bytes = text.chunks(2).map(|pair| match pair {
        [hi, lo] => Some(digit(*hi)? << 4 | digit(*lo)?),
        _ => None,
    });
    bytes.collect::<Option<Box<[u8]>>>().ok_or_else(|| {
        format!(
            "filter error: bcontains and bstartswith operator support hex strings only, not '{}'",
            String::from_utf8_lossy(text)
        )
    })
}

/// Decimal with an optional sign; what scanf would leave over is an error.
fn integer(text: &[u8]) -> Option<i128> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits.iter().fold(0i128, |n, d| n.saturating_mul(10).saturating_add(i128::from(d - b'0')));
    Some(if negative { -n } else { n })
}

/// Negative numbers wrap around, too large ones stick to the largest.
fn wrap(n: i128) -> u64 {
    if n < 0 { n.max(i128::from(i64::MIN)) as i64 as u64 } else { n.min(i128::from(u64::MAX)) as u64 }
}

fn width(ty: Type) -> u8 {
    use Type::*;
    match ty {
        Int8 | Uint8 | Flags8 | EnumFlags8 | SigType => 8,
        Int16 | Uint16 | Flags16 | EnumFlags16 | SyscallId => 16,
        Int32 | Uint32 | Flags32 | EnumFlags32 | Mode => 32,
        _ => 64,
    }
}

fn port(text: &[u8], scheme: &dyn Scheme) -> Option<u16> {
    if text.is_empty() {
        return Some(0);
    }
    match integer(text) {
        Some(n) => Some(wrap(n) as u16),
        None => scheme.service_port(std::str::from_utf8(text).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_decimal_only() {
        assert_eq!(integer(b"-12"), Some(-12));
        for bad in [&b""[..], b"0x10", b"1.5", b"1e+3", b"-", b"1 "] {
            assert_eq!(integer(bad), None);
        }
        assert_eq!(wrap(-1), u64::MAX);
        assert_eq!(wrap(1 << 70), u64::MAX);
    }

    #[test]
    fn networks() {
        let net = Net::parse("10.0.0.0/8").unwrap();
        assert!(net.contains("10.255.1.1".parse().unwrap()));
        assert!(!net.contains("11.0.0.1".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        assert!(Net::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        let six = Net::parse("fe80::/10").unwrap();
        assert!(six.contains("fe80::1".parse().unwrap()) && !six.contains("::1".parse().unwrap()));
        for bad in ["10.0.0.0", "10.0.0.0/33", "::/0", "::/129", "a/8", "10.0.0.0/", "10.0.0.0/+8"] {
            assert!(Net::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn hex_strings() {
        assert_eq!(&parse_hex(b"4854").unwrap()[..], b"HT");
        assert!(parse_hex(b"123Z").is_err() && parse_hex(b"123").is_err());
    }
}
