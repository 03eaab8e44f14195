//! The running hub: everything made from a configuration, started and stopped.
//!
//! Invariant: it starts as a whole or not at all; an output that cannot be reached is no reason not to start.

use super::config::{self, Config, Instance, Problem, Section};
use super::enrich::Enrich;
use super::forward::worker::{Policy, Route, Shared, Status, Target, Worker};
use super::forward::{Context, Forward, Work};
use super::grpc;
use super::input::kind::{self, Take};
use super::input::listen::{self, Listener, Paths, Spoken};
use super::input::{Input, MEMORY, router, worker};
use super::metrics::{Counts, Metrics};
use super::spool::users::Role;
use super::spool::{Limits, Spool, SpoolError};
use super::store::{Store, StoreError, postgresql};
use super::tls::{self, Files, Tls};
use super::ui::{self, Login, Output, Ui};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Problem>),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: std::io::Error },
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn problem(place: &str, message: impl Into<String>) -> Problem {
    Problem { place: place.to_owned(), message: message.into() }
}

/// The outputs of a configuration, ready to be used.
#[derive(Default)]
pub struct Outputs {
    pub forwards: Vec<(Instance, Box<dyn Forward>)>,
    pub counts: Vec<Box<dyn Counts>>,
}

/// Makes the outputs; says all that is wrong with any of them.
pub fn outputs(config: &Config, tls: &Arc<Tls>) -> Result<Outputs, Vec<Problem>> {
    let mut outputs = Outputs::default();
    let mut problems = Vec::new();
    let enabled = config.enabled();
    for instance in &config.instances {
        let context = Context { settings: &instance.settings, core: &config.core, tls, enabled: &enabled };
        if let Work::Counts(make) = instance.kind.work {
            match make(&context) {
                Ok(counts) => outputs.counts.push(counts),
                Err(error) => problems.push(problem(&instance.name, error)),
            }
        }
        match instance.kind.forward(&context) {
            Some(Ok(forward)) => outputs.forwards.push((instance.clone(), forward)),
            Some(Err(error)) => problems.push(problem(&instance.name, error)),
            None => {}
        }
    }
    if problems.is_empty() { Ok(outputs) } else { Err(problems) }
}

/// An input of a configuration, ready to be used.
pub type Broker = (config::Input, Box<dyn Take>);

/// Makes the inputs; says all that is wrong with any of them.
pub fn inputs(config: &Config, tls: &Arc<Tls>) -> Result<Vec<Broker>, Vec<Problem>> {
    let (mut inputs, mut problems) = (Vec::new(), Vec::new());
    for input in &config.inputs {
        let context = kind::Context { name: &input.name, settings: &input.settings, core: &config.core, tls };
        match (input.kind.make)(&context) {
            Ok(broker) => inputs.push((input.clone(), broker)),
            Err(error) => problems.push(problem(&input.name, error)),
        }
    }
    if problems.is_empty() { Ok(inputs) } else { Err(problems) }
}

/// Limits of the spool of a configuration.
pub fn limits(config: &Config) -> Limits {
    let outputs = config.instances.iter().filter(|i| i.kind.forwards()).map(|i| i.name.clone());
    let store = postgresql::is_configured(&config.core).then(|| postgresql::NAME.to_owned());
    Limits {
        size: config.core.int("hub.maxsize").max(1),
        retention: config.core.duration("hub.retention"),
        outputs: outputs.chain(store).collect(),
    }
}

/// What is wrong with the configuration of a shared store, if there is one.
pub fn shared_store(core: &Section, tls: &Tls) -> Result<Option<postgresql::Settings>, Vec<Problem>> {
    postgresql::Settings::new(core, tls).map_err(|error| vec![problem(postgresql::NAME, error)])
}

