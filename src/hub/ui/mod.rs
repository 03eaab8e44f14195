//! The page and its interface, on a port of their own: Falcosidekick UI's endpoints and what its users miss.
//!
//! Who asks is found out in [`login`], which alerts are meant in [`ask`]; the other files answer. The page itself is in
//! `page/`, plain files that are part of the program. Invariant: only a known user gets an answer about alerts, only an
//! operator changes something; every answer forbids the browser to load anything from elsewhere.

mod alerts;
mod ask;
mod login;
mod outputs;
mod overview;
mod stream;

pub use login::{Login, first_user};
pub use outputs::Output;

use super::config::Section;
use super::input::{Input, Rejected};
use super::spool::{Spool, SpoolError};
use super::store::{Store, StoreError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What the handlers share.
pub struct Ui {
    /// Users, and what became of alerts at the outputs.
    pub spool: Arc<Spool>,
    /// Alerts.
    pub store: Store,
    pub input: Arc<Input>,
    pub outputs: Vec<Output>,
    pub login: Login,
    pub stop: watch::Receiver<bool>,
    /// Time the test of an output may take.
    pub timeout: Duration,
    pub address: SocketAddr,
    pub settings: Section,
}

type Shared = State<Arc<Ui>>;

const PAGE: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("page/app.js")),
    ("/dom.js", "text/javascript; charset=utf-8", include_str!("page/dom.js")),
    ("/server.js", "text/javascript; charset=utf-8", include_str!("page/server.js")),
    ("/filter.js", "text/javascript; charset=utf-8", include_str!("page/filter.js")),
    ("/charts.js", "text/javascript; charset=utf-8", include_str!("page/charts.js")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("page/dashboard.js")),
    ("/alerts.js", "text/javascript; charset=utf-8", include_str!("page/alerts.js")),
    ("/alert.js", "text/javascript; charset=utf-8", include_str!("page/alert.js")),
    ("/outputs.js", "text/javascript; charset=utf-8", include_str!("page/outputs.js")),
    ("/rules.js", "text/javascript; charset=utf-8", include_str!("page/rules.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

pub fn router(ui: Arc<Ui>) -> Router {
    let body_max = ui.input.body_max;
    let mut router = Router::new();
    for (path, kind, text) in PAGE {
        router = router.route(path, get(async || ([(header::CONTENT_TYPE, *kind)], *text)));
    }
    router
        .route("/api/v1/healthz", get(health))
        .route("/api/v1/auth", post(login::check))
        .route("/api/v1/authenticate", post(login::check))
        .route("/api/v1/login", post(login::login))
        .route("/api/v1/logout", post(login::logout))
        .route("/api/v1/session", get(login::session))
        .route("/api/v1/password", post(login::password))
        .route("/api/v1/config", get(configuration))
        .route("/api/v1/configuration", get(configuration))
        .route("/api/v1/version", get(version))
        .route("/api/v1/outputs", get(outputs::names))
        .route("/api/v1/outputs/state", get(outputs::state))
        .route("/api/v1/outputs/{name}/test", post(outputs::test))
        .route("/api/v1/outputs/{name}/retry", post(outputs::retry))
        .route("/api/v1/deadletters", get(outputs::dead_letters))
        .route("/api/v1/events/count", get(overview::count))
        .route("/api/v1/events/count/{group}", get(overview::count_by))
        .route("/api/v1/events/overview", get(overview::overview))
        .route("/api/v1/events/fields", get(overview::fields))
        .route("/api/v1/events/search", get(alerts::search))
        .route("/api/v1/events/stream", get(stream::live))
        .route("/api/v1/events/export", get(stream::export))
        .route("/api/v1/events/{uuid}", get(alerts::one).delete(alerts::remove))
        .route("/api/v1/events/{uuid}/neighbours", get(alerts::neighbours))
        .route("/api/v1/events/{uuid}/acknowledgement", post(alerts::acknowledge))
        .route("/api/v1/events/{uuid}/acknowledgement", delete(alerts::unacknowledge))
        // Falcosidekick's output `webui` sends here.
        .route("/", post(add))
        .route("/api/v1/", post(add))
        .route("/api/v1/events/add", post(add))
        .fallback(async || Failed::new(StatusCode::NOT_FOUND, "there is nothing of that name"))
        .layer(DefaultBodyLimit::max(body_max))
        .layer(axum::middleware::from_fn(same_origin))
        .layer(map_response(safe))
        .with_state(ui)
}

/// An answer that says what is wrong.
#[derive(Debug)]
pub struct Failed(StatusCode, String);

impl Failed {
    fn new(status: StatusCode, why: impl ToString) -> Failed {
        Failed(status, why.to_string())
    }

    fn bad(why: impl ToString) -> Failed {
        Failed::new(StatusCode::BAD_REQUEST, why)
    }
}

impl From<SpoolError> for Failed {
    fn from(error: SpoolError) -> Failed {
        tracing::error!(%error, "a question about alerts was not answered");
        Failed::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        match error {
            StoreError::Spool(error) => error.into(),
            error => {
                tracing::warn!(%error, "a question about alerts was not answered");
                Failed::new(StatusCode::SERVICE_UNAVAILABLE, error)
            }
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, in_json(json!({"error": self.1}).to_string())).into_response()
    }
}

type Answer = Result<Response, Failed>;

fn in_json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// As the parameter `pretty` of Falcosidekick UI wants it.
fn answer(value: &serde_json::Value, pretty: bool) -> Answer {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map(in_json).map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

/// What every answer tells the browser.
async fn safe(mut response: Response) -> Response {
    const ALL: [(header::HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in ALL {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A browser that another site makes send something is refused, whatever it presents.
async fn same_origin(request: Request, next: Next) -> Response {
    if !matches!(request.method().as_str(), "GET" | "HEAD") && from_elsewhere(request.headers()) {
        return Failed::new(StatusCode::FORBIDDEN, "this came from another site").into_response();
    }
    next.run(request).await
}

fn from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin"), text("host")) {
        (Some(site), _, _) => site != "same-origin" && site != "none",
        (None, Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, from)| from != host),
        _ => false,
    }
}

/// 200 when the database answers.
async fn health(State(ui): Shared) -> Answer {
    ui.store.span().await?;
    Ok(in_json(json!({"status": "ok"}).to_string()))
}

async fn add(State(ui): Shared, headers: HeaderMap, body: Bytes) -> Result<Response, Rejected> {
    ui.input.add(&headers, &body).await?;
    Ok(in_json("\"{}\"".to_owned()))
}

/// Falcosidekick UI's keys, as far as they mean something here, and ours.
async fn configuration(State(ui): Shared, _: login::Viewer) -> Answer {
    let state = *ui.store.state().borrow();
    let [size, age] = ui.store.bounds();
    let value = json!({
        "listen-address": ui.address.ip().to_string(),
        "listen-port": ui.address.port(),
        "redis-server": "", "redis-username": "", "redis-password": "",
        "dev-mode": false,
        "disable-auth": ui.login.anonymous.is_some(),
        "log-level": if ui.settings.flag("debug") { "debug" } else { "info" },
        "ttl": ui.settings.duration(age).as_secs(),
        "credentials": "*******",
        "size": state.used,
        "maxsize": ui.settings.int(size),
        "removed": state.removed,
        "full": state.full,
    });
    answer(&value, false)
}

async fn version(_: login::Viewer) -> Answer {
    let value = json!({
        "GitVersion": env!("CARGO_PKG_VERSION"), "GitCommit": "", "GitTreeState": "", "BuildDate": "",
        "GoVersion": "", "Compiler": "rustc",
        "Platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    });
    answer(&value, false)
}
