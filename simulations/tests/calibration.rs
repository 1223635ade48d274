//! What a posterior says comes true: of messages that are followed, the best guess is right as often as its probability
//! promises, and the truth costs as many bits as the entropy says. In each design, in networks with so little
//! traffic that a rule which is a little wrong shows.
//!
//! Messages that were followed together share their pools, so errors are those of groups. Each comparison may be off by
//! five standard errors: one false alarm in 10⁶ of them.

use simulations::design::{Design, Mixing, Placement, Topology};
use simulations::outcome::{Options, Outcome, Users, estimate};
use simulations::traffic::{Demand, Traffic};
use simulations::{events, sweep};

const LANES: usize = 8;
const USERS: u32 = 6;

fn follow(design: &Design, demand: Demand) -> Outcome {
    let mut options = Options::new(23, 800);
    options.users = Users::Senders(USERS);
    let traffic = Traffic::new(design, USERS, demand, options.seed, 1e9);
    let sweeps = matches!(design.mixing, Mixing::Poisson { .. } | Mixing::None);
    let outcome = if sweeps {
        sweep::run::<LANES>(design, traffic, &options, &mut ())
    } else {
        events::run::<LANES>(design, traffic, &options, &mut ())
    };
    outcome.expect("a design that can be run")
}

fn is_calibrated(design: &Design, demand: Demand) {
    let (name, outcome) = (&design.name, follow(design, demand));
    let tracked = &outcome.tracked;
    assert!(tracked.len() >= 800 && outcome.cut_off * 50 < tracked.len() as u64);
    let one = |yes: bool| f64::from(u8::from(yes));
    let (messages, error) = estimate(tracked, |t| one(t.hit) - t.best);
    let said: f64 = tracked.iter().map(|t| t.best).sum();
    let right = tracked.iter().filter(|t| t.hit).count();
    // So many that a posterior which promises twice as much as comes true is found.
    assert!(said > 50.0, "{name}: {said}");
    assert!(
        messages.abs() <= 5.0 * error + 1e-6,
        "{name}: {right} messages right, {said:.1} promised"
    );

    let (bits, error) = estimate(tracked, |t| -t.truth.log2() - t.entropy);
    let entropy = estimate(tracked, |t| t.entropy).0;
    assert!(error < 0.1, "{name}: {error}");
    assert!(
        bits.abs() <= 5.0 * error + 1e-6,
        "{name}: the truth costs {bits:+.3} ± {error:.3} bit beside an entropy of {entropy:.3}"
    );

    let (users, error) = estimate(tracked, |t| one(t.user_hit) - t.user_best);
    let said: f64 = tracked.iter().map(|t| t.user_best).sum();
    let right = tracked.iter().filter(|t| t.user_hit).count();
    assert!(
        users.abs() <= 5.0 * error + 1e-6,
        "{name}: {right} users right, {said:.1} promised"
    );
}

/// One message a second of each of six users, two mixes in each place, a mean delay of half a second.
fn bare(name: &str, topology: Topology) -> Design {
    Design {
        name: name.into(),
        link: 0.01,
        topology,
        ..Design::bare(3, 2, 0.5)
    }
}

#[test]
fn in_stratified_networks_and_cascades() {
    let stratified = bare("stratified", Topology::stratified(3, 2));
    is_calibrated(&stratified, Demand::poisson(1.0));
    let corrupt = Design {
        name: "corrupt mixes".into(),
        corrupt_mixes: Placement::Random(0.3),
        ..stratified
    };
    is_calibrated(&corrupt, Demand::poisson(1.0));
    let topology = Topology::Cascade {
        length: 3,
        cascades: 2,
    };
    is_calibrated(&bare("cascades", topology), Demand::poisson(1.0));
}

#[test]
fn in_free_routes() {
    let topology = Topology::FreeRoute { mixes: 3, hops: 3 };
    let free = bare("free routes", topology);
    is_calibrated(&free, Demand::poisson(1.0));
    let weighted = Design {
        name: "weighted free routes".into(),
        weights: vec![4.0, 2.0, 1.0],
        ..free
    };
    is_calibrated(&weighted, Demand::poisson(1.0));
}

#[test]
fn in_batch_mixes() {
    let mixings = [
        ("threshold", Mixing::Threshold { size: 4 }),
        ("timed", Mixing::Timed { period: 1.0 }),
        ("pool", Mixing::Pool { size: 2, kept: 1 }),
    ];
    for (name, mixing) in mixings {
        for topology in [
            Topology::stratified(3, 2),
            Topology::FreeRoute { mixes: 3, hops: 3 },
        ] {
            let name = format!("{name}, {} stages", topology.stages().len());
            let design = Design {
                mixing,
                ..bare(&name, topology)
            };
            is_calibrated(&design, Demand::poisson(1.0));
        }
    }
}

/// A design at its own rates, but with a mean delay so short that no more than two packets of clients are in a layer.
fn sparse(mut design: Design) -> Design {
    let mean = 2.0 / (design.client_rate() * f64::from(USERS));
    design.mixing = Mixing::Poisson { mean };
    design
}

/// Every payload tick carries a message: then who sent what else says nothing about the one that is followed, but for the
/// gateway at which it entered (`outcome`), which is within the errors here.
#[test]
fn in_whole_designs() {
    let mut many_loops = Design::mizzle(2, 3);
    many_loops.name = "mizzle with more loops of gateways".into();
    many_loops.emission.gateway_loop_rate = 0.75;
    let mut corrupt = Design::mizzle(2, 3);
    corrupt.name = "mizzle with corrupt nodes".into();
    corrupt.corrupt_mixes = Placement::Random(0.3);
    corrupt.corrupt_gateways = Placement::Random(0.4);
    for design in [
        Design::mizzle(2, 3),
        Design::mizzle_without_client_loops(2, 3),
        Design::mizzle_without_node_loops(2, 3),
        many_loops,
        corrupt,
        Design::loopix(2, 3),
        Design::katzenpost(2, 3),
        Design::nym(2, 3),
    ] {
        is_calibrated(&sparse(design), Demand::Saturated);
    }
    is_calibrated(&Design::onion(2, 3), Demand::poisson(1.0));
}
