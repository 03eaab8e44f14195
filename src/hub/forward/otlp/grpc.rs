//! The way to a receiver over gRPC: one call for each message, over one connection that is made when it is needed.
//!
//! Which statuses mean what is the specification's (OTLP/gRPC response, and its table of retryable codes); of what it
//! calls final, that which would meet every alert is tried again as over HTTP. Invariant: after a failure the next call
//! is made over a new connection, so that one that died without a word is not asked twice.

use super::proto::{RetryInfo, StatusDetails, Taken};
use crate::hub::causes::causes;
use crate::hub::forward::Failure;
use crate::hub::json::head;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::error::Error as _;
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// How long it may take until a receiver listens and TLS is agreed upon.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

pub struct Grpc {
    endpoint: Endpoint,
    connect: Connect,
    method: PathAndQuery,
    metadata: MetadataMap,
    timeout: Duration,
    channel: Mutex<Option<Channel>>,
}

impl Grpc {
    /// With `https` TLS is spoken as `tls` says. The path of `url` is not used: the method is one.
    pub fn new(
        url: &str,
        method: &'static str,
        headers: &[(String, String)],
        timeout: Duration,
        mut tls: ClientConfig,
    ) -> Result<Grpc, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("'{url}' is not an address: {error}");
        let uri: Uri = url.parse().map_err(|error| wrong(&error))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let tls = (uri.scheme() == Some(&http::uri::Scheme::HTTPS)).then(|| TlsConnector::from(Arc::new(tls)));
        let endpoint = Endpoint::from(uri).connect_timeout(CONNECT_WITHIN);
        let endpoint = endpoint.user_agent("Falcosidekick").map_err(|error| wrong(&error))?;
        let mut metadata = MetadataMap::new();
        for (name, value) in headers {
            let key: Result<MetadataKey<Ascii>, _> = name.to_ascii_lowercase().parse();
            let key = key.map_err(|_| format!("headers: '{name}' cannot be the name of gRPC metadata"))?;
            let value: Result<MetadataValue<Ascii>, _> = value.parse();
            let value = value.map_err(|_| format!("headers: the value of '{name}' must be visible ASCII"))?;
            metadata.insert(key, value);
        }
        let method = PathAndQuery::from_static(method);
        Ok(Grpc { endpoint, connect: Connect { tls }, method, metadata, timeout, channel: Mutex::default() })
    }

    /// Nothing is connected before it is called.
    fn channel(&self) -> Channel {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.get_or_insert_with(|| self.endpoint.connect_with_connector_lazy(self.connect.clone())).clone()
    }

    pub async fn export<M: Message + 'static>(&self, message: M, key: Option<&str>) -> Result<Taken, Failure> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        if let Some(key) = key.and_then(|key| MetadataValue::try_from(key).ok()) {
            request.metadata_mut().insert("idempotency-key", key);
        }
        request.set_timeout(self.timeout);
        let mut client = tonic::client::Grpc::new(self.channel());
        let call = async {
            client.ready().await.map_err(|error| Failure::down(causes(&error)))?;
            let answer = client.unary(request, self.method.clone(), ProstCodec::<M, Taken>::default()).await;
            answer.map(tonic::Response::into_inner).map_err(|status| failure(&status))
        };
        // The receiver was told the time as well; a connection that is not made yet is not.
        let outcome = tokio::time::timeout(self.timeout, call).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::down(format!("no answer within {:?}", self.timeout))));
        if let Err(Failure::Down { .. }) = outcome {
            *self.channel.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome
    }
}

/// Which kind of failure a status is.
fn failure(status: &Status) -> Failure {
    // It has a source when no receiver said it: no connection, one that broke.
    if let Some(source) = status.source() {
        return Failure::down(causes(source));
    }
    // What a server says is shown to people and logged.
    let told: String = head(status.message(), 300).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let what = format!("{:?}: {told}", status.code());
    let after = retry_delay(status.details());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Failure::Down { what, after },
        // Overloaded, and will be better. Without a delay it is for good: most often the message is too large.
        Code::ResourceExhausted if after.is_some() => Failure::Down { what, after },
        // Final for the specification. But it is not the alert: credentials, an address where nobody takes such signals.
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Failure::Down { what, after },
        _ => Failure::Refused(what),
    }
}

/// When to come again, where a receiver says so (google.rpc.RetryInfo).
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let details = StatusDetails::decode(details).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

/// Makes connections.
#[derive(Clone)]
struct Connect {
    tls: Option<TlsConnector>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Service<Uri> for Connect {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return Ok(TokioIo::new(Box::new(stream) as Box<dyn Stream>)) };
            let name = ServerName::try_from(host).map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
            Ok(TokioIo::new(Box::new(tls.connect(name, stream).await?) as Box<dyn Stream>))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::{Any, Delay};
    use super::*;

    fn details(seconds: i64, nanos: i32) -> Vec<u8> {
        let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos }) };
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        StatusDetails { details: vec![any] }.encode_to_vec()
    }

    #[test]
    fn statuses() {
        for (code, expected) in [
            (Code::Cancelled, true),
            (Code::Unknown, false),
            (Code::InvalidArgument, false),
            (Code::DeadlineExceeded, true),
            (Code::NotFound, false),
            (Code::AlreadyExists, false),
            (Code::PermissionDenied, true),
            (Code::ResourceExhausted, false),
            (Code::FailedPrecondition, false),
            (Code::Aborted, true),
            (Code::OutOfRange, true),
            (Code::Unimplemented, true),
            (Code::Internal, false),
            (Code::Unavailable, true),
            (Code::DataLoss, true),
            (Code::Unauthenticated, true),
        ] {
            let down = matches!(failure(&Status::new(code, "x")), Failure::Down { .. });
            assert_eq!(down, expected, "{code:?}");
        }
    }

    #[test]
    fn a_receiver_that_says_when_to_come_again() {
        let status = Status::with_details(Code::ResourceExhausted, "slow\ndown", details(3, 500_000_000).into());
        let expected =
            Failure::Down { what: "ResourceExhausted: slow down".to_owned(), after: Some(Duration::from_millis(3500)) };
        assert_eq!(failure(&status), expected);
        assert_eq!(retry_delay(&details(-1, 0)), None);
        assert_eq!(retry_delay(b"\xff"), None);
    }
}
