//! One event, answering every field a rule may ask for, wherever it comes from.
//!
//! It borrows the event's payload, the task it happened in and what the host knows; nothing is copied until a field asks
//! for a text, and texts go into the arena. One file per class of fields answers them; this one holds what they
//! share and sends a field to its class. A ring's record and a capture's event are two payloads ([`Payload`]): a field is
//! answered once, what the two know differently is said by them.
//!
//! A field means what it means in Falco.

mod args;
mod constant;
mod container;
pub mod descriptor;
mod evt;
mod fd;
mod fdlist;
mod fs_path;
mod identity;
mod process;

pub use args::{Arg, Tuple, is_number, is_signed, narrowed};
pub use descriptor::{Descriptor, Ends, Kind, Socket};
pub use fdlist::FdList;

use super::clock::Clock;
use super::exec::Execs;
use super::fields;
use super::params::{self, EventDef, Family, Param};
use super::path;
use super::task::Task;
use super::types::EventCode;
use super::value::{Extract, FieldUse, Format, Part, Room, Said, Type, Value, Versioned};
use crate::driver::abi;
use crate::enrich::own_users::{OwnUsers, Reader};
use crate::enrich::runtime::Described;
use crate::enrich::users::{UNKNOWN, Users};
use bumpalo::Bump;
use smallvec::SmallVec;
use std::cell::Cell;

/// What is known of the host, besides its tasks. One per loop, kept up to date between batches of events.
#[derive(Debug)]
pub struct Host {
    pub users: Users,
    /// Those of its containers.
    pub own_users: OwnUsers,
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
        let own_users = OwnUsers::default();
        Host { users, own_users, clock, name: name.into(), first_event: 0, cpu, evaluations: Cell::new(0) }
    }

    /// The same host, whose containers have the users that `reader` finds in them.
    #[must_use]
    pub fn with_own_users(mut self, reader: Reader) -> Host {
        self.own_users = OwnUsers::of(reader);
        self
    }

    /// Changes whenever names of users may have.
    pub const fn facts(&self) -> u32 {
        // Each of them only grows.
        self.users.generation().wrapping_add(self.own_users.generation())
    }

    /// The names that hold for a task: the host's, or its container's.
    pub fn users_of(&self, task: Option<&Task>) -> &Users {
        match task.and_then(|task| Some((task.cgroups().container_full_id()?, task.head.pid))) {
            Some((container, pid)) => self.own_users.find(container, pid, &self.users),
            None => &self.users,
        }
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

/// Sizes and counters of a process that only its source can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// Threads of the process, the first included.
    Threads,
    /// Threads of the process, the first excluded.
    Children,
    OpenFds,
    VmSizeKb,
    VmRssKb,
    VmSwapKb,
    /// Of the thread.
    MinorFaults,
    MajorFaults,
    /// Of the thread, in ns: of this switch, and of all.
    ExecTime,
    TotalExecTime,
}

