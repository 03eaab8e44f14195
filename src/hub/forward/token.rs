//! Something that is fetched, valid for a while, and fetched again in time: access tokens, temporary credentials.

use super::Failure;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is fetched early: the clocks of two machines and a slow request lie between.
const EARLY: Duration = Duration::from_secs(120);

pub struct Cached<T> {
    kept: Mutex<Option<(T, Option<Instant>)>>,
}

impl<T: Clone> Cached<T> {
    pub const fn empty() -> Cached<T> {
        Cached { kept: Mutex::new(None) }
    }

    /// What is kept, unless it ends soon.
    pub fn get(&self) -> Option<T> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, until) = kept.as_ref()?;
        until.is_none_or(|until| Instant::now() < until).then(|| value.clone())
    }

    /// `valid`: nothing is without end.
    pub fn put(&self, value: T, valid: Option<Duration>) {
        let until = valid.map(|valid| Instant::now() + valid.saturating_sub(EARLY).max(Duration::from_secs(1)));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((value, until));
    }

    pub fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The answer of a token endpoint (RFC 6749, 5.1).
#[derive(serde::Deserialize)]
pub struct Granted {
    pub access_token: String,
    /// Some servers write the number as a text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl Granted {
    pub fn read(body: &str) -> Result<Granted, Failure> {
        serde_json::from_str(body).map_err(|_| Failure::down("the answer of the token endpoint has no access_token"))
    }

    pub fn valid(&self) -> Duration {
        let seconds = self.expires_in.as_u64().or_else(|| self.expires_in.as_str()?.parse().ok());
        Duration::from_secs(seconds.unwrap_or(300))
    }
}
