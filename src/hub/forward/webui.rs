//! Falcosidekick UI: each alert, and the names of the other outputs.

use super::http::{Payload, Request, endpoint};
use super::{Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "webui",
    label: "WebUI",
    destination: "webui",
    category: "web",
    meaning: "Each alert, to a Falcosidekick UI that is kept beside the hub.",
    required: &["url"],
    keys: &[&[Key::text("url", "", "address of the page: http://host:2802")], HTTP],
    shared: &[],
    work: Work::Http(make),
};

struct WebUi {
    url: String,
    outputs: Vec<&'static str>,
}

#[derive(serde::Serialize)]
struct Event<'a> {
    event: &'a Alert,
    outputs: &'a [&'static str],
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let url = endpoint(context.settings.text("url"))?;
    Ok(Box::new(WebUi { url, outputs: context.enabled.to_vec() }))
}

impl Payload for WebUi {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request =
            |alert: &Arc<Alert>| Request::post(&*self.url, go(&Event { event: alert, outputs: &self.outputs }));
        Ok(alerts.iter().map(request).collect())
    }
}
