//! From the kernel's numbers to the capture format's. Where a class is not mentioned the numbers are the same.
//!
//! Source of the left sides: Linux's uapi headers. Two habits of the format are kept because rules rely on them:
//! an access mode becomes a set of bits (`O_RDWR` = read | write), and flags of several bits count as present when
//! any of them is (a directory opened with `O_DIRECTORY` also has `O_TMPFILE`).

/// Bits of the `flags` parameter of the open family, as rules see them.
pub mod open_bit {
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const CREAT: u32 = 4;
    /// Opened as a directory.
    pub const DIRECTORY: u32 = 0x400;
    pub const CLOEXEC: u32 = 0x1000;
    pub const TMPFILE: u32 = 0x2000;
    /// The kernel made the file in this call.
    pub const F_CREATED: u32 = 0x4000;
    pub const UPPER_LAYER: u32 = 0x8000;
    pub const LOWER_LAYER: u32 = 0x1_0000;
}

/// Native `O_*` values that differ between architectures.
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
mod native {
    pub const DIRECTORY: u32 = 0o40_000;
    pub const DIRECT: u32 = 0o200_000;
    pub const LARGEFILE: u32 = 0o400_000;
}
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
mod native {
    pub const DIRECTORY: u32 = 0o200_000;
    pub const DIRECT: u32 = 0o40_000;
    pub const LARGEFILE: u32 = 0o100_000;
}

const NATIVE_CREAT: u32 = 0o100;
const NATIVE_NONBLOCK: u32 = 0o4_000;
const NATIVE_DSYNC: u32 = 0o10_000;
const NATIVE_CLOEXEC: u32 = 0o2_000_000;
const NATIVE_SYNC: u32 = 0o4_000_000 | NATIVE_DSYNC;
const NATIVE_TMPFILE: u32 = 0o20_000_000 | native::DIRECTORY;

const OPEN: &[(u32, u32)] = &[
    (NATIVE_CREAT, open_bit::CREAT),
    (0o2_000, 8),
    (NATIVE_DSYNC, 0x10),
    (0o200, 0x20),
    (NATIVE_NONBLOCK, 0x40),
    (NATIVE_SYNC, 0x80),
    (0o1_000, 0x100),
    (native::DIRECT, 0x200),
    (native::DIRECTORY, 0x400),
    (native::LARGEFILE, 0x800),
    (NATIVE_CLOEXEC, open_bit::CLOEXEC),
    (NATIVE_TMPFILE, open_bit::TMPFILE),
];

const CLONE: &[(u32, u32)] = &[
    (0x0000_0400, 0x1),
    (0x0000_0200, 0x2),
    (0x8000_0000, 0x4),
    (0x0800_0000, 0x8),
    (0x4000_0000, 0x10),
    (0x0002_0000, 0x20),
    (0x2000_0000, 0x40),
    (0x0400_0000, 0x80),
    (0x0000_8000, 0x100),
    (0x0010_0000, 0x200),
    (0x0000_2000, 0x400),
    (0x0000_0800, 0x800),
    (0x0004_0000, 0x1000),
    (0x0001_0000, 0x2000),
    (0x0080_0000, 0x4000),
    (0x0000_0100, 0x8000),
    (0x1000_0000, 0x10_0000),
    (0x0020_0000, 0x80_0000),
    (0x0100_0000, 0x100_0000),
    (0x0008_0000, 0x200_0000),
    (0x0000_4000, 0x800_0000),
    (0x0200_0000, 0x1000_0000),
];

const MMAP: &[(u32, u32)] = &[
    (0x1, 0x1),
    (0x2, 0x2),
    (0x10, 0x4),
    (0x20, 0x8),
    (0x40, 0x10),
    (0x4000, 0x40),
    (0x8000, 0x80),
    (0x1_0000, 0x100),
    (0x100, 0x200),
    (0x800, 0x400),
    (0x1000, 0x800),
    (0x2000, 0x4000),
];

