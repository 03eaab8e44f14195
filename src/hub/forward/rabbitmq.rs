//! RabbitMQ: messages for a queue, each of which the broker confirms.
//!
//! Messages go through the default exchange, so the queue must be there; one that no queue takes comes back and is tried
//! again. The connection is made anew when it broke.

use super::{Batch, Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::Key;
use amqprs::callbacks::{ChannelCallback, DefaultConnectionCallback};
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::security::SecurityCredentials;
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use reqwest::Url;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsConnector;

pub const KIND: Kind = Kind {
    section: "rabbitmq",
    label: "RabbitMQ",
    destination: "rabbitmq",
    category: "queue",
    meaning: "Each alert as JSON, a persistent message of a queue.",
    required: &["url", "queue"],
    keys: &[&[
        Key::secret("url", "address: amqp://user:password@host:port/vhost, or amqps"),
        Key::text("queue", "", "name of the queue, which must be there"),
        Key::flag("checkcert", "true", "verify the server's certificate, with amqps (ours)"),
        Key::flag("mutualtls", "false", "present the client certificate of mutualtlsclient, with amqps (ours)"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

/// What the broker says of messages.
enum Said {
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
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), amqprs::error::Error> {
        let _ = self.0.send(Said::Closed(close.to_string()));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
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

struct Open {
    connection: Connection,
    channel: Channel,
    said: UnboundedReceiver<Said>,
    /// Tag of the last message.
    tag: u64,
}

struct RabbitMq {
    arguments: OpenConnectionArguments,
    queue: String,
    open: Mutex<Option<Open>>,
}

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

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let bad =
        |why: &dyn std::fmt::Display| format!("url is not an address (amqp://user:password@host:port/vhost): {why}");
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
        let tls = context.tls.client(settings.flag("checkcert"), settings.flag("mutualtls"), None)?;
        arguments.tls_adaptor(TlsAdaptor::new(TlsConnector::from(Arc::new(tls)), host.to_owned()));
    }
    Ok(Box::new(RabbitMq { arguments, queue: settings.text("queue").to_owned(), open: Mutex::new(None) }))
}

impl RabbitMq {
    async fn open(&self) -> Result<Open, amqprs::error::Error> {
        let connection = Connection::open(&self.arguments).await?;
        connection.register_callback(DefaultConnectionCallback).await?;
        let channel = connection.open_channel(None).await?;
        let (sender, said) = unbounded_channel();
        channel.register_callback(Listener(sender)).await?;
        channel.confirm_select(ConfirmSelectArguments::default()).await?;
        Ok(Open { connection, channel, said, tag: 0 })
    }

    async fn publish(&self, open: &mut Open, alerts: &[Arc<Alert>]) -> Result<Vec<Result<(), Failure>>, Failure> {
        let first = open.tag + 1;
        for alert in alerts {
            let arguments = BasicPublishArguments::new("", &self.queue).mandatory(true).finish();
            let properties = BasicProperties::default()
                .with_content_type("text/plain")
                .with_message_id(&alert.uuid)
                .with_persistence(true)
                .finish();
            let sent = open.channel.basic_publish(properties, alert.line().into_bytes(), arguments).await;
            sent.map_err(Failure::down)?;
            open.tag += 1;
        }
        let mut outcomes: Vec<Option<Result<(), Failure>>> = vec![None; alerts.len()];
        let mut returned = None;
        while outcomes.iter().any(Option::is_none) {
            let (tag, multiple, outcome) = match open.said.recv().await {
                None => return Err(Failure::down("the connection is closed")),
                Some(Said::Closed(why)) => return Err(Failure::down(why)),
                Some(Said::Returned(why)) => {
                    returned = Some(why);
                    continue;
                }
                Some(Said::Taken { tag, multiple }) => match returned.take() {
                    None => (tag, multiple, Ok(())),
                    Some(why) => {
                        let what = format!("the queue '{}' does not take it: {why}", self.queue);
                        (tag, multiple, Err(Failure::down(what)))
                    }
                },
                Some(Said::NotTaken { tag, multiple }) => {
                    (tag, multiple, Err(Failure::down("the broker did not take it")))
                }
            };
            for (i, slot) in (first..).zip(&mut outcomes) {
                if slot.is_none() && (i == tag || multiple && i < tag) {
                    *slot = Some(outcome.clone());
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }
}

#[async_trait::async_trait]
impl Forward for RabbitMq {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        let mut kept = self.open.lock().await;
        if kept.as_ref().is_none_or(|open| !open.connection.is_open()) {
            match self.open().await {
                Ok(open) => *kept = Some(open),
                Err(error) => return Some(Err(Failure::down(error))),
            }
        }
        Some(Ok(()))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let mut kept = self.open.lock().await;
        // Taken away: who is interrupted or fails leaves nothing half done behind.
        let mut open = match kept.take().filter(|open| open.connection.is_open() && open.channel.is_open()) {
            Some(open) => open,
            None => match self.open().await {
                Ok(open) => open,
                Err(error) => return all(alerts, Err(Failure::down(error))),
            },
        };
        match self.publish(&mut open, alerts).await {
            Ok(outcomes) => {
                *kept = Some(open);
                outcomes
            }
            Err(failure) => all(alerts, Err(failure)),
        }
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
