//! A7: who watches one client's link, or owns the gateway it connects to, must say in which minutes its owner
//! used it.

use super::links::{self, Watched};
use super::scores::{self, Case, count};
use super::shipped::{Rig, difference};
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::Transparent;
use crate::design::{Cover, Design};
use crate::metrics::{Interval, Measure, Metric, exact};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::scenario::Faults;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A7",
    title: "activity, volume and bursts on one client's link",
    sees: "moments and sizes of all frames on the client's link, both ways; or the same inside the client's own \
           gateway, where packets for the client arrive",
    rule: "naive-Bayes likelihood ratio of frame counts and of the shortest run of four frames, up and down, in \
           each window, learnt from the other half of the clients (optimal for Poisson cover that is added to; \
           otherwise suboptimal); beside it, the exact comparison of two runs with equal traffic seeds, which no \
           rule can beat",
    truth: "the trace says who wrote and who was written to in which window",
    run,
};

/// Windows that are judged, in seconds.
pub const WINDOW: f64 = 30.0;
/// Frames of one run.
const RUN: usize = 4;

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let (users, length) = setting.effort.pick((16, 600.0), (24, 1_200.0));
    let people = setting.people(users, length);
    let mut findings = Findings::default();
    progress(0, 6, "shipped clients, in use");
    let rig = Rig::wide(setting.seed, people.clone());
    let busy = rig.run::<Transparent>().watched();
    progress(1, 6, "shipped clients, idle");
    let idle = rig.idle().run::<Transparent>().watched();
    let (differ, compared) = difference(&busy, &idle);
    findings.measures.push(Measure::new(
        Metric::FramesDiffering,
        "echo (shipped code), in use against idle",
        exact(differ as f64, compared),
    ));
    let mut bars = Vec::new();
    judge(
        &mut findings,
        &mut bars,
        "echo (shipped code)",
        &busy,
        &people.length,
        setting.seed,
    );
    progress(2, 6, "a planted fault");
    let late = Rig {
        faults: Faults {
            ack_off_clock: true,
            ..Faults::default()
        },
        ..rig
    };
    let faulty = late.run::<Transparent>().watched();
    let (differ, compared) = difference(&faulty, &idle);
    findings.measures.push(Measure::new(
        Metric::FramesDiffering,
        "planted: acks off the clock, in use against idle",
        exact(differ as f64, compared),
    ));
    judge(
        &mut findings,
        &mut bars,
        "planted: acks off the clock",
        &faulty,
        &people.length,
        setting.seed,
    );
    for (i, design) in others().iter().enumerate() {
        progress(3 + i as u64, 8, &design.name);
        let watched = links::watch(design, &people, users, setting.seed);
        judge(
            &mut findings,
            &mut bars,
            &design.name,
            &watched,
            &people.length,
            setting.seed,
        );
    }
    findings.figures.push(figure(&bars, &people.name));
    findings.notes.push(format!(
        "{} messages of {} users in {:.0} s ({}), windows of {WINDOW} s",
        people.messages.len(),
        people.users,
        people.length,
        people.name
    ));
    Ok(findings)
}

/// Designs that stand beside the shipped one.
pub fn others() -> Vec<Design> {
    let mut added = Design::loopix(3, 5);
    added.name = "loopix with cover added instead of substituted".into();
    added.emission.cover = Cover::Add;
    added.emission.payload_rate = 0.5;
    vec![
        Design::loopix(3, 5),
        Design::katzenpost(3, 5),
        Design::nym(3, 5),
        added,
        Design::onion(3, 5),
    ]
}

/// One design's verdicts: by whoever watches the link, and by the client's own gateway.
fn judge(
    findings: &mut Findings,
    bars: &mut Vec<(String, Interval, Interval)>,
    name: &str,
    watched: &[Watched],
    length: &f64,
    seed: u64,
) {
    let views = [("link", false), ("own gateway", true)];
    let mut areas = Vec::new();
    for (view, inside) in views {
        let cases = cases(watched, *length, inside);
        let scores = scores::learnt(&cases);
        let of = format!("{name}, by the {view}");
        let area = scores.auc();
        findings
            .measures
            .push(Measure::new(Metric::Auc, of.clone(), area));
        let tpr = scores.tpr_at(0.01);
        findings
            .measures
            .push(Measure::new(Metric::TprAtHundredth, of.clone(), tpr));
        let mut draws = Stream::new(seed, Purpose::RESAMPLING, 7);
        let null = scores::learnt(&scores::permuted(&cases, &mut draws));
        let null = null.auc();
        findings.null.push(Measure::new(Metric::Auc, of, null));
        areas.push(area);
    }
    bars.push((name.to_string(), areas[0], areas[1]));
}

/// Every window of every client; true where its owner wrote or was written to.
pub fn cases(watched: &[Watched], length: f64, inside: bool) -> Vec<Case> {
    let windows = (length / WINDOW) as usize;
    let mut out = Vec::with_capacity(watched.len() * windows);
    for (client, w) in watched.iter().enumerate() {
        let down = if inside { &w.inside } else { &w.down };
        for window in 0..windows {
            let (from, to) = (window as f64 * WINDOW, (window + 1) as f64 * WINDOW);
            let used = count(&w.wrote, from, to) + count(&w.written_to, from, to) > 0;
            let features = [&w.up, down]
                .into_iter()
                .flat_map(|times| [count(times, from, to) as f64, shortest(times, from, to)])
                .collect();
            out.push(Case {
                features,
                is_true: used,
                client,
            });
        }
    }
    out
}

/// The shortest time that [`RUN`] frames of the window take.
fn shortest(times: &[f64], from: f64, to: f64) -> f64 {
    let (a, b) = (
        times.partition_point(|t| *t < from),
        times.partition_point(|t| *t < to),
    );
    let runs = times[a..b].windows(RUN).map(|w| w[RUN - 1] - w[0]);
    // Nanoseconds, so that a constant rate has one value and not many by rounding.
    runs.map(|r| (r * 1e9).round() / 1e9).fold(WINDOW, f64::min)
}

fn figure(bars: &[(String, Interval, Interval)], people: &str) -> Figure {
    let names: Vec<&str> = bars.iter().map(|b| b.0.as_str()).collect();
    let points = |pick: fn(&(String, Interval, Interval)) -> Interval| {
        bars.iter()
            .enumerate()
            .map(|(i, b)| Point::with(i as f64, &pick(b)))
            .collect()
    };
    Figure {
        id: "activity".into(),
        title: "A7: is somebody using this client now?".into(),
        caption: format!(
            "Area under the ROC curve for windows of {WINDOW} s, with 95 % intervals (Hanley-McNeil); 0.5 is \
             chance. Workload: {people}."
        ),
        x: Axis::names("design", &names),
        y: Axis::linear("area under ROC (probability)"),
        series: vec![
            Series::new("whoever watches the link", Shape::Bars, points(|b| b.1)),
            Series::new("the client's own gateway", Shape::Bars, points(|b| b.2)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Conversation;

    #[test]
    fn onion_routing_leaks_and_substituted_cover_does_not() {
        let people = Conversation::made_up(5, 16, 1_800.0);
        let of = |design: &Design| {
            let watched = links::watch(design, &people, 16, 9);
            let s = scores::learnt(&cases(&watched, people.length, false));
            s.auc()
        };
        assert!(of(&Design::onion(3, 5)).low > 0.9);
        let loopix = of(&Design::loopix(3, 5));
        assert!(
            (loopix.value - 0.5).abs() < 2.0 * loopix.half_width(),
            "{loopix:?}"
        );
    }
}
