//! MQTT 3.1.1: a message on a topic for each alert.
//!
//! A connection for each delivery. With `qos` 1 and 2 the broker acknowledges each message. With 0 it does not, but it
//! answers a request behind them (to unsubscribe from what nobody subscribed to), which it reads later.

use super::{Batch, Context, Failure, Forward, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use reqwest::Url;
use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS, TlsConfiguration, Transport};
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "mqtt",
    label: "MQTT",
    destination: "mqtt",
    category: "queue",
    meaning: "Each alert as JSON, a message on a topic.",
    required: &["broker"],
    keys: &[&[
        Key::text("broker", "", "address: tcp://host:1883, or ssl://host:8883"),
        Key::text("topic", "falco/events", "topic"),
        Key::new("qos", Type::Choice(&["0", "1", "2"]), "0", "quality of service"),
        Key::flag("retained", "false", "the broker keeps the last message"),
        Key::text("user", "", "user"),
        Key::secret("password", "its password"),
        Key::flag("checkcert", "true", "verify the server's certificate"),
        Key::flag("mutualtls", "false", "present the client certificate of mutualtlsclient (ours)"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

/// Alerts on one connection.
const BATCH_MAX: usize = 64;
/// The same with `qos` 2. mosquitto acknowledges such messages beyond 20 at a time, and drops them.
const EXACTLY_ONCE_MAX: usize = 16;
/// The most that a message may have: what the hub takes, and more.
const PACKET_MAX: usize = 16 << 20;

struct Mqtt {
    options: MqttOptions,
    topic: String,
    qos: QoS,
    retained: bool,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let broker = settings.text("broker");
    let with_scheme = if broker.contains("://") { broker.to_owned() } else { format!("tcp://{broker}") };
    let bad = |why: &dyn std::fmt::Display| format!("'{broker}' is not an address (tcp://host:1883): {why}");
    let url = Url::parse(&with_scheme).map_err(|error| bad(&error))?;
    let secure = match url.scheme() {
        "tcp" | "mqtt" => false,
        "ssl" | "tls" | "mqtts" | "mqtt+ssl" | "tcps" => true,
        scheme => return Err(bad(&format!("'{scheme}' is not supported; tcp, mqtt, ssl, tls and mqtts are"))),
    };
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad(&"it names no host"))?;
    let suffix: String = std::iter::repeat_with(fastrand::alphanumeric).take(6).collect();
    let port = url.port().unwrap_or(if secure { 8883 } else { 1883 });
    let mut options = MqttOptions::new(format!("falcosidekick-{suffix}"), host.trim_matches(['[', ']']), port);
    options.set_max_packet_size(PACKET_MAX, PACKET_MAX).set_keep_alive(Duration::from_secs(30));
    let (user, password) = (settings.text("user"), settings.text("password"));
    if !user.is_empty() {
        options.set_credentials(user, password);
    }
    if secure {
        let tls = context.tls.client(settings.flag("checkcert"), settings.flag("mutualtls"), None)?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls))));
    }
    let topic = settings.text("topic");
    if topic.is_empty() || topic.contains(['#', '+']) {
        return Err(format!("topic: '{topic}' is not a topic to publish on: it is empty, or has # or +"));
    }
    Ok(Box::new(Mqtt {
        options,
        topic: topic.to_owned(),
        qos: match settings.text("qos") {
            "2" => QoS::ExactlyOnce,
            "1" => QoS::AtLeastOnce,
            _ => QoS::AtMostOnce,
        },
        retained: settings.flag("retained"),
    }))
}

impl Mqtt {
    async fn publish(&self, alerts: &[Arc<Alert>]) -> Result<(), String> {
        // There is room for every request, so none waits for the loop below.
        let (client, mut events) = AsyncClient::new(self.options.clone(), BATCH_MAX + 8);
        for alert in alerts {
            let sent = client.publish(&*self.topic, self.qos, self.retained, alert.line()).await;
            sent.map_err(|error| error.to_string())?;
        }
        if self.qos == QoS::AtMostOnce {
            client.unsubscribe("falco-hub/none").await.map_err(|error| error.to_string())?;
        }
        let mut left = if self.qos == QoS::AtMostOnce { 1 } else { alerts.len() };
        while left > 0 {
            match events.poll().await.map_err(|error| error.to_string())? {
                Event::Incoming(Packet::UnsubAck(_) | Packet::PubAck(_) | Packet::PubComp(_)) => left -= 1,
                Event::Incoming(Packet::Disconnect) => return Err("the broker ended the connection".to_owned()),
                _ => {}
            }
        }
        // All is there; that the farewell fails does not matter.
        if client.disconnect().await.is_ok() {
            while let Ok(event) = events.poll().await {
                if event == Event::Outgoing(Outgoing::Disconnect) {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Forward for Mqtt {
    fn batch(&self) -> Batch {
        let alerts = if self.qos == QoS::ExactlyOnce { EXACTLY_ONCE_MAX } else { BATCH_MAX };
        Batch { alerts, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        all(alerts, self.publish(alerts).await.map_err(Failure::down))
    }
}
