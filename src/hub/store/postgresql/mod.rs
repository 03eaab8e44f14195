//! The store that several hubs share, in a schema of its own of a PostgreSQL database.
//!
//! What a hub's spool keeps is brought there by the machinery of outputs ([`fill`]): with a cursor of its own, after the
//! alert was answered, again and again while the server cannot be reached. It is there once, by its `uuid`. Who asks
//! ([`query`]) waits for the server, up to `hub.timeout`. [`schema`] makes the tables, [`write`] is the only one who
//! changes them. Invariants: whoever adds or removes alerts holds one lock of the database until the commit, so that
//! numbers become visible in their order, and the sums in `labels` are right; every value goes into a statement as a
//! parameter; a connection on which something failed is not used again.

mod fill;
mod query;
mod schema;
mod write;

use super::words::Tokenizer;
use super::{Seq, State, StoreError};
use crate::hub::causes::causes;
use crate::hub::config::{Section, hub_name};
use crate::hub::postgresql::Server;
use crate::hub::spool::Spool;
use crate::hub::tls::Tls;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// What the store is called among the outputs: its cursor, its metrics. No instance can have this name.
pub const NAME: &str = "hub.postgresql";

/// Connections of a hub: of those who ask, and of those who change something.
const READING: usize = 6;
const WRITING: usize = 2;

/// Whether there is one.
pub fn is_configured(core: &Section) -> bool {
    !core.text("hub.postgresql.host").is_empty()
}

/// What the configuration says.
pub struct Settings {
    server: Server,
    /// What this hub is called.
    hub: String,
    timeout: Duration,
    /// Bytes, as [`write`] counts them.
    size: i64,
    /// Zero keeps everything.
    retention: Duration,
}

impl Settings {
    /// Nothing where no server is configured; an error says which key is wrong.
    pub fn new(core: &Section, tls: &Tls) -> Result<Option<Settings>, String> {
        if !is_configured(core) {
            return Ok(None);
        }
        Ok(Some(Settings {
            server: Server::new(core, "hub.postgresql.", tls)?,
            hub: cleaned(&hub_name(core)?),
            timeout: core.duration("hub.timeout").max(Duration::from_secs(1)),
            size: core.int("hub.postgresql.maxsize").max(1),
            retention: core.duration("hub.postgresql.retention"),
        }))
    }
}

pub struct PostgreSql {
    settings: Settings,
    spool: Arc<Spool>,
    tokenizer: Arc<Tokenizer>,
    idle: Mutex<Vec<Client>>,
    reading: Semaphore,
    writing: Semaphore,
    state: watch::Sender<State>,
}

impl PostgreSql {
    /// Nothing is asked of the server yet.
    pub fn new(settings: Settings, spool: Arc<Spool>) -> Result<PostgreSql, StoreError> {
        let tokenizer = Tokenizer::new().map_err(|error| StoreError::Spool(error.into()))?;
        Ok(PostgreSql {
            settings,
            spool,
            tokenizer: Arc::new(tokenizer),
            idle: Mutex::default(),
            reading: Semaphore::new(READING),
            writing: Semaphore::new(WRITING),
            state: watch::Sender::new(State::default()),
        })
    }

    /// Where the server is, for messages.
    pub fn server(&self) -> &str {
        &self.settings.server.name
    }

    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The number of the newest alert.
    pub async fn latest(&self) -> Result<Seq, StoreError> {
        let rows = self.rows("SELECT coalesce(max(seq), 0) FROM alerts", &[]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    fn failed(&self, what: String) -> StoreError {
        StoreError::Shared { server: self.settings.server.name.clone(), what }
    }

    fn refused(&self, error: &tokio_postgres::Error) -> StoreError {
        self.failed(match error.code() {
            Some(code) if *code == SqlState::QUERY_CANCELED => {
                format!("it took longer than {:?} (hub.timeout)", self.settings.timeout)
            }
            _ => causes(error),
        })
    }

    /// A connection, which is `give`n back when all went well with it.
    async fn take<'s>(&'s self, of: &'s Semaphore) -> Result<(Client, SemaphorePermit<'s>), StoreError> {
        let permit = of.acquire().await.map_err(|_| StoreError::Stopping)?;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(client) if client.is_closed() => {}
                Some(client) => return Ok((client, permit)),
                None => break,
            }
        }
        let mut client = self.settings.server.connect().await.map_err(|what| self.failed(what))?;
        // Tables of many alerts take longer to change than a question may take: that goes on when whoever asked has gone.
        let timeout = self.settings.timeout;
        let prepared = tokio::spawn(async move { schema::prepare(&mut client, timeout).await.map(|()| client) });
        let client = prepared.await.map_err(|_| StoreError::Stopping)?.map_err(|what| self.failed(what))?;
        Ok((client, permit))
    }

    fn give(&self, client: Client) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let timeout = self.settings.timeout;
        match tokio::time::timeout(timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(self.failed(format!("no answer within {timeout:?} (hub.timeout)"))),
        }
    }

    /// The answer to one question.
    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        self.within(async {
            let (client, _permit) = self.take(&self.reading).await?;
            let rows = client.query(sql, values).await.map_err(|error| self.refused(&error))?;
            self.give(client);
            Ok(rows)
        })
        .await
    }
}

/// PostgreSQL's texts have no character zero.
fn cleaned(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
