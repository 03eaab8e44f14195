//! Falco's gRPC services, asked as Falco's clients ask them: over a unix socket and over TLS with certificates.

use crate::grpc::Raw;
use crate::input::certificates;
use crate::port::free_port;
use crate::process::{Hub, alert, request, wait_until};
use crate::telemetry::{Field, at, check, text};
use falco_sensor::hub::tls::client_of;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use nix::sys::signal::Signal;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const SOON: Duration = Duration::from_secs(20);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where the hub is.
#[derive(Clone)]
enum To {
    Unix(PathBuf),
    Port(u16, Option<TlsConnector>),
}

impl tower_service::Service<Uri> for To {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let to = self.clone();
        Box::pin(async move {
            let stream: Box<dyn Stream> = match to {
                To::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
                To::Port(port, tls) => {
                    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                    match tls {
                        None => Box::new(stream),
                        Some(tls) => {
                            let name = ServerName::try_from("127.0.0.1").expect("a name");
                            Box::new(tls.connect(name, stream).await?)
                        }
                    }
                }
            };
            Ok(TokioIo::new(stream))
        })
    }
}

struct Client {
    runtime: Runtime,
    channel: Channel,
}

fn path(method: &str) -> PathAndQuery {
    let package = if method == "version" { "version" } else { "outputs" };
    format!("/falco.{package}.service/{method}").parse().expect("a path")
}

impl Client {
    fn new(to: To) -> Client {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let entered = runtime.enter();
        // As little as there can be is on the way when nobody reads.
        let endpoint = Endpoint::from_static("http://falco");
        let endpoint = endpoint.initial_stream_window_size(1 << 16).initial_connection_window_size(1 << 16);
        let channel = endpoint.connect_with_connector_lazy(to);
        drop(entered);
        Client { runtime, channel }
    }

    fn unix(path: &Path) -> Client {
        wait_until("the socket", SOON, || std::os::unix::net::UnixStream::connect(path).is_ok());
        Client::new(To::Unix(path.to_owned()))
    }

    fn grpc(&self) -> tonic::client::Grpc<Channel> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        // A failure to connect is told by the call.
        let _ = self.runtime.block_on(grpc.ready());
        grpc
    }

    fn version(&self) -> Result<Vec<u8>, Status> {
        let request = tonic::Request::new(Vec::new());
        let answer = self.runtime.block_on(self.grpc().unary(request, path("version"), Raw));
        answer.map(tonic::Response::into_inner)
    }

    /// All that one `get` gives.
    fn get(&self) -> Result<Vec<Vec<u8>>, Status> {
        let mut grpc = self.grpc();
        self.runtime.block_on(async {
            let request = tonic::Request::new(Vec::new());
            let mut stream = grpc.server_streaming(request, path("get"), Raw).await?.into_inner();
            let mut all = Vec::new();
            while let Some(message) = stream.message().await? {
                all.push(message);
            }
            Ok(all)
        })
    }

    /// Nothing has been asked yet when it returns, as with Falco's own client.
    fn sub(&self) -> Result<Subscription<'_>, Status> {
        let (requests, stream) = mpsc::channel(1);
        let request = tonic::Request::new(ReceiverStream::new(stream));
        let mut grpc = self.grpc();
        let alerts = self.runtime.block_on(grpc.streaming(request, path("sub"), Raw))?.into_inner();
        Ok(Subscription { client: self, requests: Some(requests), alerts })
    }
}

struct Subscription<'c> {
    client: &'c Client,
    requests: Option<mpsc::Sender<Vec<u8>>>,
    alerts: Streaming<Vec<u8>>,
}

impl Subscription<'_> {
    /// The next alert; nothing when the hub ended the stream.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let next = async { tokio::time::timeout(SOON, self.alerts.message()).await };
        self.client.runtime.block_on(next).expect("in time")
    }

    fn take(&mut self, number: usize) -> Vec<usize> {
        (0..number).map(|_| numbered(&self.next().expect("no error").expect("an alert"))).collect()
    }

    fn ask(&self) {
        let requests = self.requests.as_ref().expect("not ended");
        self.client.runtime.block_on(requests.send(Vec::new())).expect("sent");
    }
}

