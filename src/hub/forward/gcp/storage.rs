//! Google Cloud Storage: an object for each alert.

use super::{Google, SHARED};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::aws::{s3, uri_encoded};
use crate::hub::forward::http::{Payload, Request};
use crate::hub::forward::{Context, Failure, Kind, Work};
use reqwest::Client;
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "gcp.storage",
    label: "GCPStorage",
    destination: "gcpstorage",
    category: "storage",
    meaning: "Each alert as JSON, an object in a bucket, by day.",
    required: &["bucket"],
    keys: &[&[Key::text("bucket", "", "name of the bucket"), Key::text("prefix", "", "folder of the objects")], HTTP],
    shared: SHARED,
    work: Work::Http(make),
};

struct Storage {
    google: Google,
    /// Up to the object's name.
    url: String,
    prefix: String,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let google = Google::new(context)?;
    let bucket = uri_encoded(settings.text("bucket"));
    let host = google.url("storage.googleapis.com");
    Ok(Box::new(Storage {
        url: format!("{host}/upload/storage/v1/b/{bucket}/o?uploadType=media&name="),
        google,
        prefix: settings.text("prefix").to_owned(),
    }))
}

#[async_trait::async_trait]
impl Payload for Storage {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let name = uri_encoded(&s3::key(&self.prefix, alert));
            Request::post(format!("{}{name}", self.url), alert.body()).header("Content-Type", "application/json")
        };
        Ok(alerts.iter().map(request).collect())
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.google.authorization(client).await
    }
}
