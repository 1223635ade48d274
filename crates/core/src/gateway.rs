//! A gateway: entry for its clients, keeper of other people's inboxes, and a hop like any other.
//!
//! The three roles share a [`HopNode`] and nothing else: [`sessions`] knows clients and no inbox,
//! [`inboxes`] knows inboxes and no client.

pub mod inboxes;
mod requests;
pub mod sessions;

use crate::echo::LoopCount;
use crate::hop::{
    Arrival, HopConfig, HopNode, IntakeCounts, KeepOrder, Kept, KeptKey, KeyFor, KeyTable, Taken,
};
use crate::loops::{LoopAlarm, Loops};
use crate::stored::{InboxKey, StoreOp, StoredInbox};
use crate::transmit::{Peer, Transmit};
use directory::vote::ahead;
use directory::{Directory, LoopReport, SphinxKey};
use inboxes::{InboxLimits, Inboxes};
use requests::Waiter;
use sessions::{SessionLimits, Sessions};
use sphinx::{DiscardReason, PacketFormat};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::frame::Frame;
use wire::ids::{Epoch, EpochHint, SessionAddress};
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::{Instant, UnixTime, WallAnchor};

/// How often expired inboxes and cells are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// Limits of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// As for any node.
    pub hop: HopConfig,
    /// For clients.
    pub sessions: SessionLimits,
    /// For inboxes.
    pub inboxes: InboxLimits,
}

impl GatewayConfig {
    /// The limits of a small machine.
    pub fn new(hop: HopConfig) -> Self {
        Self {
            hop,
            sessions: SessionLimits::default(),
            inboxes: InboxLimits::default(),
        }
    }
}

/// For the owner of a gateway.
pub enum GatewayEvent {
    /// Keep this over a restart, or destroy it; then call [`Gateway::handle_kept`].
    Keep(KeepOrder),
    /// Put these keys into a fresh descriptor and upload it.
    PublishKeys(Vec<SphinxKey>),
    /// Sign this and upload it: what became of the loops.
    Report(LoopReport),
    /// Make this durable, then call [`Gateway::handle_stored`] with the ticket.
    Store {
        /// To be handed back.
        ticket: u64,
        /// What to do.
        op: StoreOp,
    },
    /// Read a cell, then call [`Gateway::handle_read`] with the ticket.
    Read {
        /// To be handed back.
        ticket: u64,
        /// Of which inbox.
        key: InboxKey,
        /// Which cell.
        sequence: u64,
    },
    /// Destroy the keys of all that expired before this.
    Expire(UnixTime),
}

/// A verified directory with the bytes it came in, which a gateway passes on.
#[derive(Clone)]
pub struct DirectoryDocument {
    /// The value.
    pub directory: Arc<Directory>,
    /// The signed document.
    pub bytes: Arc<[u8]>,
}

/// Decides what a gateway does. See the crate's documentation for the order of calls.
pub struct Gateway<F: PacketFormat> {
    hop: HopNode<F>,
    sessions: Sessions,
    inboxes: Inboxes,
    keys: KeyRng,
    loops: Loops<F>,
    documents: BTreeMap<Epoch, DirectoryDocument>,
    waiting: BTreeMap<u64, Vec<Waiter>>,
    next_ticket: u64,
    next_sweep: Instant,
    events: VecDeque<GatewayEvent>,
}

impl<F: PacketFormat> Gateway<F> {
    /// `inboxes` is what the store gave back at start, `kept` the keys that lived through a restart.
    pub fn new(
        config: GatewayConfig,
        kept: Vec<KeptKey>,
        inboxes: Vec<StoredInbox>,
        anchor: WallAnchor,
        traffic: TrafficRng,
        mut keys: KeyRng,
        now: Instant,
    ) -> Self {
        let hop = HopNode::new(config.hop, kept, anchor, now, &mut keys);
        let events = [GatewayEvent::PublishKeys(hop.public_keys())].into();
        Self {
            hop,
            sessions: Sessions::new(config.sessions),
            inboxes: Inboxes::new(config.inboxes, inboxes),
            keys,
            loops: Loops::new(Purpose::GatewayLoop, traffic),
            documents: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            next_sweep: now + SWEEP,
            events,
        }
    }

    /// A verified directory. Its pieces go to every client at the same phase of the epoch, or at
    /// once where it holds already.
    pub fn handle_directory(
        &mut self,
        document: DirectoryDocument,
        anchor: WallAnchor,
        now: Instant,
    ) {
        let directory = document.directory.clone();
        if !self.hop.handle_directory(directory.clone(), anchor, now) {
            return;
        }
        let epoch = directory.epoch;
        let parameters = &directory.parameters;
        let oldest = self.hop.view.epoch_at(now).previous();
        self.documents.retain(|e, _| *e >= oldest);
        self.documents.insert(epoch, document.clone());
        let holds = self.hop.view.start(epoch);
        let phase = holds.saturating_sub(ahead(directory.schedule.length));
        let rate = parameters.downlink_rate;
        self.sessions
            .handle_directory(&document, rate, (holds, phase.max(now)));
        self.loops.set_rate(parameters.mix_loop_rate, now);
    }

