//! A client: two Poisson streams of requests that all look alike, and what they carry.
//!
//! A tick's moment, route and delays are drawn before anybody looks into a queue; what waits only
//! decides what the tick *carries* (design §1). Content is fixed and built a constant lead before
//! the tick: [`Client::poll_transmit`] hands the frame out with its moment, and a writer that does
//! nothing else writes it then.
//!
//! Cells are opaque here; who they are from is `crates/messaging`'s business.

mod inboxes;
mod losses;
mod outbox;

pub use losses::{GatewayLosses, Losses};
pub use outbox::{DepositOrder, OpenOrder};

use crate::echo::{self, Address, Asker, Pending, Plan, Waiting, Ways};
use crate::stream::{PoissonStream, TickDraws};
use crate::transmit::{Peer, Transmit};
use crate::view::View;
use directory::{Directory, EpochSchedule};
use inboxes::{FetchPlan, ReadInboxes};
use outbox::{Outbox, Outgoing};
use sphinx::{DiscardReason, Discards, PacketFormat, Unwrapped};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::ids::{CellId, DirectoryHash, Epoch, InboxId, NodeId, SessionAddress};
use wire::request::{Answer, Cell, Place, Reply, Request};
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::{Instant, WallAnchor};

/// Hashes of one step at an admission puzzle: about a millisecond, far below the lead.
const PUZZLE_STEP: u32 = 2_048;

/// Limits of a client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// How epochs follow each other, from `network.toml`.
    pub schedule: EpochSchedule,
    /// Content is fixed and built so long before its tick.
    pub lead: Duration,
    /// Most cells and orders that wait for a tick or a reply; one more is not taken.
    pub outbox_max: usize,
    /// Most inboxes that are read; one more is not taken.
    pub inboxes_max: usize,
    /// Most requests on their way; when full, the one due soonest counts as lost.
    pub pending_max: usize,
    /// A reply that is not back so long after its drawn delays counts as lost: transport, the
    /// downlink's queue and the answering gateway's disk.
    pub reply_slack: Duration,
}

impl ClientConfig {
    /// For a client of one person.
    pub fn new(schedule: EpochSchedule) -> Self {
        Self {
            schedule,
            lead: Duration::from_millis(20),
            outbox_max: 4_096,
            inboxes_max: 1_024,
            pending_max: 4_096,
            reply_slack: Duration::from_secs(3),
        }
    }
}

/// What a client draws its randomness from, and who it is to its gateway.
pub struct ClientSeeds {
    /// Everything an observer can see.
    pub traffic: TrafficRng,
    /// Keys and padding.
    pub keys: KeyRng,
    /// Its address at the entry gateway.
    pub session: SessionAddress,
}

/// For the owner of a client.
#[derive(Clone, PartialEq)]
pub enum ClientEvent {
    /// The cell left on a tick for the first time.
    Mixing(u64),
    /// The gateway has the cell durably.
    Stored(u64),
    /// The gateway refuses the cell: its inbox is unknown, closed or full there.
    Refused(u64),
    /// An inbox stands, for so many seconds.
    Opened(InboxId, u32),
    /// A gateway refuses to open or to read an inbox.
    InboxRefused(InboxId),
    /// A cell for the owner. Keep it, then call [`Client::handle_acknowledge`]; until then it may
    /// come again.
    Cell(InboxId, CellId, Cell),
    /// A gateway goes by another directory of the same epoch than we do.
    SplitView {
        /// Which gateway.
        gateway: NodeId,
        /// Of which epoch.
        epoch: Epoch,
        /// Its directory.
        theirs: DirectoryHash,
    },
    /// Too many of a gateway's replies are missing.
    GatewayLossy(NodeId),
}

/// What a request on its way is for.
enum Errand {
    Cover,
    Loop,
    Send(Outgoing),
    Fetch { inbox: InboxId, acks: Vec<CellId> },
}

struct Echo {
    gateway: NodeId,
    errand: Errand,
}

