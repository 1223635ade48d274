//! Layers of Poisson mixes, by the sweep: latency, and entropy over messages.

use super::family::Params;
use super::{Answer, Fault, Task};
use crate::design::{Design, Packet, Placement, Plan};
use crate::message::{Class, Message};
use crate::outcome::{Options, Outcome, Probe, Tracked};
use crate::random::{Purpose, Stream, replication_seed};
use crate::stats::{Interval, Welford, quantile_interval};
use crate::{events, sweep};
use anonymity::network::Layers;
use anonymity::{latency as erlang, network};

/// Messages tracked at a time.
const LANES: usize = 8;
/// Most tracked messages of an entry.
const TARGETS_MAX: usize = 400_000;
/// Routes drawn for each replication to learn how often the first honest layer is which.
const ROUTES: u64 = 100_000;

/// A network under steady Poisson traffic, some of whose messages are followed.
#[derive(Clone, Debug)]
pub(super) struct Tracking {
    pub(super) design: Design,
    /// Messages a second.
    pub(super) rate: f64,
    /// Who sends and receives them, each as often as any other.
    pub(super) population: u32,
    pub(super) by_events: bool,
}

/// A tracked message and the first layer that hid it; `None` if none did.
pub(super) struct Followed {
    pub(super) tracked: Tracked,
    first: Option<u8>,
    round: u64,
}

impl Tracking {
    /// `layers` × `width` Poisson mixes.
    pub(super) fn poisson(layers: u32, width: u32, rate: f64, mean: f64) -> Self {
        Self {
            design: Design::bare(layers, width, mean),
            rate,
            population: 1_000,
            by_events: false,
        }
    }

    pub(super) fn plan(&self, seed: u64, fault: Fault) -> Result<Plan, String> {
        let plan = Plan::new(&self.design, seed).map_err(|e| e.to_string())?;
        #[cfg(test)]
        let plan = plan.broken(fault);
        #[cfg(not(test))]
        let Fault::None = fault;
        Ok(plan)
    }

    pub(super) fn run<const T: usize>(
        &self,
        plan: &Plan,
        options: &Options,
        messages: impl Iterator<Item = Message>,
        probe: &mut impl Probe<T>,
    ) -> Result<Outcome, String> {
        let outcome = if self.by_events {
            let mut watch = events::Watching(probe);
            let mut engine = events::Events::new(plan, messages, options, &mut watch);
            engine.run_until(f64::INFINITY).map_err(|e| e.to_string())?;
            engine.finish()
        } else {
            sweep::run_plan(plan, messages, options, probe).map_err(|e| e.to_string())?
        };
        Ok(outcome)
    }

    /// Mean of a measure over messages; also everything that was tracked.
    pub(super) fn measure(
        &self,
        task: &Task,
        of: impl Fn(&Tracked) -> f64,
    ) -> Result<(Interval, Vec<Tracked>), String> {
        let rule = task.rule(16, u64::MAX);
        let (mut all, mut groups) = (Vec::new(), Welford::default());
        let mut wanted = 16 * LANES;
        for round in 0.. {
            let seed = replication_seed(task.seed, round);
            let plan = self.plan(seed, task.fault)?;
            let options = Options::new(seed, wanted);
            let messages = steady(seed, self.rate, self.population);
            let outcome = self.run::<LANES>(&plan, &options, messages, &mut ())?;
            for group in outcome.tracked.chunk_by(|a, b| a.group == b.group) {
                let mean: Welford = group.iter().map(&of).collect();
                groups.push(mean.mean());
            }
            if outcome.tracked.is_empty() {
                return Err("no posterior was completed: mass is missing".into());
            }
            all.extend(outcome.tracked);
            let interval = groups.interval();
            if rule.done(&interval) || all.len() >= TARGETS_MAX {
                return Ok((interval, all));
            }
            wanted = next(all.len(), &interval, task.half_width);
        }
        unreachable!("rounds do not end")
    }

