//! Syslog: lines over TCP, or datagrams over UDP.
//!
//! TCP is as [`lines`] says: that the receiver closes the connection is the sign that it read. UDP has no sign at all.

use super::{Batch, Context, Failure, Forward, Kind, Work, all, lines};
use crate::hub::alert::{Alert, Priority, Time};
use crate::hub::config::keys::{Key, Type};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};

pub const KIND: Kind = Kind {
    section: "syslog",
    label: "Syslog",
    destination: "syslog",
    category: "logs",
    meaning: "Each alert as a syslog message (RFC 3164 with an RFC 3339 time), its body JSON or CEF.",
    required: &["host"],
    keys: &[&[
        Key::text("host", "", "name or address of the receiver"),
        Key::int("port", "514", "its port"),
        Key::new("protocol", Type::Choice(&["tcp", "udp"]), "udp", "tcp or udp"),
        Key::new("format", Type::Choice(&["json", "cef"]), "json", "body of the message"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

struct Syslog {
    address: String,
    tcp: bool,
    cef: bool,
    hostname: String,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    Ok(Box::new(Syslog {
        address: lines::address(settings.text("host"), settings.int("port"))?,
        tcp: settings.text("protocol") == "tcp",
        cef: settings.text("format") == "cef",
        hostname: hostname.unwrap_or_else(|_| "localhost".to_owned()),
    }))
}

/// The body in ArcSight's common event format.
pub fn cef(alert: &Alert) -> String {
    let severity = match alert.priority {
        Priority::Unknown | Priority::Debug => 0,
        Priority::Informational => 3,
        Priority::Notice => 4,
        Priority::Warning => 6,
        Priority::Error => 7,
        Priority::Critical => 8,
        Priority::Alert => 9,
        Priority::Emergency => 10,
    };
    let head = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ");
    let value = |text: &str| text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r");
    let mut text = format!(
        "CEF:0|Falcosecurity|Falco|1.0|Falco Event|{}|{severity}|uuid={} start={} msg={} source={}",
        head(&alert.rule),
        alert.uuid,
        alert.time.rfc3339(),
        value(&alert.output),
        value(&alert.source),
    );
    // Writing to a text does not fail.
    if !alert.hostname.is_empty() {
        let _ = write!(text, " hostname={}", value(&alert.hostname));
    }
    let fields: Vec<_> = alert.output_fields.iter().map(|(name, field)| value(&format!("{name}:{field}"))).collect();
    let _ = write!(text, " outputfields={}", fields.join(" "));
    if !alert.tags.is_empty() {
        let _ = write!(text, " tags={}", value(&alert.tags.join(",")));
    }
    text
}

impl Syslog {
    fn line(&self, alert: &Alert) -> String {
        let severity = alert.priority.syslog_severity();
        let body = if self.cef { cef(alert) } else { alert.line() };
        let now = Time { at: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default(), ..alert.time };
        let time = Time { offset: jiff::tz::Offset::UTC, ..now }.rfc3339();
        format!("<{severity}>{time} {} Falco[{}]: {body}\n", self.hostname, std::process::id())
    }

    async fn send_tcp(&self, alerts: &[Arc<Alert>]) -> std::io::Result<()> {
        let text: String = alerts.iter().map(|alert| self.line(alert)).collect();
        lines::send(&self.address, None, text.as_bytes()).await
    }

    async fn send_udp(&self, alert: &Alert) -> Result<(), Failure> {
        let down = |error: std::io::Error| Failure::down(format!("{}: {error}", self.address));
        let mut addresses = tokio::net::lookup_host(&self.address).await.map_err(down)?;
        let Some(address) = addresses.next() else {
            return Err(Failure::down(format!("{}: no address is known", self.address)));
        };
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await.map_err(down)?;
        socket.connect(address).await.map_err(down)?;
        match socket.send(self.line(alert).as_bytes()).await {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                Err(Failure::Impossible("the message is larger than a datagram may be; use protocol tcp".to_owned()))
            }
            Err(error) => Err(down(error)),
        }
    }
}

#[async_trait::async_trait]
impl Forward for Syslog {
    fn batch(&self) -> Batch {
        if self.tcp { Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO } } else { Batch::ONE }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        if !self.tcp {
            return None;
        }
        let connected = TcpStream::connect(&self.address).await;
        Some(connected.map(drop).map_err(|error| Failure::down(format!("{}: {error}", self.address))))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        if self.tcp {
            let sent = self.send_tcp(alerts).await;
            return all(alerts, sent.map_err(|error| Failure::down(format!("{}: {error}", self.address))));
        }
        let mut outcomes = Vec::with_capacity(alerts.len());
        for alert in alerts {
            outcomes.push(self.send_udp(alert).await);
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cef_is_escaped() {
        let mut alert = Alert::test();
        alert.rule = "a|b".to_owned();
        alert.output = "x=1\ny\\".to_owned();
        let text = cef(&alert);
        assert!(text.starts_with("CEF:0|Falcosecurity|Falco|1.0|Falco Event|a\\|b|0|uuid= start="), "{text}");
        assert!(text.contains(" msg=x\\=1\\ny\\\\ source="), "{text}");
    }
}
