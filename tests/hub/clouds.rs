//! Outputs to clouds: what is sent, looked at as the services' documents say, signatures computed again.

use crate::process::{Hub, Received, Receiver, alert, request, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write as _;
use std::time::Duration;

const SECRET: &str = "secret/+";

fn post(hub: &Hub, alert: &Value) {
    assert_eq!(hub.post("/", &alert.to_string()).expect("answered").0, 200);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.iter().map(|b| b ^ byte).collect::<Vec<_>>();
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// A part of a path once more encoded, as all services but S3 do.
fn encoded(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    path.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Computes the signature (version 4) of what was received, and compares.
fn signed(request: &Received, region: &str, service: &str) {
    let authorization = &request.headers["authorization"];
    let date = &request.headers["x-amz-date"];
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    let rest = authorization.strip_prefix(&format!("AWS4-HMAC-SHA256 Credential=AK/{scope}, SignedHeaders="));
    let (names, signature) =
        rest.and_then(|rest| rest.split_once(", Signature=")).unwrap_or_else(|| panic!("{authorization}"));
    let must = ["host", "x-amz-date"];
    assert!(must.iter().all(|name| names.split(';').any(|signed| signed == *name)), "{names}");
    let unsigned =
        request.headers.keys().find(|name| name.starts_with("x-amz-") && !names.split(';').any(|n| n == **name));
    assert_eq!(unsigned, None, "a header that must be signed");
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", request.headers[name].trim())).collect();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let path = if service == "s3" { path.to_owned() } else { encoded(path) };
    let body = hex(&Sha256::digest(&request.body));
    if service == "s3" {
        assert_eq!(request.headers["x-amz-content-sha256"], body);
    }
    let canonical = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{body}", request.method);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(&canonical)));
    let key = [&date[..8], region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    assert_eq!(signature, hex(&hmac(&key, text.as_bytes())), "{canonical}");
}

fn find<'r>(requests: &'r [Received], what: &str, fits: impl Fn(&Received) -> bool) -> &'r Received {
    requests.iter().find(|request| fits(request)).unwrap_or_else(|| panic!("{what}: {requests:?}"))
}

fn target<'r>(requests: &'r [Received], name: &str) -> &'r Received {
    find(requests, name, |request| request.headers.get("x-amz-target").is_some_and(|target| target == name))
}

fn same_alert(text: &str) {
    let read: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(read["output_fields"], alert(1)["output_fields"]);
}

