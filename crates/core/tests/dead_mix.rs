//! How long clients draw routes over a mix that died without a word, by the real times of votes, signs of life and
//! directories: for every instant of its death below one epoch plus one directory fetch (the quarter of an epoch in which
//! a decided directory is fetched before it holds). `docs/decisions/0014`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, which prints what it found and may fail by panic"
)]

use directory::testing::{GENESIS, authority_secret, network_id};
use directory::vote::{SIGNS, VoteTimes, ahead, next_sign, republish_after};
use directory::{EpochSchedule, Network, NetworkAuthority, quorum};
use mizzle_core::view::before_they_leave;
use std::time::Duration;
use wire::ids::Epoch;
use wire::rng::{Purpose, TrafficRng};
use wire::time::UnixTime;

const SEED: u64 = 8;
/// Any epoch but the first.
const EPOCH: Epoch = Epoch(5);

fn network(length: Duration, authorities: usize) -> Network {
    let schedule = EpochSchedule {
        genesis: GENESIS,
        length,
    };
    let authority = |i| NetworkAuthority {
        identity: authority_secret(SEED, i).public(),
        address: "127.0.0.1:1".parse().unwrap(),
    };
    let all = (0..authorities).map(authority).collect();
    let threshold = quorum(authorities);
    Network::new(network_id(SEED), schedule, all, threshold, Vec::new()).unwrap()
}

/// What a node says from the start of [`EPOCH`] on, for three epochs: as `runtime`'s publisher does it.
fn words(network: &Network, seed: u8) -> Vec<UnixTime> {
    let rng = TrafficRng::from_seed([seed; 32]);
    let draw = |epoch: Epoch, number: u32| {
        let tick = epoch.0 * u64::from(SIGNS) + u64::from(number);
        rng.tick(Purpose::SignOfLife, tick).draw_open01()
    };
    let schedule = network.schedule();
    let phase = rng.tick(Purpose::Simulation, 0).draw_open01();
    let beat = republish_after(schedule.length);
    let mut now = schedule.start(EPOCH).saturating_add(beat.mul_f64(phase));
    let mut all = Vec::new();
    while now < schedule.start(Epoch(EPOCH.0 + 3)) {
        all.push(now);
        now = next_sign(network, now, draw).min(now.saturating_add(beat));
    }
    all
}

/// From when on nobody draws a route over a mix that said this and died then.
fn avoided(network: &Network, words: &[UnixTime], death: UnixTime) -> UnixTime {
    let schedule = network.schedule();
    let said = words.partition_point(|w| *w <= death);
    let mut epoch = schedule.epoch_at(death).next();
    loop {
        let times = VoteTimes::of(network, epoch);
        let fixed = UnixTime(times.start.0 - times.lead().as_millis() as u64);
        let mut in_ballots = words[..said].iter().filter(|w| **w <= fixed);
        if !in_ballots.any(|w| times.counts(*w)) {
            let before = before_they_leave(schedule.length).as_millis() as u64;
            return UnixTime(schedule.start(epoch).0 - before);
        }
        epoch = epoch.next();
    }
}

/// No schedule of words makes it longer: the last that counts is as old as it may be, and then it dies.
fn bound(network: &Network) -> Duration {
    let length = network.schedule().length;
    let times = VoteTimes::of(network, EPOCH);
    let to_avoid = times.end.saturating_since(times.start) - before_they_leave(length);
    length + times.fresh + to_avoid
}

/// The shortest, mean and longest over all instants of death in an epoch, for so many nodes.
fn times(network: &Network, nodes: u8) -> [Duration; 3] {
    let schedule = network.schedule();
    let begin = schedule.start(EPOCH.next());
    let step = (schedule.length / 1000).as_millis().max(1) as u64;
    let (mut shortest, mut longest) = (Duration::MAX, Duration::ZERO);
    let (mut sum, mut count) = (Duration::ZERO, 0);
    for seed in 0..nodes {
        let words = words(network, seed);
        let end = schedule.start(Epoch(EPOCH.0 + 2));
        let any = (begin.0..end.0).step_by(step as usize).map(UnixTime);
        // Just after it spoke is the worst.
        let spoken = words.iter().copied().filter(|w| (begin..end).contains(w));
        for death in any.chain(spoken) {
            let time = avoided(network, &words, death).saturating_since(death);
            (shortest, longest) = (shortest.min(time), longest.max(time));
            (sum, count) = (sum + time, count + 1);
        }
    }
    [shortest, sum / count, longest]
}

