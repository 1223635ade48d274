//! [`Messenger`]: the machine that owns contacts, invites, inboxes and messages.
//!
//! Here: its inputs and outputs, and the one function (`Messenger::advance`) that every input ends
//! with. Its parts: what a contact is (`contacts`), what goes out (`outgoing`, `delivery`, `dispatch`, `path`),
//! what comes in (`incoming`, `pieces`), what is told of it (`receipts`, `notes`), files (`files`, `sending`,
//! `turns`, `receiving`), which inboxes are open (`inboxes`), cards (`invites`), what a person decides (`settings`), and rows for the store (`rows`,
//! `restore`). `docs/spec/messaging.md` gives the rules.

mod contacts;
mod delivery;
mod dispatch;
mod files;
mod inboxes;
mod incoming;
mod invites;
mod notes;
mod outgoing;
mod past;
mod path;
mod pieces;
mod receipts;
mod receiving;
mod restore;
mod rows;
mod sending;
mod settings;
mod turns;

pub use files::FILE_MAX;
pub use turns::FilesOut;

use crate::draft::Retention;
use crate::event::{ClientMessageId, Event, MessageId, MessageState};
use crate::identity::{ContactId, Identity};
use crate::order::Order;
use crate::pace::Pace;
use crate::records::{Record, Table};
use contacts::Contact;
use directory::{Directory, Position};
use dispatch::Dispatch;
use inboxes::Inbox;
use incoming::WaitingCell;
use invites::Invite;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wire::codec::DecodeError;
use wire::ids::{CellId, InboxId, NetworkId, NodeId};
use wire::keys::IdentityPublic;
use wire::rng::KeyRng;
use wire::time::{Instant, UnixTime, WallAnchor};
use zeroize::Zeroizing;

/// An order without any word from the network is given again after so many times
/// [`MessengerConfig::attempt_timeout`]. It may only be waiting for its turn, so this is long.
const UNANSWERED: u32 = 20;

/// Limits and times. [`MessengerConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct MessengerConfig {
    /// Which network; sealed into every message.
    pub network: NetworkId,
    /// Most contacts; more are refused.
    pub contacts_max: usize,
    /// Most unused cards; more are refused.
    pub invites_max: usize,
    /// Most unfinished messages to one contact; more are refused.
    pub outbox_max: usize,
    /// Most bytes of unfinished messages to all contacts, of which one contact may have a quarter; more
    /// are refused.
    pub outbox_bytes_max: usize,
    /// Most files that go out or wait for it, to all contacts; more are refused.
    pub files_max: usize,
    /// Files whose records are under way at once; others wait for their turn. Each has
    /// [`INBOXES_MAX`](crate::transfer::INBOXES_MAX) · [`UNDER_WAY_MAX`](crate::transfer::UNDER_WAY_MAX) cells of 2 KB in
    /// memory, in an order or at the client.
    pub files_at_once: usize,
    /// How long a message is tried before it expires.
    pub message_ttl: Duration,
    /// Wait after a refused deposit or inbox; doubled after each full round of candidates.
    pub retry_min: Duration,
    /// Longest such wait.
    pub retry_max: Duration,
    /// A deposit that was sent and brings no outcome for so long is tried at the next candidate.
    /// Longer than a request and its reply take.
    pub attempt_timeout: Duration,
    /// An inbox that is no longer wanted is still read for so long.
    pub close_grace: Duration,
}

impl MessengerConfig {
    /// The defaults, for `network`.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            contacts_max: 256,
            invites_max: 16,
            outbox_max: 256,
            outbox_bytes_max: 32 << 20,
            files_max: 1024,
            files_at_once: 32,
            message_ttl: Duration::from_secs(7 * 86_400),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            attempt_timeout: Duration::from_secs(180),
            close_grace: Duration::from_secs(600),
        }
    }

    fn waits(&self) -> (Duration, Duration) {
        (self.retry_min, self.retry_max)
    }
}

/// Why stored rows make no messenger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// There is no row with our own keys; this is a first start, or the store is another's.
    NoIdentity,
    /// Written by another version.
    Version(u8),
    /// A row cannot be read; the store is damaged.
    Row {
        /// In which table.
        table: Table,
        /// What is wrong.
        error: DecodeError,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => write!(f, "the store holds no identity"),
            Self::Version(v) if *v < rows::VERSION => write!(
                f,
                "the store has version {v}, of a Mizzle before the first release; start afresh"
            ),
            Self::Version(v) => write!(f, "the store has version {v}; a newer Mizzle is needed"),
            Self::Row { table, error } => {
                write!(f, "a row of table {table:?} is damaged: {error}")
            }
        }
    }
}

