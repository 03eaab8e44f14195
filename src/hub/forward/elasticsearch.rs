//! Elasticsearch and OpenSearch: one document for each alert, alone or in bulk.

use super::http::{Answer, JSON, Payload, Request, endpoint, outcome, send, status_text};
use super::{Batch, Context, Failure, Kind, Work, all};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{HTTP, Key, Type, Unit};
use crate::hub::json::{Fields, Json, go};
use reqwest::{Client, Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub const KIND: Kind = Kind {
    section: "elasticsearch",
    label: "Elasticsearch",
    destination: "elasticsearch",
    category: "logs",
    meaning: "Each alert as a document, with @timestamp, in an index by day, month or year.",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::text("index", "falco", "name of the index, before its suffix"),
            Key::text("type", "_doc", "type of the document, which is part of the path"),
            Key::new(
                "suffix",
                Type::Choice(&["daily", "monthly", "annually", "none"]),
                "daily",
                "date behind the index's name, in local time",
            ),
            Key::text("pipeline", "", "ingest pipeline"),
            Key::text("username", "", "user of Basic authentication"),
            Key::secret("password", "its password"),
            Key::secret("apikey", "key, in place of user and password"),
            Key::flag("flattenfields", "false", "replace . by _ in names of fields"),
            Key::flag("createindextemplate", "false", "make the index template 'falco' if it is absent"),
            Key::int("numberofshards", "3", "of that template"),
            Key::int("numberofreplicas", "3", "of that template"),
            Key::flag("enablecompression", "false", "compress bodies"),
            Key::flag("batching.enabled", "false", "send many alerts in one request"),
            Key::int("batching.batchsize", "5242880", "bytes of one request"),
            Key::new("batching.flushinterval", Type::Duration(Unit::Seconds), "1s", "time to wait for more alerts"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

/// Alerts in one request; the bytes bound it before.
const BULK_MAX: usize = 128;

struct Elasticsearch {
    host: String,
    index: String,
    kind: String,
    suffix: &'static str,
    pipeline: String,
    headers: Vec<(String, String)>,
    user: String,
    password: String,
    flatten: bool,
    gzip: bool,
    batch: Batch,
    /// Body of the index template that is to be there; nothing when none is wanted.
    template: Option<Vec<u8>>,
    template_seen: AtomicBool,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let text = |key: &str| settings.text(key).to_owned();
    let create = settings.flag("createindextemplate");
    let mut headers = Vec::new();
    if !settings.text("apikey").is_empty() {
        headers.push(("Authorization".to_owned(), format!("APIKey {}", settings.text("apikey"))));
    }
    headers.extend(settings.map("customheaders").iter().cloned());
    let template = create.then(|| {
        go(&serde_json::json!({
            "index_patterns": [format!("{}-*", settings.text("index"))],
            "template": {
                "settings": {
                    "number_of_shards": settings.int("numberofshards"),
                    "number_of_replicas": settings.int("numberofreplicas"),
                },
                "mappings": { "properties": {
                    "@timestamp": {"type": "date"}, "time": {"type": "date"},
                    "output": {"type": "text"}, "output_fields": {"type": "object"},
                    "priority": {"type": "keyword"}, "rule": {"type": "keyword"}, "source": {"type": "keyword"},
                    "hostname": {"type": "keyword"}, "tags": {"type": "keyword"}, "uuid": {"type": "keyword"},
                }},
            },
        }))
    });
    let batch = match settings.flag("batching.enabled") {
        true => Batch {
            alerts: BULK_MAX,
            bytes: usize::try_from(settings.int("batching.batchsize")).unwrap_or(1),
            linger: settings.duration("batching.flushinterval"),
        },
        false => Batch::ONE,
    };
    Ok(Box::new(Elasticsearch {
        host: endpoint(settings.text("hostport").trim_end_matches('/'))?,
        index: text("index"),
        kind: text("type"),
        suffix: match settings.text("suffix") {
            "daily" => "%Y.%m.%d",
            "monthly" => "%Y.%m",
            "annually" => "%Y",
            _ => "",
        },
        pipeline: text("pipeline"),
        headers,
        user: text("username"),
        password: text("password"),
        flatten: create || settings.flag("flattenfields"),
        gzip: settings.flag("enablecompression"),
        batch,
        template,
        template_seen: AtomicBool::new(false),
    }))
}

#[derive(serde::Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    #[serde(rename = "@timestamp")]
    timestamp: Time,
}

impl Elasticsearch {
    fn index(&self) -> String {
        match self.suffix {
            "" => self.index.clone(),
            suffix => format!("{}-{}", self.index, jiff::ZonedDateTime::now().strftime(suffix)),
        }
    }

    fn document(&self, alert: &Alert) -> Vec<u8> {
        let mut alert = alert.clone();
        if self.flatten {
            let flat = |(name, value): (String, Json)| (name.replace('.', "_"), value);
            alert.output_fields = alert.output_fields.into_iter().map(flat).collect();
        }
        go(&Document { timestamp: alert.time, alert: &alert })
    }

    fn request(&self, path: &str, body: Vec<u8>) -> Request {
        let query = if self.pipeline.is_empty() { String::new() } else { format!("?pipeline={}", self.pipeline) };
        let request = Request::post(format!("{}/{path}{query}", self.host), body);
        self.complete(request)
    }

    fn complete(&self, request: Request) -> Request {
        let request = request.basic(&self.user, &self.password).headers(&self.headers);
        if self.gzip { request.gzip() } else { request }
    }
}

#[async_trait::async_trait]
impl Payload for Elasticsearch {
    fn batch(&self) -> Batch {
        self.batch
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let index = self.index();
        if self.batch == Batch::ONE {
            let path = format!("{index}/{}", self.kind);
            return Ok(alerts.iter().map(|alert| self.request(&path, self.document(alert))).collect());
        }
        let mut body = Vec::new();
        for alert in alerts {
            body.extend(go(&serde_json::json!({"create": {"_index": index}})));
            body.extend(self.document(alert));
        }
        Ok(vec![self.request("_bulk", body).header("Content-Type", "application/x-ndjson")])
    }

    /// In bulk, each document has a status of its own.
    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        if self.batch == Batch::ONE || !answer.status.is_success() {
            return all(alerts, outcome(answer));
        }
        let read: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let Some(items) = read["items"].as_array().filter(|items| items.len() == alerts.len()) else {
            return all(alerts, Err(Failure::down("the answer to a bulk request is not understood")));
        };
        items
            .iter()
            .map(|item| {
                let result = &item["create"];
                let status = result["status"].as_u64().and_then(|s| StatusCode::from_u16(u16::try_from(s).ok()?).ok());
                match status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
                    // It is there already.
                    StatusCode::CONFLICT => Ok(()),
                    status => outcome(&Answer { status, body: result["error"].to_string(), ..Answer::default() }),
                }
            })
            .collect()
    }

    /// A field that does not fit the index's mapping: the alert goes again without the fields of that name.
    fn again(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Option<Vec<Request>> {
        let [alert] = alerts else { return None };
        if answer.status != StatusCode::BAD_REQUEST || !answer.body.contains("document_parsing_exception") {
            return None;
        }
        let (_, name) = answer.body.split_once("output_fields.")?;
        let end = name.find(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-')).unwrap_or(name.len());
        let name = name[..end].trim_end_matches('.');
        let kept = |(field, _): &(&String, &Json)| {
            !(field.starts_with(name) || self.flatten && field.replace('.', "_").starts_with(name))
        };
        let output_fields: Fields =
            alert.output_fields.iter().filter(kept).map(|(field, value)| (field.clone(), value.clone())).collect();
        tracing::warn!("Elasticsearch refuses output_fields.{name}: alert {} goes without it", alert.uuid);
        self.requests(&[Arc::new(Alert { output_fields, ..Alert::clone(alert) })]).ok()
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        let Some(template) = self.template.as_ref().filter(|_| !self.template_seen.load(Ordering::Relaxed)) else {
            return Ok(Vec::new());
        };
        let url = format!("{}/_index_template/falco", self.host);
        let request = |method: Method, body: Vec<u8>| Request {
            method,
            ..self.complete(Request::post(url.as_str(), body).header("Content-Type", JSON))
        };
        let asked = Request { body: Vec::new(), ..request(Method::GET, Vec::new()) };
        if send(client, asked).await?.status == StatusCode::NOT_FOUND {
            let made = send(client, request(Method::PUT, template.clone())).await?;
            if !made.status.is_success() {
                return Err(Failure::down(format!("index template: {}", status_text(made.status, &made.body))));
            }
        }
        self.template_seen.store(true, Ordering::Relaxed);
        Ok(Vec::new())
    }
}