/// The number of an alert, when all of the message is as published.
fn numbered(output: &[u8]) -> usize {
    check("Output", output);
    let Field::Bytes(told) = &at(output, &[5])[0] else { panic!("a text") };
    let told = String::from_utf8_lossy(told);
    told.strip_prefix("alert <").and_then(|rest| rest.strip_suffix('>')).and_then(|n| n.parse().ok()).expect("a number")
}

fn numbers(outputs: &[Vec<u8>]) -> Vec<usize> {
    outputs.iter().map(|output| numbered(output)).collect()
}

fn post(hub: &Hub, numbers: std::ops::Range<usize>) {
    let batch: Vec<_> = numbers.map(alert).collect();
    assert_eq!(hub.post("/", &Value::Array(batch).to_string()).expect("answered").0, 200);
}

/// A hub that gives alerts at a unix socket.
fn started(directory: &Path, more: &Value) -> (Hub, PathBuf) {
    let socket = directory.join("grpc.sock");
    let mut config =
        json!({"hub": {"grpc": {"enabled": true, "bind_address": format!("unix://{}", socket.display())}}});
    config["hub"].as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    (Hub::started(&config), socket)
}

#[test]
fn over_a_unix_socket() {
    let directory = tempfile::tempdir().expect("directory");
    let (mut hub, socket) = started(directory.path(), &json!({}));
    let client = Client::unix(&socket);
    let version = client.version().expect("a version");
    check("Version", &version);
    assert_eq!(at(&version, &[1]), [text(env!("CARGO_PKG_VERSION"))]);
    assert_eq!(at(&version, &[7]), [Field::Number(63)], "the engine's");
    assert!(client.get().expect("an answer").is_empty());

    let mut subs = [client.sub().expect("a stream"), client.sub().expect("a stream")];
    post(&hub, 0..3);
    for sub in &mut subs {
        sub.ask();
        assert_eq!(sub.take(3), [0, 1, 2], "each client gets every alert");
    }
    let given = client.get().expect("an answer");
    assert_eq!(numbers(&given), [0, 1, 2], "get has its own");
    assert!(client.get().expect("an answer").is_empty(), "once");
    let first = &given[0];
    assert_eq!((at(first, &[1, 1]), at(first, &[1, 2])), (vec![Field::Number(1_706_702_400)], vec![Field::Number(1)]));
    // Warning is 4; syscall is 0, which is not written.
    assert_eq!((at(first, &[2]), at(first, &[3])), (vec![Field::Number(4)], vec![]));
    assert_eq!((at(first, &[4]), at(first, &[7])), (vec![text("Numbered")], vec![text("host")]));
    assert_eq!((at(first, &[9]), at(first, &[8])), (vec![text("syscall")], vec![text("a"), text("b")]));
    assert_eq!(at(first, &[6, 1]), [text("evt.time"), text("number"), text("proc.name")]);
    assert_eq!(at(first, &[6, 2]), [text("1700000000000000001"), text("0"), text("sh")]);

    // What was in the queue is still there after a crash, what was given is not.
    post(&hub, 3..6);
    assert_eq!(subs[0].take(3), [3, 4, 5]);
    hub.kill();
    assert!(subs[0].next().is_err());
    hub.start();
    hub.wait_ready();
    let client = Client::unix(&socket);
    assert_eq!(numbers(&client.get().expect("an answer")), [3, 4, 5]);

    // A client that ends its requests is done when it has what came.
    let mut sub = client.sub().expect("a stream");
    post(&hub, 6..7);
    sub.requests = None;
    assert_eq!(sub.take(1), [6]);
    assert!(sub.next().expect("no error").is_none());
    let mut sub = client.sub().expect("a stream");
    hub.process.as_ref().expect("running").signal(Signal::SIGTERM);
    assert_eq!(sub.next().expect_err("the end").code(), Code::Unavailable);
    let code = hub.process.take().expect("running").0.wait().expect("ended");
    assert!(code.success(), "{code:?}");
    assert_eq!(
        std::fs::metadata(&socket).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o777).ok(),
        Some(0o660)
    );
}

