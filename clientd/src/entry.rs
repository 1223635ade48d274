//! Which gateway is the entry. Drawn once and kept: a client that drew again at each start would
//! sooner or later enter through everybody (`docs/threat-model.md`).

use crate::config::Config;
use directory::{Directory, Network};
use runtime::data_dir::DataDir;
use runtime::entropy::Entropy;
use runtime::node::NodeError;
use std::net::SocketAddr;
use std::sync::Arc;
use wire::ids::NodeId;
use wire::keys::IdentityPublic;

const FILE: &str = "entry";

/// The entry gateway.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: NodeId,
    pub(crate) identity: IdentityPublic,
    /// Where it listens for clients.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The configured gateway, else the kept one, else one drawn from `network.toml`.
pub(crate) fn choose(
    config: &Config,
    dir: &DataDir,
    network: &Network,
    held: &[Arc<Directory>],
) -> Result<Entry, NodeError> {
    if let Some(id) = config.entry_id()? {
        return find(id, network, held).ok_or_else(|| {
            NodeError::value(
                "entry",
                "neither network.toml nor the directory has this gateway",
            )
        });
    }
    let kept = dir.read(FILE, 256)?.unwrap_or_default();
    let kept = directory::hex::decode(String::from_utf8_lossy(&kept).trim()).map(NodeId);
    if let Some(entry) = kept.and_then(|id| find(id, network, held)) {
        return Ok(entry);
    }
    if kept.is_some() {
        tracing::warn!("the entry gateway is gone from the network; another one is drawn");
    }
    let draw = Entropy::os().traffic_rng()?;
    let draw = draw.tick(wire::rng::Purpose::Reconnect, 0).draw_u64();
    let bootstrap = network.bootstrap();
    let drawn = wire::rng::pick(draw, bootstrap.len()).and_then(|at| bootstrap.get(at));
    let Some(drawn) = drawn else {
        return Err(NodeError::value(
            "network",
            "network.toml has no bootstrap gateway",
        ));
    };
    let entry = Entry {
        id: NodeId::of(&drawn.identity),
        identity: drawn.identity,
        addresses: drawn.client_addresses.clone(),
    };
    dir.write(FILE, directory::hex::encode(&entry.id.0).as_bytes())?;
    Ok(entry)
}

/// What is known of a gateway; the directory knows better than `network.toml`.
fn find(id: NodeId, network: &Network, held: &[Arc<Directory>]) -> Option<Entry> {
    let published = held.iter().rev().find_map(|d| addresses_in(d, &id));
    let bootstrap = || {
        let found = network
            .bootstrap()
            .iter()
            .find(|b| NodeId::of(&b.identity) == id)?;
        Some((found.identity, found.client_addresses.clone()))
    };
    let (identity, addresses) = published.or_else(bootstrap)?;
    Some(Entry {
        id,
        identity,
        addresses,
    })
}

/// A gateway's identity and its listener for clients.
pub(crate) fn addresses_in(
    directory: &Directory,
    id: &NodeId,
) -> Option<(IdentityPublic, Vec<SocketAddr>)> {
    let node = directory
        .node(id)
        .filter(|n| !n.client_addresses.is_empty())?;
    Some((node.identity, node.client_addresses.clone()))
}
