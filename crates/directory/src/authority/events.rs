//! What an authority has for its owner.

use crate::signed::SignedDirectory;
use crate::split::SplitProof;
use crate::vote::{Blocked, Equivocation};
use wire::ids::{DirectoryHash, Epoch};
use wire::time::UnixTime;

/// Something to be made durable, and to be given back at the next start.
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// This authority's only signature for an epoch. The newest is all that is needed.
    Signature(Epoch, SignedDirectory),
    /// A decided directory; the newest [`super::KEPT_MAX`] are handed out.
    Directory(Epoch, SignedDirectory),
}

impl Record {
    /// For which epoch.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Signature(epoch, _) | Self::Directory(epoch, _) => *epoch,
        }
    }

    /// The document.
    pub fn document(&self) -> &SignedDirectory {
        match self {
            Self::Signature(_, signed) | Self::Directory(_, signed) => signed,
        }
    }
}

/// Something for the owner. Numbers are places in `Network::authorities`.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthorityEvent {
    /// Make this durable, then call [`super::Authority::handle_persisted`]; if it cannot be done,
    /// [`super::Authority::handle_persist_failed`]. It is not shown to anybody before. One at a time.
    Persist(Record),
    /// From now on this is handed out.
    Published(Epoch, DirectoryHash),
    /// No ballot that counts came of these authorities.
    Missing(Epoch, Vec<u8>),
    /// These authorities voted and withheld their share of the randomness.
    Withheld(Epoch, Vec<u8>),
    /// An authority said two things; both, with its signatures, are the proof.
    Equivocated(Epoch, Box<Equivocation>),
    /// An authority signed two directories of this epoch; the two are the proof.
    SignedTwice(Epoch, Box<SplitProof>),
    /// The ballots make no directory.
    Blocked(Epoch, Blocked),
    /// This authority waits for nodes before it votes in a network without a valid directory: there are
    /// so many usable ones, and at least 3 mixes and 1 gateway are needed. Told once for each epoch.
    TooFewNodes {
        /// For this epoch.
        epoch: Epoch,
        /// Usable mixes.
        mixes: usize,
        /// Usable gateways.
        gateways: usize,
    },
    /// The vote of an epoch came to nothing here. The directory before it holds until `until`.
    Failed {
        /// Of this epoch.
        epoch: Epoch,
        /// When nothing is left to go by; `None` if there is nothing.
        until: Option<UnixTime>,
    },
}
