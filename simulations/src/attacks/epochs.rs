//! A11: whether packets are told apart around the change of an epoch, when keys rotate.

use super::shipped::{Rig, Running};
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::Transparent;
use crate::clock::START_EPOCH;
use crate::engine::Actor;
use crate::metrics::{Measure, Metric, exact, mean, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::replay::Conversation;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::Epoch;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A11",
    title: "change of epoch and rotation of keys",
    sees: "all links; and at every mix, as the owner of all its neighbours, for which epoch's key each packet was made",
    rule: "counts the packets of a mix's pool that the leaving packet's mark leaves: entropy over messages of one mix (exact, \
           delays have no memory); a packet with a mark that its time does not explain counts as known",
    truth: "every packet's way and delays are known to the simulator",
    run,
};

/// An epoch, in seconds; short, so that a run sees several.
const EPOCH: f64 = 120.0;
/// Distances from the boundary are told apart by so many seconds.
const STEP: f64 = 4.0;

/// A stay of a packet in a mix.
struct Stay {
    mix: usize,
    from: f64,
    to: f64,
    /// Whether the key that it was made for at the next hop is that of the epoch in which it leaves; one that is not
    /// stands out.
    fits: bool,
    /// Epoch in which its sender sent it: what a design would show that keys a packet once, for its whole way.
    sent: u32,
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let epochs = setting.effort.pick(4.0, 10.0);
    let users = 40;
    let length = EPOCH * epochs;
    let people = Conversation {
        name: "idle clients".into(),
        users,
        length,
        messages: Vec::new(),
    };
    let mut rig = Rig::wide(setting.seed, people);
    rig.parameters.key_overlap = Duration::from_secs(40);
    rig.epoch = Duration::from_secs_f64(EPOCH);
    progress(0, 2, "shipped clients over several epochs");
    let running = rig.run::<Transparent>();
    progress(1, 2, "pools");
    let stays = stays(&running, &rig, length);
    let offset = running.seconds(crate::clock::START);
    let mut findings = Findings::default();
    let mut curves = [Vec::new(), Vec::new(), Vec::new()];
    let bins = pools(&stays, offset);
    let stragglers = stays.iter().filter(|s| !s.fits).count() as u64;
    let labels = [
        "all that is in the mix",
        "what its key's epoch leaves (shipped code)",
        "what one mark for the whole way leaves (other designs)",
    ];
    for (bin, samples) in &bins {
        for (curve, values) in curves.iter_mut().zip(samples) {
            curve.push(Point::with(
                f64::from(*bin) * STEP + STEP / 2.0,
                &mean(values),
            ));
        }
    }
    for (label, i) in labels.iter().zip(0..) {
        let near = |bin: &i32| (-2..3).contains(bin);
        let at = |near_boundary: bool| -> Vec<f64> {
            let chosen = bins.iter().filter(|(bin, _)| near(bin) == near_boundary);
            chosen.flat_map(|(_, s)| s[i].iter().copied()).collect()
        };
        for (where_, near) in [("within 8 s of a boundary", true), ("elsewhere", false)] {
            let of = format!("{label}, {where_}");
            findings
                .measures
                .push(Measure::new(Metric::ShannonMessages, of, mean(&at(near))));
        }
    }
    let of = "packets keyed for another epoch than that in which they leave (shipped code)";
    let stragglers = proportion(stragglers, stays.len() as u64);
    findings
        .measures
        .push(Measure::new(Metric::Exposed, of, stragglers));
    let last = running
        .engine
        .discards()
        .map(|(_, d)| d.total())
        .sum::<u64>();
    let of = "packets discarded over all rotations";
    findings.measures.push(Measure::new(
        Metric::FramesDiffering,
        of,
        exact(last as f64, stays.len() as u64),
    ));
    findings.null.push(null(&stays, offset, setting.seed));
    let series = labels
        .iter()
        .zip(curves)
        .map(|(l, c)| Series::new(*l, Shape::Line, c));
    findings.figures.push(Figure {
        id: "epochs".into(),
        title: "A11: entropy of one mix around the change of an epoch".into(),
        caption: format!(
            "Mean of log2 of the packets that the leaving one may be, {} stays of packets in mixes, {epochs} epochs, 95 % \
             intervals. The shipped sender keys each hop for the epoch in which the packet arrives there.",
            stays.len()
        ),
        x: Axis::linear("seconds after the boundary"),
        y: Axis::linear("entropy over messages (bit)"),
        series: series.collect(),
    });
    Ok(findings)
}

