//! The thread that reads containers' files of users, for all loops.
//!
//! A container is met in one process. That may be the runtime's own child on its way into the container, with the host's root still: it
//! is looked at again until it has another, or has had the time for it. The files are looked at again every few seconds, through
//! the same process; when it has ended, through the one that a loop names next. Bounded: containers, entries of all
//! their files, and the time a look may take: a file system that does not answer costs its own container's names.

use super::look::{Found, Stamps, look};
use super::{Entry, Id, Known};
use crate::enrich::users::Users;
use crate::sensor::log::{self, Level};
use hashbrown::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Containers that are known at a time: another takes the place of the one that was not seen for longest. Lines of all their files:
/// the names of the container that brings more stay unknown.
const CONTAINERS: usize = 4096;
const LINES: usize = 1 << 18;
/// The files are looked at again.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same, at the earliest, through another process than before.
const AGAIN: Duration = Duration::from_secs(1);
/// A process that has the host's root may still be on its way: how often it is looked at, and for how long.
const RETRY: Duration = Duration::from_millis(20);
const ON_ITS_WAY: Duration = Duration::from_secs(2);
/// A container none of whose processes was seen for so long is forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// A look that takes longer is given up, with its thread; after so many nothing is read any more.
const PATIENCE: Duration = Duration::from_secs(2);
const LOST_THREADS: usize = 8;

/// A container whose users a loop wants to know, and a process in it.
#[derive(Debug)]
pub struct Want {
    pub container: Id,
    pub pid: i32,
}

/// What has been read, for all loops.
#[derive(Debug, Default)]
struct Published {
    version: AtomicU64,
    known: Mutex<Arc<Known>>,
}

/// A handle of the thread, which ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Reader {
    wants: Sender<Want>,
    published: Arc<Published>,
}

impl Reader {
    /// `host` is where the host's root file system is.
    pub fn start(host: &Path) -> io::Result<Reader> {
        let (sender, wants) = mpsc::channel();
        let published = Arc::new(Published::default());
        let host = Arc::from(host);
        let reader = Reader { wants: sender, published: published.clone() };
        let eye = Eye::open(&host)?;
        let containers = HashMap::new();
        let mut reading = Reading { host, published, containers, eye: Some(eye), lost: 0 };
        thread::Builder::new().name("names".into()).spawn(move || reading.run(&wants))?;
        Ok(reader)
    }

    pub(super) fn ask(&self, want: Want) {
        // Without the thread nothing is known any more than it is.
        let _ = self.wants.send(want);
    }

    /// What has been read, if that is another version.
    pub(super) fn newer(&self, than: u64) -> Option<(u64, Arc<Known>)> {
        if self.published.version.load(Ordering::Acquire) == than {
            return None;
        }
        let known = self.published.known.lock().unwrap_or_else(PoisonError::into_inner);
        Some((self.published.version.load(Ordering::Acquire), known.clone()))
    }
}

/// A container that was asked for.
struct Container {
    pid: i32,
    /// When that process was named.
    named: Instant,
    /// Another is wanted: it has ended.
    gone: bool,
    looked: Instant,
    /// When one of its processes was there last.
    there: Instant,
    /// When it is to be looked at; None for never again.
    due: Option<Instant>,
    stamps: Option<Stamps>,
    entry: Option<Arc<Entry>>,
}

impl Container {
    /// It is not looked at again; returns whether what is known has changed.
    fn give_up(&mut self) -> bool {
        self.due = None;
        let changed = self.entry.is_none();
        self.entry.get_or_insert_with(nobody).adrift.store(false, Ordering::Relaxed);
        changed
    }
}

/// What is known of a container whose files tell nothing.
fn nobody() -> Arc<Entry> {
    Arc::new(Entry { users: Some(Users::none()), adrift: AtomicBool::new(false) })
}

struct Reading {
    host: Arc<Path>,
    published: Arc<Published>,
    containers: HashMap<Id, Container>,
    /// None once too many were lost.
    eye: Option<Eye>,
    lost: usize,
}

