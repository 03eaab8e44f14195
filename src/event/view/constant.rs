//! What the configuration says of every event: static.NAME.

use super::answer;
use crate::event::statics;
use crate::event::value::{FieldArg, Value};

answer! {
    /// static.NAME.
    fn extract(_ev, field, _arena) {
        "static" => match &field.arg {
            FieldArg::Key(name) => statics::get(name).map(|value| Value::Str(value.as_bytes())),
            _ => None,
        },
    }
}
