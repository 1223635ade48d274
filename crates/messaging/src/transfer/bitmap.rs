//! Which records of a file are here: one bit each, in pages of the size of a row. Not here: who
//! writes the pages down ([`super::rows`]).

use std::collections::BTreeSet;

/// Records of one page.
pub const PAGE_RECORDS: u32 = 4096;
const PAGE_LEN: usize = PAGE_RECORDS as usize / 8;

/// A set of records out of `len`. A file of 1 GiB takes 70 KB.
pub struct Bitmap {
    bits: Vec<u8>,
    len: u32,
    count: u32,
    /// No record before it is missing.
    first_missing: u32,
    /// Pages that changed since [`Bitmap::take_dirty`].
    dirty: BTreeSet<u32>,
}

impl Bitmap {
    /// None of `len` records.
    pub fn new(len: u32) -> Self {
        Self {
            bits: vec![0; (len as usize).div_ceil(8)],
            len,
            count: 0,
            first_missing: 0,
            dirty: BTreeSet::new(),
        }
    }

    /// Adds a record; whether it is one, and new.
    pub fn insert(&mut self, index: u32) -> bool {
        if index >= self.len || self.contains(index) {
            return false;
        }
        self.bits[index as usize / 8] |= 1 << (index % 8);
        self.count += 1;
        self.dirty.insert(index / PAGE_RECORDS);
        self.advance();
        true
    }

    /// Whether a record is here.
    pub fn contains(&self, index: u32) -> bool {
        let byte = self.bits.get(index as usize / 8);
        index < self.len && byte.is_some_and(|b| b >> (index % 8) & 1 == 1)
    }

    /// How many are here.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether all are here.
    pub fn is_full(&self) -> bool {
        self.count == self.len
    }

    /// The first that is not here, or the number of records.
    pub fn first_missing(&self) -> u32 {
        self.first_missing
    }

    /// The pages that changed since the last call, with their bytes.
    pub fn take_dirty(&mut self) -> Vec<(u32, Vec<u8>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let page = |page: u32| (page, self.bits[self.place(page)].to_vec());
        dirty.into_iter().map(page).collect()
    }

    /// How many pages there are.
    pub fn pages(&self) -> u32 {
        self.len.div_ceil(PAGE_RECORDS)
    }

    /// Takes a page as it was written down. `false` when it does not belong here.
    pub fn restore(&mut self, page: u32, bytes: &[u8]) -> bool {
        if page >= self.pages() || bytes.len() != self.place(page).len() {
            return false;
        }
        let beyond = page * PAGE_RECORDS + bytes.len() as u32 * 8;
        let spare = beyond.saturating_sub(self.len);
        if bytes.last().is_some_and(|b| b.leading_zeros() < spare) {
            return false;
        }
        let place = self.place(page);
        let ones = |bytes: &[u8]| bytes.iter().map(|b| b.count_ones()).sum::<u32>();
        self.count = self.count - ones(&self.bits[place.clone()]) + ones(bytes);
        self.bits[place].copy_from_slice(bytes);
        self.first_missing = 0;
        self.advance();
        true
    }

    fn place(&self, page: u32) -> std::ops::Range<usize> {
        let start = page as usize * PAGE_LEN;
        start..(start + PAGE_LEN).min(self.bits.len())
    }

    fn advance(&mut self) {
        while self.first_missing < self.len {
            let byte = self.bits[self.first_missing as usize / 8];
            if self.first_missing.is_multiple_of(8) && byte == 0xff {
                self.first_missing = (self.first_missing + 8).min(self.len);
            } else if byte >> (self.first_missing % 8) & 1 == 1 {
                self.first_missing += 1;
            } else {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against a set, with a restart in the middle.
        #[test]
        fn counts_like_a_set(
            len in 0u32..12_000,
            picks in prop::collection::vec(0u32..12_100, 0..200),
            runs in prop::collection::vec((0u32..12_000, 0u32..3000), 0..4),
        ) {
            let mut map = Bitmap::new(len);
            let mut set = BTreeSet::new();
            let mut rows = std::collections::BTreeMap::new();
            let runs = runs.into_iter().flat_map(|(start, n)| start..start + n);
            for index in picks.into_iter().chain(runs) {
                prop_assert_eq!(map.insert(index), index < len && set.insert(index));
            }
            rows.extend(map.take_dirty());
            prop_assert!(map.take_dirty().is_empty());
            let mut again = Bitmap::new(len);
            for (page, bytes) in &rows {
                prop_assert!(again.restore(*page, bytes));
            }
            let missing = (0..len).find(|i| !set.contains(i)).unwrap_or(len);
            for map in [&map, &again] {
                prop_assert_eq!(map.count() as usize, set.len());
                prop_assert_eq!(map.first_missing(), missing);
                prop_assert_eq!(map.is_full(), set.len() == len as usize);
                prop_assert!((0..len + 9).all(|i| map.contains(i) == set.contains(&i)));
            }
        }
    }

    #[test]
    fn a_page_of_another_file_is_refused() {
        let mut map = Bitmap::new(13);
        assert!(!map.restore(1, &[0; 2]));
        assert!(!map.restore(0, &[0; 3]));
        assert!(!map.restore(0, &[0, 0b10_0000]));
        assert!(map.restore(0, &[0xff, 0b1_1111]) && map.is_full());
        assert!(!Bitmap::new(0).restore(0, &[]));
    }
}