/// Numbers for the status page.
#[derive(Clone, Debug, Default)]
pub struct ClientCounters {
    /// Requests built, of whatever kind.
    pub sent: u64,
    /// Those of them that carried nothing but cover.
    pub covers: u64,
    /// Ticks that passed with no connection or no directory.
    pub idle_ticks: u64,
    /// Packets from the gateway that died.
    pub discards: Discards,
}

/// Decides what a client does. Inputs: [`Client::handle_directory`], [`Client::handle_connected`],
/// [`Client::handle_packet`], the owner's orders, [`Client::handle_timeout`].
pub struct Client<F: PacketFormat> {
    config: ClientConfig,
    view: View,
    entry: NodeId,
    session: SessionAddress,
    secret: F::Secret,
    traffic: TrafficRng,
    keys: KeyRng,
    connected: bool,
    streams: Option<Streams>,
    outbox: Outbox,
    inboxes: ReadInboxes,
    pending: Pending<F, Echo>,
    losses: Losses,
    counters: ClientCounters,
    /// Set while there is an admission puzzle to work on.
    puzzle_wake: Option<Instant>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ClientEvent>,
}

struct Streams {
    payload: PoissonStream,
    loops: PoissonStream,
}

impl<F: PacketFormat> Client<F> {
    /// A client of the gateway `entry`. Its streams start with its first directory.
    pub fn new(
        config: ClientConfig,
        entry: NodeId,
        anchor: WallAnchor,
        seeds: ClientSeeds,
    ) -> Self {
        let ClientSeeds {
            traffic,
            mut keys,
            session,
        } = seeds;
        Self {
            view: View::new(config.schedule, anchor),
            entry,
            session,
            secret: F::generate(&mut keys),
            traffic,
            keys,
            connected: false,
            streams: None,
            outbox: Outbox::new(config.outbox_max),
            inboxes: ReadInboxes::new(config.inboxes_max),
            pending: Pending::new(config.pending_max),
            losses: Losses::default(),
            counters: ClientCounters::default(),
            puzzle_wake: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            config,
        }
    }

    /// A verified directory.
    pub fn handle_directory(
        &mut self,
        directory: Arc<Directory>,
        anchor: WallAnchor,
        now: Instant,
    ) {
        self.view.set_anchor(anchor);
        let parameters = directory.parameters.clone();
        if !self.view.insert(directory, now) {
            return;
        }
        self.puzzle_wake = Some(now);
        let (payload, loops) = (parameters.payload_rate, parameters.loop_rate);
        match &mut self.streams {
            Some(streams) => {
                streams.payload.set_rate(payload);
                streams.loops.set_rate(loops);
            }
            None => {
                let start = now + self.config.lead;
                let stream = |p, rate| PoissonStream::new(p, rate, &self.traffic, start);
                self.streams = Some(Streams {
                    payload: stream(Purpose::PayloadTick, payload),
                    loops: stream(Purpose::LoopTick, loops),
                });
            }
        }
    }

    /// Another address at the entry gateway, for packets built from now on: the last connection was
    /// down for so long, or the network changed, that the two must not be linked. Replies in flight
    /// to the old address are lost.
    pub fn handle_session(&mut self, session: SessionAddress) {
        self.session = session;
    }

    /// The link to the entry gateway stands. Changes nothing about when ticks come.
    pub fn handle_connected(&mut self, _now: Instant) {
        self.connected = true;
    }

    /// The link is gone. Ticks go on and carry nothing, and what waits, waits.
    pub fn handle_disconnected(&mut self, _now: Instant) {
        self.connected = false;
    }

    /// A cell to deposit. Returns whether there was room for it.
    pub fn handle_deposit(&mut self, order: DepositOrder, _now: Instant) -> bool {
        self.outbox.push(Outgoing::Deposit(Arc::new(order)))
    }

    /// Gives up a deposit that still waits for a tick or a reply.
    pub fn handle_cancel(&mut self, handle: u64) {
        self.outbox.cancel(handle);
    }

    /// An inbox to open (or to prolong), and to read from then on. Returns whether there was room.
    pub fn handle_open(&mut self, order: OpenOrder, now: Instant) -> bool {
        let order = Arc::new(order);
        self.puzzle_wake = Some(now);
        self.inboxes.insert(order.clone()) && self.outbox.push(Outgoing::Open(order))
    }

