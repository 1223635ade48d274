//! Texts of all lengths both ways while three round trips in ten are lost: each comes once, and soon.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "support/people.rs"]
#[allow(dead_code)] // Shared with `noninterference`, which uses the rest.
mod people;

use directory::Rate;
use messaging::Draft;
use people::People;
use simulations::network::LinkModel;
use simulations::{Engine, Scenario, Transparent};
use std::collections::BTreeMap;
use std::time::Duration;

/// Unfinished messages of one person at most; an outbox takes 256.
const WAITING_MAX: usize = 200;

/// Seconds until `count` texts of 1 byte to 200 kB, half of them each way, are all there, at so many
/// times localnet's rates.
fn exchange(scale: u32, count: usize) -> f64 {
    let mut scenario = Scenario::small(31);
    scenario.gateways = 4;
    scenario.mixes_per_layer = 3;
    scenario.entries = vec![0, 1];
    // Of each packet on each of ten links: 30 % of round trips.
    scenario.link = LinkModel {
        loss: 0.035,
        ..LinkModel::plain()
    };
    let p = &mut scenario.parameters;
    p.mix_loop_rate = Rate(500);
    p.payload_rate.0 *= scale;
    p.loop_rate.0 *= scale;
    p.downlink_rate.0 *= scale;
    let mut people = People::<Transparent>::new(Engine::new(scenario), 2);
    people.introduce(0, 1);
    people.run_for(Duration::from_secs(15));
    let began = people.engine.now();
    let (mut said, mut texts) = (0, BTreeMap::new());
    loop {
        while said < count && people.waiting(said % 2) < WAITING_MAX {
            // Log-uniform, by a sequence that fills the unit interval evenly.
            let share = (said as f64 * 0.618_034).fract();
            let text = format!("{said:>6}{}", "x".repeat(200_000_f64.powf(share) as usize));
            texts.insert(text.clone(), 0);
            let (from, to) = (said % 2, 1 - said % 2);
            people.send(from, to, &format!("m{said}"), Draft::text(text));
            said += 1;
        }
        people.run_for(Duration::from_millis(200));
        let received: usize = people.persons.iter().map(|p| p.received.len()).sum();
        let took = (people.engine.now() - began).as_secs_f64();
        if received >= count {
            people.run_for(Duration::from_secs(10));
            let all = people.persons.iter().flat_map(|p| &p.received);
            all.for_each(|(_, text)| *texts.get_mut(text).unwrap() += 1);
            assert!(texts.values().all(|times| *times == 1), "one was doubled");
            return took;
        }
        assert!(took < 600.0, "{received} of {count} after {took:.0} s");
    }
}

#[test]
#[ignore = "takes a minute"]
fn a_few_texts_come_once() {
    let took = exchange(10, 12);
    assert!(took < 60.0, "{took:.0} s");
}

/// In real time and with everything else that can break: `localnet chaos`.
#[test]
#[ignore = "takes minutes"]
fn many_texts_come_once() {
    let took = exchange(20, 300);
    // 2.6 MB each way over one inbox that is asked 37 times a second, of which 26 are answered: 55 s.
    assert!(took < 150.0, "{took:.0} s");
}
