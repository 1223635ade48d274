//! A7: who watches one client's link, or owns the gateway it connects to, must say in which minutes its owner
//! used it.

use super::conformance;
use super::links::{self, Watched};
use super::scores::{self, Case, count};
use super::shipped::{Rig, difference, first_difference};
use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::Transparent;
use crate::design::{Cover, Design};
use crate::metrics::{Interval, Measure, Metric, exact};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::replay::{Conversation, Written};
use crate::scenario::Faults;

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A7",
    title: "activity, volume and bursts on one client's link",
    sees: "moments and sizes of all frames on the client's link, both ways; or the same inside the client's own \
           gateway, where packets for the client arrive",
    rule: "naive-Bayes likelihood ratio of frame counts and of the shortest run of four frames, up and down, in \
           each window, and of frames up that follow one down as fast as the link allows, until a message of that \
           window has arrived; learnt from the other half of the clients (optimal for Poisson cover that is added to; \
           otherwise suboptimal); beside it, the exact comparison of two runs with equal traffic seeds, which no \
           rule can beat",
    truth: "the trace says who wrote and who was written to in which window",
    run,
};

/// Windows that are judged, in seconds.
pub const WINDOW: f64 = 30.0;
/// Frames of one run.
const RUN: usize = 4;
/// What the adversary's clock is off by, in seconds.
const CLOCK: f64 = 1e-4;

/// How many people are watched, for how long, and with how many traffic seeds.
pub(super) fn size(setting: &Setting) -> (usize, f64, u64) {
    setting.effort.pick((16, 600.0, 1), (60, 7_200.0, 3))
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let (users, length, runs) = size(setting);
    let people = setting.people(users, length);
    let mut findings = Findings::default();
    let steps = 8 + runs;
    progress(0, steps, "shipped clients, idle");
    let rig = Rig::wide(setting.seed, people.clone());
    let idle = rig.idle().run::<Transparent>().watched();
    let mut busy = Vec::new();
    for i in 0..runs {
        progress(1 + i, steps, "shipped clients, in use");
        let seed = setting.seed + i;
        busy.extend(
            Rig {
                seed,
                ..rig.clone()
            }
            .run::<Transparent>()
            .watched(),
        );
    }
    let (differ, compared) = difference(&busy[..idle.len()], &idle);
    findings.measures.push(Measure::new(
        Metric::FramesDiffering,
        "echo (shipped code), in use against idle",
        exact(differ as f64, compared),
    ));
    let mut bars = Vec::new();
    let mut judge = |findings: &mut Findings, name: &str, watched: &[Watched]| {
        let windows = Windows {
            length,
            window: WINDOW,
            late: horizon(watched),
        };
        bars.push(judge(findings, name, watched, &windows, setting.seed));
    };
    judge(&mut findings, "echo (shipped code)", &busy);
    progress(1 + runs, steps, "a planted fault");
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
    judge(&mut findings, "planted: acks off the clock", &faulty);
    progress(2 + runs, steps, "a planted fault, ten seconds");
    planted(&mut findings, setting.seed);
    for (i, design) in others().iter().enumerate() {
        progress(3 + runs + i as u64, steps, &design.name);
        let watched = watch(design, &people, runs, setting.seed);
        judge(&mut findings, &design.name, &watched);
    }
    findings.figures.push(figure(&bars, &people.name));
    findings.notes.push(format!(
        "{} messages of {} users in {:.0} s ({}), windows of {WINDOW} s, {runs} traffic seeds",
        people.messages.len(),
        people.users,
        people.length,
        people.name
    ));
    Ok(findings)
}

/// A design's clients under the same people with several traffic seeds, one after the other.
pub(super) fn watch(design: &Design, people: &Conversation, runs: u64, seed: u64) -> Vec<Watched> {
    let one = |i| links::watch(design, people, people.users, seed + i);
    (0..runs).flat_map(one).collect()
}

/// Until then nineteen of twenty messages have arrived, and a half more, for what is late.
pub(super) fn horizon(watched: &[Watched]) -> f64 {
    let all = watched.iter().flat_map(|w| w.latencies.iter().copied());
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() * 19 / 20)
        .map_or(10.0, |t| (1.5 * t).max(0.05))
}

