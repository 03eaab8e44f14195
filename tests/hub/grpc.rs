//! A server and calls of gRPC in which messages are bytes, so that tests can look at them by the published definitions.

use crate::process::Received;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::bytes::{Buf, BufMut};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// What a server does with a call.
pub enum Answer {
    Message(Vec<u8>),
    Error(Status),
    /// It never answers.
    Silence,
}

/// What it says to a call, of which the number before it is told.
type Respond = dyn Fn(usize, &Received) -> Answer + Send + Sync;

/// A server that takes calls of one message.
pub struct Collector {
    pub port: u16,
    calls: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
    _runtime: tokio::runtime::Runtime,
}

struct Call {
    received: Received,
    calls: Arc<Mutex<Vec<Received>>>,
    respond: Arc<Respond>,
}

impl tower_service::Service<Request<Vec<u8>>> for Call {
    type Response = Response<Vec<u8>>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        self.received.body = request.into_inner();
        let mut calls = self.calls.lock().expect("lock");
        let answer = (self.respond)(calls.len(), &self.received);
        calls.push(self.received.clone());
        Box::pin(async move {
            match answer {
                Answer::Message(message) => Ok(Response::new(message)),
                Answer::Error(status) => Err(status),
                Answer::Silence => std::future::pending().await,
            }
        })
    }
}

impl Collector {
    pub fn start(
        port: u16,
        tls: Option<rustls::ServerConfig>,
        respond: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static,
    ) -> Collector {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port))).expect("the port");
        let (calls, respond): (Arc<Mutex<Vec<Received>>>, Arc<Respond>) = (Arc::default(), Arc::new(respond));
        let connections: Arc<Mutex<usize>> = Arc::default();
        let acceptor = tls.map(|mut tls| {
            tls.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(tls))
        });
        let (kept, counted) = (calls.clone(), connections.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().expect("lock") += 1;
                let (acceptor, kept, respond) = (acceptor.clone(), kept.clone(), respond.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, kept, respond).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                                serve(stream, kept, respond).await;
                            }
                        }
                    }
                });
            }
        });
        Collector { port, calls, connections, _runtime: runtime }
    }

    pub fn calls(&self) -> Vec<Received> {
        self.calls.lock().expect("lock").clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("lock")
    }
}

async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    calls: Arc<Mutex<Vec<Received>>>,
    respond: Arc<Respond>,
) {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let text = |value: &http::HeaderValue| value.to_str().expect("ASCII").to_owned();
        let received = Received {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: Vec::new(),
        };
        let call = Call { received, calls: calls.clone(), respond: respond.clone() };
        async move { Ok::<_, Infallible>(tonic::server::Grpc::new(Raw).unary(call, request).await) }
    });
    // It ends when the hub closes it.
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
