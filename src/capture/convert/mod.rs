//! Old events become today's.
//!
//! A file keeps the events of its time. What is missing in an exit event comes from the enter event of the same thread that was
//! kept for it, or is a default. Invariant: what leaves here has as many parameters as its type has today, or belongs to a type
//! that is passed as it is.

mod table;

use super::bounds;
use super::error::Problem;
use super::event::{Event, EventBuf};
use crate::event::types::{Age, EventCode};
use hashbrown::HashMap;
use std::sync::LazyLock;
use table::{ROWS, SCHEMA};

/// What the format says of an event type.
#[derive(Clone, Copy, Debug)]
struct Schema {
    params: u8,
    managed: bool,
}

/// Where a parameter of the result comes from.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// The event's own.
    Old(u8),
    /// The enter event's; zero, this wide, without one.
    Enter(u8, u8),
    /// The enter event's; no value without one.
    MaybeEnter(u8),
    Empty,
    /// Zero, this wide.
    Zero(u8),
    /// The JSON text made of the four parameters of an old container event.
    Container,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Kept for the exit to come, and not delivered.
    Store,
    /// Delivered as it is.
    Pass,
    StoreAndPass,
    /// Parameters are appended.
    Add(&'static [Op]),
    /// Becomes an event of another type.
    Change(u16, &'static [Op]),
}

#[derive(Clone, Copy, Debug)]
struct Row {
    code: u16,
    params: u8,
    action: Action,
}

/// Steps of one event at most: more would be a circle in the table.
const STEPS: usize = 50;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not an event any more.
    Drop,
    /// Deliverable as it is.
    Pass,
    /// Became [`Converter::result`], which is deliverable.
    Done,
    /// Became [`Converter::result`], which needs another step.
    Continue,
}

/// Converts the events of one capture, in order.
#[derive(Debug, Default)]
pub struct Converter {
    enters: HashMap<i64, EventBuf>,
    result: EventBuf,
    previous: EventBuf,
}

/// What is asked about the type of every event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Parameters of the type today.
    pub params: u8,
    /// Bytes that the length of its events lacks: notifications and infrastructure events were written so.
    pub missing: u8,
    /// Events with so many parameters need no conversion.
    least: usize,
    /// They end a call whose enter event may have been kept.
    exit: bool,
}

static KNOWN: LazyLock<Box<[Known]>> = LazyLock::new(|| {
    let of = |(code, schema): (usize, &Schema)| {
        let code = EventCode(code as u16);
        let least = match (schema.managed, code.info().age, code.is_enter()) {
            (_, Age::Unused, _) | (false, Age::Old, true) => usize::MAX,
            (false, ..) => 0,
            (true, Age::Current, false) => usize::from(schema.params),
            (true, ..) => usize::MAX,
        };
        let missing = if matches!(code.0, 280 | 286) { 3 } else { 0 };
        Known { params: schema.params, missing, least, exit: schema.managed }
    };
    SCHEMA.iter().enumerate().map(of).collect()
});

/// First row of each code.
static FIRST: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    (0..=SCHEMA.len()).map(|code| ROWS.partition_point(|row| usize::from(row.code) < code) as u16).collect()
});

fn row(code: u16, params: usize) -> Option<&'static Row> {
    let (from, to) = (FIRST[usize::from(code)], FIRST[usize::from(code) + 1]);
    ROWS[usize::from(from)..usize::from(to)].iter().find(|row| usize::from(row.params) == params)
}

/// By code.
pub(super) fn all_known() -> &'static [Known] {
    &KNOWN
}

impl Converter {
    /// Brings an event to today's schema; None when it is not to be delivered.
    pub fn convert<'a>(&'a mut self, event: Event<'a>) -> Result<Option<Event<'a>>, Problem> {
        Ok(match self.run(&event)? {
            Step::Pass => Some(event),
            Step::Drop | Step::Continue => None,
            Step::Done => Some(self.result.view(event.num)),
        })
    }

    /// Steps until the event is dropped, passes or is done with.
    pub(super) fn run(&mut self, event: &Event<'_>) -> Result<Step, Problem> {
        if self.passes(event) { Ok(Step::Pass) } else { self.steps(event) }
    }

    fn steps(&mut self, event: &Event<'_>) -> Result<Step, Problem> {
        let mut step = self.step(event)?;
        for _ in 0..STEPS {
            if step != Step::Continue {
                return Ok(step);
            }
            std::mem::swap(&mut self.result, &mut self.previous);
            let previous = std::mem::take(&mut self.previous);
            step = self.step(&previous.view(event.num))?;
            self.previous = previous;
            if step == Step::Pass {
                // What passes is what the step before made.
                std::mem::swap(&mut self.result, &mut self.previous);
                step = Step::Done;
            }
        }
        Err(Problem::Conversion { code: event.code.0, params: event.len() })
    }

