//! The intake with made-up packets: fair among links, bounded, and never full of what is too old.

use super::*;
use crate::hop::Keyring;
use proptest::prelude::*;
use sphinx::Sphinx;
use wire::geometry::PACKET_LEN;
use wire::rng::KeyRng;

const EPOCH: Epoch = Epoch(7);
const ALLOWANCE: Duration = Duration::from_millis(10);

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(1_000 + ms)
}

fn table() -> KeyTable<Sphinx> {
    let mut keyring = Keyring::<Sphinx>::new(100);
    keyring.rotate(EPOCH, &mut KeyRng::from_seed([1; 32]));
    let row = KeyRow {
        hint: EPOCH.hint(),
        from: Instant::ZERO,
        until: at(1 << 40),
        key: keyring.key(EPOCH).cloned(),
    };
    KeyTable {
        rows: vec![row],
        allowance: ALLOWANCE,
    }
}

fn packet(mark: usize, received_at: Instant) -> Received {
    let mut packet = Box::new([0; PACKET_LEN]);
    packet[..8].copy_from_slice(&mark.to_be_bytes());
    Received {
        hint: EPOCH.hint(),
        packet,
        received_at,
        source: Source::Node,
    }
}

fn marks(intake: &mut Intake, most: usize, now: Instant) -> Vec<usize> {
    let mut out = Vec::new();
    intake.take(most, &table(), now, &mut out);
    let mark = |(_, r): &(Epoch, Received)| usize::from_be_bytes(*r.packet.first_chunk().unwrap());
    out.iter().map(mark).collect()
}

fn overloaded(intake: &mut Intake) -> u64 {
    intake.take_counts().discards.of(DiscardReason::Overloaded)
}

#[test]
fn links_are_served_in_turn_each_in_its_order() {
    let mut intake = Intake::new(100);
    let (flood, quiet, other) = (intake.open(), intake.open(), intake.open());
    intake.push(flood, (0..40).map(|n| packet(n, at(0))));
    intake.push(quiet, (100..102).map(|n| packet(n, at(0))));
    intake.push(other, (200..203).map(|n| packet(n, at(0))));
    let expected = [0, 100, 200, 1, 101, 201, 2, 202, 3, 4];
    assert_eq!(marks(&mut intake, 10, at(1)), expected);
    assert_eq!(intake.len(), 35);
}

#[test]
fn a_flood_leaves_room_for_others() {
    let mut intake = Intake::new(100);
    let (flood, second, quiet) = (intake.open(), intake.open(), intake.open());
    intake.push(flood, (0..1000).map(|n| packet(n, at(0))));
    assert_eq!(intake.len(), 50);
    assert_eq!(overloaded(&mut intake), 950);
    intake.push(second, (0..1000).map(|n| packet(n, at(0))));
    assert_eq!(intake.len(), 75);
    assert_eq!(overloaded(&mut intake), 975);
    // And whoever is not flooding loses nothing.
    intake.push(quiet, (0..10).map(|n| packet(500 + n, at(0))));
    assert_eq!(overloaded(&mut intake), 0);
    let served = marks(&mut intake, 30, at(1));
    assert_eq!(served.iter().filter(|m| **m >= 500).count(), 10);
}

#[test]
fn a_burst_or_a_pause_of_the_machine_costs_nothing() {
    let mut intake = Intake::new(100);
    let lane = intake.open();
    intake.push(lane, (0..20).map(|n| packet(n, at(0))));
    assert_eq!(marks(&mut intake, 16, at(90)).len(), 16);
    // But not without an end.
    assert!(marks(&mut intake, 16, at(111)).is_empty());
    assert_eq!(overloaded(&mut intake), 4);
}

#[test]
fn of_a_standing_queue_the_oldest_die_until_it_was_empty() {
    let mut intake = Intake::new(1000);
    let lane = intake.open();
    let (mut unwrapped, mut next) = (0, 0);
    // Twice as many as can be unwrapped, for half a second: four come and two are taken each millisecond.
    for ms in 0..500 {
        intake.push(lane, (next..next + 4).map(|n| packet(n, at(ms))));
        next += 4;
        let taken = marks(&mut intake, 2, at(ms + 1));
        assert_eq!(taken.len(), 2, "there is always one that is worth it");
        unwrapped += 2;
        if ms > 250 {
            let oldest = taken.iter().map(|mark| mark / 4).min().unwrap() as u64;
            assert!(ms + 1 - oldest <= 5, "at {ms} one of {oldest}");
        }
    }
    assert!(intake.len() < 30, "{} are left", intake.len());
    let dropped = overloaded(&mut intake) as usize;
    assert_eq!(unwrapped + dropped + intake.len(), next);
    // Once it was empty, a pause is a pause again.
    while !marks(&mut intake, 16, at(500)).is_empty() {}
    intake.take_counts();
    intake.push(lane, (0..10).map(|n| packet(n, at(600))));
    assert_eq!(marks(&mut intake, 16, at(640)).len(), 10);
}

