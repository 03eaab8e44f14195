//! Recording live events into .scap files: everything (`--record`), or from a rule's match on for a while (`capture`).
//!
//! A loop encodes its events into a chunk of its own ([`Tap`]) and hands it over when it is full or the ring is empty; one thread
//! brings the chunks of all loops into the order of time and writes. A file begins with the host as /proc shows it then. Invariants:
//! a loop never waits for the disk; events that the queue has no room for are counted; an event is written when no loop can have an
//! older one any more, however far behind one is, as long as what waits for it fits. Nothing is encoded while nothing is recorded.

use super::log::{self, Level};
use crate::capture::{EventBuf, Readers, Writer, encode, event_block, scan};
use crate::event::view::{Payload, View};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of events that a loop collects before it hands them over.
const CHUNK: usize = 64 << 10;
/// Chunks that may wait for the disk: 64 MiB.
const QUEUE: usize = 1024;
/// Longest time from an event's to when it stands in its ring.
const SLACK: Duration = Duration::from_millis(100);
/// How often what is old enough is written.
const TICK: Duration = Duration::from_millis(250);
/// Events that wait for older ones at most: more of them are written without waiting.
const WAITING: usize = 1 << 18;

/// The alert about a recording that ended because of its size.
pub const LIMIT: &str = "Falco internal: capture size limit reached";

/// Recordings that rules start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnMatch {
    /// Begin of the files' paths.
    pub prefix: String,
    /// Every match starts one, not only those of rules that say so.
    pub all_rules: bool,
    /// Length where the rule gives none.
    pub default_ms: u64,
    /// Size at which a file ends; 0 for none.
    pub max_bytes: u64,
}

/// What a match of a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// It starts a recording; else it only makes a running one longer.
    pub starts: bool,
    pub duration: Duration,
}

struct Shared {
    /// Wall time up to which events are recorded: 0 for none, [`u64::MAX`] for all.
    until: AtomicU64,
    /// Events that found the queue full.
    lost: AtomicU64,
    always: bool,
    /// Files that ended at the limit and nobody was told about yet.
    limited: Mutex<Vec<PathBuf>>,
    /// Of each loop: the time up to which it has handed over its events; [`GONE`] when it has ended.
    marks: Mutex<Vec<Arc<AtomicU64>>>,
}

const GONE: u64 = u64::MAX;

impl Shared {
    fn limited(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // A list of paths is whole whatever happened to its holder.
        self.limited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Arc<AtomicU64>>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time up to which no loop has events any more.
    fn horizon(&self) -> u64 {
        let mut marks = self.marks();
        let mut least = wall_now();
        marks.retain(|mark| {
            let mark = mark.load(Ordering::Acquire);
            least = least.min(mark);
            mark != GONE
        });
        least.saturating_sub(SLACK.as_nanos() as u64)
    }
}

enum Message {
    Events(Chunk),
    /// The rings are attached: what is in /proc now and what comes from them is everything.
    Begin,
    /// A rule matched while nothing was being recorded.
    Start {
        time: u64,
        number: u64,
    },
}

/// Blocks of events, and the time and end of each.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    marks: Vec<(u64, u32)>,
}

/// The thread that writes, and what others need to reach it.
pub struct Recorder {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    thread: JoinHandle<Files>,
}

impl Recorder {
    /// Starts the thread. `all` is the file that everything goes to; it is made now, so that a path that cannot be is said at once.
    /// `root` is where the host's file system is.
    pub fn start(all: Option<&Path>, on_match: Option<OnMatch>, root: &Path) -> io::Result<Recorder> {
        let writer = all.map(Writer::create).transpose()?;
        let (sender, receiver) = sync_channel(QUEUE);
        let until = AtomicU64::new(if all.is_some() { u64::MAX } else { 0 });
        let always = all.is_some();
        let shared =
            Shared { until, lost: AtomicU64::new(0), always, limited: Mutex::default(), marks: Mutex::default() };
        let shared = Arc::new(shared);
        let all = all.zip(writer).map(|(path, writer)| File { path: path.to_owned(), writer, bytes: 0 });
        let mut files =
            Files { all, triggered: None, on_match, root: root.to_owned(), begun: false, events: 0, made: 0 };
        let thread = {
            let shared = shared.clone();
            thread::Builder::new().name("recorder".into()).spawn(move || {
                files.run(&receiver, &shared);
                files
            })?
        };
        Ok(Recorder { shared, sender, thread })
    }

    /// What loops get theirs from.
    pub fn taps(&self) -> Taps {
        Taps { shared: self.shared.clone(), sender: self.sender.clone() }
    }

    /// Says that the rings are attached.
    pub fn begin(&self) {
        // It fails only when the thread is gone, which its end tells.
        let _ = self.sender.send(Message::Begin);
    }

