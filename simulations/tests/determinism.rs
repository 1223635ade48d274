//! The same seed twice gives the same run; another seed another one.

use directory::Rate;
use simulations::network::{Latency, LinkModel};
use simulations::{Engine, Scenario, Transparent};
use std::time::Duration;

fn run(seed: u64, act: bool) -> (u64, u64) {
    let mut scenario = Scenario::small(seed);
    scenario.epoch_length = Duration::from_secs(20);
    scenario.parameters.mix_loop_rate = Rate(2_000);
    scenario.link = LinkModel {
        latency: Latency::Exponential {
            least: Duration::from_millis(2),
            mean: Duration::from_millis(8),
        },
        loss: 0.02,
        reorder: true,
    };
    let mut engine = Engine::<Transparent>::new(scenario);
    engine.run_for(Duration::from_secs(2));
    let inbox = engine.open(1, 2);
    engine.run_for(Duration::from_secs(5));
    for _ in 0..10 {
        engine.deposit(0, &inbox);
        engine.run_for(Duration::from_millis(211));
    }
    if act {
        engine.kill(2);
        engine.run_for(Duration::from_secs(1));
        engine.restart(2);
    }
    engine.run_for(Duration::from_secs(15));
    (engine.trace().hash(), engine.trace().count())
}

#[test]
fn the_same_seed_twice_gives_the_same_trace() {
    let first = run(3, true);
    assert!(first.1 > 5_000, "{first:?}");
    assert_eq!(first, run(3, true));
}

#[test]
fn another_seed_or_another_act_gives_another_trace() {
    let first = run(3, true);
    assert_ne!(first.0, run(4, true).0);
    assert_ne!(first.0, run(3, false).0);
}
