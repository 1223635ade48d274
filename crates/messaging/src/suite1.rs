//! Suite 1: one HPKE context (RFC 9180, base mode; X-Wing, HKDF-SHA256, ChaCha20Poly1305) for each
//! message, cut into cells; [`seal_long`] for those that the pair's key carries on. `docs/spec/messaging.md` §3.
//!
//! ```text
//! first cell  01 ‖ tag (16) ‖ masked enc (1120) ‖ AEAD, sequence 0 (827 + 16)
//! later cell  01 ‖ tag (16) ‖ AEAD, sequence n (1947 + 16)
//! plaintext   cells (1) ‖ length (2) ‖ sender (32) ‖ signature (64) ‖ inner ‖ zeros
//! ```
//!
//! A first cell's tag is random, a later one's comes from the context's exporter. `enc` itself can
//! be told from noise (the X25519 share has its top bit clear and lies on the curve, ML-KEM's
//! compression is slightly uneven), so it is masked with a stream from the recipient's X-Wing key
//! and the tag: who does not have the recipient's card sees 1,979 random bytes in every cell.
//!
//! Not here: what the inner bytes mean ([`crate::inner`]), and where cells wait for each other
//! (`crate::messenger`).

mod long;

pub use long::{INNER_LONG_MAX, LONG_OVERHEAD, SEALED_LONG_MAX, open_long, seal_long};

use crate::identity::{Identity, KemPublic};
use hkdf::Hkdf;
use hpke::aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable, setup_receiver, setup_sender_with_rng};
use sha2::Sha256;
use wire::codec::{Reader, Writer};
use wire::geometry::CELL_LEN;
use wire::ids::NetworkId;
use wire::keys::{IdentityPublic, SIGNATURE_LEN};
use wire::request::Cell;
use wire::rng::KeyRng;
use zeroize::Zeroizing;

/// The first byte of every cell of this suite.
pub const SUITE: u8 = 1;
/// Most cells of one message.
pub const CELLS_MAX: usize = 2;
/// Length of a cell's tag.
pub const TAG_LEN: usize = 16;
/// Plaintext in a first cell.
pub const FIRST_LEN: usize = CELL_LEN - 1 - TAG_LEN - ENC_LEN - AEAD_LEN;
/// Plaintext in a later cell.
pub const LATER_LEN: usize = CELL_LEN - 1 - TAG_LEN - AEAD_LEN;
/// Most inner bytes of a message of one cell.
pub const INNER_ONE_CELL: usize = FIRST_LEN - HEAD_LEN;
/// Most inner bytes of any message.
pub const INNER_MAX: usize = INNER_ONE_CELL + (CELLS_MAX - 1) * LATER_LEN;

const ENC_LEN: usize = 1120;
const AEAD_LEN: usize = 16;
const HEAD_LEN: usize = 1 + 2 + 32 + SIGNATURE_LEN;
const SIGN_MESSAGE: &str = "mizzle-message-v1";

const _: () = assert!(FIRST_LEN == 827 && LATER_LEN == 1947 && INNER_ONE_CELL == 728);

type Sealer = AeadCtxS<ChaCha20Poly1305, HkdfSha256, XWing>;
type Opener = AeadCtxR<ChaCha20Poly1305, HkdfSha256, XWing>;

/// A later cell's tag.
pub type Tag = [u8; TAG_LEN];

/// Why a cell does not become a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// Not this suite.
    UnknownSuite,
    /// Not a first cell for us, or not the cell that the message waits for, or changed.
    Unreadable,
    /// Opens, but breaks the specification.
    Malformed,
    /// Opens, but the signature inside is not by the sender it names.
    BadSignature,
}

/// The inner bytes are longer than [`INNER_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InnerTooLong;

/// A sealed message.
pub struct Sealed {
    /// In their order; at least one, at most [`CELLS_MAX`].
    pub cells: Vec<Cell>,
    /// A secret that sender and recipient share from now on, see [`crate::pair`].
    pub export: Zeroizing<[u8; 32]>,
}

/// An opened message whose signature was checked.
pub struct Message {
    /// Who signed it.
    pub sender: IdentityPublic,
    /// See [`crate::inner`].
    pub inner: Zeroizing<Vec<u8>>,
    /// The same as [`Sealed::export`].
    pub export: Zeroizing<[u8; 32]>,
}

