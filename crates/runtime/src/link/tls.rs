//! What TLS may do on a link: version 1.3, one key exchange, one cipher suite, Ed25519 raw public
//! keys, and no memory of earlier connections. `docs/spec/link.md` §1.
//!
//! Who may connect is decided in `link.rs`; this file checks that the peer *owns* the key it shows.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key as verify_raw,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use wire::keys::{IdentityPublic, IdentitySecret};
use zeroize::Zeroizing;

/// `SubjectPublicKeyInfo` of an Ed25519 key up to the key itself (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// `OneAsymmetricKey` version 1 of an Ed25519 seed up to the seed itself (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A node's identity as TLS takes it.
#[derive(Clone)]
pub(super) struct RawKey(Arc<CertifiedKey>);

impl RawKey {
    pub(super) fn new(identity: &IdentitySecret) -> Result<Self, Error> {
        let seed = identity.expose_seed();
        let mut pkcs8 = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + seed.len()));
        pkcs8.extend_from_slice(&PKCS8_PREFIX);
        pkcs8.extend_from_slice(&seed[..]);
        let der = PrivatePkcs8KeyDer::from(&pkcs8[..]);
        let signer = aws_lc_rs::sign::any_eddsa_type(&der)?;
        let spki = CertificateDer::from(spki_of(&identity.public()));
        Ok(Self(Arc::new(CertifiedKey::new(vec![spki], signer))))
    }

    #[cfg(test)]
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.0.clone()
    }
}

/// Dials `expected`, and proves who we are.
pub(super) fn node_client(key: &RawKey, expected: &IdentityPublic) -> Result<ClientConfig, Error> {
    let resolver = AlwaysResolvesClientRawPublicKeys::new(key.0.clone());
    let config = client_builder(expected)?.with_client_cert_resolver(Arc::new(resolver));
    Ok(forgetful_client(config))
}

/// Dials `expected`, and proves nothing.
pub(super) fn anonymous_client(expected: &IdentityPublic) -> Result<ClientConfig, Error> {
    Ok(forgetful_client(
        client_builder(expected)?.with_no_client_auth(),
    ))
}

/// Proves who we are, and demands the same.
pub(super) fn node_server(key: &RawKey) -> Result<ServerConfig, Error> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyNode(provider())))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
            key.0.clone(),
        )));
    Ok(forgetful_server(config))
}

/// Proves who we are, and asks for nothing.
pub(super) fn client_facing_server(key: &RawKey) -> Result<ServerConfig, Error> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
            key.0.clone(),
        )));
    Ok(forgetful_server(config))
}

/// The Ed25519 key in a `SubjectPublicKeyInfo`; exactly the one encoding it has.
pub(super) fn identity_of_spki(spki: &[u8]) -> Result<IdentityPublic, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let bytes = spki.strip_prefix(&SPKI_PREFIX).ok_or_else(bad)?;
    let key: &[u8; 32] = bytes.try_into().map_err(|_| bad())?;
    IdentityPublic::from_bytes(key).map_err(|_| bad())
}

/// Whether a handshake ended because [`ExactNode`] met another key.
pub(super) fn is_wrong_peer(error: &Error) -> bool {
    *error == wrong_peer()
}

fn wrong_peer() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

pub(super) fn spki_of(identity: &IdentityPublic) -> Vec<u8> {
    [&SPKI_PREFIX[..], &identity.to_bytes()].concat()
}

/// One group and one suite: nothing to negotiate, so nothing to downgrade.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..aws_lc_rs::default_provider()
    })
}

fn client_builder(
    expected: &IdentityPublic,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, Error> {
    let verifier = ExactNode {
        spki: spki_of(expected),
        provider: provider(),
    };
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn forgetful_client(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config
}

fn forgetful_server(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// Accepts one key and no other.
#[derive(Debug)]
struct ExactNode {
    spki: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ExactNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.is_empty() && end_entity.as_ref() == self.spki {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(wrong_peer())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts any Ed25519 key that its owner proves; `NodeTls::accept` asks its caller about it.
#[derive(Debug)]
struct AnyNode(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !intermediates.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        identity_of_spki(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(&self.0, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn verify_signature(
    provider: &CryptoProvider,
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    if dss.scheme != SignatureScheme::ED25519 {
        return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
    }
    let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
    let algorithms = &provider.signature_verification_algorithms;
    verify_raw(message, &spki, dss, algorithms)
}
