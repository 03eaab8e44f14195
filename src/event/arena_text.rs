//! Text built piece by piece in the event's arena: what String would be, without the heap.

use bumpalo::Bump;
use std::fmt;

/// A growing byte string in an arena. Freed with the arena; growth leaves the old copy behind, so give a capacity
/// where one is known.
pub struct ArenaText<'a> {
    arena: &'a Bump,
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> ArenaText<'a> {
    /// An empty text with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize, arena: &'a Bump) -> Self {
        ArenaText { arena, buf: arena.alloc_slice_fill_copy(capacity, 0), len: 0 }
    }

    /// An empty text with room for most values.
    pub fn new(arena: &'a Bump) -> Self {
        Self::with_capacity(64, arena)
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end > self.buf.len() {
            let grown = self.arena.alloc_slice_fill_copy(end.max(self.buf.len() * 2), 0);
            grown[..self.len].copy_from_slice(&self.buf[..self.len]);
            self.buf = grown;
        }
        self.buf[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    pub fn push_str(&mut self, text: &str) {
        self.push(text.as_bytes());
    }

    /// Appends what a formatting macro produces: `text.push_fmt(format_args!("{n}"))`.
    pub fn push_fmt(&mut self, args: fmt::Arguments<'_>) {
        // Writing to an arena cannot fail.
        let _ = fmt::Write::write_fmt(self, args);
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    /// Shortens the text to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The finished text.
    pub fn finish(self) -> &'a [u8] {
        &self.buf[..self.len]
    }
}

impl fmt::Write for ArenaText<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// A number in decimal.
pub fn decimal(n: impl fmt::Display, arena: &Bump) -> &[u8] {
    let mut text = ArenaText::with_capacity(20, arena);
    text.push_fmt(format_args!("{n}"));
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_keeps_what_it_has() {
        let arena = Bump::new();
        let mut text = ArenaText::with_capacity(1, &arena);
        for i in 0..100 {
            text.push_fmt(format_args!("{i},"));
        }
        let expected: String = (0..100).map(|i| format!("{i},")).collect();
        assert_eq!(text.as_bytes(), expected.as_bytes());
        text.truncate(3);
        assert_eq!(text.finish(), b"0,1");
        assert_eq!(decimal(-7i64, &arena), b"-7");
    }
}
