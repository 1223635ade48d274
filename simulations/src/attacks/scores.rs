//! Likelihood ratios that an adversary learns from one half of the clients and uses on the other half, so that
//! no score has seen what it judges.

use crate::metrics::{Interval, Scored, auc_within, threshold, tpr_clustered};
use crate::random::Stream;
use std::collections::BTreeMap;

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

/// Scores of true and of false cases, each with its client, apart by the half that was judged: what one half learnt of the
/// other is not compared with what the other learnt of it, or chance looks like less than chance.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scores {
    /// Of true cases.
    pub positives: [Vec<Scored>; 2],
    /// Of false ones.
    pub negatives: [Vec<Scored>; 2],
}

impl Scores {
    fn push(&mut self, half: usize, case: &Case, score: f64) {
        let side = match case.is_true {
            true => &mut self.positives,
            false => &mut self.negatives,
        };
        side[half].push((case.client, score));
    }

    /// Area under the ROC curve, each true case compared with the false ones of the same client. What is scored of one
    /// client at neighbouring times is not independent; the interval is one over clients.
    pub fn auc(&self) -> Interval {
        auc_within(&self.positives.concat(), &self.negatives.concat())
    }

    /// True-positive rate at a false-positive rate, with a threshold of its own for each half.
    pub fn tpr_at(&self, fpr: f64) -> Interval {
        let halves = [0, 1].map(|h| above(&self.positives[h], &self.negatives[h], fpr));
        tpr_clustered(&halves.concat(), &[(0, 0.0)], 0.0)
    }
}

/// By how much each true case lies above the threshold of its half.
fn above(positives: &[Scored], negatives: &[Scored], fpr: f64) -> Vec<Scored> {
    let falses: Vec<f64> = negatives.iter().map(|s| s.1).collect();
    let threshold = threshold(&falses, fpr).unwrap_or(f64::INFINITY);
    let over = positives.iter().map(|(of, score)| (*of, score - threshold));
    over.collect()
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
        let means = Means::learn(cases, half, 0, bins);
        for case in cases.iter().filter(|c| c.client % 2 == half) {
            scores.push(half, case, means.ratio(&case.features));
        }
    }
    scores
}

/// The first feature is the likelihood ratio of one frame more than there would be, at a lag that is drawn from the
/// delays; what follows are counts by lag, as in [`by_lag`]. The sum of both: the best rule where a moment adds one frame
/// to a Poisson process and shifts another.
pub fn one_more(cases: &[Case]) -> Scores {
    /// A frame is lost, or comes later than is looked, about so often.
    const MISSING: f64 = 0.05;
    let bins = cases.first().map_or(1, |c| c.features.len());
    let mut scores = Scores::default();
    for half in 0..2 {
        let means = Means::learn(cases, half, 1, bins);
        for case in cases.iter().filter(|c| c.client % 2 == half) {
            let more = (MISSING + (1.0 - MISSING) * case.features[0]).ln();
            scores.push(half, case, more + means.ratio(&case.features[1..]));
        }
    }
    scores
}

/// Mean counts of true and of false cases, learnt from the other half.
struct Means(Vec<[f64; 2]>);

impl Means {
    /// Of features `from..to`.
    fn learn(cases: &[Case], half: usize, from: usize, to: usize) -> Self {
        // As if a few cases of each kind had shown what all show: of few cases little is learnt.
        const PRIOR: f64 = 20.0;
        let mut sums = vec![[0.0f64; 2]; to - from];
        let mut of = [0.0f64; 2];
        for case in cases.iter().filter(|c| c.client % 2 != half) {
            let truth = usize::from(case.is_true);
            of[truth] += 1.0;
            for (sum, x) in sums.iter_mut().zip(&case.features[from..to]) {
                sum[truth] += x;
            }
        }
        let mean = |sum: [f64; 2]| {
            let all = (sum[0] + sum[1] + 0.5) / (of[0] + of[1] + 1.0);
            [0, 1].map(|truth| (sum[truth] + PRIOR * all) / (of[truth] + PRIOR))
        };
        Self(sums.into_iter().map(mean).collect())
    }

    /// Log-likelihood ratio of Poisson counts.
    fn ratio(&self, counts: &[f64]) -> f64 {
        let one = |([no, yes], x): (&[f64; 2], &f64)| x * (yes / no).ln() - (yes - no);
        self.0.iter().zip(counts).map(one).sum()
    }
}

/// The same cases, each client's truths moved along by a random number of places, the last ones to the front: what an
/// adversary has who sees nothing. Neighbours stay neighbours.
pub fn rotated(cases: &[Case], draws: &mut Stream) -> Vec<Case> {
    let mut out = cases.to_vec();
    let mut places: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, case) in cases.iter().enumerate() {
        places.entry(case.client).or_default().push(i);
    }
    for places in places.values() {
        let mut truths: Vec<bool> = places.iter().map(|i| cases[*i].is_true).collect();
        let by = draws.below(truths.len() as u64) as usize;
        truths.rotate_right(by);
        for (place, truth) in places.iter().zip(truths) {
            out[*place].is_true = truth;
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
                let is_true = draws.chance(0.25);
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
            let null = of(&rotated(&cases(3.0), &mut draws));
            assert!((null.value - 0.5).abs() < 0.06, "{null:?}");
        }
    }

    #[test]
    fn counting_takes_the_beginning_and_leaves_the_end() {
        assert_eq!(count(&[1.0, 2.0, 3.0], 1.0, 3.0), 2);
    }
}
