//! Kafka: a broker in the tests that takes every request apart as the protocol's documents say, for logging in, TLS and
//! topics; and the brokers that kcat holds (librdkafka's), which read every batch, compressed or not.

use crate::brokers::{certificate, distinct, quick};
use crate::port::free_port;
use crate::process::{Hub, Process, alert, number, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(40);

/// A message of the protocol, read from the front.
struct Message<'m>(&'m [u8]);

impl<'m> Message<'m> {
    fn take(&mut self, length: usize) -> &'m [u8] {
        let (taken, rest) = self.0.split_at_checked(length).expect("as many bytes as it says");
        self.0 = rest;
        taken
    }

    fn i8(&mut self) -> i8 {
        self.take(1)[0].cast_signed()
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("2 bytes"))
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("4 bytes"))
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().expect("8 bytes"))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()).ok()?;
        Some(String::from_utf8(self.take(length).to_vec()).expect("UTF-8"))
    }

    fn bytes(&mut self) -> &'m [u8] {
        let length = usize::try_from(self.i32()).expect("bytes");
        self.take(length)
    }

    fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.i32()).map(|_| item(self)).collect()
    }

    /// A number of variable length, zigzag.
    fn varint(&mut self) -> i64 {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            }
        }
        panic!("a number of more than 64 bits")
    }

    fn end(&self) {
        assert!(self.0.is_empty(), "{} bytes too many", self.0.len());
    }
}

/// CRC-32C, as batches carry it.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// The values of a batch, all of it checked, and whether it was compressed with gzip.
fn batch(bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut batch = Message(bytes);
    assert_eq!(batch.i64(), 0, "the first offset is the broker's to give");
    assert_eq!(usize::try_from(batch.i32()).expect("a length"), batch.0.len(), "one batch for each partition");
    batch.i32();
    assert_eq!(batch.i8(), 2, "format");
    let crc = batch.i32().cast_unsigned();
    assert_eq!(crc, crc32c(batch.0), "checksum");
    let attributes = batch.i16();
    assert!([0, 1].contains(&attributes), "not compressed or gzip, times of creation, no transaction: {attributes}");
    let (last, first_time, last_time) = (batch.i32(), batch.i64(), batch.i64());
    assert!(first_time > 1_700_000_000_000 && last_time >= first_time, "{first_time} {last_time}");
    assert_eq!((batch.i64(), batch.i16(), batch.i32()), (-1, -1, -1), "no idempotent producer");
    let count = batch.i32();
    assert_eq!(last, count - 1);
    let mut plain = Vec::new();
    match attributes {
        0 => plain.extend_from_slice(batch.0),
        _ => drop(flate2::read::GzDecoder::new(batch.0).read_to_end(&mut plain).expect("gzip")),
    }
    let mut records = Message(&plain);
    let values = (0..count).map(|i| {
        let length = usize::try_from(records.varint()).expect("a length");
        let mut record = Message(records.take(length));
        assert_eq!(record.i8(), 0);
        assert!((0..=last_time - first_time).contains(&record.varint()));
        assert_eq!((record.varint(), record.varint()), (i.into(), -1), "offset, and no key");
        let length = usize::try_from(record.varint()).expect("a value");
        let value = record.take(length).to_vec();
        assert_eq!(record.varint(), 0, "no headers");
        record.end();
        value
    });
    let values = values.collect();
    records.end();
    (values, attributes == 1)
}

#[derive(Default)]
struct Seen {
    topics: BTreeSet<String>,
    values: Vec<(i32, Value)>,
    clients: BTreeSet<String>,
    logins: usize,
    refused: usize,
    zipped: usize,
    faults: Vec<String>,
}

/// Who may log in, and how.
#[derive(Clone, Copy)]
struct Login {
    mechanism: &'static str,
    user: &'static str,
    password: &'static str,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Broker {
    port: u16,
    login: Option<Login>,
    tls: Option<Arc<rustls::ServerConfig>>,
    seen: Mutex<Seen>,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).expect("short").to_be_bytes());
    out.extend(text.as_bytes());
}

const PARTITIONS: i32 = 3;

