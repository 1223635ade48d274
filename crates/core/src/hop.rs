//! What every node does with a packet, whatever its role: key by epoch, replay check, next hop,
//! the wait until its tag is durable, delay. `Mix` and `Gateway` each own one [`HopNode`]; what is
//! theirs alone comes back to them as [`Taken`].

mod delay_queue;
mod kept;
mod keyring;
mod replay;
mod waiting;

pub use delay_queue::DelayQueue;
pub use kept::{KeepOrder, Kept, KeptKey, KeySeed, NodeKey, ShortTag, TagBatch};
pub use keyring::Keyring;
pub use replay::ReplaySet;

use crate::transmit::{Peer, Transmit};
use crate::view::View;
use directory::{Directory, EpochSchedule, Position, SphinxKey};
use sphinx::{DiscardReason, Discards, PacketFormat, PayloadBytes, Unwrapped};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use waiting::{Then, WaitingRoom};
use wire::frame::{Frame, PacketBytes};
use wire::ids::{Epoch, EpochHint, NextHop, NodeId, SessionAddress, SurbId};
use wire::request::Plaintext;
use wire::rng::KeyRng;
use wire::time::{Instant, WallAnchor};

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
    /// takes about 30 bytes of memory, and 16 to 32 on the disk.
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

/// Where a packet came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A node of the directory, over the listener for nodes.
    Node,
    /// A client, over the listener for clients.
    Client,
}

/// The key for a packet, to be handed to whoever unwraps it and back with the result.
pub struct KeyFor<F: PacketFormat> {
    /// Of which epoch.
    pub epoch: Epoch,
    /// The key.
    pub secret: Arc<F::Secret>,
}

impl<F: PacketFormat> Clone for KeyFor<F> {
    fn clone(&self) -> Self {
        Self {
            epoch: self.epoch,
            secret: self.secret.clone(),
        }
    }
}

/// A packet that was unwrapped.
pub struct Arrival {
    /// What came out.
    pub unwrapped: Result<Unwrapped, DiscardReason>,
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

    /// The key for a packet whose frame carries `hint`, if it is accepted now.
    pub fn key_for(&mut self, hint: EpochHint, now: Instant) -> Option<KeyFor<F>> {
        self.counters.received += 1;
        let key = self
            .view
            .resolve(hint, now)
            .filter(|e| self.accepts(*e, now));
        let secret = match key {
            None => Err(DiscardReason::UnknownEpoch),
            Some(epoch) => self.keyring.secret(epoch).map(|secret| (epoch, secret)),
        };
        match secret {
            Ok((epoch, secret)) => Some(KeyFor { epoch, secret }),
            Err(reason) => {
                self.discard(reason);
                None
            }
        }
    }

    /// A key is good during its epoch and an overlap before and after it.
    fn accepts(&self, epoch: Epoch, now: Instant) -> bool {
        let overlap = self.overlap(now);
        self.view.start(epoch) <= now + overlap && now < self.view.start(epoch.next()) + overlap
    }

    fn overlap(&self, now: Instant) -> Duration {
        let known = self.view.current(now).map(|d| d.parameters.key_overlap);
        known.unwrap_or(self.config.schedule.length / 4)
    }

    /// Replay check, next hop, delay. What passes waits until its tag is durable: see
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
        let unwrapped = unwrapped?;
        let tag = unwrapped.tag().into();
        self.keyring.remember(epoch, tag)?;
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
                true
            }
        }
    }

    /// A packet for the node itself, its tag durable.
    pub fn poll_taken(&mut self) -> Option<Taken> {
        self.taken.pop_front()
    }

    /// A neighbour by any directory that is held: a packet may have been built by the last one.
    pub(crate) fn check_adjacent(&self, next: &NodeId) -> Result<(), DiscardReason> {
        let mut known = false;
        for directory in self.view.held() {
            let Some(to) = directory.position(next) else {
                continue;
            };
            known = true;
            if let Some(from) = directory.position(&self.config.identity)
                && Directory::adjacent(from, to)
            {
                return Ok(());
            }
        }
        Err(if known {
            DiscardReason::NotAdjacent
        } else {
            DiscardReason::UnknownNextHop
        })
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
        self.view.insert(directory, now)
    }

    /// Releases what is due and rotates keys at an epoch's start. Returns whether keys changed.
    pub fn handle_timeout(&mut self, now: Instant, keys: &mut KeyRng) -> bool {
        while let Some(transmit) = self.queue.pop_due(now) {
            self.ready.push_back(transmit);
        }
        let gone = self.keyring.forget_before(self.oldest_accepted(now));
        self.orders.extend(gone.into_iter().map(KeepOrder::Forget));
        let drawn = self.keyring.rotate(self.view.epoch_at(now), keys);
        let changed = !drawn.is_empty();
        self.orders.extend(drawn.into_iter().map(KeepOrder::Key));
        changed
    }

    fn oldest_accepted(&self, now: Instant) -> Epoch {
        let epoch = self.view.epoch_at(now);
        if now < self.view.start(epoch) + self.overlap(now) {
            epoch.previous()
        } else {
            epoch
        }
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
        // Kept over a restart, and too old by the overlap that the directory says.
        let too_old = |oldest| oldest < self.oldest_accepted(now);
        if self.view.current(now).is_some() && self.keyring.oldest().is_some_and(too_old) {
            return Some((now, "key rotation"));
        }
        let epoch = self.view.epoch_at(now);
        let overlap = self.view.start(epoch) + self.overlap(now);
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
