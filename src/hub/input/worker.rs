//! Taking alerts from one broker: what is kept, what is no alert, when to try again.
//!
//! Messages are taken up to a bound, kept in one write, and only then acknowledged. What is not kept - the spool is full, the disk
//! fails - is held for a while and then given back; the broker keeps it. A crash between the two has the broker give messages
//! again: the alerts among them are known by their uuid. Invariant: nothing is acknowledged that is neither on disk nor counted
//! as rejected.

use super::Input;
use super::kind::{Kind, Take, Taken};
use crate::hub::alert::{Alert, Refused, decode, first_value};
use crate::hub::enrich::identity;
use crate::hub::forward::health::{Health, Letters, Over};
use crate::hub::forward::worker::{Policy, went_down};
use crate::hub::spool::{SpoolError, now};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What is known of an input, for `/readyz`.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Status {
    pub name: String,
    pub kind: &'static str,
    /// Unknown until the first attempt.
    pub up: Option<bool>,
    pub last_error: Option<String>,
    /// When alerts were last kept, in milliseconds since 1970.
    pub last_success: Option<i64>,
    /// Since the start: kept, not kept again, no alerts.
    pub alerts: usize,
    pub repeated: usize,
    pub rejected: usize,
}

pub type Shared = Arc<Mutex<Status>>;

/// How long messages are held that cannot be kept. Brokers wait longer for an acknowledgement.
const HOLD: Duration = Duration::from_secs(20);
/// How long what is under way may go on when the hub stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a round ended before its end.
enum Trouble {
    /// The broker cannot be reached, or refuses.
    Broker(String),
    /// This hub cannot keep what it took.
    Hub(SpoolError),
}

pub struct Worker {
    name: String,
    kind: &'static Kind,
    broker: Box<dyn Take>,
    input: Arc<Input>,
    policy: Policy,
    status: Shared,
    stop: watch::Receiver<bool>,

    connected: bool,
    /// Rounds that failed since one went well.
    failures: u32,
    /// What the log was told.
    health: Health,
    rejections: Letters,
}

impl Worker {
    pub fn new(
        kind: &'static Kind,
        broker: Box<dyn Take>,
        input: Arc<Input>,
        policy: Policy,
        status: Shared,
        stop: watch::Receiver<bool>,
    ) -> Worker {
        let name = status.lock().unwrap_or_else(PoisonError::into_inner).name.clone();
        let (health, rejections) = (Health::default(), Letters::default());
        Worker { name, kind, broker, input, policy, status, stop, connected: false, failures: 0, health, rejections }
    }

