//! The tags seen under one key: exact and bounded.

use super::kept::ShortTag;
use sphinx::DiscardReason;
use std::collections::BTreeSet;

/// A tree, not a hash table, so that no chosen set of tags makes it slow.
pub struct ReplaySet {
    capacity: usize,
    tags: BTreeSet<ShortTag>,
}

impl ReplaySet {
    /// Empty. When full it refuses everything: better no packet than a replayed one.
    pub fn new(capacity: usize) -> Self {
        Self::restored(capacity, Vec::new())
    }

    /// With what was seen before a restart; full when that is more than it takes.
    pub fn restored(capacity: usize, tags: Vec<ShortTag>) -> Self {
        Self {
            capacity,
            tags: tags.into_iter().collect(),
        }
    }

    /// Remembers a tag that was not here before.
    pub fn insert(&mut self, tag: ShortTag) -> Result<(), DiscardReason> {
        if self.tags.len() >= self.capacity && !self.tags.contains(&tag) {
            return Err(DiscardReason::ReplaySetFull);
        }
        if self.tags.insert(tag) {
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
        let tag = |n| ShortTag([n; 16]);
        assert_eq!(set.insert(tag(1)), Ok(()));
        assert_eq!(set.insert(tag(1)), Err(DiscardReason::Replayed));
        assert_eq!(set.insert(tag(2)), Ok(()));
        assert_eq!(set.insert(tag(3)), Err(DiscardReason::ReplaySetFull));
        assert_eq!(set.insert(tag(2)), Err(DiscardReason::Replayed));
    }

    #[test]
    fn what_was_seen_before_is_a_replay_and_too_much_of_it_fills_the_set() {
        let tag = |n| ShortTag([n; 16]);
        let mut set = ReplaySet::restored(2, vec![tag(3), tag(1), tag(2), tag(1)]);
        assert_eq!(set.len(), 3);
        assert_eq!(set.insert(tag(1)), Err(DiscardReason::Replayed));
        assert_eq!(set.insert(tag(4)), Err(DiscardReason::ReplaySetFull));
    }
}
