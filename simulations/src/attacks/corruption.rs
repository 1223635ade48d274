//! A3: some mixes, and some gateways, are the adversary's. How soon does a message of a user pass none but those?
//!
//! Only routes matter here, as in routesim: users send, mixes are drawn, and the first fully corrupt path counts. What
//! partly corrupt paths do to entropy is in A1.

use super::{Attack, AttackError, Findings, Progress, Setting};
use crate::metrics::{Interval, Measure, Metric, median_between, proportion};
use crate::plot::{Axis, Figure, Point, Series, Shape};
use crate::random::{Purpose, Stream};

/// As in the catalogue.
pub const ATTACK: Attack = Attack {
    id: "A3",
    title: "corrupt mixes and gateways",
    sees: "which packet is which inside its own nodes",
    rule: "links a message whose path is corrupt from end to end, and no other (optimal for one message)",
    truth: "the simulator drew the path",
    run,
};

/// Where the adversary's mixes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Placed {
    /// Anywhere.
    Random,
    /// As many in each layer.
    PerLayer,
    /// All in as few layers as they fill: the worst way to spend them.
    OneLayer,
}

struct Network {
    corrupt: Vec<Vec<bool>>,
}

impl Network {
    fn new(layers: usize, width: usize, share: f64, placed: Placed, draws: &mut Stream) -> Self {
        let mut corrupt = vec![vec![false; width]; layers];
        let budget = (share * (layers * width) as f64).round() as usize;
        match placed {
            Placed::PerLayer => {
                for (layer, mixes) in corrupt.iter_mut().enumerate() {
                    let own = budget / layers + usize::from(layer < budget % layers);
                    mixes[..own].fill(true);
                }
            }
            Placed::OneLayer => {
                for i in 0..budget {
                    corrupt[i / width][i % width] = true;
                }
            }
            Placed::Random => {
                let mut all = vec![false; layers * width];
                all[..budget].fill(true);
                draws.shuffle(&mut all);
                for (i, is) in all.into_iter().enumerate() {
                    corrupt[i / width][i % width] = is;
                }
            }
        }
        Self { corrupt }
    }

    /// Whether a fresh route is corrupt from end to end.
    fn route(&self, draws: &mut Stream) -> bool {
        let all = |mixes: &Vec<bool>| mixes[draws.below(mixes.len() as u64) as usize];
        // Every layer is drawn, corrupt so far or not, so that draws do not depend on what they find.
        self.corrupt
            .iter()
            .map(all)
            .fold(true, |so_far, is| so_far & is)
    }
}

/// A setting and what is said about it.
struct Case {
    name: String,
    layers: usize,
    width: usize,
    share: f64,
    placed: Placed,
    /// Share of gateways that are corrupt; where it is given, a path needs a corrupt entry and a corrupt exit too.
    gateways: Option<f64>,
    /// Whether a user keeps one entry.
    guard: bool,
    /// Of messages until half of the users are hit.
    expected: Option<f64>,
}

fn cases() -> Vec<Case> {
    let case = |name: &str, layers, width, share, placed, expected| Case {
        name: name.into(),
        layers,
        width,
        share,
        placed,
        gateways: None,
        guard: false,
        expected,
    };
    let half = |q: f64| (0.5f64.ln() / (1.0 - q).ln()).into();
    let mut out = vec![
        case(
            "3×20 mixes, 10 % in each layer",
            3,
            20,
            0.1,
            Placed::PerLayer,
            Some(693.0),
        ),
        case(
            "3×20 mixes, 20 % in each layer",
            3,
            20,
            0.2,
            Placed::PerLayer,
            Some(86.0),
        ),
        case(
            "3×20 mixes, 10 % anywhere",
            3,
            20,
            0.1,
            Placed::Random,
            None,
        ),
        case(
            "3×20 mixes, 10 % in one layer",
            3,
            20,
            0.1,
            Placed::OneLayer,
            None,
        ),
        case(
            "2×30 mixes, 10 % in each layer",
            2,
            30,
            0.1,
            Placed::PerLayer,
            half(0.01),
        ),
    ];
    for (guard, name) in [
        (false, "fresh entry for each message"),
        (true, "one entry for good"),
    ] {
        out.push(Case {
            name: format!("3×20 mixes and 20 gateways, 10 % of each corrupt, {name}"),
            gateways: Some(0.1),
            guard,
            expected: if guard { None } else { half(1e-5) },
            ..case("", 3, 20, 0.1, Placed::PerLayer, None)
        });
    }
    out
}

