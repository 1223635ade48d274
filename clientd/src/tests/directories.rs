//! Which directories a client goes by.

use super::world::{World, parameters};
use crate::directories::{Directories, Offered};
use directory::testing::{authority_secret, directory_on, nobodys_key};
use directory::{Directory, Preamble, SignedDirectory};
use runtime::data_dir::DataDir;
use std::sync::Arc;
use std::time::Duration;
use wire::frame::DirectoryPart;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// A directory of `epoch` that says `change` of itself, signed by the network's authority.
pub(super) fn signed(
    world: &World,
    epoch: u64,
    change: impl FnOnce(&mut Preamble),
) -> SignedDirectory {
    let schedule = world.network.schedule();
    let parameters = parameters(schedule.length);
    let (made, _) = directory_on(schedule, 7, (1, 3), Epoch(epoch), parameters, nobodys_key);
    let mut preamble = Preamble {
        network: made.network,
        epoch: made.epoch,
        schedule,
        valid_from: made.valid_from,
        valid_until: made.valid_until,
        previous: made.previous,
        geometry: made.geometry,
        parameters: made.parameters.clone(),
        shared_random: made.shared_random,
        withheld: made.withheld,
    };
    change(&mut preamble);
    let layers = std::array::from_fn(|layer| made.layer(layer).to_vec());
    let directory = Directory::new(preamble, layers, made.gateways().to_vec()).unwrap();
    SignedDirectory::sign(&directory, 0, &authority_secret(7, 0))
}

struct Bench {
    world: World,
    dir: DataDir,
    directories: Directories,
    /// In epoch 0.
    now: UnixTime,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let dir = DataDir::open(world.path("data")).unwrap();
        let directories = open(&world, &dir);
        let now = world
            .network
            .schedule()
            .genesis
            .saturating_add(Duration::from_secs(60));
        Self {
            world,
            dir,
            directories,
            now,
        }
    }

    fn reopen(&mut self) {
        self.directories = open(&self.world, &self.dir);
    }

    fn offer(&mut self, signed: &SignedDirectory, now: UnixTime) -> Result<bool, String> {
        let parts = DirectoryPart::cut(signed.hash(), Epoch(0), &signed.encode()).unwrap();
        let mut outcome = Ok(false);
        for part in parts {
            match self.directories.handle_part(part, now) {
                Offered::Nothing => {}
                Offered::New(_) => outcome = Ok(true),
                Offered::Refused(why) | Offered::Contradicts(why, _) => outcome = Err(why),
            }
        }
        outcome
    }

    fn epochs(&self, now: UnixTime) -> Vec<u64> {
        self.directories
            .usable(now)
            .iter()
            .map(|d| d.epoch.0)
            .collect()
    }

    fn in_epoch(&self, epoch: u64) -> UnixTime {
        let start = self.world.network.schedule().start(Epoch(epoch));
        start.saturating_add(Duration::from_secs(60))
    }
}

fn open(world: &World, dir: &DataDir) -> Directories {
    Directories::open(dir, Arc::new(world.network.clone())).unwrap()
}

#[test]
fn this_and_the_next_are_kept_over_restarts_in_either_order() {
    for newest_first in [false, true] {
        let mut bench = Bench::new();
        let zero = signed(&bench.world, 0, |_| {});
        let one = signed(&bench.world, 1, |p| p.previous = zero.hash());
        let order = if newest_first {
            [&one, &zero]
        } else {
            [&zero, &one]
        };
        for directory in order {
            assert_eq!(bench.offer(directory, bench.now), Ok(true));
            assert_eq!(bench.offer(directory, bench.now), Ok(false), "known");
        }
        bench.reopen();
        assert_eq!(bench.epochs(bench.now), [0, 1]);
        assert_eq!(bench.epochs(bench.in_epoch(2)), [1]);
    }
}

#[test]
fn an_older_one_is_refused_even_after_a_restart() {
    let mut bench = Bench::new();
    let zero = signed(&bench.world, 0, |_| {});
    let two = signed(&bench.world, 2, |_| {});
    let then = bench.in_epoch(2);
    assert_eq!(bench.offer(&two, then), Ok(true));
    bench.reopen();
    // The clock was put back; the directory would be valid again.
    let why = bench.offer(&zero, bench.now).unwrap_err();
    assert!(why.contains("replays old ones"), "{why}");
    assert_eq!(
        bench.offer(&zero, bench.now),
        Ok(false),
        "not verified twice"
    );
}

#[test]
fn what_is_wrong_is_named() {
    let mut bench = Bench::new();
    let held = signed(&bench.world, 0, |_| {});
    assert_eq!(bench.offer(&held, bench.now), Ok(true));
    type Change = fn(&mut Preamble);
    let cases: [(u64, Change, &str); 6] = [
        (1, |p| p.network.0[0] ^= 1, "another network"),
        (1, |p| p.geometry.0[0] ^= 1, "packet sizes"),
        (1, |p| p.schedule.length *= 2, "another way"),
        (1, |p| p.previous.0[0] ^= 1, "contradict"),
        (0, |p| p.shared_random[0] ^= 1, "contradict"),
        (9, |_| {}, "time has not come"),
    ];
    for (epoch, change, words) in cases {
        let offered = signed(&bench.world, epoch, change);
        let why = bench.offer(&offered, bench.now).unwrap_err();
        assert!(why.contains(words), "{words}: {why}");
    }
    let next = signed(&bench.world, 1, |p| p.previous = held.hash());
    let why = bench.offer(&next, bench.in_epoch(9)).unwrap_err();
    assert!(why.contains("time is over"), "{why}");
    assert_eq!(bench.epochs(bench.now), [0], "the old one stays");
}

#[test]
fn a_damaged_file_costs_no_start() {
    let mut bench = Bench::new();
    let zero = signed(&bench.world, 0, |_| {});
    assert_eq!(bench.offer(&zero, bench.now), Ok(true));
    let good = bench.dir.read("directories", 1 << 20).unwrap().unwrap();
    for cut in [1, 3, 100, good.len() - 1] {
        bench.dir.write("directories", &good[..cut]).unwrap();
        bench.reopen();
        assert!(bench.epochs(bench.now).is_empty());
    }
    assert_eq!(bench.offer(&zero, bench.now), Ok(true));
}
