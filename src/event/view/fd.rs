//! Fields of the descriptor an event is about: fd.*.

use super::descriptor::{Address, Kind};
use super::{Payload, View, answer};
use crate::driver::abi;
use crate::enrich::users::UNKNOWN;
use crate::event::arena_text::{ArenaText, decimal};
use crate::event::params::Family;
use crate::event::path;
use crate::event::types::Category;
use crate::event::value::{FieldArg, Value};
use bumpalo::Bump;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl<P: Payload> View<'_, P> {
    /// The event is about a descriptor, known or not. A command that returns one may be about another.
    fn has_fd(&self) -> bool {
        self.def.is_some_and(|def| def.main_fd.is_some())
    }

    /// The type letter: of the descriptor, or of what a failed call would have made.
    fn type_char(&self) -> &'static str {
        let made_none = self.payload.ret() < 0 && self.def.is_some_and(|def| def.name == "memfd_create");
        if let Some(fd) = self.descriptor().filter(|_| !made_none) {
            return fd.type_char();
        }
        let Some(def) = self.def else { return "o" };
        match def.name {
            "open" if self.is_unread() => "o",
            "open" | "openat" | "openat2" => "f",
            "creat" => "f",
            "accept" | "accept4" => "4",
            "socket" => match self.number_of_param(1).unwrap_or(0) as i32 {
                // No family is taken for the first.
                libc::AF_UNSPEC | libc::AF_INET => "4",
                libc::AF_INET6 => "6",
                libc::AF_UNIX => "u",
                libc::AF_NETLINK => "n",
                _ => "o",
            },
            "pipe" | "pipe2" => "p",
            "socketpair" => "u",
            "signalfd" | "signalfd4" => "s",
            "timerfd_create" => "t",
            "eventfd" | "eventfd2" => "e",
            "inotify_init" | "inotify_init1" => "i",
            "memfd_create" => "?",
            _ => "o",
        }
    }

    /// What was to be opened could not be read.
    fn is_unread(&self) -> bool {
        matches!(self.family(), Family::Open | Family::Creat)
            && self.descriptor().is_none()
            && self.def.and_then(|def| self.text_of_param(def.main_path?)).is_none_or(|given| given == UNKNOWN)
    }

    /// The same below a directory of its own, of which nothing is told.
    fn is_unread_below(&self) -> bool {
        const DIRFD: u8 = 1;
        self.def.is_some_and(|def| matches!(def.name, "openat" | "openat2"))
            && self.number_of_param(DIRFD).is_some_and(|fd| fd as i32 != libc::AT_FDCWD)
            && self.is_unread()
    }

    /// The number of the descriptor; -1 for one that was not made.
    fn fd_number(&self) -> Option<i64> {
        let def = self.def?;
        let number = P::fd_number(self)?;
        let made = def.has(abi::FSN_P_CREATES_FD);
        Some(if made && number < 0 && def.name != "memfd_create" { -1 } else { number })
    }

    /// The category an input or output event reports.
    pub(super) fn io_category(&self, category: Category) -> &'static str {
        if category.is_io() { self.descriptor().map_or("unknown", |fd| fd.kind.category()) } else { category.name() }
    }

    fn port_text<'a>(&self, port: Option<u16>, arena: &'a Bump) -> Option<Value<'a>> {
        self.ends()?;
        Some(Value::Str(port.map_or(b"", |port| decimal(port, arena))))
    }
}
fn ip(end: Option<(IpAddr, u16)>) -> Option<Value<'static>> {
    end.map(|(ip, _)| Value::Ip(ip))
}

fn port(end: Option<(IpAddr, u16)>) -> Option<Value<'static>> {
    end.map(|(_, port)| Value::U64(u64::from(port)))
}

