//! Delivery to one output: what is next, when to try again, what becomes a dead letter.
//!
//! A worker reads alerts behind its cursor into a bounded window and keeps a bounded number of deliveries going. When
//! the output is down, one delivery at a time probes it, with growing pauses; nothing else is tried. What is refused
//! again and again is put aside in the database, so that others go ahead. The cursor is the last alert up to which
//! everything is delivered, put aside, or not for this output. It is written after the fact: a crash repeats
//! deliveries, it never leaves one out.

use super::health::{Health, Letters, Over};
use super::{Failure, Forward};
use crate::hub::alert::{Alert, Priority, TEST_RULE};
use crate::hub::config::Section;
use crate::hub::config::value::Match;
use crate::hub::metrics::Metrics;
use crate::hub::spool::{Held, Seq, Spool, SpoolError, State, now};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

/// Which alerts an instance gets; by default all.
#[derive(Clone, Debug, Default)]
pub struct Route {
    minimum: Priority,
    only: Match,
    exclude: Match,
}

impl Route {
    pub fn new(settings: &Section) -> Route {
        Route {
            minimum: settings.priority("minimumpriority"),
            only: settings.patterns("match"),
            exclude: settings.patterns("exclude"),
        }
    }

    /// The test rule is sent whatever its priority.
    pub fn takes(&self, alert: &Alert) -> bool {
        (alert.priority >= self.minimum || alert.rule == TEST_RULE)
            && self.only.fits(alert)
            && (self.exclude.is_empty() || !self.exclude.fits(alert))
    }
}

/// When to try again and when to give up.
#[derive(Clone, Debug)]
pub struct Policy {
    pub retry_min: Duration,
    pub retry_max: Duration,
    pub timeout: Duration,
    /// Age at which an alert that is not delivered becomes a dead letter.
    pub dead_letter_after: Duration,
    /// Times a receiver may refuse an alert.
    pub refusals: u32,
}

impl Policy {
    pub fn new(core: &Section) -> Policy {
        Policy {
            retry_min: core.duration("hub.retrymin").max(Duration::from_millis(1)),
            retry_max: core.duration("hub.retrymax").max(core.duration("hub.retrymin")),
            timeout: core.duration("hub.timeout").max(Duration::from_millis(10)),
            dead_letter_after: core.duration("hub.deadletterafter"),
            refusals: u32::try_from(core.int("hub.refusals")).unwrap_or(1).max(1),
        }
    }

    /// However long the receiver is away.
    pub fn without_dead_letters_by_age(self) -> Policy {
        Policy { dead_letter_after: Duration::MAX, ..self }
    }

