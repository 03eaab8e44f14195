//! Numbers of the blocks that are written today; the reader knows those of before as well.

pub const SECTION: u32 = 0x0a0d_0d0a;
pub const MACHINE: u32 = 0x201;
pub const PROCESSES: u32 = 0x215;
pub const FDS: u32 = 0x218;
pub const INTERFACES: u32 = 0x219;
pub const USERS: u32 = 0x220;
pub const EVENT: u32 = 0x216;
pub const EVENT_WITH_FLAGS: u32 = 0x217;
pub const LARGE_EVENT: u32 = 0x221;
pub const LARGE_EVENT_WITH_FLAGS: u32 = 0x222;

/// First word of a section's body, in the byte order of the machine that wrote it.
pub const MAGIC: u32 = 0x1a2b_3c4d;
/// Version of the format that is written.
pub const VERSION: (u16, u16) = (1, 2);
