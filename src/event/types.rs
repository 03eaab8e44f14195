//! Event codes and system calls: names, categories, and which codes a name stands for.
//!
//! Used where rules are loaded (validating `evt.type` literals, finding the codes a rule listens to) and by the
//! fields about an event's kind. An event code is the index into [`EVENTS`]; what parameters an event carries is
//! the module's table's business.

mod events;
mod syscalls;

pub use events::EVENTS;
pub use syscalls::SYSCALLS;

use hashbrown::HashMap;
use smallvec::SmallVec;
use std::sync::LazyLock;

/// Index of an event type: even for enter events, odd for exit events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventCode(pub u16);

/// The two codes shared by all system calls without an event of their own.
pub const GENERIC: [EventCode; 2] = [EventCode(0), EventCode(1)];
/// An event injected by a plugin or the engine; every rule on system calls also sees it.
pub const ASYNC_EVENT: EventCode = EventCode(402);
/// An event produced by a plugin.
pub const PLUGIN_EVENT: EventCode = EventCode(322);

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    Unknown,
    Other,
    File,
    Net,
    Ipc,
    Memory,
    Process,
    Sleep,
    System,
    Signal,
    User,
    Time,
    /// Reads from a descriptor; the reported category is the descriptor's.
    IoRead,
    /// Writes to a descriptor; the reported category is the descriptor's.
    IoWrite,
    /// Other work on a descriptor; the reported category is the descriptor's.
    IoOther,
    Wait,
    Scheduler,
    Internal,
}

impl Category {
    /// True where `evt.category` depends on the descriptor.
    pub const fn is_io(self) -> bool {
        matches!(self, Category::IoRead | Category::IoWrite | Category::IoOther)
    }

    /// The text of `evt.category`. For the I/O categories this is the answer without a known descriptor.
    pub const fn name(self) -> &'static str {
        match self {
            Category::Unknown | Category::IoRead | Category::IoWrite | Category::IoOther => "unknown",
            Category::Other => "other",
            Category::File => "file",
            Category::Net => "net",
            Category::Ipc => "IPC",
            Category::Memory => "memory",
            Category::Process => "process",
            Category::Sleep => "sleep",
            Category::System => "system",
            Category::Signal => "signal",
            Category::User => "user",
            Category::Time => "time",
            Category::Wait => "wait",
            Category::Scheduler => "scheduler",
            Category::Internal => "internal",
        }
    }
}

/// Where events of a type come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    None,
    Syscall,
    Tracepoint,
    /// Made by the engine itself (users, containers, drops).
    Meta,
    Plugin,
    /// Snapshot of existing state.
    Iter,
}

/// Whether a code is still written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Age {
    Current,
    /// Only in captures of older recorders.
    Old,
    Unused,
}

/// Bits of [`EventInfo::flags`].
pub mod flag {
    /// Its result is a new descriptor.
    pub const CREATES_FD: u16 = 1 << 0;
    pub const DESTROYS_FD: u16 = 1 << 1;
    /// Works on a descriptor it is given.
    pub const USES_FD: u16 = 1 << 2;
    pub const READS: u16 = 1 << 3;
    pub const WRITES: u16 = 1 << 4;
    /// Changes what is known of a process.
    pub const STATE: u16 = 1 << 5;
    /// May block.
    pub const WAITS: u16 = 1 << 6;
    /// May be longer than 64 KiB.
    pub const LARGE: u16 = 1 << 7;
    /// Carries no state of its own.
    pub const META_ONLY: u16 = 1 << 8;
}

/// One event code.
#[derive(Clone, Copy, Debug)]
pub struct EventInfo {
    /// The text of `evt.type`; `syscall` for generic events (whose type is the call's name) and `NA` for unused codes.
    pub name: &'static str,
    pub category: Category,
    pub origin: Origin,
    pub age: Age,
    /// Bits of [`flag`].
    pub flags: u16,
}

impl EventInfo {
    pub const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl EventCode {
    /// The row of this code; the row of an unused code when it is out of range.
    pub fn info(self) -> &'static EventInfo {
        EVENTS.get(usize::from(self.0)).unwrap_or(&EVENTS[17])
    }

    /// True for enter events (and for tracepoint and meta events, which have even codes).
    pub const fn is_enter(self) -> bool {
        self.0 & 1 == 0
    }

    /// True for the two codes shared by all calls without an event of their own.
    pub const fn is_generic(self) -> bool {
        self.0 <= 1
    }
}

/// How a system call is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyscallKind {
    /// By the generic event, which has no parameters.
    Generic,
    /// By an event of its own.
    Specific,
    /// Not a call: a kernel tracepoint.
    Tracepoint,
}

/// One system call or tracepoint.
#[derive(Clone, Copy, Debug)]
pub struct SyscallInfo {
    /// The engine's architecture-independent number (`ppm_sc`).
    pub code: u16,
    pub name: &'static str,
    /// Number on x86_64, -1 where it does not exist there.
    pub x86_64_nr: i16,
    pub kind: SyscallKind,
    /// Falco needs it to keep its state tables.
    pub state: bool,
    /// Left out by Falco unless all events are asked for (high volume input and output).
    pub ignored_by_default: bool,
    /// Event codes of its own, enter and exit of every version; empty for generic calls.
    pub events: &'static [u16],
}

