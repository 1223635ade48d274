//! A gateway: entry for its clients, keeper of other people's inboxes, and a hop like any other.
//!
//! The three roles share a [`HopNode`] and nothing else: [`sessions`] knows clients and no inbox,
//! [`inboxes`] knows inboxes and no client.

pub mod inboxes;
pub mod sessions;

use crate::echo::{self, Address, Asker, LoopCount, Pending, Plan, Waiting, Ways};
use crate::hop::{Arrival, HopConfig, HopNode, KeyFor, Taken};
use crate::mix::{LOOP_LEAD, LOOP_SLACK, LOOPS_MAX};
use crate::stored::{InboxKey, StoreOp, StoredInbox};
use crate::stream::{PoissonStream, Tick};
use crate::transmit::{Peer, Transmit};
use directory::{Directory, SphinxKey};
use inboxes::{InboxLimits, Inboxes, Outcome};
use sessions::{SessionLimits, Sessions};
use sphinx::{DiscardReason, PacketFormat, PayloadBytes};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::frame::Frame;
use wire::ids::{Epoch, EpochHint, NextHop, SessionAddress, SurbId};
use wire::request::{
    Answer, Cell, DIRECTORY_CHUNK_LEN, Envelope, Plaintext, Reply, Request, SurbBytes,
};
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::{Instant, UnixTime, WallAnchor};

