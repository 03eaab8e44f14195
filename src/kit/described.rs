//! An event given by the values of its fields.
//!
//! Values are typed by the field catalogue. What follows from a given value need not be given ([`Described::complete`]); any
//! other field is missing, as it is in an event that does not have it. Invariant: a field has the type the catalogue says,
//! so an event that can be described is one the evaluator can be asked about.

use crate::event::fields;
use crate::event::text::Buffers;
use crate::event::types::{self, Age, EventCode};
use crate::event::value::{Extract, FieldArg, FieldUse, Multi, Type, Value};
use crate::filter::SyscallScheme;
use crate::filter::format::Format;
use crate::filter::literal::{Group, group, parse_hex};
use crate::filter::scheme::{FieldProblem, Scheme, find_field};
use crate::output::alert::push_format;
use bumpalo::Bump;
use std::collections::HashMap;
use std::net::IpAddr;

/// A value that owns itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    U64(u64),
    I64(i64),
    F64(f64),
    Bool(bool),
    Str(Vec<u8>),
    Bytes(Vec<u8>),
    Ip(IpAddr),
    List(Vec<Owned>),
}

impl Owned {
    fn borrow<'a>(&'a self, arena: &'a Bump) -> Value<'a> {
        match self {
            Owned::U64(n) => Value::U64(*n),
            Owned::I64(n) => Value::I64(*n),
            Owned::F64(n) => Value::F64(*n),
            Owned::Bool(b) => Value::Bool(*b),
            Owned::Str(s) => Value::Str(s),
            Owned::Bytes(s) => Value::Bytes(s),
            Owned::Ip(ip) => Value::Ip(*ip),
            Owned::List(items) => Value::List(arena.alloc_slice_fill_iter(items.iter().map(|v| v.borrow(arena)))),
        }
    }
}

/// What a test says of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The event does not have it, whatever the defaults say.
    Missing,
    One(String),
    Many(Vec<String>),
}

/// An event whose fields are known from a description.
#[derive(Clone, Debug)]
pub struct Described {
    code: EventCode,
    /// None: missing, and no default or rule of completion may give it.
    values: HashMap<FieldUse, Option<Owned>>,
}

/// A field as it is written in conditions: `proc.name`, `proc.aname[2]`, `evt.arg.flags`.
pub fn field(text: &str) -> Result<FieldUse, String> {
    let (name, arg) = match text.strip_suffix(']').and_then(|t| t.split_once('[')) {
        Some((name, arg)) => (name, Some(arg.as_bytes())),
        None => (text, None),
    };
    find_field(&SyscallScheme, name, arg).map_err(|problem| match problem {
        FieldProblem::Unknown => format!("there is no field '{text}' (falco-sensor --list shows all)"),
        FieldProblem::Argument(why) => why,
    })
}

/// Type of a field's values; `evt.rawarg.X` has the type of the parameter.
fn type_of(field: &FieldUse) -> Type {
    match fields::def(field.id).ty {
        Type::Dyn => SyscallScheme.dynamic_type(field).unwrap_or(Type::Charbuf),
        ty => ty,
    }
}

fn parse(ty: Type, text: &str) -> Result<Owned, String> {
    fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("'{text}' is not {what}"))
    }
    Ok(match group(ty) {
        Group::Signed => Owned::I64(number(text, "a whole number")?),
        Group::Unsigned if ty == Type::Port => Owned::U64(number::<u16>(text, "a port number")?.into()),
        Group::Unsigned => Owned::U64(number(text, "a whole number of at least 0")?),
        Group::Float => Owned::F64(number(text, "a number")?),
        Group::Bool => Owned::Bool(number(text, "true or false")?),
        Group::Addr | Group::Net => Owned::Ip(number(text, "an IP address")?),
        Group::Bytes => match text.strip_prefix("hex:") {
            Some(hex) => Owned::Bytes(parse_hex(hex.as_bytes())?.into_vec()),
            None => Owned::Bytes(text.as_bytes().to_vec()),
        },
        Group::Text => Owned::Str(text.as_bytes().to_vec()),
        Group::Opaque => Owned::Str(text.as_bytes().to_vec()),
    })
}

