//! NATS: a stream of JetStream, by a durable consumer from which messages are pulled.
//!
//! The consumer is made when it is not there; hubs that name the same one share its messages. The server's interface is used
//! as it is: requests on `$JS.API`, messages with a subject to acknowledge on.

use super::kind::{BYTES, Context, Kind, MESSAGES, Take, Taken, WAIT};
use crate::hub::broker::nats::{ADDRESS, Server};
use crate::hub::config::keys::{Key, TLS};
use async_nats::connection::State;
use async_nats::{Client, Message, Subject, Subscriber};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt;

pub const KIND: Kind = Kind {
    name: "nats",
    label: "NATS",
    meaning: "A stream of JetStream, through a durable pull consumer: each message is acknowledged when it is kept. Several hubs \
              that name the same consumer share its messages.",
    required: &["hostport", "stream"],
    keys: &[
        ADDRESS,
        &[
            Key::text("stream", "", "name of the stream"),
            Key::text(
                "subject",
                "",
                "only what was published on it (falco.critical.>); everything of the stream when empty",
            ),
            Key::text("durable", "falco-hub", "name of the consumer, which is made when it does not exist"),
            Key::flag("create", "false", "make the stream, of that subject or of falco.>, when it does not exist"),
        ],
        TLS,
    ],
    make,
};

/// How long the server waits for an acknowledgement until it sends a message again.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);
/// How long the server holds a request for messages.
const REQUEST_LASTS: Duration = Duration::from_secs(10);
/// A server that has said nothing so long after that is down.
const LATE: Duration = Duration::from_secs(2);
/// Messages that were sent and not acknowledged, by all hubs of a consumer.
const UNSETTLED_MAX: usize = 16 * MESSAGES;

/// Numbers that the server gives to what is wrong.
const NO_CONSUMER: i64 = 10_014;
const NO_STREAM: i64 = 10_059;

struct Open {
    client: Client,
    inbox: String,
    messages: Subscriber,
    /// Messages that were asked for and have not come, and since when.
    asked: Option<(usize, Instant)>,
    /// A message is larger than what is asked for: the next request names no size.
    large: bool,
    /// Where to acknowledge what was taken last.
    unsettled: Vec<Subject>,
}

struct Nats {
    server: Server,
    stream: String,
    subject: String,
    durable: String,
    create: bool,
    open: Option<Open>,
}

fn make(context: &Context) -> Result<Box<dyn Take>, String> {
    let settings = context.settings;
    for key in ["stream", "durable"] {
        let name = settings.text(key);
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || ".*>/\\".contains(c)) {
            return Err(format!(
                "{key}: '{name}' is no name: it must not be empty or have spaces, dots, *, > and slashes"
            ));
        }
    }
    Ok(Box::new(Nats {
        server: Server::new(settings, context.tls)?,
        stream: settings.text("stream").to_owned(),
        subject: settings.text("subject").to_owned(),
        durable: settings.text("durable").to_owned(),
        create: settings.flag("create"),
        open: None,
    }))
}

/// What the server said is wrong: its number, and words.
struct Wrong(i64, String);

impl From<Wrong> for String {
    fn from(Wrong(_, what): Wrong) -> String {
        what
    }
}

/// Asks the server's interface for streams.
async fn ask(client: &Client, what: String, question: &Value) -> Result<Value, Wrong> {
    let body = if question.is_null() { String::new() } else { question.to_string() };
    let answer = client.request(format!("$JS.API.{what}"), body.into()).await;
    let answer = answer.map_err(|error| Wrong(0, format!("JetStream does not answer: {error}")))?;
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => {
            let number = error["err_code"].as_i64().unwrap_or_default();
            Err(Wrong(number, format!("the server answered: {}", error["description"].as_str().unwrap_or_default())))
        }
    }
}

impl Nats {
    /// Finds or makes the consumer.
    async fn consumer(&self, client: &Client) -> Result<(), String> {
        let (stream, durable) = (&self.stream, &self.durable);
        let found = match ask(client, format!("CONSUMER.INFO.{stream}.{durable}"), &Value::Null).await {
            Err(Wrong(NO_STREAM, _)) if self.create => {
                let subject = if self.subject.is_empty() { "falco.>" } else { &self.subject };
                let config = json!({"name": stream, "subjects": [subject], "storage": "file"});
                ask(client, format!("STREAM.CREATE.{stream}"), &config).await?;
                tracing::info!("NATS: the stream '{stream}' is there now");
                None
            }
            Err(Wrong(NO_STREAM, _)) => {
                return Err(format!("there is no stream '{stream}': create it, or set 'create'"));
            }
            Err(Wrong(NO_CONSUMER, _)) => None,
            found => Some(found?),
        };
        if let Some(found) = found {
            let config = &found["config"];
            return match (config["deliver_subject"].as_str(), config["ack_policy"].as_str()) {
                (None, Some("explicit")) => Ok(()),
                _ => Err(format!("the consumer '{durable}' is not one to pull from with explicit acknowledgement")),
            };
        }
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut config = json!({
            "durable_name": durable, "ack_policy": "explicit", "ack_wait": nanoseconds(ACKNOWLEDGED_WITHIN),
            "deliver_policy": "all", "replay_policy": "instant", "max_deliver": -1, "max_ack_pending": UNSETTLED_MAX,
        });
        if !self.subject.is_empty() {
            config["filter_subject"] = json!(self.subject);
        }
        let question = json!({"stream_name": stream, "config": config});
        ask(client, format!("CONSUMER.DURABLE.CREATE.{stream}.{durable}"), &question).await?;
        Ok(())
    }

