//! Who somebody is: an Ed25519 key that signs and an X-Wing key (X25519 + ML-KEM-768) that others
//! seal to. Not here: cards that carry the public halves ([`crate::card`]), sealing
//! ([`crate::suite1`]), and the secrets of a pair ([`crate::pair`]).

use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, Serializable};
use sha2::{Digest, Sha256};
use std::fmt;
use wire::codec::{DecodeError, Reader};
use wire::keys::{IdentityPublic, IdentitySecret};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// Names a contact on this device: SHA-256 over the identity key, cut to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub [u8; 16]);

impl ContactId {
    /// The id that belongs to an identity key.
    pub fn of(identity: &IdentityPublic) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"mizzle-contact-id-v1");
        hash.update(identity.to_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// Reads 32 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let value = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        if digits.len() != 32 {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for ContactId {
    /// 32 lower-case hex digits, for the application; never for a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ContactId {
    /// The first four bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "ContactId({:02x}{:02x}{:02x}{:02x}…)",
            b[0], b[1], b[2], b[3]
        )
    }
}

/// What others seal to: an X-Wing public key that was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic {
    bytes: Box<[u8; Self::LEN]>,
    pub(crate) key: Box<<XWing as Kem>::PublicKey>,
}

impl KemPublic {
    /// Length in bytes: ML-KEM-768 encapsulation key (1184), X25519 public key (32).
    pub const LEN: usize = 1216;

    /// Refuses an ML-KEM part whose coefficients are not reduced.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, DecodeError> {
        let key = <XWing as Kem>::PublicKey::from_bytes(bytes)
            .map_err(|_| DecodeError::Invalid("X-Wing key"))?;
        Ok(Self {
            bytes: Box::new(*bytes),
            key: Box::new(key),
        })
    }

    /// Reads one.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_bytes(&reader.array()?)
    }

    /// As it stands in a card.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }
}

/// One's own keys. Wiped on drop; no `Debug`.
pub struct Identity {
    /// Signs.
    pub(crate) signing: IdentitySecret,
    /// Opens.
    pub(crate) kem: <XWing as Kem>::PrivateKey,
    kem_public: KemPublic,
}

impl Identity {
    /// Length of [`Identity::to_bytes`].
    pub const LEN: usize = 64;

    /// Fresh keys.
    pub fn generate(rng: &mut KeyRng) -> Self {
        let seeds = Zeroizing::new(rng.bytes::<{ Self::LEN }>());
        Self::from_bytes(&seeds)
    }

    /// From the Ed25519 seed (32) and the X-Wing seed (32).
    pub fn from_bytes(seeds: &[u8; Self::LEN]) -> Self {
        let (signing, kem) = seeds.split_at(32);
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(signing.try_into().expect("half of 64 bytes"));
        let kem =
            <XWing as Kem>::PrivateKey::from_bytes(kem).expect("every 32 bytes are an X-Wing seed");
        let public = XWing::sk_to_pk(&kem).to_bytes();
        let bytes: [u8; KemPublic::LEN] = public.into();
        Self {
            signing: IdentitySecret::from_seed(&seed),
            kem,
            kem_public: KemPublic::from_bytes(&bytes).expect("a key of our own is reduced"),
        }
    }

    /// Both seeds, for the store; the caller keeps them secret.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut out = Zeroizing::new([0; Self::LEN]);
        out[..32].copy_from_slice(&self.signing.expose_seed()[..]);
        self.kem.write_exact(&mut out[32..]);
        out
    }

    /// Who we are to others.
    pub fn public(&self) -> IdentityPublic {
        self.signing.public()
    }

    /// What others seal to.
    pub fn kem_public(&self) -> &KemPublic {
        &self.kem_public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_their_bytes() {
        let identity = Identity::generate(&mut KeyRng::from_seed([1; 32]));
        let again = Identity::from_bytes(&identity.to_bytes());
        assert_eq!(identity.public(), again.public());
        assert!(identity.kem_public() == again.kem_public());
        let id = ContactId::of(&identity.public());
        assert_eq!(ContactId::from_hex(&id.to_string()), Some(id));
        assert_eq!(ContactId::from_hex(&id.to_string().to_uppercase()), None);
        assert_eq!(ContactId::from_hex("00"), None);
    }

    #[test]
    fn an_unreduced_kem_key_is_refused() {
        assert!(KemPublic::from_bytes(&[0xff; KemPublic::LEN]).is_err());
    }
}
