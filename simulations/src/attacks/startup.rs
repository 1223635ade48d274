//! A12: the first days of a network, when few use it. Mixnets fail silently then: packets still flow, and hide nothing.

use super::tracing::{Promises, follow, measures};
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::design::Design;
use crate::metrics::{Measure, Metric, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::traffic::Demand;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A12",
    title: "start-up at low traffic",
    sees: "all links",
    rule: "exact posterior, best guess (optimal); at one mix: whoever came last",
    truth: "the simulator knows which packet is the target",
    run,
};

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let targets = setting.effort.pick(200, 2_000);
    let (mut one, mut law) = (Vec::new(), Vec::new());
    let pools = [0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    for (i, rho) in pools.into_iter().enumerate() {
        progress(i as u64, 14, "one mix");
        let design = Design {
            link: 0.01,
            ..Design::bare(1, 1, 1.0)
        };
        let outcome = follow(
            &design,
            10,
            &Demand::poisson(rho / 10.0),
            targets,
            setting.seed,
        )?;
        let hits = outcome.tracked.iter().filter(|t| t.hit).count();
        let best = proportion(hits as u64, outcome.tracked.len() as u64);
        let closed = 1.0 / (1.0 + rho);
        let of = format!("one mix, ρ = {rho} packets in its pool");
        findings
            .measures
            .push(Measure::new(Metric::BestGuessMessages, of, best).beside(closed));
        one.push(Point::with(rho, &best));
        law.push(Point::plain(rho, closed));
    }
    let users: &[u32] = setting
        .effort
        .pick(&[3, 30], &[2, 3, 5, 10, 30, 100, 300, 1_000]);
    let (mut guess, mut chance) = (Vec::new(), Vec::new());
    let targets = setting.effort.pick(24, 160);
    let mut promises = Promises::default();
    for (i, n) in users.iter().enumerate() {
        progress(7 + i as u64, 15, "Mizzle's rates");
        let demand = Demand::Poisson {
            rate: 1.0 / 60.0,
            contacts: 1,
        };
        let outcome = follow(&Design::mizzle(3, 5), *n, &demand, targets, setting.seed)?;
        let of = format!("mizzle, {n} users");
        promises.take(&outcome);
        let all = measures(&outcome, &of);
        if let Some(m) = all.iter().find(|m| m.metric == Metric::BestGuessUsers) {
            guess.push(Point {
                x: f64::from(*n),
                y: m.value,
                low: m.low,
                high: m.high,
            });
        }
        chance.push(Point::plain(f64::from(*n), 1.0 / f64::from(*n)));
        findings.measures.extend(all);
    }
    findings.measures.push(promises.measure("all sizes"));
    let trials = 20_000;
    let mut draws = Stream::new(setting.seed, Purpose::ADVERSARY, 12);
    let right = (0..trials)
        .filter(|_| draws.below(10) == draws.below(10))
        .count();
    let blind = proportion(right as u64, trials);
    let of = "an adversary who sees no link, 10 users";
    findings
        .null
        .push(Measure::new(Metric::BestGuessUsers, of, blind).against(0.1));
    findings.figures.push(Figure {
        id: "startup-mix".into(),
        title: "A12: the best guess at one mix with little in its pool".into(),
        caption: format!("Whoever came last leaves first with probability 1/(1+ρ). {targets} targets or more a point, 95 % intervals."),
        x: Axis::log("packets in the pool, ρ"),
        y: Axis::linear("best guess over messages (probability)"),
        series: vec![
            Series::new("measured", Shape::Marks, one),
            Series::new("1/(1+ρ)", Shape::Dashed, law),
        ],
    });
    findings.figures.push(Figure {
        id: "startup-users".into(),
        title: "A12: Mizzle with few users".into(),
        caption: "Best guess over users of whoever sees all links, at the rates of a real network; 95 % intervals (Clopper-Pearson). \
                  No cover hides one among three."
            .into(),
        x: Axis::log("users online"),
        y: Axis::log("best guess over users (probability)"),
        series: vec![
            Series::new("measured", Shape::Line, guess),
            Series::new("chance, 1/N", Shape::Dashed, chance),
        ],
    });
    Ok(findings)
}
