//! The program as an operator meets it: its web server, its metrics, files that change while it runs. Without a driver, so no event
//! is needed.

#[path = "support/port.rs"]
mod port;

use port::free_port;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_falco-sensor");
const PATIENCE: Duration = Duration::from_secs(60);
const RULE: &str = "- {rule: one, desc: d, condition: evt.type = open, output: x, priority: notice}\n";

struct Sensor {
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `what` is there.
fn wait_for<T>(name: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match what() {
            Some(value) => return value,
            None if Instant::now() > end => panic!("{name}: not within {PATIENCE:?}"),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl Sensor {
    /// One with this configuration, in a folder with `rules.yaml`; `DIR` stands for the folder.
    fn start(config: &str, prepare: impl FnOnce(&Path)) -> Sensor {
        Sensor::start_with(&mut Command::new(PROGRAM), config, prepare)
    }

    /// The same by another command, which runs the program with the arguments it is given.
    fn start_with(command: &mut Command, config: &str, prepare: impl FnOnce(&Path)) -> Sensor {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        fs::write(path.join("rules.yaml"), RULE).expect("writable");
        let config = format!(
            "engine: {{kind: nodriver}}\nrules_files: [DIR/rules.yaml, DIR/rules.d]\njson_output: true\nstdout_output: {{enabled: true}}\n{config}"
        );
        fs::write(path.join("c.yaml"), config.replace("DIR", &path.display().to_string())).expect("writable");
        prepare(path);
        let file = |name: &str| fs::File::create(path.join(name)).expect("writable");
        command.current_dir(path).arg("-c").arg(path.join("c.yaml"));
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().expect("starts");
        let mut sensor = Sensor { folder, child };
        wait_for("ready", || {
            assert!(sensor.child.try_wait().expect("can be asked").is_none(), "{}", sensor.read("err"));
            sensor.read("err").contains("ready: ").then_some(())
        });
        sensor
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("writable");
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).expect("sent");
    }

    fn says(&self, text: &str, times: usize) {
        wait_for(&format!("{times} times {text:?}"), || {
            (self.read("err").matches(text).count() >= times).then_some(())
        });
        assert_eq!(self.read("err").matches(text).count(), times, "{text}: {}", self.read("err"));
    }

    fn alerts(&self) -> Vec<Value> {
        self.read("out").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Ends it; it has to end well.
    fn stop(mut self) -> (String, String) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let status = wait_for("the end", || self.child.try_wait().expect("can be asked"));
        assert!(status.success(), "{status}: {}", self.read("err"));
        (self.read("out"), self.read("err"))
    }
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("headers end").1
}

fn web(port: u16, more: &str) -> String {
    format!(
        "metrics: {{enabled: true, interval: 1h}}\nwebserver: {{enabled: true, listen_address: 127.0.0.1, listen_port: {port}, prometheus_metrics_enabled: true{more}}}\n"
    )
}

#[test]
fn the_web_server_answers() {
    let port = free_port();
    let sensor = Sensor::start(&web(port, ""), |_| {});
    assert_eq!(body(&get(port, "/healthz")), "{\"status\": \"ok\"}");
    let versions: Value = serde_json::from_str(body(&get(port, "/versions"))).expect("JSON");
    assert_eq!(versions["falco_version"], env!("CARGO_PKG_VERSION"));
    let metrics = get(port, "/metrics");
    assert!(metrics.contains("Content-Type: text/plain; version=0.0.4\r\n"), "{metrics}");
    let metrics = body(&metrics);
    assert!(
        metrics.contains("falcosecurity_scap_engine_name_info{engine_name=\"nodriver\",evt_source=\"syscall\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("falcosecurity_falco_sha256_rules_files_info{file_name=\"rules.yaml\",sha256=\""));
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    match promtool {
        Err(error) => println!("skipped: promtool (scripts/deps test): {error}"),
        Ok(mut child) => {
            child.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("written");
            let done = child.wait_with_output().expect("ends");
            // 3: complaints about names alone, which in Falco's are as they are there.
            let said = String::from_utf8_lossy(&done.stderr);
            let lint = |line: &str| line.starts_with("falcosecurity_") || line.is_empty();
            assert!(matches!(done.status.code(), Some(0 | 3)) && said.lines().all(lint), "{}: {said}", done.status);
        }
    }
    sensor.stop();
}

#[test]
fn the_web_server_speaks_tls() {
    let port = free_port();
    let made = std::cell::Cell::new(false);
    let make = |folder: &Path| {
        let settings = "[req]\ndistinguished_name = dn\nx509_extensions = v3\n[dn]\n[v3]\nbasicConstraints = CA:FALSE\n\
                        subjectAltName = IP:127.0.0.1\n";
        fs::write(folder.join("settings"), settings).expect("writable");
        let script = "openssl req -x509 -config settings -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem \
                      -out crt.pem -subj /CN=localhost -days 2 && cat key.pem crt.pem > both.pem";
        let status = Command::new("sh").args(["-c", script]).current_dir(folder).stderr(Stdio::null()).status();
        made.set(status.is_ok_and(|status| status.success()));
    };
    let probe = tempfile::tempdir().expect("a temporary folder");
    make(probe.path());
    if !made.get() {
        println!("skipped: openssl is not installed (scripts/deps test)");
        return;
    }
    let sensor = Sensor::start(&web(port, ", ssl_enabled: true, ssl_certificate: DIR/both.pem"), make);
    let mut roots = rustls::RootCertStore::empty();
    let pem = sensor.folder.path().join("crt.pem");
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(pem).expect("a certificate")).expect("taken");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("known");
    let config = std::sync::Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let connection = rustls::ClientConnection::new(config, "127.0.0.1".try_into().expect("a name")).expect("good");
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port)).expect("connects"));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered, and closed as TLS wants it");
    assert_eq!(body(&answer), "{\"status\": \"ok\"}");
    // Without TLS there is no answer, and the next client gets one.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").expect("written");
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    sensor.stop();
}

