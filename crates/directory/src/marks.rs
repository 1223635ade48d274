//! From reports on loops to the mixes that lose traffic. `docs/spec/directory.md` §10, `docs/decisions/0013`.
//!
//! [`suspects`] is what one authority thinks; `of` what all decide, from their ballots. Loops of mixes and gateways
//! cross marked mixes as ever, so that it is seen when one stops; clients do not choose them.

use crate::document::{Directory, Family, LAYERS, NodeDescriptor, Position};
use crate::report::LoopReport;
use std::collections::BTreeMap;
use wire::ids::NodeId;

/// A mark stays for so many epochs after a mix was last found to lose traffic.
pub const MARK_EPOCHS: u8 = 8;
/// A mix that loses so much more than the middle one of its layer loses traffic.
const EXCESS: f64 = 0.25;
/// Reports of so many families at least say something about a mix.
const VOICES_LEAST: usize = 3;
/// A family speaks with so many loops at least.
const LOOPS_LEAST: f64 = 20.0;
/// Where the middle mix of a layer loses more than this, the trouble is elsewhere.
const SURVIVING_LEAST: f64 = 0.4;

/// Most marks of a layer: a quarter of it, at least one where another is left.
pub fn most(width: usize) -> usize {
    (width / 4).max(1).min(width.saturating_sub(1))
}

/// Mixes that lose traffic by these reports, ascending. Reports must have been verified with `directory`.
///
/// Each family is one voice: of its nodes, loops through a mix and lost ones among them are added up. The middle voice
/// counts (of the families but the mix' own), so that less than half of them, saying what they like,
/// cannot move it out of what the honest ones say. It is compared with the middle mix of the same layer, because what is
/// lost elsewhere is lost to all of them alike.
pub fn suspects(directory: &Directory, reports: &BTreeMap<NodeId, LoopReport>) -> Vec<NodeId> {
    let mut found = Vec::new();
    for layer in 0..LAYERS {
        let mixes = directory.layer(layer);
        let surviving: Vec<Option<f64>> = (0..mixes.len())
            .map(|index| surviving(directory, reports, (layer, index)))
            .collect();
        let mut known: Vec<f64> = surviving.iter().copied().flatten().collect();
        known.sort_by(f64::total_cmp);
        let Some(middle) = known
            .get(known.len() / 2)
            .filter(|m| **m >= SURVIVING_LEAST)
        else {
            continue;
        };
        let ids = directory.layer_ids(layer).iter().zip(&surviving);
        let bad = ids.filter(|(_, s)| s.is_some_and(|s| 1.0 - s / middle > EXCESS));
        found.extend(bad.map(|(id, _)| *id));
    }
    found.sort_unstable();
    found
}

/// Share of loops through a mix that come back, by the middle voice.
fn surviving(
    directory: &Directory,
    reports: &BTreeMap<NodeId, LoopReport>,
    (layer, index): (usize, usize),
) -> Option<f64> {
    let mixes = directory.layer(layer);
    let family = mixes.get(index)?.family;
    let mut voices: BTreeMap<Family, (f64, f64)> = BTreeMap::new();
    for (id, report) in reports {
        let (Some(node), Some(position)) = (directory.node(id), directory.position(id)) else {
            continue;
        };
        let Some(lost) = report.lost.get(layer).and_then(|l| l.get(index)) else {
            continue;
        };
        if node.family == family {
            continue;
        }
        let voice = voices.entry(node.family).or_default();
        voice.0 += f64::from(report.judged) * crossing(position, mixes.len());
        voice.1 += f64::from(*lost);
    }
    let spoken = voices
        .into_values()
        .filter(|(loops, _)| *loops >= LOOPS_LEAST);
    let mut shares: Vec<f64> = spoken
        .map(|(loops, lost)| 1.0 - (lost / loops).clamp(0.0, 1.0))
        .collect();
    shares.sort_by(f64::total_cmp);
    let middle = shares.get(shares.len() / 2).copied();
    middle.filter(|_| shares.len() >= VOICES_LEAST)
}

/// Share of a node's loops that cross one mix of another layer: those of a gateway pass the layer twice.
fn crossing(position: Position, width: usize) -> f64 {
    let one = 1.0 / width.max(1) as f64;
    match position {
        Position::Mix { .. } => one,
        Position::Gateway { .. } => 1.0 - (1.0 - one) * (1.0 - one),
    }
}

