//! DogStatsD: the hub's own counters with tags, over UDP or a unix socket. Not alerts.

use super::statsd::Socket;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{Key, Type};
use crate::hub::metrics::Counts;

pub const KIND: Kind = Kind {
    section: "dogstatsd",
    label: "DogStatsD",
    destination: "dogstatsd",
    category: "metrics",
    meaning: "The hub's counters, with tags.",
    required: &["forwarder"],
    keys: &[&[
        Key::text("forwarder", "", "host:port, or unix:///path"),
        Key::text("namespace", "falcosidekick.", "what names start with"),
        Key::new("tags", Type::List, "", "tags of every counter"),
    ]],
    shared: &[],
    work: Work::Counts(make),
};

struct DogStatsD {
    namespace: String,
    tags: Vec<String>,
    socket: Socket,
}

fn make(context: &Context) -> Result<Box<dyn Counts>, String> {
    let settings = context.settings;
    Ok(Box::new(DogStatsD {
        namespace: settings.text("namespace").to_owned(),
        tags: settings.list("tags").to_vec(),
        socket: Socket::new(settings.text("forwarder")),
    }))
}

impl Counts for DogStatsD {
    fn count(&self, name: &str, tags: &[(&str, &str)]) {
        let mut packet = format!("{}{name}:1|c", self.namespace);
        let tags = tags.iter().map(|(key, value)| format!("{key}:{}", value.replace([',', '|'], "")));
        let tags: Vec<_> = self.tags.iter().cloned().chain(tags).collect();
        if !tags.is_empty() {
            packet.push_str("|#");
            packet.push_str(&tags.join(","));
        }
        self.socket.send(&packet);
    }
}
