//! Who asks: sessions in a cookie, HTTP's Basic authentication, how often a password may be guessed.
//!
//! Sessions are in memory and end with the hub; one ends as well when its user's password or role changes. Invariant:
//! passwords are compared only after [`Limits::take`] allowed it, two at a time.

use super::{Answer, Failed, Shared, Ui, answer, in_json};
use crate::hub::input::listen::Peer;
use crate::hub::spool::users::{Role, User, nobody_has_password};
use crate::hub::spool::{Spool, SpoolError};
use axum::body::Bytes;
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const COOKIE: &str = "falco_hub_session";
/// Sessions end after that time without a request, and after the other in any case.
const IDLE: Duration = Duration::from_secs(12 * 3600);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
const SESSIONS_MAX: usize = 10_000;
/// Passwords compared at a time: each takes 19 MiB and a good part of a second.
const COMPARED_AT_ONCE: usize = 2;
/// The name of the user that is made when there is none, and the file its password is in.
const FIRST: &str = "admin";
const FIRST_FILE: &str = "initial-password";

struct Session {
    name: String,
    /// The user's hash at that time: another one ends the session.
    hash: String,
    made: Instant,
    seen: Instant,
}

pub struct Login {
    /// What those may who do not say who they are.
    pub anonymous: Option<Role>,
    /// Cookies are for TLS only.
    pub secure: bool,
    /// By the hash of the cookie or of the Basic header.
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    /// Goes into those hashes, so that they mean nothing outside of this process.
    secret: [u8; 16],
    limits: Mutex<Limits>,
    comparing: Semaphore,
}

impl Login {
    pub fn new(anonymous: Option<Role>, secure: bool) -> Login {
        Login {
            anonymous,
            secure,
            sessions: Mutex::default(),
            secret: uuid::Uuid::new_v4().into_bytes(),
            limits: Mutex::default(),
            comparing: Semaphore::new(COMPARED_AT_ONCE),
        }
    }

