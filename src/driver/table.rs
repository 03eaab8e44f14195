//! The table of events and system calls that the module was built from, `kmod/syscalls.c`, as Rust slices.
//!
//! It is compiled into this program as well; [`hash`] tells both builds apart when they are not the same.

use super::abi::{self, fsn_event_def, fsn_param, fsn_syscall_def};
use std::ffi::{CStr, c_char};
use std::sync::LazyLock;

/// Every event, in the order of the table. The code of a row is its `code`, not its place.
pub fn events() -> &'static [fsn_event_def] {
    // SAFETY: syscalls.c defines both; the array has as many rows as the count says and never changes.
    unsafe { std::slice::from_raw_parts(abi::fsn_events.as_ptr(), abi::fsn_nr_events as usize) }
}

/// Every system call, in the order of the table.
pub fn syscalls() -> &'static [fsn_syscall_def] {
    // SAFETY: as for the events.
    unsafe { std::slice::from_raw_parts(abi::fsn_syscalls.as_ptr(), abi::fsn_nr_syscalls as usize) }
}

/// What tells this table from another one.
pub fn hash() -> u32 {
    // SAFETY: reads the table's constants only.
    unsafe { abi::fsn_table_hash_compute() }
}

/// The event with this code.
pub fn event(code: u16) -> Option<&'static fsn_event_def> {
    static PLACES: LazyLock<Vec<u16>> = LazyLock::new(|| places(events().iter().map(|e| e.code)));
    events().get(usize::from(*PLACES.get(usize::from(code))?))
}

/// The system call with this id.
pub fn syscall(sc: u16) -> Option<&'static fsn_syscall_def> {
    static PLACES: LazyLock<Vec<u16>> = LazyLock::new(|| places(syscalls().iter().map(|s| s.sc)));
    syscalls().get(usize::from(*PLACES.get(usize::from(sc))?))
}

/// Place of each key in the table, `u16::MAX` where there is none.
fn places(keys: impl Iterator<Item = u16> + Clone) -> Vec<u16> {
    let mut places = vec![u16::MAX; keys.clone().max().map_or(0, |key| usize::from(key) + 1)];
    for (key, place) in keys.zip(0..) {
        places[usize::from(key)] = place;
    }
    places
}

/// The parameters of an event.
pub fn params(event: &'static fsn_event_def) -> &'static [fsn_param] {
    if event.params.is_null() {
        return &[];
    }
    // SAFETY: a row of the table points to as many parameters as it says, constants all.
    unsafe { std::slice::from_raw_parts(event.params, usize::from(event.nparams)) }
}

/// The name of an event (`evt.type`), e.g. `openat`.
pub fn event_name(event: &'static fsn_event_def) -> &'static str {
    // SAFETY: a row of the table.
    unsafe { name(event.name) }
}

/// The name of a system call, e.g. `openat`.
pub fn syscall_name(syscall: &'static fsn_syscall_def) -> &'static str {
    // SAFETY: a row of the table.
    unsafe { name(syscall.name) }
}

/// The name of a parameter, e.g. `flags`.
pub fn param_name(param: &'static fsn_param) -> &'static str {
    // SAFETY: a row of the table.
    unsafe { name(param.name) }
}

/// # Safety
/// `text` comes from a row of the table: null or a NUL-terminated literal.
unsafe fn name(text: *const c_char) -> &'static str {
    if text.is_null() {
        return "";
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_code_and_by_name() {
        for row in events() {
            assert_eq!(event(row.code).map(|e| e.code), Some(row.code));
            assert!(!event_name(row).is_empty());
            assert_eq!(params(row).len(), usize::from(row.nparams));
            assert!(row.nparams <= 32, "the module has a bit for each of {}", row.code);
            assert!(params(row).iter().all(|p| !param_name(p).is_empty()));
        }
        let openat = syscalls().iter().find(|s| syscall_name(s) == "openat").expect("in the table");
        assert_eq!(syscall(openat.sc).map(syscall_name), Some("openat"));
        assert_eq!(event(openat.event).map(event_name), Some("openat"));
        assert!(syscall(0).is_none() && syscall(u16::MAX).is_none() && event(u16::MAX).is_none());
        assert_ne!(hash(), 0);
    }
}
