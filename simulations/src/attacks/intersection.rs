//! A6: who is online whenever something happens. Every moment at which the target is known to act rules out
//! whoever was offline.

use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::metrics::{Interval, Measure, Metric, mean, median_between, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Keyed, Purpose, Stream};
use crate::replay::Conversation;
use std::collections::BTreeMap;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A6",
    title: "intersection of who is online",
    sees: "which clients are connected in each epoch, and in which epochs the target acts (a pseudonym posts, an inbox is \
           asked)",
    rule: "strikes out whoever was offline when the target acted, then guesses one of those left (optimal where people \
           come and go independently)",
    truth: "the simulator knows the target, who is never struck out",
    run,
};

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let users = setting.effort.pick(2_000, 10_000);
    let trials = setting.effort.pick(20, 60);
    let mut series = Vec::new();
    for (i, online) in [0.5, 0.9, 0.99, 1.0].into_iter().enumerate() {
        progress(i as u64, 6, "independent users");
        let left = survivors(users, online, trials, setting.seed);
        let of = format!(
            "{users} users, each online in {:.0} % of epochs",
            online * 100.0
        );
        let to_one = epochs_to_one(&left);
        let closed = match online {
            1.0 => f64::INFINITY,
            p => ((users - 1) as f64).ln() / -p.ln(),
        };
        let measure = Measure::new(Metric::EpochsToOne, of.clone(), to_one);
        findings.measures.push(if closed.is_finite() {
            measure.beside(closed)
        } else {
            measure
        });
        let points = left.iter().enumerate().map(|(epoch, sets)| {
            let samples: Vec<f64> = sets.iter().map(|n| *n as f64 + 1.0).collect();
            Point::with(epoch as f64 + 1.0, &mean(&samples))
        });
        series.push(Series::new(of, Shape::Line, sparse(points.collect())));
    }
    progress(4, 6, "null run");
    findings.null.push(null(users.min(500), setting.seed));
    progress(5, 6, "trace");
    on_trace(&mut findings, setting);
    findings.figures.push(Figure {
        id: "intersection".into(),
        title: "A6: candidates left after each epoch in which the target acted".into(),
        caption: format!("Mean over {trials} targets with 95 % intervals. A client that always runs stays among all others.")
            ,
        x: Axis::log("observed epochs"),
        y: Axis::log("candidates left (users)"),
        series,
    });
    Ok(findings)
}

/// Sixty points of a curve, at equal ratios.
fn sparse(points: Vec<Point>) -> Vec<Point> {
    let last = points.len().saturating_sub(1) as f64;
    let mut at: Vec<usize> = (0..=60)
        .map(|i| ((last + 1.0).powf(f64::from(i) / 60.0) - 1.0).round() as usize)
        .collect();
    at.dedup();
    at.into_iter()
        .filter_map(|i| points.get(i).copied())
        .collect()
}

/// Others left after each epoch, for each trial.
fn survivors(users: usize, online: f64, trials: usize, seed: u64) -> Vec<Vec<usize>> {
    let epochs = if online < 1.0 {
        (((users - 1) as f64).ln() / -online.ln() * 1.6)
            .ceil()
            .min(1_500.0) as usize
    } else {
        1_000
    };
    let mut by_epoch = vec![Vec::with_capacity(trials); epochs];
    for trial in 0..trials {
        let mut draws = Stream::new(seed, Purpose::CHURN, trial as u64);
        let mut left = users - 1;
        for sets in &mut by_epoch {
            left = (0..left)
                .filter(|_| online >= 1.0 || draws.chance(online))
                .count();
            sets.push(left);
        }
    }
    by_epoch
}