/// Seals `inner` to `recipient`, signed by `sender`.
pub fn seal(
    network: &NetworkId,
    sender: &Identity,
    recipient: &IdentityPublic,
    kem: &KemPublic,
    inner: &[u8],
    rng: &mut KeyRng,
) -> Result<Sealed, InnerTooLong> {
    let count = cells_for(inner.len()).ok_or(InnerTooLong)?;
    let info = info(network, recipient);
    let (mut masked, mut context) = encapsulate(kem, &info, rng);
    let binding = export(&context, b"mizzle-sign-v1");
    let text = signed_text(recipient, &binding, count, inner);
    let signature = sender.signing.sign(SIGN_MESSAGE, &text);
    let mut w = Writer::with_capacity(plain_len(count));
    w.u8(count as u8)
        .u16(inner.len() as u16)
        .put(&sender.public().to_bytes())
        .put(&signature)
        .put(inner);
    let plain = Zeroizing::new(w.into_padded(plain_len(count)));

    let tag: Tag = rng.bytes();
    mask(kem, &tag, &mut masked);
    let (first, mut rest) = plain.split_at(FIRST_LEN);
    let mut cells = vec![seal_cell(&mut context, &tag, &masked, first)];
    for index in 1..count {
        let (part, behind) = rest.split_at(LATER_LEN);
        let tag = later_tag(&context, index);
        cells.push(seal_cell(&mut context, &tag, &[], part));
        rest = behind;
    }
    let export = export(&context, b"mizzle-pair-v1");
    Ok(Sealed { cells, export })
}

/// A message of which the first cell is open. No `Debug`.
pub struct Opening {
    context: Opener,
    recipient: IdentityPublic,
    plain: Zeroizing<Vec<u8>>,
    count: usize,
    have: usize,
}

impl Opening {
    /// Opens a first cell.
    pub fn first(network: &NetworkId, own: &Identity, cell: &Cell) -> Result<Self, OpenError> {
        let (tag, rest) = split_cell(cell)?;
        let (masked, sealed) = rest.split_at(ENC_LEN);
        let mut enc = masked.to_vec();
        mask(own.kem_public(), &tag, &mut enc);
        let enc =
            <XWing as Kem>::EncappedKey::from_bytes(&enc).map_err(|_| OpenError::Unreadable)?;
        let recipient = own.public();
        let info = info(network, &recipient);
        let mut context: Opener = setup_receiver(&OpModeR::Base, &own.kem, &enc, &info)
            .map_err(|_| OpenError::Unreadable)?;
        let plain = context
            .open(sealed, &aad(&tag))
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Unreadable)?;
        let count = usize::from(plain[0]);
        if !(1..=CELLS_MAX).contains(&count) {
            return Err(OpenError::Malformed);
        }
        Ok(Self {
            context,
            recipient,
            plain,
            count,
            have: 1,
        })
    }

    /// The tag of the cell that is needed next; `None` when all are here.
    pub fn wants(&self) -> Option<Tag> {
        (self.have < self.count).then(|| later_tag(&self.context, self.have))
    }

    /// Adds the cell that [`Opening::wants`] names. A cell that does not open changes nothing.
    pub fn add(&mut self, cell: &Cell) -> Result<(), OpenError> {
        let (tag, sealed) = split_cell(cell)?;
        if self.wants() != Some(tag) {
            return Err(OpenError::Unreadable);
        }
        let part = self
            .context
            .open(sealed, &aad(&tag))
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Unreadable)?;
        self.plain.extend_from_slice(&part);
        self.have += 1;
        Ok(())
    }

    /// Checks padding and signature. Only when [`Opening::wants`] is `None`.
    pub fn finish(self) -> Result<Message, OpenError> {
        if self.have != self.count {
            return Err(OpenError::Malformed);
        }
        let malformed = |_| OpenError::Malformed;
        let mut r = Reader::new(&self.plain);
        r.u8().map_err(malformed)?;
        let len = usize::from(r.u16().map_err(malformed)?);
        if cells_for(len) != Some(self.count) {
            return Err(OpenError::Malformed);
        }
        let sender = IdentityPublic::decode(&mut r).map_err(malformed)?;
        let signature = r.array::<SIGNATURE_LEN>().map_err(malformed)?;
        let inner = Zeroizing::new(r.slice(len).map_err(malformed)?.to_vec());
        r.finish_padding().map_err(malformed)?;
        let binding = export(&self.context, b"mizzle-sign-v1");
        let text = signed_text(&self.recipient, &binding, self.count, &inner);
        sender
            .verify(SIGN_MESSAGE, &text, &signature)
            .map_err(|_| OpenError::BadSignature)?;
        Ok(Message {
            sender,
            inner,
            export: export(&self.context, b"mizzle-pair-v1"),
        })
    }
}

