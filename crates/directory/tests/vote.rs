//! Whole votes under virtual time: honest authorities run the shipped machine, faulty ones do what they
//! like with their own keys, and the network does what it likes within the bounds of a schedule.
//!
//! Checked in every schedule: no two directories of an epoch can both be signed by a threshold, even if
//! every faulty authority signs everything. With messages faster than a round also: all honest
//! authorities decide on the same directory in time.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod common;
#[path = "vote/world.rs"]
mod world;

use directory::vote::{Fault, Phase};
use world::{Network, Schedule, World};

/// Runs `count` schedules; returns (schedules in which all honest ones decided alike, violations of
/// safety at the threshold less `slack`).
fn run(n: usize, seeds: std::ops::Range<u64>, network: Network, plant: Option<Fault>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let schedule = Schedule::draw(n, seed, network);
        let mut world = World::new(&schedule);
        if let Some(fault) = plant {
            world.plant(fault);
        }
        world.run();
        tally.runs += 1;
        tally.agreed += usize::from(world.all_honest_decided_alike());
        tally.unsafe_runs += usize::from(world.directories_possible(0) > 1);
        tally.unsafe_one_below += usize::from(world.directories_possible(1) > 1);
        tally.equivocations += usize::from(world.equivocation_seen());
    }
    tally
}

#[derive(Default, Debug)]
struct Tally {
    runs: usize,
    agreed: usize,
    unsafe_runs: usize,
    unsafe_one_below: usize,
    equivocations: usize,
}

fn holds(n: usize, seeds: std::ops::Range<u64>) {
    let bounded = run(n, seeds.clone(), Network::Bounded, None);
    assert_eq!(
        (bounded.agreed, bounded.unsafe_runs),
        (bounded.runs, 0),
        "{bounded:?}"
    );
    assert!(bounded.equivocations > 0, "{bounded:?}");
    let hostile = run(n, seeds, Network::Hostile, None);
    assert_eq!(hostile.unsafe_runs, 0, "{hostile:?}");
    // The test has teeth: with one signature fewer the same schedules give two directories.
    assert!(hostile.unsafe_one_below > 0, "{hostile:?}");
    // And the network is hostile: it does keep some votes from coming to an end.
    assert!(hostile.agreed < hostile.runs, "{hostile:?}");
}

#[test]
fn four_authorities_of_which_one_is_faulty() {
    holds(4, 0..60);
}

#[test]
fn seven_authorities_of_which_two_are_faulty() {
    holds(7, 0..40);
}

#[test]
#[ignore = "ten thousand schedules: minutes; .ci/slow runs it"]
fn ten_thousand_schedules() {
    holds(4, 1_000..6_000);
    holds(7, 1_000..11_000);
}

#[test]
fn a_planted_fault_is_found() {
    for fault in [Fault::OneSignatureFewer, Fault::ShareCountedTwice] {
        let found = run(4, 0..120, Network::Bounded, Some(fault));
        assert!(found.agreed < found.runs, "{fault:?}: {found:?}");
    }
}

#[test]
fn with_three_authorities_an_equivocator_can_make_two_directories_and_is_proved_by_them() {
    // f = 0: uniqueness is not promised, the proof is.
    let mut two = 0;
    for seed in 0..40 {
        let schedule = Schedule::equivocator_of_three(seed);
        let mut world = World::new(&schedule);
        world.run();
        if world.directories_possible(0) > 1 {
            two += 1;
            assert!(world.culprit_signed_both());
        }
    }
    assert!(two > 0);
}

#[test]
fn one_alone_decides_alone() {
    let mut world = World::new(&Schedule::calm(1));
    world.run();
    assert!(world.all_honest_decided_alike());
}

#[test]
fn without_a_threshold_there_is_none_and_the_vote_ends() {
    let mut world = World::new(&Schedule::silent(4, 2));
    world.run();
    assert!(!world.all_honest_decided_alike());
    assert!(world.phases().all(|p| p == Phase::Failed));
    assert!(world.says_who_is_missing(&[2, 3]));
}
