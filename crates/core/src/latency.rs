//! What the network's rates imply, as pure functions: how long a message takes and how that is
//! spread, how many inboxes a wait allows, when a reply counts as lost. `docs/latency.md` derives
//! the formulas, and `simulations` measures whether they are true.
//!
//! Nothing here decides what leaves when; that is [`crate::stream`]'s draws alone.

use directory::Parameters;
use std::time::Duration;

/// A coin types each payload tick: send, or fetch.
pub const FETCH_SHARE: f64 = 0.5;
/// Of fetch ticks, those of transfers' inboxes; the rest are contacts'.
pub const BULK_SHARE: f64 = 0.25;
/// Links of one round trip, and of one way from a writer over the inbox to its reader.
pub const LINKS: u32 = 10;
/// Hops that wait δ + Exp(μ) on either of those ways, the answering gateway included.
const HOPS: u32 = 9;
/// Replies that wait for a slot of one session at most (`SessionLimits::queue_max`).
const DOWNLINK_QUEUE: f64 = 64.0;
/// A reply that waits longer for its slot than this quantile allows is one of a thousand.
const DOWNLINK_MISSED: f64 = 1e-3;

/// Mean and variance of a time, in seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Spread {
    /// Mean, s.
    pub mean: f64,
    /// Variance, s².
    pub variance: f64,
}

impl Spread {
    fn constant(time: Duration) -> Self {
        Self {
            mean: time.as_secs_f64(),
            variance: 0.0,
        }
    }

    fn exponential(mean: f64) -> Self {
        Self {
            mean,
            variance: mean * mean,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            mean: self.mean + other.mean,
            variance: self.variance + other.variance,
        }
    }

    fn times(self, n: u32) -> Self {
        Self {
            mean: self.mean * f64::from(n),
            variance: self.variance * f64::from(n),
        }
    }

    /// Median, of a gamma distribution with this mean and variance (Wilson and Hilferty): near for
    /// a sum of exponentials none of which is most of it.
    pub fn median(&self) -> f64 {
        self.quantile(0.0)
    }

    /// Exceeded once in a hundred, likewise.
    pub fn p99(&self) -> f64 {
        self.quantile(2.326_347_874)
    }

    fn quantile(&self, normal: f64) -> f64 {
        if self.variance <= 0.0 {
            return self.mean;
        }
        let shape = self.mean * self.mean / self.variance;
        let cube = 1.0 - 1.0 / (9.0 * shape) + normal / (3.0 * shape.sqrt());
        self.mean * cube.max(0.0).powi(3)
    }
}

/// Fetches a second of one place among `places` (all of contacts, or all of transfers).
pub fn place_rate(p: &Parameters, places: usize, bulk: bool) -> f64 {
    let share = if bulk { BULK_SHARE } else { 1.0 - BULK_SHARE };
    p.payload_rate.per_second() * FETCH_SHARE * share / places.max(1) as f64
}

/// A reply's wait for its slot: the rest of a slot, and an M/D/1 queue of what came before. A
/// directory that is being pushed is not in it.
pub fn downlink(p: &Parameters) -> Spread {
    let slot = 1.0 / p.downlink_rate.per_second();
    let load = load(p);
    let queued = load * slot / (2.0 * (1.0 - load));
    Spread {
        mean: slot / 2.0 + queued,
        variance: slot * slot / 12.0 + queued * queued + load * slot * slot / (3.0 * (1.0 - load)),
    }
}

/// Share of the downlink's slots that replies fill. A directory's is below 1.
fn load(p: &Parameters) -> f64 {
    let up = p.payload_rate.per_second() + p.loop_rate.per_second();
    (up / p.downlink_rate.per_second()).min(0.999)
}

/// From giving a cell to the client until its reader's client has it: for an inbox that has
/// `weight` of `places` among contacts' inboxes. `lead` is what both builders of frames take,
/// `link` the time on one link. No cell waits before this one.
pub fn one_way(
    p: &Parameters,
    (weight, places): (usize, usize),
    lead: Duration,
    link: Duration,
) -> Spread {
    let hop = Spread::constant(p.hop_allowance)
        .and(Spread::exponential(p.delay_mean.as_secs_f64()))
        .times(HOPS);
    let send = 1.0 / (p.payload_rate.per_second() * (1.0 - FETCH_SHARE));
    let fetch = 1.0 / (place_rate(p, places, false) * weight.max(1) as f64);
    Spread::exponential(send)
        .and(Spread::constant(lead))
        .and(hop)
        .and(Spread::exponential(fetch))
        .and(downlink(p))
        .and(Spread::constant(link * LINKS))
}

/// Most places among contacts' inboxes with which a message to a contact that is no favourite
/// takes at most `latency` in the mean. 0 where the network is slower than that for anybody.
pub fn places_within(p: &Parameters, latency: Duration, lead: Duration, link: Duration) -> usize {
    let all = one_way(p, (1, 1), lead, link).mean;
    let one = 1.0 / place_rate(p, 1, false);
    let left = latency.as_secs_f64() - (all - one);
    // As a number of places: a float of this size is exact.
    (left / one).clamp(0.0, 1e6) as usize
}

