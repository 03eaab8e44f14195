//! What an event carries: the module's table of parameters in the form the fields need.
//!
//! Built once from `kmod/syscalls.c`, which stays the only place where a parameter is declared.

use super::flags::{self, Class};
use super::types::EventCode;
use super::value::Type;
use crate::driver::abi::{self, fsn_param};
use crate::driver::table;
use std::sync::LazyLock;

pub use super::value::Format;

/// Where the value of a parameter is found. Numbers are argument registers or indices of other parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Not captured.
    Absent,
    Ret,
    Arg(u8),
    /// Argument `.0`, 0 unless the open flags in argument `.1` can create a file.
    OpenMode(u8, u8),
    /// The system call's own id.
    Syscall,
    /// Its number as called.
    Number,
    Const(u8),
    /// A value of the task (`FSN_V_*`).
    Task(u8),
    /// Of the descriptor attached to another parameter.
    FdDev(u8),
    FdIno(u8),
    FdPath(u8),
    FdLayer(u8),
    Socket(u8),
    /// Of an exec: on success the task's value `.value`, on failure what the attachment of `.param` says.
    ExecArg0 {
        param: u8,
        value: u8,
    },
    ExecArgv {
        value: u8,
    },
    ExecFilename {
        value: u8,
    },
    /// The return value, a new descriptor.
    RetFd,
    /// Argument: a descriptor.
    Fd(u8),
    /// Argument: a descriptor of a directory.
    DirFd(u8),
    /// Whatever is attached to this parameter.
    Attached,
}

/// One parameter.
#[derive(Debug)]
pub struct Param {
    pub name: &'static str,
    pub ty: Type,
    pub format: Format,
    /// Bytes of a number in a capture; 0 for what has a length of its own.
    pub width: u8,
    pub source: Source,
    /// Index of the parameter with the directory a relative path starts at.
    pub dirfd: Option<u8>,
    /// Class of its symbols; empty when it has none.
    pub class_name: &'static str,
    pub class: Option<&'static Class>,
    /// From the kernel's number to the format's; None where they are the same.
    pub convert: Option<fn(u32) -> u32>,
    /// The number means this only at one level of a socket's options.
    pub socket_level: bool,
    /// Set by the kernel: absent when the call failed.
    pub on_success: bool,
    /// Translated by its class, but shown as a number.
    pub plain_number: bool,
}

/// One event type that the module can raise.
#[derive(Debug)]
pub struct EventDef {
    pub code: EventCode,
    /// `evt.type`.
    pub name: &'static str,
    /// `FSN_P_*`.
    pub props: u32,
    pub params: Box<[Param]>,
    /// The descriptor the event is about.
    pub main_fd: Option<u8>,
    /// The path of a call with one path.
    pub main_path: Option<u8>,
    /// `fs.path.source` and `.target` of a call with two.
    pub path_source: Option<u8>,
    pub path_target: Option<u8>,
    /// The parameter called `flags`.
    pub flags: Option<u8>,
    /// The kinds of call that are asked for by name on the path of an event.
    pub family: Family,
    /// The argument registers that its values come from; None where one comes from the task, or means what the host or the task says.
    pub registers: Option<Registers>,
}

/// Argument registers, but for addresses, whose bits say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Registers {
    /// One bit each.
    pub used: u8,
    /// The mode of an open, which is one only with flags that make a file.
    pub open_mode: Option<(u8, u8)>,
}

impl Registers {
    fn of(params: &[Param]) -> Option<Registers> {
        let mut registers = Registers::default();
        for param in params {
            // What numbers of users, threads and descriptors stand for is not in the record.
            if matches!(param.ty, Type::Uid | Type::Gid | Type::Pid | Type::FdList | Type::AbsTime | Type::RelTime) {
                return None;
            }
            match param.source {
                Source::Task(_) | Source::ExecArg0 { .. } | Source::ExecArgv { .. } | Source::ExecFilename { .. } => {
                    return None;
                }
                Source::Arg(n) | Source::Fd(n) | Source::DirFd(n) => registers.used |= 1 << n,
                Source::OpenMode(mode, flags) => registers.open_mode = Some((mode, flags)),
                Source::Absent
                | Source::Ret
                | Source::RetFd
                | Source::Syscall
                | Source::Number
                | Source::Const(_)
                | Source::FdDev(_)
                | Source::FdIno(_)
                | Source::FdPath(_)
                | Source::FdLayer(_)
                | Source::Socket(_)
                | Source::Attached => {}
            }
        }
        Some(registers)
    }
}

