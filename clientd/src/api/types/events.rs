//! What applications are told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened; kept on the disk in this form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ApiEvent {
    /// A text came. Told once for each message.
    MessageReceived {
        /// From whom.
        contact: String,
        /// What they call themselves.
        name: String,
        /// Its name between the two.
        message_id: String,
        /// What it says.
        text: String,
        /// When it was written, by the sender's clock, in milliseconds since 1970.
        composed_ms: u64,
        /// The file that it offers.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        file: Option<FileOffer>,
    },
    /// An outgoing message came further.
    MessageState {
        /// To whom.
        contact: String,
        /// The application's name for it.
        id: String,
        /// As in `Message`.
        state: String,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// Somebody is on the list of contacts now.
    ContactAdded {
        /// Who.
        contact: String,
        /// What they call themselves.
        name: String,
        /// Whether they used a card of ours (else we added theirs).
        by_invite: bool,
    },
    /// A card of ours was used.
    InviteUsed {
        /// By whom.
        contact: String,
        /// Digest of the card in hex.
        card: String,
    },
    /// A card of ours expired unused.
    InviteExpired {
        /// Digest of the card in hex.
        card: String,
    },
    /// A file came further. A newer event of this type takes the place of the older one.
    FileProgress {
        /// To or from whom.
        contact: String,
        /// Our name of the message that sends it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<String>,
        /// The name of the message that brings it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        message_id: Option<String>,
        /// Bytes that are surely there.
        done: u64,
        /// Of so many.
        size: u64,
    },
    /// A file is here, whole and right.
    FileReceived {
        /// From whom.
        contact: String,
        /// The message that offered it.
        message_id: String,
        /// Where its bytes are: `GET /v1/blobs/{blob}`.
        blob: String,
        /// What it is.
        file: FileOffer,
    },
    /// A file will not come, or cannot be sent.
    FileFailed {
        /// To or from whom.
        contact: String,
        /// Our name of the message that sends it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<String>,
        /// The name of the message that brings it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        message_id: Option<String>,
        /// Why.
        reason: String,
    },
    /// So many events before this one went at a limit before you acknowledged them. Not itself kept.
    Gap {
        /// How many.
        missed: u64,
    },
}

/// A file as a contact describes it: their word, never a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileOffer {
    /// What it is called.
    pub name: String,
    /// What it is said to be.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Digest of its content in hex.
    pub sha256: String,
}

/// An event as it is told.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EventRecord {
    /// Its number: ascending, never used twice. Acknowledge it when you have dealt with it.
    pub cursor: u64,
    /// When this daemon learnt it, in milliseconds since 1970; 0 for a gap.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: ApiEvent,
}

/// Answer to `GET /v1/events` where no stream is asked for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// Ascending.
    pub events: Vec<EventRecord>,
    /// Ask on with `after` set to this.
    pub next: u64,
}

/// Body of `POST /v1/events/ack`, and what a WebSocket sends to acknowledge.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// The last event that was dealt with; it counts for all before it.
    pub through: u64,
}

/// Answer to `POST /v1/events/ack`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// How far you have read; never goes back.
    pub acknowledged: u64,
}

impl ApiEvent {
    /// The SSE `event:` field.
    pub fn name(&self) -> &'static str {
        match self {
            Self::MessageReceived { .. } => "message_received",
            Self::MessageState { .. } => "message_state",
            Self::ContactAdded { .. } => "contact_added",
            Self::InviteUsed { .. } => "invite_used",
            Self::InviteExpired { .. } => "invite_expired",
            Self::FileProgress { .. } => "file_progress",
            Self::FileReceived { .. } => "file_received",
            Self::FileFailed { .. } => "file_failed",
            Self::Gap { .. } => "gap",
        }
    }

    /// The conversation that it belongs to.
    pub fn contact(&self) -> Option<&str> {
        match self {
            Self::MessageReceived { contact, .. }
            | Self::MessageState { contact, .. }
            | Self::ContactAdded { contact, .. }
            | Self::InviteUsed { contact, .. }
            | Self::FileProgress { contact, .. }
            | Self::FileReceived { contact, .. }
            | Self::FileFailed { contact, .. } => Some(contact),
            Self::InviteExpired { .. } | Self::Gap { .. } => None,
        }
    }

    /// Contact and file, if it says how far a file has come.
    pub(crate) fn progress_of(&self) -> Option<(String, String)> {
        match self {
            Self::FileProgress {
                contact,
                id,
                message_id,
                ..
            } => Some(file_key(contact, id.as_ref(), message_id.as_ref())),
            Self::MessageReceived { .. }
            | Self::MessageState { .. }
            | Self::ContactAdded { .. }
            | Self::InviteUsed { .. }
            | Self::InviteExpired { .. }
            | Self::FileReceived { .. }
            | Self::FileFailed { .. }
            | Self::Gap { .. } => None,
        }
    }

    /// Contact and file, if nothing more will be said of how far it has come.
    pub(crate) fn ends_progress_of(&self) -> Option<(String, String)> {
        match self {
            Self::FileReceived {
                contact,
                message_id,
                ..
            } => Some(file_key(contact, None, Some(message_id))),
            Self::FileFailed {
                contact,
                id,
                message_id,
                ..
            } => Some(file_key(contact, id.as_ref(), message_id.as_ref())),
            Self::MessageState {
                contact, id, state, ..
            } if ["delivered", "expired", "failed"].contains(&state.as_str()) => {
                Some(file_key(contact, Some(id), None))
            }
            Self::MessageReceived { .. }
            | Self::MessageState { .. }
            | Self::ContactAdded { .. }
            | Self::InviteUsed { .. }
            | Self::InviteExpired { .. }
            | Self::FileProgress { .. }
            | Self::Gap { .. } => None,
        }
    }
}

fn file_key(contact: &str, id: Option<&String>, message: Option<&String>) -> (String, String) {
    let file = match (id, message) {
        (Some(id), _) => format!("out {id}"),
        (None, Some(message)) => format!("in {message}"),
        (None, None) => String::new(),
    };
    (contact.to_owned(), file)
}
