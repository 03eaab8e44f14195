//! The thread that writes.
//!
//! It takes what waits, up to a bound, puts it into one transaction, commits, and only then answers. It also removes
//! alerts when they are too old or too many. Invariant: nobody is answered before the commit.

use super::{Command, Limits, Position, RECENT, Reply, SpoolError, State, Stored, now};
use crate::hub::alert::Alert;
use crate::hub::store::{Label, words};
use rusqlite::{Connection, params};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// The most commands that share a commit.
const BATCH: usize = 512;
/// Alerts removed in one transaction, so that appending never waits long.
const REMOVED_AT_ONCE: i64 = 500;
pub const HOUSEKEEPING: Duration = Duration::from_secs(2);

pub struct Writer {
    connection: Connection,
    limits: Limits,
    recent: Arc<Mutex<VecDeque<Stored>>>,
    publish: watch::Sender<State>,
    state: State,
}

/// An answer that is held back until the commit. One that is dropped says that nothing was written.
type Answer = Box<dyn FnOnce()>;

fn after_commit<T: 'static>(reply: Reply<T>, value: T) -> Answer {
    // Whoever asked may have gone away.
    Box::new(move || drop(reply.send(Ok(value))))
}

impl Writer {
    pub fn new(
        connection: Connection,
        limits: Limits,
        recent: Arc<Mutex<VecDeque<Stored>>>,
        publish: watch::Sender<State>,
    ) -> Result<Writer, SpoolError> {
        // The highest number ever given, which may be of an alert that is gone.
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'alerts'";
        let latest = connection.query_row(sql, [], |row| row.get(0))?;
        // What an output that is no longer configured left aside protects nothing.
        connection.execute_batch("CREATE TEMP TABLE configured (output TEXT PRIMARY KEY) WITHOUT ROWID")?;
        for output in &limits.outputs {
            connection.execute("INSERT OR IGNORE INTO configured (output) VALUES (?1)", [output])?;
        }
        let mut writer = Writer { connection, limits, recent, publish, state: State { latest, ..State::default() } };
        writer.measure()?;
        writer.publish.send_replace(writer.state);
        Ok(writer)
    }

    pub fn run(mut self, mut incoming: mpsc::Receiver<Command>) {
        let mut tidied = Instant::now();
        while let Some(first) = incoming.blocking_recv() {
            let mut commands = vec![first];
            while commands.len() < BATCH
                && let Ok(command) = incoming.try_recv()
            {
                commands.push(command);
            }
            self.commit(commands);
            if tidied.elapsed() >= HOUSEKEEPING || self.state.used > self.limits.size {
                if let Err(error) = self.tidy() {
                    tracing::error!(%error, "old alerts could not be removed");
                }
                tidied = Instant::now();
            }
            self.publish.send_replace(self.state);
        }
    }

    fn commit(&mut self, commands: Vec<Command>) {
        let mut answers: Vec<Answer> = Vec::new();
        let mut appended = Vec::new();
        match self.write(commands, &mut answers, &mut appended) {
            Ok(()) => {
                self.state.latest = appended.last().map_or(self.state.latest, |stored: &Stored| stored.seq);
                let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                recent.extend(appended);
                let surplus = recent.len().saturating_sub(RECENT);
                recent.drain(..surplus);
            }
            Err(error) => {
                tracing::error!(%error, "alerts could not be kept");
                answers.clear();
                // Nothing was written; if this fails too, the next transaction says so.
                let _ = self.connection.execute_batch("ROLLBACK");
            }
        }
        if let Err(error) = self.measure() {
            tracing::error!(%error, "the size of the database is unknown");
        }
        self.publish.send_replace(self.state);
        for answer in answers {
            answer();
        }
    }

    fn write(
        &mut self,
        commands: Vec<Command>,
        answers: &mut Vec<Answer>,
        appended: &mut Vec<Stored>,
    ) -> rusqlite::Result<()> {
        let mut open = false;
        for command in commands {
            match &command {
                Command::Flush(_) | Command::Tidy => {}
                Command::Append { .. } if self.state.full => {}
                _ if !open => {
                    self.connection.execute_batch("BEGIN IMMEDIATE")?;
                    open = true;
                }
                _ => {}
            }
            match command {
                Command::Append { reply, .. } if self.state.full => drop(reply.send(Err(SpoolError::Full))),
                Command::Append { alerts, positions, reply } => {
                    let received = now();
                    let mut repeated = Vec::new();
                    for (i, alert) in alerts.into_iter().enumerate() {
                        match insert(&self.connection, &alert, received)? {
                            Some(seq) => appended.push(Stored { seq, received, alert }),
                            None => repeated.push(i),
                        }
                    }
                    for Position { input, place, next } in positions {
                        let sql = "INSERT INTO positions (input, place, next) VALUES (?1, ?2, ?3) \
                                   ON CONFLICT DO UPDATE SET next = excluded.next";
                        self.connection.prepare_cached(sql)?.execute(params![input, place, next])?;
                    }
                    answers.push(after_commit(reply, repeated));
                }
                Command::Cursor { output, seq } => {
                    let sql = "INSERT INTO cursors (output, seq, start) VALUES (?1, ?2, ?2) \
                               ON CONFLICT DO UPDATE SET seq = excluded.seq";
                    self.connection.prepare_cached(sql)?.execute(params![output, seq])?;
                }
                Command::Hold { output, seq, attempts, due, error, reply } => {
                    let sql = "INSERT OR REPLACE INTO held (output, seq, attempts, due, dead, error) \
                               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                    let row = params![output, seq, attempts, due.unwrap_or(0), due.is_none(), error];
                    self.connection.prepare_cached(sql)?.execute(row)?;
                    answers.push(after_commit(reply, ()));
                }
                Command::Release { output, seq } => {
                    let sql = "DELETE FROM held WHERE output = ?1 AND seq = ?2";
                    self.connection.prepare_cached(sql)?.execute(params![output, seq])?;
                }
                Command::Revive(output, reply) => {
                    let sql = "UPDATE held SET dead = 0, attempts = 0, due = ?2 WHERE output = ?1 AND dead";
                    let number = self.connection.prepare_cached(sql)?.execute(params![output, now()])?;
                    answers.push(after_commit(reply, number));
                }
                Command::Write(change, reply) => {
                    let number = change(&self.connection)?;
                    answers.push(after_commit(reply, number));
                }
                Command::Flush(reply) => answers.push(after_commit(reply, ())),
                Command::Tidy => {}
            }
        }
        if open { self.connection.execute_batch("COMMIT") } else { Ok(()) }
    }

