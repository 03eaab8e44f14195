//! Loki of Grafana: one line in a stream whose labels are of the alert.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use std::collections::BTreeMap;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "loki",
    label: "Loki",
    destination: "loki",
    category: "logs",
    meaning: "One line for each alert, labelled by rule, source, priority, host, namespace and pod.",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::text("user", "", "user of Basic authentication"),
            Key::secret("apikey", "its password"),
            Key::text("tenant", "", "tenant (X-Scope-OrgID)"),
            Key::new("format", Type::Choice(&["text", "json"]), "text", "the line: the alert's text, or all as JSON"),
            Key::text("endpoint", "/loki/api/v1/push", "path behind the address"),
            Key::new("extralabels", Type::List, "", "fields that become labels"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Loki {
    url: String,
    user: String,
    password: String,
    tenant: String,
    json: bool,
    /// Fields that become labels when they are there.
    labels: Vec<String>,
    headers: Vec<(String, String)>,
}

#[derive(serde::Serialize)]
struct Push {
    streams: Vec<Stream>,
}

#[derive(serde::Serialize)]
struct Stream {
    stream: BTreeMap<String, String>,
    values: [[String; 2]; 1],
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let names = |key: &str| context.core.map(key).iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let mut labels = vec!["k8s.ns.name".to_owned(), "k8s.pod.name".to_owned()];
    labels.extend(names("customfields"));
    labels.extend(names("templatedfields"));
    labels.extend(settings.list("extralabels").iter().cloned());
    Ok(Box::new(Loki {
        url: endpoint(&format!("{}{}", settings.text("hostport"), settings.text("endpoint")))?,
        user: settings.text("user").to_owned(),
        password: settings.text("apikey").to_owned(),
        tenant: settings.text("tenant").to_owned(),
        json: settings.text("format") == "json",
        labels,
        headers: settings.map("customheaders").to_vec(),
    }))
}

impl Loki {
    fn stream(&self, alert: &Alert) -> Stream {
        let mut stream = BTreeMap::new();
        let mut label = |name: &str, value: &str| {
            stream.insert(name.replace('.', "_").replace(['[', ']'], ""), value.replace('"', ""));
        };
        label("rule", &alert.rule);
        label("source", &alert.source);
        label("priority", alert.priority.name());
        for name in &self.labels {
            if let Some(value) = alert.field(name) {
                label(name, value);
            }
        }
        if !alert.hostname.is_empty() {
            label("hostname", &alert.hostname);
        }
        if !alert.tags.is_empty() {
            label("tags", &alert.sorted_tags().join(","));
        }
        let line = if self.json { alert.line() } else { alert.output.clone() };
        Stream { stream, values: [[alert.time.at.as_nanosecond().to_string(), line]] }
    }
}

impl Payload for Loki {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let push = Push { streams: alerts.iter().map(|alert| self.stream(alert)).collect() };
        let mut request = Request::post(&*self.url, go(&push)).header("Content-Type", "application/json");
        if !self.user.is_empty() && !self.password.is_empty() {
            request = request.basic(&self.user, &self.password);
        }
        if !self.tenant.is_empty() {
            request = request.header("X-Scope-OrgID", &*self.tenant);
        }
        Ok(vec![request.headers(&self.headers)])
    }
}
