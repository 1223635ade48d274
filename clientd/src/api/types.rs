//! Every JSON value that passes the API, in both directions. `docs/spec/client-api.md`.
//!
//! Incoming types refuse unknown fields, so that a misspelt option is an error and not a surprise.

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/cards`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewCard {
    /// What we call ourselves to whoever uses it.
    pub name: Option<String>,
    /// How long it can be used.
    pub expires_in_seconds: Option<u64>,
}

/// Body of `POST /v1/contacts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewContact {
    /// Their card's text.
    pub card: String,
    /// What we call ourselves to them.
    #[serde(default)]
    pub name: Option<String>,
}

/// Body of `PUT /v1/contacts/{contact}/messages/{client_message_id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// What to say.
    pub text: String,
}

/// Answer to `GET /v1/info`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Info {
    /// Always `clientd`.
    pub daemon: String,
    /// Of this program.
    pub version: String,
    /// Of this API.
    pub api: String,
    /// Network id in hex, once a directory came.
    pub network: Option<String>,
    /// Our own contact id, as our contacts see it.
    pub contact: String,
    /// What we call ourselves by default.
    pub name: String,
    /// Most bytes of a message's text.
    pub text_max: usize,
}

/// Answer to `GET /v1/health`: 200 when ready, else 503.
#[derive(Debug, Serialize, Deserialize)]
pub struct Health {
    /// Everything below is as it should be.
    pub ready: bool,
    /// The link to the entry gateway stands.
    pub connected: bool,
    /// A directory holds now.
    pub directory_valid: bool,
    /// At least one request came back.
    pub loop_returned: bool,
    /// Inboxes that should be open.
    pub inboxes_wanted: usize,
    /// Inboxes that are.
    pub inboxes_open: usize,
}

/// Answer to `GET /v1/status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// As in [`Health`].
    pub ready: bool,
    /// The link to the entry gateway stands.
    pub connected: bool,
    /// How often the link came to stand since the start.
    pub connections: u64,
    /// The gateway we enter through.
    pub guard: GuardStatus,
    /// The directory that holds now.
    pub directory: Option<DirectoryStatus>,
    /// Why the newest offered directory was not taken, if it was not.
    pub directory_problem: Option<String>,
    /// What needs a person's attention.
    pub alarms: Vec<String>,
    /// What became of requests, by gateway.
    pub gateways: Vec<GatewayStatus>,
    /// What waits.
    pub queues: Queues,
    /// Requests built since the start, of whatever kind.
    pub packets_sent: u64,
    /// Those of the payload stream that carried cover.
    pub packets_cover: u64,
    /// Packets from the gateway that died.
    pub packets_discarded: u64,
    /// Ticks that passed with no connection or no directory.
    pub idle_ticks: u64,
    /// What the link carries on average, whatever is said.
    pub bytes_per_second: BytesPerSecond,
    /// The oldest event that is kept.
    pub events_first: u64,
    /// The newest event.
    pub events_last: u64,
}

/// The gateway we enter through.
#[derive(Debug, Serialize, Deserialize)]
pub struct GuardStatus {
    /// Its node id, cut to eight hex digits.
    pub gateway: String,
    /// Whether the configuration names it; else it was drawn.
    pub pinned: bool,
    /// Since it was drawn.
    pub since_days: Option<u64>,
    /// Until another one is drawn.
    pub days_left: Option<u64>,
}

/// The directory that holds now.
#[derive(Debug, Serialize, Deserialize)]
pub struct DirectoryStatus {
    /// Its epoch.
    pub epoch: u64,
    /// Since it became valid.
    pub age_seconds: u64,
    /// Until it is no longer valid.
    pub valid_for_seconds: u64,
}

/// What became of the requests to one gateway.
#[derive(Debug, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its node id, cut to eight hex digits.
    pub gateway: String,
    /// Requests sent.
    pub sent: u64,
    /// Replies that came.
    pub returned: u64,
    /// Those of them that came more than a second late.
    pub late: u64,
    /// Replies that did not come in time.
    pub lost: u64,
    /// The alarm of the last hundred requests.
    pub lossy: bool,
}

/// What waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queues {
    /// Cells and orders that wait for a tick.
    pub outbox_waiting: usize,
    /// Those that wait for a reply.
    pub outbox_on_their_way: usize,
    /// Inboxes that should be open.
    pub inboxes_wanted: usize,
    /// Inboxes that are.
    pub inboxes_open: usize,
    /// Batches on their way to the disk.
    pub commits_pending: usize,
}

/// What the link carries on average.
#[derive(Debug, Serialize, Deserialize)]
pub struct BytesPerSecond {
    /// To the gateway.
    pub up: u64,
    /// From the gateway.
    pub down: u64,
}

/// Answer to `POST /v1/cards`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CardMade {
    /// The one string to hand over.
    pub card: String,
    /// When it stops to be of use, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A contact.
#[derive(Debug, Serialize, Deserialize)]
pub struct Contact {
    /// 32 hex digits.
    pub id: String,
    /// What they call themselves.
    pub name: String,
    /// Whether a person compared keys.
    pub verified: bool,
    /// Whether both sides have each other's keys.
    pub established: bool,
    /// Unfinished messages to them.
    pub waiting: usize,
}

/// Answer to `GET /v1/contacts`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Contacts {
    /// By id.
    pub contacts: Vec<Contact>,
}

/// An outgoing message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Message {
    /// To whom.
    pub contact: String,
    /// The application's name for it.
    pub id: String,
    /// `queued`, `mixing`, `stored`, `expired` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// What `GET /v1/events` tells; kept on the disk in this form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    },
    /// An outgoing message came further.
    MessageState {
        /// To whom.
        contact: String,
        /// The application's name for it.
        id: String,
        /// As in [`Message`].
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
    /// So many events before this one are no longer kept. Not itself kept.
    Gap {
        /// How many.
        missed: u64,
    },
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
            Self::Gap { .. } => "gap",
        }
    }
}

/// Body of every answer that is no success (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub struct ProblemBody {
    /// What went wrong, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong, for programs; never changes its meaning.
    pub code: String,
    /// What to do.
    pub detail: String,
    /// The limit that was passed, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<usize>,
}
