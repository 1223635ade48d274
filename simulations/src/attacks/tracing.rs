//! A1: whoever sees all links follows one message. What is left of its posterior, over messages and over users: in the
//! published settings, by topology, by kind of mix, and by design under one workload.

use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::design::{Delivery, Design, Mixing, Placement, Topology};
use crate::metrics::{Interval, Measure, Metric, exact, normal, proportion, quantile};
use crate::outcome::{Options, Outcome, Users};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};
use crate::traffic::{Demand, Traffic};
use crate::{events, sweep};

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A1",
    title: "tracing one message",
    sees: "all links, what nodes hold and which steps each packet still has before it, and the inside of corrupt mixes",
    rule: "exact posterior: of an honest mix's packets with the same steps before them, each that leaves gets an equal part of their \
           mass; the best guess is the likeliest packet, or user (optimal for exponential delays and for batches)",
    truth: "the simulator knows which packet is the target",
    run,
};

/// Messages that are followed at a time.
const LANES: usize = 8;

/// Runs a design with so many users who have something to say; follows `targets` of their messages.
pub(super) fn follow(
    design: &Design,
    users: u32,
    demand: &Demand,
    targets: usize,
    seed: u64,
) -> Result<Outcome, AttackError> {
    let mut options = Options::new(seed, targets);
    options.users = Users::Senders(users);
    // Ends when there are enough.
    let traffic = Traffic::new(design, users, demand.clone(), seed, 1e9);
    let batches = matches!(
        design.mixing,
        Mixing::Threshold { .. } | Mixing::Timed { .. } | Mixing::Pool { .. }
    );
    let sweeps = !batches && matches!(design.topology, Topology::Stratified { .. });
    let refused = |e: crate::design::DesignError| AttackError(format!("{}: {e}", design.name));
    let outcome = if sweeps {
        sweep::run::<LANES>(design, traffic, &options, &mut ())
    } else {
        events::run::<LANES>(design, traffic, &options, &mut ())
    };
    outcome.map_err(refused)
}

/// Mean of a number over followed messages.
fn grouped(outcome: &Outcome, of: impl Fn(&crate::outcome::Tracked) -> f64) -> Interval {
    let (value, error) = outcome.estimate(of);
    normal(value, error, outcome.tracked.len() as u64)
}

/// How often the likeliest user was the right one, beside what posteriors said of it. Of a posterior that knows all that can
/// be known both are the same; one that says more than comes true counts ways that the message cannot have gone.
#[derive(Default)]
pub(super) struct Promises {
    right: u64,
    said: f64,
    of: u64,
}

impl Promises {
    pub(super) fn take(&mut self, outcome: &Outcome) {
        for t in outcome.tracked.iter().filter(|t| t.user_best.is_finite()) {
            self.right += u64::from(t.user_hit);
            self.said += t.user_best;
            self.of += 1;
        }
    }

    pub(super) fn measure(&self, of: &str) -> Measure {
        let of = format!("{of}: guesses that are right, beside what their posteriors said");
        let right = Measure::new(Metric::BestGuessUsers, of, proportion(self.right, self.of));
        right.beside(self.said / self.of.max(1) as f64)
    }
}

