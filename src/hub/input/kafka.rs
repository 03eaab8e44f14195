//! Kafka: partitions of a topic, each from where this hub is in it.
//!
//! There are no consumer groups here: brokers do not remember where the hub is, its own database does, in the same transaction as the
//! alerts. Partitions are asked at the same time, and one that has nothing holds up no other.

use super::kind::{BYTES, Context, Kind, Take, Taken, WAIT};
use crate::hub::broker::kafka::{self, Brokers, told};
use crate::hub::config::keys::{Key, Type};
use crate::hub::spool::Position;
use rskafka::client::Client;
use rskafka::client::error::{Error, ProtocolError, Result as Answer};
use rskafka::client::partition::{OffsetAt, PartitionClient};
use rskafka::record::RecordAndOffset;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub const KIND: Kind = Kind {
    name: "kafka",
    label: "Kafka",
    meaning: "Partitions of a topic; how far this hub is in each is kept in its own database with the alerts. Several hubs are \
              given different partitions.",
    required: &["hostport", "topic"],
    keys: &[
        kafka::CONNECTION,
        &[
            Key::new("partitions", Type::List, "", "numbers of the partitions to read; all when empty"),
            Key::new(
                "from",
                Type::Choice(&["earliest", "latest"]),
                "earliest",
                "where to begin in a partition that this hub has not read yet",
            ),
        ],
    ],
    make,
};

/// How long a broker waits for a message of a partition that has none.
const HELD_MS: i32 = 500;
/// The least that is asked of a partition at once; of few partitions it is more.
const PARTITION_BYTES_MIN: usize = 64 << 10;
/// A broker that is silent for so long is down.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked for partitions that were added.
const LOOK_EVERY: Duration = Duration::from_secs(60);

struct Partition {
    client: Arc<PartitionClient>,
    next: i64,
    /// Since when it is being asked.
    asked: Option<Instant>,
}

/// What a partition gave: its number, and messages behind the place it was asked for.
type Fetched = (i32, Answer<Vec<RecordAndOffset>>);

struct Open {
    client: Client,
    partitions: BTreeMap<i32, Partition>,
    flying: JoinSet<Fetched>,
    /// Where the hub was when it connected, by place.
    positions: BTreeMap<String, i64>,
    /// Partitions whose beginning is to be kept.
    begun: Vec<Position>,
    looked: Instant,
}

struct Kafka {
    input: String,
    brokers: Brokers,
    /// Nothing stands for all.
    chosen: Vec<i32>,
    latest: bool,
    open: Option<Open>,
}

fn make(context: &Context) -> Result<Box<dyn Take>, String> {
    let settings = context.settings;
    let number = |text: &String| match text.parse::<i32>() {
        Ok(number @ 0..) => Ok(number),
        _ => Err(format!("partitions: '{text}' is no number of a partition")),
    };
    Ok(Box::new(Kafka {
        input: context.name.to_owned(),
        brokers: Brokers::new(settings, context.tls)?,
        chosen: settings.list("partitions").iter().map(number).collect::<Result<_, _>>()?,
        latest: settings.text("from") == "latest",
        open: None,
    }))
}

impl Kafka {
    fn place(&self, partition: i32) -> String {
        format!("{}/{partition}", self.brokers.topic)
    }

    fn position(&self, partition: i32, next: i64) -> Position {
        Position { input: self.input.clone(), place: self.place(partition), next }
    }

    /// The partitions to read, as there are now.
    async fn numbers(&self, client: &Client) -> Result<Vec<i32>, String> {
        let all = self.brokers.partitions(client).await.map_err(|error| told(&error))?;
        if all.is_empty() {
            return Err(self.brokers.no_topic());
        }
        match self.chosen.iter().find(|chosen| !all.contains(chosen)) {
            Some(missing) => Err(format!("partitions: the topic '{}' has no partition {missing}", self.brokers.topic)),
            None if self.chosen.is_empty() => Ok(all),
            None => Ok(self.chosen.clone()),
        }
    }

    /// Begins with a partition: where the hub is in it, or else where it is configured to begin.
    async fn begin(&self, open: &mut Open, number: i32, unknown: OffsetAt) -> Answer<()> {
        let client = self.brokers.partition(&open.client, number).await?;
        let next = match open.positions.get(&self.place(number)) {
            Some(next) => *next,
            None => {
                let next = client.get_offset(unknown).await?;
                open.begun.push(self.position(number, next));
                next
            }
        };
        open.partitions.insert(number, Partition { client: Arc::new(client), next, asked: None });
        Ok(())
    }

