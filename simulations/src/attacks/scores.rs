//! Likelihood ratios that an adversary learns from one half of the clients and uses on the other half, so that
//! no score has seen what it judges.

use crate::metrics::{auc, tpr_at};
use crate::random::Stream;
use crate::stats::{Interval, share_interval};

/// How many of ascending times lie in `from..to`.
pub fn count(times: &[f64], from: f64, to: f64) -> usize {
    times.partition_point(|t| *t < to) - times.partition_point(|t| *t < from)
}

/// One thing to judge: numbers that were seen, whether it is a true case, and whose it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// What is seen.
    pub features: Vec<f64>,
    /// The truth.
    pub is_true: bool,
    /// The client: cases of even clients are judged by what was learnt of odd ones.
    pub client: usize,
}

/// Scores of true and of false cases, apart by the half that was judged: what one half learnt of the other must not be
/// compared with what the other learnt of it, or chance looks like less than chance.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scores {
    /// Of true cases.
    pub positives: [Vec<f64>; 2],
    /// Of false ones.
    pub negatives: [Vec<f64>; 2],
}

impl Scores {
    fn push(&mut self, half: usize, case: &Case, score: f64) {
        let side = match case.is_true {
            true => &mut self.positives,
            false => &mut self.negatives,
        };
        side[half].push(score);
    }

    /// Area under the ROC curve: mean of the halves, each within itself.
    pub fn auc(&self) -> Interval {
        let halves = [0, 1].map(|h| auc(&self.positives[h], &self.negatives[h]));
        let known: Vec<_> = halves.iter().filter(|h| h.count > 0).collect();
        let n = known.len().max(1) as f64;
        let value = known.iter().map(|h| h.value).sum::<f64>() / n;
        let half = known
            .iter()
            .map(|h| h.half_width().powi(2))
            .sum::<f64>()
            .sqrt()
            / n;
        Interval {
            value,
            low: (value - half).max(0.0),
            high: (value + half).min(1.0),
            count: halves.iter().map(|h| h.count).sum(),
        }
    }

    /// True-positive rate at a false-positive rate, with a threshold of its own for each half.
    pub fn tpr_at(&self, fpr: f64) -> Interval {
        let halves = [0, 1].map(|h| tpr_at(&self.positives[h], &self.negatives[h], fpr));
        let known = halves.iter().filter(|h| h.count > 0);
        let hits: f64 = known.map(|h| (h.value * h.count as f64).round()).sum();
        share_interval(hits as u64, halves.iter().map(|h| h.count).sum())
    }
}

/// Values of one feature are told apart by so many quantiles.
const BINS: usize = 8;

/// Naive Bayes over binned features: the sum of the features' log-likelihood ratios. It is the best rule where
/// features are independent in each world, and a suboptimal one elsewhere.
pub fn learnt(cases: &[Case]) -> Scores {
    let features = cases.first().map_or(0, |c| c.features.len());
    let edges: Vec<Vec<f64>> = (0..features).map(|f| edges(cases, f)).collect();
    let bin = |f: usize, x: f64| edges[f].partition_point(|e| *e <= x);
    let mut scores = Scores::default();
    for half in 0..2 {
        // Counts by feature, truth and bin; one in each bin to begin with (Laplace).
        let mut counts = vec![[[1.0f64; 2 * BINS + 3]; 2]; features];
        for case in cases.iter().filter(|c| c.client % 2 != half) {
            for (f, x) in case.features.iter().enumerate() {
                counts[f][usize::from(case.is_true)][bin(f, *x)] += 1.0;
            }
        }
        let total = |f: usize, truth: usize| counts[f][truth].iter().sum::<f64>();
        let totals: Vec<[f64; 2]> = (0..features).map(|f| [total(f, 0), total(f, 1)]).collect();
        for case in cases.iter().filter(|c| c.client % 2 == half) {
            let ratio = |(f, x): (usize, &f64)| {
                let b = bin(f, *x);
                let [no, yes] = totals[f];
                (counts[f][1][b] / yes).ln() - (counts[f][0][b] / no).ln()
            };
            let score = case.features.iter().enumerate().map(ratio).sum();
            scores.push(half, case, score);
        }
    }
    scores
}