/// The system call with a code, or None.
pub fn syscall(code: u16) -> Option<&'static SyscallInfo> {
    static INDEX: LazyLock<Vec<u16>> = LazyLock::new(|| {
        let mut index = vec![u16::MAX; usize::from(SYSCALLS.last().map_or(0, |s| s.code)) + 1];
        for (row, at) in SYSCALLS.iter().zip(0..) {
            index[usize::from(row.code)] = at;
        }
        index
    });
    SYSCALLS.get(usize::from(*INDEX.get(usize::from(code))?))
}

/// The system call or tracepoint with a name, or None.
pub fn syscall_by_name(name: &str) -> Option<&'static SyscallInfo> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static SyscallInfo>> =
        LazyLock::new(|| SYSCALLS.iter().map(|s| (s.name, s)).collect());
    BY_NAME.get(name).copied()
}

/// Every code whose event has this name, all versions, enter and exit; empty when no event has it. `NA` and
/// `syscall` are names of the table, not of events: they give nothing.
pub fn codes_of_event(name: &str) -> &'static [EventCode] {
    type Codes = SmallVec<[EventCode; 4]>;
    static BY_NAME: LazyLock<HashMap<&'static str, Codes>> = LazyLock::new(|| {
        let mut map: HashMap<&'static str, Codes> = HashMap::new();
        for (info, code) in EVENTS.iter().zip(0..) {
            if info.age != Age::Unused && !EventCode(code).is_generic() {
                map.entry(info.name).or_default().push(EventCode(code));
            }
        }
        map
    });
    BY_NAME.get(name).map_or(&[], |codes| codes.as_slice())
}

/// The codes a rule that names `name` in `evt.type` listens to: the event's codes, or the two generic ones for a
/// system call without an event of its own. None when neither an event nor a system call has this name.
pub fn codes_of_type(name: &str) -> Option<&'static [EventCode]> {
    match codes_of_event(name) {
        // The event that system calls without one share has a name that it does not show.
        [] if name == GENERIC[1].info().name => Some(&GENERIC),
        [] => syscall_by_name(name).map(|_| GENERIC.as_slice()),
        codes => Some(codes),
    }
}

/// True when `name` may be compared with `evt.type`: an event or a system call has it.
pub fn is_event_type(name: &str) -> bool {
    codes_of_type(name).is_some()
}

/// The system calls whose events carry `name` as `evt.type`: those an `evt.type` literal asks the kernel for.
pub fn syscalls_of_type(name: &str) -> impl Iterator<Item = &'static SyscallInfo> + use<'_> {
    let codes = codes_of_event(name);
    let mut named = [false; EVENTS.len()];
    codes.iter().for_each(|code| named[usize::from(code.0)] = true);
    SYSCALLS.iter().filter(move |s| {
        if codes.is_empty() { s.name == name } else { s.events.iter().any(|code| named[usize::from(*code)]) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_names() {
        let codes = |n| codes_of_type(n).map(|c| c.iter().map(|c| c.0).collect::<Vec<_>>());
        assert_eq!(codes("open"), Some(vec![2, 3]));
        assert_eq!(codes("getpid"), Some(vec![0, 1]));
        assert_eq!(codes("nosuch"), None);
        assert_eq!(codes("NA"), None);
        assert_eq!(codes("procexit").map(|c| c.contains(&186)), Some(true));
        assert_eq!(codes("asyncevent"), Some(vec![402]));
        assert_eq!(codes("pluginevent"), Some(vec![322]));
        // A rule naming execve listens to every version of it.
        assert!(codes("execve").is_some_and(|c| c.len() > 2 && c.contains(&293)));
    }

    #[test]
    fn parity_tells_direction_and_codes_fit() {
        assert!(EventCode(306).is_enter() && !EventCode(307).is_enter());
        assert_eq!(EventCode(307).info().name, "openat");
        assert_eq!(EventCode(9999).info().age, Age::Unused);
        assert_eq!(EVENTS.iter().filter(|e| e.age == Age::Current).count(), 196);
    }

    #[test]
    fn syscalls_are_ordered_and_found_by_code() {
        assert!(SYSCALLS.is_sorted_by(|a, b| a.code < b.code));
        for s in &SYSCALLS {
            assert_eq!(syscall(s.code).map(|f| f.name), Some(s.name));
            assert_eq!(s.kind == SyscallKind::Generic, s.events.is_empty(), "{}", s.name);
            for code in s.events {
                assert_ne!(EventCode(*code).info().name, "NA");
            }
        }
        assert!(syscall(382).is_none() && syscall(0).is_none() && syscall(u16::MAX).is_none());
    }

    #[test]
    fn a_type_asks_for_every_call_that_reports_it() {
        let names = |n| syscalls_of_type(n).map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(names("getpid"), ["getpid"]);
        assert!(names("setuid").contains(&"setuid32"));
        assert!(names("open").contains(&"open"));
    }
}
