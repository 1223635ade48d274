//! The contact card: what one person gives another, once, so that they can write to each other.
//! Text in and out, and the signature over it; `docs/spec/messaging.md` §2.
//!
//! Not here: the invite inboxes it names (`crate::messenger`). The text form is `mizzle1` and
//! base32 (RFC 4648 alphabet in lower case, no padding) over `body ‖ SHA-256(body) cut to 4`. A text
//! that is all upper case, as a QR code likes it, is read too; mixed case is refused.

use crate::identity::{ContactId, Identity, KemPublic};
use sha2::{Digest, Sha256};
use std::fmt;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::{InboxAddress, NetworkId};
use wire::keys::{IdentityPublic, SIGNATURE_LEN};
use wire::time::UnixTime;

/// What every card's text begins with.
pub const PREFIX: &str = "mizzle1";
/// Longest text that is looked at.
pub const TEXT_MAX: usize = 4096;
/// Longest name in bytes.
pub const NAME_MAX: usize = 32;

const VERSION: u8 = 1;
const SIGN_CARD: &str = "mizzle-card-v1";
const CHECKSUM_LEN: usize = 4;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Why a text is no card.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardDecodeError {
    /// It does not begin with [`PREFIX`].
    NotACard,
    /// Longer than [`TEXT_MAX`].
    TooLong,
    /// Upper and lower case mixed.
    MixedCase,
    /// A character outside the alphabet, or an impossible end.
    BadCharacter,
    /// Changed or cut on its way; copy it again.
    Checksum,
    /// Written by a newer version of Mizzle.
    Version(u8),
    /// A field breaks the specification.
    Field(DecodeError),
    /// Not signed by the identity it names.
    BadSignature,
}

impl fmt::Display for CardDecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotACard => write!(f, "this is no card: a card begins with {PREFIX}"),
            Self::TooLong => write!(
                f,
                "this is no card: it is longer than {TEXT_MAX} characters"
            ),
            Self::MixedCase => write!(f, "the card mixes upper and lower case; copy it again"),
            Self::BadCharacter => write!(f, "the card has a character no card has; copy it again"),
            Self::Checksum => write!(f, "the card was changed or cut on its way; copy it again"),
            Self::Version(v) => write!(f, "the card has version {v}; a newer Mizzle is needed"),
            Self::Field(error) => write!(f, "the card is broken: {error}"),
            Self::BadSignature => write!(f, "the card is not signed by the one it names"),
        }
    }
}

impl std::error::Error for CardDecodeError {}

/// A card whose signature was checked (or made).
#[derive(Clone, PartialEq, Eq)]
pub struct Card {
    pub(crate) network: NetworkId,
    pub(crate) identity: IdentityPublic,
    pub(crate) kem: KemPublic,
    pub(crate) invites: [InboxAddress; 2],
    pub(crate) expires: UnixTime,
    pub(crate) name: String,
    signature: [u8; SIGNATURE_LEN],
}

impl Card {
    /// Signs a card. The caller checked `name` with [`valid_name`], and that the two gateways differ;
    /// nobody can read a card of which this is not true.
    pub fn signed(
        owner: &Identity,
        network: NetworkId,
        invites: [InboxAddress; 2],
        expires: UnixTime,
        name: String,
    ) -> Self {
        let mut card = Self {
            network,
            identity: owner.public(),
            kem: owner.kem_public().clone(),
            invites,
            expires,
            name,
            signature: [0; SIGNATURE_LEN],
        };
        card.signature = owner.signing.sign(SIGN_CARD, &card.signed_text());
        card
    }

    /// The one string to hand over.
    pub fn to_text(&self) -> String {
        let mut body = self.to_bytes();
        let checksum: [u8; 32] = Sha256::digest(&body).into();
        body.extend_from_slice(&checksum[..CHECKSUM_LEN]);
        let mut text = String::from(PREFIX);
        base32_append(&mut text, &body);
        text
    }

    /// Reads what [`Card::to_text`] wrote, and nothing else; spaces around it are the caller's to
    /// trim.
    pub fn from_text(text: &str) -> Result<Self, CardDecodeError> {
        if text.len() > TEXT_MAX {
            return Err(CardDecodeError::TooLong);
        }
        let upper = text.bytes().any(|c| c.is_ascii_uppercase());
        let lower = text.bytes().any(|c| c.is_ascii_lowercase());
        if upper && lower {
            return Err(CardDecodeError::MixedCase);
        }
        let text = text.to_ascii_lowercase();
        let digits = text.strip_prefix(PREFIX).ok_or(CardDecodeError::NotACard)?;
        let bytes = base32_decode(digits.as_bytes()).ok_or(CardDecodeError::BadCharacter)?;
        let split = bytes.len().checked_sub(CHECKSUM_LEN);
        let (body, checksum) = bytes.split_at(split.ok_or(CardDecodeError::Checksum)?);
        let expected: [u8; 32] = Sha256::digest(body).into();
        if checksum != &expected[..CHECKSUM_LEN] {
            return Err(CardDecodeError::Checksum);
        }
        Self::from_bytes(body)
    }

