//! Two engines, one truth: the sweep and the event engine move the same packets alike, so they agree to rounding on the
//! messages that both track, exactly on latencies, and within confidence intervals on everything else. And both
//! agree with the closed forms.

use simulations::design::{Delivery, Design, DesignError, Mixing, Placement, Topology};
use simulations::events;
use simulations::message::{Class, Message};
use simulations::outcome::{Options, Outcome, Tracked, Users, estimate as mean};
use simulations::sweep;
use simulations::traffic::{Demand, Traffic};

const LANES: usize = 8;

fn both(
    design: &Design,
    users: u32,
    demand: &Demand,
    seconds: f64,
    options: &Options,
) -> [Outcome; 2] {
    let traffic = || Traffic::new(design, users, demand.clone(), options.seed, seconds);
    [
        sweep::run::<LANES>(design, traffic(), options, &mut ()).expect("a design that can be run"),
        events::run::<LANES>(design, traffic(), options, &mut ())
            .expect("a design that can be run"),
    ]
}

fn agree(design: &Design, users: u32, demand: &Demand, seconds: f64) {
    let name = &design.name;
    let mut options = Options::new(11, 1_000_000);
    options.users = Users::Senders(users);
    options.drain = true;
    options.warm_up = Some(seconds / 10.0);
    let [a, b] = both(design, users, demand, seconds, &options);
    // Every message takes the same time, whoever moves it.
    assert!(a.latency.count() > 500, "{name}: {}", a.latency.count());
    assert_eq!(a.latency.count(), b.latency.count(), "{name}");
    for share in [0.01, 0.5, 0.99] {
        let (x, y) = (a.latency.quantile(share), b.latency.quantile(share));
        assert!((x - y).abs() < 1e-9, "{name}: {x} {y}");
    }
    assert_eq!(a.sent[..4], b.sent[..4], "{name}");
    let hops = a.hop_events as f64 / b.hop_events as f64;
    assert!((hops - 1.0).abs() < 0.02, "{name}: {hops}");
    // The same messages are tracked first, with the same posterior.
    for (x, y) in a.tracked.iter().zip(&b.tracked).take(LANES) {
        assert_eq!(
            (x.id, x.sender, x.receiver, x.hit),
            (y.id, y.sender, y.receiver, y.hit),
            "{name}"
        );
        for (p, q) in [
            (x.entropy, y.entropy),
            (x.min_entropy, y.min_entropy),
            (x.best, y.best),
            (x.truth, y.truth),
            (x.latency, y.latency),
            (x.user_entropy, y.user_entropy),
            (x.user_best, y.user_best),
        ] {
            // The sweep follows the last millionth a window longer.
            assert!((p - q).abs() < 1e-4, "{name}: {p} {q}\n{x:?}\n{y:?}");
        }
    }
    // All of them: another set in each engine, so within 5 standard errors (one false alarm in 10⁶).
    assert!(
        a.tracked.len() >= 40 && b.tracked.len() >= 40,
        "{name}: {} {}",
        a.tracked.len(),
        b.tracked.len()
    );
    let measures: [fn(&Tracked) -> f64; 6] = [
        |t| t.entropy,
        |t| t.min_entropy,
        |t| t.best,
        |t| t.user_entropy,
        |t| t.user_best,
        |t| f64::from(u8::from(t.exposed())),
    ];
    for (i, of) in measures.into_iter().enumerate() {
        let ((x, ex), (y, ey)) = (mean(&a.tracked, of), mean(&b.tracked, of));
        let error = (ex * ex + ey * ey).sqrt();
        assert!(
            (x - y).abs() <= 5.0 * error + 1e-9,
            "{name}, measure {i}: {x} ± {ex}, {y} ± {ey}"
        );
    }
    for tracked in a.tracked.iter().chain(&b.tracked) {
        assert!(
            tracked.missing <= 1e-6 && tracked.outputs > 0,
            "{tracked:?}"
        );
        let most = (tracked.outputs as f64).log2();
        assert!(tracked.entropy <= most + 1e-9 && tracked.min_entropy <= tracked.entropy + 1e-9);
    }
}

#[test]
fn the_engines_agree_on_a_bare_network() {
    let mut design = Design::bare(3, 4, 0.2);
    design.link = 0.01;
    agree(&design, 100, &Demand::poisson(2.0), 60.0);
}

#[test]
fn the_engines_agree_on_corrupt_mixes() {
    let mut design = Design::bare(3, 5, 0.2);
    design.corrupt_mixes = Placement::PerLayer(0.4);
    agree(&design, 100, &Demand::poisson(2.0), 60.0);
}

#[test]
fn the_engines_agree_on_echoes_with_loops() {
    let mut design = Design::mizzle(3, 4);
    design.mixing = Mixing::Poisson { mean: 0.2 };
    design.corrupt_mixes = Placement::Random(0.2);
    design.emission.payload_rate = 2.0;
    design.delivery = Delivery::Echo {
        downlink_rate: 3.0,
        places: 8,
    };
    agree(&design, 40, &Demand::poisson(0.5), 100.0);
}

#[test]
fn the_engines_agree_on_providers() {
    let mut design = Design::loopix(3, 4);
    design.mixing = Mixing::Poisson { mean: 0.2 };
    agree(&design, 60, &Demand::poisson(0.5), 80.0);
}

#[test]
fn the_engines_agree_on_cascades_and_free_routes() {
    let mut design = Design::bare(3, 4, 0.2);
    design.link = 0.01;
    design.name = "cascade".into();
    design.topology = Topology::Cascade {
        length: 3,
        cascades: 3,
    };
    agree(&design, 100, &Demand::poisson(2.0), 60.0);
    design.name = "free".into();
    design.topology = Topology::FreeRoute { mixes: 9, hops: 3 };
    agree(&design, 100, &Demand::poisson(2.0), 60.0);
}