    /// Takes alerts until the hub stops.
    pub async fn run(mut self) {
        while !*self.stop.borrow() {
            match self.round().await {
                Ok(()) => self.failures = 0,
                Err(trouble) => {
                    self.failures = self.failures.saturating_add(1);
                    self.failed(trouble);
                    self.leave().await;
                    self.pause(self.policy.pause(self.failures)).await;
                }
            }
            if let Some(Over { lasted, times }) = self.health.over(Instant::now()) {
                tracing::info!(input = self.name, "works again after {lasted:.1?}{}", went_down(times));
            }
            let more = self.rejections.over(Instant::now());
            self.tell_rejections(more);
        }
        self.leave().await;
        let more = self.rejections.end();
        self.tell_rejections(more);
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn round(&mut self) -> Result<(), Trouble> {
        self.room().await;
        if *self.stop.borrow() {
            return Ok(());
        }
        let (limit, mut stop) = (self.policy.timeout, self.stop.clone());
        if !self.connected {
            let positions = self.input.spool.positions(&self.name).await.map_err(Trouble::Hub)?;
            within(limit, &mut stop, self.broker.connect(&positions)).await?;
            self.connected = true;
        }
        let taken = within(limit, &mut stop, self.broker.take()).await?;
        self.works();
        if taken.bodies.is_empty() && taken.positions.is_empty() {
            return Ok(());
        }
        self.keep(taken).await?;
        within(limit, &mut stop, self.broker.settle()).await?;
        Ok(())
    }

    /// Waits while the spool is full, with the broker left alone: another hub may have room.
    async fn room(&mut self) {
        let mut state = self.input.spool.state();
        if !state.borrow().full {
            return;
        }
        self.leave().await;
        self.status().last_error = Some(SpoolError::Full.to_string());
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = state.wait_for(|state| !state.full) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Reads a message.
    fn read(&self, body: &[u8]) -> Result<Arc<Alert>, (&'static str, String)> {
        let most = self.input.body_max;
        if body.len() > most {
            return Err(("too_large", format!("it is larger than {most} bytes (hub.maxbody)")));
        }
        let read = first_value(body).and_then(|value| decode(&value)).and_then(|mut alert| {
            let known = identity(&alert.uuid);
            self.input.enrich.apply(&mut alert, known).map(|()| alert)
        });
        read.map(Arc::new).map_err(|refused| {
            let reason = if refused == Refused::Empty { "empty" } else { "invalid" };
            (reason, refused.to_string())
        })
    }

    /// Keeps what are alerts and counts what are none.
    async fn keep(&mut self, taken: Taken) -> Result<(), Trouble> {
        let Taken { bodies, positions } = taken;
        let (mut alerts, mut rejected) = (Vec::with_capacity(bodies.len()), Vec::new());
        for body in bodies {
            match self.read(&body) {
                Ok(alert) => alerts.push(alert),
                Err(why) => rejected.push(why),
            }
        }
        let number = alerts.len();
        let start = Instant::now();
        let mut attempts = 0;
        let repeated = loop {
            if alerts.is_empty() && positions.is_empty() {
                break 0;
            }
            match self.input.keep(self.kind.name, alerts.clone(), positions.clone()).await {
                Ok(repeated) => break repeated,
                Err(error) => {
                    attempts += 1;
                    self.status().last_error = Some(error.to_string());
                    if start.elapsed() >= HOLD || *self.stop.borrow() {
                        return Err(Trouble::Hub(error));
                    }
                    self.pause(self.policy.pause(attempts).min(HOLD)).await;
                }
            }
        };
        for (reason, why) in &rejected {
            self.input.metrics.rejected(self.kind.name, reason);
            self.input.metrics.input_rejected(&self.name, reason);
            if self.rejections.another(Instant::now()) {
                tracing::warn!(input = self.name, reason, "a message was no alert and is dropped: {why}");
            } else {
                tracing::debug!(input = self.name, reason, "a message was no alert and is dropped: {why}");
            }
        }
        self.input.metrics.taken(&self.name, number - repeated, repeated);
        let mut status = self.status();
        (status.alerts, status.repeated) = (status.alerts + number - repeated, status.repeated + repeated);
        (status.rejected, status.last_error) = (status.rejected + rejected.len(), None);
        if number > 0 {
            status.last_success = Some(now());
            self.input.metrics.input_last_success.with_label_values(&[&self.name]).set(now() as f64 / 1e3);
        }
        Ok(())
    }

    fn works(&mut self) {
        self.health.works(Instant::now());
        let mut status = self.status();
        (status.up, status.last_error) = (Some(true), None);
        self.input.metrics.input_up.with_label_values(&[&self.name]).set(1);
    }

    fn failed(&mut self, trouble: Trouble) {
        let what = match trouble {
            Trouble::Hub(error) => {
                if !matches!(error, SpoolError::Full) {
                    tracing::error!(input = self.name, "what was taken is given back: {error}");
                }
                return self.status().last_error = Some(error.to_string());
            }
            Trouble::Broker(what) => what,
        };
        if self.health.failed(Instant::now()) {
            tracing::error!(input = self.name, "down: {what}");
        }
        let mut status = self.status();
        (status.up, status.last_error) = (Some(false), Some(what));
        self.input.metrics.input_up.with_label_values(&[&self.name]).set(0);
    }

    async fn leave(&mut self) {
        self.connected = false;
        if tokio::time::timeout(STOP_WITHIN, self.broker.leave()).await.is_err() {
            tracing::debug!(input = self.name, "the broker was left without its saying so");
        }
    }

    async fn pause(&mut self, pause: Duration) {
        // That the hub stops, or is gone, ends it.
        let _ = tokio::time::timeout(pause, self.stop.wait_for(|stop| *stop)).await;
    }

    fn tell_rejections(&self, more: Option<u64>) {
        if let Some(more) = more.filter(|more| *more > 0) {
            tracing::warn!(input = self.name, more, "further messages after that were no alerts");
        }
    }
}

/// What `work` gives within `limit`, or soon after the hub is told to stop.
async fn within<T>(
    limit: Duration,
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, Trouble> {
    let end = async {
        if tokio::time::timeout(limit, stop.wait_for(|stop| *stop)).await.is_ok() {
            tokio::time::sleep(STOP_WITHIN.min(limit)).await;
        }
    };
    tokio::select! {
        done = work => done.map_err(Trouble::Broker),
        () = end => Err(Trouble::Broker(format!("no answer within {limit:?}"))),
    }
}
