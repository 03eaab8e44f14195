//! Kafka, over its own protocol.
//!
//! A message has no key, as there: the balancer alone says to which partition it goes. What counts as delivered is on
//! every replica that is in sync. A topic that does not exist is an error until it does, or is created where that is
//! configured.

use super::{Batch, Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use crate::hub::forward::chat::or;
use crate::hub::forward::http::causes;
use crate::hub::spool::now;
use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

pub const KIND: Kind = Kind {
    section: "kafka",
    label: "Kafka",
    destination: "kafka",
    category: "queue",
    meaning: "Each alert as JSON, a message without a key of a topic.",
    required: &["hostport", "topic"],
    keys: &[&[
        Key::text("hostport", "", "addresses of brokers, host:port, several separated by commas"),
        Key::text("topic", "", "topic"),
        Key::new(
            "sasl",
            Type::Choice(&["", "PLAIN", "SCRAM_SHA256", "SCRAM_SHA512"]),
            "",
            "how to log in; not when empty",
        ),
        Key::flag("tls", "false", "speak TLS; authorities are the system's and tlsclient.cacertfile"),
        Key::text("username", "", "user"),
        Key::secret("password", "its password"),
        Key::new(
            "balancer",
            Type::Choice(&["round_robin", "crc32", "crc32_random", "murmur2", "murmur2_random", "least_bytes"]),
            "round_robin",
            "which partition; as messages have no key, crc32 and murmur2 choose one and the same, with _random any",
        ),
        Key::text("clientid", "", "what brokers know the hub by; falco-hub when empty"),
        Key::new(
            "compression",
            Type::Choice(&["NONE", "GZIP", "SNAPPY", "LZ4", "ZSTD"]),
            "NONE",
            "compression of what is sent together",
        ),
        Key::flag("async", "false", "taken for a Falcosidekick file's sake: every request is waited for"),
        Key::new(
            "requiredacks",
            Type::Choice(&["NONE", "ONE", "ALL"]),
            "NONE",
            "taken for a Falcosidekick file's sake: all replicas in sync are always waited for",
        ),
        Key::flag("topiccreation", "false", "create the topic, as brokers are configured to, when it does not exist"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

/// How long the client goes on by itself; then the worker decides.
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_millis(500),
    base: 2.0,
    deadline: Some(Duration::from_secs(1)),
};
const CREATE_WITHIN_MS: i32 = 5_000;

#[derive(Clone, Copy, Debug)]
enum Balancer {
    RoundRobin,
    /// The partition of this hash, which is that of no key.
    Hash(u32),
    Random,
    LeastBytes,
}

impl Balancer {
    fn new(name: &str) -> Balancer {
        match name {
            // CRC-32 of nothing.
            "crc32" => Balancer::Hash(0),
            // Kafka's murmur2 of nothing.
            "murmur2" => Balancer::Hash(0x106e_08d9),
            "crc32_random" | "murmur2_random" => Balancer::Random,
            "least_bytes" => Balancer::LeastBytes,
            _ => Balancer::RoundRobin,
        }
    }

    /// The partition for a message of `size` bytes; `sent` is what each got so far, of which there is at least one.
    fn choose(self, size: u64, sent: &mut [u64], next: &mut usize) -> usize {
        let number = sent.len();
        let chosen = match self {
            Balancer::RoundRobin => {
                *next = next.wrapping_add(1);
                *next % number
            }
            Balancer::Hash(hash) => hash as usize % number,
            Balancer::Random => fastrand::usize(..number),
            Balancer::LeastBytes => (0..number).min_by_key(|i| sent[*i]).unwrap_or(0),
        };
        sent[chosen] = sent[chosen].saturating_add(size);
        chosen
    }
}

/// What is known while the brokers answer.
struct Connected {
    client: Client,
    /// Number and client of each partition; a client is made when it is needed.
    partitions: Vec<(i32, Option<Arc<PartitionClient>>)>,
    /// Bytes sent to each.
    sent: Vec<u64>,
    next: usize,
}

struct Kafka {
    brokers: Vec<String>,
    topic: String,
    client_id: String,
    sasl: Option<SaslConfig>,
    tls: Option<Arc<ClientConfig>>,
    balancer: Balancer,
    compression: Compression,
    creation: bool,
    /// Taken while it is used: what was given up half way is not used again.
    connected: Mutex<Option<Connected>>,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let brokers: Vec<String> = settings.text("hostport").split(',').map(|broker| broker.trim().to_owned()).collect();
    for broker in &brokers {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(format!("hostport: '{broker}' is not host:port"));
        }
    }
    let tls = settings.flag("tls");
    if let Some(broker) = brokers.iter().find(|broker| tls && broker.starts_with('[')) {
        return Err(format!("hostport: '{broker}': with TLS a name or an IPv4 address is needed"));
    }
    let credentials = || Credentials::new(settings.text("username").to_owned(), settings.text("password").to_owned());
    let sasl = match settings.text("sasl") {
        "PLAIN" => Some(SaslConfig::Plain(credentials())),
        "SCRAM_SHA256" => Some(SaslConfig::ScramSha256(credentials())),
        "SCRAM_SHA512" => Some(SaslConfig::ScramSha512(credentials())),
        _ => None,
    };
    if sasl.is_some() && settings.text("username").is_empty() {
        return Err("username: it is needed to log in (sasl)".to_owned());
    }
    let compression = match settings.text("compression") {
        "GZIP" => Compression::Gzip,
        "SNAPPY" => Compression::Snappy,
        "LZ4" => Compression::Lz4,
        "ZSTD" => Compression::Zstd,
        _ => Compression::NoCompression,
    };
    Ok(Box::new(Kafka {
        brokers,
        topic: settings.text("topic").to_owned(),
        client_id: or(settings.text("clientid"), "falco-hub"),
        sasl,
        tls: if tls { Some(Arc::new(context.tls.client(true, false, None)?)) } else { None },
        balancer: Balancer::new(settings.text("balancer")),
        compression,
        creation: settings.flag("topiccreation"),
        connected: Mutex::new(None),
    }))
}

/// What an error says of the messages of one request.
fn failure(error: &Error) -> Failure {
    match error {
        Error::ServerError { protocol_error, error_message, .. } => {
            let message = error_message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            let what = format!("the broker answered {protocol_error:?}{message}");
            match protocol_error {
                ProtocolError::MessageTooLarge
                | ProtocolError::RecordListTooLarge
                | ProtocolError::InvalidRecord
                | ProtocolError::CorruptMessage
                | ProtocolError::InvalidTimestamp => Failure::Refused(what),
                _ => Failure::down(what),
            }
        }
        error => Failure::down(causes(error)),
    }
}

impl Kafka {
    async fn connect(&self) -> Result<Connected, Failure> {
        let mut builder = ClientBuilder::new(self.brokers.clone()).client_id(&*self.client_id).backoff_config(BACKOFF);
        if let Some(sasl) = &self.sasl {
            builder = builder.sasl_config(sasl.clone());
        }
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone());
        }
        let client = builder.build().await.map_err(|error| failure(&error))?;
        let mut partitions = self.partitions(&client).await?;
        if partitions.is_empty() && self.creation {
            let controller = client.controller_client().map_err(|error| failure(&error))?;
            // -1: as many partitions and replicas as the brokers' configuration says.
            match controller.create_topic(&*self.topic, -1, -1, CREATE_WITHIN_MS).await {
                Ok(()) => tracing::info!("Kafka: the topic '{}' was created", self.topic),
                Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => {}
                Err(error) => return Err(failure(&error)),
            }
            partitions = self.partitions(&client).await?;
        }
        if partitions.is_empty() {
            return Err(Failure::down(format!(
                "there is no topic '{}': create it, or set kafka.topiccreation",
                self.topic
            )));
        }
        let sent = vec![0; partitions.len()];
        let partitions = partitions.into_iter().map(|number| (number, None)).collect();
        Ok(Connected { client, partitions, sent, next: fastrand::usize(..1 << 16) })
    }

    async fn partitions(&self, client: &Client) -> Result<Vec<i32>, Failure> {
        let topics = client.list_topics().await.map_err(|error| failure(&error))?;
        let topic = topics.into_iter().find(|topic| topic.name == self.topic);
        Ok(topic.map(|topic| topic.partitions.into_iter().collect()).unwrap_or_default())
    }

    async fn send(&self, connected: &mut Connected, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let timestamp = DateTime::from_timestamp_millis(now()).unwrap_or_default();
        let mut groups: BTreeMap<usize, (Vec<usize>, Vec<Record>)> = BTreeMap::new();
        for (i, alert) in alerts.iter().enumerate() {
            let value = alert.line().into_bytes();
            let size = u64::try_from(value.len()).unwrap_or(u64::MAX);
            let group = groups.entry(self.balancer.choose(size, &mut connected.sent, &mut connected.next)).or_default();
            group.0.push(i);
            group.1.push(Record { key: None, value: Some(value), headers: BTreeMap::new(), timestamp });
        }
        let mut outcomes = all(alerts, Err(Failure::down("it was not sent")));
        let mut flying = JoinSet::new();
        for (partition, (members, records)) in groups {
            let (number, known) = &mut connected.partitions[partition];
            let client = match known {
                Some(client) => Ok(client.clone()),
                None => {
                    let made = connected.client.partition_client(&*self.topic, *number, UnknownTopicHandling::Error);
                    made.await.map(|client| known.insert(Arc::new(client)).clone())
                }
            };
            match client {
                Ok(client) => {
                    let compression = self.compression;
                    flying.spawn(async move {
                        let outcome = client.produce(records, compression).await;
                        (members, outcome.map(drop).map_err(|error| failure(&error)))
                    });
                }
                Err(error) => members.iter().for_each(|i| outcomes[*i] = Err(failure(&error))),
            }
        }
        while let Some(done) = flying.join_next().await {
            if let Ok((members, outcome)) = done {
                members.iter().for_each(|i| outcomes[*i] = outcome.clone());
            }
        }
        outcomes
    }
}

#[async_trait::async_trait]
impl Forward for Kafka {
    fn batch(&self) -> Batch {
        // Below the megabyte that brokers take of one partition unless they are told otherwise.
        Batch { alerts: 64, bytes: 512 << 10, linger: Duration::ZERO }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        let mut kept = self.connected.lock().await;
        if kept.is_some() {
            return Some(Ok(()));
        }
        Some(self.connect().await.map(|connected| *kept = Some(connected)))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let mut kept = self.connected.lock().await;
        let mut connected = match kept.take() {
            Some(connected) => connected,
            None => match self.connect().await {
                Ok(connected) => connected,
                Err(failure) => return all(alerts, Err(failure)),
            },
        };
        let outcomes = self.send(&mut connected, alerts).await;
        // After a failure everything is asked anew: brokers, leaders, partitions.
        if outcomes.iter().all(|outcome| !matches!(outcome, Err(Failure::Down { .. }))) {
            *kept = Some(connected);
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balancers() {
        let chosen = |name: &str| {
            let (mut sent, mut next) = (vec![0; 4], 0);
            let balancer = Balancer::new(name);
            [10, 1, 1, 1, 1, 1].map(|size| balancer.choose(size, &mut sent, &mut next))
        };
        assert_eq!(chosen("round_robin"), [1, 2, 3, 0, 1, 2]);
        assert_eq!(chosen("crc32"), [0; 6]);
        assert_eq!(chosen("murmur2"), [1; 6]);
        assert_eq!(chosen("least_bytes"), [0, 1, 2, 3, 1, 2]);
        assert!(chosen("murmur2_random").iter().all(|partition| *partition < 4));
    }
}