/// A hub that runs.
pub struct Hub {
    /// Where it listens, the port with TLS or without first.
    pub addresses: Vec<SocketAddr>,
    /// Where the page is.
    pub page: Option<SocketAddr>,
    pub spool: Arc<Spool>,
    pub outputs: Vec<Shared>,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl Hub {
    pub async fn start(config: &Config) -> Result<Hub, StartError> {
        let core = &config.core;
        let tls = Tls::new(core);
        let made = outputs(config, &tls).map_err(StartError::Config)?;
        let brokers = inputs(config, &tls).map_err(StartError::Config)?;
        let enrich = Enrich::new(core).map_err(StartError::Config)?;
        let shared_store = shared_store(core, &tls).map_err(StartError::Config)?;
        let bound = bind(config).await?;
        let page_listener = bind_page(config).await?;
        let grpc_listener = bind_grpc(core).await?;
        let metrics = Arc::new(Metrics::new(core, made.counts)?);
        let spool = Spool::open(&config::directory(core), limits(config))?;
        metrics.limit.set(core.int("hub.maxsize"));
        let mut known = limits(config).outputs;
        // Nothing is kept for clients that ask.
        known.push(grpc::NAME.to_owned());
        for (output, number) in spool.forsaken(known).await? {
            tracing::warn!(
                output,
                number,
                "alerts wait for an output that is no longer configured: they go when they are old"
            );
        }

        let (stop, stopped) = watch::channel(false);
        let (mut shared, mut workers, mut shown) = (Vec::new(), Vec::new(), Vec::new());
        let mut targets = Vec::new();
        for (instance, forward) in made.forwards {
            let status = Status { name: instance.name.clone(), kind: instance.kind.section, ..Status::default() };
            let (forward, route): (Arc<dyn Forward>, _) = (forward.into(), Route::new(&instance.settings));
            let (name, destination, status) = (instance.name, instance.kind.destination, Arc::new(Mutex::new(status)));
            targets.push((Target { name, destination, forward, route, status }, Policy::new(core)));
        }
        let store = Store::new(shared_store, &spool)?;
        if let Store::Shared(server) = &store {
            let name = postgresql::NAME;
            // What was received before there was a shared store goes there too.
            spool.from_the_first(name).await?;
            let status = Arc::new(Mutex::new(Status { name: name.to_owned(), kind: name, ..Status::default() }));
            let (forward, route) = (server.clone() as Arc<dyn Forward>, Route::default());
            let target = Target { name: name.to_owned(), destination: name, forward, route, status };
            targets.push((target, Policy::new(core).without_dead_letters_by_age()));
            workers.push(tokio::spawn(server.clone().tend(metrics.clone(), stopped.clone())));
            tracing::info!("alerts are brought to, and shown from, PostgreSQL at {}", server.server());
        }
        for (target, policy) in targets {
            let (status, forward, route) = (target.status.clone(), target.forward.clone(), target.route.clone());
            shared.push(status.clone());
            shown.push(Output { status, forward, route });
            let worker = Worker::new(target, policy, spool.clone(), metrics.clone());
            workers.push(tokio::spawn(worker.await?.run(stopped.clone())));
        }
        let enabled: Vec<_> = config.instances.iter().map(|instance| instance.name.as_str()).collect();
        tracing::info!("Enabled Outputs: [{}]", enabled.join(" "));
        for config::Input { name, kind, .. } in &config.inputs {
            tracing::info!(input = name, "takes alerts from {}", kind.label);
        }

        let (mut taking, mut inputs) = (Vec::new(), Vec::new());
        for (input, broker) in brokers {
            let status = worker::Status { name: input.name, kind: input.kind.name, ..worker::Status::default() };
            let status = Arc::new(Mutex::new(status));
            inputs.push(status.clone());
            taking.push((input.kind, broker, status));
        }
        let input = Arc::new(Input {
            spool: spool.clone(),
            enrich,
            metrics: metrics.clone(),
            outputs: shared.clone(),
            inputs,
            token: core.text("hub.token").to_owned(),
            memory: Semaphore::new(MEMORY),
            body_max: usize::try_from(core.int("hub.maxbody")).unwrap_or(0),
        });
        for (kind, broker, status) in taking {
            let worker = worker::Worker::new(kind, broker, input.clone(), Policy::new(core), status, stopped.clone());
            workers.push(tokio::spawn(worker.run()));
        }
        let router = router(input.clone());
        let (mut addresses, mut listeners) = (Vec::new(), Vec::new());
        for (listener, paths) in bound {
            match &listener {
                Listener::Tcp(tcp, acceptor) => {
                    let address = tcp.local_addr().map_err(listen_error("the port"))?;
                    let how = if acceptor.is_some() { " with TLS" } else { "" };
                    tracing::info!("listens on {address}{how}");
                    addresses.push(address);
                }
                Listener::Unix(unix) => tracing::info!("listens on {}", listen::path(unix)),
            }
            listeners.push(tokio::spawn(listen::serve(
                listener,
                Spoken::Http1,
                router.clone(),
                paths,
                stopped.clone(),
            )));
        }
        if let Some(listener) = grpc_listener {
            match &listener {
                Listener::Tcp(tcp, _) => {
                    let address = tcp.local_addr().map_err(listen_error("the port"))?;
                    tracing::info!("gives alerts over gRPC on {address} with TLS");
                }
                Listener::Unix(unix) => tracing::info!("gives alerts over gRPC on {}", listen::path(unix)),
            }
            let router = grpc::router(grpc::Outputs::new(spool.clone(), metrics, stopped.clone()).await?);
            let served = listen::serve(listener, Spoken::Http2, router, Paths::all(), stopped.clone());
            listeners.push(tokio::spawn(served));
        }
        let mut page = None;
        if let Some((listener, secure)) = page_listener {
            let address = listener_address(&listener)?;
            let anonymous = Role::from_name(core.text("hub.uianonymous"));
            if anonymous.is_none() {
                ui::first_user(&spool, &config::directory(core)).await?;
            }
            let ui = Ui {
                spool: spool.clone(),
                store,
                input,
                outputs: shown,
                login: Login::new(anonymous, secure),
                stop: stopped.clone(),
                timeout: core.duration("hub.timeout"),
                address,
                settings: core.clone(),
            };
            tracing::info!("the page is at {}://{address}/", if secure { "https" } else { "http" });
            let router = ui::router(Arc::new(ui));
            listeners.push(tokio::spawn(listen::serve(listener, Spoken::Http1, router, Paths::all(), stopped.clone())));
            page = Some(address);
        }
        Ok(Hub { addresses, page, spool, outputs: shared, stop, listeners, workers })
    }

    /// Takes no more alerts, lets deliveries that are under way end, writes where every output is.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.listeners.into_iter().chain(self.workers) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the hub had failed");
            }
        }
        if let Err(error) = self.spool.flush().await {
            tracing::error!(%error, "what was delivered last may be delivered again");
        }
    }
}

