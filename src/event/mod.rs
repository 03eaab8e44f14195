//! The typed view of a record, and the field catalogue.
//!
//! [`record`] looks at bytes of a ring in place; [`task`] and [`exec`] mirror what the module said about tasks;
//! [`view`] answers the fields of one event, [`live`] of one of a ring;
//! [`params`], [`types`] and [`flags`] are what events carry; [`fields`] is the catalogue of what rules may ask
//! for, [`sources`] where live events and captures differ, [`value`] the contract with those who ask, [`text`] how values are printed.

pub mod arena_text;
pub mod cgroups;
pub mod clock;
pub mod exec;
pub mod fields;
pub mod flags;
pub mod live;
pub mod params;
pub mod path;
pub mod record;
pub mod sources;
pub mod statics;
pub mod synthetic;
pub mod task;
pub mod text;
pub mod types;
pub mod value;
pub mod view;