    /// Mean entropy where a part of the mixes is corrupt. Messages are sorted by the first layer that hid them, which
    /// decides most of their entropy; how often it is which is counted on many more routes than are followed.
    fn stratified(&self, task: &Task) -> Result<Interval, String> {
        let layers = self.design.topology.hops() as usize;
        let mut all: Vec<Followed> = Vec::new();
        let mut routes = vec![0u64; layers + 1];
        let mut wanted = 64 * LANES;
        for round in 0.. {
            let seed = replication_seed(task.seed, round);
            let plan = self.plan(seed, task.fault)?;
            let options = Options::new(seed, wanted);
            let messages = steady(seed, self.rate, self.population);
            let outcome = self.run::<LANES>(&plan, &options, messages, &mut ())?;
            let follow = |tracked: Tracked| Followed {
                first: first_honest(&plan, tracked.id),
                tracked,
                round,
            };
            all.extend(outcome.tracked.into_iter().map(follow));
            for id in 0..ROUTES {
                let first = first_honest(&plan, (1 << 62) | id);
                routes[first.map_or(layers, usize::from)] += 1;
            }
            let interval = strata(&all, &routes);
            if interval.half_width() <= task.half_width || all.len() >= TARGETS_MAX {
                return Ok(interval);
            }
            wanted = next(all.len(), &interval, task.half_width);
        }
        unreachable!("rounds do not end")
    }
}

/// How many more are likely needed, a little at a time.
fn next(so_far: usize, interval: &Interval, half_width: f64) -> usize {
    let factor = (interval.half_width() / half_width).powi(2) - 1.0;
    let more = so_far as f64 * factor.clamp(0.1, 4.0);
    (more as usize).clamp(4 * LANES, 65_536)
}

/// Index of the first layer whose mix hides this message; what the engines draw, drawn once more.
fn first_honest(plan: &Plan, id: u64) -> Option<u8> {
    let message = Message {
        time: 0.0,
        sender: 0,
        receiver: 0,
        class: Class::Payload,
    };
    let mut packet = plan.packet(id, &message);
    for (hop, step) in plan.path_of(&packet).steps.iter().enumerate() {
        packet.hop = hop as u8;
        plan.enter(&mut packet, step);
        let node = plan.stages[usize::from(step.stage)].first + u32::from(packet.node);
        if !plan.shows(node) {
            return Some(hop as u8);
        }
    }
    None
}

/// Σ share·mean over strata, with the interval that follows from the spread within them, by groups that were followed
/// at one time, and from the counting of shares.
fn strata(all: &[Followed], routes: &[u64]) -> Interval {
    let layers = routes.len() - 1;
    let n = all.len() as f64;
    let drawn: u64 = routes.iter().sum();
    let share: Vec<f64> = routes.iter().map(|c| *c as f64 / drawn as f64).collect();
    let stratum = |f: &Followed| f.first.map_or(layers, usize::from);
    let mut means = vec![Welford::default(); routes.len()];
    for f in all {
        means[stratum(f)].push(f.tracked.entropy);
    }
    let mean = |s: usize| {
        if means[s].count() == 0 {
            0.0
        } else {
            means[s].mean()
        }
    };
    let value: f64 = (0..routes.len()).map(|s| share[s] * mean(s)).sum();
    let (mut groups, mut squares) = (0.0, 0.0);
    for group in all.chunk_by(|a, b| a.round == b.round && a.tracked.group == b.tracked.group) {
        let pull = |f: &Followed| {
            let s = stratum(f);
            share[s] * (f.tracked.entropy - mean(s)) / means[s].count() as f64
        };
        squares += group.iter().map(pull).sum::<f64>().powi(2);
        groups += 1.0;
    }
    let counted: f64 = (0..routes.len())
        .map(|s| share[s] * (mean(s) - value).powi(2))
        .sum::<f64>()
        / drawn as f64;
    // A stratum that was never met: at most so much.
    let unmet: f64 = (0..layers)
        .filter(|s| means[*s].count() < 2)
        .map(|s| share[s] * 10.0)
        .sum();
    let half = if groups < 16.0 || n == 0.0 {
        f64::INFINITY
    } else {
        1.96 * (squares * groups / (groups - 1.0) + counted).sqrt() + unmet
    };
    Interval {
        value,
        low: value - half,
        high: value + half,
        count: all.len() as u64,
    }
}

/// Messages for ever: Poisson, each from anybody to anybody.
pub(super) fn steady(seed: u64, rate: f64, users: u32) -> impl Iterator<Item = Message> {
    let mut gaps = Stream::new(seed, Purpose::ARRIVAL, 0);
    let mut people = Stream::new(seed, Purpose::SENDER, 0);
    let mut time = 0.0;
    std::iter::from_fn(move || {
        time += gaps.exponential(1.0 / rate);
        Some(Message {
            time,
            sender: people.below(u64::from(users)) as u32,
            receiver: people.below(u64::from(users)) as u32,
            class: Class::Payload,
        })
    })
}

/// Every latency.
struct Latencies(Vec<f64>);

