//! The tags seen under one key: exact and bounded.

use sphinx::{DiscardReason, ReplayTag};
use std::collections::BTreeSet;

/// The first 128 bits of each tag. Two honest packets share them once in 2⁶⁴ packets, which loses
/// one of them; nobody can aim at that without the node's key. A tree, not a hash table, so that
/// no chosen set of tags makes it slow.
pub struct ReplaySet {
    capacity: usize,
    tags: BTreeSet<u128>,
}

impl ReplaySet {
    /// Empty. When full it refuses everything: better no packet than a replayed one.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            tags: BTreeSet::new(),
        }
    }

    /// Remembers a tag that was not here before.
    pub fn insert(&mut self, tag: ReplayTag) -> Result<(), DiscardReason> {
        let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = tag.0;
        let short = u128::from_be_bytes(head);
        if self.tags.len() >= self.capacity && !self.tags.contains(&short) {
            return Err(DiscardReason::ReplaySetFull);
        }
        if self.tags.insert(short) {
            Ok(())
        } else {
            Err(DiscardReason::Replayed)
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_equal_tags_is_a_replay() {
        let mut set = ReplaySet::new(2);
        let tag = |n| ReplayTag([n; 32]);
        assert_eq!(set.insert(tag(1)), Ok(()));
        assert_eq!(set.insert(tag(1)), Err(DiscardReason::Replayed));
        assert_eq!(set.insert(tag(2)), Ok(()));
        assert_eq!(set.insert(tag(3)), Err(DiscardReason::ReplaySetFull));
        assert_eq!(set.insert(tag(2)), Err(DiscardReason::Replayed));
    }
}
