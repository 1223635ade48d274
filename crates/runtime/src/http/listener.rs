//! Where HTTP connections come from: TCP, a Unix socket, or TLS over TCP. Not here: what is said on
//! them ([`crate::http`]).

use super::tls::ServerTls;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A listening socket.
pub enum Listener {
    /// In the clear; for loopback, or documents that are signed.
    Tcp(TcpListener),
    /// For programs of one user.
    Unix(UnixListener),
    /// For other machines.
    Tls(TcpListener, ServerTls),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Listens at `path`: the folder becomes 0700 if it must be made, and must not be open to others; the
/// socket becomes 0600. A socket that a daemon left behind is replaced, anything else refused.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|error| named(folder, "cannot make the folder of the socket", &error))?;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 != 0 {
        let text =
            "other users may enter the folder of the socket: make it 0700, or choose another";
        return Err(named(folder, text, &io::ErrorKind::PermissionDenied.into()));
    }
    match path.symlink_metadata() {
        // Whoever holds the lock of the data folder is the only one who listens here.
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            let error = io::ErrorKind::AlreadyExists.into();
            return Err(named(
                path,
                "something that is no socket stands here",
                &error,
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)
        .map_err(|error| named(path, "cannot listen on the socket", &error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn named(path: &Path, text: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("{}: {text} ({error})", path.display()),
    )
}

/// A connection that was accepted and not looked at yet.
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(TcpStream, ServerTls),
}

/// What HTTP is spoken on.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Listener {
    /// Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(tcp, _)| Accepted::Tcp(tcp)),
            Self::Unix(listener) => listener.accept().await.map(|(io, _)| Accepted::Unix(io)),
            Self::Tls(listener, tls) => {
                let (tcp, _) = listener.accept().await?;
                Ok(Accepted::Tls(tcp, tls.clone()))
            }
        }
    }
}

impl Accepted {
    /// Ready for HTTP.
    pub(super) async fn open(self) -> io::Result<Box<dyn Connection>> {
        match self {
            Self::Tcp(tcp) => {
                tcp.set_nodelay(true)?;
                Ok(Box::new(tcp))
            }
            Self::Unix(io) => Ok(Box::new(io)),
            Self::Tls(tcp, tls) => {
                tcp.set_nodelay(true)?;
                Ok(Box::new(tls.accept(tcp).await?))
            }
        }
    }

    /// Where it comes from, if from a network.
    pub(super) fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(tcp) | Self::Tls(tcp, _) => tcp.peer_addr().ok().map(|a| a.ip()),
            Self::Unix(_) => None,
        }
    }

    /// One try, no waiting: a full server spends nothing on the one that is too many.
    pub(super) fn refuse(&self) {
        let _ = match self {
            Self::Tcp(tcp) => tcp.try_write(FULL),
            Self::Unix(io) => io.try_write(FULL),
            Self::Tls(..) => Ok(0),
        };
    }
}
