//! The typed view of a record, and the field catalogue.

pub mod arena_text;
pub mod fields;
pub mod flags;
pub mod types;
pub mod value;
