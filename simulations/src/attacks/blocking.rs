//! A9: n−1. The adversary empties one mix's pool of everybody else, by dropping or holding what enters, then lets the
//! target in alone. Own loops of the mix are the alarm.
//!
//! A model of one mix gives the curves; the shipped `Mix` is attacked beside it.

use super::shipped::Rig;
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::Transparent;
use crate::engine::{Actor, Fate};
use crate::metrics::{Measure, Metric, proportion, quantile};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::replay::Conversation;
use std::time::Duration;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A9",
    title: "n-1 by dropping, holding and flooding, with loops as alarm",
    sees: "all links, and stops packets on those into one mix; knows its own packets again when they leave (flooding)",
    rule: "blocks all others for ln(ρ/0.01)/μ, lets the target in, takes the first packet that leaves for it (optimal: the \
           delays have no memory); the mix raises the alarm when a loop of its own is missing, or more than natural loss \
           explains at 1e-4",
    truth: "the simulator knows which packet is the target",
    run,
};

/// Others left in the pool when the target is let in, on average.
const EPSILON: f64 = 0.01;
/// Links that a loop crosses and may be lost on.
const FALSE_ALARM: f64 = 1e-4;

/// What an adversary does to packets that are not the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    /// They never arrive.
    Drop,
    /// They arrive when the attack is over.
    Hold,
    /// They pass, and the adversary adds a hundred packets for each.
    Flood,
}

/// One attack on one mix. Time is in mean delays.
struct Trial {
    isolated: bool,
    detected: Option<f64>,
}

fn attack(how: How, rho: f64, loops: f64, draws: &mut Stream) -> Trial {
    let block = (rho / EPSILON).ln();
    // Who was in the pool when it began, and is still there when the target comes.
    let before = draws.poisson(rho);
    let stay = (-block).exp();
    let mut others = (0..before).filter(|_| draws.chance(stay)).count() as u64;
    if how == How::Flood {
        // Nothing is blocked: the pool is as full of strangers as ever, and of known packets too.
        others = draws.poisson(rho);
    }
    // The target leaves after an exponential time; meanwhile others leave and, unless blocked, come.
    let waits = draws.exponential(1.0);
    let mut first = true;
    if others > 0 {
        let soonest = draws.exponential(1.0 / others as f64);
        first &= soonest > waits;
    }
    if how == How::Flood {
        first &= others == 0;
    }
    // A loop that the mix itself sends in that time leaves it like any packet, and cannot be told from one.
    let own = if loops > 0.0 {
        draws.exponential(1.0 / loops)
    } else {
        f64::INFINITY
    };
    first &= own > waits;
    // A loop that should have come back in the time of blocking did not, or came late by what is held.
    let missed = if loops > 0.0 {
        draws.exponential(1.0 / loops)
    } else {
        f64::INFINITY
    };
    let detected = (how != How::Flood && missed < block + waits).then_some(missed);
    Trial {
        isolated: first,
        detected,
    }
}

/// The least number of missing loops among `expected` that natural loss explains less often than
/// [`FALSE_ALARM`].
fn threshold(expected: f64, loss: f64) -> u64 {
    let mean = expected * loss;
    let (mut term, mut tail, mut k) = ((-mean).exp(), 1.0, 0u64);
    while tail > FALSE_ALARM {
        tail -= term;
        k += 1;
        term *= mean / k as f64;
    }
    k.max(1)
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let trials = setting.effort.pick(4_000u64, 40_000);
    let rates = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
    let mut series = Vec::new();
    for (step, rho) in [10.0, 100.0, 1_000.0].into_iter().enumerate() {
        progress(step as u64, 6, "one mix, blocked");
        let mut points = Vec::new();
        for loops in rates {
            let block = (rho / EPSILON).ln();
            let closed = 1.0 - (-loops * block).exp();
            for how in [How::Drop, How::Hold, How::Flood] {
                let (mut isolated, mut detected, mut times) = (0, 0, Vec::new());
                for trial in 0..trials {
                    let entity = trial | (step as u64) << 40 | (how as u64) << 44;
                    let mut draws = Stream::new(setting.seed, Purpose::ADVERSARY, entity);
                    let t = attack(how, rho, loops, &mut draws);
                    isolated += u64::from(t.isolated);
                    detected += u64::from(t.detected.is_some());
                    times.extend(t.detected);
                }
                let of = format!("{how:?}, ρ = {rho}, λM/μ = {loops}").to_lowercase();
                let shown = [0.0, 0.1, 0.5, 1.0].contains(&loops);
                if shown {
                    let p = proportion(isolated, trials);
                    findings
                        .measures
                        .push(Measure::new(Metric::Isolated, of.clone(), p));
                    let p =
                        Measure::new(Metric::Detected, of.clone(), proportion(detected, trials));
                    findings.measures.push(if how == How::Drop {
                        p.beside(closed)
                    } else {
                        p
                    });
                }
                if how == How::Drop {
                    points.push(Point::with(loops, &proportion(detected, trials)));
                    if shown && times.len() > 20 {
                        let time = Measure::new(
                            Metric::TimeToDetect,
                            of + ", in mean delays",
                            quantile(&times, 0.5),
                        );
                        findings.measures.push(time);
                    }
                }
            }
        }
        series.push(Series::new(
            format!("ρ = {rho} packets in the pool"),
            Shape::Line,
            points,
        ));
    }
    progress(3, 6, "natural loss");
    natural_loss(&mut findings, setting.seed, trials);
    findings.figures.push(Figure {
        id: "blocking".into(),
        title: "A9: does a mix notice that it is cut off?".into(),
        caption: format!(
            "Share of n-1 attacks by dropping in which at least one own loop is missing; {trials} attacks a point, 95 % intervals \
             (Clopper-Pearson). Mizzle has λM ≥ μ/2."
        ),
        x: Axis::linear("own loops a mean delay, λM/μ"),
        y: Axis::linear("share of attacks that are noticed"),
        series,
    });
    progress(4, 6, "the shipped mix");
    shipped(&mut findings, setting);
    findings.notes.push(
        "Flooding alone isolates nobody: the pool of a Poisson mix is not flushed by what enters. It has to be joined with \
         blocking, which is what the loops notice."
            .into(),
    );
    Ok(findings)
}

