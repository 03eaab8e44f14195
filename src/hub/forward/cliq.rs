//! Zoho Cliq: a message of a bot, with a table of the fields.

use super::chat::{ICON, MESSAGE_FORMAT, OUTPUT_FORMAT, template, text};
use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use crate::hub::template::Template;
use serde_json::{Value, json};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "cliq",
    label: "Cliq",
    destination: "cliq",
    category: "chat",
    meaning: "A message with a table of the fields for each alert.",
    required: &["webhookurl"],
    keys: &[
        &[
            Key::secret("webhookurl", "address of the channel's webhook, with its token"),
            Key::text("icon", "", "picture of the bot, where it is not the usual one"),
            Key::flag("useemoji", "false", "begin the text with a sign for the priority"),
            OUTPUT_FORMAT,
            MESSAGE_FORMAT,
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Cliq {
    url: String,
    icon: String,
    emoji: bool,
    format: String,
    template: Option<Template>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Cliq {
        url: endpoint(settings.text("webhookurl"))?,
        icon: settings.text_or("icon", ICON),
        emoji: settings.flag("useemoji"),
        format: settings.text("outputformat").to_owned(),
        template: template(settings.text("messageformat"))?,
    }))
}

fn emoji(priority: Priority) -> char {
    match priority {
        Priority::Emergency => '\u{1f6a8}',
        Priority::Alert | Priority::Critical => '\u{1f525}',
        Priority::Error => '\u{1f534}',
        Priority::Warning => '\u{1f7e0}',
        Priority::Notice => '\u{1f7e2}',
        Priority::Informational => '\u{1f535}',
        Priority::Debug | Priority::Unknown => '\u{26aa}',
    }
}

impl Payload for Cliq {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            Request::post(&*self.url, go(&self.message(alert))).header("Content-Type", "application/json")
        };
        Ok(alerts.iter().map(request).collect())
    }
}

impl Cliq {
    fn message(&self, alert: &Alert) -> Value {
        let mut slides = Vec::new();
        let mut shown = match text(self.template.as_ref(), alert) {
            Some(text) => {
                if self.format != "fields" {
                    slides.push(json!({"type": "text", "data": alert.output}));
                }
                text
            }
            None => alert.output.clone(),
        };
        if self.emoji {
            shown = format!("{} {shown}", emoji(alert.priority));
        }
        if self.format != "text" {
            let row = |field: &str, value: &str| json!({"field": field, "value": value});
            let mut rows = vec![row("rule", &alert.rule), row("priority", alert.priority.name())];
            if !alert.hostname.is_empty() {
                rows.push(row("hostname", &alert.hostname));
            }
            rows.extend(alert.text_fields().map(|(name, value)| row(name, value)));
            rows.push(row("time", &alert.time.go()));
            slides.push(json!({"type": "table", "data": {"headers": ["field", "value"], "rows": rows}}));
        }
        let mut message = json!({"text": shown, "bot": {"name": "Falcosidekick", "image": self.icon}});
        if !slides.is_empty() {
            message["slides"] = slides.into();
        }
        message
    }
}
