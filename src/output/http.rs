//! Alerts to a web server, by its address or by its [`unix`] socket: a POST for each one, over a connection that is kept.
//!
//! A server that does not answer in time is asked again a few times; one that has closed the connection, once: such an alert may arrive
//! twice, but is not lost for that. What it answers with an error is lost.

use super::tls;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::DefaultResolver;

/// A request may take this long, from the look-up of the name to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An unused connection is closed after this time, or after that one when it is to be kept alive.
const IDLE: Duration = Duration::from_secs(15);
const KEPT_ALIVE: Duration = Duration::from_secs(3600);
/// So much of an answer is read.
const ANSWER: u64 = 64 * 1024;
/// What is asked of a server that has no name. An address, for that needs no look-up.
const OVER_UNIX: &str = "http://127.0.0.1/";
/// What errors name.
const OUTPUT: &str = "http_output";

/// `http_output` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub url: String,
    pub user_agent: String,
    /// The server may be anybody.
    pub insecure: bool,
    pub authorities: Authorities,
    /// Certificate and key of this client.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Answers go to standard output.
    pub echo: bool,
    pub compress: bool,
    pub keep_alive: bool,
    /// How often an alert is sent again when the server does not answer in time.
    pub retries: u32,
    /// Alerts are JSON.
    pub json: bool,
}

/// Who may vouch for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    File(PathBuf),
    Folder(PathBuf),
}

/// Who a URL names.
#[derive(Debug)]
enum Server {
    Http,
    Https,
    Unix(PathBuf),
}

impl Server {
    fn of(url: &str) -> Result<Server, String> {
        let invalid = |why| Err(format!("http_output.url: '{url}' {why}"));
        match url.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, rest)) if scheme == "http" && !rest.is_empty() => Ok(Server::Http),
            Some((scheme, rest)) if scheme == "https" && !rest.is_empty() => Ok(Server::Https),
            Some((scheme, path)) if scheme == "unix" && path.starts_with('/') => Ok(Server::Unix(path.into())),
            Some((scheme, _)) if scheme == "unix" => {
                invalid("does not name a socket by its whole path, as in unix:///run/falco-hub.sock")
            }
            _ => invalid("does not begin with http://, https:// or unix://"),
        }
    }
}

#[derive(Debug)]
pub struct Http {
    settings: Settings,
    agent: ureq::Agent,
    /// What requests ask for.
    target: String,
}

impl Http {
    /// Reads the certificates; the server is connected to with the first alert. An error names the key and the file.
    pub fn new(settings: Settings) -> Result<Http, String> {
        Http::with_timeout(settings, TIMEOUT)
    }

    fn with_timeout(settings: Settings, timeout: Duration) -> Result<Http, String> {
        let server = Server::of(&settings.url)?;
        let mut config = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .disable_verification(settings.insecure);
        if matches!(server, Server::Https) {
            if !settings.insecure {
                let roots = tls::authorities(OUTPUT, &settings.authorities)?;
                let roots: Vec<_> = roots.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
                config = config.root_certs(RootCerts::new_with_certs(&roots));
            }
            if let Some((certificate, key)) = &settings.client {
                config = config.client_cert(Some(client(certificate, key)?));
            }
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .user_agent(&settings.user_agent)
            .max_idle_connections_per_host(1)
            .max_idle_age(if settings.keep_alive { KEPT_ALIVE } else { IDLE })
            .tls_config(config.build());
        let (agent, target) = match server {
            Server::Http | Server::Https => (config.build().into(), settings.url.clone()),
            Server::Unix(socket) => {
                let config = config.proxy(None).build();
                let agent = ureq::Agent::with_parts(config, unix::Server(socket), DefaultResolver::default());
                (agent, OVER_UNIX.to_owned())
            }
        };
        Ok(Http { settings, agent, target })
    }

    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// Sends one alert.
    pub fn post(&mut self, line: &[u8]) -> io::Result<()> {
        let packed;
        let body = if self.settings.compress {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(line)?;
            packed = encoder.finish()?;
            &packed[..]
        } else {
            line
        };
        let (mut timeouts, mut closed) = (0, false);
        loop {
            match self.send(body) {
                Ok(()) => return Ok(()),
                Err(ureq::Error::Timeout(_)) if timeouts < self.settings.retries => timeouts += 1,
                Err(ureq::Error::Io(error)) if !closed && is_closed(&error) => closed = true,
                Err(ureq::Error::Timeout(_)) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("no answer in time, asked {} times", timeouts + 1),
                    ));
                }
                Err(ureq::Error::Io(error)) => return Err(error),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    fn send(&self, body: &[u8]) -> Result<(), ureq::Error> {
        let kind = if self.settings.json { "application/json" } else { "text/plain" };
        let mut request = self.agent.post(&self.target).header("Content-Type", kind);
        if self.settings.compress {
            request = request.header("Content-Encoding", "gzip");
        }
        let mut response = request.send(body)?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let answer = response.body_mut().with_config().limit(ANSWER).read_to_vec();
        if self.settings.echo
            && let Ok(answer) = &answer
        {
            let mut out = io::stdout().lock();
            // Whoever reads it may be gone; the alert has arrived.
            let _ = out.write_all(answer).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        }
        if status.is_success() { Ok(()) } else { Err(ureq::Error::StatusCode(status.as_u16())) }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn client(certificate: &Path, key: &Path) -> Result<ClientCert, String> {
    let (chain, _) = tls::client(OUTPUT, certificate, key)?;
    let failed = |error: &dyn std::fmt::Display| format!("{OUTPUT}: client_key: {}: {error}", key.display());
    let pem = fs::read(key).map_err(|error| failed(&error))?;
    let chain: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(ClientCert::new_with_certs(&chain, PrivateKey::from_pem(&pem).map_err(|error| failed(&error))?))
}

mod unix;

#[cfg(test)]
mod tests;
