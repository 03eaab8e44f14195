use super::*;
use std::io::{Read, Write};

fn settings(places: usize) -> Settings {
    let healthz = "/healthz".to_owned();
    Settings { address: "127.0.0.1".to_owned(), port: 0, places, healthz, metrics: true, certificate: None }
}

fn site() -> Site {
    let metrics: Box<dyn Fn() -> String + Send + Sync> = Box::new(|| "up 1\n".to_owned());
    Site { healthz: "/healthz".to_owned(), versions: "{}".to_owned(), metrics: Some(metrics) }
}

fn ask(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("connects");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn what_is_answered() {
    let server = Server::start(settings(8), site()).expect("listens");
    for (request, status, has) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "{\"status\": \"ok\"}"),
        ("GET /healthz?verbose HTTP/1.0\r\n\r\n", "200 OK", "application/json"),
        ("GET http://proxy:1/metrics HTTP/1.1\r\n\r\n", "200 OK", "text/plain; version=0.0.4"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "200 OK", "up 1\n"),
        ("GET /versions HTTP/1.1\r\n\r\n", "200 OK", "{}"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK", "Content-Length: 5\r\n"),
        ("POST /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
        ("GET /healthz/ HTTP/1.1\r\n\r\n", "404 Not Found", ""),
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found", ""),
        ("\x16\x03\x01 hello\r\n\r\n", "400 Bad Request", ""),
    ] {
        let answer = ask(&server, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(has), "{request}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    assert!(ask(&server, &long).starts_with("HTTP/1.1 431 "));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert!(ask(&server, &many).starts_with("HTTP/1.1 431 "));
    assert!(!ask(&server, "HEAD /metrics HTTP/1.1\r\n\r\n").contains("up 1"));
    server.stop();
}

#[test]
fn slow_clients_make_room_for_new_ones() {
    let server = Server::start(settings(2), site()).expect("listens");
    let mut slow: Vec<TcpStream> = (0..6).map(|_| TcpStream::connect(server.address()).expect("connects")).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").expect("written");
    }
    assert!(ask(&server, "GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
    // The first of them have lost their places to it.
    let mut rest = Vec::new();
    let _ = slow[0].read_to_end(&mut rest);
    assert!(rest.is_empty());
    server.stop();
}

#[test]
fn a_server_goes_with_its_clients() {
    let server = Server::start(settings(8), site()).expect("listens");
    let mut idle = TcpStream::connect(server.address()).expect("connects");
    let address = server.address();
    assert!(ask(&server, "GET /healthz HTTP/1.1\r\n\r\n").contains(" 200 OK"), "it has taken the other in before");
    server.stop();
    assert_eq!(idle.read(&mut [0; 10]).unwrap_or(0), 0);
    assert!(TcpListener::bind(address).is_ok(), "the address is free");
}

#[test]
fn what_is_answered_can_change() {
    let mut server = Server::start(settings(8), site()).expect("listens");
    let other = Site { healthz: "/livez".to_owned(), versions: String::new(), metrics: None };
    assert!(!server.listens_elsewhere(&settings(3)));
    assert!(server.listens_elsewhere(&Settings { port: 1, ..settings(3) }));
    server.change(Server::prepare(settings(3), other).expect("nothing is missing"));
    assert!(ask(&server, "GET /livez HTTP/1.1\r\n\r\n").contains(" 200 OK"));
    for path in ["/healthz", "/metrics"] {
        assert!(ask(&server, &format!("GET {path} HTTP/1.1\r\n\r\n")).contains(" 404 "), "{path}");
    }
    server.stop();
}

#[test]
fn what_cannot_be_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = taken.local_addr().expect("bound").port();
    let error = Server::start(Settings { port, ..settings(1) }, site()).err().expect("taken");
    assert!(error.starts_with(&format!("webserver: 127.0.0.1:{port}: ")), "{error}");
    let certificate = Some("/nonexistent.pem".into());
    let error = Server::start(Settings { certificate, ..settings(1) }, site()).err().expect("missing");
    assert!(error.starts_with("webserver.ssl_certificate: /nonexistent.pem: "), "{error}");
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("empty.pem");
    std::fs::write(&path, "nothing").expect("written");
    let error = Server::start(Settings { certificate: Some(path), ..settings(1) }, site()).err().expect("empty");
    assert!(error.ends_with("there is no certificate in it"), "{error}");
}
