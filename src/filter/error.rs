//! What can be wrong with a condition or an output format, and how it is told.
//!
//! The message of an error is the text Falco's users and tools know; where it happened is kept beside it, so that
//! the loader can show file, line and a caret.

use super::ast::Pos;
use crate::event::value::Type;

/// Kinds of errors. The loader decides by them (and by [`FilterError::is_unknown_name`]), never by text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Syntax,
    TooDeep,
    UnknownField,
    FieldArgument,
    UnknownEventType,
    Literal,
    Operator,
    RightField,
    UnknownTransformer,
    Transformer,
    UnresolvedIdentifier,
    Regex,
    EventTypeUse,
    FormatToken,
}

/// A condition that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    pub kind: ErrorKind,
    pub pos: Pos,
    pub message: String,
}

impl FilterError {
    pub fn new(kind: ErrorKind, pos: Pos, message: impl Into<String>) -> Self {
        FilterError { kind, pos, message: message.into() }
    }

    /// Is it only that a name is unknown here? Such rules may ask to be skipped (`skip-if-unknown-filter`).
    pub fn is_unknown_name(&self) -> bool {
        matches!(self.kind, ErrorKind::UnknownField | ErrorKind::UnknownEventType | ErrorKind::FormatToken)
    }

    /// The message, the line it is about, and a caret under the character.
    pub fn with_caret(&self, text: &str) -> String {
        let line = text.split('\n').nth(self.pos.line.saturating_sub(1) as usize).unwrap_or("");
        format!("{}: {}\n{}", self.pos, self.message, caret(line, self.pos.column.saturating_sub(1) as usize))
    }
}

/// A line with a caret below one of its bytes. Long lines are cut to a window around it.
pub fn caret(line: &str, byte: usize) -> String {
    const WINDOW: usize = 140;
    let byte = byte.min(line.len());
    let column = line.char_indices().take_while(|(i, _)| *i < byte).count();
    let start = column.saturating_sub(WINDOW / 2);
    let shown: String = line.chars().skip(start).take(WINDOW).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{shown}\n{:>width$}", '^', width = column - start + 1)
}

/// Suspicious but legal things in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterWarning {
    pub kind: WarningKind,
    pub pos: Pos,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// A regular expression that a plain operator could replace.
    PlainRegex,
    /// A constant that is the name of a field.
    FieldAsConstant,
    /// A constant that looks like a transformer.
    TransformerAsConstant,
    /// A comparison with `<NA>` on a field that never has that value.
    UnsafeNa,
    /// A field that will go away.
    DeprecatedField,
}

/// Name of a type in messages.
pub fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Int8 => "INT8",
        Type::Int16 => "INT16",
        Type::Int32 => "INT32",
        Type::Int64 => "INT64",
        Type::Uint8 => "UINT8",
        Type::Uint16 => "UINT16",
        Type::Uint32 => "UINT32",
        Type::Uint64 => "UINT64",
        Type::Charbuf => "CHARBUF",
        Type::Bytebuf => "BYTEBUF",
        Type::Errno => "ERRNO",
        Type::SockAddr => "SOCKADDR",
        Type::SockTuple => "SOCKTUPLE",
        Type::Fd => "FD",
        Type::Pid => "PID",
        Type::FdList => "FDLIST",
        Type::FsPath => "FSPATH",
        Type::FsRelPath => "FSRELPATH",
        Type::SyscallId => "SYSCALLID",
        Type::SigType => "SIGTYPE",
        Type::RelTime => "RELTIME",
        Type::AbsTime => "ABSTIME",
        Type::Port => "PORT",
        Type::L4Proto => "L4PROTO",
        Type::SockFamily => "SOCKFAMILY",
        Type::Bool => "BOOL",
        Type::Ipv4Addr => "IPV4ADDR",
        Type::Ipv6Addr => "IPV6ADDR",
        Type::IpAddr => "IPADDR",
        Type::Ipv4Net => "IPV4NET",
        Type::Ipv6Net => "IPV6NET",
        Type::IpNet => "IPNET",
        Type::Dyn => "DYN",
        Type::Flags8 => "FLAGS8",
        Type::Flags16 => "FLAGS16",
        Type::Flags32 => "FLAGS32",
        Type::EnumFlags8 => "ENUMFLAGS8",
        Type::EnumFlags16 => "ENUMFLAGS16",
        Type::EnumFlags32 => "ENUMFLAGS32",
        Type::Mode => "MODE",
        Type::Uid => "UID",
        Type::Gid => "GID",
        Type::Double => "DOUBLE",
        Type::SigSet => "SIGSET",
    }
}
