//! Who stands in which layer: stable from one directory to the next, and drawn for newcomers.

use crate::document::{Directory, LAYERS, NodeDescriptor, Position};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use wire::ids::NodeId;

/// Who stood where in a directory.
pub(crate) fn of(directory: &Directory) -> BTreeMap<NodeId, usize> {
    let layer = |(node, position): (&NodeDescriptor, Position)| match position {
        Position::Mix { layer, .. } => Some((node.id(), layer)),
        Position::Gateway { .. } => None,
    };
    directory.nodes().filter_map(layer).collect()
}

/// Puts `mixes` into layers. A mix that `remembered` knows keeps its layer; newcomers, in the order
/// of SHA-256(shared random ‖ id), each go to the smallest layer, the lowest of equals. A layer
/// that would stay empty gets the first in that order of the largest layer that can spare one.
/// `remembered` is brought up to date. Within a layer the order is by id.
pub(crate) fn assign(
    mixes: Vec<NodeDescriptor>,
    remembered: &mut BTreeMap<NodeId, usize>,
    shared_random: &[u8; 32],
) -> [Vec<NodeDescriptor>; LAYERS] {
    let mut layers: [Vec<NodeDescriptor>; LAYERS] = std::array::from_fn(|_| Vec::new());
    let mut newcomers = Vec::new();
    for mix in mixes {
        match remembered.get(&mix.id()).and_then(|l| layers.get_mut(*l)) {
            Some(layer) => layer.push(mix),
            None => newcomers.push(mix),
        }
    }
    newcomers.sort_by_cached_key(|mix| draw(shared_random, mix));
    for mix in newcomers {
        // `min_by_key` gives the first of equals.
        if let Some(layer) = layers.iter_mut().min_by_key(|l| l.len()) {
            layer.push(mix);
        }
    }
    while let Some(empty) = layers.iter().position(Vec::is_empty) {
        let largest = layers.iter_mut().max_by_key(|l| l.len());
        let Some(largest) = largest.filter(|l| l.len() > 1) else {
            break;
        };
        let first = (0..largest.len()).min_by_key(|i| draw(shared_random, &largest[*i]));
        let moved = largest.remove(first.unwrap_or(0));
        layers[empty].push(moved);
    }
    for (layer, mixes) in layers.iter_mut().enumerate() {
        mixes.sort_by_key(NodeDescriptor::id);
        remembered.extend(mixes.iter().map(|mix| (mix.id(), layer)));
    }
    layers
}

fn draw(shared_random: &[u8; 32], mix: &NodeDescriptor) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(shared_random);
    hash.update(mix.id().0);
    hash.finalize().into()
}
