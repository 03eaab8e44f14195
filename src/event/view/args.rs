//! Parameters of an event: their values (`evt.rawarg`), and their texts (`evt.arg`, `evt.args`).

use super::descriptor::{Descriptor, push_address};
use super::fdlist::{self, FdList};
use super::{Payload, View};
use crate::driver::abi;
use crate::enrich::users::UNKNOWN;
use crate::event::arena_text::ArenaText;
use crate::event::clock::{self, Form};
use crate::event::flags;
use crate::event::params::{Format, Param, Source};
use crate::event::path;
use crate::event::record::Address;
use crate::event::types;
use crate::event::value::{FieldArg, Type, Value};
use bumpalo::Bump;
use std::net::IpAddr;

/// The value of a parameter.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// As wide as the type says: sign-extended when that is signed.
    Number(u64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// An address given to or taken from the call.
    Address(Address<'a>),
    /// From where bytes come to where they go; None when there are no two ends.
    Tuple(Option<Tuple<'a>>),
    /// Descriptors and what happened to them.
    FdList(FdList<'a>),
    /// Of a parameter whose type the call decides: the number of an error, of a signal.
    Errno(u64),
    Signal(u64),
}

/// Two ends of a socket.
#[derive(Clone, Copy, Debug)]
pub enum Tuple<'a> {
    Ip {
        from: (IpAddr, u16),
        to: (IpAddr, u16),
    },
    /// What tells the ends apart, and the name.
    Unix {
        from: u64,
        to: u64,
        name: &'a [u8],
    },
}

impl<'r, P: Payload> View<'r, P> {
    /// The parameter an argument of `evt.arg` means.
    pub(super) fn param_of(&self, arg: &FieldArg) -> Option<(u8, &'static Param)> {
        let def = self.def?;
        match arg {
            FieldArg::None => None,
            FieldArg::Index(index) => {
                let index = u8::try_from(*index).ok()?;
                Some((index, def.at(index)?))
            }
            FieldArg::Key(name) => def.param(name),
        }
    }

    /// The value of a parameter; None when it is missing.
    pub(super) fn arg<'a>(&'a self, index: u8, param: &'static Param) -> Option<Arg<'a>> {
        P::arg(self, index, param)
    }

    /// The flags of an open as rules see them; None for other events.
    pub fn open_flags(&self) -> Option<u32> {
        self.number_of_param(self.def?.flags?).map(|flags| flags as u32)
    }

    /// A parameter's number; None when it is missing or none.
    pub fn number_of_param(&self, index: u8) -> Option<u64> {
        match self.arg(index, self.def?.at(index)?)? {
            Arg::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A parameter's text as the program gave it; None when it is missing or none.
    pub fn text_of_param(&self, index: u8) -> Option<&[u8]> {
        match self.arg(index, self.def?.at(index)?)? {
            Arg::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn task_value(&self, value: u32) -> Option<Arg<'_>> {
        let task = self.task?;
        let head = &task.head;
        let itself = task.itself(self.execs);
        let exec = itself.exec;
        let signed = |n: i32| Some(Arg::Number(i64::from(n) as u64));
        let wide = |n: u64| Some(Arg::Number(n));
        match value {
            abi::FSN_V_EXE => Some(Arg::Text(itself.exe())),
            abi::FSN_V_ARGS => exec.map(|e| Arg::Bytes(e.raw_args())),
            abi::FSN_V_TID => signed(head.tid),
            abi::FSN_V_PID => signed(head.pid),
            abi::FSN_V_PTID => signed(head.ppid),
            abi::FSN_V_CWD => Some(Arg::Text(task.cwd())),
            abi::FSN_V_FDLIMIT => wide(head.fdlimit),
            abi::FSN_V_COMM => Some(Arg::Text(task.comm())),
            abi::FSN_V_CGROUPS => Some(Arg::Bytes(task.cgroups().raw())),
            abi::FSN_V_ENV => exec.map(|e| Arg::Bytes(e.environ())),
            abi::FSN_V_TTY => wide(u64::from(head.tty)),
            abi::FSN_V_VPGID => signed(head.vpgid),
            abi::FSN_V_PGID => signed(head.pgid),
            abi::FSN_V_LOGINUID => wide(u64::from(head.loginuid)),
            abi::FSN_V_EXEC_FLAGS => wide(u64::from(self.exec_flags())),
            abi::FSN_V_CAP_INHERITABLE => wide(head.cap_inheritable),
            abi::FSN_V_CAP_PERMITTED => wide(head.cap_permitted),
            abi::FSN_V_CAP_EFFECTIVE => wide(head.cap_effective),
            abi::FSN_V_EXE_INO => exec.map(|e| Arg::Number(e.head.exe_ino)),
            abi::FSN_V_EXE_CTIME => exec.map(|e| Arg::Number(e.head.exe_ctime)),
            abi::FSN_V_EXE_MTIME => exec.map(|e| Arg::Number(e.head.exe_mtime)),
            abi::FSN_V_UID => wide(u64::from(head.uid)),
            abi::FSN_V_GID => wide(u64::from(head.gid)),
            abi::FSN_V_EUID => wide(u64::from(head.euid)),
            abi::FSN_V_EGID => wide(u64::from(head.egid)),
            abi::FSN_V_EXEPATH => exec.map(|e| Arg::Text(e.exe_path())),
            abi::FSN_V_FILENAME => exec.map(|e| Arg::Text(e.filename())),
            abi::FSN_V_VTID => signed(head.vtid),
            abi::FSN_V_VPID => signed(head.vpid),
            abi::FSN_V_PIDNS_INIT_START => wide(self.host.clock.wall_of_boot(head.pidns_init_start).unwrap_or(0)),
            _ => None,
        }
    }

    /// What `evt.arg.flags` of an exec says of the executable.
    pub(super) fn exec_flags(&self) -> u32 {
        let Some(task) = self.task else { return 0 };
        let flags = task.itself(self.execs).exec.map_or(0, |e| e.head.flags);
        let bit = |flag, bit| if flags & flag != 0 { bit } else { 0 };
        u32::from(task.exe_writable(self.execs))
            | bit(abi::FSN_EXEC_UPPER, 2)
            | bit(abi::FSN_EXEC_MEMFD, 4)
            | bit(abi::FSN_EXEC_LOWER, 8)
    }

    /// `evt.rawarg`: the value in its own type.
    pub(super) fn raw_value<'a>(&'a self, arg: &FieldArg, arena: &'a Bump) -> Option<Value<'a>> {
        let (index, param) = self.param_of(arg)?;
        let Some(arg) = self.arg(index, param) else {
            // A text that was not there has one of its own, as in captures.
            let is_text = matches!(param.ty, Type::Charbuf | Type::FsPath | Type::FsRelPath);
            return is_text.then_some(Value::Str(UNKNOWN));
        };
        Some(match arg {
            Arg::Number(n) if is_signed(param.ty) => Value::I64(n as i64),
            Arg::Number(n) => Value::U64(n),
            // A number that a capture leaves out; only texts say so.
            Arg::Text(_) if is_number(param.ty) => return None,
            Arg::Text([]) | Arg::Bytes([]) | Arg::Tuple(None) => return None,
            Arg::Text(text) => Value::Str(text),
            Arg::Bytes(bytes) => Value::Bytes(bytes),
            Arg::Errno(n) | Arg::Signal(n) => Value::U64(n),
            Arg::Address(_) | Arg::Tuple(_) | Arg::FdList(_) => Value::Bytes(self.param_text(index, param, arena)),
        })
    }

    /// `evt.arg`: the text that says most.
    pub(super) fn param_text<'a>(&'a self, index: u8, param: &'static Param, arena: &'a Bump) -> &'a [u8] {
        let mut text = ArenaText::new(arena);
        if !self.push_resolved(index, param, &mut text, arena) {
            self.push_raw(index, param, &mut text);
        }
        text.finish()
    }

    /// A parameter's text as it is, whatever it stands for.
    pub(super) fn raw_text<'a>(&'a self, index: u8, param: &'static Param, arena: &'a Bump) -> &'a [u8] {
        let mut text = ArenaText::new(arena);
        self.push_raw(index, param, &mut text);
        text.finish()
    }

    /// `evt.args`: `name=raw(resolved)` of every parameter.
    pub(super) fn all_args<'a>(&'a self, arena: &'a Bump) -> &'a [u8] {
        let Some(def) = self.def else { return b"" };
        if self.code.is_generic() {
            return b"";
        }
        let mut text = ArenaText::with_capacity(256, arena);
        for (index, param) in (0u8..).zip(def.params.iter()) {
            if index > 0 {
                text.push(b" ");
            }
            text.push_str(param.name);
            text.push(b"=");
            if param.ty == Type::AbsTime {
                self.push_resolved(index, param, &mut text, arena);
                continue;
            }
            self.push_raw(index, param, &mut text);
            text.push(b"(");
            if self.push_resolved(index, param, &mut text, arena) {
                text.push(b")");
            } else {
                text.truncate(text.len() - 1);
            }
        }
        text.finish()
    }

    fn push_raw(&self, index: u8, param: &'static Param, text: &mut ArenaText<'_>) {
        match self.arg(index, param) {
            Some(Arg::Number(n)) => push_number(param, n, text),
            Some(Arg::Text(t)) => text.push(t),
            Some(Arg::Bytes([])) if param.ty != Type::Dyn => text.push_str("NULL"),
            Some(Arg::Bytes(bytes)) => push_printable(bytes, text),
            Some(Arg::Address(address)) => push_given(address, text),
            Some(Arg::Tuple(Some(tuple))) => push_tuple(tuple, text),
            Some(Arg::Tuple(None)) => text.push(b"NULL"),
            Some(Arg::FdList(list)) => fdlist::push_list(self, list, text),
            Some(Arg::Errno(n)) => text.push_fmt(format_args!("{}", (n as i64).wrapping_neg())),
            Some(Arg::Signal(n)) => text.push_fmt(format_args!("{n}")),
            None => text.push(match param.ty {
                Type::Bytebuf | Type::SockTuple => b"NULL",
                Type::SigSet | Type::FdList => b"",
                Type::Dyn if param.class_name == "sockopt_dynamic_param" => b"",
                Type::Dyn => b"0",
                ty if is_number(ty) => b"0",
                _ => UNKNOWN,
            }),
        }
    }

    /// Appends what the number or name stands for; false, appending nothing, when it stands for itself.
    fn push_resolved(&self, index: u8, param: &'static Param, text: &mut ArenaText<'_>, arena: &Bump) -> bool {
        let start = text.len();
        match self.arg(index, param) {
            Some(Arg::Number(n)) => self.push_meaning(index, param, n, text, arena),
            Some(Arg::Signal(n)) => text.push_str(flags::signal_name(n).unwrap_or_default()),
            Some(Arg::Errno(n)) => text.push_str(flags::errno_name(n).unwrap_or_default()),
            // An absolute path is shown as it was given, whatever it would be tidied to; what the kernel says of the
            // task is no path from its directory.
            Some(Arg::Text(given))
                if matches!(param.ty, Type::FsPath | Type::FsRelPath)
                    && !matches!(param.source, Source::Task(_))
                    && !matches!(given.first(), None | Some(b'/'))
                    && given != UNKNOWN =>
            {
                // Below an unknown directory it stays what it is.
                let path = self.path_of_param(index, arena).unwrap_or_default();
                text.push(match path.first() {
                    Some(b'/') => path,
                    _ if path.starts_with(path::UNKNOWN_DIR) => given,
                    _ => b"",
                });
            }
            _ => {}
        }
        text.len() > start
    }

    fn push_meaning(&self, index: u8, param: &'static Param, n: u64, text: &mut ArenaText<'_>, arena: &Bump) {
        let signed = n as i64;
        match param.ty {
            Type::Errno if signed < 0 => push_errno(signed, text),
            Type::Fd if signed == i64::from(libc::AT_FDCWD) => text.push_str("AT_FDCWD"),
            Type::Fd if signed < 0 => push_errno(signed, text),
            Type::Fd => {
                // A number that is the main descriptor's is that descriptor.
                let same = || self.descriptor().filter(|main| i64::from(main.number) == signed);
                if let Some(fd) = P::descriptor_of(self, index).or_else(same) {
                    self.push_descriptor(fd, index, text, arena);
                }
            }
            Type::Pid => {
                let relative = self.task.and_then(|task| task.name_of_pid(signed));
                text.push(relative.or_else(|| P::name_of_tid(self, signed, arena)).unwrap_or_default());
            }
            Type::Uid if n == u64::from(u32::MAX) => text.push_str("<NONE>"),
            Type::Gid if n == u64::from(u32::MAX) => text.push_str("<NONE>"),
            Type::Uid => text.push(P::users(self).listed_user(n as u32)),
            Type::Gid => text.push(P::users(self).listed_group(n as u32)),
            Type::SigType => text.push_str(flags::signal_name(n).unwrap_or_default()),
            Type::SyscallId => text.push_str(types::syscall(n as u16).map_or("", |call| call.name)),
            Type::RelTime => clock::push_seconds(n, text),
            Type::AbsTime => {
                text.push(clock::format_time(n, self.host.clock.utc_offset, Form::DateTime, true, arena));
            }
            _ if param.plain_number => {}
            ty => {
                if let Some(class) = param.class {
                    match ty {
                        Type::EnumFlags8 | Type::EnumFlags16 | Type::EnumFlags32 => class.push_enum(n as u32, text),
                        _ => class.push_bits(n as u32, text),
                    };
                }
            }
        }
    }

    /// `<f>/etc/passwd`, `<4t>1.2.3.4:5->6.7.8.9:10`.
    fn push_descriptor(&self, fd: Descriptor<'_>, index: u8, text: &mut ArenaText<'_>, arena: &Bump) {
        text.push(b"<");
        text.push(fd.type_char().as_bytes());
        text.push(fd.l4_char().as_bytes());
        text.push(b">");
        let is_main = P::fd_number(self) == Some(i64::from(fd.number));
        if is_main && self.def.is_some_and(|def| def.main_fd == Some(index)) {
            text.push(self.fd_name(arena));
        } else {
            fd.push_name(text);
        }
    }
}

fn push_tuple(tuple: Tuple<'_>, text: &mut ArenaText<'_>) {
    match tuple {
        Tuple::Ip { from, to } => {
            push_address(from.0, from.1, text);
            text.push(b"->");
            push_address(to.0, to.1, text);
        }
        Tuple::Unix { from, to, name } => {
            if to != 0 {
                text.push_fmt(format_args!("{from:x}->{to:x} "));
            }
            text.push(name);
        }
    }
}

/// A buffer with a dot for everything that cannot be printed.
pub(super) fn push_printable(bytes: &[u8], text: &mut ArenaText<'_>) {
    for byte in bytes {
        let printable = matches!(byte, 0x20..=0x7e);
        text.push(if printable { std::slice::from_ref(byte) } else { b"." });
    }
}

fn push_given(address: Address<'_>, text: &mut ArenaText<'_>) {
    match address {
        Address::Ip(ip, port) => push_address(ip, port, text),
        Address::Unix(name) => text.push(name),
    }
}

fn push_errno(negative: i64, text: &mut ArenaText<'_>) {
    text.push_str(flags::errno_name(negative.unsigned_abs()).unwrap_or_default());
}

/// Bits of a type; 64 for those that are no fixed-width numbers.
const fn width(ty: Type) -> u32 {
    match ty {
        Type::Int8
        | Type::Uint8
        | Type::Flags8
        | Type::EnumFlags8
        | Type::SigType
        | Type::L4Proto
        | Type::SockFamily => 8,
        Type::Int16 | Type::Uint16 | Type::Flags16 | Type::EnumFlags16 | Type::SyscallId | Type::Port => 16,
        Type::Int32
        | Type::Uint32
        | Type::Flags32
        | Type::EnumFlags32
        | Type::Mode
        | Type::Uid
        | Type::Gid
        | Type::SigSet
        | Type::Bool
        | Type::Fd
        | Type::Pid => 32,
        _ => 64,
    }
}

pub const fn is_signed(ty: Type) -> bool {
    matches!(ty, Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 | Type::Errno | Type::Fd | Type::Pid)
}

pub const fn is_number(ty: Type) -> bool {
    !matches!(
        ty,
        Type::Charbuf
            | Type::Bytebuf
            | Type::FsPath
            | Type::FsRelPath
            | Type::SockAddr
            | Type::SockTuple
            | Type::FdList
            | Type::Dyn
            | Type::SigSet
    )
}

/// The value cut to its type's width, sign-extended when that is signed.
pub const fn narrowed(ty: Type, value: u64) -> u64 {
    let unused = 64 - width(ty);
    if is_signed(ty) { ((value << unused) as i64 >> unused) as u64 } else { value << unused >> unused }
}

/// A number as its parameter is written. Decimal numbers are written signed whatever their type (an unsigned -1 is
/// how "none" is passed), sets of bits are not.
fn push_number(param: &Param, n: u64, text: &mut ArenaText<'_>) {
    let ty = param.ty;
    match (param.format, ty) {
        (_, Type::SigSet) => {
            let names = (0..32u64).filter(|bit| n >> bit & 1 == 1).filter_map(|bit| flags::signal_name(bit + 1));
            for (i, name) in names.enumerate() {
                text.push(if i == 0 { b"" } else { b" " });
                text.push_str(name);
            }
        }
        (_, Type::Errno | Type::Fd | Type::Pid) => text.push_fmt(format_args!("{}", n as i64)),
        (
            _,
            Type::Flags8
            | Type::Flags16
            | Type::Flags32
            | Type::EnumFlags8
            | Type::EnumFlags16
            | Type::EnumFlags32
            | Type::SigType,
        ) => text.push_fmt(format_args!("{n}")),
        (Format::Hex | Format::Hex32, _) => {
            let unused = 64 - width(ty);
            text.push_fmt(format_args!("{:X}", n << unused >> unused));
        }
        (Format::Octal, _) if n == 0 => text.push(b"0"),
        (Format::Octal, _) => text.push_fmt(format_args!("0{n:o}")),
        (Format::Decimal, Type::Dyn) => text.push_fmt(format_args!("{n}")),
        (Format::Decimal, _) => {
            let unused = 64 - width(ty);
            text.push_fmt(format_args!("{}", (n << unused) as i64 >> unused));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_wide_as_their_type() {
        assert_eq!(narrowed(Type::Uint8, 0xfff), 0xff);
        assert_eq!(narrowed(Type::Fd, 0xffff_ff9c) as i64, -100);
        assert_eq!(narrowed(Type::Errno, -2i64 as u64) as i64, -2);
        assert_eq!(narrowed(Type::Uint64, u64::MAX), u64::MAX);
        assert_eq!(narrowed(Type::Int16, 0x1_8000) as i64, -32768);
    }
}
