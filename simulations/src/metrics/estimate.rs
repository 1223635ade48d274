//! From samples to a number with its 95 % interval.

use crate::stats::{self, Interval, Welford, share_interval};

/// Two-sided 95 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// A number without doubt: counted `count` times, not sampled.
pub fn exact(value: f64, count: u64) -> Interval {
    Interval {
        count,
        ..Interval::certain(value)
    }
}

/// A number with a normal interval of this standard error.
pub fn normal(value: f64, error: f64, count: u64) -> Interval {
    Interval {
        value,
        low: value - Z * error,
        high: value + Z * error,
        count,
    }
}

/// Of nothing, nothing is known.
fn unknown() -> Interval {
    Interval {
        value: f64::NAN,
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
        count: 0,
    }
}

/// Mean, with Student's interval.
pub fn mean(samples: &[f64]) -> Interval {
    let mut sum = Welford::default();
    samples.iter().for_each(|x| sum.push(*x));
    sum.interval()
}

/// Share of samples for which something holds.
pub fn share(samples: &[f64], holds: impl Fn(f64) -> bool) -> Interval {
    let hits = samples.iter().filter(|x| holds(**x)).count();
    share_interval(hits as u64, samples.len() as u64)
}

/// A quantile, with the interval that order statistics give whatever the distribution is.
pub fn quantile(samples: &[f64], q: f64) -> Interval {
    stats::quantile_interval(&mut samples.to_vec(), q)
}

/// The median of samples, some of which are known only to be larger than all others (`beyond`).
pub fn median_between(samples: &[f64], beyond: usize) -> Interval {
    let mut all = samples.to_vec();
    all.extend(std::iter::repeat_n(f64::INFINITY, beyond));
    all.sort_by(f64::total_cmp);
    // Of the ranks first, so that nothing is said between a number and infinity.
    let mut ranks: Vec<f64> = (0..all.len()).map(|i| i as f64).collect();
    let rank = stats::quantile_interval(&mut ranks, 0.5);
    let at = |rank: f64| {
        let rank = rank.clamp(0.0, all.len().saturating_sub(1) as f64);
        all.get(rank.round() as usize).copied().unwrap_or(f64::NAN)
    };
    Interval {
        value: at(rank.value),
        low: at(rank.low),
        high: at(rank.high),
        count: rank.count,
    }
}

/// Area under the ROC curve (Mann and Whitney), with the interval of Hanley and McNeil (1982).
pub fn auc(positives: &[f64], negatives: &[f64]) -> Interval {
    let (p, n) = (positives.len() as f64, negatives.len() as f64);
    if positives.is_empty() || negatives.is_empty() {
        return unknown();
    }
    let sorted = ascending(negatives);
    let wins = |x: &f64| {
        let below = sorted.partition_point(|y| y < x);
        let not_above = sorted.partition_point(|y| y <= x);
        (below + not_above) as f64 / 2.0
    };
    let area = positives.iter().map(wins).sum::<f64>() / (p * n);
    auc_interval(area, p, n)
}

/// An area of so many true and false cases, with the interval of Hanley and McNeil.
pub(super) fn auc_interval(area: f64, p: f64, n: f64) -> Interval {
    if !(p > 0.0 && n > 0.0) {
        return unknown();
    }
    // Of two true cases and one false one, and the other way round (exponential scores).
    let (q1, q2) = (area / (2.0 - area), 2.0 * area * area / (1.0 + area));
    let square = area * area;
    let variance =
        (area * (1.0 - area) + (p - 1.0) * (q1 - square) + (n - 1.0) * (q2 - square)) / (p * n);
    let estimate = normal(area, variance.max(0.0).sqrt(), (p + n) as u64);
    Interval {
        low: estimate.low.max(0.0),
        high: estimate.high.min(1.0),
        ..estimate
    }
}

/// True-positive rate at a false-positive rate, and the interval of the former. The threshold is the
/// least one that lets no more than `fpr` of the false cases through.
pub fn tpr_at(positives: &[f64], negatives: &[f64], fpr: f64) -> Interval {
    let sorted = ascending(negatives);
    if sorted.is_empty() {
        return unknown();
    }
    let allowed = (fpr * sorted.len() as f64).floor() as usize;
    // One in a thousand of a hundred false cases cannot be told: the largest is the threshold.
    let threshold = sorted[sorted.len() - 1 - allowed.min(sorted.len() - 1)];
    share(positives, |x| x > threshold)
}

