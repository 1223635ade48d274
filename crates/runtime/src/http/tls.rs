//! TLS for an HTTP server that other machines reach: certificate and key from PEM files. Not here:
//! links between our own programs, which prove raw keys ([`crate::link`]).

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct TlsFileError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// The server's end of TLS 1.3 with a certificate.
#[derive(Clone)]
pub struct ServerTls(TlsAcceptor);

impl ServerTls {
    /// From a chain of certificates, our own first, and the key of the first, both PEM.
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let failed = |path: &Path, what: String| TlsFileError {
            path: path.to_owned(),
            what,
        };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
        let chain = chain.map_err(|error| failed(certificates, error.to_string()))?;
        let secret =
            PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, secret))
            .map_err(|error| failed(certificates, error.to_string()))?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    pub(super) async fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(tcp).await
    }
}
