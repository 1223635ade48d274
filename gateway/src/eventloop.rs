//! The gateway's one loop: it alone touches the machine.
//!
//! Everything else is a task or thread with a bounded channel to or from here: the threads that unwrap
//! (readers give packets straight to them), the follower of directories, links to the first layer,
//! clients' connections and the writer of their downlinks, the store. Under load a turn takes all that
//! came in a fifth of a millisecond (`runtime::pace`). `mixnode/src/eventloop.rs` has the same steps.

use crate::allowance::Allowance;
use crate::clients::ClientEvent;
use crate::config::Config;
use crate::downlink::{Downlink, Slot};
use crate::inboxes::{Answers, Orders};
use crate::metrics::GatewayMetrics;
use crate::start::start;
use mizzle_core::Peer;
use mizzle_core::gateway::{DirectoryDocument, Gateway, GatewayEvent};
use mizzle_core::hop::{Arrival, Kept};
use runtime::node::NodeError;
use runtime::node::board::{Board, COPY_PERIOD, Sample};
use runtime::node::command::loop_runtime;
use runtime::node::directories::Publisher;
use runtime::node::foundation::{Foundation, SelfDescription};
use runtime::node::keeper::Keeper;
use runtime::node::neighbours::Neighbours;
use runtime::outbound::OutboundEvent;
use runtime::pace::Pace;
use runtime::shutdown::Shutdown;
use runtime::stages::ThreadMeter;
use runtime::timer::PreciseTimer;
use runtime::unwrap_pool::UnwrapPool;
use sphinx::{DiscardReason, Sphinx};
use std::collections::BTreeMap;
use store::{Done as Stored, Job};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wire::frame::FrameBytes;
use wire::ids::SessionAddress;
use wire::time::Instant;

/// Inputs of one kind that are taken in one turn, so that no kind starves another. One of unwrapped
/// packets is a batch of up to sixteen.
const BUDGET: usize = 64;

/// The machine and everything it speaks through.
pub(crate) struct Node {
    pub(crate) foundation: Foundation,
    pub(crate) about: SelfDescription,
    pub(crate) gateway: Gateway<Sphinx>,
    pub(crate) pool: UnwrapPool<Sphinx>,
    pub(crate) neighbours: Neighbours,
    pub(crate) publisher: Publisher,
    pub(crate) board: Board,
    pub(crate) keeper: Keeper,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) orders: Orders,
    /// Connected clients; at most as many as the machine lets in.
    pub(crate) clients: BTreeMap<SessionAddress, (u64, Downlink)>,
    pub(crate) slots: mpsc::Sender<Slot>,
    pub(crate) allowance: Allowance,
    pub(crate) meter: ThreadMeter,
}

/// Where inputs come from.
pub(crate) struct Inputs {
    pub(crate) clients: mpsc::Receiver<ClientEvent>,
    pub(crate) answers: Answers,
    pub(crate) unwrapped: mpsc::Receiver<Vec<Arrival>>,
    pub(crate) documents: mpsc::Receiver<DirectoryDocument>,
    pub(crate) links: mpsc::Receiver<OutboundEvent>,
    pub(crate) kept: mpsc::Receiver<Kept>,
}

/// Runs until `shutdown`: the loop on this thread, everything else on `io`.
pub fn run(
    config: &Config,
    foundation: Foundation,
    shutdown: Shutdown,
    io: &Handle,
) -> Result<(), NodeError> {
    let mut tasks = JoinSet::new();
    let (node, inputs) = io.block_on(start(config, foundation, &shutdown, &mut tasks))?;
    let pace = config.settings().pace(node.foundation.clock)?;
    // Last of all: threads that were started before are not urgent.
    config.settings().hurry_loop();
    loop_runtime()?.block_on(turn(node, inputs, pace, &shutdown))?;
    io.block_on(tasks.shutdown());
    Ok(())
}

