//! A4: who sees a stream enter and a stream leave must say whether they are one conversation.
//!
//! What the rule is, and the engine's traffic that it is tried on, is in `attacks/matching/flow.rs`. Three parts: the published experiment (a download over three hops, nothing else at its end), the time to link a
//! conversation from several places, and the shipped code against whoever owns the entry gateway of the one
//! end *and* the gateway of an inbox (in `attacks/gateways.rs`).

mod flow;

pub use flow::{Flow, Kernel};

use super::{Attack, AttackError, Findings, Progress, Setting, gateways};
use crate::metrics::{Measure, Metric, auc, exact, mean, roc, tpr_at};
use crate::plot::{Axis, Figure, Point, Series, Shape};

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A4",
    title: "flow matching from end to end",
    sees: "the moments of all packets that a client sends, and the moments of all packets that reach one egress (a \
           reader's link, or an inbox inside its gateway)",
    rule: "log-likelihood ratio of a Poisson process whose intensity follows the first stream, shifted by the delay density, \
           against one of constant intensity (optimal for Poisson streams)",
    truth: "the simulator knows which stream belongs to which",
    run,
};

/// One published setting: its name, hop delay, packets, and TPR at 1 % of the published classifiers.
const PUBLISHED: [(&str, f64, f64, Option<f64>); 6] = [
    ("20 ms hops, 100 packets", 0.020, 100.0, Some(0.997)),
    ("50 ms hops, 100 packets", 0.050, 100.0, Some(0.67)),
    ("200 ms hops, 100 packets", 0.200, 100.0, Some(0.16)),
    ("50 ms hops, 200 packets", 0.050, 200.0, Some(0.983)),
    ("50 ms hops, 300 packets", 0.050, 300.0, Some(0.999)),
    ("15 ms hops, 100 packets", 0.015, 100.0, None),
];

/// Downloads at fifty packets a second.
const DOWNLOAD: f64 = 50.0;

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let (trues, falses) = setting.effort.pick((300, 1_200), (3_000, 30_000));
    let steps = PUBLISHED.len() as u64 + 3;
    let mut curves = Vec::new();
    for (i, (name, delay, packets, published)) in PUBLISHED.iter().enumerate() {
        progress(i as u64, steps, name);
        let flow = Flow {
            emitted: DOWNLOAD,
            matched: DOWNLOAD,
            noise: 0.0,
            hops: 3,
            delay: *delay,
            time: packets / DOWNLOAD,
        };
        let (positives, negatives) = flow.scores(trues, falses / trues, setting.seed + i as u64)?;
        let of = format!("download, {name}");
        let tpr = tpr_at(&positives, &negatives, 0.01);
        let measure = Measure::new(Metric::TprAtHundredth, of.clone(), tpr);
        findings.measures.push(match published {
            Some(published) => measure.beside(*published),
            None => measure,
        });
        if setting.effort == super::Effort::Full {
            let tpr = tpr_at(&positives, &negatives, 0.001);
            findings
                .measures
                .push(Measure::new(Metric::TprAtThousandth, of.clone(), tpr));
        }
        let area = auc(&positives, &negatives);
        findings
            .measures
            .push(Measure::new(Metric::Auc, of.clone(), area));
        let half = negatives.len() / 2;
        let null = auc(&negatives[..half], &negatives[half..]);
        findings.null.push(Measure::new(Metric::Auc, of, null));
        if i < 5 {
            let points = roc(&positives, &negatives)
                .into_iter()
                .map(|(f, t)| Point::plain(f, t));
            curves.push(Series::new(*name, Shape::Line, points.collect()));
        }
    }
    let chance = (0..=30).map(|i| 10f64.powf(-3.0 + f64::from(i) / 10.0));
    let chance = chance.map(|f| Point::plain(f, f)).collect();
    curves.push(Series::new("chance", Shape::Dashed, chance));
    findings.figures.push(Figure {
        id: "matching-roc".into(),
        title: "A4: matching a download of 50 packets/s over three hops".into(),
        caption: format!(
            "Receiver operating characteristic of the likelihood-ratio rule, {trues} true and {falses} false pairs; no other \
             traffic at the egress."
        ),
        x: Axis::log("false-positive rate"),
        y: Axis::linear("true-positive rate"),
        series: curves,
    });
    progress(steps - 3, steps, "time to link a conversation");
    conversations(&mut findings, setting)?;
    progress(
        steps - 2,
        steps,
        "corrupt entry and inbox gateway, shipped code",
    );
    gateways::entry_and_inbox(&mut findings, setting)?;
    Ok(findings)
}

