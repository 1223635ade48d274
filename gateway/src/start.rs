//! Opens and starts everything around the gateway's loop, in the order in which it can fail.

use crate::clients::{ClientEvent, ClientListener};
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
use runtime::node::listener::{ReceivedFrame, announced, bind_all};
use runtime::node::surroundings::{FRAMES_MAX, LinkLimits, Surroundings};
use runtime::shutdown::Shutdown;
use runtime::unwrap_pool::UnwrapPool;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpListener;
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
    let board = Board::new("gateway", &id, &mut registry, clock.now());
    let metrics = GatewayMetrics::new(&mut registry);
    let opened = Keeper::open(&foundation, config.limits.replay_tags, &mut registry)?;
    board::start(config.metrics, registry, &board, shutdown, tasks).await?;
    let keys = StoreKeys::load_or_create(&mut foundation)?;
    let (orders, index, answers) = Orders::open(&mut foundation, keys.master, config.limits.cells)?;
    let limits = LinkLimits {
        connections: config.limits.connections,
        link_queue: config.limits.link_queue,
    };
    let around = Surroundings::start(&mut foundation, listeners, limits, shutdown, tasks)?;
    let (client_frames, clients) =
        listen_to_clients(config, &foundation, client_listeners, shutdown, tasks)?;
    let (slots, filled) = mpsc::channel(SLOTS_MAX);
    downlink::start(
        clock,
        filled,
        metrics.downlink_lateness.clone(),
        shutdown.clone(),
    )?;
    let (unwrapped_tx, unwrapped) = mpsc::channel(FRAMES_MAX);
    let pool = UnwrapPool::start(settings.threads(), config.limits.unwrap_queue, unwrapped_tx)?;
    let machine = config.machine(id, network.schedule(), keys.inbox_hash);
    let entropy = &mut foundation.entropy;
    let (traffic, keys) = (entropy.traffic_rng()?, entropy.key_rng()?);
    let (anchor, now) = (clock.anchor(), clock.now());
    let gateway = Gateway::new(machine, opened.keys, index, anchor, traffic, keys, now);
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
    };
    let inputs = Inputs {
        node_frames: around.frames,
        client_frames,
        clients,
        answers,
        unwrapped,
        documents: around.documents,
        links: around.links,
        kept: opened.answers,
    };
    Ok((node, inputs))
}

/// Packets of clients, and their coming and going.
type FromClients = (mpsc::Receiver<ReceivedFrame>, mpsc::Receiver<ClientEvent>);

fn listen_to_clients(
    config: &Config,
    foundation: &Foundation,
    listeners: Vec<TcpListener>,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> Result<FromClients, NodeError> {
    let (frames_tx, frames) = mpsc::channel(FRAMES_MAX);
    let (events_tx, events) = mpsc::channel(CLIENT_EVENTS_MAX);
    let listener = ClientListener {
        tls: ClientListenerTls::new(&foundation.identity).map_err(ended)?,
        network: *foundation.network.id(),
        frames: frames_tx,
        events: events_tx,
        clock: foundation.clock,
        rate: config.limits.session_rate,
        connections: Arc::new(AtomicU64::new(0)),
    };
    let limits = InboundLimits {
        connections_max: config.limits.sessions,
        per_address_max: config.limits.sessions_per_address,
        ..InboundLimits::default()
    };
    listener.start(listeners, &limits, shutdown, tasks);
    Ok((frames, events))
}