async fn turn(
    mut node: Node,
    mut inputs: Inputs,
    mut pace: Pace,
    shutdown: &Shutdown,
) -> Result<(), NodeError> {
    let mut timer = PreciseTimer::new(node.foundation.clock)?;
    let mut copy = tokio::time::interval(COPY_PERIOD);
    copy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = shutdown.wait();
    tokio::pin!(stop);
    tracing::info!("the gateway runs");
    loop {
        let deadline = node.deadline();
        // 1. Wait for inputs or for the machine's deadline, rest if the last turn was just now; then
        //    hand all inputs that came to the machine.
        tokio::select! {
            () = &mut stop => break,
            result = timer.sleep_until(deadline) => result?,
            Some(arrivals) = inputs.unwrapped.recv() => node.on_unwrapped(arrivals),
            Some(kept) = inputs.kept.recv() => node.on_kept(kept),
            Some(answer) = inputs.answers.recv() => node.on_stored(answer),
            Some(event) = inputs.clients.recv() => node.on_client(event),
            Some(document) = inputs.documents.recv() => node.on_document(document),
            Some(event) = inputs.links.recv() => node.on_link(event),
            _ = copy.tick() => node.copy_counts(),
        }
        pace.rest(node.pool.door().is_crowded());
        node.take_more(&mut inputs);
        node.check_store()?;
        // 2. Its deadline, if that has come, whatever woke the loop.
        let now = node.foundation.clock.now();
        if node.deadline() <= now {
            node.gateway.handle_timeout(now);
        }
        // 3. Events for us, and keys for those who unwrap.
        while let Some(event) = node.gateway.poll_event() {
            node.on_event(event);
        }
        if let Some(table) = node.gateway.poll_key_table(now) {
            node.pool.set_table(table);
        }
        // 4. Frames for links and sessions.
        node.transmit();
        // 5. The timer is armed from `deadline` at the top.
    }
    tracing::info!("the gateway stops");
    node.stop().await
}

pub(crate) fn ended(error: impl std::fmt::Display) -> NodeError {
    NodeError::Ended(error.to_string())
}

impl Node {
    fn now(&self) -> Instant {
        self.foundation.clock.now()
    }

    /// When the machine wants to be woken; it always has a next sweep.
    fn deadline(&self) -> Instant {
        let now = self.now();
        let next = self.gateway.poll_timeout(now);
        next.map_or(now + COPY_PERIOD, |(at, _)| at)
    }

    /// What is there of the kinds that come in numbers.
    fn take_more(&mut self, inputs: &mut Inputs) {
        for _ in 0..BUDGET {
            let Ok(arrivals) = inputs.unwrapped.try_recv() else {
                break;
            };
            self.on_unwrapped(arrivals);
        }
        for _ in 0..BUDGET {
            let Ok(kept) = inputs.kept.try_recv() else {
                break;
            };
            self.on_kept(kept);
        }
        for _ in 0..BUDGET {
            let Ok(answer) = inputs.answers.try_recv() else {
                break;
            };
            self.on_stored(answer);
        }
        for _ in 0..BUDGET {
            let Ok(event) = inputs.clients.try_recv() else {
                break;
            };
            self.on_client(event);
        }
    }

    fn on_unwrapped(&mut self, arrivals: Vec<Arrival>) {
        let now = self.now();
        for arrival in arrivals {
            self.gateway.handle_unwrapped(arrival, now);
        }
    }

    fn on_kept(&mut self, kept: Kept) {
        self.gateway.handle_kept(kept, self.now());
    }

    fn on_document(&mut self, document: DirectoryDocument) {
        let anchor = self.foundation.clock.anchor();
        self.gateway
            .handle_directory(document, anchor, anchor.instant);
        self.neighbours.update(&self.gateway.hop().view);
        if self.gateway.hop().position(anchor.instant).is_none() {
            tracing::info!("this node is not in the directory (yet)");
        }
        self.copy_counts();
    }

    fn on_link(&mut self, event: OutboundEvent) {
        match event {
            OutboundEvent::Up(node) => tracing::debug!(%node, "a link stands"),
            OutboundEvent::Down { node, error, lost } => {
                tracing::debug!(%node, %error, lost, "a link is down");
                (0..lost).for_each(|_| self.gateway.discard(DiscardReason::LinkFull));
            }
        }
        self.copy_counts();
    }

    fn on_client(&mut self, event: ClientEvent) {
        let now = self.now();
        match event {
            ClientEvent::Connected {
                session,
                connection,
                downlink,
            } => {
                if !self.gateway.handle_connected(session.clone(), now) {
                    downlink.close();
                } else if let Some((_, older)) =
                    self.clients.insert(session, (connection, downlink))
                {
                    older.close();
                }
            }
            ClientEvent::Disconnected {
                session,
                connection,
            } => {
                // An older connection of the same session has nothing to end any more.
                if self
                    .clients
                    .get(&session)
                    .is_some_and(|(c, _)| *c == connection)
                {
                    self.clients.remove(&session);
                    self.gateway.handle_disconnected(&session, now);
                }
            }
        }
    }

