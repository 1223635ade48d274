//! What waits for a send tick: cells, and orders about inboxes. First in, first out; what got no
//! reply goes to the end again, as the identical cell.

use std::collections::{BTreeMap, VecDeque};
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

/// Whose turn a cell waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flow {
    /// What goes before what.
    pub class: FlowClass,
    /// The owner's number for a contact or a transfer: those of one class take turns.
    pub peer: u64,
}

/// What goes before what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FlowClass {
    /// Receipts, and orders about inboxes.
    Control,
    /// What people wait for.
    Chat,
    /// Files: what the others leave, and at least one send tick in eight.
    Bulk,
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
    puzzle: Puzzle,
    sent_before: bool,
    queued: bool,
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
            Outgoing::Deposit(_) | Outgoing::Close(_) => true,
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
                puzzle: Puzzle::None,
                sent_before: false,
                queued: true,
            },
        );
        true
    }

    /// Queues something that got no reply, behind all that waits, unless it was given up. In front
    /// of it, what is for a dead gateway would keep everything else from ever leaving.
    pub(super) fn push_again(&mut self, outgoing: Outgoing) {
        let name = outgoing.name();
        if let Some(entry) = self.entries.get_mut(&name)
            && !entry.queued
        {
            entry.queued = true;
            self.queue.push_back(name);
        }
    }

    /// Works on the first unsolved puzzle for `epoch`, at most `hashes` hashes. Returns whether
    /// there is more to do.
    pub(super) fn solve(&mut self, epoch: Epoch, difficulty: u8, hashes: u32) -> bool {
        let open = |(name, entry): (&Name, &mut Entry)| match name {
            Name::Open(_) => entry.solve_step(epoch, difficulty, hashes),
            Name::Deposit(_) | Name::Close(_) => None,
        };
        self.entries.iter_mut().find_map(open).is_some()
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

    /// The first that can be sent now. What cannot (its gateway is in no directory, or is our
    /// entry) keeps its place.
    pub(super) fn pop(&mut self, reachable: impl Fn(&NodeId) -> bool) -> Option<Outgoing> {
        let entries = &self.entries;
        let at = self.queue.iter().position(|name| {
            entries
                .get(name)
                .is_some_and(|e| e.ready() && reachable(&e.outgoing.gateway()))
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
