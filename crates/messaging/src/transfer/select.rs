//! At which gateways a receiver opens the inboxes of a transfer. Not here: the inboxes of a pair,
//! which both ends derive ([`crate::pair`]).

use directory::{Directory, Family};
use std::collections::BTreeSet;
use wire::ids::NodeId;
use wire::rng::{KeyRng, pick};

/// Up to `count` gateways for more inboxes beside those at `present`, drawn at random: never the
/// own entry, none twice, none that `avoid` names; families that have none yet before others.
pub fn gateways(
    directory: &Directory,
    entry: &NodeId,
    avoid: &BTreeSet<NodeId>,
    present: &[NodeId],
    count: usize,
    rng: &mut KeyRng,
) -> Vec<NodeId> {
    let usable = |id: &NodeId| id != entry && !avoid.contains(id) && !present.contains(id);
    let all = directory.gateways().iter().map(|g| (g.id(), g.family));
    let mut pool: Vec<(NodeId, Family)> = all.filter(|(id, _)| usable(id)).collect();
    let mut families: Vec<Family> = present
        .iter()
        .filter_map(|id| directory.node(id))
        .map(|node| node.family)
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let fresh = |(_, family): &&(NodeId, Family)| !families.contains(family);
        let of_new: Vec<(NodeId, Family)> = pool.iter().filter(fresh).copied().collect();
        let from = if of_new.is_empty() { &pool } else { &of_new };
        let draw = u64::from_be_bytes(rng.bytes());
        let Some(place) = pick(draw, from.len()) else {
            break;
        };
        let (id, family) = from[place];
        families.push(family);
        pool.retain(|(other, _)| *other != id);
        chosen.push(id);
    }
    chosen
}
