//! What every node does with a packet, whatever its role: key by epoch, whose turn it is, replay
//! check, next hop, the wait until its tag is durable, delay. `Mix` and `Gateway` each own one [`HopNode`]; what is
//! theirs alone comes back to them as [`Taken`].

mod delay_queue;
mod intake;
mod kept;
mod keyring;
mod replay;
mod waiting;

pub use delay_queue::DelayQueue;
pub use intake::{
    Admitted, Intake, IntakeCounts, KeyFor, KeyTable, LaneId, Received, Source, unwrap_batch,
};
pub use kept::{KeepOrder, Kept, KeptKey, KeySeed, NodeKey, ShortTag, TagBatch};
pub use keyring::Keyring;
pub use replay::ReplaySet;

use crate::transmit::{Peer, Transmit};
use crate::view::View;
use directory::{Directory, EpochSchedule, Position, SphinxKey};
use intake::KeyRow;
use sphinx::{DiscardReason, Discards, PacketFormat, PayloadBytes, Unwrapped};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use waiting::{Then, WaitingRoom};
use wire::frame::{Frame, PacketBytes};
use wire::ids::{Epoch, EpochHint, NextHop, NodeId, SessionAddress, SurbId};
use wire::request::Plaintext;
use wire::rng::KeyRng;
use wire::time::{Instant, WallAnchor};

/// δ while no directory says it.
const UNKNOWN_ALLOWANCE: Duration = Duration::from_millis(10);

/// Limits of a node.
#[derive(Clone, Debug)]
pub struct HopConfig {
    /// Who this node is.
    pub identity: NodeId,
    /// How epochs follow each other, from `network.toml`.
    pub schedule: EpochSchedule,
    /// Most packets that wait for their tag or out their delay; one more is discarded as
    /// `QueueFull`. Each takes 3 KB.
    pub delay_queue_max: usize,
    /// Most tags remembered for one key; one more packet is discarded as `ReplaySetFull`. Each
    /// takes 19 to 39 bytes of memory, and 16 to 32 on the disk.
    pub replay_tags_max: usize,
}

impl HopConfig {
    /// The limits of a small machine.
    pub fn new(identity: NodeId, schedule: EpochSchedule) -> Self {
        Self {
            identity,
            schedule,
            delay_queue_max: 65_536,
            replay_tags_max: 1 << 22,
        }
    }
}

/// A packet that was unwrapped.
pub struct Arrival {
    /// What came out, of [`KeyFor::unwrap`] or [`unwrap_batch`].
    pub unwrapped: Result<Admitted, DiscardReason>,
    /// With the key of which epoch.
    pub epoch: Epoch,
    /// When its frame was read; δ and the delay count from here.
    pub received_at: Instant,
    /// Over which listener.
    pub source: Source,
}

/// A packet that is for the node itself.
pub enum Taken {
    /// A request, with its plaintext unless the payload was changed on its way, and when its frame
    /// was read.
    Request(Option<Plaintext>, Instant),
    /// A reply to this node's own reply block.
    Reply(SurbId, PayloadBytes),
    /// A packet for one of its clients, due after δ and its delay.
    ToSession(SessionAddress, PacketBytes, Instant),
}

/// Numbers that an operator sees; never anything about one packet.
#[derive(Clone, Debug, Default)]
pub struct HopCounters {
    /// Packets whose frame was read.
    pub received: u64,
    /// Packets that left for another node.
    pub forwarded: u64,
    /// Packets that died, by reason.
    pub discards: Discards,
}

/// Keys, replay sets, delay queue and view of one node.
pub struct HopNode<F: PacketFormat> {
    config: HopConfig,
    /// Directories; `Mix` and `Gateway` build their loops by it.
    pub view: View,
    keyring: Keyring<F>,
    waiting: WaitingRoom,
    queue: DelayQueue,
    counters: HopCounters,
    /// Nodes that a packet may go to, by any directory that is held: it may have been built by the
    /// last one.
    next_nodes: BTreeSet<NodeId>,
    table: Arc<KeyTable<F>>,
    /// Whether the table must be made anew, and whether the owner has this one.
    keys_changed: bool,
    table_given: bool,
    ready: VecDeque<Transmit>,
    taken: VecDeque<Taken>,
    orders: VecDeque<KeepOrder>,
}

