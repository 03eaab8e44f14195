//! A capture, ready for the evaluator: file and state together, one event at a time.

use super::error::CaptureError;
use super::event::Head;
use super::inspector::{Demand, Inspector, Subject};
use super::reader::{Plain, Reader};
use super::replayed::ReplayedEvent;
use super::writer::Writer;
use std::io;
use std::path::Path;

/// A capture being replayed.
pub struct Replay {
    reader: Reader,
    state: Inspector,
    /// Of the event that was handed out last.
    subject: Option<Subject>,
    /// Events that rules do not see.
    hidden: u64,
    copy: Option<Copy>,
}

/// Another file that gets what is read.
struct Copy {
    writer: Writer,
    /// The first failure: nothing is written after it.
    result: io::Result<()>,
}

impl Copy {
    fn write(&mut self, what: impl FnOnce(&mut Writer) -> io::Result<()>) {
        if self.result.is_ok() {
            self.result = what(&mut self.writer);
        }
    }
}

impl Replay {
    /// Opens a file. `utc_offset` is the local time of texts, in seconds east of UTC.
    pub fn open(path: &Path, utc_offset: i32) -> Result<Replay, CaptureError> {
        Ok(Replay::new(Reader::open(path)?, utc_offset))
    }

    /// Replays what a reader gives.
    pub fn new(reader: Reader, utc_offset: i32) -> Replay {
        Replay::copying(reader, utc_offset, None)
    }

    /// Replays what a reader gives, and writes it, with the events that rules do not see, to `copy` as well.
    pub fn copying(mut reader: Reader, utc_offset: i32, copy: Option<Writer>) -> Replay {
        let mut state = Inspector::new(utc_offset);
        let mut copy = copy.map(|writer| Copy { writer, result: Ok(()) });
        let metadata = reader.take_metadata();
        copy.iter_mut().for_each(|copy| copy.write(|writer| writer.section(&metadata)));
        state.describe_machine(metadata);
        Replay { reader, state, subject: None, hidden: 0, copy }
    }

    /// Ends the copy, and says what went wrong with it.
    pub fn finish_copy(&mut self) -> io::Result<()> {
        let Some(copy) = self.copy.take() else { return Ok(()) };
        copy.result.and_then(|()| copy.writer.finish())
    }

    /// The next event that rules see, with the state as it was when its call returned; None at the end.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from itself")]
    pub fn next(&mut self) -> Result<Option<ReplayedEvent<'_>>, CaptureError> {
        self.next_wanted(|_| true)
    }

    /// The next event that rules see and that is `wanted`. State is kept of the others too.
    pub fn next_wanted(&mut self, wanted: impl Fn(&Head) -> bool) -> Result<Option<ReplayedEvent<'_>>, CaptureError> {
        if let Some(subject) = self.subject.take() {
            self.state.after(&subject);
        }
        loop {
            let (state, is_copied) = (&mut self.state, self.copy.is_some());
            let settles = |event: &Plain<'_>| !is_copied && !wanted(&event.head) && state.settle(event);
            if !self.reader.read(settles)? {
                return Ok(None);
            }
            if self.reader.has_metadata() || is_copied {
                self.beside();
            }
            self.reader.lay_out();
            let subject = self.state.before(&self.reader.current());
            self.hidden += u64::from(subject.hidden);
            if subject.hidden || !wanted(&self.reader.head()) {
                self.state.after(&subject);
                continue;
            }
            self.subject = Some(subject);
            if let Some(thread) = subject.thread {
                self.state.describe(thread);
            }
            let (event, previous) = (self.reader.current(), self.reader.previous());
            return Ok(Some(ReplayedEvent::of_capture(event, &self.state, subject, previous)));
        }
    }

    /// Events that rules see, so far.
    pub const fn seen(&self) -> u64 {
        self.reader.count() - self.hidden
    }

    /// Takes in what stood before the event, which was true before it, and copies both.
    #[cold]
    fn beside(&mut self) {
        if self.reader.has_metadata() {
            let metadata = self.reader.take_metadata();
            self.copy.iter_mut().for_each(|copy| copy.write(|writer| writer.section(&metadata)));
            self.state.describe_machine(metadata);
        }
        if let Some(copy) = &mut self.copy {
            self.reader.lay_out();
            copy.write(|writer| writer.event(&self.reader.current()));
        }
    }

    /// From now on only what is asked for is kept.
    pub fn limit_to(&mut self, demand: Demand) {
        self.state.limit_to(demand);
    }

    /// The state so far.
    pub const fn state(&self) -> &Inspector {
        &self.state
    }
}
