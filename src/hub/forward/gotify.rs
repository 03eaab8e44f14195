//! Gotify: a push message.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "gotify",
    label: "Gotify",
    destination: "gotify",
    category: "chat",
    meaning: "A push message for each alert, its priority 1 (debug) to 8 (emergency).",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::secret("token", "token of the application"),
            Key::new(
                "format",
                Type::Choice(&["markdown", "plaintext", "text", "json"]),
                "markdown",
                "form of the message",
            ),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Gotify {
    url: String,
    token: String,
    format: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Gotify {
        url: endpoint(&format!("{}/message", settings.text("hostport").trim_end_matches('/')))?,
        token: settings.text("token").to_owned(),
        format: settings.text("format").to_owned(),
    }))
}

impl Gotify {
    fn text(&self, alert: &Alert) -> String {
        if self.format == "json" {
            return alert.line();
        }
        let markdown = self.format == "markdown";
        let mut text =
            if markdown { format!("**{}**\n\n", escaped(&alert.output)) } else { format!("{}\n\n", alert.output) };
        let mut line = |name: &str, value: &str| {
            // Writing to a text does not fail.
            let _ = match markdown {
                true => writeln!(text, "- **{}**: {}", escaped(name), escaped(value)),
                false => writeln!(text, "- {name}: {value}"),
            };
        };
        line("Time", &alert.time.go());
        line("Priority", alert.priority.name());
        line("Source", &alert.source);
        if !alert.hostname.is_empty() {
            line("Hostname", &alert.hostname);
        }
        if !alert.tags.is_empty() {
            line("Tags", &alert.sorted_tags().join(", "));
        }
        for (name, value) in &alert.output_fields {
            line(name, &value.to_string());
        }
        text
    }

    fn message(&self, alert: &Alert) -> Value {
        // Gotify's documents name these two; Falcosidekick sends `markdown`, which no client knows.
        let content = if self.format == "markdown" { "text/markdown" } else { "text/plain" };
        json!({
            "title": format!("[Falco] [{}] {}", alert.priority.name(), alert.rule),
            "priority": alert.priority as u8,
            "message": self.text(alert),
            "extras": {"client::display": {"contentType": content}},
        })
    }
}

/// A text in which nothing is Markdown.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if "\\`*_{}[]()<>#+-.!|~&".contains(c) {
            out.push('\\');
        }
        out.push(if c == '\n' || c == '\r' { ' ' } else { c });
        out
    })
}

impl Payload for Gotify {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let request = Request::post(&*self.url, go(&self.message(alert)));
            if self.token.is_empty() { request } else { request.header("X-Gotify-Key", &*self.token) }
        };
        Ok(alerts.iter().map(request).collect())
    }
}
