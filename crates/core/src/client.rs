//! A client: two Poisson streams of requests that all look alike, and what they carry.
//!
//! A tick's moment, route and delays are drawn before anybody looks into a queue; what waits only
//! decides what the tick *carries* (design §1). Content is fixed and built a constant lead before
//! the tick: [`Client::poll_transmit`] hands the frame out with its moment, and a writer that does
//! nothing else writes it then.
//!
//! Cells are opaque here; who they are from is `crates/messaging`'s business.

mod flows;
mod inboxes;
mod lateness;
mod losses;
mod outbox;
mod replies;
mod schedule;
mod ticks;
mod views;

pub use flows::{Flow, FlowClass};
pub use losses::{GatewayLosses, Losses};
pub use outbox::{DepositOrder, FetchClass, OpenOrder};
pub use schedule::{FetchNumbers, grid};

use crate::echo::Pending;
use crate::latency;
use crate::stream::PoissonStream;
use crate::transmit::Transmit;
use crate::view::View;
use directory::{Directory, EpochSchedule, SignedDirectory};
use inboxes::ReadInboxes;
use lateness::Lateness;
use outbox::{Outbox, Outgoing};
use sphinx::{Discards, PacketFormat};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use views::OtherViews;
use wire::frame::PART_LEN;
use wire::ids::{CellId, DirectoryHash, Epoch, InboxId, NodeId, SessionAddress};
use wire::request::Cell;
use wire::rng::{KeyRng, Purpose, TrafficRng};
use wire::time::{Instant, WallAnchor};

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
    /// What all links of a round trip take together at most; less, once replies were measured. With what
    /// the rates imply for the downlink's queue ([`latency::reply_slack`]), a reply that is not back so
    /// long after its drawn delays counts as lost.
    pub transport: Duration,
    /// An inbox' class changes, and places become fewer, at a moment drawn between these.
    pub class_change: (Duration, Duration),
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
            transport: Duration::from_secs(2),
            class_change: (Duration::from_secs(3_600), Duration::from_secs(6 * 3_600)),
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
    /// A gateway goes by another directory of the same epoch than we do. Its document is fetched from it.
    SplitView {
        /// Which gateway.
        gateway: NodeId,
        /// Of which epoch.
        epoch: Epoch,
        /// Its directory.
        theirs: DirectoryHash,
    },
    /// The document that such a gateway goes by; nobody has looked at its signatures. Together with ours it
    /// may be a proof: then call [`Client::handle_proven`].
    OtherDirectory {
        /// Who goes by it.
        gateway: NodeId,
        /// Of which epoch.
        epoch: Epoch,
        /// It.
        document: SignedDirectory,
    },
    /// Such a gateway does not show what it goes by.
    SplitUnproven {
        /// Which gateway.
        gateway: NodeId,
        /// Of which epoch.
        epoch: Epoch,
    },
    /// A gateway answers far less than the others do. From now on it is asked no more often than
    /// cover would ask it.
    GatewayFailing(NodeId),
    /// A gateway that was failing answers again.
    GatewayBack(NodeId),
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
    /// Over which connection it left.
    connection: u64,
}

/// Numbers for the status page.
#[derive(Clone, Debug, Default)]
pub struct ClientCounters {
    /// Requests built, of whatever kind.
    pub sent: u64,
    /// Those of them that carried nothing but cover.
    pub covers: u64,
    /// Those that carried a cell or an order about an inbox.
    pub sends: u64,
    /// Those that asked an inbox.
    pub fetches: u64,
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
    /// Counts connections.
    connection: u64,
    streams: Option<Streams>,
    outbox: Outbox,
    inboxes: ReadInboxes,
    pending: Pending<F, Echo>,
    /// What counts as lost and may yet come: an overloaded network is late, and would get nothing
    /// done if all that is late had to be done again.
    overdue: Pending<F, Echo>,
    /// [`latency::reply_slack`] without what links take.
    queue_slack: Duration,
    lateness: Lateness,
    losses: Losses,
    others: OtherViews,
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
            connection: 0,
            streams: None,
            outbox: Outbox::new(config.outbox_max),
            inboxes: ReadInboxes::new(&config),
            pending: Pending::new(config.pending_max),
            overdue: Pending::new(config.pending_max),
            queue_slack: Duration::ZERO,
            lateness: Lateness::default(),
            losses: Losses::default(),
            others: OtherViews::default(),
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
        let length = directory.encode_body().len();
        if !self.view.insert(directory, now) {
            return;
        }
        self.forget_views(self.view.epoch_at(now).previous());
        let parts = length.div_ceil(PART_LEN);
        self.queue_slack = latency::reply_slack(&parameters, parts, Duration::ZERO);
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

    /// Another entry gateway, for packets built from now on. Replies through the old one are lost,
    /// and what they were for waits for other ticks.
    pub fn handle_entry(&mut self, entry: NodeId) {
        self.entry = entry;
    }

    /// The link to the entry gateway stands. Changes nothing about when ticks come.
    pub fn handle_connected(&mut self, _now: Instant) {
        self.connected = true;
        self.connection += 1;
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
        let known = self.inboxes.insert(order.clone(), now, &mut self.keys);
        known && self.outbox.push(Outgoing::Open(order))
    }

    /// An inbox is to be asked as often as another class. Applied after random hours, so that a
    /// gateway cannot tell when a person changed their mind, nor couple two inboxes by it.
    pub fn handle_class(&mut self, inbox: InboxId, class: FetchClass, now: Instant) {
        self.inboxes.set_class(inbox, class, now, &mut self.keys);
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

    /// A deadline of [`Client::poll_timeout`] has come: builds what is due within the lead, takes
    /// back what got no reply.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.overdue.pop_lost(now).is_some() {}
        while let Some((surb, waiting)) = self.pending.pop_overdue(now) {
            self.give_back(surb, waiting, now);
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

    /// What each class of inboxes can expect; `None` before the first directory.
    pub fn fetch_numbers(&self, now: Instant) -> Option<[FetchNumbers; 3]> {
        let directory = self.view.current(now)?;
        Some(self.inboxes.numbers(&directory.parameters))
    }

    /// Inboxes that are read, and those of them that stand.
    pub fn inboxes_len(&self) -> (usize, usize) {
        self.inboxes.len()
    }
}