#[test]
fn aws() {
    let server = Receiver::answering(|_| (200, "{}".to_owned()));
    let queue = format!("{}/123/falco.fifo", server.url());
    let aws = json!({
        "region": "eu-central-1", "accesskeyid": "AK", "secretaccesskey": SECRET, "endpoint": server.url(),
        "sqs": {"url": queue},
        "sns": {"topicarn": "arn:aws:sns:eu-central-1:123:falco"},
        "lambda": {"functionname": "arn:aws:lambda:eu-central-1:123:function:f"},
        "kinesis": {"streamname": "stream"},
        "cloudwatchlogs": {"loggroup": "group"},
        "s3": {"bucket": "bucket"},
    });
    let yandex = json!({
        "accesskeyid": "AK", "secretaccesskey": SECRET,
        "s3": {"bucket": "yandex", "endpoint": server.url(), "prefix": "a b"},
        "datastreams": {"streamname": "yds", "endpoint": server.url()},
    });
    let hub = Hub::started(&json!({"hub": {"retrymin": "50ms"}, "aws": aws, "yandex": yandex}));
    post(&hub, &alert(1));
    let requests = server.wait_for(9);
    assert_eq!(requests.len(), 9);
    let sqs = target(&requests, "AmazonSQS.SendMessage");
    signed(sqs, "eu-central-1", "sqs");
    let message = sqs.json();
    same_alert(message["MessageBody"].as_str().expect("a text"));
    assert_eq!((&message["QueueUrl"], &message["MessageGroupId"]), (&json!(queue), &json!("falco")));
    assert_eq!(message["MessageDeduplicationId"], sqs.headers["idempotency-key"]);
    let sns = find(&requests, "sns", |r| r.body.starts_with(b"Action=Publish&Version=2010-03-31&"));
    signed(sns, "eu-central-1", "sns");
    let form = String::from_utf8_lossy(&sns.body);
    for part in [
        "&TopicArn=arn%3Aaws%3Asns%3Aeu-central-1%3A123%3Afalco&Message=alert+%3C1%3E&",
        ".Name=number&MessageAttributes.entry.7.Value.DataType=Number&MessageAttributes.entry.7.Value.StringValue=1&",
        "MessageAttributes.entry.1.Name=priority&MessageAttributes.entry.1.Value.DataType=String&",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    let lambda = find(&requests, "lambda", |r| r.path.starts_with("/2015-03-31/functions/"));
    signed(lambda, "eu-central-1", "lambda");
    assert_eq!(lambda.path, "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A123%3Afunction%3Af/invocations");
    assert_eq!(lambda.headers["x-amz-invocation-type"], "RequestResponse");
    same_alert(&String::from_utf8_lossy(&lambda.body));
    for (stream, region) in [("stream", "eu-central-1"), ("yds", "ru-central1")] {
        let kinesis = find(&requests, stream, |r| {
            r.body.windows(stream.len() + 2).any(|w| w == format!("\"{stream}\"").as_bytes())
        });
        signed(kinesis, region, "kinesis");
        assert_eq!(kinesis.headers["x-amz-target"], "Kinesis_20131202.PutRecord");
        let data = STANDARD.decode(kinesis.json()["Data"].as_str().expect("a text")).expect("base64");
        same_alert(&String::from_utf8_lossy(&data));
    }
    let stream = target(&requests, "Logs_20140328.CreateLogStream");
    let expected = json!({"logGroupName": "group", "logStreamName": "falcosidekick-logstream"});
    assert_eq!(stream.json(), expected);
    let logs = target(&requests, "Logs_20140328.PutLogEvents");
    signed(logs, "eu-central-1", "logs");
    let event = &logs.json()["logEvents"][0];
    assert_eq!(event["timestamp"], 1_706_702_400_000u64);
    same_alert(event["message"].as_str().expect("a text"));
    for (path, region) in [("/bucket/falco/2024-01-31/", "eu-central-1"), ("/yandex/a%20b/2024-01-31/", "ru-central1")]
    {
        let object = find(&requests, path, |r| r.path.starts_with(path));
        signed(object, region, "s3");
        assert!(object.method == "PUT" && object.path.ends_with(".json"), "{object:?}");
        assert!(object.path.contains("2024-01-31T12%3A00%3A00.000000001Z-"), "{}", object.path);
        same_alert(&String::from_utf8_lossy(&object.body));
        let acl = object.headers.get("x-amz-acl").map(String::as_str);
        assert_eq!(acl, region.starts_with("eu").then_some("bucket-owner-full-control"));
    }
}

#[test]
fn aws_roles_and_errors() {
    let server = Receiver::answering(|request| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let lambda = request.path.starts_with("/2015-03-31/functions/");
        if body.starts_with("Action=AssumeRole&") {
            let keys = "<AccessKeyId>AK</AccessKeyId><SecretAccessKey>secret/+</SecretAccessKey>";
            let rest = "<SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>";
            return (200, format!("<A><Credentials>{keys}{rest}</Credentials></A>"));
        }
        if lambda && body.contains("\"number\":1,") {
            return (400, r#"{"Type":"User","message":"x","__type":"InvalidRequestContentException"}"#.to_owned());
        }
        (200, "{}".to_owned())
    });
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "20ms", "retrymax": "50ms", "refusals": 2},
        "aws": {
            "region": "us-east-1", "accesskeyid": "AK", "secretaccesskey": SECRET, "endpoint": server.url(),
            "rolearn": "arn:aws:iam::1:role/r", "externalid": "e x", "lambda": {"functionname": "f"},
        },
    }));
    post(&hub, &alert(1));
    post(&hub, &alert(2));
    wait_until("the refused one is a dead letter, the other is delivered", Duration::from_secs(20), || {
        let output = hub.output("aws.lambda");
        output["dead_letters"] == 1 && output["queue"] == 0 && output["held"] == 0 && output["last_success"].is_number()
    });
    let requests = server.all();
    signed(&requests[0], "us-east-1", "sts");
    let form = String::from_utf8_lossy(&requests[0].body);
    assert!(
        form.contains("&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&") && form.ends_with("&ExternalId=e+x"),
        "{form}"
    );
    for request in &requests[1..] {
        signed(request, "us-east-1", "lambda");
        assert_eq!(request.headers["x-amz-security-token"], "session", "the role's, asked for once");
    }
}

