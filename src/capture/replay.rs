//! A capture, ready for the evaluator: file and state together, one event at a time.

use super::error::CaptureError;
use super::event::Event;
use super::inspector::{Inspector, Subject};
use super::reader::Reader;
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
    previous: u64,
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
        Replay { reader, state, subject: None, previous: 0, copy }
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

    /// The next event that rules see and `wanted`, asked once about each of these, does not pass over. State is kept of those passed over
    /// too.
    pub fn next_wanted(
        &mut self,
        mut wanted: impl FnMut(&Event<'_>) -> bool,
    ) -> Result<Option<ReplayedEvent<'_>>, CaptureError> {
        if let Some(subject) = self.subject.take() {
            self.state.after(&subject);
        }
        loop {
            if !self.reader.read()? {
                return Ok(None);
            }
            // What stands before the event was true before it.
            if self.reader.has_metadata() {
                let metadata = self.reader.take_metadata();
                self.copy.iter_mut().for_each(|copy| copy.write(|writer| writer.section(&metadata)));
                self.state.describe_machine(metadata);
            }
            let event = self.reader.current();
            self.copy.iter_mut().for_each(|copy| copy.write(|writer| writer.event(&event)));
            let previous = std::mem::replace(&mut self.previous, event.time);
            let is_quiet = self.state.is_untouched_by(&event);
            if is_quiet && !wanted(&event) {
                continue;
            }
            let subject = self.state.before(&event);
            if subject.hidden || !(is_quiet || wanted(&event)) {
                self.state.after(&subject);
                continue;
            }
            self.subject = Some(subject);
            if let Some(thread) = subject.thread {
                self.state.describe(thread);
            }
            return Ok(Some(ReplayedEvent::of_capture(self.reader.current(), &self.state, subject, previous)));
        }
    }

    /// The state so far.
    pub const fn state(&self) -> &Inspector {
        &self.state
    }
}
