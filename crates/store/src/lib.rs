//! Durable state, and the one crate that imports sled.
//!
//! [`InboxStore`] keeps what a gateway holds for its inboxes, so that a delivered or expired cell
//! cannot be opened with all that is left on the disk; [`InboxThread`] runs it on a thread of its
//! own with group commit. [`ClientStore`] is the client's encrypted table of everything it must not
//! forget, [`BlobStore`] its files; [`passphrase`] wraps its key.
//!
//! What is not here: *what* is kept and for how long (`mizzle_core::gateway`, `clientd`), and files
//! that hold keys (`crates/runtime`). The formats are in `docs/spec/store.md`; how durability is
//! obtained from sled, and what would make us leave it, in
//! `docs/decisions/0002-durability-and-sled.md`.
//!
//! Files and threads are used here; no clock but the group commit's, no randomness that was not
//! handed in.

mod ballast;
mod blob;
mod client;
mod database;
mod derive;
mod error;
mod files;
mod inbox;
mod ledger;
pub mod passphrase;
mod quarantine;
mod space;
mod thread;

pub use blob::{Blob, BlobId, BlobKey, BlobStore, BlobWriter, RECORD_MAX};
pub use client::{ClientStore, KEY_MAX, Record, Salvaged, VALUE_MAX, VaultId, VaultOf, Write};
pub use error::StoreError;
pub use inbox::{EXPIRE_BATCH, Expired, InboxStore, StoreConfig, Swept};
pub use quarantine::{QUARANTINED_MAX, destroy, destroy_file, quarantine, quarantined};
pub use thread::{
    BATCH_MAX, BATCH_TIME, Done, InboxThread, Job, OnDone, QUEUE_MAX, Refused, TEND_EVERY,
};
