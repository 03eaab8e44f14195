//! Datadog logs: a log record for each alert.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "datadoglogs",
    label: "DatadogLogs",
    destination: "datadoglogs",
    category: "logs",
    meaning: "A log record for each alert, whose message is the alert as JSON.",
    required: &["apikey"],
    keys: &[
        &[
            Key::secret("apikey", "key of the API"),
            Key::text("host", "https://http-intake.logs.datadoghq.com/", "address of the service"),
            Key::text("service", "", "service of the records"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct DatadogLogs {
    url: String,
    key: String,
    service: String,
}

#[derive(serde::Serialize)]
struct Record<'a> {
    ddsource: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    ddtags: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: &'a str,
    message: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = settings.text_or("host", "https://http-intake.logs.datadoghq.com");
    Ok(Box::new(DatadogLogs {
        url: endpoint(&format!("{}/api/v2/logs", host.trim_end_matches('/')))?,
        key: settings.text("apikey").to_owned(),
        service: settings.text("service").to_owned(),
    }))
}

impl Payload for DatadogLogs {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let record = Record {
                ddsource: "falco",
                ddtags: alert.sorted_tags().join(","),
                hostname: &alert.hostname,
                message: alert.line(),
                service: &self.service,
            };
            Request::post(&*self.url, go(&record)).header("DD-API-KEY", &*self.key)
        };
        Ok(alerts.iter().map(request).collect())
    }
}
