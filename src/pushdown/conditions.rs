//! A rule's comparison, as far as the module can test it before it builds the event.
//!
//! What a field means is told by `event::view`; here is what must hold of the call when a comparison of the field does.
//! Whatever is not listed may hold.

use super::table::{Place, RESULT, Test, Texts};
use crate::driver::{abi, table};
use crate::event::fields;
use crate::event::flags::{self, open_bit};
use crate::event::params::{EventDef, Family, Source};
use crate::event::value::FieldArg;
use crate::filter::ast::{Op, Text};
use crate::filter::necessary::{Comparison, Need};

/// One kind of event, and where its calls have what conditions ask about.
pub struct Call {
    def: &'static EventDef,
    pub place: Place,
    /// The register with the flags of an open.
    open_flags: Option<u8>,
    /// `evt.rawres` is the result.
    has_result: bool,
}

const IP: u32 = abi::FSN_KIND_INET | abi::FSN_KIND_INET6;

/// Symbols that stand for one bit of a register: class of the parameter, symbol, bit.
const SYMBOLS: [(&str, &str, u32); 3] =
    [("file_flags", "O_TRUNC", 0o1000), ("chmod_mode", "S_ISUID", 0o4000), ("chmod_mode", "S_ISGID", 0o2000)];

impl Call {
    pub fn new(def: &'static EventDef) -> Call {
        let row = table::event(def.code.0);
        let raw = |index: u8| row.and_then(|row| table::params(row).get(usize::from(index)));
        // Which descriptor these are about depends on more than the table.
        let varies = matches!(def.family, Family::Fcntl | Family::Dup);
        let fd = def.main_fd.filter(|_| !varies).and_then(|index| match def.at(index)?.source {
            Source::RetFd if raw(index)?.bits == 0 => Some(RESULT),
            Source::Fd(n) if raw(index)?.bits == 0 => Some(n),
            _ => None,
        });
        let opens = matches!(def.family, Family::Open | Family::Creat);
        let path = def.main_path.filter(|_| opens && fd == Some(RESULT)).and_then(|index| {
            let param = raw(index)?;
            (u32::from(param.source) == abi::FSN_S_STR).then_some((param.arg, def.at(index)?.dirfd))
        });
        let dirfd = path.and_then(|(_, dirfd)| match def.at(dirfd?)?.source {
            Source::DirFd(n) => Some(n),
            _ => None,
        });
        let open_flags =
            def.flags.filter(|_| def.family == Family::Open).and_then(|index| match def.at(index)?.source {
                Source::Arg(n) if !def.at(index)?.on_success => Some(n),
                _ => None,
            });
        let known_base = path.is_none_or(|(_, of)| of.is_some() == dirfd.is_some());
        Call {
            def,
            place: Place { path: path.map(|(reg, _)| reg).filter(|_| known_base), dirfd, fd },
            open_flags,
            has_result: def.family == Family::Exec
                || def.has(abi::FSN_P_SYSCALL) && !def.code.is_generic() && !def.params.is_empty(),
        }
    }

    /// What must hold of the call when the comparison is as the rule has it.
    pub fn need(&self, comparison: &Comparison<'_>) -> Need<Test> {
        let name = fields::def(comparison.field.id).name;
        let need = match (name, &comparison.field.arg) {
            ("evt.rawres", FieldArg::None) if self.has_result => result(comparison),
            ("evt.failed", FieldArg::None) if self.has_result => {
                boolean(comparison).map(|failed| if failed { FAILED } else { SUCCESS })
            }
            ("evt.res", FieldArg::None) if self.has_result => outcome(comparison),
            ("fd.num", FieldArg::None) if self.makes_descriptor() => number_made(comparison),
            ("evt.is_open_read", FieldArg::None) => self.access(comparison, open_bit::READ),
            ("evt.is_open_write", FieldArg::None) => self.access(comparison, open_bit::WRITE),
            ("evt.arg", FieldArg::Key(param)) => self.symbol(comparison, param),
            ("fd.name" | "fs.path.name", FieldArg::None) => self.texts(name, comparison, whole),
            ("fd.directory", FieldArg::None) => self.texts(name, comparison, directory),
            ("fd.filename", FieldArg::None) => self.texts(name, comparison, file_name),
            ("fd.nameraw", FieldArg::None) if self.place.path.is_some() => {
                made_of(comparison, unresolved).map(|texts| Need::Is(Test::Text(abi::FSN_TEXT_RAW, texts)))
            }
            (name, FieldArg::None) if self.place.fd.is_some() => socket(name, comparison),
            _ => None,
        };
        need.unwrap_or(Need::Always)
    }