    fn key(&self, presented: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.secret).chain_update(presented).finalize().into()
    }

    fn remember(&self, key: [u8; 32], user: &User) {
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| session.is_valid(now));
        }
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.seen).map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        let session = Session { name: user.name.clone(), hash: user.hash.clone(), made: now, seen: now };
        sessions.insert(key, session);
    }

    /// The name and the hash of a session that goes on.
    fn known(&self, key: &[u8; 32]) -> Option<(String, String)> {
        let now = Instant::now();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        match sessions.get_mut(key) {
            Some(session) if session.is_valid(now) => {
                session.seen = now;
                Some((session.name.clone(), session.hash.clone()))
            }
            Some(_) => {
                sessions.remove(key);
                None
            }
            None => None,
        }
    }

    fn forget(&self, key: &[u8; 32]) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The user of that name and password.
    async fn compare(&self, spool: &Arc<Spool>, peer: &Peer, name: &str, password: &str) -> Result<User, Failed> {
        let keys = [Limits::of_peer(peer), Limits::of_name(name)];
        let wait = self.limits.lock().unwrap_or_else(PoisonError::into_inner).take(&keys, Instant::now());
        if let Err(wait) = wait {
            tracing::warn!(user = name, from = %peer, "too many attempts to log in");
            let text = format!("too many attempts; try again in {} seconds", wait.as_secs() + 1);
            return Err(Failed::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        let stopping = |_| Failed::new(StatusCode::SERVICE_UNAVAILABLE, "the hub is stopping");
        let _permit = self.comparing.acquire().await.map_err(stopping)?;
        let user = spool.user(name).await?;
        let password = password.to_owned();
        let compared = tokio::task::spawn_blocking(move || match user {
            Some(user) => user.has_password(&password).then_some(user),
            None => {
                nobody_has_password(&password);
                None
            }
        });
        match compared.await.ok().flatten() {
            Some(user) => {
                self.limits.lock().unwrap_or_else(PoisonError::into_inner).give_back(&keys);
                Ok(user)
            }
            None => {
                tracing::warn!(user = name, from = %peer, "a login with a wrong name or password");
                Err(Failed::new(StatusCode::UNAUTHORIZED, "unauthorized"))
            }
        }
    }

    /// Who a request comes from; nobody when it does not say or its session has ended.
    async fn who(&self, spool: &Arc<Spool>, peer: &Peer, headers: &HeaderMap) -> Result<Option<User>, Failed> {
        if let Some(basic) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
            let key = self.key(basic);
            if let Some(user) = self.of_session(spool, &key).await? {
                return Ok(Some(user));
            }
            let Some((name, password)) = credentials(basic) else { return Ok(None) };
            let user = self.compare(spool, peer, &name, &password).await?;
            self.remember(key, &user);
            return Ok(Some(user));
        }
        match cookie(headers) {
            Some(token) => self.of_session(spool, &self.key(token)).await,
            None => Ok(None),
        }
    }

    async fn of_session(&self, spool: &Arc<Spool>, key: &[u8; 32]) -> Result<Option<User>, Failed> {
        let Some((name, hash)) = self.known(key) else { return Ok(None) };
        let user = spool.user(&name).await?.filter(|user| user.hash == hash);
        if user.is_none() {
            self.forget(key);
        }
        Ok(user)
    }

    fn set_cookie(&self, headers: &HeaderMap, value: &str, seconds: u64) -> HeaderValue {
        // A proxy that speaks TLS for the hub says so.
        let proxied = headers.get("x-forwarded-proto").is_some_and(|value| value == "https");
        let secure = if self.secure || proxied { "; Secure" } else { "" };
        let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Session {
    fn is_valid(&self, now: Instant) -> bool {
        now.duration_since(self.seen) < IDLE && now.duration_since(self.made) < LONGEST
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Name and password of a Basic header.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (name, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (name.to_owned(), password.to_owned()))
}

/// How often passwords may be guessed: a bucket for each address and for each name, filled again with time.
#[derive(Default)]
struct Limits {
    /// What is left, and when that was so.
    left: HashMap<String, (f64, Instant)>,
}

/// Attempts at once of one address, and the time after which there is one more. For a name, whoever tries, four times as many.
const ATTEMPTS: f64 = 5.0;
const ANOTHER_AFTER: f64 = 20.0;
const NAME_FACTOR: f64 = 4.0;
const LIMITED_MAX: usize = 20_000;

impl Limits {
    fn of_peer(peer: &Peer) -> String {
        match peer.0 {
            // Whoever has one address of IPv6 has the network.
            Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(address) => format!("address {address}"),
                None => format!("address {:x}", u128::from(address) >> 64),
            },
            Some(address) => format!("address {address}"),
            None => "address".to_owned(),
        }
    }

    fn of_name(name: &str) -> String {
        format!("name {}", name.chars().take(64).collect::<String>())
    }

    fn rate(key: &str) -> (f64, f64) {
        let factor = if key.starts_with("name ") { NAME_FACTOR } else { 1.0 };
        (ATTEMPTS * factor, ANOTHER_AFTER / factor)
    }

    fn left(&self, key: &str, now: Instant) -> f64 {
        let (most, another) = Self::rate(key);
        let filled = |(left, at): &(f64, Instant)| left + now.duration_since(*at).as_secs_f64() / another;
        self.left.get(key).map_or(most, filled).min(most)
    }

    /// Takes an attempt of each of `keys`, or says how long to wait.
    fn take(&mut self, keys: &[String], now: Instant) -> Result<(), Duration> {
        if self.left.len() >= LIMITED_MAX {
            // Full buckets say what no bucket says.
            let full: Vec<String> =
                self.left.keys().filter(|key| self.left(key, now) >= Self::rate(key).0).cloned().collect();
            for key in full {
                self.left.remove(&key);
            }
            if self.left.len() >= LIMITED_MAX {
                return Err(Duration::from_secs(60));
            }
        }
        let missing = keys.iter().map(|key| (1.0 - self.left(key, now)).max(0.0) * Self::rate(key).1);
        let wait = missing.fold(0.0, f64::max);
        if wait > 0.0 {
            return Err(Duration::from_secs_f64(wait));
        }
        for key in keys {
            let left = self.left(key, now) - 1.0;
            self.left.insert(key.clone(), (left, now));
        }
        Ok(())
    }

    fn give_back(&mut self, keys: &[String]) {
        for key in keys {
            if let Some((left, _)) = self.left.get_mut(key) {
                *left += 1.0;
            }
        }
    }
}

/// Makes a user when there is none. The password is in the log once, and in a file that only the hub's user can read.
pub async fn first_user(spool: &Arc<Spool>, directory: &Path) -> Result<(), SpoolError> {
    if !spool.users().await?.is_empty() {
        return Ok(());
    }
    let password = User::generated_password();
    let file = directory.join(FIRST_FILE);
    let written = write_secret(&file, &password);
    written.map_err(|error| SpoolError::Directory { path: file.clone(), error })?;
    match User::new(FIRST, Role::Operator, &password) {
        Ok(user) => spool.set_user(user).await?,
        Err(error) => tracing::error!("{error}"),
    }
    tracing::warn!(
        "there was no user yet: log in as '{FIRST}' with the password {password} (also in {}) and change it",
        file.display()
    );
    Ok(())
}

fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(file, "{text}")
}

/// A known user, or the role that everybody has.
pub struct Viewer {
    pub name: String,
    pub role: Role,
}

/// One who may change things.
pub struct Operator(pub Viewer);

impl FromRequestParts<Arc<Ui>> for Viewer {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, ui: &Arc<Ui>) -> Result<Viewer, Failed> {
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or_default();
        match (ui.login.who(&ui.spool, &peer, &parts.headers).await?, ui.login.anonymous) {
            (Some(user), anonymous) => {
                Ok(Viewer { name: user.name, role: anonymous.map_or(user.role, |role| role.max(user.role)) })
            }
            (None, Some(role)) => Ok(Viewer { name: "anonymous".to_owned(), role }),
            (None, None) => Err(Failed::new(StatusCode::UNAUTHORIZED, "please log in")),
        }
    }
}

