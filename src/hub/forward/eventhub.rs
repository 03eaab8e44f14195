//! Azure Event Hubs: events over its REST interface.
//!
//! Falcosidekick speaks AMQP 1.0 to the same hub; consumers see the same events. Who the hub is: a client secret or a
//! federated token in the environment (`AZURE_*`), or the managed identity of the machine.

use super::gcp::form;
use super::http::{Payload, Request, endpoint, send, status_text};
use super::token::{Cached, Granted};
use super::{Batch, Context, Failure, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::json::go;
use reqwest::{Client, Method, Url};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub const KIND: Kind = Kind {
    section: "azure.eventhub",
    label: "EventHub",
    destination: "azureeventhub",
    category: "queue",
    meaning: "Each alert as JSON, an event of a hub.",
    required: &["name"],
    keys: &[
        &[
            Key::text("namespace", "", "namespace of the hub: NAME.servicebus.windows.net"),
            Key::text("name", "", "name of the hub"),
            Key::text("endpoint", "", "address in place of the namespace's (ours)"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

struct EventHub {
    url: String,
    token: Cached<String>,
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let namespace = settings.text("namespace");
    let host = match (settings.text("endpoint"), namespace) {
        ("", "") => return Err("namespace is not set: it is the name before .servicebus.windows.net".to_owned()),
        ("", _) if namespace.contains('.') => format!("https://{namespace}"),
        ("", _) => format!("https://{namespace}.servicebus.windows.net"),
        (address, _) => address.trim_end_matches('/').to_owned(),
    };
    let url = endpoint(&format!("{host}/{}/messages?api-version=2014-01", settings.text("name")))?;
    Ok(Box::new(EventHub { url, token: Cached::empty() }))
}

const RESOURCE: &str = "https://eventhubs.azure.net";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What asks for a token: of Entra ID, or of the machine.
fn token_request() -> Result<Request, Failure> {
    if let (Some(tenant), Some(id)) = (variable("AZURE_TENANT_ID"), variable("AZURE_CLIENT_ID")) {
        let proof = match (variable("AZURE_CLIENT_SECRET"), variable("AZURE_FEDERATED_TOKEN_FILE")) {
            (Some(secret), _) => Some(vec![("client_secret", secret)]),
            (None, Some(file)) => {
                let token =
                    std::fs::read_to_string(&file).map_err(|error| Failure::down(format!("{file}: {error}")))?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned();
                Some(vec![("client_assertion_type", kind), ("client_assertion", token.trim().to_owned())])
            }
            (None, None) => None,
        };
        if let Some(mut pairs) = proof {
            let authority =
                variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| "https://login.microsoftonline.com".to_owned());
            pairs.push(("grant_type", "client_credentials".to_owned()));
            pairs.push(("client_id", id));
            pairs.push(("scope", format!("{RESOURCE}/.default")));
            return form(&format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/')), &pairs);
        }
    }
    let mut pairs = vec![("api-version", "2018-02-01".to_owned()), ("resource", RESOURCE.to_owned())];
    pairs.extend(variable("AZURE_CLIENT_ID").map(|id| ("client_id", id)));
    let url = Url::parse_with_params("http://169.254.169.254/metadata/identity/oauth2/token", &pairs);
    let url = url.map_err(Failure::down)?.into();
    Ok(Request { method: Method::GET, url, ..Request::default() }.header("Metadata", "true"))
}

#[async_trait::async_trait]
impl Payload for EventHub {
    fn batch(&self) -> Batch {
        // A request may have 256 KB or, by the hub's tier, 1 MB.
        Batch { alerts: 64, bytes: 1 << 17, linger: Duration::ZERO }
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let events: Vec<_> = alerts.iter().map(|alert| json!({"Body": alert.line()})).collect();
        let request = Request::post(&*self.url, go(&events));
        Ok(vec![request.header("Content-Type", "application/vnd.microsoft.servicebus.json")])
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        let token = match self.token.get() {
            Some(token) => token,
            None => {
                let failed = |what: String| Failure::down(format!("the access token: {what}"));
                let answer = send(client, token_request()?).await.map_err(|failure| failed(failure.to_string()))?;
                if !answer.status.is_success() {
                    return Err(failed(status_text(answer.status, &answer.body)));
                }
                let granted = Granted::read(&answer.body)?;
                self.token.put(granted.access_token.clone(), Some(granted.valid()));
                granted.access_token
            }
        };
        Ok(vec![("Authorization".to_owned(), format!("Bearer {token}"))])
    }
}
