//! A small HTTP/1.1 server with limits on everything a stranger can make wait or grow.
//!
//! Headers must come within 5 s and fit 16 KiB, bodies have a cap and a time, connections a number.
//! The client's half is [`crate::http_client`], where connections come from `listener`. Routes are the
//! daemons' own.

mod lingering;
mod listener;
mod sources;
mod tls;

pub use lingering::Lingering;
pub use listener::{Listener, bind_unix};
pub use tls::{ServerTls, TlsFileError};

use crate::shutdown::Shutdown;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use listener::Accepted;
use sources::Sources;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

pub use hyper::{Method, StatusCode};

/// The body of an answer.
pub type Body = BoxBody<Bytes, Infallible>;
/// A question; its body is cut off at [`HttpLimits::body_max`]. What a handler does not read of it is read
/// after it, so that its answer arrives.
pub type Request = hyper::Request<Limited<Lingering>>;
/// An answer.
pub type Response = hyper::Response<Body>;

/// Most bytes of headers.
pub const HEADER_MAX: usize = 16 * 1024;
/// How long answers may still run once the server is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Limits of one server.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Connections at a time; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Of them, from one address (IPv6: one /64); one more is answered in the same way. A Unix socket has none.
    pub connections_per_address: usize,
    /// For all headers of a request, and for a connection that is idle between two.
    pub header_timeout: Duration,
    /// Most bytes of a request's body; more is answered 413.
    pub body_max: usize,
    /// For the whole body of a request; see [`read_body`].
    pub body_timeout: Duration,
}

impl Default for HttpLimits {
    /// 256 connections from anywhere, 5 s, 1 MiB, 10 s.
    fn default() -> Self {
        Self {
            connections_max: 256,
            connections_per_address: usize::MAX,
            header_timeout: Duration::from_secs(5),
            body_max: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
        }
    }
}

/// Listens at `address`, or says what to change.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let cure = if error.kind() == io::ErrorKind::AddrInUse {
            "another process listens there: stop it or configure another port"
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            "ports below 1024 need a privilege: configure another"
        } else if error.kind() == io::ErrorKind::AddrNotAvailable {
            "this machine does not have that address: configure another"
        } else {
            "check the address"
        };
        io::Error::new(
            error.kind(),
            format!("cannot listen on {address}: {cure} ({error})"),
        )
    })
}

/// Listens at 127.0.0.1; port 0 takes any free one.
pub async fn bind_loopback(port: u16) -> io::Result<TcpListener> {
    bind((Ipv4Addr::LOCALHOST, port).into()).await
}

/// Answers requests by `handler` until `shutdown`; running answers then have two seconds.
pub async fn serve<H, HF>(
    listener: impl Into<Listener>,
    limits: HttpLimits,
    shutdown: Shutdown,
    handler: H,
) where
    H: Fn(Request) -> HF + Clone + Send + Sync + 'static,
    HF: Future<Output = Response> + Send + 'static,
{
    let listener = listener.into();
    let connections = Arc::new(Semaphore::new(limits.connections_max));
    let sources = Sources::default();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => break,
            // Takes ended tasks out of the set.
            Some(_) = tasks.join_next() => continue,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection now");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let from = accepted.source();
        let place = from.map(|ip| sources.enter(ip, limits.connections_per_address));
        let permit = connections.clone().try_acquire_owned();
        let (Some(Some(_)) | None, Ok(permit)) = (&place, permit) else {
            accepted.refuse();
            continue;
        };
        let (limits, shutdown, handler) = (limits.clone(), shutdown.clone(), handler.clone());
        tasks.spawn(async move {
            serve_connection(accepted, &limits, shutdown, handler).await;
            drop((permit, place));
        });
    }
    drop(listener);
    let drained = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    tasks.shutdown().await;
}

async fn serve_connection<H, HF>(
    accepted: Accepted,
    limits: &HttpLimits,
    shutdown: Shutdown,
    handler: H,
) where
    H: Fn(Request) -> HF + Send + Sync,
    HF: Future<Output = Response> + Send,
{
    let opened = tokio::time::timeout(limits.header_timeout, accepted.open());
    let io = tokio::select! {
        opened = opened => match opened {
            Ok(Ok(io)) => io,
            Ok(Err(_)) | Err(_) => return,
        },
        () = shutdown.wait() => return,
    };
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let announced = request.body().size_hint().lower();
        let too_large = announced > limits.body_max as u64;
        let request = request.map(|body| Limited::new(Lingering::new(body), limits.body_max));
        let answer = (!too_large).then(|| handler(request));
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer.await,
                None => BodyError::TooLarge.response(),
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

/// Takes the connection of a request out of HTTP, once the answer 101 has gone (WebSocket). To be
/// called before the request is dropped.
pub fn upgrade(request: &mut Request) -> Upgrade {
    Upgrade(hyper::upgrade::on(request))
}

/// A connection that is about to leave HTTP.
pub struct Upgrade(OnUpgrade);

impl Upgrade {
    /// The connection; an error when the answer was not 101 or the other end is gone.
    pub async fn connection(self) -> io::Result<TokioIo<Upgraded>> {
        self.0.await.map(TokioIo::new).map_err(io::Error::other)
    }
}

/// Why a request's body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// More than [`HttpLimits::body_max`].
    TooLarge,
    /// Not within [`HttpLimits::body_timeout`].
    TooSlow,
    /// The connection broke or the body's encoding is wrong.
    Broken,
}

impl BodyError {
    /// 413, 408 or 400.
    pub fn response(self) -> Response {
        match self {
            Self::TooLarge => text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
            Self::TooSlow => text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n"),
            Self::Broken => text(StatusCode::BAD_REQUEST, "the body cannot be read\n"),
        }
    }
}

/// A request's whole body, within the limits.
pub async fn read_body(body: Limited<Lingering>, timeout: Duration) -> Result<Bytes, BodyError> {
    read_short_body(body, usize::MAX, timeout).await
}

/// [`read_body`] for a body that may have no more than `max` bytes, fewer than
/// [`HttpLimits::body_max`].
pub async fn read_short_body(
    body: Limited<Lingering>,
    max: usize,
    timeout: Duration,
) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(timeout, Limited::new(body, max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_elapsed) => Err(BodyError::TooSlow),
    }
}

/// Whether a request names this machine's loopback as its host. A web page that made a browser
/// resolve its own name to 127.0.0.1 is told apart by this; what answers on loopback asks it first.
pub fn is_for_loopback<B>(request: &hyper::Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let name = host.to_str().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => name,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// An answer with a body of known bytes.
pub fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    with_body(status, content_type, Full::new(body.into()).boxed())
}

/// An answer in plain text.
pub fn text(status: StatusCode, body: impl Into<String>) -> Response {
    respond(status, "text/plain; charset=utf-8", body.into())
}

/// An answer whose pieces come through a channel, until its sender is dropped (server-sent
/// events). When the reader is slow the channel fills, and the sender decides what that means.
pub fn stream(content_type: &'static str, pieces: mpsc::Receiver<Bytes>) -> Response {
    with_body(StatusCode::OK, content_type, ChannelBody(pieces).boxed())
}

fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

/// A body out of a channel; it ends with the channel.
pub(crate) struct ChannelBody(pub(crate) mpsc::Receiver<Bytes>);

impl hyper::body::Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|b| Ok(Frame::data(b))))
    }
}

#[cfg(test)]
mod tests;
