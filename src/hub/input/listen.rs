//! Listening: TCP and unix sockets, TLS, and the end of connections when the hub stops.
//!
//! Invariant: a client that is slow, silent or hostile costs one connection, of which there is a bounded number.

use super::authority::Named;
use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use listenfd::ListenFd;
use std::convert::Infallible;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

/// Connections at a time of one listener; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
const HEADERS_WITHIN: Duration = Duration::from_secs(60);
/// A client over HTTP/2 is asked that often whether it is still there.
const BEAT: Duration = Duration::from_secs(60);
const BEAT_WITHIN: Duration = Duration::from_secs(20);
/// Requests at a time of one connection over HTTP/2.
const STREAMS: u32 = 16;
/// Of an answer over HTTP/2, written and not taken by the client.
const ANSWER_WAITING: usize = 64 << 10;
const STOP_WITHIN: Duration = Duration::from_secs(5);

pub enum Listener {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    Http1,
    Http2,
}

/// Where a request comes from; nothing for a unix socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peer(pub Option<IpAddr>);

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.to_canonical().fmt(f),
            None => f.write_str("a unix socket"),
        }
    }
}

/// Which paths a listener answers.
#[derive(Clone, Debug)]
pub enum Paths {
    Only(Arc<[String]>),
    Except(Arc<[String]>),
}

impl Paths {
    pub fn all() -> Paths {
        Paths::Except(Arc::new([]))
    }

    fn contain(&self, path: &str) -> bool {
        match self {
            Paths::Only(paths) => paths.iter().any(|p| p == path),
            Paths::Except(paths) => !paths.iter().any(|p| p == path),
        }
    }
}

/// A unix socket at `path`, in place of one that nobody listens at any more.
pub fn unix(path: &Path) -> std::io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::other("another process listens there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// The unix sockets that a service manager listens at for this process (sd_listen_fds(3)).
pub fn given() -> std::io::Result<Vec<UnixListener>> {
    let mut given = ListenFd::from_env();
    (0..given.len())
        .filter_map(|number| given.take_unix_listener(number).transpose())
        .map(|listener| {
            let listener = listener?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        })
        .collect()
}

/// Where a unix socket is.
pub fn path(listener: &UnixListener) -> String {
    let address = listener.local_addr().ok();
    address.and_then(|address| Some(address.as_pathname()?.display().to_string())).unwrap_or_default()
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Serves until `stop` changes, then lets requests end.
pub async fn serve(listener: Listener, spoken: Spoken, router: Router, paths: Paths, mut stop: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    while !*stop.borrow() {
        let permit = tokio::select! {
            permit = connections.clone().acquire_owned() => permit,
            _ = stop.changed() => break,
        };
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            _ = stop.changed() => break,
        };
        let (stream, acceptor, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: they come back.
                tracing::error!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, paths, watcher) = (router.clone(), paths.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _permit = permit;
            let stream: Box<dyn Stream> = match acceptor {
                None => stream,
                Some(acceptor) => match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => Box::new(stream),
                    Ok(Err(error)) => return tracing::warn!(%error, "no TLS with a client"),
                    Err(_) => return tracing::warn!("a client did not finish its TLS handshake"),
                },
            };
            let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(peer);
                let (mut router, known) = (router.clone(), paths.contain(request.uri().path()));
                async move {
                    let response = match known {
                        true => router.call(request).await?,
                        false => StatusCode::NOT_FOUND.into_response(),
                    };
                    Ok::<_, Infallible>(response)
                }
            });
            let ended = match spoken {
                Spoken::Http1 => {
                    let stream = TokioIo::new(stream);
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
                    watcher.watch(builder.serve_connection(stream, service)).await
                }
                Spoken::Http2 => {
                    let by_path = peer.0.is_none();
                    let stream: Box<dyn Stream> = if by_path { Box::new(Named::new(stream)) } else { stream };
                    let stream = TokioIo::new(stream);
                    let mut builder = http2::Builder::new(TokioExecutor::new());
                    builder
                        .timer(TokioTimer::new())
                        .keep_alive_interval(BEAT)
                        .keep_alive_timeout(BEAT_WITHIN)
                        .max_concurrent_streams(STREAMS)
                        .max_send_buf_size(ANSWER_WAITING);
                    watcher.watch(builder.serve_connection(stream, service)).await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    let _ = tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await;
}

async fn accept(listener: &Listener) -> std::io::Result<(Box<dyn Stream>, Option<TlsAcceptor>, Peer)> {
    Ok(match listener {
        Listener::Tcp(listener, acceptor) => {
            let (stream, address) = listener.accept().await?;
            stream.set_nodelay(true)?;
            (Box::new(stream), acceptor.clone(), Peer(Some(address.ip())))
        }
        Listener::Unix(listener) => (Box::new(listener.accept().await?.0), None, Peer::default()),
    })
}