/// Epochs until less than one other is left on average over the trials.
fn epochs_to_one(by_epoch: &[Vec<usize>]) -> Interval {
    let averages = by_epoch.iter().map(|sets| {
        let samples: Vec<f64> = sets.iter().map(|n| *n as f64).collect();
        mean(&samples)
    });
    let averages: Vec<Interval> = averages.collect();
    let first = |below: &dyn Fn(&Interval) -> bool| {
        let at = averages.iter().position(below);
        at.map_or(f64::INFINITY, |i| i as f64 + 1.0)
    };
    Interval {
        value: first(&|e| e.value <= 1.0),
        low: first(&|e| e.low <= 1.0),
        high: first(&|e| e.high <= 1.0),
        count: by_epoch.first().map_or(0, |s| s.len() as u64),
    }
}

/// Epochs that have nothing to do with the target: a guess among those left is a guess among all.
fn null(users: usize, seed: u64) -> Measure {
    let online = 0.8;
    let keyed = Keyed::new(seed, Purpose::CHURN);
    let (mut right, trials) = (0, 4_000u64);
    for trial in 0..trials {
        let mut draws = keyed.stream(1 << 40 | trial);
        let target = draws.below(users as u64);
        // Every user, the target too, comes and goes as it likes.
        let left: Vec<u64> = (0..users as u64)
            .filter(|_| (0..10).all(|_| draws.chance(online)))
            .collect();
        let guess = match left.len() {
            0 => draws.below(users as u64),
            n => left[draws.below(n as u64) as usize],
        };
        right += u64::from(guess == target);
    }
    let estimate = proportion(right, trials);
    let of = "epochs that are none of the target's";
    Measure::new(Metric::BestGuessUsers, of, estimate).against(1.0 / users as f64)
}

/// Hours in which each user is online: those around what it writes and reads.
pub(super) fn hours(people: &Conversation) -> Vec<Vec<bool>> {
    let total = (people.length / 3_600.0) as usize + 1;
    let mut online = vec![vec![false; total]; people.users];
    for message in &people.messages {
        let hour = (message.at / 3_600.0) as usize;
        online[message.from][hour] = true;
        online[message.to][hour] = true;
    }
    online
}

/// How many of a trace's writers are alone after all they wrote, if clients run only while they are used.
fn on_trace(findings: &mut Findings, setting: &Setting) {
    let made_up;
    let people = match &setting.people {
        Some(trace) => trace,
        None => {
            made_up = Conversation::made_up(setting.seed, 200, 48.0 * 3_600.0);
            &made_up
        }
    };
    let online = hours(people);
    let mut acts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for message in &people.messages {
        let hours = acts.entry(message.from).or_default();
        let hour = (message.at / 3_600.0) as usize;
        if hours.last() != Some(&hour) {
            hours.push(hour);
        }
    }
    let (mut alone, mut never) = (Vec::new(), 0);
    for (target, hours) in &acts {
        let mut left: Vec<usize> = (0..people.users).filter(|u| u != target).collect();
        let mut after = None;
        for (n, hour) in hours.iter().enumerate() {
            left.retain(|u| online[*u][*hour]);
            if left.is_empty() {
                after = Some(n + 1);
                break;
            }
        }
        match after {
            Some(n) => alone.push(n as f64),
            None => never += 1,
        }
    }
    let n = acts.len() as u64;
    let of = "people: clients that run only in hours of use".to_owned();
    let share = proportion(alone.len() as u64, n);
    findings
        .measures
        .push(Measure::new(Metric::Exposed, of.clone(), share));
    findings.measures.push(Measure::new(
        Metric::EpochsToOne,
        of,
        median_between(&alone, never),
    ));
    let of = "people: clients that always run".to_owned();
    findings
        .measures
        .push(Measure::new(Metric::Exposed, of, proportion(0, n)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_vanish_as_fast_as_the_closed_form_says() {
        let left = survivors(1_000, 0.9, 60, 3);
        let to_one = epochs_to_one(&left);
        // ln 999 / -ln 0.9 = 65.6.
        assert!((to_one.value - 65.6).abs() < 8.0, "{to_one:?}");
        let always = survivors(1_000, 1.0, 3, 3);
        assert!(always.last().unwrap().iter().all(|n| *n == 999));
    }

    #[test]
    fn strangers_epochs_tell_nothing() {
        assert!(null(100, 5).at_chance());
    }
}
