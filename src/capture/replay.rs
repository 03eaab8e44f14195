//! A capture, ready for the evaluator: file and state together, one event at a time.

use super::error::CaptureError;
use super::event::Event;
use super::inspector::{Inspector, Subject};
use super::reader::Reader;
use super::replayed::ReplayedEvent;
use std::path::Path;

/// A capture being replayed.
pub struct Replay {
    reader: Reader,
    state: Inspector,
    /// Of the event that was handed out last.
    subject: Option<Subject>,
    previous: u64,
}

impl Replay {
    /// Opens a file. `utc_offset` is the local time of texts, in seconds east of UTC.
    pub fn open(path: &Path, utc_offset: i32) -> Result<Replay, CaptureError> {
        Ok(Replay::new(Reader::open(path)?, utc_offset))
    }

    /// Replays what a reader gives.
    pub fn new(mut reader: Reader, utc_offset: i32) -> Replay {
        let mut state = Inspector::new(utc_offset);
        state.describe_machine(reader.take_metadata());
        Replay { reader, state, subject: None, previous: 0 }
    }

    /// The next event that rules see, with the state as it was when its call returned; None at the end.
    #[expect(clippy::should_implement_trait, reason = "what it gives borrows from itself")]
    pub fn next(&mut self) -> Result<Option<ReplayedEvent<'_>>, CaptureError> {
        self.next_wanted(|_, _| true)
    }

    /// The next event that rules see and `wanted` does not pass over, told its code and thread's description. State is kept
    /// of those passed over too.
    pub fn next_wanted(
        &mut self,
        mut wanted: impl FnMut(&Event<'_>, &Inspector) -> bool,
    ) -> Result<Option<ReplayedEvent<'_>>, CaptureError> {
        if let Some(subject) = self.subject.take() {
            self.state.after(&subject);
        }
        loop {
            if self.reader.next()?.is_none() {
                return Ok(None);
            }
            // What stands before the event was true before it.
            if self.reader.has_metadata() {
                let metadata = self.reader.take_metadata();
                self.state.describe_machine(metadata);
            }
            let event = self.reader.current();
            let subject = self.state.before(&event);
            let previous = std::mem::replace(&mut self.previous, event.time);
            if subject.hidden || !wanted(&event, &self.state) {
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
