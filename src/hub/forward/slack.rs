//! Slack: an incoming webhook with one attachment.

use super::chat::{
    Attachment, COLOR_ICON, FOOTER, Field, ICON, MESSAGE_FORMAT, Message, OUTPUT_FORMAT, color, template, text,
};
use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use crate::hub::template::Template;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "slack",
    label: "Slack",
    destination: "slack",
    category: "chat",
    meaning: "A message with an attachment for each alert.",
    required: &["webhookurl"],
    keys: &[
        &[
            Key::secret("webhookurl", "address of the incoming webhook"),
            Key::text("channel", "", "channel, where the webhook leaves the choice"),
            Key::text("footer", FOOTER, "text below the attachment"),
            Key::text("icon", COLOR_ICON, "picture beside the message"),
            Key::text("username", "Falcosidekick", "who seems to write"),
            OUTPUT_FORMAT,
            MESSAGE_FORMAT,
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Slack {
    url: String,
    channel: String,
    footer: String,
    icon: String,
    username: String,
    format: String,
    template: Option<Template>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let text = |key: &str| settings.text(key).to_owned();
    Ok(Box::new(Slack {
        url: endpoint(settings.text("webhookurl"))?,
        channel: text("channel"),
        footer: settings.text_or("footer", FOOTER),
        icon: settings.text_or("icon", ICON),
        username: text("username"),
        format: text("outputformat"),
        template: template(settings.text("messageformat"))?,
    }))
}

impl Payload for Slack {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| Request::post(&*self.url, go(&self.message(alert)))).collect())
    }
}

impl Slack {
    fn message<'a>(&'a self, alert: &'a Alert) -> Message<'a> {
        let mut fields = Vec::new();
        if self.format != "text" {
            fields.push(Field::new("rule", &*alert.rule));
            fields.push(Field::new("priority", alert.priority.name()));
            fields.push(Field::new("source", &*alert.source));
            fields.extend(Field::hostname(alert));
            fields.extend(Field::tags(alert));
            fields.extend(alert.text_fields().map(|(name, value)| Field::new(name, value)));
            fields.push(Field::time(alert));
        }
        Message {
            text: text(self.template.as_ref(), alert),
            username: &self.username,
            icon_url: &self.icon,
            channel: &self.channel,
            attachments: vec![Attachment {
                fallback: &alert.output,
                color: color(alert.priority),
                text: if self.format == "fields" { "" } else { &alert.output },
                fields,
                footer: &self.footer,
            }],
        }
    }
}
