//! AWS CloudWatch Logs: a log event for each alert, in a stream that is made when it is absent.

use super::{Aws, SHARED, judge};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Answer, Payload, Request, send, status_text};
use crate::hub::forward::{Batch, Context, Failure, Kind, Work};
use crate::hub::json::go;
use reqwest::Client;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "aws.cloudwatchlogs",
    label: "AWSCloudWatchLogs",
    destination: "awscloudwatchlogs",
    category: "logs",
    meaning: "Each alert as JSON, a log event of a stream. The log group must be there.",
    required: &["loggroup"],
    keys: &[
        &[
            Key::text("loggroup", "", "name of the log group"),
            Key::text("logstream", "", "name of the stream; falcosidekick-logstream when empty"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

struct CloudWatchLogs {
    aws: Aws,
    group: String,
    stream: String,
    seen: AtomicBool,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(CloudWatchLogs {
        aws: Aws::new(context)?,
        group: settings.text("loggroup").to_owned(),
        stream: settings.text_or("logstream", "falcosidekick-logstream"),
        seen: AtomicBool::new(false),
    }))
}

impl CloudWatchLogs {
    fn request(&self, target: &str, body: &Value) -> Result<Request, Failure> {
        let url = format!("{}/", self.aws.url("logs"));
        self.aws.json("logs", "1.1", &format!("Logs_20140328.{target}"), url, go(body))
    }
}

/// The alerts' places in the order of time, which the service asks for.
fn by_time(alerts: &[Arc<Alert>]) -> Vec<usize> {
    let mut order: Vec<_> = (0..alerts.len()).collect();
    order.sort_by_key(|i| alerts[*i].time.at);
    order
}

#[async_trait::async_trait]
impl Payload for CloudWatchLogs {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 19, linger: Duration::ZERO }
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let event = |i: usize| json!({"timestamp": alerts[i].time.at.as_millisecond(), "message": alerts[i].line()});
        let events: Vec<_> = by_time(alerts).into_iter().map(event).collect();
        let body = json!({"logGroupName": self.group, "logStreamName": self.stream, "logEvents": events});
        Ok(vec![self.request("PutLogEvents", &body)?])
    }

    /// Events outside of the times that the service keeps are refused in an answer that says 200.
    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let mut outcomes = judge(answer, alerts);
        if answer.body.contains("ResourceNotFoundException") {
            self.seen.store(false, Ordering::Relaxed);
        }
        let read: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let info = &read["rejectedLogEventsInfo"];
        let at = |name: &str| info[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let old = at("tooOldLogEventEndIndex").max(at("expiredLogEventEndIndex")).unwrap_or(0);
        let new = at("tooNewLogEventStartIndex").unwrap_or(usize::MAX);
        for (place, i) in by_time(alerts).into_iter().enumerate() {
            if place < old || place >= new {
                let what = if place < old { "older than the log group keeps" } else { "too far in the future" };
                outcomes[i] = Err(Failure::Impossible(format!("the alert's time is {what}")));
            }
        }
        outcomes
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.aws.prepare(client).await?;
        if !self.seen.load(Ordering::Relaxed) {
            let stream = json!({"logGroupName": self.group, "logStreamName": self.stream});
            let answer = send(client, self.request("CreateLogStream", &stream)?).await?;
            if !answer.status.is_success() && !answer.body.contains("ResourceAlreadyExistsException") {
                return Err(Failure::down(format!("the log stream: {}", status_text(answer.status, &answer.body))));
            }
            self.seen.store(true, Ordering::Relaxed);
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::alert::Time;

    #[test]
    fn events_that_are_refused() {
        let at = |time: &str| Arc::new(Alert { time: Time::parse(time).expect("valid"), ..Alert::test() });
        let alerts = [at("2024-01-03T00:00:00Z"), at("2024-01-01T00:00:00Z"), at("2024-01-02T00:00:00Z")];
        let output = CloudWatchLogs {
            aws: Aws::other("r", "http://x", "k", "s").expect("valid"),
            group: "g".to_owned(),
            stream: "s".to_owned(),
            seen: AtomicBool::new(true),
        };
        let body = r#"{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1,"tooNewLogEventStartIndex":2}}"#;
        let outcomes = output.judge(&Answer { body: body.to_owned(), ..Answer::default() }, &alerts);
        let refused: Vec<_> = outcomes.iter().map(Result::is_err).collect();
        assert_eq!(refused, [true, true, false], "the newest and the oldest");
    }
}
