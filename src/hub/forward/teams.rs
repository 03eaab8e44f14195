//! Microsoft Teams: a message card to a connector.

use super::chat::{COLOR_ICON, color};
use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "teams",
    label: "Teams",
    destination: "teams",
    category: "chat",
    meaning: "A message card for each alert.",
    required: &["webhookurl"],
    keys: &[
        &[
            Key::secret("webhookurl", "address of the connector"),
            Key::text("activityimage", COLOR_ICON, "picture beside the message"),
            Key::new("outputformat", Type::Choice(&["all", "text", "facts"]), "all", "the text, the facts, or both"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Teams {
    url: String,
    image: String,
    format: String,
}

#[derive(serde::Serialize)]
struct Card<'a> {
    #[serde(rename = "@type")]
    kind: &'static str,
    summary: &'a str,
    #[serde(rename = "themeColor")]
    color: &'a str,
    sections: [Section<'a>; 1],
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Section<'a> {
    activity_title: &'static str,
    activity_subtitle: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    activity_image: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    facts: Vec<Fact>,
}

#[derive(serde::Serialize)]
struct Fact {
    name: String,
    value: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Teams {
        url: endpoint(settings.text("webhookurl"))?,
        image: settings.text("activityimage").to_owned(),
        format: settings.text("outputformat").to_owned(),
    }))
}

impl Payload for Teams {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| Request::post(&*self.url, go(&self.card(alert)))).collect())
    }
}

impl Teams {
    fn card<'a>(&'a self, alert: &'a Alert) -> Card<'a> {
        let mut facts = Vec::new();
        if self.format != "text" {
            let mut fact =
                |name: &str, value: &str| facts.push(Fact { name: name.to_owned(), value: value.to_owned() });
            fact("rule", &alert.rule);
            fact("priority", alert.priority.name());
            fact("source", &alert.source);
            if !alert.hostname.is_empty() {
                fact("hostname", &alert.hostname);
            }
            alert.text_fields().for_each(|(name, value)| fact(name, value));
            if !alert.tags.is_empty() {
                fact("tags", &alert.sorted_tags().join(", "));
            }
        }
        Card {
            kind: "MessageCard",
            summary: &alert.output,
            color: color(alert.priority).trim_start_matches('#'),
            sections: [Section {
                activity_title: "Falcosidekick",
                activity_subtitle: alert.time.go(),
                activity_image: &self.image,
                text: if self.format == "facts" { "" } else { &alert.output },
                facts,
            }],
        }
    }
}