/// Both ends' values, those of a socket without an address being unspecified; of a listening socket only its own, of what is
/// no socket none. Missing without a descriptor.
fn both<'a, P: Payload>(
    ev: &View<'_, P>,
    of: fn(Option<Address>) -> Option<Value<'static>>,
    arena: &'a Bump,
) -> Option<Value<'a>> {
    let fd = ev.descriptor()?;
    let unspecified = match fd.kind {
        Kind::Ipv4 => (Ipv4Addr::UNSPECIFIED.into(), 0),
        Kind::Ipv6 => (Ipv6Addr::UNSPECIFIED.into(), 0),
        _ => return Some(Value::List(&[])),
    };
    let ends = ev.ends();
    let values: smallvec::SmallVec<[Value<'static>; 2]> = match ends {
        Some(ends) if ends.remote.is_none() => of(ends.service()).into_iter().collect(),
        _ => {
            let sides = [ends.and_then(|e| e.client()), ends.and_then(|e| e.service())];
            sides.into_iter().filter_map(|side| of(Some(side.unwrap_or(unspecified)))).collect()
        }
    };
    Some(Value::List(arena.alloc_slice_fill_iter(values)))
}

fn text(value: &str) -> Option<Value<'_>> {
    Some(Value::Str(value.as_bytes()))
}

fn prefixed<'a, P: Payload>(ev: &View<'_, P>, name: &[u8], arena: &'a Bump) -> Option<Value<'a>> {
    let mut out = ArenaText::with_capacity(16 + name.len(), arena);
    out.push(ev.task.and_then(|task| task.cgroups().container_id()).unwrap_or_default());
    out.push(b":");
    out.push(name);
    Some(Value::Str(out.finish()))
}

/// Directory of a file; `/` for a descriptor that is not known.
fn directory<'a, P: Payload>(ev: &'a View<'_, P>, arena: &'a Bump) -> Option<&'a [u8]> {
    match ev.descriptor() {
        None if ev.is_unread_below() => None,
        // A directory is its own.
        Some(fd) if fd.kind == Kind::Directory => Some(ev.fd_name(arena)),
        Some(fd) if fd.kind == Kind::File => Some(path::directory(ev.fd_name(arena))),
        Some(_) => None,
        None => Some(path::directory(ev.fd_name(arena))),
    }
}

const fn major(dev: u32) -> u32 {
    (dev & 0xf_ff00) >> 8
}

const fn minor(dev: u32) -> u32 {
    dev & 0xff | dev >> 12 & 0xf_ff00
}

/// A text of the process's descriptor table.
fn types<'a, P: Payload>(ev: &View<'_, P>, arg: &FieldArg, arena: &'a Bump) -> Option<Value<'a>> {
    match arg {
        // Of events about a descriptor only, as a list of one.
        FieldArg::Index(fd) => {
            let name = P::kind_of_fd(ev, i64::from(*fd)).filter(|_| ev.has_fd())?.type_text();
            Some(Value::List(arena.alloc_slice_copy(&[Value::Str(name.as_bytes())])))
        }
        _ => {
            let kinds = P::kinds_of_fds(ev).filter(|_| ev.has_fd())?;
            Some(Value::List(arena.alloc_slice_fill_iter(kinds.iter().map(|name| Value::Str(name.as_bytes())))))
        }
    }
}

