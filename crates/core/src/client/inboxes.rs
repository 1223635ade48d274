//! The inboxes a client reads: what a fetch acknowledges, and which cells are news. Which of them
//! a fetch tick asks is [`super::schedule`]'s business.

use super::ClientConfig;
use super::outbox::{FetchClass, OpenOrder};
use super::schedule::{FetchNumbers, Schedule};
use directory::Parameters;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wire::ids::{CellId, InboxId, NodeId};
use wire::request::ACKS_MAX;
use wire::rng::KeyRng;
use wire::time::Instant;

/// Ids of cells that were acknowledged, kept for each inbox to know a straggler by; the oldest goes.
/// Four times the quota that a directory sets now.
const SEEN_MAX: usize = 1_024;
/// How often an acknowledgement is said again unless it is known to have been heard: of three that
/// are lost one time in six, all are lost one time in two hundred.
const SAID_AGAIN: u8 = 2;

/// What a fetch tick asks.
pub(super) struct FetchPlan {
    pub(super) order: Arc<OpenOrder>,
    pub(super) acks: Vec<CellId>,
}

struct Inbox {
    order: Arc<OpenOrder>,
    opened: bool,
    /// Given to the owner, not yet acknowledged by it.
    given: BTreeSet<CellId>,
    /// Kept by the owner, to be said to the gateway.
    acks: VecDeque<CellId>,
    /// Said, and how often they are to be said again in fetches that have room: waiting until a fetch
    /// counts as lost, the gateway would give those cells again meanwhile.
    again: VecDeque<(CellId, u8)>,
    /// Said to the gateway, whether it heard or not.
    seen: BTreeSet<CellId>,
    /// The same, oldest first.
    seen_order: VecDeque<CellId>,
}

/// All inboxes a client reads. At most `capacity`.
pub(super) struct ReadInboxes {
    capacity: usize,
    schedule: Schedule,
    by_id: BTreeMap<InboxId, Inbox>,
}

impl ReadInboxes {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            capacity: config.inboxes_max,
            schedule: Schedule::new(config),
            by_id: BTreeMap::new(),
        }
    }

    /// An inbox to read once it stands. A known one gets the new order and keeps its places.
    pub(super) fn insert(
        &mut self,
        order: Arc<OpenOrder>,
        now: Instant,
        keys: &mut KeyRng,
    ) -> bool {
        let (id, class) = (order.inbox, order.class);
        if let Some(inbox) = self.by_id.get_mut(&id) {
            inbox.order = order;
            self.schedule.wish(id, class, now, keys);
            return true;
        }
        if self.by_id.len() >= self.capacity {
            return false;
        }
        self.schedule.insert(id, class);
        let inbox = Inbox {
            order,
            opened: false,
            given: BTreeSet::new(),
            acks: VecDeque::new(),
            again: VecDeque::new(),
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
        };
        self.by_id.insert(id, inbox);
        true
    }

    pub(super) fn remove(&mut self, id: &InboxId) -> Option<Arc<OpenOrder>> {
        self.schedule.remove(id);
        self.by_id.remove(id).map(|inbox| inbox.order)
    }

    pub(super) fn set_class(
        &mut self,
        id: InboxId,
        class: FetchClass,
        now: Instant,
        keys: &mut KeyRng,
    ) {
        self.schedule.wish(id, class, now, keys);
    }

    pub(super) fn opened(&mut self, id: &InboxId) {
        if let Some(inbox) = self.by_id.get_mut(id) {
            inbox.opened = true;
        }
    }

    /// The inbox is not there any more; returns whether we thought it was.
    pub(super) fn refused(&mut self, id: &InboxId) -> bool {
        let inbox = self.by_id.get_mut(id);
        inbox.is_some_and(|inbox| std::mem::replace(&mut inbox.opened, false))
    }

    /// Does what was wished hours ago. Before each [`ReadInboxes::pick`].
    pub(super) fn settle(&mut self, now: Instant, keys: &mut KeyRng) {
        self.schedule.settle(now, keys);
    }

    /// What the draw of a fetch tick asks, if there is an open inbox at its place, at a gateway that
    /// `may` be asked now.
    pub(super) fn pick(&mut self, draw: u64, may: impl Fn(&NodeId) -> bool) -> Option<FetchPlan> {
        let id = self.schedule.pick(draw)?;
        let inbox = self.by_id.get_mut(&id)?;
        if !inbox.opened || !may(&inbox.order.gateway) {
            return None;
        }
        let acks = inbox.say();
        let order = inbox.order.clone();
        Some(FetchPlan { order, acks })
    }

    /// A fetch was answered: what it acknowledged has been heard.
    pub(super) fn heard(&mut self, id: &InboxId, acks: &[CellId]) {
        if let Some(inbox) = self.by_id.get_mut(id)
            && !inbox.again.is_empty()
        {
            inbox.again.retain(|(ack, _)| !acks.contains(ack));
        }
    }

    /// A fetch brought a cell. Returns whether it is new to the owner.
    pub(super) fn fetched(&mut self, id: &InboxId, cell: CellId) -> bool {
        let Some(inbox) = self.by_id.get_mut(id) else {
            return false;
        };
        if inbox.given.contains(&cell) || inbox.acks.contains(&cell) {
            return false;
        }
        if inbox.seen.contains(&cell) {
            // The gateway still has it: the acknowledgement was lost, or is slower than this.
            inbox.acks.push_back(cell);
            return false;
        }
        inbox.given.insert(cell)
    }

    /// A fetch got no answer: what it acknowledged is said again.
    pub(super) fn fetch_lost(&mut self, id: &InboxId, acks: &[CellId]) {
        if let Some(inbox) = self.by_id.get_mut(id) {
            for ack in acks.iter().rev() {
                let waits = inbox.again.iter().any(|(again, _)| again == ack);
                if !waits && !inbox.acks.contains(ack) {
                    inbox.acks.push_front(*ack);
                }
            }
        }
    }

    /// The owner has kept a cell.
    pub(super) fn acknowledge(&mut self, id: &InboxId, cell: CellId) {
        if let Some(inbox) = self.by_id.get_mut(id)
            && inbox.given.remove(&cell)
        {
            inbox.acks.push_back(cell);
        }
    }

    /// How many there are, and how many of them stand.
    pub(super) fn len(&self) -> (usize, usize) {
        (
            self.by_id.len(),
            self.by_id.values().filter(|i| i.opened).count(),
        )
    }

    /// What each class can expect.
    pub(super) fn numbers(&self, p: &Parameters) -> [FetchNumbers; 3] {
        self.schedule.numbers(p)
    }
}

impl Inbox {
    /// What the next fetch acknowledges: what was never said, then what may not have been heard.
    fn say(&mut self) -> Vec<CellId> {
        let count = self.acks.len().min(ACKS_MAX);
        let mut acks: Vec<CellId> = self.acks.drain(..count).collect();
        for _ in 0..self.again.len().min(ACKS_MAX - count) {
            let Some((ack, times)) = self.again.pop_front() else {
                break;
            };
            acks.push(ack);
            if times > 1 {
                self.again.push_back((ack, times - 1));
            }
        }
        for ack in &acks[..count] {
            self.again.push_back((*ack, SAID_AGAIN));
            if self.seen.insert(*ack) {
                self.seen_order.push_back(*ack);
            }
        }
        let surplus = self.again.len().saturating_sub(SEEN_MAX);
        self.again.drain(..surplus);
        let surplus = self.seen_order.len().saturating_sub(SEEN_MAX);
        for oldest in self.seen_order.drain(..surplus) {
            self.seen.remove(&oldest);
        }
        acks
    }
}
