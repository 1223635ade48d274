//! What waits for a send tick or a reply: cells, orders about inboxes, parts of another's directory. Whose turn it is, is
//! [`super::flows`]' business.
//!
//! What got no reply is sent again as the identical cell, before what is younger; what has failed
//! again and again waits behind all that waits, so that it silences nobody.

use super::flows::{FairQueue, Flow, FlowClass, Seat};
use super::views::PartOrder;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use wire::ids::{CellId, Epoch, InboxAddress, InboxId, NodeId, WriteTokenHash};
use wire::keys::IdentitySecret;
use wire::puzzle::{ADMISSION_LEN, Admission, Solver};
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
    /// With whom it shares the send ticks.
    pub flow: Flow,
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
    /// How often it is asked.
    pub class: FetchClass,
}

/// How often an inbox is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FetchClass {
    /// A contact's, four times as often as another's.
    Favourite,
    /// A contact's.
    Contact,
    /// One of a transfer, which has fetch ticks of its own.
    Bulk,
}

impl OpenOrder {
    pub(super) fn fetch(&self, place: Place<'_>, acks: &[CellId]) -> Fetch {
        Fetch::signed(place, &self.reader, self.inbox, acks)
    }
}

/// One thing to send.
#[derive(Clone)]
pub(super) enum Outgoing {
    Deposit(Arc<DepositOrder>),
    Open(Arc<OpenOrder>),
    Close(Arc<OpenOrder>),
    Part(PartOrder),
}

/// Names one thing to send, so that it is told apart from every other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Deposit(u64),
    Open(InboxId),
    Close(InboxId),
    /// Of the one document that is fetched at a time.
    Part(u16),
}

impl Outgoing {
    pub(super) fn gateway(&self) -> NodeId {
        match self {
            Self::Deposit(d) => d.address.gateway,
            Self::Open(o) | Self::Close(o) => o.gateway,
            Self::Part(p) => p.gateway,
        }
    }

    /// `admission` is the solved puzzle of an `Open`; nothing else has one.
    fn request(&self, place: Place<'_>, admission: Option<Admission>) -> Request {
        match self {
            Self::Deposit(d) => Request::Deposit(Deposit {
                inbox: d.address.inbox,
                token: d.address.token.clone(),
                cell_id: d.cell_id,
                cell: d.cell.clone(),
            }),
            Self::Open(o) => {
                // `Outbox::pop` gives out no `Open` before its puzzle is solved.
                let admission = admission.unwrap_or(Admission([0; ADMISSION_LEN]));
                let (inbox, hash, ttl) = (o.inbox, o.token_hash, o.ttl_secs);
                let open = Open::signed(place, &o.reader, inbox, hash, ttl, admission);
                Request::Open(Box::new(open))
            }
            Self::Close(o) => Request::Close(Close::signed(place, &o.reader, o.inbox)),
            Self::Part(p) => Request::Directory(p.wanted),
        }
    }

    fn name(&self) -> Name {
        match self {
            Self::Deposit(d) => Name::Deposit(d.handle),
            Self::Open(o) => Name::Open(o.inbox),
            Self::Close(o) => Name::Close(o.inbox),
            Self::Part(p) => Name::Part(p.wanted.part),
        }
    }
}

/// What waits for orders about inboxes to leave takes turns as this peer.
const ORDERS: u64 = u64::MAX;
/// After every so many losses something goes to the end.
const PATIENCE: u32 = 3;

/// State of one thing to send.
struct Entry {
    outgoing: Outgoing,
    puzzle: Puzzle,
    /// How often it left.
    sent: u32,
    lost: u32,
    age: u64,
    /// Waits for a tick; otherwise it is on its way.
    waits: bool,
}

/// An `Open`'s admission puzzle. It is solved in small steps between ticks: solved at its tick, it
/// would delay the packet by an amount that tells what it carries.
enum Puzzle {
    /// Not begun, or not needed.
    None,
    Searching(Solver),
    Solved(Epoch, Admission),
}

impl Entry {
    /// Whether its puzzle, if it has one, is solved.
    fn ready(&self) -> bool {
        match self.outgoing {
            Outgoing::Open(_) => matches!(self.puzzle, Puzzle::Solved(..)),
            Outgoing::Deposit(_) | Outgoing::Close(_) | Outgoing::Part(_) => true,
        }
    }

    fn seat(&self) -> Seat {
        let flow = match &self.outgoing {
            Outgoing::Deposit(d) => d.flow,
            Outgoing::Open(_) | Outgoing::Close(_) => Flow {
                class: FlowClass::Control,
                peer: ORDERS,
            },
            // Nobody waits for it as for an answer of a friend.
            Outgoing::Part(_) => Flow {
                class: FlowClass::Bulk,
                peer: ORDERS,
            },
        };
        Seat {
            flow,
            gateway: self.outgoing.gateway(),
            age: self.age,
        }
    }

    /// One step; `None` when this entry needs none, so that the next one gets its turn.
    fn solve_step(&mut self, epoch: Epoch, difficulty: u8, hashes: u32) -> Option<()> {
        let Outgoing::Open(order) = &self.outgoing else {
            return None;
        };
        match &mut self.puzzle {
            Puzzle::Solved(solved, _) if *solved == epoch => return None,
            Puzzle::Searching(solver) if solver.epoch() == epoch => {
                if let Some(admission) = solver.step(hashes) {
                    self.puzzle = Puzzle::Solved(epoch, admission);
                }
            }
            Puzzle::None | Puzzle::Solved(..) | Puzzle::Searching(_) => {
                let solver = Solver::new(&order.gateway, epoch, &order.inbox, difficulty);
                self.puzzle = Puzzle::Searching(solver);
            }
        }
        Some(())
    }
}