fn listen_error(address: &str) -> impl FnOnce(std::io::Error) -> StartError {
    let address = address.to_owned();
    move |error| StartError::Listen { address, error }
}

fn listener_address(listener: &Listener) -> Result<SocketAddr, StartError> {
    match listener {
        Listener::Tcp(tcp, _) => tcp.local_addr().map_err(listen_error("the port")),
        Listener::Unix(_) => Err(StartError::Config(vec![problem("hub.uiport", "the page needs a port")])),
    }
}

fn fail(key: &str, message: String) -> StartError {
    StartError::Config(vec![problem(key, message)])
}

/// The address under a key; nothing when it is empty.
fn ip(core: &Section, key: &str) -> Result<Option<IpAddr>, StartError> {
    match core.text(key) {
        "" => Ok(None),
        text => Ok(Some(text.parse().map_err(|_| fail(key, format!("'{text}' is no IP address")))?)),
    }
}

fn port(core: &Section, key: &str) -> Result<u16, StartError> {
    let number = core.int(key);
    u16::try_from(number).map_err(|_| fail(key, format!("{number} is no port: it must be 0 to 65535")))
}

async fn tcp(ip: Option<IpAddr>, port: u16, key: &str) -> Result<TcpListener, StartError> {
    // All addresses: IPv6 takes IPv4 along, where there is IPv6.
    let tried = match ip {
        Some(ip) => TcpListener::bind(SocketAddr::new(ip, port)).await,
        None => match TcpListener::bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
        },
    };
    tried.map_err(listen_error(&format!("port {port} ({key})")))
}

