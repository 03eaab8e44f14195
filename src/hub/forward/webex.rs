//! Webex: a message in Markdown through an incoming webhook.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::{go, head};
use std::fmt::Write as _;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "webex",
    label: "Webex",
    destination: "webex",
    category: "chat",
    meaning: "A message for each alert, with all its fields.",
    required: &["webhookurl"],
    keys: &[&[Key::secret("webhookurl", "address of the incoming webhook")], HTTP],
    shared: &[],
    work: Work::Http(make),
};

/// The bytes of a message that Webex takes.
const MESSAGE_MAX: usize = 7439;

struct Webex {
    url: String,
}

#[derive(serde::Serialize)]
struct Message {
    markdown: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    Ok(Box::new(Webex { url: endpoint(context.settings.text("webhookurl"))? }))
}

/// A value within a line: between backticks nothing is markup, and no backtick of its own ends them.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace(['\n', '\r'], " "))
}

/// The message; what does not fit is cut off behind, and it says so.
fn markdown(alert: &Alert) -> String {
    let mut text = format!("# {}\n\n{}\n\n", code(&alert.rule), code(&alert.output));
    let mut line = |name: &str, value: &str| {
        // Writing to a text does not fail.
        let _ = writeln!(text, "* **{}**: {}", name.replace(['*', '`'], ""), code(value));
    };
    if !alert.hostname.is_empty() {
        line("hostname", &alert.hostname);
    }
    line("source", &alert.source);
    line("priority", alert.priority.name());
    line("time", &alert.time.go());
    if !alert.tags.is_empty() {
        line("tags", &alert.sorted_tags().join(", "));
    }
    for (name, value) in &alert.output_fields {
        line(name, &value.to_string());
    }
    if text.len() > MESSAGE_MAX {
        const CUT: &str = "`\n[...]\n";
        text = head(&text, MESSAGE_MAX - CUT.len()).to_owned() + CUT;
    }
    text
}

impl Payload for Webex {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| Request::post(&*self.url, go(&Message { markdown: markdown(alert) }));
        Ok(alerts.iter().map(request).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_markup_and_nothing_is_too_long() {
        let mut alert = Alert::test();
        alert.output = "a`b\n# c".to_owned();
        alert.tags = vec!["z".to_owned(), "y".to_owned()];
        let text = markdown(&alert);
        assert!(text.starts_with("# `Test rule`\n\n`a'b # c`\n\n* **hostname**: `falcosidekick`\n"), "{text}");
        assert!(text.contains("* **tags**: `y, z`\n* **proc.name**: `falcosidekick`\n"), "{text}");
        alert.output = "é".repeat(8000);
        let text = markdown(&alert);
        assert!(text.len() <= MESSAGE_MAX && text.ends_with("`\n[...]\n"), "{}", text.len());
    }
}
