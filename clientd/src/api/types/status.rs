//! How the daemon is doing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/info`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Everything below is as it should be.
    pub ready: bool,
    /// The link to the entry gateway stands.
    pub connected: bool,
    /// A directory holds now.
    pub directory_valid: bool,
    /// At least one request came back.
    pub loop_returned: bool,
    /// The disk has room. Where not, nothing new is taken, and cells wait at their gateways.
    pub disk_has_room: bool,
    /// What was damaged at the start and set aside, and where; it works, with what was left.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub degraded: Option<String>,
    /// Authorities signed two directories of one epoch, and the proof is in the data folder; messages flow
    /// all the same.
    pub split_view_proven: bool,
    /// Inboxes that should be open.
    pub inboxes_wanted: usize,
    /// Inboxes that are.
    pub inboxes_open: usize,
}

/// Answer to `GET /v1/status`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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
    /// This machine's clock; absent before the first link to a gateway.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock: Option<ClockStatus>,
    /// Whether others are shown another directory than we are.
    pub split_view: SplitStatus,
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
    /// How long messages take; absent before the first directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected_delay: Option<ExpectedDelay>,
    /// How well the network hides this client; absent before the first directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub anonymity: Option<AnonymityStatus>,
    /// Events that wait for the owner or an application.
    pub events_kept: usize,
    /// Bytes of them.
    pub events_bytes: u64,
    /// Bytes of files on the disk, uploads too.
    pub files_bytes: u64,
    /// Of how many at most.
    pub files_bytes_max: u64,
    /// The oldest event that is kept.
    pub events_first: u64,
    /// The newest event.
    pub events_last: u64,
}

/// The gateway we enter through.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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

/// This machine's clock beside that of the entry gateway.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClockStatus {
    /// How far it is ahead of the gateway's; negative when behind.
    pub ahead_ms: i64,
    /// It differs by more than half a second and what the comparison may be off.
    pub wrong: bool,
    /// `right`, or what to do.
    pub says: String,
}

/// The directory that holds now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct DirectoryStatus {
    /// Its epoch.
    pub epoch: u64,
    /// Since it became valid.
    pub age_seconds: u64,
    /// Until it is no longer valid.
    pub valid_for_seconds: u64,
}

/// Whether others are shown another directory of an epoch than we are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SplitStatus {
    /// The newest epoch of which a gateway named another directory.
    pub seen_in_epoch: Option<u64>,
    /// How often a gateway named one and did not prove that it is one.
    pub unproven: u64,
    /// Proofs in the data folder.
    pub proofs: Vec<SplitProofStatus>,
}

/// A proof that authorities signed two directories of one epoch.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SplitProofStatus {
    /// Of which epoch.
    pub epoch: u64,
    /// Where it is; `topology verify` says who signed both.
    pub file: String,
    /// So many authorities signed both.
    pub signed_both: usize,
    /// Whether both are valid, so that people can have been shown two networks.
    pub both_valid: bool,
}

/// What became of the requests to one gateway.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Queues {
    /// Cells and orders that wait for a tick.
    pub outbox_waiting: usize,
    /// Those that wait for a reply.
    pub outbox_on_their_way: usize,
    /// Inboxes that should be open.
    pub inboxes_wanted: usize,
    /// Inboxes that are.
    pub inboxes_open: usize,
    /// Files that go out, offers that nobody accepted yet too.
    pub files_out: usize,
    /// Those of them whose records go now: at most `limits.files_at_once`.
    pub files_sending: usize,
    /// Those that could go and wait for their turn.
    pub files_waiting: usize,
    /// Batches on their way to the disk.
    pub commits_pending: usize,
}

/// What the link carries on average.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct BytesPerSecond {
    /// To the gateway.
    pub up: u64,
    /// From the gateway.
    pub down: u64,
}

/// What follows from the directory, whoever else is there: how many clients are online, nobody knows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AnonymityStatus {
    /// Packets that wait with ours in a mix, from the nodes' own loops and this client alone.
    pub pool_alone: f64,
    /// How often the best guess at such a mix is right.
    pub best_guess_alone: f64,
    /// So many clients online bring each mix to nine packets, where a guess is right one time in ten.
    pub clients_for_floor: f64,
    /// Whether that takes others than this client.
    pub needs_others: bool,
    /// Whether the rates let each packet hide among those of several clients, and a blocked mix be noticed.
    pub rates_sound: bool,
}

/// What the directory's rates and the number of our inboxes make of the time from here to a contact
/// who reads as often as we do. Nothing waits before the message.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedDelay {
    /// Mean.
    pub mean_ms: u64,
    /// Half of all messages are faster.
    pub median_ms: u64,
    /// One in a hundred is slower.
    pub p99_ms: u64,
    /// Mean time between two looks into the inbox of one contact.
    pub fetch_every_ms: u64,
    /// Of a favourite.
    pub fetch_favourite_every_ms: u64,
    /// So many contacts keep the mean within `ceiling_for_ms`; 0 where the network is slower anyway.
    pub contacts_ceiling: usize,
    /// See `contacts_ceiling`: a minute, or twice the mean with one contact where that is more.
    pub ceiling_for_ms: u64,
}