    /// Reads an inbox no longer and closes it.
    pub fn handle_close(&mut self, inbox: InboxId, _now: Instant) {
        if let Some(order) = self.inboxes.remove(&inbox) {
            self.outbox.cancel_open(&inbox);
            self.outbox.push(Outgoing::Close(order));
        }
    }

    /// The owner has kept a cell; the gateway may forget it.
    pub fn handle_acknowledge(&mut self, inbox: InboxId, cell: CellId) {
        self.inboxes.acknowledge(&inbox, cell);
    }

    /// A packet from the entry gateway.
    pub fn handle_packet(&mut self, packet: &PacketBytes, now: Instant) {
        let (surb, payload) = match F::unwrap(&self.secret, packet) {
            Ok(Unwrapped::Reply { surb, payload, .. }) => (surb, payload),
            Ok(Unwrapped::Forward { .. } | Unwrapped::Request { .. }) => {
                return self.counters.discards.count(DiscardReason::UnknownReply);
            }
            Err(reason) => return self.counters.discards.count(reason),
        };
        // Single use: a second reply by the same reply block finds nothing here.
        let Some(waiting) = self.pending.take(&surb) else {
            return self.counters.discards.count(DiscardReason::UnknownReply);
        };
        let reply = F::open_reply(&waiting.recovery, payload)
            .and_then(|plaintext| Reply::decode(&plaintext).map_err(|_| DiscardReason::BadPayload));
        let Echo { gateway, errand } = waiting.what;
        match reply {
            Ok(reply) => {
                let late = now.saturating_since(waiting.expected);
                self.losses.returned(gateway, late);
                self.check_view(gateway, &reply);
                self.handle_reply(errand, reply.answer);
            }
            Err(reason) => {
                self.counters.discards.count(reason);
                self.give_back(gateway, errand);
            }
        }
    }

    fn check_view(&mut self, gateway: NodeId, reply: &Reply) {
        let ours = self.view.held().find(|d| d.epoch == reply.epoch);
        if ours.is_some_and(|d| d.hash() != reply.directory) {
            let (epoch, theirs) = (reply.epoch, reply.directory);
            self.events.push_back(ClientEvent::SplitView {
                gateway,
                epoch,
                theirs,
            });
        }
    }

    fn handle_reply(&mut self, errand: Errand, answer: Answer) {
        match errand {
            Errand::Cover | Errand::Loop => {}
            Errand::Send(outgoing) => self.handle_send_reply(outgoing, &answer),
            Errand::Fetch { inbox, acks } => match answer {
                Answer::Cell {
                    remaining,
                    cell_id,
                    cell,
                } => {
                    if self.inboxes.fetched(&inbox, Some(cell_id), remaining) {
                        self.events
                            .push_back(ClientEvent::Cell(inbox, cell_id, cell));
                    }
                }
                Answer::Empty => {
                    self.inboxes.fetched(&inbox, None, 0);
                }
                Answer::Refused => {
                    self.inboxes.fetched(&inbox, None, 0);
                    if self.inboxes.refused(&inbox) {
                        self.events.push_back(ClientEvent::InboxRefused(inbox));
                    }
                }
                // No honest gateway answers so; the acknowledgements are said again.
                Answer::Done
                | Answer::Stored
                | Answer::Opened { .. }
                | Answer::Directory { .. }
                | Answer::Unreadable => self.inboxes.fetch_lost(&inbox, acks),
            },
        }
    }

    fn handle_send_reply(&mut self, outgoing: Outgoing, answer: &Answer) {
        let event = match (&outgoing, answer) {
            (Outgoing::Deposit(d), Answer::Stored) => Some(ClientEvent::Stored(d.handle)),
            (Outgoing::Deposit(d), Answer::Refused | Answer::Unreadable) => {
                Some(ClientEvent::Refused(d.handle))
            }
            (Outgoing::Open(o), Answer::Opened { ttl_secs }) => {
                self.inboxes.opened(&o.inbox);
                Some(ClientEvent::Opened(o.inbox, *ttl_secs))
            }
            (Outgoing::Open(o), Answer::Refused | Answer::Unreadable) => {
                Some(ClientEvent::InboxRefused(o.inbox))
            }
            // Closed, or already gone: either way it is.
            (Outgoing::Close(_), Answer::Done | Answer::Refused) => None,
            (Outgoing::Deposit(_) | Outgoing::Open(_) | Outgoing::Close(_), _) => {
                return self.outbox.push_again(outgoing);
            }
        };
        if self.outbox.done(&outgoing) {
            self.events.extend(event);
        }
    }

