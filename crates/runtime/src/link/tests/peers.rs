//! Diallers that the product does not have, and a relay that remembers what passed.

use super::super::tls;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::keys::{IdentityPublic, IdentitySecret};

/// Dials with groups and suites of its own choice.
pub(super) async fn dial_with(
    provider: CryptoProvider,
    identity: &IdentitySecret,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let key = tls::RawKey::new(identity).unwrap().certified();
    connect(provider, key, address).await
}

/// Shows one key and signs with another.
pub(super) async fn dial_showing(
    signer: &IdentitySecret,
    shown: &IdentityPublic,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let own = tls::RawKey::new(signer).unwrap().certified();
    let shown = CertificateDer::from(tls::spki_of(shown));
    let key = Arc::new(CertifiedKey::new(vec![shown], own.key.clone()));
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    };
    connect(provider, key, address).await
}

async fn connect(
    provider: CryptoProvider,
    key: Arc<CertifiedKey>,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let resolver = AlwaysResolvesClientRawPublicKeys::new(key);
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_client_cert_resolver(Arc::new(resolver));
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Passes one connection on and keeps a copy of its bytes.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    forth: Arc<Mutex<Vec<u8>>>,
    back: Arc<Mutex<Vec<u8>>>,
}

impl Relay {
    pub(super) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            forth: Arc::default(),
            back: Arc::default(),
        };
        let (forth, back) = (relay.forth.clone(), relay.back.clone());
        tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(target).await.unwrap();
            let ((near_read, near_write), (far_read, far_write)) =
                (near.into_split(), far.into_split());
            tokio::join!(
                copy(near_read, far_write, forth),
                copy(far_read, near_write, back)
            );
        });
        relay
    }

    pub(super) fn towards_listener(&self) -> Vec<u8> {
        self.forth.lock().unwrap().clone()
    }

    pub(super) fn towards_dialler(&self) -> Vec<u8> {
        self.back.lock().unwrap().clone()
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        seen.lock().unwrap().extend_from_slice(&buffer[..n]);
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// The lengths of the TLS records in a stream of bytes, their headers included.
pub(super) fn records(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_kind, 3, 1 | 3, high, low, ..] = bytes {
        let len = 5 + usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(len);
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "a record is cut short");
    lengths
}
