//! What the outputs that get the whole alert as JSON in one request have in common. Not an output.

use super::Failure;
use super::http::{Payload, Request};
use crate::hub::alert::Alert;
use std::sync::Arc;

/// POSTs alerts as they are to one address.
#[derive(Default)]
pub struct Whole {
    pub url: String,
    pub user: String,
    pub password: String,
    /// Later than all others.
    pub headers: Vec<(String, String)>,
}

impl Whole {
    pub fn request(&self, alert: &Alert) -> Request {
        Request::post(&*self.url, alert.body()).basic(&self.user, &self.password).headers(&self.headers)
    }
}

impl Payload for Whole {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        Ok(alerts.iter().map(|alert| self.request(alert)).collect())
    }
}
