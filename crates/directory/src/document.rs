//! The directory as a value.

use crate::body;
use crate::parameters::{EpochSchedule, Parameters};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NetworkId, NodeId};
use wire::keys::{IdentityPublic, SphinxPublic};
use wire::time::UnixTime;

/// Mix layers between the gateways.
pub const LAYERS: usize = 3;

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Mixes packets.
    Mix,
    /// Holds inboxes and serves clients.
    Gateway,
}

/// Who runs a node: a tagged SHA-256 of the operator's name, cut to 16 bytes ([`Family::of`]). Nodes of
/// one family count as one party.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Family(pub [u8; 16]);

/// A node's Sphinx key for one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SphinxKey {
    /// Accepted during this epoch, and [`Parameters::key_overlap`] before and after it.
    pub epoch: Epoch,
    /// Packet format, [`wire::geometry::FORMAT_SPHINX`].
    pub format: u8,
    /// The key.
    pub key: SphinxPublic,
}

/// What a node says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeDescriptor {
    /// Signs this descriptor, and proves the node in TLS.
    pub identity: IdentityPublic,
    /// What it does.
    pub role: Role,
    /// Who runs it.
    pub family: Family,
    /// Literal addresses of the listener for nodes, 1 to 4.
    pub addresses: Vec<SocketAddr>,
    /// Literal addresses of the listener for clients: 1 to 4 for a gateway, none for a mix.
    pub client_addresses: Vec<SocketAddr>,
    /// Keys by epoch, ascending, 1 to 4.
    pub sphinx_keys: Vec<SphinxKey>,
}

impl Family {
    /// The family of everything that the operator of this name runs.
    pub fn of(operator: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"mizzle-family-v1");
        hash.update(operator.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut family = [0; 16];
        family.copy_from_slice(&digest[..16]);
        Self(family)
    }
}

impl NodeDescriptor {
    /// The id that routing headers hold.
    pub fn id(&self) -> NodeId {
        NodeId::of(&self.identity)
    }

    /// The key to use for a packet that arrives there in `epoch`.
    pub fn sphinx_key(&self, epoch: Epoch) -> Option<SphinxPublic> {
        self.sphinx_keys
            .iter()
            .find(|k| k.epoch == epoch)
            .map(|k| k.key)
    }
}

/// Where a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// A mix: layer 0, 1 or 2 (called 1 to 3 in prose), and which of that layer.
    Mix {
        /// From 0.
        layer: usize,
        /// From 0.
        index: usize,
    },
    /// A gateway: which.
    Gateway {
        /// From 0.
        index: usize,
    },
}

/// The map of the network in one epoch.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Of which network.
    pub network: NetworkId,
    /// For which epoch.
    pub epoch: Epoch,
    /// How epochs follow each other.
    pub schedule: EpochSchedule,
    /// Not to be used before.
    pub valid_from: UnixTime,
    /// Not to be used after.
    pub valid_until: UnixTime,
    /// The directory before this one; zeros in the first.
    pub previous: DirectoryHash,
    /// Must be ours.
    pub geometry: GeometryHash,
    /// Rates and limits.
    pub parameters: Parameters,
    /// What the layer assignment was drawn from.
    pub shared_random: [u8; 32],
    /// Authorities that withheld their share of it, bit `i` for authority `i`.
    pub withheld: u64,
    layers: [Vec<NodeDescriptor>; LAYERS],
    gateways: Vec<NodeDescriptor>,
    /// Ids are hashes: taken once, for those who draw nodes all the time.
    layer_ids: [Vec<NodeId>; LAYERS],
    gateway_ids: Vec<NodeId>,
    positions: BTreeMap<NodeId, Position>,
    /// Mixes that lose traffic, each for so many epochs yet.
    marks: BTreeMap<NodeId, u8>,
    /// Those of [`Self::layer_ids`] that are not marked.
    route_ids: [Vec<NodeId>; LAYERS],
    hash: DirectoryHash,
}

