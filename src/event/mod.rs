//! The typed view of a record, and the field catalogue.

pub mod value;
