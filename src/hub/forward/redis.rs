//! Redis: alerts at the end of a list, or in a hash by their uuid.

use super::{Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use crate::hub::tls::Files;
use redis::aio::MultiplexedConnection;
use redis::{Client, ClientTlsConfig, TlsCertificates};
use std::sync::Arc;
use tokio::sync::Mutex;

pub const KIND: Kind = Kind {
    section: "redis",
    label: "Redis",
    destination: "redis",
    category: "database",
    meaning: "Each alert as JSON, pushed to a list (RPUSH) or set in a hash (HSET, by uuid).",
    required: &["address"],
    keys: &[&[
        Key::text("address", "", "host:port"),
        Key::text("username", "", "user (ACL)"),
        Key::secret("password", "password"),
        Key::int("database", "0", "number of the database"),
        Key::new("storagetype", Type::Choice(&["list", "hashmap"]), "list", "list or hashmap"),
        Key::text("key", "falco", "name of the list or the hash"),
        Key::flag("tls", "false", "speak TLS"),
        Key::flag("mutualtls", "false", "present a client certificate"),
        Key::flag("checkcert", "true", "verify the server's certificate"),
        Key::text("certfile", "", "client certificate, where it is not that of mutualtlsclient"),
        Key::text("keyfile", "", "its key"),
        Key::text("cacertfile", "", "authorities of the server"),
    ]],
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
    let address = settings.text("address");
    let (tls, mutual) = (settings.flag("tls") || settings.flag("mutualtls"), settings.flag("mutualtls"));
    let bad = |error: &dyn std::fmt::Display| format!("'{address}' is not an address (host:port): {error}");
    let scheme = if tls { "rediss" } else { "redis" };
    // A URL is where the client reads names and passwords with any characters from.
    let mut url = reqwest::Url::parse(&format!("{scheme}://{address}")).map_err(|error| bad(&error))?;
    let parts = [url.set_username(settings.text("username")), url.set_password(Some(settings.text("password")))];
    if !settings.text("password").is_empty() && parts.iter().any(Result::is_err) {
        return Err(bad(&"it cannot have a password"));
    }
    if settings.text("password").is_empty() {
        let _ = url.set_password(None);
    }
    url.set_path(&settings.int("database").to_string());
    if tls && !mutual && !settings.flag("checkcert") {
        url.set_fragment(Some("insecure"));
    }
    let file = |key: &str, other: &std::path::Path| match settings.text(key) {
        "" => other.to_owned(),
        path => path.into(),
    };
    let mutual_files = context.tls.mutual();
    let files = Files {
        certificate: file("certfile", &mutual_files.certificate),
        key: file("keyfile", &mutual_files.key),
        authorities: file("cacertfile", &mutual_files.authorities),
    };
    let read = |path: &std::path::Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let client = if tls {
        let client_tls = match mutual {
            true => Some(ClientTlsConfig { client_cert: read(&files.certificate)?, client_key: read(&files.key)? }),
            false => None,
        };
        let own = mutual || !settings.text("cacertfile").is_empty();
        let root_cert = if own { Some(read(&files.authorities)?) } else { None };
        Client::build_with_tls(url.as_str(), TlsCertificates { client_tls, root_cert })
    } else {
        Client::open(url.as_str())
    };
    Ok(Box::new(Redis {
        client: client.map_err(|error| bad(&error))?,
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
