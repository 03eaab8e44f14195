//! Where the parameters that change state stand in each event, found by name once.

use crate::capture::event::{self, Event};
use crate::event::params;
use crate::event::types::{EVENTS, EventCode};
use std::sync::LazyLock;

macro_rules! columns {
    ($($column:ident = $name:literal),* $(,)?) => {
        /// A parameter by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Column { $($column),* }

        const NAMES: &[&str] = &[$($name),*];
    };
}

columns! {
Fd = "fd", Name = "name", Path = "path", Flags = "flags", DirFd = "dirfd", Dev = "dev", Ino = "ino",
CreatFlags = "creat_flags", Domain = "domain", Type = "type", Proto = "proto", Addr = "addr", Tuple = "tuple", Fd1 = "fd1", Fd2 = "fd2",
Source = "source", Peer = "peer", OldFd = "oldfd", Cmd = "cmd", Arg = "arg", First = "first", Last = "last", TargetFd = "target_fd", PidFd = "pid_fd",
Uid = "uid", Gid = "gid", Euid = "euid", Egid = "egid", CapInheritable = "cap_inheritable",
CapPermitted = "cap_permitted", CapEffective = "cap_effective", NsType = "nstype", Resource = "resource", NewCur = "newcur", Cur = "cur", Pid = "pid",
VmSize = "vm_size", VmRss = "vm_rss", VmSwap = "vm_swap", Option = "option", Arg2 = "arg2_int", ReaperTid = "reaper_tid", Container = "container_id",
Home = "home", Shell = "shell", Exe = "exe", Args = "args", Ptid = "ptid",
FdLimit = "fdlimit", PfMajor = "pgft_maj", PfMinor = "pgft_min", Comm = "comm", Cgroups = "cgroups", Vtid = "vtid", Vpid = "vpid",
PidnsInitStart = "pidns_init_start_ts", Env = "env", Tty = "tty", Vpgid = "vpgid", Pgid = "pgid", LoginUid = "loginuid", ExeIno = "exe_ino",
ExeCtime = "exe_ino_ctime", ExeMtime = "exe_ino_mtime", TrustedExepath = "trusted_exepath", Filename = "filename", Json = "json",
Data = "data",
}

/// Where the parameters of an event stand, by name; [`NOWHERE`] for those it does not have.
type Places = [u8; NAMES.len()];

const NOWHERE: u8 = u8::MAX;

/// By event code.
static PLACES: LazyLock<Box<[Places]>> = LazyLock::new(|| {
    let of = |code| {
        let mut places = [NOWHERE; NAMES.len()];
        if let Some(def) = params::event(EventCode(code)) {
            for (place, name) in places.iter_mut().zip(NAMES) {
                *place = def.param(name).map_or(NOWHERE, |(index, _)| index);
            }
        }
        places
    };
    (0..EVENTS.len() as u16).map(of).collect()
});

/// An event's parameters by name.
#[derive(Clone, Copy)]
pub(super) struct Named<'e> {
    pub event: &'e Event<'e>,
    places: &'static Places,
}

impl<'e> Named<'e> {
    #[inline]
    pub fn new(event: &'e Event<'e>) -> Named<'e> {
        static NONE: Places = [NOWHERE; NAMES.len()];
        Named { event, places: PLACES.get(usize::from(event.code.0)).unwrap_or(&NONE) }
    }

    /// No event has so many parameters that one stands at [`NOWHERE`].
    #[inline]
    fn param(&self, c: Column) -> Option<&'e [u8]> {
        match self.places[c as usize] {
            NOWHERE => None,
            place => self.event.param(usize::from(place)),
        }
    }

    #[inline]
    pub fn signed(&self, c: Column) -> Option<i64> {
        event::signed(self.param(c)?)
    }

    #[inline]
    pub fn unsigned(&self, c: Column) -> Option<u64> {
        event::unsigned(self.param(c)?)
    }

    pub fn text(&self, c: Column) -> Option<&'e [u8]> {
        event::text(self.param(c)?)
    }

    /// Bytes of a parameter that has a value.
    pub fn bytes(&self, c: Column) -> Option<&'e [u8]> {
        self.param(c).filter(|bytes| !bytes.is_empty())
    }

    /// The result: the first parameter that is one.
    #[inline]
    pub fn result(&self) -> i64 {
        self.event.signed(0).unwrap_or(-1)
    }
}
