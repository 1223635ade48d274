//! [`Messenger`]: the machine. Under construction: signatures first, so that `clientd` can be
//! written against them.
#![allow(unused_variables)]

use crate::card::Card;
use crate::event::{
    AddError, CardError, ClientMessageId, Event, MessageState, SendError, SendOutcome,
};
use crate::identity::ContactId;
use crate::order::{DepositHandle, DepositOutcome, InboxOutcome, Order};
use crate::records::Record;
use directory::Directory;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wire::codec::DecodeError;
use wire::ids::{CellId, InboxId, NetworkId, NodeId};
use wire::keys::IdentityPublic;
use wire::request::Cell;
use wire::rng::KeyRng;
use wire::time::{Instant, UnixTime};

/// Limits and times. `MessengerConfig::new(network)` gives the defaults.
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
    /// How long a message is tried before it expires.
    pub message_ttl: Duration,
    /// Wait after a refused deposit or inbox; doubled after each full round of candidates.
    pub retry_min: Duration,
    /// Longest such wait.
    pub retry_max: Duration,
    /// A deposit that was sent and brings no outcome for so long is tried at the next candidate.
    pub attempt_timeout: Duration,
    /// An inbox that is no longer wanted is still read for so long.
    pub close_grace: Duration,
    /// After a message came, the pair's other inbox stays closed for so long.
    pub agree_for: Duration,
}

impl MessengerConfig {
    /// The defaults, for `network`.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            contacts_max: 256,
            invites_max: 16,
            outbox_max: 256,
            message_ttl: Duration::from_secs(7 * 86_400),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(300),
            attempt_timeout: Duration::from_secs(180),
            close_grace: Duration::from_secs(600),
            agree_for: Duration::from_secs(86_400),
        }
    }
}

/// Why stored rows make no messenger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// There is no row with our own keys; this is a first start, or the store is another's.
    NoIdentity,
    /// Written by a newer version.
    Version(u8),
    /// A row cannot be read; the store is damaged.
    Row {
        /// In which table.
        table: crate::records::Table,
        /// What is wrong.
        error: DecodeError,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIdentity => write!(f, "the store holds no identity"),
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
    /// Whether they are known to have our Hello (or we theirs).
    pub established: bool,
    /// Unfinished messages to them.
    pub waiting: usize,
}

/// See the crate's documentation.
pub struct Messenger {
    config: MessengerConfig,
    identity: crate::Identity,
}

impl Messenger {
    /// First start: makes keys, and asks for them to be written.
    pub fn new(config: MessengerConfig, mut keys: KeyRng) -> Self {
        let identity = crate::Identity::generate(&mut keys);
        Self { config, identity }
    }

    /// Later starts, from all rows that were written.
    pub fn restore(
        config: MessengerConfig,
        keys: KeyRng,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, RestoreError> {
        Err(RestoreError::NoIdentity)
    }

    /// A new directory, or another entry gateway.
    pub fn handle_directory(
        &mut self,
        directory: Arc<Directory>,
        entry: NodeId,
        now: Instant,
        unix: UnixTime,
    ) {
    }

    /// A fresh card for one contact. `name` is what we call ourselves to them.
    pub fn handle_create_card(
        &mut self,
        name: &str,
        expires_in: Duration,
        now: Instant,
        unix: UnixTime,
    ) -> Result<Card, CardError> {
        Err(CardError::NoDirectory)
    }

    /// Adds the owner of a card. `name` is what we call ourselves to them.
    pub fn handle_add_card(
        &mut self,
        card: &Card,
        name: &str,
        now: Instant,
        unix: UnixTime,
    ) -> Result<ContactId, AddError> {
        Err(AddError::Expired)
    }

    /// Sends a text; idempotent by `id`.
    pub fn handle_send(
        &mut self,
        contact: &ContactId,
        id: ClientMessageId,
        body: &str,
        now: Instant,
        unix: UnixTime,
    ) -> Result<SendOutcome, SendError> {
        Err(SendError::UnknownContact)
    }

    /// A cell was fetched.
    pub fn handle_cell(
        &mut self,
        inbox: InboxId,
        cell_id: CellId,
        cell: &Cell,
        now: Instant,
        unix: UnixTime,
    ) {
    }

    /// A deposit came further.
    pub fn handle_deposit(&mut self, handle: DepositHandle, outcome: DepositOutcome, now: Instant) {
    }

    /// An inbox was opened, or not.
    pub fn handle_inbox(
        &mut self,
        inbox: InboxId,
        outcome: InboxOutcome,
        now: Instant,
        unix: UnixTime,
    ) {
    }

    /// The announced deadline has come.
    pub fn handle_timeout(&mut self, now: Instant, unix: UnixTime) {}

    /// When to call [`Messenger::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// Something for the owner; see [`Event`] for the contract.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Something for the network; only after all events were made durable.
    pub fn poll_transmit(&mut self) -> Option<Order> {
        None
    }

    /// Our own identity key.
    pub fn identity(&self) -> IdentityPublic {
        self.identity.public()
    }

    /// Everybody on the list, by id.
    pub fn contacts(&self) -> impl Iterator<Item = ContactView> + '_ {
        std::iter::empty()
    }

    /// How far a message has come, while it is remembered.
    pub fn message_state(&self, contact: &ContactId, id: &ClientMessageId) -> Option<MessageState> {
        None
    }
}