/// The value a text stands for in this field.
pub fn value(field: &FieldUse, text: &Text) -> Result<Option<Owned>, String> {
    let def = fields::def(field.id);
    let several = def.list || (def.multi != Multi::One && field.arg == FieldArg::None);
    let ty = type_of(field);
    match text {
        Text::Missing => Ok(None),
        Text::One(text) if several => Ok(Some(Owned::List(vec![parse(ty, text)?]))),
        Text::One(text) => parse(ty, text).map(Some),
        Text::Many(texts) if several => {
            let all = texts.iter().map(|text| parse(ty, text)).collect::<Result<_, _>>()?;
            Ok(Some(Owned::List(all)))
        }
        Text::Many(_) => Err(format!("field '{}' has one value, not a list", def.name)),
    }
}

/// `field` is the first, second, ... value of `list`.
const ELEMENTS: [(&str, &str); 5] = [
    ("proc.aname", "proc.pname"),
    ("proc.aexe", "proc.pexe"),
    ("proc.aexepath", "proc.pexepath"),
    ("proc.acmdline", "proc.pcmdline"),
    ("proc.apid", "proc.ppid"),
];

/// A field that stands for both of two others.
const BOTH: [(&str, [&str; 2]); 3] =
    [("fd.ip", ["fd.cip", "fd.sip"]), ("fd.port", ["fd.cport", "fd.sport"]), ("fd.net", ["fd.cip", "fd.sip"])];

/// The same value under another name.
const SAME: [(&str, &str); 4] =
    [("fd.cnet", "fd.cip"), ("fd.snet", "fd.sip"), ("fd.lnet", "fd.lip"), ("fd.rnet", "fd.rip")];

/// A field of the catalogue without an argument.
fn plain(name: &str) -> FieldUse {
    let id = fields::lookup(name).unwrap_or_else(|| unreachable!("{name} is in the catalogue"));
    FieldUse { id, arg: FieldArg::None }
}

impl Described {
    /// An event of this type with no value but its type.
    pub fn new(event_type: &str) -> Result<Described, String> {
        let codes = types::codes_of_type(event_type).ok_or_else(|| {
            format!("no event or system call is called '{event_type}' (falco-sensor --list-events shows all)")
        })?;
        let current = codes.iter().filter(|code| code.info().age == Age::Current);
        let code = current.max_by_key(|code| code.0).or(codes.iter().max_by_key(|code| code.0));
        let code = *code.ok_or("an event type without a code")?;
        let mut event = Described { code, values: HashMap::new() };
        event.give(&plain("evt.type"), Some(Owned::Str(event_type.as_bytes().to_vec())));
        Ok(event)
    }

    /// Gives a field a value (None: the event does not have it), unless it is settled already.
    pub fn give(&mut self, field: &FieldUse, value: Option<Owned>) {
        self.values.entry(field.clone()).or_insert(value);
    }

    /// Is it settled whether and which value the field has?
    pub fn settles(&self, field: &FieldUse) -> bool {
        self.values.contains_key(field)
    }

    /// The text of an output format for this event, for defaults made of other fields; None when one of them is missing.
    pub fn render(&self, format: &Format) -> Option<String> {
        let (arena, mut out) = (Bump::new(), Vec::new());
        if format.tokens().any(|token| token.source.evaluate(self, &arena).is_none()) {
            return None;
        }
        push_format(format, self, Buffers::Printable, &arena, &mut out);
        Some(String::from_utf8_lossy(&out).trim_end().to_owned())
    }

