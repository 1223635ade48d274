//! One measurement: load at a rate for a while, and what came of it. And the search for the rate that a
//! node can just carry.

use super::process::{self, Usage};
use super::source::{Offer, Source};
use super::stock::Stock;
use super::world::{Setup, World};
use runtime::node::NodeError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Load before anything is counted: several mean delays, so that as much leaves as comes.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longer than the period in which the node copies its counts.
const COPIED: Duration = Duration::from_millis(700);
/// A node carries a rate if it takes this share of it and lets as much of that out again.
const CARRIED: f64 = 0.98;
/// The next rate to try where one was carried for a moment but not for long.
const BACK: f64 = 0.95;
/// Where the search for a node's limit begins and ends, in packets a second.
const LEAST: f64 = 1000.0;
const MOST: f64 = 1e6;
/// Steps of the search once it knows a factor of two: each halves what is unknown.
const STEPS: usize = 4;

/// A world under load.
pub struct Trial {
    /// The node and its surroundings.
    pub world: World,
    stock: Stock,
    source: Source,
}

/// What a window measured.
#[derive(Clone, Debug)]
pub struct Window {
    /// Packets a second that were asked for.
    pub asked: f64,
    /// Packets a second that the node took.
    pub sent: f64,
    /// Packets a second that came out in the same time.
    pub passed: f64,
    /// Packets that were due and that the node did not take, a second: held back by TCP.
    pub behind: f64,
    /// Packets of the window.
    pub numbers: Range<usize>,
    /// Of these, packets that never came out.
    pub missing: usize,
    /// Discards by reason, warm-up included.
    pub discards: BTreeMap<String, u64>,
    /// CPU of the node by thread, in microseconds for each packet sent.
    pub cpu: BTreeMap<String, f64>,
    /// CPU of the node by stage of a packet's way, as it counts itself, the same; warm-up included.
    pub stages: BTreeMap<String, f64>,
    /// CPU of generator and sink, the same.
    pub own_cpu: f64,
    /// Share of the time that the node's threads were ready and had no core, of one core.
    pub waited: f64,
    /// Microseconds after sent + δ + delay, from outside: p50, p99, p99.9, the last.
    pub late: [f64; 4],
    /// Packets that came before that.
    pub early: usize,
    /// The same by the node's own histogram, from due to handed to the link: bounds of p50 and p99.
    pub own_late: Option<[f64; 2]>,
    /// Resident memory at the end, in bytes.
    pub resident: u64,
    /// The most during the window.
    pub peak: u64,
}

impl Window {
    /// CPU of the node for each packet, in microseconds.
    pub fn cpu_total(&self) -> f64 {
        self.cpu.values().sum()
    }

    /// For files.
    pub fn to_json(&self) -> Value {
        let [p50, p99, p999, last] = self.late;
        json!({
            "asked_per_s": self.asked, "sent_per_s": self.sent, "passed_per_s": self.passed,
            "held_back_per_s": self.behind, "packets": self.numbers.len(), "missing": self.missing,
            "discards": self.discards,
            "cpu_us_per_packet_by_thread": self.cpu, "cpu_us_per_packet_by_stage": self.stages, "cpu_us_per_packet_total": self.cpu_total(),
            "generator_cpu_us_per_packet": self.own_cpu, "waited_for_a_core": self.waited,
            "late_us": {"p50": p50, "p99": p99, "p999": p999, "max": last},
            "early": self.early,
            "late_us_by_the_node_at_most": self.own_late.map(|[p50, p99]| json!({"p50": p50, "p99": p99})),
            "resident_bytes": self.resident, "peak_bytes": self.peak,
        })
    }
}

/// Packets that cost a node something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// As they should be.
    Good,
    /// Their MAC is wrong.
    Junk,
    /// They were here before.
    Replay,
    /// Their frame names an epoch that has no key.
    OtherEpoch,
}

/// Counts at one moment.
struct Mark {
    at: Instant,
    passed: u64,
    node: Usage,
    own: Usage,
}

impl Trial {
    /// Starts a node and connects to it.
    pub fn start(setup: Setup) -> Result<Self, NodeError> {
        let mut world = World::new(setup)?;
        world.start()?;
        Ok(Self {
            stock: world.stock()?,
            source: world.source()?,
            world,
        })
    }

    /// Source and stock, for loads of another kind.
    pub fn parts(&mut self) -> (&mut Source, &mut Stock) {
        (&mut self.source, &mut self.stock)
    }

    fn mark(&self) -> Result<Mark, NodeError> {
        Ok(Mark {
            at: Instant::now(),
            passed: self.world.ledger().passed(),
            node: self.world.usage()?,
            own: Usage::of(std::process::id())?,
        })
    }

