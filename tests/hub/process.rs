//! Starting the hub and servers, HTTP without a library, receivers that can be killed, hung and brought back.

use super::port::free_port;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Waits until `condition` holds; panics with `what` when it does not in time.
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !condition() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    /// `None` when the program is not installed.
    pub fn start(program: &str, arguments: &[&str], log: &Path) -> Option<Process> {
        Self::start_with(program, arguments, &[], log)
    }

    /// The same with environment variables.
    pub fn start_with(
        program: &str,
        arguments: &[&str],
        variables: &[(&'static str, String)],
        log: &Path,
    ) -> Option<Process> {
        let log = std::fs::File::options().create(true).append(true).open(log).expect("log");
        let child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn();
        match child {
            Ok(child) => Some(Process(child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("skipped: {program} is not installed (scripts/deps hub)");
                None
            }
            Err(error) => panic!("{program}: {error}"),
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().try_into().expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }

    pub fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hub with a configuration of its own, in a directory of its own.
pub struct Hub {
    pub directory: tempfile::TempDir,
    pub port: u16,
    pub process: Option<Process>,
    /// Of its environment.
    pub variables: Vec<(&'static str, String)>,
}

impl Hub {
    /// Writes the configuration; `listenport` and `hub.directory` are added. There is no page unless it has a port.
    pub fn new(config: &Value) -> Hub {
        let directory = tempfile::tempdir().expect("directory");
        let port = free_port();
        let mut config = config.clone();
        config["listenaddress"] = json!("127.0.0.1");
        config["listenport"] = json!(port);
        config["hub"]["directory"] = json!(directory.path().join("data"));
        if config["hub"]["uiport"].is_null() {
            config["hub"]["uiport"] = json!(0);
        }
        // JSON is YAML.
        std::fs::write(directory.path().join("hub.yaml"), config.to_string()).expect("written");
        Hub { directory, port, process: None, variables: Vec::new() }
    }

    pub fn started(config: &Value) -> Hub {
        let mut hub = Hub::new(config);
        hub.start();
        hub.wait_ready();
        hub
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_falco-hub"));
        command.arg("-c").arg(self.directory.path().join("hub.yaml")).env_remove("STATE_DIRECTORY");
        command
    }

    pub fn log(&self) -> PathBuf {
        self.directory.path().join("hub.log")
    }

    pub fn start(&mut self) {
        let config = self.directory.path().join("hub.yaml");
        let arguments = ["-c", config.to_str().expect("UTF-8")];
        let program = env!("CARGO_BIN_EXE_falco-hub");
        self.process = Process::start_with(program, &arguments, &self.variables, &self.log());
    }

    pub fn wait_ready(&self) {
        wait_until("the hub answers", Duration::from_secs(20), || TcpStream::connect(self.address()).is_ok());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("running").kill();
    }

    pub fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }

    pub fn post(&self, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        request(TcpStream::connect(self.address())?, "POST", path, &[], body)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.address()).expect("connected");
        request(stream, "GET", path, &[], "").expect("answered")
    }

    pub fn metrics(&self) -> HashMap<String, f64> {
        let (_, text) = self.get("/metrics");
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
    }

    /// What `/readyz` says of an output.
    pub fn output(&self, name: &str) -> Value {
        self.state("outputs", name)
    }

    /// What `/readyz` says of an input.
    pub fn input(&self, name: &str) -> Value {
        self.state("inputs", name)
    }

    fn state(&self, list: &str, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.get("/readyz").1).expect("JSON");
        let list = all[list].as_array().expect("a list");
        list.iter().find(|item| item["name"] == name).cloned().unwrap_or(Value::Null)
    }

    /// The alerts that are in its database, in their order.
    pub fn kept(&self) -> Vec<Value> {
        let path = self.directory.path().join("data/alerts.db");
        let read = || -> rusqlite::Result<Vec<String>> {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            let database = rusqlite::Connection::open_with_flags(&path, flags)?;
            database.busy_timeout(Duration::from_secs(10))?;
            database.prepare("SELECT body FROM alerts ORDER BY seq")?.query_map([], |row| row.get(0))?.collect()
        };
        // It is made by the hub, in its time.
        let bodies = read().unwrap_or_default();
        bodies.iter().map(|body| serde_json::from_str(body).expect("JSON")).collect()
    }
}

/// An alert with a number by which it is known again.
pub fn alert(number: usize) -> Value {
    json!({
        "output": format!("alert <{number}>"), "priority": "Warning", "rule": "Numbered", "source": "syscall",
        "time": "2024-01-31T12:00:00.000000001Z", "hostname": "host", "tags": ["b", "a"],
        "output_fields": {"number": number, "proc.name": "sh", "evt.time": 1_700_000_000_000_000_001u64},
    })
}

/// The number of an alert as it was delivered.
pub fn number(alert: &Value) -> usize {
    alert["output_fields"]["number"].as_u64().expect("a number").try_into().expect("small")
}

pub fn request<S: Read + Write>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<(u16, String)> {
    let answer = raw_request(stream, method, path, headers, body)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((head, body))) if head.to_ascii_lowercase().contains("transfer-encoding: chunked") => {
            Ok((status, unchunked(body)))
        }
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// The whole answer, its head included.
pub fn raw_request<S: Read + Write>(
    mut stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<String> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    // Who refuses a body may answer and close before it was read.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What a receiver does.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Up,
    /// It does not listen; connections are cut.
    Killed,
    /// It takes connections and what is sent, and is silent.
    Hung,
    /// It answers 503.
    Failing,
}

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A receiver over HTTP, or of lines over TCP, on a port it keeps.
pub struct Receiver {
    pub port: u16,
    mode: Arc<AtomicU8>,
    pub received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub fn http(mode: Mode) -> Receiver {
        Self::new(mode, |stream, mode, received| serve_http(stream, mode, received, |_| (200, String::new())))
    }

    /// Answers what `respond` says: a status and a body.
    pub fn answering(respond: impl Fn(&Received) -> (u16, String) + Send + Sync + 'static) -> Receiver {
        Self::new(Mode::Up, move |stream, mode, received| serve_http(stream, mode, received, &respond))
    }

    /// Takes lines until the connection is closed behind them, and closes it in turn, as syslog servers do.
    pub fn lines(mode: Mode) -> Receiver {
        Self::new(mode, serve_lines)
    }

    fn new(
        mode: Mode,
        serve: impl Fn(TcpStream, &AtomicU8, &Mutex<Vec<Received>>) + Send + Sync + 'static,
    ) -> Receiver {
        let serve = Arc::new(serve);
        let receiver =
            Receiver { port: free_port(), mode: Arc::new(AtomicU8::new(mode as u8)), received: Arc::default() };
        let (port, mode, received) = (receiver.port, receiver.mode.clone(), receiver.received.clone());
        std::thread::spawn(move || {
            loop {
                if is(&mode, Mode::Killed) {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
                let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port");
                listener.set_nonblocking(true).expect("nonblocking");
                while !is(&mode, Mode::Killed) {
                    let Ok((stream, _)) = listener.accept() else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    stream.set_nonblocking(false).expect("blocking");
                    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
                    let (mode, received, serve) = (mode.clone(), received.clone(), serve.clone());
                    std::thread::spawn(move || serve(stream, &mode, &received));
                }
            }
        });
        receiver
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn count(&self) -> usize {
        self.received.lock().expect("lock").len()
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.lock().expect("lock").clone()
    }

    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("{count} requests"), Duration::from_secs(20), || self.count() >= count);
        self.all()
    }
}

fn is(mode: &AtomicU8, wanted: Mode) -> bool {
    mode.load(Ordering::SeqCst) == wanted as u8
}

/// Reads more; `None` when the connection is over.
fn more(stream: &mut TcpStream, mode: &AtomicU8, into: &mut Vec<u8>) -> Option<usize> {
    let mut buffer = [0; 65536];
    loop {
        if is(mode, Mode::Killed) {
            return None;
        }
        match stream.read(&mut buffer) {
            Ok(number) => {
                into.extend_from_slice(&buffer[..number]);
                return Some(number);
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
    }
}

/// Waits while the receiver hangs; false when it was killed meanwhile.
fn go_on(mode: &AtomicU8) -> bool {
    while is(mode, Mode::Hung) {
        std::thread::sleep(Duration::from_millis(10));
    }
    !is(mode, Mode::Killed)
}

fn serve_http(
    mut stream: TcpStream,
    mode: &AtomicU8,
    received: &Mutex<Vec<Received>>,
    respond: impl Fn(&Received) -> (u16, String),
) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if more(&mut stream, mode, &mut bytes).unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut words = head.lines().next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
        let headers: HashMap<_, _> = head.lines().skip(1).filter_map(header).collect();
        let length: usize = headers.get("content-length").map_or(0, |l| l.parse().expect("a length"));
        while bytes.len() < end + 4 + length {
            if more(&mut stream, mode, &mut bytes).unwrap_or(0) == 0 {
                return;
            }
        }
        let body = bytes[end + 4..end + 4 + length].to_vec();
        bytes.drain(..end + 4 + length);
        if !go_on(mode) {
            return;
        }
        let request = Received { method, path, headers, body };
        let (status, answer) = if is(mode, Mode::Failing) { (503, String::new()) } else { respond(&request) };
        if is(mode, Mode::Up) {
            received.lock().expect("lock").push(request);
        }
        // A redirection's body is where it leads.
        let more = if (300..400).contains(&status) { format!("Location: {answer}\r\n") } else { String::new() };
        let answer = format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {}\r\n\r\n{answer}", answer.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Lines are kept as they are read: what is killed after it has read something has it, since its kernel then closes the
/// connection as if all were well.
fn serve_lines(mut stream: TcpStream, mode: &AtomicU8, received: &Mutex<Vec<Received>>) {
    let mut bytes = Vec::new();
    loop {
        let number = more(&mut stream, mode, &mut bytes);
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut received = received.lock().expect("lock");
        for line in bytes.drain(..end).as_slice().split_inclusive(|byte| *byte == b'\n') {
            let body = line.to_vec();
            received.push(Received { method: String::new(), path: String::new(), headers: HashMap::new(), body });
        }
        drop(received);
        if number.unwrap_or(0) == 0 || !go_on(mode) {
            return;
        }
    }
}

/// The JSON of a syslog line.
pub fn syslog_json(line: &[u8]) -> Value {
    let start = line.iter().position(|b| *b == b'{').expect("JSON in the line");
    serde_json::from_slice(&line[start..]).expect("JSON")
}