const PROT: &[(u32, u32)] = &[(1, 1), (2, 2), (4, 4), (8, 8), (0x0100_0000, 0x10), (0x0200_0000, 0x20)];
const RESOLVE: &[(u32, u32)] = &[(0x08, 1), (0x10, 2), (0x02, 4), (0x04, 8), (0x01, 0x10), (0x20, 0x20)];
const URING_SETUP: &[(u32, u32)] = &[(1, 1), (2, 2), (4, 8), (8, 0x10), (0x10, 0x20), (0x20, 0x40), (0x40, 0x80)];
const POLL: &[(u32, u32)] = &[
    (0x1, 0x1),
    (0x2, 0x2),
    (0x4, 0x4),
    (0x2000, 0x8),
    (0x8, 0x10),
    (0x10, 0x20),
    (0x20, 0x40),
    (0x40, 0x80),
    (0x80, 0x100),
    (0x100, 0x200),
    (0x200, 0x400),
];

/// `(kernel, format)` pairs of commands; anything else is 0, "unknown".
const FCNTL: &[(u32, u32)] = &[
    (0, 1),
    (1, 2),
    (2, 3),
    (3, 4),
    (4, 5),
    (5, 6),
    (6, 8),
    (7, 9),
    (8, 10),
    (9, 12),
    (10, 13),
    (11, 15),
    (12, 17),
    (13, 18),
    (14, 19),
    (15, 21),
    (16, 22),
    (1024, 23),
    (1025, 24),
    (1029, 25),
    (1030, 26),
    (1026, 27),
    (1031, 28),
    (1032, 29),
    (36, 30),
    (37, 31),
    (38, 32),
];

const PTRACE: &[(u32, u32)] = &[
    (0, 1),
    (1, 2),
    (2, 3),
    (3, 4),
    (4, 5),
    (5, 6),
    (6, 7),
    (7, 8),
    (8, 9),
    (9, 10),
    (16, 11),
    (17, 12),
    (24, 13),
    (0x4200, 14),
    (0x4201, 15),
    (0x4202, 16),
    (0x4203, 17),
    (0x4204, 18),
    (0x4205, 19),
    (0x4206, 20),
    (0x4207, 21),
    (0x4208, 22),
    (0x4209, 23),
    (0x420a, 24),
    (0x420b, 25),
    (12, 26),
    (13, 27),
    (14, 28),
    (15, 29),
    (18, 30),
    (19, 31),
    (21, 32),
    (25, 33),
    (26, 34),
    (30, 35),
    (31, 36),
    (32, 37),
    (33, 38),
];

const SEMCTL: &[(u32, u32)] = &[
    (2, 1),
    (1, 2),
    (0, 4),
    (3, 8),
    (19, 16),
    (18, 32),
    (13, 64),
    (14, 128),
    (11, 256),
    (12, 512),
    (15, 1024),
    (17, 2048),
    (16, 4096),
];

const QUOTACTL: &[(u32, u32)] = &[
    (0x80_0002, 1),
    (0x80_0003, 2),
    (0x80_0004, 4),
    (0x80_0005, 8),
    (0x80_0006, 16),
    (0x80_0007, 32),
    (0x80_0008, 64),
    (0x80_0001, 128),
    (0x5801, 256),
    (0x5802, 512),
    (0x5803, 1024),
    (0x5804, 2048),
    (0x5805, 4096),
    (0x5806, 8192),
    (0x5807, 16384),
];

/// Bits of `to` for every pair with a bit of `from` in `value`.
fn any_bit(pairs: &[(u32, u32)], value: u32) -> u32 {
    pairs.iter().filter(|(from, _)| value & from != 0).fold(0, |bits, (_, to)| bits | to)
}

/// The format's number of a command, 0 when it has none.
fn command(pairs: &[(u32, u32)], value: u32) -> u32 {
    pairs.iter().find(|(from, _)| *from == value).map_or(0, |(_, to)| *to)
}

/// Flags of the open family, without what only the opened file can tell (created, overlay layer).
pub fn file_flags(native: u32) -> u32 {
    access(native) | any_bit(OPEN, native)
}

