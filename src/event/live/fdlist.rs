//! Fields of the descriptors a poll waits for: fdlist.*.

use super::args::Arg;
use super::{LiveEvent, answer, procfs};
use crate::enrich::users::UNKNOWN;
use crate::event::arena_text::ArenaText;
use crate::event::flags;
use crate::event::value::{Type, Value};
use bumpalo::Bump;

/// The entries of an array of struct pollfd: descriptor, events, and what happened.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (i32, u16, u16)> {
    bytes.chunks_exact(8).map(|entry| {
        let half = |at: usize| u16::from_ne_bytes([entry[at], entry[at + 1]]);
        (i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]), half(4), half(6))
    })
}

/// `FD:?EVENTS` of every entry, separated by blanks; the question mark is the type, which is not known.
pub(super) fn push_list(bytes: &[u8], text: &mut ArenaText<'_>) {
    for (at, (fd, _, happened)) in entries(bytes).enumerate() {
        if at > 0 {
            text.push(b" ");
        }
        let happened = flags::from_native("poll_flags", "poll", u64::from(happened));
        text.push_fmt(format_args!("{fd}:?{happened:x}"));
    }
}

/// One text of each entry, separated by commas.
fn joined<'a>(ev: &LiveEvent<'_>, arena: &'a Bump, each: impl Fn(i32, &mut ArenaText<'a>)) -> Option<Value<'a>> {
    let def = ev.def?;
    let (index, param) = (0u8..).zip(def.params.iter()).find(|(_, p)| p.ty == Type::FdList)?;
    let Arg::Bytes(bytes) = ev.arg(index, param)? else { return None };
    let mut text = ArenaText::new(arena);
    for (at, (fd, _, _)) in entries(bytes).enumerate() {
        if at > 0 {
            text.push(b",");
        }
        each(fd, &mut text);
    }
    Some(Value::Str(text.finish()))
}

answer! {
    /// fdlist.*; missing for everything but poll and ppoll.
    fn extract(ev, _field, arena) {
        "fdlist.nums" => joined(ev, arena, |fd, text| text.push_fmt(format_args!("{fd}"))),
        "fdlist.names" => {
            let pid = ev.task.map_or(-1, |task| task.head.pid);
            joined(ev, arena, |fd, text| {
                let name = procfs::name_of_fd(pid, i64::from(fd), arena).filter(|name| !name.is_empty());
                text.push(name.unwrap_or(UNKNOWN));
            })
        },
    }
}
