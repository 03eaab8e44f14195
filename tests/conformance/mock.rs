//! Fields that some cases make up, beside the real ones.

use falco_sensor::event::sources::Sources;
use falco_sensor::event::value::{ArgKind, Depends, FieldDef, FieldFlags, FieldId, FieldUse, Multi, Scope, Type};
use falco_sensor::filter::{CodeSet, Scheme, SyscallScheme};

/// The real fields and those some cases make up.
pub struct Mock {
    pub fields: Vec<FieldDef>,
}

/// The first made-up field.
pub const MOCK: u16 = 50_000;

pub fn def(name: &str, ty: Type, list: bool, no_transformer: bool) -> FieldDef {
    FieldDef {
        // A handful per test run.
        name: String::leak(name.to_owned()),
        ty,
        arg: ArgKind::None,
        list,
        multi: Multi::One,
        scope: Scope::Both,
        flags: FieldFlags { no_transformer, ..FieldFlags::default() },
        depends: Depends::Event,
        part: None,
        sources: Sources::ALIKE,
        class: "mock",
        desc: "",
    }
}

impl Mock {
    pub fn sinsp() -> Self {
        let text = |name| def(name, Type::Charbuf, false, false);
        Mock {
            fields: vec![
                text("c.true"),
                text("c.false"),
                text("c.doublequote"),
                text("c.singlequote"),
                def("c.buffer", Type::Bytebuf, false, false),
            ],
        }
    }
}

impl Scheme for Mock {
    fn field(&self, name: &str) -> Option<FieldId> {
        match self.fields.iter().position(|f| f.name == name) {
            Some(at) => Some(FieldId(MOCK + at as u16)),
            None => SyscallScheme.field(name),
        }
    }
    fn def(&self, id: FieldId) -> &FieldDef {
        match id.0.checked_sub(MOCK) {
            Some(at) => &self.fields[at as usize],
            None => falco_sensor::event::fields::def(id),
        }
    }
    fn dynamic_type(&self, field: &FieldUse) -> Option<Type> {
        SyscallScheme.dynamic_type(field)
    }
    fn universe(&self) -> CodeSet {
        SyscallScheme.universe()
    }
    fn event_codes(&self, name: &str) -> Option<CodeSet> {
        SyscallScheme.event_codes(name)
    }
    fn event_name(&self, _: u16) -> Option<&str> {
        None
    }
}
