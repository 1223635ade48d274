//! `kill -9` of a real mixnode under load, and every packet of the epoch again after each restart:
//! nothing passes twice, and the keys outlive the process.
//!
//! The test plays the layer before and the layer after. A few rounds here, a hundred by `.ci/slow`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may fail by panic, and says what it saw"
)]

#[path = "kill/bench.rs"]
mod bench;

use bench::{Bench, Seen};
use runtime::tag_log::{self, HEADER_LEN};
use std::time::Duration;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

/// A load for a random while, a kill in the midst of it, and after the restart all packets that
/// were ever sent once more.
async fn rounds(bench: &mut Bench, rounds: usize) -> Seen {
    for round in 0..rounds {
        bench.start().await;
        bench.replay_all().await;
        let time = Duration::from_millis(30 + bench.draw(200));
        bench.load_until_killed(time).await;
        if round % 20 == 19 {
            println!("{} rounds: {:?}", round + 1, bench.seen().await);
        }
    }
    bench.start().await;
    bench.replay_all().await;
    let seen = bench.seen().await;
    println!("{rounds} kills: {seen:?}");
    bench.terminate();
    seen
}

async fn nothing_passes_twice(kills: usize) {
    let mut bench = Bench::new().await;
    let seen = rounds(&mut bench, kills).await;
    assert_eq!(seen.doubles, 0);
    // The load was one, the kills hit it, and most of what came before a kill had left.
    assert!(seen.sent > 20 * kills, "{seen:?}");
    assert!(seen.passed < seen.sent, "{seen:?}");
    assert!(seen.passed > seen.sent / 2, "{seen:?}");
    assert!(seen.replayed >= seen.passed as u64, "{seen:?}");
    // Under the keys of the first process, in its own epoch, all the time.
    assert_eq!(seen.unusable, 0, "{seen:?}");
}

#[test]
fn nothing_passes_twice_over_some_kills() {
    run(nothing_passes_twice(4));
}

#[test]
#[ignore = "minutes of real time"]
fn nothing_passes_twice_over_a_hundred_kills() {
    run(nothing_passes_twice(100));
}

/// The test would see it: a disk that loses the tags and keeps the key.
#[test]
fn lost_tags_would_be_seen() {
    run(async {
        let mut bench = Bench::new().await;
        bench.start().await;
        bench.load_until_killed(Duration::from_millis(200)).await;
        let log = tag_log::path(&bench.logs(), bench.epoch);
        let log = std::fs::File::options().write(true).open(log).unwrap();
        log.set_len(HEADER_LEN as u64).unwrap();
        bench.start().await;
        bench.replay_all().await;
        assert!(bench.seen().await.doubles > 0);
        bench.terminate();
    });
}

/// A log that is damaged, or gone, costs the key: not one packet of its epoch passes any more.
#[test]
fn a_damaged_or_missing_log_costs_the_key() {
    for damage in [true, false] {
        run(async {
            let mut bench = Bench::new().await;
            bench.start().await;
            bench.load_until_killed(Duration::from_millis(200)).await;
            let before = bench.seen().await;
            assert!(before.passed > 0);
            let log = tag_log::path(&bench.logs(), bench.epoch);
            if damage {
                let mut bytes = std::fs::read(&log).unwrap();
                bytes[HEADER_LEN + 20] ^= 1;
                std::fs::write(&log, bytes).unwrap();
            } else {
                std::fs::remove_file(&log).unwrap();
            }
            bench.start().await;
            bench.replay_all().await;
            let after = bench.seen().await;
            assert_eq!((after.doubles, after.passed), (0, before.passed));
            assert!(after.unusable >= after.sent as u64, "{after:?}");
            bench.terminate();
        });
    }
}
