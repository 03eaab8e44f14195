//! Against nginx over TLS, with certificates made here; and against servers that keep silent or hang up.

use super::super::threads::{Manner, Output};
use super::super::{channel::Channel, queue};
use super::*;
use crate::rules::Priority;
use flate2::read::GzDecoder;
use nix::sys::socket::Backlog;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);

fn settings(url: String) -> Settings {
    Settings {
        url,
        user_agent: "falcosecurity/falco".into(),
        insecure: false,
        authorities: Authorities::Folder("/etc/ssl/certs".into()),
        client: None,
        echo: false,
        compress: false,
        keep_alive: false,
        retries: 0,
        json: false,
    }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}/alerts", listener.local_addr().expect("bound"));
    (listener, url)
}

struct Request {
    head: String,
    body: Vec<u8>,
}

/// One request of a connection; None when the client has closed it.
fn read_request(connection: &mut BufReader<impl Read>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if connection.read_line(&mut head).expect("readable") == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(0, |text| text.trim().parse().expect("a number"))];
    connection.read_exact(&mut body).expect("a body");
    Some(Request { head, body })
}

fn answer(connection: &mut BufReader<impl Read + Write>, status: &str) {
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
    connection.get_mut().write_all(text.as_bytes()).expect("sent");
}

fn accept(listener: &TcpListener) -> BufReader<TcpStream> {
    BufReader::new(listener.accept().expect("a connection").0)
}

#[test]
fn alerts_go_over_one_connection_with_what_the_configuration_says() {
    for compress in [false, true] {
        let (listener, url) = listen();
        let mut http = Http::new(Settings { compress, json: compress, user_agent: "me/1".into(), ..settings(url) })
            .expect("valid");
        let server = thread::spawn(move || {
            let mut connection = accept(&listener);
            let mut requests = Vec::new();
            while requests.len() < 2 {
                requests.push(read_request(&mut connection).expect("both on this connection"));
                answer(&mut connection, "200 OK");
            }
            requests
        });
        http.post(b"one").expect("taken");
        http.post(b"two").expect("taken");
        for (request, text) in server.join().expect("both came").into_iter().zip(["one", "two"]) {
            assert!(request.head.starts_with("post /alerts http/1.1\r\n"), "{}", request.head);
            assert!(request.head.contains("user-agent: me/1\r\n"), "{}", request.head);
            let kind = if compress { "content-type: application/json\r\n" } else { "content-type: text/plain\r\n" };
            assert!(request.head.contains(kind), "{}", request.head);
            assert_eq!(request.head.contains("content-encoding: gzip\r\n"), compress);
            let mut body = String::new();
            if compress {
                GzDecoder::new(&request.body[..]).read_to_string(&mut body).expect("is packed");
            } else {
                body = String::from_utf8(request.body).expect("text");
            }
            assert_eq!(body, text);
        }
    }
}

#[test]
fn an_error_of_the_server_is_one_and_a_redirection_is_not_followed() {
    for status in ["500 No", "404 No", "302 Found\r\nLocation: http://127.0.0.1:1/"] {
        let (listener, url) = listen();
        let server = thread::spawn(move || {
            let mut connection = accept(&listener);
            let request = read_request(&mut connection);
            answer(&mut connection, status);
            request.is_some()
        });
        let error = Http::new(settings(url)).expect("valid").post(b"x").expect_err("refused").to_string();
        assert!(error.contains(&status[..3]), "{error}");
        assert!(server.join().expect("asked once"));
    }
}

#[test]
fn a_server_that_keeps_silent_is_asked_again_as_often_as_configured() {
    let (listener, url) = listen();
    let mut http = Http::with_timeout(Settings { retries: 2, ..settings(url) }, Duration::from_secs(1)).expect("valid");
    let server = thread::spawn(move || {
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(accept(&listener));
        }
        (listener, silent)
    });
    let error = http.post(b"x").expect_err("no answer");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::TimedOut, "no answer in time, asked 3 times")
    );
    let (listener, _silent) = server.join().expect("asked three times");
    listener.set_nonblocking(true).expect("set");
    assert!(listener.accept().is_err(), "and not a fourth time");
}

#[test]
fn a_server_that_hangs_up_is_asked_once_more() {
    let (listener, url) = listen();
    let mut http = Http::new(settings(url)).expect("valid");
    let server = thread::spawn(move || {
        let mut connection = accept(&listener);
        read_request(&mut connection).expect("comes");
        drop(connection);
        let mut connection = accept(&listener);
        read_request(&mut connection).expect("comes again");
        // Or the next alert would find it closed, and that would be its one time.
        answer(&mut connection, "200 OK\r\nConnection: close");
        drop(connection);
        for _ in 0..2 {
            read_request(&mut accept(&listener)).expect("comes");
        }
    });
    http.post(b"x").expect("taken at last");
    assert!(http.post(b"y").is_err(), "hung up twice");
    server.join().expect("four requests");
}

