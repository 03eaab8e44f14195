//! RabbitMQ: messages for a queue, each of which the broker confirms.
//!
//! Messages go through the default exchange, so the queue must be there; one that no queue takes comes back and is tried
//! again. The connection is made anew when it broke.

use super::{Batch, Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::broker::rabbitmq::{self, Link, Said, Server};
use crate::hub::config::keys::Key;
use amqprs::BasicProperties;
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::connection::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

pub const KIND: Kind = Kind {
    section: "rabbitmq",
    label: "RabbitMQ",
    destination: "rabbitmq",
    category: "queue",
    meaning: "Each alert as JSON, a persistent message of a queue.",
    required: &["url", "queue"],
    keys: &[rabbitmq::CONNECTION, &[Key::text("queue", "", "name of the queue, which must be there")]],
    shared: &[],
    work: Work::Forward(make),
};

struct Open {
    connection: Connection,
    channel: Channel,
    said: UnboundedReceiver<Said>,
    /// Tag of the last message.
    tag: u64,
}

struct RabbitMq {
    server: Server,
    queue: String,
    open: Mutex<Option<Open>>,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let server = Server::new(settings, context.tls)?;
    Ok(Box::new(RabbitMq { server, queue: settings.text("queue").to_owned(), open: Mutex::new(None) }))
}

impl RabbitMq {
    async fn open(&self) -> Result<Open, amqprs::error::Error> {
        let Link { connection, channel, said } = self.server.open().await?;
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