/// Calls whose fields have rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Other,
    /// open, openat, openat2, open_by_handle_at.
    Open,
    Creat,
    Connect,
    Accept,
    Bind,
    /// Calls that send or receive and may name the other end.
    Send,
    Receive,
    Exec,
    Socket,
    Fcntl,
    /// dup, dup2, dup3.
    Dup,
    /// clone, clone3, fork, vfork.
    Clone,
}

impl EventDef {
    /// The parameter with a name and its index.
    pub fn param(&self, name: &str) -> Option<(u8, &Param)> {
        (0u8..).zip(self.params.iter()).find(|(_, p)| p.name == name)
    }

    /// The parameter at an index.
    pub fn at(&self, index: u8) -> Option<&Param> {
        self.params.get(usize::from(index))
    }

    /// Whether a property (`FSN_P_*`) is set.
    pub const fn has(&self, prop: u32) -> bool {
        self.props & prop != 0
    }
}

/// What events of a code carry, or None when the module has no such event.
pub fn event(code: EventCode) -> Option<&'static EventDef> {
    static ALL: LazyLock<Vec<Option<EventDef>>> = LazyLock::new(all);
    ALL.get(usize::from(code.0))?.as_ref()
}

/// Type of the parameter called `name`, wherever it occurs first in the order of the codes: what a filter assumes of
/// `evt.rawarg.NAME` before it has an event. None when no event has such a parameter.
pub fn type_of_param(name: &str) -> Option<Type> {
    if let Some((_, ty)) = OLD_PARAMS.iter().find(|(old, _)| *old == name) {
        return Some(*ty);
    }
    (0..super::types::EVENTS.len() as u16)
        .filter_map(|code| event(EventCode(code)))
        .find_map(|def| def.param(name).map(|(_, p)| p.ty))
}

/// Parameters whose first event is one of older recorders, with the type they had there. Where today's events have them too,
/// conditions take them for that type; else conditions may name them, and find no value.
const OLD_PARAMS: &[(&str, Type)] = &[
    ("fdlimit", Type::Uint64),
    ("uid", Type::Uint32),
    ("gid", Type::Uint32),
    ("request", Type::Uint64),
    ("image", Type::Charbuf),
    ("tags", Type::Bytebuf),
    ("tty", Type::Int32),
    ("res_or_fd", Type::Dyn),
];

/// Whether any event, of today or before, has a parameter of this name.
pub fn is_param(name: &str) -> bool {
    type_of_param(name).is_some()
}

fn all() -> Vec<Option<EventDef>> {
    let mut all: Vec<Option<EventDef>> = Vec::new();
    for row in table::events() {
        let code = usize::from(row.code);
        if all.len() <= code {
            all.resize_with(code + 1, || None);
        }
        let name = table::event_name(row);
        let index = |i: i16| u8::try_from(i).ok().filter(|i| u16::from(*i) < row.nparams);
        let params: Box<[Param]> = table::params(row).iter().map(|row| param(row, name)).collect();
        all[code] = Some(EventDef {
            code: EventCode(row.code),
            name,
            props: row.props,
            registers: Registers::of(&params),
            flags: (0u8..).zip(params.iter()).find(|(_, p)| p.name == "flags").map(|(index, _)| index),
            params,
            main_fd: index(row.main_fd),
            main_path: index(row.main_path),
            path_source: index(row.path_source),
            path_target: index(row.path_target),
            family: family(name),
        });
    }
    all
}

fn family(name: &str) -> Family {
    match name {
        "open" | "openat" | "openat2" | "open_by_handle_at" => Family::Open,
        "creat" => Family::Creat,
        "connect" => Family::Connect,
        "accept" | "accept4" => Family::Accept,
        "bind" => Family::Bind,
        "send" | "sendto" | "sendmsg" | "sendmmsg" => Family::Send,
        "recv" | "recvfrom" | "recvmsg" | "recvmmsg" => Family::Receive,
        "execve" | "execveat" => Family::Exec,
        "socket" => Family::Socket,
        "fcntl" => Family::Fcntl,
        "dup" | "dup2" | "dup3" => Family::Dup,
        "clone" | "clone3" | "fork" | "vfork" => Family::Clone,
        _ => Family::Other,
    }
}

