//! Alerts to a syslog server over the network: RFC 5424 messages in UDP datagrams (RFC 5426), or octet-counted in a TCP (RFC 6587) or TLS
//! (RFC 5425) connection that is kept.
//!
//! Syslog has no answer, so what a server has not read when it goes is lost unseen. What can be seen is: a server that has hung up is
//! connected to again before the next message, and a message that could not be written to its end is sent once more over a new
//! connection, so it may arrive twice but never torn.

use super::http::Authorities;
use super::tls;
use crate::event::clock::{Form, format_time};
use crate::rules::Priority;
use bumpalo::Bump;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Connecting to one address, and each wait for the server while writing, may take this long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A TLS server may object to this client for so long; then it is taken to agree.
const VERDICT: Duration = Duration::from_millis(300);

/// Names of facilities, by their number.
pub const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Udp,
    Tcp,
    Tls,
}

impl Protocol {
    /// As it is written in the configuration.
    pub const NAMES: &'static [&'static str] = &["local", "udp", "tcp", "tls"];

    pub const fn port(self) -> u16 {
        match self {
            Protocol::Udp => 514,
            Protocol::Tcp => 601,
            Protocol::Tls => 6514,
        }
    }
}

/// `syslog_output` of the configuration, where it is not the local socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub protocol: Protocol,
    pub host: String,
    pub port: u16,
    /// Index into [`FACILITIES`].
    pub facility: u8,
    /// Who may vouch for a TLS server.
    pub authorities: Authorities,
    /// Certificate and key of this client.
    pub client: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug)]
pub struct Syslog {
    settings: Settings,
    /// As a message has it.
    hostname: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    open: Option<Connection>,
}