    /// Gives what follows from values that are there.
    pub fn complete(&mut self) {
        for (list, first) in ELEMENTS {
            let Some(Some(Owned::List(items))) = self.values.get(&plain(list)).cloned() else { continue };
            for (item, at) in items.into_iter().zip(1..) {
                if at == 1 {
                    self.give(&plain(first), Some(item.clone()));
                }
                self.give(&FieldUse { arg: FieldArg::Index(at), ..plain(list) }, Some(item));
            }
        }
        for (both, ends) in BOTH {
            let ends = ends.map(|end| self.values.get(&plain(end)).cloned().flatten());
            let ends: Vec<Owned> = ends.into_iter().flatten().collect();
            if !ends.is_empty() {
                self.give(&plain(both), Some(Owned::List(ends)));
            }
        }
        for (to, from) in SAME {
            if let Some(Some(value)) = self.values.get(&plain(from)).cloned() {
                self.give(&plain(to), Some(value));
            }
        }
        if let Some(Some(Owned::Str(path))) = self.values.get(&plain("fd.name")).cloned() {
            let slash = path.iter().rposition(|b| *b == b'/');
            let directory = match slash {
                Some(0) | None => b"/".to_vec(),
                Some(at) => path[..at].to_vec(),
            };
            self.give(&plain("fd.directory"), Some(Owned::Str(directory)));
            self.give(&plain("fd.filename"), Some(Owned::Str(path[slash.map_or(0, |at| at + 1)..].to_vec())));
        }
    }
}

impl Extract for Described {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        self.values.get(field)?.as_ref().map(|value| value.borrow(arena))
    }

    fn event_code(&self) -> u16 {
        self.code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(event: &mut Described, name: &str, text: &str) {
        let field = field(name).unwrap();
        let texts: Vec<String> = text.split('>').map(str::to_owned).collect();
        let text = if texts.len() > 1 { Text::Many(texts) } else { Text::One(text.to_owned()) };
        let value = value(&field, &text).unwrap();
        event.give(&field, value);
    }

    fn shown(event: &Described, name: &str) -> String {
        let arena = Bump::new();
        format!("{:?}", event.extract(&field(name).unwrap(), &arena))
    }

    #[test]
    fn what_follows_need_not_be_given() {
        let mut event = Described::new("openat").unwrap();
        give(&mut event, "proc.aname", "bash>sshd");
        give(&mut event, "fd.name", "/etc/shadow");
        give(&mut event, "fd.sip", "10.0.0.1");
        event.complete();
        assert_eq!(shown(&event, "proc.pname"), shown(&event, "proc.aname[1]"));
        assert_eq!(shown(&event, "proc.aname[2]"), format!("{:?}", Some(Value::Str(b"sshd"))));
        assert_eq!(shown(&event, "proc.aname[3]"), "None");
        assert_eq!(shown(&event, "fd.directory"), format!("{:?}", Some(Value::Str(b"/etc"))));
        assert_eq!(shown(&event, "fd.snet"), shown(&event, "fd.sip"));
        assert_eq!(shown(&event, "fd.cip"), "None");
    }

    #[test]
    fn every_row_names_fields_of_the_catalogue() {
        Described::new("connect").unwrap().complete();
        assert!(BOTH.iter().all(|(name, _)| fields::def(plain(name).id).multi == Multi::EitherEnd));
        assert!(ELEMENTS.iter().all(|(name, _)| fields::def(plain(name).id).multi == Multi::AnyAncestor));
    }

    #[test]
    fn values_have_the_type_of_their_field() {
        let problem = |name: &str, text: &str| {
            field(name).and_then(|field| value(&field, &Text::One(text.into())).map(drop)).unwrap_err()
        };
        assert_eq!(problem("proc.pid", "x"), "'x' is not a whole number");
        assert_eq!(problem("fd.sport", "70000"), "'70000' is not a port number");
        assert_eq!(problem("evt.is_open_read", "yes"), "'yes' is not true or false");
        assert_eq!(problem("fd.sip", "10.0.0"), "'10.0.0' is not an IP address");
        assert!(problem("proc.nam", "x").contains("there is no field 'proc.nam'"));
        assert!(problem("proc.name[1]", "x").contains("does not accept one"));
        assert!(Described::new("nothing").is_err());
    }
}
