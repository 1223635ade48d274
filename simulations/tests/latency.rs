//! How long a cell takes, against what `mizzle_core::latency` says it takes: the formula of
//! `docs/latency.md`, and the figures there.

use directory::{Parameters, Rate};
use mizzle_core::client::{FetchClass, grid};
use mizzle_core::latency::{Spread, one_way};
use simulations::{Engine, Scenario, Transparent};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::ids::CellId;
use wire::time::Instant;

/// What both builders of frames take: a client's lead, and a gateway's.
const LEAD: Duration = Duration::from_millis(25);
/// On one link of [`Scenario::small`].
const LINK: Duration = Duration::from_millis(5);

struct Case {
    name: &'static str,
    parameters: Parameters,
    /// Inboxes that the reader reads, the one in question included.
    inboxes: usize,
    class: FetchClass,
}

impl Case {
    fn formula(&self) -> Spread {
        let weight = self.class.weight();
        let places = grid(self.inboxes - 1 + weight).max(2);
        one_way(&self.parameters, (weight, places), LEAD, LINK)
    }

    /// Seconds that each of `count` cells took, sorted.
    fn measured(&self, count: usize) -> Vec<f64> {
        let mut scenario = Scenario::small(5);
        scenario.gateways = 4;
        scenario.entries = vec![0, 1];
        scenario.parameters = self.parameters.clone();
        scenario.parameters.mix_loop_rate = Rate(100);
        scenario.parameters.puzzle_difficulty = 2;
        scenario.epoch_length = Duration::from_secs(3_600);
        let formula = self.formula();
        let p99 = Duration::from_secs_f64(formula.p99());
        let mut engine = Engine::<Transparent>::new(scenario);
        engine.run_for(Duration::from_secs(5));
        let inbox = engine.open_as(1, 2, self.class);
        for _ in 1..self.inboxes {
            engine.open(1, 3);
        }
        engine.run_for(p99 * 2 + Duration::from_secs(10) * self.inboxes as u32);
        let mut given: BTreeMap<CellId, Instant> = BTreeMap::new();
        for n in 0..count {
            let (cell, _) = engine.deposit(0, &inbox);
            given.insert(cell, engine.now());
            engine.run_for(p99 + Duration::from_millis((n as u64 * 7_919) % 1_000));
        }
        engine.run_for(p99 * 4);
        let came = &engine.clients()[1].told.cells;
        let took = came
            .iter()
            .map(|(at, _, cell)| at.saturating_since(given[cell]));
        let mut took: Vec<f64> = took.map(|t| t.as_secs_f64()).collect();
        assert_eq!(took.len(), count, "{}", self.name);
        took.sort_by(f64::total_cmp);
        took
    }
}

fn cases() -> Vec<Case> {
    let local = Parameters::localnet();
    let wide = Parameters::wide();
    let with = |change: &dyn Fn(&mut Parameters)| {
        let mut parameters = Parameters::wide();
        change(&mut parameters);
        parameters
    };
    let case = |name, parameters, inboxes, class| Case {
        name,
        parameters,
        inboxes,
        class,
    };
    use FetchClass::{Contact, Favourite};
    vec![
        case("localnet, 1 contact", local.clone(), 2, Contact),
        case("localnet, 8 contacts", local.clone(), 16, Contact),
        case("localnet, 8 contacts, favourite", local, 16, Favourite),
        case("wide, 1 contact", wide.clone(), 2, Contact),
        case("wide, 4 contacts", wide.clone(), 8, Contact),
        case("wide, 16 contacts", wide.clone(), 32, Contact),
        case("wide, 16 contacts, favourite", wide, 32, Favourite),
        case(
            "λP = 2/s, 4 contacts",
            with(&|p| {
                p.payload_rate = Rate(2_000);
                p.downlink_rate = Rate(4_000);
            }),
            8,
            Contact,
        ),
        case(
            "λL = 0.5/s, 4 contacts",
            with(&|p| {
                p.loop_rate = Rate(500);
                p.downlink_rate = Rate(1_667);
            }),
            8,
            Contact,
        ),
        case(
            "1/μ = 0.5 s, 4 contacts",
            with(&|p| p.delay_mean = Duration::from_millis(500)),
            8,
            Contact,
        ),
        case(
            "δ = 200 ms, 4 contacts",
            with(&|p| p.hop_allowance = Duration::from_millis(200)),
            8,
            Contact,
        ),
        case(
            "ν = 4/s, 4 contacts",
            with(&|p| p.downlink_rate = Rate(4_000)),
            8,
            Contact,
        ),
    ]
}

/// The mean of `count` cells lies within 4 standard errors (a false alarm: 6 in 100,000) and 3 % of
/// the formula's.
fn agrees(case: &Case, took: &[f64]) -> bool {
    let formula = case.formula();
    let mean = took.iter().sum::<f64>() / took.len() as f64;
    let error = (formula.variance / took.len() as f64).sqrt();
    let off = (mean - formula.mean).abs();
    assert!(
        off < 4.0 * error + 0.03 * formula.mean,
        "{}: {mean} s, by formula {} s",
        case.name,
        formula.mean
    );
    true
}

#[test]
#[ignore = "takes a minute"]
fn the_formula_holds() {
    for case in &cases()[..2] {
        assert!(agrees(case, &case.measured(60)));
    }
}

/// The table of `docs/latency.md`.
#[test]
#[ignore = "takes minutes, and prints"]
#[allow(clippy::print_stdout)]
fn table() {
    println!(
        "| | mean, formula | measured | median, formula | measured | p99, formula | measured |"
    );
    for case in &cases() {
        let took = case.measured(400);
        assert!(agrees(case, &took));
        let formula = case.formula();
        let mean = took.iter().sum::<f64>() / took.len() as f64;
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!(
            "| {} | {:.2} | {mean:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            case.name,
            formula.mean,
            formula.median(),
            at(0.5),
            formula.p99(),
            at(0.99),
        );
    }
}