/// A conversation of one message in ten seconds, as it is seen from several places. Noise is what else arrives where
/// the adversary looks.
fn places() -> [(&'static str, Flow); 6] {
    let flow = |emitted, noise, hops, delay| Flow {
        emitted,
        matched: 0.1,
        noise,
        hops,
        delay,
        time: 3_600.0,
    };
    [
        (
            "provider, 1 s hops: corrupt provider of the reader",
            flow(1.0, 0.9, 3, 1.0),
        ),
        ("provider, 5 s hops: the same", flow(1.0, 0.9, 3, 5.0)),
        (
            "push at Nym's rates: whoever watches both links",
            flow(55.0, 55.0, 3, 0.015),
        ),
        (
            "onion routing: whoever watches both links",
            flow(0.1, 0.01, 1, 0.010),
        ),
        (
            "echo at wide rates: entry of the writer and inbox gateway",
            flow(0.6, 0.0, 4, 2.0),
        ),
        (
            "100 users pooled behind an honest gateway, 1 s hops",
            flow(1.0, 99.9, 3, 1.0),
        ),
    ]
}

fn conversations(findings: &mut Findings, setting: &Setting) -> Result<(), AttackError> {
    let trials = setting.effort.pick(20, 100);
    let mut series = Vec::new();
    for (i, (name, flow)) in places().into_iter().enumerate() {
        let rate = flow.information_rate();
        let link = flow.time_to_link();
        let of = format!("one message in 10 s; {name}");
        findings.measures.push(Measure::new(
            Metric::TimeToLink,
            format!("{of} (closed form)"),
            exact(link, 0),
        ));
        // The rate itself, simulated for as long as links take, but over no more events than can be paid for.
        let most = 20_000.0 / (flow.noise + flow.emitted);
        let least = 200.0 / flow.emitted;
        let long = Flow {
            time: link.max(least).min(most.max(least)),
            ..flow
        };
        let (positives, _) = long.scores(trials, 0, setting.seed + 100 + i as u64)?;
        let rates: Vec<f64> = positives.iter().map(|p| p / long.time).collect();
        let simulated = Measure::new(Metric::InformationRate, of, mean(&rates)).beside(rate);
        findings.measures.push(simulated);
        let points = (0..=40).map(|i| {
            let hop = 0.01 * 10f64.powf(f64::from(i) / 10.0);
            Point::plain(hop, Flow { delay: hop, ..flow }.time_to_link())
        });
        series.push(Series::new(name, Shape::Line, points.collect()));
    }
    findings.figures.push(Figure {
        id: "time-to-link".into(),
        title: "A4: time to link a conversation of one message in 10 s".into(),
        caption: "Closed form 9.56 nats / J: true-positive rate 0.9 at false-positive rate 1e-3, for a conversation that \
                  never pauses. J is checked by simulation in the table."
            .into(),
        x: Axis::log("mean delay of one hop (s)"),
        y: Axis::log("time to link (s)"),
        series,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn information_rates_are_the_tabled_ones() {
        let flow = |emitted, matched, noise, delay| Flow {
            emitted,
            matched,
            noise,
            hops: 3,
            delay,
            time: 1.0,
        };
        let nats = [
            (flow(50.0, 50.0, 0.0, 0.05), 2.0, 3.75),
            (flow(50.0, 50.0, 50.0, 0.05), 2.0, 1.9),
            (flow(1.0, 0.1, 0.9, 1.0), 3_600.0, 3.4),
        ];
        for (flow, time, nats) in nats {
            assert!(
                (flow.information_rate() * time - nats).abs() < 0.05,
                "{flow:?}"
            );
        }
        assert!((flow(1.0, 0.1, 0.9, 1.0).time_to_link() / 3_600.0 - 2.8).abs() < 0.05);
    }

    #[test]
    fn shorter_hops_are_matched_more_easily_and_strangers_not_at_all() {
        let tpr = |delay| {
            let flow = Flow {
                emitted: 50.0,
                matched: 50.0,
                noise: 0.0,
                hops: 3,
                delay,
                time: 2.0,
            };
            let (p, n) = flow.scores(200, 4, 11).unwrap();
            let half = n.len() / 2;
            let null = auc(&n[..half], &n[half..]);
            assert!(
                (null.value - 0.5).abs() < 2.0 * null.half_width(),
                "{null:?}"
            );
            tpr_at(&p, &n, 0.01).value
        };
        let [short, middle, long] = [0.020, 0.050, 0.200].map(tpr);
        assert!(
            short > 0.97 && (middle - 0.67).abs() < 0.12 && (long - 0.16).abs() < 0.1,
            "{short} {middle} {long}"
        );
    }
}
