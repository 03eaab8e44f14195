//! The bounded queue between the loops and the outputs.
//!
//! A loop offers a line and goes on; when the queue is full the line is dropped and counted. The bound counts alerts,
//! and lines are bounded by what a record can hold.

use super::limits::{self, Limited};
use crate::rules::Priority;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// Alerts that may wait when the configuration does not say: Falco's queue is unbounded then, ours never is.
pub const DEFAULT_CAPACITY: usize = 16 * 1024;

/// What goes through.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A line without its newline.
    Alert { line: Box<[u8]>, priority: Priority, limited: Option<Limited> },
    /// Close and open every output that has a name.
    Reopen,
}

/// A loop's end.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    waiting: Waiting,
    limits: Arc<limits::Counters>,
}

/// The outputs' end.
#[derive(Debug)]
pub struct Queue {
    queue: Receiver<Message>,
    dropped: Arc<AtomicU64>,
    waiting: Waiting,
    limits: Arc<limits::Counters>,
}

/// How many alerts wait: in the queue, and behind it for each output.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<AtomicI64>);

impl Waiting {
    pub fn add(&self, alerts: i64) {
        self.0.fetch_add(alerts, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        // An alert may be taken before it is counted as put in.
        self.0.load(Ordering::Relaxed).max(0) as u64
    }
}

/// A queue for `capacity` alerts, 0 meaning [`DEFAULT_CAPACITY`].
pub fn bounded(capacity: usize) -> (Sender, Queue) {
    with_counters(capacity, Arc::default())
}

fn with_counters(capacity: usize, limits: Arc<limits::Counters>) -> (Sender, Queue) {
    let capacity = if capacity == 0 { DEFAULT_CAPACITY } else { capacity };
    let (sender, receiver) = sync_channel(capacity);
    let (dropped, waiting) = (Arc::<AtomicU64>::default(), Waiting::default());
    let sender = Sender { queue: sender, dropped: dropped.clone(), waiting: waiting.clone(), limits: limits.clone() };
    (sender, Queue { queue: receiver, dropped, waiting, limits })
}

impl Sender {
    /// A queue that takes the place of this one, and goes on counting what limits do.
    pub fn successor(&self, capacity: usize) -> (Sender, Queue) {
        with_counters(capacity, self.limits.clone())
    }

    /// Offers an alert; never waits. False when it was dropped.
    pub fn alert(&self, line: &[u8], priority: Priority) -> bool {
        self.alert_limited(line, priority, None)
    }

    /// The same for one that may be limited.
    pub fn alert_limited(&self, line: &[u8], priority: Priority, limited: Option<Limited>) -> bool {
        let taken = self.queue.try_send(Message::Alert { line: line.into(), priority, limited }).is_ok();
        if taken {
            self.waiting.add(1);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Hands over an alert, waiting for room: where events wait too, as in a replay.
    pub fn deliver(&self, line: &[u8], priority: Priority, limited: Option<Limited>) {
        // Without an output thread nobody waits for alerts.
        if self.queue.send(Message::Alert { line: line.into(), priority, limited }).is_ok() {
            self.waiting.add(1);
        }
    }

    /// What limits have done.
    pub fn limits(&self) -> &limits::Counters {
        &self.limits
    }

    /// Asks for a reopening; false when the queue is full: ask again.
    pub fn reopen(&self) -> bool {
        self.queue.try_send(Message::Reopen).is_ok()
    }

    /// Alerts that wait to be written, once for each output.
    pub fn waiting(&self) -> u64 {
        self.waiting.count()
    }

    /// Alerts dropped so far: by all senders, and behind the queue for each output that had no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// What outputs add to for alerts that wait for them.
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Where limits count.
    pub fn limits(&self) -> Arc<limits::Counters> {
        self.limits.clone()
    }

    /// Counts an alert that an output had no room for.
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The next message: see [`receive`].
    pub fn next(&self, timeout: Duration, patient: bool) -> Result<Message, RecvTimeoutError> {
        let message = receive(&self.queue, timeout, patient);
        if let Ok(Message::Alert { .. }) = &message {
            self.waiting.add(-1);
        }
        message
    }
}

/// How long messages may gather.
const GATHERING: Duration = Duration::from_millis(1);

/// The next message, [`RecvTimeoutError::Timeout`] after `timeout`, [`RecvTimeoutError::Disconnected`] when the last sender is gone
/// and everything was taken.
///
/// One that is `patient` lets messages gather when there is none: it is waiting to be waked, one by one, that costs.
pub fn receive<T>(from: &Receiver<T>, timeout: Duration, patient: bool) -> Result<T, RecvTimeoutError> {
    if patient {
        match from.try_recv() {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => std::thread::sleep(GATHERING),
        }
    }
    from.recv_timeout(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (sender, queue) = bounded(2);
        let other = sender.clone();
        let notice = Priority::Notice;
        let alert = |text: &[u8]| Message::Alert { line: text.into(), priority: notice, limited: None };
        assert!(sender.alert(b"1", notice) && other.alert(b"2", notice));
        assert!(!sender.alert(b"3", notice) && !other.alert(b"4", notice));
        assert_eq!((sender.dropped(), sender.waiting()), (2, 2));
        let second = Duration::from_secs(1);
        assert_eq!(queue.next(second, false), Ok(alert(b"1")));
        assert_eq!(sender.waiting(), 1);
        assert!(sender.reopen());
        drop((sender, other));
        assert_eq!(queue.next(second, false), Ok(alert(b"2")));
        assert_eq!(queue.next(second, false), Ok(Message::Reopen));
        assert_eq!(queue.next(second, false), Err(RecvTimeoutError::Disconnected));
    }
}