    fn makes_descriptor(&self) -> bool {
        self.def.family == Family::Open && self.place.fd == Some(RESULT) && self.def.has(abi::FSN_P_CREATES_FD)
    }

    fn access(&self, comparison: &Comparison<'_>, bit: u32) -> Option<Need<Test>> {
        let (reg, wanted) = (self.open_flags?, boolean(comparison)?);
        let modes =
            (0..4).filter(|mode| (flags::access(*mode) & bit != 0) == wanted).fold(0, |all, mode| all | 1 << mode);
        Some(Need::Is(Test::Access(reg, modes)))
    }

    /// The text of flags has a symbol.
    fn symbol(&self, comparison: &Comparison<'_>, param: &str) -> Option<Need<Test>> {
        let (_, param) = self.def.param(param)?;
        let (Source::Arg(reg), Op::Contains, true) = (param.source, comparison.op, comparison.holds) else {
            return None;
        };
        let [symbol] = comparison.values else { return None };
        if let ("socket_families", Some(class)) = (param.class_name, param.class) {
            // The name of a value, or a part of others' names; these numbers are the kernel's own.
            let name = std::str::from_utf8(symbol).ok().filter(|name| class.value(name).is_some())?;
            let named = class.symbols.iter().filter(|(other, _)| other.contains(name));
            let values = named.map(|(_, value)| Need::Is(Test::Value(reg, *value as i32, *value as i32)));
            return Some(Need::any(values.collect::<Vec<_>>()));
        }
        let known = |(class, name, _): &&(&str, &str, u32)| *class == param.class_name && name.as_bytes() == &**symbol;
        SYMBOLS.iter().find(known).map(|(.., bit)| Need::Is(Test::Bits(reg, *bit)))
    }

    /// A path, or a part of one: as given and as opened where the call opens one, else what the descriptor has.
    fn texts(
        &self,
        name: &str,
        comparison: &Comparison<'_>,
        part: fn(Op, &[u8], &mut Texts) -> Option<()>,
    ) -> Option<Need<Test>> {
        let of = match (self.place.path, self.def.family) {
            (Some(_), _) => abi::FSN_TEXT_GIVEN | abi::FSN_TEXT_OPENED,
            // Opens without a path that the module can tell.
            (None, Family::Open | Family::Creat) => return None,
            (None, _) if name == "fs.path.name" => return None,
            (None, _) => {
                self.place.fd?;
                abi::FSN_TEXT_OPENED
            }
        };
        Some(Need::Is(Test::Text(of, made_of(comparison, part)?)))
    }
}

const SUCCESS: Need<Test> = Need::Is(Test::Result(0, i64::MAX));
const FAILED: Need<Test> = Need::Is(Test::Result(i64::MIN, -1));

/// Of a comparison with `true` or `false`: what the field has to be.
fn boolean(comparison: &Comparison<'_>) -> Option<bool> {
    let [value] = comparison.values else { return None };
    let value = match &**value {
        b"true" => true,
        b"false" => false,
        _ => return None,
    };
    match comparison.op {
        Op::Eq => Some(value == comparison.holds),
        Op::Ne => Some(value != comparison.holds),
        _ => None,
    }
}

/// The numbers for which a comparison of a field that always has a value is as the rule has it, as ranges.
fn ranges(comparison: &Comparison<'_>) -> Option<Vec<(i64, i64)>> {
    let number = |text: &Text| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let numbers: Vec<i64> = comparison.values.iter().map(number).collect::<Option<_>>()?;
    let below = |n: i64| n.checked_sub(1).map(|high| (i64::MIN, high));
    let above = |n: i64| n.checked_add(1).map(|low| (low, i64::MAX));
    let one = |op| {
        let [n] = numbers[..] else { return None };
        Some(match op {
            Op::Eq => vec![(n, n)],
            Op::Ne => below(n).into_iter().chain(above(n)).collect(),
            Op::Lt => below(n).into_iter().collect(),
            Op::Le => vec![(i64::MIN, n)],
            Op::Gt => above(n).into_iter().collect(),
            Op::Ge => vec![(n, i64::MAX)],
            _ => return None,
        })
    };
    match (comparison.op, comparison.holds) {
        (Op::In, true) => Some(numbers.iter().map(|n| (*n, *n)).collect()),
        (op, true) => one(op),
        (Op::Eq, false) => one(Op::Ne),
        (Op::Ne, false) => one(Op::Eq),
        (Op::Lt, false) => one(Op::Ge),
        (Op::Le, false) => one(Op::Gt),
        (Op::Gt, false) => one(Op::Le),
        (Op::Ge, false) => one(Op::Lt),
        _ => None,
    }
}

