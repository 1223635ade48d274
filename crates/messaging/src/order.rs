//! What the [`Messenger`](crate::Messenger) asks of whoever owns the network, and what comes back.
//!
//! Not here: how an order becomes a request in a packet (`crates/core`, `Client`), and what the
//! application is told ([`crate::event`]).

use std::time::Duration;
use wire::ids::{CellId, InboxAddress, InboxId, NodeId, WriteTokenHash};
use wire::request::Cell;
use zeroize::Zeroizing;

/// Names one attempt to deposit one cell; never used twice by one process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DepositHandle(pub u64);

/// An inbox to open and to read.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnInbox {
    /// Where.
    pub gateway: NodeId,
    /// Which.
    pub inbox: InboxId,
    /// Seed of the Ed25519 key that opens, reads and closes it.
    pub reader_seed: Zeroizing<[u8; 32]>,
    /// Who may write.
    pub token_hash: WriteTokenHash,
    /// How long it shall stand from now.
    pub ttl: Duration,
    /// How often it is read.
    pub class: InboxClass,
}

/// How urgent a deposit is. Short before long, and files get what is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FlowKind {
    /// Receipts and what steers a transfer.
    Control,
    /// Messages.
    Chat,
    /// Files.
    Bulk,
}

/// How often an inbox is read, relative to others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum InboxClass {
    /// Of a contact whom a person chose to hear sooner.
    Favourite,
    /// Of any other contact, or of a card.
    Contact,
    /// Of a file's transfer.
    Bulk,
}

/// Something to be done through the network. Every order is idempotent.
pub enum Order {
    /// Bring a cell into an inbox; resend the identical cell until a reply comes.
    Deposit {
        /// Comes back in [`handle_deposit`](crate::Messenger::handle_deposit).
        handle: DepositHandle,
        /// Where to.
        address: InboxAddress,
        /// The same for every attempt with this cell.
        cell_id: CellId,
        /// What to bring.
        cell: Cell,
        /// How urgent.
        flow: FlowKind,
        /// A number for the contact (or the transfer), so that those of one kind take turns.
        peer: u64,
    },
    /// Open an inbox, or prolong it, and fetch from it until `Close`.
    Open(OwnInbox),
    /// From now on this open inbox is read as one of `class`.
    Class {
        /// Which.
        inbox: InboxId,
        /// How often.
        class: InboxClass,
    },
    /// Close an inbox and fetch from it no longer.
    Close {
        /// Where.
        gateway: NodeId,
        /// Which.
        inbox: InboxId,
    },
    /// The cell is safe (or of no use): the gateway may forget it.
    Acknowledge {
        /// Where it was fetched.
        inbox: InboxId,
        /// Which.
        cell_id: CellId,
    },
    /// Stop trying; no outcome is wanted any more.
    Cancel {
        /// Of which attempt.
        handle: DepositHandle,
    },
}

/// What became of an [`Order::Deposit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DepositOutcome {
    /// It left in a packet for the first time.
    Mixing,
    /// The gateway keeps it durably. Final.
    Stored,
    /// The gateway will not take it: unknown, closed or full inbox, or wrong token. Final.
    Refused,
}

/// What became of an [`Order::Open`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InboxOutcome {
    /// It stands for so long from now.
    Opened {
        /// As the gateway granted it.
        ttl: Duration,
    },
    /// The gateway will not have it.
    Refused,
}