/// Everything that is not answered yet, waiting or on its way: at most `capacity` things.
pub(super) struct Outbox {
    capacity: usize,
    /// What waits and could leave.
    queue: FairQueue<Name>,
    entries: BTreeMap<Name, Entry>,
    waiting: usize,
    next_age: u64,
}

impl Outbox {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            queue: FairQueue::new(),
            entries: BTreeMap::new(),
            waiting: 0,
            next_age: 0,
        }
    }

    /// Queues something new. The same thing twice is one thing.
    pub(super) fn push(&mut self, outgoing: Outgoing) -> bool {
        let name = outgoing.name();
        if self.entries.contains_key(&name) {
            return true;
        }
        if self.entries.len() >= self.capacity {
            return false;
        }
        let entry = Entry {
            outgoing,
            puzzle: Puzzle::None,
            sent: 0,
            lost: 0,
            age: self.age(),
            waits: false,
        };
        self.entries.insert(name, entry);
        self.wait(name);
        true
    }

    fn age(&mut self) -> u64 {
        self.next_age += 1;
        self.next_age
    }

    fn wait(&mut self, name: Name) {
        if let Some(entry) = self.entries.get_mut(&name)
            && !std::mem::replace(&mut entry.waits, true)
        {
            self.waiting += 1;
            if entry.ready() {
                self.queue.insert(entry.seat(), name);
            }
        }
    }

    /// Something got no reply: it waits again, where its age puts it, unless it was given up. Time
    /// and again without a reply, it goes to the end: what its gateway drops on purpose would
    /// otherwise keep what is younger from ever leaving.
    pub(super) fn push_again(&mut self, outgoing: &Outgoing) {
        let (name, end) = (outgoing.name(), self.age());
        if let Some(entry) = self.entries.get_mut(&name)
            && !entry.waits
        {
            entry.lost += 1;
            if entry.lost.is_multiple_of(PATIENCE) {
                entry.age = end;
            }
            self.wait(name);
        }
    }

    /// Something got a reply that is no answer to it: it goes to the end.
    pub(super) fn push_last(&mut self, outgoing: &Outgoing) {
        let (name, end) = (outgoing.name(), self.age());
        if let Some(entry) = self.entries.get_mut(&name)
            && !entry.waits
        {
            entry.age = end;
            self.wait(name);
        }
    }

    /// Works on the first unsolved puzzle for `epoch`, at most `hashes` hashes. Returns whether
    /// there is more to do.
    pub(super) fn solve(&mut self, epoch: Epoch, difficulty: u8, hashes: u32) -> bool {
        let first = Bound::Included(Name::Open(InboxId([0; 32])));
        let last = Bound::Included(Name::Open(InboxId([0xff; 32])));
        for (name, entry) in self.entries.range_mut((first, last)) {
            let before = entry.ready();
            if entry.solve_step(epoch, difficulty, hashes).is_none() {
                continue;
            }
            match (entry.waits, before, entry.ready()) {
                (true, false, true) => self.queue.insert(entry.seat(), *name),
                (true, true, false) => drop(self.queue.remove(&entry.seat())),
                (true, true, true) | (true, false, false) | (false, _, _) => {}
            }
            return true;
        }
        false
    }

    /// Its request, once [`Outbox::pop`] has given it out.
    pub(super) fn request(&self, outgoing: &Outgoing, place: Place<'_>) -> Request {
        let entry = self.entries.get(&outgoing.name());
        let admission = entry.and_then(|e| match &e.puzzle {
            Puzzle::Solved(_, admission) => Some(*admission),
            Puzzle::None | Puzzle::Searching(_) => None,
        });
        outgoing.request(place, admission)
    }

    /// What goes next, among what is for a gateway that `may` have something now. The rest keeps
    /// its place.
    pub(super) fn pop(&mut self, may: impl Fn(&NodeId) -> bool) -> Option<Outgoing> {
        let name = self.queue.pop(may)?;
        let entry = self.entries.get_mut(&name)?;
        entry.waits = false;
        entry.sent = entry.sent.saturating_add(1);
        self.waiting -= 1;
        Some(entry.outgoing.clone())
    }

    /// Whether this deposit has just left for the first time.
    pub(super) fn first_time(&self, handle: u64) -> bool {
        let entry = self.entries.get(&Name::Deposit(handle));
        entry.is_some_and(|e| e.sent == 1)
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

    /// No part of a directory is asked for any more.
    pub(super) fn cancel_parts(&mut self) {
        let parts = self.entries.range(Name::Part(0)..=Name::Part(u16::MAX));
        let parts: Vec<Name> = parts.map(|(name, _)| *name).collect();
        for name in parts {
            self.forget(name);
        }
    }

    fn forget(&mut self, name: Name) -> bool {
        let Some(entry) = self.entries.remove(&name) else {
            return false;
        };
        if entry.waits {
            self.waiting -= 1;
            self.queue.remove(&entry.seat());
        }
        true
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn on_their_way(&self) -> usize {
        self.entries.len() - self.waiting
    }
}
