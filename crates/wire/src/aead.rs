//! AES-256-GCM for data at rest; the only file that imports `aes_gcm`.
//!
//! A sealed value is `nonce (12) ‖ ciphertext ‖ tag (16)`. Nonces are random, so one key may seal
//! at most 2³² values (NIST SP 800-38D §8.3); callers that seal more use a key for each value.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use rand::CryptoRng;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes that sealing adds.
pub const SEAL_OVERHEAD: usize = 12 + 16;

/// The value was not sealed with this key for this place, or was changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sealed value does not open: wrong key, or damaged")
    }
}

impl std::error::Error for OpenError {}

/// A 256-bit key. Wiped on drop; no `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// `bytes` are random, or derived from a secret.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key itself, to be wrapped under another one.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plaintext`; `place` says where it belongs and must be the same when it is opened.
    pub fn seal(&self, place: &[u8], plaintext: &[u8], rng: &mut impl CryptoRng) -> Vec<u8> {
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        let sealed = self
            .cipher()
            .encrypt(
                &Nonce::from(nonce),
                Payload {
                    msg: plaintext,
                    aad: place,
                },
            )
            .expect("AES-GCM seals any text below 64 GiB");
        let mut out = Vec::with_capacity(12 + sealed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`SealKey::seal`] made.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<12>().ok_or(OpenError)?;
        self.cipher()
            .decrypt(
                &Nonce::from(*nonce),
                Payload {
                    msg: rest,
                    aad: place,
                },
            )
            .map(Zeroizing::new)
            .map_err(|_| OpenError)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::KeyRng;

    #[test]
    fn opens_only_in_its_place_and_unchanged() {
        let key = SealKey::from_bytes([5; 32]);
        let mut rng = KeyRng::from_seed([0; 32]);
        let sealed = key.seal(b"here", b"text", &mut rng);
        assert_eq!(sealed.len(), 4 + SEAL_OVERHEAD);
        assert_eq!(&key.open(b"here", &sealed).unwrap()[..], b"text");
        assert_eq!(key.open(b"there", &sealed), Err(OpenError));
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert_eq!(key.open(b"here", &bad), Err(OpenError));
        }
        assert_eq!(key.open(b"here", &sealed[..11]), Err(OpenError));
    }
}