#[test]
fn snapshots_are_alerts_and_lines_of_a_file() {
    let config = "metrics: {enabled: true, interval: 100ms, output_rule: true, output_file: DIR/metrics.txt}\n";
    let sensor = Sensor::start(config, |_| {});
    let alert = wait_for("two snapshots", || {
        let mut alerts = sensor.alerts();
        (alerts.len() >= 2).then(|| alerts.remove(1))
    });
    assert_eq!(
        (&alert["rule"], &alert["priority"]),
        (&"Falco internal: metrics snapshot".into(), &"Informational".into())
    );
    assert_eq!(alert["output_fields"]["falco.version"], env!("CARGO_PKG_VERSION"));
    assert!(alert["output_fields"]["falco.memory_rss_mb"].as_f64().is_some_and(|mb| mb > 0.5), "{alert}");
    let lines: Vec<Value> = wait_for("two lines", || {
        let text = sensor.read("metrics.txt");
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= 2).then_some(lines)
    });
    assert_eq!((&lines[0]["sample"], &lines[1]["sample"]), (&1.into(), &2.into()));
    assert_eq!(lines[1]["output_fields"]["evt.source"], "syscall");
    sensor.stop();
}

/// A program that is kept alive gets every alert, and a file stays open, until SIGUSR1 asks for another one.
#[test]
fn outputs_are_opened_again_when_asked_and_only_then() {
    let config = "metrics: {enabled: true, interval: 100ms, output_rule: true}\n\
                  file_output: {enabled: true, keep_alive: true, filename: DIR/alerts}\n\
                  program_output: {enabled: true, keep_alive: true, program: 'echo started >> DIR/starts; cat >> DIR/got'}\n";
    let sensor = Sensor::start(config, |_| {});
    let count = |name: &str| sensor.read(name).lines().count();
    wait_for("an alert in both", || (count("alerts") > 0 && count("got") > 0).then_some(()));
    fs::rename(sensor.folder.path().join("alerts"), sensor.folder.path().join("old")).expect("renamed");
    // More than two seconds: the control thread's clock has ticked.
    wait_for("alerts", || (count("old") > 25 && count("got") > 25).then_some(()));
    assert!(count("alerts") == 0 && count("starts") == 1, "{} {}", count("alerts"), sensor.read("starts"));
    sensor.signal(nix::sys::signal::Signal::SIGUSR1);
    wait_for("an alert in the new file", || (count("alerts") > 0 && count("starts") == 2).then_some(()));
    wait_for("both have all", || (count("old") + count("alerts") == count("got")).then_some(()));
    sensor.stop();
}

