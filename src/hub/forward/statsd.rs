//! StatsD: the hub's own counters over UDP or a unix socket. Not alerts.
//!
//! Values of tags are appended to the name, as StatsD has no tags. Counting never waits: a packet that cannot be sent at
//! once is lost, as UDP packets are.

use super::{Context, Kind, Work};
use crate::hub::config::keys::Key;
use crate::hub::metrics::Counts;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const KIND: Kind = Kind {
    section: "statsd",
    label: "StatsD",
    destination: "statsd",
    category: "metrics",
    meaning: "The hub's counters, with the values of tags appended to their names.",
    required: &["forwarder"],
    keys: &[&[
        Key::text("forwarder", "", "host:port, or unix:///path"),
        Key::text("namespace", "falcosidekick.", "what names start with"),
    ]],
    shared: &[],
    work: Work::Counts(make),
};

fn make(context: &Context) -> Result<Box<dyn Counts>, String> {
    let settings = context.settings;
    Ok(Box::new(StatsD {
        namespace: settings.text("namespace").to_owned(),
        socket: Socket::new(settings.text("forwarder")),
    }))
}

struct StatsD {
    namespace: String,
    socket: Socket,
}

impl Counts for StatsD {
    fn count(&self, name: &str, tags: &[(&str, &str)]) {
        let mut packet = format!("{}{name}", self.namespace);
        for (_, value) in tags {
            packet.push('.');
            packet.push_str(&value.replace([' ', ':', '|'], ""));
        }
        packet.push_str(":1|c");
        self.socket.send(&packet);
    }
}

enum Connected {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// A datagram socket that is made when it is needed, and again when it was not possible.
pub struct Socket {
    address: String,
    connected: Mutex<(Option<Connected>, Option<Instant>)>,
}

const AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Socket {
    pub fn new(address: &str) -> Socket {
        Socket { address: address.to_owned(), connected: Mutex::new((None, None)) }
    }

    fn connect(&self) -> std::io::Result<Connected> {
        if let Some(path) = self.address.strip_prefix("unix://") {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            return Ok(Connected::Unix(socket));
        }
        let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
        // A socket of the other family cannot reach every address.
        let socket = match socket.connect(&*self.address) {
            Ok(()) => socket,
            Err(_) => {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.connect(&*self.address)?;
                socket
            }
        };
        socket.set_nonblocking(true)?;
        Ok(Connected::Udp(socket))
    }

    pub fn send(&self, packet: &str) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if connected.0.is_none() {
            if connected.1.is_some_and(|tried| tried.elapsed() < AGAIN_AFTER) {
                return;
            }
            match self.connect() {
                Ok(socket) => *connected = (Some(socket), None),
                Err(error) => {
                    tracing::error!("counters cannot be sent to {}: {error}", self.address);
                    connected.1 = Some(Instant::now());
                    return;
                }
            }
        }
        let lost = match &connected.0 {
            Some(Connected::Udp(socket)) => socket.send(packet.as_bytes()).is_err(),
            Some(Connected::Unix(socket)) => socket.send(packet.as_bytes()).is_err(),
            None => false,
        };
        // A unix socket whose owner was restarted must be found anew.
        if lost && matches!(connected.0, Some(Connected::Unix(_))) {
            connected.0 = None;
        }
    }
}