/// Points of the ROC curve, (FPR, TPR), at false-positive rates from 1/n to 1.
pub fn roc(positives: &[f64], negatives: &[f64]) -> Vec<(f64, f64)> {
    let n = negatives.len() as f64;
    let steps = 60u32;
    let rate = |i: u32| (1.0 / n).powf(1.0 - f64::from(i) / f64::from(steps));
    let point = |i: u32| (rate(i), tpr_at(positives, negatives, rate(i)).value);
    (0..=steps).map(point).collect()
}

/// Accuracy of a guess between two equally likely worlds as advantage: 2·accuracy − 1.
pub fn advantage(right: u64, guesses: u64) -> Interval {
    let p = share_interval(right, guesses);
    let over = |x: f64| 2.0 * x - 1.0;
    Interval {
        value: over(p.value),
        low: over(p.low),
        high: over(p.high),
        count: guesses,
    }
}

/// Mutual information of two labels in bits, less what labels give that are permuted within each group; the interval is
/// where 95 % of the permuted ones lie, moved to the estimate. That groups differ is no information. `draw` gives
/// uniform numbers.
pub fn mutual_information(
    groups: &[Vec<(usize, usize)>],
    mut draw: impl FnMut() -> f64,
) -> Interval {
    const PERMUTATIONS: usize = 200;
    let pairs = groups.concat();
    let plain = plug_in(&pairs);
    let mut permuted = pairs.clone();
    let mut under_null: Vec<f64> = (0..PERMUTATIONS)
        .map(|_| {
            let mut rest = &mut permuted[..];
            for group in groups {
                let (these, others) = rest.split_at_mut(group.len());
                for i in (1..these.len()).rev() {
                    let j = ((draw() * (i + 1) as f64) as usize).min(i);
                    let label = these[i].1;
                    these[i].1 = these[j].1;
                    these[j].1 = label;
                }
                rest = others;
            }
            plug_in(&permuted)
        })
        .collect();
    under_null.sort_by(f64::total_cmp);
    let center = under_null.iter().sum::<f64>() / PERMUTATIONS as f64;
    let (low, high) = (under_null[4], under_null[PERMUTATIONS - 5]);
    Interval {
        value: plain - center,
        low: plain - high,
        high: plain - low,
        count: pairs.len() as u64,
    }
}

fn plug_in(pairs: &[(usize, usize)]) -> f64 {
    use std::collections::BTreeMap;
    let n = pairs.len() as f64;
    let (mut joint, mut a, mut b) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (x, y) in pairs {
        *joint.entry((*x, *y)).or_insert(0.0) += 1.0 / n;
        *a.entry(*x).or_insert(0.0) += 1.0 / n;
        *b.entry(*y).or_insert(0.0) += 1.0 / n;
    }
    let bits = |((x, y), p): (&(usize, usize), &f64)| p * (p / (a[x] * b[y])).log2();
    joint.iter().map(bits).sum()
}

fn ascending(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_chance_and_parted_scores_are_certainty() {
        let same = auc(&[1.0; 50], &[1.0; 50]);
        assert!((same.value - 0.5).abs() < 1e-12 && same.low < 0.5 && same.high > 0.5);
        let apart = auc(&[2.0; 50], &[1.0; 50]);
        assert!((apart.value - 1.0).abs() < 1e-12);
        assert!((tpr_at(&[2.0; 50], &[1.0; 50], 0.01).value - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_threshold_lets_no_more_false_cases_through_than_allowed() {
        let negatives: Vec<f64> = (0..1000).map(f64::from).collect();
        // Ten of a thousand may pass: 990 and more.
        let positives = [989.0, 989.5, 990.0, 2000.0];
        assert!((tpr_at(&positives, &negatives, 0.01).value - 0.75).abs() < 1e-12);
        let curve = roc(&negatives, &negatives);
        assert!(curve.iter().all(|(f, t)| (f - t).abs() < 2e-3), "{curve:?}");
    }

    #[test]
    fn labels_without_a_link_carry_no_information_and_equal_labels_all() {
        let mut state = 1u64;
        let mut draw = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let apart: Vec<_> = (0..400).map(|i| (i % 2, (i / 2) % 2)).collect();
        let none = mutual_information(&[apart], &mut draw);
        assert!(
            none.low <= 0.0 && none.high >= 0.0 && none.value.abs() < 0.01,
            "{none:?}"
        );
        let equal: Vec<_> = (0..400).map(|i| (i % 2, i % 2)).collect();
        let all = mutual_information(&[equal], &mut draw);
        assert!(all.value > 0.98 && all.low > 0.9, "{all:?}");
    }

    #[test]
    fn a_median_with_more_than_half_beyond_is_beyond() {
        assert!(median_between(&[1.0, 2.0], 3).value.is_infinite());
        assert!((median_between(&[1.0, 2.0, 3.0], 0).value - 2.0).abs() < 1e-12);
    }
}
