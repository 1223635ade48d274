//! Identity keys (Ed25519, RFC 8032). The only file that imports `ed25519_dalek` for nodes,
//! authorities and inboxes; Sphinx keys are in `crates/sphinx`, personal identities in
//! `crates/messaging`.

use crate::codec::{DecodeError, Reader};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::fmt;

/// A signature's length in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// A signature does not belong to this key and message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the signature is not by this key over this text")
    }
}

impl std::error::Error for BadSignature {}

/// Signs. Wiped on drop; no `Debug`, no `Clone`.
pub struct IdentitySecret(SigningKey);

impl IdentitySecret {
    /// `seed` is 32 random bytes, or derived from a secret.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for a key file or for TLS; the caller keeps it secret and wipes it.
    pub fn expose_seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> IdentityPublic {
        IdentityPublic(self.0.verifying_key())
    }

    /// Signs `context ‖ 00 ‖ message`; a context belongs to one kind of text only.
    pub fn sign(&self, context: &str, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(&framed(context, message)).to_bytes()
    }
}

/// Checks signatures.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdentityPublic(VerifyingKey);

impl IdentityPublic {
    /// Refuses bytes that are no point of the curve, and points of low order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, DecodeError> {
        match VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            Ok(_) | Err(_) => Err(DecodeError::Invalid("identity key")),
        }
    }

    /// Reads one.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(&reader.array()?)
    }

    /// 32 bytes, RFC 8032.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Strict verification (RFC 8032 with low-order points refused) of [`IdentitySecret::sign`].
    pub fn verify(
        &self,
        context: &str,
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN],
    ) -> Result<(), BadSignature> {
        self.0
            .verify_strict(&framed(context, message), &Signature::from_bytes(signature))
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.to_bytes();
        write!(
            f,
            "IdentityPublic({:02x}{:02x}{:02x}{:02x}…)",
            b[0], b[1], b[2], b[3]
        )
    }
}

impl PartialOrd for IdentityPublic {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IdentityPublic {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.to_bytes().cmp(&other.to_bytes())
    }
}

/// A node's Sphinx key for one epoch: an X25519 public key (RFC 7748).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SphinxPublic(pub [u8; 32]);

impl fmt::Debug for SphinxPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SphinxPublic({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

fn framed(context: &str, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(context.len() + 1 + message.len());
    out.extend_from_slice(context.as_bytes());
    out.push(0);
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_context_only() {
        let secret = IdentitySecret::from_seed(&[3; 32]);
        let signature = secret.sign("a", b"text");
        assert_eq!(secret.public().verify("a", b"text", &signature), Ok(()));
        assert_eq!(
            secret.public().verify("b", b"text", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            secret.public().verify("a", b"texu", &signature),
            Err(BadSignature)
        );
    }

    #[test]
    fn low_order_keys_are_refused() {
        let mut identity_element = [0; 32];
        identity_element[0] = 1;
        assert!(IdentityPublic::from_bytes(&identity_element).is_err());
    }
}
