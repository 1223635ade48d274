//! Which directory holds now: at most one each for the last, this and the next epoch.

use directory::{Directory, EpochSchedule};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::ids::{Epoch, EpochHint, NodeId};
use wire::keys::SphinxPublic;
use wire::time::{Instant, UnixTime, WallAnchor};

/// Directories by epoch, and the tie between monotonic and wall-clock time.
pub struct View {
    schedule: EpochSchedule,
    anchor: WallAnchor,
    held: BTreeMap<Epoch, Arc<Directory>>,
}

impl View {
    /// Holds none yet.
    pub fn new(schedule: EpochSchedule, anchor: WallAnchor) -> Self {
        Self {
            schedule,
            anchor,
            held: BTreeMap::new(),
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
        self.held.insert(directory.epoch, directory);
        true
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
