//! Yandex Cloud: its storage and its streams speak as AWS' do.

pub mod datastreams;
pub mod s3;

use super::Context;
use super::aws::Aws;
use crate::hub::config::keys::Key;

/// Keys of both.
pub const SHARED: &[Key] = &[
    Key::secret("yandex.accesskeyid", "access key of the service account"),
    Key::secret("yandex.secretaccesskey", "its secret"),
    Key::text("yandex.region", "ru-central1", "region"),
];

fn service(context: &Context, endpoint: &str) -> Result<Aws, String> {
    let settings = context.settings;
    let (key, secret) = (settings.text("yandex.accesskeyid"), settings.text("yandex.secretaccesskey"));
    if key.is_empty() || secret.is_empty() {
        return Err("yandex.accesskeyid and yandex.secretaccesskey must be set".to_owned());
    }
    Aws::other(settings.text("yandex.region"), endpoint, key, secret)
}