/// Why nodes make no directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectoryError {
    /// A layer has no mix, or there is no gateway.
    Empty,
    /// The same identity stands at two places.
    Duplicate,
    /// A mix stands among the gateways, or the other way round.
    WrongRole,
    /// A mark on what is no mix, for no epoch, or more of a layer than [`crate::marks::most`].
    WrongMark,
    /// More nodes than a document can hold, or a node with impossibly many addresses or keys.
    TooLarge,
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a layer has no mix, or there is no gateway"),
            Self::Duplicate => write!(f, "a node stands at two places"),
            Self::WrongRole => write!(f, "a node stands at a place of another role"),
            Self::WrongMark => write!(f, "a mark on no mix, or too many in one layer"),
            Self::TooLarge => write!(f, "more nodes, addresses or keys than a directory holds"),
        }
    }
}

impl std::error::Error for DirectoryError {}

/// All of a directory but its nodes.
#[derive(Clone, Debug)]
pub struct Preamble {
    /// See [`Directory::network`].
    pub network: NetworkId,
    /// See [`Directory::epoch`].
    pub epoch: Epoch,
    /// See [`Directory::schedule`].
    pub schedule: EpochSchedule,
    /// See [`Directory::valid_from`].
    pub valid_from: UnixTime,
    /// See [`Directory::valid_until`].
    pub valid_until: UnixTime,
    /// See [`Directory::previous`].
    pub previous: DirectoryHash,
    /// See [`Directory::geometry`].
    pub geometry: GeometryHash,
    /// See [`Directory::parameters`].
    pub parameters: Parameters,
    /// See [`Directory::shared_random`].
    pub shared_random: [u8; 32],
    /// See [`Directory::withheld`].
    pub withheld: u64,
}

impl Directory {
    /// Puts nodes into their places.
    pub fn new(
        preamble: Preamble,
        layers: [Vec<NodeDescriptor>; LAYERS],
        gateways: Vec<NodeDescriptor>,
    ) -> Result<Self, DirectoryError> {
        if gateways.is_empty() || layers.iter().any(Vec::is_empty) {
            return Err(DirectoryError::Empty);
        }
        if layers.iter().chain([&gateways]).any(|nodes| !fits(nodes)) {
            return Err(DirectoryError::TooLarge);
        }
        let ids = |nodes: &Vec<NodeDescriptor>| nodes.iter().map(NodeDescriptor::id).collect();
        let layer_ids: [Vec<NodeId>; LAYERS] = layers.each_ref().map(ids);
        let gateway_ids: Vec<NodeId> = ids(&gateways);
        let all_ids = layer_ids.iter().flatten().chain(&gateway_ids);
        let mut positions = BTreeMap::new();
        let mixes = layers.iter().enumerate().flat_map(|(layer, mixes)| {
            mixes
                .iter()
                .enumerate()
                .map(move |(index, mix)| (mix, Position::Mix { layer, index }))
        });
        let gates = gateways
            .iter()
            .enumerate()
            .map(|(index, g)| (g, Position::Gateway { index }));
        for ((node, position), id) in mixes.chain(gates).zip(all_ids) {
            let expected = match position {
                Position::Mix { .. } => Role::Mix,
                Position::Gateway { .. } => Role::Gateway,
            };
            if node.role != expected {
                return Err(DirectoryError::WrongRole);
            }
            if positions.insert(*id, position).is_some() {
                return Err(DirectoryError::Duplicate);
            }
        }
        let Preamble {
            network,
            epoch,
            schedule,
            valid_from,
            valid_until,
            previous,
            geometry,
            parameters,
            shared_random,
            withheld,
        } = preamble;
        let mut directory = Self {
            network,
            epoch,
            schedule,
            valid_from,
            valid_until,
            previous,
            geometry,
            parameters,
            shared_random,
            withheld,
            layers,
            gateways,
            route_ids: layer_ids.clone(),
            layer_ids,
            gateway_ids,
            positions,
            marks: BTreeMap::new(),
            hash: DirectoryHash([0; 32]),
        };
        directory.take_hash()?;
        Ok(directory)
    }

