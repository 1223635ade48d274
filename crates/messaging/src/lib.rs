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
//! Reading order: [`card`], [`suite1`], [`inner`], [`pair`], [`fragment`], [`receipt`], then
//! [`Messenger`].

pub mod card;
pub mod composed;
pub mod draft;
pub mod error;
pub mod event;
pub mod fragment;
pub mod identity;
pub mod inner;
pub mod keyed;
pub mod messenger;
pub mod order;
pub mod pace;
pub mod pair;
pub mod receipt;
pub mod records;
pub mod suite1;
pub mod transfer;

pub use card::{Card, CardDecodeError};
pub use draft::{
    AppId, BODY_MAX, BlobRef, BlobWant, ContactSettings, Draft, FileDraft, FileRef, FileView,
    Retention,
};
pub use error::{AddError, CardError, FileError, SendError, UnknownContact};
pub use event::{
    ClientMessageId, Event, FailReason, IgnoreReason, MessageId, MessageState, SendOutcome,
};
pub use identity::{ContactId, Identity, KemPublic};
pub use messenger::{ContactView, FILE_MAX, FilesOut, Messenger, MessengerConfig, RestoreError};
pub use order::{
    DepositHandle, DepositOutcome, FlowKind, InboxClass, InboxOutcome, Order, OwnInbox,
};
pub use records::{Record, Table};
pub use transfer::FILE_RECORD_LEN;