impl Broker {
    fn start(login: Option<Login>, tls: Option<Arc<rustls::ServerConfig>>) -> Arc<Broker> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let broker = Arc::new(Broker { port, login, tls, seen: Mutex::default() });
        let shared = broker.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, broker) = (stream.expect("a connection"), shared.clone());
                std::thread::spawn(move || {
                    let served = std::panic::AssertUnwindSafe(|| broker.serve(stream));
                    if let Err(fault) = std::panic::catch_unwind(served) {
                        let fault = fault.downcast_ref::<String>().cloned();
                        broker.seen().faults.push(fault.unwrap_or_else(|| "a fault".to_owned()));
                    }
                });
            }
        });
        broker
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(config) => {
                let session = rustls::ServerConnection::new(config.clone()).expect("a session");
                Box::new(rustls::StreamOwned::new(session, stream))
            }
        };
        let mut scram = None;
        let mut inside = self.login.is_none();
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
            assert!(length < 1 << 20, "not the protocol");
            let mut request = vec![0; length];
            if stream.read_exact(&mut request).is_err() {
                return;
            }
            let mut request = Message(&request);
            let (key, version, correlation) = (request.i16(), request.i16(), request.i32());
            self.seen().clients.insert(request.text().expect("a client id"));
            let mut answer = correlation.to_be_bytes().to_vec();
            assert!(inside || matches!(key, 17 | 18 | 36), "not before it has logged in: {key}");
            match (key, version) {
                (18, 3) => self.versions(&mut request, &mut answer),
                (17, 1) => {
                    let mechanism = request.text().expect("a mechanism");
                    let known = self.login.is_some_and(|login| login.mechanism == mechanism);
                    answer.extend(if known { 0_i16 } else { 33 }.to_be_bytes());
                    answer.extend(1_i32.to_be_bytes());
                    text(&mut answer, self.login.map_or("", |login| login.mechanism));
                }
                (36, 0) => {
                    let given = String::from_utf8(request.bytes().to_vec()).expect("UTF-8");
                    match self.authenticate(&given, &mut scram) {
                        Some((done, reply)) => {
                            inside |= done;
                            self.seen().logins += usize::from(done);
                            answer.extend([0, 0, 0xff, 0xff]);
                            answer.extend(i32::try_from(reply.len()).expect("short").to_be_bytes());
                            answer.extend(reply.as_bytes());
                        }
                        None => {
                            self.seen().refused += 1;
                            answer.extend(58_i16.to_be_bytes());
                            text(&mut answer, "wrong password");
                            answer.extend(0_i32.to_be_bytes());
                        }
                    }
                }
                (3, 1) => self.metadata(&mut request, &mut answer),
                (19, 4) => self.create(&mut request, &mut answer),
                (0, 3) => self.produce(&mut request, &mut answer),
                other => panic!("nobody said that it is understood: {other:?}"),
            }
            request.end();
            let length = i32::try_from(answer.len()).expect("short").to_be_bytes();
            if stream.write_all(&[&length, &*answer].concat()).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }

    /// Which requests are understood, each in one version.
    fn versions(&self, request: &mut Message, answer: &mut Vec<u8>) {
        // An empty tag buffer of the header, two compact texts, and one of the body.
        assert_eq!(request.i8(), 0);
        for _ in 0..2 {
            let length = usize::try_from(request.i8()).expect("short") - 1;
            assert!(std::str::from_utf8(request.take(length)).is_ok_and(|text| !text.is_empty()));
        }
        assert_eq!(request.i8(), 0);
        answer.extend(0_i16.to_be_bytes());
        let keys: [(i16, i16, i16); 6] = [(0, 3, 3), (3, 1, 1), (17, 1, 1), (18, 0, 3), (19, 4, 4), (36, 0, 0)];
        answer.push(u8::try_from(keys.len() + 1).expect("few"));
        for (key, least, most) in keys {
            answer.extend([key, least, most].map(i16::to_be_bytes).concat());
            answer.push(0);
        }
        answer.extend([0; 5]);
    }

    /// Whether the client is inside now, and what to answer it; nothing when it is refused.
    fn authenticate(&self, given: &str, scram: &mut Option<[String; 2]>) -> Option<(bool, String)> {
        let login = self.login.expect("nobody needs to log in");
        if login.mechanism == "PLAIN" {
            return (given == format!("\0{}\0{}", login.user, login.password)).then(|| (true, String::new()));
        }
        let algorithm = if login.mechanism == "SCRAM-SHA-256" {
            (hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256, &digest::SHA256)
        } else {
            (hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512, &digest::SHA512)
        };
        let rounds = NonZeroU32::new(4096).expect("some");
        let Some([first, server_first]) = scram.take() else {
            let first = given.strip_prefix("n,,").expect("no channel binding");
            let (user, nonce) = first.split_once(",r=").expect("a nonce");
            assert_eq!(user, format!("n={}", login.user));
            assert!(nonce.len() >= 16, "a nonce nobody guesses");
            let reply = format!("r={nonce}ours,s={},i={rounds}", STANDARD.encode("salt"));
            *scram = Some([first.to_owned(), reply.clone()]);
            return Some((false, reply));
        };
        let (without_proof, proof) = given.rsplit_once(",p=").expect("a proof");
        let nonce = server_first.split(',').next().expect("a nonce");
        assert_eq!(without_proof, format!("c=biws,{nonce}"));
        let mut salted = vec![0; algorithm.2.output_len()];
        pbkdf2::derive(algorithm.1, rounds, b"salt", login.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], message: &[u8]| hmac::sign(&hmac::Key::new(algorithm.0, key), message);
        let message = format!("{first},{server_first},{without_proof}");
        let stored = digest::digest(algorithm.2, sign(&salted, b"Client Key").as_ref());
        let signature = sign(stored.as_ref(), message.as_bytes());
        let proof = STANDARD.decode(proof).expect("base64");
        let key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        if digest::digest(algorithm.2, &key).as_ref() != stored.as_ref() {
            return None;
        }
        let server_key = sign(&salted, b"Server Key");
        let signature = sign(server_key.as_ref(), message.as_bytes());
        Some((true, format!("v={}", STANDARD.encode(signature.as_ref()))))
    }

    fn metadata(&self, request: &mut Message, answer: &mut Vec<u8>) {
        let all = request.0.starts_with(&[0xff; 4]);
        let asked = request.array(|request| request.text().expect("a topic"));
        let seen = self.seen();
        let topics: Vec<(String, bool)> = match all {
            true => seen.topics.iter().map(|topic| (topic.clone(), true)).collect(),
            false => asked.into_iter().map(|topic| (topic.clone(), seen.topics.contains(&topic))).collect(),
        };
        // This broker alone, which is the controller.
        answer.extend([1_i32, 7].map(i32::to_be_bytes).concat());
        text(answer, "127.0.0.1");
        answer.extend(i32::from(self.port).to_be_bytes());
        answer.extend([0xff, 0xff]);
        answer.extend(7_i32.to_be_bytes());
        answer.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
        for (topic, known) in topics {
            answer.extend(if known { 0_i16 } else { 3 }.to_be_bytes());
            text(answer, &topic);
            answer.push(0);
            let partitions = if known { PARTITIONS } else { 0 };
            answer.extend(partitions.to_be_bytes());
            for partition in 0..partitions {
                answer.extend(0_i16.to_be_bytes());
                // Led by it; it is its only replica, and in sync.
                answer.extend([partition, 7, 1, 7, 1, 7].map(i32::to_be_bytes).concat());
            }
        }
    }

    fn create(&self, request: &mut Message, answer: &mut Vec<u8>) {
        let topics = request.array(|request| {
            let name = request.text().expect("a name");
            assert_eq!((request.i32(), request.i16()), (-1, -1), "as the brokers are configured");
            assert_eq!((request.i32(), request.i32()), (0, 0), "no assignments, no settings");
            name
        });
        assert!(request.i32() > 0, "a time to wait");
        assert_eq!(request.i8(), 0, "not only to validate");
        answer.extend([0_i32, i32::try_from(topics.len()).expect("few")].map(i32::to_be_bytes).concat());
        for topic in topics {
            text(answer, &topic);
            answer.extend([0, 0, 0xff, 0xff]);
            self.seen().topics.insert(topic);
        }
    }

    fn produce(&self, request: &mut Message, answer: &mut Vec<u8>) {
        assert_eq!(request.text(), None, "no transaction");
        assert_eq!(request.i16(), -1, "all replicas are waited for");
        assert!(request.i32() > 0);
        let mut seen = self.seen();
        let topics = request.array(|request| {
            let topic = request.text().expect("a topic");
            assert!(seen.topics.contains(&topic));
            let partitions = request.array(|request| {
                let partition = request.i32();
                assert!((0..PARTITIONS).contains(&partition));
                let (values, zipped) = batch(request.bytes());
                let values: Vec<Value> =
                    values.iter().map(|value| serde_json::from_slice(value).expect("JSON")).collect();
                // What an alert says may be too large for it.
                let large = values.iter().any(|value| value["output"] == "alert <3>");
                if !large {
                    seen.zipped += usize::from(zipped);
                    seen.values.extend(values.into_iter().map(|value| (partition, value)));
                }
                (partition, large)
            });
            (topic, partitions)
        });
        answer.extend(i32::try_from(topics.len()).expect("few").to_be_bytes());
        for (topic, partitions) in topics {
            text(answer, &topic);
            answer.extend(i32::try_from(partitions.len()).expect("few").to_be_bytes());
            for (partition, large) in partitions {
                answer.extend(partition.to_be_bytes());
                answer.extend(if large { 10_i16 } else { 0 }.to_be_bytes());
                answer.extend([0_i64, -1].map(i64::to_be_bytes).concat());
            }
        }
        answer.extend(0_i32.to_be_bytes());
    }
}

