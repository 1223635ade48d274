//! Files: one half of a transfer each for sender and receiver, as machines inside the
//! [`Messenger`](crate::Messenger). `docs/spec/messaging.md` §8.
//!
//! ```text
//!   sender                                                        receiver
//!   FileOffer ────────────── message in the pair's inbox ───────▶ a person (or a limit) accepts
//!             ◀───────────── FileAccept: 1 to 4 bulk inboxes ──── opens them at different gateways
//!   record 0, 4, 8 … ──────▶ bulk inbox A ────────────────────▶   writes them down by index,
//!   record 1, 5, 9 … ──────▶ bulk inbox B ────────────────────▶   acknowledges what is durable
//!             ◀───────────── FileAccept every quarter window ──── first missing, and what is beyond
//!   window moves; what is     …
//!   reported lost goes again  ◀── FileProgress, complete ──────── checks the hash, closes the inboxes
//! ```
//!
//! The sender never has more cells in an inbox than half its quota, so that nothing is refused for
//! fullness. Everything is repeated until the other end says more: an offer without an answer, an
//! accept without records. Both machines come back from their rows at any moment.
//!
//! Not here: sealing of the four inner messages and their way ([`crate::Messenger`]), the bytes on a
//! disk and their hash (`clientd`), which tick carries what (`crates/core`).

pub mod bitmap;
pub mod bulk;
pub mod formats;
pub mod receive;
pub mod rows;
pub mod select;
pub mod send;

pub use bulk::FileKey;
pub use formats::{CancelReason, FileAccept, FileCancel, FileOffer, FileProgress, Report};
pub use receive::ReceiveTransfer;
pub use send::SendTransfer;

use std::time::Duration;

/// Bytes of a file in one cell; the last record of a file may be shorter.
pub const FILE_RECORD_LEN: usize = 1920;
/// Most inboxes of one transfer.
pub const INBOXES_MAX: usize = 4;
/// A sender is never so many records ahead of the first that is missing. A report covers so many.
pub const SPAN: u32 = 2048;
/// Most cells in one inbox, whatever its quota.
pub const INBOX_WINDOW_MAX: u32 = 128;
/// Records of one inbox that are asked of the owner, or on their way there, at once. Each takes 2 KB.
pub const UNDER_WAY_MAX: usize = 16;

/// How a file falls into records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    size: u64,
}

impl Shape {
    /// Largest size that can be counted in records; the Messenger's own limit is lower.
    pub const SIZE_MAX: u64 = u32::MAX as u64 * FILE_RECORD_LEN as u64;

    /// Of a file of `size` bytes, at most [`Shape::SIZE_MAX`].
    pub const fn new(size: u64) -> Self {
        Self { size }
    }

    /// In bytes.
    pub const fn size(self) -> u64 {
        self.size
    }

    /// How many records.
    pub const fn records(self) -> u32 {
        self.size.div_ceil(FILE_RECORD_LEN as u64) as u32
    }

    /// Length of a record, if there is one of this index.
    pub fn record_len(self, index: u32) -> Option<usize> {
        let start = u64::from(index) * FILE_RECORD_LEN as u64;
        let left = self.size.checked_sub(start).filter(|left| *left > 0)?;
        Some(left.min(FILE_RECORD_LEN as u64) as usize)
    }

    /// So many records as bytes; those of the whole file are its size.
    pub const fn bytes(self, records: u32) -> u64 {
        let bytes = records as u64 * FILE_RECORD_LEN as u64;
        if bytes < self.size { bytes } else { self.size }
    }
}

/// What follows from the directory's rates and limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// T0: in this time a stored record is surely fetched and reported, while both ends run.
    pub patience: Duration,
    /// Most cells of ours in one inbox.
    pub inbox_window: u32,
}

impl Pace {
    /// From a patience and an inbox' quota.
    pub fn new(patience: Duration, inbox_quota: u16) -> Self {
        let half = u32::from(inbox_quota) / 2;
        Self {
            patience,
            inbox_window: half.clamp(1, INBOX_WINDOW_MAX),
        }
    }

    /// T0, doubled with every silence, up to 1,024 times.
    fn patience_after(&self, silences: u32) -> Duration {
        self.patience.saturating_mul(1 << silences.min(10))
    }
}

#[cfg(test)]
mod tests;
