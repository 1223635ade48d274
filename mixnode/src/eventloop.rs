//! The mix' one loop: it alone touches the machine.
//!
//! Everything else is a task with a bounded channel to or from here: the threads that unwrap (readers
//! give packets straight to them), the follower of directories, links to the next layer. Under load a
//! turn takes all that came in a fifth of a millisecond (`runtime::pace`). `gateway/src/eventloop.rs`
//! has the same steps.

use crate::config::Config;
use crate::test_loss::TestLoss;
use directory::Role;
use mizzle_core::Peer;
use mizzle_core::gateway::DirectoryDocument;
use mizzle_core::hop::{Arrival, HopConfig, Kept};
use mizzle_core::mix::{Mix, MixEvent};
use prometheus_client::registry::Registry;
use runtime::node::NodeError;
use runtime::node::board::{self, Board, COPY_PERIOD, Sample};
use runtime::node::command::loop_runtime;
use runtime::node::directories::Publisher;
use runtime::node::foundation::{Foundation, SelfDescription};
use runtime::node::keeper::Keeper;
use runtime::node::listener::{announced, bind_all};
use runtime::node::neighbours::Neighbours;
use runtime::node::readers::Readers;
use runtime::node::surroundings::{ARRIVALS_MAX, LinkLimits, Surroundings};
use runtime::outbound::OutboundEvent;
use runtime::pace::Pace;
use runtime::shutdown::Shutdown;
use runtime::stages::{Stage, Stages, ThreadMeter};
use runtime::timer::PreciseTimer;
use runtime::unwrap_pool::UnwrapPool;
use sphinx::{DiscardReason, Sphinx};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wire::time::Instant;

/// Inputs of one kind that are taken in one turn, so that no kind starves another. One of unwrapped
/// packets is a batch of up to sixteen.
const BUDGET: usize = 64;

/// The machine and everything it speaks through.
struct Node {
    foundation: Foundation,
    about: SelfDescription,
    mix: Mix<Sphinx>,
    pool: UnwrapPool<Sphinx>,
    neighbours: Neighbours,
    publisher: Publisher,
    board: Board,
    keeper: Keeper,
    loss: Option<TestLoss>,
    meter: ThreadMeter,
}

/// Where inputs come from.
struct Inputs {
    unwrapped: mpsc::Receiver<Vec<Arrival>>,
    documents: mpsc::Receiver<DirectoryDocument>,
    links: mpsc::Receiver<OutboundEvent>,
    kept: mpsc::Receiver<Kept>,
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
    tracing::info!("the mixnode runs");
    loop {
        let deadline = node.deadline();
        // 1. Wait for inputs or for the machine's deadline, rest if the last turn was just now; then
        //    hand all inputs that came to the machine.
        tokio::select! {
            () = &mut stop => break,
            result = timer.sleep_until(deadline) => result?,
            Some(arrivals) = inputs.unwrapped.recv() => node.on_unwrapped(arrivals),
            Some(kept) = inputs.kept.recv() => node.mix.handle_kept(kept),
            Some(document) = inputs.documents.recv() => node.on_document(document),
            Some(event) = inputs.links.recv() => node.on_link(event),
            _ = copy.tick() => node.copy_counts(),
        }
        pace.rest(node.pool.door().is_crowded());
        for _ in 0..BUDGET {
            let Ok(arrivals) = inputs.unwrapped.try_recv() else {
                break;
            };
            node.on_unwrapped(arrivals);
        }
        for _ in 0..BUDGET {
            let Ok(kept) = inputs.kept.try_recv() else {
                break;
            };
            node.mix.handle_kept(kept);
        }
        // 2. Its deadline, if that has come, whatever woke the loop.
        let now = node.foundation.clock.now();
        if node.deadline() <= now {
            node.mix.handle_timeout(now);
        }
        // 3. Events for us, and keys for those who unwrap.
        while let Some(event) = node.mix.poll_event() {
            node.on_event(event);
        }
        if let Some(table) = node.mix.poll_key_table(now) {
            node.pool.set_table(table);
        }
        // 4. Frames for the links.
        node.transmit();
        // 5. The timer is armed from `deadline` at the top.
    }
    tracing::info!("the mixnode stops");
    node.stop().await;
    Ok(())
}

