//! A capture file, event by event.

use super::block::{self, MAGIC, SECTION};
use super::bounds;
use super::convert::{self, Converter, Known, Step};
use super::cursor::Cursor;
use super::error::{CaptureError, Problem};
use super::event::{Event, Head, Span};
use super::meta::{self, Metadata};
use super::source::Source;
use crate::event::types::EventCode;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Blocks of the format, by their numbers of today and before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Section,
    Machine,
    Processes(u8),
    Fds(u8),
    Interfaces(u8),
    Users(u8),
    Event(Form),
    Unknown,
}

/// Forms of an event block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    flags: bool,
    /// The event says how many parameters it has.
    counted: bool,
    /// Lengths have 32 bits.
    large: bool,
}

impl Kind {
    const fn of(number: u32) -> Kind {
        const fn event(flags: bool, counted: bool, large: bool) -> Kind {
            Kind::Event(Form { flags, counted, large })
        }
        match number {
            SECTION => Kind::Section,
            block::MACHINE | 0x8002_abcd => Kind::Machine,
            0x202 | 0x8000_abcd => Kind::Processes(1),
            0x207 | 0x8013_abcd => Kind::Processes(2),
            0x209 | 0x8014_abcd => Kind::Processes(3),
            0x210 => Kind::Processes(4),
            0x211 => Kind::Processes(5),
            0x212 => Kind::Processes(6),
            0x213 => Kind::Processes(7),
            0x214 => Kind::Processes(8),
            block::PROCESSES => Kind::Processes(9),
            0x203 | 0x8001_abcd => Kind::Fds(1),
            block::FDS => Kind::Fds(2),
            0x205 | 0x8011_abcd => Kind::Interfaces(1),
            block::INTERFACES => Kind::Interfaces(2),
            0x206 | 0x8012_abcd => Kind::Users(1),
            block::USERS => Kind::Users(2),
            0x204 | 0x8010_abcd => event(false, false, false),
            0x208 => event(true, false, false),
            block::EVENT => event(false, true, false),
            block::EVENT_WITH_FLAGS => event(true, true, false),
            block::LARGE_EVENT => event(false, true, true),
            block::LARGE_EVENT_WITH_FLAGS => event(true, true, true),
            _ => Kind::Unknown,
        }
    }
}

const fn is_event(number: u32) -> bool {
    matches!(Kind::of(number), Kind::Event(_))
}

/// What was done of the event read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Its block is a [`Plain`] one, and its parameters were not looked at: of most events nobody asks.
    Plain,
    Parsed,
    /// The converter has it.
    Converted,
}

/// An open capture.
pub struct Reader {
    source: Source,
    file: PathBuf,
    metadata: Metadata,
    /// Bytes it was read from, since it was taken last.
    described: usize,
    converter: Converter,
    known: &'static [Known],
    /// Of the event read last.
    head: Head,
    form: Readiness,
    params: usize,
    /// Where its block begins in the source, and its length.
    block: (usize, usize),
    /// Where its parameters lie in the source, one behind the other.
    body: Range<usize>,
    /// Of its parameters; room for those of any event.
    spans: Box<[Span]>,
    /// Events delivered and passed over.
    count: u64,
    /// Times of the last of them, and of the one before.
    last: u64,
    previous: u64,
    /// Place of the block being read.
    place: u64,
    /// The end was reached, or an error.
    ended: bool,
}

impl Reader {
    /// Opens a file and reads what stands before its first event.
    pub fn open(path: &Path) -> Result<Reader, CaptureError> {
        let at = |offset, problem| CaptureError { file: path.to_owned(), offset, problem };
        let source = Source::open(path).map_err(|problem| at(0, problem))?;
        Reader::start(source, path)
    }

    /// Reads from anywhere; `name` stands in messages.
    pub fn new(input: impl Read + Send + 'static, gzip: bool, name: &Path) -> Result<Reader, CaptureError> {
        Reader::start(Source::new(input, gzip), name)
    }

