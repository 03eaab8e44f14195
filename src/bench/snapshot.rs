//! Events whose fields are ready: every field that the rules ask for, copied once, so that a measurement has the evaluator in it
//! and nothing else.

use crate::event::fields;
use crate::event::value::{Extract, FieldArg, FieldUse, Value, Versioned};
use crate::filter::Program;
use bumpalo::Bump;

/// A value of its own.
#[derive(Clone, Debug)]
enum Kept {
    Plain(Value<'static>),
    Str(Box<[u8]>),
    Bytes(Box<[u8]>),
    List(Box<[Kept]>),
}

impl Kept {
    fn of(value: &Value<'_>) -> Kept {
        match *value {
            Value::Str(text) => Kept::Str(text.into()),
            Value::Bytes(bytes) => Kept::Bytes(bytes.into()),
            Value::List(items) => Kept::List(items.iter().map(Kept::of).collect()),
            Value::U64(n) => Kept::Plain(Value::U64(n)),
            Value::I64(n) => Kept::Plain(Value::I64(n)),
            Value::F64(n) => Kept::Plain(Value::F64(n)),
            Value::Bool(b) => Kept::Plain(Value::Bool(b)),
            Value::Ip(ip) => Kept::Plain(Value::Ip(ip)),
        }
    }

    fn value<'a>(&'a self, arena: &'a Bump) -> Value<'a> {
        match self {
            Kept::Plain(value) => *value,
            Kept::Str(text) => Value::Str(text),
            Kept::Bytes(bytes) => Value::Bytes(bytes),
            Kept::List(items) => Value::List(arena.alloc_slice_fill_iter(items.iter().map(|item| item.value(arena)))),
        }
    }
}

/// Which fields are kept, and where.
pub struct Columns {
    uses: Vec<FieldUse>,
    /// First of `uses` per field; those of one field are neighbours.
    first: Vec<u16>,
}

impl Columns {
    pub fn of(program: &Program) -> Columns {
        let mut uses: Vec<FieldUse> = program.fields_used().cloned().collect();
        uses.sort_by_key(|field| (field.id, field.arg != FieldArg::None));
        uses.dedup();
        let place = |id: u16| uses.iter().position(|field| field.id.0 == id).unwrap_or(uses.len()) as u16;
        let first = (0..fields::FIELDS.len() as u16).map(place).collect();
        Columns { uses, first }
    }
}

/// An event with its fields.
pub struct Snapshot<'c> {
    columns: &'c Columns,
    code: u16,
    task: Option<Versioned>,
    values: Box<[Option<Kept>]>,
}

impl<'c> Snapshot<'c> {
    pub fn of<E: Extract>(event: &E, columns: &'c Columns, arena: &Bump) -> Snapshot<'c> {
        let values = columns.uses.iter().map(|field| event.extract(field, arena).as_ref().map(Kept::of)).collect();
        Snapshot { columns, code: event.event_code(), task: event.task(), values }
    }
}

impl Extract for Snapshot<'_> {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        let mut at = usize::from(self.columns.first[usize::from(field.id.0)]);
        while let Some(here) = self.columns.uses.get(at) {
            if here.arg == field.arg {
                return self.values[at].as_ref().map(|kept| kept.value(arena));
            }
            at += 1;
        }
        None
    }

    fn event_code(&self) -> u16 {
        self.code
    }

    fn task(&self) -> Option<Versioned> {
        self.task
    }
}