impl std::error::Error for RestoreError {}

/// A contact as the application sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactView {
    /// Who.
    pub contact: ContactId,
    /// What they call themselves.
    pub name: String,
    /// Whether a person compared keys.
    pub verified: bool,
    /// Whether they surely have the pair's secret: their Hello came, or a message of theirs.
    pub established: bool,
    /// Whether their inboxes are read more often.
    pub favourite: bool,
    /// Whether we tell them what was delivered and read.
    pub receipts: bool,
    /// How long what was said is kept here.
    pub retention: Retention,
    /// Unfinished messages to them.
    pub waiting: usize,
}

/// The network as we see it.
struct View {
    directory: Arc<Directory>,
    entry: NodeId,
    /// When the first directory came: from then on our inboxes are read.
    since: UnixTime,
    /// What the directory's rates imply.
    pace: Pace,
    /// Gateways that answer far less than others.
    failing: BTreeSet<NodeId>,
}

impl View {
    /// Whether `gateway` exists and is not our own entry gateway.
    fn usable(&self, gateway: &NodeId) -> bool {
        let there = self.directory.position(gateway);
        *gateway != self.entry && matches!(there, Some(Position::Gateway { .. }))
    }

    /// Most cells in one inbox.
    fn quota(&self) -> usize {
        usize::from(self.directory.parameters.inbox_quota)
    }
}

/// See the crate's documentation; [`Event`] has the contract of its outputs.
pub struct Messenger {
    config: MessengerConfig,
    keys: KeyRng,
    identity: Identity,
    /// Everything that only we need to derive comes from this.
    own_secret: Zeroizing<[u8; 32]>,
    view: Option<View>,
    clock: WallAnchor,
    contacts: BTreeMap<ContactId, Contact>,
    invites: BTreeMap<[u8; 16], Invite>,
    inboxes: BTreeMap<InboxId, Inbox>,
    /// Period, and whether the next one's inboxes are open already.
    phase: Option<(u64, bool)>,
    /// The set of wanted inboxes must be computed again.
    stale: bool,
    /// Cells that wait for others of their message, by arrival.
    waiting: BTreeMap<u64, WaitingCell>,
    /// Messages of which some pieces are here.
    partials: BTreeMap<(ContactId, MessageId), pieces::Waiting>,
    /// Counts those.
    begun: u64,
    /// Files that go out, by contact and message.
    sending: BTreeMap<(ContactId, u64), sending::Sending>,
    /// Whose records go out when.
    turns: turns::Turns,
    /// Files that come or came.
    receiving: BTreeMap<(ContactId, MessageId), receiving::Receiving>,
    /// Bytes of all outboxes.
    outbox_bytes: usize,
    /// Gateways that answer far less than others.
    failing: BTreeSet<NodeId>,
    /// Cells handled last, because fetching is at least once.
    recent: VecDeque<(InboxId, CellId)>,
    dispatch: Dispatch,
    /// Bounded by the inputs between two drains.
    events: VecDeque<Event>,
    deadline: Option<(Instant, &'static str)>,
}

impl Messenger {
    /// First start: makes keys, and asks for them to be written.
    pub fn new(config: MessengerConfig, mut keys: KeyRng) -> Self {
        let identity = Identity::generate(&mut keys);
        let own_secret = Zeroizing::new(keys.bytes());
        let mut new = Self::empty(config, keys, identity, own_secret);
        let value = rows::own(&new.identity, &new.own_secret);
        new.write(Table::Own, Vec::new(), value);
        new
    }

    fn empty(
        config: MessengerConfig,
        keys: KeyRng,
        identity: Identity,
        own_secret: Zeroizing<[u8; 32]>,
    ) -> Self {
        Self {
            config,
            keys,
            identity,
            own_secret,
            view: None,
            clock: WallAnchor {
                instant: Instant::ZERO,
                unix: UnixTime(0),
            },
            contacts: BTreeMap::new(),
            invites: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            phase: None,
            stale: false,
            waiting: BTreeMap::new(),
            partials: BTreeMap::new(),
            begun: 0,
            sending: BTreeMap::new(),
            turns: turns::Turns::default(),
            receiving: BTreeMap::new(),
            outbox_bytes: 0,
            failing: BTreeSet::new(),
            recent: VecDeque::new(),
            dispatch: Dispatch::default(),
            events: VecDeque::new(),
            deadline: None,
        }
    }