    /// Whether an event with so many parameters is one of today's as it is, and changes nothing here.
    #[inline]
    pub(super) fn passes_by(&self, known: &Known, params: usize) -> bool {
        params >= known.least && (!known.exit || self.enters.is_empty())
    }

    /// Whether an event is one of today's as it is.
    fn passes(&mut self, event: &Event<'_>) -> bool {
        let Some(known) = KNOWN.get(usize::from(event.code.0)).filter(|known| event.len() >= known.least) else {
            return false;
        };
        if known.exit {
            self.forget(event);
        }
        true
    }

    /// One step.
    pub fn step(&mut self, event: &Event<'_>) -> Result<Step, Problem> {
        let code = event.code;
        let info = code.info();
        let Some(schema) = SCHEMA.get(usize::from(code.0)).filter(|_| info.age != Age::Unused) else {
            return Ok(Step::Drop);
        };
        if self.passes(event) {
            return Ok(Step::Pass);
        }
        let is_old_enter = code.is_enter() && info.age == Age::Old;
        if !schema.managed {
            return Ok(Step::Drop);
        }
        let complete = event.len() >= usize::from(schema.params);
        match row(code.0, event.len()).map(|row| row.action) {
            Some(Action::Store) => {
                self.keep(event);
                Ok(Step::Drop)
            }
            Some(Action::StoreAndPass) => {
                self.keep(event);
                Ok(Step::Pass)
            }
            Some(Action::Pass) => Ok(Step::Pass),
            Some(Action::Add(ops)) => {
                self.result.assign(event);
                self.append(event, ops);
                Ok(self.finished(event))
            }
            Some(Action::Change(to, ops)) => {
                self.result.begin(event, EventCode(to));
                self.append(event, ops);
                Ok(self.finished(event))
            }
            None if complete && info.age == Age::Current => Ok(Step::Pass),
            None if is_old_enter => Ok(Step::Drop),
            None => Err(Problem::Conversion { code: code.0, params: event.len() }),
        }
    }

    /// What the last step that says so made.
    pub fn result(&self) -> Event<'_> {
        self.result.view(0)
    }

    /// The enter event kept for a thread.
    pub fn kept(&self, tid: i64) -> Option<Event<'_>> {
        self.enters.get(&tid).map(|kept| kept.view(0))
    }

    fn keep(&mut self, event: &Event<'_>) {
        if let Some(kept) = self.enters.get_mut(&event.tid) {
            kept.assign(event);
        } else if self.enters.len() < bounds::PENDING_ENTERS {
            let mut kept = EventBuf::default();
            kept.assign(event);
            self.enters.insert(event.tid, kept);
        }
    }

    /// The exit has come: its enter event is used up.
    fn forget(&mut self, event: &Event<'_>) {
        if !self.enters.is_empty()
            && let Some(kept) = self.enters.get_mut(&event.tid)
        {
            // Its memory serves the next one; no exit asks for an event of this type.
            kept.code = u16::MAX;
        }
    }

    fn finished(&mut self, event: &Event<'_>) -> Step {
        let code = EventCode(self.result.code);
        let complete =
            self.result.spans.len() >= SCHEMA.get(usize::from(code.0)).map_or(0, |schema| usize::from(schema.params));
        if !complete || code.info().age != Age::Current || code.is_enter() {
            return Step::Continue;
        }
        self.forget(event);
        Step::Done
    }

    fn append(&mut self, event: &Event<'_>, ops: &[Op]) {
        // A kept event serves the exit of its own call only.
        let same_call = |kept: &&EventBuf| EventCode(kept.code).info().name == event.code.info().name;
        let enter = self.enters.get(&event.tid).filter(same_call);
        let given = |index: u8| enter?.view(0).param(usize::from(index));
        for op in ops {
            match *op {
                Op::Old(index) => self.result.push(event.param(usize::from(index)).unwrap_or_default()),
                Op::Enter(index, width) => self.result.push(given(index).unwrap_or(zeros(width))),
                Op::MaybeEnter(index) => self.result.push(given(index).unwrap_or_default()),
                Op::Empty => self.result.push(b""),
                Op::Zero(width) => self.result.push(zeros(width)),
                Op::Container => self.result.push(&container_json(event)),
            }
        }
    }
}

fn zeros(width: u8) -> &'static [u8] {
    &[0; 8][..usize::from(width)]
}

/// The text that later versions of the event carry.
fn container_json(event: &Event<'_>) -> Vec<u8> {
    let text = |index| String::from_utf8_lossy(event.text(index).unwrap_or_default()).into_owned();
    let container = serde_json::json!({
        "container": { "id": text(0), "type": event.unsigned(1).unwrap_or(0), "name": text(2), "image": text(3) }
    });
    let mut json = container.to_string().into_bytes();
    json.push(0);
    json
}
