//! A node's Sphinx keys, one for each epoch, each with the tags it has seen. A key and its tags live
//! and die together: there is no way to keep one without the other.

use super::intake::KeyFor;
use super::kept::{KeptKey, KeySeed, NodeKey};
use super::replay::ReplaySet;
use directory::SphinxKey;
use sphinx::{DiscardReason, PacketFormat};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::geometry::FORMAT_SPHINX;
use wire::ids::Epoch;
use wire::rng::KeyRng;

/// Keys of the last (while it overlaps), this and the next two epochs.
pub struct Keyring<F: PacketFormat> {
    tags_max: usize,
    keys: BTreeMap<Epoch, Slot<F>>,
}

enum Slot<F: PacketFormat> {
    Live(KeyFor<F>),
    /// Its tags cannot be kept any more. The epoch gets no other key: directories name this one.
    Lost,
}

impl<F: PacketFormat> Keyring<F> {
    /// Empty; each key will remember at most `tags_max` tags.
    pub fn new(tags_max: usize) -> Self {
        Self {
            tags_max,
            keys: BTreeMap::new(),
        }
    }

    /// Takes a key back into use with all its tags. False, and nothing is taken, when its seed gives
    /// another key than it once did, or there is one for that epoch.
    pub fn restore(&mut self, kept: KeptKey) -> bool {
        let secret = draw::<F>(&kept.key.seed);
        if F::public(&secret) != kept.key.public || self.keys.contains_key(&kept.key.epoch) {
            return false;
        }
        let KeptKey { key, tags } = kept;
        let tags = ReplaySet::restored(self.tags_max, &key.seed, tags);
        self.insert(key.epoch, secret, tags);
        true
    }

    /// Draws the missing keys of `epoch` and the two after it, and gives those.
    pub fn rotate(&mut self, epoch: Epoch, rng: &mut KeyRng) -> Vec<NodeKey> {
        let mut drawn = Vec::new();
        for epoch in [epoch, epoch.next(), epoch.next().next()] {
            if self.keys.contains_key(&epoch) {
                continue;
            }
            let seed = KeySeed(rng.bytes());
            let secret = draw::<F>(&seed);
            let public = F::public(&secret);
            let tags = ReplaySet::new(self.tags_max, &seed);
            self.insert(epoch, secret, tags);
            drawn.push(NodeKey {
                epoch,
                seed,
                public,
            });
        }
        drawn
    }

    fn insert(&mut self, epoch: Epoch, secret: F::Secret, tags: ReplaySet) {
        let key = KeyFor {
            epoch,
            secret: Arc::new(secret),
            tags: Arc::new(tags),
        };
        self.keys.insert(epoch, Slot::Live(key));
    }

    /// Wipes the keys of all epochs before `epoch`, and their tags; which ones. A packet that a
    /// worker is unwrapping with one of them keeps it alive until it is done.
    pub fn forget_before(&mut self, epoch: Epoch) -> Vec<Epoch> {
        if self.oldest().is_none_or(|oldest| oldest >= epoch) {
            return Vec::new();
        }
        let kept = self.keys.split_off(&epoch);
        let gone = std::mem::replace(&mut self.keys, kept);
        gone.into_keys().collect()
    }

    /// The first epoch that has a key.
    pub fn oldest(&self) -> Option<Epoch> {
        self.keys.keys().next().copied()
    }

    /// Wipes one key and its tags; nothing is accepted in its epoch any more.
    pub fn lose(&mut self, epoch: Epoch) {
        if let Some(slot) = self.keys.get_mut(&epoch) {
            *slot = Slot::Lost;
        }
    }

    /// The key of one epoch, or why packets of that epoch die.
    pub fn key(&self, epoch: Epoch) -> Result<&KeyFor<F>, DiscardReason> {
        match self.keys.get(&epoch) {
            None => Err(DiscardReason::UnknownEpoch),
            Some(Slot::Lost) => Err(DiscardReason::TagNotDurable),
            Some(Slot::Live(key)) => Ok(key),
        }
    }

    /// Every epoch that has, or had, a key here.
    pub fn epochs(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.keys.keys().copied()
    }

    /// The public halves, ascending by epoch; the newest three.
    pub fn public_keys(&self) -> Vec<SphinxKey> {
        let skip = self.keys.len().saturating_sub(3);
        let newest = self.keys.iter().skip(skip);
        newest
            .filter_map(|(epoch, slot)| match slot {
                Slot::Lost => None,
                Slot::Live(key) => Some(SphinxKey {
                    epoch: *epoch,
                    format: FORMAT_SPHINX,
                    key: F::public(&key.secret),
                }),
            })
            .collect()
    }
}

fn draw<F: PacketFormat>(seed: &KeySeed) -> F::Secret {
    F::generate(&mut KeyRng::from_seed(seed.0))
}
