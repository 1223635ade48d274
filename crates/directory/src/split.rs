//! Two directories of one epoch that one authority signed: the proof that it cheats.
//! `docs/spec/directory.md` §9.
//!
//! An authority signs one directory for an epoch, ever ([`crate::vote::Vote`]), so two with its signature
//! are its doing, or that of whoever has its key. If both are valid, users can be shown two networks. The
//! proof needs nobody's word: it holds for everybody who has `network.toml`.
//!
//! Not here: how the second one was come by (clients compare hashes in replies) and who is told.

use crate::body::DOCUMENT_MAX;
use crate::network::Network;
use crate::refused::DirectoryRefused;
use crate::signed::SignedDirectory;
use std::fmt;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::{DirectoryHash, Epoch};

/// Most bytes of an encoded proof.
pub const SPLIT_PROOF_MAX: usize = 5 + 2 * (4 + DOCUMENT_MAX);

const MAGIC: [u8; 4] = *b"MZSP";
const VERSION: u8 = 1;

/// Two documents, the one with the smaller hash first. Holding them proves nothing yet: see
/// [`SplitProof::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct SplitProof {
    one: SignedDirectory,
    other: SignedDirectory,
}

/// What a proof proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Split {
    /// Of this epoch there are two.
    pub epoch: Epoch,
    /// Their hashes, ascending.
    pub hashes: [DirectoryHash; 2],
    /// Who signed both: indices into `Network::authorities`, ascending, at least one.
    pub culprits: Vec<u8>,
    /// Whether clients would go by either: both are signed by a threshold and make sense. Else the
    /// culprits did wrong and nobody was harmed.
    pub both_valid: bool,
}

/// Why two documents prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SplitRefused {
    /// They are one directory.
    SameDirectory,
    /// They are of different epochs, or one is no directory at all.
    DifferentEpochs,
    /// One of them is of another network, or a signature does not hold.
    Unsigned(DirectoryRefused),
    /// Nobody signed both.
    NobodySignedBoth,
}

impl fmt::Display for SplitRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameDirectory => {
                write!(f, "both are the same directory; that is as it should be")
            }
            Self::DifferentEpochs => write!(
                f,
                "they are of different epochs; only two of the same epoch contradict each other"
            ),
            Self::Unsigned(why) => write!(f, "one of the two proves nothing: {why}"),
            Self::NobodySignedBoth => write!(
                f,
                "no authority signed both; one of them is not valid, and nobody did wrong by these two"
            ),
        }
    }
}

impl std::error::Error for SplitRefused {}

impl SplitProof {
    /// Puts two documents together, in either order.
    pub fn new(one: SignedDirectory, other: SignedDirectory) -> Self {
        if one.hash().0 <= other.hash().0 {
            Self { one, other }
        } else {
            Self {
                one: other,
                other: one,
            }
        }
    }

    /// The two documents, the one with the smaller hash first.
    pub fn documents(&self) -> [&SignedDirectory; 2] {
        [&self.one, &self.other]
    }

    /// What the two prove, if anything.
    pub fn verify(&self, network: &Network) -> Result<Split, SplitRefused> {
        let hashes = [self.one.hash(), self.other.hash()];
        if hashes[0] == hashes[1] {
            return Err(SplitRefused::SameDirectory);
        }
        let [Some(epoch), Some(same)] = [self.one.epoch(), self.other.epoch()] else {
            return Err(SplitRefused::DifferentEpochs);
        };
        if epoch != same {
            return Err(SplitRefused::DifferentEpochs);
        }
        for document in self.documents() {
            let held = document.verify_signers(network);
            held.map_err(SplitRefused::Unsigned)?;
        }
        let second: Vec<u8> = self.other.signers().collect();
        let both = self.one.signers().filter(|i| second.contains(i));
        let culprits: Vec<u8> = both.collect();
        if culprits.is_empty() {
            return Err(SplitRefused::NobodySignedBoth);
        }
        let valid = |document: &SignedDirectory| document.verify(network).is_ok();
        Ok(Split {
            epoch,
            hashes,
            culprits,
            both_valid: self.documents().into_iter().all(valid),
        })
    }

    /// Its only encoding, at most [`SPLIT_PROOF_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.put(&MAGIC).u8(VERSION);
        for document in self.documents() {
            let bytes = document.encode();
            w.u32(bytes.len() as u32).put(&bytes);
        }
        w.into_vec()
    }

    /// Reads what [`SplitProof::encode`] wrote and nothing else; does not verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > SPLIT_PROOF_MAX {
            return Err(DecodeError::TooLong("proof"));
        }
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC || r.u8()? != VERSION {
            return Err(DecodeError::Invalid("proof magic or version"));
        }
        let document = |r: &mut Reader<'_>| {
            let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
            SignedDirectory::decode(r.slice(len)?)
        };
        let (one, other) = (document(&mut r)?, document(&mut r)?);
        r.finish()?;
        if one.hash().0 > other.hash().0 {
            return Err(DecodeError::Invalid("order of documents"));
        }
        Ok(Self { one, other })
    }
}