/// Of these, what says whether the file is read or written.
pub fn access(native: u32) -> u32 {
    match native & 0o3 {
        1 => open_bit::WRITE,
        2 => open_bit::READ | open_bit::WRITE,
        _ => open_bit::READ,
    }
}

/// Whether native open flags ask for a file to be made.
pub fn creates_file(native: u32) -> bool {
    native & (NATIVE_CREAT | 0o20_000_000) != 0
}

/// The format's value of a parameter of class `class` whose kernel value is `native`. `event` is the name of the
/// event, because one class is filled in different ways by different calls.
pub fn from_native(class: &str, event: &str, native: u64) -> u64 {
    // All native flag words are 32 bits wide, whatever the register's upper half holds.
    converter(class, event).map_or(native, |convert| u64::from(convert(native as u32)))
}

/// How [`from_native`] translates a class, to be looked up once; None where there is no class.
pub fn converter(class: &str, event: &str) -> Option<fn(u32) -> u32> {
    Some(match class {
        "" => return None,
        "file_flags" => match event {
            "open" | "openat" | "openat2" | "open_by_handle_at" => file_flags,
            "userfaultfd" => |v| v,
            _ => |v| any_bit(&[(NATIVE_NONBLOCK, 0x40), (NATIVE_CLOEXEC, 0x1000)], v),
        },
        "clone_flags" => |v| any_bit(CLONE, v),
        "mmap_flags" => |v| any_bit(MMAP, v),
        "prot_flags" => |v| any_bit(PROT, v),
        "openat2_flags" => |v| any_bit(RESOLVE, v),
        "io_uring_setup_flags" => |v| any_bit(URING_SETUP, v),
        "poll_flags" => |v| any_bit(POLL, v),
        "fcntl_commands" => |v| command(FCNTL, v),
        "ptrace_requests" => |v| command(PTRACE, v),
        "semctl_commands" => |v| command(SEMCTL, v),
        "quotactl_cmds" => |v| command(QUOTACTL, v >> 8),
        "quotactl_types" => |v| command(&[(0, 1), (1, 2)], v & 0xff),
        "quotactl_quota_fmts" => |v| command(&[(1, 2), (2, 4), (4, 8)], v).max(1),
        "sockopt_levels" => |v| command(&[(1, 1), (6, 2)], v),
        "sockopt_options" => |v| match v {
            1..=50 => v,
            59 => 51,
            55 => 52,
            57 => 53,
            _ => 0,
        },
        "rlimit_resources" => |v| if v <= 15 { v } else { 255 },
        "shutdown_how" | "lseek_whence" => |v| v & 0xff,
        // Old programs put a magic number into the upper half.
        "mount_flags" => |v| if v & 0xffff_0000 == 0xc0ed_0000 { v & 0xffff } else { v },
        // Not symbols: a device number, from the form user space has to the kernel's own.
        "mknod_dev" => |v| (v & 0xf_ff00) << 12 | v & 0xff | v >> 12 & 0xf_ff00,
        "semop_flags" => |v| any_bit(&[(0x800, 1), (0x1000, 2)], v),
        "semget_flags" => |v| any_bit(&[(0x200, 0x2000), (0x400, 0x4000)], v),
        "delete_module_flags" => |v| any_bit(&[(0o1_000, 1), (NATIVE_NONBLOCK, 2)], v),
        "epoll_create1_flags" => |v| any_bit(&[(NATIVE_CLOEXEC, 1)], v),
        "pidfd_open_flags" => |v| any_bit(&[(NATIVE_NONBLOCK, 1)], v),
        "fchownat_flags" => |v| any_bit(&[(0x100, 0x400), (0x1000, 0x1000)], v),
        "unlinkat_flags" => |v| v & 0x200,
        "linkat_flags" => |v| v & 0x1400,
        "newfstatat_flags" => |v| v & 0x1900,
        "memfd_create_flags" | "finit_module_flags" | "mlockall_flags" | "access_flags" => |v| v & 7,
        "mlock2_flags" => |v| v & 1,
        "close_range_flags" => |v| v & 6,
        "flock_flags" | "splice_flags" | "umount_flags" | "io_uring_enter_flags" => |v| v & 0xf,
        "io_uring_setup_feats" => |v| v & 0x7ff,
        "chmod_mode" => |v| v & 0o7777,
        "mknod_mode" => |v| {
            let kind = match v & 0o170_000 {
                0 => 0o100_000,
                kind @ (0o100_000 | 0o20_000 | 0o60_000 | 0o10_000 | 0o140_000) => kind,
                _ => 0,
            };
            v & 0o7777 | kind
        },
        // Values of any width, printed by what they belong to.
        "sockopt_dynamic_param" | "ptrace_dynamic_param" | "keyctl_dynamic_param" => return None,
        _ => |v| v,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Pairs of what was passed and what a capture of it holds.
    #[test]
    fn open_flags() {
        assert_eq!(file_flags(0), 1);
        assert_eq!(file_flags(1), 2);
        assert_eq!(file_flags(2), 3);
        assert_eq!(file_flags(libc::O_CLOEXEC as u32), 0x1001);
        assert_eq!(file_flags((libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC) as u32), 0x106);
        // Any bit of a flag of several bits counts.
        assert_eq!(file_flags(libc::O_DIRECTORY as u32), 0x2401);
        assert_eq!(file_flags(libc::O_DSYNC as u32), 0x91);
        assert_eq!(file_flags(u32::MAX), 0x3ffd);
    }

    #[test]
    fn one_class_many_calls() {
        assert_eq!(from_native("file_flags", "openat", 0), 1);
        assert_eq!(from_native("file_flags", "pipe2", 0), 0);
        assert_eq!(from_native("file_flags", "socket", 0o2_004_001), 0x1040);
        assert_eq!(from_native("file_flags", "userfaultfd", 0x80800), 0x80800);
    }

    #[test]
    fn all_bits_set() {
        let all = |class| from_native(class, "", u64::MAX);
        assert_eq!(all("clone_flags"), 0x1b90_ffff | 0x400);
        assert_eq!(all("mmap_flags"), 0x4fdf);
        assert_eq!(all("prot_flags"), 0x3f);
        assert_eq!(all("fchownat_flags"), 0x1400);
        assert_eq!(all("linkat_flags"), 0x1400);
        assert_eq!(all("mount_flags"), 0xffff_ffff);
        assert_eq!(all("shutdown_how"), 0xff);
        assert_eq!(all("rlimit_resources"), 255);
        assert_eq!(all("mknod_mode"), 0o7777);
        assert_eq!(all("memfd_create_flags"), 7);
        assert_eq!(all("delete_module_flags"), 3);
        assert_eq!(all("fcntl_commands"), 0);
        assert_eq!(all("mknod_dev"), 0xffff_ffff);
        assert_eq!(from_native("mknod_dev", "mknod", 0x103), 1_048_579);
    }

    #[test]
    fn commands() {
        assert_eq!(from_native("fcntl_commands", "fcntl", libc::F_DUPFD_CLOEXEC as u64), 26);
        assert_eq!(from_native("fcntl_commands", "fcntl", libc::F_SETPIPE_SZ as u64), 28);
        assert_eq!(from_native("ptrace_requests", "ptrace", 16), 11);
        assert_eq!(from_native("ptrace_requests", "ptrace", 0x4206), 20);
        assert_eq!(from_native("ptrace_requests", "ptrace", 13), 27);
        assert_eq!(from_native("quotactl_cmds", "quotactl", 0x8000_0700), 32);
        assert_eq!(from_native("semctl_commands", "semctl", 0), 4);
        assert_eq!(from_native("openat2_flags", "openat2", 0x0c), 9);
        assert_eq!(from_native("mknod_mode", "mknod", 0), 0o100_000);
        assert_eq!(from_native("mknod_mode", "mknod", 0o20_600), 0o20_600);
    }
}