    fn start(source: Source, name: &Path) -> Result<Reader, CaptureError> {
        let mut reader = Reader {
            source,
            file: name.to_owned(),
            metadata: Metadata::default(),
            described: 0,
            converter: Converter::default(),
            known: convert::all_known(),
            head: Head::default(),
            form: Readiness::Parsed,
            params: 0,
            block: (0, 0),
            body: 0..0,
            spans: vec![Span::default(); bounds::PARAMS].into(),
            count: 0,
            last: 0,
            previous: 0,
            place: 0,
            ended: false,
        };
        match reader.read_head() {
            Ok(()) => Ok(reader),
            Err(problem) => Err(reader.error(problem)),
        }
    }

    fn error(&self, problem: Problem) -> CaptureError {
        CaptureError { file: self.file.clone(), offset: self.source.offset, problem }
    }

    /// The section header and the metadata.
    fn read_head(&mut self) -> Result<(), Problem> {
        match self.source.peek()? {
            None => return Err(Problem::Truncated),
            Some(SECTION) => {}
            Some(other) => return Err(Problem::NotACapture(other)),
        }
        loop {
            let Some(block) = self.source.block(is_event)? else { return Err(Problem::NoEvents) };
            match Kind::of(block.kind) {
                Kind::Event(_) => {
                    self.source.unread(block.body.len() + 12);
                    return Ok(());
                }
                Kind::Unknown => {}
                kind => self.describe(kind, &block.body)?,
            }
        }
    }

    fn describe(&mut self, kind: Kind, body: &Range<usize>) -> Result<(), Problem> {
        self.described += body.len();
        if self.described > bounds::METADATA {
            return Err(Problem::TooMuchMetadata);
        }
        metadata(kind, self.source.bytes(body), &mut self.metadata)
    }

    /// What stood before the events, and between them since this was asked last.
    pub fn take_metadata(&mut self) -> Metadata {
        self.described = 0;
        std::mem::take(&mut self.metadata)
    }

