//! A sealed row in pieces. sled keeps up to sixteen values on a page and puts a page above 128 KiB
//! into a file of its own, written anew at each change of it: slow, and room that nobody reserved. So no
//! value is longer than [`PIECE_LEN`]. The first piece stands under the row's name, the others under name
//! ‖ number (2) directly behind it.

use crate::database::{Batch, Database, Pair};
use crate::error::StoreError;

/// Longest piece: sixteen and their names fit on a page.
pub(super) const PIECE_LEN: usize = 7 * 1024;
const NAME_LEN: usize = 32;

/// Puts a row in the place of what stood under its name; gives the length of that.
pub(super) fn put(
    db: &Database,
    tree: usize,
    batch: &mut Batch,
    name: &[u8; NAME_LEN],
    sealed: &[u8],
) -> Result<u64, StoreError> {
    let mut pieces = sealed.chunks(PIECE_LEN).enumerate();
    if let Some((_, first)) = pieces.next() {
        batch.insert(name, first.to_vec());
    }
    for (number, piece) in pieces {
        batch.insert(&key(name, number), piece.to_vec());
    }
    let fresh = sealed.len().div_ceil(PIECE_LEN);
    let before = db.with_prefix(tree, name)?;
    for (key, _) in before.iter().skip(fresh) {
        batch.remove(key);
    }
    Ok(len(&before))
}

/// Removes all pieces of a row; gives their length.
pub(super) fn remove(
    db: &Database,
    tree: usize,
    batch: &mut Batch,
    name: &[u8],
) -> Result<u64, StoreError> {
    let before = db.with_prefix(tree, name)?;
    before.iter().for_each(|(key, _)| batch.remove(key));
    Ok(len(&before))
}

fn len(pieces: &[Pair]) -> u64 {
    pieces.iter().map(|(_, piece)| piece.len() as u64).sum()
}

/// A row, joined; `None` when there is none.
pub(super) fn get(
    db: &Database,
    tree: usize,
    name: &[u8; NAME_LEN],
) -> Result<Option<Vec<u8>>, StoreError> {
    let pieces = db.with_prefix(tree, name)?;
    Ok((!pieces.is_empty()).then(|| pieces.into_iter().flat_map(|(_, piece)| piece).collect()))
}

/// Joins pieces that come by ascending key.
#[derive(Default)]
pub(super) struct Joiner(Option<Pair>);

impl Joiner {
    /// Takes one; gives the row before it when that is whole. Keys that are no row's are passed over.
    pub(super) fn push(&mut self, key: &[u8], piece: &[u8]) -> Option<Pair> {
        if key.len() == NAME_LEN {
            return self.0.replace((key.to_vec(), piece.to_vec()));
        }
        if let Some((name, row)) = &mut self.0
            && key.len() == NAME_LEN + 2
            && key.starts_with(name)
        {
            row.extend_from_slice(piece);
        }
        None
    }

    /// The last row.
    pub(super) fn end(self) -> Option<Pair> {
        self.0
    }
}

fn key(name: &[u8; NAME_LEN], number: usize) -> Vec<u8> {
    // A row of the longest value has some dozens.
    [&name[..], &(number as u16).to_be_bytes()].concat()
}