    /// Takes what a partition gave.
    async fn got(&self, open: &mut Open, fetched: Fetched, taken: &mut Taken) -> Result<usize, String> {
        let (number, answer) = fetched;
        let Some(partition) = open.partitions.get_mut(&number) else { return Ok(0) };
        partition.asked = None;
        match answer {
            Ok(records) => {
                let Some(last) = records.last() else { return Ok(0) };
                partition.next = last.offset + 1;
                taken.positions.push(self.position(number, partition.next));
                let before = taken.bodies.len();
                taken.bodies.extend(records.into_iter().map(|record| record.record.value.unwrap_or_default()));
                Ok(taken.bodies[before..].iter().map(Vec::len).sum())
            }
            Err(Error::ServerError { protocol_error: ProtocolError::OffsetOutOfRange, .. }) => {
                let first = partition.client.get_offset(OffsetAt::Earliest).await.map_err(|error| told(&error))?;
                tracing::error!(
                    input = self.input,
                    partition = number,
                    "the broker has no longer, or not yet, what comes at {}: it goes on at {first}",
                    partition.next
                );
                partition.next = first;
                taken.positions.push(self.position(number, first));
                Ok(0)
            }
            Err(error) => Err(told(&error)),
        }
    }
}

impl Open {
    /// Asks every partition that is not being asked.
    fn ask(&mut self) {
        let bytes = (BYTES / self.partitions.len().max(1)).max(PARTITION_BYTES_MIN);
        let bytes = 1..i32::try_from(bytes).unwrap_or(i32::MAX);
        for (number, partition) in &mut self.partitions {
            if partition.asked.is_none() {
                partition.asked = Some(Instant::now());
                let (number, client, next, bytes) = (*number, partition.client.clone(), partition.next, bytes.clone());
                self.flying.spawn(async move {
                    let answer = client.fetch_records(next, bytes, HELD_MS).await;
                    (number, answer.map(|(records, _)| records))
                });
            }
        }
    }
}

#[async_trait::async_trait]
impl Take for Kafka {
    async fn connect(&mut self, positions: &BTreeMap<String, i64>) -> Result<(), String> {
        self.open = None;
        let client = self.brokers.client().await.map_err(|error| told(&error))?;
        let numbers = self.numbers(&client).await?;
        let (partitions, flying, begun) = (BTreeMap::new(), JoinSet::new(), Vec::new());
        let positions = positions.clone();
        let mut open = Open { client, partitions, flying, positions, begun, looked: Instant::now() };
        for number in numbers {
            let unknown = if self.latest { OffsetAt::Latest } else { OffsetAt::Earliest };
            self.begin(&mut open, number, unknown).await.map_err(|error| told(&error))?;
        }
        self.open = Some(open);
        Ok(())
    }

    async fn take(&mut self) -> Result<Taken, String> {
        // Taken away: after a failure everything is asked anew.
        let mut open = self.open.take().ok_or("the connection is closed")?;
        if open.looked.elapsed() > LOOK_EVERY {
            open.looked = Instant::now();
            for number in self.numbers(&open.client).await? {
                if !open.partitions.contains_key(&number) {
                    // Nothing of it was there when the input began.
                    let begun = self.begin(&mut open, number, OffsetAt::Earliest).await;
                    begun.map_err(|error| told(&error))?;
                }
            }
        }
        let (mut taken, mut bytes) = (Taken { positions: std::mem::take(&mut open.begun), ..Taken::default() }, 0);
        open.ask();
        if open.partitions.values().any(|one| one.asked.is_some_and(|since| since.elapsed() > ANSWER_WITHIN)) {
            return Err(format!("no answer within {ANSWER_WITHIN:?}"));
        }
        let wait = if taken.positions.is_empty() { WAIT } else { Duration::ZERO };
        let mut next = timeout(wait, open.flying.join_next()).await.ok().flatten();
        while let Some(fetched) = next {
            let fetched = fetched.map_err(|_| "asking a partition failed (a fault of the hub: please report it)")?;
            bytes += self.got(&mut open, fetched, &mut taken).await?;
            next = if taken.full(bytes) { None } else { open.flying.try_join_next() };
        }
        self.open = Some(open);
        Ok(taken)
    }

    /// That is in the hub's database with the alerts.
    async fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn leave(&mut self) {
        self.open = None;
    }
}
