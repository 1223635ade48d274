//! What a node tells the authorities of its loops: how many there were, and through which mixes those went that were
//! lost. One report in each epoch, of everything since the last one. `docs/spec/directory.md` §10.

use crate::view::View;
use directory::{Directory, LAYERS, LoopReport, Noise, Position};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::{Epoch, NodeId};
use wire::rng::KeyRng;
use wire::time::Instant;

/// Counts since the last report. Of nodes of the directories that were held; it grows no further.
#[derive(Default)]
pub(super) struct Tally {
    judged: u32,
    lost: BTreeMap<NodeId, u32>,
    /// The last epoch with a report, or without because it was too late.
    reported: Option<Epoch>,
}

impl Tally {
    /// A loop through these nodes came back, or did not.
    pub(super) fn handle_outcome(&mut self, lost: bool, through: &[NodeId]) {
        self.judged = self.judged.saturating_add(1);
        if !lost {
            return;
        }
        for (at, node) in through.iter().enumerate() {
            // Once, even where the loop passes it on both ways.
            if !through[..at].contains(node) {
                *self.lost.entry(*node).or_default() += 1;
            }
        }
    }

    /// The report of this epoch, once, from three eighths of it on and before its middle: votes begin then or later.
    pub(super) fn poll_report(
        &mut self,
        view: &View,
        own: &NodeId,
        keys: &mut KeyRng,
        now: Instant,
    ) -> Option<LoopReport> {
        let epoch = view.epoch_at(now);
        let eighths = |n: u32| -> Duration { view.schedule().length / 8 * n };
        let start = view.start(epoch);
        if self.reported == Some(epoch) || now < start + eighths(3) {
            return None;
        }
        self.reported = Some(epoch);
        let directory = view.current(now).filter(|d| d.epoch == epoch)?;
        let position = directory.position(own)?;
        let made = (now < start + eighths(4)).then(|| self.make(directory, position, keys));
        self.judged = 0;
        self.lost.clear();
        made
    }

    fn make(&self, directory: &Directory, position: Position, keys: &mut KeyRng) -> LoopReport {
        // A lost loop is counted at each mix on its way.
        let (own, crossed) = match position {
            Position::Mix { layer, .. } => (Some(layer), LAYERS - 1),
            Position::Gateway { .. } => (None, 2 * LAYERS),
        };
        let noise = Noise::new(crossed as u32);
        let mut lost: [Vec<i16>; LAYERS] = Default::default();
        for (layer, counts) in lost.iter_mut().enumerate() {
            if Some(layer) == own {
                continue;
            }
            for id in directory.layer_ids(layer) {
                let count = self.lost.get(id).copied().unwrap_or(0);
                let noisy = i64::from(count) + noise.draw(keys);
                counts.push(noisy.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
            }
        }
        let judged = i64::from(self.judged) + noise.draw(keys);
        LoopReport {
            epoch: directory.epoch,
            directory: directory.hash(),
            judged: judged.clamp(0, u32::MAX.into()) as u32,
            lost,
        }
    }
}
