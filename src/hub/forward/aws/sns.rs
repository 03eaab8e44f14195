//! AWS SNS: a notification for each alert.

use super::{Aws, SHARED, judge};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Answer, Payload, Request};
use crate::hub::forward::{Context, Failure, Kind, Work};
use crate::hub::json::Json;
use reqwest::{Client, Url};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "aws.sns",
    label: "AWSSNS",
    destination: "awssns",
    category: "queue",
    meaning: "A notification for each alert: its text with the fields as attributes, or the alert as JSON.",
    required: &["topicarn"],
    keys: &[
        &[
            Key::text("topicarn", "", "ARN of the topic"),
            Key::flag("rawjson", "false", "send the alert as JSON, without attributes"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

struct Sns {
    aws: Aws,
    topic: String,
    raw: bool,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Sns {
        aws: Aws::new(context)?,
        topic: settings.text("topicarn").to_owned(),
        raw: settings.flag("rawjson"),
    }))
}

impl Sns {
    /// Name, type and value of the attributes.
    fn attributes(alert: &Alert) -> Vec<(String, &'static str, String)> {
        let text = |name: &str, value: &str| (name.to_owned(), "String", value.to_owned());
        let mut attributes = vec![
            text("priority", alert.priority.name()),
            text("rule", &alert.rule),
            text("source", &alert.source),
            text("hostname", &alert.hostname),
            text("tags", &alert.sorted_tags().join(",")),
        ];
        for (name, value) in &alert.output_fields {
            let kind = if matches!(value, Json::Number(_)) { "Number" } else { "String" };
            attributes.push((name.replace('[', ".").replace(']', ""), kind, value.to_string()));
        }
        // The service refuses a message with an empty one.
        attributes.retain(|(_, _, value)| !value.is_empty());
        attributes
    }

    fn form(&self, alert: &Alert) -> Result<Vec<u8>, Failure> {
        // The query of an address is written as a form's body is.
        let mut url = Url::parse("http://form/").map_err(Failure::down)?;
        let mut form = url.query_pairs_mut();
        form.append_pair("Action", "Publish").append_pair("Version", "2010-03-31");
        form.append_pair("TopicArn", &self.topic);
        if self.raw {
            form.append_pair("Message", &alert.line());
        } else {
            form.append_pair("Message", &alert.output);
            for (i, (name, kind, value)) in Self::attributes(alert).iter().enumerate() {
                let prefix = format!("MessageAttributes.entry.{}", i + 1);
                form.append_pair(&format!("{prefix}.Name"), name);
                form.append_pair(&format!("{prefix}.Value.DataType"), kind);
                form.append_pair(&format!("{prefix}.Value.StringValue"), value);
            }
        }
        if self.topic.ends_with(".fifo") {
            form.append_pair("MessageGroupId", "falco").append_pair("MessageDeduplicationId", &alert.uuid);
        }
        drop(form);
        Ok(url.query().unwrap_or_default().as_bytes().to_vec())
    }
}

#[async_trait::async_trait]
impl Payload for Sns {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(format!("{}/", self.aws.url("sns")), self.form(alert)?);
            self.aws.sign("sns", request.header("Content-Type", "application/x-www-form-urlencoded"))
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
