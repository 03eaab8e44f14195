//! Who the hub is for AWS: keys that are given, or those of the environment, a file, a pod, a container, an instance;
//! and a role assumed with them.
//!
//! Tried in that order, which is that of AWS' own libraries. Profiles that name other sources (SSO, processes) are not
//! understood: their keys are absent, and the next place is asked.

use super::Aws;
use crate::hub::alert::Time;
use crate::hub::forward::Failure;
use crate::hub::forward::http::{Request, send, status_text};
use crate::hub::forward::token::Cached;
use aws_credential_types::Credentials;
use reqwest::{Client, Method, Url};
use std::time::{Duration, SystemTime};

/// Keys, and the token of temporary ones.
#[derive(Clone, Debug)]
pub struct Given(Credentials);

impl Given {
    pub fn new(key: &str, secret: &str, token: Option<String>) -> Given {
        Given(Credentials::new(key, secret, token, None, "falco-hub"))
    }

    pub fn identity(&self) -> aws_smithy_runtime_api::client::identity::Identity {
        self.0.clone().into()
    }
}

pub struct Source {
    fixed: Option<Given>,
    role: Option<(String, String)>,
    cached: Cached<Given>,
}

/// Keys with the time they end.
type Fetched = (Given, Option<Duration>);

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Source {
    pub fn new(key: &str, secret: &str, role: &str, external: &str) -> Result<Source, String> {
        if key.is_empty() != secret.is_empty() {
            return Err("aws.accesskeyid and aws.secretaccesskey are set together, or neither".to_owned());
        }
        let fixed = (!key.is_empty()).then(|| Given::new(key, secret, None));
        let role = (!role.is_empty()).then(|| (role.to_owned(), external.to_owned()));
        Ok(Source { fixed, role, cached: Cached::empty() })
    }

    pub fn fixed(key: &str, secret: &str) -> Source {
        Source { fixed: Some(Given::new(key, secret, None)), role: None, cached: Cached::empty() }
    }

    pub fn current(&self) -> Option<Given> {
        match (&self.fixed, &self.role) {
            (Some(fixed), None) => Some(fixed.clone()),
            _ => self.cached.get(),
        }
    }

    pub async fn refresh(&self, client: &Client, aws: &Aws) -> Result<(), Failure> {
        if self.current().is_some() {
            return Ok(());
        }
        let (mut given, mut valid) = match &self.fixed {
            Some(fixed) => (fixed.clone(), None),
            None => found(client, aws).await?,
        };
        if let Some((role, external)) = &self.role {
            (given, valid) = assume(client, aws, &given, role, external).await?;
        }
        self.cached.put(given, valid);
        Ok(())
    }
}

async fn found(client: &Client, aws: &Aws) -> Result<Fetched, Failure> {
    if let (Some(key), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        return Ok((Given::new(&key, &secret, variable("AWS_SESSION_TOKEN")), None));
    }
    if let Some(given) = from_file() {
        // Whoever keeps the file may write new ones.
        return Ok((given, Some(Duration::from_secs(600))));
    }
    if let (Some(file), Some(role)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) {
        return web_identity(client, aws, &file, &role).await;
    }
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("http://169.254.170.2{path}"));
    if let Some(url) = relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
        return container(client, &url).await;
    }
    instance(client).await
}

/// A section of AWS' credentials file.
fn from_file() -> Option<Given> {
    let path = match variable("AWS_SHARED_CREDENTIALS_FILE") {
        Some(path) => path.into(),
        None => std::path::Path::new(&variable("HOME")?).join(".aws/credentials"),
    };
    let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    profile_keys(&std::fs::read_to_string(path).ok()?, &profile)
}

fn profile_keys(text: &str, profile: &str) -> Option<Given> {
    let (mut inside, mut key, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
            match name.trim() {
                "aws_access_key_id" => key = Some(value.trim()),
                "aws_secret_access_key" => secret = Some(value.trim()),
                "aws_session_token" => token = Some(value.trim().to_owned()),
                _ => {}
            }
        }
    }
    Some(Given::new(key?, secret?, token))
}

/// The text of the first element of that name. STS answers in XML, and these names occur once.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn valid_until(time: &str) -> Option<Duration> {
    let until = Time::parse(time)?.system();
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

fn from_sts(xml: &str) -> Option<Fetched> {
    let token = element(xml, "SessionToken")?.to_owned();
    let given = Given::new(element(xml, "AccessKeyId")?, element(xml, "SecretAccessKey")?, Some(token));
    Some((given, valid_until(element(xml, "Expiration")?)))
}