async fn start(
    config: &Config,
    mut foundation: Foundation,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> Result<(Node, Inputs), NodeError> {
    let settings = config.settings();
    let (clock, id) = (foundation.clock, foundation.id());
    let network = foundation.network.clone();
    // Listeners first: a port in use ends the start before anything else is done.
    let listeners = bind_all(&config.listen).await?;
    let about = SelfDescription {
        role: Role::Mix,
        operator: config.operator.clone(),
        addresses: announced(&config.announce, &listeners)?,
        client_addresses: Vec::new(),
    };
    let mut registry = Registry::default();
    let stages = Stages::default();
    let board = Board::new("mixnode", &id, &mut registry, &stages, clock.now());
    let tags_max = config.limits.replay_tags;
    let hurry = settings.hurrying();
    let opened = Keeper::open(&foundation, tags_max, &stages, &mut registry, hurry)?;
    board::start(config.metrics, registry, &board, shutdown, tasks).await?;
    let mut hop = HopConfig::new(id, network.schedule());
    hop.delay_queue_max = config.limits.delay_queue;
    hop.replay_tags_max = tags_max;
    let entropy = &mut foundation.entropy;
    let (traffic, keys) = (entropy.traffic_rng()?, entropy.key_rng()?);
    let mix = Mix::new(hop, opened.keys, clock.anchor(), traffic, keys, clock.now());
    let (unwrapped_tx, unwrapped) = mpsc::channel(ARRIVALS_MAX);
    let threads = settings.pool(config.limits.unwrap_queue, clock, &stages)?;
    let pool = UnwrapPool::start(threads, unwrapped_tx)?;
    let limits = LinkLimits {
        connections: config.limits.connections,
        link_queue: config.limits.link_queue,
    };
    let meter = stages.thread(Stage::Decide);
    let readers = Readers::start(settings.hurrying())?;
    let ways = (pool.door().lanes(), stages, readers);
    let around = Surroundings::start(&mut foundation, listeners, limits, ways, shutdown, tasks)?;
    let (dir, entropy) = (&foundation.dir, &mut foundation.entropy);
    let loss = config.test_loss.map(|p| TestLoss::new(p, dir, entropy));
    let loss = loss.transpose()?;
    let node = Node {
        foundation,
        about,
        mix,
        pool,
        neighbours: around.neighbours,
        publisher: around.publisher,
        board,
        keeper: opened.keeper,
        loss,
        meter,
    };
    let inputs = Inputs {
        unwrapped,
        documents: around.documents,
        links: around.links,
        kept: opened.answers,
    };
    Ok((node, inputs))
}

impl Node {
    fn now(&self) -> Instant {
        self.foundation.clock.now()
    }

    /// When the machine wants to be woken; it always has a next rotation of keys.
    fn deadline(&self) -> Instant {
        let now = self.now();
        let next = self.mix.poll_timeout(now);
        next.map_or(now + COPY_PERIOD, |(at, _)| at)
    }

    fn on_unwrapped(&mut self, arrivals: Vec<Arrival>) {
        let now = self.now();
        for arrival in arrivals {
            if self.loss.as_mut().is_some_and(TestLoss::takes) {
                self.mix.discard(DiscardReason::TestLoss);
            } else {
                self.mix.handle_unwrapped(arrival, now);
            }
        }
    }

    fn on_document(&mut self, document: DirectoryDocument) {
        let anchor = self.foundation.clock.anchor();
        self.mix
            .handle_directory(document.directory, anchor, anchor.instant);
        self.neighbours.update(&self.mix.hop().view);
        if self.mix.hop().position(anchor.instant).is_none() {
            tracing::info!("this node is not in the directory (yet)");
        }
        self.copy_counts();
    }

    fn on_link(&mut self, event: OutboundEvent) {
        match event {
            OutboundEvent::Up(node) => tracing::debug!(%node, "a link stands"),
            OutboundEvent::Down { node, error, lost } => {
                tracing::debug!(%node, %error, lost, "a link is down");
                (0..lost).for_each(|_| self.mix.discard(DiscardReason::LinkFull));
            }
        }
        self.copy_counts();
    }

    fn on_event(&mut self, event: MixEvent) {
        match event {
            MixEvent::Keep(order) => {
                if let Some(kept) = self.keeper.give(order) {
                    self.mix.handle_kept(kept);
                }
            }
            MixEvent::Report(report) => self.publisher.report(report),
            MixEvent::PublishKeys(keys) => {
                let identity = &self.foundation.identity;
                self.publisher.publish(self.about.with_keys(identity, keys));
            }
        }
    }

    fn transmit(&mut self) {
        let now = self.now();
        while let Some(transmit) = self.mix.poll_transmit() {
            let given = match transmit.to {
                Peer::Node(node) => self.neighbours.try_send(&node, transmit.frame).is_ok(),
                // The machine of a mix has no sessions.
                Peer::Session(_) => false,
            };
            if given {
                self.board.sent(now - transmit.at);
            } else {
                self.mix.discard(DiscardReason::LinkFull);
            }
        }
        self.neighbours.flush(&mut self.meter);
    }

    fn copy_counts(&mut self) {
        self.meter.settle();
        self.loss.iter_mut().for_each(TestLoss::look);
        self.mix.handle_intake(&self.pool.door().take_counts());
        let (hop, now) = (self.mix.hop(), self.foundation.clock.now());
        let sample = Sample {
            hop,
            loops: self.mix.loop_count(),
            alarm: self.mix.loop_alarm(),
            links: self.neighbours.up(),
            unwrap_queued: self.pool.door().queued(),
            tags_failing: self.keeper.is_failing(),
            more: self.publisher.status(hop, now),
        };
        self.board.copy(sample, now);
    }

    /// What is queued for links still leaves; what waits out its delay is lost.
    async fn stop(self) {
        tokio::join!(self.neighbours.close(), self.keeper.close());
        let pool = self.pool;
        let _ = tokio::task::spawn_blocking(move || pool.close()).await;
    }
}
