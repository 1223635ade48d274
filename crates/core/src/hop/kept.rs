//! What a node must not forget over a restart: its keys, each with the tags seen under it. Orders to
//! whoever keeps them on a disk, and what comes back.
//!
//! The machine decides that a packet waits for its tag; the file and the thread that writes it are
//! in `crates/runtime` (`tag_log`, `node::keeper`). A simulation answers every order at once.

use sphinx::ReplayTag;
use wire::ids::Epoch;
use wire::keys::SphinxPublic;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The first 128 bits of a replay tag. Two honest packets share them once in 2⁶⁴ packets, which
/// loses one of them; nobody can aim at that without the node's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShortTag(pub [u8; Self::LEN]);

impl ShortTag {
    /// Bytes of one.
    pub const LEN: usize = 16;
}

impl From<ReplayTag> for ShortTag {
    fn from(tag: ReplayTag) -> Self {
        let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = tag.0;
        Self(head)
    }
}

/// What a node's key for one epoch is drawn from; wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KeySeed(pub [u8; 32]);

/// A node's key for one epoch, as it is kept.
#[derive(Clone)]
pub struct NodeKey {
    /// Of which epoch.
    pub epoch: Epoch,
    /// What it is drawn from.
    pub seed: KeySeed,
    /// What the draw gave. A program that draws another key from the same seed must not use it.
    pub public: SphinxPublic,
}

/// A key that was kept over a restart, and all tags that were.
pub struct KeptKey {
    /// The key.
    pub key: NodeKey,
    /// In any order.
    pub tags: Vec<ShortTag>,
}

/// Tags that are to be made durable together.
pub struct TagBatch {
    /// To be handed back. Ascending.
    pub ticket: u64,
    /// Seen under the key of which epoch.
    pub epoch: Epoch,
    /// At least one.
    pub tags: Vec<ShortTag>,
}

/// An order to whoever keeps keys and tags.
pub enum KeepOrder {
    /// Keep this key, which has no tags yet. Comes before all tags of its epoch.
    Key(NodeKey),
    /// Make these durable, then answer. Their packets wait.
    Tags(TagBatch),
    /// Destroy this epoch's key and tags, together.
    Forget(Epoch),
}

/// What became of a [`KeepOrder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The tags of this ticket and of all before it that did not fail are durable.
    Durable {
        /// Of the batch.
        ticket: u64,
    },
    /// The tags of this one ticket are not durable and will not be.
    Failed {
        /// Of the batch.
        ticket: u64,
    },
    /// An epoch's key could not be kept, or its log is broken: it is not to be used again.
    KeyLost(Epoch),
}
