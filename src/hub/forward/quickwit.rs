//! Quickwit: one document for each alert, in an index that is made where it is wanted.

use super::http::{Payload, Request, endpoint, send, status_text};
use super::{Batch, Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key, Type};
use crate::hub::json::go;
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "quickwit",
    label: "Quickwit",
    destination: "quickwit",
    category: "logs",
    meaning: "Each alert as a document of an index.",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::text("index", "falco", "name of the index"),
            Key::text("apiendpoint", "api/v1", "path of the interface"),
            Key::text("version", "0.7", "version of the index's configuration"),
            Key::flag("autocreateindex", "false", "make the index when it is absent"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct Quickwit {
    base: String,
    index: String,
    version: String,
    create: bool,
    seen: AtomicBool,
    headers: Vec<(String, String)>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = settings.text("hostport").trim_end_matches('/');
    Ok(Box::new(Quickwit {
        base: endpoint(&format!("{host}/{}", settings.text("apiendpoint").trim_matches('/')))?,
        index: settings.text("index").to_owned(),
        version: settings.text("version").to_owned(),
        create: settings.flag("autocreateindex"),
        seen: AtomicBool::new(false),
        headers: settings.map("customheaders").to_vec(),
    }))
}

impl Quickwit {
    fn index(&self) -> Vec<u8> {
        let text = |name: &str| json!({"name": name, "type": "text", "tokenizer": "raw", "fast": true});
        go(&json!({
            "version": self.version,
            "index_id": self.index,
            "doc_mapping": {
                "mode": "dynamic",
                "field_mappings": [
                    {"name": "time", "type": "datetime", "input_formats": ["rfc3339"], "fast": true},
                    text("uuid"), text("hostname"), text("source"), text("priority"),
                    {"name": "rule", "type": "text", "fast": true},
                    {"name": "output", "type": "text"},
                    {"name": "tags", "type": "array<text>", "tokenizer": "raw"},
                    {"name": "output_fields", "type": "json", "fast": true},
                ],
                "timestamp_field": "time",
            },
            "search_settings": {"default_search_fields": ["rule", "output"]},
        }))
    }
}

#[async_trait::async_trait]
impl Payload for Quickwit {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    /// Documents are lines of JSON.
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let body = alerts.iter().flat_map(|alert| alert.body()).collect();
        Ok(vec![Request::post(format!("{}/{}/ingest", self.base, self.index), body).headers(&self.headers)])
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        if !self.create || self.seen.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let asked = Request::post(format!("{}/indexes/{}/describe", self.base, self.index), Vec::new());
        let asked = Request { method: Method::GET, ..asked.headers(&self.headers) };
        let answer = send(client, asked).await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND => {
                let index = Request::post(format!("{}/indexes", self.base), self.index()).headers(&self.headers);
                let made = send(client, index).await?;
                // Another hub may have been quicker.
                if !made.status.is_success() && !made.body.contains("already exist") {
                    return Err(Failure::down(format!(
                        "the index is not made: {}",
                        status_text(made.status, &made.body)
                    )));
                }
            }
            status => return Err(Failure::down(format!("the index: {}", status_text(status, &answer.body)))),
        }
        self.seen.store(true, Ordering::Relaxed);
        Ok(Vec::new())
    }
}