/// A file in Parquet as rows.
fn rows(body: &[u8]) -> Vec<Row> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(body).expect("written");
    let reader = SerializedFileReader::new(file).expect("a file in Parquet");
    let rows = reader.get_row_iter(None).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

/// What a path leads to in a row.
fn value<'r>(row: &'r Row, path: &str) -> &'r Field {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let (_, found) = row.get_column_iter().find(|(column, _)| *column == name).unwrap_or_else(|| panic!("{path}"));
    match (found, rest) {
        (Field::Group(group), Some(rest)) => value(group, rest),
        (found, _) => found,
    }
}

fn list(field: &Field) -> &[Field] {
    match field {
        Field::ListInternal(list) => list.elements(),
        other => panic!("a list: {other}"),
    }
}

/// Files of as many alerts as `batchsize` says, which is more than an output has in memory otherwise; of each day one;
/// what was not taken is offered again as the same files. `FALCO_HUB_PARQUET=DIR` keeps one, for other readers.
#[test]
fn security_lake() {
    let failed = std::sync::atomic::AtomicUsize::new(0);
    let server = Receiver::answering(move |_| match failed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => (503, String::new()),
        _ => (200, String::new()),
    });
    let lake =
        json!({"bucket": "lake", "region": "eu-west-1", "accountid": "42", "prefix": "/ext/falco/", "batchsize": 700});
    let aws = json!({
        "region": "us-east-1", "accesskeyid": "AK", "secretaccesskey": SECRET, "endpoint": server.url(), "securitylake": lake,
    });
    let hub = Hub::started(&json!({"hub": {"retrymin": "20ms"}, "aws": aws}));
    let mut other = alert(0);
    other["time"] = json!("2024-02-01T00:59:59.5+01:00");
    other["output_fields"] =
        json!({"text": "é", "yes": true, "none": null, "list": [1], "big": 18_446_744_073_709_551_615u64});
    other["priority"] = json!("Alert");
    other.as_object_mut().expect("an object").remove("tags");
    let mut late = alert(1);
    late["time"] = json!("2024-02-01T00:00:00Z");
    let mut all = vec![other, late];
    all.extend((2..702).map(alert));
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    let stream = std::net::TcpStream::connect(hub.address()).expect("connected");
    let kind = [("Content-Type", "application/x-ndjson")];
    assert_eq!(request(stream, "POST", "/", &kind, &lines.join("\n")).expect("answered").0, 200);
    let requests = server.wait_for(3);
    wait_until("what is not enough for a file waits", Duration::from_secs(20), || {
        hub.output("aws.securitylake")["queue"] == 2
    });
    assert_eq!(server.count(), 3, "one was not taken, then two");
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths[0], paths[1], "the same file again");
    for (path, day) in paths[1..].iter().zip(["20240131", "20240201"]) {
        let folder = format!("/lake/ext/falco/region%3Deu-west-1/accountId%3D42/eventDay%3D{day}/");
        let name = path.strip_prefix(&folder).and_then(|name| name.strip_suffix(".parquet"));
        assert!(name.is_some_and(|name| uuid::Uuid::parse_str(name).is_ok()), "{path}");
    }
    requests.iter().for_each(|request| signed(request, "eu-west-1", "s3"));
    let (first, second) = (rows(&requests[1].body), rows(&requests[2].body));
    assert_eq!((first.len(), second.len()), (699, 1));
    let text = |row: &Row, path: &str| match value(row, path) {
        Field::Str(text) => text.clone(),
        other => other.to_string(),
    };
    let last = &first[698];
    for (path, expected) in [
        ("class_uid", "2001"),
        ("class_name", "Security Finding"),
        ("classname", "Security Finding"),
        ("category_uid", "2"),
        ("activity_id", "1"),
        ("type_uid", "200101"),
        ("severity_id", "6"),
        ("severity", "Fatal"),
        ("status", "Alert"),
        ("time", "1706745599500"),
        ("message", "Numbered"),
        ("finding.title", "Numbered"),
        ("finding.desc", "alert <0>"),
        ("finding.created_time", "1706745599500"),
        ("metadata.version", "0.1.0"),
        ("metadata.product.name", "Falco"),
        ("metadata.product.vendor_name", "Falcosecurity"),
    ] {
        assert_eq!(text(last, path), expected, "{path}");
    }
    let raw: Value = serde_json::from_str(&text(last, "raw_data")).expect("JSON");
    assert_eq!((&raw["uuid"], &raw["rule"]), (&json!(text(last, "finding.uid")), &json!("Numbered")));
    assert_eq!(list(value(last, "metadata.labels")).len(), 0);
    assert_eq!(list(value(last, "finding.types"))[0].to_string(), "\"syscall\"");
    let observables: Vec<(String, String)> = list(value(last, "observables"))
        .iter()
        .map(|observable| match observable {
            Field::Group(row) => (text(row, "name"), text(row, "value")),
            other => panic!("a group: {other}"),
        })
        .collect();
    let expected = [("hostname", "host"), ("big", "18446744073709551615"), ("text", "é")];
    assert_eq!(observables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(list(value(&second[0], "metadata.labels")).len(), 2);
    if let Some(directory) = std::env::var_os("FALCO_HUB_PARQUET") {
        std::fs::write(std::path::Path::new(&directory).join("lake.parquet"), &requests[1].body).expect("written");
    }
}