fn target(name: &str, broker: &Broker, more: Value) -> Value {
    let address = format!("127.0.0.1:{}", broker.port);
    let mut target =
        json!({"kind": "kafka", "name": name, "hostport": address, "topic": "falco", "topiccreation": true});
    target.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    target
}

#[test]
fn logins_tls_and_topics() {
    let directory = tempfile::tempdir().expect("directory");
    let (cert, key) = certificate(directory.path());
    let chain = vec![CertificateDer::from_pem_file(&cert).expect("a certificate")];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&key).expect("a key"))
        .expect("a certificate");
    let tls = Arc::new(config);
    let login = |mechanism| Some(Login { mechanism, user: "u", password: "p=,w" });
    let open = Broker::start(None, None);
    let plain = Broker::start(login("PLAIN"), Some(tls.clone()));
    let scram256 = Broker::start(login("SCRAM-SHA-256"), None);
    let scram512 = Broker::start(login("SCRAM-SHA-512"), Some(tls));
    let missing = Broker::start(None, None);
    let mut settings = quick();
    settings["refusals"] = json!(2);
    let as_user = |sasl: &str, tls: bool| json!({"sasl": sasl, "tls": tls, "username": "u", "password": "p=,w"});
    let hub = Hub::started(&json!({
        "hub": settings, "tlsclient": {"cacertfile": cert},
        "outputs": [
            target("open", &open, json!({"clientid": "me", "compression": "gzip", "requiredacks": "ONE"})),
            target("plain", &plain, as_user("PLAIN", true)),
            target("scram256", &scram256, as_user("SCRAM_SHA256", false)),
            target("scram512", &scram512, as_user("scram_sha512", true)),
            target("wrong", &scram256, json!({"sasl": "SCRAM_SHA256", "username": "u", "password": "x"})),
            target("missing", &missing, json!({"topiccreation": false})),
        ],
    }));
    // Alert 3 is too large for the brokers: it alone is not taken.
    let alerts: Vec<_> = (0..20).map(alert).collect();
    assert_eq!(hub.post("/", &json!(alerts).to_string()).expect("answered").0, 200);
    let wanted: Vec<usize> = (0..20).filter(|n| *n != 3).collect();
    for (name, broker) in [("open", &open), ("plain", &plain), ("scram256", &scram256), ("scram512", &scram512)] {
        let got = || distinct(broker.seen().values.iter().map(|(_, alert)| number(alert)).collect());
        wait_until(&format!("all of {name}"), SOON, || {
            assert_eq!(broker.seen().faults, [""; 0], "{name}");
            got() == wanted
        });
        wait_until(&format!("a dead letter of {name}"), SOON, || hub.output(name)["dead_letters"] == 1);
        let seen = broker.seen();
        assert_eq!(seen.faults, [""; 0], "{name}");
        let partitions: BTreeSet<i32> = seen.values.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(partitions, (0..PARTITIONS).collect(), "{name}: in turn");
        assert_eq!(seen.logins > 0, broker.login.is_some(), "{name}");
        assert_eq!(seen.zipped > 0, name == "open", "{name}");
        let client = if name == "open" { "me" } else { "falco-hub" };
        assert_eq!(seen.clients, [client.to_owned()].into(), "{name}");
    }
    wait_until("the wrong password is told", SOON, || {
        hub.output("wrong")["last_error"].as_str().is_some_and(|e| e.to_lowercase().contains("sasl"))
    });
    assert!(scram256.seen().refused > 0);
    wait_until("the missing topic is told", SOON, || {
        hub.output("missing")["last_error"].as_str().is_some_and(|e| e.contains("there is no topic 'falco'"))
    });
    // Somebody makes it.
    missing.seen().topics.insert("falco".to_owned());
    wait_until("the rest", SOON, || missing.seen().values.len() >= 19 && hub.output("missing")["held"] == 0);
    assert_eq!(missing.seen().faults, [""; 0]);
}

