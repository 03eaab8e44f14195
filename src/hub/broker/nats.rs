//! A NATS server, or several of a cluster.

use crate::hub::config::Section;
use crate::hub::config::keys::Key;
use crate::hub::tls::Tls;
use async_nats::{Client, ConnectError, ConnectOptions, ServerAddr};
use std::time::Duration;

/// With [`TLS`](crate::hub::config::keys::TLS), what a connection is made from.
pub const ADDRESS: &[Key] = &[Key::text(
    "hostport",
    "",
    "address: nats://host:port, or nats://user:password@host:port, several separated by commas",
)];

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub struct Server {
    addresses: Vec<ServerAddr>,
    options: ConnectOptions,
}

impl Server {
    pub fn new(settings: &Section, tls: &Tls) -> Result<Server, String> {
        let mut addresses = Vec::new();
        for address in settings.text("hostport").split(',').map(str::trim) {
            let parsed = address.parse::<ServerAddr>();
            addresses.push(parsed.map_err(|error| format!("'{address}' is not an address: {error}"))?);
        }
        let tls = tls.client(settings.flag("checkcert"), settings.flag("mutualtls"), None)?;
        let options = ConnectOptions::new()
            .name("falco-hub")
            .tls_client_config(tls)
            .connection_timeout(ANSWER_WITHIN)
            .request_timeout(Some(ANSWER_WITHIN));
        Ok(Server { addresses, options })
    }

    pub async fn connect(&self) -> Result<Client, ConnectError> {
        self.options.clone().connect(&*self.addresses).await
    }
}
