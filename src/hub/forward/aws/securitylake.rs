//! AWS Security Lake: files of many alerts, each a finding of OCSF's class Security Finding, in Parquet.
//!
//! The columns are those of Falcosidekick's files, and `class_name` as OCSF calls it beside its `classname`. A file holds
//! alerts of one day, by which the lake is partitioned, in the order of their times. It is called by the alerts' uuids: a
//! repetition of the same alerts writes the same one.

use super::{Aws, SHARED, judge, s3};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::{HTTP, Key, Type, Unit};
use crate::hub::forward::http::{Answer, Payload, Request};
use crate::hub::forward::{Batch, Context, Failure, Kind, Work};
use crate::hub::json::Json;
use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use reqwest::Client;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Alerts in one file, at the most.
const ALERTS_MAX: i64 = 10_000;
/// Minutes between two files.
const MINUTES: (u64, u64) = (5, 60);

pub const KIND: Kind = Kind {
    section: "aws.securitylake",
    label: "AWSSecurityLake",
    destination: "awssecuritylake",
    category: "storage",
    meaning: "Files in Parquet of many alerts each, as findings of OCSF, by day.",
    required: &["bucket", "region", "accountid", "prefix"],
    keys: &[
        &[
            Key::text("bucket", "", "name of the lake's bucket"),
            Key::text("region", "", "its region"),
            Key::text("accountid", "", "account of the source"),
            Key::text("prefix", "", "folder of the source, such as ext/falco"),
            Key::new("interval", Type::Duration(Unit::Minutes), "5m", "time between two files, 5 to 60 minutes"),
            Key::int("batchsize", "1000", "alerts in a file, at most 10000; one that is full is sent at once"),
        ],
        HTTP,
    ],
    shared: SHARED,
    work: Work::Http(make),
};

struct SecurityLake {
    bucket: s3::S3,
    batch: Batch,
}

fn batch(interval: Duration, alerts: i64) -> Batch {
    let minutes = (interval.as_secs() / 60).clamp(MINUTES.0, MINUTES.1);
    let alerts = usize::try_from(alerts.clamp(1, ALERTS_MAX)).unwrap_or(1);
    Batch { alerts, bytes: 64 << 20, linger: Duration::from_secs(60 * minutes) }
}

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let region = settings.text("region");
    let aws = Aws::new(context)?.in_region(region);
    let folder = settings.text("prefix").trim_matches('/');
    Ok(Box::new(SecurityLake {
        bucket: s3::S3 {
            bucket: s3::address(&aws, settings.text("bucket"), "")?,
            aws,
            prefix: format!("{folder}/region={region}/accountId={}", settings.text("accountid")),
            acl: "bucket-owner-full-control".to_owned(),
        },
        batch: batch(settings.duration("interval"), settings.int("batchsize")),
    }))
}

/// What a column has of an alert.
enum Of {
    Int(fn(&Alert) -> i32),
    Long(fn(&Alert) -> i64),
    Text(fn(&Alert) -> String),
    Ints(fn(&Alert) -> Vec<i32>),
    Texts(fn(&Alert) -> Vec<String>),
}

