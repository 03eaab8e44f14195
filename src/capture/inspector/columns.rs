//! Where the parameters that change state stand in each event, found by name once.

use crate::capture::event::Event;
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

/// Index of a parameter of an event; None when it has none of this name.
pub fn column(code: EventCode, column: Column) -> Option<usize> {
    static ALL: LazyLock<Vec<[u8; NAMES.len()]>> = LazyLock::new(|| {
        let of = |code| {
            let mut places = [u8::MAX; NAMES.len()];
            if let Some(def) = params::event(EventCode(code)) {
                for (place, name) in places.iter_mut().zip(NAMES) {
                    *place = def.param(name).map_or(u8::MAX, |(index, _)| index);
                }
            }
            places
        };
        (0..EVENTS.len() as u16).map(of).collect()
    });
    let place = ALL.get(usize::from(code.0))?[column as usize];
    (place != u8::MAX).then_some(usize::from(place))
}

/// An event's parameters by name.
#[derive(Clone, Copy)]
pub(super) struct Named<'e>(pub &'e Event<'e>);

impl<'e> Named<'e> {
    pub fn signed(&self, c: Column) -> Option<i64> {
        self.0.signed(column(self.0.code, c)?)
    }

    pub fn unsigned(&self, c: Column) -> Option<u64> {
        self.0.unsigned(column(self.0.code, c)?)
    }

    pub fn text(&self, c: Column) -> Option<&'e [u8]> {
        self.0.text(column(self.0.code, c)?)
    }

    /// Bytes of a parameter that has a value.
    pub fn bytes(&self, c: Column) -> Option<&'e [u8]> {
        self.0.param(column(self.0.code, c)?).filter(|bytes| !bytes.is_empty())
    }

    /// The result: the first parameter that is one.
    pub fn result(&self) -> i64 {
        self.0.signed(0).unwrap_or(-1)
    }
}
