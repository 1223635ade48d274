//! The law of a mix' delays, with a real node under load: never early, seldom late, and exponential as
//! they were drawn.
//!
//! A packet counts as departed when the system has it for the test, which plays the layer after, and as arrived
//! when the test handed it over: the ways through TLS and loopback are charged to the node.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail by panic, and says what it saw"
)]

use directory::Parameters;
use mixnode::bench::source::Metronome;
use mixnode::bench::window::Trial;
use mixnode::bench::world::Setup;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::rng::{Purpose, TrafficRng};

/// Probability that a mix which keeps the law fails the KS test.
const ALPHA: f64 = 1e-4;
/// A tenth of a second in nanoseconds.
const MOMENT: u64 = 100_000_000;

/// The greatest distance between the sample's distribution and the exponential one.
fn distance(sample: &mut [f64], mean: f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let n = sample.len() as f64;
    let each = sample.iter().enumerate().map(|(i, x)| {
        let law = 1.0 - (-x.max(0.0) / mean).exp();
        (law - i as f64 / n).max((i + 1) as f64 / n - law)
    });
    each.fold(0.0, f64::max)
}

/// What the distance does not exceed but with probability [`ALPHA`]
/// (Dvoretzky–Kiefer–Wolfowitz–Massart).
fn critical(n: usize) -> f64 {
    ((2.0 / ALPHA).ln() / (2.0 * n as f64)).sqrt()
}

/// Probability of missing a fault that moves the distribution by `moved`: that same inequality about
/// the faulty law.
fn miss(n: usize, moved: f64) -> f64 {
    let slack = moved - critical(n);
    2.0 * (-2.0 * n as f64 * slack * slack).exp()
}

fn setup(parameters: Parameters, packets: usize) -> Setup {
    let mut setup = Setup::new(env!("CARGO_BIN_EXE_mixnode"), env!("CARGO_TARGET_TMPDIR"));
    setup.parameters = parameters;
    setup.packets = packets;
    // At 2 s and 30,000 packets a second, 60,000 wait.
    setup.config = "log = \"error\"\n[limits]\ndelay_queue = 262144\n".into();
    setup
}

/// Whether packets are late all the time, or in moments at which something stood still.
fn say_when_late(late: &[(u64, i64)]) {
    let mut moments: BTreeMap<u64, (usize, usize, i64)> = BTreeMap::new();
    for (due, late) in late {
        let (all, over, most) = moments.entry(due / MOMENT).or_default();
        *all += 1;
        *over += usize::from(*late >= 1_000_000);
        *most = (*late).max(*most);
    }
    let over: usize = moments.values().map(|(_, over, _)| over).sum();
    let first = moments.keys().next().copied().unwrap_or(0);
    let mut worst: Vec<_> = moments.iter().collect();
    worst.sort_by_key(|(_, (_, over, _))| std::cmp::Reverse(*over));
    let worst = worst.iter().take(20).map(|(at, (all, over, most))| {
        format!(
            "{:.1} s: {over} of {all}, {} ms",
            (*at - first) as f64 / 10.0,
            most / 1_000_000
        )
    });
    println!(
        "{over} of {} packets are 1 ms late or more, most in these tenths of seconds: {}",
        late.len(),
        worst.collect::<Vec<_>>().join("; ")
    );
}

