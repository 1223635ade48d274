//! Who says what to whom: identities, cards, sealing, pairs and their inboxes.
//!
//! [`Messenger`] decides; whoever owns it brings time, randomness, a store and the network:
//!
//! ```text
//!   application ── handle_send, handle_create_card, handle_add_card ──▶ ┌───────────┐
//!   network     ── handle_cell, handle_deposit, handle_inbox ────────▶ │ Messenger │
//!   directory   ── handle_directory ─────────────────────────────────▶ └─────┬─────┘
//!   store, application ◀── poll_event      first, all of them, in one batch   │
//!   network            ◀── poll_transmit   only then                  ◀──────┘
//! ```
//!
//! Not here: packets, ticks and SURBs (`crates/core`, which knows cells only as opaque bytes), the
//! store and the loopback API (`clientd`). Bytes are specified in `docs/spec/messaging.md`.
//!
//! Reading order: [`card`], [`suite1`], [`inner`], [`pair`], then [`Messenger`].

pub mod card;
pub mod event;
pub mod identity;
pub mod inner;
pub mod messenger;
pub mod order;
pub mod pair;
pub mod records;
pub mod suite1;

pub use card::{Card, CardDecodeError};
pub use event::{
    AddError, CardError, ClientMessageId, Event, FailReason, IgnoreReason, MessageId, MessageState,
    SendError, SendOutcome,
};
pub use identity::{ContactId, Identity, KemPublic};
pub use messenger::{ContactView, Messenger, MessengerConfig, RestoreError};
pub use order::{DepositHandle, DepositOutcome, InboxOutcome, Order, OwnInbox};
pub use records::{Record, Table};