#[test]
fn what_is_wrong_is_told_at_the_start() {
    let told = |more: Value| {
        let mut kafka = json!({"hostport": "127.0.0.1:9092", "topic": "falco"});
        kafka.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let out = Hub::new(&json!({"kafka": kafka})).command().output().expect("run");
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    for (more, error) in [
        (json!({"hostport": "a:9092,b"}), "hostport: 'b' is not host:port"),
        (json!({"hostport": "[::1]:9092", "tls": true}), "with TLS a name or an IPv4 address is needed"),
        (json!({"sasl": "PLAIN"}), "username: it is needed"),
        (json!({"sasl": "GSSAPI"}), "PLAIN, SCRAM_SHA256, SCRAM_SHA512"),
        (json!({"balancer": "x"}), "one of: round_robin"),
    ] {
        let text = told(more);
        assert!(text.contains(error), "{text}");
    }
}

/// kcat with brokers in it, which reads what they get; its addresses. A line: partition, checked value.
pub fn kcat(directory: &Path) -> Option<(Process, String)> {
    if Command::new("kcat").arg("-V").output().is_err() {
        println!("skipped: kcat is not installed (scripts/deps hub)");
        return None;
    }
    let log = directory.join("brokers");
    let run = "exec kcat -b none -C -t falco -o beginning -u -q -d mock -X test.mock.num.brokers=2 -X check.crcs=true \
               -f '%p %s\\n' 2>\"$0\"";
    let process = Process::start("sh", &["-c", run, log.to_str().expect("UTF-8")], &directory.join("got"))?;
    let mut addresses = String::new();
    wait_until("the brokers", SOON, || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.split_inclusive('\n').find_map(|line| line.split_once("bootstrap.servers="));
        addresses = line.map(|(_, rest)| rest.trim().to_owned()).unwrap_or_default();
        // It reads all partitions, and with that made the topic.
        !addresses.is_empty() && text.contains("Created topic \"falco\" with 4 partition(s)")
    });
    Some((process, addresses))
}

