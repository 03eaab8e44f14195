//! Events whose fields are ready: every field that the rules ask for, copied once, so that a measurement has the evaluator in it
//! and nothing else.
//!
//! They are packed, what depends on the task once per state of a task: spread over memory they would measure the memory.

use crate::event::fields;
use crate::event::value::{Depends, Extract, FieldArg, FieldUse, Value, Versioned};
use crate::filter::Program;
use bumpalo::Bump;
use std::collections::HashMap;

fn keep<'k>(value: &Value<'_>, kept: &'k Bump) -> Value<'k> {
    match *value {
        Value::Str(text) => Value::Str(kept.alloc_slice_copy(text)),
        Value::Bytes(bytes) => Value::Bytes(kept.alloc_slice_copy(bytes)),
        Value::List(items) => Value::List(kept.alloc_slice_fill_iter(items.iter().map(|item| keep(item, kept)))),
        Value::U64(n) => Value::U64(n),
        Value::I64(n) => Value::I64(n),
        Value::F64(n) => Value::F64(n),
        Value::Bool(b) => Value::Bool(b),
        Value::Ip(ip) => Value::Ip(ip),
    }
}

/// Which fields are kept, and where.
pub struct Columns {
    /// Those of the event, then those of the task.
    uses: Vec<FieldUse>,
    of_event: usize,
    /// First of `uses` per field; those of one field are neighbours.
    first: Vec<u16>,
}

impl Columns {
    pub fn of(program: &Program) -> Columns {
        let of_task = |field: &FieldUse| fields::def(field.id).depends == Depends::Task;
        let mut uses: Vec<FieldUse> = program.fields_used().cloned().collect();
        uses.sort_by_key(|field| (of_task(field), field.id, field.arg != FieldArg::None));
        uses.dedup();
        let place = |id: u16| uses.iter().position(|field| field.id.0 == id).unwrap_or(uses.len()) as u16;
        let first = (0..fields::FIELDS.len() as u16).map(place).collect();
        Columns { of_event: uses.iter().filter(|field| !of_task(field)).count(), uses, first }
    }
}

type Values<'k> = &'k [Option<Value<'k>>];

/// An event with its fields.
#[derive(Clone, Copy)]
pub struct Snapshot<'k> {
    columns: &'k Columns,
    code: u16,
    task: Option<Versioned>,
    values: Values<'k>,
    task_values: Values<'k>,
}

/// Makes snapshots.
pub struct Camera<'k> {
    columns: &'k Columns,
    kept: &'k Bump,
    tasks: HashMap<(u32, u64, u32), Values<'k>>,
}

impl<'k> Camera<'k> {
    pub fn new(columns: &'k Columns, kept: &'k Bump) -> Camera<'k> {
        Camera { columns, kept, tasks: HashMap::new() }
    }

    pub fn take<E: Extract>(&mut self, event: &E, arena: &Bump) -> Snapshot<'k> {
        let kept = self.kept;
        let values = |uses: &[FieldUse]| -> Values<'k> {
            let values = uses.iter().map(|field| event.extract(field, arena).map(|value| keep(&value, kept)));
            kept.alloc_slice_fill_iter(values.collect::<Vec<_>>())
        };
        let (of_event, of_task) = self.columns.uses.split_at(self.columns.of_event);
        let task = event.task();
        let task_values = match task {
            Some(Versioned { place, stamp, facts }) => {
                *self.tasks.entry((place, stamp, facts)).or_insert_with(|| values(of_task))
            }
            None => values(of_task),
        };
        Snapshot { columns: self.columns, code: event.event_code(), task, values: values(of_event), task_values }
    }
}

impl Extract for Snapshot<'_> {
    fn extract<'a>(&'a self, field: &FieldUse, _arena: &'a Bump) -> Option<Value<'a>> {
        let mut at = usize::from(self.columns.first[usize::from(field.id.0)]);
        while let Some(here) = self.columns.uses.get(at) {
            if here.arg == field.arg {
                return match at.checked_sub(self.columns.of_event) {
                    None => self.values[at],
                    Some(at) => self.task_values[at],
                };
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
