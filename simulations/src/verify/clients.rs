//! Clients seen from their links: the queue before a send clock, who was online, and activity under added cover.

use super::family::Params;
use super::{Answer, Task};
use crate::design::{Cover, Design, Emission};
use crate::random::{Purpose, Stream, ln, replication_seed};
use crate::stats::{Interval, Welford, share_interval};
use crate::traffic::{Demand, Traffic};
use anonymity::{activity as added, cost, disclosure};

/// Mean wait of a message for a tick of its client's clock, by the traffic of the engines.
pub(super) fn queue(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let clock = p.number("lamP", 1e-6, 1e6)?;
    let real = p.number("real", 0.0, clock * 0.999)?;
    if real == 0.0 {
        return Err("parameter real is 0: nobody waits".into());
    }
    let closed = cost::clock_wait(clock, real);
    let mut design = Design::loopix(2, 2);
    design.emission = Emission {
        payload_rate: clock,
        cover: Cover::Substitute,
        ..Emission::default()
    };
    // A queue forgets in about 1/(√λP − √r)²; it starts empty.
    let memory = 1.0 / (clock.sqrt() - real.sqrt()).powi(2);
    let end = 400.0 * memory + 400.0 / real;
    let rule = task.rule(12, 4_000);
    let mut waits = Welford::default();
    loop {
        let seed = replication_seed(task.seed, waits.count());
        let mut traffic = Traffic::new(&design, 8, Demand::poisson(real), seed, end);
        traffic.by_ref().for_each(drop);
        waits.push(traffic.queueing().mean());
        let interval = waits.interval();
        if rule.done(&interval) {
            return Ok(Answer::new(
                interval,
                Some(closed),
                "clients' traffic of the engines",
            ));
        }
    }
}

/// Epochs until one other than the target was online in all of them, on average.
pub(super) fn intersection(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let users = p.whole("N", 3, 1_000_000_000)?;
    let online = p.number("p", 1e-6, 1.0 - 1e-9)?;
    let others = f64::from(users - 1);
    let closed = disclosure::intersection_epochs(f64::from(users), online);
    let mut draws = Stream::new(task.seed, Purpose::CHURN, 0);
    // Only those who outlast most of the attack matter; the next of them among all users is found by skipping
    // the others (a geometric gap), which is the same as drawing every user.
    let early = (0.7 * closed.value).floor();
    let outlasts = online.powf(early);
    let mut stays: Vec<u64> = Vec::new();
    let mut worlds = 0u64;
    loop {
        for _ in 0..200 {
            worlds += 1;
            let mut at = gap(&mut draws, outlasts);
            while at < others {
                // Memoryless: how many epochs more.
                stays.push(early as u64 + gap_epochs(&mut draws, online));
                at += 1.0 + gap(&mut draws, outlasts);
            }
        }
        let mut counts: Vec<u64> = stays.clone();
        counts.sort_unstable();
        let mean = |epoch: u64| {
            let left = counts.len() - counts.partition_point(|s| *s < epoch);
            left as f64 / worlds as f64
        };
        // First epoch with one or fewer; between whole epochs on the logarithm.
        let mut after = early as u64;
        while mean(after) > 1.0 {
            after += 1;
        }
        let (above, below) = (mean(after.saturating_sub(1)), mean(after));
        let part = if below > 0.0 && above > below {
            above.ln() / (above / below).ln()
        } else {
            1.0
        };
        let value = after as f64 - 1.0 + part;
        // Of some n around one in each world the mean is off by 1/√worlds, and the epoch by that over ln(1/p).
        let half = 1.96 / (worlds as f64).sqrt() / -ln(online);
        let interval = Interval {
            value,
            low: value - half,
            high: value + half,
            count: worlds,
        };
        if half <= task.half_width || worlds >= 200_000 {
            return Ok(Answer::new(interval, Some(closed), "users drawn"));
        }
    }
}

/// Users skipped before the next with this probability.
fn gap(draws: &mut Stream, probability: f64) -> f64 {
    if probability >= 1.0 {
        return 0.0;
    }
    (ln(draws.uniform()) / (-probability).ln_1p()).floor()
}

/// Epochs in a row that somebody is online.
fn gap_epochs(draws: &mut Stream, online: f64) -> u64 {
    (ln(draws.uniform()) / ln(online)).floor() as u64
}

/// Packets of one run of the engines' traffic.
const PACKETS: f64 = 4e6;
/// Packets of a whole experiment.
const PACKETS_MAX: f64 = 6e8;

/// Links of idle and of active clients, each judged by the likelihood of what it carried; advantage.
pub(super) fn activity(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let cover = p.number("cover", 0.0, 1e6)?;
    let real = p.number("real", 0.0, 1e6)?;
    let seconds = p.number("T", 1e-9, 1e9)?;
    let each = (2.0 * cover + real) * seconds;
    if each > 1e7 {
        return Err("more than ten million packets on one link: too many to run".into());
    }
    let closed = added::advantage(cover, real, seconds);
    let threshold = added::threshold(cover, real, seconds);
    let mut design = Design::bare(1, 1, 1.0);
    design.emission = Emission {
        payload_rate: cover,
        cover: Cover::Add,
        ..Emission::default()
    };
    let at_once = (PACKETS / each.max(1.0)).clamp(2.0, 4_000.0) as u32;
    let most = (PACKETS_MAX / each.max(1.0)).clamp(2_000.0, 4e6) as u64;
    // How many of these clients sent more than is likely for an idle one.
    let loud = |demand: Demand, seed: u64| {
        let mut counts = vec![0u64; at_once as usize];
        for message in Traffic::new(&design, at_once, demand, seed, seconds) {
            counts[message.sender as usize] += 1;
        }
        counts.iter().filter(|n| **n as f64 > threshold).count() as u64
    };
    let (mut right, mut wrong, mut clients) = (0u64, 0u64, 0u64);
    for run in 0.. {
        wrong += loud(Demand::Nothing, replication_seed(task.seed, 2 * run));
        right += loud(
            Demand::poisson(real),
            replication_seed(task.seed, 2 * run + 1),
        );
        clients += u64::from(at_once);
        let (hit, miss) = (
            share_interval(right, clients),
            share_interval(wrong, clients),
        );
        let value = hit.value - miss.value;
        let half = hit.half_width().hypot(miss.half_width());
        if half <= task.half_width || clients >= most {
            let interval = Interval {
                value,
                low: value - half,
                high: value + half,
                count: clients,
            };
            let note = "clients' traffic of the engines, likelihood ratio";
            return Ok(Answer::new(interval, Some(closed), note));
        }
    }
    unreachable!("runs do not end")
}
