//! A message that takes more than one cell, sealed as a whole; [`crate::fragment`] cuts it.
//!
//! ```text
//! enc (1120) ‖ AEAD (sender (32) ‖ signature (64) ‖ inner, + 16)
//! ```
//!
//! Its length is what it is: the number of cells shows it, as with every message.

use super::{
    AEAD_LEN, ENC_LEN, InnerTooLong, Message, OpenError, Opener, encapsulate, export, info,
};
use crate::draft::BODY_MAX;
use crate::identity::{Identity, KemPublic};
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, OpModeR, setup_receiver};
use wire::codec::{Reader, Writer};
use wire::ids::NetworkId;
use wire::keys::{IdentityPublic, SIGNATURE_LEN};
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// Most inner bytes: a text of [`BODY_MAX`] with a file's description.
pub const INNER_LONG_MAX: usize = BODY_MAX + 512;
/// Longest sealed message.
pub const SEALED_LONG_MAX: usize = INNER_LONG_MAX + LONG_OVERHEAD;
/// What sealing adds.
pub const LONG_OVERHEAD: usize = ENC_LEN + 32 + SIGNATURE_LEN + AEAD_LEN;

const SIGN_LONG: &str = "mizzle-long-message-v1";
const AAD: &[u8] = b"mizzle-long-v1";

/// Seals `inner` to `recipient`, signed by `sender`. Equal randomness gives equal bytes.
pub fn seal_long(
    network: &NetworkId,
    sender: &Identity,
    recipient: &IdentityPublic,
    kem: &KemPublic,
    inner: &[u8],
    rng: &mut KeyRng,
) -> Result<Vec<u8>, InnerTooLong> {
    if inner.len() > INNER_LONG_MAX {
        return Err(InnerTooLong);
    }
    let info = info(network, recipient);
    let (mut sealed, mut context) = encapsulate(kem, &info, rng);
    let binding = export(&context, b"mizzle-sign-v1");
    let text = signed_text(recipient, &binding, inner);
    let mut w = Writer::with_capacity(32 + SIGNATURE_LEN + inner.len());
    w.put(&sender.public().to_bytes())
        .put(&sender.signing.sign(SIGN_LONG, &text))
        .put(inner);
    let plain = Zeroizing::new(w.into_vec());
    let body = context.seal(&plain, AAD).map_err(|_| InnerTooLong)?;
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// Opens what [`seal_long`] made, and checks the signature.
pub fn open_long(network: &NetworkId, own: &Identity, sealed: &[u8]) -> Result<Message, OpenError> {
    if sealed.len() < LONG_OVERHEAD || sealed.len() > SEALED_LONG_MAX {
        return Err(OpenError::Malformed);
    }
    let (enc, body) = sealed.split_at(ENC_LEN);
    let unreadable = OpenError::Unreadable;
    let enc = <XWing as Kem>::EncappedKey::from_bytes(enc).map_err(|_| unreadable)?;
    let recipient = own.public();
    let info = info(network, &recipient);
    let mut context: Opener =
        setup_receiver(&OpModeR::Base, &own.kem, &enc, &info).map_err(|_| unreadable)?;
    let plain = context.open(body, AAD).map_err(|_| unreadable)?;
    let plain = Zeroizing::new(plain);
    let malformed = |_| OpenError::Malformed;
    let mut r = Reader::new(&plain);
    let sender = IdentityPublic::decode(&mut r).map_err(malformed)?;
    let signature = r.array::<SIGNATURE_LEN>().map_err(malformed)?;
    let inner = Zeroizing::new(r.rest().to_vec());
    let binding = export(&context, b"mizzle-sign-v1");
    let text = signed_text(&recipient, &binding, &inner);
    sender
        .verify(SIGN_LONG, &text, &signature)
        .map_err(|_| OpenError::BadSignature)?;
    let export = export(&context, b"mizzle-pair-v1");
    Ok(Message {
        sender,
        inner,
        export,
    })
}

fn signed_text(recipient: &IdentityPublic, binding: &[u8; 32], inner: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::with_capacity(64 + inner.len());
    w.put(&recipient.to_bytes()).put(binding).put(inner);
    Zeroizing::new(w.into_vec())
}
