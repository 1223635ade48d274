//! Links between our own programs: TLS 1.3 with raw public keys, and frames of one length.
//!
//! [`NodeTls`] proves a node's identity in both directions; [`ClientTls`] and [`ClientListenerTls`]
//! prove the gateway's alone. All of them hand out a [`FrameReader`] and a [`FrameWriter`], after
//! both ends exchanged their [`Hello`]. What TLS is allowed to do is in `link/tls.rs`; what passes
//! through it in `link/frames.rs`, and when it came in `link/stamped.rs`. Who is dialled, and when, is [`crate::outbound`]; who may
//! knock, [`crate::inbound`]. Specified in `docs/spec/link.md`.

mod frames;
mod stamped;
mod tls;

pub use frames::{FrameReader, FrameWriter};

use crate::clock::Clock;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wire::codec::DecodeError;
use wire::frame::{Frame, Hello, HelloMismatch, Speaker};
use wire::ids::{NetworkId, SessionAddress};
use wire::keys::{IdentityPublic, IdentitySecret};
use wire::time::UnixTime;

/// From the TCP connection to the peer's [`Hello`], all in all.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may take to make room for a batch of frames.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a link ended or never came to be. Each ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network or the other end's machine.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The other end speaks other TLS than ours, or sent a changed record.
    #[error("TLS refused the peer: {0}")]
    Tls(#[from] rustls::Error),
    /// The peer that answered is not the one that was dialled.
    #[error("the peer has another identity than the directory says")]
    WrongPeer,
    /// The caller of `accept` does not know this identity.
    #[error("the peer is not in the directory")]
    NotAllowed,
    /// Version, network or geometry differ.
    #[error("{0}")]
    Mismatch(#[from] HelloMismatch),
    /// The first frame was no `Hello`, or a later one was; or it is that of a client where a node belongs, or
    /// the like.
    #[error("the peer does not keep to the order of frames")]
    Order,
    /// A record holds a frame that means nothing.
    #[error("the peer sent a frame that cannot be read: {0}")]
    Frame(DecodeError),
    /// A record is not exactly one frame.
    #[error("the peer sent a record of {0} bytes; each is one frame")]
    RecordLength(usize),
    /// No handshake within [`HANDSHAKE_TIMEOUT`].
    #[error("the peer took too long to shake hands")]
    HandshakeTimeout,
    /// The peer did not read for [`WRITE_TIMEOUT`].
    #[error("the peer stopped reading")]
    Stalled,
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// An earlier `send` failed or was dropped half-way.
    #[error("this end of the link is broken since an earlier write")]
    Broken,
}

/// A link to another node.
pub struct NodeLink {
    /// Who is at the other end; proven.
    pub peer: IdentityPublic,
    /// What it says.
    pub reader: FrameReader,
    /// What we say.
    pub writer: FrameWriter,
}

impl NodeLink {
    /// Has the runtime of this call wake whoever reads and writes; the one in which the link was made
    /// has nothing to do with it any more.
    pub fn take_over(self) -> std::io::Result<Self> {
        let (reader, writer) = frames::take_over(self.reader, self.writer)?;
        Ok(Self {
            peer: self.peer,
            reader,
            writer,
        })
    }
}

/// A client's link to its gateway.
pub struct EntryLink {
    /// What the gateway says.
    pub reader: FrameReader,
    /// What we say.
    pub writer: FrameWriter,
    /// The gateway's clock when it said `Hello`.
    pub time: UnixTime,
    /// It said so at most so long before it was heard.
    pub took: Duration,
}

/// A gateway's link to a client.
pub struct ClientLink {
    /// The client's address at the gateway.
    pub session: SessionAddress,
    /// What the other end says.
    pub reader: FrameReader,
    /// What we say.
    pub writer: FrameWriter,
}

/// A node's side of links between nodes: proves its identity, demands the peer's.
#[derive(Clone)]
pub struct NodeTls {
    key: tls::RawKey,
    server: Arc<ServerConfig>,
    handshake_timeout: Duration,
}

impl NodeTls {
    /// With this node's identity.
    pub fn new(identity: &IdentitySecret) -> Result<Self, LinkError> {
        let key = tls::RawKey::new(identity)?;
        Ok(Self {
            server: Arc::new(tls::node_server(&key)?),
            key,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        })
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`]; for tests.
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Answers a connection on the listener for nodes. `allow` decides about the proven identity
    /// before any frame is read or written.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        network: NetworkId,
        allow: impl FnOnce(&IdentityPublic) -> bool,
    ) -> Result<NodeLink, LinkError> {
        within(self.handshake_timeout, async {
            let (tcp, connection) = tls_accept(&self.server, tcp).await?;
            let peer = peer_of(connection.peer_certificates())?;
            if !allow(&peer) {
                return Err(LinkError::NotAllowed);
            }
            let (reader, writer) = frames::open(tcp, Connection::Server(connection));
            let (reader, writer) = greet_node(reader, writer, network).await?;
            Ok(NodeLink {
                peer,
                reader,
                writer,
            })
        })
        .await
    }

    /// Dials a node and goes on only if it proves to be `expected`.
    pub async fn dial(
        &self,
        address: SocketAddr,
        expected: &IdentityPublic,
        network: NetworkId,
    ) -> Result<NodeLink, LinkError> {
        within(self.handshake_timeout, async {
            let config = tls::node_client(&self.key, expected)?;
            let (reader, writer) = tls_connect(config, address, None).await?;
            let (reader, writer) = greet_node(reader, writer, network).await?;
            Ok(NodeLink {
                peer: *expected,
                reader,
                writer,
            })
        })
        .await
    }
}

/// A client's side of its link: proves nothing, demands the gateway's identity.
#[derive(Clone)]
pub struct ClientTls {
    handshake_timeout: Duration,
    source: Option<IpAddr>,
}

impl ClientTls {
    /// Holds no key.
    #[expect(clippy::new_without_default, reason = "as its siblings are made")]
    pub fn new() -> Self {
        Self {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            source: None,
        }
    }

    /// Dials from this address of the machine instead of one that the system chooses.
    pub fn with_source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`]; for tests.
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Dials a gateway's listener for clients and presents `session`.
    pub async fn dial(
        &self,
        address: SocketAddr,
        expected: &IdentityPublic,
        network: NetworkId,
        session: SessionAddress,
    ) -> Result<EntryLink, LinkError> {
        within(self.handshake_timeout, async {
            let config = tls::anonymous_client(expected)?;
            let (reader, writer) = tls_connect(config, address, self.source).await?;
            let asked = Instant::now();
            let ours = Speaker::Client(session);
            let (reader, writer, theirs) = greet(reader, writer, network, ours).await?;
            let Speaker::Gateway(time) = theirs else {
                return Err(LinkError::Order);
            };
            Ok(EntryLink {
                reader,
                writer,
                time,
                took: asked.elapsed(),
            })
        })
        .await
    }
}

/// A gateway's side of links to clients: proves its identity, demands none.
#[derive(Clone)]
pub struct ClientListenerTls {
    server: Arc<ServerConfig>,
    handshake_timeout: Duration,
    behind: Duration,
}

impl ClientListenerTls {
    /// With the gateway's identity.
    pub fn new(identity: &IdentitySecret) -> Result<Self, LinkError> {
        let key = tls::RawKey::new(identity)?;
        Ok(Self {
            server: Arc::new(tls::client_facing_server(&key)?),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            behind: Duration::ZERO,
        })
    }

    /// Says a time that is so long ago; for tests.
    pub fn with_clock_behind(mut self, behind: Duration) -> Self {
        self.behind = behind;
        self
    }

    /// Another limit than [`HANDSHAKE_TIMEOUT`]; for tests.
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Answers a connection on the listener for clients.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        network: NetworkId,
    ) -> Result<ClientLink, LinkError> {
        within(self.handshake_timeout, async {
            let (tcp, connection) = tls_accept(&self.server, tcp).await?;
            let (reader, writer) = frames::open(tcp, Connection::Server(connection));
            let time = Clock::start().unix().0;
            let behind = u64::try_from(self.behind.as_millis()).unwrap_or(u64::MAX);
            let ours = Speaker::Gateway(UnixTime(time.saturating_sub(behind)));
            let (reader, writer, theirs) = greet(reader, writer, network, ours).await?;
            let Speaker::Client(session) = theirs else {
                return Err(LinkError::Order);
            };
            Ok(ClientLink {
                session,
                reader,
                writer,
            })
        })
        .await
    }
}