impl Probe<1> for Latencies {
    fn delivered(&mut self, time: f64, packet: &Packet, _class: Class, _mass: &[f64; 1]) {
        self.0.push(time - packet.sent);
    }
}

/// Mean, standard deviation or a quantile (`q50`, `q99`, `q999`) of the latency over `k` hops.
pub(super) fn latency(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let hops = p.whole("k", 1, 30)?;
    let mu = p.number("mu", 1e-5, 1e5)?;
    let metric = p.metric();
    let share = match metric.strip_prefix('q') {
        Some(digits) if digits.parse::<u32>().is_ok() && digits.len() <= 6 => {
            format!("0.{digits}").parse::<f64>().ok()
        }
        _ => None,
    };
    let closed = match (metric, share) {
        ("mean", _) => erlang::mean(hops, mu),
        ("sd", _) => erlang::sd(hops, mu),
        (_, Some(q)) if q > 0.0 => erlang::quantile(hops, mu, q),
        _ => {
            return Err(format!(
                "unknown metric {metric:?}: mean, sd or q50, q95, q99, …"
            ));
        }
    };
    let tracking = Tracking::poisson(hops, 1, mu, 1.0 / mu);
    let mut values = Vec::new();
    let mut messages = 60_000;
    for round in 0.. {
        let seed = replication_seed(task.seed, round);
        let plan = tracking.plan(seed, task.fault)?;
        let mut options = Options::new(seed, usize::MAX);
        options.warm_up = Some(0.0);
        options.drain = true;
        let sent = steady(seed, tracking.rate, 1).take(messages);
        let mut probe = Latencies(Vec::with_capacity(messages));
        tracking.run::<1>(&plan, &options, sent, &mut probe)?;
        values.extend(probe.0);
        let interval = match share {
            Some(q) => quantile_interval(&mut values, q),
            None if metric == "mean" => values.iter().copied().collect::<Welford>().interval(),
            None => deviation(&values),
        };
        if interval.half_width() <= task.half_width || values.len() > 8_000_000 {
            return Ok(Answer::new(interval, Some(closed), "sweep"));
        }
        messages = next(values.len(), &interval, task.half_width).max(20_000);
        messages = messages.max(values.len() / 4);
    }
    unreachable!("rounds do not end")
}

/// Standard deviation, with the interval that the fourth moment gives.
fn deviation(values: &[f64]) -> Interval {
    let all: Welford = values.iter().copied().collect();
    let (n, mean, variance) = (values.len() as f64, all.mean(), all.variance());
    let fourth = values.iter().map(|x| (x - mean).powi(4)).sum::<f64>() / n;
    let half = 1.96 * ((fourth - variance * variance) / n).sqrt() / (2.0 * variance.sqrt());
    Interval {
        value: variance.sqrt(),
        low: variance.sqrt() - half,
        high: variance.sqrt() + half,
        count: values.len() as u64,
    }
}

/// Entropy over messages; a share `b` of each layer may be corrupt.
pub(super) fn messages(p: &Params<'_>, task: &Task) -> Result<Answer, String> {
    let rate = p.number("Lam", 1e-3, 1e7)?;
    let width = p.whole("W", 1, 10_000)?;
    let layers = p.whole("L", 1, 20)?;
    let mean_hop = p.either("mean_hop", "m", 1e-6, 1e5)?;
    let corrupt = p.number("b", 0.0, 1.0)?;
    let network = Layers {
        rate,
        width,
        layers,
        mean_hop,
    };
    let mut tracking = Tracking::poisson(layers, width, rate, mean_hop);
    if p.says("min-entropy") {
        tracking.design.corrupt_mixes = match corrupt {
            0.0 => tracking.design.corrupt_mixes,
            share => Placement::PerLayer(share),
        };
        let (value, _) = tracking.measure(task, |t| t.min_entropy)?;
        let closed = (corrupt == 0.0).then(|| network::min_entropy(&network));
        return Ok(Answer::new(value, closed, "sweep"));
    }
    let closed = network::corrupt_entropy(&network, corrupt);
    if corrupt == 0.0 {
        let (value, _) = tracking.measure(task, |t| t.entropy)?;
        return Ok(Answer::new(value, Some(closed), "sweep"));
    }
    tracking.design.corrupt_mixes = Placement::PerLayer(corrupt);
    let value = tracking.stratified(task)?;
    Ok(Answer::new(
        value,
        Some(closed),
        "sweep, by first honest layer",
    ))
}