impl FromRequestParts<Arc<Ui>> for Operator {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, ui: &Arc<Ui>) -> Result<Operator, Failed> {
        let viewer = Viewer::from_request_parts(parts, ui).await?;
        match viewer.role {
            Role::Operator => Ok(Operator(viewer)),
            Role::Viewer => Err(Failed::new(StatusCode::FORBIDDEN, "only an operator may do this")),
        }
    }
}

/// Falcosidekick UI's check of a Basic header.
pub async fn check(State(ui): Shared, peer: Option<Extension<Peer>>, headers: HeaderMap) -> Response {
    let peer = peer.map(|Extension(peer)| peer).unwrap_or_default();
    let (status, word) = match ui.login.who(&ui.spool, &peer, &headers).await {
        Ok(Some(_)) => (StatusCode::OK, "\"authorized\""),
        Ok(None) if ui.login.anonymous.is_some() => (StatusCode::OK, "\"authorized\""),
        Ok(None) => (StatusCode::UNAUTHORIZED, "\"unauthorized\""),
        Err(Failed(status, _)) => (status, "\"unauthorized\""),
    };
    (status, in_json(word.to_owned())).into_response()
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

pub async fn login(
    State(ui): Shared,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failed> {
    let peer = peer.map(|Extension(peer)| peer).unwrap_or_default();
    let given: Credentials =
        serde_json::from_slice(&body).map_err(|error| Failed::bad(format!("the body: {error}")))?;
    let user = ui.login.compare(&ui.spool, &peer, &given.name, &given.password).await?;
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    ui.login.remember(ui.login.key(&token), &user);
    let mut response = answer(&json!({"name": user.name, "role": user.role.name()}), false)?;
    let cookie = ui.login.set_cookie(&headers, &token, LONGEST.as_secs());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

pub async fn logout(State(ui): Shared, headers: HeaderMap) -> Response {
    if let Some(token) = cookie(&headers) {
        ui.login.forget(&ui.login.key(token));
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, ui.login.set_cookie(&headers, "", 0));
    response
}

pub async fn session(State(ui): Shared, viewer: Viewer) -> Answer {
    let anonymous = ui.login.anonymous.is_some();
    answer(&json!({"name": viewer.name, "role": viewer.role.name(), "anonymous": anonymous}), false)
}

#[derive(Deserialize)]
struct NewPassword {
    old: String,
    new: String,
}

/// Everybody changes their own.
pub async fn password(
    State(ui): Shared,
    viewer: Viewer,
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> Result<StatusCode, Failed> {
    let peer = peer.map(|Extension(peer)| peer).unwrap_or_default();
    let given: NewPassword =
        serde_json::from_slice(&body).map_err(|error| Failed::bad(format!("the body: {error}")))?;
    let user = ui.login.compare(&ui.spool, &peer, &viewer.name, &given.old).await?;
    let hashed = tokio::task::spawn_blocking(move || User::new(&user.name, user.role, &given.new)).await;
    let user = hashed.map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, error))?.map_err(Failed::bad)?;
    ui.spool.set_user(user).await?;
    if viewer.name == FIRST {
        // It holds no password any more.
        let _ = std::fs::remove_file(crate::hub::config::directory(&ui.settings).join(FIRST_FILE));
    }
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_limited_for_an_address_and_for_a_name() {
        let mut limits = Limits::default();
        let now = Instant::now();
        let keys = |address: u8| [Limits::of_peer(&Peer(Some([10, 0, 0, address].into()))), Limits::of_name("a")];
        for _ in 0..5 {
            limits.take(&keys(1), now).expect("allowed");
        }
        let wait = limits.take(&keys(1), now).expect_err("a sixth is too many");
        assert!(wait <= Duration::from_secs(20) && wait > Duration::from_secs(19), "{wait:?}");
        limits.take(&keys(1), now + wait).expect("later there is one more");
        for address in 2..=7 {
            for _ in 0..4 {
                let _ = limits.take(&keys(address), now);
            }
        }
        limits.take(&keys(9), now).expect_err("the name was tried from everywhere");
        limits.give_back(&keys(2));
        let mapped = Peer(Some("::ffff:10.0.0.1".parse().expect("an address")));
        assert_eq!(Limits::of_peer(&mapped), keys(1)[0], "the same host by both families");
        let networks = ["2001:db8::1", "2001:db8::2"].map(|a| Limits::of_peer(&Peer(Some(a.parse().expect("v6")))));
        assert_eq!(networks[0], networks[1], "one network of IPv6 is one address");
    }

    #[test]
    fn headers() {
        assert_eq!(credentials("Basic YTpiOmM="), Some(("a".to_owned(), "b:c".to_owned())));
        assert_eq!(credentials("Bearer YTpi"), None);
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("x=1; falco_hub_session=abc; y=2"));
        assert_eq!(cookie(&headers), Some("abc"));
    }
}
