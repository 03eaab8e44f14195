//! Kafka, over its own protocol.
//!
//! A message has no key, as there: the balancer alone says to which partition it goes. What counts as delivered is on
//! every replica that is in sync. A topic that does not exist is an error until it does, or is created where that is
//! configured.

use super::{Batch, Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::broker::kafka::{self, Brokers, told};
use crate::hub::config::keys::{Key, Type};
use crate::hub::spool::now;
use rskafka::chrono::DateTime;
use rskafka::client::Client;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient};
use rskafka::record::Record;
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
    keys: &[
        kafka::CONNECTION,
        &[
            Key::new(
                "balancer",
                Type::Choice(&["round_robin", "crc32", "crc32_random", "murmur2", "murmur2_random", "least_bytes"]),
                "round_robin",
                "which partition; as messages have no key, crc32 and murmur2 choose one and the same, with _random any",
            ),
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
            Key::flag(
                "topiccreation",
                "false",
                "create the topic, as brokers are configured to, when it does not exist",
            ),
        ],
    ],
    shared: &[],
    work: Work::Forward(make),
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
    brokers: Brokers,
    balancer: Balancer,
    compression: Compression,
    creation: bool,
    /// Taken while it is used: what was given up half way is not used again.
    connected: Mutex<Option<Connected>>,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let compression = match settings.text("compression") {
        "GZIP" => Compression::Gzip,
        "SNAPPY" => Compression::Snappy,
        "LZ4" => Compression::Lz4,
        "ZSTD" => Compression::Zstd,
        _ => Compression::NoCompression,
    };
    Ok(Box::new(Kafka {
        brokers: Brokers::new(settings, context.tls)?,
        balancer: Balancer::new(settings.text("balancer")),
        compression,
        creation: settings.flag("topiccreation"),
        connected: Mutex::new(None),
    }))
}

/// What an error says of the messages of one request.
fn failure(error: &Error) -> Failure {
    match error {
        Error::ServerError {
            protocol_error:
                ProtocolError::MessageTooLarge
                | ProtocolError::RecordListTooLarge
                | ProtocolError::InvalidRecord
                | ProtocolError::CorruptMessage
                | ProtocolError::InvalidTimestamp,
            ..
        } => Failure::Refused(told(error)),
        error => Failure::down(told(error)),
    }
}

impl Kafka {
    async fn connect(&self) -> Result<Connected, Failure> {
        let client = self.brokers.client().await.map_err(|error| failure(&error))?;
        let mut partitions = self.brokers.partitions(&client).await.map_err(|error| failure(&error))?;
        if partitions.is_empty() && self.creation {
            let controller = client.controller_client().map_err(|error| failure(&error))?;
            // -1: as many partitions and replicas as the brokers' configuration says.
            match controller.create_topic(&*self.brokers.topic, -1, -1, CREATE_WITHIN_MS).await {
                Ok(()) => tracing::info!("Kafka: the topic '{}' was created", self.brokers.topic),
                Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => {}
                Err(error) => return Err(failure(&error)),
            }
            partitions = self.brokers.partitions(&client).await.map_err(|error| failure(&error))?;
        }
        if partitions.is_empty() {
            return Err(Failure::down(format!("{}, or set kafka.topiccreation", self.brokers.no_topic())));
        }
        let sent = vec![0; partitions.len()];
        let partitions = partitions.into_iter().map(|number| (number, None)).collect();
        Ok(Connected { client, partitions, sent, next: fastrand::usize(..1 << 16) })
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
                    let made = self.brokers.partition(&connected.client, *number).await;
                    made.map(|client| known.insert(Arc::new(client)).clone())
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
