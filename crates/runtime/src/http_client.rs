//! A small HTTP/1.1 client: one request on one connection, everything capped.
//!
//! Nodes ask authorities with it and command lines ask daemons. No names are resolved, no
//! redirects followed, no TLS: documents are signed, and daemons answer on loopback.

use crate::gzip;
use crate::http::ChannelBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use hyper::{Method, StatusCode};

/// The header that says that an answer may be packed; [`HttpClient::request`] unpacks it.
pub const ACCEPT_GZIP: (&str, &str) = ("accept-encoding", "gzip");
/// Longest line of a stream.
const LINE_MAX: usize = 2 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// Nobody listens, or the connection broke.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// Whom.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The request cannot be written down (a bad path or header).
    #[error("not a request: {0}")]
    BadRequest(#[from] hyper::http::Error),
    /// The other end does not speak HTTP as we do.
    #[error("no usable answer: {0}")]
    Protocol(#[from] hyper::Error),
    /// It took longer than [`HttpClient::timeout`].
    #[error("no answer in time")]
    Timeout,
    /// The answer is longer than [`HttpClient::body_max`], cut short, or packed in a way that is not ours.
    #[error("the answer is too long, was cut short, or cannot be unpacked")]
    Body,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200 and the like.
    pub status: StatusCode,
    /// What stands before the body.
    pub headers: HeaderMap,
    /// At most [`HttpClient::body_max`] bytes, unpacked.
    pub body: Bytes,
}

/// Asks one server.
#[derive(Clone, Debug)]
pub struct HttpClient {
    /// Whom.
    pub address: SocketAddr,
    /// For the whole of a request, or for a stream's headers.
    pub timeout: Duration,
    /// Most bytes of an answer.
    pub body_max: usize,
}

impl HttpClient {
    /// 10 s, 8 MiB.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            timeout: Duration::from_secs(10),
            body_max: 8 * 1024 * 1024,
        }
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Result<Answer, HttpClientError> {
        self.request(Method::GET, path, &[], Bytes::new()).await
    }

    /// [`HttpClient::get`] of what the server may pack.
    pub async fn get_packed(&self, path: &str) -> Result<Answer, HttpClientError> {
        self.request(Method::GET, path, &[ACCEPT_GZIP], Bytes::new())
            .await
    }

    /// Any request; `headers` are names and values.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, HttpClientError> {
        let body = body.into();
        self.in_time(async {
            let (response, _connection) = self.send(method, path, headers, body).await?;
            let (parts, body) = response.into_parts();
            let collected = Limited::new(body, self.body_max)
                .collect()
                .await
                .map_err(|_| HttpClientError::Body)?;
            Ok(Answer {
                status: parts.status,
                body: self.unpacked(&parts.headers, collected.to_bytes())?,
                headers: parts.headers,
            })
        })
        .await
    }

    /// The body as it was before it was packed for the way, if it was; the limit holds for both.
    fn unpacked(&self, headers: &HeaderMap, body: Bytes) -> Result<Bytes, HttpClientError> {
        match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None => Ok(body),
            Some(b"gzip") => {
                let unpacked = gzip::unpack(&body, self.body_max);
                unpacked.map(Bytes::from).ok_or(HttpClientError::Body)
            }
            Some(_) => Err(HttpClientError::Body),
        }
    }

    /// `GET path`, read line by line while it lasts (server-sent events).
    pub async fn stream(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Lines, HttpClientError> {
        self.in_time(async {
            let (response, connection) =
                self.send(Method::GET, path, headers, Bytes::new()).await?;
            Ok(Lines {
                status: response.status(),
                body: response.into_body(),
                buffer: Vec::new(),
                _connection: connection,
            })
        })
        .await
    }

    /// `POST path` with a body that comes in pieces, `len` bytes together. Takes as long as it takes.
    pub async fn upload(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        len: u64,
        pieces: mpsc::Receiver<Bytes>,
    ) -> Result<Answer, HttpClientError> {
        let length = len.to_string();
        let mut headers = headers.to_vec();
        headers.push(("content-length", &length));
        let body = ChannelBody(pieces);
        let (response, _connection) = self.send_body(Method::POST, path, &headers, body).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, self.body_max).collect().await;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.map_err(|_| HttpClientError::Body)?.to_bytes(),
        })
    }

    /// `GET path`, whose body comes in pieces of any length. Takes as long as it takes.
    pub async fn download(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Pieces, HttpClientError> {
        self.in_time(async {
            let (response, connection) =
                self.send(Method::GET, path, headers, Bytes::new()).await?;
            let len = response.headers().get(CONTENT_LENGTH);
            let len = len.and_then(|v| v.to_str().ok()?.parse().ok());
            Ok(Pieces {
                status: response.status(),
                len,
                body: response.into_body(),
                _connection: connection,
            })
        })
        .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(hyper::Response<Incoming>, Connection), HttpClientError> {
        self.send_body(method, path, headers, Full::new(body)).await
    }

    async fn send_body<B>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: B,
    ) -> Result<(hyper::Response<Incoming>, Connection), HttpClientError>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body)?;
        let unreachable = |source| HttpClientError::Unreachable {
            address: self.address,
            source,
        };
        let tcp = TcpStream::connect(self.address)
            .await
            .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
        let connection = Connection(tokio::spawn(async move {
            // Whatever ends it early is seen by the one who reads the answer.
            let _ = connection.await;
        }));
        Ok((sender.send_request(request).await?, connection))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, HttpClientError>>,
    ) -> Result<T, HttpClientError> {
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or(Err(HttpClientError::Timeout))
    }
}

/// The task that moves a connection's bytes; ends with the one who needs it.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that comes in pieces.
pub struct Pieces {
    /// 200 and the like.
    pub status: StatusCode,
    /// How long it says to be.
    pub len: Option<u64>,
    body: Incoming,
    _connection: Connection,
}

impl Pieces {
    /// The next piece, or `None` after the last. A body that ends too early is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// An answer that comes line by line.
pub struct Lines {
    /// 200 and the like.
    pub status: StatusCode,
    body: Incoming,
    buffer: Vec<u8>,
    _connection: Connection,
}

impl Lines {
    /// The next line without its end, or `None` after the last. Cancel safe. A line of more than
    /// 2 MiB is [`HttpClientError::Body`].
    pub async fn next(&mut self) -> Result<Option<String>, HttpClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if self.buffer.len() > LINE_MAX {
                return Err(HttpClientError::Body);
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
