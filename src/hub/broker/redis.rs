//! A Redis server, or another that speaks its protocol.

use crate::hub::config::Section;
use crate::hub::config::keys::Key;
use crate::hub::tls::{Files, Tls};
use redis::{Client, ClientTlsConfig, TlsCertificates};

pub const CONNECTION: &[Key] = &[
    Key::text("address", "", "host:port"),
    Key::text("username", "", "user (ACL)"),
    Key::secret("password", "password"),
    Key::int("database", "0", "number of the database"),
    Key::flag("tls", "false", "speak TLS"),
    Key::flag("mutualtls", "false", "present a client certificate"),
    Key::flag("checkcert", "true", "verify the server's certificate"),
    Key::text("certfile", "", "client certificate, where it is not that of mutualtlsclient"),
    Key::text("keyfile", "", "its key"),
    Key::text("cacertfile", "", "authorities of the server"),
];

/// Of the keys of [`CONNECTION`].
pub fn client(settings: &Section, tls: &Tls) -> Result<Client, String> {
    let address = settings.text("address");
    let (secure, mutual) = (settings.flag("tls") || settings.flag("mutualtls"), settings.flag("mutualtls"));
    let bad = |error: &dyn std::fmt::Display| format!("'{address}' is not an address (host:port): {error}");
    let scheme = if secure { "rediss" } else { "redis" };
    // A URL is where the client reads names and passwords with any characters from.
    let mut url = reqwest::Url::parse(&format!("{scheme}://{address}")).map_err(|error| bad(&error))?;
    let parts = [url.set_username(settings.text("username")), url.set_password(Some(settings.text("password")))];
    if !settings.text("password").is_empty() && parts.iter().any(Result::is_err) {
        return Err(bad(&"it cannot have a password"));
    }
    if settings.text("password").is_empty() {
        let _ = url.set_password(None);
    }
    url.set_path(&settings.int("database").to_string());
    if secure && !mutual && !settings.flag("checkcert") {
        url.set_fragment(Some("insecure"));
    }
    let file = |key: &str, other: &std::path::Path| match settings.text(key) {
        "" => other.to_owned(),
        path => path.into(),
    };
    let mutual_files = tls.mutual();
    let files = Files {
        certificate: file("certfile", &mutual_files.certificate),
        key: file("keyfile", &mutual_files.key),
        authorities: file("cacertfile", &mutual_files.authorities),
    };
    let read = |path: &std::path::Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let client = if secure {
        let client_tls = match mutual {
            true => Some(ClientTlsConfig { client_cert: read(&files.certificate)?, client_key: read(&files.key)? }),
            false => None,
        };
        let own = mutual || !settings.text("cacertfile").is_empty();
        let root_cert = if own { Some(read(&files.authorities)?) } else { None };
        Client::build_with_tls(url.as_str(), TlsCertificates { client_tls, root_cert })
    } else {
        Client::open(url.as_str())
    };
    client.map_err(|error| bad(&error))
}
