//! Redis: the list that the output `redis` fills.
//!
//! An element is moved to a list of this input's own and removed from there when it is kept: who dies between leaves it there, and it is
//! taken when the input connects again. That list must be nobody else's.

use super::kind::{Context, Kind, Take, Taken, WAIT};
use crate::hub::broker::redis as server;
use crate::hub::config::hub_name;
use crate::hub::config::keys::Key;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Direction, RedisResult};
use std::collections::BTreeMap;
use std::time::Duration;

pub const KIND: Kind = Kind {
    name: "redis",
    label: "Redis",
    meaning: "A list (Redis 6.2 or newer), from its beginning: each element is moved to a list of this hub's (LMOVE) and removed \
              from there (LREM) when it is kept.",
    required: &["address"],
    keys: &[
        server::CONNECTION,
        &[
            Key::text("key", "falco", "name of the list"),
            Key::text(
                "processing",
                "",
                "name of this hub's list of what it took, which must be nobody else's; KEY:HUB:NAME when empty, of hub.name (or \
                 the host's) and the input's name",
            ),
        ],
    ],
    make,
};

/// Elements that are asked for together.
const TOGETHER: usize = 64;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

struct Redis {
    client: Client,
    key: String,
    processing: String,
    connection: Option<MultiplexedConnection>,
    /// What a connection before this one left may be in the list.
    left: bool,
    /// What was taken last.
    taken: Vec<Vec<u8>>,
}

fn make(context: &Context) -> Result<Box<dyn Take>, String> {
    let settings = context.settings;
    let key = settings.text("key").to_owned();
    let processing = match settings.text("processing") {
        "" => format!("{key}:{}:{}", hub_name(context.core)?, context.name),
        name => name.to_owned(),
    };
    if processing == key {
        return Err(format!("processing: '{key}' is the list itself (key)"));
    }
    let client = server::client(settings, context.tls)?;
    Ok(Box::new(Redis { client, key, processing, connection: None, left: true, taken: Vec::new() }))
}

impl Redis {
    fn moved(&self) -> Cmd {
        Cmd::lmove(&self.key, &self.processing, Direction::Left, Direction::Right)
    }

    async fn elements(&mut self) -> RedisResult<Vec<Vec<u8>>> {
        // Without one the caller would not be here.
        let Some(mut connection) = self.connection.clone() else { return Ok(Vec::new()) };
        if self.left {
            let last = isize::try_from(TOGETHER).unwrap_or(isize::MAX) - 1;
            let found: Vec<_> = Cmd::lrange(&self.processing, 0, last).query_async(&mut connection).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            self.left = false;
        }
        let (mut found, mut bytes) = (Taken::default(), 0);
        while !found.full(bytes) {
            let mut pipeline = redis::pipe();
            for _ in 0..TOGETHER {
                pipeline.add_command(self.moved());
            }
            let answers: Vec<Option<Vec<u8>>> = pipeline.query_async(&mut connection).await?;
            let before = found.bodies.len();
            found.bodies.extend(answers.into_iter().flatten());
            bytes += found.bodies[before..].iter().map(Vec::len).sum::<usize>();
            if found.bodies.len() - before < TOGETHER {
                break;
            }
        }
        if found.bodies.is_empty() {
            let (left, right) = (Direction::Left, Direction::Right);
            let waited = Cmd::blmove(&self.key, &self.processing, left, right, WAIT.as_secs_f64());
            found.bodies.extend(waited.query_async::<Option<Vec<u8>>>(&mut connection).await?);
        }
        Ok(found.bodies)
    }
}

#[async_trait::async_trait]
impl Take for Redis {
    async fn connect(&mut self, _: &BTreeMap<String, i64>) -> Result<(), String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        (self.left, self.connection) = (true, Some(made.map_err(|error| error.to_string())?));
        Ok(())
    }

    async fn take(&mut self) -> Result<Taken, String> {
        self.taken = self.elements().await.map_err(|error| error.to_string())?;
        Ok(Taken { bodies: self.taken.clone(), positions: Vec::new() })
    }

    async fn settle(&mut self) -> Result<(), String> {
        let Some(connection) = &mut self.connection else { return Err("the connection is closed".to_owned()) };
        let mut pipeline = redis::pipe();
        for element in &self.taken {
            // They are the first there.
            pipeline.lrem(&self.processing, 1, element).ignore();
        }
        pipeline.query_async::<()>(connection).await.map_err(|error| error.to_string())?;
        self.taken.clear();
        Ok(())
    }

    async fn leave(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // The last goes back first, so that the order stays.
        let mut pipeline = redis::pipe();
        for _ in std::mem::take(&mut self.taken) {
            pipeline.lmove(&self.processing, &self.key, Direction::Right, Direction::Left).ignore();
        }
        if !pipeline.is_empty() {
            // What stays is taken at the next start.
            let _ = pipeline.query_async::<()>(&mut connection).await;
        }
    }
}
