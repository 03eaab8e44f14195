//! Alerts as their receivers get them: a capture made here is replayed by the program, and what arrives is looked at.

use falco_sensor::capture::{Metadata, Writer, encode};
use falco_sensor::event::synthetic::{EventSpec, Process, Task, World};
use serde_json::Value;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
/// 2026-11-28 00:00:00 UTC, in seconds.
const DAY: u64 = 1_795_824_000;

/// A folder with `x.scap`, in which a program called `cat` asks for its process at these seconds of the day.
fn capture(seconds: &[u64]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut world = World::new();
    let cat = Process::new(4_000_000, "/usr/bin/cat", &["cat", "/etc/shadow"]);
    world.task(&Task::new(cat).parent(Process::new(3_999_999, "/usr/bin/bash", &["bash"])));
    let mut writer = Writer::create(&folder.path().join("x.scap")).expect("a file");
    writer.section(&Metadata::default()).expect("room");
    let mut event = Default::default();
    // The time in a record is the module's, which a view makes wall time of.
    let first = world.event(&EventSpec::new("getpid"));
    for second in seconds {
        assert!(encode(&world.view(&first), 0, &mut event));
        let mut view = event.view(0);
        view.time = (DAY + second) * 1_000_000_000;
        writer.event(&view).expect("room");
    }
    writer.finish().expect("room");
    folder
}

/// Replays it; gives standard output and standard error.
fn replay(folder: &Path, config: &str) -> (String, String) {
    let rules = "- {rule: asks, desc: d, condition: evt.type = getpid, output: asked, priority: error}\n";
    fs::write(folder.join("r.yaml"), rules).expect("writable");
    let config = format!("engine: {{kind: replay, replay: {{capture_file: x.scap}}}}\nrules_files: [r.yaml]\n{config}");
    fs::write(folder.join("c.yaml"), config).expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_falco-sensor"));
    let command = command.args(["-c", "c.yaml"]).env("FALCO_HOSTNAME", "box").current_dir(folder);
    let Output { status, stdout, stderr } = command.output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    assert!(status.success(), "{err}");
    (out, err)
}

#[test]
fn repeated_alerts_are_told_together() {
    let folder = capture(&[0, 1, 9, 10, 11, 40, 60]);
    let config = "json_output: true\nstdout_output: {enabled: true}\n\
                  alert_limits: {rules: [{rule: as*, keys: [proc.name], window: 10s}]}\n";
    let (out, _) = replay(folder.path(), config);
    let alerts: Vec<Value> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let time = |value: &Value| value.as_str().and_then(|text| text.get(11..19)).unwrap_or("-").to_owned();
    let said: Vec<_> = alerts
        .iter()
        .map(|alert| {
            let fields = &alert["output_fields"];
            (
                time(&alert["time"]),
                fields["alert.count"].as_u64(),
                time(&fields["alert.first"]),
                time(&fields["alert.last"]),
            )
        })
        .collect();
    let written = |at: &str| (at.to_owned(), None, "-".to_owned(), "-".to_owned());
    let told = |count, first: &str, last: &str| (last.to_owned(), Some(count), first.to_owned(), last.to_owned());
    assert_eq!(
        said,
        [
            written("00:00:00"),
            told(3, "00:00:00", "00:00:09"),
            written("00:00:10"),
            told(2, "00:00:10", "00:00:11"),
            written("00:00:40"),
            written("00:01:00"),
        ],
        "{out}"
    );
    assert!(alerts.iter().all(|alert| alert["rule"] == "asks" && alert["priority"] == "Error"));
    assert!(out.contains("asks: 7\n"), "every match is counted: {out}");
    // As docs/outputs.md shows it.
    let (out, _) = replay(folder.path(), &config.replace("json_output: true\n", ""));
    let lines: Vec<&str> = out.lines().take_while(|line| !line.starts_with("Events detected")).collect();
    println!("{}", lines.join("\n"));
    assert!(
        lines.len() == 6 && lines[1].contains(" Error asked alert.count=3 alert.first=2026-11-28T00:00:00."),
        "{out}"
    );
    // Off, every alert is written; so it is where a limit is for other rules.
    for config in ["", "alert_limits: {rules: [{rule: other, window: 10s}, {rule: asks, window: 0s}, {window: 1h}]}\n"]
    {
        let (out, _) = replay(folder.path(), &format!("stdout_output: {{enabled: true}}\n{config}"));
        assert_eq!(out.matches("Error asked").count(), 7, "{out}");
        assert!(!out.contains("alert.count"));
    }
}

