//! Recording live events into .scap files: everything (`--record`), or from a rule's match on for a while (`capture`).
//!
//! A loop encodes its events into a chunk of its own ([`Tap`]) and hands it over when it is full or the ring is empty; one thread
//! brings the chunks of all loops into the order of time and writes. A file begins with the host as /proc shows it then. Invariant:
//! a loop never waits for the disk; events that the queue has no room for are counted. Nothing is encoded while nothing is recorded.

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
/// Events wait this long for older ones of other CPUs.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often what is old enough is written.
const TICK: Duration = Duration::from_millis(250);
/// Events that wait for older ones at most: more of them are written without waiting.
const WAITING: usize = 1 << 20;

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
}

impl Shared {
    fn limited(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        // A list of paths is whole whatever happened to its holder.
        self.limited.lock().unwrap_or_else(PoisonError::into_inner)
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
        let shared =
            Arc::new(Shared { until, lost: AtomicU64::new(0), always: all.is_some(), limited: Mutex::default() });
        let all = all.zip(writer).map(|(path, writer)| File { path: path.to_owned(), writer, bytes: 0 });
        let mut files = Files { all, triggered: None, on_match, root: root.to_owned(), events: 0, made: 0 };
        let thread = {
            let shared = shared.clone();
            thread::Builder::new().name("recorder".into()).spawn(move || {
                files.run(&receiver, &shared);
                files
            })?
        };
        Ok(Recorder { shared, sender, thread })
    }

    /// What one loop needs.
    pub fn tap(&self) -> Tap {
        let (shared, sender) = (self.shared.clone(), self.sender.clone());
        Tap { shared, sender, chunk: Chunk::default(), event: EventBuf::default() }
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

/// A loop's side of the recorder.
pub struct Tap {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    chunk: Chunk,
    event: EventBuf,
}

impl Tap {
    /// One for another loop.
    #[must_use]
    pub fn another(&self) -> Tap {
        let (shared, sender) = (self.shared.clone(), self.sender.clone());
        Tap { shared, sender, chunk: Chunk::default(), event: EventBuf::default() }
    }

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

    /// Hands over what was collected.
    pub fn flush(&mut self) {
        if self.chunk.marks.is_empty() {
            return;
        }
        let room =
            Chunk { bytes: Vec::with_capacity(CHUNK + CHUNK / 4), marks: Vec::with_capacity(self.chunk.marks.len()) };
        let chunk = std::mem::replace(&mut self.chunk, room);
        let count = chunk.marks.len() as u64;
        if self.sender.try_send(Message::Events(chunk)).is_err() {
            self.shared.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.flush();
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
    events: u64,
    made: u64,
}

impl Files {
    fn run(&mut self, receiver: &Receiver<Message>, shared: &Shared) {
        let mut pending: Vec<Pending> = Vec::new();
        let mut begun = false;
        let mut written = Instant::now();
        loop {
            let message = receiver.recv_timeout(TICK);
            match message {
                Ok(Message::Events(chunk)) => hold(chunk, &mut pending),
                Ok(Message::Begin) => {
                    begun = true;
                    self.begin_all();
                }
                Ok(Message::Start { time, number }) => self.start(time, number, shared),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.write_until(u64::MAX, &mut pending, shared);
                    self.all.take().into_iter().for_each(|file| self.close(file));
                    self.triggered.take().into_iter().for_each(|(file, _)| self.close(file));
                    return;
                }
            }
            // What comes before the description of the host would stand before it.
            if begun && pending.len() > WAITING {
                let newest = pending.iter().map(|event| event.time).max().unwrap_or(0);
                self.write_until(newest, &mut pending, shared);
            } else if begun && written.elapsed() >= TICK {
                self.write_until(wall_now().saturating_sub(PATIENCE.as_nanos() as u64), &mut pending, shared);
                written = Instant::now();
            }
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
