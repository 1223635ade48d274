//! What a gateway keeps about its inboxes, and the orders that make it durable. The index of all
//! inboxes lives in memory (`crate::gateway`); `crates/store` keeps the same on disk and the cells'
//! contents besides.

use wire::ids::{CellId, WriteTokenHash};
use wire::keys::IdentityPublic;
use wire::request::Cell;
use wire::time::UnixTime;

/// HMAC-SHA-256 of an inbox id under a key of this gateway's own: the id itself is on no disk and
/// in no index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxKey(pub [u8; 32]);

/// What an `Open` said.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxRecord {
    /// Who may read and close.
    pub reader: IdentityPublic,
    /// Who may write.
    pub token_hash: WriteTokenHash,
    /// Gone after this, cells and all.
    pub expires: UnixTime,
}

/// One cell's place in its inbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredCell {
    /// Order of arrival within the inbox; never used twice.
    pub sequence: u64,
    /// Doubles are dropped by it.
    pub id: CellId,
    /// Gone after this.
    pub expires: UnixTime,
}

/// An inbox as it is read back at start.
#[derive(Clone)]
pub struct StoredInbox {
    /// Which.
    pub key: InboxKey,
    /// Its record.
    pub record: InboxRecord,
    /// Its cells by ascending sequence.
    pub cells: Vec<StoredCell>,
}

/// One change of what is kept. Applied in the order in which they are given.
#[derive(Clone)]
pub enum StoreOp {
    /// A new inbox, or a new expiry of an old one.
    PutInbox {
        /// Which.
        key: InboxKey,
        /// Its record.
        record: InboxRecord,
    },
    /// The inbox and all its cells; nothing of them can be opened afterwards.
    RemoveInbox {
        /// Which.
        key: InboxKey,
    },
    /// A new cell.
    PutCell {
        /// Of which inbox.
        key: InboxKey,
        /// Its place.
        cell: StoredCell,
        /// What it holds.
        content: Cell,
    },
    /// An acknowledged cell; it cannot be opened afterwards.
    RemoveCell {
        /// Of which inbox.
        key: InboxKey,
        /// Which cell.
        sequence: u64,
    },
}