/// Everything that is said of followed messages. Best guesses are counted, not taken from the posterior ([`Promises`]).
pub(super) fn measures(outcome: &Outcome, of: &str) -> Vec<Measure> {
    // Messages that were followed together share their surroundings: the error is that of their groups.
    let mean = |of: fn(&crate::outcome::Tracked) -> f64| grouped(outcome, of);
    let entropies: Vec<f64> = outcome.tracked.iter().map(|t| t.entropy).collect();
    let hits = |pick: fn(&crate::outcome::Tracked) -> bool| {
        let hits = outcome.tracked.iter().filter(|t| pick(t)).count();
        proportion(hits as u64, outcome.tracked.len() as u64)
    };
    let numbers = [
        (Metric::ShannonMessages, mean(|t| t.entropy)),
        (Metric::ShannonDecile, quantile(&entropies, 0.1)),
        (Metric::MinEntropyMessages, mean(|t| t.min_entropy)),
        (Metric::BestGuessMessages, hits(|t| t.hit)),
        (Metric::ShannonUsers, mean(|t| t.user_entropy)),
        (Metric::MinEntropyUsers, mean(|t| t.user_min_entropy)),
        (Metric::BestGuessUsers, hits(|t| t.user_hit)),
        (Metric::Exposed, hits(|t| t.entropy < 1e-3)),
    ];
    numbers
        .into_iter()
        .map(|(metric, n)| Measure::new(metric, of, n))
        .collect()
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    progress(0, 5, "published settings");
    latency_law(&mut findings, setting)?;
    published(&mut findings, setting)?;
    progress(1, 5, "load");
    load(&mut findings, setting)?;
    progress(2, 5, "topologies and kinds of mix");
    kinds(&mut findings, setting)?;
    progress(3, 5, "designs");
    designs(&mut findings, setting)?;
    progress(4, 5, "null run");
    // Who sees nothing but how many users there are guesses one of them.
    let (users, trials) = (100, 20_000);
    let mut draws = Stream::new(setting.seed, Purpose::ADVERSARY, 1);
    let right = (0..trials)
        .filter(|_| draws.below(users) == draws.below(users))
        .count();
    let guess = proportion(right as u64, trials);
    let of = "an adversary who sees no link, 100 users";
    findings
        .null
        .push(Measure::new(Metric::BestGuessUsers, of, guess).against(1.0 / users as f64));
    Ok(findings)
}

/// One point of the 2022 study: end-to-end budget in seconds, layers, mixes in each, messages a second, corrupt share, and
/// the entropy that it gives.
type Published = (f64, u32, u32, f64, f64, f64);

/// 5,000 messages a second, links of 50 ms.
const STUDY: [Published; 11] = [
    (1.0, 1, 10, 5_000.0, 0.0, 10.2534),
    (1.0, 2, 10, 5_000.0, 0.0, 13.2960),
    (1.0, 3, 10, 5_000.0, 0.0, 13.0392),
    (1.0, 5, 10, 5_000.0, 0.0, 12.5522),
    (0.5, 3, 10, 5_000.0, 0.0, 11.6285),
    (0.25, 3, 10, 5_000.0, 0.0, 8.9003),
    (2.0, 3, 10, 5_000.0, 0.0, 14.2116),
    (5.0, 2, 10, 5_000.0, 0.0, 15.8332),
    (1.0, 3, 100, 5_000.0, 0.0, 12.7299),
    (1.0, 3, 10, 5_000.0, 0.1, 12.8116),
    (1.0, 3, 50, 100.0, 0.0, 2.6239),
];

