//! A node's Sphinx keys, one for each epoch, each with the tags it has seen. A key and its tags live
//! and die together: there is no way to keep one without the other.

use super::replay::ReplaySet;
use directory::SphinxKey;
use sphinx::PacketFormat;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::geometry::FORMAT_SPHINX;
use wire::ids::Epoch;
use wire::rng::KeyRng;

/// Keys of the last (while it overlaps), this and the next two epochs.
pub struct Keyring<F: PacketFormat> {
    tags_max: usize,
    keys: BTreeMap<Epoch, (Arc<F::Secret>, ReplaySet)>,
}

impl<F: PacketFormat> Keyring<F> {
    /// Empty; each key will remember at most `tags_max` tags.
    pub fn new(tags_max: usize) -> Self {
        Self {
            tags_max,
            keys: BTreeMap::new(),
        }
    }

    /// Draws the missing keys of `epoch` and the two after it. Returns whether any was missing.
    pub fn rotate(&mut self, epoch: Epoch, rng: &mut KeyRng) -> bool {
        let before = self.keys.len();
        for e in [epoch, epoch.next(), epoch.next().next()] {
            self.keys
                .entry(e)
                .or_insert_with(|| (Arc::new(F::generate(rng)), ReplaySet::new(self.tags_max)));
        }
        self.keys.len() != before
    }

    /// Wipes the keys of all epochs before `epoch`, and their tags. A packet that a worker is
    /// unwrapping with one of them keeps it alive until it is done.
    pub fn forget_before(&mut self, epoch: Epoch) {
        self.keys = self.keys.split_off(&epoch);
    }

    /// The key of one epoch.
    pub fn secret(&self, epoch: Epoch) -> Option<Arc<F::Secret>> {
        self.keys.get(&epoch).map(|(secret, _)| secret.clone())
    }

    /// The tags seen under one epoch's key.
    pub fn replay_set(&mut self, epoch: Epoch) -> Option<&mut ReplaySet> {
        self.keys.get_mut(&epoch).map(|(_, tags)| tags)
    }

    /// The public halves, ascending by epoch; the newest three.
    pub fn public_keys(&self) -> Vec<SphinxKey> {
        let skip = self.keys.len().saturating_sub(3);
        let newest = self.keys.iter().skip(skip);
        newest
            .map(|(epoch, (secret, _))| SphinxKey {
                epoch: *epoch,
                format: FORMAT_SPHINX,
                key: F::public(secret),
            })
            .collect()
    }
}
