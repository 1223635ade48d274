//! Applications and their rights.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What an application may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Scope {
    /// Read events and acknowledge them, say that a message was read.
    #[serde(rename = "messages:read")]
    MessagesRead,
    /// Send messages.
    #[serde(rename = "messages:send")]
    MessagesSend,
    /// Make cards, add, change and remove contacts.
    #[serde(rename = "contacts")]
    Contacts,
    /// Upload, download and accept files.
    #[serde(rename = "files")]
    Files,
    /// Everything, applications and wipes too.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// As the API says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessagesRead => "messages:read",
            Self::MessagesSend => "messages:send",
            Self::Contacts => "contacts",
            Self::Files => "files",
            Self::Admin => "admin",
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::MessagesRead,
        Self::MessagesSend,
        Self::Contacts,
        Self::Files,
        Self::Admin,
    ];
}

/// Body of `POST /v1/apps`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApp {
    /// For people: 1 to 64 bytes, no control characters.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only contacts that exist for it; absent: all.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub contacts: Option<Vec<String>>,
    /// Whether it reads from the oldest event that is kept; else from now on.
    #[serde(default)]
    pub from_start: bool,
}

/// An application.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AppView {
    /// Its number; 0 is the owner of the data folder.
    pub id: u32,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only contacts that exist for it; absent: all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contacts: Option<BTreeSet<String>>,
    /// When it was made, in milliseconds since 1970; 0 for the owner.
    pub created_ms: u64,
    /// When it last asked anything, since the daemon started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_call_ms: Option<u64>,
    /// The last event that it acknowledged.
    pub acknowledged: u64,
    /// Events after it that went at a limit.
    pub missed: u64,
}

/// Answer to `POST /v1/apps`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AppMade {
    /// Shown this once; kept as a hash alone.
    pub token: String,
    /// The application.
    pub app: AppView,
}

/// Answer to `GET /v1/apps`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Apps {
    /// By number.
    pub apps: Vec<AppView>,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}
