//! The inboxes a client reads: which one a fetch tick asks, what it acknowledges.
//!
//! A tick's draw picks one of `slots` places, as many as the next power of two that holds all
//! inboxes; a place without an inbox is cover. So every inbox sees a Poisson stream of its own,
//! independent of the others, whose rate changes only when the number of inboxes doubles: a gateway
//! cannot couple two inboxes of one person by a common change.

use super::outbox::{FetchClass, OpenOrder};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wire::ids::{CellId, InboxId, NodeId};
use wire::request::ACKS_MAX;
use wire::rng::pick;

/// Fewest places.
const SLOTS_MIN: usize = 2;
/// Ids of cells that were acknowledged, kept to know a straggler by.
const SEEN_MAX: usize = 512;

/// What a fetch tick asks.
pub(super) struct FetchPlan {
    pub(super) order: Arc<OpenOrder>,
    pub(super) skip: u8,
    pub(super) acks: Vec<CellId>,
}

struct Inbox {
    order: Arc<OpenOrder>,
    class: FetchClass,
    opened: bool,
    /// Fetches on their way.
    in_flight: usize,
    /// Cells that waited behind the one in the newest reply.
    remaining: u16,
    /// Given to the owner, not yet acknowledged by it.
    given: BTreeSet<CellId>,
    /// Kept by the owner, to be said to the gateway.
    acks: VecDeque<CellId>,
    /// Said to the gateway, newest last; whether it heard is known when that fetch is answered.
    seen: VecDeque<CellId>,
}

/// All inboxes a client reads. At most `capacity`.
pub(super) struct ReadInboxes {
    capacity: usize,
    places: Vec<Option<InboxId>>,
    by_id: BTreeMap<InboxId, Inbox>,
}

impl ReadInboxes {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            places: vec![None; SLOTS_MIN],
            by_id: BTreeMap::new(),
        }
    }

    /// An inbox to read once it stands. A known one gets the new order and keeps its place.
    pub(super) fn insert(&mut self, order: Arc<OpenOrder>) -> bool {
        let id = order.inbox;
        if let Some(inbox) = self.by_id.get_mut(&id) {
            inbox.order = order;
            return true;
        }
        if self.by_id.len() >= self.capacity {
            return false;
        }
        let place = match self.places.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                let len = self.places.len();
                self.places.resize(len * 2, None);
                len
            }
        };
        self.places[place] = Some(id);
        let inbox = Inbox {
            class: order.class,
            order,
            opened: false,
            in_flight: 0,
            remaining: 0,
            given: BTreeSet::new(),
            acks: VecDeque::new(),
            seen: VecDeque::new(),
        };
        self.by_id.insert(id, inbox);
        true
    }

    pub(super) fn remove(&mut self, id: &InboxId) -> Option<Arc<OpenOrder>> {
        self.places
            .iter_mut()
            .filter(|p| p.as_ref() == Some(id))
            .for_each(|p| *p = None);
        self.by_id.remove(id).map(|inbox| inbox.order)
    }

    pub(super) fn set_class(&mut self, id: &InboxId, class: FetchClass) {
        if let Some(inbox) = self.by_id.get_mut(id) {
            inbox.class = class;
        }
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

    /// What the draw of a fetch tick asks, if there is an open, reachable inbox at its place.
    pub(super) fn pick(
        &mut self,
        draw: u64,
        reachable: impl Fn(&NodeId) -> bool,
    ) -> Option<FetchPlan> {
        let id = (*self.places.get(pick(draw, self.places.len())?)?)?;
        let inbox = self.by_id.get_mut(&id)?;
        if !inbox.opened || !reachable(&inbox.order.gateway) {
            return None;
        }
        let count = inbox.acks.len().min(ACKS_MAX);
        let acks: Vec<CellId> = inbox.acks.drain(..count).collect();
        // Cells that still lie in front at the gateway: those the owner has not kept yet, those
        // whose acknowledgement did not fit, and those that fetches on their way will bring.
        let coming = inbox.in_flight.min(usize::from(inbox.remaining));
        let skip = inbox.given.len() + inbox.acks.len() + coming;
        inbox.in_flight += 1;
        inbox.seen.extend(&acks);
        let surplus = inbox.seen.len().saturating_sub(SEEN_MAX);
        inbox.seen.drain(..surplus);
        let skip = u8::try_from(skip).unwrap_or(u8::MAX);
        Some(FetchPlan {
            order: inbox.order.clone(),
            skip,
            acks,
        })
    }

    /// A fetch was answered. Returns whether its cell is new to the owner.
    pub(super) fn fetched(&mut self, id: &InboxId, cell: Option<CellId>, remaining: u16) -> bool {
        let Some(inbox) = self.by_id.get_mut(id) else {
            return false;
        };
        inbox.in_flight = inbox.in_flight.saturating_sub(1);
        inbox.remaining = remaining;
        let Some(cell) = cell else { return false };
        if inbox.given.contains(&cell) || inbox.acks.contains(&cell) {
            return false;
        }
        if let Some(at) = inbox.seen.iter().position(|id| *id == cell) {
            // The gateway still has it: the acknowledgement was lost, or is slower than this.
            inbox.seen.remove(at);
            inbox.acks.push_back(cell);
            return false;
        }
        inbox.given.insert(cell)
    }

    /// A fetch got no answer: what it acknowledged is said again.
    pub(super) fn fetch_lost(&mut self, id: &InboxId, acks: Vec<CellId>) {
        if let Some(inbox) = self.by_id.get_mut(id) {
            inbox.in_flight = inbox.in_flight.saturating_sub(1);
            inbox.seen.retain(|id| !acks.contains(id));
            for ack in acks.into_iter().rev() {
                if !inbox.acks.contains(&ack) {
                    inbox.acks.push_front(ack);
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
}