fn published(findings: &mut Findings, setting: &Setting) -> Result<(), AttackError> {
    let users = 1_000;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let few: &[Published] = setting.effort.pick(&STUDY[2..4], &STUDY);
    for (i, (budget, layers, width, rate, corrupt, entropy)) in few.iter().enumerate() {
        let link = 0.05;
        let delay = (budget - f64::from(layers + 1) * link) / f64::from(*layers);
        let mut design = Design::bare(*layers, *width, delay);
        design.link = link;
        if *corrupt > 0.0 {
            design.corrupt_mixes = Placement::PerLayer(*corrupt);
        }
        let targets = match *corrupt > 0.0 || *rate < 1_000.0 {
            true => setting.effort.pick(40, 800),
            false => setting.effort.pick(24, 120),
        };
        let demand = Demand::poisson(rate / f64::from(users));
        let outcome = follow(&design, users, &demand, targets, setting.seed + i as u64)?;
        let h = grouped(&outcome, |t| t.entropy);
        let of = format!(
            "{budget} s budget, {layers}×{width} mixes, {rate:.0} messages/s, {:.0} % corrupt",
            corrupt * 100.0
        );
        findings
            .measures
            .push(Measure::new(Metric::ShannonMessages, of.clone(), h).beside(*entropy));
        if *corrupt > 0.0 {
            let exposed = outcome.tracked.iter().filter(|t| t.entropy < 1e-3).count();
            let exposed = proportion(exposed as u64, outcome.tracked.len() as u64);
            let closed = corrupt.powi(*layers as i32);
            findings
                .measures
                .push(Measure::new(Metric::Exposed, of, exposed).beside(closed));
        }
        ours.push(Point::with(i as f64, &h));
        theirs.push(Point::plain(i as f64, *entropy));
    }
    let names: Vec<String> = few
        .iter()
        .map(|(d, l, w, r, b, _)| {
            let rest = if *b > 0.0 {
                ", 10 % corrupt"
            } else if *r < 1_000.0 {
                ", 100/s"
            } else {
                ""
            };
            format!("{d} s, {l}×{w}{rest}")
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    findings.figures.push(Figure {
        id: "published-entropy".into(),
        title: "A1: entropy of a traced message beside the study of 2022".into(),
        caption: "Mean Shannon entropy over messages with 95 % intervals (of groups), beside the data points of Ben Guirat and \
                  Diaz, PETS 2022. Budget from end to end, layers × mixes; 5,000 messages/s where not said."
            .into(),
        x: Axis::names("budget, layers × mixes", &names),
        y: Axis::linear("entropy over messages (bit)"),
        series: vec![
            Series::new("published", Shape::Bars, theirs),
            Series::new("here", Shape::Bars, ours),
        ],
    });
    Ok(())
}

/// Loopix' figure of latencies: 500 clients, all rates 60 a minute, three hops of mean 0.5 s. The published mean of 1.93 s
/// has 0.43 s of processing and links in it, which are none here.
fn latency_law(findings: &mut Findings, setting: &Setting) -> Result<(), AttackError> {
    let design = Design {
        link: 0.0,
        allowance: 0.0,
        ..Design::bare(3, 2, 0.5)
    };
    let demand = Demand::poisson(3.0);
    let targets = setting.effort.pick(64, 640);
    let outcome = follow(
        &Design {
            link: 1e-3,
            ..design
        },
        500,
        &demand,
        targets,
        setting.seed,
    )?;
    let latency = &outcome.latency;
    let n = latency.count();
    // Four links of a millisecond that the sweep needs.
    let shift = 0.002;
    let (mean, deviation) = (latency.mean() - shift, latency.deviation());
    let of = "three hops of mean 0.5 s, 500 clients at 180 packets a minute each";
    let error = deviation / (n as f64).sqrt();
    findings
        .measures
        .push(Measure::new(Metric::LatencyMean, of, normal(mean, error, n)).beside(1.93 - 0.43));
    // Of a gamma law of shape 3 the variance of a sample's deviation is σ²(κ − 1)/4n with κ = 5.
    let sure = normal(deviation, deviation / (n as f64).sqrt(), n);
    findings
        .measures
        .push(Measure::new(Metric::LatencyDeviation, of, sure).beside(0.87));
    let law = |x: f64| anonymity::latency::cdf(3, 2.0, x).value;
    let (mut distance, mut measured, mut gamma) = (0.0f64, Vec::new(), Vec::new());
    for (i, (x, share)) in latency.cumulative().enumerate() {
        distance = distance.max((share - law(x - shift)).abs());
        if i % 16 == 0 && x > 0.02 {
            measured.push(Point::plain(x, share));
            gamma.push(Point::plain(x, law(x - shift)));
        }
    }
    findings.measures.push(Measure::new(
        Metric::Distance,
        format!("{of}: from the gamma law (shape 3, mean 1.5 s)"),
        exact(distance, n),
    ));
    findings.figures.push(Figure {
        id: "latency-law".into(),
        title: "Latency of three exponential hops, as in Loopix' figure 10".into(),
        caption: format!("Distribution of {n} packets beside the gamma law of shape 3; largest distance {distance:.4}."),
        x: Axis::linear("latency (s)"),
        y: Axis::linear("share of packets that took no longer"),
        series: vec![
            Series::new("measured", Shape::Line, measured),
            Series::new("gamma law", Shape::Dashed, gamma),
        ],
    });
    Ok(())
}

/// One bit for each doubling of the load.
fn load(findings: &mut Findings, setting: &Setting) -> Result<(), AttackError> {
    let (mut messages, mut users_h, mut line) = (Vec::new(), Vec::new(), Vec::new());
    let users = 100;
    let rates: &[f64] = setting.effort.pick(
        &[10.0, 100.0],
        &[10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0],
    );
    for rate in rates {
        let design = Design::bare(3, 3, 1.0);
        let design = Design {
            link: 0.01,
            ..design
        };
        let demand = Demand::poisson(rate / f64::from(users));
        let targets = setting.effort.pick(32, 160);
        let outcome = follow(&design, users, &demand, targets, setting.seed)?;
        let of = format!("3×3 mixes of 1 s, 100 users, {rate:.0} messages/s");
        let all = measures(&outcome, &of);
        let pick = |metric| {
            all.iter().find(|m| m.metric == metric).map(|m| Point {
                x: *rate,
                y: m.value,
                low: m.low,
                high: m.high,
            })
        };
        messages.extend(pick(Metric::ShannonMessages));
        users_h.extend(pick(Metric::ShannonUsers));
        let layers = anonymity::network::Layers {
            rate: *rate,
            layers: 3,
            width: 3,
            mean_hop: 1.0,
        };
        line.push(Point::plain(
            *rate,
            anonymity::network::entropy(&layers).value,
        ));
        findings.measures.extend(all);
    }
    findings.figures.push(Figure {
        id: "load".into(),
        title: "A1: one bit for each doubling, until the users run out".into(),
        caption: "Mean Shannon entropy with 95 % intervals. 100 users have at most log2 100 = 6.64 bits, however much they \
                  send."
            .into(),
        x: Axis::log("messages a second of 100 users"),
        y: Axis::linear("entropy (bit)"),
        series: vec![
            Series::new("over messages", Shape::Line, messages),
            Series::new("over users", Shape::Line, users_h),
            Series::new("over messages, closed form (dense)", Shape::Dashed, line),
        ],
    });
    Ok(())
}

/// The same users and messages through other topologies and other mixes.
fn kinds(findings: &mut Findings, setting: &Setting) -> Result<(), AttackError> {
    let users = 100;
    let demand = Demand::poisson(1.0);
    let base = Design {
        link: 0.01,
        ..Design::bare(3, 3, 1.0)
    };
    let with = |name: &str, topology: Topology, mixing: Mixing| Design {
        name: name.into(),
        topology,
        mixing,
        ..base.clone()
    };
    let stratified = || Topology::stratified(3, 3);
    let poisson = Mixing::Poisson { mean: 1.0 };
    // 100 messages a second: 33 at each mix, so that each of these waits a second on average.
    let all = [
        with("stratified 3×3, Poisson", stratified(), poisson),
        with(
            "cascades, 3 of 3, Poisson",
            Topology::Cascade {
                length: 3,
                cascades: 3,
            },
            poisson,
        ),
        with(
            "free route, 3 of 9, Poisson",
            Topology::FreeRoute { mixes: 9, hops: 3 },
            poisson,
        ),
        with(
            "stratified 3×3, threshold 67",
            stratified(),
            Mixing::Threshold { size: 67 },
        ),
        with(
            "stratified 3×3, timed 2 s",
            stratified(),
            Mixing::Timed { period: 2.0 },
        ),
        with(
            "stratified 3×3, pool 20 + 23",
            stratified(),
            Mixing::Pool { size: 20, kept: 23 },
        ),
        with("stratified 3×3, no delay", stratified(), Mixing::None),
    ];
    let (mut h, mut best, mut late) = (Vec::new(), Vec::new(), Vec::new());
    for (i, design) in all.iter().enumerate() {
        let targets = setting.effort.pick(32, 240);
        let outcome = follow(design, users, &demand, targets, setting.seed)?;
        let of = format!("{}, 100 messages/s", design.name);
        let numbers = measures(&outcome, &of);
        let point = |metric| {
            let found = numbers.iter().find(|m| m.metric == metric);
            found.map_or(Point::plain(i as f64, f64::NAN), |m| Point {
                x: i as f64,
                y: m.value,
                low: m.low,
                high: m.high,
            })
        };
        h.push(point(Metric::ShannonMessages));
        best.push(point(Metric::MinEntropyMessages));
        let latency = exact(outcome.latency.quantile(0.5), outcome.latency.count());
        late.push(Point::plain(i as f64, latency.value));
        findings.measures.extend(numbers);
        findings
            .measures
            .push(Measure::new(Metric::Latency, of, latency));
    }
    let names: Vec<&str> = all.iter().map(|d| d.name.as_str()).collect();
    findings.figures.push(Figure {
        id: "kinds".into(),
        title: "A1: topologies and kinds of mix at one load and nearly one delay".into(),
        caption: "100 users at 1 message/s each, no cover. Entropy and min-entropy over messages, 95 % intervals; median time \
                  through the network."
            .into(),
        x: Axis::names("network", &names),
        y: Axis::linear("bit, or s"),
        series: vec![
            Series::new("entropy (bit)", Shape::Bars, h),
            Series::new("min-entropy (bit)", Shape::Bars, best),
            Series::new("median latency (s)", Shape::Bars, late),
        ],
    });
    Ok(())
}

/// Bytes a second on a client's link, cover included.
pub(super) fn bandwidth(design: &Design, written: f64) -> f64 {
    let up = design.client_rate().max(written);
    let down = match design.delivery {
        Delivery::Echo { downlink_rate, .. } => downlink_rate,
        Delivery::Provider { pull_interval } => 1.0 / pull_interval,
        Delivery::Push => design.emission.payload_rate + design.emission.loop_rate + written,
        Delivery::Bare => 0.0,
    };
    (up + down) * f64::from(design.packet_len)
}

/// Mizzle and others, at their own rates, under one workload; Mizzle without parts of its cover too.
fn designs(findings: &mut Findings, setting: &Setting) -> Result<(), AttackError> {
    let users = 100;
    let written = 1.0 / 60.0;
    let demand = Demand::Poisson {
        rate: written,
        contacts: 4,
    };
    let all = [
        Design::mizzle(3, 5),
        Design::mizzle_without_client_loops(3, 5),
        Design::mizzle_without_node_loops(3, 5),
        Design::loopix(3, 5),
        Design::katzenpost(3, 5),
        Design::nym(3, 5),
        Design::onion(3, 5),
    ];
    let (mut points, mut h): (Vec<Series>, Vec<Point>) = Default::default();
    let mut promises = Promises::default();
    for (i, design) in all.iter().enumerate() {
        let targets = setting.effort.pick(16, 160);
        let outcome = follow(design, users, &demand, targets, setting.seed)?;
        promises.take(&outcome);
        let of = format!("{}, 100 users, one message a minute each", design.name);
        let numbers = measures(&outcome, &of);
        let value = |metric| numbers.iter().find(|m| m.metric == metric);
        let reader = &outcome.to_reader;
        let reader = if reader.count() > 0 {
            reader
        } else {
            &outcome.latency
        };
        let latency = reader.quantile(0.5);
        let bytes = bandwidth(design, written);
        let n = reader.count();
        let own = [
            (Metric::Latency, exact(latency, n)),
            (Metric::LatencyTail, exact(reader.quantile(0.99), n)),
            (Metric::Bandwidth, exact(bytes, 0)),
        ];
        if let Some(entropy) = value(Metric::ShannonUsers) {
            h.push(Point::with(i as f64, &interval(entropy)));
            let most = f64::from(users).log2();
            let at = Point {
                x: latency,
                y: most - entropy.value,
                low: most - entropy.high,
                high: most - entropy.low,
            };
            let cost = match bytes {
                b if b < 1e3 => format!("{b:.0} B/s"),
                b => format!("{:.1} kB/s", b / 1e3),
            };
            let name = format!("{} ({cost})", design.name);
            points.push(Series::new(name, Shape::Marks, vec![at]));
        }
        findings.measures.extend(numbers.clone());
        findings
            .measures
            .extend(own.map(|(metric, x)| Measure::new(metric, of.clone(), x)));
    }
    let of = "all designs, 100 users";
    findings.measures.push(promises.measure(of));
    let names: Vec<&str> = all.iter().map(|d| d.name.as_str()).collect();
    findings.figures.push(Figure {
        id: "designs-entropy".into(),
        title: "A1: designs at their own rates, one workload".into(),
        caption: "Entropy over users of the exact posterior of whoever sees all links, 100 users (at most 6.64 bits), one message a \
                  minute each; 95 % intervals."
            .into(),
        x: Axis::names("design", &names),
        y: Axis::linear("entropy over users (bit)"),
        series: vec![Series::new("entropy over users", Shape::Bars, h)],
    });
    findings.figures.push(Figure {
        id: "designs-tradeoff".into(),
        title: "A1: what a design costs and what it hides".into(),
        caption: "What is missing to log2 100 bits in the entropy over users of whoever sees all links (lower is better; all of \
                  it, 6.64 bits, is missing where a message is known), against the median time from the sender's tick to the \
                  reader; in brackets what one client sends and receives. 95 % intervals over groups of messages."
            .into(),
        x: Axis::log("median latency (s)"),
        y: Axis::log("missing entropy over users (bit)"),
        series: points,
    });
    Ok(())
}

fn interval(measure: &Measure) -> Interval {
    Interval {
        value: measure.value,
        low: measure.low,
        high: measure.high,
        count: measure.samples,
    }
}