fn listen_unix(folder: &Path) -> (UnixListener, Settings) {
    let path = folder.join("hub.sock");
    let listener = UnixListener::bind(&path).expect("binds");
    (listener, settings(format!("unix://{}", path.display())))
}

#[test]
fn a_server_on_this_host_is_asked_over_its_socket() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (listener, settings) = listen_unix(folder.path());
    let mut http = Http::new(settings).expect("valid");
    // More than the kernel keeps for a reader, so that some is written while some is read.
    let long = "x".repeat(4 << 20);
    let texts = ["one", &long];
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut connection = BufReader::new(listener.accept().expect("a connection").0);
            for text in texts {
                let request = read_request(&mut connection).expect("both on this connection");
                assert!(request.head.starts_with("post / http/1.1\r\n"), "{}", request.head);
                assert!(request.body == text.as_bytes(), "{} bytes", request.body.len());
                answer(&mut connection, "200 OK");
            }
            // It closes while nothing is asked; the next alert comes over another connection.
            drop(connection);
            let mut connection = BufReader::new(listener.accept().expect("another connection").0);
            read_request(&mut connection).expect("comes");
            answer(&mut connection, "500 No");
        });
        for text in texts {
            http.post(text.as_bytes()).expect("taken");
        }
        let error = http.post(b"three").expect_err("refused").to_string();
        assert!(error.contains("500"), "{error}");
        server.join().expect("three requests");
    });
}

#[test]
fn a_socket_where_nobody_listens_or_takes_is_an_error_in_time() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (listener, settings) = listen_unix(folder.path());
    let short = || Http::with_timeout(settings.clone(), Duration::from_millis(300)).expect("valid");
    assert_eq!(short().post(b"x").expect_err("silent").kind(), io::ErrorKind::TimedOut, "accepts none");
    // The one that was not accepted is all that may wait.
    nix::sys::socket::listen(&listener, Backlog::new(0).expect("valid")).expect("set");
    assert_eq!(short().post(b"x").expect_err("full").kind(), io::ErrorKind::TimedOut, "cannot connect");
    drop(listener);
    assert_eq!(short().post(b"x").expect_err("gone").kind(), io::ErrorKind::ConnectionRefused);
    fs::remove_file(folder.path().join("hub.sock")).expect("removed");
    assert_eq!(short().post(b"x").expect_err("not there").kind(), io::ErrorKind::NotFound);
}

