//! The mix' one loop: it alone touches the machine.
//!
//! Everything else is a task with a bounded channel to or from here: readers and the threads that
//! unwrap, the follower of directories, links to the next layer. `gateway/src/eventloop.rs` has the
//! same steps.

use crate::config::Config;
use crate::test_loss::TestLoss;
use directory::{Role, SignedDescriptor};
use mizzle_core::Peer;
use mizzle_core::gateway::DirectoryDocument;
use mizzle_core::hop::{Arrival, HopConfig, Kept, Source};
use mizzle_core::mix::{Mix, MixEvent};
use prometheus_client::registry::Registry;
use runtime::node::NodeError;
use runtime::node::board::{self, Board, COPY_PERIOD, Sample};
use runtime::node::command::loop_runtime;
use runtime::node::directories::Publisher;
use runtime::node::foundation::{Foundation, SelfDescription};
use runtime::node::keeper::Keeper;
use runtime::node::listener::{ReceivedFrame, announced, bind_all};
use runtime::node::neighbours::Neighbours;
use runtime::node::surroundings::{FRAMES_MAX, LinkLimits, Surroundings};
use runtime::outbound::OutboundEvent;
use runtime::shutdown::Shutdown;
use runtime::timer::PreciseTimer;
use runtime::unwrap_pool::{Done, Received, UnwrapPool};
use sphinx::{DiscardReason, Sphinx};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wire::ids::Epoch;
use wire::time::Instant;

/// Inputs of one kind that are taken in one turn, so that no kind starves another.
const BUDGET: usize = 64;

/// The machine and everything it speaks through.
struct Node {
    foundation: Foundation,
    about: SelfDescription,
    mix: Mix<Sphinx>,
    pool: UnwrapPool<Sphinx, Epoch>,
    neighbours: Neighbours,
    publisher: Publisher,
    board: Board,
    keeper: Keeper,
    loss: Option<TestLoss>,
}

/// Where inputs come from.
struct Inputs {
    frames: mpsc::Receiver<ReceivedFrame>,
    unwrapped: mpsc::Receiver<Done<Epoch>>,
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
    loop_runtime()?.block_on(turn(node, inputs, &shutdown))?;
    io.block_on(tasks.shutdown());
    Ok(())
}