    /// Sets `used` and `full`.
    fn measure(&mut self) -> rusqlite::Result<()> {
        let pragma = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        self.state.used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        self.state.full = self.state.full && self.state.used > self.limits.size;
        Ok(())
    }

    /// The last alert that every output has passed.
    fn settled(&self) -> rusqlite::Result<i64> {
        let mut settled = self.state.latest;
        let mut statement = self.connection.prepare_cached("SELECT seq FROM cursors WHERE output = ?1")?;
        for output in &self.limits.outputs {
            // An output without a cursor has not started: nothing is settled for it.
            let mut rows = statement.query([output])?;
            settled = settled.min(rows.next()?.map_or(Ok(0), |row| row.get(0))?);
        }
        Ok(settled)
    }

    fn tidy(&mut self) -> rusqlite::Result<()> {
        let settled = self.settled()?;
        const NOT_WAITING: &str = "NOT EXISTS (SELECT 1 FROM held JOIN configured USING (output) \
                                   WHERE held.seq = alerts.seq AND NOT dead)";
        const NEVER_HELD: &str = "NOT EXISTS (SELECT 1 FROM held JOIN configured USING (output) \
                                  WHERE held.seq = alerts.seq)";
        if !self.limits.retention.is_zero() {
            let oldest = now() - i64::try_from(self.limits.retention.as_millis()).unwrap_or(i64::MAX);
            let condition = format!("seq <= {settled} AND received < {oldest} AND {NOT_WAITING}");
            while self.remove(&condition)? > 0 {}
        }
        for condition in [NEVER_HELD, NOT_WAITING] {
            let condition = format!("seq <= {settled} AND {condition}");
            while self.state.used > self.limits.size && self.remove(&condition)? > 0 {}
        }
        let full = self.state.used > self.limits.size;
        if full && !self.state.full {
            tracing::error!(
                used = self.state.used,
                limit = self.limits.size,
                "the spool is full of alerts that outputs do not take: new alerts are refused until they do"
            );
        }
        self.state.full = full;
        Ok(())
    }

    /// Removes the oldest alerts that fit `condition`, a bounded number. Returns how many.
    fn remove(&mut self, condition: &str) -> rusqlite::Result<usize> {
        let change = self.connection.transaction()?;
        let sql = format!("SELECT seq FROM alerts WHERE {condition} ORDER BY seq LIMIT {REMOVED_AT_ONCE}");
        let seqs: Vec<i64> = change.prepare_cached(&sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut dead = 0;
        for seq in &seqs {
            dead += change.prepare_cached("DELETE FROM held WHERE seq = ?1")?.execute([seq])?;
            change.prepare_cached("DELETE FROM alerts WHERE seq = ?1")?.execute([seq])?;
        }
        change.commit()?;
        if dead > 0 {
            tracing::warn!(dead, "dead letters were removed with the alerts they are of");
        }
        self.state.removed += seqs.len() as u64;
        self.state.dead_letters_removed += dead as u64;
        self.measure()?;
        Ok(seqs.len())
    }
}

/// Nothing when an alert with this uuid is there.
fn insert(connection: &Connection, alert: &Alert, received: i64) -> rusqlite::Result<Option<i64>> {
    let mut known = connection.prepare_cached("SELECT 1 FROM alerts WHERE uuid = ?1")?;
    if known.exists([&alert.uuid])? {
        return Ok(None);
    }
    let Label { priority, rule, source, hostname, tags } = Label::of(alert);
    let sql = "INSERT INTO labels (priority, rule, source, hostname, tags, alerts) VALUES (?1, ?2, ?3, ?4, ?5, 1) \
               ON CONFLICT DO UPDATE SET alerts = alerts + 1 RETURNING id";
    let tags = serde_json::json!(tags).to_string();
    let label: i64 = connection
        .prepare_cached(sql)?
        .query_row(params![priority as i64, rule, source, hostname, tags], |row| row.get(0))?;
    let sql = "INSERT INTO alerts (uuid, time, received, label, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        alert.uuid,
        alert.time.nanoseconds(),
        received,
        label,
        alert.line(),
    ])?;
    let seq = connection.last_insert_rowid();
    let text = words::text(alert);
    connection.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?.execute(params![seq, text])?;
    Ok(Some(seq))
}
