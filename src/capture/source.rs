//! The bytes of a capture, plain or gzip, block by block.
//!
//! A block is read as it arrives: a length that lies costs no more memory than the file has bytes.

use super::bounds;
use super::error::Problem;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

const CHUNK: usize = 256 << 10;

pub(super) struct Source {
    input: Box<dyn Read + Send>,
    gzip: bool,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were read and not consumed.
    start: usize,
    end: usize,
    /// Place of `start` in the unpacked file.
    pub offset: u64,
    over: bool,
}

/// A block: its type, and where its body lies, without header and trailer ([`Source::bytes`], until the next block).
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub kind: u32,
    pub body: Range<usize>,
}

impl Source {
    pub fn open(path: &Path) -> Result<Source, Problem> {
        let mut file = File::open(path).map_err(Problem::Open)?;
        let mut magic = [0; 2];
        let mut got = 0;
        while got < magic.len() {
            match file.read(&mut magic[got..])? {
                0 => break,
                n => got += n,
            }
        }
        let gzip = magic == [0x1f, 0x8b];
        let head = io::Cursor::new(magic[..got].to_vec());
        Ok(Source::new(head.chain(file), gzip))
    }

    /// Bytes from anywhere; `gzip` when they are packed.
    pub fn new(input: impl Read + Send + 'static, gzip: bool) -> Source {
        let input: Box<dyn Read + Send> = if gzip {
            Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(CHUNK, input)))
        } else {
            Box::new(input)
        };
        Source { input, gzip, buffer: vec![0; CHUNK], start: 0, end: 0, offset: 0, over: false }
    }

    /// Makes at least `len` bytes available; false when the file ends before.
    fn fill(&mut self, len: usize) -> Result<bool, Problem> {
        while self.end - self.start < len {
            if self.over {
                return Ok(false);
            }
            if self.start > 0 && (self.buffer.len() - self.start < len || self.start == self.end) {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.buffer.len() {
                // Grows with what has arrived, not with what was promised.
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.over = true,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.gzip && error.kind() == io::ErrorKind::UnexpectedEof => self.over = true,
                Err(error) if self.gzip => return Err(Problem::Gzip(error)),
                Err(error) => return Err(Problem::Io(error)),
            }
        }
        Ok(true)
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = &self.buffer[self.start + at..self.start + at + 4];
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// The bytes that were read and not taken.
    #[inline]
    pub fn ready(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Where these bytes begin ([`Source::bytes`]).
    #[inline]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// Takes so many of them.
    #[inline]
    pub const fn skip(&mut self, len: usize) {
        self.offset += len as u64;
        self.start += len;
    }

    /// The next block, or None at the end.
    pub fn block(&mut self, is_event: impl Fn(u32) -> bool) -> Result<Option<Block>, Problem> {
        if !self.fill(8)? {
            return if self.start == self.end { Ok(None) } else { Err(Problem::Truncated) };
        }
        let (kind, len) = (self.word(0), self.word(4));
        let whole = len as usize;
        let long = whole > bounds::EVENT_BLOCK && (is_event(kind) || whole > bounds::METADATA_BLOCK);
        if len < 12 || !len.is_multiple_of(4) || long {
            return Err(Problem::BlockLength { kind, len });
        }
        if !self.fill(whole)? {
            return Err(Problem::Truncated);
        }
        let trailer = self.word(whole - 4);
        if trailer != len {
            return Err(Problem::BlockTrailer { kind, len, trailer });
        }
        let body = self.start + 8..self.start + whole - 4;
        self.skip(whole);
        Ok(Some(Block { kind, body }))
    }

    /// The bytes of a block's body.
    pub fn bytes(&self, body: &Range<usize>) -> &[u8] {
        &self.buffer[body.clone()]
    }

    /// The first word of the file, or None when it has none.
    pub fn peek(&mut self) -> Result<Option<u32>, Problem> {
        Ok(self.fill(4)?.then(|| self.word(0)))
    }

    /// Gives back the block that was returned last: it is the next one again.
    pub fn unread(&mut self, len: usize) {
        self.start -= len;
        self.offset -= len as u64;
    }
}