    /// The binary form, without checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.signed_text();
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads what [`Card::to_bytes`] wrote, and checks the signature.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CardDecodeError> {
        let mut r = Reader::new(bytes);
        let version = r.u8().map_err(CardDecodeError::Field)?;
        if version != VERSION {
            return Err(CardDecodeError::Version(version));
        }
        let card = Self::decode_fields(r).map_err(CardDecodeError::Field)?;
        card.identity
            .verify(SIGN_CARD, &card.signed_text(), &card.signature)
            .map_err(|_| CardDecodeError::BadSignature)?;
        Ok(card)
    }

    /// SHA-256 over the binary form, cut to 16 bytes: names this card in a Hello.
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(b"mizzle-card-digest-v1");
        hash.update(self.to_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut out = [0; 16];
        out.copy_from_slice(&digest[..16]);
        out
    }

    /// Whose card it is.
    pub fn contact(&self) -> ContactId {
        ContactId::of(&self.identity)
    }

    /// The owner's identity key.
    pub fn identity(&self) -> IdentityPublic {
        self.identity
    }

    /// Of which network.
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// What the owner calls themselves.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of no use after this.
    pub fn expires(&self) -> UnixTime {
        self.expires
    }

    fn decode_fields(mut r: Reader<'_>) -> Result<Self, DecodeError> {
        let network = NetworkId::decode(&mut r)?;
        let identity = IdentityPublic::decode(&mut r)?;
        let kem = KemPublic::decode(&mut r)?;
        let invites = [InboxAddress::decode(&mut r)?, InboxAddress::decode(&mut r)?];
        if invites[0].gateway == invites[1].gateway {
            return Err(DecodeError::Invalid("invite gateways"));
        }
        let expires = UnixTime(r.u64()?);
        let name = decode_name(&mut r)?;
        let signature = r.array()?;
        r.finish()?;
        Ok(Self {
            network,
            identity,
            kem,
            invites,
            expires,
            name,
            signature,
        })
    }

    fn signed_text(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(1600);
        w.u8(VERSION)
            .put(&self.network.0)
            .put(&self.identity.to_bytes())
            .put(self.kem.as_bytes())
            .put(&self.invites[0].to_bytes())
            .put(&self.invites[1].to_bytes())
            .u64(self.expires.0);
        encode_name(&mut w, &self.name);
        w.into_vec()
    }
}

/// 1 to [`NAME_MAX`] bytes, no control character.
pub fn valid_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Length (1) and bytes.
pub(crate) fn encode_name(w: &mut Writer, name: &str) {
    w.u8(name.len() as u8).put(name.as_bytes());
}

/// What [`encode_name`] wrote.
pub(crate) fn decode_name(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    let len = usize::from(r.u8()?);
    let name = std::str::from_utf8(r.slice(len)?).map_err(|_| DecodeError::Invalid("name"))?;
    if valid_name(name) {
        Ok(name.to_owned())
    } else {
        Err(DecodeError::Invalid("name"))
    }
}

fn base32_append(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(5) {
        let mut group = [0; 8];
        group[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(group);
        let digits = (chunk.len() * 8).div_ceil(5);
        for k in 0..digits {
            let index = (bits >> (35 - 5 * k)) & 31;
            out.push(char::from(ALPHABET[index as usize]));
        }
    }
}

/// `None` for a character outside the alphabet, a length no bytes have, or set bits behind the end.
fn base32_decode(digits: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(digits.len() * 5 / 8 + 5);
    for chunk in digits.chunks(8) {
        let mut bits = 0u64;
        for (k, digit) in chunk.iter().enumerate() {
            let value = match digit {
                b'a'..=b'z' => digit - b'a',
                b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits |= u64::from(value) << (35 - 5 * k);
        }
        let len = chunk.len() * 5 / 8;
        let group = bits.to_be_bytes();
        let canonical = (len * 8).div_ceil(5) == chunk.len();
        if !canonical || group[3 + len..].iter().any(|b| *b != 0) {
            return None;
        }
        out.extend_from_slice(&group[3..3 + len]);
    }
    Some(out)
}

#[cfg(test)]
mod tests;