/// Every stay of a packet in a mix, from the delays that its sender drew: the links are constant.
fn stays(running: &Running<Transparent>, rig: &Rig, length: f64) -> Vec<Stay> {
    let allowance = rig.parameters.hop_allowance.as_secs_f64();
    let link = 0.005;
    let start = running.seconds(crate::clock::START);
    let mut out = Vec::new();
    for (_, echo) in running.engine.observer().echoes() {
        let Actor::Client(_) = echo.maker else {
            continue;
        };
        let mut at = running.seconds(echo.sent);
        let sent = ((at - start) / EPOCH) as u32;
        for hop in &echo.hops {
            let from = at + link;
            let to = from + allowance + hop.delay.as_secs_f64();
            if let Actor::Mix(mix) = hop.at
                && from > 0.0
                && to < length
            {
                let leaves = START_EPOCH.0 + ((to + link - start) / EPOCH) as u64;
                let fits = hop.next_epoch == Epoch(leaves).hint();
                out.push(Stay {
                    mix,
                    from,
                    to,
                    fits,
                    sent,
                });
            }
            at = to;
        }
    }
    out
}

/// Entropies by distance from the boundary: of all, of what a key's epoch leaves, of those with one sending epoch.
fn pools(stays: &[Stay], start: f64) -> BTreeMap<i32, [Vec<f64>; 3]> {
    let mut by_mix: BTreeMap<usize, Vec<&Stay>> = BTreeMap::new();
    for stay in stays {
        by_mix.entry(stay.mix).or_default().push(stay);
    }
    let mut bins: BTreeMap<i32, [Vec<f64>; 3]> = BTreeMap::new();
    for stays in by_mix.values_mut() {
        stays.sort_by(|a, b| a.from.total_cmp(&b.from));
        for leaving in stays.iter() {
            // Nobody stays for longer than a minute at these rates, but one in 10¹² packets.
            let first = stays.partition_point(|s| s.from < leaving.to - 60.0);
            let around = stays[first..].iter().take_while(|s| s.from < leaving.to);
            let pool: Vec<_> = around.filter(|s| s.to >= leaving.to).collect();
            let of = |same: &dyn Fn(&Stay) -> bool| {
                (pool.iter().filter(|s| same(s)).count() as f64).log2()
            };
            let phase = (leaving.to - start).rem_euclid(EPOCH);
            let off = if phase > EPOCH / 2.0 {
                phase - EPOCH
            } else {
                phase
            };
            let samples = bins.entry((off / STEP).floor() as i32).or_default();
            samples[0].push(of(&|_| true));
            samples[1].push(if leaving.fits { of(&|_| true) } else { 0.0 });
            samples[2].push(of(&|s| s.sent == leaving.sent));
        }
    }
    bins
}

/// Marks that are dealt out at random tell nothing: the likeliest of two marks is right half the time.
fn null(stays: &[Stay], start: f64, seed: u64) -> Measure {
    let mut draws = Stream::new(seed, Purpose::RESAMPLING, 11);
    let epoch = |s: &Stay| ((s.to - start) / EPOCH) as u64 % 2;
    let right = stays.iter().filter(|s| epoch(s) == draws.below(2)).count();
    let of = "marks dealt out at random: guess of the leaving packet's epoch";
    Measure::new(
        Metric::BestGuessMessages,
        of,
        proportion(right as u64, stays.len() as u64),
    )
    .against(0.5)
}