/// How often expired inboxes and cells are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// Most requests whose answer waits for the disk; one more is refused.
const STORE_WAITING_MAX: usize = 8_192;

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
#[expect(
    clippy::large_enum_variant,
    reason = "a handful at a time, consumed at once"
)]
pub enum GatewayEvent {
    /// Put these keys into a fresh descriptor and upload it.
    PublishKeys(Vec<SphinxKey>),
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

/// A reply that waits for its answer.
struct Waiter {
    surb: SurbBytes,
    due: Instant,
    then: Then,
}

enum Then {
    Stored,
    Opened {
        ttl_secs: u32,
    },
    Closed,
    Read {
        cell_id: wire::ids::CellId,
        remaining: u16,
    },
}

/// Decides what a gateway does. See the crate's documentation for the order of calls.
pub struct Gateway<F: PacketFormat> {
    hop: HopNode<F>,
    sessions: Sessions,
    inboxes: Inboxes,
    traffic: TrafficRng,
    keys: KeyRng,
    loops: Option<PoissonStream>,
    pending: Pending<F, ()>,
    loop_count: LoopCount,
    documents: BTreeMap<Epoch, DirectoryDocument>,
    waiting: BTreeMap<u64, Vec<Waiter>>,
    next_ticket: u64,
    next_sweep: Instant,
    events: VecDeque<GatewayEvent>,
}

impl<F: PacketFormat> Gateway<F> {
    /// `inboxes` is what the store gave back at start.
    pub fn new(
        config: GatewayConfig,
        inboxes: Vec<StoredInbox>,
        anchor: WallAnchor,
        traffic: TrafficRng,
        mut keys: KeyRng,
        now: Instant,
    ) -> Self {
        let hop = HopNode::new(config.hop, anchor, now, &mut keys);
        let events = [GatewayEvent::PublishKeys(hop.public_keys())].into();
        Self {
            hop,
            sessions: Sessions::new(config.sessions),
            inboxes: Inboxes::new(config.inboxes, inboxes),
            traffic,
            keys,
            loops: None,
            pending: Pending::new(LOOPS_MAX),
            loop_count: LoopCount::default(),
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
        let phase = holds.saturating_sub(directory.schedule.length / 4);
        let rate = parameters.downlink_rate;
        self.sessions
            .handle_directory(&document, rate, (holds, phase.max(now)));
        match &mut self.loops {
            Some(loops) => loops.set_rate(parameters.mix_loop_rate),
            None => {
                let rate = parameters.mix_loop_rate;
                let stream = PoissonStream::new(Purpose::GatewayLoop, rate, &self.traffic, now);
                self.loops = Some(stream);
            }
        }
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

    /// A packet that was unwrapped with [`Gateway::key_for`]'s key.
    pub fn handle_unwrapped(&mut self, arrival: Arrival, now: Instant) {
        let received_at = arrival.received_at;
        match self.hop.handle_arrival(arrival, now) {
            None => {}
            Some(Taken::ToSession(session, packet, due)) => {
                let to = Peer::Session(session);
                let frame = Frame::Packet(EpochHint(0), packet);
                self.queue(Transmit { to, at: due, frame });
            }
            Some(Taken::Reply(surb, payload)) => self.handle_own_reply(surb, payload),
            Some(Taken::Request(None)) => self.hop.discard(DiscardReason::BadPayload),
            Some(Taken::Request(Some(plaintext))) => {
                self.handle_request(&plaintext, received_at, now);
            }
        }
    }

    fn handle_own_reply(&mut self, surb: SurbId, payload: PayloadBytes) {
        match self.pending.take(&surb) {
            None => self.hop.discard(DiscardReason::UnknownReply),
            Some(waiting) => match F::open_reply(&waiting.recovery, payload) {
                Ok(_) => self.loop_count.returned += 1,
                Err(reason) => self.hop.discard(reason),
            },
        }
    }

    fn handle_request(&mut self, plaintext: &Plaintext, received_at: Instant, now: Instant) {
        let Some(directory) = self.hop.view.current(now).cloned() else {
            self.hop.discard(DiscardReason::NoDirectory);
            return;
        };
        let (surb, delay, request) = match Envelope::decode(plaintext) {
            Ok(envelope) => (envelope.surb, envelope.reply_delay, Some(envelope.request)),
            Err(unreadable) => (unreadable.surb, unreadable.reply_delay, None),
        };
        if delay > directory.parameters.delay_bound() {
            self.hop.discard(DiscardReason::DelayTooLong);
            return;
        }
        let due = received_at + directory.parameters.hop_allowance + delay;
        let Some(request) = request else {
            self.reply(&surb, Answer::Unreadable, due, now);
            return;
        };
        let context = inboxes::Context {
            gateway: self.hop.id(),
            directory: &directory,
            epoch: self.hop.view.epoch_at(now),
            unix: self.hop.view.unix_at(now),
        };
        let outcome = if self.waiting.len() >= STORE_WAITING_MAX {
            Outcome::Answer(Answer::Refused)
        } else {
            match request {
                Request::Cover => Outcome::Answer(Answer::Done),
                Request::Deposit(d) => self.inboxes.deposit(d, context),
                Request::Fetch(f) => self.inboxes.fetch(&f, context),
                Request::Open(o) => self.inboxes.open(&o, context),
                Request::Close(c) => self.inboxes.close(&c, context),
                Request::Directory(d) => {
                    Outcome::Answer(self.directory_part(&d).unwrap_or(Answer::Refused))
                }
            }
        };
        self.forward_store_ops();
        self.settle(outcome, surb, due, now);
    }

    /// Store orders that need no answer (acknowledged cells).
    fn forward_store_ops(&mut self) {
        while let Some(op) = self.inboxes.poll_op() {
            let ticket = self.ticket();
            self.events.push_back(GatewayEvent::Store { ticket, op });
        }
    }

    fn settle(&mut self, outcome: Outcome, surb: SurbBytes, due: Instant, now: Instant) {
        let (ticket, then) = match outcome {
            Outcome::Answer(answer) => return self.reply(&surb, answer, due, now),
            Outcome::Store { op, cell } => {
                let ticket = self.ticket();
                if let Some((key, id)) = cell {
                    self.inboxes.set_ticket(key, id, ticket);
                }
                self.events.push_back(GatewayEvent::Store { ticket, op });
                (ticket, Then::Stored)
            }
            Outcome::AlreadyStoring(ticket) => (ticket, Then::Stored),
            Outcome::Open { op, ttl_secs } => {
                let ticket = self.ticket();
                self.events.push_back(GatewayEvent::Store { ticket, op });
                (ticket, Then::Opened { ttl_secs })
            }
            Outcome::Close { op } => {
                let ticket = self.ticket();
                self.events.push_back(GatewayEvent::Store { ticket, op });
                (ticket, Then::Closed)
            }
            Outcome::Read {
                key,
                sequence,
                cell_id,
                remaining,
            } => {
                let ticket = self.ticket();
                self.events.push_back(GatewayEvent::Read {
                    ticket,
                    key,
                    sequence,
                });
                (ticket, Then::Read { cell_id, remaining })
            }
        };
        self.waiting
            .entry(ticket)
            .or_default()
            .push(Waiter { surb, due, then });
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn directory_part(&self, request: &wire::request::DirectoryRequest) -> Option<Answer> {
        let document = self
            .documents
            .values()
            .find(|d| d.directory.hash() == request.hash)?;
        let mut chunks = document.bytes.chunks(DIRECTORY_CHUNK_LEN);
        let parts = u16::try_from(chunks.len()).ok()?;
        let bytes = chunks.nth(usize::from(request.part))?.to_vec();
        Some(Answer::Directory {
            part: request.part,
            parts,
            bytes,
        })
    }

    /// The store did what [`GatewayEvent::Store`] asked, durably, or could not.
    pub fn handle_stored(&mut self, ticket: u64, durable: bool, now: Instant) {
        self.inboxes.handle_stored(ticket, durable);
        for waiter in self.waiting.remove(&ticket).unwrap_or_default() {
            let answer = match (durable, waiter.then) {
                (false, _) | (true, Then::Read { .. }) => Answer::Refused,
                (true, Then::Stored) => Answer::Stored,
                (true, Then::Opened { ttl_secs }) => Answer::Opened { ttl_secs },
                (true, Then::Closed) => Answer::Done,
            };
            self.reply(&waiter.surb, answer, waiter.due, now);
        }
    }

    /// The store read what [`GatewayEvent::Read`] asked for; `None` when it is not there any more.
    pub fn handle_read(&mut self, ticket: u64, cell: Option<Cell>, now: Instant) {
        for waiter in self.waiting.remove(&ticket).unwrap_or_default() {
            let answer = match (waiter.then, cell.clone()) {
                (Then::Read { cell_id, remaining }, Some(cell)) => Answer::Cell {
                    remaining,
                    cell_id,
                    cell,
                },
                (Then::Read { .. }, None) => Answer::Empty,
                (Then::Stored | Then::Opened { .. } | Then::Closed, _) => Answer::Refused,
            };
            self.reply(&waiter.surb, answer, waiter.due, now);
        }
    }

    /// The one reply to one request, at its moment, or at once where the disk was slower than that.
    fn reply(&mut self, surb: &SurbBytes, answer: Answer, due: Instant, now: Instant) {
        let Some(directory) = self.hop.view.current(now) else {
            self.hop.discard(DiscardReason::NoDirectory);
            return;
        };
        let reply = Reply {
            epoch: directory.epoch,
            directory: directory.hash(),
            answer,
        };
        match F::use_surb(surb, &reply.encode()) {
            Ok((NextHop::Node { id, epoch }, packet)) if self.hop.check_adjacent(&id).is_ok() => {
                let frame = Frame::Packet(epoch, packet);
                self.queue(Transmit {
                    to: Peer::Node(id),
                    at: due,
                    frame,
                });
            }
            Ok(_) => self.hop.discard(DiscardReason::BadSurb),
            Err(reason) => self.hop.discard(reason),
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
        while self.pending.pop_lost(now).is_some() {
            self.loop_count.lost += 1;
        }
        while let Some(tick) = self
            .loops
            .as_mut()
            .and_then(|loops| loops.pop(&self.traffic, now + LOOP_LEAD, now))
        {
            self.send_loop(&tick, now);
        }
        if self.hop.handle_timeout(now, &mut self.keys) {
            self.events
                .push_back(GatewayEvent::PublishKeys(self.hop.public_keys()));
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

    fn send_loop(&mut self, tick: &Tick, now: Instant) {
        let Some(directory) = self.hop.view.current(now).cloned() else {
            return;
        };
        let id = self.hop.id();
        let Some(answering) = echo::draw_gateway(&directory, tick.draws.gateway, Some(id)) else {
            return;
        };
        let ways = Ways::of_gateway(&directory, &tick.draws, answering);
        let asker = Asker {
            address: Address::Node(id),
            key: None,
        };
        let request = Request::Cover;
        let plan = Plan {
            at: tick.at,
            draws: &tick.draws,
            ways: &ways,
            asker,
            request,
        };
        let Ok(built) = echo::build::<F>(&self.hop.view, &directory, plan, &mut self.keys) else {
            return;
        };
        self.queue(Transmit {
            to: Peer::Node(built.to),
            at: tick.at,
            frame: built.frame,
        });
        self.loop_count.sent += 1;
        let (expected, deadline) = (built.expected, built.expected + LOOP_SLACK);
        let waiting = Waiting {
            recovery: built.recovery,
            expected,
            deadline,
            what: (),
        };
        if self.pending.insert(built.surb, waiting).is_some() {
            self.loop_count.lost += 1;
        }
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
        self.events.pop_front()
    }

    /// When to call [`Gateway::handle_timeout`], and what for.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let hop = self.hop.poll_timeout(now);
        let loops = self
            .loops
            .as_ref()
            .map(|l| (l.peek().saturating_sub(LOOP_LEAD), "loop stream"));
        let lost = self.pending.poll_timeout().map(|at| (at, "loop lost"));
        let sessions = self.sessions.poll_timeout().map(|at| (at, "downlink"));
        let sweep = Some((self.next_sweep, "sweep"));
        hop.into_iter()
            .chain(loops)
            .chain(lost)
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
        self.loop_count
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
