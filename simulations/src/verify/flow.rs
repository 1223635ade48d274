//! Flow matching by the rule and on the traffic of attack A4: which of two egresses carries the sender's stream? Both ends
//! are watched for the same time, and the stream has gone on before: its intensity counts all that was sent, as the formula
//! has it (simulation.md §2.10 of the reference: ν + (r/a)·Σg(t − sᵢ)).

use super::family::Params;
use super::{Answer, Task};
use crate::attacks::matching::Flow;
use crate::random::replication_seed;
use crate::stats::Interval;
use anonymity::flow::true_positive_rate;

/// Senders of a round, and strangers' egresses for each.
const ROUND: usize = 1_000;
const OTHERS: usize = 6;

/// True positive rate at the false positive rate that the metric names ("TPR at 1% FPR").
pub(super) fn matching(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let seconds = p.number("T", 1e-6, 1e9)?;
    let flow = Flow {
        emitted: p.number("a", 1e-6, 1e6)?,
        matched: p.number("r", 1e-9, 1e6)?,
        noise: p.number("nu", 0.0, 1e6)?,
        hops: p.whole("k", 1, 30)?,
        delay: 1.0 / p.number("mu", 1e-6, 1e6)?,
        time: seconds,
    };
    if flow.matched > flow.emitted {
        return Err("parameter r is above a: more would arrive than is sent".into());
    }
    let events = seconds * (flow.emitted + flow.matched + flow.noise);
    if events > 1e6 {
        return Err("more than a million packets in one trial: too many to run".into());
    }
    let fpr = false_positive_rate(p.metric())?;
    let most = (4e9 / (100.0 * (events + 10.0))).clamp(4_000.0, 100_000.0) as usize;
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for round in 0.. {
        let seed = replication_seed(task.seed, round);
        let scores = flow.scores(ROUND, OTHERS, seed);
        let (right, wrong) = scores.map_err(|e| e.to_string())?;
        same.extend(right);
        other.extend(wrong);
        let interval = rate_at(&mut same, &mut other, fpr);
        // What is expected was measured itself, and may be off by most of the tolerance.
        let enough = same.len() >= 3 * ROUND && 3.0 * interval.half_width() <= task.half_width;
        if enough || same.len() >= most {
            let closed = true_positive_rate(&flow.closed(), seconds, fpr);
            return Ok(Answer::new(
                interval,
                Some(closed),
                "streams of the sweep, likelihood ratio of A4",
            ));
        }
    }
    unreachable!("rounds do not end")
}

/// The percentage before a `%` in the metric.
fn false_positive_rate(metric: &str) -> Result<f64, String> {
    let percent = metric
        .split('%')
        .next()
        .and_then(|m| m.split_whitespace().last());
    match percent.and_then(|m| m.parse::<f64>().ok()) {
        Some(x) if metric.contains('%') && (0.01..=50.0).contains(&x) => Ok(x / 100.0),
        _ => Err(format!(
            "unknown metric {metric:?}: needs \"TPR at 1% FPR\", from 0.01% to 50%"
        )),
    }
}

/// TPR at the empirical quantile of the negatives, with the errors of both.
fn rate_at(same: &mut [f64], other: &mut [f64], fpr: f64) -> Interval {
    same.sort_unstable_by(f64::total_cmp);
    other.sort_unstable_by(f64::total_cmp);
    let n = other.len() as f64;
    let above = |threshold: f64| {
        (same.len() - same.partition_point(|x| *x <= threshold)) as f64 / same.len() as f64
    };
    let at = |share: f64| {
        let rank = ((1.0 - share.clamp(0.0, 1.0)) * n) as usize;
        other[rank.min(other.len() - 1)]
    };
    let value = above(at(fpr));
    let wobble = 1.96 * (fpr * (1.0 - fpr) / n).sqrt();
    let from_threshold = 0.5 * (above(at(fpr + wobble)) - above(at(fpr - wobble)));
    let from_count = 1.96 * (value * (1.0 - value) / same.len() as f64).sqrt();
    let half = from_threshold.hypot(from_count);
    Interval {
        value,
        low: value - half,
        high: value + half,
        count: same.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_says_the_rate() {
        assert_eq!(false_positive_rate("TPR at 1% FPR"), Ok(0.01));
        assert_eq!(false_positive_rate("TPR at 0.1% FPR"), Ok(0.001));
        assert!(false_positive_rate("AUC").is_err());
    }
}
