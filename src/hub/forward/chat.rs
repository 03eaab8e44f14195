//! What the outputs to chats have in common: colours, the list of fields, the message template.
//!
//! Not an output. Only fields whose values are texts are shown in chats.

use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{Key, Type};
use crate::hub::json::{Fields, Json};
use crate::hub::template::Template;

pub const FOOTER: &str = "https://github.com/falcosecurity/falcosidekick";
pub const ICON: &str = "https://raw.githubusercontent.com/falcosecurity/falcosidekick/master/imgs/falcosidekick.png";
pub const COLOR_ICON: &str =
    "https://raw.githubusercontent.com/falcosecurity/falcosidekick/master/imgs/falcosidekick_color.png";

pub const OUTPUT_FORMAT: Key = Key::new(
    "outputformat",
    Type::Choice(&["all", "text", "fields"]),
    "all",
    "what is shown: the text, the fields, or both",
);
pub const MESSAGE_FORMAT: Key =
    Key::text("messageformat", "", "template of a text above: .Rule .Priority .Output .Time .Source .OutputFields ...");

pub fn color(priority: Priority) -> &'static str {
    match priority {
        Priority::Emergency | Priority::Error => "#e20b0b",
        Priority::Alert | Priority::Critical => "#ff5400",
        Priority::Warning => "#ffc700",
        Priority::Notice => "#5bffb5",
        Priority::Informational => "#68c2ff",
        Priority::Debug | Priority::Unknown => "#ccfff2",
    }
}

/// What a message template is evaluated over.
pub fn data(alert: &Alert) -> Json {
    let entry = |name: &str, value: Json| (name.to_owned(), value);
    Json::Object(Fields::from([
        entry("UUID", Json::from(alert.uuid.as_str())),
        entry("Output", Json::from(alert.output.as_str())),
        entry("Priority", Json::from(alert.priority.name())),
        entry("Rule", Json::from(alert.rule.as_str())),
        entry("Time", Json::String(alert.time.go())),
        entry("Source", Json::from(alert.source.as_str())),
        entry("Hostname", Json::from(alert.hostname.as_str())),
        entry("Tags", Json::Array(alert.tags.iter().map(|tag| Json::from(tag.as_str())).collect())),
        entry("OutputFields", Json::Object(alert.output_fields.clone())),
    ]))
}

/// The template of `messageformat`; nothing when there is none.
pub fn template(text: &str) -> Result<Option<Template>, String> {
    match text {
        "" => Ok(None),
        text => Template::parse(text).map(Some).map_err(|error| format!("messageformat: {error}")),
    }
}

/// The text for an alert. A template that cannot be evaluated costs the text, not the message.
pub fn text(template: Option<&Template>, alert: &Alert) -> Option<String> {
    let rendered = template?.render(&data(alert));
    rendered.inspect_err(|error| tracing::error!("messageformat: {error}")).ok()
}

#[derive(serde::Serialize)]
pub struct Field {
    pub title: String,
    pub value: String,
    pub short: bool,
}

impl Field {
    pub fn new(title: &str, value: impl Into<String>) -> Field {
        let value = value.into();
        let short = value.chars().count() < 36;
        Field { title: title.to_owned(), value, short }
    }

    pub fn time(alert: &Alert) -> Field {
        Field { short: false, ..Field::new("time", alert.time.go()) }
    }

    /// `hostname`, when there is one.
    pub fn hostname(alert: &Alert) -> Option<Field> {
        (!alert.hostname.is_empty()).then(|| Field::new("hostname", &*alert.hostname))
    }

    /// `tags`, when there are any.
    pub fn tags(alert: &Alert) -> Option<Field> {
        (!alert.tags.is_empty()).then(|| Field::new("tags", alert.sorted_tags().join(", ")))
    }
}

/// A message as Slack defined it and others took over.
#[derive(serde::Serialize)]
pub struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub icon_url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub channel: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment<'a>>,
}

/// An attachment as Slack defined it and others took over.
#[derive(serde::Serialize)]
pub struct Attachment<'a> {
    pub fallback: &'a str,
    pub color: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub text: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub footer: &'a str,
}