/// The server's side of TLS as the configuration has it; `mutual`: clients must have certificates.
fn acceptor(core: &Section, mutual: bool) -> Result<tokio_rustls::TlsAcceptor, StartError> {
    let file = |key: &str| Path::new(core.text(key)).to_owned();
    let files = Files {
        certificate: file("tlsserver.certfile"),
        key: file("tlsserver.keyfile"),
        authorities: file("tlsserver.cacertfile"),
    };
    let server = tls::server(&files, mutual, b"http/1.1").map_err(|error| fail("tlsserver", error))?;
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(server)))
}

/// The port of the page, with TLS where alerts are taken with TLS. People have passwords, not certificates.
async fn bind_page(config: &Config) -> Result<Option<(Listener, bool)>, StartError> {
    let core = &config.core;
    let number = port(core, "hub.uiport")?;
    if number == 0 {
        return Ok(None);
    }
    let ip = ip(core, "hub.uiaddress")?.or(ip(core, "listenaddress")?);
    let listener = tcp(ip, number, "hub.uiport").await?;
    let acceptor = if core.flag("tlsserver.deploy") { Some(acceptor(core, false)?) } else { None };
    let secure = acceptor.is_some();
    Ok(Some((Listener::Tcp(listener, acceptor), secure)))
}

/// Where gRPC clients ask for alerts: a unix socket, or a port on which each must have a certificate.
async fn bind_grpc(core: &Section) -> Result<Option<Listener>, StartError> {
    if !core.flag("hub.grpc.enabled") {
        return Ok(None);
    }
    let address = core.text("hub.grpc.bind_address");
    if let Some(path) = address.strip_prefix("unix://") {
        let listener = listen::unix(Path::new(path)).map_err(listen_error(address))?;
        return Ok(Some(Listener::Unix(listener)));
    }
    let file = |key: &str, otherwise: &str| match core.text(key) {
        "" => PathBuf::from(core.text(otherwise)),
        path => PathBuf::from(path),
    };
    let files = Files {
        certificate: file("hub.grpc.cert_chain", "tlsserver.certfile"),
        key: file("hub.grpc.private_key", "tlsserver.keyfile"),
        authorities: file("hub.grpc.root_certs", "tlsserver.cacertfile"),
    };
    let server = tls::server(&files, true, b"h2").map_err(|error| fail("hub.grpc", error))?;
    let listener =
        TcpListener::bind(address).await.map_err(listen_error(&format!("{address} (hub.grpc.bind_address)")))?;
    Ok(Some(Listener::Tcp(listener, Some(tokio_rustls::TlsAcceptor::from(Arc::new(server))))))
}

/// Binds everything that alerts are taken on.
async fn bind(config: &Config) -> Result<Vec<(Listener, Paths)>, StartError> {
    let core = &config.core;
    let ip = ip(core, "listenaddress")?;
    let mut bound = Vec::new();
    let main = tcp(ip, port(core, "listenport")?, "listenport").await?;
    if core.flag("tlsserver.deploy") {
        let plain: Arc<[String]> = core.list("tlsserver.notlspaths").into();
        let acceptor = acceptor(core, core.flag("tlsserver.mutualtls"))?;
        bound.push((Listener::Tcp(main, Some(acceptor)), Paths::Except(plain.clone())));
        if !plain.is_empty() {
            let listener = tcp(ip, port(core, "tlsserver.notlsport")?, "tlsserver.notlsport").await?;
            bound.push((Listener::Tcp(listener, None), Paths::Only(plain)));
        }
    } else {
        if core.flag("tlsserver.mutualtls") {
            tracing::warn!("tlsserver.mutualtls has no effect without tlsserver.deploy");
        }
        bound.push((Listener::Tcp(main, None), Paths::all()));
    }
    let socket = core.text("hub.socket");
    if !socket.is_empty() {
        let listener = listen::unix(Path::new(socket)).map_err(listen_error(socket))?;
        bound.push((Listener::Unix(listener), Paths::all()));
    }
    let given = listen::given().map_err(listen_error("a socket that the service manager gave (LISTEN_FDS)"))?;
    bound.extend(given.into_iter().map(|listener| (Listener::Unix(listener), Paths::all())));
    Ok(bound)
}
