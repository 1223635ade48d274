//! Sorts the moments of a short stretch of time: a bin for each, as if they were uniform, then a pass that mends the order.

/// A moment, and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) time: f64,
    pub(crate) index: u32,
}

/// With more in one bin the moments are not uniform at all, and an ordinary sort is used.
const BIN_MAX: u32 = 48;

/// Keeps its memory.
#[derive(Default)]
pub(crate) struct Sorter {
    bins: Vec<u32>,
    unsorted: Vec<Key>,
    sorted: Vec<Key>,
}

impl Sorter {
    /// Nothing is left of what was sorted before.
    pub(crate) fn clear(&mut self) {
        self.unsorted.clear();
        self.sorted.clear();
    }

    /// More moments to be sorted.
    pub(crate) fn extend(&mut self, keys: impl Iterator<Item = Key>) {
        self.unsorted.extend(keys);
    }

    /// What was sorted.
    #[inline]
    pub(crate) fn sorted(&self) -> &[Key] {
        &self.sorted
    }

    /// Sorts the moments, which lie in the stretch that begins at `begin`; equal ones keep their order.
    pub(crate) fn sort(&mut self, begin: f64, per_second: f64) {
        let n = self.unsorted.len();
        let bins = n.next_power_of_two();
        let scale = bins as f64 * per_second;
        let bin = |key: &Key| (((key.time - begin) * scale) as usize).min(bins - 1);
        self.bins.clear();
        self.bins.resize(bins + 1, 0);
        let mut most = 0;
        for key in &self.unsorted {
            let count = &mut self.bins[bin(key) + 1];
            *count += 1;
            most = most.max(*count);
        }
        if most > BIN_MAX {
            std::mem::swap(&mut self.unsorted, &mut self.sorted);
            return self.sorted.sort_by(|a, b| a.time.total_cmp(&b.time));
        }
        let mut sum = 0;
        for count in &mut self.bins {
            sum += *count;
            *count = sum;
        }
        self.sorted.clear();
        self.sorted.resize(
            n,
            Key {
                time: 0.0,
                index: 0,
            },
        );
        for key in &self.unsorted {
            let place = &mut self.bins[bin(key)];
            self.sorted[*place as usize] = *key;
            *place += 1;
        }
        for i in 1..n {
            let key = self.sorted[i];
            let mut j = i;
            while j > 0 && self.sorted[j - 1].time > key.time {
                self.sorted[j] = self.sorted[j - 1];
                j -= 1;
            }
            self.sorted[j] = key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn as_a_stable_sort() {
        let mut random = Stream::new(1, Purpose::FREE, 0);
        let mut sorter = Sorter::default();
        for n in [0, 1, 2, 10, 1000, 5000] {
            for crowded in [false, true] {
                let times: Vec<f64> = (0..n)
                    .map(|_| {
                        let u = random.uniform();
                        5.0 + if crowded { 1e-6 * (u * 3.0).floor() } else { u }
                    })
                    .collect();
                let mut wanted: Vec<_> = (0..n as usize).collect();
                wanted.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
                let keys = times.iter().zip(0..);
                sorter.clear();
                sorter.extend(keys.map(|(time, index)| Key { time: *time, index }));
                sorter.sort(5.0, 1.0);
                let sorted: Vec<_> = sorter.sorted().iter().map(|k| k.index as usize).collect();
                assert_eq!(sorted, wanted);
            }
        }
    }
}