    /// The next event in today's schema; None at the end. After an error there are no more.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from itself")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        if !self.read(|_| false)? {
            return Ok(None);
        }
        self.lay_out();
        Ok(Some(self.current()))
    }

    /// Makes the next event the current one; false at the end. Of those that need nothing but to be taken, those are passed over that
    /// `settles` takes in: they count, and that is all.
    #[inline(always)]
    pub(super) fn read(&mut self, mut settles: impl FnMut(&Plain<'_>) -> bool) -> Result<bool, CaptureError> {
        let ready = if self.ended { &[] } else { self.source.ready() };
        let (mut at, mut passed, mut last) = (0, 0, self.last);
        while let Some(plain) = self.plain(&ready[at..]) {
            if !settles(&plain) {
                (self.head, self.params, self.form) = (plain.head, plain.params, Readiness::Plain);
                (self.previous, self.last) = (last, plain.head.time);
                self.block = (self.source.start() + at, plain.len);
                self.count += passed + 1;
                self.source.skip(at + plain.len);
                return Ok(true);
            }
            last = plain.head.time;
            at += plain.len;
            passed += 1;
        }
        self.source.skip(at);
        self.count += passed;
        self.last = last;
        self.read_any()
    }

    /// The event that bytes begin with, if it is whole and needs nothing but to be taken: nearly every one.
    #[inline(always)]
    fn plain<'b>(&self, bytes: &'b [u8]) -> Option<Plain<'b>> {
        let plain = Plain::of(bytes)?;
        let known = self.known.get(usize::from(plain.head.code))?;
        let taken = self.converter.passes_by(known, plain.params) && plain.is_whole(known);
        taken.then_some(plain)
    }

    fn take(&mut self, parsed: &Parsed, body: &Range<usize>) {
        self.head = parsed.head;
        self.params = parsed.params;
        self.form = Readiness::Parsed;
        self.body = body.start + parsed.data.start..body.start + parsed.data.end;
    }

    #[cold]
    fn read_any(&mut self) -> Result<bool, CaptureError> {
        if self.ended {
            return Ok(false);
        }
        let place = self.source.offset;
        match self.advance() {
            Ok(true) => {
                self.count += 1;
                (self.previous, self.last) = (self.last, self.head().time);
                Ok(true)
            }
            Ok(false) => {
                self.ended = true;
                Ok(false)
            }
            Err(problem) => {
                self.ended = true;
                // Blocks are whole or not there: the place is that of the one that was being read.
                let offset = place.max(self.place);
                Err(CaptureError { file: self.file.clone(), offset, problem })
            }
        }
    }

    /// Reads until there is an event to deliver; false at the end.
    fn advance(&mut self) -> Result<bool, Problem> {
        loop {
            self.place = self.source.offset;
            let Some(block) = self.source.block(is_event)? else { return Ok(false) };
            match Kind::of(block.kind) {
                Kind::Event(form) => {
                    let bytes = self.source.bytes(&block.body);
                    let parsed = parse(form, bytes, self.known, &mut self.spans).ok_or(Problem::EventLengths)?;
                    if parsed.known.is_none() {
                        continue;
                    }
                    self.take(&parsed, &block.body);
                    let spans = &self.spans[..self.params];
                    let step = self.converter.run(&view(&self.head, spans, self.source.bytes(&self.body), 0))?;
                    if step == Step::Done {
                        self.form = Readiness::Converted;
                    }
                    if step != Step::Drop {
                        return Ok(true);
                    }
                }
                Kind::Unknown => return Err(Problem::UnexpectedBlock(block.kind)),
                // Another section: what it says adds to what is known.
                Kind::Section => self.metadata.machine = None,
                kind => self.describe(kind, &block.body)?,
            }
        }
    }

    /// Of the event that was read last.
    #[inline]
    pub(super) fn head(&self) -> Head {
        if self.form != Readiness::Converted {
            return self.head;
        }
        let Event { time, tid, cpu, code, flags, .. } = self.converter.result();
        Head { time, tid, cpu, code: code.0, flags }
    }

    /// Finds out where the parameters of the event that was read last lie.
    #[inline(always)]
    pub(super) fn lay_out(&mut self) {
        if self.form != Readiness::Plain {
            return;
        }
        let (start, len) = self.block;
        let data = start + Plain::data(self.params);
        let lengths = self.source.bytes(&(start + FRONT..data));
        spans(lengths, |length: [u8; 2]| u16::from_ne_bytes(length).into(), &mut self.spans[..self.params]);
        self.body = data..start + len - 4;
        self.form = Readiness::Parsed;
    }

    /// The event that was read last and laid out.
    #[inline(always)]
    pub(super) fn current(&self) -> Event<'_> {
        debug_assert_ne!(self.form, Readiness::Plain);
        if self.form == Readiness::Converted {
            let result = self.converter.result();
            return Event { num: self.count, ..result };
        }
        view(&self.head, &self.spans[..self.params], self.source.bytes(&self.body), self.count)
    }

    /// Events so far.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// When the event before the one that was read last was; 0 of the first.
    pub(super) const fn previous(&self) -> u64 {
        self.previous
    }

    /// Whether metadata stood before the event that was returned last.
    pub const fn has_metadata(&self) -> bool {
        self.described > 0
    }
}

/// Bytes in front of the lengths, in a block of the form of [`Plain`].
const FRONT: usize = 36;

/// The front of a block of an event of today's most frequent form.
pub(super) struct Plain<'b> {
    pub head: Head,
    /// What the block begins.
    bytes: &'b [u8],
    /// Of the block.
    len: usize,
    /// As the event says it, without the block's own words.
    event_len: u32,
    params: usize,
}

