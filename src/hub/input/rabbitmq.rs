//! RabbitMQ: a queue, of which this hub has a bounded number of messages that it has not acknowledged.

use super::kind::{Context, Kind, Take, Taken, WAIT};
use crate::hub::broker::rabbitmq::{self, Link, Said, Server};
use crate::hub::config::keys::Key;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicQosArguments, ConsumerMessage, QueueDeclareArguments,
};
use amqprs::error::Error;
use std::collections::BTreeMap;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

pub const KIND: Kind = Kind {
    name: "rabbitmq",
    label: "RabbitMQ",
    meaning: "A queue: each message is acknowledged when it is kept. Several hubs share the queue's messages.",
    required: &["url", "queue"],
    keys: &[
        rabbitmq::CONNECTION,
        &[
            Key::text("queue", "", "name of the queue"),
            Key::flag("create", "false", "declare the queue, durable, when it does not exist"),
            Key::int("prefetch", "512", "messages that the broker sends before any is acknowledged: 1 to 65535"),
        ],
    ],
    make,
};

struct Open {
    link: Link,
    deliveries: UnboundedReceiver<ConsumerMessage>,
    /// Of the last message that was taken.
    tag: u64,
}

struct RabbitMq {
    server: Server,
    queue: String,
    create: bool,
    prefetch: u16,
    open: Option<Open>,
}

fn make(context: &Context) -> Result<Box<dyn Take>, String> {
    let settings = context.settings;
    let number = settings.int("prefetch");
    let prefetch = u16::try_from(number).ok().filter(|number| *number > 0);
    Ok(Box::new(RabbitMq {
        server: Server::new(settings, context.tls)?,
        queue: settings.text("queue").to_owned(),
        create: settings.flag("create"),
        prefetch: prefetch.ok_or_else(|| format!("prefetch: {number} is not 1 to 65535"))?,
        open: None,
    }))
}

/// What the broker said when it closed the channel, or else the error.
async fn told(link: &mut Link, error: Error) -> String {
    match timeout(WAIT, link.said.recv()).await {
        Ok(Some(Said::Closed(why))) => why,
        _ => error.to_string(),
    }
}

impl RabbitMq {
    async fn link(&self) -> Result<Link, String> {
        self.server.open().await.map_err(|error| error.to_string())
    }

    /// A connection on which the queue was found.
    async fn with_queue(&self) -> Result<Link, String> {
        let mut link = self.link().await?;
        let asked = QueueDeclareArguments::new(&self.queue).passive(true).finish();
        let Err(error) = link.channel.queue_declare(asked).await else { return Ok(link) };
        let why = told(&mut link, error).await;
        if !self.create || !why.contains("NOT_FOUND") {
            return Err(why);
        }
        // The broker has closed that channel.
        let mut link = self.link().await?;
        match link.channel.queue_declare(QueueDeclareArguments::durable_client_named(&self.queue)).await {
            Ok(_) => tracing::info!("RabbitMQ: the queue '{}' is there now", self.queue),
            Err(error) => return Err(told(&mut link, error).await),
        }
        Ok(link)
    }
}

#[async_trait::async_trait]
impl Take for RabbitMq {
    async fn connect(&mut self, _: &BTreeMap<String, i64>) -> Result<(), String> {
        self.open = None;
        let mut link = self.with_queue().await?;
        if let Err(error) = link.channel.basic_qos(BasicQosArguments::new(0, self.prefetch, false)).await {
            return Err(told(&mut link, error).await);
        }
        let arguments = BasicConsumeArguments::new(&self.queue, "").manual_ack(true).finish();
        match link.channel.basic_consume_rx(arguments).await {
            Ok((_, deliveries)) => self.open = Some(Open { link, deliveries, tag: 0 }),
            Err(error) => return Err(told(&mut link, error).await),
        }
        Ok(())
    }

    async fn take(&mut self) -> Result<Taken, String> {
        let closed = || "the connection is closed".to_owned();
        let open = self.open.as_mut().ok_or_else(closed)?;
        if let Ok(Said::Closed(why)) = open.link.said.try_recv() {
            return Err(why);
        }
        let (mut taken, mut bytes) = (Taken::default(), 0);
        let mut next = match timeout(WAIT, open.deliveries.recv()).await {
            Ok(None) => return Err(closed()),
            Ok(first) => first,
            Err(_) if open.link.connection.is_open() && open.link.channel.is_open() => None,
            Err(_) => return Err(closed()),
        };
        while let Some(message) = next {
            let body = message.content.unwrap_or_default();
            bytes += body.len();
            open.tag = message.deliver.map_or(open.tag, |deliver| deliver.delivery_tag());
            taken.bodies.push(body);
            next = if taken.full(bytes) { None } else { open.deliveries.try_recv().ok() };
        }
        Ok(taken)
    }

    async fn settle(&mut self) -> Result<(), String> {
        let open = self.open.as_ref().ok_or("the connection is closed")?;
        // That one and all before it.
        let all = BasicAckArguments::new(open.tag, true);
        open.link.channel.basic_ack(all).await.map_err(|error| error.to_string())
    }

    async fn leave(&mut self) {
        if let Some(Open { link, .. }) = self.open.take() {
            // The answer says that what was sent before has been read. Messages that were not acknowledged are the queue's again.
            let _ = link.channel.close().await;
            let _ = link.connection.close().await;
        }
    }
}