/// Whether the learnt rule and the exact comparison find an ack off the clock in ten seconds of virtual time: forty clients
/// at localnet's rates, each of whom talks for three seconds, early or late.
fn planted(findings: &mut Findings, seed: u64) {
    const CLIENTS: usize = 40;
    let mut draws = Stream::new(seed, Purpose::ARRIVAL, 1 << 40);
    let first: Vec<bool> = (0..CLIENTS).map(|_| draws.chance(0.5)).collect();
    let quiet = |faults| {
        let mut rig = Rig {
            faults,
            ..conformance::lively(seed)
        };
        // The next one who talks at the same time.
        let partner = |to: usize| {
            let mut others = (1..CLIENTS).map(|i| (to + i) % CLIENTS);
            others
                .find(|other| first[*other] == first[to])
                .unwrap_or(to)
        };
        let talks = |to: usize, at: f64| match first[to] {
            true => at < 3.0,
            false => (5.0..8.0).contains(&at),
        };
        let ticks = (0..16).flat_map(|tick| (0..CLIENTS).map(move |to| (tick, to)));
        let written = ticks.map(|(tick, to)| Written {
            at: f64::from(tick) * 0.5 + to as f64 * 0.012,
            from: partner(to),
            to,
            bytes: 100,
        });
        rig.people.users = CLIENTS;
        rig.people.messages = written.filter(|m| talks(m.to, m.at)).collect();
        rig
    };
    let ack = Faults {
        ack_off_clock: true,
        ..Faults::default()
    };
    let idle = quiet(Faults::default()).idle().run::<Transparent>();
    let windows = Windows {
        length: conformance::SECONDS,
        window: 1.0,
        late: 2.0,
    };
    for (name, faults) in [
        ("honest", Faults::default()),
        ("planted: acks off the clock", ack),
    ] {
        let watched = quiet(faults).run::<Transparent>().watched();
        let of = format!("{name}, {:.0} s at localnet's rates", windows.length);
        let cases = cases(&watched, &windows, false);
        let area = Measure::new(Metric::Auc, of.clone(), scores::learnt(&cases).auc());
        let first = first_difference(&watched, &idle.watched());
        match first {
            Some(at) => {
                findings.measures.push(area);
                let of = format!("{of}: first frame that differs from an idle run");
                findings
                    .measures
                    .push(Measure::new(Metric::TimeToDetect, of, exact(at, 1)));
            }
            // An honest run has nothing to be found.
            None => findings.null.push(area),
        }
    }
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
    name: &str,
    watched: &[Watched],
    windows: &Windows,
    seed: u64,
) -> (String, Interval, Interval) {
    let verdict = |(view, inside)| {
        let cases = cases(watched, windows, inside);
        let scores = scores::learnt(&cases);
        let of = format!("{name}, by the {view}");
        let area = scores.auc();
        let tpr = scores.tpr_at(0.01);
        findings.measures.extend([
            Measure::new(Metric::Auc, of.clone(), area),
            Measure::new(Metric::TprAtHundredth, of.clone(), tpr),
        ]);
        let mut draws = Stream::new(seed, Purpose::RESAMPLING, 7);
        let null = scores::learnt(&scores::rotated(&cases, &mut draws));
        findings
            .null
            .push(Measure::new(Metric::Auc, of, null.auc()));
        area
    };
    let [link, gateway] = [("link", false), ("own gateway", true)].map(verdict);
    (name.to_string(), link, gateway)
}

/// Which part of a recording is one case.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Windows {
    /// Seconds of the recording.
    pub length: f64,
    /// Seconds of a window.
    pub window: f64,
    /// So long after a window its messages have arrived.
    pub late: f64,
}

/// Every window of every client; true where its owner wrote or was written to.
pub fn cases(watched: &[Watched], windows: &Windows, inside: bool) -> Vec<Case> {
    let Windows {
        length,
        window,
        late,
    } = *windows;
    let number = ((length - late) / window).max(0.0) as usize;
    let mut out = Vec::with_capacity(watched.len() * number);
    for (client, w) in watched.iter().enumerate() {
        let down = if inside { &w.inside } else { &w.down };
        let answers = answers(w);
        for i in 0..number {
            let (from, to) = (i as f64 * window, (i + 1) as f64 * window);
            let used = count(&w.wrote, from, to) + count(&w.written_to, from, to) > 0;
            let counts = [&w.up, down].into_iter().flat_map(|times| {
                let shortest = shortest(times, from, to).unwrap_or(window);
                [count(times, from, to) as f64, shortest]
            });
            let answered = count(&answers, from, to + late) as f64;
            out.push(Case {
                features: counts.chain([answered]).collect(),
                is_true: used,
                client,
            });
        }
    }
    out
}

/// Frames up that left at the very moment at which one came down.
fn answers(w: &Watched) -> Vec<f64> {
    let at_once = |up: &&f64| {
        let down = **up - w.link;
        count(&w.down, down - CLOCK, down + CLOCK) > 0
    };
    w.up.iter().filter(at_once).copied().collect()
}

/// The shortest time that [`RUN`] frames of the window take; `None` where there are fewer.
fn shortest(times: &[f64], from: f64, to: f64) -> Option<f64> {
    let (a, b) = (
        times.partition_point(|t| *t < from),
        times.partition_point(|t| *t < to),
    );
    let runs = times[a..b].windows(RUN).map(|w| w[RUN - 1] - w[0]);
    // Nanoseconds, so that a constant rate has one value and not many by rounding.
    runs.map(|r| (r * 1e9).round() / 1e9).min_by(f64::total_cmp)
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
            "Area under the ROC curve for windows of {WINDOW} s, with 95 % intervals (Student's, over clients); 0.5 is \
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

    #[test]
    fn onion_routing_leaks_and_substituted_cover_does_not() {
        let people = Conversation::made_up(5, 16, 1_800.0);
        let of = |design: &Design| {
            let watched = links::watch(design, &people, 16, 9);
            let windows = Windows {
                length: people.length,
                window: WINDOW,
                late: horizon(&watched),
            };
            scores::learnt(&cases(&watched, &windows, false)).auc()
        };
        assert!(of(&Design::onion(3, 5)).low > 0.9);
        let loopix = of(&Design::loopix(3, 5));
        assert!(
            (loopix.value - 0.5).abs() < 2.0 * loopix.half_width(),
            "{loopix:?}"
        );
    }

    #[test]
    fn the_learnt_rule_finds_an_ack_off_the_clock_in_ten_seconds() {
        let mut findings = Findings::default();
        planted(&mut findings, 5);
        let found = &findings.measures[0];
        assert!(found.metric == Metric::Auc && found.low > 0.65, "{found:?}");
        let first = &findings.measures[1];
        assert!(first.value < conformance::SECONDS, "{first:?}");
        assert!(findings.null[0].at_chance(), "{:?}", findings.null[0]);
    }
}