/// The columns, by their paths. What has `[]` behind it is there once for each of several values.
const COLUMNS: &[(&str, Of)] = &[
    ("activity_id", Of::Int(|_| 1)),
    ("activity_name", Of::Text(|_| "Generate".to_owned())),
    ("category_name", Of::Text(|_| "Findings".to_owned())),
    ("category_uid", Of::Int(|_| 2)),
    ("classname", Of::Text(|_| "Security Finding".to_owned())),
    ("class_name", Of::Text(|_| "Security Finding".to_owned())),
    ("class_uid", Of::Int(|_| 2001)),
    ("finding.created_time", Of::Long(milliseconds)),
    ("finding.desc", Of::Text(|alert| alert.output.clone())),
    ("finding.title", Of::Text(|alert| alert.rule.clone())),
    ("finding.types[]", Of::Texts(|alert| vec![alert.source.clone()])),
    ("finding.uid", Of::Text(|alert| alert.uuid.clone())),
    ("message", Of::Text(|alert| alert.rule.clone())),
    ("metadata.version", Of::Text(|_| "0.1.0".to_owned())),
    ("metadata.product.vendor_name", Of::Text(|_| "Falcosecurity".to_owned())),
    ("metadata.product.name", Of::Text(|_| "Falco".to_owned())),
    ("metadata.labels[]", Of::Texts(|alert| alert.sorted_tags().into_iter().map(str::to_owned).collect())),
    ("observables[].name", Of::Texts(|alert| observables(alert).map(|(name, _)| name.to_owned()).collect())),
    ("observables[].type", Of::Texts(|alert| observables(alert).map(|_| "Other".to_owned()).collect())),
    ("observables[].type_id", Of::Ints(|alert| observables(alert).map(|_| 0).collect())),
    ("observables[].value", Of::Texts(|alert| observables(alert).map(|(_, value)| value).collect())),
    ("raw_data", Of::Text(Alert::line)),
    ("severity", Of::Text(|alert| severity(alert.priority).1.to_owned())),
    ("severity_id", Of::Int(|alert| severity(alert.priority).0)),
    ("state", Of::Text(|_| "New".to_owned())),
    ("state_id", Of::Int(|_| 1)),
    ("status", Of::Text(|alert| alert.priority.to_string())),
    ("time", Of::Long(milliseconds)),
    ("type_name", Of::Text(|_| "Security Finding: Generate".to_owned())),
    ("type_uid", Of::Int(|_| 200_101)),
];

fn milliseconds(alert: &Alert) -> i64 {
    alert.time.at.as_millisecond()
}

fn severity(priority: Priority) -> (i32, &'static str) {
    match priority {
        Priority::Unknown => (0, "Unknown"),
        Priority::Debug | Priority::Informational => (1, "Informational"),
        Priority::Notice => (2, "Low"),
        Priority::Warning => (3, "Medium"),
        Priority::Error => (4, "High"),
        Priority::Critical => (5, "Critical"),
        Priority::Alert | Priority::Emergency => (6, "Fatal"),
    }
}

/// The host and the fields that are texts or numbers.
fn observables(alert: &Alert) -> impl Iterator<Item = (&str, String)> {
    let host = Some(("hostname", alert.hostname.clone())).filter(|(_, name)| !name.is_empty());
    let fields = alert.output_fields.iter().filter(|(_, value)| matches!(value, Json::String(_) | Json::Number(_)));
    host.into_iter().chain(fields.map(|(name, value)| (name.as_str(), value.to_string())))
}

/// The columns in Parquet's words. Those of a group are beside each other.
fn schema() -> String {
    let mut text = "message finding {".to_owned();
    let mut open: Vec<&str> = Vec::new();
    let repetition = |part: &str| if part.ends_with("[]") { "repeated" } else { "required" };
    let name = |part: &str| part.trim_end_matches("[]").to_owned();
    for (path, of) in COLUMNS {
        let mut groups: Vec<&str> = path.split('.').collect();
        let column = groups.pop().unwrap_or_default();
        let same = open.iter().zip(&groups).take_while(|(a, b)| a == b).count();
        text.push_str(&"}".repeat(open.len() - same));
        for group in &groups[same..] {
            text.push_str(&format!(" {} group {} {{", repetition(group), name(group)));
        }
        open = groups;
        let (kind, meaning) = match of {
            Of::Int(_) | Of::Ints(_) => ("INT32", ""),
            Of::Long(_) => ("INT64", ""),
            Of::Text(_) | Of::Texts(_) => ("BYTE_ARRAY", " (UTF8)"),
        };
        text.push_str(&format!(" {} {kind} {}{meaning};", repetition(column), name(column)));
    }
    text + &"}".repeat(open.len() + 1)
}

/// A column in which each alert has one value.
fn one<T: DataType>(column: &mut SerializedColumnWriter, values: &[T::T]) -> Result<usize, ParquetError> {
    column.typed::<T>().write_batch(values, None, None)
}