/// Whether it does not read or does not end: a program that stops its output is told.
#[test]
fn an_output_that_hangs_is_told() {
    let config = "metrics: {enabled: true, interval: 100ms, output_rule: true}\noutput_timeout: 200\n\
                  program_output: {enabled: true, keep_alive: true, program: ': < DIR/gate'}\n";
    for signal in [None, Some(nix::sys::signal::Signal::SIGUSR1)] {
        let gate = |folder: &Path| {
            nix::unistd::mkfifo(&folder.join("gate"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        };
        let sensor = Sensor::start(config, gate);
        wait_for("an alert", || (!sensor.alerts().is_empty()).then_some(()));
        if let Some(signal) = signal {
            sensor.signal(signal);
        }
        sensor.says(
            ": < DIR/gate' has been blocked for ".replace("DIR", &sensor.folder.path().display().to_string()).as_str(),
            1,
        );
        // Lets the program go, as often as it is started.
        let gate = sensor.folder.path().join("gate");
        std::thread::spawn(move || while fs::OpenOptions::new().write(true).open(&gate).is_ok() {});
        sensor.stop();
    }
}

#[test]
fn files_that_change_are_loaded_and_bad_ones_are_not() {
    let port = free_port();
    let sensor = Sensor::start(&web(port, ""), |folder| fs::create_dir(folder.join("rules.d")).expect("made"));
    let loaded = |count: usize| {
        let line = format!("falco_sensor_rules_loaded {count}\n");
        wait_for(&line, || get(port, "/metrics").contains(&line).then_some(()));
    };
    loaded(1);
    // A new file in a folder, an editor's rename, a signal.
    sensor.write("rules.d/more.yaml", &RULE.replace("one", "two"));
    sensor.says(": reloaded in ", 1);
    loaded(2);
    sensor.write("new", &format!("{RULE}{}", RULE.replace("one", "three")));
    fs::rename(sensor.folder.path().join("new"), sensor.folder.path().join("rules.yaml")).expect("renamed");
    sensor.says(": reloaded in ", 2);
    loaded(3);
    sensor.signal(nix::sys::signal::Signal::SIGHUP);
    sensor.says(": reloaded in ", 3);
    // The configuration itself: another address for the web server.
    let other = free_port();
    let config = sensor.read("c.yaml");
    sensor.write("c.yaml", &config.replace(&format!("listen_port: {port}"), &format!("listen_port: {other}")));
    sensor.says(": reloaded in ", 4);
    assert!(get(other, "/metrics").contains("falco_sensor_reloads_total{result=\"done\"} 4\n"));
    wait_for("the old address is let go", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    // What does not load is told, and nothing changes.
    sensor.write(
        "rules.d/more.yaml",
        "- rule: broken\n  desc: d\n  condition: nosuch.field = 1\n  output: x\n  priority: notice\n",
    );
    sensor.says(": not reloaded, ", 1);
    let alert = wait_for("an alert", || sensor.alerts().pop());
    assert_eq!(
        (&alert["rule"], &alert["priority"]),
        (&"Falco internal: hot restart failure".into(), &"Critical".into())
    );
    assert!(
        alert["output"].as_str().is_some_and(|text| text.contains("nosuch.field") && text.contains("more.yaml")),
        "{alert}"
    );
    let metrics = get(other, "/metrics");
    assert!(
        metrics.contains("falco_sensor_rules_loaded 3\n") && metrics.contains("{result=\"refused\"} 1\n"),
        "{metrics}"
    );
    fs::remove_file(sensor.folder.path().join("rules.d/more.yaml")).expect("removed");
    sensor.says(": reloaded in ", 5);
    assert!(get(other, "/metrics").contains("falco_sensor_rules_loaded 2\n"));
    // Written again as it was.
    sensor.write("rules.yaml", &sensor.read("rules.yaml"));
    std::thread::sleep(Duration::from_millis(400));
    let (_, err) = sensor.stop();
    assert_eq!(err.matches(": reloaded in ").count(), 5, "{err}");
}

/// A server of names that is silent until it may speak, and then tells one address of every host.
fn name_server(address: (&str, u16), speaks: Arc<AtomicBool>) -> std::io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((size, from)) = socket.recv_from(&mut query) {
            if !speaks.load(Ordering::Relaxed) {
                continue;
            }
            // The header of RFC 1035, the question, and of a question for type A the answer.
            let end = 12 + query[12..size].iter().position(|byte| *byte == 0).expect("the name ends") + 5;
            let mut answer = query[..end].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80]);
            let is_a = query[end - 4..end - 2] == [0, 1];
            answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            socket.send_to(&answer, from).expect("sent");
        }
    });
    Ok(())
}

#[test]
fn a_resolver_that_does_not_answer_holds_up_nothing() {
    let speaks = Arc::new(AtomicBool::new(false));
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || name_server(("127.0.0.77", 53), speaks.clone()).is_err() {
        println!("skipped: only root can give a program another resolver");
        return;
    }
    let rules = |host: &str| {
        format!(
            "- {{rule: one, desc: d, condition: 'evt.type = connect and fd.sip.name = {host}', output: x, priority: notice}}\n"
        )
    };
    let start = |options: &str| {
        let alone = "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", alone, "sh", PROGRAM]);
        Sensor::start_with(&mut command, "log_level: debug\n", |path| {
            fs::write(path.join("resolv.conf"), format!("nameserver 127.0.0.77\n{options}")).expect("writable");
            fs::write(path.join("rules.yaml"), rules("one.example")).expect("writable");
        })
    };
    // It is asked for minutes, far longer than this test waits for anything.
    let sensor = start("options timeout:30 attempts:5\n");
    sensor.write("rules.yaml", &rules("two.example"));
    sensor.says("reloaded in", 1);
    let (_, errors) = sensor.stop();
    assert!(!errors.contains("which rules name"), "nothing was known: {errors}");

    speaks.store(true, Ordering::Relaxed);
    let sensor = start("");
    sensor.says("host \"one.example\", which rules name: [192.0.2.7]", 1);
    sensor.stop();
}