#[test]
fn a_dead_mix_is_avoided_within_one_epoch_and_one_fetch_whenever_it_dies() {
    for (seconds, authorities) in [
        (30, 1),
        (30, 4),
        (33, 7),
        (60, 4),
        (600, 4),
        (3600, 1),
        (3600, 4),
        (3600, 7),
        (86_400, 10),
    ] {
        let length = Duration::from_secs(seconds);
        let network = network(length, authorities);
        let ([least, mean, found], bound) = (times(&network, 40), bound(&network));
        let promised = length + ahead(length);
        let epochs = |d: Duration| d.as_secs_f64() / length.as_secs_f64();
        println!(
            "epoch {seconds} s, {authorities} authorities: {:.3} to {:.3} epochs, {:.3} in the mean; at most {:.3} by the law, {:.3} promised",
            epochs(least),
            epochs(found),
            epochs(mean),
            epochs(bound),
            epochs(promised),
        );
        assert!(found <= bound, "{found:?} {bound:?}");
        assert!(bound < promised, "{bound:?} {promised:?}");
        // It is no empty bound: some instants come near it.
        assert!(found + length / 16 > bound, "{found:?} {bound:?}");
        // With words that count for a quarter of an epoch it would not hold.
        let fresh = VoteTimes::of(&network, EPOCH).fresh;
        assert!(bound - fresh + length / 4 > promised);
    }
}

/// Below some half a minute rounds and words have least lengths, which then are more than their share of an epoch.
#[test]
fn with_shorter_epochs_it_takes_longer_and_no_longer_than_ever() {
    for (seconds, authorities) in [(1, 4), (4, 4), (10, 4), (20, 4), (26, 4), (26, 7)] {
        let length = Duration::from_secs(seconds);
        let network = network(length, authorities);
        let ([_, mean, found], bound) = (times(&network, 20), bound(&network));
        println!(
            "epoch {seconds} s, {authorities} authorities: {mean:?} in the mean, {found:?} of {bound:?}"
        );
        // Moments are whole milliseconds.
        assert!(found <= bound + Duration::from_millis(1));
        assert!(bound <= length * 25 / 16, "{bound:?}");
    }
}

#[test]
fn every_sign_of_life_counts_and_has_time_for_its_way() {
    for seconds in [1, 4, 10, 30, 60, 3600, 86_400] {
        for authorities in [1, 4, 7] {
            let network = network(Duration::from_secs(seconds), authorities);
            let times = VoteTimes::of(&network, EPOCH);
            let mut last = UnixTime(0);
            for (number, draw) in (0..SIGNS).flat_map(|k| [(k, 0.0), (k, 0.5), (k, 1.0)]) {
                let sign = times.sign_of_life(number, draw);
                assert!(times.counts(sign) && sign >= last);
                last = sign;
            }
            let fixed = UnixTime(times.start.0 - times.lead().as_millis() as u64);
            let way = fixed.saturating_since(last);
            assert!(
                way >= times.fresh / 9,
                "{way:?} of {:?}, {seconds} s",
                times.fresh
            );
            // One after the other, and none twice.
            let mut now = network.schedule().start(EPOCH.previous());
            for number in 0..SIGNS {
                let next = next_sign(&network, now, |_, _| 0.5);
                assert_eq!(next, times.sign_of_life(number, 0.5));
                now = next;
            }
            let next = VoteTimes::of(&network, EPOCH.next());
            assert_eq!(
                next_sign(&network, now, |_, _| 0.5),
                next.sign_of_life(0, 0.5)
            );
        }
    }
}
