//! AWS Kinesis: a record of a stream for each alert.

use super::{Aws, SHARED, judge};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Answer, Payload, Request};
use crate::hub::forward::{Context, Failure, Kind, Work};
use crate::hub::json::go;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use serde_json::json;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "aws.kinesis",
    label: "AWSKinesis",
    destination: "awskinesis",
    category: "queue",
    meaning: "Each alert as JSON, a record of a stream, its uuid as partition key.",
    required: &["streamname"],
    keys: &[&[Key::text("streamname", "", "name of the stream")], HTTP],
    shared: SHARED,
    work: Work::Http(make),
};

/// A stream of AWS, or of a service that speaks as it does.
pub struct Kinesis {
    pub aws: Aws,
    pub stream: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    Ok(Box::new(Kinesis { aws: Aws::new(context)?, stream: context.settings.text("streamname").to_owned() }))
}

#[async_trait::async_trait]
impl Payload for Kinesis {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let body = go(&json!({
                "StreamName": self.stream, "Data": STANDARD.encode(alert.line()), "PartitionKey": alert.uuid,
            }));
            let url = format!("{}/", self.aws.url("kinesis"));
            self.aws.json("kinesis", "1.1", "Kinesis_20131202.PutRecord", url, body)
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