answer! {
    /// fd.*; every field is missing for an event that is not about a descriptor.
    fn fields_of(ev, field, arena) {
        "fd.num" => ev.fd_number().map(Value::I64),
        "fd.type" => text(ev.descriptor()?.kind.type_text()),
        "fd.typechar" => text(ev.type_char()),
        "fd.name" => match ev.is_unread() {
            true if ev.is_unread_below() => None,
            true => Some(Value::Str(UNKNOWN)),
            false => Some(Value::Str(ev.fd_name(arena))),
        },
        "fd.directory" => directory(ev, arena).map(Value::Str),
        "fd.filename" => {
            let fd = ev.descriptor()?;
            (fd.kind == Kind::File).then(|| Value::Str(path::file_name(ev.fd_name(arena))))
        },
        "fd.nameraw" => (!ev.is_unread_below()).then_some(Value::Str(match (ev.def?.main_path, ev.descriptor()) {
            (Some(given), _) if ev.family() == Family::Open || ev.family() == Family::Creat => {
                path::single_slashes(ev.text_of_param(given)?, arena)
            }
            (_, Some(fd)) => fd.given,
            // The text of the tuple that is not there.
            _ if matches!(ev.family(), Family::Accept | Family::Connect) => b"NULL",
            _ => b"",
        })),
        "fd.ip" | "fd.net" => both(ev, ip, arena),
        "fd.port" | "fd.proto" => both(ev, port, arena),
        "fd.cip" | "fd.cnet" | "fd.cip.name" => ip(ev.ends()?.client()),
        "fd.sip" | "fd.snet" | "fd.sip.name" => ip(ev.ends()?.service()),
        "fd.lip" | "fd.lnet" | "fd.lip.name" => {
            let ends = ev.ends()?;
            ip(ends.local.filter(|_| ends.remote.is_some()))
        },
        "fd.rip" | "fd.rnet" | "fd.rip.name" => ip(ev.ends()?.remote),
        "fd.cport" => port(ev.ends()?.client()),
        "fd.sport" => port(ev.ends()?.service()),
        "fd.lport" => {
            let ends = ev.ends()?;
            port(ends.local.filter(|_| ends.remote.is_some()))
        },
        "fd.rport" => port(ev.ends()?.remote),
        "fd.cproto" => { let end = ev.ends()?.client(); ev.port_text(end.map(|e| e.1), arena) },
        "fd.sproto" => {
            let ends = ev.ends()?;
            ev.port_text(ends.service().filter(|_| ends.remote.is_some()).map(|e| e.1), arena)
        },
        "fd.lproto" => {
            let ends = ev.ends()?;
            ends.remote?;
            ev.port_text(ends.local.map(|e| e.1), arena)
        },
        "fd.rproto" => { let end = ev.ends()?.remote?; ev.port_text(Some(end.1), arena) },
        "fd.l4proto" => text(ev.descriptor()?.l4().unwrap_or("<NA>")),
        "fd.sockfamily" => match ev.descriptor()?.kind {
            kind if kind.is_ip() => text("ip"),
            Kind::Unix => text("unix"),
            _ => None,
        },
        "fd.is_server" => { ev.descriptor()?; Some(Value::Bool(P::is_server(ev))) },
        "fd.connected" => { ev.descriptor()?; Some(Value::Bool(P::is_connected(ev))) },
        "fd.name_changed" => { ev.descriptor()?; Some(Value::Bool(P::name_changed(ev))) },
        "fd.uid" => {
            let mut out = ArenaText::new(arena);
            out.push_fmt(format_args!("{}{}", ev.task?.ids().tid, ev.fd_number()?));
            Some(Value::Str(out.finish()))
        },
        "fd.containername" => if ev.is_unread_below() { None } else { prefixed(ev, ev.fd_name(arena), arena) },
        "fd.containerdirectory" => prefixed(ev, directory(ev, arena)?, arena),
        "fd.dev" => Some(Value::I64(i64::from(ev.descriptor()?.dev))),
        "fd.dev.major" => Some(Value::I64(i64::from(major(ev.descriptor()?.dev)))),
        "fd.dev.minor" => Some(Value::I64(i64::from(minor(ev.descriptor()?.dev)))),
        "fd.ino" => Some(Value::I64(ev.descriptor()?.ino as i64)),
        "fd.types" => types(ev, &field.arg, arena),
        "fd.is_upper_layer" => Some(Value::Bool(ev.descriptor()?.upper_layer)),
        "fd.is_lower_layer" => Some(Value::Bool(ev.descriptor()?.lower_layer)),
    }
}

/// See [`fields_of`].
pub(super) fn extract<'a, P: Payload>(
    ev: &'a View<'_, P>,
    field: &crate::event::value::FieldUse,
    arena: &'a Bump,
) -> Option<Value<'a>> {
    if ev.has_fd() || field.id == const { crate::event::fields::id("fd.types") } {
        fields_of(ev, field, arena)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers() {
        assert_eq!((major(0xfe00), minor(0xfe00)), (254, 0));
        assert_eq!((major(5), minor(5)), (0, 5));
        assert_eq!((major(0x0101_03fe), minor(0x0101_03fe)), (0x103, 0x10fe));
    }
}