/// Where one more reply in the queue multiplies its probability by e^−θ/ν: the root of
/// ρ(eˣ − 1) = x, x = θ/ν (Kingman's bound for M/D/1).
fn decay(load: f64) -> f64 {
    let (mut low, mut high) = (0.0_f64, 64.0_f64);
    for _ in 0..64 {
        let x = (low + high) / 2.0;
        if load * x.exp_m1() < x {
            low = x;
        } else {
            high = x;
        }
    }
    low.max(1e-6)
}

/// A reply that is not back so long after its drawn delays counts as lost: what a reply waits for
/// its slot all but once in a thousand, the backlog that the push of a directory of `parts` frames
/// leaves, and `transport` for all links together.
pub fn reply_slack(p: &Parameters, parts: usize, transport: Duration) -> Duration {
    let rate = p.downlink_rate.per_second();
    let queue = 1.0 + (1.0 / DOWNLINK_MISSED).ln() / decay(load(p));
    // Parts take every other slot; what comes faster than the other half piles up.
    let piled = (2.0 * load(p) - 1.0).max(0.0) * parts as f64 * 2.0;
    let slots = (queue + piled).min(2.0 * DOWNLINK_QUEUE);
    Duration::from_secs_f64(slots / rate) + transport
}

/// A reader that had a cell would have said so after this, fetching without pause: the round trip
/// of a reply and the next request, of whose nine exponentials all but one in a hundred sum up to
/// less than 17.4 means, and a slot's wait.
pub fn give_again_after(p: &Parameters) -> Duration {
    let delays = p.delay_mean.mul_f64(17.4) + p.hop_allowance * HOPS;
    delays + reply_slack(p, 0, Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use directory::Rate;

    const LEAD: Duration = Duration::from_millis(25);
    const LINK: Duration = Duration::from_millis(5);

    #[test]
    fn by_hand_for_a_network_on_one_machine() {
        let p = Parameters::localnet();
        // 0.2 send, 0.025 lead, 9 × 0.06 hops, 2 / 3.75 fetch, (0.5 + 0.75) × 0.05 slot, 0.05 links.
        let way = one_way(&p, (1, 2), LEAD, LINK);
        let by_hand = 0.2 + 0.025 + 0.54 + 2.0 / 3.75 + 0.0625 + 0.05;
        assert!((way.mean - by_hand).abs() < 1e-9, "{way:?} {by_hand}");
        assert!(way.median() < way.mean && way.mean < way.p99());
        // A favourite has four places.
        let favourite = one_way(&p, (4, 8), LEAD, LINK);
        assert!((favourite.mean - by_hand).abs() < 1e-9);
    }

    #[test]
    fn as_many_places_as_a_latency_allows() {
        for p in [Parameters::localnet(), Parameters::wide()] {
            for places in [1, 2, 7, 64] {
                let mean = one_way(&p, (1, places), LEAD, LINK).mean;
                let enough = Duration::from_secs_f64(mean + 1e-6);
                let short = Duration::from_secs_f64(mean - 1e-6);
                assert_eq!(places_within(&p, enough, LEAD, LINK), places);
                assert_eq!(places_within(&p, short, LEAD, LINK), places - 1);
            }
            assert_eq!(places_within(&p, Duration::ZERO, LEAD, LINK), 0);
        }
    }

    #[test]
    fn a_gammas_quantiles() {
        // Erlang of 9 with mean 9: median 8.669, 99 % 17.403 (tables of the gamma distribution).
        let erlang = Spread::exponential(1.0).times(9);
        assert!((erlang.median() - 8.669).abs() < 0.01, "{erlang:?}");
        assert!((erlang.p99() - 17.403).abs() < 0.05, "{}", erlang.p99());
    }

    #[test]
    fn the_slack_follows_from_the_rates() {
        let transport = Duration::from_secs(2);
        let seconds = |p: &Parameters, parts| reply_slack(p, parts, transport).as_secs_f64();
        let (local, wide) = (Parameters::localnet(), Parameters::wide());
        // ρ = 0.6: x = 0.9397..; 1 + 6.9 / 0.94 slots of 50 ms, or of a second.
        assert!(
            (seconds(&local, 0) - 2.42).abs() < 0.02,
            "{}",
            seconds(&local, 0)
        );
        assert!(
            (seconds(&wide, 0) - 10.35).abs() < 0.2,
            "{}",
            seconds(&wide, 0)
        );
        assert!(seconds(&wide, 20) > seconds(&wide, 0) + 7.0);
        // Never longer than a full queue takes, nor shorter than the links.
        let mut tight = wide.clone();
        tight.downlink_rate = Rate(601);
        assert!(seconds(&tight, 1_000) < 2.0 + 2.1 * DOWNLINK_QUEUE / 0.6);
        let mut idle = wide;
        idle.downlink_rate = Rate(1_000_000);
        assert!(seconds(&idle, 0) > 2.0);
    }
}