/// The credentials of a user, whose tokens come from a server.
pub fn user(server: &Receiver) -> String {
    let uri = format!("{}/token", server.url());
    let user = json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r", "token_uri": uri});
    STANDARD.encode(user.to_string())
}

#[test]
fn google() {
    let server = Receiver::answering(|request| match request.path.as_str() {
        "/token" => (200, json!({"access_token": "t", "expires_in": 3600}).to_string()),
        _ => (200, "{}".to_owned()),
    });
    let gcp = json!({
        "credentials": user(&server), "endpoint": server.url(),
        "pubsub": {"projectid": "p", "topic": "t", "customattributes": {"k": "v"}},
        "storage": {"bucket": "b", "prefix": "x"},
        "cloudfunctions": {"name": "projects/p/locations/l/functions/f"},
        "chronicle": {"region": "eu", "projectid": "p", "instanceid": "i"},
    });
    let hub = Hub::started(&json!({"hub": {"retrymin": "50ms"}, "gcp": gcp}));
    post(&hub, &alert(1));
    // Four outputs, each with a token of its own.
    let requests = server.wait_for(8);
    let at = |path: &str| {
        let request = find(&requests, path, |r| r.path.starts_with(path));
        assert_eq!(request.headers["authorization"], "Bearer t");
        request
    };
    let token = find(&requests, "a token", |r| r.path == "/token");
    assert_eq!(token.body, b"grant_type=refresh_token&client_id=i&client_secret=s&refresh_token=r");
    let message = at("/v1/projects/p/topics/t:publish").json()["messages"][0].clone();
    same_alert(&String::from_utf8_lossy(&STANDARD.decode(message["data"].as_str().expect("a text")).expect("base64")));
    assert_eq!(message["attributes"], json!({"k": "v"}));
    let object =
        at("/upload/storage/v1/b/b/o?uploadType=media&name=x%2F2024-01-31%2F2024-01-31T12%3A00%3A00.000000001Z-");
    same_alert(&String::from_utf8_lossy(&object.body));
    same_alert(at("/v1/projects/p/locations/l/functions/f:call").json()["data"].as_str().expect("a text"));
    let log = at("/v1beta/projects/p/locations/eu/instances/i/logTypes/FALCO_IDS/logs:import").json();
    let entry = &log["inlineSource"]["logs"][0];
    same_alert(&String::from_utf8_lossy(&STANDARD.decode(entry["data"].as_str().expect("a text")).expect("base64")));
    assert_eq!(entry["logEntryTime"], "2024-01-31T12:00:00.000000001Z");
}

