//! Yandex Data Streams: a record of a stream for each alert.

use super::{SHARED, service};
use crate::hub::config::keys::{HTTP, Key};
use crate::hub::forward::aws::kinesis::Kinesis;
use crate::hub::forward::http::Payload;
use crate::hub::forward::{Context, Kind, Work};

pub const KIND: Kind = Kind {
    section: "yandex.datastreams",
    label: "YandexDataStreams",
    destination: "yandexdatastreams",
    category: "queue",
    meaning: "Each alert as JSON, a record of a stream.",
    required: &["streamname"],
    keys: &[
        &[
            Key::text("streamname", "", "name of the stream"),
            Key::text("endpoint", "https://yds.serverless.yandexcloud.net", "address of the service"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let aws = service(context, settings.text("endpoint"))?;
    Ok(Box::new(Kinesis { aws, stream: settings.text("streamname").to_owned() }))
}
