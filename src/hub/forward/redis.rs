//! Redis: alerts at the end of a list, or in a hash by their uuid.

use super::{Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::broker::redis as redis_server;
use crate::hub::config::keys::{Key, Type};
use redis::Client;
use redis::aio::MultiplexedConnection;
use std::sync::Arc;
use tokio::sync::Mutex;

pub const KIND: Kind = Kind {
    section: "redis",
    label: "Redis",
    destination: "redis",
    category: "database",
    meaning: "Each alert as JSON, pushed to a list (RPUSH) or set in a hash (HSET, by uuid).",
    required: &["address"],
    keys: &[
        redis_server::CONNECTION,
        &[
            Key::new("storagetype", Type::Choice(&["list", "hashmap"]), "list", "list or hashmap"),
            Key::text("key", "falco", "name of the list or the hash"),
        ],
    ],
    shared: &[],
    work: Work::Forward(make),
};

struct Redis {
    client: Client,
    key: String,
    hash: bool,
    connection: Mutex<Option<MultiplexedConnection>>,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    Ok(Box::new(Redis {
        client: redis_server::client(settings, context.tls)?,
        key: settings.text("key").to_owned(),
        hash: settings.text("storagetype") == "hashmap",
        connection: Mutex::new(None),
    }))
}

impl Redis {
    /// The connection, which is taken away: who could use it puts it back.
    async fn connection(&self, kept: &mut Option<MultiplexedConnection>) -> redis::RedisResult<MultiplexedConnection> {
        match kept.take() {
            Some(connection) => Ok(connection),
            None => self.client.get_multiplexed_async_connection().await,
        }
    }

    async fn ping(&self) -> redis::RedisResult<()> {
        let mut kept = self.connection.lock().await;
        let mut connection = self.connection(&mut kept).await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        *kept = Some(connection);
        Ok(())
    }

    async fn write(&self, alerts: &[Arc<Alert>]) -> redis::RedisResult<()> {
        let mut pipeline = redis::pipe();
        for alert in alerts {
            if self.hash {
                pipeline.hset(&self.key, &alert.uuid, alert.line()).ignore();
            } else {
                pipeline.rpush(&self.key, alert.line()).ignore();
            }
        }
        let mut kept = self.connection.lock().await;
        let mut connection = self.connection(&mut kept).await?;
        pipeline.query_async::<()>(&mut connection).await?;
        *kept = Some(connection);
        Ok(())
    }
}

#[async_trait::async_trait]
impl Forward for Redis {
    fn batch(&self) -> super::Batch {
        super::Batch { alerts: 64, bytes: 1 << 20, linger: std::time::Duration::ZERO }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        Some(self.ping().await.map_err(Failure::down))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        // What Redis refuses (wrong password, wrong type of key, out of memory) it refuses of every alert.
        all(alerts, self.write(alerts).await.map_err(Failure::down))
    }
}
