//! What a loop does with records: mirror the tasks, evaluate the rules, make the lines of alerts.
//!
//! Invariant: an event that matches no rule costs no allocation, no lock and no system call once the buffers have
//! their working size; `tests/hot_path.rs` counts.

use super::clock::SharedClock;
use super::cpu_loop::{Handler, Wanted};
use super::log::{self, Level};
use super::plan::Plan;
use super::record::Tap;
use super::tally::Counters;
use crate::driver::abi::{self, FSN_SLOTS, fsn_event};
use crate::driver::ring::{self, Damage};
use crate::event::fields;
use crate::event::live::{self, Host, LiveEvent, PathView, said};
use crate::event::record::{self, EventRecord};
use crate::event::task::Tasks;
use crate::event::value::{Extract, FieldArg, FieldUse, Value};
use crate::filter::{EvalContext, Outlook, RuleIndex};
use crate::output::alert::{EventTime, Style, Writer};
use crate::output::queue::Sender;
use bumpalo::Bump;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What all loops share: constant, but for the counters of rules.
pub struct Shared {
    pub plan: Plan,
    /// File events are evaluated with both of their paths.
    pub path_views: bool,
    /// Every rule that matches alerts, not the first only.
    pub match_all: bool,
    /// Tell the module which events no rule can match.
    pub pushdown: bool,
    pub clock: Arc<SharedClock>,
    /// By rule index; a rule keeps its counters when rules are loaded anew.
    pub counters: Box<[Arc<Counters>]>,
    /// Now and then the conditions of an event's rules are timed.
    pub timed: bool,
}

/// What the control thread asks of a loop when rules and configuration have been loaded anew. The loop keeps its tasks in any case.
pub enum Order {
    /// Let the module send everything that it captures: what was told of interests is about to mean something else.
    Widen,
    /// Tell of interests again.
    Narrow,
    /// Evaluate this from the next event on, and tell of interests as it has them.
    Swap(Box<Replacement>),
}

/// What takes the place of what a loop evaluates with.
pub struct Replacement {
    pub shared: Arc<Shared>,
    pub style: Style,
    pub sender: Sender,
    /// Another recorder's; None keeps the one there is.
    pub tap: Option<Option<Tap>>,
}

/// What one loop has seen, beside what the module counts itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub events: u64,
    /// Events that were met before, in a task for which the same of the rules was left, without a match.
    pub met: u64,
    /// Events whose task was not known: their fields about the task were missing.
    pub without_task: u64,
    /// Records that contradicted their own lengths.
    pub broken: u64,
    /// Places where the ring itself could not be read.
    pub damaged: u64,
}

/// What a loop has seen, as it told last; others may read it.
#[derive(Debug, Default)]
pub struct Published([AtomicU64; 5]);

impl Published {
    fn set(&self, seen: Seen) {
        let Seen { events, met, without_task, broken, damaged } = seen;
        let words = self.0.iter().zip([events, met, without_task, broken, damaged]);
        words.for_each(|(word, value)| word.store(value, Ordering::Relaxed));
    }

    pub fn get(&self) -> Seen {
        let [events, met, without_task, broken, damaged] = self.0.each_ref().map(|word| word.load(Ordering::Relaxed));
        Seen { events, met, without_task, broken, damaged }
    }
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.met += other.met;
        self.without_task += other.without_task;
        self.broken += other.broken;
        self.damaged += other.damaged;
    }
}

/// The loop of one CPU.
pub struct Watch {
    shared: Arc<Shared>,
    tasks: Tasks,
    host: Host,
    context: EvalContext,
    arena: Bump,
    /// Evaluated events until one is timed.
    until_timed: u64,
    timing: Bump,
    writer: Writer,
    line: Vec<u8>,
    sender: Sender,
    matched: Vec<RuleIndex>,
    matched_opened: Vec<RuleIndex>,
    /// Wall time of the event before.
    previous: u64,
    reset_asked: bool,
    /// By slot: the generation whose interests were told.
    told: Box<[u32]>,
    interest: Option<Wanted>,
    /// Nothing is told of interests.
    wide: bool,
    forget: bool,
    tap: Option<Tap>,
    seen: Seen,
    published: Arc<Published>,
}

/// The clock is looked at again after this many events without a pause.
const CLOCK_EVENTS: u64 = 1024;

/// One of so many evaluated events is timed. A prime, so that it does not keep step with what a program does in turn.
const TIMED_EVERY: u64 = 1021;

/// The member of an alert that tells the path the kernel opened, where it is not the one the program gave.
pub const OPENED: &str = "fd.name.opened";

impl Watch {
    pub fn new(shared: Arc<Shared>, host: Host, style: Style, sender: Sender) -> Watch {
        Watch {
            shared,
            tasks: Tasks::new(),
            host,
            context: EvalContext::new(),
            arena: Bump::new(),
            until_timed: TIMED_EVERY,
            timing: Bump::new(),
            writer: Writer::new(style),
            line: Vec::new(),
            sender,
            matched: Vec::new(),
            matched_opened: Vec::new(),
            previous: 0,
            reset_asked: false,
            told: vec![0; FSN_SLOTS as usize].into(),
            interest: None,
            wide: false,
            forget: false,
            tap: None,
            seen: Seen::default(),
            published: Arc::default(),
        }
    }