impl Reading {
    fn run(&mut self, wants: &Receiver<Want>) {
        loop {
            let next = self.containers.values().filter_map(|container| container.due).min();
            let pause = next.map_or(FORGET, |due| due.saturating_duration_since(Instant::now()));
            match wants.recv_timeout(pause) {
                Ok(want) => self.want(want),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(want) = wants.try_recv() {
                self.want(want);
            }
            let now = Instant::now();
            let due = |(_, container): &(&Id, &Container)| container.due.is_some_and(|due| due <= now);
            let due: Vec<Id> = self.containers.iter().filter(due).map(|(id, _)| id.clone()).collect();
            let mut changed = false;
            for id in due {
                changed |= self.look(&id, now);
            }
            if changed {
                self.publish();
            }
        }
    }

    fn want(&mut self, want: Want) {
        let now = Instant::now();
        let Want { container: id, pid } = want;
        if let Some(container) = self.containers.get_mut(&id) {
            let lacks = |entry: &Arc<Entry>| entry.adrift.load(Ordering::Relaxed);
            let lacks_one = container.gone || container.entry.as_ref().is_some_and(lacks);
            if lacks_one && container.pid != pid {
                (container.pid, container.named, container.gone) = (pid, now, false);
                let soon = if container.entry.is_some() { container.looked + AGAIN } else { now };
                container.due = container.due.map(|due| due.min(soon));
            }
            return;
        }
        if self.containers.len() >= CONTAINERS {
            let oldest = self.containers.iter().min_by_key(|(_, container)| container.there).map(|(id, _)| id.clone());
            oldest.iter().for_each(|id| drop(self.containers.remove(id)));
        }
        let (gone, due) = (false, Some(now));
        let container = Container { pid, named: now, gone, looked: now, there: now, due, stamps: None, entry: None };
        self.containers.insert(id, container);
    }

    /// Looks at a container; returns whether what is known has changed.
    fn look(&mut self, id: &Id, now: Instant) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return false };
        let found = self.eye.as_ref().map(|eye| eye.look(id, container.pid, container.stamps));
        let found = match found {
            Some(Some(found)) => found,
            // Nothing more can be found out.
            None => return container.give_up(),
            Some(None) => {
                let changed = container.give_up();
                self.lost += 1;
                let sentence = "does not answer: the names of its users are not known";
                let id = String::from_utf8_lossy(id);
                log::write(Level::Warning, format_args!("/etc of container {id} {sentence}"));
                self.eye = if self.lost < LOST_THREADS { Eye::open(&self.host).ok() } else { None };
                if self.eye.is_none() {
                    let sentence = "users of containers that are met from now on have no names";
                    log::write(Level::Error, format_args!("{} containers did not answer: {sentence}", self.lost));
                }
                return changed;
            }
        };
        (container.looked, container.due) = (now, Some(now + INTERVAL));
        container.gone = matches!(found, Found::Gone);
        if !matches!(found, Found::Gone) {
            container.there = now;
        }
        let adrift = matches!(found, Found::Gone | Found::HostsRoot);
        container.entry.iter().for_each(|entry| entry.adrift.store(adrift, Ordering::Relaxed));
        match found {
            Found::Same => false,
            Found::Gone if now.saturating_duration_since(container.there) >= FORGET => {
                self.containers.remove(id).is_some_and(|container| container.entry.is_some())
            }
            Found::Gone => false,
            Found::HostsRoot if container.entry.is_some() => false,
            Found::HostsRoot if now.saturating_duration_since(container.named) < ON_ITS_WAY => {
                container.due = Some(now + RETRY);
                false
            }
            Found::HostsRoot => {
                container.entry = Some(Arc::new(Entry { users: None, adrift: AtomicBool::new(true) }));
                true
            }
            Found::Read(stamps, users) => {
                let entry = Some(Arc::new(Entry { users: Some(*users), adrift: AtomicBool::new(false) }));
                (container.stamps, container.entry) = (Some(stamps), entry);
                self.keep_within_bounds(id);
                true
            }
        }
    }

    /// A container whose files make too many entries of all has none.
    fn keep_within_bounds(&mut self, id: &Id) {
        let listed = |container: &Container| {
            let users = container.entry.as_ref().and_then(|entry| entry.users.as_ref());
            users.map_or(0, Users::listed)
        };
        if self.containers.values().map(listed).sum::<usize>() > LINES
            && let Some(container) = self.containers.get_mut(id)
        {
            container.entry = Some(nobody());
            let id = String::from_utf8_lossy(id);
            let sentence = "has more users than there is room for: their names are not known";
            log::write(Level::Warning, format_args!("container {id} {sentence}"));
        }
    }

    fn publish(&self) {
        let entry = |(id, container): (&Id, &Container)| Some((id.clone(), container.entry.clone()?));
        let known: Arc<Known> = Arc::new(self.containers.iter().filter_map(entry).collect());
        let mut published = self.published.known.lock().unwrap_or_else(PoisonError::into_inner);
        *published = known;
        self.published.version.fetch_add(1, Ordering::Release);
    }
}

type Asked = (Id, i32, Option<Stamps>);

/// The thread that touches the files, so that the other one never hangs in them.
struct Eye {
    asked: Sender<Asked>,
    found: Receiver<Found>,
}

impl Eye {
    fn open(host: &Arc<Path>) -> io::Result<Eye> {
        let (asked, to_do) = mpsc::channel::<Asked>();
        let (done, found) = mpsc::channel();
        let host = host.clone();
        thread::Builder::new().name("names-files".into()).spawn(move || {
            while let Ok((container, pid, known)) = to_do.recv() {
                if done.send(look(&host, &container, pid, known.as_ref())).is_err() {
                    return;
                }
            }
        })?;
        Ok(Eye { asked, found })
    }

    /// None when there is no answer in time: this one is not to be asked again.
    fn look(&self, container: &Id, pid: i32, known: Option<Stamps>) -> Option<Found> {
        self.asked.send((container.clone(), pid, known)).ok()?;
        self.found.recv_timeout(PATIENCE).ok()
    }
}
