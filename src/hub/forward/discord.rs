//! Discord: a webhook with one embed.
//!
//! Discord takes no more than 25 fields: of an alert with more, the last of its own fields are left out and said to be.

use super::chat::ICON;
use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "discord",
    label: "Discord",
    destination: "discord",
    category: "chat",
    meaning: "A message with an embed for each alert.",
    required: &["webhookurl"],
    keys: &[
        &[
            Key::secret("webhookurl", "address of the webhook"),
            Key::text("icon", "", "picture beside the message, where it is not the usual one"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

/// Fields of an embed.
const FIELDS_MAX: usize = 25;

struct Discord {
    url: String,
    icon: String,
}

#[derive(serde::Serialize)]
struct Message<'a> {
    content: &'static str,
    avatar_url: &'a str,
    embeds: [Embed<'a>; 1],
}

#[derive(serde::Serialize)]
struct Embed<'a> {
    title: &'static str,
    url: &'static str,
    description: &'a str,
    color: &'static str,
    fields: Vec<Field>,
}

#[derive(serde::Serialize)]
struct Field {
    name: String,
    value: String,
    inline: bool,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Discord { url: endpoint(settings.text("webhookurl"))?, icon: settings.text_or("icon", ICON) }))
}

impl Payload for Discord {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| Request::post(&*self.url, go(&self.message(alert)))).collect())
    }
}

impl Discord {
    fn message<'a>(&'a self, alert: &'a Alert) -> Message<'a> {
        let field = |name: &str, value: &str| Field { name: name.to_owned(), value: value.to_owned(), inline: true };
        let mut fields =
            vec![field("rule", &alert.rule), field("priority", alert.priority.name()), field("source", &alert.source)];
        if !alert.hostname.is_empty() {
            fields.push(field("hostname", &alert.hostname));
        }
        let mut own: Vec<_> = alert.text_fields().map(|(name, value)| field(name, &format!("```{value}```"))).collect();
        // Behind come tags and time.
        let room = FIELDS_MAX - fields.len() - 2;
        if own.len() > room {
            let left_out = own.len() - (room - 1);
            own.truncate(room - 1);
            own.push(field("more", &format!("{left_out} fields are left out")));
        }
        fields.extend(own);
        if !alert.tags.is_empty() {
            fields.push(field("tags", &alert.sorted_tags().join(", ")));
        }
        fields.push(field("time", &alert.time.go()));
        let color = match alert.priority {
            Priority::Emergency => "15158332",
            Priority::Alert => "11027200",
            Priority::Critical => "15105570",
            Priority::Error => "15844367",
            Priority::Warning => "12745742",
            Priority::Notice => "3066993",
            Priority::Informational => "3447003",
            Priority::Debug | Priority::Unknown => "12370112",
        };
        let embed = Embed { title: "", url: "", description: &alert.output, color, fields };
        Message { content: "", avatar_url: &self.icon, embeds: [embed] }
    }
}
