//! Why a directory is not gone by, in words that say what to do.

use std::fmt;
use wire::codec::DecodeError;
use wire::ids::{Epoch, NodeId};

/// Why a signed directory is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectoryRefused {
    /// The bytes are no directory.
    Malformed(DecodeError),
    /// It is of another network.
    WrongNetwork,
    /// Its packets have other sizes than this program's.
    WrongGeometry,
    /// Its epochs are cut in another way than `network.toml` says.
    WrongSchedule,
    /// It names an authority that `network.toml` does not list.
    UnknownAuthority(u8),
    /// The signature of this authority does not hold.
    BadSignature(u8),
    /// Too few authorities signed.
    TooFewSignatures {
        /// So many did.
        have: usize,
        /// So many must.
        need: usize,
    },
    /// A parameter lies outside of what this program goes by; the name says which.
    BadParameter(&'static str),
    /// It claims to be valid at times that do not fit its epoch.
    BadValidity,
    /// This node has no key for the directory's epoch or for the next.
    MissingKey(NodeId),
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// A newer one is held already: somebody replays an old one.
    OlderThanHeld {
        /// Its epoch.
        offered: Epoch,
        /// The epoch of the one that is held.
        held: Epoch,
    },
    /// It and the one that is held are not of one line: authorities signed both.
    Conflicting(Epoch),
}

impl fmt::Display for DirectoryRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(
                f,
                "this is no directory ({why}); ask another gateway or authority, and compare versions"
            ),
            Self::WrongNetwork => write!(
                f,
                "the directory is of another network; compare network_id in network.toml with the \
                 authority's"
            ),
            Self::WrongGeometry => write!(
                f,
                "the directory asks for other packet sizes than this program has; update it"
            ),
            Self::WrongSchedule => write!(
                f,
                "the directory cuts epochs in another way; compare genesis and epoch_ms in \
                 network.toml with the authority's"
            ),
            Self::UnknownAuthority(index) => write!(
                f,
                "authority {index} signed, but network.toml does not list it; get a current \
                 network.toml"
            ),
            Self::BadSignature(index) => write!(
                f,
                "the signature of authority {index} does not hold; the directory was changed on \
                 its way, or network.toml has an old key"
            ),
            Self::TooFewSignatures { have, need } => write!(
                f,
                "{have} authorities signed and {need} must; wait for the others, or ask elsewhere"
            ),
            Self::BadParameter(name) => write!(
                f,
                "the directory's {name} is outside of what this program goes by; tell the \
                 authorities, or update"
            ),
            Self::BadValidity => write!(
                f,
                "the directory's times do not fit its epoch; tell the authorities"
            ),
            Self::MissingKey(id) => write!(
                f,
                "node {id} has no key for the directory's epoch or the next; tell the authorities"
            ),
            Self::Expired => write!(
                f,
                "the directory's time is over; check this machine's clock, else the authority is \
                 late"
            ),
            Self::NotYetValid => write!(
                f,
                "the directory's time has not come; check this machine's clock"
            ),
            Self::OlderThanHeld { offered, held } => write!(
                f,
                "the directory is of epoch {offered} and one of epoch {held} is held; somebody \
                 replays old ones"
            ),
            Self::Conflicting(epoch) => write!(
                f,
                "two directories around epoch {epoch} contradict each other; keep both, they \
                 prove which authorities cheated"
            ),
        }
    }
}

impl std::error::Error for DirectoryRefused {}
