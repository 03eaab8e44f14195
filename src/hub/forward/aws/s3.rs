//! AWS S3: an object for each alert.
//!
//! Its name is made of the alert's time and uuid, so a repetition writes the same object.

use super::{Aws, SHARED, domain, judge, uri_encoded};
use crate::hub::alert::{Alert, Time};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::http::{Answer, Payload, Request, endpoint};
use crate::hub::forward::{Context, Failure, Kind, Work};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "aws.s3",
    label: "AWSS3",
    destination: "awss3",
    category: "storage",
    meaning: "Each alert as JSON, an object in a bucket, by day.",
    required: &["bucket"],
    keys: &[
        &[
            Key::text("bucket", "", "name of the bucket"),
            Key::text("prefix", "falco", "folder of the objects"),
            Key::text("endpoint", "", "address of the service, where it is not AWS'"),
            Key::text(
                "objectcannedacl",
                "bucket-owner-full-control",
                "canned access control list; nothing is the bucket's own",
            ),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

/// A bucket of AWS, or of a service that speaks as it does.
pub struct S3 {
    pub aws: Aws,
    /// Address of the bucket.
    pub bucket: String,
    pub prefix: String,
    pub acl: String,
}

/// Address of a bucket; `at` is that of the service, where it is not AWS'.
pub fn address(aws: &Aws, bucket: &str, at: &str) -> Result<String, String> {
    let name = uri_encoded(bucket);
    Ok(match (at, &aws.endpoint) {
        ("", None) if !name.contains('.') => format!("https://{name}.s3.{}.{}", aws.region, domain(&aws.region)),
        // The certificate of the service does not fit a name with dots.
        ("", _) => format!("{}/{name}", aws.url("s3")),
        (at, _) => format!("{}/{name}", endpoint(at.trim_end_matches('/'))?),
    })
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let aws = Aws::new(context)?;
    let bucket = address(&aws, settings.text("bucket"), settings.text("endpoint"))?;
    Ok(Box::new(S3 {
        aws,
        bucket,
        prefix: settings.text("prefix").to_owned(),
        acl: settings.text("objectcannedacl").to_owned(),
    }))
}

/// Name of the object of an alert, below a prefix.
pub fn key(prefix: &str, alert: &Alert) -> String {
    let time = Time { offset: jiff::tz::Offset::UTC, ..alert.time }.rfc3339();
    let name = format!("{}/{time}-{}.json", &time[..10], alert.uuid);
    match prefix.trim_matches('/') {
        "" => name,
        prefix => format!("{prefix}/{name}"),
    }
}

/// The sum that the service compares with what it got.
fn crc32(body: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    STANDARD.encode(crc.sum().to_be_bytes())
}

impl S3 {
    /// Writes an object.
    pub fn put(&self, key: &str, body: Vec<u8>, content: &str) -> Result<Request, Failure> {
        let path: Vec<_> = key.split('/').map(uri_encoded).collect();
        let mut request = Request::post(format!("{}/{}", self.bucket, path.join("/")), Vec::new())
            .header("Content-Type", content)
            .header("x-amz-checksum-crc32", crc32(&body));
        if !self.acl.is_empty() {
            request = request.header("x-amz-acl", &*self.acl);
        }
        self.aws.sign("s3", Request { method: Method::PUT, body, ..request })
    }
}

#[async_trait::async_trait]
impl Payload for S3 {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        alerts.iter().map(|alert| self.put(&key(&self.prefix, alert), alert.body(), "application/json")).collect()
    }

    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        judge(answer, alerts)
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.aws.prepare(client).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        let mut alert = Alert::test();
        alert.uuid = "u".to_owned();
        alert.time = Time::parse("2024-01-31T23:30:00.5-01:00").expect("valid");
        assert_eq!(key("falco", &alert), "falco/2024-02-01/2024-02-01T00:30:00.5Z-u.json");
        assert_eq!(key("", &alert), "2024-02-01/2024-02-01T00:30:00.5Z-u.json");
        // The example of RFC 3385.
        assert_eq!(crc32(b"123456789"), STANDARD.encode([0xcb, 0xf4, 0x39, 0x26]));
    }
}
