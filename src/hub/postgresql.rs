//! Reaching a PostgreSQL server: what the output `timescaledb` and the shared store have in common.
//!
//! Not here: SQL. Invariant: with `verify-full` nothing is said to a server before its certificate was verified.

use super::causes::causes;
use super::config::Section;
use super::config::keys::Type;
use super::tls::Tls;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Values of a key `sslmode`.
pub const SSL_MODES: Type = Type::Choice(&["prefer", "disable", "require", "verify-full"]);
/// What such a key means.
pub const SSL_MODE_MEANING: &str = "whether TLS is spoken; only verify-full verifies the server's certificate (ours)";

/// How long it may take until a server listens.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A server that is gone without a word is noticed after that time, and a few times 10 s.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server, and who asks it.
pub struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    /// For messages: `host:port/database`.
    pub name: String,
}

impl Server {
    /// Of the keys `host`, `port`, `user`, `password`, `database`, `sslmode`, and `mutualtls` where there is one, behind
    /// `prefix`. A host that begins with `/` is the directory of a unix socket, over which no TLS is spoken.
    pub fn new(settings: &Section, prefix: &str, tls: &Tls) -> Result<Server, String> {
        let key = |name: &str| format!("{prefix}{name}");
        let text = |name: &str| settings.text(&key(name)).to_owned();
        let number = settings.int(&key("port"));
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{}: {number} is no port: it must be 1 to 65535", key("port")))?;
        let (host, database, mode) = (text("host"), text("database"), text("sslmode"));
        let mutual = settings.flag_or(&key("mutualtls"), false);
        let mut config = Config::new();
        config
            .host(&host)
            .port(port)
            .user(text("user"))
            .password(text("password"))
            .dbname(&database)
            .application_name("falco-hub")
            .connect_timeout(CONNECT_WITHIN)
            .keepalives_idle(KEEPALIVE)
            .ssl_mode(match mode.as_str() {
                _ if host.starts_with('/') => SslMode::Disable,
                "disable" => SslMode::Disable,
                "require" | "verify-full" => SslMode::Require,
                _ if mutual => SslMode::Require,
                _ => SslMode::Prefer,
            });
        let tls = MakeRustlsConnect::new(tls.client(mode == "verify-full", mutual, None)?);
        Ok(Server { config, tls, name: format!("{host}:{port}/{database}") })
    }

    /// A new connection. It ends when the client is dropped.
    pub async fn connect(&self) -> Result<Client, String> {
        let (client, connection) = self.config.connect(self.tls.clone()).await.map_err(|error| causes(&error))?;
        tokio::spawn(async move {
            // It ends with the client, or its error is the client's next one.
            let _ = connection.await;
        });
        Ok(client)
    }
}

/// Whether the server finds fault with the data it was given, not with anything else.
pub fn refuses_data(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("22") || code.code().starts_with("23"))
}