async fn within<T>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    match tokio::time::timeout(limit, handshake).await {
        Ok(result) => result,
        Err(_elapsed) => Err(LinkError::HandshakeTimeout),
    }
}

async fn tls_accept(
    config: &Arc<ServerConfig>,
    tcp: TcpStream,
) -> Result<(TcpStream, ServerConnection), LinkError> {
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(config.clone())
        .accept(tcp)
        .await
        .map_err(tls_error)?;
    Ok(stream.into_inner())
}

async fn tls_connect(
    config: ClientConfig,
    address: SocketAddr,
    source: Option<IpAddr>,
) -> Result<(FrameReader, FrameWriter), LinkError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    // An address is never sent as a server name, and ours have no names.
    let name = ServerName::from(address.ip());
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(tls_error)?;
    let (tcp, connection): (TcpStream, ClientConnection) = stream.into_inner();
    Ok(frames::open(tcp, Connection::Client(connection)))
}

/// Says our `Hello`, then reads the peer's. Both ends speak first, so that both can name what
/// differs.
async fn greet(
    mut reader: FrameReader,
    mut writer: FrameWriter,
    network: NetworkId,
    ours: Speaker,
) -> Result<(FrameReader, FrameWriter, Speaker), LinkError> {
    let ours = Frame::Hello(Hello::new(network, ours)).encode();
    writer.send(&[ours]).await?;
    let hello = reader.read_hello().await?;
    hello.check(&network)?;
    Ok((reader, writer, hello.speaker))
}

/// [`greet`] as a node that speaks to one.
async fn greet_node(
    reader: FrameReader,
    writer: FrameWriter,
    network: NetworkId,
) -> Result<(FrameReader, FrameWriter), LinkError> {
    match greet(reader, writer, network, Speaker::Node).await? {
        (reader, writer, Speaker::Node) => Ok((reader, writer)),
        (_, _, Speaker::Client(_) | Speaker::Gateway(_)) => Err(LinkError::Order),
    }
}

fn peer_of(
    certificates: Option<&[rustls::pki_types::CertificateDer<'_>]>,
) -> Result<IdentityPublic, LinkError> {
    match certificates {
        Some([spki]) => Ok(tls::identity_of_spki(spki)?),
        Some(_) | None => Err(LinkError::Tls(rustls::Error::NoCertificatesPresented)),
    }
}

/// tokio-rustls wraps what TLS says in an `io::Error`; this takes it out again.
fn tls_error(error: std::io::Error) -> LinkError {
    match error.downcast::<rustls::Error>() {
        Ok(inner) if tls::is_wrong_peer(&inner) => LinkError::WrongPeer,
        Ok(inner) => LinkError::Tls(inner),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => LinkError::Closed,
        Err(error) => LinkError::Io(error),
    }
}

#[cfg(test)]
mod tests;