#[test]
fn a_packet_for_no_key_of_ours_dies_here() {
    let mut intake = Intake::new(100);
    let lane = intake.open();
    let mut strange = packet(1, at(0));
    strange.hint = EPOCH.next().hint();
    intake.push(lane, [strange].into_iter());
    assert!(marks(&mut intake, 16, at(0)).is_empty());
    let counts = intake.take_counts();
    assert_eq!(counts.received, 1);
    assert_eq!(counts.discards.of(DiscardReason::UnknownEpoch), 1);
}

#[test]
fn a_replay_within_one_batch_and_after_it_dies_and_a_second_try_is_none() {
    let table = table();
    let key = table.find(EPOCH.hint(), at(0)).unwrap();
    let mut rng = KeyRng::from_seed([4; 32]);
    let hop = sphinx::Hop {
        address: wire::ids::NextHop::Node {
            id: wire::ids::NodeId([0; 28]),
            epoch: EPOCH.hint(),
        },
        key: Sphinx::public(&key.secret),
        delay: Duration::ZERO,
    };
    let plaintext = Box::new([0; wire::geometry::PLAINTEXT_LEN]);
    let good = Sphinx::build(&[hop], &plaintext, &mut rng).unwrap();
    let noise = packet(9, at(0)).packet;
    let batch = [(key, &good), (key, &noise), (key, &good)];
    let mut admitted = [false; 3];
    let mut reasons = |batch: &[_]| -> Vec<_> {
        let results = unwrap_batch(batch, &mut admitted).into_iter();
        results.map(Result::err).collect()
    };
    let expected = [
        None,
        Some(DiscardReason::BadMac),
        Some(DiscardReason::Replayed),
    ];
    assert_eq!(reasons(&batch), expected);
    // As after a panic: the same places.
    assert_eq!(reasons(&batch), expected);
    assert_eq!(admitted, [true, false, false]);
    assert_eq!(key.unwrap(good).err(), Some(DiscardReason::Replayed));
}

proptest! {
    /// Against a naive model: a queue for each link, and a list of whose turn it is.
    #[test]
    fn it_behaves_like_queues_taken_in_turn(
        steps in prop::collection::vec((0usize..4, 0usize..12, 0usize..8), 1..200),
    ) {
        let capacity = 24;
        let mut intake = Intake::new(capacity);
        let lanes: Vec<_> = (0..4).map(|_| intake.open()).collect();
        let mut model: Vec<VecDeque<usize>> = vec![VecDeque::new(); 4];
        let mut turn = VecDeque::new();
        let (mut next, mut refused) = (0, 0);
        for (lane, pushed, taken) in steps {
            let packets: Vec<_> = (next..next + pushed).map(|n| packet(n, at(0))).collect();
            for mark in next..next + pushed {
                let free = capacity - model.iter().map(VecDeque::len).sum::<usize>();
                if model[lane].len() >= free {
                    refused += 1;
                    continue;
                }
                if model[lane].is_empty() {
                    turn.push_back(lane);
                }
                model[lane].push_back(mark);
            }
            next += pushed;
            intake.push(lanes[lane], packets.into_iter());
            let mut expected = Vec::new();
            while expected.len() < taken {
                let Some(lane) = turn.pop_front() else { break };
                expected.push(model[lane].pop_front().unwrap());
                if !model[lane].is_empty() {
                    turn.push_back(lane);
                }
            }
            prop_assert_eq!(marks(&mut intake, taken, at(0)), expected);
            prop_assert_eq!(intake.len(), model.iter().map(VecDeque::len).sum::<usize>());
        }
        prop_assert_eq!(overloaded(&mut intake), refused);
        prop_assert!(intake.slots.len() <= capacity);
    }
}
