//! Model test of the vote: whole votes under virtual time. Honest authorities run the shipped machine
//! through its bytes, faulty ones do what they like with their own keys (`vote/adversary.rs`), the network
//! does what it likes within the bounds of a schedule (`vote/schedule.rs`), over two epochs, the second of
//! which must heal what the first broke. In some no valid directory is left, and up to three votes are held on the same
//! epoch. Ballots name suspects, from which come marks.
//!
//! Checked in every schedule (`vote/record.rs`): no two directories of an epoch can be signed by a threshold, even if
//! every faulty authority signs everything and signatures that were lost are found; what is decided is
//! valid, and its shared random and marks are computed once more, independently; no honest authority is proved a cheat; a
//! flood makes nobody send more. With messages faster than a round also: every honest authority decides
//! in time, on the same directory, which follows the one before, and every honest ballot and share counts; of votes that are
//! held again this is asked of the first before which nobody honest signed.
//!
//! What this cannot see: faults in what is below (Ed25519, SHA-256, the codec: their own tests); what the daemon does
//! between two votes (fetching is assumed to work where the network does; all go on to the next of several votes
//! together); more than two epochs at once; attacks that none of the vices here is a part of. It draws schedules, it does not enumerate them.
//! A fault that hurts only when several rare things meet (a signature that is forgotten over a restart: one
//! schedule of some hundred) needs the long run.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test, which has threads, prints figures and may fail by panic"
)]

#[path = "vote/adversary.rs"]
mod adversary;
#[path = "vote/ballots.rs"]
mod ballots;
mod common;
#[path = "vote/record.rs"]
mod record;
#[path = "vote/schedule.rs"]
mod schedule;
#[path = "vote/world.rs"]
mod world;

use common::SEED;
use directory::testing::authority_secret;
use directory::vote::{Fault, Phase};
use directory::{SignedDirectory, SplitProof, quorum};
use schedule::{Schedule, Vices, Votes, Weather};
use std::collections::BTreeMap;
use std::ops::Range;
use world::{Plant, World};

/// What many runs came to.
#[derive(Default, Debug)]
struct Tally {
    schedules: usize,
    violations: BTreeMap<&'static str, Vec<u64>>,
    /// Epochs in which messages were fast, and those in which they were not.
    bounded: usize,
    hostile: usize,
    /// Of the hostile ones, those in which somebody honest had no directory.
    without: usize,
    /// Epochs in which two directories would be possible with one signature fewer.
    two_one_below: usize,
    equivocations: usize,
    signed_twice: usize,
    restarts: usize,
    adopted: usize,
    withheld: usize,
    faulty_decided: usize,
    /// Epochs with votes held again, and those decided in the second or third.
    again: usize,
    decided_again: usize,
    marked: usize,
}

impl Tally {
    fn add(&mut self, world: &World) {
        self.schedules += 1;
        let faulty = world.plan.faulty.len();
        let mut before = None;
        for record in &world.records {
            if let Some(what) = record.violation(world, before) {
                self.violations
                    .entry(what)
                    .or_default()
                    .push(world.plan.seed);
            }
            let is_hostile = |w: &Weather| matches!(w, Weather::Hostile(_));
            if record.votes.iter().any(|held| is_hostile(&held.weather)) {
                self.hostile += 1;
                let all = record.honest_decided() + faulty == world.plan.n;
                self.without += usize::from(!all);
            } else {
                self.bounded += 1;
            }
            self.again += usize::from(record.is_again());
            self.decided_again += usize::from(record.decided_again());
            self.marked += record.marked();
            let one_below = usize::from(quorum(world.plan.n)) - 1;
            self.two_one_below += usize::from(record.possible(faulty, one_below) > 1);
            self.equivocations += record.equivocations;
            self.signed_twice += record.signed_twice;
            self.restarts += record.restarts;
            self.adopted += record.adopted();
            self.withheld += record.withheld_by();
            self.faulty_decided += record.faulty_decided();
            before = Some(record);
        }
    }