impl<F: PacketFormat> HopNode<F> {
    /// Takes back what was kept over a restart, and draws what is missing of the keys for this
    /// epoch and the next two. Kept keys of other epochs are ordered to be destroyed.
    pub fn new(
        config: HopConfig,
        kept: Vec<KeptKey>,
        anchor: WallAnchor,
        now: Instant,
        keys: &mut KeyRng,
    ) -> Self {
        let view = View::new(config.schedule, anchor);
        let epoch = view.epoch_at(now);
        let in_use = epoch.previous()..=epoch.next().next();
        let mut keyring = Keyring::new(config.replay_tags_max);
        let mut orders = VecDeque::new();
        for kept in kept {
            let epoch = kept.key.epoch;
            if !in_use.contains(&epoch) || !keyring.restore(kept) {
                orders.push_back(KeepOrder::Forget(epoch));
            }
        }
        let drawn = keyring.rotate(epoch, keys);
        orders.extend(drawn.into_iter().map(KeepOrder::Key));
        let queue = DelayQueue::new(config.delay_queue_max);
        Self {
            config,
            view,
            keyring,
            waiting: WaitingRoom::new(),
            queue,
            counters: HopCounters::default(),
            next_nodes: BTreeSet::new(),
            table: Arc::default(),
            keys_changed: true,
            table_given: false,
            ready: VecDeque::new(),
            taken: VecDeque::new(),
            orders,
        }
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.config.identity
    }

    /// Where it stands in the directory that holds now.
    pub fn position(&self, now: Instant) -> Option<Position> {
        self.view.current(now)?.position(&self.config.identity)
    }

    /// The public keys of this and the next epochs, for the descriptor.
    pub fn public_keys(&self) -> Vec<SphinxKey> {
        self.keyring.public_keys()
    }

    /// The key for a packet whose frame carries `hint`, if it is accepted now. For a driver that
    /// unwraps packet by packet; others take a [`KeyTable`].
    pub fn key_for(&mut self, hint: EpochHint, now: Instant) -> Option<KeyFor<F>> {
        self.counters.received += 1;
        self.refresh_table(now);
        match self.table.find(hint, now).cloned() {
            Ok(key) => Some(key),
            Err(reason) => {
                self.discard(reason);
                None
            }
        }
    }

    /// A fresh table when it says something else than the last one.
    pub fn poll_key_table(&mut self, now: Instant) -> Option<Arc<KeyTable<F>>> {
        self.refresh_table(now);
        let given = std::mem::replace(&mut self.table_given, true);
        (!given).then(|| self.table.clone())
    }

    /// A key is good during its epoch and an overlap before and after it.
    fn refresh_table(&mut self, now: Instant) {
        if !std::mem::take(&mut self.keys_changed) {
            return;
        }
        let overlap = self.overlap(now);
        let row = |epoch: Epoch| KeyRow {
            hint: epoch.hint(),
            from: self.view.start(epoch).saturating_sub(overlap),
            until: self.view.start(epoch.next()) + overlap,
            key: self.keyring.key(epoch).cloned(),
        };
        let known = self.view.current(now).map(|d| d.parameters.hop_allowance);
        self.table = Arc::new(KeyTable {
            rows: self.keyring.epochs().map(row).collect(),
            allowance: known.unwrap_or(UNKNOWN_ALLOWANCE),
        });
        self.table_given = false;
    }

    /// What an [`Intake`] counted.
    pub fn handle_intake(&mut self, counts: &IntakeCounts) {
        self.counters.received += counts.received;
        self.counters.discards.add(&counts.discards);
    }

