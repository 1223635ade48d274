//! A record of a file as a cell. `docs/spec/messaging.md` §8.
//!
//! ```text
//! text  02 ‖ record (4) ‖ payload (1920; the last one filled up with zeros) ‖ zeros (22)
//! tag   Expand(file key, mizzle-bulk-tag-v1 ‖ inbox id ‖ SHA-256(text)), 16 bytes
//! ```
//!
//! Tag, key and cell id follow from the text and the inbox: a record that is sent again to the same
//! inbox, after a restart too, is the identical cell, and one at two inboxes has nothing in common.
//! Were the owner's bytes ever to change, the key would change with them.

use super::{FILE_RECORD_LEN, Shape};
use crate::keyed::{self, TEXT_LEN};
use crate::pair::expand;
use crate::suite1::{TAG_LEN, Tag};
use sha2::{Digest, Sha256};
use wire::ids::{CellId, InboxId};
use wire::request::Cell;
use zeroize::Zeroizing;

const KIND: u8 = 2;
const HEAD_LEN: usize = 1 + 4;
const LABEL: &str = "mizzle-bulk-v1";

const _: () = assert!(HEAD_LEN + FILE_RECORD_LEN <= TEXT_LEN);

/// Key of one file. Wiped on drop; no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct FileKey(pub(crate) Zeroizing<[u8; 32]>);

impl FileKey {
    /// From fresh randomness, or as it was stored or sent.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// Why a cell in a file's inbox is no record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BulkError {
    /// Not sealed with this file's key, or changed.
    Unreadable,
    /// Sealed rightly, but no record of a file of this length.
    Malformed,
}

/// The cell for a record at an inbox. `None` when `payload` has not the record's length.
pub fn seal(
    key: &FileKey,
    shape: Shape,
    index: u32,
    payload: &[u8],
    inbox: &InboxId,
) -> Option<(CellId, Cell)> {
    if shape.record_len(index)? != payload.len() {
        return None;
    }
    let mut text = Zeroizing::new([0; TEXT_LEN]);
    text[0] = KIND;
    text[1..HEAD_LEN].copy_from_slice(&index.to_be_bytes());
    text[HEAD_LEN..HEAD_LEN + payload.len()].copy_from_slice(payload);
    let tag = derive(key, "mizzle-bulk-tag-v1", inbox, &Sha256::digest(&text[..]));
    let cell_id = CellId(derive(key, "mizzle-bulk-cell-v1", inbox, &tag));
    Some((cell_id, keyed::seal(&key.0, LABEL, &tag, &text)))
}

/// The record in a cell.
pub fn open(
    key: &FileKey,
    shape: Shape,
    cell: &Cell,
) -> Result<(u32, Zeroizing<Vec<u8>>), BulkError> {
    let text = keyed::open(&key.0, LABEL, cell).ok_or(BulkError::Unreadable)?;
    let (head, rest) = text.split_at(HEAD_LEN);
    let index = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let len = shape.record_len(index).ok_or(BulkError::Malformed)?;
    let (payload, padding) = rest.split_at(len);
    if head[0] != KIND || padding.iter().any(|b| *b != 0) {
        return Err(BulkError::Malformed);
    }
    Ok((index, Zeroizing::new(payload.to_vec())))
}

fn derive(key: &FileKey, label: &str, inbox: &InboxId, of: &[u8]) -> Tag {
    let info = [label.as_bytes(), &inbox.0, of].concat();
    let mut out = [0; TAG_LEN];
    out.copy_from_slice(&expand(&key.0, &info)[..TAG_LEN]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::new(FILE_RECORD_LEN as u64 * 2 + 7);

    fn key() -> FileKey {
        FileKey::from_bytes([4; 32])
    }

    #[test]
    fn records_come_back_with_their_own_length() {
        for (index, len) in [(0, FILE_RECORD_LEN), (1, FILE_RECORD_LEN), (2, 7)] {
            let payload = vec![index as u8 + 1; len];
            let (_, cell) = seal(&key(), SHAPE, index, &payload, &InboxId([1; 32])).unwrap();
            let (back, bytes) = open(&key(), SHAPE, &cell).ok().unwrap();
            assert_eq!((back, &bytes[..]), (index, &payload[..]));
            let other = FileKey::from_bytes([5; 32]);
            assert_eq!(
                open(&other, SHAPE, &cell).err(),
                Some(BulkError::Unreadable)
            );
        }
        let short = vec![0; FILE_RECORD_LEN - 1];
        assert!(seal(&key(), SHAPE, 0, &short, &InboxId([1; 32])).is_none());
        assert!(seal(&key(), SHAPE, 3, &[], &InboxId([1; 32])).is_none());
    }

    #[test]
    fn the_same_record_at_the_same_inbox_is_the_same_cell_and_no_other() {
        let record = |byte: u8, inbox: u8| {
            seal(&key(), SHAPE, 2, &[byte; 7], &InboxId([inbox; 32])).unwrap()
        };
        assert!(record(1, 1) == record(1, 1));
        for other in [record(2, 1), record(1, 2)] {
            assert!(record(1, 1).0 != other.0);
            assert!(record(1, 1).1[1..17] != other.1[1..17]);
        }
    }

    #[test]
    fn a_sender_that_lies_about_kind_index_or_padding_is_malformed() {
        let text = |change: &dyn Fn(&mut [u8; TEXT_LEN])| {
            let mut text = [0; TEXT_LEN];
            text[0] = KIND;
            text[4] = 2;
            change(&mut text);
            let cell = keyed::seal(&key().0, LABEL, &[9; TAG_LEN], &text);
            open(&key(), SHAPE, &cell).err()
        };
        assert_eq!(text(&|_| ()), None);
        assert_eq!(text(&|t| t[0] = 1), Some(BulkError::Malformed));
        assert_eq!(text(&|t| t[4] = 3), Some(BulkError::Malformed));
        assert_eq!(text(&|t| t[1] = 0xff), Some(BulkError::Malformed));
        assert_eq!(text(&|t| t[HEAD_LEN + 7] = 1), Some(BulkError::Malformed));
        assert_eq!(text(&|t| t[TEXT_LEN - 1] = 1), Some(BulkError::Malformed));
    }
}
