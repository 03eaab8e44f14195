//! AWS SQS: a message for each alert.

use super::{Aws, SHARED, judge};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Answer, Payload, Request, endpoint};
use crate::hub::forward::{Context, Failure, Kind, Work};
use crate::hub::json::go;
use reqwest::Client;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "aws.sqs",
    label: "AWSSQS",
    destination: "awssqs",
    category: "queue",
    meaning: "Each alert as JSON, a message of a queue.",
    required: &["url"],
    keys: &[&[Key::text("url", "", "address of the queue")], HTTP],
    shared: SHARED,
    work: Work::Http(make),
};

struct Sqs {
    aws: Aws,
    queue: String,
    /// Where requests go: where the queue is.
    url: String,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message<'a> {
    queue_url: &'a str,
    message_body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_deduplication_id: Option<&'a str>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let queue = endpoint(context.settings.text("url"))?;
    let url = reqwest::Url::parse(&queue).and_then(|url| url.join("/")).map_err(|error| error.to_string())?;
    Ok(Box::new(Sqs { aws: Aws::new(context)?, queue, url: url.into() }))
}

#[async_trait::async_trait]
impl Payload for Sqs {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let fifo = self.queue.ends_with(".fifo");
        let request = |alert: &Arc<Alert>| {
            let message = Message {
                queue_url: &self.queue,
                message_body: alert.line(),
                // A queue of this kind wants both, and drops repetitions by the second.
                message_group_id: fifo.then_some("falco"),
                message_deduplication_id: fifo.then_some(&alert.uuid),
            };
            self.aws.json("sqs", "1.0", "AmazonSQS.SendMessage", self.url.clone(), go(&message))
        };
        alerts.iter().map(request).collect()
    }

    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        judge(answer, alerts)
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.aws.prepare(client).await
    }
}
