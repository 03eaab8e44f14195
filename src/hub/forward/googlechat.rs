//! Google Chat: a webhook with one card.

use super::chat::{MESSAGE_FORMAT, template, text};
use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use crate::hub::template::Template;
use serde_json::{Value, json};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "googlechat",
    label: "GoogleChat",
    destination: "googlechat",
    category: "chat",
    meaning: "A message with a card for each alert.",
    required: &["webhookurl"],
    keys: &[
        &[
            Key::secret("webhookurl", "address of the webhook"),
            Key::new("outputformat", Type::Choice(&["all", "text"]), "all", "the message's text alone, or a card too"),
            MESSAGE_FORMAT,
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct GoogleChat {
    url: String,
    card: bool,
    template: Option<Template>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(GoogleChat {
        url: endpoint(settings.text("webhookurl"))?,
        card: settings.text("outputformat") != "text",
        template: template(settings.text("messageformat"))?,
    }))
}

impl Payload for GoogleChat {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| Request::post(&*self.url, go(&self.message(alert)))).collect())
    }
}

impl GoogleChat {
    fn message(&self, alert: &Alert) -> Value {
        let mut message = json!({});
        if let Some(text) = text(self.template.as_ref(), alert) {
            message["text"] = text.into();
        }
        if self.card {
            let widget = |label: &str, content: &str| json!({"keyValue": {"topLabel": label, "content": content}});
            let mut widgets = vec![
                widget("rule", &alert.rule),
                widget("priority", alert.priority.name()),
                widget("source", &alert.source),
            ];
            if !alert.hostname.is_empty() {
                widgets.push(widget("hostname", &alert.hostname));
            }
            widgets.extend(alert.text_fields().map(|(name, value)| widget(name, value)));
            if !alert.tags.is_empty() {
                widgets.push(widget("tags", &alert.sorted_tags().join(", ")));
            }
            widgets.push(widget("time", &alert.time.go()));
            message["cards"] = json!([{
                "header": {"title": "", "subtitle": ""},
                "sections": [{"widgets": widgets}],
            }]);
        }
        message
    }
}
