//! Fields of the descriptors a poll waits for: fdlist.*.

use super::args::Arg;
use super::descriptor::{Address, Ends};
use super::{Payload, View, answer};
use crate::enrich::users::UNKNOWN;
use crate::event::arena_text::ArenaText;
use crate::event::flags;
use crate::event::value::{Type, Value};
use bumpalo::Bump;

/// Descriptors and events, in the form of their source.
#[derive(Clone, Copy, Debug)]
pub enum FdList<'a> {
    /// An array of struct pollfd.
    Poll(&'a [u8]),
    /// Entries of a capture: number (64 bits) and events (16 bits).
    Captured(&'a [u8]),
}

impl<'a> FdList<'a> {
    /// Number and what happened, in Falco's bits.
    pub fn entries(self) -> impl Iterator<Item = (i64, u16)> + 'a {
        let (bytes, width) = match self {
            FdList::Poll(bytes) => (bytes, 8),
            FdList::Captured(bytes) => (bytes, 10),
        };
        bytes.chunks_exact(width).map(move |entry| match self {
            FdList::Poll(_) => {
                let fd = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
                let happened = u16::from_ne_bytes([entry[6], entry[7]]);
                (i64::from(fd), flags::from_native("poll_flags", "poll", u64::from(happened)) as u16)
            }
            FdList::Captured(_) => {
                let fd = entry.first_chunk().map_or(-1, |fd| i64::from_ne_bytes(*fd));
                (fd, u16::from_ne_bytes([entry[8], entry[9]]))
            }
        })
    }
}

/// `FD:TEVENTS` of every entry, separated by blanks; T is the letter of the type.
pub(super) fn push_list<P: Payload>(ev: &View<'_, P>, list: FdList<'_>, text: &mut ArenaText<'_>) {
    for (at, (fd, happened)) in list.entries().enumerate() {
        if at > 0 {
            text.push(b" ");
        }
        // Falco writes no negative numbers here.
        text.push_fmt(format_args!("{}:{}{happened:x}", fd as u64, P::letter_of_fd(ev, fd)));
    }
}

/// One text of each entry, separated by commas.
fn joined<'a, P: Payload>(
    ev: &View<'_, P>,
    arena: &'a Bump,
    each: impl Fn(i64, &mut ArenaText<'a>),
) -> Option<Value<'a>> {
    let def = ev.def?;
    let (index, param) = (0u8..).zip(def.params.iter()).find(|(_, p)| p.ty == Type::FdList)?;
    let Arg::FdList(list) = ev.arg(index, param)? else { return None };
    let mut text = ArenaText::new(arena);
    for (at, (fd, _)) in list.entries().enumerate() {
        if at > 0 {
            text.push(b",");
        }
        each(fd, &mut text);
    }
    Some(Value::Str(text.finish()))
}

/// One text of each connection or listening socket that has it, separated by commas; sockets are known in captures only.
fn ends<'a, P: Payload>(
    ev: &View<'_, P>,
    arena: &'a Bump,
    each: impl Fn(Ends, &mut ArenaText<'a>),
) -> Option<Value<'a>> {
    let def = ev.def?;
    let (index, param) = (0u8..).zip(def.params.iter()).find(|(_, p)| p.ty == Type::FdList)?;
    let Arg::FdList(list) = ev.arg(index, param)? else { return None };
    let mut text = ArenaText::new(arena);
    for (fd, _) in list.entries() {
        let Some(ends) = P::ends_of_fd(ev, fd) else { continue };
        let start = text.len();
        if start > 0 {
            text.push(b",");
        }
        let before = text.len();
        each(ends, &mut text);
        if text.len() == before {
            text.truncate(start);
        }
    }
    (!text.is_empty()).then(|| Value::Str(text.finish()))
}

fn push_ip(end: Option<Address>, text: &mut ArenaText<'_>) {
    if let Some((ip, _)) = end {
        text.push_fmt(format_args!("{ip}"));
    }
}

fn push_port(end: Option<Address>, text: &mut ArenaText<'_>) {
    if let Some((_, port)) = end {
        text.push_fmt(format_args!("{port}"));
    }
}

answer! {
    /// fdlist.*; missing for everything but poll and ppoll.
    fn extract(ev, _field, arena) {
        "fdlist.nums" => joined(ev, arena, |fd, text| text.push_fmt(format_args!("{fd}"))),
        "fdlist.cips" => ends(ev, arena, |e, text| push_ip(e.client().filter(|_| e.remote.is_some()), text)),
        "fdlist.sips" => ends(ev, arena, |e, text| push_ip(e.service(), text)),
        "fdlist.cports" => ends(ev, arena, |e, text| push_port(e.client().filter(|_| e.remote.is_some()), text)),
        "fdlist.sports" => ends(ev, arena, |e, text| push_port(e.service().filter(|_| e.remote.is_some()), text)),
        "fdlist.names" => {
            joined(ev, arena, |fd, text| {
                let name = P::name_of_fd(ev, fd, arena).filter(|name| !name.is_empty());
                text.push(name.unwrap_or(UNKNOWN));
            })
        },
    }
}