async fn sts(client: &Client, request: Request) -> Result<Fetched, Failure> {
    let answer = send(client, request).await?;
    if !answer.status.is_success() {
        let message = element(&answer.body, "Message").unwrap_or_default();
        return Err(Failure::down(format!("credentials of AWS STS: {}", status_text(answer.status, message))));
    }
    from_sts(&answer.body).ok_or_else(|| Failure::down("the answer of AWS STS has no credentials"))
}

fn form(url: &str, pairs: &[(&str, &str)]) -> Result<Request, Failure> {
    // The query of an address is written as a form's body is.
    let body = Url::parse_with_params("http://form/", pairs).map_err(Failure::down)?;
    let body = body.query().unwrap_or_default().as_bytes().to_vec();
    Ok(Request::post(url, body).header("Content-Type", "application/x-www-form-urlencoded"))
}

async fn assume(client: &Client, aws: &Aws, given: &Given, role: &str, external: &str) -> Result<Fetched, Failure> {
    let mut pairs =
        vec![("Action", "AssumeRole"), ("Version", "2011-06-15"), ("RoleArn", role), ("RoleSessionName", "falco-hub")];
    if !external.is_empty() {
        pairs.push(("ExternalId", external));
    }
    let request = form(&format!("{}/", aws.url("sts")), &pairs)?;
    sts(client, aws.sign_with("sts", request, given, SystemTime::now())?).await
}

async fn web_identity(client: &Client, aws: &Aws, file: &str, role: &str) -> Result<Fetched, Failure> {
    let token = std::fs::read_to_string(file).map_err(|error| Failure::down(format!("{file}: {error}")))?;
    let pairs = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "falco-hub"),
        ("WebIdentityToken", token.trim()),
    ];
    sts(client, form(&format!("{}/", aws.url("sts")), &pairs)?).await
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Temporary {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

fn temporary(body: &str) -> Result<Fetched, Failure> {
    let read: Temporary =
        serde_json::from_str(body).map_err(|_| Failure::down("the answer with credentials is not understood"))?;
    let given = Given::new(&read.access_key_id, &read.secret_access_key, Some(read.token));
    Ok((given, valid_until(&read.expiration)))
}

async fn asked(client: &Client, what: &str, request: Request) -> Result<String, Failure> {
    let answer = send(client, request).await.map_err(|failure| {
        Failure::down(format!("no credentials for AWS are configured, and {what} says: {failure}"))
    })?;
    match answer.status.is_success() {
        true => Ok(answer.body),
        false => Err(Failure::down(format!(
            "no credentials for AWS are configured, and {what} says: {}",
            status_text(answer.status, &answer.body)
        ))),
    }
}

fn get(url: impl Into<String>) -> Request {
    Request { method: Method::GET, url: url.into(), ..Request::default() }
}

async fn container(client: &Client, url: &str) -> Result<Fetched, Failure> {
    let mut request = get(url);
    let token = match variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => std::fs::read_to_string(file).ok(),
        None => variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    if let Some(token) = token {
        request = request.header("Authorization", token.trim());
    }
    temporary(&asked(client, "the container's agent", request).await?)
}

/// The role of the instance, by version 2 of the metadata service.
async fn instance(client: &Client) -> Result<Fetched, Failure> {
    const WHO: &str = "the instance's metadata service";
    let host = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".to_owned());
    let host = host.trim_end_matches('/');
    let session = Request { method: Method::PUT, ..get(format!("{host}/latest/api/token")) };
    let session = asked(client, WHO, session.header("X-aws-ec2-metadata-token-ttl-seconds", "300")).await?;
    let path = format!("{host}/latest/meta-data/iam/security-credentials/");
    let role = asked(client, WHO, get(path.as_str()).header("X-aws-ec2-metadata-token", session.as_str())).await?;
    let role = role.lines().next().unwrap_or_default();
    let keys = get(format!("{path}{role}")).header("X-aws-ec2-metadata-token", session);
    temporary(&asked(client, WHO, keys).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_the_file() {
        let text = "[other]\naws_access_key_id=x\n[default]\n# c\naws_access_key_id = AK \naws_secret_access_key=S/=\n";
        let Given(found) = profile_keys(text, "default").expect("keys");
        assert_eq!((found.access_key_id(), found.secret_access_key()), ("AK", "S/="));
        assert!(profile_keys(text, "other").is_none() && profile_keys(text, "nosuch").is_none());
    }

    #[test]
    fn an_answer_of_sts() {
        let xml = "<R><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>\
            <SessionToken>T</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R>";
        let (Given(found), valid) = from_sts(xml).expect("credentials");
        assert_eq!((found.access_key_id(), found.session_token()), ("A", Some("T")));
        assert!(valid.is_some_and(|valid| valid > Duration::from_secs(1000)));
    }
}