/// Falco's own client for Python, whose gRPC names the server by the path of its socket, which is no name of HTTP.
#[test]
fn falcos_client_for_python() {
    let folder = |variable: &str, below: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(below));
    let cache = folder("FALCO_SENSOR_CACHE", "")
        .or_else(|| folder("XDG_CACHE_HOME", "falco-sensor"))
        .or_else(|| folder("HOME", ".cache/falco-sensor"))
        .unwrap_or_default();
    let python = cache.join("falco-client/bin/python");
    if !python.exists() {
        println!("skipped: Falco's client for Python is not installed (scripts/deps hub)");
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let (hub, socket) = started(directory.path(), &json!({}));
    let script = "import falco, sys\n\
        client = falco.Client(endpoint='unix://' + sys.argv[1], output_format='json')\n\
        print(client.version(), flush=True)\n\
        print(list(client.get()), flush=True)\n\
        for output in client.sub():\n    print(output, flush=True)\n    break\n\
        for output in client.get():\n    print(output, flush=True)\n";
    let mut child =
        Command::new(python).args(["-c", script]).arg(&socket).stdout(Stdio::piped()).spawn().expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().expect("a line, or else an error above").expect("UTF-8");
    let json = |line: String| serde_json::from_str::<Value>(&line).expect("JSON");
    assert_eq!(json(line())["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(line(), "[]");
    // Until it listens.
    let mut numbers = 0..;
    let (send, received) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| send.send(line()).expect("heard"));
        let first = loop {
            let number = numbers.next().expect("no end");
            post(&hub, number..number + 1);
            match received.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => break json(line),
                Err(_) => assert!(number < 100, "it hears nothing"),
            }
        };
        assert_eq!(
            (&first["rule"], &first["priority"], &first["hostname"]),
            (&json!("Numbered"), &json!("warning"), &json!("host"))
        );
        assert_eq!(first["output_fields"]["proc.name"], "sh");
    });
    let got: Vec<_> = lines.map(|line| json(line.expect("UTF-8"))).collect();
    assert_eq!(got.len(), numbers.start, "each once");
    assert!(child.wait().expect("ends").success());
}

#[test]
fn over_tcp_only_with_a_certificate() {
    let directory = tempfile::tempdir().expect("directory");
    if !certificates(directory.path()) {
        return;
    }
    let port = free_port();
    let file = |name: &str| directory.path().join(name);
    let hub = Hub::started(&json!({"hub": {"grpc": {
        "enabled": true, "bind_address": format!("127.0.0.1:{port}"), "threadiness": 8,
        "private_key": file("server.key"), "cert_chain": file("server.crt"), "root_certs": file("ca.crt"),
    }}}));
    let pem = |name: &str| std::fs::read(file(name)).expect("readable");
    let with = |certificate: Option<(&[u8], &[u8])>| {
        let mut tls = client_of(Some(&pem("ca.crt")), certificate, true).expect("TLS");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Client::new(To::Port(port, Some(TlsConnector::from(Arc::new(tls)))))
    };
    wait_until("the port", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let known = with(Some((&pem("client.crt"), &pem("client.key"))));
    post(&hub, 0..2);
    assert_eq!(numbers(&known.get().expect("an answer")), [0, 1]);
    for (who, client) in [("without a certificate", with(None)), ("without TLS", Client::new(To::Port(port, None)))] {
        assert!(client.get().is_err() && client.version().is_err(), "{who}");
    }
    post(&hub, 2..3);
    assert_eq!(numbers(&known.get().expect("an answer")), [2], "and nothing was given to those");

    let wrong = json!({"hub": {"grpc": {"enabled": true, "bind_address": "127.0.0.1:0", "cert_chain": "/nosuch"}}});
    let out = Hub::new(&wrong).command().output().expect("run");
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("hub.grpc: /"), "{told}");
}