#[test]
fn the_engines_agree_on_weighted_routes() {
    let mut design = Design::bare(3, 4, 0.2);
    design.link = 0.01;
    design.name = "weighted".into();
    design.weights = vec![4.0, 2.0, 1.0, 1.0];
    design.corrupt_mixes = Placement::Adaptive(0.25);
    agree(&design, 100, &Demand::poisson(2.0), 60.0);
    // The adversary has taken the mix of each layer that half of all routes pass: an eighth pass nothing else.
    let options = Options::new(5, 3_000);
    let traffic = Traffic::new(&design, 100, Demand::poisson(2.0), 5, 1e6);
    let outcome = sweep::run::<LANES>(&design, traffic, &options, &mut ()).unwrap();
    let (exposed, error) = mean(&outcome.tracked, |t| f64::from(u8::from(t.exposed())));
    assert!(
        (exposed - 0.125).abs() < 4.0 * error && error < 0.02,
        "{exposed} ± {error}"
    );
    design.name = "weighted free".into();
    design.corrupt_mixes = Placement::None;
    design.topology = Topology::FreeRoute { mixes: 9, hops: 3 };
    agree(&design, 100, &Demand::poisson(2.0), 60.0);
}

#[test]
fn onion_routing_hides_nothing() {
    let design = Design::onion(3, 4);
    let options = Options::new(3, 200);
    for outcome in both(&design, 50, &Demand::poisson(1.0), 200.0, &options) {
        assert!(outcome.tracked.len() >= 200);
        assert!(
            outcome
                .tracked
                .iter()
                .all(|t| t.exposed() && t.hit && t.truth == 1.0)
        );
    }
}

/// One Poisson mix at ρ = 10: E\[H\] = 4.76305, E\[Hmin\] = 3.51975, and the best guess is right as often as it says.
#[test]
fn a_single_mix_is_as_its_closed_form_says() {
    let design = Design::bare(1, 1, 1.0);
    let options = Options::new(5, 2_000);
    for outcome in both(&design, 10, &Demand::poisson(1.0), 1e6, &options) {
        let (h, error) = mean(&outcome.tracked, |t| t.entropy);
        assert!(
            (h - 4.76305).abs() < 4.0 * error && error < 0.03,
            "{h} ± {error}"
        );
        let (h, error) = mean(&outcome.tracked, |t| t.min_entropy);
        assert!(
            (h - 3.51975).abs() < 4.0 * error && error < 0.03,
            "{h} ± {error}"
        );
        let (v, _) = mean(&outcome.tracked, |t| t.best);
        let (hit, error) = mean(&outcome.tracked, |t| f64::from(u8::from(t.hit)));
        assert!((hit - v).abs() < 4.0 * error, "{hit} ± {error}, {v}");
        let (latency, error) = mean(&outcome.tracked, |t| t.latency);
        assert!((latency - 1.0).abs() < 4.0 * error, "{latency} ± {error}");
    }
}

/// Batch mixes against simulation.md §2.6: threshold, timed, pool.
#[test]
fn batches_are_as_their_closed_forms_say() {
    let run = |mixing| {
        let mut design = Design::bare(1, 1, 1.0);
        design.mixing = mixing;
        let options = Options::new(7, 1_500);
        let traffic = Traffic::new(&design, 10, Demand::poisson(1.0), 7, 1e6);
        events::run::<LANES>(&design, traffic, &options, &mut ())
            .unwrap()
            .tracked
    };
    let threshold = run(Mixing::Threshold { size: 20 });
    assert!(
        threshold
            .iter()
            .all(|t| (t.entropy - 20_f64.log2()).abs() < 1e-9 && (t.best - 0.05).abs() < 1e-12)
    );
    // 10/s, and a period of 1 s delays by 0.5 s on average: λd = 5.
    let (h, error) = mean(&run(Mixing::Timed { period: 1.0 }), |t| t.entropy);
    assert!(
        (h - 3.39542).abs() < 4.0 * error && error < 0.05,
        "{h} ± {error}"
    );
    let (h, error) = mean(&run(Mixing::Pool { size: 10, kept: 10 }), |t| t.entropy);
    assert!((h - 5.3219).abs() < 4.0 * error + 1e-3, "{h} ± {error}");
}

#[test]
fn what_a_sweep_cannot_do_is_said() {
    let run = |design: &Design| {
        sweep::run::<LANES>(design, std::iter::empty(), &Options::new(1, 1), &mut ())
    };
    let mut design = Design::bare(1, 1, 1.0);
    design.mixing = Mixing::Threshold { size: 5 };
    assert!(matches!(run(&design), Err(DesignError(why)) if why.contains("events")));
    let mut design = Design::mizzle(3, 4);
    (design.link, design.allowance) = (0.0, 0.0);
    assert!(matches!(run(&design), Err(DesignError(why)) if why.contains("come back at once")));
}

#[test]
fn messages_out_of_order_are_refused() {
    let message = |time| Message {
        time,
        sender: 0,
        receiver: 1,
        class: Class::Payload,
    };
    let (design, options) = (Design::bare(1, 1, 1.0), Options::new(1, 1));
    let messages = || [1.0, 3.0, 2.0].map(message).into_iter();
    let swept = sweep::run::<LANES>(&design, messages(), &options, &mut ());
    let ran = events::run::<LANES>(&design, messages(), &options, &mut ());
    for result in [swept, ran] {
        assert!(result.unwrap_err().0.contains("2s comes after 3s"));
    }
}
