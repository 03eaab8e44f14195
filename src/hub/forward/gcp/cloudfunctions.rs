//! Google Cloud Functions: a function is called with each alert.

use super::{Google, SHARED};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Answer, Payload, Request, outcome};
use crate::hub::forward::{Context, Failure, Kind, Work, all};
use crate::hub::json::{go, head};
use reqwest::Client;
use serde_json::{Value, json};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "gcp.cloudfunctions",
    label: "GCPCloudFunctions",
    destination: "gcpcloudfunctions",
    category: "FaaS",
    meaning: "A call of a function with each alert as JSON; one that fails is repeated.",
    required: &["name"],
    keys: &[&[Key::text("name", "", "function: projects/P/locations/L/functions/F")], HTTP],
    shared: SHARED,
    work: Work::Http(make),
};

struct CloudFunctions {
    google: Google,
    url: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let google = Google::new(context)?;
    let name = context.settings.text("name").trim_matches('/');
    Ok(Box::new(CloudFunctions {
        url: format!("{}/v1/{name}:call", google.url("cloudfunctions.googleapis.com")),
        google,
    }))
}

#[async_trait::async_trait]
impl Payload for CloudFunctions {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| Request::post(&*self.url, go(&json!({"data": alert.line()})));
        Ok(alerts.iter().map(request).collect())
    }

    /// The call may succeed and the function fail.
    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let read: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        match read["error"].as_str().filter(|error| answer.status.is_success() && !error.is_empty()) {
            Some(error) => {
                let what = format!("the function failed: {}", head(error, 300).escape_debug());
                all(alerts, Err(Failure::Refused(what)))
            }
            None => all(alerts, outcome(answer)),
        }
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.google.authorization(client).await
    }
}