    /// The same loop, whose events may be recorded.
    #[must_use]
    pub fn recorded_by(mut self, tap: Option<Tap>) -> Watch {
        self.tap = tap;
        self
    }

    /// The same loop, which tells there what it has seen.
    #[must_use]
    pub fn told_by(mut self, published: Arc<Published>) -> Watch {
        self.published = published;
        self
    }

    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Counts an event. Returns its wall time, and that of the event before it.
    fn count(&mut self, event: &fsn_event) -> (u64, u64) {
        self.seen.events += 1;
        if self.seen.events % CLOCK_EVENTS == 1 {
            self.host.clock = self.shared.clock.get();
        }
        let now = self.host.clock.wall(event.h.time);
        if self.host.first_event == 0 {
            self.host.first_event = now;
        }
        (now, std::mem::replace(&mut self.previous, now))
    }

    /// Passes over an event that no rule matches, as far as that is known before it is taken apart: nothing of it is decoded, and it is
    /// counted. False where it has to be looked at.
    #[inline]
    fn passes_over(&mut self, record: &[u8]) -> bool {
        let Some(event) = abi::view::<fsn_event>(record) else { return false };
        let recorded = |tap: &Tap| tap.wants(self.host.clock.wall(event.h.time));
        if self.tap.as_ref().is_some_and(recorded) {
            return false;
        }
        let task = live::task_of(event, &self.tasks, &self.host);
        let program = &self.shared.plan.program;
        let outlook = program.outlook(event.code, task, |_| said::of(record), &mut self.context);
        match outlook {
            Outlook::Open => return false,
            Outlook::Dead if self.untold(event).is_some() => return false,
            Outlook::Met => self.seen.met += 1,
            Outlook::Dead | Outlook::Unheard => {}
        }
        self.seen.without_task += u64::from(task.is_none() && outlook != Outlook::Unheard);
        self.count(event);
        true
    }

    /// Slot and generation of an event's task, if its interests are to be told and have not been yet.
    fn untold(&self, event: &fsn_event) -> Option<(u16, u32)> {
        let slot = event.h.slot;
        let known = *self.told.get(usize::from(slot))?;
        let tells = self.shared.pushdown && !self.wide && self.tap.is_none();
        (tells && known != event.gen_).then_some((slot, event.gen_))
    }

    /// Kept apart: most events are passed over, and need none of the registers and memory of this.
    #[inline(never)]
    fn look_at(&mut self, record: &[u8]) {
        match record::decode(record) {
            Ok(record::Record::Event(event)) => self.event(event),
            Ok(other) => {
                self.reset_asked &= !matches!(other, record::Record::Reset);
                let filled = self.tasks.apply(&other).and_then(|slot| self.tasks.in_slot(slot));
                // A container that is met for the first time is asked for before a rule asks.
                let _ = self.host.users_of(filled);
            }
            Err(broken) => {
                self.seen.broken += 1;
                if self.seen.broken == 1 {
                    log::write(Level::Error, format_args!("CPU {}: {broken}; such records are skipped", self.host.cpu));
                }
            }
        }
    }

    fn event(&mut self, record: EventRecord<'_>) {
        let (now, previous) = self.count(record.head);
        let wanted = self.shared.plan.program.wants(record.head.code);
        let recorded = |tap: &Option<Tap>| tap.as_ref().is_some_and(|tap| tap.wants(now));
        if !wanted && !recorded(&self.tap) {
            return;
        }
        let mut event = LiveEvent::of_ring(record, &self.tasks, &self.host, self.seen.events, previous);
        if !wanted {
            self.tap.iter_mut().for_each(|tap| tap.event(&event, self.host.cpu));
            return;
        }
        let program = &self.shared.plan.program;
        self.seen.without_task += u64::from(event.task().is_none());
        self.matched.clear();
        let mut dead = program.is_known_dead(&event, &self.context);
        // What is not recorded was asked for already.
        let met = !dead && recorded(&self.tap) && program.was_met(&event, &mut self.context);
        self.seen.met += u64::from(met);
        if !dead && !met {
            event = event.with_descriptor(&self.arena);
            program.evaluate(&event, &mut self.context, &self.arena, |rule| self.matched.push(rule));
            dead = self.matched.is_empty() && program.is_known_dead(&event, &self.context);
            self.until_timed -= 1;
            if self.until_timed == 0 {
                self.until_timed = TIMED_EVERY;
                time_rules(&self.shared, &event, &mut self.context, &mut self.timing);
            }
        }
        if dead && !recorded(&self.tap) {
            if let Some((slot, generation)) = self.untold(record.head) {
                let mask = program.interest(&event, &mut self.context, &self.arena);
                self.told[usize::from(slot)] = generation;
                self.interest = Some(Wanted { slot, generation, mask });
            }
            self.arena.reset();
            return;
        }
        let two_paths = !met && self.shared.path_views && event.paths_differ(&self.arena);
        if two_paths {
            let opened = event.with_paths(PathView::AsOpened);
            self.matched_opened.clear();
            program.evaluate(&opened, &mut self.context, &self.arena, |rule| self.matched_opened.push(rule));
            join(&self.shared, record.head.code, &mut self.matched, &self.matched_opened);
        }
        if self.matched.is_empty() {
            if !dead && !met {
                program.meet(&event, &mut self.context);
            }
        } else {
            let time = EventTime { ns: event.time(), utc_offset: self.host.clock.utc_offset };
            let other = event.with_paths(PathView::AsOpened);
            let opened = if two_paths { path(&other, &self.arena) } else { None };
            for rule in &self.matched {
                let Some(Some(form)) = self.shared.plan.forms.get(rule.0 as usize) else { continue };
                self.line.clear();
                let extra = opened.map(|path| (OPENED, path));
                self.writer.write(form, &event, time, extra, &self.arena, &mut self.line);
                self.shared.counters[rule.0 as usize].alerts.fetch_add(1, Ordering::Relaxed);
                let limited = self.shared.plan.limited(*rule, &event, time.ns, &self.arena);
                self.sender.alert_limited(&self.line, form.priority, limited);
                if let (Some(tap), Some(trigger)) = (&self.tap, self.shared.plan.triggers.get(rule.0 as usize)) {
                    tap.matched(*trigger, now, self.seen.events);
                }
            }
        }
        if let Some(tap) = self.tap.as_mut().filter(|tap| tap.wants(now)) {
            tap.event(&event, self.host.cpu);
        }
        self.arena.reset();
    }
}

