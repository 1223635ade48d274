//! Whole transfers between the two halves, over gateways and a way for reports that lose, delay and
//! reorder, with restarts and dying gateways; what hostile reports do; frozen bytes.

mod absence;
mod hostile;
mod network;
mod vectors;
mod world;

use super::*;
use world::{Trouble, World};

#[test]
fn a_quiet_network_carries_every_length() {
    let record = FILE_RECORD_LEN as u64;
    for size in [0, 1, record - 1, record, record + 1, 700 * record + 5] {
        let mut world = World::new(1, size, 6, Trouble::default());
        world.run();
        assert_eq!(world.refused_full, 0);
        // Nothing was sent twice.
        assert_eq!(world.deposits, Shape::new(size).records());
    }
}

#[test]
fn three_gateways_or_more_share_the_load() {
    for gateways in [5, 6, 9] {
        let mut world = World::new(
            2,
            400 * FILE_RECORD_LEN as u64,
            gateways,
            Trouble::default(),
        );
        world.run();
        let shares: Vec<u32> = world.by_gateway.values().copied().collect();
        assert!(shares.len() >= 3, "{shares:?}");
        assert!(shares.iter().all(|n| *n >= 60), "{shares:?}");
        for entry in [world.entry_of_sender, world.entry_of_receiver] {
            assert!(!world.by_gateway.contains_key(&entry));
        }
    }
}

#[test]
fn a_network_of_few_gateways_is_enough() {
    // Entries are two different ones; a single other gateway is left.
    let mut world = World::new(3, 300 * FILE_RECORD_LEN as u64, 3, Trouble::default());
    world.run();
    assert_eq!(world.by_gateway.len(), 1);
}

#[test]
fn loss_disorder_and_restarts_change_nothing() {
    disorder(0..2, 400);
}

#[test]
#[ignore = "takes minutes"]
fn loss_disorder_and_restarts_for_long() {
    disorder(0..12, 1500);
}

fn disorder(seeds: std::ops::Range<u8>, records: u64) {
    for seed in seeds {
        let trouble = Trouble {
            loss: 20,
            crash: 2,
            ..Trouble::default()
        };
        let mut world = World::new(seed, records * FILE_RECORD_LEN as u64 - 3, 6, trouble);
        world.run();
        assert_eq!(world.refused_full, 0, "seed {seed}");
        // Two restarts, each with a window of its own, before the receiver read the first.
        let few = world.refused_after_restart * 100 <= world.deposits;
        assert!(few, "seed {seed}: {}", world.refused_after_restart);
    }
}

#[test]
fn gateways_die_with_all_their_cells() {
    deaths(100..102, 500);
}

#[test]
#[ignore = "takes minutes"]
fn gateways_die_for_long() {
    deaths(100..112, 1200);
}

fn deaths(seeds: std::ops::Range<u8>, records: u64) {
    for seed in seeds {
        let trouble = Trouble {
            loss: 10,
            crash: 1,
            deaths: 3,
            ..Trouble::default()
        };
        World::new(seed, records * FILE_RECORD_LEN as u64, 9, trouble).run();
    }
}

#[test]
fn a_gateway_that_loses_cells_and_goes_on_is_noticed() {
    for seed in 200..202 {
        let trouble = Trouble {
            forgets: 3,
            ..Trouble::default()
        };
        World::new(seed, 900 * FILE_RECORD_LEN as u64, 6, trouble).run();
    }
}

#[test]
fn a_receiver_that_is_away_finds_half_an_inbox_of_cells() {
    let trouble = Trouble {
        receiver_sleeps: true,
        ..Trouble::default()
    };
    let mut world = World::new(7, 3000 * FILE_RECORD_LEN as u64, 6, trouble);
    world.run();
    let most = *world.fullest.values().max().unwrap();
    assert_eq!(most, world::QUOTA as usize / 2);
    assert_eq!(world.refused_full, 0);
}

#[test]
fn patience_doubles_and_ends_somewhere() {
    let pace = Pace::new(Duration::from_secs(1), 256);
    assert_eq!(pace.patience_after(0), Duration::from_secs(1));
    assert_eq!(pace.patience_after(3), Duration::from_secs(8));
    assert_eq!(pace.patience_after(99), Duration::from_secs(1024));
    assert_eq!(pace.inbox_window, 128);
    assert_eq!(Pace::new(Duration::ZERO, 10).inbox_window, 5);
    assert_eq!(Pace::new(Duration::ZERO, 0).inbox_window, 1);
}
