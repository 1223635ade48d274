//! Every JSON value that passes the API, in both directions; the OpenAPI document is made out of
//! these. `docs/spec/client-api.md`.
//!
//! Incoming types refuse unknown fields, so that a misspelt option is an error and not a surprise.

mod apps;
mod contacts;
mod events;
mod files;
mod status;

pub use apps::{AppMade, AppView, Apps, NewApp, Scope};
pub use contacts::{
    CardMade, Contact, ContactChange, Contacts, Message, NewCard, NewContact, NewFile, NewMessage,
};
pub use events::{Ack, Acknowledged, ApiEvent, EventRecord, Events, FileOffer};
pub use files::{BlobView, Blobs, Confirmation, Wipe};
pub use status::{
    AnonymityStatus, BytesPerSecond, ClockStatus, DirectoryStatus, ExpectedDelay, GatewayStatus,
    GuardStatus, Health, Info, Queues, SplitProofStatus, SplitStatus, Status,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of every answer that is no success (RFC 9457).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ProblemBody {
    /// What went wrong, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, for programs; never changes its meaning.
    pub code: String,
    /// What to do.
    pub detail: String,
    /// Names this answer; the daemon's log at level debug names it too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_id: Option<String>,
    /// When asking again makes sense.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// The limit that was passed, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<u64>,
}
