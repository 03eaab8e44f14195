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
        priority INTEGER NOT NULL,  -- 1 debug .. 8 emergency
        rule TEXT NOT NULL,
        source TEXT NOT NULL,
        hostname TEXT NOT NULL,
        body TEXT NOT NULL,         -- the alert as JSON
        acknowledged INTEGER,       -- milliseconds since 1970
        acknowledged_by TEXT,
        note TEXT
    );
    CREATE INDEX alerts_by_time ON alerts (time, priority, rule, source, hostname);
    CREATE INDEX alerts_by_received ON alerts (received);
    CREATE TABLE tags (tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)) WITHOUT ROWID;
    CREATE INDEX tags_by_alert ON tags (seq);
    CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1);
    CREATE TABLE cursors (output TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
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
