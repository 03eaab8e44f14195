//! Numbers and texts of a block, in the byte order of this machine (captures of the other one are refused).

/// What is left of a block.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(pub &'a [u8]);

macro_rules! numbers {
    ($($name:ident: $ty:ty),*) => {
        $(pub fn $name(&mut self) -> Option<$ty> {
            Some(<$ty>::from_ne_bytes(*self.0.split_first_chunk().map(|(head, rest)| { self.0 = rest; head })?))
        })*
    };
}

impl<'a> Cursor<'a> {
    numbers!(u8: u8, u16: u16, u32: u32, u64: u64, i64: i64);

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// A text with its length before it, of at most `limit` bytes.
    pub fn text(&mut self, limit: usize) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        if len > limit {
            return None;
        }
        self.take(len)
    }
}
