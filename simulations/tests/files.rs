//! A long file and short lines at once: the file takes what the lines leave.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "support/people.rs"]
#[allow(dead_code)] // Shared with `noninterference`, which uses the rest.
mod people;

use directory::Rate;
use messaging::Draft;
use people::People;
use simulations::network::LinkModel;
use simulations::{Engine, Scenario, Transparent};
use std::time::Duration;

const ALICE: usize = 0;
const BOB: usize = 1;
/// Of each packet on each of ten links: 5 % of round trips.
const LOSS: f64 = 0.005;

fn people() -> People<Transparent> {
    let mut scenario = Scenario::small(31);
    scenario.gateways = 6;
    scenario.entries = vec![0, 1];
    scenario.link = LinkModel {
        loss: LOSS,
        ..LinkModel::plain()
    };
    scenario.parameters.mix_loop_rate = Rate(500);
    let mut people = People::new(Engine::new(scenario), 2);
    people.introduce(ALICE, BOB);
    people.run_for(Duration::from_secs(15));
    people
}

/// Median time from saying a line to its being there, of `lines` of them; whether the file is there.
fn lines(people: &mut People<Transparent>, lines: usize) -> Duration {
    let mut said = Vec::new();
    for n in 0..lines {
        said.push((format!("line {n}"), people.engine.now()));
        people.send(
            ALICE,
            BOB,
            &format!("m{n}"),
            Draft::text(format!("line {n}")),
        );
        people.run_for(Duration::from_millis(2_500 + (n as u64 * 377) % 1_000));
    }
    people.run_for(Duration::from_secs(30));
    let mut took = Vec::new();
    for (text, at) in said {
        let came = people.persons[BOB]
            .received
            .iter()
            .find(|(_, t)| *t == text);
        took.push(came.expect("a line was lost").0 - at);
    }
    took.sort();
    took[took.len() / 2]
}

fn medians(len: usize, count: usize) -> (Duration, Duration) {
    let quiet = lines(&mut people(), count);
    let mut people = people();
    people.send_file(ALICE, BOB, "file", len);
    people.run_for(Duration::from_secs(20));
    let busy = lines(&mut people, count);
    assert!(
        people.persons[BOB].records.len() > count,
        "the file came along"
    );
    let whole = people.run_until(Duration::from_secs(40_000), |p| {
        p.persons[ALICE].states["file"].0 == messaging::MessageState::Delivered
    });
    assert!(whole, "the file never arrived");
    (quiet, busy)
}

#[test]
#[ignore = "takes a minute"]
fn lines_do_not_wait_for_a_file() {
    let (quiet, busy) = medians(60_000, 20);
    assert!(
        busy < quiet * 2,
        "{quiet:?} without the file, {busy:?} with it"
    );
}

/// Ten megabytes.
#[test]
#[ignore = "takes minutes"]
fn lines_do_not_wait_for_a_long_file() {
    let (quiet, busy) = medians(10_000_000, 200);
    assert!(
        busy < quiet * 2,
        "{quiet:?} without the file, {busy:?} with it"
    );
}
