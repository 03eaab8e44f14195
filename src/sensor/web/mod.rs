//! The web server: health, versions and metrics over HTTP, also with TLS.
//!
//! Three small answers, so connections are not kept: each is a thread that reads one request, answers and closes. What a client
//! may take is bounded: the time, the bytes of its request, and how many there are at a time; a newcomer that finds all places
//! taken gets that of the client which has been there longest. Invariant: whatever clients do, a new one is
//! answered within seconds, and no loop is ever waited for.

mod request;

use super::log::{self, Level};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use request::{Answer, Timed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// `webserver` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub address: String,
    pub port: u16,
    /// Clients at a time.
    pub places: usize,
    pub healthz: String,
    pub metrics: bool,
    /// A PEM file with key and certificates.
    pub certificate: Option<PathBuf>,
}

/// Clients at a time when the configuration does not say, on a machine with few processors.
pub const LEAST_PLACES: usize = 8;

/// A client has this long for all of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// A place is not taken from a client before it has had it for so long.
const AT_LEAST: Duration = Duration::from_secs(1);
/// Bytes of a connection's stack: a TLS handshake takes most of it.
const STACK: usize = 512 << 10;

/// What is answered; replaced when the configuration is.
pub struct Site {
    pub healthz: String,
    pub versions: String,
    /// Makes the text of the metrics.
    pub metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
}

impl Site {
    fn answer(&self, path: &str) -> Option<Answer> {
        let json = |body: &str| Answer { kind: "application/json", body: body.to_owned() };
        match path {
            path if path == self.healthz => Some(json("{\"status\": \"ok\"}")),
            "/versions" => Some(json(&self.versions)),
            "/metrics" => {
                self.metrics.as_ref().map(|metrics| Answer { kind: "text/plain; version=0.0.4", body: metrics() })
            }
            _ => None,
        }
    }
}

/// A server that runs.
pub struct Server {
    settings: Settings,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: UnixStream,
    thread: JoinHandle<()>,
}

struct Shared {
    serving: Mutex<Arc<Serving>>,
    clients: Mutex<Clients>,
    left: Condvar,
}

struct Serving {
    site: Site,
    places: usize,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Default)]
struct Clients {
    last: u64,
    /// The one that has been there longest first.
    present: VecDeque<(u64, Instant, TcpStream)>,
}

/// What another thread left half done is a list of clients or an `Arc`: both are sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Listens, and answers on threads of its own.
    pub fn start(settings: Settings, site: Site) -> Result<Server, String> {
        let failed = |error: io::Error| format!("webserver: {}:{}: {error}", settings.address, settings.port);
        let tls = tls(&settings)?;
        let mut addresses = (settings.address.as_str(), settings.port).to_socket_addrs().map_err(failed)?;
        let address = addresses.next().ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = UnixStream::pair().map_err(failed)?;
        let serving = Mutex::new(Arc::new(Serving { site, places: settings.places, tls }));
        let shared = Arc::new(Shared { serving, clients: Mutex::default(), left: Condvar::new() });
        let thread = {
            let shared = shared.clone();
            let run = move || accept(&listener, &stopped, &shared);
            thread::Builder::new().name("web".into()).spawn(run).map_err(failed)?
        };
        Ok(Server { settings, address, shared, stop, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether these settings want another socket.
    pub fn listens_elsewhere(&self, settings: &Settings) -> bool {
        (&self.settings.address, self.settings.port) != (&settings.address, settings.port)
    }

    /// What answering by other settings, at the same address, takes.
    pub fn prepare(settings: Settings, site: Site) -> Result<Change, String> {
        let tls = tls(&settings)?;
        Ok(Change { serving: Serving { site, places: settings.places, tls }, settings })
    }

    /// Answers like this from the next client on.
    pub fn change(&mut self, change: Change) {
        self.settings = change.settings;
        *lock(&self.shared.serving) = Arc::new(change.serving);
    }

    /// Lets go of the address and of every client.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
        lock(&self.shared.clients).present.iter().for_each(|(.., stream)| drop(stream.shutdown(Shutdown::Both)));
        let mut clients = lock(&self.shared.clients);
        while !clients.present.is_empty() {
            clients = self.shared.left.wait(clients).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Other settings, ready to be taken.
pub struct Change {
    settings: Settings,
    serving: Serving,
}

fn tls(settings: &Settings) -> Result<Option<Arc<rustls::ServerConfig>>, String> {
    let Some(path) = &settings.certificate else { return Ok(None) };
    let failed = |error: String| format!("webserver.ssl_certificate: {}: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| failed(format!("no private key: {error}")))?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key));
    config.map(|config| Some(Arc::new(config))).map_err(|error| failed(error.to_string()))
}

/// Takes clients in until the other end of `stopped` is dropped.
fn accept(listener: &TcpListener, stopped: &UnixStream, shared: &Arc<Shared>) {
    loop {
        let mut fds =
            [PollFd::new(listener.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
        // An interruption: look again.
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any() == Some(true) {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => {
                let serving = lock(&shared.serving).clone();
                make_room(shared, serving.places);
                take_in(stream, &serving, shared);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                // Out of descriptors, most likely: nothing that asking again at once would mend.
                log::write(Level::Error, format_args!("webserver: {error}"));
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Waits for a free place; takes one when its client has had its time.
fn make_room(shared: &Shared, places: usize) {
    let mut clients = lock(&shared.clients);
    while clients.present.len() >= places {
        let Some((_, since, stream)) = clients.present.front() else { return };
        let left = AT_LEAST.saturating_sub(since.elapsed());
        if left.is_zero() {
            // Its thread sees the end of the stream and leaves.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let wait = left.max(Duration::from_millis(10));
        clients = shared.left.wait_timeout(clients, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn take_in(stream: TcpStream, serving: &Arc<Serving>, shared: &Arc<Shared>) {
    let Ok(handle) = stream.try_clone().and_then(|handle| stream.set_nonblocking(false).map(|()| handle)) else {
        return;
    };
    let now = Instant::now();
    let number = {
        let mut clients = lock(&shared.clients);
        clients.last += 1;
        let number = clients.last;
        clients.present.push_back((number, now, handle));
        number
    };
    let (serving, present) = (serving.clone(), Present { number, shared: shared.clone() });
    let run = move || {
        serve(Timed::new(stream, now + PATIENCE), &serving);
        drop(present);
    };
    if let Err(error) = thread::Builder::new().name("web-client".into()).stack_size(STACK).spawn(run) {
        log::write(Level::Error, format_args!("webserver: a thread for a client: {error}"));
    }
}

/// A client's place; given back also when its thread could not be started.
struct Present {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Present {
    fn drop(&mut self) {
        lock(&self.shared.clients).present.retain(|(number, ..)| *number != self.number);
        self.shared.left.notify_all();
    }
}

/// One client. Errors are the client's: it gets no answer.
fn serve(stream: Timed, serving: &Serving) {
    let answer = |path: &str| serving.site.answer(path);
    let _ = match &serving.tls {
        None => request::serve(stream, answer).map(Timed::linger),
        Some(config) => {
            rustls::ServerConnection::new(config.clone()).map_err(io::Error::other).and_then(|connection| {
                let stream = request::serve(rustls::StreamOwned::new(connection, stream), answer)?;
                let (mut connection, mut socket) = (stream.conn, stream.sock);
                connection.send_close_notify();
                connection.complete_io(&mut socket)?;
                socket.linger();
                Ok(())
            })
        }
    };
}

#[cfg(test)]
mod tests;
