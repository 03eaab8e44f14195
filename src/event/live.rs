//! One event of a ring, answering every field a rule may ask for.
//!
//! It borrows the record, the task its slot stands for and what the host knows; nothing is copied until a field asks
//! for a text, and texts go into the arena. One file per class of fields answers them; this one holds what they
//! share and sends a field to its class.
//!
//! A field means what it means in Falco. Where Falco's own state machine loses track (a relative path after a lost
//! chdir, an `*at` call on a relative path without a directory descriptor) the kernel's answer is given instead of
//! its placeholder.

mod args;
mod container;
mod evt;
mod fd;
mod fdlist;
mod fs_path;
mod identity;
mod process;
mod procfs;

#[cfg(test)]
mod tests;

use super::clock::Clock;
use super::exec::Execs;
use super::fields;
use super::params::{self, EventDef, Family};
use super::path;
use super::record::{EventRecord, Slot};
use super::task::{Task, Tasks};
use super::types::EventCode;
use super::value::{Extract, FieldUse, Value};
use crate::driver::abi;
use crate::enrich::users::Users;
use bumpalo::Bump;
use fd::Descriptor;
use std::cell::Cell;

/// What is known of the host, besides its tasks. One per loop, kept up to date between batches of events.
#[derive(Debug)]
pub struct Host {
    pub users: Users,
    pub clock: Clock,
    /// `evt.hostname`.
    pub name: Box<str>,
    /// Wall time of the first event of this run; 0 before it.
    pub first_event: u64,
    /// The CPU whose ring this is.
    pub cpu: u32,
    /// `util.cnt`.
    pub evaluations: Cell<u64>,
}

impl Host {
    /// A host with the users below the root directory `root`.
    pub fn new(users: Users, clock: Clock, name: &str, cpu: u32) -> Host {
        Host { users, clock, name: name.into(), first_event: 0, cpu, evaluations: Cell::new(0) }
    }
}

/// Which of the two paths of a file event the fields speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PathView {
    /// As the program gave it, made absolute as text: what the path means in Falco.
    #[default]
    AsGiven,
    /// As the kernel opened it: links followed, whatever the program's memory said afterwards.
    AsOpened,
}

/// An event of a ring.
#[derive(Clone, Copy)]
pub struct LiveEvent<'r> {
    record: EventRecord<'r>,
    code: EventCode,
    def: Option<&'static EventDef>,
    task: Option<&'r Task>,
    execs: &'r Execs,
    host: &'r Host,
    number: u64,
    previous: u64,
    view: PathView,
}

impl<'r> LiveEvent<'r> {
    /// An event and its surroundings. `number` counts the events of the ring from 1; `previous` is the wall time of
    /// the event before it, 0 for the first.
    pub fn new(record: EventRecord<'r>, tasks: &'r Tasks, host: &'r Host, number: u64, previous: u64) -> LiveEvent<'r> {
        let code = EventCode(record.head.code);
        LiveEvent {
            record,
            code,
            def: params::event(code),
            task: tasks.get(Slot(record.head.h.slot), record.head.gen_),
            execs: tasks.execs(),
            host,
            number,
            previous,
            view: PathView::AsGiven,
        }
    }

    /// Wall time, ns since 1970.
    pub const fn time(&self) -> u64 {
        self.host.clock.wall(self.record.head.h.time)
    }

    /// The event's type.
    pub const fn code(&self) -> EventCode {
        self.code
    }

    /// The task it happened in; None when its record was lost.
    pub const fn task(&self) -> Option<&'r Task> {
        self.task
    }

