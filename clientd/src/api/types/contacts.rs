//! Cards, contacts and what is said to them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/cards`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewCard {
    /// What we call ourselves to whoever uses it.
    pub name: Option<String>,
    /// How long it can be used.
    pub expires_in_seconds: Option<u64>,
}

/// Body of `POST /v1/contacts`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContact {
    /// Their card's text.
    pub card: String,
    /// What we call ourselves to them.
    #[serde(default)]
    pub name: Option<String>,
}

/// Answer to `POST /v1/cards`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CardMade {
    /// The one string to hand over.
    pub card: String,
    /// When it stops to be of use, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A contact.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contact {
    /// 32 hex digits.
    pub id: String,
    /// What they call themselves, or what we call them.
    pub name: String,
    /// Whether a person compared keys.
    pub verified: bool,
    /// Whether both sides have each other's keys.
    pub established: bool,
    /// Whether their inboxes are read more often.
    pub favourite: bool,
    /// Whether we tell them what was delivered and read.
    pub receipts: bool,
    /// What was said is forgotten after so long; 0 stands for ever.
    #[serde(default)]
    pub retention_seconds: u64,
    /// Unfinished messages to them.
    pub waiting: usize,
}

/// Answer to `GET /v1/contacts`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contacts {
    /// By id.
    pub contacts: Vec<Contact>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// Body of `PATCH /v1/contacts/{contact}`: what is absent stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContactChange {
    /// What we call them: 1 to 32 bytes, no control characters.
    #[schemars(length(min = 1, max = 32))]
    pub name: Option<String>,
    /// Whether a person compared keys.
    pub verified: Option<bool>,
    /// Whether their inboxes are read more often.
    pub favourite: Option<bool>,
    /// Whether we tell them what was delivered and read.
    pub receipts: Option<bool>,
    /// Forget what was said after so long; 0 stands for ever.
    pub retention_seconds: Option<u64>,
}

/// Body of `PUT /v1/contacts/{contact}/messages/{id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewMessage {
    /// What to say. May be empty where there is a file.
    pub text: String,
    /// A file that goes with it.
    #[serde(deserialize_with = "crate::api::body::object")]
    pub file: Option<NewFile>,
    /// Give up when it takes longer; seven days by default and at most.
    #[schemars(range(min = 1, max = 604_800))]
    pub expires_in_seconds: Option<u64>,
}

/// A file to be sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// As `POST /v1/blobs` named it: 32 hex digits.
    pub blob: String,
    /// What it is called; by default as at the upload.
    #[serde(default)]
    pub name: Option<String>,
}

/// An outgoing message.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// To whom.
    pub contact: String,
    /// The application's name for it.
    pub id: String,
    /// `queued`, `mixing`, `stored`, `delivered`, `read`, `expired` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}
