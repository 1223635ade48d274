//! Puts a signed directory together from the pieces it comes in: link frames from the entry
//! gateway, or answers to `Directory` requests through the mixnet.
//!
//! Not here: whether to go by what comes out ([`SignedDirectory::accept`]). A caller that holds
//! the directory with a piece's hash already does not hand that piece in.

use crate::body::DOCUMENT_MAX;
use crate::signed::SignedDirectory;
use std::collections::VecDeque;
use wire::frame::{DirectoryPart, PART_LEN};
use wire::ids::DirectoryHash;
use wire::request::DIRECTORY_CHUNK_LEN;

/// Documents that one assembler works on at a time. With a third, the one begun first is lost and
/// comes again with the next push.
pub const DOCUMENTS_MAX: usize = 2;

/// What became of a piece.
#[derive(Clone, PartialEq, Eq)]
pub enum Assembled {
    /// More pieces are needed.
    Incomplete,
    /// All pieces are here and the hash is right.
    Complete(SignedDirectory),
    /// The piece cannot belong to this document, or the whole has another hash than its pieces
    /// said: whoever sent it is broken or lies. What was there of this document is forgotten.
    Refused,
}

/// Collects pieces in any order. Holds at most [`DOCUMENTS_MAX`] documents of [`DOCUMENT_MAX`]
/// bytes, and only bytes that really came.
#[derive(Default)]
pub struct DirectoryAssembler {
    open: VecDeque<Open>,
}

struct Open {
    hash: DirectoryHash,
    /// Bytes of every piece but the last.
    piece_len: usize,
    pieces: Vec<Option<Vec<u8>>>,
    missing: usize,
}

impl DirectoryAssembler {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A piece in a link frame.
    pub fn handle_part(&mut self, part: DirectoryPart) -> Assembled {
        self.handle(part.hash, PART_LEN, part.part, part.parts, part.bytes)
    }

    /// A piece in the answer to a `Directory` request for `hash`.
    pub fn handle_chunk(
        &mut self,
        hash: DirectoryHash,
        part: u16,
        parts: u16,
        bytes: Vec<u8>,
    ) -> Assembled {
        self.handle(hash, DIRECTORY_CHUNK_LEN, part, parts, bytes)
    }

    /// The lowest piece that is still missing of a document asked for by `Directory` requests; 0
    /// when nothing of it came yet.
    pub fn next_chunk(&self, hash: &DirectoryHash) -> u16 {
        let open = self.find(hash, DIRECTORY_CHUNK_LEN);
        let missing =
            open.and_then(|at| self.open.get(at)?.pieces.iter().position(Option::is_none));
        missing.and_then(|at| u16::try_from(at).ok()).unwrap_or(0)
    }

    fn find(&self, hash: &DirectoryHash, piece_len: usize) -> Option<usize> {
        self.open
            .iter()
            .position(|o| o.hash == *hash && o.piece_len == piece_len)
    }

    fn handle(
        &mut self,
        hash: DirectoryHash,
        piece_len: usize,
        part: u16,
        parts: u16,
        bytes: Vec<u8>,
    ) -> Assembled {
        let (part, parts) = (usize::from(part), usize::from(parts));
        let last = part + 1 == parts;
        let length_right = bytes.len() == piece_len || (last && bytes.len() < piece_len);
        let fits = parts <= DOCUMENT_MAX.div_ceil(piece_len);
        let at = self.find(&hash, piece_len);
        let same = at.is_none_or(|at| self.open.get(at).is_some_and(|o| o.pieces.len() == parts));
        if part >= parts || !fits || !length_right || bytes.is_empty() || !same {
            at.map(|at| self.open.remove(at));
            return Assembled::Refused;
        }
        let at = at.unwrap_or_else(|| self.begin(hash, piece_len, parts));
        let open = &mut self.open[at];
        let slot = &mut open.pieces[part];
        if slot.is_none() {
            *slot = Some(bytes);
            open.missing -= 1;
        }
        if open.missing > 0 {
            return Assembled::Incomplete;
        }
        self.open
            .remove(at)
            .map_or(Assembled::Refused, Open::finish)
    }

    fn begin(&mut self, hash: DirectoryHash, piece_len: usize, parts: usize) -> usize {
        while self.open.len() >= DOCUMENTS_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Open {
            hash,
            piece_len,
            pieces: vec![None; parts],
            missing: parts,
        });
        self.open.len() - 1
    }
}

impl Open {
    fn finish(self) -> Assembled {
        let document = self.pieces.into_iter().flatten().flatten();
        match SignedDirectory::decode(&document.collect::<Vec<u8>>()) {
            Ok(signed) if signed.hash() == self.hash => Assembled::Complete(signed),
            Ok(_) | Err(_) => Assembled::Refused,
        }
    }
}

/// Piece `part` of a document for the answer to a `Directory` request, and how many there are.
/// `None` when there is no such piece.
pub fn chunk(document: &[u8], part: u16) -> Option<(u16, &[u8])> {
    let parts = u16::try_from(document.len().div_ceil(DIRECTORY_CHUNK_LEN)).ok()?;
    let bytes = document
        .chunks(DIRECTORY_CHUNK_LEN)
        .nth(usize::from(part))?;
    Some((parts, bytes))
}
