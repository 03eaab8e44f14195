//! What the outputs to AWS have in common: the shared keys, addresses, signatures, and which errors mean what.
//!
//! Requests are signed with version 4 (crate aws-sigv4). Invariant: nothing is sent unsigned.

pub mod credentials;

pub mod cloudwatchlogs;
pub mod kinesis;
pub mod lambda;
pub mod s3;
pub mod securitylake;
pub mod sns;
pub mod sqs;

use super::http::{Answer, Request, outcome};
use super::{Context, Failure, all};
use crate::hub::alert::Alert;
use crate::hub::config::keys::Key;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use credentials::{Given, Source};
use reqwest::Client;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

/// Keys of all outputs to AWS.
pub const SHARED: &[Key] = &[
    Key::text("aws.region", "", "region; AWS_DEFAULT_REGION when empty"),
    Key::secret(
        "aws.accesskeyid",
        "access key; without one: the environment, the credentials file, the instance's role",
    ),
    Key::secret("aws.secretaccesskey", "its secret"),
    Key::text("aws.rolearn", "", "role that is assumed"),
    Key::text("aws.externalid", "", "external identifier for that"),
    Key::flag(
        "aws.checkidentity",
        "true",
        "taken for a Falcosidekick file's sake: wrong credentials show in the output's state",
    ),
    Key::text("aws.endpoint", "", "address in place of AWS' own; AWS_ENDPOINT_URL when empty (ours)"),
];

pub struct Aws {
    region: String,
    endpoint: Option<String>,
    source: Source,
}

impl Aws {
    pub fn new(context: &Context) -> Result<Aws, String> {
        let settings = context.settings;
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let region = match settings.text("aws.region") {
            "" => variable("AWS_DEFAULT_REGION"),
            region => region.to_owned(),
        };
        if region.is_empty() {
            return Err("aws.region is not set, nor AWS_REGION: it must be, such as eu-central-1".to_owned());
        }
        let endpoint = match settings.text("aws.endpoint") {
            "" => variable("AWS_ENDPOINT_URL"),
            endpoint => endpoint.to_owned(),
        };
        let endpoint = match endpoint.trim_end_matches('/') {
            "" => None,
            endpoint => Some(super::http::endpoint(endpoint)?),
        };
        let source = Source::new(
            settings.text("aws.accesskeyid"),
            settings.text("aws.secretaccesskey"),
            settings.text("aws.rolearn"),
            settings.text("aws.externalid"),
        )?;
        Ok(Aws { region, endpoint, source })
    }

    /// With keys and an endpoint of a service that speaks as AWS does.
    pub fn other(region: &str, endpoint: &str, key: &str, secret: &str) -> Result<Aws, String> {
        let endpoint = Some(super::http::endpoint(endpoint.trim_end_matches('/'))?);
        Ok(Aws { region: region.to_owned(), endpoint, source: Source::fixed(key, secret) })
    }

    /// The same in another region.
    fn in_region(self, region: &str) -> Aws {
        Aws { region: region.to_owned(), ..self }
    }

    /// Address of a service, without a slash behind.
    pub fn url(&self, service: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://{service}.{}.{}", self.region, domain(&self.region)),
        }
    }

    /// Fetches credentials when those there were end.
    pub async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.source.refresh(client, self).await?;
        Ok(Vec::new())
    }

    /// Signs with what [`Aws::prepare`] fetched.
    pub fn sign(&self, service: &str, request: Request) -> Result<Request, Failure> {
        let Some(given) = self.source.current() else {
            return Err(Failure::down("there are no credentials"));
        };
        self.sign_with(service, request, &given, SystemTime::now())
    }

    fn sign_with(&self, service: &str, request: Request, given: &Given, time: SystemTime) -> Result<Request, Failure> {
        let impossible = |error: &dyn std::fmt::Display| Failure::Impossible(format!("the signature: {error}"));
        let mut settings = SigningSettings::default();
        if service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = given.identity();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(|error| impossible(&error))?
            .into();
        let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Bytes(&request.body);
        let signable = SignableRequest::new(request.method.as_str(), &*request.url, headers, body)
            .map_err(|error| impossible(&error))?;
        let (instructions, _) = sign(signable, &parameters).map_err(|error| impossible(&error))?.into_parts();
        let more: Vec<_> = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(request.headers(&more))
    }

    /// A request of the services that speak JSON.
    pub fn json(
        &self,
        service: &str,
        version: &str,
        target: &str,
        url: String,
        body: Vec<u8>,
    ) -> Result<Request, Failure> {
        let request = Request::post(url, body)
            .header("Content-Type", format!("application/x-amz-json-{version}"))
            .header("X-Amz-Target", target);
        self.sign(service, request)
    }
}

fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// A part of a path as signatures want it: all but letters, digits and `-_.~` encoded.
pub fn uri_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a text does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Errors that are the alert's own; any other 400 would meet every alert (throttling, credentials, a name that is wrong).
const OF_THE_ALERT: [&str; 7] = [
    "InvalidMessageContents",
    "InvalidParameterValue",
    "InvalidRequestContent",
    "MessageTooLong",
    "RequestEntityTooLarge",
    "SerializationException",
    "ValidationException",
];

/// What an answer means for the alerts of the request.
pub fn judge(answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
    let told = outcome(answer).map_err(|failure| match failure {
        Failure::Refused(what) if answer.status == 400 && !OF_THE_ALERT.iter().any(|e| answer.body.contains(e)) => {
            Failure::Down { what, after: answer.retry_after }
        }
        failure => failure,
    });
    all(alerts, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use std::time::{Duration, UNIX_EPOCH};

    /// The published example of S3's documentation: an object with a header of its own, 24 May 2013.
    #[test]
    fn signed_as_the_documentation_shows() {
        let aws = Aws::other("us-east-1", "https://examplebucket.s3.amazonaws.com", "", "").expect("valid");
        let given = Given::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
        let request = Request {
            method: reqwest::Method::PUT,
            url: "https://examplebucket.s3.amazonaws.com/test%24file.text".to_owned(),
            headers: [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .to_vec(),
            body: b"Welcome to Amazon S3.".to_vec(),
            timeout: None,
        };
        let time = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        let signed = aws.sign_with("s3", request, &given, time).expect("signed");
        let authorization = signed.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        assert!(
            authorization.is_some_and(|(_, value)| value
                .ends_with("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")),
            "{signed:?}"
        );
    }

    #[test]
    fn errors_of_one_alert_and_of_all() {
        let told = |body: &str| {
            let answer = Answer { status: StatusCode::BAD_REQUEST, body: body.to_owned(), ..Answer::default() };
            judge(&answer, &[Arc::new(Alert::test())]).remove(0)
        };
        assert!(matches!(told(r#"{"__type":"com.amazonaws.sqs#InvalidMessageContents"}"#), Err(Failure::Refused(_))));
        assert!(matches!(told(r#"{"__type":"ThrottlingException"}"#), Err(Failure::Down { .. })));
        assert!(matches!(told(r#"{"__type":"ExpiredTokenException"}"#), Err(Failure::Down { .. })));
    }
}