    fn join(&mut self, other: Self) {
        self.schedules += other.schedules;
        for (what, seeds) in other.violations {
            self.violations.entry(what).or_default().extend(seeds);
        }
        self.bounded += other.bounded;
        self.hostile += other.hostile;
        self.without += other.without;
        self.two_one_below += other.two_one_below;
        self.equivocations += other.equivocations;
        self.signed_twice += other.signed_twice;
        self.restarts += other.restarts;
        self.adopted += other.adopted;
        self.withheld += other.withheld;
        self.faulty_decided += other.faulty_decided;
        self.again += other.again;
        self.decided_again += other.decided_again;
        self.marked += other.marked;
    }
}

fn run(n: usize, seeds: Range<u64>, plant: Option<Plant>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let mut world = World::new(&Schedule::draw(n, seed), plant);
        world.run();
        tally.add(&world);
    }
    tally
}

/// Says after each thousand how it stands: all of them take a quarter of an hour of a core and more.
fn thousands(n: usize, which: Range<u64>) -> Tally {
    let mut all = Tally::default();
    for k in which {
        all.join(run(n, 1_000 * k..1_000 * (k + 1), None));
        let found = &all.violations;
        println!("{n} authorities: thousand {k} is done; violations: {found:?}");
    }
    all
}

fn holds(tally: &Tally) {
    println!("{tally:?}");
    assert!(tally.violations.is_empty(), "{:?}", tally.violations);
    // The test has teeth: with a threshold off by one the same schedules make two directories.
    assert!(tally.two_one_below > 0, "{tally:?}");
    // And everything that it is about did happen.
    assert!(tally.bounded > 0 && tally.without > 0, "{tally:?}");
    assert!(
        tally.equivocations > 0 && tally.signed_twice > 0,
        "{tally:?}"
    );
    assert!(tally.restarts > 0 && tally.adopted > 0, "{tally:?}");
    assert!(tally.withheld > 0 && tally.faulty_decided > 0, "{tally:?}");
    assert!(tally.again > 0 && tally.decided_again > 0, "{tally:?}");
    assert!(tally.marked > 0, "{tally:?}");
}

#[test]
fn four_authorities_of_which_one_is_faulty() {
    holds(&run(4, 0..150, None));
}

#[test]
fn seven_authorities_of_which_two_are_faulty() {
    holds(&run(7, 0..60, None));
}

#[test]
#[ignore = "ten thousand schedules of each: twenty minutes of a core; .ci/slow runs it"]
fn ten_thousand_schedules() {
    for n in [4, 7] {
        let mut all = Tally::default();
        std::thread::scope(|scope| {
            let part = |k: u64| scope.spawn(move || thousands(n, 5 * k..5 * (k + 1)));
            let parts: Vec<_> = (0..2).map(part).collect();
            parts
                .into_iter()
                .for_each(|part| all.join(part.join().unwrap()));
        });
        assert_eq!(all.schedules, 10_000);
        holds(&all);
    }
}

/// Among the first hundred schedules; here are those that do, so that this is short.
#[test]
fn planted_faults_are_found() {
    let one_less = "decided on what is not valid";
    let random = "the shared random is not that of the shares";
    let plants = [
        // A threshold off by one, everywhere.
        (Plant::All(Fault::ThresholdOneLess), one_less, 0..3),
        // A reveal counted twice: by one, who is then alone; by all, who then agree.
        (Plant::One(Fault::ShareCountedTwice), "", 4..7),
        (Plant::All(Fault::ShareCountedTwice), random, 0..3),
        // The rule of the rounds off by one.
        (
            Plant::One(Fault::OneSignatureFewer),
            "no directory in time",
            44..51,
        ),
        // Of two ballots the first counts.
        (
            Plant::All(Fault::FirstOfTwoCounts),
            "no directory in time",
            28..34,
        ),
        // One suspicion marks.
        (
            Plant::All(Fault::OneSuspicionMarks),
            "the marks are not those of the ballots",
            2..5,
        ),
        // The signature is not kept over a restart.
        (Plant::Forgetful, "two directories can be valid", 99..100),
    ];
    for (plant, what, seeds) in plants {
        let found = run(4, seeds, Some(plant)).violations;
        println!("{plant:?}: {found:?}");
        assert!(!found.is_empty(), "{plant:?} was not found");
        assert!(
            what.is_empty() || found.contains_key(what),
            "{plant:?}: {found:?}"
        );
    }
}