    /// The files that ended at the limit since this was asked last.
    pub fn limited(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.shared.limited())
    }

    /// Writes what is left, once the loops have let go of their taps. Gives the files that ended at the limit since the last were
    /// asked for.
    pub fn finish(self) -> Vec<PathBuf> {
        drop(self.sender);
        let limited = || std::mem::take(&mut *self.shared.limited());
        let Ok(files) = self.thread.join() else {
            log::write(Level::Critical, format_args!("the recorder ended by itself: recordings are incomplete"));
            return limited();
        };
        let (lost, events, made) = (self.shared.lost.load(Ordering::Relaxed), files.events, files.made);
        log::write(Level::Info, format_args!("recordings: {made} files, {events} events; {lost} events lost"));
        limited()
    }
}

/// Makes the loops' sides of a recorder.
#[derive(Clone)]
pub struct Taps {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
}

impl Taps {
    /// For one loop, which has to go on with [`Tap::looking`] and [`Tap::idle`]: nothing that is newer is written before.
    pub fn tap(&self) -> Tap {
        let (shared, sender) = (self.shared.clone(), self.sender.clone());
        let mark = Arc::<AtomicU64>::default();
        shared.marks().push(mark.clone());
        Tap { shared, sender, chunk: Chunk::default(), event: EventBuf::default(), mark, looked: [0, 0] }
    }
}

/// A loop's side of the recorder.
pub struct Tap {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    chunk: Chunk,
    event: EventBuf,
    mark: Arc<AtomicU64>,
    /// Before the last portion of the ring was read, and after it.
    looked: [u64; 2],
}

impl Tap {
    /// Whether events of this time are recorded.
    pub fn wants(&self, time: u64) -> bool {
        time <= self.shared.until.load(Ordering::Relaxed)
    }

    /// Records an event.
    pub fn event<P: Payload>(&mut self, event: &View<'_, P>, cpu: u32) {
        if !encode(event, cpu as u16, &mut self.event)
            || !event_block(&self.event.view(0), Readers::Older, &mut self.chunk.bytes)
        {
            return;
        }
        self.chunk.marks.push((event.time(), self.chunk.bytes.len() as u32));
        if self.chunk.bytes.len() >= CHUNK {
            self.flush();
        }
    }

