//! Which directory holds now: at most one each for the last, this and the next epoch. And which of its mixes
//! are about to go: `docs/decisions/0014-mixes-that-leave.md`.

use directory::{Directory, EpochSchedule, LAYERS, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use wire::ids::{Epoch, EpochHint, NodeId};
use wire::keys::SphinxPublic;
use wire::time::{Instant, UnixTime, WallAnchor};

/// Directories by epoch, and the tie between monotonic and wall-clock time.
pub struct View {
    schedule: EpochSchedule,
    anchor: WallAnchor,
    held: BTreeMap<Epoch, Arc<Directory>>,
    /// By epoch, the mixes of its directory that the next one lacks; only where there are any.
    leaving: BTreeMap<Epoch, BTreeSet<NodeId>>,
}

/// From so long before an epoch on, mixes that its directory lacks are in no new route. Entry gateways push the
/// directory [`directory::vote::ahead`], a quarter of an epoch; the sixteenth between is for pieces on their way.
pub fn before_they_leave(length: Duration) -> Duration {
    length / 16 * 3
}

impl View {
    /// Holds none yet.
    pub fn new(schedule: EpochSchedule, anchor: WallAnchor) -> Self {
        Self {
            schedule,
            anchor,
            held: BTreeMap::new(),
            leaving: BTreeMap::new(),
        }
    }

    /// Takes a verified directory; forgets those of epochs before the last. A directory of an epoch
    /// that is already held changes nothing. Returns whether it was new.
    pub fn insert(&mut self, directory: Arc<Directory>, now: Instant) -> bool {
        let oldest = self.epoch_at(now).previous();
        self.held.retain(|epoch, _| *epoch >= oldest);
        if directory.epoch < oldest || self.held.contains_key(&directory.epoch) {
            return false;
        }
        let epoch = directory.epoch;
        self.held.insert(epoch, directory);
        self.leaving.retain(|epoch, _| *epoch >= oldest);
        self.compare(epoch);
        if epoch > oldest {
            self.compare(epoch.previous());
        }
        true
    }

    /// Which mixes go between an epoch and the next one, where both directories are held.
    fn compare(&mut self, epoch: Epoch) {
        let (Some(this), Some(next)) = (self.held.get(&epoch), self.held.get(&epoch.next())) else {
            return;
        };
        let mixes = (0..LAYERS).flat_map(|layer| this.layer_ids(layer));
        let stays = |id: &&NodeId| matches!(next.position(id), Some(Position::Mix { .. }));
        let gone = mixes.filter(|id| !stays(id));
        let gone: BTreeSet<NodeId> = gone.copied().collect();
        if !gone.is_empty() {
            self.leaving.insert(epoch, gone);
        }
    }

    /// Mixes of the directory that is gone by that no packet leaving at `at` is drawn over, where their layer has
    /// others: the one that holds soon has them no more. The same for all who hold both, whatever they send.
    pub fn leaving(&self, goes_by: &Directory, at: Instant) -> Option<&BTreeSet<NodeId>> {
        let before = before_they_leave(self.schedule.length);
        let from = self.start(goes_by.epoch.next()).saturating_sub(before);
        self.leaving.get(&goes_by.epoch).filter(|_| at >= from)
    }

    /// The wall clock was read again.
    pub fn set_anchor(&mut self, anchor: WallAnchor) {
        self.anchor = anchor;
    }

    /// The directory to go by: that of this epoch or, while its successor is late, the newest one
    /// that is still valid.
    pub fn current(&self, now: Instant) -> Option<&Arc<Directory>> {
        let unix = self.unix_at(now);
        let epoch = self.schedule.epoch_at(unix);
        self.held
            .range(..=epoch)
            .next_back()
            .map(|(_, directory)| directory)
            .filter(|directory| unix < directory.valid_until)
    }

    /// All that are held, oldest first.
    pub fn held(&self) -> impl DoubleEndedIterator<Item = &Arc<Directory>> {
        self.held.values()
    }

    /// A node's key for a packet expected there at `at`, and the epoch it belongs to. Where no
    /// directory knows that epoch's key yet, the nearest one it does know: the packet then lives
    /// or dies by the overlap, but the tick is not lost.
    pub fn key(&self, node: &NodeId, at: Instant) -> Option<(Epoch, SphinxPublic)> {
        let epoch = self.epoch_at(at);
        let known = |directory: &Arc<Directory>| {
            let keys = &directory.node(node)?.sphinx_keys;
            keys.iter()
                .map(|k| (k.epoch, k.key))
                .min_by_key(|(e, _)| e.0.abs_diff(epoch.0))
        };
        self.held
            .values()
            .rev()
            .filter_map(known)
            .min_by_key(|(e, _)| e.0.abs_diff(epoch.0))
    }

    /// The epoch at `now`.
    pub fn epoch_at(&self, now: Instant) -> Epoch {
        self.schedule.epoch_at(self.unix_at(now))
    }

    /// When `epoch` starts.
    pub fn start(&self, epoch: Epoch) -> Instant {
        self.anchor.instant_at(self.schedule.start(epoch))
    }

    /// The wall clock at `now`.
    pub fn unix_at(&self, now: Instant) -> UnixTime {
        self.anchor.unix_at(now)
    }

    /// How epochs follow each other.
    pub fn schedule(&self) -> &EpochSchedule {
        &self.schedule
    }

    /// The epoch near `now` that a frame's hint means.
    pub fn resolve(&self, hint: EpochHint, now: Instant) -> Option<Epoch> {
        let epoch = self.epoch_at(now);
        [epoch, epoch.previous(), epoch.next()]
            .into_iter()
            .find(|e| e.hint() == hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::Parameters;
    use directory::testing::{directory, nobodys_key, schedule};

    /// One of this epoch whose first mixes of each layer are other nodes, by so many.
    fn of(epoch: u64, mixes: usize) -> Arc<Directory> {
        let parameters = Parameters::localnet();
        Arc::new(directory(5, mixes, 3, Epoch(epoch), parameters, nobodys_key).0)
    }

    fn view() -> (View, Instant) {
        let anchor = WallAnchor {
            instant: Instant::from_nanos(1 << 60),
            unix: schedule().start(Epoch(7)),
        };
        (View::new(schedule(), anchor), anchor.instant)
    }

    #[test]
    fn mixes_that_the_next_directory_lacks_leave_at_one_phase_whenever_it_came() {
        let (this, next) = (of(7, 3), of(8, 2));
        // Nodes are numbered through: the nine mixes of one, the six of the other.
        let mixes = |d: &Directory| -> BTreeSet<NodeId> {
            (0..LAYERS)
                .flat_map(|layer| d.layer_ids(layer).to_vec())
                .collect()
        };
        let gone: BTreeSet<NodeId> = mixes(&this).difference(&mixes(&next)).copied().collect();
        assert!(!gone.is_empty() && gone.len() < 9);
        let length = schedule().length;
        for next_first in [false, true] {
            let (mut view, begins) = view();
            let both = [&this, &next];
            let order = if next_first { [1, 0] } else { [0, 1] };
            for i in order {
                assert_eq!(view.leaving(&this, begins), None);
                assert!(view.insert(both[i].clone(), begins));
            }
            let phase = begins + (length - before_they_leave(length));
            let just_before = phase.saturating_sub(Duration::from_nanos(1));
            assert_eq!(view.leaving(&this, just_before), None);
            assert_eq!(view.leaving(&this, phase), Some(&gone));
            // From the epoch on the next directory itself has none of them.
            assert_eq!(view.leaving(&next, begins + length), None);
        }
    }

    #[test]
    fn nothing_leaves_without_a_next_directory_or_a_difference() {
        let (mut view, begins) = view();
        let late = begins + schedule().length.saturating_sub(Duration::from_secs(1));
        let (this, next) = (of(7, 3), of(8, 3));
        for directory in [&this, &next] {
            view.insert(directory.clone(), begins);
            assert_eq!(view.leaving(&this, late), None);
        }
    }
}