/// With three authorities f is 0: uniqueness is not promised, the proof is.
#[test]
fn with_three_an_equivocator_makes_two_directories_which_prove_it() {
    let two_faced = Vices {
        equivocates: true,
        signs_all: true,
        ..Vices::default()
    };
    let mut made = 0;
    for seed in 0..40 {
        let mut plan = Schedule::calm(3).with([(2, two_faced)]);
        plan.seed = seed;
        let mut world = World::new(&plan, None);
        world.run();
        let record = &world.records[0];
        // What it has of the two honest ones, with its own signature.
        let documents: Vec<SignedDirectory> = record.documents.values().cloned().collect();
        let [mut one, mut other] = <[_; 2]>::try_from(documents).unwrap_or_else(|d| {
            assert_eq!(d.len(), 1);
            [d[0].clone(), d[0].clone()]
        });
        if one.hash() == other.hash() {
            continue;
        }
        let secret = authority_secret(SEED, 2);
        for document in [&mut one, &mut other] {
            document.sign_for_test(world.network.id(), 2, &secret);
            assert!(document.verify(&world.network).is_ok());
        }
        made += 1;
        let proof = SplitProof::new(one, other);
        let again = SplitProof::decode(&proof.encode()).unwrap();
        let split = again.verify(&world.network).unwrap();
        assert_eq!(
            (split.epoch, split.culprits, split.both_valid),
            (world::FIRST, vec![2], true)
        );
        // Nobody needs to put it together: the honest ones show each other.
        assert!(record.signed_twice > 0 || record.honest_decided() > 0);
    }
    assert!(made > 10, "{made}");
}

#[test]
fn one_alone_decides_alone() {
    for n in 1..=5 {
        let mut world = World::new(&Schedule::calm(n), None);
        world.run();
        let mut tally = Tally::default();
        tally.add(&world);
        assert!(tally.violations.is_empty(), "{n}: {:?}", tally.violations);
        assert!(world.records.iter().all(|r| r.honest_decided() == n));
    }
}

fn silent() -> Vices {
    Vices {
        silent: true,
        ..Vices::default()
    }
}

#[test]
fn without_a_threshold_there_is_none_and_the_vote_ends() {
    let plan = Schedule::calm(4).with([(2, silent()), (3, silent())]);
    let mut world = World::new(&plan, None);
    world.run();
    for record in &world.records {
        assert_eq!(record.honest_decided(), 0);
        assert_eq!(record.phases[..2], [Some(Phase::Failed); 2]);
        assert!(record.says_who_is_missing(&[2, 3]));
    }
}

/// For each moment at which an authority of four may stop and come back, in each phase: the others
/// decide in time, and so does it, if it is back before the end.
#[test]
fn one_that_crashes_in_any_phase_comes_back_to_the_same_directory() {
    for down in (0..700).step_by(50) {
        for pause in [1, 130] {
            let crash = Vices {
                crash: Some((down, down + pause)),
                ..Vices::default()
            };
            let mut world = World::new(&Schedule::calm(4).with([(1, crash)]), None);
            world.run();
            let mut tally = Tally::default();
            tally.add(&world);
            assert!(
                tally.violations.is_empty(),
                "{down}: {:?}",
                tally.violations
            );
            assert_eq!(tally.faulty_decided, 2, "{down} and {pause}: {tally:?}");
        }
    }
}

/// The halves hear each other again in the second epoch, and it follows what there is.
#[test]
fn a_partition_heals_in_the_next_epoch() {
    let mut without = 0;
    for seed in 0..10 {
        let mut plan = Schedule::calm(7);
        plan.seed = seed;
        plan.votes[0] = Votes::InTime(Weather::Hostile(7));
        let mut world = World::new(&plan, None);
        world.run();
        let mut tally = Tally::default();
        tally.add(&world);
        assert!(
            tally.violations.is_empty(),
            "{seed}: {:?}",
            tally.violations
        );
        assert_eq!(world.records[1].honest_decided(), 7);
        without += tally.without;
    }
    assert!(without > 0);
}
