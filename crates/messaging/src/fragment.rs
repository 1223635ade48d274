//! Long messages in pieces: a sealed message is cut, parity is added, and each piece becomes a cell of
//! its own under the pair's key. `docs/spec/messaging.md` §7.
//!
//! ```text
//! text  01 ‖ message id (16) ‖ attempt (2) ‖ length of the sealed message (4) ‖ index (2) ‖ payload (1922)
//! tag   Expand(key, mizzle-fragment-tag-v1 ‖ inbox id ‖ SHA-256(text)), 16 bytes
//! ```
//!
//! Any `data` of the `total` pieces give the message back. Each piece is authentic by itself, so a
//! stranger's junk is told at once, and only a contact can fill our memory, within bounds. Tag, key
//! and cell id follow from text and inbox: sent again to the same inbox, after a restart too, a piece
//! is the identical cell; at another inbox, or in another attempt, it has nothing in common with it.
//!
//! Not here: sealing of the whole ([`crate::suite1`]), and what waits where (`crate::messenger`).

use crate::event::MessageId;
use crate::keyed::{self, TEXT_LEN};
use crate::pair::expand;
use crate::suite1::{SEALED_LONG_MAX, TAG_LEN, Tag};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use wire::ids::{CellId, InboxId};
use wire::request::Cell;
use zeroize::Zeroizing;

/// Bytes of a sealed message in one piece.
pub const PAYLOAD_LEN: usize = TEXT_LEN - HEAD_LEN;
/// From so many pieces on there is parity. With fewer, one that is lost is sent again as soon.
pub const PARITY_FROM: usize = 4;
/// Most pieces of a message, parity included.
pub const TOTAL_MAX: usize = Cut::new(SEALED_LONG_MAX as u32).total();

const KIND: u8 = 1;
const HEAD_LEN: usize = 1 + 16 + 2 + 4 + 2;
const LABEL: &str = "mizzle-fragment-v1";

// The code works on pairs of bytes.
const _: () = assert!(PAYLOAD_LEN == 1922 && PAYLOAD_LEN.is_multiple_of(2));
// A report of what is here has one bit for each.
const _: () = assert!(TOTAL_MAX <= 160);

/// Seals the pieces that one end of a pair sends to the other. Wiped on drop; no `Debug`.
#[derive(Clone)]
pub struct FragmentKey(pub(crate) Zeroizing<[u8; 32]>);

/// How a sealed message falls into pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    length: u32,
}

impl Cut {
    /// Of a sealed message of `length` bytes.
    pub const fn new(length: u32) -> Self {
        Self { length }
    }

    /// Length of the sealed message.
    pub const fn length(self) -> usize {
        self.length as usize
    }

    /// Pieces that hold the message; so many, whichever, are needed.
    pub const fn data(self) -> usize {
        let data = self.length().div_ceil(PAYLOAD_LEN);
        if data == 0 { 1 } else { data }
    }

    /// Pieces of parity: an eighth of the others, at least one, from [`PARITY_FROM`] on. They leave only
    /// in ticks for which nothing else waits, so that they cost nothing, and stand in for a piece whose
    /// reply is being waited for. Where ticks are scarce, a piece that got no reply is sent again, and
    /// parity would gain nothing.
    pub const fn parity(self) -> usize {
        let data = self.data();
        if data < PARITY_FROM {
            0
        } else {
            data.div_ceil(8)
        }
    }

    /// All pieces.
    pub const fn total(self) -> usize {
        self.data() + self.parity()
    }
}

/// The pieces of one message, to be sent.
pub struct Pieces {
    cut: Cut,
    payloads: Vec<Vec<u8>>,
}

impl Pieces {
    /// Cuts a sealed message of at most [`SEALED_LONG_MAX`] bytes.
    pub fn cut(sealed: &[u8]) -> Self {
        let cut = Cut::new(sealed.len() as u32);
        let padded = |chunk: &[u8]| {
            let mut payload = chunk.to_vec();
            payload.resize(PAYLOAD_LEN, 0);
            payload
        };
        let mut payloads: Vec<Vec<u8>> = sealed.chunks(PAYLOAD_LEN).map(padded).collect();
        if cut.parity() > 0 {
            let parity = reed_solomon_simd::encode(cut.data(), cut.parity(), &payloads)
                .expect("counts and lengths are within what the code supports");
            payloads.extend(parity);
        }
        Self { cut, payloads }
    }

    /// How many there are of what.
    pub fn shape(&self) -> Cut {
        self.cut
    }

    /// The cell for a piece at an inbox.
    pub fn cell(
        &self,
        key: &FragmentKey,
        inbox: &InboxId,
        id: &MessageId,
        attempt: u16,
        index: u16,
    ) -> Option<(CellId, Cell)> {
        let payload = self.payloads.get(usize::from(index))?;
        let mut text = [0; TEXT_LEN];
        let (head, room) = text.split_at_mut(HEAD_LEN);
        head[0] = KIND;
        head[1..17].copy_from_slice(&id.0);
        head[17..19].copy_from_slice(&attempt.to_be_bytes());
        head[19..23].copy_from_slice(&self.cut.length.to_be_bytes());
        head[23..25].copy_from_slice(&index.to_be_bytes());
        room.copy_from_slice(payload);
        let of = Sha256::digest(text);
        let tag = derive(key, "mizzle-fragment-tag-v1", inbox, &of);
        let cell_id = CellId(derive(key, "mizzle-fragment-cell-v1", inbox, &tag));
        Some((cell_id, keyed::seal(&key.0, LABEL, &tag, &text)))
    }
}