    fn on_stored(&mut self, answer: Stored) {
        let now = self.now();
        match answer {
            Stored::Applied { ticket } => {
                if let Some(after) = self.orders.answered(ticket, now) {
                    self.metrics.committed(after);
                }
                self.gateway.handle_stored(ticket, true, now);
            }
            Stored::Read { ticket, cell } => {
                self.orders.answered(ticket, now);
                self.gateway.handle_read(ticket, cell, now);
            }
            Stored::Failed { ticket } => {
                self.orders.answered(ticket, now);
                self.gateway.handle_stored(ticket, false, now);
            }
        }
    }

    /// A store that stopped acknowledges nothing any more; a new start reads what is on the disk.
    fn check_store(&self) -> Result<(), NodeError> {
        match self.orders.failure() {
            Some(failure) => Err(ended(format!("the inboxes stopped: {failure}"))),
            None => Ok(()),
        }
    }

    fn on_event(&mut self, event: GatewayEvent) {
        let now = self.now();
        match event {
            GatewayEvent::Keep(order) => {
                if let Some(kept) = self.keeper.give(order) {
                    self.gateway.handle_kept(kept, now);
                }
            }
            GatewayEvent::Report(report) => self.publisher.report(report),
            GatewayEvent::PublishKeys(keys) => {
                let identity = &self.foundation.identity;
                self.publisher.publish(self.about.with_keys(identity, keys));
            }
            GatewayEvent::Store { ticket, op } => {
                if !self.orders.give(ticket, Job::Apply { ticket, op }, now) {
                    self.gateway.handle_stored(ticket, false, now);
                }
            }
            GatewayEvent::Read {
                ticket,
                key,
                sequence,
            } => {
                if !self.orders.give(
                    ticket,
                    Job::Read {
                        ticket,
                        key,
                        sequence,
                    },
                    now,
                ) {
                    self.gateway.handle_stored(ticket, false, now);
                }
            }
            GatewayEvent::Expire(unix) => self.orders.expire(unix),
        }
    }

    fn transmit(&mut self) {
        let now = self.now();
        while let Some(transmit) = self.gateway.poll_transmit() {
            let given = match transmit.to {
                Peer::Node(node) => {
                    let given = self.neighbours.try_send(&node, transmit.frame).is_ok();
                    if given {
                        self.board.sent(now - transmit.at);
                    }
                    given
                }
                Peer::Session(session) => {
                    self.fill_slot(&session, transmit.at, transmit.frame.encode())
                }
            };
            if !given {
                self.gateway.discard(DiscardReason::LinkFull);
            }
        }
        self.neighbours.flush(&mut self.meter);
    }

    fn fill_slot(&self, session: &SessionAddress, at: Instant, frame: FrameBytes) -> bool {
        let Some((_, to)) = self.clients.get(session) else {
            return false;
        };
        let slot = Slot {
            at,
            to: to.clone(),
            frame,
        };
        let given = self.slots.try_send(slot).is_ok();
        if !given {
            to.close();
        }
        given
    }

    fn copy_counts(&mut self) {
        self.meter.settle();
        let now = self.now();
        if let Some(directory) = self.gateway.hop().view.current(now) {
            self.allowance.follow(&directory.parameters);
        }
        self.gateway.handle_intake(&self.pool.door().take_counts());
        let sessions = self.gateway.sessions_connected();
        let (inboxes, cells) = self.gateway.kept();
        let mut more = serde_json::Map::new();
        let shown = [
            ("sessions", sessions, &self.metrics.sessions),
            ("inboxes", inboxes, &self.metrics.inboxes),
            ("cells", cells, &self.metrics.cells),
        ];
        for (name, count, gauge) in shown {
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            more.insert(name.into(), count.into());
        }
        more.insert("inboxes_store".into(), self.orders.health().into());
        let hop = self.gateway.hop();
        more.extend(self.publisher.status(hop, now));
        let sample = Sample {
            hop,
            loops: self.gateway.loop_count(),
            alarm: self.gateway.loop_alarm(),
            links: self.neighbours.up(),
            unwrap_queued: self.pool.door().queued(),
            tags_failing: self.keeper.is_failing(),
            more,
        };
        self.board.copy(sample, self.foundation.clock.now());
    }

    /// What was ordered becomes durable, what is queued for links still leaves; what waits out its
    /// delay is lost.
    async fn stop(self) -> Result<(), NodeError> {
        let Self {
            neighbours,
            pool,
            orders,
            keeper,
            ..
        } = self;
        let ((), (), closed) = tokio::join!(neighbours.close(), keeper.close(), orders.close());
        let _ = tokio::task::spawn_blocking(move || pool.close()).await;
        closed
    }
}
