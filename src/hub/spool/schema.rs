//! The tables, and opening the database.

use super::SpoolError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Statements that lead from version n to n + 1. What is released is never edited, only added to.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE alerts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid TEXT NOT NULL UNIQUE,
        time INTEGER NOT NULL,      -- nanoseconds since 1970, as the alert says
        received INTEGER NOT NULL,  -- milliseconds since 1970
        label INTEGER NOT NULL,            -- of labels
        body TEXT NOT NULL,         -- the alert as JSON
        acknowledged INTEGER,       -- milliseconds since 1970
        acknowledged_by TEXT,
        note TEXT
    );
    -- What alerts are counted by. Many alerts share a row, so that counting reads nothing but alerts_by_time.
    CREATE TABLE labels (
        id INTEGER PRIMARY KEY,
        priority INTEGER NOT NULL,  -- 1 debug .. 8 emergency
        rule TEXT NOT NULL,
        source TEXT NOT NULL,
        hostname TEXT NOT NULL,
        tags TEXT NOT NULL,         -- JSON: a sorted list
        alerts INTEGER NOT NULL,    -- how many have it; the row goes with the last
        UNIQUE (rule, hostname, priority, source, tags)
    );
    CREATE INDEX alerts_by_time ON alerts (time, label, acknowledged);
    CREATE INDEX alerts_by_received ON alerts (received);
    CREATE TRIGGER alert_removed AFTER DELETE ON alerts BEGIN
        UPDATE labels SET alerts = alerts - 1 WHERE id = old.label;
        DELETE FROM labels WHERE id = old.label AND alerts <= 0;
        DELETE FROM words WHERE rowid = old.seq;
        DELETE FROM held WHERE seq = old.seq;
    END;
    CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1);
    CREATE TABLE cursors (
        output TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        start INTEGER NOT NULL      -- the output was new then: it was never to get what is before
    ) WITHOUT ROWID;
    CREATE TABLE held (
        output TEXT NOT NULL,
        seq INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        due INTEGER NOT NULL,       -- milliseconds since 1970
        dead INTEGER NOT NULL,      -- 1: a dead letter
        error TEXT NOT NULL,
        PRIMARY KEY (output, seq)
    ) WITHOUT ROWID;
    CREATE INDEX held_by_alert ON held (seq);
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        hash TEXT NOT NULL          -- argon2, in PHC's form
    ) WITHOUT ROWID;
"];

fn pragmas(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Opens the database for writing and brings it to the newest version.
pub fn open(path: &Path) -> Result<Connection, SpoolError> {
    let failed = |error| SpoolError::Open { path: path.to_owned(), error };
    let mut connection = Connection::open(path).map_err(failed)?;
    pragmas(&connection).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // Every commit is flushed to the disk before it is confirmed.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(SpoolError::Newer { path: path.to_owned(), found, known });
    }
    for (version, statements) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        let change = connection.transaction().map_err(failed)?;
        change.execute_batch(statements).map_err(failed)?;
        change.pragma_update(None, "user_version", version as i64 + 1).map_err(failed)?;
        change.commit().map_err(failed)?;
    }
    Ok(connection)
}

/// A connection that cannot write.
pub fn reader(path: &Path) -> Result<Connection, SpoolError> {
    let failed = |error| SpoolError::Open { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    pragmas(&connection).map_err(failed)?;
    Ok(connection)
}
