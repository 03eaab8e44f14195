//! Falco's gRPC services, `falco.outputs.service` and `falco.version.service`: who asks gets alerts.
//!
//! Alerts are read from the spool at the pace of each client. `sub` gives all that come while the call lasts; `get` gives
//! what came since the last `get` that was read to its end, for which there is one cursor in the spool. Not outputs: no
//! alert is kept for a client. Invariant: nothing waits for a client, and one costs a few alerts in memory; what was
//! removed before a client took it is counted.

mod proto;

use super::metrics::Metrics;
use super::spool::{Seq, Spool, SpoolError};
use axum::Router;
use axum::body::Body;
use axum::extract::{self, State};
use axum::response::Response;
use axum::routing::any;
use proto::{Output, Request, Version};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

/// What the cursor of `get` is called.
pub const NAME: &str = "hub.grpc";

/// Calls of `sub` and `get` at a time.
const CALLS: usize = 64;
/// Read from the spool at once for a call.
const CHUNK: usize = 16;
/// Alerts of a call that wait for its connection.
const WAITING: usize = 16;
/// A request says nothing: a longer one is not read.
const REQUEST_MAX: usize = 4096;

pub struct Outputs {
    spool: Arc<Spool>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
    calls: Arc<Semaphore>,
    /// Up to there alerts were given by `get`.
    given: AtomicI64,
}

type Out = mpsc::Sender<Result<Output, Status>>;
type Outgoing = ReceiverStream<Result<Output, Status>>;

impl Outputs {
    pub async fn new(
        spool: Arc<Spool>,
        metrics: Arc<Metrics>,
        stop: watch::Receiver<bool>,
    ) -> Result<Arc<Outputs>, SpoolError> {
        let given = spool.cursor(NAME).await?.into();
        Ok(Arc::new(Outputs { spool, metrics, stop, calls: Arc::new(Semaphore::new(CALLS)), given }))
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        let full = || Status::resource_exhausted(format!("{CALLS} calls are open, which is the most there may be"));
        self.calls.clone().try_acquire_owned().map_err(|_| full())
    }

    /// Everything from now on, until the client ends its requests: what had come by then is given still.
    async fn sub(self: Arc<Self>, mut requests: Streaming<Request>) -> Result<tonic::Response<Outgoing>, Status> {
        let permit = self.enter()?;
        let mut state = self.spool.state();
        let had = state.borrow_and_update().latest;
        let (out, outgoing) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut call = Call::new(&self, out, permit, had);
            let mut requests_end = pin!(async { while let Ok(Some(_)) = requests.message().await {} });
            let mut stop = self.stop.clone();
            let mut over = false;
            loop {
                let latest = state.borrow_and_update().latest;
                if !call.give(latest).await || over {
                    return;
                }
                tokio::select! {
                    changed = state.changed() => over = changed.is_err(),
                    () = &mut requests_end => over = true,
                    _ = stop.wait_for(|stop| *stop) => {
                        let _ = call.out.try_send(Err(Status::unavailable("the hub is stopping")));
                        over = true;
                    }
                    () = call.out.closed() => over = true,
                }
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(outgoing)))
    }

    /// What came since the last `get`.
    async fn get(self: Arc<Self>) -> Result<tonic::Response<Outgoing>, Status> {
        let permit = self.enter()?;
        let (had, latest) = (self.given.load(Ordering::Acquire), self.spool.state().borrow().latest);
        let (out, outgoing) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut call = Call::new(&self, out, permit, had);
            // The connection has taken all when nothing waits. Else the next `get` gives the same.
            if call.give(latest).await && call.out.reserve_many(WAITING).await.is_ok() {
                let given = self.given.fetch_max(call.had, Ordering::AcqRel).max(call.had);
                if let Err(error) = self.spool.set_cursor(NAME, given).await {
                    tracing::warn!(%error, "alerts will be given by get once more");
                }
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(outgoing)))
    }
}

/// A client that is given alerts.
struct Call<'o> {
    outputs: &'o Outputs,
    out: Out,
    /// Up to there it was given, or never will be.
    had: Seq,
    missed: i64,
    _permit: OwnedSemaphorePermit,
}

impl<'o> Call<'o> {
    fn new(outputs: &'o Outputs, out: Out, permit: OwnedSemaphorePermit, had: Seq) -> Call<'o> {
        outputs.metrics.grpc_calls.inc();
        Call { outputs, out, had, missed: 0, _permit: permit }
    }

    /// Alerts that are not there any more.
    fn miss(&mut self, number: i64) {
        self.missed += number;
        self.outputs.metrics.grpc_missed.inc_by(u64::try_from(number).unwrap_or(0));
    }

    /// Gives everything up to `latest`. False when the call is over.
    async fn give(&mut self, latest: Seq) -> bool {
        let mut stop = self.outputs.stop.clone();
        while self.had < latest {
            let read = match self.outputs.spool.read(self.had, CHUNK).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(%error, "alerts cannot be read for a gRPC client");
                    let _ = self.out.try_send(Err(Status::unavailable(error.to_string())));
                    return false;
                }
            };
            if read.is_empty() {
                self.miss(latest - self.had);
                self.had = latest;
            }
            for stored in read {
                self.miss(stored.seq - self.had - 1);
                self.had = stored.seq;
                tokio::select! {
                    sent = self.out.send(Ok(Output::from(&*stored.alert))) => if sent.is_err() { return false },
                    _ = stop.wait_for(|stop| *stop) => return false,
                }
                self.outputs.metrics.grpc_given.inc();
            }
        }
        true
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.outputs.metrics.grpc_calls.dec();
        if self.missed > 0 {
            tracing::warn!(missed = self.missed, "alerts were removed before a gRPC client took them");
        }
    }
}

/// A function as a service.
struct Service<F>(F);

impl<F, M, R, Answer> tower_service::Service<tonic::Request<M>> for Service<F>
where
    F: FnMut(tonic::Request<M>) -> Answer,
    Answer: Future<Output = Result<tonic::Response<R>, Status>>,
{
    type Response = tonic::Response<R>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<M>) -> Answer {
        self.0(request)
    }
}

fn server<R: prost::Message + 'static>() -> tonic::server::Grpc<ProstCodec<R, Request>> {
    tonic::server::Grpc::new(ProstCodec::default()).max_decoding_message_size(REQUEST_MAX)
}

async fn sub(State(outputs): State<Arc<Outputs>>, request: extract::Request) -> Response {
    let sub = Service(move |requests: tonic::Request<Streaming<Request>>| outputs.clone().sub(requests.into_inner()));
    server::<Output>().streaming(sub, request).await.map(Body::new)
}

async fn get(State(outputs): State<Arc<Outputs>>, request: extract::Request) -> Response {
    let get = Service(move |_: tonic::Request<Request>| outputs.clone().get());
    server::<Output>().server_streaming(get, request).await.map(Body::new)
}

async fn version(request: extract::Request) -> Response {
    let version = Service(|_: tonic::Request<Request>| async { Ok(tonic::Response::new(Version::ours())) });
    server::<Version>().unary(version, request).await.map(Body::new)
}

async fn unknown() -> Response {
    Status::unimplemented("falco.outputs.service has sub and get, falco.version.service has version").into_http()
}

pub fn router(outputs: Arc<Outputs>) -> Router {
    Router::new()
        .route("/falco.outputs.service/sub", any(sub))
        .route("/falco.outputs.service/get", any(get))
        .route("/falco.version.service/version", any(version))
        .fallback(unknown)
        .with_state(outputs)
}