    /// A client connected and said its session address; an older connection of the same session
    /// is to be closed. Returns whether there is room for it.
    pub fn handle_connected(&mut self, session: SessionAddress, now: Instant) -> bool {
        self.sessions.handle_connected(session, now)
    }

    /// A client's connection ended; its session lingers for replies in flight.
    pub fn handle_disconnected(&mut self, session: &SessionAddress, now: Instant) {
        self.sessions.handle_disconnected(session, now);
    }

    /// The key to unwrap a packet with; `None` means that it was discarded.
    pub fn key_for(&mut self, hint: EpochHint, now: Instant) -> Option<KeyFor<F>> {
        self.hop.key_for(hint, now)
    }

    /// For those who unwrap: a fresh table when it says something else than the last one.
    pub fn poll_key_table(&mut self, now: Instant) -> Option<Arc<KeyTable<F>>> {
        self.hop.poll_key_table(now)
    }

    /// What an intake in front of this machine counted.
    pub fn handle_intake(&mut self, counts: &IntakeCounts) {
        self.hop.handle_intake(counts);
    }

    /// A packet that was unwrapped with a key of [`Gateway::key_for`] or [`Gateway::poll_key_table`].
    pub fn handle_unwrapped(&mut self, arrival: Arrival, now: Instant) {
        self.hop.handle_arrival(arrival, now);
    }

    /// What became of a [`GatewayEvent::Keep`].
    pub fn handle_kept(&mut self, kept: Kept, now: Instant) {
        if self.hop.handle_kept(kept) {
            self.publish();
        }
        while let Some(taken) = self.hop.poll_taken() {
            self.take(taken, now);
        }
    }

    fn take(&mut self, taken: Taken, now: Instant) {
        match taken {
            Taken::ToSession(session, packet, due) => {
                let to = Peer::Session(session);
                let frame = Frame::Packet(EpochHint(0), packet);
                self.queue(Transmit { to, at: due, frame });
            }
            Taken::Reply(surb, payload) => {
                if let Err(reason) = self.loops.handle_reply(surb, payload) {
                    self.hop.discard(reason);
                }
            }
            Taken::Request(None, _) => self.hop.discard(DiscardReason::BadPayload),
            Taken::Request(Some(plaintext), received_at) => {
                self.handle_request(&plaintext, received_at, now);
            }
        }
    }

    /// A node that has lost all its keys has nothing to say.
    fn publish(&mut self) {
        let keys = self.hop.public_keys();
        if !keys.is_empty() {
            self.events.push_back(GatewayEvent::PublishKeys(keys));
        }
    }

    fn queue(&mut self, transmit: Transmit) {
        if let Err(reason) = self.hop.send_at(transmit) {
            self.hop.discard(reason);
        }
    }

    /// Counts a packet that died in the shell.
    pub fn discard(&mut self, reason: DiscardReason) {
        self.hop.discard(reason);
    }

    /// A deadline of [`Gateway::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.loops
            .handle_timeout(&mut self.hop, &mut self.keys, now);
        let report = self.loops.poll_report();
        self.events.extend(report.map(GatewayEvent::Report));
        if self.hop.handle_timeout(now, &mut self.keys) {
            self.publish();
        }
        if self.next_sweep <= now {
            self.next_sweep = now + SWEEP;
            let unix = self.hop.view.unix_at(now);
            if self.inboxes.expire(unix) {
                self.forward_store_ops();
                self.events.push_back(GatewayEvent::Expire(unix));
            }
        }
        self.sessions.handle_timeout(now);
    }

    /// A frame for a node that is due, or a downlink slot of a session.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(transmit) = self.hop.poll_transmit() {
            match (transmit.to, transmit.frame) {
                (Peer::Session(session), Frame::Packet(_, packet)) => {
                    if let Err(reason) = self.sessions.enqueue(&session, packet) {
                        self.hop.discard(reason);
                    }
                }
                (to, frame) => {
                    return Some(Transmit {
                        to,
                        frame,
                        at: transmit.at,
                    });
                }
            }
        }
        self.sessions.poll_transmit()
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<GatewayEvent> {
        let order = self.hop.poll_order().map(GatewayEvent::Keep);
        order.or_else(|| self.events.pop_front())
    }

    /// When to call [`Gateway::handle_timeout`], and what for.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let hop = self.hop.poll_timeout(now);
        let loops = self.loops.poll_timeout();
        let sessions = self.sessions.poll_timeout().map(|at| (at, "downlink"));
        let sweep = Some((self.next_sweep, "sweep"));
        hop.into_iter()
            .chain(loops)
            .chain(sessions)
            .chain(sweep)
            .min()
    }

    /// Directories, keys, queue and counters.
    pub fn hop(&self) -> &HopNode<F> {
        &self.hop
    }

    /// Its own loops.
    pub fn loop_count(&self) -> LoopCount {
        self.loops.count()
    }

    /// Whether too many of its own loops were lost.
    pub fn loop_alarm(&self) -> &LoopAlarm {
        self.loops.alarm()
    }

    /// How many clients are connected; a number that goes up and down, and nothing else.
    pub fn sessions_connected(&self) -> usize {
        self.sessions.connected()
    }

    /// How many inboxes and how many cells are kept.
    pub fn kept(&self) -> (usize, usize) {
        self.inboxes.kept()
    }
}
