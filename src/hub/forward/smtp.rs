//! Mail: a message for each alert, as text and HTML.

use super::{Batch, Context, Failure, Forward, Kind, Work, chat, lines};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use crate::hub::json::head;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::{Mailbox, MultiPart, SinglePart, header::ContentType};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub const KIND: Kind = Kind {
    section: "smtp",
    label: "SMTP",
    destination: "smtp",
    category: "mail",
    meaning: "A mail for each alert.",
    required: &["hostport", "from", "to"],
    keys: &[&[
        Key::text("hostport", "", "host:port of the server; with port 465, TLS from the start"),
        Key::flag("tls", "true", "speak TLS (STARTTLS)"),
        Key::text("from", "", "address of the sender"),
        Key::new("to", Type::List, "", "addresses of the receivers"),
        Key::new("outputformat", Type::Choice(&["html", "text"]), "html", "HTML beside the text, or the text alone"),
        Key::new(
            "authmechanism",
            Type::Choice(&["plain", "oauthbearer", "external", "anonymous", "none"]),
            "plain",
            "how the hub authenticates; plain without a user is none",
        ),
        Key::text("user", "", "user, of plain and oauthbearer"),
        Key::secret("password", "its password"),
        Key::secret("token", "token of oauthbearer"),
        Key::text("identity", "", "identity of plain and external"),
        Key::text("trace", "", "text of anonymous, such as an address"),
        Key::flag("checkcert", "true", "verify the server's certificate (ours)"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

/// The characters of a subject.
const SUBJECT_MAX: usize = 500;

enum Tls {
    None,
    Start(Box<TlsParameters>),
    Whole(Box<TlsParameters>),
}

enum Auth {
    None,
    Login(Credentials),
    /// Mechanism and its first and only message.
    Command(&'static str, String),
}

struct Smtp {
    address: String,
    tls: Tls,
    from: Mailbox,
    to: Vec<Mailbox>,
    html: bool,
    auth: Auth,
    hello: ClientId,
}

fn mailbox(key: &str, text: &str) -> Result<Mailbox, String> {
    text.trim().parse().map_err(|error| format!("{key}: '{text}' is not an address: {error}"))
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let text = |key: &str| settings.text(key);
    let bad = || format!("hostport: '{}' is not host:port", text("hostport"));
    let (host, port) = text("hostport").rsplit_once(':').ok_or_else(bad)?;
    let port = port.parse().map_err(|_| bad())?;
    let host = host.trim_matches(['[', ']']);
    let parameters = || -> Result<Box<TlsParameters>, String> {
        let mut builder = TlsParameters::builder(host.to_owned());
        if let Some(path) = context.tls.authorities() {
            let failed = |error: &dyn std::fmt::Display| format!("tlsclient.cacertfile: {}: {error}", path.display());
            let read = std::fs::read(path).map_err(|error| failed(&error))?;
            builder = builder.add_root_certificate(Certificate::from_pem(&read).map_err(|error| failed(&error))?);
        }
        if !settings.flag("checkcert") {
            builder = builder.dangerous_accept_invalid_certs(true).dangerous_accept_invalid_hostnames(true);
        }
        Ok(Box::new(builder.build_rustls().map_err(|error| error.to_string())?))
    };
    let tls = match (settings.flag("tls"), port) {
        (_, 465) => Tls::Whole(parameters()?),
        (true, _) => Tls::Start(parameters()?),
        (false, _) => Tls::None,
    };
    let auth = match (text("authmechanism"), text("user")) {
        ("none", _) | ("plain", "") => Auth::None,
        ("oauthbearer", user) => {
            // RFC 7628, 3.1.
            let message =
                format!("n,a={user},\u{1}host={host}\u{1}port={port}\u{1}auth=Bearer {}\u{1}\u{1}", text("token"));
            Auth::Command("OAUTHBEARER", message)
        }
        ("external", _) => Auth::Command("EXTERNAL", text("identity").to_owned()),
        ("anonymous", _) => Auth::Command("ANONYMOUS", text("trace").to_owned()),
        (_, user) if text("identity").is_empty() => {
            Auth::Login(Credentials::new(user.to_owned(), text("password").to_owned()))
        }
        // RFC 4616, with whom to act as.
        (_, user) => Auth::Command("PLAIN", format!("{}\0{user}\0{}", text("identity"), text("password"))),
    };
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Ok(Box::new(Smtp {
        address: lines::address(host, port)?,
        tls,
        from: mailbox("from", text("from"))?,
        to: settings.list("to").iter().map(|to| mailbox("to", to)).collect::<Result<_, _>>()?,
        html: text("outputformat") != "text",
        auth,
        hello: hostname.map_or_else(ClientId::default, ClientId::Domain),
    }))
}

/// The alert's time. A mail's cannot be before 1970, as the library has it; what the hub reads ends before 2300.
fn date(alert: &Alert) -> SystemTime {
    alert.time.system().max(SystemTime::UNIX_EPOCH)
}

/// Name and value of what is told of an alert.
fn parts(alert: &Alert) -> Vec<(&str, String)> {
    let mut parts = vec![
        ("rule", alert.rule.clone()),
        ("priority", alert.priority.name().to_owned()),
        ("source", alert.source.clone()),
        ("time", alert.time.go()),
    ];
    if !alert.hostname.is_empty() {
        parts.push(("hostname", alert.hostname.clone()));
    }
    if !alert.tags.is_empty() {
        parts.push(("tags", alert.sorted_tags().join(", ")));
    }
    parts.extend(alert.output_fields.iter().map(|(name, value)| (name.as_str(), value.to_string())));
    parts
}

fn plain(alert: &Alert) -> String {
    let mut text = format!("{}\n\n", alert.output);
    for (name, value) in parts(alert) {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

fn html(alert: &Alert) -> String {
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let mut text = format!(
        "<!DOCTYPE html>\n<html><body>\n<p style=\"border-left: 8px solid {}; padding: 8px\">{}</p>\n<table>\n",
        chat::color(alert.priority),
        escaped(&alert.output)
    );
    for (name, value) in parts(alert) {
        let _ = writeln!(text, "<tr><th align=\"left\">{}</th><td>{}</td></tr>", escaped(name), escaped(&value));
    }
    text + "</table>\n</body></html>\n"
}

impl Smtp {
    fn message(&self, alert: &Alert) -> Result<(Envelope, Vec<u8>), Failure> {
        let impossible = |error: &dyn std::fmt::Display| Failure::Impossible(error.to_string());
        let subject = format!("[{}] {}", alert.priority.name(), alert.output.replace(['\r', '\n'], " "));
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(head(&subject, SUBJECT_MAX))
            .date(date(alert))
            .message_id(Some(format!("<{}@falco-hub>", alert.uuid)));
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let text = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(plain(alert));
        let message = match self.html {
            true => builder.multipart(
                MultiPart::alternative()
                    .singlepart(text)
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(html(alert))),
            ),
            false => builder.singlepart(text),
        };
        let message = message.map_err(|error| impossible(&error))?;
        Ok((message.envelope().clone(), message.formatted()))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let timeout = Some(Duration::from_secs(20));
        let whole = match &self.tls {
            Tls::Whole(parameters) => Some((**parameters).clone()),
            _ => None,
        };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(&*self.address, timeout, &self.hello, whole, None).await?;
        if let Tls::Start(parameters) = &self.tls {
            connection.starttls((**parameters).clone(), &self.hello).await?;
        }
        match &self.auth {
            Auth::None => {}
            Auth::Login(credentials) => {
                connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials).await?;
            }
            Auth::Command(mechanism, message) => {
                // An empty message is written `=`.
                let encoded = if message.is_empty() { "=".to_owned() } else { STANDARD.encode(message) };
                connection.command(format!("AUTH {mechanism} {encoded}\r\n")).await?;
            }
        }
        Ok(connection)
    }
}

#[async_trait::async_trait]
impl Forward for Smtp {
    fn batch(&self) -> Batch {
        // Several mails through one connection.
        Batch { alerts: 16, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let down = |error: &lettre::transport::smtp::Error| Failure::down(crate::hub::causes::causes(error));
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => return super::all(alerts, Err(down(&error))),
        };
        let mut outcomes: Vec<Result<(), Failure>> = Vec::with_capacity(alerts.len());
        for alert in alerts {
            let outcome = match self.message(alert) {
                Err(failure) => Err(failure),
                Ok(_) if connection.has_broken() => Err(Failure::down("the server ended the connection")),
                Ok((envelope, mail)) => match connection.send(&envelope, &mail).await {
                    Ok(_) => Ok(()),
                    Err(error) if error.is_permanent() => Err(Failure::Refused(crate::hub::causes::causes(&error))),
                    Err(error) => Err(down(&error)),
                },
            };
            outcomes.push(outcome);
        }
        // All is said; that the farewell fails does not matter.
        let _ = connection.quit().await;
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_cannot_be_put_in() {
        let smtp = Smtp {
            address: String::new(),
            tls: Tls::None,
            from: "Falco <falco@example.org>".parse().expect("an address"),
            to: vec!["a@example.org".parse().expect("an address")],
            html: true,
            auth: Auth::None,
            hello: ClientId::default(),
        };
        let mut alert = Alert::test();
        alert.output = "x\r\nBcc: evil@example.org\r\n\r\n<b>\u{e9}".to_owned();
        let (envelope, mail) = smtp.message(&alert).expect("a mail");
        let mail = String::from_utf8(mail).expect("ASCII");
        let (headers, _) = mail.split_once("\r\n\r\n").expect("headers");
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        assert!(headers.is_ascii() && headers.contains("From: Falco <falco@example.org>"), "{headers}");
        assert_eq!(envelope.to().len(), 1);
        assert!(html(&alert).contains("&lt;b&gt;é"));
    }
}
