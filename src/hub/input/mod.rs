//! Where alerts come in: Falcosidekick's HTTP interface, over TCP, TLS and a unix socket; and brokers.
//!
//! Brokers are in [`kind`], one file each, and [`worker`] takes from them; here is HTTP, and what both have in common. Over
//! HTTP also several alerts in one request: a JSON array, or lines with `Content-Type: application/x-ndjson`. Invariant: every
//! request gets an answer that says what became of it, and an alert that was accepted is on disk.

mod authority;
pub mod kafka;
pub mod kind;
pub mod listen;
pub mod nats;
pub mod rabbitmq;
pub mod redis;
pub mod worker;

use super::alert::{Alert, Refused, decode, first_value};
use super::enrich::{Enrich, identity};
use super::forward::worker::Shared;
use super::metrics::{Metrics, REQUESTS};
use super::spool::{Position, Spool, SpoolError};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::value::RawValue;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// What the handlers share.
pub struct Input {
    pub spool: Arc<Spool>,
    pub enrich: Enrich,
    pub metrics: Arc<Metrics>,
    pub outputs: Vec<Shared>,
    /// Those that take from brokers.
    pub inputs: Vec<worker::Shared>,
    /// What senders must present; nothing when anybody may send.
    pub token: String,
    pub body_max: usize,
    /// Memory for bodies, in KiB.
    pub memory: Semaphore,
}

/// KiB of bodies that are read at the same time; who comes then waits.
pub const MEMORY: usize = 256 << 10;
/// Alerts of one request.
const BATCH_MAX: usize = 10_000;
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// What Falcosidekick sends to its page: the alert, and the outputs it went to, which do not concern us.
#[derive(serde::Deserialize)]
struct Added {
    event: Box<RawValue>,
}

impl Input {
    /// One alert in the form Falcosidekick's output `webui` sends.
    pub async fn add(self: &Arc<Self>, headers: &HeaderMap, body: &[u8]) -> Result<(), Rejected> {
        allowed(self, &Method::POST, headers)?;
        let added: Added =
            serde_json::from_slice(body).map_err(|error| Rejected::invalid(&Refused::Json(error.to_string())))?;
        match take(self, vec![decode(&added.event)], key(headers)).await?.into_iter().next() {
            None => Ok(()),
            Some((_, refused)) => Err(Rejected::invalid(&refused)),
        }
    }

    /// Keeps completed alerts, and with them where the input is that took them: on disk when this returns. Says how many were there
    /// already.
    pub async fn keep(
        &self,
        source: &str,
        alerts: Vec<Arc<Alert>>,
        positions: Vec<Position>,
    ) -> Result<usize, SpoolError> {
        let repeated = self.spool.append_from(alerts.clone(), positions).await?;
        let mut again = repeated.iter().peekable();
        for (i, alert) in alerts.iter().enumerate() {
            if again.next_if_eq(&&i).is_none() {
                self.metrics.accepted(source, alert);
            }
        }
        Ok(repeated.len())
    }
}

/// The uuid that a sender knows its one alert by, as a hub's outputs over HTTP give it.
fn key(headers: &HeaderMap) -> Option<Uuid> {
    identity(headers.get("idempotency-key")?.to_str().ok()?)
}

pub fn router(input: Arc<Input>) -> Router {
    Router::new()
        .route("/ping", any(async || "pong\n"))
        .route("/healthz", any(async || json(StatusCode::OK, "{\"status\": \"ok\"}".to_owned())))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/test", any(test))
        .fallback(any(alerts))
        .with_state(input)
}

fn json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn metrics(State(input): State<Arc<Input>>) -> Response {
    let state = *input.spool.state().borrow();
    let metrics = &input.metrics;
    metrics.used.set(state.used);
    metrics.full.set(i64::from(state.full));
    for (counter, number) in
        [(&metrics.removed, state.removed), (&metrics.dead_letters_removed, state.dead_letters_removed)]
    {
        counter.reset();
        counter.inc_by(number);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.text()).into_response()
}

