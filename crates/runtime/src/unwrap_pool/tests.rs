//! The pool with a made-up format: what goes in comes out once, and what is too much is counted.

use super::*;
use directory::EpochSchedule;
use mizzle_core::hop::{HopConfig, Source};
use mizzle_core::mix::Mix;
use sphinx::{BuildError, Hop, PayloadBytes, ReplayTag, Unwrapped};
use std::time::Duration;
use wire::geometry::PACKET_LEN;
use wire::ids::{EpochHint, NextHop, NodeId, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::{KeyRng, TrafficRng};
use wire::time::{Instant, UnixTime};

/// Forwards everything; the tag is the packet's first bytes. A packet of `0xff` panics.
struct Echo;

impl PacketFormat for Echo {
    type Secret = Mutex<()>;
    type Recovery = ();

    fn generate(_rng: &mut KeyRng) -> Mutex<()> {
        Mutex::new(())
    }
    fn public(_secret: &Mutex<()>) -> SphinxPublic {
        SphinxPublic([0; 32])
    }
    fn build(_: &[Hop], _: &Plaintext, _: &mut KeyRng) -> Result<PacketBytes, BuildError> {
        Err(BuildError::RouteLength)
    }
    fn build_surb(_: &[Hop], _: SurbId, _: &mut KeyRng) -> Result<(SurbBytes, ()), BuildError> {
        Err(BuildError::RouteLength)
    }
    fn unwrap(gate: &Mutex<()>, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(packet[0] != 0xff, "made-up panic");
        let mut tag = [0; 32];
        tag.copy_from_slice(&packet[..32]);
        Ok(Unwrapped::Request {
            tag: ReplayTag(tag),
            plaintext: None,
        })
    }
    fn use_surb(_: &SurbBytes, _: &Plaintext) -> Result<(NextHop, PacketBytes), DiscardReason> {
        Err(DiscardReason::BadSurb)
    }
    fn open_reply(_: &(), _: PayloadBytes) -> Result<Plaintext, DiscardReason> {
        Err(DiscardReason::BadPayload)
    }
}

/// A pool whose keys are those of a mix that knows no directory yet.
struct Fixture {
    pool: UnwrapPool<Echo>,
    results: mpsc::Receiver<Vec<Arrival>>,
    key: Arc<Mutex<()>>,
    hint: EpochHint,
    /// Never too old.
    at: Instant,
}

fn fixture(threads: usize, capacity: usize) -> Fixture {
    fixture_of(threads, capacity, 1)
}

fn fixture_of(threads: usize, capacity: usize, lanes: usize) -> Fixture {
    let clock = Clock::start();
    let (anchor, now) = (clock.anchor(), clock.now());
    let schedule = EpochSchedule {
        genesis: UnixTime(0),
        length: Duration::from_secs(3600),
    };
    let hop = HopConfig::new(NodeId([1; 28]), schedule);
    let (traffic, keys) = (TrafficRng::from_seed([1; 32]), KeyRng::from_seed([2; 32]));
    let mut mix = Mix::<Echo>::new(hop, Vec::new(), anchor, traffic, keys, now);
    let (sender, results) = mpsc::channel(64);
    let config = PoolConfig {
        threads,
        capacity,
        lanes,
        clock,
        stages: Stages::default(),
    };
    let pool = UnwrapPool::start(config, sender).unwrap();
    let table = mix.poll_key_table(now).unwrap();
    let hint = schedule.epoch_at(anchor.unix).hint();
    let key = table.find(hint, now).unwrap().secret.clone();
    pool.set_table(table);
    Fixture {
        pool,
        results,
        key,
        hint,
        at: now + Duration::from_secs(60),
    }
}

impl Fixture {
    /// A packet of its own, or of its own twice when the numbers are equal.
    fn packet(&self, first: u8, number: usize) -> Received {
        let mut packet = Box::new([0; PACKET_LEN]);
        packet[0] = first;
        packet[1..9].copy_from_slice(&number.to_be_bytes());
        Received {
            hint: self.hint,
            packet,
            received_at: self.at,
            source: Source::Node,
        }
    }

    fn results(&mut self, count: usize) -> Vec<Result<usize, DiscardReason>> {
        let mut all = Vec::new();
        while all.len() < count {
            for arrival in self.results.blocking_recv().unwrap() {
                all.push(arrival.unwrapped.map(|admitted| {
                    let tag = admitted.get().tag();
                    usize::from_be_bytes(*tag.0[1..].first_chunk().unwrap())
                }));
            }
        }
        all
    }
}

#[test]
fn every_packet_comes_out_once_and_its_copy_is_a_replay() {
    let mut f = fixture(3, 1000);
    let lanes: Vec<_> = (0..3).map(|_| f.pool.door().lane()).collect();
    for number in 0..400 {
        let mut packets = vec![f.packet(1, number / 2)];
        lanes[number % 3].push(&mut packets);
        assert!(packets.is_empty());
    }
    let results = f.results(400);
    let mut seen: Vec<_> = results.iter().filter_map(|r| r.ok()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    let replays = results.iter().filter_map(|r| r.err());
    assert!(replays.clone().all(|r| r == DiscardReason::Replayed));
    assert_eq!(replays.count(), 200);
    assert_eq!(f.pool.door().take_counts().received, 400);
    f.pool.close();
    assert!(f.results.blocking_recv().is_none());
    // Nobody is there any more, and nothing gathers.
    lanes[0].push(&mut vec![]);
}

#[test]
fn too_much_is_counted_and_bounded() {
    let f = fixture(1, 20);
    let gate = f.key.lock().unwrap();
    let lane = f.pool.door().lane();
    for number in 0..100 {
        lane.push(&mut vec![f.packet(1, number)]);
    }
    let door = f.pool.door();
    assert_eq!(door.queued(), 10);
    // One link has half the places, and the thread took between none and a batch.
    let refused = door.take_counts().discards.of(DiscardReason::Overloaded);
    assert!((74..=90).contains(&refused), "{refused}");
    drop(gate);
}

#[test]
fn a_packet_that_panics_costs_itself_alone() {
    let mut f = fixture(1, 100);
    let gate = f.key.lock().unwrap();
    let lane = f.pool.door().lane();
    for number in 0..30 {
        let first = if number == 7 { 0xff } else { 1 };
        lane.push(&mut vec![f.packet(first, number)]);
    }
    drop(gate);
    let results = f.results(30);
    assert_eq!(results.iter().filter(|r| r.is_err()).count(), 1);
    assert!(!results.contains(&Ok(7)));
}

#[test]
fn an_idle_pool_takes_one_packet_at_once_and_a_busy_one_gathers() {
    let mut f = fixture_of(2, 2000, BATCH_MAX);
    let lane = f.pool.door().lane();
    lane.push(&mut vec![f.packet(1, 0)]);
    assert_eq!(f.results.blocking_recv().unwrap().len(), 1);
    // A long burst, packet by packet: nearly all of it goes in whole batches, and none is left.
    let (mut batches, mut packets) = (0, 0);
    for number in 1..=640 {
        lane.push(&mut vec![f.packet(1, number)]);
    }
    while packets < 640 {
        packets += f.results.blocking_recv().unwrap().len();
        batches += 1;
    }
    assert_eq!(packets, 640);
    // Two threads: each may end with a part of a batch, and a machine that is busy elsewhere lets
    // some turns come early.
    assert!(batches <= 120, "{batches} batches of 640 packets");
}