fn any_result(ranges: impl IntoIterator<Item = (i64, i64)>) -> Need<Test> {
    Need::any(ranges.into_iter().map(|(low, high)| Need::Is(Test::Result(low, high))).collect::<Vec<_>>())
}

fn result(comparison: &Comparison<'_>) -> Option<Need<Test>> {
    ranges(comparison).map(any_result)
}

/// The descriptor an open made: -1 stands for none.
fn number_made(comparison: &Comparison<'_>) -> Option<Need<Test>> {
    let of_result = |(low, high): (i64, i64)| {
        let failed = (low <= -1 && high >= -1).then_some((i64::MIN, -1));
        let made = (high >= 0).then_some((low.max(0), high));
        failed.into_iter().chain(made)
    };
    Some(any_result(ranges(comparison)?.into_iter().flat_map(of_result)))
}

fn outcome(comparison: &Comparison<'_>) -> Option<Need<Test>> {
    let success = |text: &Text| &**text == b"SUCCESS";
    match (comparison.op, comparison.holds) {
        (Op::Eq | Op::In, true) => {
            let each = comparison.values.iter().map(|text| if success(text) { SUCCESS } else { FAILED });
            Some(Need::any(each.collect::<Vec<_>>()))
        }
        (Op::Eq | Op::In, false) | (Op::Ne, true) if comparison.values.iter().any(success) => Some(FAILED),
        _ => None,
    }
}

/// The texts of which one is there when the comparison holds.
fn made_of(comparison: &Comparison<'_>, part: fn(Op, &[u8], &mut Texts) -> Option<()>) -> Option<Texts> {
    let mut texts = Texts::default();
    if !comparison.holds || comparison.values.is_empty() {
        return None;
    }
    for value in comparison.values {
        if value.is_empty() {
            return None;
        }
        part(comparison.op, value, &mut texts)?;
    }
    Some(texts)
}

/// Of a path as a whole.
fn whole(op: Op, value: &[u8], texts: &mut Texts) -> Option<()> {
    match op {
        Op::Eq | Op::In => texts.exact.insert(value.to_vec()),
        Op::StartsWith => texts.prefix.insert(value.to_vec()),
        Op::EndsWith => texts.suffix.insert(value.to_vec()),
        Op::Contains => texts.contained.insert(value.to_vec()),
        Op::PMatch => return below(value, texts),
        Op::Glob => return pattern(value, texts),
        _ => return None,
    };
    Some(())
}

/// Of a path that may be relative: then `pmatch` has nothing to begin with.
fn unresolved(op: Op, value: &[u8], texts: &mut Texts) -> Option<()> {
    if op == Op::PMatch { None } else { whole(op, value, texts) }
}

/// Of the part before the last slash.
fn directory(op: Op, value: &[u8], texts: &mut Texts) -> Option<()> {
    // What has no directory is said to be in "/".
    if value == b"/" {
        return None;
    }
    match op {
        Op::Eq | Op::In => {
            texts.exact.insert(value.to_vec());
            texts.prefix.insert([value, b"/"].concat());
        }
        Op::StartsWith => {
            texts.prefix.insert(value.to_vec());
        }
        Op::Contains => {
            texts.contained.insert(value.to_vec());
        }
        Op::PMatch => return below(value, texts),
        _ => return None,
    }
    Some(())
}

/// Of the part behind the last slash.
fn file_name(op: Op, value: &[u8], texts: &mut Texts) -> Option<()> {
    match op {
        Op::Eq | Op::In => texts.suffix.insert([b"/", value].concat()),
        Op::StartsWith => texts.contained.insert([b"/", value].concat()),
        Op::EndsWith => texts.suffix.insert(value.to_vec()),
        Op::Contains => texts.contained.insert(value.to_vec()),
        _ => return None,
    };
    Some(())
}

const fn is_wild(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'\\')
}

/// `pmatch`: the path, or what lies below it. Names with wildcards end what can be told.
fn below(value: &[u8], texts: &mut Texts) -> Option<()> {
    let names = value.split(|b| *b == b'/').filter(|name| !name.is_empty());
    let (mut path, mut whole) = (Vec::new(), true);
    for name in names {
        if name.iter().copied().any(is_wild) {
            whole = false;
            break;
        }
        path.push(b'/');
        path.extend(name);
    }
    if path.is_empty() {
        return None;
    }
    if whole {
        texts.exact.insert(path.clone());
    }
    path.push(b'/');
    texts.prefix.insert(path);
    Some(())
}