/// A column in which each alert has any number of values.
fn many<T: DataType>(column: &mut SerializedColumnWriter, values: Vec<Vec<T::T>>) -> Result<usize, ParquetError> {
    let (mut all, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for values in values {
        // Nothing is a place where no value is defined.
        for place in 0..values.len().max(1) {
            defined.push(i16::from(!values.is_empty()));
            repeated.push(i16::from(place > 0));
        }
        all.extend(values);
    }
    column.typed::<T>().write_batch(&all, Some(&defined), Some(&repeated))
}

fn bytes(text: String) -> ByteArray {
    ByteArray::from(text.into_bytes())
}

/// A file of alerts.
fn file(alerts: &[&Alert]) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(parse_message_type(&schema())?);
    let properties = WriterProperties::builder()
        .set_created_by(format!("falco-hub {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::GZIP(GzipLevel::default()))
        .build();
    let mut body = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut body, schema, Arc::new(properties))?;
    let mut rows = writer.next_row_group()?;
    let each = || alerts.iter().copied();
    for (_, of) in COLUMNS {
        let Some(mut column) = rows.next_column()? else { break };
        match of {
            Of::Int(of) => one::<Int32Type>(&mut column, &each().map(of).collect::<Vec<_>>()),
            Of::Long(of) => one::<Int64Type>(&mut column, &each().map(of).collect::<Vec<_>>()),
            Of::Text(of) => one::<ByteArrayType>(&mut column, &each().map(|a| bytes(of(a))).collect::<Vec<_>>()),
            Of::Ints(of) => many::<Int32Type>(&mut column, each().map(of).collect()),
            Of::Texts(of) => {
                let texts = each().map(|alert| of(alert).into_iter().map(bytes).collect()).collect();
                many::<ByteArrayType>(&mut column, texts)
            }
        }?;
        column.close()?;
    }
    rows.close()?;
    writer.close()?;
    Ok(body)
}

/// What a file of these alerts is called.
fn name(alerts: &[&Alert]) -> String {
    let mut hash = Sha256::new();
    alerts.iter().for_each(|alert| hash.update(&alert.uuid));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[async_trait::async_trait]
impl Payload for SecurityLake {
    fn batch(&self) -> Batch {
        self.batch
    }

    fn alike(&self) -> bool {
        true
    }

    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let mut days: BTreeMap<String, Vec<&Alert>> = BTreeMap::new();
        for alert in alerts {
            let day = jiff::tz::Offset::UTC.to_datetime(alert.time.at).strftime("%Y%m%d").to_string();
            days.entry(day).or_default().push(alert);
        }
        let request = |(day, mut alerts): (String, Vec<&Alert>)| {
            alerts.sort_by_key(|alert| alert.time.at);
            let body = file(&alerts).map_err(|error| Failure::Impossible(format!("the file: {error}")))?;
            let key = format!("{}/eventDay={day}/{}.parquet", self.bucket.prefix, name(&alerts));
            self.bucket.put(&key, body, "application/vnd.apache.parquet")
        };
        days.into_iter().map(request).collect()
    }

    fn judge(&self, answer: &Answer, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        judge(answer, alerts)
    }

    async fn prepare(&self, client: &Client) -> Result<Vec<(String, String)>, Failure> {
        self.bucket.aws.prepare(client).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_file_is_sent() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (given, expected) in [(0, 5), (1, 5), (5, 5), (42, 42), (600, 60)] {
            assert_eq!(batch(minutes(given), 1000).linger, minutes(expected));
        }
        for (given, expected) in [(-1, 1), (0, 1), (1000, 1000), (20_000, 10_000)] {
            assert_eq!(batch(minutes(5), given).alerts, expected);
        }
    }

    #[test]
    fn a_file_is_called_by_its_alerts() {
        let alert = |uuid: &str| Alert { uuid: uuid.to_owned(), ..Alert::test() };
        let (a, b) = (alert("a"), alert("b"));
        assert_eq!(name(&[&a, &b]), name(&[&a, &b]));
        assert_ne!(name(&[&a, &b]), name(&[&a]));
        assert!(uuid::Uuid::parse_str(&name(&[&a])).is_ok());
    }

    #[test]
    fn every_column_is_in_the_schema() {
        let schema =
            parquet::schema::types::SchemaDescriptor::new(Arc::new(parse_message_type(&schema()).expect("a schema")));
        let paths: Vec<_> = schema.columns().iter().map(|column| column.path().string()).collect();
        let expected: Vec<_> = COLUMNS.iter().map(|(path, _)| path.replace("[]", "")).collect();
        assert_eq!(paths, expected);
    }
}
