//! What every node does with a packet, whatever its role: key by epoch, replay check, next hop,
//! delay. `Mix` and `Gateway` each own one [`HopNode`]; what is theirs alone comes back to them as
//! [`Taken`].

mod delay_queue;
mod keyring;
mod replay;

pub use delay_queue::DelayQueue;
pub use keyring::Keyring;
pub use replay::ReplaySet;

use crate::transmit::{Peer, Transmit};
use crate::view::View;
use directory::{Directory, EpochSchedule, Position, SphinxKey};
use sphinx::{DiscardReason, Discards, PacketFormat, PayloadBytes, ReplayTag, Unwrapped};
use std::sync::Arc;
use std::time::Duration;
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
    /// Most packets that wait out their delay; one more is discarded as `QueueFull`. Each takes
    /// 3 KB.
    pub delay_queue_max: usize,
    /// Most tags remembered for one key; one more packet is discarded as `ReplaySetFull`. Each
    /// takes about 30 bytes.
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
    /// A request, with its plaintext unless the payload was changed on its way.
    Request(Option<Plaintext>),
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
    queue: DelayQueue,
    counters: HopCounters,
    ready: std::collections::VecDeque<Transmit>,
}

impl<F: PacketFormat> HopNode<F> {
    /// Draws keys for this epoch and the next two.
    pub fn new(config: HopConfig, anchor: WallAnchor, now: Instant, keys: &mut KeyRng) -> Self {
        let view = View::new(config.schedule, anchor);
        let mut keyring = Keyring::new(config.replay_tags_max);
        keyring.rotate(view.epoch_at(now), keys);
        let queue = DelayQueue::new(config.delay_queue_max);
        Self {
            config,
            view,
            keyring,
            queue,
            counters: HopCounters::default(),
            ready: [].into(),
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
        let key = key.and_then(|epoch| {
            Some(KeyFor {
                epoch,
                secret: self.keyring.secret(epoch)?,
            })
        });
        if key.is_none() {
            self.discard(DiscardReason::UnknownEpoch);
        }
        key
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

    /// Replay check, next hop, delay. What is for the node itself comes back.
    pub fn handle_arrival(&mut self, arrival: Arrival, now: Instant) -> Option<Taken> {
        match self.take(arrival, now) {
            Ok(taken) => taken,
            Err(reason) => {
                self.discard(reason);
                None
            }
        }
    }

    fn take(&mut self, arrival: Arrival, now: Instant) -> Result<Option<Taken>, DiscardReason> {
        let Arrival {
            unwrapped,
            epoch,
            received_at,
            source,
        } = arrival;
        let unwrapped = unwrapped?;
        self.remember(epoch, unwrapped.tag())?;
        let parameters = self.view.current(now).ok_or(DiscardReason::NoDirectory)?;
        let (allowance, bound) = (
            parameters.parameters.hop_allowance,
            parameters.parameters.delay_bound(),
        );
        match unwrapped {
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
                        let frame = Frame::Packet(epoch, packet);
                        self.send_at(Transmit {
                            to: Peer::Node(id),
                            at: due,
                            frame,
                        })?;
                        Ok(None)
                    }
                    NextHop::Session(_) if source == Source::Client => {
                        Err(DiscardReason::NotAdjacent)
                    }
                    NextHop::Session(address) => Ok(Some(Taken::ToSession(address, packet, due))),
                }
            }
            // A client's packet has three mixes before it; straight from the client, it would
            // show the gateway both who asks and what.
            Unwrapped::Request { .. } | Unwrapped::Reply { .. } if source == Source::Client => {
                Err(DiscardReason::NotAdjacent)
            }
            Unwrapped::Request { plaintext, .. } => Ok(Some(Taken::Request(plaintext))),
            Unwrapped::Reply { surb, payload, .. } => Ok(Some(Taken::Reply(surb, payload))),
        }
    }

    fn remember(&mut self, epoch: Epoch, tag: ReplayTag) -> Result<(), DiscardReason> {
        self.keyring
            .replay_set(epoch)
            .ok_or(DiscardReason::UnknownEpoch)?
            .insert(tag)
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
        let overlap = self.overlap(now);
        let epoch = self.view.epoch_at(now);
        let keep_previous = now < self.view.start(epoch) + overlap;
        self.keyring.forget_before(if keep_previous {
            epoch.previous()
        } else {
            epoch
        });
        self.keyring.rotate(epoch, keys)
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
        let rotate = if overlap > now {
            overlap
        } else {
            self.view.start(epoch.next())
        };
        let queue = self.queue.poll_timeout().map(|at| (at, "delay queue"));
        queue.into_iter().chain([(rotate, "key rotation")]).min()
    }

    /// Packets that wait out their delay.
    pub fn queue_len(&self) -> usize {
        self.queue.len()
    }

    /// Numbers for the operator.
    pub fn counters(&self) -> &HopCounters {
        &self.counters
    }
}
