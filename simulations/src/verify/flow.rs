//! Flow matching: which of two egresses carries the sender's stream? Both ends are watched for the same time, and the
//! stream has gone on before, so that what left just before the watch began is known on average only.

use super::family::Params;
use super::{Answer, Task};
use crate::random::{Purpose, Stream, ln, replication_seed};
use crate::stats::Interval;
use anonymity::flow::{Flow, true_positive_rate};

/// Trials of each kind in a round.
const ROUND: u64 = 2_000;

/// True positive rate at the false positive rate that the metric names ("TPR at 1% FPR").
pub(super) fn matching(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let flow = Flow {
        emitted: p.number("a", 1e-6, 1e6)?,
        matched: p.number("r", 1e-9, 1e6)?,
        noise: p.number("nu", 0.0, 1e6)?,
        hops: p.whole("k", 1, 30)?,
        mu: p.number("mu", 1e-6, 1e6)?,
    };
    let seconds = p.number("T", 1e-6, 1e9)?;
    if flow.matched > flow.emitted {
        return Err("parameter r is above a: more would arrive than is sent".into());
    }
    let events = seconds * (flow.emitted + flow.matched + flow.noise);
    if events > 1e6 {
        return Err("more than a million packets in one trial: too many to run".into());
    }
    let fpr = false_positive_rate(p.metric())?;
    let most = (4e9 / (200.0 * (events + 10.0))).clamp(4_000.0, 60_000.0) as usize;
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for round in 0.. {
        for trial in 0..ROUND {
            let seed = replication_seed(task.seed, round * ROUND + trial);
            let mut draws = Stream::new(seed, Purpose::ADVERSARY, 0);
            let (sent, came) = pair(&flow, seconds, &mut draws);
            same.push(ratio(&flow, seconds, &sent, &came));
            for _ in 0..2 {
                // An egress with another stream like it.
                let (_, strangers) = pair(&flow, seconds, &mut draws);
                other.push(ratio(&flow, seconds, &sent, &strangers));
            }
        }
        let interval = rate_at(&mut same, &mut other, fpr);
        if interval.half_width() <= task.half_width || same.len() >= most {
            let closed = true_positive_rate(&flow, seconds, fpr);
            return Ok(Answer::new(
                interval,
                Some(closed),
                "pairs drawn, likelihood ratio",
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

/// A sender's packets in the time of the watch, and what comes out at the egress that they go to.
fn pair(flow: &Flow, seconds: f64, draws: &mut Stream) -> (Vec<f64>, Vec<f64>) {
    let lead = (f64::from(flow.hops) + 20.0) / flow.mu;
    let share = flow.matched / flow.emitted;
    let (mut sent, mut came) = (Vec::new(), Vec::new());
    let mut at = -lead;
    loop {
        at += draws.exponential(1.0 / flow.emitted);
        if at > seconds {
            break;
        }
        if at >= 0.0 {
            sent.push(at);
        }
        if draws.chance(share) {
            let arrives = at + draws.erlang(flow.hops, 1.0 / flow.mu);
            if (0.0..seconds).contains(&arrives) {
                came.push(arrives);
            }
        }
    }
    if flow.noise > 0.0 {
        let mut at = draws.exponential(1.0 / flow.noise);
        while at < seconds {
            came.push(at);
            at += draws.exponential(1.0 / flow.noise);
        }
    }
    came.sort_unstable_by(f64::total_cmp);
    (sent, came)
}

/// Σ_j over sent packets of (t − s_j)^i·e^(−μ(t − s_j)), i < k, moved along in time: the intensity at any moment for the
/// price of k², whatever came before.
struct Moments {
    sums: Vec<f64>,
    at: f64,
    mu: f64,
}

impl Moments {
    fn move_to(&mut self, time: f64) {
        let d = time - self.at;
        self.at = time;
        let fade = (-self.mu * d).exp();
        // (x + d)^i by repeated use of Horner's shift.
        let k = self.sums.len();
        for i in (0..k).rev() {
            let (mut sum, mut weight) = (0.0, 1.0);
            for j in (0..=i).rev() {
                sum += weight * self.sums[j];
                // C(i, j − 1)·d^(i − j + 1) from C(i, j)·d^(i − j).
                weight *= d * j as f64 / (i - j + 1) as f64;
            }
            self.sums[i] = sum;
        }
        for sum in &mut self.sums {
            *sum *= fade;
        }
    }
}

/// Log-likelihood ratio of what came, given what was sent, against a constant rate.
fn ratio(flow: &Flow, seconds: f64, sent: &[f64], came: &[f64]) -> f64 {
    let k = flow.hops as usize;
    let share = flow.matched / flow.emitted;
    let factorial: f64 = (1..flow.hops).map(f64::from).product();
    let height = flow.mu.powi(flow.hops as i32) / factorial;
    let flat = flow.noise + flow.matched;
    let mut moments = Moments {
        sums: vec![0.0; k],
        at: 0.0,
        mu: flow.mu,
    };
    let mut upcoming = sent.iter().peekable();
    let mut sum = 0.0;
    for &t in came {
        while let Some(&&s) = upcoming.peek() {
            if s >= t {
                break;
            }
            moments.move_to(s);
            moments.sums[0] += 1.0;
            upcoming.next();
        }
        moments.move_to(t);
        // What left before the watch: what of it is still to come, on average.
        let before = flow.matched * tail(flow.hops, flow.mu * t);
        let intensity = flow.noise + share * height * moments.sums[k - 1] + before;
        sum += ln((intensity / flat).max(1e-12));
    }
    let arrived: f64 = sent
        .iter()
        .map(|s| 1.0 - tail(flow.hops, flow.mu * (seconds - s)))
        .sum();
    // ∫ of the part from before: nearly all of it falls into the watch.
    let before = flow.matched * before_mass(flow.hops, flow.mu, seconds);
    let expected = flow.noise * seconds + share * arrived + before;
    sum - expected + flat * seconds
}

/// P(Erlang(k, 1) > x).
fn tail(hops: u32, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..hops {
        term *= x / f64::from(i);
        sum += term;
    }
    sum * (-x).exp()
}

/// ∫₀ᵀ P(Erlang(k, μ) > t) dt = Σ_{i ≤ k} P(Erlang(i, μ) ≤ T)/μ.
fn before_mass(hops: u32, mu: f64, seconds: f64) -> f64 {
    (1..=hops).map(|i| 1.0 - tail(i, mu * seconds)).sum::<f64>() / mu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_sums_they_stand_for() {
        let sent = [0.3, 0.7, 1.9];
        let mut moments = Moments {
            sums: vec![0.0; 4],
            at: 0.0,
            mu: 2.0,
        };
        for s in sent {
            moments.move_to(s);
            moments.sums[0] += 1.0;
        }
        moments.move_to(2.5);
        for (i, got) in moments.sums.iter().enumerate() {
            let term = |s: &f64| (2.5 - s).powi(i as i32) * (-2.0 * (2.5 - s)).exp();
            let sum: f64 = sent.iter().map(term).sum();
            assert!((got - sum).abs() < 1e-12, "{i}: {got} {sum}");
        }
    }

    #[test]
    fn the_metric_says_the_rate() {
        assert_eq!(false_positive_rate("TPR at 1% FPR"), Ok(0.01));
        assert_eq!(false_positive_rate("TPR at 0.1% FPR"), Ok(0.001));
        assert!(false_positive_rate("AUC").is_err());
    }
}