    /// A rule matched an event: `number` is the event's.
    pub fn matched(&self, trigger: Trigger, time: u64, number: u64) {
        if self.shared.always {
            return;
        }
        let running = self.wants(time);
        if !running && !trigger.starts {
            return;
        }
        let until = time.saturating_add(trigger.duration.as_nanos() as u64).min(u64::MAX - 1);
        self.shared.until.fetch_max(until, Ordering::Relaxed);
        if !running && self.sender.try_send(Message::Start { time, number }).is_err() {
            self.shared.until.store(0, Ordering::Relaxed);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A portion of the ring is about to be read.
    pub fn looking(&mut self) {
        self.looked = [self.looked[1], wall_now()];
    }

    /// The portion that was read last has emptied the ring.
    pub fn idle(&mut self) {
        self.flush();
        self.mark.fetch_max(self.looked[0], Ordering::Release);
    }

    /// Hands over what was collected.
    pub fn flush(&mut self) {
        let Some((last, _)) = self.chunk.marks.last().copied() else { return };
        let room =
            Chunk { bytes: Vec::with_capacity(CHUNK + CHUNK / 4), marks: Vec::with_capacity(self.chunk.marks.len()) };
        let chunk = std::mem::replace(&mut self.chunk, room);
        let count = chunk.marks.len() as u64;
        if self.sender.try_send(Message::Events(chunk)).is_err() {
            self.shared.lost.fetch_add(count, Ordering::Relaxed);
        }
        self.mark.fetch_max(last, Ordering::Release);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.flush();
        self.mark.store(GONE, Ordering::Release);
    }
}

struct File {
    path: PathBuf,
    writer: Writer,
    bytes: u64,
}

/// An event that waits for its turn.
struct Pending {
    time: u64,
    chunk: Rc<Vec<u8>>,
    start: u32,
    end: u32,
}

/// The files being written.
struct Files {
    all: Option<File>,
    /// With the time of the event that started it.
    triggered: Option<(File, u64)>,
    on_match: Option<OnMatch>,
    root: PathBuf,
    begun: bool,
    events: u64,
    made: u64,
}

impl Files {
    fn run(&mut self, receiver: &Receiver<Message>, shared: &Shared) {
        let mut pending: Vec<Pending> = Vec::new();
        let mut written = Instant::now();
        loop {
            let horizon = (written.elapsed() >= TICK || pending.len() > WAITING).then(|| shared.horizon());
            match receiver.recv_timeout(TICK) {
                Ok(message) => self.take(message, &mut pending, shared),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write_until(u64::MAX, &mut pending, shared);
                    self.all.take().into_iter().for_each(|file| self.close(file));
                    self.triggered.take().into_iter().for_each(|(file, _)| self.close(file));
                    return;
                }
            }
            let Some(horizon) = horizon else { continue };
            // All that was handed over before the loops were asked how far they are.
            receiver.try_iter().take(QUEUE).for_each(|message| self.take(message, &mut pending, shared));
            // What comes before the description of the host would stand before it.
            if self.begun {
                let newest = || pending.iter().map(|event| event.time).max().unwrap_or(0);
                let horizon = if pending.len() > WAITING { newest() } else { horizon };
                self.write_until(horizon, &mut pending, shared);
            }
            written = Instant::now();
        }
    }

    fn take(&mut self, message: Message, pending: &mut Vec<Pending>, shared: &Shared) {
        match message {
            Message::Events(chunk) => hold(chunk, pending),
            Message::Begin => {
                self.begun = true;
                self.begin_all();
            }
            Message::Start { time, number } => self.start(time, number, shared),
        }
    }

    fn begin_all(&mut self) {
        if let Some(mut file) = self.all.take() {
            match file.writer.section(&scan::host(&self.root)) {
                Ok(()) => {
                    self.made += 1;
                    self.all = Some(file);
                }
                Err(error) => failed(&file.path, &error),
            }
        }
    }

    fn start(&mut self, time: u64, number: u64, shared: &Shared) {
        let Some(on_match) = self.on_match.as_ref().filter(|_| self.triggered.is_none()) else { return };
        let path = path(&on_match.prefix, time, number);
        let made = std::fs::File::create(&path).and_then(|file| {
            let mut writer = Writer::new(io::BufWriter::with_capacity(256 << 10, file), true);
            writer.section(&scan::host(&self.root))?;
            Ok(File { path: path.clone(), writer, bytes: 0 })
        });
        match made {
            Ok(file) => {
                log::write(Level::Info, format_args!("recording to {}", path.display()));
                self.made += 1;
                self.triggered = Some((file, time));
            }
            Err(error) => {
                shared.until.store(0, Ordering::Relaxed);
                failed(&path, &error);
            }
        }
    }

    /// Writes the events up to a time, oldest first.
    fn write_until(&mut self, horizon: u64, pending: &mut Vec<Pending>, shared: &Shared) {
        let until = shared.until.load(Ordering::Relaxed);
        pending.sort_by_key(|event| event.time);
        let due = pending.partition_point(|event| event.time <= horizon);
        for event in pending.drain(..due) {
            let block = &event.chunk[event.start as usize..event.end as usize];
            self.events += 1;
            if let Some(mut file) = self.all.take() {
                match file.writer.block(block) {
                    Ok(()) => self.all = Some(file),
                    Err(error) => {
                        shared.until.store(0, Ordering::Relaxed);
                        failed(&file.path, &error);
                    }
                }
            }
            if let Some((mut file, start)) = self.triggered.take_if(|(_, start)| (*start..=until).contains(&event.time))
            {
                let limit = self.on_match.as_ref().map_or(0, |on_match| on_match.max_bytes);
                file.bytes += block.len() as u64;
                match file.writer.block(block) {
                    Ok(()) if limit == 0 || file.bytes < limit => self.triggered = Some((file, start)),
                    Ok(()) => {
                        log::write(Level::Notice, format_args!("{}: capture size limit reached", file.path.display()));
                        shared.until.store(0, Ordering::Relaxed);
                        shared.limited().push(file.path.clone());
                        self.close(file);
                    }
                    Err(error) => {
                        shared.until.store(0, Ordering::Relaxed);
                        failed(&file.path, &error);
                    }
                }
            }
        }
        if horizon > until
            && let Some((file, _)) = self.triggered.take()
        {
            self.close(file);
        }
    }

    fn close(&mut self, file: File) {
        if let Err(error) = file.writer.finish() {
            failed(&file.path, &error);
        }
    }
}

fn hold(chunk: Chunk, pending: &mut Vec<Pending>) {
    let bytes = Rc::new(chunk.bytes);
    let mut start = 0;
    for (time, end) in chunk.marks {
        pending.push(Pending { time, chunk: bytes.clone(), start, end });
        start = end;
    }
}

/// Where a recording goes that the event of this time and number starts.
pub fn path(prefix: &str, time: u64, number: u64) -> PathBuf {
    format!("{prefix}_{time:020}_{number:020}.scap").into()
}

fn failed(path: &Path, error: &io::Error) {
    log::write(Level::Error, format_args!("recording to {} ended: {error}", path.display()));
}

fn wall_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