/// Alarms by a tail test where every link loses one packet in a hundred, with and without an attack.
fn natural_loss(findings: &mut Findings, seed: u64, trials: u64) {
    let (loss, loops, rho) = (0.08, 0.5, 100.0);
    let block = (rho / EPSILON).ln();
    let expected = loops * block;
    let enough = threshold(expected, loss);
    let (mut falsely, mut rightly) = (0, 0);
    for trial in 0..trials {
        let mut draws = Stream::new(seed, Purpose::ADVERSARY, trial | 1 << 50);
        let due = draws.poisson(expected);
        let lost = (0..due).filter(|_| draws.chance(loss)).count() as u64;
        falsely += u64::from(lost >= enough);
        rightly += u64::from(due >= enough);
    }
    let of =
        format!("tail test at {enough} missing loops, λM/μ = {loops}, 8 % of loops lost by nature");
    findings.measures.push(Measure::new(
        Metric::Detected,
        of.clone(),
        proportion(rightly, trials),
    ));
    let falsely = Measure::new(Metric::FalseAlarm, of.clone(), proportion(falsely, trials));
    // What the law says of as many lost by nature: below 1e-4, since missing loops come in whole numbers.
    let law = 1.0 - anonymity::special::poisson_cdf(enough - 1, expected * loss);
    findings.null.push(falsely.against(law));
}

/// All mixes of a running network are cut off, one after the other, while people talk.
fn shipped(findings: &mut Findings, setting: &Setting) {
    let attacks = setting.effort.pick(9, 27);
    let people = Conversation::made_up(setting.seed, 20, 60.0);
    let rig = Rig::wide(setting.seed, people);
    let mixes = 3 * rig.mixes_per_layer;
    let p = &rig.parameters;
    let (mean, loops) = (p.delay_mean.as_secs_f64(), p.mix_loop_rate.per_second());
    // ρ of a mix of the shipped design: both ways of all echoes, over the mixes of a layer.
    let emitted = 20.0 * (p.payload_rate.per_second() + p.loop_rate.per_second());
    let rho = 2.0 * emitted * mean / rig.mixes_per_layer as f64;
    let block = Duration::from_secs_f64((rho / EPSILON).ln() * mean);
    let mut running = rig.start::<Transparent>();
    running.engine.run_for(Duration::from_secs(60));
    let (mut noticed, mut falsely) = (0, 0);
    for attack in 0..attacks {
        let target = attack % mixes;
        // As long again as an attack takes, nobody attacks.
        let lost = |r: &super::shipped::Running<Transparent>| {
            r.engine.mixes()[target].sut.loop_count().lost
        };
        let settle = Duration::from_secs_f64(mean * 30.0);
        let before = lost(&running);
        running.engine.run_for(block + settle);
        let between = lost(&running);
        falsely += u64::from(between > before);
        let end = running.seconds(running.engine.now()) + block.as_secs_f64();
        running.tamper(
            move |at, passing, _| match passing.to == Actor::Mix(target) && at < end {
                true => Fate::Drop,
                false => Fate::Pass,
            },
        );
        running.engine.run_for(block + settle);
        running.engine.tamper_no_more();
        noticed += u64::from(lost(&running) > between);
    }
    let of = format!("shipped mix, ρ = {rho:.1}, λM/μ = {:.2}", loops * mean);
    let closed = 1.0 - (-loops * block.as_secs_f64()).exp();
    let measure = Measure::new(
        Metric::Detected,
        of.clone(),
        proportion(noticed, attacks as u64),
    );
    findings.measures.push(measure.beside(closed));
    let falsely = proportion(falsely, attacks as u64);
    findings
        .null
        .push(Measure::new(Metric::FalseAlarm, of, falsely).against(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_follows_the_closed_form_and_no_loops_notice_nothing() {
        for (loops, expected) in [(0.0, 0.0), (0.1, 0.602), (0.5, 0.990)] {
            let n = 5_000;
            let hits = (0..n)
                .map(|i| {
                    attack(
                        How::Drop,
                        100.0,
                        loops,
                        &mut Stream::new(1, Purpose::FREE, i),
                    )
                })
                .filter(|t| t.detected.is_some())
                .count();
            let share = hits as f64 / n as f64;
            // The target's own stay is a little more time to notice.
            assert!(
                share >= expected - 0.02 && share < expected + 0.06,
                "{loops}: {share}"
            );
        }
    }

    #[test]
    fn blocking_isolates_and_flooding_does_not() {
        let share = |how, loops| {
            let of = |i| attack(how, 100.0, loops, &mut Stream::new(2, Purpose::FREE, i)).isolated;
            (0..4_000).filter(|i| of(*i)).count() as f64 / 4_000.0
        };
        assert!(share(How::Drop, 0.0) > 0.97);
        assert!(share(How::Flood, 0.0) < 0.01);
        // One of the mix's own loops leaves first with probability λM/(μ + λM).
        assert!((share(How::Drop, 1.0) - 0.5).abs() < 0.05);
    }

    #[test]
    fn a_tail_test_keeps_its_false_alarms() {
        assert_eq!(threshold(10.0, 0.0), 1);
        assert!(threshold(10.0, 0.1) > threshold(10.0, 0.01));
    }
}
