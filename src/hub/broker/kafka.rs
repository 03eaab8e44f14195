//! Kafka's brokers, over its own protocol.
//!
//! Invariant: the client gives up soon; whoever uses it decides when to try again.

use crate::hub::causes::causes;
use crate::hub::config::Section;
use crate::hub::config::keys::{Key, Type};
use crate::hub::tls::Tls;
use rskafka::BackoffConfig;
use rskafka::client::error::{Error, Result};
use rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;

pub const CONNECTION: &[Key] = &[
    Key::text("hostport", "", "addresses of brokers, host:port, several separated by commas"),
    Key::text("topic", "", "topic"),
    Key::new("sasl", Type::Choice(&["", "PLAIN", "SCRAM_SHA256", "SCRAM_SHA512"]), "", "how to log in; not when empty"),
    Key::flag("tls", "false", "speak TLS; authorities are the system's and tlsclient.cacertfile"),
    Key::text("username", "", "user"),
    Key::secret("password", "its password"),
    Key::text("clientid", "", "what brokers know the hub by; falco-hub when empty"),
];

/// How long the client goes on by itself.
const BACKOFF: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_millis(500),
    base: 2.0,
    deadline: Some(Duration::from_secs(1)),
};

/// The brokers of a topic.
pub struct Brokers {
    brokers: Vec<String>,
    pub topic: String,
    client_id: String,
    sasl: Option<SaslConfig>,
    tls: Option<Arc<ClientConfig>>,
}

/// What an error says.
pub fn told(error: &Error) -> String {
    match error {
        Error::ServerError { protocol_error, error_message, .. } => {
            let message = error_message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            format!("the broker answered {protocol_error:?}{message}")
        }
        error => causes(error),
    }
}

impl Brokers {
    /// Of the keys of [`CONNECTION`].
    pub fn new(settings: &Section, tls: &Tls) -> std::result::Result<Brokers, String> {
        let brokers: Vec<String> =
            settings.text("hostport").split(',').map(|broker| broker.trim().to_owned()).collect();
        for broker in &brokers {
            let port =
                broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(format!("hostport: '{broker}' is not host:port"));
            }
        }
        let secure = settings.flag("tls");
        if let Some(broker) = brokers.iter().find(|broker| secure && broker.starts_with('[')) {
            return Err(format!("hostport: '{broker}': with TLS a name or an IPv4 address is needed"));
        }
        let credentials =
            || Credentials::new(settings.text("username").to_owned(), settings.text("password").to_owned());
        let sasl = match settings.text("sasl") {
            "PLAIN" => Some(SaslConfig::Plain(credentials())),
            "SCRAM_SHA256" => Some(SaslConfig::ScramSha256(credentials())),
            "SCRAM_SHA512" => Some(SaslConfig::ScramSha512(credentials())),
            _ => None,
        };
        if sasl.is_some() && settings.text("username").is_empty() {
            return Err("username: it is needed to log in (sasl)".to_owned());
        }
        Ok(Brokers {
            brokers,
            topic: settings.text("topic").to_owned(),
            client_id: settings.text_or("clientid", "falco-hub"),
            sasl,
            tls: if secure { Some(Arc::new(tls.client(true, false, None)?)) } else { None },
        })
    }

    pub async fn client(&self) -> Result<Client> {
        let mut builder = ClientBuilder::new(self.brokers.clone()).client_id(&*self.client_id).backoff_config(BACKOFF);
        if let Some(sasl) = &self.sasl {
            builder = builder.sasl_config(sasl.clone());
        }
        if let Some(tls) = &self.tls {
            builder = builder.tls_config(tls.clone());
        }
        builder.build().await
    }

    /// Numbers of the topic's partitions; none when there is no such topic.
    pub async fn partitions(&self, client: &Client) -> Result<Vec<i32>> {
        let topics = client.list_topics().await?;
        let topic = topics.into_iter().find(|topic| topic.name == self.topic);
        Ok(topic.map(|topic| topic.partitions.into_iter().collect()).unwrap_or_default())
    }

    pub async fn partition(&self, client: &Client, number: i32) -> Result<PartitionClient> {
        client.partition_client(&*self.topic, number, UnknownTopicHandling::Error).await
    }

    /// What to say when it has no partitions.
    pub fn no_topic(&self) -> String {
        format!("there is no topic '{}': create it", self.topic)
    }
}
