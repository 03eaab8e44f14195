//! What the outputs to Google Cloud have in common: the shared keys, addresses and access tokens.
//!
//! A token is asked for with a service account's key, with a user's refresh token, or of the metadata service of the
//! machine (which is workload identity in GKE).

pub mod chronicle;
pub mod cloudfunctions;
pub mod cloudrun;
pub mod pubsub;
pub mod storage;

use super::http::{Request, send, status_text};
use super::token::{Cached, Granted};
use super::{Context, Failure};
use crate::hub::config::keys::Key;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{Client, Method, Url};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::time::Duration;

/// Keys of all outputs to Google Cloud.
pub const SHARED: &[Key] = &[
    Key::secret(
        "gcp.credentials",
        "credentials file, base64; without: the file of GOOGLE_APPLICATION_CREDENTIALS, or the machine's metadata service",
    ),
    Key::flag("gcp.workloadidentity", "false", "take the identity of the pod, even when there are credentials"),
    Key::text("gcp.endpoint", "", "address in place of Google's own (ours)"),
];

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The files that Google gives out; what is not understood is told by its type.
#[derive(serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Credentials {
    ServiceAccount {
        client_email: String,
        private_key: String,
        #[serde(default)]
        private_key_id: String,
        #[serde(default)]
        token_uri: String,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        #[serde(default)]
        token_uri: String,
    },
}

enum Source {
    Key { email: String, id: String, key: Box<RsaKeyPair>, uri: String },
    Refresh { form: Vec<(&'static str, String)>, uri: String },
    Metadata,
}

pub struct Google {
    endpoint: Option<String>,
    source: Source,
    cached: Cached<String>,
}

impl Google {
    pub fn new(context: &Context) -> Result<Google, String> {
        let settings = context.settings;
        let source = match settings.text("gcp.credentials") {
            _ if settings.flag("gcp.workloadidentity") => Source::Metadata,
            "" => match std::env::var("GOOGLE_APPLICATION_CREDENTIALS").ok().filter(|path| !path.is_empty()) {
                Some(path) => {
                    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
                    Source::read(text.as_bytes()).map_err(|error| format!("{path}: {error}"))?
                }
                None => Source::Metadata,
            },
            text => {
                let text = STANDARD.decode(text).map_err(|_| "gcp.credentials is not base64".to_owned())?;
                Source::read(&text).map_err(|error| format!("gcp.credentials: {error}"))?
            }
        };
        let endpoint = match settings.text("gcp.endpoint").trim_end_matches('/') {
            "" => None,
            endpoint => Some(super::http::endpoint(endpoint)?),
        };
        Ok(Google { endpoint, source, cached: Cached::empty() })
    }

    /// Address of a service, without a slash behind.
    pub fn url(&self, host: &str) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("https://{host}"))
    }

    /// The header with a token.
    pub async fn authorization(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        let token = match self.cached.get() {
            Some(token) => token,
            None => {
                let (token, valid) = self.source.token(client).await?;
                self.cached.put(token.clone(), Some(valid));
                token
            }
        };
        Ok(vec![("Authorization".to_owned(), format!("Bearer {token}"))])
    }
}

impl Source {
    fn read(text: &[u8]) -> Result<Source, String> {
        let credentials: Credentials = serde_json::from_slice(text)
            .map_err(|error| format!("neither the key of a service account nor of a user: {error}"))?;
        let or_default = |uri: String| if uri.is_empty() { TOKEN_URI.to_owned() } else { uri };
        match credentials {
            Credentials::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
                let read = PrivateKeyDer::from(
                    PrivatePkcs8KeyDer::from_pem_slice(private_key.as_bytes())
                        .map_err(|error| format!("private_key: {error}"))?,
                );
                let key = RsaKeyPair::from_pkcs8(read.secret_der()).map_err(|error| format!("private_key: {error}"))?;
                Ok(Source::Key {
                    email: client_email,
                    id: private_key_id,
                    key: Box::new(key),
                    uri: super::http::endpoint(&or_default(token_uri))?,
                })
            }
            Credentials::AuthorizedUser { client_id, client_secret, refresh_token, token_uri } => Ok(Source::Refresh {
                form: vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", client_id),
                    ("client_secret", client_secret),
                    ("refresh_token", refresh_token),
                ],
                uri: super::http::endpoint(&or_default(token_uri))?,
            }),
        }
    }

    /// A token and how long it is valid.
    async fn token(&self, client: &Client) -> Result<(String, Duration), Failure> {
        let request = match self {
            Source::Key { email, id, key, uri } => {
                let assertion = assertion(email, id, key, uri, jiff::Timestamp::now().as_second())?;
                form(uri, &[("grant_type", JWT_GRANT.to_owned()), ("assertion", assertion)])?
            }
            Source::Refresh { form: pairs, uri } => form(uri, pairs)?,
            Source::Metadata => {
                let host = std::env::var("GCE_METADATA_HOST").unwrap_or_else(|_| "metadata.google.internal".to_owned());
                let path = "computeMetadata/v1/instance/service-accounts/default/token";
                let request =
                    Request { method: Method::GET, url: format!("http://{host}/{path}"), ..Request::default() };
                request.header("Metadata-Flavor", "Google")
            }
        };
        let metadata = matches!(self, Source::Metadata);
        let what =
            if metadata { "no gcp.credentials are set, and the metadata service says" } else { "the access token" };
        let answer = send(client, request).await.map_err(|failure| Failure::down(format!("{what}: {failure}")))?;
        if !answer.status.is_success() {
            return Err(Failure::down(format!("{what}: {}", status_text(answer.status, &answer.body))));
        }
        let granted = Granted::read(&answer.body)?;
        let valid = granted.valid();
        Ok((granted.access_token, valid))
    }
}

/// A form as a request's body.
pub fn form(url: &str, pairs: &[(&str, String)]) -> Result<Request, Failure> {
    // The query of an address is written as a form's body is.
    let body = Url::parse_with_params("http://form/", pairs).map_err(Failure::down)?;
    let body = body.query().unwrap_or_default().as_bytes().to_vec();
    Ok(Request::post(url, body).header("Content-Type", "application/x-www-form-urlencoded"))
}

/// The signed claim by which a service account asks for a token (RFC 7523).
fn assertion(email: &str, id: &str, key: &RsaKeyPair, audience: &str, now: i64) -> Result<String, Failure> {
    let head = json!({"alg": "RS256", "typ": "JWT", "kid": id});
    let claims = json!({"iss": email, "scope": SCOPE, "aud": audience, "iat": now, "exp": now + 3600});
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(head), part(claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| Failure::down("the key of the service account cannot sign"))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
