//! Captures: reading .scap files of every version, the state of tasks and descriptors rebuilt from them, and writing them.
//!
//! [`Reader`] gives metadata and events in today's schema (`convert` brings old ones there); [`Inspector`] follows what events
//! change; [`Replay`] is both, one event at a time, ready for the evaluator. Not the fields: a replayed event is seen through the
//! same view as one of a ring (`event::view`). Invariant: no file makes this panic, loop or take more memory than the bounds of
//! [`bounds`]; what was read before a damaged place has been delivered.

mod block;
pub mod bounds;
mod convert;
mod cursor;
mod encode;
mod error;
mod event;
mod inspector;
mod meta;
mod reader;
mod replay;
pub mod replayed;
pub mod scan;
mod source;
mod writer;

pub use convert::{Converter, Step};
pub use encode::encode;
pub use error::{CaptureError, Problem};
pub use event::{Event, EventBuf, Head};
pub use inspector::{Demand, Inspector, Subject};
pub use inspector::{fd, thread};
pub use meta::{Address, FdEntry, FdKind, Group, Interface, Machine, Metadata, ProcessEntry, User};
pub use reader::Reader;
pub use replay::Replay;
pub use replayed::ReplayedEvent;
pub use writer::{Readers, Writer, event_block};
