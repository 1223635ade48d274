//! Links to the next layer, and who of the layer before may connect: both follow the directories
//! that the machine holds.

use crate::outbound::{Neighbour, NotSent, Outbound, OutboundConfig, OutboundEvent};
use crate::stages::{Stage, ThreadMeter};
use directory::Directory;
use mizzle_core::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use wire::frame::Frame;
use wire::ids::{NetworkId, NodeId};
use wire::keys::IdentityPublic;

/// How long a link may take to write what is queued when the node ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Whom to dial and whom to answer.
#[derive(Default, PartialEq, Eq, Debug)]
struct Neighbourhood {
    next: BTreeMap<NodeId, (IdentityPublic, Vec<SocketAddr>)>,
    previous: BTreeSet<IdentityPublic>,
}

/// By all directories that are held: a packet may have been built by the last one or by the next.
fn neighbourhood<'a>(held: impl Iterator<Item = &'a Arc<Directory>>, us: &NodeId) -> Neighbourhood {
    let mut found = Neighbourhood::default();
    for directory in held {
        let Some(here) = directory.position(us) else {
            continue;
        };
        for (node, position) in directory.nodes() {
            if Directory::adjacent(here, position) {
                // Later directories overwrite: their addresses are newer.
                found
                    .next
                    .insert(node.id(), (node.identity, node.addresses.clone()));
            }
            if Directory::adjacent(position, here) {
                found.previous.insert(node.identity);
            }
        }
    }
    found
}

/// A kept-up link for each node of the next layer.
pub struct Neighbours {
    us: NodeId,
    network: NetworkId,
    link: OutboundConfig,
    events: mpsc::Sender<OutboundEvent>,
    allowed: watch::Sender<Arc<BTreeSet<IdentityPublic>>>,
    links: BTreeMap<NodeId, (Vec<SocketAddr>, Outbound)>,
    /// Where links run; the loop that updates them runs elsewhere.
    io: Handle,
}

/// What [`Neighbours`] is made of.
pub struct NeighboursConfig {
    /// This node.
    pub us: NodeId,
    /// Of which network.
    pub network: NetworkId,
    /// How links are made and what they queue.
    pub link: OutboundConfig,
    /// Where links report.
    pub events: mpsc::Sender<OutboundEvent>,
}

impl Neighbours {
    /// Knows nobody yet. Links will run on the tokio runtime of this call.
    pub fn new(config: NeighboursConfig) -> Self {
        let NeighboursConfig {
            us,
            network,
            link,
            events,
        } = config;
        Self {
            us,
            network,
            link,
            events,
            allowed: watch::Sender::new(Arc::default()),
            links: BTreeMap::new(),
            io: Handle::current(),
        }
    }

    /// For [`super::listener::NodeListener`].
    pub fn allowed(&self) -> super::listener::Allowed {
        self.allowed.subscribe()
    }

    /// The machine holds other directories than before: dial who is new, let go who left.
    pub fn update(&mut self, view: &View) {
        let Neighbourhood { next, previous } = neighbourhood(view.held(), &self.us);
        self.allowed.send_replace(Arc::new(previous));
        self.links
            .retain(|id, (addresses, _)| next.get(id).is_some_and(|(_, new)| new == addresses));
        let _links_run_there = self.io.enter();
        for (id, (identity, addresses)) in next {
            if self.links.contains_key(&id) {
                continue;
            }
            let neighbour = Neighbour {
                identity,
                addresses: addresses.clone(),
                network: self.network,
            };
            let link = Outbound::start(neighbour, self.link.clone(), self.events.clone());
            self.links.insert(id, (addresses, link));
        }
    }

    /// Gathers a frame for one of them, or says at once why not. It leaves with
    /// [`Neighbours::flush`].
    pub fn try_send(&mut self, to: &NodeId, frame: Frame) -> Result<(), NotSent> {
        let (_, link) = self.links.get_mut(to).ok_or(NotSent::Down)?;
        link.try_send(frame)
    }

    /// Writes what was gathered since the last call; counted as [`Stage::Write`] and not as the loop's.
    pub fn flush(&mut self, meter: &mut ThreadMeter) {
        let links = &mut self.links;
        meter.lend(Stage::Write, || {
            links.values_mut().for_each(|(_, link)| link.flush());
        });
    }

    /// How many links stand, of how many.
    pub fn up(&self) -> (usize, usize) {
        let up = self.links.values().filter(|(_, link)| link.is_up()).count();
        (up, self.links.len())
    }

    /// Writes what is queued and closes all links, within a second.
    pub async fn close(self) {
        let mut closing = tokio::task::JoinSet::new();
        for (_, (_, link)) in self.links {
            closing.spawn(link.close(CLOSE_LIMIT));
        }
        while closing.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::Parameters;
    use directory::testing::{directory, nobodys_key};
    use wire::ids::Epoch;

    #[test]
    fn a_node_dials_the_next_layer_and_answers_the_one_before() {
        let (map, secrets) = directory(1, 2, 3, Epoch(5), Parameters::localnet(), nobodys_key);
        let held = [Arc::new(map)];
        let identity = |i: usize| secrets[i].public();
        // Layers of two mixes each, then three gateways: indices 0-1, 2-3, 4-5, 6-8.
        for (us, next, previous) in [
            (0, vec![2, 3], vec![6, 7, 8]),
            (3, vec![4, 5], vec![0, 1]),
            (5, vec![6, 7, 8], vec![2, 3]),
            (7, vec![0, 1], vec![4, 5]),
        ] {
            let found = neighbourhood(held.iter(), &NodeId::of(&identity(us)));
            let dialled: BTreeSet<_> = found.next.values().map(|(i, _)| *i).collect();
            assert_eq!(dialled, next.into_iter().map(identity).collect());
            assert_eq!(found.previous, previous.into_iter().map(identity).collect());
        }
        let stranger = neighbourhood(held.iter(), &NodeId([9; 28]));
        assert_eq!(stranger, Neighbourhood::default());
    }
}
