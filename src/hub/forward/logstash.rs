//! Logstash: alerts as lines of JSON over TCP or TLS.

use super::{Batch, Context, Failure, Forward, Kind, Work, all, lines};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use crate::hub::json::Fields;
use crate::hub::tls::Files;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

pub const KIND: Kind = Kind {
    section: "logstash",
    label: "Logstash",
    destination: "logstash",
    category: "logs",
    meaning: "Each alert as a line of JSON; x[0] in names of fields becomes x.0.",
    required: &["address"],
    keys: &[&[
        Key::text("address", "", "name or address of the receiver"),
        Key::int("port", "5044", "its port"),
        Key::flag("tls", "false", "speak TLS"),
        Key::flag("mutualtls", "false", "present a client certificate"),
        Key::flag("checkcert", "false", "verify the server's certificate"),
        Key::text("certfile", "", "client certificate, where it is not that of mutualtlsclient"),
        Key::text("keyfile", "", "its key"),
        Key::text("cacertfile", "", "authorities of the server, with mutualtls"),
        Key::new("tags", Type::List, "", "further tags of every alert"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

struct Logstash {
    address: String,
    tls: Option<Arc<ClientConfig>>,
    tags: Vec<String>,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let mutual = settings.flag("mutualtls");
    let file = |key: &str, other: &std::path::Path| match settings.text(key) {
        "" => other.to_owned(),
        path => path.into(),
    };
    let shared = context.tls.mutual();
    let files = Files {
        certificate: file("certfile", &shared.certificate),
        key: file("keyfile", &shared.key),
        authorities: file("cacertfile", &shared.authorities),
    };
    let tls = match settings.flag("tls") || mutual {
        true => Some(Arc::new(context.tls.client(settings.flag("checkcert"), mutual, Some(&files))?)),
        false => None,
    };
    Ok(Box::new(Logstash {
        address: lines::address(settings.text("address"), settings.int("port"))?,
        tls,
        tags: settings.list("tags").to_vec(),
    }))
}

/// `x[0]` as `x.0`: brackets mean something else to Logstash.
fn name(field: &str) -> String {
    field.replace('[', ".").replace(']', "")
}

impl Logstash {
    fn line(&self, alert: &Alert) -> Vec<u8> {
        let mut alert = alert.clone();
        alert.tags.extend(self.tags.iter().cloned());
        if alert.output_fields.keys().any(|field| field.contains('[')) {
            let fields: Fields =
                alert.output_fields.iter().map(|(field, value)| (name(field), value.clone())).collect();
            alert.output_fields = fields;
        }
        alert.body()
    }
}

#[async_trait::async_trait]
impl Forward for Logstash {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        let connected = TcpStream::connect(&self.address).await;
        Some(connected.map(drop).map_err(|error| Failure::down(format!("{}: {error}", self.address))))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let text: Vec<u8> = alerts.iter().flat_map(|alert| self.line(alert)).collect();
        let sent = lines::send(&self.address, self.tls.as_ref(), &text).await;
        all(alerts, sent.map_err(|error| Failure::down(format!("{}: {error}", self.address))))
    }
}
