//! InfluxDB: a point for each alert in the measurement `events`, by the API of version 1 or 2.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "influxdb",
    label: "Influxdb",
    destination: "influxdb",
    category: "database",
    meaning: "A point for each alert, its fields as tags, its text as value.",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::text("database", "falco", "database (version 1)"),
            Key::text("organization", "", "organization (version 2, with bucket)"),
            Key::text("bucket", "falco", "bucket (version 2, with organization)"),
            Key::new("precision", Type::Choice(&["ns", "us", "ms", "s"]), "ns", "unit of time"),
            Key::text("user", "", "user (version 1, without token)"),
            Key::secret("password", "its password"),
            Key::secret("token", "token"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct InfluxDb {
    url: String,
    token: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let text = |key: &str| settings.text(key);
    let second = !text("organization").is_empty() && !text("bucket").is_empty();
    let path = if second { "/api/v2/write" } else { "/write" };
    let base = endpoint(&format!("{}{path}", text("hostport").trim_end_matches('/')))?;
    let mut url = reqwest::Url::parse(&base).map_err(|error| error.to_string())?;
    {
        let mut query = url.query_pairs_mut();
        if second {
            query.append_pair("org", text("organization")).append_pair("bucket", text("bucket"));
        } else {
            query.append_pair("db", text("database"));
        }
        if !second && text("token").is_empty() && !text("user").is_empty() {
            query.append_pair("u", text("user")).append_pair("p", text("password"));
        }
        query.append_pair("precision", text("precision"));
    }
    Ok(Box::new(InfluxDb { url: url.into(), token: text("token").to_owned() }))
}

/// A point in the line protocol. Blanks become `_`, what separates is escaped, tags without a value are left out.
fn point(alert: &Alert) -> String {
    let mut line = "events".to_owned();
    let escaped = |text: &str| {
        let text = text.replace(['\n', '\r', ' '], "_").replace(',', "\\,").replace('=', "\\=");
        // A backslash at the end would escape what follows.
        text.trim_end_matches('\\').to_owned()
    };
    let mut tag = |name: &str, value: &str| {
        let value = escaped(value);
        if !value.is_empty() {
            line.push_str(&format!(",{}={value}", escaped(name)));
        }
    };
    tag("rule", &alert.rule);
    tag("priority", alert.priority.name());
    tag("source", &alert.source);
    alert.text_fields().for_each(|(name, value)| tag(name, value));
    tag("hostname", &alert.hostname);
    tag("tags", &alert.tags.join("_"));
    let value = alert.output.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{line} value=\"{value}\"")
}

impl Payload for InfluxDb {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(&*self.url, point(alert).into_bytes());
            let request = request.header("Content-Type", "text/plain; charset=utf-8");
            match self.token.as_str() {
                "" => request,
                token => request.header("Authorization", format!("Token {token}")),
            }
        };
        Ok(alerts.iter().map(request).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_is_escaped() {
        let mut alert = Alert::test();
        alert.rule = "a, b=c\\".to_owned();
        alert.output = "say \"x\" \\".to_owned();
        let line = point(&alert);
        assert!(line.starts_with("events,rule=a\\,_b\\=c,priority=Debug,"), "{line}");
        assert!(line.ends_with(" value=\"say \\\"x\\\" \\\\\""), "{line}");
    }
}
