//! What can be wrong with a capture.

use std::io;
use std::path::PathBuf;

/// Where a capture ended early, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}{problem}", file.display(), place(*offset, problem))]
pub struct CaptureError {
    pub file: PathBuf,
    /// Place in the (unpacked) file: the block that could not be read.
    pub offset: u64,
    pub problem: Problem,
}

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("this is no capture file: it begins with {0:#010x}, a .scap file with 0x0a0d0d0a")]
    NotACapture(u32),
    #[error("the file was written on a machine of the other byte order, which is not supported")]
    ByteOrder,
    #[error("version {0}.{1} of the format is not known (1.x is)")]
    Version(u16, u16),
    #[error("the file is truncated: its last block is incomplete")]
    Truncated,
    #[error("the compressed data is damaged: {0}")]
    Gzip(io::Error),
    #[error("a block of type {kind:#x} has the length {len}, which cannot be")]
    BlockLength { kind: u32, len: u32 },
    #[error("a block of type {kind:#x} ends with the length {trailer} instead of {len}")]
    BlockTrailer { kind: u32, len: u32, trailer: u32 },
    #[error("the {0} are damaged: an entry is longer than its block or its own limit")]
    List(&'static str),
    #[error("there are two sections of machine information")]
    SecondMachine,
    #[error("there are more than {} bytes of metadata without an event", super::bounds::METADATA)]
    TooMuchMetadata,
    #[error("there is no event in it")]
    NoEvents,
    #[error("an unexpected block of type {0:#x} between events")]
    UnexpectedBlock(u32),
    #[error("an event contradicts its own lengths")]
    EventLengths,
    #[error("an event of type {code} with {params} parameters cannot be converted to today's schema")]
    Conversion { code: u16, params: usize },
}

/// A file that was not opened has no places.
fn place(offset: u64, problem: &Problem) -> String {
    match problem {
        Problem::Open(_) => String::new(),
        _ => format!("at byte {offset}: "),
    }
}
