//! Alertmanager of Prometheus: one alert with labels and annotations, to every host that is named.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority, Time};
use crate::hub::config::keys::{HTTP, Key, Type, Unit};
use crate::hub::json::{Json, go};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "alertmanager",
    label: "AlertManager",
    destination: "alertmanager",
    category: "alerting",
    meaning: "Each alert to every Alertmanager, with its fields as labels.",
    required: &["hostport"],
    keys: &[
        &[
            Key::new("hostport", Type::List, "", "addresses: http://host:port"),
            Key::text("endpoint", "/api/v2/alerts", "path behind the address"),
            Key::new("expiresafter", Type::Duration(Unit::Seconds), "0", "time after which the alert is resolved"),
            Key::new("extralabels", Type::Map, "", "further labels"),
            Key::new("extraannotations", Type::Map, "", "further annotations"),
            Key::new("customseveritymap", Type::Map, "", "label severity by priority, where it differs"),
            Key::new("dropeventdefaultpriority", Type::Priority, "critical", "of drops when there are no thresholds"),
            Key::new(
                "dropeventthresholds",
                Type::Map,
                "10000:critical, 1000:critical, 100:critical, 10:warning, 1:warning",
                "number of drops above which an alert about drops has a priority",
            ),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Alertmanager {
    urls: Vec<String>,
    expires: Duration,
    labels: Vec<(String, String)>,
    annotations: Vec<(String, String)>,
    severities: Vec<(Priority, String)>,
    drop_default: Priority,
    /// The highest first.
    thresholds: Vec<(i64, Priority)>,
    headers: Vec<(String, String)>,
}

#[derive(serde::Serialize)]
struct Posted<'a> {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "endsAt")]
    ends_at: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let path = settings.text("endpoint");
    let urls = settings.list("hostport").iter().map(|host| endpoint(&format!("{host}{path}")));
    let priority = |key: &str, name: &str| match Priority::from_name(name) {
        Priority::Unknown => Err(format!("{key}: '{name}' is not a priority")),
        priority => Ok(priority),
    };
    let mut thresholds = Vec::new();
    for (number, name) in settings.map("dropeventthresholds") {
        let number = number.parse().map_err(|_| format!("dropeventthresholds: '{number}' is not a number"))?;
        thresholds.push((number, priority("dropeventthresholds", name)?));
    }
    thresholds.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut severities = Vec::new();
    for (name, severity) in settings.map("customseveritymap") {
        severities.push((priority("customseveritymap", name)?, severity.clone()));
    }
    Ok(Box::new(Alertmanager {
        urls: urls.collect::<Result<_, _>>()?,
        expires: settings.duration("expiresafter"),
        labels: settings.map("extralabels").to_vec(),
        annotations: settings.map("extraannotations").to_vec(),
        severities,
        drop_default: settings.priority("dropeventdefaultpriority"),
        thresholds,
        headers: settings.map("customheaders").to_vec(),
    }))
}

/// A name that Prometheus takes for a label.
pub fn safe_label(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }) {
        if c != '_' || !safe.ends_with('_') {
            safe.push(c);
        }
    }
    safe.trim_matches('_').to_owned()
}

impl Alertmanager {
    fn alert<'a>(&'a self, alert: &'a Alert) -> Posted<'a> {
        let mut priority = alert.priority;
        let mut labels = BTreeMap::new();
        for (name, value) in &alert.output_fields {
            let text = match value {
                Json::String(text) => text.as_str(),
                Json::Number(text) => text,
                _ => continue,
            };
            if name.starts_with("n_evts") {
                continue;
            }
            let mut text = text.to_owned();
            // Numbers of drops would be new labels every time.
            if name.starts_with("n_drop")
                && let Ok(number) = text.parse::<i64>()
            {
                let exceeded = self.thresholds.iter().find(|(threshold, _)| number > *threshold);
                let least = match exceeded {
                    Some((threshold, least)) => {
                        text = format!(">{threshold}");
                        *least
                    }
                    None if number > 0 && self.thresholds.is_empty() => self.drop_default,
                    None => Priority::Warning,
                };
                priority = priority.max(least);
            }
            labels.insert(safe_label(name), text);
        }
        let severity = self.severities.iter().find(|(of, _)| *of == priority).map(|(_, severity)| severity.as_str());
        let severity = severity.unwrap_or(match priority {
            Priority::Unknown | Priority::Debug | Priority::Informational | Priority::Notice => "information",
            Priority::Warning | Priority::Error => "warning",
            Priority::Critical | Priority::Alert | Priority::Emergency => "critical",
        });
        let fixed = [
            ("source", "falco"),
            ("rule", &alert.rule),
            ("alertname", &alert.rule),
            ("eventsource", &alert.source),
            ("priority", priority.name()),
            ("severity", severity),
        ];
        labels.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if !alert.hostname.is_empty() {
            labels.insert("hostname".to_owned(), alert.hostname.clone());
        }
        if !alert.tags.is_empty() {
            labels.insert("tags".to_owned(), alert.sorted_tags().join(","));
        }
        labels.extend(self.labels.iter().cloned());
        let mut annotations =
            BTreeMap::from([("info", &*alert.output), ("description", &*alert.output), ("summary", &*alert.rule)]);
        annotations.extend(self.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let ends_at = match self.expires {
            Duration::ZERO => "0001-01-01T00:00:00Z".to_owned(),
            expires => {
                let at = alert.time.at.checked_add(expires).unwrap_or(jiff::Timestamp::MAX);
                Time { at, offset: alert.time.offset }.rfc3339()
            }
        };
        Posted { labels, annotations, ends_at }
    }
}

impl Payload for Alertmanager {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let posted: Vec<_> = alerts.iter().map(|alert| self.alert(alert)).collect();
        let body = go(&posted);
        Ok(self.urls.iter().map(|url| Request::post(url, body.clone()).headers(&self.headers)).collect())
    }
}