    /// Asks for messages unless that was done and is not over.
    async fn request(&mut self) -> Result<&mut Open, String> {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.durable);
        let open = self.open.as_mut().ok_or("the connection is closed")?;
        if open.client.connection_state() != State::Connected {
            return Err("the connection is closed".to_owned());
        }
        if open.asked.is_some_and(|(_, since)| since.elapsed() > REQUEST_LASTS + LATE) {
            return Err(format!("no answer within {:?}", REQUEST_LASTS + LATE));
        }
        if open.asked.is_none() {
            let lasts = u64::try_from(REQUEST_LASTS.as_nanos()).unwrap_or(u64::MAX);
            let (number, request) = match std::mem::take(&mut open.large) {
                true => (1, json!({"batch": 1, "expires": lasts})),
                false => (MESSAGES, json!({"batch": MESSAGES, "max_bytes": BYTES, "expires": lasts})),
            };
            let body = request.to_string().into();
            let sent = open.client.publish_with_reply(next, open.inbox.clone(), body).await;
            sent.map_err(|error| error.to_string())?;
            open.asked = Some((number, Instant::now()));
        }
        Ok(open)
    }
}

impl Open {
    /// A message, or what the server says of a request.
    fn got(&mut self, message: Message, taken: &mut Taken) -> Result<(), String> {
        if let Some(status) = message.status {
            let said = message.description.unwrap_or_default();
            self.asked = None;
            return match status.as_u16() {
                // Nothing came in time, or what was asked for came in part.
                404 | 408 => Ok(()),
                409 if said.contains("Exceeds MaxBytes") && taken.bodies.is_empty() => {
                    self.large = true;
                    Ok(())
                }
                409 if said.contains("Exceeds") || said.contains("Completed") => Ok(()),
                _ => Err(format!("the server answered {status}: {said}")),
            };
        }
        self.asked = self.asked.and_then(|(left, since)| (left > 1).then_some((left.saturating_sub(1), since)));
        if let Some(reply) = message.reply {
            self.unsettled.push(reply);
            taken.bodies.push(message.payload.into());
        }
        Ok(())
    }

    /// Says the same of all that was taken last.
    async fn answer(&mut self, word: &'static str) -> Result<(), String> {
        for subject in self.unsettled.drain(..) {
            self.client.publish(subject, word.into()).await.map_err(|error| error.to_string())?;
        }
        self.client.flush().await.map_err(|error| error.to_string())
    }
}

#[async_trait::async_trait]
impl Take for Nats {
    async fn connect(&mut self, _: &BTreeMap<String, i64>) -> Result<(), String> {
        self.open = None;
        let client = self.server.connect().await.map_err(|error| error.to_string())?;
        self.consumer(&client).await?;
        let inbox = client.new_inbox();
        let messages = client.subscribe(inbox.clone()).await.map_err(|error| error.to_string())?;
        self.open = Some(Open { client, inbox, messages, asked: None, large: false, unsettled: Vec::new() });
        Ok(())
    }

    async fn take(&mut self) -> Result<Taken, String> {
        let open = self.request().await?;
        let (mut taken, mut bytes) = (Taken::default(), 0);
        let mut wait = WAIT;
        while !taken.full(bytes) {
            match timeout(wait, open.messages.next()).await {
                Err(_) => break,
                Ok(None) => return Err("the connection is closed".to_owned()),
                Ok(Some(message)) => {
                    bytes += message.payload.len();
                    open.got(message, &mut taken)?;
                    // The others of what the server sent are here already.
                    wait = Duration::ZERO;
                }
            }
        }
        Ok(taken)
    }

    async fn settle(&mut self) -> Result<(), String> {
        self.open.as_mut().ok_or("the connection is closed")?.answer("+ACK").await
    }

    async fn leave(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        if open.client.connection_state() != State::Connected {
            return;
        }
        // What the server has sent and what it sends until it has read that there is no more asking.
        let _ = open.messages.unsubscribe().await;
        while let Some(message) = open.messages.next().await {
            open.unsettled.extend(message.reply);
        }
        let _ = open.answer("-NAK").await;
    }
}