    fn overlap(&self, now: Instant) -> Duration {
        let known = self.view.current(now).map(|d| d.parameters.key_overlap);
        known.unwrap_or(self.config.schedule.length / 4)
    }

    /// Next hop and delay of a packet that was unwrapped. What passes waits until its tag is durable: see
    /// [`HopNode::poll_order`] and [`HopNode::handle_kept`].
    pub fn handle_arrival(&mut self, arrival: Arrival, now: Instant) {
        let epoch = arrival.epoch;
        match self.take(arrival, now) {
            Ok((tag, then)) => self.waiting.push(epoch, tag, then),
            Err(reason) => self.discard(reason),
        }
    }

    fn take(&mut self, arrival: Arrival, now: Instant) -> Result<(ShortTag, Then), DiscardReason> {
        let Arrival {
            unwrapped,
            epoch,
            received_at,
            source,
        } = arrival;
        let Admitted(unwrapped) = unwrapped?;
        let tag = unwrapped.tag().into();
        // Its key may have been lost meanwhile, and with it the log for the tag.
        self.keyring.key(epoch)?;
        if self.queue_len() >= self.config.delay_queue_max {
            return Err(DiscardReason::QueueFull);
        }
        let parameters = self.view.current(now).ok_or(DiscardReason::NoDirectory)?;
        let (allowance, bound) = (
            parameters.parameters.hop_allowance,
            parameters.parameters.delay_bound(),
        );
        let then = match unwrapped {
            Unwrapped::Forward {
                next,
                delay,
                packet,
                ..
            } => {
                if delay > bound {
                    return Err(DiscardReason::DelayTooLong);
                }
                let due = received_at + allowance + delay;
                match next {
                    NextHop::Node { id, epoch } => {
                        self.check_adjacent(&id)?;
                        Then::Send(Transmit {
                            to: Peer::Node(id),
                            at: due,
                            frame: Frame::Packet(epoch, packet),
                        })
                    }
                    NextHop::Session(_) if source == Source::Client => {
                        return Err(DiscardReason::NotAdjacent);
                    }
                    NextHop::Session(address) => Then::Take(Taken::ToSession(address, packet, due)),
                }
            }
            // A client's packet has three mixes before it; straight from the client, it would
            // show the gateway both who asks and what.
            Unwrapped::Request { .. } | Unwrapped::Reply { .. } if source == Source::Client => {
                return Err(DiscardReason::NotAdjacent);
            }
            Unwrapped::Request { plaintext, .. } => {
                Then::Take(Taken::Request(plaintext, received_at))
            }
            Unwrapped::Reply { surb, payload, .. } => Then::Take(Taken::Reply(surb, payload)),
        };
        Ok((tag, then))
    }

    /// Something to be kept over a restart, or destroyed.
    pub fn poll_order(&mut self) -> Option<KeepOrder> {
        let batch = || self.waiting.poll_batch().map(KeepOrder::Tags);
        self.orders.pop_front().or_else(batch)
    }

    /// What became of an order. Packets whose tags are durable go on; what is for the node itself
    /// comes out of [`HopNode::poll_taken`]. Returns whether a key was lost.
    pub fn handle_kept(&mut self, kept: Kept) -> bool {
        match kept {
            Kept::Durable { ticket } => {
                while let Some(then) = self.waiting.pop_durable(ticket) {
                    match then {
                        Then::Take(taken) => self.taken.push_back(taken),
                        Then::Send(transmit) => {
                            if let Err(reason) = self.send_at(transmit) {
                                self.discard(reason);
                            }
                        }
                    }
                }
                false
            }
            Kept::Failed { ticket } => {
                let failed = self.waiting.drop_failed(ticket);
                (0..failed).for_each(|_| self.discard(DiscardReason::TagNotDurable));
                false
            }
            Kept::KeyLost(epoch) => {
                self.keyring.lose(epoch);
                self.keys_changed = true;
                true
            }
        }
    }

    /// A packet for the node itself, its tag durable.
    pub fn poll_taken(&mut self) -> Option<Taken> {
        self.taken.pop_front()
    }