/// 200 when the spool takes alerts and no output and no input is down.
async fn ready(State(input): State<Arc<Input>>) -> Response {
    let full = input.spool.state().borrow().full;
    let outputs: Vec<_> =
        input.outputs.iter().map(|shared| shared.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
    let inputs: Vec<_> =
        input.inputs.iter().map(|shared| shared.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
    let up = outputs.iter().map(|output| output.up).chain(inputs.iter().map(|input| input.up));
    let ready = !full && up.into_iter().all(|up| up != Some(false));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(
        status,
        serde_json::json!({"ready": ready, "spool_full": full, "outputs": outputs, "inputs": inputs}).to_string(),
    )
}

/// Why a request was not accepted: the status, one word for the metrics, a sentence.
pub struct Rejected(StatusCode, &'static str, String);

impl Rejected {
    fn invalid(refused: &Refused) -> Rejected {
        let reason = if *refused == Refused::Empty { "empty" } else { "invalid" };
        Rejected(StatusCode::BAD_REQUEST, reason, format!("Please send a valid request body: {refused}\n"))
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        (self.0, self.2).into_response()
    }
}

impl From<SpoolError> for Rejected {
    fn from(error: SpoolError) -> Self {
        let reason = if matches!(error, SpoolError::Full) { "full" } else { "not_kept" };
        Rejected(StatusCode::SERVICE_UNAVAILABLE, reason, format!("Please send it again later: {error}\n"))
    }
}

async fn test(State(input): State<Arc<Input>>, request: Request) -> Response {
    if let Err(rejected) = allowed(&input, request.method(), request.headers()) {
        return reject(&input, rejected);
    }
    match take(&input, vec![Ok(Alert::test())], None).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(rejected) => reject(&input, rejected),
    }
}

fn allowed(input: &Input, method: &Method, headers: &HeaderMap) -> Result<(), Rejected> {
    if method != Method::POST {
        let text = "Please send with post http method\n".to_owned();
        return Err(Rejected(StatusCode::BAD_REQUEST, "method", text));
    }
    let presented = headers.get(header::AUTHORIZATION).and_then(|v| v.as_bytes().strip_prefix(b"Bearer "));
    if input.token.is_empty() || presented.is_some_and(|presented| same(presented, input.token.as_bytes())) {
        return Ok(());
    }
    let text = "Please send the token: Authorization: Bearer TOKEN\n".to_owned();
    Err(Rejected(StatusCode::UNAUTHORIZED, "token", text))
}

/// Compares in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

fn reject(input: &Input, Rejected(status, reason, text): Rejected) -> Response {
    input.metrics.rejected(REQUESTS, reason);
    tracing::warn!(reason, "an alert was not accepted: {}", text.trim_end());
    let mut response = Rejected(status, reason, text).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    }
    response
}

async fn body(body: Body, most: usize) -> Result<Bytes, Rejected> {
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, most)).await {
        Err(_) => Err(Rejected(StatusCode::REQUEST_TIMEOUT, "slow", "The body took too long\n".to_owned())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            // The limit is an error behind the one of the body.
            let long = std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
            if long {
                let text = format!("The body is larger than {most} bytes (hub.maxbody)\n");
                Err(Rejected(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text))
            } else {
                Err(Rejected(StatusCode::BAD_REQUEST, "broken", format!("The body cannot be read: {error}\n")))
            }
        }
    }
}

async fn alerts(State(input): State<Arc<Input>>, request: Request) -> Response {
    match accept(&input, request).await {
        Ok(response) => response,
        Err(rejected) => reject(&input, rejected),
    }
}

async fn accept(input: &Arc<Input>, request: Request) -> Result<Response, Rejected> {
    allowed(input, request.method(), request.headers())?;
    let key = key(request.headers());
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let lines = kind.starts_with("application/x-ndjson") || kind.starts_with("application/jsonl");
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    let kib = length.unwrap_or(input.body_max).min(input.body_max).div_ceil(1024).min(MEMORY);
    let permits = input.memory.acquire_many(u32::try_from(kib).unwrap_or(u32::MAX));
    let _permit = match tokio::time::timeout(BODY_WITHIN, permits).await {
        Ok(Ok(permit)) => permit,
        _ => {
            let text = "Please send it again later: too much is being received\n".to_owned();
            return Err(Rejected(StatusCode::SERVICE_UNAVAILABLE, "busy", text));
        }
    };
    let body = body(request.into_body(), input.body_max).await?;
    let read = |value: Box<RawValue>| decode(&value);
    if lines {
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        return batch(input, lines.map(|line| first_value(line).and_then(read)).collect()).await;
    }
    let value = first_value(&body).map_err(|refused| Rejected::invalid(&refused))?;
    if value.get().starts_with('[') {
        let values: Vec<Box<RawValue>> =
            serde_json::from_str(value.get()).map_err(|error| Rejected::invalid(&Refused::Json(error.to_string())))?;
        return batch(input, values.into_iter().map(read).collect()).await;
    }
    let refused = take(input, vec![read(value)], key).await?;
    match refused.into_iter().next() {
        None => Ok(StatusCode::OK.into_response()),
        Some((_, refused)) => Err(Rejected::invalid(&refused)),
    }
}

/// Many alerts: 200 when at least one was accepted, and what was wrong with the others.
async fn batch(input: &Arc<Input>, alerts: Vec<Result<Alert, Refused>>) -> Result<Response, Rejected> {
    if alerts.is_empty() {
        return Err(Rejected::invalid(&Refused::Empty));
    }
    if alerts.len() > BATCH_MAX {
        let text = format!("Please send no more than {BATCH_MAX} alerts at once\n");
        return Err(Rejected(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text));
    }
    let number = alerts.len();
    let refused = take(input, alerts, None).await?;
    let accepted = number - refused.len();
    for (at, refused) in &refused {
        input.metrics.rejected(REQUESTS, "invalid");
        tracing::warn!("alert {at} of a batch was not accepted: {refused}");
    }
    let rejected: Vec<_> =
        refused.iter().map(|(at, refused)| serde_json::json!({"index": at, "error": refused.to_string()})).collect();
    let status = if accepted > 0 { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok(json(status, serde_json::json!({"accepted": accepted, "rejected": rejected}).to_string()))
}

/// Completes and keeps alerts, under a uuid where one is known. Returns those that were not accepted, by their position.
async fn take(
    input: &Arc<Input>,
    alerts: Vec<Result<Alert, Refused>>,
    known: Option<Uuid>,
) -> Result<Vec<(usize, Refused)>, Rejected> {
    let mut kept = Vec::with_capacity(alerts.len());
    let mut refused = Vec::new();
    for (at, alert) in alerts.into_iter().enumerate() {
        match alert.and_then(|mut alert| input.enrich.apply(&mut alert, known).map(|()| alert)) {
            Ok(alert) => kept.push(Arc::new(alert)),
            Err(why) => refused.push((at, why)),
        }
    }
    if !kept.is_empty() {
        let repeated = input.keep(REQUESTS, kept, Vec::new()).await?;
        input.metrics.taken(REQUESTS, 0, repeated);
    }
    Ok(refused)
}
