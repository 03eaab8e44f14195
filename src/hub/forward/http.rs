//! Outputs over HTTP: a [`Payload`] makes requests of alerts, the rest is the same for all.
//!
//! Headers, TLS, retry classes and limits are Falcosidekick's (sidekick-compatible: `Content-Type: application/json;
//! charset=utf-8`, `User-Agent: Falcosidekick`, custom headers last), plus `Idempotency-Key`, the alert's uuid, so that
//! a receiver can tell a repetition. Invariant: an alert counts as delivered when every request of it was answered 2xx.

use super::{Batch, Context, Failure, Forward, all, concurrency};
use crate::hub::alert::Alert;
use crate::hub::causes::causes;
use crate::hub::json::head;
use base64::Engine as _;
use flate2::{Compression, write::GzEncoder};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode};
use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub url: String,
    /// Later ones replace earlier ones of the same name.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Where it is shorter than that of an attempt.
    pub timeout: Option<Duration>,
}

pub const JSON: &str = "application/json; charset=utf-8";

impl Request {
    pub fn post(url: impl Into<String>, body: Vec<u8>) -> Request {
        let headers = vec![("Content-Type".to_owned(), JSON.to_owned())];
        Request { method: Method::POST, url: url.into(), headers, body, timeout: None }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        let value = value.into();
        match self.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
        self
    }

    pub fn headers(self, headers: &[(String, String)]) -> Request {
        headers.iter().fold(self, |request, (name, value)| request.header(name, value))
    }

    /// Basic authentication, when a user or a password is given.
    pub fn basic(self, user: &str, password: &str) -> Request {
        if user.is_empty() && password.is_empty() {
            return self;
        }
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.header("Authorization", format!("Basic {encoded}"))
    }

    /// Compresses the body.
    pub fn gzip(mut self) -> Request {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        if encoder.write_all(&self.body).is_ok()
            && let Ok(body) = encoder.finish()
        {
            self.body = body;
            return self.header("Content-Encoding", "gzip").header("Accept-Encoding", "gzip");
        }
        self
    }
}

/// What a server answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    /// The body as it came, for what is no text.
    pub raw: Vec<u8>,
    pub retry_after: Option<Duration>,
}

/// What differs between outputs over HTTP.
#[async_trait::async_trait]
pub trait Payload: Send + Sync {
    fn batch(&self) -> Batch {
        Batch::ONE
    }

    /// As [`Forward::alike`].
    fn alike(&self) -> bool {
        false
    }

    /// The requests for these alerts, in order; all of them must succeed.
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure>;

    /// What an answer says of each alert. By default its status, of all.
    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        all(alerts, outcome(answer))
    }

    /// Other requests in place of those that got this answer, when it tells what to change. They are sent once.
    fn again(&self, _answer: &Answer, _alerts: &[Arc<Alert>]) -> Option<Vec<Request>> {
        None
    }

    /// The client to use, where it is not the usual one.
    fn client(&self) -> Option<Client> {
        None
    }

    /// Called before the requests of each delivery are made: what must exist on the server, a token. The headers are
    /// added to the requests.
    async fn prepare(&self, _client: &Client) -> Result<Vec<(String, String)>, Failure> {
        Ok(Vec::new())
    }
}

/// An address as outputs take it.
pub fn endpoint(url: &str) -> Result<String, String> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return Err(format!("'{url}' is not an address: it must start with http:// or https://"));
    }
    reqwest::Url::parse(url).map_err(|error| format!("'{url}' is not an address: {error}"))?;
    Ok(url.to_owned())
}

/// Falcosidekick's words for a status.
pub fn status_text(status: StatusCode, body: &str) -> String {
    let text = match status.as_u16() {
        400 if body.trim().is_empty() => "header missing",
        400 => body.trim(),
        401 => "authentication error",
        403 => "access denied",
        404 => "resource not found",
        422 => "bad request",
        429 => "exceeding post rate limit",
        _ => status.canonical_reason().unwrap_or("unknown status"),
    };
    // What a server says is shown to people and logged.
    let text: String = head(text, 300).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}: {text}", status.as_u16())
}

/// Delivered, or which kind of failure a status is.
pub fn outcome(answer: &Answer) -> Result<(), Failure> {
    let what = status_text(answer.status, &answer.body);
    match answer.status.as_u16() {
        200..=299 => Ok(()),
        // What would meet every alert: credentials, addresses, load, faults of the server.
        300..=399 | 401 | 403 | 404 | 407 | 408 | 421 | 425 | 429 | 500.. => {
            Err(Failure::Down { what, after: answer.retry_after })
        }
        _ => Err(Failure::Refused(what)),
    }
}

/// The most of an answer that is read.
const ANSWER_MAX: usize = 1 << 20;

