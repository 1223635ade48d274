//! Whose turn it is: classes in their order, with a least share for each; in a class, peers take
//! turns; of one peer the oldest goes first.
//!
//! What cannot leave now (its gateway is unreachable, or fails) keeps its place and is passed over
//! without being walked through: a peer's queue is one queue for each gateway.

use std::collections::{BTreeMap, VecDeque};
use wire::ids::NodeId;

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
    /// What people wait for; at least one send tick in four.
    Chat,
    /// Files: what the others leave, and at least one send tick in eight.
    Bulk,
}

/// Where something waits, to be found again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seat {
    pub(super) flow: Flow,
    pub(super) gateway: NodeId,
    /// The lower the older.
    pub(super) age: u64,
}

/// After being passed over so often by a class before it, a class goes first.
const CHAT_PASSED: u32 = 3;
const BULK_PASSED: u32 = 7;

/// Everything that waits for a send tick. Whoever fills it bounds it.
pub(super) struct FairQueue<T> {
    classes: [Class<T>; 3],
}

/// A peer's things, for each gateway by age.
type Lanes<T> = BTreeMap<NodeId, BTreeMap<u64, T>>;

struct Class<T> {
    /// Peers for whom something waits, whose turn is next first.
    turns: VecDeque<u64>,
    peers: BTreeMap<u64, Lanes<T>>,
    passed: u32,
    passed_max: u32,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        let class = |passed_max| Class {
            turns: VecDeque::new(),
            peers: BTreeMap::new(),
            passed: 0,
            passed_max,
        };
        Self {
            classes: [class(u32::MAX), class(CHAT_PASSED), class(BULK_PASSED)],
        }
    }

    pub(super) fn insert(&mut self, seat: Seat, thing: T) {
        let class = &mut self.classes[seat.flow.class as usize];
        if !class.peers.contains_key(&seat.flow.peer) {
            class.turns.push_back(seat.flow.peer);
        }
        let lanes = class.peers.entry(seat.flow.peer).or_default();
        lanes
            .entry(seat.gateway)
            .or_default()
            .insert(seat.age, thing);
    }

    pub(super) fn remove(&mut self, seat: &Seat) -> Option<T> {
        let class = &mut self.classes[seat.flow.class as usize];
        let (thing, empty) = class.take(seat.flow.peer, &seat.gateway, seat.age)?;
        if empty {
            class.turns.retain(|peer| *peer != seat.flow.peer);
        }
        Some(thing)
    }

    /// What goes next, among what is for a gateway that `may` have something.
    pub(super) fn pop(&mut self, may: impl Fn(&NodeId) -> bool) -> Option<T> {
        let (starved, in_order): (Vec<usize>, Vec<usize>) =
            (0..self.classes.len()).partition(|i| self.classes[*i].starves());
        for i in starved.into_iter().rev().chain(in_order) {
            if let Some(thing) = self.classes[i].pop(&may) {
                self.classes[i].passed = 0;
                for later in &mut self.classes[i + 1..] {
                    later.passed = match later.turns.is_empty() {
                        true => 0,
                        false => later.passed.saturating_add(1),
                    };
                }
                return Some(thing);
            }
        }
        None
    }
}

impl<T> Class<T> {
    fn starves(&self) -> bool {
        self.passed >= self.passed_max && !self.turns.is_empty()
    }

    fn pop(&mut self, may: impl Fn(&NodeId) -> bool) -> Option<T> {
        let next = |peer: &u64| {
            let lanes = self.peers.get(peer)?.iter().filter(|(to, _)| may(to));
            let heads = lanes.filter_map(|(to, lane)| Some((*lane.first_key_value()?.0, *to)));
            heads.min()
        };
        let found = |(turn, peer): (usize, &u64)| Some((turn, *peer, next(peer)?));
        let (turn, peer, (age, gateway)) = self.turns.iter().enumerate().find_map(found)?;
        let (thing, empty) = self.take(peer, &gateway, age)?;
        self.turns.remove(turn);
        if !empty {
            self.turns.push_back(peer);
        }
        Some(thing)
    }