    /// A new directory, or another entry gateway. Before the first one nothing is ordered. A
    /// directory of another network is ignored.
    pub fn handle_directory(
        &mut self,
        directory: Arc<Directory>,
        entry: NodeId,
        now: Instant,
        unix: UnixTime,
    ) {
        if directory.network != self.config.network {
            return;
        }
        let since = self.view.as_ref().map_or(unix, |v| v.since);
        self.view = Some(View {
            pace: Pace::of(&directory.parameters),
            directory,
            entry,
            since,
            failing: self.failing.clone(),
        });
        self.view_changed();
        self.advance(now, unix);
    }

    /// Other gateways may be of use now.
    fn view_changed(&mut self) {
        self.stale = true;
        for contact in self.contacts.values_mut() {
            contact.forget_candidates(&self.failing);
        }
        self.withdraw_unusable();
        self.files_see_view();
    }

    /// The announced deadline has come.
    pub fn handle_timeout(&mut self, now: Instant, unix: UnixTime) {
        self.advance(now, unix);
    }

    /// When to call [`Messenger::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadline
    }

    /// Something for the owner; see [`Event`] for the contract.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Something for the network; only after all events were made durable.
    pub fn poll_transmit(&mut self) -> Option<Order> {
        self.dispatch.orders.pop_front()
    }

    /// Our own identity key.
    pub fn identity(&self) -> IdentityPublic {
        self.identity.public()
    }

    /// Everybody on the list, by id.
    pub fn contacts(&self) -> impl Iterator<Item = ContactView> + '_ {
        self.contacts.iter().map(|(id, contact)| ContactView {
            contact: *id,
            name: contact.name.clone(),
            verified: contact.verified,
            established: contact.is_confirmed(),
            favourite: contact.favourite,
            receipts: contact.receipts,
            retention: contact.retention,
            waiting: contact.outbox.len(),
        })
    }

    /// How far a message has come, while it is remembered.
    pub fn message_state(&self, contact: &ContactId, id: &ClientMessageId) -> Option<MessageState> {
        let contact = self.contacts.get(contact)?;
        let seq = contact.by_id.get(id)?;
        contact.sent.get(seq).map(|s| s.state)
    }

    /// How many inboxes we read.
    pub fn inbox_count(&self) -> usize {
        self.inboxes.len()
    }

    /// Every input ends here: whatever is due by now happens, in this order.
    fn advance(&mut self, now: Instant, unix: UnixTime) {
        self.clock = WallAnchor { instant: now, unix };
        // 1. What is too old goes.
        self.expire_invites(unix);
        self.expire_partials(now);
        let ids: Vec<ContactId> = self.contacts.keys().copied().collect();
        for id in &ids {
            self.expire_outgoing(id, now, unix);
        }
        // 2. Open what is wanted, close what is not.
        self.tend_inboxes(now, unix);
        // 3. Send what may be sent.
        self.drive_files(now, unix);
        for id in &ids {
            self.ask_for_receipts(id, now);
            self.say_receipts(id, now, unix);
            self.begin_messages(id, now);
            self.pump(id, now, unix);
        }
        self.deadline = self.next_deadline();
    }

    fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let mut next = Earliest(None);
        self.outgoing_deadlines(&mut next);
        self.inbox_deadlines(&mut next);
        self.sending_deadlines(&mut next);
        self.receiving_deadlines(&mut next);
        next.0
    }

    fn write(&mut self, table: Table, key: Vec<u8>, value: Zeroizing<Vec<u8>>) {
        self.record(table, key, Some(value));
    }

    fn erase(&mut self, table: Table, key: Vec<u8>) {
        self.record(table, key, None);
    }

    fn record(&mut self, table: Table, key: Vec<u8>, value: Option<Zeroizing<Vec<u8>>>) {
        let vault = table.vault_of(&key);
        self.events.push_back(Event::Write(Record {
            table,
            key,
            value,
            vault,
        }));
    }

    fn write_contact(&mut self, id: &ContactId) {
        if let Some(contact) = self.contacts.get(id) {
            let value = rows::contact(contact);
            self.write(Table::Contact, id.0.to_vec(), value);
        }
    }
}

/// Collects the next deadline.
struct Earliest(Option<(Instant, &'static str)>);

impl Earliest {
    fn offer(&mut self, at: Instant, label: &'static str) {
        if self.0.is_none_or(|(earliest, _)| at < earliest) {
            self.0 = Some((at, label));
        }
    }
}