/// The usual client for an output: its TLS keys are those of [`keys::HTTP`](crate::hub::config::keys::HTTP).
pub fn client(context: &Context, check: bool, mutual: bool) -> Result<Client, String> {
    Client::builder()
        .tls_backend_preconfigured(context.tls.client(check, mutual, None)?)
        .user_agent("Falcosidekick")
        .redirect(Policy::custom(|attempt| {
            // Any other redirection would become a GET: answered, but nothing delivered.
            let keeps = matches!(attempt.status().as_u16(), 307 | 308);
            if keeps && attempt.previous().len() < 10 { attempt.follow() } else { attempt.stop() }
        }))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| error.to_string())
}

/// Sends one request and reads the answer.
pub async fn send(client: &Client, request: Request) -> Result<Answer, Failure> {
    // Of an address the host alone: the rest may hold what is secret.
    let place = reqwest::Url::parse(&request.url)
        .ok()
        .and_then(|url| Some(format!("{}:{}: ", url.host_str()?, url.port_or_known_default()?)));
    let failed = |error: reqwest::Error| {
        Failure::down(format!("{}{}", place.as_deref().unwrap_or_default(), causes(&error.without_url())))
    };
    let mut builder = client.request(request.method, &request.url).body(request.body);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    if let Some(timeout) = request.timeout {
        builder = builder.timeout(timeout);
    }
    let mut response = builder.send().await.map_err(failed)?;
    let status = response.status();
    let retry_after = response.headers().get("Retry-After").and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let headers = std::mem::take(response.headers_mut());
    let mut raw = Vec::new();
    // Reading to the end lets the connection be used again; an answer too long is not worth that.
    while let Ok(Some(part)) = response.chunk().await {
        raw.extend_from_slice(&part);
        if raw.len() > ANSWER_MAX {
            break;
        }
    }
    let body = String::from_utf8_lossy(&raw).into_owned();
    Ok(Answer { status, headers, body, raw, retry_after: retry_after.map(Duration::from_secs) })
}

/// Makes a [`Forward`] of a [`Payload`].
pub struct Http {
    payload: Box<dyn Payload>,
    client: Client,
    concurrency: usize,
}

impl Http {
    pub fn new(payload: Box<dyn Payload>, context: &Context) -> Result<Http, String> {
        let settings = context.settings;
        let client = match payload.client() {
            Some(client) => client,
            None => client(context, settings.flag_or("checkcert", true), settings.flag_or("mutualtls", false))?,
        };
        let concurrency = settings.int_or("maxconcurrentrequests", 1);
        Ok(Http { payload, client, concurrency: self::concurrency(concurrency) })
    }

    async fn try_deliver(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Result<(), Failure>>, Failure> {
        let mut outcomes = all(alerts, Ok(()));
        let more = self.payload.prepare(&self.client).await?;
        let mut requests = VecDeque::from(self.payload.requests(alerts)?);
        let mut changed = false;
        while let Some(mut request) = requests.pop_front() {
            let has_key = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Idempotency-Key"));
            if let ([alert], false) = (alerts, has_key) {
                request = request.header("Idempotency-Key", alert.uuid.as_str());
            }
            let answer = send(&self.client, request.headers(&more)).await?;
            if !changed && let Some(others) = self.payload.again(&answer, alerts) {
                changed = true;
                requests = others.into();
                continue;
            }
            for (outcome, new) in outcomes.iter_mut().zip(self.payload.judge(&answer, alerts)) {
                if outcome.is_ok() {
                    *outcome = new;
                }
            }
            if outcomes.iter().all(Result::is_err) {
                break;
            }
        }
        Ok(outcomes)
    }
}

#[async_trait::async_trait]
impl Forward for Http {
    fn batch(&self) -> Batch {
        self.payload.batch()
    }

    fn alike(&self) -> bool {
        self.payload.alike()
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        match self.try_deliver(alerts).await {
            Ok(outcomes) => outcomes,
            Err(failure) => all(alerts, Err(failure)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["http://localhost", "https://a/b?c=d", "HTTP://x"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in ["", "localhost", "ftp://x", "http://", "//x"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_later_header_replaces_an_earlier() {
        let request = Request::post("http://x", Vec::new()).header("content-type", "text/plain").header("a", "1");
        let expected = [("Content-Type", "text/plain"), ("a", "1")];
        assert_eq!(request.headers, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn classes_of_answers() {
        let class = |status: u16| {
            let status = StatusCode::from_u16(status).expect("status");
            match outcome(&Answer { status, ..Answer::default() }) {
                Ok(()) => "ok",
                Err(Failure::Down { .. }) => "down",
                Err(_) => "refused",
            }
        };
        for (status, expected) in
            [(200, "ok"), (204, "ok"), (400, "refused"), (401, "down"), (413, "refused"), (429, "down"), (503, "down")]
        {
            assert_eq!(class(status), expected, "{status}");
        }
    }
}
