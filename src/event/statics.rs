//! Values that the configuration gives names to (`static_fields`): `static.NAME` has the same value in every event of this program's
//! life. Invariant: set once, before rules are loaded.

use std::sync::OnceLock;

static ALL: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// Names and values from now on; what is there already stays.
pub fn set(fields: Vec<(String, String)>) {
    let _ = ALL.set(fields);
}

/// The value of a name.
pub fn get(name: &str) -> Option<&'static str> {
    all().iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// All names with their values.
pub fn all() -> &'static [(String, String)] {
    ALL.get().map_or(&[], Vec::as_slice)
}
