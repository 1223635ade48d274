//! When a node says that it lives.

use super::*;
use directory::testing::{authority_secret, network_id, nobodys_key, node, node_secret};
use directory::vote::{SIGNS, VoteTimes};
use directory::{EpochSchedule, NetworkAuthority, Role};
use wire::ids::Epoch;

const SEED: u64 = 6;

/// One authority, epochs of 8 s, of which the second began so long ago: its vote begins after 4.5 s, and words of the 2 s
/// before count.
fn network(clock: &Clock, into: Duration) -> Network {
    let length = Duration::from_secs(8);
    let back = u64::try_from((length + into).as_millis()).unwrap();
    let schedule = EpochSchedule {
        genesis: UnixTime(clock.unix().0 - back),
        length,
    };
    let authority = NetworkAuthority {
        identity: authority_secret(SEED, 0).public(),
        address: ([127, 0, 0, 1], 1).into(),
    };
    Network::new(network_id(SEED), schedule, vec![authority], 1, Vec::new()).unwrap()
}

/// What a node publishes until its vote begins, and when that is.
async fn published_before_a_vote() -> (Vec<UnixTime>, VoteTimes) {
    let clock = Clock::start();
    let network = Arc::new(network(&clock, Duration::from_millis(2300)));
    let folder = tempfile::tempdir().unwrap();
    let author = Author {
        identity: Arc::new(node_secret(SEED, 0)),
        network: network.clone(),
        dir: Arc::new(DataDir::open(folder.path().join("data")).unwrap()),
        clock,
        retiring: watch::channel(None).0,
        clocks: PeerClocks::new(clock, 1),
        rng: TrafficRng::from_seed([3; 32]),
    };
    let descriptor = node(SEED, 0, Role::Mix, Epoch(1), nobodys_key);
    let newest = watch::Sender::new(Some(Arc::new(descriptor)));
    let signed = watch::Sender::new(None);
    let mut said = signed.subscribe();
    let task = tokio::spawn(author.sign_again_and_again(newest.subscribe(), signed));
    let times = VoteTimes::of(&network, Epoch(2));
    let mut published = Vec::new();
    while clock.unix() < times.start {
        let changed = tokio::time::timeout(Duration::from_millis(100), said.changed()).await;
        if let Ok(changed) = changed {
            changed.unwrap();
            let bytes: Arc<[u8]> = said.borrow_and_update().clone().unwrap();
            published.push(SignedDescriptor::decode(&bytes).unwrap().published);
        }
    }
    task.abort();
    (published, times)
}

#[tokio::test]
async fn a_node_says_four_times_before_a_vote_that_it_lives() {
    // A machine that stands still for a second just then makes it be tried again.
    for last_try in [false, false, false, true] {
        let (published, times) = published_before_a_vote().await;
        let first = times.sign_of_life(0, 0.0);
        let last = times.sign_of_life(SIGNS - 1, 0.0);
        // What a node says anyway is three times in so long.
        let counted = published.iter().filter(|at| **at >= first).count();
        let spoke = counted >= SIGNS as usize && published.iter().any(|at| *at >= last);
        assert!(spoke || !last_try, "{published:?}");
        // No more than that, and what a node says anyway.
        assert!(published.len() <= 4 + 5, "{published:?}");
        if spoke {
            return;
        }
    }
}
