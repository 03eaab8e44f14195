//! A RabbitMQ server, or another that speaks AMQP 0-9-1.

use crate::hub::config::Section;
use crate::hub::config::keys::Key;
use crate::hub::tls::Tls;
use amqprs::callbacks::{ChannelCallback, DefaultConnectionCallback};
use amqprs::channel::Channel;
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::security::SecurityCredentials;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use reqwest::Url;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsConnector;

pub const CONNECTION: &[Key] = &[
    Key::secret("url", "address: amqp://user:password@host:port/vhost, or amqps"),
    Key::flag("checkcert", "true", "verify the server's certificate, with amqps (ours)"),
    Key::flag("mutualtls", "false", "present the client certificate of mutualtlsclient, with amqps (ours)"),
];

/// What the broker says of messages.
pub enum Said {
    Taken {
        tag: u64,
        multiple: bool,
    },
    NotTaken {
        tag: u64,
        multiple: bool,
    },
    /// The next that it takes went to no queue.
    Returned(String),
    Closed(String),
}

struct Listener(UnboundedSender<Said>);

#[async_trait::async_trait]
impl ChannelCallback for Listener {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        let _ = self.0.send(Said::Closed(close.to_string()));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        let _ = self.0.send(Said::Closed("the queue is gone".to_owned()));
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let _ = self.0.send(Said::Taken { tag: ack.delivery_tag(), multiple: ack.mutiple() });
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        let _ = self.0.send(Said::NotTaken { tag: nack.delivery_tag(), multiple: nack.multiple() });
    }

    async fn publish_return(&mut self, _: &Channel, ret: Return, _: BasicProperties, _: Vec<u8>) {
        let _ = self.0.send(Said::Returned(ret.to_string()));
    }
}

/// A connection with one channel.
pub struct Link {
    pub connection: Connection,
    pub channel: Channel,
    pub said: UnboundedReceiver<Said>,
}

pub struct Server(OpenConnectionArguments);

/// `%XX` as the bytes they stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Server {
    /// Of the keys of [`CONNECTION`].
    pub fn new(settings: &Section, tls: &Tls) -> Result<Server, String> {
        let bad = |why: &dyn std::fmt::Display| {
            format!("url is not an address (amqp://user:password@host:port/vhost): {why}")
        };
        let url = Url::parse(settings.text("url")).map_err(|error| bad(&error))?;
        let secure = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            scheme => return Err(bad(&format!("'{scheme}' is neither amqp nor amqps"))),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad(&"it names no host"))?;
        let host = host.trim_matches(['[', ']']);
        let or_guest = |text: &str| if text.is_empty() { "guest".to_owned() } else { decoded(text) };
        let port = url.port().unwrap_or(if secure { 5671 } else { 5672 });
        let (user, password) = (or_guest(url.username()), or_guest(url.password().unwrap_or_default()));
        let mut arguments = OpenConnectionArguments::new(host, port, &user, &password);
        arguments.credentials(SecurityCredentials::new_plain(&user, &password)).connection_name("falco-hub");
        if let Some(vhost) = url.path().strip_prefix('/').filter(|vhost| !vhost.is_empty()) {
            arguments.virtual_host(&decoded(vhost));
        }
        if secure {
            let tls = tls.client(settings.flag("checkcert"), settings.flag("mutualtls"), None)?;
            arguments.tls_adaptor(TlsAdaptor::new(TlsConnector::from(Arc::new(tls)), host.to_owned()));
        }
        Ok(Server(arguments))
    }

    pub async fn open(&self) -> Result<Link, Error> {
        let connection = Connection::open(&self.0).await?;
        connection.register_callback(DefaultConnectionCallback).await?;
        let channel = connection.open_channel(None).await?;
        let (sender, said) = unbounded_channel();
        channel.register_callback(Listener(sender)).await?;
        Ok(Link { connection, channel, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_signs() {
        assert_eq!(decoded("p%40ss%2F%"), "p@ss/%");
        assert_eq!(decoded("%c3%a9%zz"), "é%zz");
    }
}
