//! Bindings of `kmod/abi.h` and `kmod/syscalls.h`, and the one way to look at bytes as one of their structs.
//!
//! Invariant: every struct here has the layout the module was compiled with; the tests below hold the numbers of
//! the BUILD_BUG_ONs in `kmod/ring.c`.

#[allow(non_camel_case_types, non_snake_case, non_upper_case_globals, dead_code, missing_docs)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/abi.rs"));
}

pub use bindings::*;

/// A struct of the contract: any bytes are a valid value.
///
/// # Safety
/// Only for `repr(C)` structs of integers without padding that a reader could mistake for a value.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ident),*) => { $(
        // SAFETY: repr(C), integers and arrays of integers only, see kmod/abi.h.
        unsafe impl Plain for $name {}
    )* };
}
plain!(fsn_record, fsn_exec, fsn_relative, fsn_task, fsn_event, fsn_att, fsn_fd, fsn_sock);
plain!(fsn_filter, fsn_test, fsn_string, fsn_step, fsn_set, fsn_program);

/// Appends structs as the module reads them.
pub fn push<T: Plain>(values: &[T], out: &mut Vec<u8>) {
    // SAFETY: T is Plain: integers without padding, of which every byte may be read.
    out.extend_from_slice(unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) });
}

/// The struct that `bytes` begin with; None when they are too short or not aligned for it.
#[inline]
pub fn view<T: Plain>(bytes: &[u8]) -> Option<&T> {
    let first = bytes.as_ptr().cast::<T>();
    let fits = first.is_aligned() && bytes.len() >= size_of::<T>();
    // SAFETY: aligned, as long as a T, borrowed as long; T is Plain: any bit pattern is a value.
    fits.then(|| unsafe { &*first })
}

/// Splits `bytes` into the `count` structs they begin with and the rest; None when they are too short.
pub fn view_many<T: Plain>(bytes: &[u8], count: usize) -> Option<(&[T], &[u8])> {
    let (head, rest) = bytes.split_at_checked(count.checked_mul(size_of::<T>())?)?;
    // SAFETY: T is Plain: any bit pattern is a value.
    let (before, values, after) = unsafe { head.align_to::<T>() };
    (before.is_empty() && after.is_empty() && values.len() == count).then_some((values, rest))
}

/// All of `bytes` as words; None when they are no whole number of them, or not aligned.
#[inline]
pub fn words(bytes: &[u8]) -> Option<&[u64]> {
    let first = bytes.as_ptr().cast::<u64>();
    let whole = first.is_aligned() && bytes.len().is_multiple_of(size_of::<u64>());
    // SAFETY: aligned, as many words as there are bytes for, borrowed as long; any bits are a value.
    whole.then(|| unsafe { std::slice::from_raw_parts(first, bytes.len() / size_of::<u64>()) })
}

/// The text of a fixed-size C array up to its NUL.
pub fn text(array: &[std::ffi::c_char]) -> &[u8] {
    // SAFETY: c_char and u8 have the same size and alignment, every value of one is a value of the other.
    let bytes = unsafe { std::slice::from_raw_parts(array.as_ptr().cast::<u8>(), array.len()) };
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn structs_have_the_sizes_the_module_asserts() {
        let sizes = [
            ("fsn_consumer", size_of::<fsn_consumer>(), 128 + 16 * 1024),
            ("fsn_producer", size_of::<fsn_producer>(), 248),
            ("fsn_record", size_of::<fsn_record>(), 16),
            ("fsn_exec", size_of::<fsn_exec>(), 120),
            ("fsn_relative", size_of::<fsn_relative>(), 72),
            ("fsn_task", size_of::<fsn_task>(), 248),
            ("fsn_event", size_of::<fsn_event>(), 88),
            ("fsn_att", size_of::<fsn_att>(), 8),
            ("fsn_fd", size_of::<fsn_fd>(), 48),
            ("fsn_sock", size_of::<fsn_sock>(), 72),
            ("fsn_config", size_of::<fsn_config>(), 32 + 64 + 512),
            ("fsn_info", size_of::<fsn_info>(), 96),
            ("fsn_seed", size_of::<fsn_seed>(), 40),
            ("fsn_filter", size_of::<fsn_filter>(), 24 + 512),
            ("fsn_test", size_of::<fsn_test>(), 24),
            ("fsn_string", size_of::<fsn_string>(), 8),
            ("fsn_step", size_of::<fsn_step>(), 8),
            ("fsn_set", size_of::<fsn_set>(), 32 + 1024),
            ("fsn_program", size_of::<fsn_program>(), 22),
        ];
        for (name, size, expected) in sizes {
            assert_eq!(size, expected, "{name}");
        }
    }

    #[test]
    fn shared_positions_lie_where_the_module_has_them() {
        assert_eq!(offset_of!(fsn_consumer, sleeping), 64);
        assert_eq!(offset_of!(fsn_consumer, reset), 68);
        assert_eq!(offset_of!(fsn_consumer, interest), 128);
        assert_eq!(offset_of!(fsn_producer, events), 64);
        assert_eq!(offset_of!(fsn_producer, drops), 112);
        assert_eq!(offset_of!(fsn_producer, data_size), 240);
        assert_eq!(offset_of!(fsn_config, wanted), 32);
        assert_eq!(offset_of!(fsn_config, class), 96);
        assert_eq!(offset_of!(fsn_info, clock), 24);
        assert_eq!(offset_of!(fsn_task, comm), 208);
        assert_eq!(offset_of!(fsn_event, args), 32);
    }

    #[test]
    fn views_refuse_what_is_short_or_askew() {
        #[repr(align(8))]
        struct Aligned([u8; 64]);
        let bytes = Aligned([0; 64]).0;
        assert!(view::<fsn_record>(&bytes[..15]).is_none());
        assert!(view::<fsn_record>(&[]).is_none());
        let aligned = Aligned([1; 64]);
        assert_eq!(view::<fsn_record>(&aligned.0).map(|r| r.type_), Some(0x0101));
        assert!(view::<fsn_record>(&aligned.0[1..]).is_none());
        assert_eq!(words(&aligned.0).map(|words| (words.len(), words[7])), Some((8, 0x0101_0101_0101_0101)));
        assert!(words(&aligned.0[..63]).is_none() && words(&aligned.0[1..57]).is_none());
        assert_eq!(view_many::<fsn_att>(&aligned.0, 8).map(|(v, r)| (v.len(), r.len())), Some((8, 0)));
        assert!(view_many::<fsn_att>(&aligned.0, 9).is_none());
        assert!(view_many::<fsn_att>(&aligned.0, usize::MAX).is_none());
    }
}
