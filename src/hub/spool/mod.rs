//! The spool: every accepted alert on disk, the cursor of every output, what could not be delivered.
//!
//! One SQLite database in WAL mode with `synchronous=FULL`: [`Spool::append`] returns after the commit was flushed to
//! the disk. One thread writes; what waits at the same time shares a commit. Readers have connections of their own.
//!
//! Invariants: an alert that `append` confirmed survives any crash; an alert is removed only when every output that is
//! configured has settled it; when the size is reached and nothing may be removed, `append` refuses.

mod schema;
pub mod users;
mod writer;

use crate::hub::alert::{self, Alert};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};

/// Number of an alert in the order of arrival, from 1.
pub type Seq = i64;

/// Milliseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{}: {error}", path.display())]
    Open { path: PathBuf, error: rusqlite::Error },
    #[error("{}: cannot be made: {error}", path.display())]
    Directory { path: PathBuf, error: std::io::Error },
    #[error("{}: written by a newer version (schema {found}, this one knows {known})", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the spool is full: alerts wait for outputs that do not take them, and hub.maxsize is reached")]
    Full,
    #[error("it could not be written to the disk; the log says why")]
    NotWritten,
    #[error("the hub is stopping")]
    Closed,
}

/// What bounds the spool.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the database in use.
    pub size: i64,
    /// Age at which settled alerts go; zero keeps them.
    pub retention: Duration,
    /// The outputs whose cursors protect alerts.
    pub outputs: Vec<String>,
}

/// Counters of the spool, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    pub latest: Seq,
    /// Bytes of the database in use.
    pub used: i64,
    /// Alerts removed because every output had settled them.
    pub removed: u64,
    /// Of those, dead letters: an output never got them.
    pub dead_letters_removed: u64,
    pub full: bool,
}

/// An alert that an output did not take yet, aside of the cursor.
#[derive(Clone, Debug)]
pub struct Held {
    pub seq: Seq,
    pub attempts: u32,
    /// When the alert was received, in milliseconds since 1970.
    pub received: i64,
    pub alert: Arc<Alert>,
}

/// A dead letter.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DeadLetter {
    pub output: String,
    pub seq: Seq,
    pub uuid: String,
    pub rule: String,
    pub attempts: u32,
    pub error: String,
}

/// An alert with its number and when it was received, in milliseconds since 1970.
#[derive(Clone, Debug)]
pub struct Stored {
    pub seq: Seq,
    pub received: i64,
    pub alert: Arc<Alert>,
}

/// How an output stands to an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub output: String,
    /// Up to there everything is settled.
    pub cursor: Seq,
    /// Alerts up to there were never for the output.
    pub start: Seq,
    pub held: Option<HeldState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldState {
    pub attempts: i64,
    /// Milliseconds since 1970.
    pub due: i64,
    pub dead: bool,
    pub error: String,
}

/// How far an input is in a broker that does not remember it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub input: String,
    pub place: String,
    /// The first that was not taken.
    pub next: i64,
}

type Write = Box<dyn FnOnce(&Connection) -> rusqlite::Result<usize> + Send>;
type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

enum Command {
    Append {
        alerts: Vec<Arc<Alert>>,
        positions: Vec<Position>,
        reply: Reply<Vec<usize>>,
    },
    /// The output has settled everything up to there, `held` aside.
    Cursor {
        output: String,
        seq: Seq,
    },
    /// Tried without success; due again at that time, or never when dead.
    Hold {
        output: String,
        seq: Seq,
        attempts: u32,
        due: Option<i64>,
        error: String,
        reply: Reply<()>,
    },
    /// Delivered after all.
    Release {
        output: String,
        seq: Seq,
    },
    /// Dead letters of an output are due again at once.
    Revive(String, Reply<usize>),
    /// Changes rows that no cursor depends on; says how many.
    Write(Write, Reply<usize>),
    /// Answers when everything before it is on disk.
    Flush(Reply<()>),
    /// Nothing to write: a chance to remove what is too old.
    Tidy,
}

/// Alerts kept in memory for outputs that are not behind.
const RECENT: usize = 1024;
/// Commands that wait for the writer; who comes later waits to be let in.
const COMMANDS: usize = 4096;

pub struct Spool {
    path: PathBuf,
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    recent: Arc<Mutex<VecDeque<Stored>>>,
    readers: Mutex<Vec<Connection>>,
}