    /// Takes one thing out; whether it was its peer's last.
    fn take(&mut self, peer: u64, gateway: &NodeId, age: u64) -> Option<(T, bool)> {
        let lanes = self.peers.get_mut(&peer)?;
        let lane = lanes.get_mut(gateway)?;
        let thing = lane.remove(&age)?;
        if lane.is_empty() {
            lanes.remove(gateway);
        }
        let empty = lanes.is_empty();
        if empty {
            self.peers.remove(&peer);
        }
        Some((thing, empty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: NodeId = NodeId([1; 28]);
    const THERE: NodeId = NodeId([2; 28]);

    fn seat(class: FlowClass, peer: u64, gateway: NodeId, age: u64) -> Seat {
        let flow = Flow { class, peer };
        Seat { flow, gateway, age }
    }

    fn queue(seats: &[Seat]) -> FairQueue<Seat> {
        let mut queue = FairQueue::new();
        seats.iter().for_each(|seat| queue.insert(*seat, *seat));
        queue
    }

    fn drain(queue: &mut FairQueue<Seat>, may: impl Fn(&NodeId) -> bool) -> Vec<Seat> {
        std::iter::from_fn(|| queue.pop(&may)).collect()
    }

    #[test]
    fn peers_take_turns_and_each_is_served_in_order() {
        let chat = |peer, age| seat(FlowClass::Chat, peer, HERE, age);
        let seats: Vec<_> = (0..4).map(|age| chat(1, age)).collect();
        let mut queue = queue(&seats);
        queue.insert(chat(2, 9), chat(2, 9));
        let order = drain(&mut queue, |_| true);
        assert_eq!(
            order,
            [chat(1, 0), chat(2, 9), chat(1, 1), chat(1, 2), chat(1, 3)]
        );
    }

    #[test]
    fn what_cannot_leave_keeps_its_place_and_stops_nobody() {
        let chat = |gateway, age| seat(FlowClass::Chat, 1, gateway, age);
        let seats = [chat(HERE, 0), chat(THERE, 1), chat(HERE, 2), chat(THERE, 3)];
        let mut queue = queue(&seats);
        let there = drain(&mut queue, |g| *g == THERE);
        assert_eq!(there, [seats[1], seats[3]]);
        assert_eq!(queue.remove(&seats[0]), Some(seats[0]));
        assert_eq!(queue.remove(&seats[0]), None);
        assert_eq!(drain(&mut queue, |_| true), [seats[2]]);
        assert!(queue.classes.iter().all(|c| c.turns.is_empty()));
    }

    #[test]
    fn every_class_gets_its_share() {
        let mut seats = Vec::new();
        for age in 0..1_000 {
            for class in [FlowClass::Control, FlowClass::Chat, FlowClass::Bulk] {
                seats.push(seat(class, 1, HERE, age));
            }
        }
        let mut queue = queue(&seats);
        let share = |order: &[Seat], class| order.iter().filter(|s| s.flow.class == class).count();
        let order: Vec<_> = (0..800).filter_map(|_| queue.pop(|_| true)).collect();
        assert_eq!(share(&order, FlowClass::Bulk), 100);
        let chat = share(&order, FlowClass::Chat);
        assert!((170..=200).contains(&chat), "{chat}");
        // What waits for a gateway that gets nothing holds nobody up.
        let mut queue = self::queue(&seats[..3]);
        queue.insert(
            seat(FlowClass::Bulk, 7, THERE, 0),
            seat(FlowClass::Bulk, 7, THERE, 0),
        );
        assert_eq!(drain(&mut queue, |g| *g == HERE).len(), 3);
        assert_eq!(drain(&mut queue, |_| true).len(), 1);
    }
}