/// A shell pattern: its beginning, else its end, else the longest text in it.
fn pattern(value: &[u8], texts: &mut Texts) -> Option<()> {
    if value.iter().any(|b| matches!(b, b'[' | b'\\')) {
        return None;
    }
    let parts: Vec<&[u8]> = value.split(|b| matches!(b, b'*' | b'?')).collect();
    let (first, last) = (*parts.first()?, *parts.last()?);
    if parts.len() == 1 {
        texts.exact.insert(value.to_vec());
    } else if !first.is_empty() {
        texts.prefix.insert(first.to_vec());
    } else if !last.is_empty() {
        texts.suffix.insert(last.to_vec());
    } else {
        let longest = parts.iter().max_by_key(|part| part.len()).filter(|part| !part.is_empty())?;
        texts.contained.insert(longest.to_vec());
    }
    Some(())
}

/// What a comparison says of the kind of socket.
fn socket(name: &str, comparison: &Comparison<'_>) -> Option<Need<Test>> {
    if !comparison.holds {
        return None;
    }
    let of_values = |kinds: fn(&[u8]) -> Option<u32>| {
        matches!(comparison.op, Op::Eq | Op::In).then_some(())?;
        comparison.values.iter().try_fold(0, |all, value| Some(all | kinds(value)?))
    };
    let kinds = match name {
        "fd.typechar" => of_values(|value| match value {
            b"4" => Some(IP),
            b"6" => Some(abi::FSN_KIND_INET6),
            b"u" => Some(abi::FSN_KIND_UNIX | abi::FSN_KIND_FILE),
            b"n" => Some(abi::FSN_KIND_NETLINK),
            b"f" | b"d" | b"p" => Some(abi::FSN_KIND_FILE),
            _ => None,
        })?,
        "fd.type" => of_values(|value| match value {
            b"ipv4" => Some(IP),
            b"ipv6" => Some(abi::FSN_KIND_INET6),
            b"unix" => Some(abi::FSN_KIND_UNIX),
            b"netlink" => Some(abi::FSN_KIND_NETLINK),
            b"file" | b"directory" | b"pipe" => Some(abi::FSN_KIND_FILE),
            _ => None,
        })?,
        "fd.sockfamily" => of_values(|value| match value {
            b"ip" => Some(IP),
            b"unix" => Some(abi::FSN_KIND_UNIX),
            _ => None,
        })?,
        "fd.l4proto" => of_values(|value| matches!(value, b"tcp" | b"udp" | b"icmp" | b"raw").then_some(IP))?,
        // Other descriptors have no ends; a comparison that there is nothing to compare with does not hold.
        "fd.ip" | "fd.net" | "fd.port" | "fd.proto" | "fd.cip" | "fd.cnet" | "fd.sip" | "fd.snet" | "fd.lip"
        | "fd.lnet" | "fd.rip" | "fd.rnet" | "fd.cport" | "fd.sport" | "fd.lport" | "fd.rport" | "fd.cproto"
        | "fd.sproto" | "fd.lproto" | "fd.rproto" => IP,
        _ => return None,
    };
    Some(Need::all([Need::Is(Test::Socket(kinds)), ports(name, comparison).unwrap_or(Need::Always)]))
}

/// What a comparison says of the ports of a socket that is connected. Which end is the server's may have to be guessed.
fn ports(name: &str, comparison: &Comparison<'_>) -> Option<Need<Test>> {
    /// With more of them what is asked is whether there are ports at all.
    const MOST: usize = 16;
    let of = match name {
        "fd.port" | "fd.cport" | "fd.sport" => abi::FSN_PORT_LOCAL | abi::FSN_PORT_REMOTE,
        "fd.lport" => abi::FSN_PORT_LOCAL,
        "fd.rport" => abi::FSN_PORT_REMOTE,
        _ => return None,
    };
    let mut ranges = ranges(comparison).filter(|_| comparison.op != Op::Ne)?;
    ranges.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (low, high) in ranges {
        let (Ok(low), Ok(high)) = (u16::try_from(low.max(0)), u16::try_from(high.min(i64::from(u16::MAX)))) else {
            continue;
        };
        match joined.last_mut().filter(|(_, last)| low <= last.saturating_add(1)) {
            Some((_, last)) => *last = high.max(*last),
            None => joined.push((low, high)),
        }
    }
    // `fd.port` of a socket whose ends are not known is 0.
    let may_be_unknown = name == "fd.port" && joined.first().is_some_and(|(low, _)| *low == 0);
    if may_be_unknown || joined.len() > MOST {
        return None;
    }
    Some(Need::any(joined.into_iter().map(|(low, high)| Need::Is(Test::Port(of as u8, low, high))).collect::<Vec<_>>()))
}
