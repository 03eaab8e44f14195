//! Asking an event for every field there is, with arguments of every kind, in text and JSON.

use bumpalo::Bump;
use falco_sensor::event::fields::FIELDS;
use falco_sensor::event::text::{Buffers, push_text, to_json};
use falco_sensor::event::value::{ArgKind, Extract, FieldArg, FieldId, FieldUse};

fn arguments(kind: ArgKind) -> &'static [Option<&'static str>] {
    match kind {
        ArgKind::None => &[None],
        ArgKind::OptionalIndex => &[None, Some("1")],
        ArgKind::RequiredIndex => &[Some("0"), Some("1")],
        ArgKind::OptionalKey => &[None, Some("HOME")],
        ArgKind::RequiredKey => &[Some("HOME")],
        ArgKind::OptionalEither => &[None, Some("0"), Some("flags")],
        ArgKind::RequiredEither => &[Some("0"), Some("2"), Some("flags"), Some("res"), Some("data")],
    }
}

pub fn ask_everything(event: &impl Extract) {
    let mut out = Vec::new();
    for (def, id) in FIELDS.iter().zip(0..) {
        for argument in arguments(def.arg) {
            let arg = match argument {
                None => FieldArg::None,
                Some(text) => text.parse().map_or_else(|_| FieldArg::Key((*text).into()), FieldArg::Index),
            };
            let (field, arena) = (FieldUse { id: FieldId(id), arg }, Bump::new());
            let value = event.extract(&field, &arena);
            out.clear();
            push_text(value.as_ref(), def, event.number_format(&field), Buffers::Printable, &mut out);
            let _ = to_json(value.as_ref(), def, Buffers::Base64);
        }
    }
}
