//! Values that the configuration gives names to (`static_fields`): `static.NAME` has the same value in every event until another
//! configuration is loaded. Invariant: set before the rules that use them are compiled.

use std::sync::atomic::{AtomicPtr, Ordering};

type Fields = Vec<(String, String)>;

static ALL: AtomicPtr<Fields> = AtomicPtr::new(std::ptr::null_mut());

/// Names and values from now on. Readers may hold on to older ones, so these are never freed: a reload that changes them costs their
/// size, one that does not costs nothing.
pub fn set(fields: Fields) {
    if fields != all() {
        ALL.store(Box::into_raw(Box::new(fields)), Ordering::Release);
    }
}

/// The value of a name.
pub fn get(name: &str) -> Option<&'static str> {
    all().iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// All names with their values.
pub fn all() -> &'static [(String, String)] {
    // SAFETY: null, or a box that is never freed; what it holds was written before the release store.
    unsafe { ALL.load(Ordering::Acquire).as_ref() }.map_or(&[], Vec::as_slice)
}