    /// A neighbour by any directory that is held.
    pub(crate) fn check_adjacent(&self, next: &NodeId) -> Result<(), DiscardReason> {
        if self.next_nodes.contains(next) {
            return Ok(());
        }
        let known = self.view.held().any(|d| d.position(next).is_some());
        Err(if known {
            DiscardReason::NotAdjacent
        } else {
            DiscardReason::UnknownNextHop
        })
    }

    fn find_next_nodes(&mut self) {
        self.next_nodes.clear();
        for directory in self.view.held() {
            let Some(from) = directory.position(&self.config.identity) else {
                continue;
            };
            let nodes = directory.nodes();
            let next = nodes.filter(|(_, to)| Directory::adjacent(from, *to));
            self.next_nodes.extend(next.map(|(node, _)| node.id()));
        }
    }

    /// Queues a frame until its moment.
    pub fn send_at(&mut self, transmit: Transmit) -> Result<(), DiscardReason> {
        self.queue.push(transmit)
    }

    /// Counts a packet that died, here or in the shell around this machine.
    pub fn discard(&mut self, reason: DiscardReason) {
        self.counters.discards.count(reason);
    }

    /// A new directory. Returns whether it was new.
    pub fn handle_directory(
        &mut self,
        directory: Arc<Directory>,
        anchor: WallAnchor,
        now: Instant,
    ) -> bool {
        self.view.set_anchor(anchor);
        self.keys_changed = true;
        let new = self.view.insert(directory, now);
        if new {
            self.find_next_nodes();
        }
        new
    }

    /// Releases what is due and rotates keys at an epoch's start. Returns whether keys changed.
    pub fn handle_timeout(&mut self, now: Instant, keys: &mut KeyRng) -> bool {
        while let Some(transmit) = self.queue.pop_due(now) {
            self.ready.push_back(transmit);
        }
        let epoch = self.view.epoch_at(now);
        let overlap = self.view.start(epoch) + self.overlap(now);
        let gone = self
            .keyring
            .forget_before(oldest_accepted(epoch, overlap, now));
        self.keys_changed |= !gone.is_empty();
        self.orders.extend(gone.into_iter().map(KeepOrder::Forget));
        let drawn = self.keyring.rotate(epoch, keys);
        let changed = !drawn.is_empty();
        self.keys_changed |= changed;
        self.orders.extend(drawn.into_iter().map(KeepOrder::Key));
        changed
    }

    /// A frame that is due.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.ready.pop_front()?;
        if matches!(transmit.to, Peer::Node(_)) {
            self.counters.forwarded += 1;
        }
        Some(transmit)
    }

    /// Next deadline.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        if !self.ready.is_empty() {
            return Some((now, "ready"));
        }
        let epoch = self.view.epoch_at(now);
        let overlap = self.view.start(epoch) + self.overlap(now);
        // Kept over a restart, and too old by the overlap that the directory says.
        let oldest = self.keyring.oldest();
        if oldest.is_some_and(|oldest| oldest < oldest_accepted(epoch, overlap, now))
            && self.view.current(now).is_some()
        {
            return Some((now, "key rotation"));
        }
        let rotate = if overlap > now {
            overlap
        } else {
            self.view.start(epoch.next())
        };
        let queue = self.queue.poll_timeout().map(|at| (at, "delay queue"));
        queue.into_iter().chain([(rotate, "key rotation")]).min()
    }

    /// Packets that wait for their tag to be durable, or out their delay.
    pub fn queue_len(&self) -> usize {
        self.waiting.len() + self.queue.len()
    }

    /// Numbers for the operator.
    pub fn counters(&self) -> &HopCounters {
        &self.counters
    }
}

/// Of which epoch the oldest key is that opens anything now; the one before `epoch` does until `overlap`.
fn oldest_accepted(epoch: Epoch, overlap: Instant, now: Instant) -> Epoch {
    if now < overlap {
        epoch.previous()
    } else {
        epoch
    }
}