fn derive(key: &FragmentKey, label: &str, inbox: &InboxId, of: &[u8]) -> Tag {
    let info = [label.as_bytes(), &inbox.0, of].concat();
    let mut out = [0; TAG_LEN];
    out.copy_from_slice(&expand(&key.0, &info)[..TAG_LEN]);
    out
}

/// A piece that came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Of which message.
    pub id: MessageId,
    /// 0 at first; an odd one asks for an answer.
    pub attempt: u16,
    /// How the whole falls into pieces.
    pub cut: Cut,
    /// Which piece.
    pub index: u16,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Fragment {
    /// Whether the sender asks what is here of the message.
    pub fn asks(&self) -> bool {
        self.attempt % 2 == 1
    }
}

/// Sealed rightly, but no piece of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The piece in a cell; `None` for every cell that was not sealed with `key`.
pub fn open(key: &FragmentKey, cell: &Cell) -> Option<Result<Fragment, Malformed>> {
    let text = keyed::open(&key.0, LABEL, cell)?;
    let (head, payload) = text.split_at(HEAD_LEN);
    let number = |at: usize, len: usize| {
        let bytes = head[at..at + len].iter();
        bytes.fold(0u32, |n, byte| n << 8 | u32::from(*byte))
    };
    let mut id = MessageId([0; 16]);
    id.0.copy_from_slice(&head[1..17]);
    let (attempt, length, index) = (number(17, 2) as u16, number(19, 4), number(23, 2) as u16);
    let cut = Cut::new(length);
    let possible = length > 0
        && cut.length() <= SEALED_LONG_MAX
        && usize::from(index) < cut.total()
        && head[0] == KIND;
    if !possible {
        return Some(Err(Malformed));
    }
    let payload = payload.to_vec();
    Some(Ok(Fragment {
        id,
        attempt,
        cut,
        index,
        payload,
    }))
}

/// What a piece did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Added {
    /// It is here already.
    Double,
    /// It contradicts those that are here.
    Disagrees,
    /// More are needed.
    More,
    /// That is enough.
    Enough,
}

/// The pieces of one message, as they come.
pub struct Partial {
    cut: Cut,
    pieces: BTreeMap<u16, Vec<u8>>,
    /// The highest that was seen.
    attempt: u16,
}

impl Partial {
    /// None of them yet.
    pub fn new(cut: Cut) -> Self {
        Self {
            cut,
            pieces: BTreeMap::new(),
            attempt: 0,
        }
    }

    /// Adds one. Pieces of different attempts fit together.
    pub fn add(&mut self, fragment: Fragment) -> Added {
        if fragment.cut != self.cut {
            return Added::Disagrees;
        }
        self.attempt = self.attempt.max(fragment.attempt);
        match self.pieces.get(&fragment.index) {
            Some(here) if *here == fragment.payload => return Added::Double,
            Some(_) => return Added::Disagrees,
            None => {}
        }
        self.pieces.insert(fragment.index, fragment.payload);
        match self.pieces.len() >= self.cut.data() {
            true => Added::Enough,
            false => Added::More,
        }
    }

    /// How the whole falls into pieces.
    pub fn shape(&self) -> Cut {
        self.cut
    }

    /// The highest attempt that was seen.
    pub fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Which are here.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        self.pieces.keys().copied()
    }

    /// How many are here.
    pub fn count(&self) -> usize {
        self.pieces.len()
    }

    /// The sealed message, once there is [`Added::Enough`]. `None` where padding says that the pieces
    /// do not belong together.
    pub fn join(mut self) -> Option<Vec<u8>> {
        let data = self.cut.data();
        let missing = (0..data as u16).any(|i| !self.pieces.contains_key(&i));
        if missing {
            let (whole, parity): (Vec<_>, Vec<_>) = self
                .pieces
                .iter()
                .map(|(i, payload)| (usize::from(*i), payload))
                .partition(|(i, _)| *i < data);
            let parity = parity.into_iter().map(|(i, payload)| (i - data, payload));
            let counts = (data, self.cut.parity());
            let restored = reed_solomon_simd::decode(counts.0, counts.1, whole, parity).ok()?;
            for (i, payload) in restored {
                self.pieces.insert(i as u16, payload);
            }
        }
        let mut sealed = Vec::with_capacity(data * PAYLOAD_LEN);
        for i in 0..data as u16 {
            sealed.extend_from_slice(self.pieces.get(&i)?);
        }
        let padding = sealed.split_off(self.cut.length());
        padding.iter().all(|b| *b == 0).then_some(sealed)
    }
}

/// Bits of the indices, from the lowest of the first byte on, without zeros at the end.
pub fn bitmap(indices: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bits = Vec::new();
    for index in indices.map(usize::from) {
        if bits.len() <= index / 8 {
            bits.resize(index / 8 + 1, 0);
        }
        bits[index / 8] |= 1 << (index % 8);
    }
    bits
}

/// Whether a bitmap has this index.
pub fn has(bits: &[u8], index: u16) -> bool {
    let byte = bits.get(usize::from(index) / 8);
    byte.is_some_and(|b| b >> (index % 8) & 1 == 1)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