    fn send(
        &mut self,
        numbers: Range<usize>,
        rate: f64,
    ) -> Result<(Range<usize>, usize), NodeError> {
        let offer = Offer {
            until: rate
                .is_finite()
                .then(|| Instant::now() + Duration::from_secs_f64(numbers.len() as f64 / rate)),
            numbers,
            rate,
        };
        let offered = self.source.offer(&self.stock, offer);
        match offered.broken {
            None => Ok((offered.numbers, offered.behind)),
            Some(error) => Err(super::failed("send to the node")(error)),
        }
    }

    /// Waits until every packet sent is due and a second has passed, or all came out.
    pub fn drain(&self, numbers: Range<usize>) {
        let (ledger, clock) = (self.world.ledger(), self.world.clock());
        let due = numbers
            .clone()
            .filter_map(|n| ledger.due(n, self.world.allowance()));
        let last = due.max().unwrap_or(0).saturating_add(1_000_000_000);
        while clock.now().as_nanos() < last && ledger.passed_of(numbers.clone()) < numbers.len() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn discards(&self) -> BTreeMap<String, u64> {
        let status = self.world.status().unwrap_or_default();
        let all = status["discards"].as_object().cloned().unwrap_or_default();
        all.into_iter()
            .filter_map(|(reason, count)| Some((reason, count.as_u64()?)))
            .collect()
    }

    /// Loads the node at `rate` packets a second for `time` after a warm-up.
    pub fn measure(&mut self, rate: f64, time: Duration) -> Result<Window, NodeError> {
        let before = (self.discards(), self.histogram(), self.stages());
        let warm = self.stock.make((rate * WARM_UP.as_secs_f64()) as usize);
        let numbers = self.stock.make((rate * time.as_secs_f64()) as usize);
        if let Some(pid) = self.world.pid() {
            process::forget_peak(pid);
        }
        self.send(warm.clone(), rate)?;
        let start = self.mark()?;
        let (sent, behind) = self.send(numbers, rate)?;
        let end = self.mark()?;
        self.stock.forget();
        self.drain(sent.clone());
        std::thread::sleep(COPIED);
        let seconds = (end.at - start.at).as_secs_f64();
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / sent.len().max(1) as f64;
        let cpu = end.node.cpu_since(&start.node);
        let own = end.own.cpu_since(&start.own);
        let ledger = self.world.ledger();
        let late = ledger.lateness(sent.clone(), self.world.allowance());
        let (discards, histogram) = (self.discards(), self.histogram());
        let stages = self.stages().into_iter().map(|(stage, seconds)| {
            let spent = seconds - before.2.get(&stage).copied().unwrap_or(0.0);
            (stage, spent * 1e6 / (warm.len() + sent.len()).max(1) as f64)
        });
        Ok(Window {
            asked: rate,
            sent: sent.len() as f64 / seconds,
            passed: (end.passed - start.passed) as f64 / seconds,
            behind: behind as f64 / seconds,
            missing: sent.len() - ledger.passed_of(sent.clone()),
            discards: since(&discards, &before.0),
            cpu: cpu.into_iter().map(|(k, t)| (k, each(t))).collect(),
            stages: stages.collect(),
            own_cpu: each(own.into_values().sum()),
            waited: (end.node.waited.saturating_sub(start.node.waited)).as_secs_f64() / seconds,
            late: [0.5, 0.99, 0.999, 1.0].map(|p| late.quantile(p)),
            early: late.early(),
            own_late: quantiles(&before.1, &histogram),
            resident: end.node.resident,
            peak: self.world.usage()?.peak,
            numbers: sent,
        })
    }

    /// The highest rate of which nearly all comes out for as long as `lasting`, in packets a second: doubled
    /// until it is too much for a `step`, then halved in between, then lowered until it lasts. A rate
    /// counts as too much when it was twice in a row, so that a moment's disturbance from elsewhere is
    /// not taken for the node's limit.
    pub fn capacity(&mut self, step: Duration, lasting: Duration) -> Result<f64, NodeError> {
        let mut rate = self.burst(step)?;
        while rate > 1.0 && !self.carries_soon(rate, lasting)? {
            rate *= BACK;
        }
        Ok(rate.max(1.0))
    }

    /// What a node carries for a moment: queues that fill meanwhile are not seen.
    fn burst(&mut self, step: Duration) -> Result<f64, NodeError> {
        let (mut low, mut high) = (0.0, LEAST);
        while high <= MOST && self.carries_soon(high, step)? {
            (low, high) = (high, 2.0 * high);
        }
        for _ in 0..STEPS {
            let rate = f64::midpoint(low, high);
            if self.carries_soon(rate, step)? {
                low = rate;
            } else {
                high = rate;
            }
        }
        Ok(low)
    }

    fn carries_soon(&mut self, rate: f64, step: Duration) -> Result<bool, NodeError> {
        Ok(self.carries(rate, step)? || self.carries(rate, step)?)
    }

    /// Sends `packets` as fast as the node takes them; taken and let out a second, in the second half of
    /// them: before that, what is let out has not yet come into step with what is taken.
    pub fn flood(&mut self, packets: usize) -> Result<[f64; 2], NodeError> {
        let first = self.stock.make(packets / 2);
        let second = self.stock.make(packets / 2);
        self.send(first.clone(), f64::INFINITY)?;
        let (start, passed) = (Instant::now(), self.world.ledger().passed());
        let (sent, _) = self.send(second, f64::INFINITY)?;
        let took = start.elapsed().as_secs_f64();
        let came = self.world.ledger().passed() - passed;
        self.stock.forget();
        self.drain(first.start..sent.end);
        Ok([sent.len() as f64 / took, came as f64 / took])
    }

    fn carries(&mut self, rate: f64, time: Duration) -> Result<bool, NodeError> {
        let warm = self.stock.make((rate * WARM_UP.as_secs_f64()) as usize);
        let numbers = self.stock.make((rate * time.as_secs_f64()) as usize);
        self.send(warm.clone(), rate)?;
        let passed = self.world.ledger().passed();
        let (sent, behind) = self.send(numbers, rate)?;
        let passed = (self.world.ledger().passed() - passed) as usize;
        self.stock.forget();
        self.drain(warm.start..sent.end);
        let missing = sent.len() - self.world.ledger().passed_of(sent.clone());
        // As much leaves as comes, but for chance: what waits is a Poisson number, of some thousands at most.
        let allowed = ((1.0 - CARRIED) * sent.len() as f64) as usize;
        let grown = sent.len().saturating_sub(passed);
        Ok(missing <= allowed && behind <= allowed && grown <= allowed + 200)
    }

    /// CPU of the node for each packet of a kind, in microseconds, at `rate` for `time`.
    pub fn cost(&mut self, kind: Kind, rate: f64, time: Duration) -> Result<f64, NodeError> {
        let numbers = self.stock.make((rate * time.as_secs_f64()) as usize);
        if kind == Kind::Replay {
            self.send(numbers.clone(), rate)?;
            self.drain(numbers.clone());
        }
        let before = self.world.usage()?;
        let offer = Offer {
            until: None,
            numbers: numbers.clone(),
            rate,
        };
        let offered = self
            .source
            .offer_frames(&self.stock, offer, |stock, number| match kind {
                Kind::Good | Kind::Replay => stock.frame(number),
                Kind::Junk => stock.junk(number),
                Kind::OtherEpoch => stock.of_other_epoch(number),
            });
        if let Some(error) = offered.broken {
            return Err(super::failed("send to the node")(error));
        }
        self.stock.forget();
        if kind == Kind::Good {
            self.drain(numbers.clone());
        } else {
            std::thread::sleep(COPIED);
        }
        let cpu = self.world.usage()?.cpu_since(&before);
        let all: Duration = cpu.into_values().sum();
        Ok(all.as_secs_f64() * 1e6 / numbers.len().max(1) as f64)
    }

    /// CPU seconds by stage, as the node counts them.
    fn stages(&self) -> BTreeMap<String, f64> {
        let text = self.world.metrics().unwrap_or_default();
        let line = |line: &str| {
            let rest = line.strip_prefix("mizzle_stage_cpu_seconds_total{stage=\"")?;
            let (stage, seconds) = rest.split_once("\"} ")?;
            Some((stage.to_owned(), seconds.trim().parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }

    /// The node's own histogram of lateness: packets at most so late, by upper bound in seconds.
    fn histogram(&self) -> Vec<(f64, u64)> {
        let text = self.world.metrics().unwrap_or_default();
        let line = |line: &str| {
            let rest = line.strip_prefix("mizzle_lateness_seconds_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            let bound = if bound == "+Inf" {
                f64::INFINITY
            } else {
                bound.parse().ok()?
            };
            Some((bound, count.trim().parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }
}

fn since(now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(reason, count): (&String, &u64)| {
        let more = count - then.get(reason).copied().unwrap_or(0).min(*count);
        (more > 0).then(|| (reason.clone(), more))
    };
    now.iter().filter_map(more).collect()
}

/// The bounds of the buckets in which half of the packets, and 99 of 100, lie; in microseconds.
fn quantiles(then: &[(f64, u64)], now: &[(f64, u64)]) -> Option<[f64; 2]> {
    let counts: Vec<_> = now
        .iter()
        .zip(then)
        .map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then)))
        .collect();
    let all = counts.last().filter(|(_, all)| *all > 0)?.1 as f64;
    let bound = |p: f64| {
        let reached = counts.iter().find(|(_, count)| *count as f64 >= p * all);
        reached.map(|(bound, _)| bound * 1e6)
    };
    Some([bound(0.5)?, bound(0.99)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_tells_its_quantiles_since_the_last_look() {
        let then = [(1e-5, 100), (1e-3, 100), (f64::INFINITY, 100)];
        let now = [(1e-5, 150), (1e-3, 198), (f64::INFINITY, 200)];
        let found = quantiles(&then, &now).unwrap();
        assert!((found[0] - 10.0).abs() < 1e-6 && found[1] == f64::INFINITY);
        assert_eq!(quantiles(&now, &now), None);
    }
}
