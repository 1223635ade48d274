//! The tags seen under one key: exact, bounded, and shared by the threads that unwrap.
//!
//! The question is asked between the two halves of a packet's public-key work
//! ([`sphinx::PacketFormat::unwrap_batch_if`]), so that a replay costs its sender more than the node.
//! That is why the set is not the machine's alone: it is split into shards, each behind a lock that
//! is held for one look-up. Locks say nothing about time or order, so the machines stay what they are.

use super::kept::{KeySeed, ShortTag};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sphinx::DiscardReason;
#[expect(
    clippy::disallowed_types,
    reason = "never iterated, so its order shows nowhere; hashed under the epoch key's own seed"
)]
use std::collections::{HashMap, hash_map::Entry};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many that growing one of them (which moves all its tags) takes a fraction of a millisecond
/// at four million tags, and that threads hardly ever meet at one.
const SHARDS: usize = 64;

#[expect(clippy::disallowed_types, reason = "see above")]
type Shard = HashMap<ShortTag, (), Spread>;

/// Exact: no false positives, no forgetting. When full it refuses everything: better no packet
/// than a replayed one.
pub struct ReplaySet {
    capacity: usize,
    spread: Spread,
    len: AtomicUsize,
    shards: [Mutex<Shard>; SHARDS],
}

impl ReplaySet {
    /// Empty. `seed` is the key's own: who could foretell where tags land could make a set slow by
    /// choosing them.
    pub fn new(capacity: usize, seed: &KeySeed) -> Self {
        let spread = Spread::new(seed);
        Self {
            capacity,
            spread,
            len: AtomicUsize::new(0),
            shards: std::array::from_fn(|_| Mutex::new(Shard::with_hasher(spread))),
        }
    }

    /// With what was seen before a restart; full when that is more than it takes.
    pub fn restored(capacity: usize, seed: &KeySeed, tags: Vec<ShortTag>) -> Self {
        let mut set = Self::new(capacity, seed);
        for tag in tags {
            let shard = set.shards[set.spread.shard(&tag)].get_mut();
            let shard = shard.unwrap_or_else(PoisonError::into_inner);
            *set.len.get_mut() += usize::from(shard.insert(tag, ()).is_none());
        }
        set
    }

    /// Remembers a tag that was not here before.
    pub fn insert(&self, tag: ShortTag) -> Result<(), DiscardReason> {
        let shard = &self.shards[self.spread.shard(&tag)];
        // A panic between two tags leaves a whole set.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Vacant(place) = shard.entry(tag) else {
            return Err(DiscardReason::Replayed);
        };
        // Counted first, so that threads at other shards cannot pass the capacity together.
        if self.len.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.len.fetch_sub(1, Ordering::Relaxed);
            return Err(DiscardReason::ReplaySetFull);
        }
        place.insert(());
        Ok(())
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a tag lands. Tags are pseudorandom already; the secret multiplication keeps whoever can
/// compute tags (everybody who builds packets) from choosing ones that land together.
#[derive(Clone, Copy)]
struct Spread([u64; 2]);

impl Spread {
    fn new(seed: &KeySeed) -> Self {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&seed.0).expect("HMAC takes a key of any length");
        mac.update(b"mizzle-replay-spread-v1");
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let (words, _) = bytes.as_chunks();
        Self([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])])
    }

    fn of(self, tag: &ShortTag) -> u64 {
        let (words, _) = tag.0.as_chunks();
        let [a, b] = [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])];
        let product = u128::from(a ^ self.0[0]) * u128::from(b ^ self.0[1]);
        (product as u64) ^ ((product >> 64) as u64)
    }

    /// By bits that the table within a shard does not use: it takes the lowest and the seven
    /// highest.
    fn shard(self, tag: &ShortTag) -> usize {
        (self.of(tag) >> 48) as usize % SHARDS
    }
}

impl Hash for ShortTag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl BuildHasher for Spread {
    type Hasher = SpreadHasher;

    fn build_hasher(&self) -> SpreadHasher {
        SpreadHasher {
            spread: *self,
            hash: 0,
        }
    }
}

/// Hashes one tag.
struct SpreadHasher {
    spread: Spread,
    hash: u64,
}

impl Hasher for SpreadHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Ok(tag) = bytes.try_into() {
            self.hash = self.spread.of(&ShortTag(tag));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SEED: KeySeed = KeySeed([7; 32]);

    #[test]
    fn the_second_of_two_equal_tags_is_a_replay() {
        let set = ReplaySet::new(2, &SEED);
        let tag = |n| ShortTag([n; 16]);
        assert_eq!(set.insert(tag(1)), Ok(()));
        assert_eq!(set.insert(tag(1)), Err(DiscardReason::Replayed));
        assert_eq!(set.insert(tag(2)), Ok(()));
        assert_eq!(set.insert(tag(3)), Err(DiscardReason::ReplaySetFull));
        assert_eq!(set.insert(tag(2)), Err(DiscardReason::Replayed));
        assert_eq!(set.len(), 2);
    }

    #[test]
    fn what_was_seen_before_is_a_replay_and_too_much_of_it_fills_the_set() {
        let tag = |n| ShortTag([n; 16]);
        let set = ReplaySet::restored(2, &SEED, vec![tag(3), tag(1), tag(2), tag(1)]);
        assert_eq!(set.len(), 3);
        assert_eq!(set.insert(tag(1)), Err(DiscardReason::Replayed));
        assert_eq!(set.insert(tag(4)), Err(DiscardReason::ReplaySetFull));
    }

    #[test]
    fn it_answers_as_a_plain_set_does() {
        let set = ReplaySet::new(usize::MAX, &SEED);
        let mut model = BTreeSet::new();
        // Few distinct tags, differing in few bits: what a bad spread would confuse.
        for n in 0..200_000u64 {
            let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 47;
            let mut tag = ShortTag([0; 16]);
            tag.0[(n % 9) as usize..][..8].copy_from_slice(&n.to_le_bytes()[..8]);
            let expected = if model.insert(tag) {
                Ok(())
            } else {
                Err(DiscardReason::Replayed)
            };
            assert_eq!(set.insert(tag), expected);
        }
        assert_eq!(set.len(), model.len());
    }

    #[test]
    fn shards_fill_evenly() {
        let set = ReplaySet::new(usize::MAX, &SEED);
        let mut tag = ShortTag([0; 16]);
        for n in 0..64_000u64 {
            tag.0[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            set.insert(tag).unwrap();
        }
        for shard in &set.shards {
            // 1,000 expected, standard deviation 32.
            let len = shard.lock().unwrap().len();
            assert!((800..1200).contains(&len), "{len}");
        }
    }
}