/// A real log server on three ports of the loopback, one of which takes only clients with a certificate of its authority.
struct Rsyslog {
    child: Child,
    folder: tempfile::TempDir,
    /// Of UDP, TCP and TLS.
    ports: [u16; 3],
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CERTIFICATES: &str = "
    new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch'
    for name in ca other; do $new -x509 -days 2 -subj /CN=$name -keyout $name.key -out $name.crt; done
    echo subjectAltName=IP:127.0.0.1 >server.ext
    echo subjectAltName=DNS:client >client.ext
    for name in server client; do
        $new -subj /CN=$name -keyout $name.key -out $name.csr
        openssl x509 -req -days 2 -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.crt
    done";

impl Rsyslog {
    /// None, and a line that says so, where something is not installed.
    fn start() -> Option<Rsyslog> {
        let here = "PATH=$PATH:/usr/sbin; command -v openssl && command -v rsyslogd && ls /usr/lib*/*/rsyslog/lmnsd_gtls.so /usr/lib*/rsyslog/lmnsd_gtls.so 2>/dev/null | grep .";
        if !Command::new("sh").args(["-c", here]).stdout(Stdio::null()).status().expect("a shell").success() {
            eprintln!("skipped: openssl, rsyslog or rsyslog-gnutls is not installed (scripts/deps hub)");
            return None;
        }
        let mut folder = tempfile::tempdir().expect("a temporary folder");
        let made = Command::new("sh").args(["-ec", CERTIFICATES]).current_dir(folder.path()).output().expect("a shell");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // A port may be taken by another process in between: then others.
        for _ in 0..10 {
            let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            let ports = [free(), free(), free()];
            let config = RSYSLOG.replace("DIR", &folder.path().display().to_string());
            let config = ["UDP", "TCP", "TLS"]
                .iter()
                .zip(ports)
                .fold(config, |text, (name, port)| text.replace(&format!("PORT-{name}"), &port.to_string()));
            fs::write(folder.path().join("conf"), config).expect("writable");
            let command = "PATH=$PATH:/usr/sbin exec rsyslogd -n -f conf -i pid";
            let log = fs::File::create(folder.path().join("log")).expect("writable");
            let child = Command::new("sh").args(["-c", command]).current_dir(folder.path()).stderr(log).spawn();
            let mut server = Rsyslog { child: child.expect("starts"), folder, ports };
            let end = Instant::now() + LONG;
            while Instant::now() < end && server.child.try_wait().expect("a child").is_none() {
                if ports[1..].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                    return Some(server);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            eprintln!("{}", fs::read_to_string(server.folder.path().join("log")).unwrap_or_default());
            let unused = tempfile::tempdir().expect("a temporary folder");
            folder = std::mem::replace(&mut server.folder, unused);
        }
        panic!("rsyslog does not start");
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

const RSYSLOG: &str = r#"
global(workDirectory="DIR" maxMessageSize="64k" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="DIR/ca.crt"
       defaultNetstreamDriverCertFile="DIR/server.crt" defaultNetstreamDriverKeyFile="DIR/server.key")
module(load="imudp")
module(load="imptcp")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name" permittedPeer=["client"])
template(name="l" type="string" string="%syslogfacility-text%|%syslogseverity-text%|%protocol-version%|%timestamp:::date-rfc3339%|%hostname%|%app-name%|%procid%|%msgid%|%structured-data%|%msg%\n")
ruleset(name="udp") { action(type="omfile" file="DIR/udp" template="l" asyncWriting="off") }
ruleset(name="tcp") { action(type="omfile" file="DIR/tcp" template="l" asyncWriting="off") }
ruleset(name="tls") { action(type="omfile" file="DIR/tls" template="l" asyncWriting="off") }
input(type="imudp" address="127.0.0.1" port="PORT-UDP" ruleset="udp")
input(type="imptcp" address="127.0.0.1" port="PORT-TCP" ruleset="tcp")
input(type="imtcp" address="127.0.0.1" port="PORT-TLS" ruleset="tls")
"#;

#[test]
fn rsyslog_gets_every_part_of_a_message_over_udp_tcp_and_tls() {
    let Some(server) = Rsyslog::start() else { return };
    let alerts = capture(&[0, 1, 2, 3]);
    let dir = server.folder.path().display();
    let certificates = format!("ca_cert: {dir}/ca.crt, client_cert: {dir}/client.crt, client_key: {dir}/client.key");
    let config = |protocol: &str, port: u16, more: &str| {
        format!(
            "json_output: true\nsyslog_output: {{enabled: true, protocol: {protocol}, host: 127.0.0.1, port: {port}, facility: local3, {more}}}\n"
        )
    };
    let protocols = ["udp", "tcp", "tls"];
    for (protocol, port) in protocols.iter().zip(server.ports) {
        let (_, err) = replay(alerts.path(), &config(protocol, port, &certificates));
        assert!(!err.contains("lost alerts"), "{err}");
        let end = Instant::now() + LONG;
        while server.lines(protocol).len() < 4 {
            assert!(Instant::now() < end, "{protocol}: {:?}", server.lines(protocol));
            std::thread::sleep(Duration::from_millis(5));
        }
        for (second, line) in server.lines(protocol).iter().enumerate() {
            let parts: Vec<&str> = line.splitn(10, '|').collect();
            let [facility, severity, version, time, host, app, process, id, data, text] = parts[..] else {
                panic!("{line}")
            };
            assert_eq!([facility, severity, version, host, app], ["local3", "err", "1", "box", "falco-sensor"]);
            assert_eq!((id, data), ("alert", "-"));
            assert!(process.parse().is_ok_and(|pid: u32| pid > 1), "{line}");
            assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{line}");
            let alert: Value = serde_json::from_str(text.trim_start()).expect(line);
            assert_eq!(alert["rule"], "asks");
            assert!(alert["time"].as_str().is_some_and(|time| time.contains(&format!("T00:00:0{second}."))), "{line}");
        }
    }
    // A server of another authority, a client that the server does not know: counted as lost, and told.
    for (more, expected) in
        [(format!("ca_cert: {dir}/other.crt"), "UnknownIssuer"), (format!("ca_cert: {dir}/ca.crt"), "")]
    {
        let (_, err) = replay(alerts.path(), &config("tls", server.ports[2], &more));
        assert!(err.contains(&format!("output to syslog+tls://127.0.0.1:{} lost alerts", server.ports[2])), "{err}");
        assert!(err.contains(" 4 it could not write") && err.contains(expected), "{err}");
    }
    assert_eq!(protocols.map(|protocol| server.lines(protocol).len()), [4, 4, 4]);
}