/// Counts what the conditions of an event's rules take, for all the events that are not timed.
#[cold]
fn time_rules(shared: &Shared, event: &LiveEvent<'_>, context: &mut EvalContext, arena: &mut Bump) {
    if shared.timed {
        shared.plan.program.time(event, context, arena, |rule, time| {
            let time = time.as_nanos() as u64 * TIMED_EVERY;
            shared.counters[rule.0 as usize].nanoseconds.fetch_add(time, Ordering::Relaxed);
        });
    }
}

/// A rule fires once if it holds for one of the two paths; of the rules for which either holds the first fires, or all,
/// as configured.
fn join(shared: &Shared, code: u16, matched: &mut Vec<RuleIndex>, opened: &[RuleIndex]) {
    if opened.is_empty() || opened == matched {
        return;
    }
    let either = |rule: &RuleIndex| matched.contains(rule) || opened.contains(rule);
    let mut joined: Vec<RuleIndex> = shared.plan.program.rules_for(code).filter(either).collect();
    if !shared.match_all {
        joined.truncate(1);
    }
    *matched = joined;
}

fn path<'a>(event: &'a LiveEvent<'_>, arena: &'a Bump) -> Option<&'a [u8]> {
    const NAME: FieldUse = FieldUse { id: fields::id("fd.name"), arg: FieldArg::None };
    match event.extract(&NAME, arena) {
        Some(Value::Str(text)) => Some(text),
        _ => None,
    }
}

impl Handler for Watch {
    type Order = Order;

    fn order(&mut self, order: Order) {
        match order {
            Order::Widen => self.wide = true,
            Order::Narrow => self.wide = false,
            Order::Swap(new) => {
                let Replacement { shared, style, sender, tap } = *new;
                (self.shared, self.sender, self.writer) = (shared, sender, Writer::new(style));
                // What is left of the old rules for each task.
                self.context = EvalContext::new();
                if let Some(tap) = tap {
                    self.tap.iter_mut().for_each(Tap::flush);
                    self.tap = tap;
                }
                self.wide = false;
            }
        }
        self.interest = None;
        self.forget = true;
    }

    fn record(&mut self, raw: ring::Record<'_>) {
        if raw.kind() != abi::FSN_REC_EVENT || !self.passes_over(raw.bytes()) {
            self.look_at(raw.bytes());
        }
    }

    fn damage(&mut self, damage: Damage) {
        self.seen.damaged += 1;
        log::write(Level::Error, format_args!("CPU {}: {damage}; records were lost", self.host.cpu));
    }

    fn between(&mut self) {
        self.published.set(self.seen);
        self.tap.iter_mut().for_each(Tap::looking);
        self.host.clock = self.shared.clock.get();
        // Rules may see other names now, and be live where they were not.
        let now = Instant::now();
        self.forget |= self.host.users.refresh(now);
        self.host.own_users.ask(now);
        self.forget |= self.host.own_users.refresh();
    }

    fn woken(&mut self) {
        self.tap.iter_mut().for_each(Tap::looking);
        self.forget |= self.host.own_users.refresh();
    }

    fn idle(&mut self) {
        self.tap.iter_mut().for_each(Tap::idle);
    }

    fn interest(&mut self) -> Option<Wanted> {
        self.interest.take()
    }

    fn forgets_interest(&mut self) -> bool {
        if self.forget {
            self.told.fill(0);
        }
        std::mem::take(&mut self.forget)
    }

    fn wants_reset(&mut self) -> bool {
        let asks = self.tasks.wants_reset() && !self.reset_asked;
        self.reset_asked |= asks;
        asks
    }
}