impl<'b> Plain<'b> {
    /// None where bytes begin with another block, or one that is not whole.
    #[inline(always)]
    fn of(bytes: &'b [u8]) -> Option<Plain<'b>> {
        let mut from = Cursor(bytes.first_chunk::<FRONT>()?);
        let (kind, len) = (from.u32()?, from.u32()? as usize);
        let (cpu, time, tid, event_len) = (from.u16()?, from.u64()?, from.i64()?, from.u32()?);
        let (code, params) = (from.u16()?, from.u32()? as usize);
        let trailer = u32::from_ne_bytes(*bytes.get(..len)?.last_chunk()?);
        let fits = kind == block::EVENT
            && trailer as usize == len
            && len.is_multiple_of(4)
            && len <= bounds::EVENT_BLOCK
            && params <= bounds::PARAMS;
        fits.then_some(Plain { head: Head { time, tid, cpu, code, flags: 0 }, bytes, len, event_len, params })
    }

    /// Where so many parameters begin in the block.
    const fn data(params: usize) -> usize {
        FRONT + 2 * params
    }

    /// The parameters of an event that has two, of 64 bits each.
    #[inline(always)]
    pub fn two_numbers(&self) -> Option<[i64; 2]> {
        let mut from = Cursor(self.bytes.get(FRONT..)?.first_chunk::<20>()?);
        let lengths = [from.u16()?, from.u16()?];
        let numbers = [from.i64()?, from.i64()?];
        (self.params == 2 && lengths == [8; 2]).then_some(numbers)
    }

    /// Whether the lengths fit together; false also where the file ends so soon that they cannot be looked at together.
    #[inline(always)]
    fn is_whole(&self, known: &Known) -> bool {
        let Some(sum) = sum(&self.bytes[FRONT..], self.params) else { return false };
        let told = 26 + 2 * self.params + sum;
        let event_len = self.event_len as usize;
        (told == event_len || told == event_len + usize::from(known.missing))
            && Plain::data(self.params) + sum <= self.len - 4
    }
}

/// The sum of the `count` numbers of 16 bits that bytes begin with; None where there are no eight bytes for the last ones.
#[inline(always)]
fn sum(mut bytes: &[u8], count: usize) -> Option<usize> {
    // Four in a word, added as two of 32 bits each: events have so few that none grows too large.
    const EVEN: u64 = 0x0000_ffff_0000_ffff;
    let (mut sum, mut left) = (0, count);
    while left > 0 {
        let (word, rest) = bytes.split_first_chunk()?;
        let word = u64::from_ne_bytes(*word);
        let word = match left {
            4.. => word,
            few if cfg!(target_endian = "big") => word >> (64 - 16 * few),
            few => word & !(u64::MAX << (16 * few)),
        };
        sum += (word & EVEN) + (word >> 16 & EVEN);
        (bytes, left) = (rest, left.saturating_sub(4));
    }
    Some((sum as u32 as usize) + (sum >> 32) as usize)
}

/// An event taken apart.
struct Parsed {
    head: Head,
    /// None for a type that is not known: then there is nothing else.
    known: Option<Known>,
    params: usize,
    /// Where the parameters lie in the body, one behind the other.
    data: Range<usize>,
}

/// Takes an event apart; None where its lengths do not fit together.
#[inline(always)]
fn parse(form: Form, body: &[u8], known: &[Known], out: &mut [Span]) -> Option<Parsed> {
    let (head, len, count, rest) = head(form, body)?;
    let Some(known) = known.get(usize::from(head.code)).copied() else {
        return Some(Parsed { head, known: None, params: 0, data: 0..0 });
    };
    let width = if form.large { 4 } else { 2 };
    // The event's length does not count the block's own words.
    let after_header = (len as usize).checked_sub(if form.counted { 26 } else { 22 })?;
    let whole = after_header + usize::from(known.missing);
    let count = match count {
        Some(count) => count as usize,
        None => guess_count(rest, whole, usize::from(known.params))?,
    };
    let out = out.get_mut(..count)?;
    let (lengths, data) = rest.split_at_checked(count * width)?;
    let end = if form.large {
        spans(lengths, |length: [u8; 4]| u32::from_ne_bytes(length), out)
    } else {
        spans(lengths, |length: [u8; 2]| u16::from_ne_bytes(length).into(), out)
    };
    let end = usize::try_from(end).ok().filter(|end| *end <= data.len())?;
    let told = count * width + end;
    let start = body.len() - data.len();
    let fits = told == whole || told == after_header;
    fits.then_some(Parsed { head, known: Some(known), params: count, data: start..start + end })
}

/// An event's header, its length, its number of parameters if it says it, and what is behind that.
#[inline]
fn head(form: Form, bytes: &[u8]) -> Option<(Head, u32, Option<u32>, &[u8])> {
    let mut from = Cursor(bytes);
    let cpu = from.u16()?;
    let flags = if form.flags { from.u32()? } else { 0 };
    let fixed = from.array::<22>()?;
    let mut fixed = Cursor(&fixed);
    let (time, tid, len, code) = (fixed.u64()?, fixed.i64()?, fixed.u32()?, fixed.u16()?);
    let count = if form.counted { Some(from.u32()?) } else { None };
    Some((Head { cpu, flags, time, tid, code }, len, count, from.0))
}

/// Where parameters of these lengths lie, one behind the other, and where the last one ends. Of nonsense the end is larger than any
/// block, and nobody looks at the places.
fn spans<const WIDTH: usize>(lengths: &[u8], number: fn([u8; WIDTH]) -> u32, out: &mut [Span]) -> u64 {
    let mut end = 0u64;
    for (span, length) in out.iter_mut().zip(lengths.as_chunks().0) {
        span.start = end as u32;
        end += u64::from(number(*length));
        span.end = end as u32;
    }
    end
}

#[inline(always)]
fn view<'a>(head: &Head, spans: &'a [Span], data: &'a [u8], num: u64) -> Event<'a> {
    let Head { cpu, flags, time, tid, code } = *head;
    Event { num, time, tid, cpu, code: EventCode(code), flags, spans, data }
}

/// The number of parameters of an event that does not say it: as many as its type has today, or fewer, so that lengths and data
/// are as long as the event says.
fn guess_count(rest: &[u8], len: usize, declared: usize) -> Option<usize> {
    let length = |i: usize| Some(usize::from(u16::from_ne_bytes(*rest.get(2 * i..)?.first_chunk()?)));
    (0..=declared).rev().find(|count| {
        let sum = (0..*count).try_fold(2 * count, |sum, i| Some(sum + length(i)?));
        sum == Some(len)
    })
}

fn metadata(kind: Kind, body: &[u8], out: &mut Metadata) -> Result<(), Problem> {
    let (done, what) = match kind {
        Kind::Section => {
            let mut from = Cursor(body);
            return match (from.u32(), from.u16(), from.u16()) {
                (Some(MAGIC), Some(1), Some(_)) => Ok(()),
                (Some(MAGIC), Some(major), Some(minor)) => Err(Problem::Version(major, minor)),
                (Some(magic), ..) if magic.swap_bytes() == MAGIC => Err(Problem::ByteOrder),
                _ => Err(Problem::List("section header")),
            };
        }
        Kind::Machine if out.machine.is_some() => return Err(Problem::SecondMachine),
        Kind::Machine => {
            out.machine = meta::machine(body);
            (out.machine.as_ref().map(|_| ()), "machine information")
        }
        Kind::Processes(version) => (meta::processes(body, version, &mut out.processes), "lists of processes"),
        Kind::Fds(version) => {
            let fds = meta::fds(body, version);
            (fds.map(|fds| out.fds.push(fds)), "lists of descriptors")
        }
        Kind::Interfaces(version) => (meta::interfaces(body, version, &mut out.interfaces), "lists of interfaces"),
        Kind::Users(version) => (meta::users(body, version, &mut out.users, &mut out.groups), "lists of users"),
        Kind::Event(_) | Kind::Unknown => (Some(()), ""),
    };
    done.ok_or(Problem::List(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_add_up() {
        for count in 0..=bounds::PARAMS {
            let lengths = (0..count).map(|i| if i % 3 == 0 { u16::MAX } else { i as u16 * 7 });
            let expected = lengths.clone().map(usize::from).sum();
            let mut bytes: Vec<u8> = lengths.flat_map(u16::to_ne_bytes).collect();
            let ready = bytes.len().is_multiple_of(8);
            assert_eq!(sum(&bytes, count), ready.then_some(expected));
            // What stands behind them counts for nothing.
            bytes.extend([0xff; 8]);
            assert_eq!(sum(&bytes, count), Some(expected));
        }
    }
}
