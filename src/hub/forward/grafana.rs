//! Grafana: an annotation for each alert.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "grafana",
    label: "Grafana",
    destination: "grafana",
    category: "metrics",
    meaning: "An annotation for each alert, of a dashboard and panel or of the whole organisation.",
    required: &["hostport", "apikey"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::secret("apikey", "token of a service account"),
            Key::int("dashboardid", "0", "dashboard of the annotations; 0 is none"),
            Key::int("panelid", "0", "its panel; 0 is none"),
            Key::flag("allfieldsastags", "false", "the values of the fields, and the alert's tags, as tags"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Grafana {
    url: String,
    key: String,
    dashboard: i64,
    panel: i64,
    fields: bool,
    headers: Vec<(String, String)>,
}

#[derive(serde::Serialize)]
struct Annotation<'a> {
    #[serde(rename = "dashboardId", skip_serializing_if = "is_zero")]
    dashboard: i64,
    #[serde(rename = "panelId", skip_serializing_if = "is_zero")]
    panel: i64,
    time: i64,
    #[serde(rename = "timeEnd")]
    time_end: i64,
    tags: Vec<String>,
    text: &'a str,
}

// The form that serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Grafana {
        url: endpoint(&format!("{}/api/annotations", settings.text("hostport").trim_end_matches('/')))?,
        key: settings.text("apikey").to_owned(),
        dashboard: settings.int("dashboardid"),
        panel: settings.int("panelid"),
        fields: settings.flag("allfieldsastags"),
        headers: settings.map("customheaders").to_vec(),
    }))
}

impl Grafana {
    fn annotation<'a>(&self, alert: &'a Alert) -> Annotation<'a> {
        let mut tags: Vec<String> =
            ["falco", alert.priority.name(), &alert.rule, &alert.source].map(str::to_owned).into();
        if !alert.hostname.is_empty() {
            tags.push(alert.hostname.clone());
        }
        if self.fields {
            tags.extend(alert.output_fields.values().map(ToString::to_string));
            tags.extend(alert.tags.iter().cloned());
        }
        let time = alert.time.at.as_millisecond();
        Annotation { dashboard: self.dashboard, panel: self.panel, time, time_end: time, tags, text: &alert.output }
    }
}

impl Payload for Grafana {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            Request::post(&*self.url, go(&self.annotation(alert)))
                .header("Authorization", format!("Bearer {}", self.key))
                .headers(&self.headers)
        };
        Ok(alerts.iter().map(request).collect())
    }
}