#[test]
fn what_is_wrong_in_the_configuration_is_told_before_the_start() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("no.pem"), "nothing").expect("written");
    let https = || settings("https://127.0.0.1:1/".into());
    let file = |name: &str| Authorities::File(path(name));
    for (wrong, expected) in [
        (
            settings("ftp://host/".into()),
            "http_output.url: 'ftp://host/' does not begin with http://, https:// or unix://",
        ),
        (
            settings("unix://run/hub.sock".into()),
            "http_output.url: 'unix://run/hub.sock' does not name a socket by its whole path, as in unix:///run/falco-hub.sock",
        ),
        (Settings { authorities: file("absent"), ..https() }, "absent: No such file"),
        (Settings { authorities: file("no.pem"), ..https() }, "no.pem: no PEM certificate in it"),
        (
            Settings { authorities: Authorities::Folder(folder.path().into()), ..https() },
            "http_output.ca_path: no certificate in",
        ),
        (Settings { insecure: true, client: Some((path("no.pem"), path("k"))), ..https() }, "client_cert: "),
    ] {
        let error = Http::new(wrong).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

/// While one server keeps silent, a file gets every alert.
#[test]
fn a_silent_server_costs_other_outputs_nothing() {
    let (_listener, url) = listen();
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("events.txt");
    let http = Http::with_timeout(settings(url), LONG).expect("valid");
    let channels = vec![Channel::Http(Box::new(http)), Channel::file(path.clone(), true).expect("opens")];
    let (sender, queue) = queue::bounded(1000);
    let output = Output::start(queue, channels, Manner { capacity: 200, ..Manner::default() }).expect("starts");
    for i in 0..100 {
        assert!(sender.alert(format!("alert {i}").as_bytes(), Priority::Notice));
    }
    drop(sender);
    let end = Instant::now() + LONG;
    while fs::read_to_string(&path).expect("there").lines().count() < 100 {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!output.finish(Duration::from_millis(1)), "the server has not answered one");
}

/// A real server, with a certificate of its own authority, that wants one of its clients.
struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Path, command: &str) {
    let output = Command::new("sh").arg("-ec").arg(command).current_dir(folder).output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Nginx {
    /// None, and a line that says so, where it is not installed.
    fn start() -> Option<Nginx> {
        for program in ["nginx", "openssl"] {
            let found = Command::new("sh")
                .arg("-c")
                .arg(format!("PATH=$PATH:/usr/sbin command -v {program}"))
                .output()
                .expect("a shell");
            if !found.status.success() {
                eprintln!("skipped: {program} is not installed (scripts/deps hub)");
                return None;
            }
        }
        let folder = tempfile::tempdir().expect("temporary folder");
        let new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch";
        for name in ["ca", "other"] {
            run(folder.path(), &format!("{new} -x509 -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"));
        }
        run(
            folder.path(),
            "printf 'subjectAltName=IP:127.0.0.1' >server.ext; printf 'extendedKeyUsage=clientAuth' >client.ext",
        );
        for name in ["server", "client"] {
            run(
                folder.path(),
                &format!(
                    "{new} -subj /CN={name} -keyout {name}.key -out {name}.csr; openssl x509 -req -days 2 -in {name}.csr -CA ca.crt \
                     -CAkey ca.key -CAcreateserial -extfile {name}.ext -out {name}.crt"
                ),
            );
        }
        // The port may be taken by another process in between: then another one.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            let text = format!(
                "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error;
                 events {{}}
                 http {{
                   log_format got escape=none '$ssl_client_s_dn|$http_user_agent|$http_content_type|$request_body';
                   client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
                   scgi_temp_path {dir}/s;
                   server {{
                     listen 127.0.0.1:{port} ssl;
                     ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key;
                     ssl_client_certificate {dir}/ca.crt; ssl_verify_client on;
                     access_log {dir}/access got;
                     # A body is read, and so logged, only on its way to somebody.
                     location / {{ proxy_pass https://127.0.0.1:{port}/end; proxy_ssl_certificate {dir}/client.crt;
                                   proxy_ssl_certificate_key {dir}/client.key; }}
                     location /end {{ access_log off; return 200 taken; }}
                   }}
                 }}",
                dir = folder.path().display()
            );
            fs::write(folder.path().join("conf"), text).expect("written");
            let mut child = Command::new("sh")
                .arg("-c")
                .arg("PATH=$PATH:/usr/sbin exec nginx -e error -p . -c conf")
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .spawn()
                .expect("starts");
            let end = Instant::now() + LONG;
            while Instant::now() < end {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Nginx { child, folder, port });
                }
                if child.try_wait().expect("a child").is_some() {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("nginx does not start: {}", fs::read_to_string(folder.path().join("error")).unwrap_or_default());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> Settings {
        Settings {
            authorities: Authorities::File(self.path("ca.crt")),
            client: Some((self.path("client.crt"), self.path("client.key"))),
            ..settings(format!("https://127.0.0.1:{}/alerts", self.port))
        }
    }
}

#[test]
fn nginx_takes_alerts_of_a_client_it_knows_and_is_known_by() {
    let Some(nginx) = Nginx::start() else { return };
    Http::new(nginx.settings()).expect("valid").post(b"one").expect("taken");
    fs::create_dir(nginx.path("folder")).expect("made");
    fs::copy(nginx.path("ca.crt"), nginx.path("folder/ca.pem")).expect("copied");
    let folder = Authorities::Folder(nginx.path("folder"));
    let json = Settings { authorities: folder, json: true, ..nginx.settings() };
    Http::new(json).expect("valid").post(b"{\"two\": 2}").expect("taken");
    let other = Settings { authorities: Authorities::File(nginx.path("other.crt")), ..nginx.settings() };
    let error = Http::new(other.clone()).expect("valid").post(b"no").expect_err("another authority's").to_string();
    assert!(error.to_ascii_lowercase().contains("certificate"), "{error}");
    Http::new(Settings { insecure: true, ..other }).expect("valid").post(b"three").expect("whoever it is");
    let mixed = Settings { client: Some((nginx.path("client.crt"), nginx.path("other.key"))), ..nginx.settings() };
    let error = Http::new(mixed).expect_err("another's key");
    assert!(error.starts_with("http_output: client_key: "), "{error}");
    let stranger = Settings { client: None, ..nginx.settings() };
    let error = Http::new(stranger).expect("valid").post(b"no").expect_err("not known").to_string();
    assert!(error.contains("400"), "{error}");
    let end = Instant::now() + LONG;
    let got = || fs::read_to_string(nginx.path("access")).unwrap_or_default();
    while !got().contains("three") {
        assert!(Instant::now() < end, "{}", got());
        thread::sleep(Duration::from_millis(5));
    }
    let alerts: Vec<String> = got().lines().filter(|line| line.starts_with("CN=client|")).map(str::to_owned).collect();
    let agent = "falcosecurity/falco";
    assert_eq!(
        alerts,
        [
            format!("CN=client|{agent}|text/plain|one"),
            format!("CN=client|{agent}|application/json|{{\"two\": 2}}"),
            format!("CN=client|{agent}|text/plain|three"),
        ]
    );
}
