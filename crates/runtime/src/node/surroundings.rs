//! Starts what stands around every node's loop, in one call: links to and from other nodes, and the
//! two ways to the authorities.
//!
//! What only a gateway has (clients, store) is its own.

use super::NodeError;
use super::directories::{Follower, Publisher};
use super::foundation::Foundation;
use super::listener::NodeListener;
use super::neighbours::{Neighbours, NeighboursConfig};
use super::readers::Readers;
use crate::inbound::{InboundCounters, InboundLimits};
use crate::link::NodeTls;
use crate::outbound::{Backoff, OutboundConfig, OutboundEvent};
use crate::shutdown::Shutdown;
use crate::stages::Stages;
use crate::unwrap_pool::Lanes;
use mizzle_core::gateway::DirectoryDocument;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Batches of unwrapped packets between threads and loop; when full, the threads wait.
pub const ARRIVALS_MAX: usize = 64;
/// Reports of links between two turns of the loop; when full, links wait.
const LINK_EVENTS_MAX: usize = 64;
/// Directories between two turns; when full, the follower waits.
const DOCUMENTS_MAX: usize = 4;

/// What the loop holds of it.
pub struct Surroundings {
    /// Links to the next layer.
    pub neighbours: Neighbours,
    /// Takes descriptors to the authorities.
    pub publisher: Publisher,
    /// Verified directories.
    pub documents: mpsc::Receiver<DirectoryDocument>,
    /// What became of links.
    pub links: mpsc::Receiver<OutboundEvent>,
}

/// Limits of links between nodes.
#[derive(Clone, Copy, Debug)]
pub struct LinkLimits {
    /// Connections of other nodes at a time.
    pub connections: usize,
    /// Frames that one link to a neighbour queues.
    pub link_queue: usize,
}

impl Surroundings {
    /// Starts everything on the tokio runtime of this call. Packets from nodes of the layer before go
    /// to `lanes`.
    pub fn start(
        foundation: &mut Foundation,
        listeners: Vec<TcpListener>,
        limits: LinkLimits,
        (lanes, stages, readers): (Lanes, Stages, Readers),
        shutdown: &Shutdown,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, NodeError> {
        let network = foundation.network.clone();
        let clock = foundation.clock;
        let tls = NodeTls::new(&foundation.identity)
            .map_err(|error| NodeError::Ended(format!("TLS with this identity: {error}")))?;
        let (events, links) = mpsc::channel(LINK_EVENTS_MAX);
        let neighbours = Neighbours::new(NeighboursConfig {
            us: foundation.id(),
            network: *network.id(),
            link: OutboundConfig {
                tls: tls.clone(),
                backoff: Backoff::new(foundation.entropy.traffic_rng()?),
                capacity: limits.link_queue,
                stages: stages.clone(),
            },
            events,
        });
        let listener = NodeListener {
            tls,
            network: *network.id(),
            allowed: neighbours.allowed(),
            readers,
            lanes,
            clock,
            stages,
        };
        let inbound = InboundLimits {
            connections_max: limits.connections,
            ..InboundLimits::default()
        };
        let counters = Arc::new(InboundCounters::default());
        listener.start(listeners, &inbound, &counters, shutdown, tasks);
        let polling = foundation.entropy.traffic_rng()?;
        let publisher = Publisher::start(foundation, &polling, tasks);
        let (documents_tx, documents) = mpsc::channel(DOCUMENTS_MAX);
        let dir = foundation.dir.clone();
        tasks.spawn(Follower::new(network, dir, clock, polling, documents_tx).run());
        Ok(Self {
            neighbours,
            publisher,
            documents,
            links,
        })
    }
}