/// Sends `packets` at `rate`; p99 of their lateness in microseconds, and the machine's own.
fn law(parameters: Parameters, packets: usize, rate: f64) -> (f64, f64) {
    let mean = parameters.delay_mean;
    let mut trial = Trial::start(setup(parameters, 2 * packets)).unwrap();
    let metronome = Metronome::start(trial.world.clock());
    let time = Duration::from_secs_f64(packets as f64 / rate);
    let window = trial.measure(rate, time).unwrap();
    let machine = metronome.p99();
    let ledger = trial.world.ledger();
    // What is shed because the machine stalled is shed before anybody knows its delay, so it does not bend
    // the law; but it must be little, and all of it counted.
    let shed = window.discards.get("overloaded").copied().unwrap_or(0);
    assert!(window.discards.keys().all(|reason| reason == "overloaded"));
    assert!(window.missing as u64 <= shed, "{window:?}");
    assert!(window.missing * 100 < window.numbers.len(), "{window:?}");
    assert!(window.numbers.len() * 10 > packets * 9, "{window:?}");
    assert_eq!(window.early, 0, "packets left before their time");
    say_when_late(
        &ledger
            .late(window.numbers.clone(), trial.world.allowance())
            .collect::<Vec<_>>(),
    );
    let mut delays = ledger.delays(window.numbers.clone(), trial.world.allowance());
    let found = distance(&mut delays, mean.as_secs_f64());
    let (n, allowed) = (delays.len(), critical(delays.len()));
    println!(
        "{n} packets at {rate:.0}/s, 1/μ {mean:?}, {} shed: KS distance {found:.5}, allowed {allowed:.5} (α {ALPHA}); \
         late p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us; the machine's own p99 {machine:.0} us",
        window.missing, window.late[0], window.late[1], window.late[2]
    );
    println!(
        "  a mean off by 2 % would be missed with probability {:.0e}, a cut at 5 means {:.0e}, \
         1 % of a mean too much for all {:.0e}",
        miss(n, 0.02 / std::f64::consts::E),
        miss(n, (-5.0f64).exp()),
        miss(n, 0.01)
    );
    assert!(found < allowed, "the delays are not those that were drawn");
    (window.late[1], machine)
}

/// The test would see it: the faults it is about, planted in drawn delays.
#[test]
fn faults_would_be_found() {
    let n = 1_000_000;
    let mut draws = TrafficRng::from_seed([3; 32]).tick(Purpose::Simulation, 0);
    let mean = Duration::from_secs(2);
    let drawn: Vec<f64> = (0..n)
        .map(|_| draws.draw_exponential(mean).as_secs_f64())
        .collect();
    let with = |fault: &dyn Fn(f64) -> f64| {
        let mut sample: Vec<f64> = drawn.iter().map(|x| fault(*x)).collect();
        distance(&mut sample, 2.0) > critical(n)
    };
    assert!(!with(&|x| x));
    assert!(!with(&|x| x + 300e-6), "as late as a good mix is");
    assert!(with(&|x| x * 1.02));
    assert!(with(&|x| x.min(10.0)), "a cut at five means");
    assert!(with(&|x| x + 0.02), "20 ms too much for all");
    assert!(with(&|x| (x / 0.05).ceil() * 0.05), "a timer of 50 ms");
    assert!(miss(n, 0.02 / std::f64::consts::E) < 1e-6);
}

/// Some thousand packets in a few seconds.
#[test]
fn delays_are_those_that_were_drawn() {
    let parameters = Parameters {
        delay_mean: Duration::from_millis(400),
        // So that nothing is shed where the machine is busy with other tests.
        hop_allowance: Duration::from_millis(500),
        ..Parameters::localnet()
    };
    law(parameters, 3000, 1000.0);
}

/// A million packets at half of what the node carries, with a real network's delays.
#[test]
#[ignore = "a million packets"]
fn delays_of_a_million_packets_are_those_that_were_drawn() {
    let capacity = {
        let mut trial = Trial::start(setup(Parameters::localnet(), 4 << 20)).unwrap();
        trial
            .capacity(Duration::from_secs(1), Duration::from_secs(4))
            .unwrap()
    };
    let rate = (capacity / 2.0).min(60_000.0);
    let (p99, machine) = law(Parameters::wide(), 1_000_000, rate);
    let punctual = p99 < 1000.0;
    if !punctual && machine > 300.0 {
        println!(
            "SKIPPED: p99 below 1 ms: this machine lets nobody be punctual (p99 {machine:.0} us)"
        );
        return;
    }
    assert!(
        punctual,
        "99 of 100 packets leave within 1 ms of their time"
    );
}
