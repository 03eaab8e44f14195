//! The tables, and opening the database.

use super::SpoolError;
use crate::hub::store::sqlite::field;
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
", "
    -- When an alert was and how it is labelled: what is counted or put in order among alerts with some words reads no
    -- bodies.
    CREATE TABLE moments (
        seq INTEGER PRIMARY KEY,    -- of alerts
        time INTEGER NOT NULL,
        label INTEGER NOT NULL
    );
    -- Intervals in which alerts are counted when they come, in nanoseconds. Each is a multiple of the next.
    CREATE TABLE widths (width INTEGER PRIMARY KEY);
    INSERT INTO widths VALUES (86400000000000), (21600000000000), (3600000000000);
    CREATE TABLE counts (
        width INTEGER NOT NULL,     -- of widths
        interval INTEGER NOT NULL,  -- the how manieth since 1970; negative before
        label INTEGER NOT NULL,     -- of labels
        alerts INTEGER NOT NULL,    -- how many; the row goes with the last
        PRIMARY KEY (width, interval, label)
    ) WITHOUT ROWID;
    INSERT INTO moments SELECT seq, time, label FROM alerts;
    -- Division rounds towards zero.
    INSERT INTO counts SELECT width, time / width - (time % width < 0), label, count(*) FROM moments, widths GROUP BY 1, 2, 3;
    CREATE TRIGGER alert_counted AFTER INSERT ON alerts BEGIN
        INSERT INTO moments VALUES (new.seq, new.time, new.label);
        INSERT INTO counts SELECT width, new.time / width - (new.time % width < 0), new.label, 1 FROM widths WHERE true
            ON CONFLICT DO UPDATE SET alerts = alerts + 1;
    END;
    CREATE TRIGGER alert_no_longer_counted AFTER DELETE ON alerts BEGIN
        DELETE FROM moments WHERE seq = old.seq;
        UPDATE counts SET alerts = counts.alerts - 1 FROM widths
            WHERE counts.width = widths.width AND label = old.label
            AND interval = old.time / widths.width - (old.time % widths.width < 0);
        DELETE FROM counts WHERE alerts <= 0 AND label = old.label AND (width, interval) IN
            (SELECT width, old.time / width - (old.time % width < 0) FROM widths);
    END;
", "
    -- How far an input is in a broker that does not remember it. Written with the alerts that it took.
    CREATE TABLE positions (
        input TEXT NOT NULL,
        place TEXT NOT NULL,        -- what the broker calls it: topic/partition
        next INTEGER NOT NULL,      -- the first that was not taken
        PRIMARY KEY (input, place)
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
    field::register(&connection).map_err(failed)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_of_an_older_version_are_counted() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("alerts.db");
        let old = Connection::open(&path).expect("opens");
        old.execute_batch(MIGRATIONS[0]).expect("version 1");
        old.pragma_update(None, "user_version", 1).expect("version 1");
        let hour = 3_600_000_000_000_i64;
        for (number, time) in [0, -1, hour, hour, i64::MIN].into_iter().enumerate() {
            let sql = "INSERT INTO alerts (uuid, time, received, label, body) VALUES (?1, ?2, 0, 7, '{}')";
            old.execute(sql, (number.to_string(), time)).expect("kept");
        }
        drop(old);
        let new = open(&path).expect("opens");
        let sql = "SELECT interval, alerts FROM counts WHERE width = ?1 AND label = 7 ORDER BY interval";
        let mut statement = new.prepare(sql).expect("a statement");
        let rows = statement.query_map([hour], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
        let counts: Vec<(i64, i64)> = rows.collect::<Result<_, _>>().expect("rows");
        assert_eq!(counts, [(i64::MIN.div_euclid(hour), 1), (-1, 1), (0, 1), (1, 2)]);
        let moments: i64 = new.query_row("SELECT count(*) FROM moments", [], |row| row.get(0)).expect("a row");
        assert_eq!(moments, 5);
    }
}
