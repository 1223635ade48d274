//! A4: who sees a stream enter and a stream leave must say whether they are one conversation.
//!
//! Three parts: the published experiment (a download over three hops, nothing else at its end), the time to link a
//! conversation from several places, and the shipped code against whoever owns the entry gateway of the one
//! end *and* the gateway of an inbox (in `attacks/gateways.rs`).

use super::links::poisson;
use super::{Attack, AttackError, Findings, Progress, Setting, gateways};
use crate::metrics::{Measure, Metric, auc, exact, mean, roc, tpr_at};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};

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

/// A stream that goes in, and what of it comes out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flow {
    /// a: packets a second that the sender emits.
    pub emitted: f64,
    /// r: those of them that go to the watched egress.
    pub matched: f64,
    /// ν: packets a second there that have nothing to do with the sender.
    pub noise: f64,
    /// k: exponential delays between the two.
    pub hops: u32,
    /// 1/μ of each, in seconds.
    pub delay: f64,
    /// Seconds of observation.
    pub time: f64,
}

impl Flow {
    fn closed(&self) -> anonymity::flow::Flow {
        anonymity::flow::Flow {
            emitted: self.emitted,
            matched: self.matched,
            noise: self.noise,
            hops: self.hops,
            mu: 1.0 / self.delay,
        }
    }

    /// J: nats a second by which the log-likelihood ratio of the true pair grows, by the closed form.
    pub fn information_rate(&self) -> f64 {
        anonymity::flow::information_rate(&self.closed()).value
    }

    /// Seconds until the true pair is found with TPR 0.9 at FPR 1e-3, by the closed form.
    pub fn time_to_link(&self) -> f64 {
        anonymity::flow::time_to_link(&self.closed(), 0.9, 1e-3).value
    }

    /// Before the observation the sender already sends, so that the egress is stationary.
    fn lead(&self) -> f64 {
        f64::from(self.hops) * self.delay * 4.0
    }

    fn sent(&self, draws: &mut Stream) -> Vec<f64> {
        poisson(draws, self.emitted, -self.lead(), self.time)
    }

    fn arriving(&self, sent: &[f64], draws: &mut Stream) -> Vec<f64> {
        let share = self.matched / self.emitted;
        let mut out = Vec::new();
        for at in sent {
            if draws.chance(share) {
                out.push(at + draws.erlang(self.hops, self.delay));
            }
        }
        out.retain(|t| (0.0..self.time).contains(t));
        out.extend(poisson(draws, self.noise, 0.0, self.time));
        out.sort_by(f64::total_cmp);
        out
    }

    /// Scores of `trues` true pairs and `falses` pairs that have nothing to do with each other.
    pub fn scores(&self, trues: usize, falses: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let score = |trial: usize, same: bool| {
            let entity = (trial as u64) << 1 | u64::from(same);
            let mut draws = Stream::new(seed, Purpose::ADVERSARY, entity);
            let sent = self.sent(&mut draws);
            let other = if same {
                sent.clone()
            } else {
                self.sent(&mut draws)
            };
            let came = self.arriving(&other, &mut draws);
            self.ratio(&sent, &came)
        };
        let positives = (0..trues).map(|i| score(i, true)).collect();
        (positives, (0..falses).map(|i| score(i, false)).collect())
    }

    /// The log-likelihood ratio of `came` given `sent`; both ascending.
    pub fn ratio(&self, sent: &[f64], came: &[f64]) -> f64 {
        let kernel = Kernel::new(self.hops, self.delay);
        let gain = self.matched / self.emitted;
        let flat = self.noise + self.matched;
        // A packet that no sent one explains is not impossible: clocks and links are not perfect.
        let floor = self.noise + self.matched * 1e-3;
        let mut first = 0;
        let mut sum = 0.0;
        for t in came {
            while first < sent.len() && sent[first] < t - kernel.reach {
                first += 1;
            }
            let follow = sent[first..].iter().take_while(|s| *s < t);
            let follow: f64 = follow.map(|s| kernel.density(t - s)).sum();
            sum += ((floor + gain * follow) / flat).ln();
        }
        // What should have come: the part of every sent packet's density that lies in the observation.
        let inside = |s: &f64| kernel.mass(self.time - s) - kernel.mass(-s);
        let expected: f64 = sent.iter().map(inside).sum::<f64>() * gain + floor * self.time;
        sum - (expected - flat * self.time)
    }
}

/// Density of the sum of `k` exponential delays.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    k: u32,
    rate: f64,
    front: f64,
    /// Beyond this nothing is left of it.
    pub reach: f64,
}

impl Kernel {
    /// Erlang.
    pub fn new(k: u32, mean: f64) -> Self {
        let rate = 1.0 / mean;
        let below: f64 = (1..k).map(f64::from).product();
        Self {
            k,
            rate,
            front: rate.powi(k as i32) / below,
            reach: (f64::from(k) + 6.0 * f64::from(k).sqrt() + 10.0) * mean,
        }
    }

    /// At a lag.
    pub fn density(&self, t: f64) -> f64 {
        if t <= 0.0 {
            return 0.0;
        }
        self.front * t.powi(self.k as i32 - 1) * (-self.rate * t).exp()
    }

    /// Up to a lag.
    pub fn mass(&self, t: f64) -> f64 {
        if t <= 0.0 {
            return 0.0;
        }
        let x = self.rate * t;
        let (mut term, mut sum) = (1.0, 1.0);
        for i in 1..self.k {
            term *= x / f64::from(i);
            sum += term;
        }
        1.0 - sum * (-x).exp()
    }
}

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
    let (trues, falses) = setting.effort.pick((300, 1_000), (1_000, 10_000));
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
        let (positives, negatives) = flow.scores(trues, falses, setting.seed + i as u64);
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
    conversations(&mut findings, setting);
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

fn conversations(findings: &mut Findings, setting: &Setting) {
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
        let (positives, _) = long.scores(trials, 0, setting.seed + 100 + i as u64);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_has_mass_one_and_its_norm_is_the_formulas() {
        let kernel = Kernel::new(3, 0.05);
        let step = 1e-4;
        let points = || (0..20_000).map(|i| (f64::from(i) + 0.5) * step);
        let mass: f64 = points().map(|t| kernel.density(t) * step).sum();
        let norm: f64 = points().map(|t| kernel.density(t).powi(2) * step).sum();
        assert!((mass - 1.0).abs() < 1e-6 && (kernel.mass(1.0) - mass).abs() < 1e-4);
        // 3μ/16 for three hops.
        assert!((norm - 3.0 * 20.0 / 16.0).abs() < 1e-4);
    }

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
            let (p, n) = flow.scores(200, 400, 11);
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