impl Spool {
    /// Opens the database in `directory`, making both if needed.
    pub fn open(directory: &Path, limits: Limits) -> Result<Arc<Spool>, SpoolError> {
        std::fs::create_dir_all(directory)
            .map_err(|error| SpoolError::Directory { path: directory.to_owned(), error })?;
        let path = directory.join("alerts.db");
        let connection = schema::open(&path)?;
        let recent = Arc::new(Mutex::new(VecDeque::new()));
        let (commands, incoming) = mpsc::channel(COMMANDS);
        let (publish, state) = watch::channel(State::default());
        let writer = writer::Writer::new(connection, limits, recent.clone(), publish)?;
        std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run(incoming))
            .map_err(|error| SpoolError::Directory { path: path.clone(), error })?;
        let waker = commands.downgrade();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(writer::HOUSEKEEPING).await;
                let Some(commands) = waker.upgrade() else { return };
                if commands.send(Command::Tidy).await.is_err() {
                    return;
                }
            }
        });
        Ok(Arc::new(Spool { path, commands, state, recent, readers: Mutex::default() }))
    }

    /// Changes with every commit.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SpoolError::Closed)?;
        answer.await.map_err(|_| SpoolError::NotWritten)?
    }

    /// Keeps alerts, all or none. They are on disk when this returns. Those whose uuid the database has already are not kept
    /// again: which of `alerts` these are is returned.
    pub async fn append(&self, alerts: Vec<Arc<Alert>>) -> Result<Vec<usize>, SpoolError> {
        self.append_from(alerts, Vec::new()).await
    }

    /// The same, and where the input is that took them: both or neither are on disk.
    pub async fn append_from(
        &self,
        alerts: Vec<Arc<Alert>>,
        positions: Vec<Position>,
    ) -> Result<Vec<usize>, SpoolError> {
        self.ask(|reply| Command::Append { alerts, positions, reply }).await
    }

    /// Where an input is, by place.
    pub async fn positions(self: &Arc<Self>, input: &str) -> Result<BTreeMap<String, i64>, SpoolError> {
        let input = input.to_owned();
        self.with_reader(move |connection| {
            let mut statement = connection.prepare_cached("SELECT place, next FROM positions WHERE input = ?1")?;
            let rows = statement.query_map([input], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Alerts after `after`, in order.
    pub async fn read(self: &Arc<Self>, after: Seq, limit: usize) -> Result<Vec<Stored>, SpoolError> {
        {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if recent.front().is_some_and(|first| first.seq <= after + 1) {
                let start = recent.partition_point(|stored| stored.seq <= after);
                return Ok(recent.iter().skip(start).take(limit).cloned().collect());
            }
        }
        self.with_reader(move |connection| {
            let sql = "SELECT seq, received, body FROM alerts WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![after, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
            rows.map(|row| {
                let (seq, received, body) = row?;
                Ok(Stored { seq, received, alert: stored_alert(seq, &body) })
            })
            .collect()
        })
        .await
    }

    /// Where an output is. One that is new starts at what comes next.
    pub async fn cursor(self: &Arc<Self>, output: &str) -> Result<Seq, SpoolError> {
        let name = output.to_owned();
        let found = self
            .with_reader(move |connection| {
                let sql = "SELECT seq FROM cursors WHERE output = ?1";
                Ok(connection.query_row(sql, [name], |row| row.get(0)).optional()?)
            })
            .await?;
        match found {
            Some(seq) => Ok(seq),
            None => {
                let seq = self.state.borrow().latest;
                self.set_cursor(output, seq).await?;
                self.ask(Command::Flush).await?;
                Ok(seq)
            }
        }
    }

    /// An output that is new is to get everything that is kept, not only what comes next.
    pub async fn from_the_first(self: &Arc<Self>, output: &str) -> Result<(), SpoolError> {
        let name = output.to_owned();
        self.write(move |connection| {
            connection.execute("INSERT OR IGNORE INTO cursors (output, seq, start) VALUES (?1, 0, 0)", [name])
        })
        .await
        .map(drop)
    }

    pub async fn set_cursor(&self, output: &str, seq: Seq) -> Result<(), SpoolError> {
        let command = Command::Cursor { output: output.to_owned(), seq };
        self.commands.send(command).await.map_err(|_| SpoolError::Closed)
    }

    /// Puts an alert aside, to be tried again at `due`; `None` makes it a dead letter. It is on disk when this returns.
    pub async fn hold(
        &self,
        output: &str,
        seq: Seq,
        attempts: u32,
        due: Option<i64>,
        error: &str,
    ) -> Result<(), SpoolError> {
        let (output, error) = (output.to_owned(), error.to_owned());
        self.ask(|reply| Command::Hold { output, seq, attempts, due, error, reply }).await
    }

    /// An alert that was put aside is delivered.
    pub async fn release(&self, output: &str, seq: Seq) -> Result<(), SpoolError> {
        let command = Command::Release { output: output.to_owned(), seq };
        self.commands.send(command).await.map_err(|_| SpoolError::Closed)
    }

    /// Alerts put aside for `output` that are due before `time` and not among `except`.
    pub async fn held(
        self: &Arc<Self>,
        output: &str,
        time: i64,
        except: Vec<Seq>,
        limit: usize,
    ) -> Result<Vec<Held>, SpoolError> {
        let output = output.to_owned();
        self.with_reader(move |connection| {
            let sql = "SELECT held.seq, attempts, received, body FROM held JOIN alerts USING (seq) \
                       WHERE held.output = ?1 AND NOT dead AND due <= ?2 ORDER BY due LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![output, time, limit + except.len()])?;
            let mut held = Vec::new();
            while let Some(row) = rows.next()? {
                let seq = row.get(0)?;
                if !except.contains(&seq) && held.len() < limit {
                    let body: String = row.get(3)?;
                    let alert = stored_alert(seq, &body);
                    held.push(Held { seq, attempts: row.get(1)?, received: row.get(2)?, alert });
                }
            }
            Ok(held)
        })
        .await
    }

    /// Outputs that were configured once and are not any more, and how many alerts each has not got.
    pub async fn forsaken(self: &Arc<Self>, configured: Vec<String>) -> Result<Vec<(String, i64)>, SpoolError> {
        self.with_reader(move |connection| {
            let sql = "SELECT output, (SELECT count(*) FROM alerts WHERE alerts.seq > cursors.seq) + \
                       (SELECT count(*) FROM held WHERE held.output = cursors.output) FROM cursors";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let rows: Vec<(String, i64)> = rows.collect::<Result<_, _>>()?;
            Ok(rows.into_iter().filter(|(output, number)| *number > 0 && !configured.contains(output)).collect())
        })
        .await
    }

    /// How many alerts of an output are put aside, and how many are dead letters.
    pub async fn held_count(self: &Arc<Self>, output: &str) -> Result<(i64, i64), SpoolError> {
        let output = output.to_owned();
        self.with_reader(move |connection| {
            let sql = "SELECT count(*) FILTER (WHERE NOT dead), count(*) FILTER (WHERE dead) FROM held \
                       WHERE output = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([output], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
    }

    /// When the first alert after `seq` was received; nothing when there is none.
    pub async fn received_after(self: &Arc<Self>, seq: Seq) -> Result<Option<i64>, SpoolError> {
        self.with_reader(move |connection| {
            let sql = "SELECT received FROM alerts WHERE seq > ?1 ORDER BY seq LIMIT 1";
            Ok(connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?)
        })
        .await
    }

    pub async fn dead_letters(self: &Arc<Self>, limit: usize) -> Result<Vec<DeadLetter>, SpoolError> {
        self.with_reader(move |connection| {
            let sql = "SELECT held.output, held.seq, uuid, rule, attempts, error FROM held JOIN alerts USING (seq) \
                       JOIN labels ON labels.id = label WHERE dead ORDER BY held.seq LIMIT ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([limit], |row| {
                Ok(DeadLetter {
                    output: row.get(0)?,
                    seq: row.get(1)?,
                    uuid: row.get(2)?,
                    rule: row.get(3)?,
                    attempts: row.get(4)?,
                    error: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Dead letters of an output are tried again. Returns how many.
    pub async fn revive(&self, output: &str) -> Result<usize, SpoolError> {
        let output = output.to_owned();
        self.ask(|reply| Command::Revive(output, reply)).await
    }

    /// Changes rows that no cursor depends on: users, acknowledgements, what is deleted. Returns how many.
    pub async fn write(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<usize> + Send + 'static,
    ) -> Result<usize, SpoolError> {
        self.ask(|reply| Command::Write(Box::new(change), reply)).await
    }

    /// The number of an alert that is still here.
    pub async fn seq_of(self: &Arc<Self>, uuid: &str) -> Result<Option<Seq>, SpoolError> {
        let uuid = uuid.to_owned();
        self.with_reader(move |connection| {
            let sql = "SELECT seq FROM alerts WHERE uuid = ?1";
            Ok(connection.prepare_cached(sql)?.query_row([uuid], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// How every output that ever had a cursor stands to an alert.
    pub async fn deliveries(self: &Arc<Self>, seq: Seq) -> Result<Vec<Delivery>, SpoolError> {
        self.with_reader(move |connection| {
            let sql = "SELECT cursors.output, cursors.seq, start, attempts, due, dead, error FROM cursors \
                       LEFT JOIN held ON held.output = cursors.output AND held.seq = ?1 ORDER BY cursors.output";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![seq], |row| {
                let held = match row.get::<_, Option<i64>>(3)? {
                    Some(attempts) => {
                        Some(HeldState { attempts, due: row.get(4)?, dead: row.get(5)?, error: row.get(6)? })
                    }
                    None => None,
                };
                Ok(Delivery { output: row.get(0)?, cursor: row.get(1)?, start: row.get(2)?, held })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Returns when everything that was asked for is on disk.
    pub async fn flush(&self) -> Result<(), SpoolError> {
        self.ask(Command::Flush).await
    }

    /// Runs `work` on a connection that reads, outside of the runtime's threads.
    pub async fn with_reader<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let spool = self.clone();
        let joined = tokio::task::spawn_blocking(move || {
            let idle = spool.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => schema::reader(&spool.path)?,
            };
            let result = work(&connection);
            spool.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        joined.await.map_err(|_| SpoolError::Closed)?
    }
}

/// What was written as an alert can be read as one; if the file was damaged, the number is all there is.
fn stored_alert(seq: Seq, body: &str) -> Arc<Alert> {
    let read = alert::first_value(body.as_bytes()).and_then(|value| alert::decode(&value));
    Arc::new(read.unwrap_or_else(|error| {
        tracing::error!(seq, %error, "an alert in the database cannot be read");
        Alert { output: format!("alert {seq} cannot be read: {error}"), ..Alert::test() }
    }))
}

#[cfg(test)]
mod tests;
