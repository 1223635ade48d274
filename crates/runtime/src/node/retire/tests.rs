//! When a node may go, by the directories that it holds.

use super::*;
use directory::testing::{
    GENESIS, authority_secret, directory_on, network_id, nobodys_key, node_secret, schedule,
};
use directory::{EpochSchedule, NetworkAuthority, Parameters};
use wire::time::WallAnchor;

const SEED: u64 = 4;
const HOUR: Duration = Duration::from_secs(3600);

fn network() -> Network {
    let identity = authority_secret(SEED, 0).public();
    let address = ([127, 0, 0, 1], 7800).into();
    let authorities = vec![NetworkAuthority { identity, address }];
    Network::new(network_id(SEED), schedule(), authorities, 1, Vec::new()).unwrap()
}

/// `hours` after the start of epoch 0.
fn at(hours: f64) -> UnixTime {
    GENESIS.saturating_add(HOUR.mul_f64(hours))
}

fn node(index: usize) -> NodeId {
    NodeId::of(&node_secret(SEED, index).public())
}

/// Knows the directories of these epochs, each with so many mixes in a layer.
fn view(held: &[(u64, usize)]) -> View {
    let schedule: EpochSchedule = schedule();
    let anchor = WallAnchor {
        instant: Instant::from_nanos(1 << 60),
        unix: at(0.0),
    };
    let mut view = View::new(schedule, anchor);
    for (epoch, mixes) in held {
        let (directory, _) = directory_on(
            schedule,
            SEED,
            (*mixes, 1),
            Epoch(*epoch),
            Parameters::localnet(),
            nobodys_key,
        );
        let start = anchor.instant_at(schedule.start(Epoch(*epoch)));
        view.insert(Arc::new(directory), start);
    }
    view
}

#[test]
fn the_first_directory_without_it_is_voted_on_when_its_last_word_is_old() {
    let first = |hours| first_epoch_without(&network(), at(hours)).0;
    // Votes begin at 0.667, 1.667, …; a word counts for a sixteenth of an hour.
    assert_eq!(first(0.0), 1);
    assert_eq!(first(0.604), 1);
    assert_eq!(first(0.605), 2);
    assert_eq!(first(0.9), 2);
    assert_eq!(first(1.61), 3);
}

#[test]
fn it_may_stop_when_no_valid_directory_lists_it() {
    // The last mix of three in each layer stands in the directories of epochs 1 and 2, not in that of 3.
    let view = view(&[(1, 3), (2, 3), (3, 2)]);
    let us = node(8);
    assert!(view.held().next().unwrap().position(&us).is_some());
    let said = |since: Option<f64>, hours: f64| {
        let now = view_instant(&view, at(hours));
        Retirement::of(&us, &view, since.map(at), &network(), now)
    };
    assert_eq!(said(None, 1.5), Retirement::No);
    let overlap = Parameters::localnet().key_overlap;
    let last = at(4.0).saturating_add(overlap);
    assert_eq!(said(Some(1.62), 1.65), Retirement::Serves(last));
    assert_eq!(said(Some(1.62), 3.1), Retirement::Serves(last));
    assert_eq!(said(Some(1.62), 4.1), Retirement::MayStop);
    // That of 3 holds until 5; then there is nothing to go by.
    assert_eq!(said(Some(1.62), 5.1), Retirement::Unknown);
}

#[test]
fn one_that_never_stood_anywhere_waits_for_the_first_directory_without_it() {
    let view = view(&[(1, 2), (2, 2)]);
    let said = |since: f64, hours: f64| {
        let now = view_instant(&view, at(hours));
        Retirement::of(&node(30), &view, Some(at(since)), &network(), now)
    };
    // It may be in the directory of 2, which is voted on at 1.667.
    assert_eq!(said(1.62, 1.65), Retirement::Serves(at(3.0)));
    assert_eq!(said(1.2, 1.4), Retirement::Serves(at(2.0)));
    assert_eq!(said(1.2, 2.1), Retirement::MayStop);
}

#[test]
fn nothing_is_known_without_a_directory() {
    let view = view(&[]);
    let now = view_instant(&view, at(9.0));
    let said = Retirement::of(&node(1), &view, Some(at(1.0)), &network(), now);
    assert_eq!(said, Retirement::Unknown);
    assert_eq!(said.status(at(9.0))["retiring"]["may_stop"], false);
    assert!(Retirement::No.status(at(9.0)).is_empty());
}

fn view_instant(view: &View, unix: UnixTime) -> Instant {
    view.start(Epoch(0)) + unix.saturating_since(at(0.0))
}

#[test]
fn the_order_is_read_as_it_was_written_and_a_bare_file_means_now() {
    let folder = tempfile::tempdir().unwrap();
    let now = at(2.0);
    assert_eq!(since(folder.path(), now), None);
    let file = folder.path().join(RETIRING_FILE);
    std::fs::write(&file, "1767225600001\n").unwrap();
    assert_eq!(since(folder.path(), now), Some(UnixTime(1_767_225_600_001)));
    for odd in ["", "tomorrow", "99999999999999999999999999999999999999999"] {
        std::fs::write(&file, odd).unwrap();
        assert_eq!(since(folder.path(), now), Some(now), "{odd}");
    }
}

#[test]
fn durations_in_words() {
    let words = |s| in_words(Duration::from_secs(s));
    assert_eq!(
        [words(5), words(65), words(7500)],
        ["5 s", "1 min 5 s", "2 h 5 min"]
    );
}