#[derive(Debug)]
enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Syslog {
    /// Reads the certificates; the server is looked for with the first alert. An error names the key.
    pub fn new(settings: Settings, hostname: String) -> Result<Syslog, String> {
        let tls = if settings.protocol == Protocol::Tls { Some(client_config(&settings)?) } else { None };
        Ok(Syslog { settings, hostname: host_in_message(&hostname), tls, open: None })
    }

    pub fn name(&self) -> String {
        let Settings { protocol, host, port, .. } = &self.settings;
        let protocol = format!("{protocol:?}").to_ascii_lowercase();
        if host.contains(':') {
            format!("syslog+{protocol}://[{host}]:{port}")
        } else {
            format!("syslog+{protocol}://{host}:{port}")
        }
    }

    /// Sends one alert.
    pub fn send(&mut self, line: &[u8], priority: Priority) -> io::Result<()> {
        let message = message(self.settings.facility, priority, SystemTime::now(), &self.hostname, line);
        if let Some(mut connection) = self.open.take()
            && matches!(connection.has_ended(), Ok(false))
            && let Ok(connection) = connection.write(&message)
        {
            self.open = Some(connection);
            return Ok(());
        }
        self.open = Some(self.connect()?.write(&message)?);
        Ok(())
    }

    fn connect(&self) -> io::Result<Connection> {
        let Settings { protocol, host, port, .. } = &self.settings;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
        for address in (host.as_str(), *port).to_socket_addrs()? {
            let connected = match protocol {
                Protocol::Udp => {
                    let any: std::net::IpAddr = if address.is_ipv4() { [0u8; 4].into() } else { [0u16; 8].into() };
                    UdpSocket::bind((any, 0))
                        .and_then(|socket| socket.connect(address).map(|()| Connection::Udp(socket)))
                }
                Protocol::Tcp | Protocol::Tls => TcpStream::connect_timeout(&address, TIMEOUT).and_then(|stream| {
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    self.secured(stream)
                }),
            };
            match connected {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn secured(&self, mut stream: TcpStream) -> io::Result<Connection> {
        let Some((config, name)) = &self.tls else { return Ok(Connection::Tcp(stream)) };
        let mut session = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        // A server that does not take the client's certificate says so after the handshake. One that takes it has tickets to send, or nothing.
        stream.set_read_timeout(Some(VERDICT))?;
        match session.read_tls(&mut stream) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                session.process_new_packets().map_err(io::Error::other)?;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        Ok(Connection::Tls(Box::new(StreamOwned::new(session, stream))))
    }
}

impl Connection {
    /// Whether the server has hung up. It has nothing to say: what it sends all the same is read and forgotten.
    fn has_ended(&mut self) -> io::Result<bool> {
        let (socket, mut session) = match self {
            // A connection is only a name here.
            Connection::Udp(_) => return Ok(false),
            Connection::Tcp(stream) => (stream, None),
            Connection::Tls(stream) => (&mut stream.sock, Some(&mut stream.conn)),
        };
        socket.set_nonblocking(true)?;
        let ended = loop {
            let read = match &mut session {
                None => io::Read::read(socket, &mut [0; 512]),
                Some(session) => session.read_tls(socket),
            };
            match read {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(session) = &mut session {
                let state = session.process_new_packets().map_err(io::Error::other)?;
                if state.peer_has_closed() {
                    break true;
                }
                let mut unread = vec![0; state.plaintext_bytes_to_read()];
                io::Read::read_exact(&mut session.reader(), &mut unread)?;
            }
        };
        socket.set_nonblocking(false)?;
        Ok(ended)
    }

    /// Gives the connection back when the message is on its way.
    fn write(mut self, message: &[u8]) -> io::Result<Connection> {
        let framed = |out: &mut dyn Write| {
            // In one piece, so that a small message is one packet.
            let frame = [format!("{} ", message.len()).as_bytes(), message].concat();
            out.write_all(&frame)?;
            out.flush()
        };
        match &mut self {
            Connection::Udp(socket) => socket.send(message).map(drop)?,
            Connection::Tcp(stream) => framed(stream)?,
            Connection::Tls(stream) => framed(stream.as_mut())?,
        }
        Ok(self)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Connection::Tls(stream) = self {
            // A server that is gone does not hear it. What it has said is read: closing over something unread would reset the connection,
            // and what was sent last might be lost.
            stream.conn.send_close_notify();
            let _ = stream.flush();
            let _ = self.has_ended();
        }
    }
}

fn client_config(settings: &Settings) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    const OUTPUT: &str = "syslog_output";
    let host = settings.host.clone();
    let name = ServerName::try_from(host).map_err(|error| format!("{OUTPUT}.host: '{}': {error}", settings.host))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(tls::authorities(OUTPUT, &settings.authorities)?);
    if added == 0 {
        return Err(format!("{OUTPUT}: none of the authority's certificates can be used"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("{OUTPUT}: TLS: {error}"))?.with_root_certificates(roots);
    let config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = tls::client(OUTPUT, certificate, key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("{OUTPUT}.client_cert: {error}"))?
        }
    };
    Ok((Arc::new(config), name))
}

/// What RFC 5424 takes for a host's name.
fn host_in_message(hostname: &str) -> String {
    let host: String = hostname.chars().filter(char::is_ascii_graphic).take(255).collect();
    if host.is_empty() { "-".to_owned() } else { host }
}

/// A message of RFC 5424 without structured data; its text is the alert's line, without a byte order mark.
fn message(facility: u8, priority: Priority, now: SystemTime, hostname: &str, line: &[u8]) -> Vec<u8> {
    let arena = Bump::new();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let time = format_time(since, 0, Form::Iso8601, true, &arena);
    // To the microsecond, which is as far as the format goes.
    let time = time.get(..26).map_or_else(|| "-".to_owned(), |time| format!("{}Z", String::from_utf8_lossy(time)));
    let value = (u32::from(facility) << 3) | priority as u32;
    let head = format!("<{value}>1 {time} {hostname} falco-sensor {} alert - ", std::process::id());
    [head.as_bytes(), line].concat()
}

#[cfg(test)]
mod tests;