    /// A deadline of [`Client::poll_timeout`] has come: builds what is due within the lead, takes
    /// back what got no reply.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(Echo { gateway, errand }) = self.pending.pop_lost(now) {
            self.give_back(gateway, errand);
        }
        self.solve_puzzles(now);
        let until = now + self.config.lead;
        while let Some(tick) = self.pop_tick(until, now) {
            let (at, draws, payload) = tick;
            if payload {
                self.payload_tick(at, &draws, now);
            } else {
                self.cover_tick(at, &draws, Errand::Loop, now);
            }
        }
    }

    /// A step of work on admission puzzles; more of it as soon as the owner has time.
    fn solve_puzzles(&mut self, now: Instant) {
        let Some(directory) = self.view.current(now) else {
            self.puzzle_wake = None;
            return;
        };
        let difficulty = directory.parameters.puzzle_difficulty;
        let more = self
            .outbox
            .solve(self.view.epoch_at(now), difficulty, PUZZLE_STEP);
        self.puzzle_wake = more.then_some(now);
    }

    /// The sooner tick of the two streams; at a tie the payload stream's.
    fn pop_tick(&mut self, until: Instant, now: Instant) -> Option<(Instant, TickDraws, bool)> {
        let streams = self.streams.as_mut()?;
        let payload_first = streams.payload.peek() <= streams.loops.peek();
        let stream = if payload_first {
            &mut streams.payload
        } else {
            &mut streams.loops
        };
        let tick = stream.pop(&self.traffic, until, now)?;
        Some((tick.at, tick.draws, payload_first))
    }

    fn payload_tick(&mut self, at: Instant, draws: &TickDraws, now: Instant) {
        let Some(directory) = self.ready(now) else {
            return;
        };
        let entry = self.entry;
        let reachable = |gateway: &NodeId| reachable(&directory, &entry, gateway);
        if draws.coin {
            if let Some(outgoing) = self.outbox.pop(reachable) {
                return self.send_tick(at, draws, outgoing, &directory);
            }
        } else if let Some(plan) = self.inboxes.pick(draws.inbox, reachable) {
            return self.fetch_tick(at, draws, plan, &directory);
        }
        self.cover_tick(at, draws, Errand::Cover, now);
    }

    fn send_tick(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        outgoing: Outgoing,
        directory: &Arc<Directory>,
    ) {
        let gateway = outgoing.gateway();
        let place = Place {
            network: &directory.network,
            gateway: &gateway,
        };
        let request = self.outbox.request(&outgoing, place);
        if let Outgoing::Deposit(deposit) = &outgoing
            && self.outbox.first_time(deposit.handle)
        {
            self.events.push_back(ClientEvent::Mixing(deposit.handle));
        }
        self.emit(
            at,
            draws,
            gateway,
            Errand::Send(outgoing),
            request,
            directory,
        );
    }

    fn fetch_tick(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        plan: FetchPlan,
        directory: &Arc<Directory>,
    ) {
        let FetchPlan { order, skip, acks } = plan;
        let place = Place {
            network: &directory.network,
            gateway: &order.gateway,
        };
        let request = Request::Fetch(order.fetch(place, skip, &acks));
        let errand = Errand::Fetch {
            inbox: order.inbox,
            acks,
        };
        self.emit(at, draws, order.gateway, errand, request, directory);
    }

    fn cover_tick(&mut self, at: Instant, draws: &TickDraws, errand: Errand, now: Instant) {
        let Some(directory) = self.ready(now) else {
            return;
        };
        let Some(gateway) = echo::draw_gateway(&directory, draws.gateway, Some(self.entry)) else {
            return;
        };
        self.counters.covers += 1;
        self.emit(at, draws, gateway, errand, Request::Cover, &directory);
    }

    /// The directory to build by, if there is anybody to send to.
    fn ready(&mut self, now: Instant) -> Option<Arc<Directory>> {
        let directory = self.view.current(now).filter(|_| self.connected).cloned();
        if directory.is_none() {
            self.counters.idle_ticks += 1;
        }
        directory
    }

    fn emit(
        &mut self,
        at: Instant,
        draws: &TickDraws,
        gateway: NodeId,
        errand: Errand,
        request: Request,
        directory: &Arc<Directory>,
    ) {
        let ways = Ways::of_client(directory, draws, self.entry, gateway);
        let address = Address::Session(self.session.clone());
        let asker = Asker {
            address,
            key: Some(F::public(&self.secret)),
        };
        let plan = Plan {
            at,
            draws,
            ways: &ways,
            asker,
            request,
        };
        let Ok(built) = echo::build::<F>(&self.view, directory, plan, &mut self.keys) else {
            // The directory lacks our own entry gateway, or a key in it is no key.
            self.counters.idle_ticks += 1;
            return self.put_back(errand);
        };
        self.counters.sent += 1;
        self.losses.sent(gateway);
        let to = Peer::Node(built.to);
        self.transmits.push_back(Transmit {
            to,
            at,
            frame: built.frame,
        });
        let (expected, deadline) = (built.expected, built.expected + self.config.reply_slack);
        let what = Echo { gateway, errand };
        let waiting = Waiting {
            recovery: built.recovery,
            expected,
            deadline,
            what,
        };
        if let Some(Echo { gateway, errand }) = self.pending.insert(built.surb, waiting) {
            self.give_back(gateway, errand);
        }
    }

    /// A request that got no reply: count it, and let its content wait for another tick.
    fn give_back(&mut self, gateway: NodeId, errand: Errand) {
        if self.losses.lost(gateway) {
            self.events.push_back(ClientEvent::GatewayLossy(gateway));
        }
        self.put_back(errand);
    }

    fn put_back(&mut self, errand: Errand) {
        match errand {
            Errand::Cover | Errand::Loop => {}
            Errand::Send(outgoing) => self.outbox.push_again(outgoing),
            Errand::Fetch { inbox, acks } => self.inboxes.fetch_lost(&inbox, acks),
        }
    }

    /// A frame with its moment.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Something for the owner.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When to call [`Client::handle_timeout`], and what for.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let lead = self.config.lead;
        let streams = self.streams.iter().flat_map(|s| {
            [
                (s.payload.peek(), "payload stream"),
                (s.loops.peek(), "loop stream"),
            ]
        });
        let ticks = streams.map(|(at, label)| (at.saturating_sub(lead), label));
        ticks
            .chain(self.puzzle_wake.map(|at| (at, "admission puzzle")))
            .chain(self.pending.poll_timeout().map(|at| (at, "reply lost")))
            .min()
    }

    /// The entry gateway.
    pub fn entry(&self) -> NodeId {
        self.entry
    }

    /// Its address at the entry gateway.
    pub fn session(&self) -> &SessionAddress {
        &self.session
    }

    /// Directories that are held.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Replies that came, came late and did not come, by gateway.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Numbers for the status page.
    pub fn counters(&self) -> &ClientCounters {
        &self.counters
    }

    /// Cells and orders that wait for a tick, and those on their way.
    pub fn outbox_len(&self) -> (usize, usize) {
        (self.outbox.waiting(), self.outbox.on_their_way())
    }

    /// Inboxes that are read, and those of them that stand.
    pub fn inboxes_len(&self) -> (usize, usize) {
        self.inboxes.len()
    }
}

/// No request for content ever goes to the own entry gateway: it would see both ends.
fn reachable(directory: &Directory, entry: &NodeId, gateway: &NodeId) -> bool {
    gateway != entry
        && matches!(
            directory.position(gateway),
            Some(directory::Position::Gateway { .. })
        )
}