#[test]
fn a_client_that_is_slow_slows_nobody() {
    const MANY: usize = 6000;
    let directory = tempfile::tempdir().expect("directory");
    let (hub, socket) = started(directory.path(), &json!({}));
    let (slow, quick) = (Client::unix(&socket), Client::unix(&socket));
    let (mut late, mut prompt) = (slow.sub().expect("a stream"), quick.sub().expect("a stream"));
    let start = Instant::now();
    for hundred in (0..MANY).step_by(100) {
        post(&hub, hundred..hundred + 100);
    }
    let all: Vec<_> = (0..MANY).collect();
    assert_eq!(prompt.take(MANY), all);
    let took = start.elapsed();
    let metrics = hub.metrics();
    assert_eq!(metrics["falco_hub_grpc_calls"], 2.0);
    assert!(metrics["falco_hub_grpc_alerts_total"] < 2.0 * MANY as f64, "most of the other's wait on the disk");
    assert_eq!(late.take(MANY), all, "{took:?}");
    assert_eq!(numbers(&quick.get().expect("an answer")), all);
    drop((late, prompt));
    wait_until("both are gone", SOON, || hub.metrics()["falco_hub_grpc_calls"] == 0.0);
    let metrics = hub.metrics();
    let counted = ["alerts_total", "missed_total"].map(|name| metrics[&format!("falco_hub_grpc_{name}")]);
    assert_eq!(counted, [3.0 * MANY as f64, 0.0]);
}

#[test]
fn what_is_bounded() {
    let directory = tempfile::tempdir().expect("directory");
    let port = free_port();
    let (mut hub, socket) = started(directory.path(), &json!({"uiport": port, "uianonymous": "operator"}));
    assert!(Client::unix(&socket).get().expect("an answer").is_empty());
    post(&hub, 0..3);
    // What is removed before it was taken is counted.
    let page = |method: &str, path: &str| {
        request(TcpStream::connect(("127.0.0.1", port)).expect("connected"), method, path, &[], "").expect("answered")
    };
    let found: Value = serde_json::from_str(&page("GET", "/api/v1/events/search").1).expect("JSON");
    let second = |alert: &&Value| alert["output"] == "alert <1>";
    let found = found["results"].as_array().and_then(|all| all.iter().find(second)).expect("an alert");
    let uuid = found["uuid"].as_str().expect("a text");
    assert!((200..300).contains(&page("DELETE", &format!("/api/v1/events/{uuid}")).0));
    // The newest are in memory as well, until the hub ends.
    hub.kill();
    hub.start();
    hub.wait_ready();
    let client = Client::unix(&socket);
    assert_eq!(numbers(&client.get().expect("an answer")), [0, 2]);
    assert_eq!(hub.metrics()["falco_hub_grpc_missed_total"], 1.0);
    // So is the number of clients.
    let clients: Vec<_> = (0..5).map(|_| Client::unix(&socket)).collect();
    let subs: Vec<_> =
        clients[..4].iter().flat_map(|client| (0..16).map(|_| client.sub().expect("a stream"))).collect();
    assert_eq!(subs.len(), 64);
    let refused = clients[4].sub().err().expect("refused");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(client.get().expect_err("refused").code(), Code::ResourceExhausted);
    drop(subs);
    wait_until("there is room again", SOON, || clients[4].sub().is_ok());
    let mut grpc = client.grpc();
    let nobody = PathAndQuery::from_static("/falco.outputs.service/outputs");
    let call = client.runtime.block_on(grpc.unary(tonic::Request::new(Vec::<u8>::new()), nobody, Raw));
    assert_eq!(call.expect_err("unknown").code(), Code::Unimplemented);
}
