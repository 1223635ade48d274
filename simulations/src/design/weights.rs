//! Routes that prefer some mixes: one of weight 3 is chosen three times as often as one of weight 1.

/// The nodes of a stage, each with its share of the 2⁶⁴ words that it may be chosen by.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Shares {
    /// Where the share of each node ends; the last one has what is left.
    ends: Vec<u64>,
}

impl Shares {
    /// Weights are used again and again if there are more nodes than weights. They are positive, as
    /// [`super::Design::check`] sees to.
    pub(super) fn new(weights: &[f64], nodes: u32) -> Self {
        const WORDS: f64 = (1_u128 << 64) as f64;
        let weights = || weights.iter().cycle().take(nodes as usize);
        let all: f64 = weights().sum();
        let sums = weights().scan(0.0, |sum, weight| {
            *sum += weight;
            Some((*sum / all * WORDS) as u64)
        });
        Self {
            ends: sums.collect(),
        }
    }

    /// The node whose share a word falls in.
    #[inline]
    pub(super) fn choose(&self, word: u64) -> u16 {
        let node = self.ends.partition_point(|end| *end <= word);
        node.min(self.ends.len() - 1) as u16
    }

    /// The same among all but one.
    #[inline]
    pub(super) fn choose_other(&self, word: u64, not: u16) -> u16 {
        let not = usize::from(not);
        let begin = if not == 0 { 0 } else { self.ends[not - 1] };
        let end = if not + 1 == self.ends.len() {
            u64::MAX
        } else {
            self.ends[not]
        };
        let gap = end - begin;
        // A word of those that are left, and then past the gap.
        let word = ((u128::from(word) * (u128::from(u64::MAX - gap) + 1)) >> 64) as u64;
        let word = if word >= begin {
            word.saturating_add(gap)
        } else {
            word
        };
        let node = self.choose(word);
        if usize::from(node) == not {
            // The last node's share ends with the last word, which is rounded away.
            return (if not == 0 { 1 } else { not - 1 }) as u16;
        }
        node
    }
}

/// Of those that are marked in a layer, as many, but the heaviest: where most routes pass.
pub(super) fn heaviest(marks: &mut [bool], weights: &[f64]) {
    let marked = marks.iter().filter(|m| **m).count();
    let weight = |node: &usize| weights[node % weights.len()];
    let mut order: Vec<_> = (0..marks.len()).collect();
    order.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    marks.fill(false);
    for node in order.into_iter().take(marked) {
        marks[node] = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    /// 100,000 draws, each share within five standard errors.
    #[test]
    fn nodes_are_chosen_by_their_weights() {
        let mut random = Stream::new(1, Purpose::FREE, 0);
        let shares = Shares::new(&[4.0, 2.0, 1.0], 5);
        let weights = [4.0, 2.0, 1.0, 4.0, 2.0];
        for not in [None, Some(0), Some(2), Some(4)] {
            let mut counts = [0.0; 5];
            for _ in 0..100_000 {
                let word = random.word();
                let node = match not {
                    None => shares.choose(word),
                    Some(not) => shares.choose_other(word, not),
                };
                counts[usize::from(node)] += 1.0;
            }
            let without = not.map_or(0.0, |n| weights[usize::from(n)]);
            for (node, count) in counts.iter().enumerate() {
                let share = if not == Some(node as u16) {
                    0.0
                } else {
                    weights[node] / (13.0 - without)
                };
                let error = (share * (1.0 - share) / 1e5_f64).sqrt();
                let off = (count / 1e5 - share).abs();
                assert!(off <= 5.0 * error, "{not:?}, {node}: {counts:?}");
            }
        }
        for word in [0, 1, u64::MAX - 1, u64::MAX] {
            assert!(shares.choose(word) < 5);
            assert!((0..5).all(|not| shares.choose_other(word, not) != not));
        }
    }

    #[test]
    fn an_adversary_who_adapts_takes_the_heaviest() {
        let mut marks = [true, true, false, false, false];
        heaviest(&mut marks, &[1.0, 2.0, 3.0]);
        assert_eq!(marks, [false, true, true, false, false]);
    }
}
