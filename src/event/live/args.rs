//! Parameters of an event: their values (`evt.rawarg`), and their texts (`evt.arg`, `evt.args`).

use super::LiveEvent;
use super::fd::{Descriptor, push_address};
use crate::driver::abi;
use crate::enrich::users::UNKNOWN;
use crate::event::arena_text::ArenaText;
use crate::event::clock::{self, Form};
use crate::event::flags;
use crate::event::params::{Family, Format, Param, Source};
use crate::event::record::Address;
use crate::event::types;
use crate::event::value::{FieldArg, Type, Value};
use bumpalo::Bump;

/// The value of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    /// As wide as the type says: sign-extended when that is signed.
    Number(u64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// An address given to or taken from the call.
    Address(Address<'a>),
    /// Both ends of a connection: an address to put in the other end's place, or the socket's own.
    Tuple(Option<Address<'a>>),
}

/// How many bytes of a buffer a text shows.
const SHOWN: usize = 1023;

impl<'r> LiveEvent<'r> {
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
        if param.on_success && self.record.head.ret < 0 {
            return None;
        }
        let number = |raw| Some(Arg::Number(self.translated(param, raw)));
        match param.source {
            Source::Absent => None,
            Source::Ret | Source::RetFd => number(self.record.head.ret as u64),
            Source::Arg(n) | Source::Fd(n) | Source::DirFd(n) => number(self.register(n)),
            Source::OpenMode(mode, open) => {
                number(if flags::creates_file(self.register(open) as u32) { self.register(mode) } else { 0 })
            }
            Source::Syscall => number(u64::from(self.record.head.sc)),
            Source::Number => number(u64::from(self.record.head.nr)),
            Source::Const(value) => number(u64::from(value)),
            Source::Task(value) => self.task_value(u32::from(value)),
            Source::FdDev(of) => number(self.record.fd(of).map_or(0, |fd| u64::from(fd.head.dev))),
            Source::FdIno(of) => number(self.record.fd(of).map_or(0, |fd| fd.head.ino)),
            Source::FdPath(of) => Some(Arg::Text(Descriptor::of(self.record.fd(of)?).opened_path())),
            Source::FdLayer(of) => {
                let flags = self.record.fd(of).map_or(0, |fd| fd.head.flags);
                let upper = u64::from(flags & abi::FSN_FD_UPPER != 0);
                let lower = u64::from(flags & abi::FSN_FD_LOWER != 0);
                Some(Arg::Number(upper | lower << 1))
            }
            Source::Socket(of) => self.record.fd(of)?.socket.map(|_| Arg::Tuple(None)),
            Source::ExecArg0 { param: of, value } => {
                if self.is_exec_success() {
                    return self.task_value(u32::from(value));
                }
                let argv = self.record.attachment_of(of, abi::FSN_ATT_STRV)?.data;
                Some(Arg::Text(argv.split(|b| *b == 0).next().unwrap_or_default()))
            }
            Source::ExecArgv { value } => {
                if self.is_exec_success() {
                    return self.task_value(u32::from(value));
                }
                let argv = self.record.attachment_of(index, abi::FSN_ATT_STRV)?.data;
                // The arguments start after argv[0]; an environment starts at its start.
                let start = if u32::from(value) == abi::FSN_V_ARGS {
                    memchr::memchr(0, argv).map_or(argv.len(), |end| end + 1)
                } else {
                    0
                };
                Some(Arg::Bytes(&argv[start..]))
            }
            Source::ExecFilename { value } => {
                if self.is_exec_success() {
                    return self.task_value(u32::from(value));
                }
                Some(Arg::Text(self.record.attachment_of(index, abi::FSN_ATT_STR)?.data))
            }
            Source::Attached => self.attached(index, param),
        }
    }

    fn register(&self, n: u8) -> u64 {
        self.record.head.args.get(usize::from(n)).copied().unwrap_or(0)
    }

    fn attached<'a>(&'a self, index: u8, param: &'static Param) -> Option<Arg<'a>> {
        if param.ty == Type::SockTuple {
            let peer = self.record.attachment_of(index, abi::FSN_ATT_SOCKADDR).and_then(|a| a.address());
            let socket = self.main_socket().is_some();
            return (socket || peer.is_some()).then_some(Arg::Tuple(peer));
        }
        let mut found = None;
        // A descriptor pair attaches its number and the descriptor itself.
        for attachment in self.record.attachments().filter(|a| a.head.param == index) {
            match u32::from(attachment.head.kind) {
                abi::FSN_ATT_STR | abi::FSN_ATT_PATH => found = Some(Arg::Text(attachment.data)),
                abi::FSN_ATT_BYTES | abi::FSN_ATT_STRV => found = Some(Arg::Bytes(attachment.data)),
                abi::FSN_ATT_U64 => found = Some(Arg::Number(self.translated(param, attachment.number(0)?))),
                abi::FSN_ATT_SOCKADDR => found = attachment.address().map(Arg::Address),
                _ => {}
            }
        }
        match (found, param.ty) {
            // A number that could not be read is 0, as in Falco; a descriptor of a failed call is -1.
            (None, Type::Fd) => Some(Arg::Number(-1i64 as u64)),
            (None, ty) if is_number(ty) => Some(Arg::Number(self.translated(param, 0))),
            (found, _) => found,
        }
    }

    /// From the kernel's number to the one rules see: by its class first, then as wide as the type.
    fn translated(&self, param: &Param, raw: u64) -> u64 {
        let mut value = match param.convert {
            None => raw,
            // What an option is depends on the level it belongs to.
            Some(_) if param.socket_level && self.register(1) as i32 != libc::SOL_SOCKET => 0,
            Some(convert) => u64::from(convert(raw as u32)),
        };
        if self.family() == Family::Open
            && param.name == "flags"
            && let Some(fd) = self.record.fd(0)
        {
            let bit = |flag, bit| if fd.head.flags & flag != 0 { u64::from(bit) } else { 0 };
            value |= bit(abi::FSN_FD_CREATED, flags::open_bit::F_CREATED)
                | bit(abi::FSN_FD_UPPER, flags::open_bit::UPPER_LAYER)
                | bit(abi::FSN_FD_LOWER, flags::open_bit::LOWER_LAYER);
        }
        narrowed(param.ty, value)
    }

    /// The flags of an open as rules see them; None for other events.
    pub(super) fn open_flags(&self) -> Option<u32> {
        self.number_of_param(self.def?.flags?).map(|flags| flags as u32)
    }

    /// A parameter's number; None when it is missing or none.
    pub(super) fn number_of_param(&self, index: u8) -> Option<u64> {
        match self.arg(index, self.def?.at(index)?)? {
            Arg::Number(number) => Some(number),
            _ => None,
        }
    }

    /// A parameter's text as the program gave it; None when it is missing or none.
    pub(super) fn text_of_param(&self, index: u8) -> Option<&[u8]> {
        match self.arg(index, self.def?.at(index)?)? {
            Arg::Text(text) => Some(text),
            _ => None,
        }
    }

    fn task_value(&self, value: u32) -> Option<Arg<'_>> {
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
            abi::FSN_V_CGROUPS => Some(Arg::Bytes(task.cgroups())),
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
        Some(match self.arg(index, param)? {
            Arg::Number(n) if is_signed(param.ty) => Value::I64(n as i64),
            Arg::Number(n) => Value::U64(n),
            Arg::Text([]) | Arg::Bytes([]) => return None,
            Arg::Text(text) => Value::Str(text),
            Arg::Bytes(bytes) => Value::Bytes(bytes),
            Arg::Address(_) | Arg::Tuple(_) => Value::Bytes(self.param_text(index, param, arena)),
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
            Some(Arg::Bytes(bytes)) => self.push_bytes(param, bytes, text),
            Some(Arg::Address(address)) => push_given(address, text),
            Some(Arg::Tuple(peer)) => {
                if !self.push_tuple(peer, text) {
                    text.push(b"NULL");
                }
            }
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
            // An absolute path is shown as it was given, whatever it would be tidied to; what the kernel says of the
            // task is no path from its directory.
            Some(Arg::Text(given))
                if matches!(param.ty, Type::FsPath | Type::FsRelPath)
                    && !matches!(param.source, Source::Task(_))
                    && !matches!(given.first(), None | Some(b'/')) =>
            {
                // Below an unknown directory it stays what it is.
                let path = self.path_of_param(index, arena).unwrap_or_default();
                text.push(if path.first() == Some(&b'/') { path } else { b"" });
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
                let same = || self.descriptor().filter(|main| i64::from(main.number()) == signed);
                if let Some(fd) = self.record.fd(index).map(Descriptor::of).or_else(same) {
                    self.push_descriptor(fd, index, text, arena);
                }
            }
            Type::Pid => text.push(self.task.and_then(|t| t.name_of_pid(signed)).unwrap_or_default()),
            Type::Uid if n == u64::from(u32::MAX) => text.push_str("<NONE>"),
            Type::Gid if n == u64::from(u32::MAX) => text.push_str("<NONE>"),
            Type::Uid => text.push(self.host.users.user_name(n as u32)),
            Type::Gid => text.push(self.host.users.group_name(n as u32)),
            Type::SigType => text.push_str(flags::signal_name(n).unwrap_or_default()),
            Type::SyscallId => text.push_str(types::syscall(n as u16).map_or("", |call| call.name)),
            Type::RelTime => clock::push_seconds(n, text),
            Type::AbsTime => {
                text.push(clock::format_time(n, self.host.clock.utc_offset, Form::DateTime, true, arena));
            }
            Type::Dyn if param.class_name == "ptrace_dynamic_param" => self.push_ptrace(index, n, text),
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
        if self.def.is_some_and(|def| def.main_fd == Some(index)) {
            text.push(self.fd_name(arena));
        } else {
            fd.push_name(text);
        }
    }

    /// The signal a traced process goes on with.
    fn push_ptrace(&self, index: u8, n: u64, text: &mut ArenaText<'_>) {
        const WITH_SIGNAL: [u64; 8] = [7, 9, 17, 24, 31, 32, 33, 8];
        let is_data = self.def.and_then(|def| def.param("data")).is_some_and(|(data, _)| data == index);
        if is_data && WITH_SIGNAL.contains(&self.register(0)) {
            text.push_str(flags::signal_name(n).unwrap_or_default());
        }
    }

    fn push_bytes(&self, param: &'static Param, bytes: &[u8], text: &mut ArenaText<'_>) {
        match param.ty {
            Type::FdList => super::fdlist::push_list(bytes, text),
            Type::Dyn => self.push_option(bytes, text),
            _ if bytes.is_empty() => text.push_str("NULL"),
            _ => push_printable(bytes, text),
        }
    }

    /// The value of a socket option, by what the option holds.
    fn push_option(&self, bytes: &[u8], text: &mut ArenaText<'_>) {
        let socket_level = self.register(1) as i32 == libc::SOL_SOCKET;
        let word = bytes.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
        match (self.register(2) as i32, word) {
            (libc::SO_ERROR, Some(error)) if socket_level => match flags::errno_name(u64::from(error)) {
                Some(name) => text.push_str(name),
                None => text.push_fmt(format_args!("{error}")),
            },
            (option, Some(word)) if socket_level && bytes.len() == 4 && INT_OPTIONS.contains(&option) => {
                text.push_fmt(format_args!("{word}"));
            }
            _ => push_printable(bytes, text),
        }
    }
}

/// Socket options whose value is a number.
const INT_OPTIONS: [i32; 24] = [
    libc::SO_DEBUG,
    libc::SO_REUSEADDR,
    libc::SO_TYPE,
    libc::SO_DONTROUTE,
    libc::SO_BROADCAST,
    libc::SO_SNDBUF,
    libc::SO_RCVBUF,
    libc::SO_SNDBUFFORCE,
    libc::SO_RCVBUFFORCE,
    libc::SO_KEEPALIVE,
    libc::SO_OOBINLINE,
    libc::SO_PRIORITY,
    libc::SO_REUSEPORT,
    libc::SO_PASSCRED,
    libc::SO_RCVLOWAT,
    libc::SO_SNDLOWAT,
    libc::SO_TIMESTAMP,
    libc::SO_ACCEPTCONN,
    libc::SO_MARK,
    libc::SO_PROTOCOL,
    libc::SO_DOMAIN,
    libc::SO_RXQ_OVFL,
    libc::SO_PEEK_OFF,
    libc::SO_BUSY_POLL,
];

/// A buffer with a dot for everything that cannot be printed.
pub(super) fn push_printable(bytes: &[u8], text: &mut ArenaText<'_>) {
    for byte in &bytes[..bytes.len().min(SHOWN)] {
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

pub(super) const fn is_signed(ty: Type) -> bool {
    matches!(ty, Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 | Type::Errno | Type::Fd | Type::Pid)
}

const fn is_number(ty: Type) -> bool {
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
const fn narrowed(ty: Type, value: u64) -> u64 {
    let unused = 64 - width(ty);
    if is_signed(ty) { ((value << unused) as i64 >> unused) as u64 } else { value << unused >> unused }
}

/// A number as its parameter is written. Decimal numbers are written signed whatever their type (an unsigned -1 is
/// how "none" is passed), sets of bits are not.
fn push_number(param: &Param, n: u64, text: &mut ArenaText<'_>) {
    let ty = param.ty;
    match (param.format, ty) {
        (_, Type::SigSet) => {}
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
        (Format::Hex, _) => {
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
