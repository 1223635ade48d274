//! One set of rates for the whole network, and how time is cut into epochs.

use std::time::Duration;
use wire::ids::Epoch;
use wire::puzzle::DIFFICULTY_MAX;
use wire::time::UnixTime;

/// A rate in thousandths of an event per second, so that a signed document holds no float.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(pub u32);

impl Rate {
    /// Events per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// Mean time between two events; at rate 0, ten thousand years.
    pub fn mean_gap(self) -> Duration {
        if self.0 == 0 {
            return Duration::from_secs(315_000_000_000);
        }
        Duration::from_nanos(1_000_000_000_000 / u64::from(self.0))
    }
}

/// No rate in a directory is higher: ten thousand a second.
pub const RATE_MAX: Rate = Rate(10_000_000);

/// What every node and client of the network goes by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// 1/μ: mean of the exponential delay at each hop.
    pub delay_mean: Duration,
    /// δ: constant allowance at each hop that hides queueing, unwrapping and durable writes.
    pub hop_allowance: Duration,
    /// λP: a client's payload stream.
    pub payload_rate: Rate,
    /// λL: a client's loop stream.
    pub loop_rate: Rate,
    /// λM: the own loops of each mix and each gateway.
    pub mix_loop_rate: Rate,
    /// Frames a gateway sends to each connected client.
    pub downlink_rate: Rate,
    /// How long before and after its epoch a Sphinx key is accepted.
    pub key_overlap: Duration,
    /// A pair's inboxes are replaced by their successors every so many epochs.
    pub inbox_period: u32,
    /// Longest life of an inbox that is not prolonged.
    pub inbox_ttl_max: Duration,
    /// Life of a cell that is not acknowledged.
    pub cell_ttl: Duration,
    /// Most cells in one inbox.
    pub inbox_quota: u16,
    /// Zero bits of the admission puzzle.
    pub puzzle_difficulty: u8,
}

impl Parameters {
    /// The rates of a network on one machine (design §1).
    pub fn localnet() -> Self {
        Self {
            delay_mean: Duration::from_millis(50),
            hop_allowance: Duration::from_millis(10),
            payload_rate: Rate(10_000),
            loop_rate: Rate(2_000),
            mix_loop_rate: Rate(10_000),
            downlink_rate: Rate(20_000),
            key_overlap: Duration::from_secs(5),
            inbox_period: 2016,
            inbox_ttl_max: Duration::from_secs(30 * 86_400),
            cell_ttl: Duration::from_secs(7 * 86_400),
            inbox_quota: 256,
            puzzle_difficulty: 8,
        }
    }

    /// The rates of a real network (design §1).
    pub fn wide() -> Self {
        Self {
            delay_mean: Duration::from_secs(2),
            hop_allowance: Duration::from_millis(20),
            payload_rate: Rate(500),
            loop_rate: Rate(100),
            mix_loop_rate: Rate(250),
            downlink_rate: Rate(1_000),
            key_overlap: Duration::from_secs(300),
            inbox_period: 336,
            inbox_ttl_max: Duration::from_secs(60 * 86_400),
            cell_ttl: Duration::from_secs(14 * 86_400),
            inbox_quota: 256,
            puzzle_difficulty: 16,
        }
    }

    /// Whether a program goes by these parameters at all; names the first that is out of bounds.
    /// The bounds keep a mistaken or hostile directory from silencing a client, flooding a network
    /// or stretching a wait beyond reason. `docs/spec/directory.md` §4.
    pub fn check(&self, schedule: &EpochSchedule) -> Result<(), &'static str> {
        const SECOND: Duration = Duration::from_secs(1);
        const YEAR: Duration = Duration::from_secs(366 * 86_400);
        let rate = |r: Rate| (1..=RATE_MAX.0).contains(&r.0);
        let life = |d: Duration| (SECOND..=YEAR).contains(&d);
        let delay = Duration::from_millis(1)..=Duration::from_secs(3600);
        let rules = [
            ("delay_mean", delay.contains(&self.delay_mean)),
            ("hop_allowance", self.hop_allowance <= 10 * SECOND),
            ("payload_rate", rate(self.payload_rate)),
            ("loop_rate", rate(self.loop_rate)),
            ("mix_loop_rate", rate(self.mix_loop_rate)),
            // Each packet of a client brings one reply down: slower than they come, the replies
            // would pile up at the gateway for ever.
            (
                "downlink_rate",
                rate(self.downlink_rate)
                    && self.downlink_rate.0 > self.payload_rate.0 + self.loop_rate.0,
            ),
            ("key_overlap", self.key_overlap < schedule.length),
            ("inbox_period", self.inbox_period >= 1),
            ("inbox_ttl_max", life(self.inbox_ttl_max)),
            ("cell_ttl", life(self.cell_ttl)),
            ("inbox_quota", self.inbox_quota >= 1),
            (
                "puzzle_difficulty",
                self.puzzle_difficulty <= DIFFICULTY_MAX,
            ),
        ];
        match rules.into_iter().find(|(_, holds)| !holds) {
            Some((name, _)) => Err(name),
            None => Ok(()),
        }
    }

    /// An exponential delay is longer than this once in 10¹² draws: −ln(10⁻¹²)/μ = 27.63/μ. A hop
    /// discards what asks for more; a sender draws again at no place, the tail is simply lost.
    pub fn delay_bound(&self) -> Duration {
        self.delay_mean.mul_f64(27.631_021_115_928_547)
    }
}

/// How time is cut into epochs; the same for everybody, part of `network.toml` and of every
/// directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochSchedule {
    /// Start of epoch 0.
    pub genesis: UnixTime,
    /// Length of every epoch, in whole milliseconds.
    pub length: Duration,
}

impl EpochSchedule {
    /// The epoch that `time` lies in; epoch 0 for all time before.
    pub fn epoch_at(&self, time: UnixTime) -> Epoch {
        // Milliseconds, in 64 bits: nodes ask this at every packet.
        let length = u64::try_from(self.length.as_millis().max(1)).unwrap_or(u64::MAX);
        Epoch(time.0.saturating_sub(self.genesis.0) / length)
    }

    /// When `epoch` starts.
    pub fn start(&self, epoch: Epoch) -> UnixTime {
        let length = u64::try_from(self.length.as_millis().max(1)).unwrap_or(u64::MAX);
        UnixTime(
            self.genesis
                .0
                .saturating_add(length.saturating_mul(epoch.0)),
        )
    }
}
