//! What waits for a send tick: cells, and orders about inboxes. First in, first out; what got no
//! reply goes to the front again, as the identical cell.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use wire::ids::{CellId, Epoch, InboxAddress, InboxId, NodeId, WriteTokenHash};
use wire::keys::IdentitySecret;
use wire::puzzle::Admission;
use wire::request::{Cell, Close, Deposit, Fetch, Open, Place, Request};

/// A cell for somebody's inbox.
pub struct DepositOrder {
    /// The owner's name for it; comes back in events. Never used twice.
    pub handle: u64,
    /// Where to.
    pub address: InboxAddress,
    /// The same in every resend.
    pub cell_id: CellId,
    /// What.
    pub cell: Cell,
}

/// An inbox of one's own.
pub struct OpenOrder {
    /// Where it is to lie.
    pub gateway: NodeId,
    /// Which.
    pub inbox: InboxId,
    /// Reads and closes it.
    pub reader: IdentitySecret,
    /// Who may write.
    pub token_hash: WriteTokenHash,
    /// For how long.
    pub ttl_secs: u32,
}

impl OpenOrder {
    pub(super) fn fetch(&self, place: Place<'_>, skip: u8, acks: &[CellId]) -> Fetch {
        Fetch::signed(place, &self.reader, self.inbox, skip, acks)
    }
}

/// One thing to send.
#[derive(Clone)]
pub(super) enum Outgoing {
    Deposit(Arc<DepositOrder>),
    Open(Arc<OpenOrder>),
    Close(Arc<OpenOrder>),
}

/// Names one thing to send, so that it is told apart from every other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Deposit(u64),
    Open(InboxId),
    Close(InboxId),
}

impl Outgoing {
    pub(super) fn gateway(&self) -> NodeId {
        match self {
            Self::Deposit(d) => d.address.gateway,
            Self::Open(o) | Self::Close(o) => o.gateway,
        }
    }

    pub(super) fn request(&self, place: Place<'_>, epoch: Epoch, difficulty: u8) -> Request {
        match self {
            Self::Deposit(d) => Request::Deposit(Deposit {
                inbox: d.address.inbox,
                token: d.address.token.clone(),
                cell_id: d.cell_id,
                cell: d.cell.clone(),
            }),
            Self::Open(o) => {
                let admission = Admission::solve(place.gateway, epoch, &o.inbox, difficulty);
                let (inbox, hash) = (o.inbox, o.token_hash);
                Request::Open(Box::new(Open::signed(
                    place, &o.reader, inbox, hash, o.ttl_secs, admission,
                )))
            }
            Self::Close(o) => Request::Close(Close::signed(place, &o.reader, o.inbox)),
        }
    }

    fn name(&self) -> Name {
        match self {
            Self::Deposit(d) => Name::Deposit(d.handle),
            Self::Open(o) => Name::Open(o.inbox),
            Self::Close(o) => Name::Close(o.inbox),
        }
    }
}

/// State of one thing to send.
struct Entry {
    outgoing: Outgoing,
    sent_before: bool,
    queued: bool,
}

/// Everything that is not answered yet, waiting or on its way.
pub(super) struct Outbox {
    capacity: usize,
    queue: VecDeque<Name>,
    entries: BTreeMap<Name, Entry>,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            queue: VecDeque::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Queues something new at the end. The same thing twice is one thing.
    pub(super) fn push(&mut self, outgoing: Outgoing) -> bool {
        let name = outgoing.name();
        if self.entries.contains_key(&name) {
            return true;
        }
        if self.entries.len() >= self.capacity {
            return false;
        }
        self.queue.push_back(name);
        self.entries.insert(
            name,
            Entry {
                outgoing,
                sent_before: false,
                queued: true,
            },
        );
        true
    }

    /// Queues something that got no reply, in front of what is new, unless it was given up.
    pub(super) fn push_again(&mut self, outgoing: Outgoing) {
        let name = outgoing.name();
        if let Some(entry) = self.entries.get_mut(&name)
            && !entry.queued
        {
            entry.queued = true;
            self.queue.push_front(name);
        }
    }

    /// The first that can be sent now. What cannot (its gateway is in no directory, or is our
    /// entry) keeps its place.
    pub(super) fn pop(&mut self, reachable: impl Fn(&NodeId) -> bool) -> Option<Outgoing> {
        let entries = &self.entries;
        let at = self.queue.iter().position(|name| {
            entries
                .get(name)
                .is_some_and(|e| reachable(&e.outgoing.gateway()))
        })?;
        let name = self.queue.remove(at)?;
        let entry = self.entries.get_mut(&name)?;
        entry.queued = false;
        Some(entry.outgoing.clone())
    }

    /// Whether this deposit is leaving for the first time.
    pub(super) fn first_time(&mut self, handle: u64) -> bool {
        let entry = self.entries.get_mut(&Name::Deposit(handle));
        entry.is_some_and(|e| !std::mem::replace(&mut e.sent_before, true))
    }

    /// It was answered. Returns whether that was news.
    pub(super) fn done(&mut self, outgoing: &Outgoing) -> bool {
        self.forget(outgoing.name())
    }

    pub(super) fn cancel(&mut self, handle: u64) {
        self.forget(Name::Deposit(handle));
    }

    pub(super) fn cancel_open(&mut self, inbox: &InboxId) {
        self.forget(Name::Open(*inbox));
    }

    fn forget(&mut self, name: Name) -> bool {
        let entry = self.entries.remove(&name);
        if entry.as_ref().is_some_and(|e| e.queued) {
            self.queue.retain(|n| *n != name);
        }
        entry.is_some()
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn on_their_way(&self) -> usize {
        self.entries.len() - self.queue.len()
    }
}
