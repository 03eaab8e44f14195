//! Flag and enumeration parameters: their symbols, their texts, and the way from the kernel's numbers to the
//! capture format's, which the rules language speaks (`O_RDONLY` is 1, `O_RDWR` is 3).

mod convert;
mod table;

pub use convert::{access, converter, creates_file, file_flags, from_native, open_bit};
pub use table::{CAPABILITIES, CLASSES, ERRNOS, SIGNALS};

use super::arena_text::ArenaText;
use bumpalo::Bump;
use hashbrown::HashMap;
use std::sync::LazyLock;

/// Of a call that forks, beside the kernel's flags: what it makes is in another pid namespace than the first one.
pub const CLONE_CHILD_IN_PIDNS: u32 = 1 << 29;

/// The symbols of one kind of parameter, in the order texts list them.
#[derive(Debug)]
pub struct Class {
    pub name: &'static str,
    pub symbols: &'static [(&'static str, u32)],
}

/// The class with a name, or None.
pub fn class(name: &str) -> Option<&'static Class> {
    static BY_NAME: LazyLock<HashMap<&'static str, &'static Class>> =
        LazyLock::new(|| CLASSES.iter().map(|c| (c.name, c)).collect());
    BY_NAME.get(name).copied()
}

impl Class {
    /// Appends the symbols of a set of bits, joined by `|`: a symbol is listed when all its bits are there and none
    /// before it has taken them (so 3 is `O_RDWR`, not `O_RDWR|O_WRONLY|O_RDONLY`). Zero has a symbol in some
    /// classes. Returns false, appending nothing, when no symbol fits.
    pub fn push_bits(&self, value: u32, out: &mut ArenaText<'_>) -> bool {
        let start = out.len();
        let mut left = value;
        for &(symbol, bits) in self.symbols {
            if (bits != 0 && left & bits == bits) || (bits == 0 && value == 0) {
                if out.len() > start {
                    out.push(b"|");
                }
                out.push_str(symbol);
                left &= !bits;
            }
        }
        out.len() > start
    }

    /// Appends every symbol with exactly this value, joined by `|` (`AF_LOCAL|AF_UNIX`). Returns false, appending
    /// nothing, when there is none.
    pub fn push_enum(&self, value: u32, out: &mut ArenaText<'_>) -> bool {
        let start = out.len();
        for &(symbol, _) in self.symbols.iter().filter(|(_, v)| *v == value) {
            if out.len() > start {
                out.push(b"|");
            }
            out.push_str(symbol);
        }
        out.len() > start
    }

    /// The value of a symbol, or None.
    pub fn value(&self, symbol: &str) -> Option<u32> {
        self.symbols.iter().find(|(s, _)| *s == symbol).map(|(_, v)| *v)
    }
}

/// The name of an error number (positive), or None.
pub fn errno_name(errno: u64) -> Option<&'static str> {
    let errno = u16::try_from(errno).ok()?;
    ERRNOS.binary_search_by_key(&errno, |(n, _)| *n).ok().map(|at| ERRNOS[at].1)
}

/// The name of a signal, or None.
pub fn signal_name(signal: u64) -> Option<&'static str> {
    SIGNALS.get(usize::try_from(signal).ok()?.checked_sub(1)?).copied()
}

/// The names of a capability set, lowest first, separated by a blank.
pub fn capabilities(set: u64, arena: &Bump) -> &[u8] {
    // Most sets are empty or all there is.
    static ALL: LazyLock<String> = LazyLock::new(|| CAPABILITIES.join(" "));
    const KNOWN: u64 = (1 << CAPABILITIES.len()) - 1;
    if set & KNOWN == KNOWN {
        return ALL.as_bytes();
    }
    let mut text = ArenaText::new(arena);
    for (bit, name) in CAPABILITIES.iter().enumerate() {
        if set >> bit & 1 == 1 {
            if !text.is_empty() {
                text.push(b" ");
            }
            text.push_str(name);
        }
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(name: &str, value: u32) -> String {
        let arena = Bump::new();
        let mut out = ArenaText::new(&arena);
        class(name).expect("class").push_bits(value, &mut out);
        String::from_utf8_lossy(out.finish()).into_owned()
    }

    fn symbol(name: &str, value: u32) -> String {
        let arena = Bump::new();
        let mut out = ArenaText::new(&arena);
        class(name).expect("class").push_enum(value, &mut out);
        String::from_utf8_lossy(out.finish()).into_owned()
    }

    // Texts seen in captures.
    #[test]
    fn bits_are_listed_in_table_order_each_once() {
        assert_eq!(bits("file_flags", 0x1001), "O_RDONLY|O_CLOEXEC");
        assert_eq!(bits("file_flags", 0x4106), "O_TRUNC|O_CREAT|O_WRONLY|O_F_CREATED");
        assert_eq!(bits("file_flags", 7), "O_CREAT|O_RDWR");
        assert_eq!(bits("file_flags", 0), "O_NONE");
        assert_eq!(bits("file_flags", 0x1000000), "");
        assert_eq!(bits("futex_operations", 0x189), "FUTEX_CLOCK_REALTIME|FUTEX_PRIVATE_FLAG|FUTEX_WAIT_BITSET");
        assert_eq!(bits("futex_operations", 0x80), "FUTEX_PRIVATE_FLAG");
        assert_eq!(bits("access_flags", 0), "F_OK");
        assert_eq!(bits("access_flags", 7), "R_OK|W_OK|X_OK");
        assert_eq!(bits("chmod_mode", 0), "");
        assert_eq!(bits("clone_flags", 0x8008000), "CLONE_VM|CLONE_VFORK");
        assert_eq!(bits("execve_flags", 9), "EXE_WRITABLE|EXE_LOWER_LAYER");
    }

    #[test]
    fn enumerations_list_every_name_of_a_value() {
        assert_eq!(symbol("socket_families", 1), "AF_LOCAL|AF_UNIX");
        assert_eq!(symbol("socket_families", 16), "AF_ROUTE|AF_NETLINK");
        assert_eq!(symbol("shutdown_how", 255), "");
        assert_eq!(symbol("prctl_options", 15), "PR_SET_NAME");
        assert_eq!(symbol("ptrace_requests", 11), "PTRACE_ATTACH");
    }

    #[test]
    fn names_of_numbers() {
        assert_eq!(errno_name(1), Some("EPERM"));
        assert_eq!(errno_name(530), Some("EIOCBRETRY"));
        assert_eq!(errno_name(41), None);
        assert_eq!(errno_name(u64::MAX), None);
        assert_eq!(signal_name(9), Some("SIGKILL"));
        assert_eq!(signal_name(0), None);
        assert_eq!(signal_name(32), None);
    }

    #[test]
    fn names_of_capabilities() {
        let arena = Bump::new();
        assert_eq!(capabilities(0, &arena), b"");
        assert_eq!(capabilities(1 << 21 | 1, &arena), b"CAP_CHOWN CAP_SYS_ADMIN");
        assert_eq!(capabilities(u64::MAX, &arena), capabilities(u64::MAX >> 23, &arena));
        let but_one = CAPABILITIES[1..].join(" ");
        assert_eq!(capabilities(u64::MAX - 1, &arena), but_one.as_bytes());
        assert_eq!(capabilities(u64::MAX, &arena), format!("CAP_CHOWN {but_one}").as_bytes());
    }

    #[test]
    fn errnos_are_sorted() {
        assert!(ERRNOS.is_sorted_by_key(|(n, _)| *n));
    }
}
