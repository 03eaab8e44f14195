//! Telegram: a message of a bot, in its MarkdownV2.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use crate::hub::json::go;
use std::fmt::Write as _;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "telegram",
    label: "Telegram",
    destination: "telegram",
    category: "chat",
    meaning: "A message for each alert.",
    required: &["chatid", "token"],
    keys: &[&[
        Key::text("host", "https://api.telegram.org", "address of the service"),
        Key::secret("token", "token of the bot"),
        Key::text("chatid", "", "chat that is written to"),
        Key::text("messagethreadid", "", "thread of the chat"),
        Key::new("checkcert", Type::Bool, "true", "verify the server's certificate"),
    ]],
    shared: &[],
    work: Work::Http(make),
};

struct Telegram {
    url: String,
    chat: String,
    thread: String,
}

#[derive(serde::Serialize)]
struct Message<'a> {
    text: String,
    parse_mode: &'static str,
    disable_web_page_preview: bool,
    chat_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message_thread_id: &'a str,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = settings.text_or("host", "https://api.telegram.org");
    Ok(Box::new(Telegram {
        url: endpoint(&format!("{host}/bot{}/sendMessage", settings.text("token")))?,
        chat: settings.text("chatid").to_owned(),
        thread: settings.text("messagethreadid").to_owned(),
    }))
}

/// A text in which nothing is markup.
fn plain(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if "_*[]()~`>#+-=|{}.!\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

fn text(alert: &Alert) -> String {
    let mut text = format!("*\\[Falco\\] \\[{}\\] {}*\n\n", plain(alert.priority.name()), plain(&alert.rule));
    // Writing to a text does not fail.
    let _ = writeln!(text, "• *Time*: {}\n• *Source*: {}", plain(&alert.time.go()), plain(&alert.source));
    if !alert.hostname.is_empty() {
        let _ = writeln!(text, "• *Hostname*: {}", plain(&alert.hostname));
    }
    if !alert.tags.is_empty() {
        let tags: String = alert.tags.iter().map(|tag| plain(tag) + " ").collect();
        let _ = writeln!(text, "• *Tags*: {tags}");
    }
    text.push_str("• *Fields*:\n");
    for (name, value) in &alert.output_fields {
        let _ = writeln!(text, "\t  • *{}*: {}", plain(name), plain(&value.to_string()));
    }
    let _ = writeln!(text, "\n\n**Output**: {}", plain(&alert.output));
    text
}

impl Payload for Telegram {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let message = Message {
                text: text(alert),
                parse_mode: "MarkdownV2",
                disable_web_page_preview: true,
                chat_id: &self.chat,
                message_thread_id: &self.thread,
            };
            Request::post(&*self.url, go(&message))
        };
        Ok(alerts.iter().map(request).collect())
    }
}
