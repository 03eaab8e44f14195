//! Kafka REST Proxy: records of a topic over HTTP.

use super::http::{Answer, Payload, Request, endpoint, outcome};
use super::{Batch, Context, Failure, Kind, Work, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "kafkarest",
    label: "KafkaRest",
    destination: "kafkarest",
    category: "queue",
    meaning: "Each alert as JSON, a record of a topic.",
    required: &["address"],
    keys: &[
        &[
            Key::text("address", "", "address of the topic: http://host:port/topics/name"),
            Key::new("version", Type::Choice(&["2", "1"]), "2", "version of the proxy's interface"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct KafkaRest {
    address: String,
    content: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(KafkaRest {
        address: endpoint(settings.text("address"))?,
        content: format!("application/vnd.kafka.binary.v{}+json", settings.text("version")),
    }))
}

impl Payload for KafkaRest {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 19, linger: Duration::ZERO }
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let record = |alert: &Arc<Alert>| json!({"value": STANDARD.encode(alert.line())});
        let records: Vec<_> = alerts.iter().map(record).collect();
        let body = go(&json!({"records": records}));
        Ok(vec![Request::post(&*self.address, body).header("Content-Type", &*self.content)])
    }

    /// Each record has an offset or an error of its own.
    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        if !answer.status.is_success() {
            return all(alerts, outcome(answer));
        }
        let read: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match read["offsets"].as_array().filter(|offsets| offsets.len() == alerts.len()) {
            None => all(alerts, Err(Failure::down("the answer has no offset for each record"))),
            Some(offsets) => offsets
                .iter()
                .map(|offset| match (&offset["error_code"], &offset["error"]) {
                    (Value::Null, Value::Null) => Ok(()),
                    (code, error) => Err(Failure::down(format!("error {code}: {error}"))),
                })
                .collect(),
        }
    }
}
