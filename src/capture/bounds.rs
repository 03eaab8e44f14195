//! What a capture may make the reader keep.

/// Bytes of one block of events.
pub const EVENT_BLOCK: usize = 64 << 20;
/// Bytes of one block of metadata (the list of all processes is one block).
pub const METADATA_BLOCK: usize = 512 << 20;
/// Bytes of all blocks of metadata between two events.
pub const METADATA: usize = 512 << 20;
/// Network interfaces that are known; further ones are not.
pub const INTERFACES: usize = 65_536;
/// Parameters of one event.
pub const PARAMS: usize = 1024;
/// Enter events waiting for their exit; an exit whose enter event was not kept gets the defaults.
pub const PENDING_ENTERS: usize = 65_536;
/// Threads at a time, as in Falco; events of others have no thread.
pub const THREADS: usize = 262_144;
/// Descriptors of one process, as in Falco; further ones are not known.
pub const FDS: usize = 4096;
/// Bytes of the tables of all processes: one that is forked shares its maker's until either changes it. What finds no room is not
/// known and counted.
pub const FD_TABLES: usize = 128 << 20;
/// comm, exe, paths in lists; names of unix sockets and memory files.
pub const TEXT: usize = 1024;
/// Arguments, environment and control groups in lists.
pub const LONG_TEXT: usize = 4096;
/// Length from which a resolved path is not kept but said to be too long.
pub const PATH: usize = 1024;