#[test]
fn google_service_account() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("key.pem");
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
        .arg(&path)
        .output();
    let Ok(made) = made else {
        println!("skipped: openssl is not installed (scripts/deps hub)");
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let server = Receiver::answering(|request| match request.path.as_str() {
        "/token" => (200, json!({"access_token": "t", "expires_in": 3600}).to_string()),
        _ => (200, "{}".to_owned()),
    });
    let key = std::fs::read_to_string(&path).expect("a key");
    let uri = format!("{}/token", server.url());
    let account = json!({"type": "service_account", "client_email": "a@b", "private_key": key, "private_key_id": "k", "token_uri": uri});
    let hub = Hub::started(&json!({"hub": {"retrymin": "50ms"}, "gcp": {
        "credentials": STANDARD.encode(account.to_string()), "endpoint": server.url(), "pubsub": {"projectid": "p", "topic": "t"},
    }}));
    post(&hub, &alert(1));
    let requests = server.wait_for(2);
    let form = String::from_utf8_lossy(&requests[0].body).into_owned();
    let assertion = form.strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    let (signed, signature) = assertion.expect("an assertion").rsplit_once('.').expect("a signature");
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.path().join(name), bytes).expect("written");
        directory.path().join(name)
    };
    let signature = file("signature", &URL_SAFE_NO_PAD.decode(signature).expect("base64"));
    let verified = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-prverify"])
        .arg(&path)
        .arg("-signature")
        .arg(signature)
        .arg(file("signed", signed.as_bytes()))
        .output()
        .expect("openssl");
    assert!(verified.status.success(), "{verified:?}");
    let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').expect("claims").1).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("a@b"), &json!(uri)));
    assert_eq!(requests[1].headers["authorization"], "Bearer t");
}

#[test]
fn azure_event_hubs() {
    let server = Receiver::answering(|request| match request.path.as_str() {
        "/tenant/oauth2/v2.0/token" => (200, json!({"access_token": "t", "expires_in": 3600}).to_string()),
        _ => (201, String::new()),
    });
    let mut hub = Hub::new(&json!({"hub": {"retrymin": "50ms"}, "azure": {
        "eventhub": {"namespace": "n", "name": "falco", "endpoint": server.url()},
    }}));
    hub.variables = vec![
        ("AZURE_TENANT_ID", "tenant".to_owned()),
        ("AZURE_CLIENT_ID", "client".to_owned()),
        ("AZURE_CLIENT_SECRET", "s&".to_owned()),
        ("AZURE_AUTHORITY_HOST", server.url()),
    ];
    hub.start();
    hub.wait_ready();
    post(&hub, &alert(1));
    let requests = server.wait_for(2);
    let form = String::from_utf8_lossy(&requests[0].body);
    for part in [
        "client_secret=s%26",
        "grant_type=client_credentials",
        "client_id=client",
        "scope=https%3A%2F%2Feventhubs.azure.net%2F.default",
    ] {
        assert!(form.split('&').any(|pair| pair == part), "{part}: {form}");
    }
    let events = &requests[1];
    assert_eq!(events.path, "/falco/messages?api-version=2014-01");
    assert_eq!(events.headers["authorization"], "Bearer t");
    assert_eq!(events.headers["content-type"], "application/vnd.microsoft.servicebus.json");
    same_alert(events.json()[0]["Body"].as_str().expect("a text"));
}

#[test]
fn wavefront_and_logstash() {
    use crate::process::Mode;
    use std::io::Read;
    let (proxy, logstash, direct) = (Receiver::lines(Mode::Up), Receiver::lines(Mode::Up), Receiver::http(Mode::Up));
    let hub = Hub::started(&json!({
        "hub": {"retrymin": "50ms"},
        "wavefront": {"endpointtype": "proxy", "endpointhost": "127.0.0.1", "endpointmetricport": proxy.port, "flushintervalseconds": 0},
        "logstash": {"address": "127.0.0.1", "port": logstash.port, "tags": ["t"]},
        "outputs": [{
            "kind": "wavefront", "name": "direct", "endpointtype": "direct", "endpointhost": direct.url(), "endpointtoken": "k",
        }],
    }));
    let mut one = alert(1);
    one["output_fields"]["proc.aname[2]"] = json!("bash");
    post(&hub, &one);
    let line = String::from_utf8(proxy.wait_for(1)[0].body.clone()).expect("UTF-8");
    let start = "\"falco.alert\" 1 1706702400 source=\"falco-exporter\" \"severity\"=\"Warning\" \"rule\"=\"Numbered\"";
    assert!(line.starts_with(start) && line.ends_with("\"tags\"=\"a, b\"\n"), "{line}");
    let request = direct.wait_for(1).remove(0);
    assert_eq!((&*request.path, &*request.headers["authorization"]), ("/report?f=wavefront", "Bearer k"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*request.body).read_to_string(&mut text).expect("gzip");
    assert_eq!(text, line);
    let document = logstash.wait_for(1)[0].json();
    assert_eq!(
        (&document["tags"], &document["output_fields"]["proc.aname.2"]),
        (&json!(["a", "b", "t"]), &json!("bash"))
    );
}