/// Marks of a new directory with these layers: epochs that each is left for. `ballots` are the suspects of each.
///
/// More than half of the ballots make a mark, or make it new; else one goes on for an epoch less. At most [`most`]
/// of a layer: first those found now, by the number of ballots, then the newest, of equals the smaller id.
pub(crate) fn of(
    previous: Option<&Directory>,
    layers: &[Vec<NodeDescriptor>; LAYERS],
    ballots: &[&[NodeId]],
) -> BTreeMap<NodeId, u8> {
    let mut votes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for id in ballots.iter().flat_map(|ids| ids.iter()) {
        *votes.entry(*id).or_default() += 1;
    }
    let before = previous.map(Directory::marks);
    let left = |id: &NodeId| {
        let found = votes.get(id).copied().filter(|n| 2 * n > ballots.len());
        let before = before.and_then(|b| b.get(id)).copied().unwrap_or(0);
        let left = found.map_or(before.saturating_sub(1), |_| MARK_EPOCHS);
        (left > 0).then_some((left, found.unwrap_or(0), *id))
    };
    let mut marks = BTreeMap::new();
    for layer in layers {
        let mut candidates: Vec<(u8, usize, NodeId)> =
            layer.iter().filter_map(|mix| left(&mix.id())).collect();
        candidates.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then(a.2.cmp(&b.2)));
        let kept = candidates.into_iter().take(most(layer.len()));
        marks.extend(kept.map(|(left, _, id)| (id, left)));
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Parameters;
    use crate::testing::{self, nobodys_key};
    use wire::ids::Epoch;

    /// Marks of a directory with `width` mixes in each layer after one in which `before` is marked.
    fn decide(width: usize, before: &[(usize, u8)], ballots: &[&[usize]]) -> BTreeMap<usize, u8> {
        let (plain, _) =
            testing::directory(1, width, 1, Epoch(3), Parameters::localnet(), nobodys_key);
        let layers = [0, 1, 2].map(|l| plain.layer(l).to_vec());
        let ids: Vec<NodeId> = (0..3).flat_map(|l| plain.layer_ids(l).to_vec()).collect();
        let marked = before.iter().map(|(at, left)| (ids[*at], *left)).collect();
        let previous = plain.with_marks(marked).unwrap();
        let ballots: Vec<Vec<NodeId>> = ballots
            .iter()
            .map(|ballot| ballot.iter().map(|at| ids[*at]).collect())
            .collect();
        let ballots: Vec<&[NodeId]> = ballots.iter().map(Vec::as_slice).collect();
        let place = |id: &NodeId| ids.iter().position(|one| one == id).unwrap();
        let marks = of(Some(&previous), &layers, &ballots);
        marks.iter().map(|(id, left)| (place(id), *left)).collect()
    }

    #[test]
    fn more_than_half_of_the_ballots_mark_and_marks_run_out() {
        assert_eq!(decide(4, &[], &[&[5], &[5], &[], &[]]), BTreeMap::new());
        let now = BTreeMap::from([(5, MARK_EPOCHS)]);
        assert_eq!(decide(4, &[], &[&[5], &[5], &[5], &[1]]), now);
        assert_eq!(decide(4, &[(5, 3)], &[&[5], &[5], &[5], &[]]), now);
        assert_eq!(
            decide(4, &[(5, 3)], &[&[5], &[], &[], &[]]),
            BTreeMap::from([(5, 2)])
        );
        assert_eq!(decide(4, &[(5, 1)], &[&[], &[], &[], &[]]), BTreeMap::new());
    }

    #[test]
    fn a_layer_keeps_three_quarters_and_who_is_found_now_comes_first() {
        let all: &[usize] = &[0, 1, 2, 3];
        // Of four mixes one: that with the most ballots.
        let found = decide(4, &[(0, 7)], &[&[1, 2], &[1, 2], &[2], all]);
        assert_eq!(found, BTreeMap::from([(2, MARK_EPOCHS)]));
        // A single mix is never marked, one of two is.
        assert_eq!(decide(1, &[], &[&[0], &[0], &[0]]), BTreeMap::new());
        assert_eq!(
            decide(2, &[], &[&[0], &[0, 1], &[0, 1]]),
            BTreeMap::from([(0, MARK_EPOCHS)])
        );
    }
}