/// The tag of a cell of this suite.
pub fn tag_of(cell: &Cell) -> Result<Tag, OpenError> {
    split_cell(cell).map(|(tag, _)| tag)
}

/// How many cells so many inner bytes take.
fn cells_for(inner: usize) -> Option<usize> {
    (1..=CELLS_MAX).find(|count| HEAD_LEN + inner <= plain_len(*count))
}

fn plain_len(count: usize) -> usize {
    FIRST_LEN + (count - 1) * LATER_LEN
}

fn encapsulate(kem: &KemPublic, info: &[u8], rng: &mut KeyRng) -> (Vec<u8>, Sealer) {
    let (enc, context): (_, Sealer) = setup_sender_with_rng(&OpModeS::Base, &*kem.key, info, rng)
        .expect("encapsulation to a checked X-Wing key does not fail");
    (enc.to_bytes().to_vec(), context)
}

fn seal_cell(context: &mut Sealer, tag: &Tag, masked: &[u8], plain: &[u8]) -> Cell {
    let sealed = context
        .seal(plain, &aad(tag))
        .expect("a context seals its first messages");
    let mut cell = Box::new([0; CELL_LEN]);
    cell[0] = SUITE;
    cell[1..1 + TAG_LEN].copy_from_slice(tag);
    let (head, tail) = cell[1 + TAG_LEN..].split_at_mut(masked.len());
    head.copy_from_slice(masked);
    tail.copy_from_slice(&sealed);
    cell
}

fn split_cell(cell: &Cell) -> Result<(Tag, &[u8]), OpenError> {
    if cell[0] != SUITE {
        return Err(OpenError::UnknownSuite);
    }
    let (tag, rest) = cell[1..]
        .split_first_chunk::<TAG_LEN>()
        .expect("a cell is longer than a tag");
    Ok((*tag, rest))
}

/// XORs a stream that only holders of the recipient's card can compute.
fn mask(kem: &KemPublic, tag: &Tag, enc: &mut [u8]) {
    let mut stream = [0; ENC_LEN];
    Hkdf::<Sha256>::new(Some(tag), kem.as_bytes())
        .expand(b"mizzle-mask-v1", &mut stream)
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    enc.iter_mut().zip(stream).for_each(|(e, s)| *e ^= s);
}

fn info(network: &NetworkId, recipient: &IdentityPublic) -> Vec<u8> {
    let mut w = Writer::with_capacity(96);
    w.put(b"mizzle-suite-v1")
        .u8(SUITE)
        .put(&network.0)
        .put(&recipient.to_bytes());
    w.into_vec()
}

fn aad(tag: &Tag) -> [u8; 1 + TAG_LEN] {
    let mut out = [SUITE; 1 + TAG_LEN];
    out[1..].copy_from_slice(tag);
    out
}

/// Both ends of a context export alike.
trait Exporter {
    fn export_into(&self, label: &[u8], out: &mut [u8]);
}

impl Exporter for Sealer {
    fn export_into(&self, label: &[u8], out: &mut [u8]) {
        self.export(label, out)
            .expect("HKDF-SHA256 gives up to 8160 bytes");
    }
}

impl Exporter for Opener {
    fn export_into(&self, label: &[u8], out: &mut [u8]) {
        self.export(label, out)
            .expect("HKDF-SHA256 gives up to 8160 bytes");
    }
}

fn export(context: &impl Exporter, label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    context.export_into(label, &mut out[..]);
    out
}

fn later_tag(context: &impl Exporter, index: usize) -> Tag {
    let mut label = b"mizzle-tag-v1".to_vec();
    label.push(index as u8);
    let mut tag = [0; TAG_LEN];
    context.export_into(&label, &mut tag);
    tag
}

/// What the sender signs: bound to the recipient and to this very context, so that a recipient
/// cannot seal it again to somebody else.
fn signed_text(
    recipient: &IdentityPublic,
    binding: &[u8; 32],
    count: usize,
    inner: &[u8],
) -> Zeroizing<Vec<u8>> {
    let mut w = Writer::with_capacity(70 + inner.len());
    w.put(&recipient.to_bytes())
        .put(binding)
        .u8(count as u8)
        .u16(inner.len() as u16)
        .put(inner);
    Zeroizing::new(w.into_vec())
}

#[cfg(test)]
mod tests;
