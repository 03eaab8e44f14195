//! One event of a capture: a header and parameters as bytes.

use crate::event::types::EventCode;

/// Where a parameter lies in the event's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// What is known of an event before its parameters are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    /// ns since 1970.
    pub time: u64,
    pub tid: i64,
    pub cpu: u16,
    pub code: u16,
    /// Bits of its block.
    pub flags: u32,
}

/// An event, valid until the next one is read.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Number in the capture, from 1; every event counts that is one in today's schema.
    pub num: u64,
    /// ns since 1970.
    pub time: u64,
    pub tid: i64,
    pub cpu: u16,
    pub code: EventCode,
    /// Bits of its block.
    pub flags: u32,
    pub(super) spans: &'a [Span],
    pub(super) data: &'a [u8],
}

/// The event only updates state: no rule sees it.
pub const STATE_ONLY: u32 = 1;

impl<'a> Event<'a> {
    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// A parameter's bytes; None when there is no such parameter, empty when it has no value.
    #[inline]
    pub fn param(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        self.data.get(span.start as usize..span.end as usize)
    }

    /// All of them, in order.
    pub fn params(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let data = self.data;
        self.spans.iter().map(move |span| data.get(span.start as usize..span.end as usize).unwrap_or_default())
    }

    /// A number of 4 or 8 bytes (or less), zero-extended.
    #[inline]
    pub fn unsigned(&self, index: usize) -> Option<u64> {
        unsigned(self.param(index)?)
    }

    /// A signed number, sign-extended.
    #[inline]
    pub fn signed(&self, index: usize) -> Option<i64> {
        signed(self.param(index)?)
    }

    /// A text without its NUL; None when it has no value (also the old `(NULL)`).
    pub fn text(&self, index: usize) -> Option<&'a [u8]> {
        text(self.param(index)?)
    }
}

/// See [`Event::unsigned`].
#[inline]
pub(super) fn unsigned(param: &[u8]) -> Option<u64> {
    Some(match *param {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => return None,
    })
}

/// See [`Event::signed`].
#[inline]
pub(super) fn signed(param: &[u8]) -> Option<i64> {
    Some(match *param {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_ne_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_ne_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => return None,
    })
}

/// See [`Event::text`].
pub(super) fn text(param: &[u8]) -> Option<&[u8]> {
    let text = &param[..memchr::memchr(0, param)?];
    (text != b"(NULL)").then_some(text)
}

/// An event that owns its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventBuf {
    pub time: u64,
    pub tid: i64,
    pub cpu: u16,
    pub code: u16,
    pub flags: u32,
    pub(super) spans: Vec<Span>,
    pub(super) data: Vec<u8>,
}

impl EventBuf {
    /// An event without parameters yet.
    pub fn new(code: EventCode, time: u64, tid: i64) -> EventBuf {
        EventBuf { time, tid, code: code.0, ..EventBuf::default() }
    }

    /// Becomes another event without parameters.
    pub fn restart(&mut self, code: EventCode, time: u64, tid: i64, cpu: u16) {
        (self.time, self.tid, self.cpu, self.code, self.flags) = (time, tid, cpu, code.0, 0);
        self.spans.clear();
        self.data.clear();
    }

    /// Appends a parameter.
    pub fn push(&mut self, bytes: &[u8]) {
        self.push_with(|data| data.extend_from_slice(bytes));
    }

    /// Appends what `fill` appends as a parameter.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.data.len() as u32;
        fill(&mut self.data);
        self.spans.push(Span { start, end: self.data.len() as u32 });
    }

    /// Becomes a copy.
    pub(super) fn assign(&mut self, event: &Event<'_>) {
        self.begin(event, event.code);
        (0..event.len()).for_each(|i| self.push(event.param(i).unwrap_or_default()));
    }

    /// Becomes an event with another's header and no parameters.
    pub(super) fn begin(&mut self, head: &Event<'_>, code: EventCode) {
        (self.time, self.tid, self.cpu, self.flags, self.code) = (head.time, head.tid, head.cpu, head.flags, code.0);
        self.spans.clear();
        self.data.clear();
    }

    /// The event, numbered.
    pub fn view(&self, num: u64) -> Event<'_> {
        Event {
            num,
            time: self.time,
            tid: self.tid,
            cpu: self.cpu,
            code: EventCode(self.code),
            flags: self.flags,
            spans: &self.spans,
            data: &self.data,
        }
    }
}
