//! The tables of a shared store, and what a connection is told before it is used.
//!
//! Invariant: hubs that start together, or one that is upgraded before the others, find either no tables or whole ones.

use crate::hub::causes::causes;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Held until the commit by whoever makes tables, adds or removes alerts: "falcohub".
pub const LOCK: i64 = 0x6661_6c63_6f68_7562;

/// INCLUDE in an index, and the form of sequences.
const SERVER_MIN: i32 = 11;

/// Statements that lead from version n to n + 1. What is released is never edited, only added to. Texts are compared byte
/// by byte, as SQLite does.
const MIGRATIONS: &[&str] = &[
    r#"
    -- What alerts are counted by. Many alerts share a row, so that counting reads little.
    CREATE TABLE labels (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key bytea NOT NULL UNIQUE,          -- of all that follows up to tags, as an index bounds what it holds
        priority smallint NOT NULL,         -- 1 debug .. 8 emergency
        rule text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        hostname text COLLATE "C" NOT NULL,
        tags text[] COLLATE "C" NOT NULL,
        alerts bigint NOT NULL,             -- how many have it; the row goes with the last
        bytes bigint NOT NULL               -- of those
    );
    CREATE INDEX labels_unused ON labels (id) WHERE alerts <= 0;
    CREATE TABLE alerts (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        uuid text COLLATE "C" NOT NULL UNIQUE,
        time bigint NOT NULL,               -- nanoseconds since 1970, as the alert says
        received bigint NOT NULL,           -- milliseconds since 1970, by the hub that received it
        label bigint NOT NULL,              -- of labels
        bytes bigint NOT NULL,
        hub text COLLATE "C" NOT NULL,      -- who received it
        body text COLLATE "C" NOT NULL,     -- the alert as JSON
        words text COLLATE "C" NOT NULL,    -- its words in their order, a space around each
        tokens tsvector NOT NULL,           -- the same as a set, to find candidates
        fields jsonb NOT NULL,              -- fields by name, each as a text
        acknowledged bigint,                -- milliseconds since 1970
        acknowledged_by text COLLATE "C",
        note text COLLATE "C"
    );
    CREATE INDEX alerts_by_time ON alerts (time, seq) INCLUDE (label, acknowledged);
    CREATE INDEX alerts_by_label ON alerts (label, time);
    CREATE INDEX alerts_by_received ON alerts (received);
    CREATE INDEX alerts_by_token ON alerts USING gin (tokens);
    CREATE INDEX alerts_by_field ON alerts USING gin (fields jsonb_path_ops);
    -- What was deleted on a page, so that no hub brings it again that could not note in time that it had.
    CREATE TABLE deleted (
        uuid text COLLATE "C" PRIMARY KEY,
        received bigint NOT NULL
    );
    CREATE INDEX deleted_by_received ON deleted (received);
"#,
    r#"
    -- Intervals in which alerts are counted when they come, in nanoseconds. Each is a multiple of the next.
    CREATE TABLE widths (width bigint PRIMARY KEY);
    INSERT INTO widths VALUES (86400000000000), (21600000000000), (3600000000000);
    CREATE TABLE counts (
        width bigint NOT NULL,              -- of widths
        number bigint NOT NULL,             -- the how manieth interval since 1970; negative before
        label bigint NOT NULL,              -- of labels
        alerts bigint NOT NULL,             -- how many; the row goes with the last
        PRIMARY KEY (width, number, label)
    );
    -- Division rounds towards zero. The wider intervals are made of the narrow ones.
    INSERT INTO counts SELECT 3600000000000, time / 3600000000000 - (time % 3600000000000 < 0)::int, label, count(*)
        FROM alerts GROUP BY 2, 3;
    INSERT INTO counts SELECT wide, number / times - (number % times < 0)::int, label, sum(alerts)
        FROM counts, (VALUES (21600000000000, 6), (86400000000000, 24)) AS wider (wide, times) GROUP BY 1, 2, 3;
"#,
];

/// Tells the session how to behave, and makes or changes the tables where that is needed. Says what an operator can do.
pub async fn prepare(client: &mut Client, timeout: Duration) -> Result<(), String> {
    let milliseconds = timeout.as_millis();
    // A hub that is halted must not keep the lock. What was confirmed must be on disk, whatever the server's default is;
    // more than that is left as it is.
    let session = format!(
        "SET search_path = falco_hub; SET statement_timeout = {milliseconds}; \
         SET idle_in_transaction_session_timeout = {milliseconds}; \
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    );
    client.batch_execute(&session).await.map_err(|error| causes(&error))?;
    match client.query_opt("SELECT max(number) FROM version", &[]).await {
        Ok(row) => {
            let number: i32 = row.and_then(|row| row.get(0)).unwrap_or(0);
            if is_known(number)? { Ok(()) } else { make(client).await }
        }
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => make(client).await,
        Err(error) => Err(causes(&error)),
    }
}

/// Whether the tables are those of this version; an error when they are of a newer one.
fn is_known(number: i32) -> Result<bool, String> {
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if number > known {
        return Err(format!(
            "its tables are those of a newer version ({number}, this one knows {known}): upgrade this hub; until then \
             its alerts wait here"
        ));
    }
    Ok(number == known)
}

async fn make(client: &mut Client) -> Result<(), String> {
    let failed = |error: tokio_postgres::Error| {
        let text = format!("its tables cannot be made: {}", causes(&error));
        if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return format!(
                "{text}; as the database's owner: GRANT CREATE ON DATABASE ... TO ... (hub.postgresql.user)"
            );
        }
        text
    };
    let change = client.transaction().await.map_err(failed)?;
    change.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(failed)?;
    let sql = "SELECT current_setting('server_version_num')::int4 / 10000, current_setting('server_encoding'), \
               EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'falco_hub')";
    let row = change.query_one(sql, &[]).await.map_err(failed)?;
    let (server, encoding, exists): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
    if server < SERVER_MIN {
        return Err(format!("the server is PostgreSQL {server}: it must be {SERVER_MIN} or newer"));
    }
    if encoding != "UTF8" {
        return Err(format!("the database's encoding is {encoding}: make one WITH ENCODING 'UTF8' TEMPLATE template0"));
    }
    // IF NOT EXISTS would ask for the right to make one first.
    if !exists {
        change.batch_execute("CREATE SCHEMA falco_hub").await.map_err(failed)?;
    }
    let sql = "CREATE TABLE IF NOT EXISTS version (number int4 NOT NULL)";
    change.batch_execute(sql).await.map_err(failed)?;
    let row = change.query_one("SELECT coalesce(max(number), 0) FROM version", &[]).await.map_err(failed)?;
    let number: i32 = row.get(0);
    // Another hub may have been first.
    if is_known(number)? {
        return Ok(());
    }
    change.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(failed)?;
    for statements in MIGRATIONS.iter().skip(usize::try_from(number).unwrap_or(0)) {
        change.batch_execute(statements).await.map_err(failed)?;
    }
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    change.execute("DELETE FROM version", &[]).await.map_err(failed)?;
    change.execute("INSERT INTO version (number) VALUES ($1)", &[&known]).await.map_err(failed)?;
    change.commit().await.map_err(failed)
}