#[test]
fn brokers_of_librdkafka_read_every_batch() {
    let directory = tempfile::tempdir().expect("directory");
    let Some((_brokers, addresses)) = kcat(directory.path()) else { return };
    // A broker that is not there comes first.
    let addresses = format!("127.0.0.1:{},{addresses}", free_port());
    let target = |compression: &str, balancer: &str| {
        json!({
            "kind": "kafka", "name": compression, "hostport": addresses, "topic": "falco", "compression": compression,
            "balancer": balancer, "match": {"rules": [compression]},
        })
    };
    let ways = [
        ("NONE", "round_robin"),
        ("GZIP", "crc32"),
        ("SNAPPY", "murmur2"),
        ("LZ4", "least_bytes"),
        ("ZSTD", "murmur2_random"),
    ];
    let targets = ways.map(|(compression, balancer)| target(compression, balancer));
    let hub = Hub::started(&json!({"hub": quick(), "outputs": targets}));
    let alerts = |compression: &str| -> Vec<Value> {
        let with_rule = |i| {
            let mut alert = alert(i);
            alert["rule"] = json!(compression);
            alert
        };
        (0..40).map(with_rule).collect()
    };
    let batch: Vec<Value> = ways.iter().flat_map(|(compression, _)| alerts(compression)).collect();
    assert_eq!(hub.post("/", &json!(batch).to_string()).expect("answered").0, 200);
    // By rule: the numbers, and the partitions they were in.
    let got = || {
        let text = std::fs::read_to_string(directory.path().join("got")).unwrap_or_default();
        let mut got: BTreeMap<String, (Vec<usize>, BTreeSet<usize>)> = BTreeMap::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let (partition, value) = line.split_once(' ').expect("a partition");
            let value: Value = serde_json::from_str(value).expect("JSON");
            let of = got.entry(value["rule"].as_str().expect("a rule").to_owned()).or_default();
            of.0.push(number(&value));
            of.1.insert(partition.parse().expect("a number"));
        }
        got
    };
    let wanted: Vec<usize> = (0..40).collect();
    let all = || ways.iter().all(|(rule, _)| got().get(*rule).is_some_and(|of| distinct(of.0.clone()) == wanted));
    wait_until("all of all", SOON, all);
    let partitions = |rule: &str| got()[rule].1.iter().copied().collect::<Vec<_>>();
    assert_eq!(partitions("NONE"), [0, 1, 2, 3]);
    assert_eq!(partitions("GZIP"), [0], "the hash of nothing");
    assert_eq!(partitions("SNAPPY"), [1], "the hash of nothing");
    assert_eq!(partitions("LZ4"), [0, 1, 2, 3]);
    assert!(partitions("ZSTD").len() > 1);
}
