//! Requests over a unix socket whose `:authority` is the socket's path.
//!
//! gRPC's C core (Python, Ruby, C++) from 1.57 on, older grpc-go and grpc-java name the server so. That is no authority of HTTP, and h2
//! answers such a request with PROTOCOL_ERROR before anybody sees it. Over a unix socket it tells nothing: [`Named`] gives the server's
//! side of the connection another one to read. Header blocks are changed in place, field by field (RFC 7541), without their texts being
//! decoded; the client's table of fields stays what the server believes it to be, as a shorter text only leaves more room in it.
//!
//! Invariant: what this does not understand passes as it is.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Before the first frame of a connection.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const FRAME_HEAD: usize = 9;
/// Longer frames are refused by the server, which does not say that it takes them.
const FRAME_MAX: usize = 16 << 10;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// `:authority` in the table of fields that every connection knows.
const AUTHORITY: usize = 1;
/// The same as a text with its length, as the C core tells it.
const AUTHORITY_NAME: &[u8] = b"\x0a:authority";
/// A text of one letter, not packed: as short as any that can stand there.
const NAME: [u8; 2] = [1, b'u'];

/// A connection of a client that may call the server by a path.
pub struct Named<S> {
    stream: S,
    read: Vec<u8>,
    /// Of `read`: looked through and not given on.
    ready: Range<usize>,
    /// Bytes to come that pass unread.
    passing: usize,
}

impl<S> Named<S> {
    pub fn new(stream: S) -> Named<S> {
        Named { stream, read: Vec::new(), ready: 0..0, passing: PREFACE }
    }

    /// Looks through what was read, as far as frames are whole.
    fn look(&mut self) {
        let mut at = self.ready.end;
        loop {
            let passes = self.passing.min(self.read.len() - at);
            self.passing -= passes;
            at += passes;
            let frame = &self.read[at..];
            let Some(head) = frame.first_chunk::<FRAME_HEAD>().filter(|_| self.passing == 0) else { break };
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            if head[3] != HEADERS || head[4] & END_HEADERS == 0 || length > FRAME_MAX {
                self.passing = FRAME_HEAD + length;
                continue;
            }
            let Some(frame) = frame.get(..FRAME_HEAD + length) else { break };
            match renamed(frame) {
                Some(renamed) => {
                    self.read.splice(at..at + FRAME_HEAD + length, renamed.iter().copied());
                    self.passing = renamed.len();
                }
                None => self.passing = FRAME_HEAD + length,
            }
        }
        self.ready.end = at;
    }
}

/// A frame of headers with another `:authority`; None when it has none, or is not well formed.
fn renamed(frame: &[u8]) -> Option<Vec<u8>> {
    let (head, payload) = frame.split_at_checked(FRAME_HEAD)?;
    let flags = head[4];
    let padding = if flags & PADDED != 0 { usize::from(*payload.first()?) } else { 0 };
    let before = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = payload.len().checked_sub(padding)?;
    let authority = authority(payload.get(before..end)?)?;
    let authority = before + authority.start..before + authority.end;
    let mut renamed = head.to_vec();
    renamed.extend_from_slice(&payload[..authority.start]);
    renamed.extend_from_slice(&NAME);
    renamed.extend_from_slice(&payload[authority.end..]);
    let length = renamed.len() - FRAME_HEAD;
    renamed[..3].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
    Some(renamed)
}

/// Where the text of `:authority` lies in a block of fields, with the length before it.
fn authority(block: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while let Some(first) = block.get(at) {
        // A field by its number, one that is added to the table, a new size of the table, one that is not added.
        let (bits, has_text) = match first.leading_zeros() {
            0 => (7, false),
            1 => (6, true),
            2 => (5, false),
            _ => (4, true),
        };
        let (index, length) = integer(&block[at..], bits)?;
        at += length;
        if !has_text {
            continue;
        }
        let mut is_authority = index == AUTHORITY;
        if index == 0 {
            let length = text(&block[at..])?;
            is_authority = block[at..].starts_with(AUTHORITY_NAME);
            at += length;
        }
        let value = at..at + text(&block[at..])?;
        if is_authority {
            return Some(value);
        }
        at = value.end;
    }
    None
}

/// A number that begins with the last bits of a byte, and the bytes it takes.
fn integer(bytes: &[u8], bits: u32) -> Option<(usize, usize)> {
    let most = (1usize << bits) - 1;
    let mut number = usize::from(*bytes.first()?) & most;
    if number < most {
        return Some((number, 1));
    }
    for (place, byte) in bytes[1..].iter().take(4).enumerate() {
        number += usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, place + 2));
        }
    }
    None
}

/// The bytes that a text takes, with its length.
fn text(bytes: &[u8]) -> Option<usize> {
    let (length, head) = integer(bytes, 7)?;
    let whole = head + length;
    (whole <= bytes.len()).then_some(whole)
}

impl<S: AsyncRead + Unpin> AsyncRead for Named<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready.is_empty() {
            this.read.drain(..this.ready.start);
            this.ready = 0..0;
            let had = this.read.len();
            this.read.resize(had + FRAME_MAX, 0);
            let mut buffer = ReadBuf::new(&mut this.read[had..]);
            let read = Pin::new(&mut this.stream).poll_read(cx, &mut buffer);
            let got = buffer.filled().len();
            this.read.truncate(had + got);
            ready!(read)?;
            if got == 0 {
                // The end: what is there of a frame is all there will be.
                this.ready.end = this.read.len();
                break;
            }
            this.look();
        }
        let ready = &this.read[this.ready.clone()];
        let given = ready.len().min(out.remaining());
        out.put_slice(&ready[..given]);
        this.ready.start += given;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Named<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