    /// Doubled with every attempt, and between half and all of it, so that outputs do not come in step.
    pub fn pause(&self, attempts: u32) -> Duration {
        let doubled = self.retry_min.saturating_mul(1 << attempts.saturating_sub(1).min(20));
        doubled.min(self.retry_max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// What is known of an output, for `/readyz`, the metrics and the page.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Status {
    pub name: String,
    pub kind: &'static str,
    /// Unknown until the first attempt.
    pub up: Option<bool>,
    pub last_error: Option<String>,
    /// Milliseconds since 1970.
    pub last_success: Option<i64>,
    pub queue: i64,
    /// Age of the oldest alert that waits, in milliseconds.
    pub oldest: i64,
    pub held: i64,
    pub dead_letters: i64,
}

pub type Shared = Arc<Mutex<Status>>;

/// Alerts in memory for one output; twice what it takes in one delivery where that is more.
const WINDOW: usize = 256;
/// Read at once.
const CHUNK: usize = 64;
/// Attempts before an alert that meets an output that is down is put aside.
const ATTEMPTS_IN_PLACE: u32 = 3;
const SAVE_EVERY: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an output that has nothing to send may take to be reached.
const REACH_WITHIN: Duration = Duration::from_secs(3);
/// How long deliveries may go on when the hub stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

struct Item {
    seq: Seq,
    received: i64,
    alert: Arc<Alert>,
    attempts: u32,
    /// It is behind the cursor, in the list of those put aside.
    held: bool,
    since: Instant,
}

struct Down {
    attempts: u32,
    until: Instant,
}

/// Where a worker delivers to.
pub struct Target {
    /// What its cursor is called.
    pub name: String,
    /// What its counters are called.
    pub destination: &'static str,
    pub forward: Arc<dyn Forward>,
    pub route: Route,
    pub status: Shared,
}

/// Outcomes of a delivery, and the time it took.
type Delivered = (Vec<Result<(), Failure>>, Duration);

pub struct Worker {
    name: String,
    destination: &'static str,
    forward: Arc<dyn Forward>,
    route: Route,
    policy: Policy,
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    status: Shared,

    window: usize,
    /// Up to where alerts were read.
    read_to: Seq,
    /// Of those, the ones that are not settled.
    unsettled: BTreeSet<Seq>,
    waiting: VecDeque<Item>,
    flying: JoinSet<Delivered>,
    in_flight: HashMap<Id, Vec<Item>>,
    down: Option<Down>,
    /// What the log was told.
    health: Health,
    letters: Letters,
    /// A delivery failed, and none has succeeded since: that a connection can be made proves nothing then.
    unproven: bool,
    /// It was asked once whether the output can be reached.
    reached: bool,
    saved: (Seq, Instant),
    looked: Instant,
}

/// How often that was, where it is more than once.
pub fn went_down(times: u32) -> String {
    if times > 1 { format!(", in which it went down {times} times") } else { String::new() }
}

/// Says how many dead letters followed the one that was told of.
fn tell_letters(output: &str, more: Option<u64>) {
    if let Some(more) = more.filter(|more| *more > 0) {
        tracing::error!(output, more, "further dead letters came after that: falco-hub dead-letters list");
    }
}

impl Worker {
    /// A worker that goes on where the one before it was.
    pub async fn new(
        target: Target,
        policy: Policy,
        spool: Arc<Spool>,
        metrics: Arc<Metrics>,
    ) -> Result<Worker, SpoolError> {
        let cursor = spool.cursor(&target.name).await?;
        let start = Instant::now();
        Ok(Worker {
            name: target.name,
            destination: target.destination,
            window: WINDOW.max(target.forward.batch().alerts.saturating_mul(2)),
            forward: target.forward,
            route: target.route,
            status: target.status,
            policy,
            spool,
            metrics,
            read_to: cursor,
            unsettled: BTreeSet::new(),
            waiting: VecDeque::new(),
            flying: JoinSet::new(),
            in_flight: HashMap::new(),
            down: None,
            health: Health::default(),
            letters: Letters::default(),
            unproven: false,
            reached: false,
            saved: (cursor, start),
            looked: start.checked_sub(LOOK_EVERY).unwrap_or(start),
        })
    }

    /// Delivers until `stop` changes.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut state = self.spool.state();
        while !*stop.borrow() {
            let latest = state.borrow_and_update().latest;
            if let Err(error) = self.fill(latest).await {
                tracing::error!(output = self.name, %error, "alerts cannot be read");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            self.launch();
            self.reach().await;
            if let Some(Over { lasted, times }) = self.health.over(Instant::now()) {
                tracing::info!(output = self.name, "works again after {lasted:.1?}{}", went_down(times));
            }
            tell_letters(&self.name, self.letters.over(Instant::now()));
            let look = self.save(latest, false).await;
            let wake = self.wake().min(look);
            let room = self.waiting.len() < self.window / 2;
            tokio::select! {
                Some(done) = self.flying.join_next_with_id() => self.finished(done).await,
                changed = state.changed(), if room => if changed.is_err() { break },
                () = tokio::time::sleep_until(wake) => {}
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        let end = Instant::now() + STOP_WITHIN;
        while let Ok(Some(done)) = tokio::time::timeout_at(end, self.flying.join_next_with_id()).await {
            self.finished(done).await;
        }
        let State { latest, .. } = *state.borrow();
        self.save(latest, true).await;
        tell_letters(&self.name, self.letters.end());
    }

    async fn fill(&mut self, latest: Seq) -> Result<(), SpoolError> {
        while self.read_to < latest && self.waiting.len() + self.in_flight.len() < self.window {
            let read = self.spool.read(self.read_to, CHUNK).await?;
            let Some(last) = read.last() else {
                // What was there has been deleted.
                self.read_to = latest;
                return Ok(());
            };
            self.read_to = last.seq;
            for stored in read {
                if self.route.takes(&stored.alert) {
                    self.unsettled.insert(stored.seq);
                    self.waiting.push_back(Item {
                        seq: stored.seq,
                        received: stored.received,
                        alert: stored.alert,
                        attempts: 0,
                        held: false,
                        since: Instant::now(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes what is due of the alerts that were put aside. True when there may be more.
    async fn fill_held(&mut self) -> Result<bool, SpoolError> {
        if self.down.is_some() && !self.waiting.is_empty() {
            return Ok(false);
        }
        let here = |item: &Item| item.held.then_some(item.seq);
        let except: Vec<Seq> =
            self.waiting.iter().filter_map(here).chain(self.in_flight.values().flatten().filter_map(here)).collect();
        if except.len() >= CHUNK {
            return Ok(true);
        }
        let due = self.spool.held(&self.name, now(), except, CHUNK).await?;
        let more = due.len() == CHUNK;
        self.take_held(due);
        Ok(more)
    }

    fn take_held(&mut self, due: Vec<Held>) {
        for held in due {
            self.waiting.push_back(Item {
                seq: held.seq,
                received: held.received,
                alert: held.alert,
                attempts: held.attempts,
                held: true,
                since: Instant::now(),
            });
        }
    }

    /// How many of the waiting, from the first, go together now.
    fn batch(&self) -> usize {
        let batch = self.forward.batch();
        let Some(first) = self.waiting.front() else { return 0 };
        let again = first.attempts > 0;
        if batch.alerts <= 1 || (again && !self.forward.alike()) {
            return 1;
        }
        let mut bytes = 0;
        let together = self.waiting.iter().take(batch.alerts).take_while(|item| {
            bytes += item.alert.output.len() + 64 * (item.alert.output_fields.len() + 4);
            // What failed before goes alone: it may be what made the others fail.
            (again || item.attempts == 0) && (bytes <= batch.bytes || item.seq == first.seq)
        });
        let number = together.count();
        let full = number == batch.alerts || number < self.waiting.len() || bytes > batch.bytes;
        if full || again || first.since.elapsed() >= batch.linger { number } else { 0 }
    }

    fn launch(&mut self) {
        let limit = match &self.down {
            Some(down) if Instant::now() < down.until => return,
            Some(_) => 1,
            None => self.forward.concurrency(),
        };
        while self.in_flight.len() < limit {
            let number = self.batch();
            if number == 0 {
                return;
            }
            let items: Vec<Item> = self.waiting.drain(..number).collect();
            let alerts: Vec<Arc<Alert>> = items.iter().map(|item| item.alert.clone()).collect();
            let (forward, timeout) = (self.forward.clone(), self.policy.timeout);
            let task = self.flying.spawn(async move {
                let start = Instant::now();
                let outcomes = match tokio::time::timeout(timeout, forward.deliver(&alerts)).await {
                    Ok(outcomes) => outcomes,
                    Err(_) => super::all(&alerts, Err(Failure::down(format!("no answer within {timeout:?}")))),
                };
                (outcomes, start.elapsed())
            });
            self.in_flight.insert(task.id(), items);
        }
    }

    /// Finds out about an output that has nothing to send: at the start, and while it is down.
    async fn reach(&mut self) {
        let due = match &self.down {
            None => !self.reached,
            Some(down) => Instant::now() >= down.until,
        };
        if !due || !self.waiting.is_empty() || !self.in_flight.is_empty() {
            return;
        }
        self.reached = true;
        let reached = tokio::time::timeout(self.policy.timeout.min(REACH_WITHIN), self.forward.reach()).await;
        match reached.unwrap_or_else(|_| Some(Err(Failure::down(format!("no answer within {REACH_WITHIN:?}"))))) {
            // It may take connections and nothing else: one of the alerts that failed is tried.
            Some(Ok(())) if self.unproven => match self.spool.held(&self.name, i64::MAX, Vec::new(), 1).await {
                Ok(held) => self.take_held(held),
                Err(error) => tracing::error!(output = self.name, %error, "alerts cannot be read"),
            },
            Some(Ok(())) => self.mark(true, None),
            Some(Err(failure)) => self.mark(false, Some((failure.to_string(), None))),
            None => {}
        }
    }

    /// When there is something to do without anything happening before.
    fn wake(&self) -> Instant {
        let later = Instant::now() + LOOK_EVERY;
        match (&self.down, self.waiting.front()) {
            (_, None) => later,
            (Some(down), _) if self.in_flight.is_empty() => down.until.min(later),
            (Some(_), _) => later,
            (None, Some(first)) => {
                let linger = first.since + self.forward.batch().linger;
                // When everything flies, an end wakes.
                if self.in_flight.len() < self.forward.concurrency() { linger.min(later) } else { later }
            }
        }
    }

    async fn finished(&mut self, done: Result<(Id, Delivered), tokio::task::JoinError>) {
        let (id, outcomes) = match done {
            Ok((id, (outcomes, time))) => {
                self.metrics.took(&self.name, time);
                (id, outcomes)
            }
            Err(error) => (error.id(), Vec::new()),
        };
        let items = self.in_flight.remove(&id).unwrap_or_default();
        // An output that panics or forgets an alert has a fault of its own: the alert is not lost for it.
        let missing = || Err(Failure::down("the output failed (a fault of the hub: please report it)"));
        let outcomes = outcomes.into_iter().map(Some).chain(std::iter::repeat(None));
        let mut down: Option<(String, Option<Duration>)> = None;
        let (mut up, mut delivered) = (false, false);
        for (mut item, outcome) in items.into_iter().zip(outcomes) {
            let outcome = outcome.unwrap_or_else(missing);
            self.metrics.delivered(self.destination, outcome.is_ok());
            match outcome {
                Ok(()) => {
                    up = true;
                    delivered = true;
                    self.unsettled.remove(&item.seq);
                    if item.held
                        && let Err(error) = self.spool.release(&self.name, item.seq).await
                    {
                        tracing::warn!(output = self.name, %error, "an alert will be delivered twice");
                    }
                }
                Err(failure) => {
                    item.attempts += 1;
                    let old = now() - item.received;
                    let too_old = old >= i64::try_from(self.policy.dead_letter_after.as_millis()).unwrap_or(i64::MAX);
                    let text = failure.to_string();
                    let dead = match failure {
                        Failure::Impossible(_) => true,
                        Failure::Refused(_) => {
                            up = true;
                            too_old || item.attempts >= self.policy.refusals
                        }
                        Failure::Down { after, .. } => {
                            down = Some((text.clone(), after));
                            let in_place = item.attempts < ATTEMPTS_IN_PLACE || self.forward.alike();
                            if !too_old && in_place && !item.held {
                                let later = |other: &Item| other.held || other.seq > item.seq;
                                let at = self.waiting.iter().position(later).unwrap_or(self.waiting.len());
                                self.waiting.insert(at, item);
                                continue;
                            }
                            too_old
                        }
                    };
                    self.put_aside(item, dead, &text).await;
                }
            }
        }
        if delivered {
            self.status.lock().unwrap_or_else(PoisonError::into_inner).last_success = Some(now());
            self.metrics.last_success.with_label_values(&[&self.name]).set(now() as f64 / 1e3);
        }
        self.unproven = !up && (down.is_some() || self.unproven);
        self.mark(up, down);
    }

    /// Puts an alert into the list of those tried later, or of dead letters.
    async fn put_aside(&mut self, item: Item, dead: bool, why: &str) {
        if dead {
            let uuid = &item.alert.uuid;
            if self.letters.another(Instant::now()) {
                tracing::error!(output = self.name, seq = item.seq, uuid, "not delivered, now a dead letter: {why}");
            } else {
                tracing::debug!(output = self.name, seq = item.seq, uuid, "not delivered, now a dead letter: {why}");
            }
        } else {
            tracing::debug!(output = self.name, seq = item.seq, "put aside: {why}");
        }
        let pause = i64::try_from(self.policy.pause(item.attempts).as_millis()).unwrap_or(i64::MAX);
        let due = (!dead).then(|| now().saturating_add(pause));
        match self.spool.hold(&self.name, item.seq, item.attempts, due, why).await {
            Ok(()) => {
                self.unsettled.remove(&item.seq);
            }
            Err(error) => {
                // It stays before the cursor: nothing is lost.
                tracing::error!(output = self.name, %error, "an alert cannot be put aside");
                self.waiting.push_back(item);
            }
        }
    }

    fn mark(&mut self, up: bool, failed: Option<(String, Option<Duration>)>) {
        let instant = Instant::now();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if up {
            self.down = None;
            self.health.works(instant);
        } else if let Some((what, after)) = &failed {
            if self.health.failed(instant) {
                tracing::error!(output = self.name, "down: {what}");
            }
            let attempts = self.down.as_ref().map_or(0, |down| down.attempts) + 1;
            // A receiver that says when to come again is believed, within reason.
            let pause = self.policy.pause(attempts).max(after.unwrap_or_default().min(self.policy.retry_max));
            self.down = Some(Down { attempts, until: instant + pause });
        }
        if up || failed.is_some() {
            status.up = Some(self.down.is_none());
            status.last_error =
                failed.map(|(what, _)| what).or(status.last_error.take()).filter(|_| self.down.is_some());
            self.metrics.up.with_label_values(&[&self.name]).set(i64::from(self.down.is_none()));
        }
    }

    fn cursor(&self) -> Seq {
        self.unsettled.first().map_or(self.read_to, |first| first - 1)
    }

    /// Writes the cursor and the status, not too often. Returns when to do so again.
    async fn save(&mut self, latest: Seq, last: bool) -> Instant {
        let cursor = self.cursor();
        let due = self.saved.1 + SAVE_EVERY;
        if cursor != self.saved.0 && (last || Instant::now() >= due) {
            match self.spool.set_cursor(&self.name, cursor).await {
                Ok(()) => self.saved = (cursor, Instant::now()),
                Err(error) => tracing::error!(output = self.name, %error, "the cursor cannot be written"),
            }
        }
        if self.looked.elapsed() >= LOOK_EVERY || last {
            self.looked = Instant::now();
            if let Err(error) = self.look(latest).await {
                tracing::error!(output = self.name, %error, "the state of the output is unknown");
            }
        }
        if self.cursor() == self.saved.0 { self.looked + LOOK_EVERY } else { self.saved.1 + SAVE_EVERY }
    }

    async fn look(&mut self, latest: Seq) -> Result<(), SpoolError> {
        let (held, dead_letters) = self.spool.held_count(&self.name).await?;
        self.unproven &= held > 0;
        if held > 0 && self.fill_held().await? {
            // There are more: they need not wait as long as those that are not due.
            self.looked = Instant::now().checked_sub(LOOK_EVERY - SAVE_EVERY).unwrap_or(self.looked);
        }
        let queue = (latest - self.read_to).max(0) + i64::try_from(self.unsettled.len()).unwrap_or(i64::MAX);
        let oldest = if queue > 0 { self.spool.received_after(self.cursor()).await? } else { None };
        let oldest = oldest.map_or(0, |received| (now() - received).max(0));
        let labels = [self.name.as_str()];
        self.metrics.queue.with_label_values(&labels).set(queue);
        self.metrics.oldest.with_label_values(&labels).set(oldest as f64 / 1e3);
        self.metrics.held.with_label_values(&labels).set(held);
        self.metrics.dead_letters.with_label_values(&labels).set(dead_letters);
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        (status.queue, status.oldest, status.held, status.dead_letters) = (queue, oldest, held, dead_letters);
        Ok(())
    }
}
