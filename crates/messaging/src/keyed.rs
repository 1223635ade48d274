//! Cells under a key that both ends have already: fragments of a message, records of a file. To
//! everybody else they look like cells of suite 1: its byte, and 1,979 bytes that look random.
//! `docs/spec/messaging.md`.
//!
//! ```text
//! 01 ‖ tag (16) ‖ ChaCha20Poly1305 (1947 + 16)      key = Expand(common key, label ‖ tag)
//! ```
//!
//! One key seals one cell, so the nonce is zero. **The caller never uses a tag twice for different
//! texts**: tags are random, or follow from the text itself.
//!
//! Not here: what the text says, and cells for whoever has only a card ([`crate::suite1`]).

use crate::suite1::{LATER_LEN, SUITE, TAG_LEN, Tag};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use wire::geometry::CELL_LEN;
use wire::request::Cell;
use zeroize::Zeroizing;

/// Bytes of text in a cell.
pub const TEXT_LEN: usize = LATER_LEN;

/// A cell with this text.
pub fn seal(key: &[u8; 32], label: &str, tag: &Tag, text: &[u8; TEXT_LEN]) -> Cell {
    let mut cell = Box::new([0; CELL_LEN]);
    cell[0] = SUITE;
    cell[1..1 + TAG_LEN].copy_from_slice(tag);
    let (head, room) = cell.split_at_mut(1 + TAG_LEN);
    let payload = Payload {
        msg: text,
        aad: head,
    };
    let sealed = cipher(key, label, tag)
        .encrypt(&Nonce::default(), payload)
        .expect("ChaCha20Poly1305 seals any short text");
    room.copy_from_slice(&sealed);
    cell
}

/// The text of a cell that was sealed with this key and label; `None` for every other cell.
pub fn open(key: &[u8; 32], label: &str, cell: &Cell) -> Option<Zeroizing<Vec<u8>>> {
    let (head, sealed) = cell.split_at(1 + TAG_LEN);
    let tag = head[1..].try_into().ok()?;
    let payload = Payload {
        msg: sealed,
        aad: head,
    };
    if head[0] != SUITE {
        return None;
    }
    let text = cipher(key, label, &tag).decrypt(&Nonce::default(), payload);
    text.ok().map(Zeroizing::new)
}

fn cipher(key: &[u8; 32], label: &str, tag: &Tag) -> ChaCha20Poly1305 {
    let mut one_cell = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::from_prk(key)
        .expect("32 bytes are a whole hash")
        .expand_multi_info(&[label.as_bytes(), tag], &mut one_cell[..])
        .expect("32 bytes are one block");
    ChaCha20Poly1305::new((&*one_cell).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_opens_with_its_key_and_label_and_unchanged() {
        let text = [0x5a; TEXT_LEN];
        let cell = seal(&[1; 32], "label", &[2; TAG_LEN], &text);
        assert_eq!(&open(&[1; 32], "label", &cell).unwrap()[..], text);
        assert!(open(&[3; 32], "label", &cell).is_none());
        assert!(open(&[1; 32], "other", &cell).is_none());
        for place in [0, 1, TAG_LEN, TAG_LEN + 1, CELL_LEN - 1] {
            let mut bad = cell.clone();
            bad[place] ^= 1;
            assert!(open(&[1; 32], "label", &bad).is_none(), "{place}");
        }
    }

    #[test]
    fn another_tag_is_another_key() {
        let text = [0; TEXT_LEN];
        let one = seal(&[1; 32], "label", &[2; TAG_LEN], &text);
        let two = seal(&[1; 32], "label", &[3; TAG_LEN], &text);
        let same = one.iter().zip(two.iter()).filter(|(a, b)| a == b).count();
        assert!(same < 40, "{same} bytes in common");
    }
}