    /// The same with marks on mixes that lose traffic, each for 1 or more epochs.
    pub fn with_marks(mut self, marks: BTreeMap<NodeId, u8>) -> Result<Self, DirectoryError> {
        let is_mix = |id| matches!(self.position(id), Some(Position::Mix { .. }));
        if marks.iter().any(|(id, left)| *left == 0 || !is_mix(id)) {
            return Err(DirectoryError::WrongMark);
        }
        for (ids, free) in self.layer_ids.iter().zip(&mut self.route_ids) {
            free.clear();
            free.extend(ids.iter().filter(|id| !marks.contains_key(*id)));
            if ids.len() - free.len() > crate::marks::most(ids.len()) {
                return Err(DirectoryError::WrongMark);
            }
        }
        self.marks = marks;
        self.take_hash()?;
        Ok(self)
    }

    fn take_hash(&mut self) -> Result<(), DirectoryError> {
        let body = self.encode_body();
        if body.len() > body::BODY_MAX {
            return Err(DirectoryError::TooLarge);
        }
        self.hash = body::hash_of(&body);
        Ok(())
    }

    /// SHA-256 of the body that [`Directory::new`] made; replies carry it.
    pub fn hash(&self) -> DirectoryHash {
        self.hash
    }

    /// The mixes of layer 0, 1 or 2, in the order of the document.
    pub fn layer(&self, layer: usize) -> &[NodeDescriptor] {
        self.layers.get(layer).map_or(&[], Vec::as_slice)
    }

    /// All gateways, in the order of the document.
    pub fn gateways(&self) -> &[NodeDescriptor] {
        &self.gateways
    }

    /// Ids of [`Directory::layer`], in its order.
    pub fn layer_ids(&self, layer: usize) -> &[NodeId] {
        self.layer_ids.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Those of [`Directory::layer_ids`] that a client's route may go through: all but the marked ones, never none.
    pub fn route_ids(&self, layer: usize) -> &[NodeId] {
        self.route_ids.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Mixes that lose traffic, and for how many epochs the mark stays, this one included.
    pub fn marks(&self) -> &BTreeMap<NodeId, u8> {
        &self.marks
    }

    /// Ids of [`Directory::gateways`], in their order.
    pub fn gateway_ids(&self) -> &[NodeId] {
        &self.gateway_ids
    }

    /// Where a node stands, if it is here.
    pub fn position(&self, id: &NodeId) -> Option<Position> {
        self.positions.get(id).copied()
    }

    /// A node's descriptor, if it is here.
    pub fn node(&self, id: &NodeId) -> Option<&NodeDescriptor> {
        match self.position(id)? {
            Position::Mix { layer, index } => self.layers.get(layer)?.get(index),
            Position::Gateway { index } => self.gateways.get(index),
        }
    }

    /// Every node, mixes first.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeDescriptor, Position)> {
        self.positions
            .iter()
            .filter_map(|(id, position)| Some((self.node(id)?, *position)))
    }

    /// Whether a packet may go from a node at `from` straight to `to`: gateway → layer 1 → 2 → 3 →
    /// gateway.
    pub fn adjacent(from: Position, to: Position) -> bool {
        match (from, to) {
            (Position::Gateway { .. }, Position::Mix { layer, .. }) => layer == 0,
            (Position::Mix { layer, .. }, Position::Mix { layer: next, .. }) => layer + 1 == next,
            (Position::Mix { layer, .. }, Position::Gateway { .. }) => layer + 1 == LAYERS,
            (Position::Gateway { .. }, Position::Gateway { .. }) => false,
        }
    }
}

/// Whether the counts fit into their fields.
fn fits(nodes: &[NodeDescriptor]) -> bool {
    let list_fits = |n: &NodeDescriptor| {
        let longest = n.addresses.len().max(n.client_addresses.len());
        longest.max(n.sphinx_keys.len()) <= body::LIST_MAX
    };
    u16::try_from(nodes.len()).is_ok() && nodes.iter().all(list_fits)
}
