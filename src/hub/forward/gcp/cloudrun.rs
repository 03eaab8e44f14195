//! Google Cloud Run: each alert to a service, with a token that is given.

use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Payload, endpoint};
use crate::hub::forward::whole::Whole;
use crate::hub::forward::{Context, Kind, Work};

pub const KIND: Kind = Kind {
    section: "gcp.cloudrun",
    label: "GCPCloudRun",
    destination: "gcpcloudrun",
    category: "FaaS",
    meaning: "Each alert as JSON, to a service.",
    required: &["endpoint", "jwt"],
    keys: &[
        &[
            Key::text("endpoint", "", "address of the service"),
            Key::secret("jwt", "identity token that the service accepts"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let token = ("Authorization".to_owned(), format!("Bearer {}", settings.text("jwt")));
    Ok(Box::new(Whole { url: endpoint(settings.text("endpoint"))?, headers: vec![token], ..Whole::default() }))
}
