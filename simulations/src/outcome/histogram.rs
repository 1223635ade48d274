//! Durations in logarithmic classes: exact moments, quantiles to 0.4 %, 100 KB whatever is counted.

/// Classes of one doubling.
const PER_OCTAVE_BITS: u32 = 8;
/// The first class begins at 2⁻²⁴ s; durations below are counted there.
const LEAST: u64 = (1023 - 24) << PER_OCTAVE_BITS;
/// 2⁻²⁴ … 2²⁴ s.
const CLASSES: usize = 48 << PER_OCTAVE_BITS;

/// Durations in seconds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    n: u64,
    sum: f64,
    squares: f64,
    most: f64,
}

impl Histogram {
    /// Counts one.
    #[inline]
    pub fn record(&mut self, seconds: f64) {
        if self.counts.is_empty() {
            self.counts = vec![0; CLASSES];
        }
        let class = (seconds.to_bits() >> (52 - PER_OCTAVE_BITS)).saturating_sub(LEAST);
        self.counts[(class as usize).min(CLASSES - 1)] += 1;
        self.n += 1;
        self.sum += seconds;
        self.squares += seconds * seconds;
        self.most = self.most.max(seconds);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.n
    }

    /// Mean; 0 of none.
    pub fn mean(&self) -> f64 {
        self.sum / (self.n.max(1) as f64)
    }

    /// Standard deviation; 0 of none.
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let square = self.squares / (self.n.max(1) as f64) - mean * mean;
        square.max(0.0).sqrt()
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.most
    }

    /// What a share does not exceed, to 0.4 %; 0 of none.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share.clamp(0.0, 1.0) * self.n as f64;
        let mut below = 0;
        for (class, count) in self.counts.iter().enumerate() {
            if *count > 0 && (below + count) as f64 >= wanted {
                let within = ((wanted - below as f64) / *count as f64).clamp(0.0, 1.0);
                let (low, high) = (edge(class), edge(class + 1));
                return (low + within * (high - low)).min(self.most);
            }
            below += count;
        }
        self.most
    }

    /// Upper edge and share at or below, for each class that holds any.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, f64)> {
        let mut below = 0;
        self.counts
            .iter()
            .enumerate()
            .filter_map(move |(class, count)| {
                below += count;
                (*count > 0).then(|| (edge(class + 1), below as f64 / self.n as f64))
            })
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts = vec![0; CLASSES];
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
        self.most = self.most.max(other.most);
    }
}

fn edge(class: usize) -> f64 {
    f64::from_bits((class as u64 + LEAST) << (52 - PER_OCTAVE_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn quantiles_of_an_exponential() {
        let mut random = Stream::new(1, Purpose::FREE, 0);
        let mut all = Histogram::default();
        let mut half = Histogram::default();
        for _ in 0..100_000 {
            let x = random.exponential(2.0);
            all.record(x);
            half.record(x);
        }
        half.merge(&all);
        for h in [&all, &half] {
            assert!((h.mean() - 2.0).abs() < 0.04, "{}", h.mean());
            assert!((h.deviation() - 2.0).abs() < 0.06);
            assert!((h.quantile(0.5) - 1.386).abs() < 0.03);
            assert!((h.quantile(0.99) - 9.21).abs() < 0.35);
        }
        assert_eq!(half.count(), 200_000);
        let last = all.cumulative().last().unwrap();
        assert!(last.0 >= all.max() && (last.1 - 1.0).abs() < 1e-12);
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }
}
