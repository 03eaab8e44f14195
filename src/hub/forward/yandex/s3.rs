//! Yandex Object Storage: an object for each alert.

use super::{SHARED, service};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::aws::s3::S3;
use crate::hub::forward::aws::uri_encoded;
use crate::hub::forward::http::Payload;
use crate::hub::forward::{Context, Kind, Work};

pub const KIND: Kind = Kind {
    section: "yandex.s3",
    label: "YandexS3",
    destination: "yandexs3",
    category: "storage",
    meaning: "Each alert as JSON, an object in a bucket, by day.",
    required: &["bucket"],
    keys: &[
        &[
            Key::text("bucket", "", "name of the bucket"),
            Key::text("prefix", "falco", "folder of the objects"),
            Key::text("endpoint", "https://storage.yandexcloud.net", "address of the service"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let aws = service(context, settings.text("endpoint"))?;
    let bucket = format!("{}/{}", aws.url("s3"), uri_encoded(settings.text("bucket")));
    Ok(Box::new(S3 { aws, bucket, prefix: settings.text("prefix").to_owned(), acl: String::new() }))
}