/// Messages until the first corrupt path, of each user; of those who sent `most` without one, how many.
fn first_paths(case: &Case, users: usize, most: u64, seed: u64) -> (Vec<f64>, usize) {
    let (mut hit, mut never) = (Vec::new(), 0);
    for user in 0..users as u64 {
        let mut draws = Stream::new(seed, Purpose::ROUTE, user);
        let network = Network::new(case.layers, case.width, case.share, case.placed, &mut draws);
        let guard = draws.chance(case.gateways.unwrap_or(1.0));
        let found = (1..=most).find(|_| {
            let ends = match case.gateways {
                None => true,
                Some(share) => {
                    let fresh = draws.chance(share);
                    let exit = draws.chance(share);
                    (if case.guard { guard } else { fresh }) & exit
                }
            };
            network.route(&mut draws) & ends
        });
        match found {
            Some(n) => hit.push(n as f64),
            None => never += 1,
        }
        // A guard that is honest stays so: no need to send on.
    }
    (hit, never)
}

fn run(setting: &Setting, progress: Progress<'_>) -> Result<Findings, AttackError> {
    let mut findings = Findings::default();
    let users = setting.effort.pick(200, 1_000);
    let most = setting.effort.pick(5_000, 50_000);
    let cases = cases();
    let mut series = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        progress(i as u64, cases.len() as u64, &case.name);
        let (hit, never) = first_paths(case, users, most, setting.seed);
        let half = median_between(&hit, never);
        let measure = Measure::new(Metric::MessagesToCompromise, case.name.clone(), half);
        findings.measures.push(match case.expected {
            Some(expected) => measure.beside(expected),
            None => measure,
        });
        let share = proportion(hit.len() as u64, users as u64);
        let of = format!("{}: users hit within {most} messages", case.name);
        findings
            .measures
            .push(Measure::new(Metric::Exposed, of, share));
        series.push(Series::new(
            case.name.clone(),
            Shape::Line,
            curve(&hit, users, most),
        ));
    }
    paths(&mut findings, setting);
    // Without corrupt mixes no path is corrupt.
    let honest = Case {
        share: 0.0,
        ..case_like(&cases[0])
    };
    let (hit, _) = first_paths(&honest, 50, 1_000, setting.seed);
    let none = proportion(hit.len() as u64, 50);
    findings
        .null
        .push(Measure::new(Metric::Exposed, "no mix is corrupt", none).against(0.0));
    findings.figures.push(Figure {
        id: "corruption".into(),
        title: "A3: users who have sent a message over a fully corrupt path".into(),
        caption: format!(
            "{users} users, each with a network of its own draws; 95 % intervals (Clopper-Pearson)."
        ),
        x: Axis::log("messages sent by each user"),
        y: Axis::linear("share of users"),
        series,
    });
    Ok(findings)
}

fn case_like(case: &Case) -> Case {
    Case {
        name: case.name.clone(),
        ..*case
    }
}

/// Share of paths that are corrupt, beside what is published and what is right (100 mixes are no multiple of 3).
fn paths(findings: &mut Findings, setting: &Setting) {
    let trials = setting.effort.pick(200_000u64, 4_000_000);
    for (layers, widths, budget, expected) in [
        (2usize, vec![50usize, 50], 10usize, 0.009_090_9),
        (3, vec![33, 33, 34], 20, 0.007_05),
        (3, vec![33, 33, 34], 30, 0.025_11),
    ] {
        let mut hits = 0;
        let mut draws = Stream::new(
            setting.seed,
            Purpose::PLACEMENT,
            layers as u64 * 100 + budget as u64,
        );
        for _ in 0..trials {
            // One mix of each layer, in a network whose corrupt mixes are placed anew: without replacement.
            let mut left = (100u64, budget as u64);
            let hit = widths.iter().all(|_| {
                let is = draws.below(left.0) < left.1;
                left = (left.0 - 1, left.1 - u64::from(is));
                is
            });
            hits += u64::from(hit);
        }
        let of = format!("100 mixes in {layers} layers, {budget} corrupt anywhere");
        findings.measures.push(
            Measure::new(Metric::CorruptPaths, of, proportion(hits, trials)).beside(expected),
        );
    }
}

fn curve(hit: &[f64], users: usize, most: u64) -> Vec<Point> {
    let mut sorted = hit.to_vec();
    sorted.sort_by(f64::total_cmp);
    let steps = (0..=30).map(|i| (most as f64).powf(f64::from(i) / 30.0));
    let share = |x: f64| -> Interval {
        proportion(sorted.partition_point(|n| *n <= x) as u64, users as u64)
    };
    steps.map(|x| Point::with(x, &share(x))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_users_after_as_many_messages_as_the_formula_says() {
        let case = &cases()[1];
        let (hit, never) = first_paths(case, 400, 2_000, 7);
        let half = median_between(&hit, never);
        // Geometric with 0.2³: the median is 86.
        assert!((half.value - 86.0).abs() < 20.0, "{half:?}");
    }

    #[test]
    fn one_full_layer_alone_links_nothing() {
        let mut draws = Stream::new(1, Purpose::FREE, 0);
        let network = Network::new(3, 10, 0.33, Placed::OneLayer, &mut draws);
        assert!((0..1_000).all(|_| !network.route(&mut draws)));
    }
}
