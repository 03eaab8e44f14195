//! An event of any source in the parameters of the format: what a recording of live events is made of.
//!
//! Not the file. Invariant: an event that is encoded and read again answers its parameters as it did before; what the source does
//! not know is written as the original drivers write it (zeros for a number, nothing for the rest).

use super::event::EventBuf;
use crate::event::params::{Param, Source};
use crate::event::record::Address;
use crate::event::value::Type;
use crate::event::view::{Arg, Payload, Tuple, View, is_number};
use std::net::IpAddr;

/// `AF_*` as the format has them.
const UNIX: u8 = libc::AF_UNIX as u8;
const INET: u8 = libc::AF_INET as u8;
const INET6: u8 = libc::AF_INET6 as u8;

/// Makes `out` the event; `cpu` is where it happened. False, and `out` is nothing, for an event without a schema.
pub fn encode<P: Payload>(event: &View<'_, P>, cpu: u16, out: &mut EventBuf) -> bool {
    let Some(def) = event.def() else { return false };
    let tid = event.task().map_or(-1, |task| i64::from(task.head.tid));
    out.restart(event.code(), event.time(), tid, cpu);
    for (index, param) in (0u8..).zip(def.params.iter()) {
        match P::arg(event, index, param) {
            Some(value) => push(value, param, out),
            // Numbers that nobody tells are read whatever the call did; others were not set by it.
            None if is_number(param.ty) && matches!(param.source, Source::Absent | Source::Task(_)) => {
                out.push(&[0; 8][..usize::from(param.width)]);
            }
            None => out.push(&[]),
        }
        out.end_param();
    }
    true
}
