//! Wavefront: a point for each alert, to a proxy over TCP or to the service itself.

use super::http::{Request, client, endpoint, outcome, send};
use super::{Batch, Context, Failure, Forward, Kind, Work, all, lines};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type, Unit};
use crate::hub::json::head;
use reqwest::Client;
use std::fmt::Write as _;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "wavefront",
    label: "Wavefront",
    destination: "wavefront",
    category: "metrics",
    meaning: "A point of value 1 for each alert, its fields as point tags.",
    required: &["endpointtype", "endpointhost"],
    keys: &[&[
        Key::new(
            "endpointtype",
            Type::Choice(&["", "direct", "proxy"]),
            "",
            "direct to the service, or through a proxy",
        ),
        Key::text("endpointhost", "", "name or address of it"),
        Key::secret("endpointtoken", "token, when direct"),
        Key::text("metricname", "falco.alert", "name of the metric"),
        Key::int("endpointmetricport", "2878", "port of the proxy"),
        Key::new("flushintervalseconds", Type::Duration(Unit::Seconds), "1", "time to wait for more alerts"),
        Key::int("batchsize", "10000", "points of one delivery, at most 128"),
        Key::flag("checkcert", "true", "verify the server's certificate, when direct"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

/// Alerts of one delivery.
const BATCH_MAX: usize = 128;
/// The bytes that the name and the value of a tag may have together.
const TAG_MAX: usize = 254;

enum Target {
    Proxy(String),
    Direct { client: Client, url: String, token: String },
}

struct Wavefront {
    target: Target,
    metric: String,
    batch: Batch,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let host = settings.text("endpointhost");
    let target = match settings.text("endpointtype") {
        "direct" => Target::Direct {
            client: client(context, settings.flag("checkcert"), false)?,
            url: match host.contains("://") {
                true => endpoint(&format!("{}/report?f=wavefront", host.trim_end_matches('/')))?,
                false => endpoint(&format!("https://{host}/report?f=wavefront"))?,
            },
            token: settings.text("endpointtoken").to_owned(),
        },
        _ => Target::Proxy(lines::address(host, settings.int("endpointmetricport"))?),
    };
    let alerts = usize::try_from(settings.int("batchsize")).unwrap_or(1).clamp(1, BATCH_MAX);
    let batch = Batch { alerts, bytes: 1 << 20, linger: settings.duration("flushintervalseconds") };
    Ok(Box::new(Wavefront { target, metric: settings.text("metricname").to_owned(), batch }))
}

/// A text between quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "))
}

/// A name of a tag: what it may not have becomes `_`.
fn name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// `"metric" 1 SECONDS source="falco-exporter" "tag"="value" ...`
fn line(metric: &str, alert: &Alert) -> String {
    let mut line = format!("{} 1 {} source=\"falco-exporter\"", quoted(metric), alert.time.at.as_second());
    let mut tag = |key: &str, value: &str| {
        let key = name(key);
        let value = head(value, TAG_MAX.saturating_sub(key.len()));
        if !value.is_empty() {
            // Writing to a text does not fail.
            let _ = write!(line, " {}={}", quoted(&key), quoted(value));
        }
    };
    tag("severity", alert.priority.name());
    tag("rule", &alert.rule);
    tag("source", &alert.source);
    tag("hostname", &alert.hostname);
    alert.text_fields().for_each(|(key, value)| tag(key, value));
    tag("tags", &alert.sorted_tags().join(", "));
    line.push('\n');
    line
}

#[async_trait::async_trait]
impl Forward for Wavefront {
    fn batch(&self) -> Batch {
        self.batch
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let text: String = alerts.iter().map(|alert| line(&self.metric, alert)).collect();
        let sent = match &self.target {
            Target::Proxy(address) => lines::send(address, None, text.as_bytes())
                .await
                .map_err(|error| Failure::down(format!("{address}: {error}"))),
            Target::Direct { client, url, token } => {
                let request = Request::post(url, text.into_bytes())
                    .header("Content-Type", "application/octet-stream")
                    .header("Authorization", format!("Bearer {token}"))
                    .gzip();
                send(client, request).await.and_then(|answer| outcome(&answer))
            }
        };
        all(alerts, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let mut alert = Alert::test();
        alert.time = crate::hub::alert::Time::parse("2001-01-01T01:10:00Z").expect("valid");
        alert.rule = "a \"b\"\n".to_owned();
        alert.output_fields.insert("x[0]".to_owned(), "y".into());
        assert_eq!(
            line("falco.alert", &alert),
            "\"falco.alert\" 1 978311400 source=\"falco-exporter\" \"severity\"=\"Debug\" \"rule\"=\"a \\\"b\\\" \" \
             \"source\"=\"debug\" \"hostname\"=\"falcosidekick\" \"proc.name\"=\"falcosidekick\" \
             \"user.name\"=\"falcosidekick\" \"x_0_\"=\"y\" \"tags\"=\"example, test\"\n"
        );
    }
}
