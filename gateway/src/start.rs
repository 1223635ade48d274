//! Opens and starts everything around the gateway's loop, in the order in which it can fail.

use crate::allowance::Allowance;
use crate::clients::ClientListener;
use crate::config::Config;
use crate::downlink::{self, SLOTS_MAX};
use crate::eventloop::{Inputs, Node, ended};
use crate::inboxes::{Orders, StoreKeys};
use crate::metrics::GatewayMetrics;
use directory::Role;
use mizzle_core::gateway::Gateway;
use prometheus_client::registry::Registry;
use runtime::inbound::InboundLimits;
use runtime::link::ClientListenerTls;
use runtime::node::NodeError;
use runtime::node::board::{self, Board};
use runtime::node::foundation::{Foundation, SelfDescription};
use runtime::node::keeper::Keeper;
use runtime::node::listener::{announced, bind_all};
use runtime::node::readers::Readers;
use runtime::node::surroundings::{ARRIVALS_MAX, LinkLimits, Surroundings};
use runtime::shutdown::Shutdown;
use runtime::stages::{Stage, Stages};
use runtime::unwrap_pool::UnwrapPool;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Clients that came or went between two turns of the loop; when full, they wait.
const CLIENT_EVENTS_MAX: usize = 256;

/// Opens everything, on the tokio runtime of this call.
pub(crate) async fn start(
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
    let client_listeners = bind_all(&config.client_listen).await?;
    let about = SelfDescription {
        role: Role::Gateway,
        operator: config.operator.clone(),
        addresses: announced(&config.announce, &listeners)?,
        client_addresses: announced(&config.client_announce, &client_listeners)?,
    };
    let mut registry = Registry::default();
    let stages = Stages::default();
    let board = Board::new("gateway", &id, &mut registry, &stages, clock.now());
    let metrics = GatewayMetrics::new(&mut registry);
    let tags_max = config.limits.replay_tags;
    let hurry = settings.hurrying();
    let opened = Keeper::open(&foundation, tags_max, &stages, &mut registry, hurry)?;
    board::start(config.metrics, registry, &board, shutdown, tasks).await?;
    let keys = StoreKeys::load_or_create(&mut foundation)?;
    let (orders, index, answers) = Orders::open(&mut foundation, keys.master, config.limits.cells)?;
    let machine = config.machine(id, network.schedule(), keys.inbox_hash);
    let entropy = &mut foundation.entropy;
    let (traffic, keys) = (entropy.traffic_rng()?, entropy.key_rng()?);
    let (anchor, now) = (clock.anchor(), clock.now());
    let mut gateway = Gateway::new(machine, opened.keys, index, anchor, traffic, keys, now);
    let (unwrapped_tx, unwrapped) = mpsc::channel(ARRIVALS_MAX);
    let threads = settings.pool(config.limits.unwrap_queue, clock, &stages)?;
    let pool = UnwrapPool::start(threads, unwrapped_tx)?;
    // Clients may come before the loop's first turn.
    if let Some(table) = gateway.poll_key_table(now) {
        pool.set_table(table);
    }
    let limits = LinkLimits {
        connections: config.limits.connections,
        link_queue: config.limits.link_queue,
    };
    let meter = stages.thread(Stage::Decide);
    let (client_lanes, client_stages) = (pool.door().lanes(), stages.clone());
    let (client_events, clients) = mpsc::channel(CLIENT_EVENTS_MAX);
    let readers = Readers::start(settings.hurrying())?;
    let ways = (pool.door().lanes(), stages, readers);
    let around = Surroundings::start(&mut foundation, listeners, limits, ways, shutdown, tasks)?;
    let (slots, filled) = mpsc::channel(SLOTS_MAX);
    let writers = downlink::start(
        clock,
        filled,
        metrics.downlink_lateness.clone(),
        settings.hurrying_most(),
        shutdown.clone(),
    )?;
    let allowance = Allowance::new(config.limits.session_rate);
    let listener = ClientListener {
        tls: ClientListenerTls::new(&foundation.identity).map_err(ended)?,
        network: *foundation.network.id(),
        lanes: client_lanes,
        events: client_events,
        clock,
        stages: client_stages,
        allowance: allowance.clone(),
        writers,
        connections: Arc::new(AtomicU64::new(0)),
    };
    let inbound = InboundLimits {
        connections_max: config.limits.sessions,
        per_address_max: config.limits.sessions_per_address,
        ..InboundLimits::default()
    };
    listener.start(client_listeners, &inbound, shutdown, tasks);
    let node = Node {
        foundation,
        about,
        gateway,
        pool,
        neighbours: around.neighbours,
        publisher: around.publisher,
        board,
        keeper: opened.keeper,
        metrics,
        orders,
        clients: BTreeMap::new(),
        slots,
        allowance,
        meter,
    };
    let inputs = Inputs {
        clients,
        answers,
        unwrapped,
        documents: around.documents,
        links: around.links,
        kept: opened.answers,
    };
    Ok((node, inputs))
}
