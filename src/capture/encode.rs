//! An event of any source in the parameters of the format: what a recording of live events is made of.
//!
//! Not the file. Invariant: an event that is encoded and read again answers its parameters as it did before; what the source does
//! not know is written as the original drivers write it (zeros for a number, nothing for the rest).

use super::event::EventBuf;
use crate::event::params::Param;
use crate::event::record::Address;
use crate::event::value::Type;
use crate::event::view::{Arg, Payload, Tuple, View};
use std::net::IpAddr;

/// Real types of a parameter whose type the call decides, by the parameter's class.
mod dynamic {
    pub const SOCKET_OPTION: &str = "sockopt_dynamic_param";
    pub const BYTES: u8 = 0;
    pub const ERRNO: u8 = 1;
    pub const UINT32: u8 = 2;

    pub const PTRACE: &str = "ptrace_dynamic_param";
    pub const UINT64: u8 = 0;
    pub const SIGNAL: u8 = 1;
}

/// Makes `out` the event; `cpu` is where it happened. False for an event without a schema: then `out` is not one.
pub fn encode<P: Payload>(event: &View<'_, P>, cpu: u16, out: &mut EventBuf) -> bool {
    let Some(def) = event.def() else { return false };
    let tid = event.task().map_or(-1, |task| i64::from(task.head.tid));
    out.restart(event.code(), event.time(), tid, cpu);
    for (index, param) in (0u8..).zip(def.params.iter()) {
        match P::arg(event, index, param) {
            Some(value) => out.push_with(|data| push(value, param, data)),
            // A number is there whatever the call did: readers take it for granted.
            None => out.push(&[0; 8][..usize::from(param.width)]),
        }
    }
    true
}

fn push(value: Arg<'_>, param: &Param, data: &mut Vec<u8>) {
    let option = param.class_name == dynamic::SOCKET_OPTION;
    match value {
        Arg::Number(number) if param.ty == Type::Dyn && option => {
            data.push(dynamic::UINT32);
            data.extend_from_slice(&(number as u32).to_ne_bytes());
        }
        Arg::Number(number) if param.ty == Type::Dyn => {
            data.push(dynamic::UINT64);
            data.extend_from_slice(&number.to_ne_bytes());
        }
        Arg::Number(number) => data.extend_from_slice(&number.to_le_bytes()[..usize::from(param.width)]),
        Arg::Text(text) => push_text(text, data),
        Arg::Bytes(bytes) => {
            if param.ty == Type::Dyn {
                data.push(dynamic::BYTES);
            }
            data.extend_from_slice(bytes);
        }
        // Errors are negative.
        Arg::Errno(number) => {
            data.push(dynamic::ERRNO);
            data.extend_from_slice(&number.wrapping_neg().to_ne_bytes());
        }
        Arg::Signal(number) => {
            debug_assert_eq!(param.class_name, dynamic::PTRACE);
            data.push(dynamic::SIGNAL);
            data.push(number as u8);
        }
        Arg::Address(Address::Ip(ip, port)) => {
            data.push(family(ip));
            push_ip(ip, data);
            data.extend_from_slice(&port.to_ne_bytes());
        }
        Arg::Address(Address::Unix(path)) => {
            data.push(libc::AF_UNIX as u8);
            push_text(path, data);
        }
        Arg::Tuple(None) => {}
        Arg::Tuple(Some(Tuple::Ip { from, to })) => {
            // Both ends are of one family: an IPv4 one beside an IPv6 one is written as that.
            let v4 = from.0.is_ipv4() && to.0.is_ipv4();
            data.push(if v4 { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 });
            for (ip, port) in [from, to] {
                match ip {
                    IpAddr::V4(ip) if !v4 => data.extend_from_slice(&ip.to_ipv6_mapped().octets()),
                    ip => push_ip(ip, data),
                }
                data.extend_from_slice(&port.to_ne_bytes());
            }
        }
        Arg::Tuple(Some(Tuple::Unix { from, to, name })) => {
            data.push(libc::AF_UNIX as u8);
            data.extend_from_slice(&from.to_ne_bytes());
            data.extend_from_slice(&to.to_ne_bytes());
            push_text(name, data);
        }
        Arg::FdList(list) => {
            let start = data.len();
            data.extend_from_slice(&[0; 2]);
            let mut count = 0u16;
            for (fd, events) in list.entries() {
                count += 1;
                data.extend_from_slice(&fd.to_ne_bytes());
                data.extend_from_slice(&events.to_ne_bytes());
            }
            data[start..start + 2].copy_from_slice(&count.to_ne_bytes());
        }
    }
}

const fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn push_ip(ip: IpAddr, data: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => data.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => data.extend_from_slice(&ip.octets()),
    }
}

/// Texts end with a NUL: one inside ends them early.
fn push_text(text: &[u8], data: &mut Vec<u8>) {
    data.extend_from_slice(&text[..memchr::memchr(0, text).unwrap_or(text.len())]);
    data.push(0);
}
