//! What the compiler must know about the world: fields, event types, sources.
//!
//! Not the catalogue itself (that is the event room); tests give a small one of their own. Asked only while rules
//! load, never while events flow, so a trait object is fine here.

use crate::event::value::{ArgKind, FieldArg, FieldDef, FieldId, FieldUse, Type};
use crate::event::{params, statics};
use std::fmt;

/// Highest number of event codes a set can hold.
pub const MAX_CODES: usize = 512;

/// A set of event codes (or of system-call codes): a fixed bitmap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CodeSet {
    bits: [u64; MAX_CODES / 64],
}

impl CodeSet {
    pub const EMPTY: CodeSet = CodeSet { bits: [0; MAX_CODES / 64] };

    /// Codes `0..n`.
    pub fn first(n: usize) -> Self {
        (0..n.min(MAX_CODES) as u16).collect()
    }

    pub fn insert(&mut self, code: u16) {
        if let Some(word) = self.bits.get_mut(code as usize / 64) {
            *word |= 1 << (code % 64);
        }
    }

    pub fn contains(&self, code: u16) -> bool {
        self.bits.get(code as usize / 64).is_some_and(|word| word >> (code % 64) & 1 == 1)
    }

    pub fn len(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        CodeSet { bits: std::array::from_fn(|i| f(self.bits[i], other.bits[i])) }
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..MAX_CODES as u16).filter(|&code| self.contains(code))
    }
}

impl FromIterator<u16> for CodeSet {
    fn from_iter<I: IntoIterator<Item = u16>>(iter: I) -> Self {
        let mut set = Self::EMPTY;
        iter.into_iter().for_each(|code| set.insert(code));
        set
    }
}

impl fmt::Debug for CodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Fields and event types of one source.
pub trait Scheme: Sync {
    /// Field of exactly this name.
    fn field(&self, name: &str) -> Option<FieldId>;

    fn def(&self, id: FieldId) -> &FieldDef;

    /// Type of a field whose type depends on its argument (`evt.rawarg.X`).
    fn dynamic_type(&self, field: &FieldUse) -> Option<Type> {
        let _ = field;
        None
    }

    /// Every event code there is, current or not.
    fn universe(&self) -> CodeSet;

    /// Codes of the events of this name: all versions and directions; for a system call without an event of its
    /// own, the generic codes. None for a name nobody knows.
    fn event_codes(&self, name: &str) -> Option<CodeSet>;

    /// The value `evt.type` has for every event of this code, when there is only one (not for generic,
    /// plugin and asynchronous events).
    fn event_name(&self, code: u16) -> Option<&str>;

    /// A name to show for this code, none for codes that are not in use.
    fn code_name(&self, code: u16) -> Option<&str> {
        self.event_name(code)
    }

    /// Codes every rule of this source also listens to.
    fn always(&self) -> CodeSet {
        CodeSet::EMPTY
    }

    /// Every system-call code.
    fn syscalls(&self) -> CodeSet {
        CodeSet::EMPTY
    }

    /// System-call codes an event name stands for.
    fn syscall_codes(&self, name: &str) -> CodeSet {
        let _ = name;
        CodeSet::EMPTY
    }

    /// Port number of a service name.
    fn service_port(&self, name: &str) -> Option<u16> {
        service_port(name)
    }
}

/// Why a field cannot be used as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldProblem {
    Unknown,
    /// Known, but not with (or without) this argument.
    Argument(String),
}

/// Finds the field `name[arg]`. The name may carry its argument after a dot (`evt.arg.flags`): the longest name known
/// counts.
pub fn find_field(scheme: &dyn Scheme, name: &str, arg: Option<&[u8]>) -> Result<FieldUse, FieldProblem> {
    if let Some(id) = scheme.field(name) {
        return Ok(FieldUse { id, arg: field_arg(scheme.def(id), arg)? });
    }
    let mut end = name.len();
    while let Some(dot) = name[..end].rfind('.') {
        end = dot;
        let Some(id) = scheme.field(&name[..dot]) else { continue };
        let def = scheme.def(id);
        let rest = &name[dot + 1..];
        let fits = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !def.flags.dotted || arg.is_some() || !fits {
            return Err(FieldProblem::Unknown);
        }
        return Ok(FieldUse { id, arg: field_arg(def, Some(rest.as_bytes()))? });
    }
    Err(FieldProblem::Unknown)
}

fn field_arg(def: &FieldDef, arg: Option<&[u8]>) -> Result<FieldArg, FieldProblem> {
    let name = def.name;
    let problem = |text: String| Err(FieldProblem::Argument(text));
    let Some(arg) = arg else {
        return match def.arg {
            ArgKind::RequiredIndex | ArgKind::RequiredKey | ArgKind::RequiredEither => {
                problem(format!("field {name} requires an argument but none was provided"))
            }
            _ => Ok(FieldArg::None),
        };
    };
    let Ok(text) = std::str::from_utf8(arg) else {
        return problem(format!("argument of field {name} is not text"));
    };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // A number too large for an index (`evt.around[<ns>]`) is kept as text; one before the first finds nothing.
    let index = || digits.then(|| text.parse().map_or_else(|_| FieldArg::Key(text.into()), FieldArg::Index));
    match def.arg {
        ArgKind::None => problem(format!("field {name} has an argument but does not accept one: '{text}'")),
        ArgKind::OptionalIndex | ArgKind::RequiredIndex => match index() {
            Some(index) => Ok(index),
            None if text.parse::<i64>().is_ok_and(|n| n < 0) => Ok(FieldArg::Index(u32::MAX)),
            None => problem(format!("argument of field {name} is not an index: '{text}'")),
        },
        ArgKind::OptionalEither | ArgKind::RequiredEither
            if !digits && matches!(name, "evt.arg" | "evt.rawarg") && !params::is_param(text) =>
        {
            problem(format!("unknown event argument {text}"))
        }
        ArgKind::OptionalEither | ArgKind::RequiredEither => Ok(index().unwrap_or_else(|| FieldArg::Key(text.into()))),
        ArgKind::RequiredKey if name == "static" && statics::get(text).is_none() => {
            problem(format!("there is no static field {text}: static_fields of the configuration names them"))
        }
        ArgKind::OptionalKey | ArgKind::RequiredKey => Ok(FieldArg::Key(text.into())),
    }
}

/// Port of a service, from the system's services file, then from a few names every rule author expects.
pub fn service_port(name: &str) -> Option<u16> {
    let known = |name: &str| {
        Some(match name {
            "ftp" => 21,
            "ssh" => 22,
            "telnet" => 23,
            "smtp" => 25,
            "domain" => 53,
            "http" => 80,
            "pop3" => 110,
            "ntp" => 123,
            "imap2" => 143,
            "ldap" => 389,
            "https" => 443,
            "mysql" => 3306,
            "postgresql" => 5432,
            _ => return None,
        })
    };
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    services
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let (service, port) = (words.next()?, words.next()?);
            let port = port.split('/').next()?.parse().ok()?;
            (service == name || words.any(|alias| alias == name)).then_some(port)
        })
        .next()
        .or_else(|| known(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_do_what_sets_do() {
        let a: CodeSet = [1, 64, 511].into_iter().collect();
        let all = CodeSet::first(454);
        assert_eq!((a.len(), all.len()), (3, 454));
        assert!(a.contains(511) && !a.contains(512) && !a.contains(2));
        assert_eq!(all.difference(&a).len(), 452);
        assert_eq!(a.intersection(&all).iter().collect::<Vec<_>>(), [1, 64]);
    }
}