async fn turn(mut node: Node, mut inputs: Inputs, shutdown: &Shutdown) -> Result<(), NodeError> {
    let mut timer = PreciseTimer::new(node.foundation.clock)?;
    let mut copy = tokio::time::interval(COPY_PERIOD);
    copy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stop = shutdown.wait();
    tokio::pin!(stop);
    let (mut frames, mut unwrapped, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    tracing::info!("the mixnode runs");
    loop {
        let deadline = node.deadline();
        // 1. Wait for inputs or for the machine's deadline; then hand the inputs to the machine.
        tokio::select! {
            () = &mut stop => break,
            result = timer.sleep_until(deadline) => result?,
            _ = inputs.unwrapped.recv_many(&mut unwrapped, BUDGET) => {
                unwrapped.drain(..).for_each(|done| node.on_unwrapped(done));
            }
            _ = inputs.kept.recv_many(&mut kept, BUDGET) => {
                kept.drain(..).for_each(|kept| node.mix.handle_kept(kept));
            }
            _ = inputs.frames.recv_many(&mut frames, BUDGET) => {
                frames.drain(..).for_each(|frame| node.on_frame(frame));
            }
            Some(document) = inputs.documents.recv() => node.on_document(document),
            Some(event) = inputs.links.recv() => node.on_link(event),
            _ = copy.tick() => node.copy_counts(),
        }
        // 2. Its deadline, if that has come, whatever woke the loop.
        let now = node.foundation.clock.now();
        if node.deadline() <= now {
            node.mix.handle_timeout(now);
        }
        // 3. Events for us.
        while let Some(event) = node.mix.poll_event() {
            node.on_event(event)?;
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
    let board = Board::new("mixnode", &id, &mut registry, clock.now());
    let opened = Keeper::open(&foundation, config.limits.replay_tags, &mut registry)?;
    board::start(config.metrics, registry, &board, shutdown, tasks).await?;
    let limits = LinkLimits {
        connections: config.limits.connections,
        link_queue: config.limits.link_queue,
    };
    let around = Surroundings::start(&mut foundation, listeners, limits, shutdown, tasks)?;
    let (unwrapped_tx, unwrapped) = mpsc::channel(FRAMES_MAX);
    let pool = UnwrapPool::start(settings.threads(), config.limits.unwrap_queue, unwrapped_tx)?;
    let mut hop = HopConfig::new(id, network.schedule());
    hop.delay_queue_max = config.limits.delay_queue;
    hop.replay_tags_max = config.limits.replay_tags;
    let entropy = &mut foundation.entropy;
    let (traffic, keys) = (entropy.traffic_rng()?, entropy.key_rng()?);
    let mix = Mix::new(hop, opened.keys, clock.anchor(), traffic, keys, clock.now());
    let loss = config.test_loss.map(|p| TestLoss::new(p, entropy));
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
    };
    let inputs = Inputs {
        frames: around.frames,
        unwrapped,
        documents: around.documents,
        links: around.links,
        kept: opened.answers,
    };
    Ok((node, inputs))
}

fn ended(error: impl std::fmt::Display) -> NodeError {
    NodeError::Ended(error.to_string())
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

    fn on_frame(&mut self, frame: ReceivedFrame) {
        let now = self.now();
        let Some(key) = self.mix.key_for(frame.hint, now) else {
            return;
        };
        if self.loss.as_mut().is_some_and(TestLoss::takes) {
            return self.mix.discard(DiscardReason::TestLoss);
        }
        let received = Received {
            key: key.secret,
            packet: frame.packet,
            received_at: frame.received_at,
            context: key.epoch,
        };
        if self.pool.submitter().submit(received).is_err() {
            self.mix.discard(DiscardReason::Overloaded);
        }
    }

    fn on_unwrapped(&mut self, done: Done<Epoch>) {
        let arrival = Arrival {
            unwrapped: done.result,
            epoch: done.context,
            received_at: done.received_at,
            source: Source::Node,
        };
        self.mix.handle_unwrapped(arrival, self.now());
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

    fn on_event(&mut self, event: MixEvent) -> Result<(), NodeError> {
        match event {
            MixEvent::Keep(order) => {
                if let Some(kept) = self.keeper.give(order) {
                    self.mix.handle_kept(kept);
                }
                Ok(())
            }
            MixEvent::PublishKeys(keys) => {
                let Foundation {
                    identity,
                    network,
                    clock,
                    ..
                } = &self.foundation;
                let descriptor = self.about.with_keys(identity, keys);
                let signed =
                    SignedDescriptor::sign(descriptor, clock.unix(), identity, network.id());
                self.publisher.publish(&signed.map_err(|error| {
                    ended(format!("this node's own descriptor is refused: {error}"))
                })?);
                Ok(())
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(transmit) = self.mix.poll_transmit() {
            let late = self.now() - transmit.at;
            let given = match transmit.to {
                Peer::Node(node) => self
                    .neighbours
                    .try_send(&node, transmit.frame.encode())
                    .is_ok(),
                // The machine of a mix has no sessions.
                Peer::Session(_) => false,
            };
            if given {
                self.board.sent(late);
            } else {
                self.mix.discard(DiscardReason::LinkFull);
            }
        }
    }

    fn copy_counts(&mut self) {
        let sample = Sample {
            hop: self.mix.hop(),
            loops: self.mix.loop_count(),
            links: self.neighbours.up(),
            unwrap_queued: self.pool.queued(),
            tags_failing: self.keeper.is_failing(),
            more: serde_json::Map::new(),
        };
        self.board.copy(sample, self.foundation.clock.now());
    }

    /// What is queued for links still leaves; what waits out its delay is lost.
    async fn stop(self) {
        tokio::join!(self.neighbours.close(), self.keeper.close());
        let pool = self.pool;
        let _ = tokio::task::spawn_blocking(move || pool.close()).await;
    }
}
