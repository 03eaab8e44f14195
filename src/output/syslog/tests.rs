use super::*;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::time::Instant;

const LONG: Duration = Duration::from_secs(60);

fn settings(protocol: Protocol, port: u16) -> Settings {
    let authorities = Authorities::File("/nonexistent".into());
    Settings { protocol, host: "127.0.0.1".into(), port, facility: 4, authorities, client: None }
}

fn syslog(protocol: Protocol, port: u16) -> Syslog {
    Syslog::new(settings(protocol, port), "box".into()).expect("valid")
}

/// The next message of a connection.
fn framed(stream: &mut impl BufRead) -> String {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).expect("a length");
    let length: usize = String::from_utf8_lossy(&length).trim_end().parse().expect("a number");
    let mut message = vec![0; length];
    stream.read_exact(&mut message).expect("a message");
    String::from_utf8(message).expect("UTF-8")
}

#[test]
fn a_message_has_every_part() {
    let now = UNIX_EPOCH + Duration::new(1_795_824_001, 23_456_789);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let pid = std::process::id();
    for (host, expected) in [("box", "box"), ("a b\u{e9}\nc", "abc"), ("", "-")] {
        let message = message(4, Priority::Critical, now, &host_in_message(host), "lin\u{e9} 1".as_bytes());
        let expected = format!("<34>1 2026-11-28T00:00:01.023456Z {expected} falco-sensor {pid} alert - lin\u{e9} 1");
        assert_eq!(text(message), expected);
    }
    assert_eq!(FACILITIES[23], "local7");
    assert_eq!(host_in_message(&"x".repeat(300)).len(), 255);
}

#[test]
fn a_server_that_was_away_gets_the_next_datagram() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("binds");
    server.set_read_timeout(Some(LONG)).expect("set");
    let port = server.local_addr().expect("bound").port();
    let mut syslog = syslog(Protocol::Udp, port);
    let mut buffer = [0; 200];
    for text in ["one", "two"] {
        syslog.send(text.as_bytes(), Priority::Error).expect("sent");
        let length = server.recv(&mut buffer).expect("a message");
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(message.starts_with("<35>1 ") && message.ends_with(&format!(" alert - {text}")), "{message}");
    }
    drop(server);
    // The host says that nobody listens when a datagram has been sent: the one after that is not lost for it.
    for _ in 0..3 {
        syslog.send(b"lost", Priority::Error).expect("nobody says otherwise");
    }
    let Ok(server) = UdpSocket::bind(("127.0.0.1", port)) else { return };
    server.set_read_timeout(Some(LONG)).expect("set");
    syslog.send(b"three", Priority::Error).expect("sent");
    let length = server.recv(&mut buffer).expect("a message");
    assert!(buffer[..length].ends_with(b"three"));
    assert!(syslog.send(&[b'x'; 70_000], Priority::Error).is_err(), "longer than a datagram");
}

#[test]
fn a_server_that_hangs_up_is_connected_to_again_before_the_next_message() {
    let server = TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut syslog = syslog(Protocol::Tcp, server.local_addr().expect("bound").port());
    for round in 0..3 {
        syslog.send(b"first\nof two lines", Priority::Notice).expect("sent");
        let mut stream = BufReader::new(server.accept().expect("a connection").0);
        syslog.send(b"second", Priority::Notice).expect("sent");
        assert!(framed(&mut stream).ends_with(" alert - first\nof two lines"), "{round}");
        assert!(framed(&mut stream).ends_with(" alert - second"), "{round}");
        drop(stream);
        let end = Instant::now() + LONG;
        while !matches!(syslog.open.as_mut().expect("open").has_ended(), Ok(true) | Err(_)) {
            assert!(Instant::now() < end, "the end arrives");
        }
    }
    drop(server);
    assert!(syslog.send(b"lost", Priority::Notice).is_err(), "nobody listens");
}

#[test]
fn a_server_that_reads_nothing_is_an_error_in_time() {
    let server = TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut syslog = syslog(Protocol::Tcp, server.local_addr().expect("bound").port());
    let line = vec![b'x'; 1 << 20];
    syslog.send(b"x", Priority::Notice).expect("sent");
    let Some(Connection::Tcp(stream)) = &syslog.open else { panic!("a connection") };
    stream.set_write_timeout(Some(Duration::from_millis(20))).expect("set");
    let Some(connection) = syslog.open.take() else { panic!("a connection") };
    let mut connection = Ok(connection);
    for _ in 0..100 {
        connection = connection.and_then(|connection| connection.write(&line));
    }
    assert!(connection.is_err());
}

#[test]
fn certificates_are_looked_at_before_the_start() {
    let tls = settings(Protocol::Tls, 6514);
    let error = Syslog::new(tls.clone(), "box".into()).expect_err("no authority");
    assert!(error.starts_with("syslog_output: the authority's certificate: /nonexistent: "), "{error}");
    let error = Syslog::new(Settings { host: "no name".into(), ..tls }, "box".into()).expect_err("no name");
    assert!(error.starts_with("syslog_output.host: 'no name': "), "{error}");
    assert_eq!(syslog(Protocol::Udp, 514).name(), "syslog+udp://127.0.0.1:514");
}