/// Name of the class of a parameter's symbols; empty when it has none.
fn class_name(row: &'static fsn_param) -> &'static str {
    if row.flags.is_null() {
        return "";
    }
    // SAFETY: a row of the table: its class is null or a NUL-terminated literal.
    unsafe { std::ffi::CStr::from_ptr(row.flags) }.to_str().unwrap_or_default()
}

fn param(row: &'static fsn_param, event: &str) -> Param {
    let class_name = class_name(row);
    Param {
        name: table::param_name(row),
        ty: type_of(u32::from(row.type_)),
        format: match u32::from(row.format) {
            abi::FSN_F_HEX => Format::Hex,
            abi::FSN_F_OCT => Format::Octal,
            _ => Format::Decimal,
        },
        width: width(u32::from(row.type_)),
        source: source(row),
        dirfd: u8::try_from(row.dirfd).ok(),
        class_name,
        class: flags::class(class_name),
        convert: flags::converter(class_name, event),
        socket_level: class_name == "sockopt_options",
        on_success: u32::from(row.bits) & abi::FSN_B_SUCCESS != 0,
        plain_number: u32::from(row.bits) & abi::FSN_B_NUMBER != 0,
    }
}

fn source(row: &fsn_param) -> Source {
    let (arg, aux) = (row.arg, row.aux);
    match u32::from(row.source) {
        abi::FSN_S_ABSENT => Source::Absent,
        abi::FSN_S_RET => Source::Ret,
        abi::FSN_S_ARG => Source::Arg(arg),
        abi::FSN_S_OPEN_MODE => Source::OpenMode(arg, aux),
        abi::FSN_S_SC => Source::Syscall,
        abi::FSN_S_NR => Source::Number,
        abi::FSN_S_CONST => Source::Const(arg),
        abi::FSN_S_TASK => Source::Task(arg),
        abi::FSN_S_FD_DEV => Source::FdDev(arg),
        abi::FSN_S_FD_INO => Source::FdIno(arg),
        abi::FSN_S_FD_PATH => Source::FdPath(arg),
        abi::FSN_S_FD_LAYER => Source::FdLayer(arg),
        abi::FSN_S_FD_SOCK => Source::Socket(arg),
        abi::FSN_S_EXEC_ARG0 => Source::ExecArg0 { param: arg, value: aux },
        abi::FSN_S_EXEC_ARGV => Source::ExecArgv { value: aux },
        abi::FSN_S_EXEC_FILENAME => Source::ExecFilename { value: aux },
        abi::FSN_S_RET_FD => Source::RetFd,
        abi::FSN_S_FD => Source::Fd(arg),
        abi::FSN_S_DIRFD => Source::DirFd(arg),
        _ => Source::Attached,
    }
}

fn width(ty: u32) -> u8 {
    match ty {
        abi::FSN_T_INT8
        | abi::FSN_T_UINT8
        | abi::FSN_T_SIGTYPE
        | abi::FSN_T_L4PROTO
        | abi::FSN_T_SOCKFAMILY
        | abi::FSN_T_FLAGS8
        | abi::FSN_T_ENUMFLAGS8 => 1,
        abi::FSN_T_INT16
        | abi::FSN_T_UINT16
        | abi::FSN_T_SYSCALLID
        | abi::FSN_T_PORT
        | abi::FSN_T_FLAGS16
        | abi::FSN_T_ENUMFLAGS16 => 2,
        abi::FSN_T_INT32
        | abi::FSN_T_UINT32
        | abi::FSN_T_FD32
        | abi::FSN_T_PID32
        | abi::FSN_T_BOOL
        | abi::FSN_T_UID
        | abi::FSN_T_GID
        | abi::FSN_T_MODE
        | abi::FSN_T_SIGSET
        | abi::FSN_T_FLAGS32
        | abi::FSN_T_ENUMFLAGS32 => 4,
        abi::FSN_T_INT64
        | abi::FSN_T_UINT64
        | abi::FSN_T_ERRNO
        | abi::FSN_T_FD
        | abi::FSN_T_PID
        | abi::FSN_T_RELTIME
        | abi::FSN_T_ABSTIME
        | abi::FSN_T_DOUBLE => 8,
        _ => 0,
    }
}

fn type_of(ty: u32) -> Type {
    match ty {
        abi::FSN_T_INT8 => Type::Int8,
        abi::FSN_T_INT16 => Type::Int16,
        abi::FSN_T_INT32 => Type::Int32,
        abi::FSN_T_INT64 => Type::Int64,
        abi::FSN_T_UINT8 => Type::Uint8,
        abi::FSN_T_UINT16 => Type::Uint16,
        abi::FSN_T_UINT32 => Type::Uint32,
        abi::FSN_T_UINT64 => Type::Uint64,
        abi::FSN_T_CHARBUF => Type::Charbuf,
        abi::FSN_T_ERRNO => Type::Errno,
        abi::FSN_T_SOCKADDR => Type::SockAddr,
        abi::FSN_T_SOCKTUPLE => Type::SockTuple,
        abi::FSN_T_FD | abi::FSN_T_FD32 => Type::Fd,
        abi::FSN_T_PID | abi::FSN_T_PID32 => Type::Pid,
        abi::FSN_T_FDLIST => Type::FdList,
        abi::FSN_T_FSPATH => Type::FsPath,
        abi::FSN_T_FSRELPATH => Type::FsRelPath,
        abi::FSN_T_SYSCALLID => Type::SyscallId,
        abi::FSN_T_SIGTYPE => Type::SigType,
        abi::FSN_T_RELTIME => Type::RelTime,
        abi::FSN_T_ABSTIME => Type::AbsTime,
        abi::FSN_T_PORT => Type::Port,
        abi::FSN_T_L4PROTO => Type::L4Proto,
        abi::FSN_T_SOCKFAMILY => Type::SockFamily,
        abi::FSN_T_BOOL => Type::Bool,
        abi::FSN_T_IPV4ADDR => Type::Ipv4Addr,
        abi::FSN_T_IPV6ADDR => Type::Ipv6Addr,
        abi::FSN_T_IPADDR => Type::IpAddr,
        abi::FSN_T_IPV4NET => Type::Ipv4Net,
        abi::FSN_T_IPV6NET => Type::Ipv6Net,
        abi::FSN_T_IPNET => Type::IpNet,
        abi::FSN_T_DYN => Type::Dyn,
        abi::FSN_T_FLAGS8 => Type::Flags8,
        abi::FSN_T_FLAGS16 => Type::Flags16,
        abi::FSN_T_FLAGS32 => Type::Flags32,
        abi::FSN_T_ENUMFLAGS8 => Type::EnumFlags8,
        abi::FSN_T_ENUMFLAGS16 => Type::EnumFlags16,
        abi::FSN_T_ENUMFLAGS32 => Type::EnumFlags32,
        abi::FSN_T_UID => Type::Uid,
        abi::FSN_T_GID => Type::Gid,
        abi::FSN_T_DOUBLE => Type::Double,
        abi::FSN_T_SIGSET => Type::SigSet,
        abi::FSN_T_MODE => Type::Mode,
        // Buffers, and the arrays that only snapshots of captures have.
        _ => Type::Bytebuf,
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Age, EVENTS};
    use super::*;

    #[test]
    fn the_table_agrees_with_the_event_types() {
        for (code, info) in (0..).map(EventCode).zip(EVENTS.iter()) {
            match event(code) {
                Some(def) => assert_eq!((def.name, info.age), (info.name, Age::Current), "{code:?}"),
                None => assert_ne!(info.age, Age::Current, "{} is not in the module's table", info.name),
            }
        }
    }

    #[test]
    fn classes_of_symbols_exist() {
        // These are known by name to the code that prints them.
        let special = ["sockopt_dynamic_param", "ptrace_dynamic_param", "keyctl_dynamic_param", "mknod_dev"];
        for code in (0..454).map(EventCode) {
            for param in event(code).iter().flat_map(|def| def.params.iter()) {
                if !param.class_name.is_empty() && !special.contains(&param.class_name) {
                    assert!(param.class.is_some(), "{code:?} {}: {}", param.name, param.class_name);
                }
            }
        }
    }

    #[test]
    fn parameters_are_found_by_name() {
        let def = event(EventCode(307)).expect("openat");
        assert_eq!(def.param("flags").map(|(i, p)| (i, p.ty)), Some((3, Type::Flags32)));
        assert_eq!(def.param("nosuch").map(|(i, _)| i), None);
        assert_eq!((def.main_fd, def.main_path, def.family), (Some(0), Some(2), Family::Open));
        assert_eq!(type_of_param("nosuch"), None);
        assert_eq!(type_of_param("res"), Some(Type::Errno));
    }
}