/// Quantiles of a feature, and of its distinct values: what is rare must not share a bin with what is common.
fn edges(cases: &[Case], feature: usize) -> Vec<f64> {
    let mut values: Vec<f64> = cases.iter().map(|c| c.features[feature]).collect();
    values.sort_by(f64::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    let of = |sorted: &[f64]| -> Vec<f64> {
        let last = sorted.len() - 1;
        (0..=BINS).map(|i| sorted[i * last / BINS]).collect()
    };
    let mut edges = [of(&values), of(&distinct)].concat();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}

/// Frames counted by lag after a moment: the log-likelihood ratio of Poisson counts whose means are learnt. It
/// is the best rule for a point process that a moment shifts and that is Poisson otherwise.
pub fn by_lag(cases: &[Case]) -> Scores {
    let bins = cases.first().map_or(0, |c| c.features.len());
    let mut scores = Scores::default();
    for half in 0..2 {
        let mut sums = vec![[0.5f64; 2]; bins];
        let mut cases_of = [1.0f64; 2];
        for case in cases.iter().filter(|c| c.client % 2 != half) {
            let truth = usize::from(case.is_true);
            cases_of[truth] += 1.0;
            for (b, x) in case.features.iter().enumerate() {
                sums[b][truth] += x;
            }
        }
        for case in cases.iter().filter(|c| c.client % 2 == half) {
            let ratio = |(b, x): (usize, &f64)| {
                let [no, yes] = [sums[b][0] / cases_of[0], sums[b][1] / cases_of[1]];
                x * (yes / no).ln() - (yes - no)
            };
            let score = case.features.iter().enumerate().map(ratio).sum();
            scores.push(half, case, score);
        }
    }
    scores
}

/// The same cases with the truth dealt out at random among each client's: what an adversary has who sees
/// nothing.
pub fn permuted(cases: &[Case], draws: &mut Stream) -> Vec<Case> {
    let mut out = cases.to_vec();
    let clients = cases.iter().map(|c| c.client + 1).max().unwrap_or(0);
    for client in 0..clients {
        let places: Vec<usize> = (0..out.len())
            .filter(|i| out[*i].client == client)
            .collect();
        let mut truths: Vec<bool> = places.iter().map(|i| out[*i].is_true).collect();
        draws.shuffle(&mut truths);
        for (place, truth) in places.into_iter().zip(truths) {
            out[place].is_true = truth;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn cases(shift: f64) -> Vec<Case> {
        let mut draws = Stream::new(2, Purpose::FREE, 0);
        (0..2_000)
            .map(|i| {
                let is_true = i % 4 == 0;
                let mean = 5.0 + if is_true { shift } else { 0.0 };
                Case {
                    features: vec![draws.poisson(mean) as f64, draws.poisson(3.0) as f64],
                    is_true,
                    client: i / 100,
                }
            })
            .collect()
    }

    #[test]
    fn a_shift_is_found_and_none_is_not() {
        for rule in [learnt, by_lag] {
            let of = |cases: &[Case]| rule(cases).auc();
            assert!(of(&cases(3.0)).low > 0.75);
            let none = of(&cases(0.0));
            assert!((none.value - 0.5).abs() < 0.06, "{none:?}");
            let mut draws = Stream::new(3, Purpose::FREE, 0);
            let null = of(&permuted(&cases(3.0), &mut draws));
            assert!((null.value - 0.5).abs() < 0.06, "{null:?}");
        }
    }

    #[test]
    fn counting_takes_the_beginning_and_leaves_the_end() {
        assert_eq!(count(&[1.0, 2.0, 3.0], 1.0, 3.0), 2);
    }
}