/// What an event says, in the words of its source. Functions get the whole view: what a parameter means may depend on
/// the task.
pub trait Payload: Copy {
    /// The result as the source has it; meaningless for events without one.
    fn ret(&self) -> i64;
    /// Falco's number of the system call; 0 when none is known.
    fn syscall(&self) -> u16;
    /// What the event says of itself, if that is all that its [`Depends::Record`](crate::event::value::Depends) fields follow from.
    fn said<'a>(_ev: &'a View<'_, Self>, _room: &'a mut Room) -> Option<Said<'a>> {
        None
    }
    /// A success of exec, which is reported by the new program.
    fn is_exec_success(&self) -> bool;
    /// A parameter's value in Falco's terms; None when it is missing.
    fn arg<'a>(ev: &'a View<'_, Self>, index: u8, param: &'static Param) -> Option<Arg<'a>>;
    /// The flags of an event that opens a file, those for reading and writing at least.
    fn access(ev: &View<'_, Self>) -> Option<u32> {
        ev.open_flags()
    }
    /// The thread's number, also when nothing else is known of it.
    fn tid(ev: &View<'_, Self>) -> Option<i32>;
    /// The number of the descriptor the event is about.
    fn fd_number(ev: &View<'_, Self>) -> Option<i64>;
    /// The parameter with the descriptor the event is about.
    fn main_fd(ev: &View<'_, Self>) -> Option<u8>;
    /// The descriptor the event is about; None when there is none or it is not known.
    fn descriptor<'a>(ev: &'a View<'_, Self>) -> Option<Descriptor<'a>>;
    /// The descriptor that a parameter names.
    fn descriptor_of<'a>(ev: &'a View<'_, Self>, index: u8) -> Option<Descriptor<'a>>;
    /// Both ends of the socket the event is about, sorted by what the call knows.
    fn ends(ev: &View<'_, Self>) -> Option<Ends>;
    /// Whether the other end is one that the socket got for good.
    fn is_connected(ev: &View<'_, Self>) -> bool;
    /// Whether this end offers the service.
    fn is_server(ev: &View<'_, Self>) -> bool;
    /// Whether this event gave the descriptor the name it has.
    fn name_changed(ev: &View<'_, Self>) -> bool;
    /// `fd.name`.
    fn fd_name<'a>(ev: &'a View<'_, Self>, arena: &'a Bump) -> &'a [u8];
    /// Where a relative path in a parameter starts: the directory that the parameter `dirfd` names, or the current one.
    fn base<'a>(ev: &'a View<'_, Self>, dirfd: Option<u8>) -> &'a [u8];
    /// A path of a call as `fs.path.*` tell it: made absolute. Captures answer as Falco does, whose directory is not always the
    /// right one, so that a recorded incident gives the alerts it gives there.
    fn operand<'a>(ev: &'a View<'_, Self>, index: u8, arena: &'a Bump) -> Option<&'a [u8]> {
        ev.path_of_param(index, arena)
    }
    /// The names of the users and groups that the task's numbers mean.
    fn users<'a>(ev: &'a View<'_, Self>) -> &'a Users;
    /// A size or counter; None when it is not known.
    fn gauge(ev: &View<'_, Self>, gauge: Gauge) -> Option<u64>;
    /// What the runtime of the container with this id told about it.
    fn described<'a>(_ev: &'a View<'_, Self>, _id: &[u8]) -> Option<&'a Described> {
        None
    }
    /// What a descriptor of the process is.
    fn kind_of_fd(ev: &View<'_, Self>, fd: i64) -> Option<Kind>;
    /// Both ends of a descriptor of the process that is an IP socket.
    fn ends_of_fd(ev: &View<'_, Self>, fd: i64) -> Option<Ends>;
    /// Where the task is kept, and what else its fields come from; None when the event has no task.
    fn versioned(ev: &View<'_, Self>) -> Option<Versioned>;
    /// What rules see of the names of a task that nothing is known of.
    fn nobody(ev: &View<'_, Self>) -> Option<&'static [u8]>;
    /// The letter of a descriptor's type where descriptors are listed.
    fn letter_of_fd(ev: &View<'_, Self>, fd: i64) -> &'static str;
    /// What a descriptor of the process is called; empty without a name.
    fn name_of_fd<'a>(ev: &'a View<'_, Self>, fd: i64, arena: &'a Bump) -> Option<&'a [u8]>;
    /// The distinct types of the process's descriptors.
    fn kinds_of_fds(ev: &View<'_, Self>) -> Option<SmallVec<[&'static str; 8]>>;
    /// The name of a thread that is neither the task nor a relative.
    fn name_of_tid<'a>(ev: &'a View<'_, Self>, tid: i64, arena: &'a Bump) -> Option<&'a [u8]>;
}

/// An event and what surrounds it.
#[derive(Clone, Copy)]
pub struct View<'r, P> {
    pub(super) payload: P,
    pub(super) code: EventCode,
    pub(super) def: Option<&'static EventDef>,
    pub(super) task: Option<&'r Task>,
    pub(super) execs: &'r Execs,
    pub(super) host: &'r Host,
    pub(super) number: u64,
    pub(super) time: u64,
    pub(super) previous: u64,
    pub(super) view: PathView,
}

/// What a view is made of, besides the payload.
#[derive(Clone, Copy)]
pub struct Scene<'r> {
    pub code: EventCode,
    /// None when nothing is known of it.
    pub task: Option<&'r Task>,
    /// The images the task refers to.
    pub execs: &'r Execs,
    pub host: &'r Host,
    /// Counts events from 1.
    pub number: u64,
    /// Wall time, ns since 1970.
    pub time: u64,
    /// Wall time of the event before, 0 for the first.
    pub previous: u64,
}

impl<'r, P: Payload> View<'r, P> {
    pub fn new(payload: P, scene: Scene<'r>) -> View<'r, P> {
        let Scene { code, task, execs, host, number, time, previous } = scene;
        let def = params::event(code);
        View { payload, code, def, task, execs, host, number, time, previous, view: PathView::AsGiven }
    }

    /// Wall time, ns since 1970.
    pub const fn time(&self) -> u64 {
        self.time
    }

    /// The event's type.
    pub const fn code(&self) -> EventCode {
        self.code
    }

    /// The task it happened in; None when nothing is known of it.
    pub const fn task(&self) -> Option<&'r Task> {
        self.task
    }

    /// What its type carries.
    pub const fn def(&self) -> Option<&'static EventDef> {
        self.def
    }

    /// What it was made from.
    pub const fn payload(&self) -> &P {
        &self.payload
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
        if self.is_given(descriptor.path) {
            return false;
        }
        match self.given_path(arena) {
            Some(given) => given != descriptor.path,
            None => false,
        }
    }

    /// Whether a path of the kernel is what the program gave, letter by letter: then there is nothing to be made absolute.
    pub(super) fn is_given(&self, path: &[u8]) -> bool {
        let given = || self.text_of_param(self.def?.main_path?);
        path.len() <= path::MAX_PATH && path.first() == Some(&b'/') && given() == Some(path)
    }

    /// The descriptor that this event made from a path.
    pub(super) fn opened_by_path(&self) -> Option<Descriptor<'_>> {
        if !matches!(self.family(), Family::Open | Family::Creat) {
            return None;
        }
        P::descriptor(self).filter(Descriptor::is_named_file)
    }

    pub fn family(&self) -> Family {
        self.def.map_or(Family::Other, |def| def.family)
    }

    /// The return value; None for events that have none (tracepoints other than exec).
    pub(super) fn ret(&self) -> Option<i64> {
        if self.family() == Family::Exec {
            return Some(if self.payload.is_exec_success() { 0 } else { self.payload.ret() });
        }
        let def = self.def?;
        let has_result = def.has(abi::FSN_P_SYSCALL) && !self.code.is_generic() && !def.params.is_empty();
        has_result.then_some(self.payload.ret())
    }

    /// A path the program gave in a parameter, made absolute; None when it is missing.
    pub fn path_of_param<'a>(&'a self, index: u8, arena: &'a Bump) -> Option<&'a [u8]> {
        let given = self.text_of_param(index)?;
        if given == UNKNOWN {
            return Some(given);
        }
        let dirfd = self.def?.at(index)?.dirfd.filter(|_| given.first() != Some(&b'/'));
        Some(path::absolute(P::base(self, dirfd), given, arena))
    }

    pub fn cwd(&self) -> &[u8] {
        self.task.map_or(path::UNKNOWN_DIR, Task::cwd)
    }

    /// The event's path as the program gave it, made absolute.
    pub fn given_path<'a>(&'a self, arena: &'a Bump) -> Option<&'a [u8]> {
        self.path_of_param(self.def?.main_path?, arena)
    }

    pub(super) fn descriptor(&self) -> Option<Descriptor<'_>> {
        P::descriptor(self)
    }

    pub(super) fn ends(&self) -> Option<Ends> {
        P::ends(self)
    }

    pub(super) fn fd_name<'a>(&'a self, arena: &'a Bump) -> &'a [u8] {
        P::fd_name(self, arena)
    }
}

impl<P: Payload> Extract for View<'_, P> {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        match CLASS[usize::from(field.id.0)] {
            Class::Evt => evt::extract(self, field, arena),
            Class::Process => process::extract(self, field, arena),
            Class::Identity => identity::extract(self, field, arena),
            Class::Container => container::extract(self, field, arena),
            Class::Fd => fd::extract(self, field, arena),
            Class::FsPath => fs_path::extract(self, field, arena),
            Class::FdList => fdlist::extract(self, field, arena),
            Class::Constant => constant::extract(self, field, arena),
        }
    }

    fn event_code(&self) -> u16 {
        self.code.0
    }

    fn task(&self) -> Option<Versioned> {
        P::versioned(self)
    }

    fn part(&self, part: Part) -> u64 {
        self.task.map_or(0, |task| task.parts.number(part))
    }

    fn said<'a>(&'a self, room: &'a mut Room) -> Option<Said<'a>> {
        P::said(self, room)
    }

    fn number_format(&self, field: &FieldUse) -> Format {
        if field.id == const { fields::id("evt.rawarg") } {
            return self.param_of(&field.arg).map_or(Format::Decimal, |(_, param)| match param.format {
                Format::Hex if param.ty == Type::Int32 => Format::Hex32,
                format => format,
            });
        }
        Format::Decimal
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
    Constant,
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
            b"static" => Class::Constant,
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
        pub(super) fn $function<'a, P: $crate::event::view::Payload>(
            $event: &'a $crate::event::view::View<'_, P>,
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
        pub(in crate::event) const NAMES: &[&str] = &[$($($name),+),*];
    };
}
use answer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_catalogue_is_answered_by_its_class() {
        for def in fields::FIELDS {
            let names = match def.class {
                "evt" | "util" => evt::NAMES,
                "process" => process::NAMES,
                "user" | "group" => identity::NAMES,
                "container" => container::NAMES,
                "fd" => fd::NAMES,
                "fs.path" => fs_path::NAMES,
                "static" => constant::NAMES,
                _ => fdlist::NAMES,
            };
            assert!(names.contains(&def.name), "{} has no value", def.name);
        }
    }
}