    /// The record it was read from.
    pub const fn record(&self) -> &EventRecord<'r> {
        &self.record
    }

    /// The same event with its file paths seen another way.
    #[must_use]
    pub const fn with_paths(mut self, view: PathView) -> Self {
        self.view = view;
        self
    }

    /// Whether the program's path and the kernel's are not the same text: then a rule is to be tried with both.
    pub fn paths_differ(&self, arena: &Bump) -> bool {
        let Some(descriptor) = self.opened_by_path() else { return false };
        match self.given_path(arena) {
            Some(given) => given != descriptor.opened_path(),
            None => false,
        }
    }

    /// The descriptor that this event made from a path.
    fn opened_by_path(&self) -> Option<Descriptor<'r>> {
        if !matches!(self.family(), Family::Open | Family::Creat) {
            return None;
        }
        self.descriptor().filter(|d| d.is_named_file())
    }

    fn family(&self) -> Family {
        self.def.map_or(Family::Other, |def| def.family)
    }

    /// The return value; None for events that have none (tracepoints other than exec).
    fn ret(&self) -> Option<i64> {
        if self.family() == Family::Exec {
            return Some(if self.is_exec_success() { 0 } else { self.record.head.ret });
        }
        let def = self.def?;
        let has_result = def.has(abi::FSN_P_SYSCALL) && !self.code.is_generic() && !def.params.is_empty();
        has_result.then_some(self.record.head.ret)
    }

    fn is_exec_success(&self) -> bool {
        self.record.head.flags & abi::FSN_EVENT_TRACEPOINT != 0
    }

    /// A path the program gave in a parameter, made absolute; None when it is missing.
    fn path_of_param<'a>(&'a self, index: u8, arena: &'a Bump) -> Option<&'a [u8]> {
        let given = self.text_of_param(index)?;
        let base = match self.def?.at(index)?.dirfd {
            Some(dir) if given.first() != Some(&b'/') => self.directory_of_param(dir)?,
            _ => self.cwd(),
        };
        Some(path::absolute(base, given, arena))
    }

    /// The directory a descriptor parameter names.
    fn directory_of_param(&self, index: u8) -> Option<&[u8]> {
        if self.number_of_param(index)? as i32 == libc::AT_FDCWD {
            return Some(self.cwd());
        }
        Some(self.record.fd(index).map_or(path::UNKNOWN_DIR, |fd| Descriptor::of(fd).opened_path()))
    }

    fn cwd(&self) -> &[u8] {
        self.task.map_or(path::UNKNOWN_DIR, Task::cwd)
    }

    /// The event's path as the program gave it, made absolute.
    fn given_path<'a>(&'a self, arena: &'a Bump) -> Option<&'a [u8]> {
        self.path_of_param(self.def?.main_path?, arena)
    }
}

impl Extract for LiveEvent<'_> {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        match CLASS[usize::from(field.id.0)] {
            Class::Evt => evt::extract(self, field, arena),
            Class::Process => process::extract(self, field, arena),
            Class::Identity => identity::extract(self, field, arena),
            Class::Container => container::extract(self, field, arena),
            Class::Fd => fd::extract(self, field, arena),
            Class::FsPath => fs_path::extract(self, field, arena),
            Class::FdList => fdlist::extract(self, field, arena),
        }
    }

    fn event_code(&self) -> u16 {
        self.code.0
    }
}

/// Which file answers a field.
#[derive(Clone, Copy)]
enum Class {
    Evt,
    Process,
    Identity,
    Container,
    Fd,
    FsPath,
    FdList,
}

/// The class of every field, in the order of the catalogue.
static CLASS: [Class; fields::FIELDS.len()] = {
    let mut classes = [Class::Evt; fields::FIELDS.len()];
    let mut i = 0;
    while i < classes.len() {
        classes[i] = match fields::FIELDS[i].class.as_bytes() {
            b"evt" | b"util" => Class::Evt,
            b"process" => Class::Process,
            b"user" | b"group" => Class::Identity,
            b"container" => Class::Container,
            b"fd" => Class::Fd,
            b"fs.path" => Class::FsPath,
            b"fdlist" => Class::FdList,
            _ => panic!("a class of fields that nobody answers"),
        };
        i += 1;
    }
    classes
};

/// A function that answers fields by name. The names are looked up while compiling, so what runs is a comparison of
/// small numbers; `NAMES` lists them for the test that every field of the catalogue is answered.
macro_rules! answer {
    (
        $(#[$doc:meta])*
        fn $function:ident($event:ident, $field:ident, $arena:ident) {
            $($($name:literal)|+ => $value:expr,)*
        }
    ) => {
        $(#[$doc])*
        pub(super) fn $function<'a>(
            $event: &'a $crate::event::live::LiveEvent<'_>,
            $field: &$crate::event::value::FieldUse,
            $arena: &'a bumpalo::Bump,
        ) -> Option<$crate::event::value::Value<'a>> {
            let id = $field.id;
            $(if $(id == const { $crate::event::fields::id($name) })||+ {
                return $value;
            })*
            None
        }

        /// The fields this file answers.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($($name),+),*];
    };
}
use answer;
