//! The thread with real files.

use super::*;
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::entropy::Entropy;
use directory::Network;
use directory::testing::{network_id, node_secret, schedule};
use mizzle_core::hop::{KeySeed, NodeKey, ShortTag, TagBatch};
use wire::keys::SphinxPublic;

const TAGS_MAX: usize = 1 << 20;

fn foundation(folder: &Path) -> Foundation {
    let authorities = vec![directory::NetworkAuthority {
        identity: directory::testing::authority_secret(1, 0).public(),
        address: "127.0.0.1:9".parse().unwrap(),
    }];
    let network = Network::new(network_id(1), schedule(), authorities, 1, Vec::new());
    Foundation {
        clock: Clock::start(),
        dir: Arc::new(DataDir::open(folder.join("data")).unwrap()),
        identity: Arc::new(node_secret(1, 0)),
        network: Arc::new(network.unwrap()),
        entropy: Entropy::os(),
    }
}

fn open(folder: &Path) -> Opened {
    Keeper::open(
        &foundation(folder),
        TAGS_MAX,
        &Stages::default(),
        &mut Registry::default(),
        || {},
    )
    .unwrap()
}

fn key(epoch: u64) -> KeepOrder {
    KeepOrder::Key(NodeKey {
        epoch: Epoch(epoch),
        seed: KeySeed([epoch as u8; 32]),
        public: SphinxPublic([2; 32]),
    })
}

fn tags(ticket: u64, epoch: u64) -> KeepOrder {
    let mut tag = ShortTag([0; 16]);
    tag.0[..8].copy_from_slice(&ticket.to_be_bytes());
    KeepOrder::Tags(TagBatch {
        ticket,
        epoch: Epoch(epoch),
        tags: vec![tag],
    })
}

/// Answers until one for `ticket` or a later one.
async fn answers_to(opened: &mut Opened, ticket: u64) -> Vec<Kept> {
    let mut got = Vec::new();
    loop {
        let answer = opened.answers.recv();
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
        let answer = answer.unwrap().unwrap();
        got.push(answer);
        match answer {
            Kept::Durable { ticket: t } | Kept::Failed { ticket: t } if t >= ticket => return got,
            Kept::Durable { .. } | Kept::Failed { .. } | Kept::KeyLost(_) => {}
        }
    }
}

#[tokio::test]
async fn what_is_answered_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path());
    assert!(opened.keys.is_empty());
    for order in [key(5), key(6)] {
        assert!(opened.keeper.give(order).is_none());
    }
    for ticket in 1..=500 {
        // Two epochs in turn, as in an overlap.
        assert!(opened.keeper.give(tags(ticket, 5 + ticket % 2)).is_none());
    }
    let got = answers_to(&mut opened, 500).await;
    assert!(got.iter().all(|a| matches!(a, Kept::Durable { .. })));
    assert!(got.len() < 500, "tags are committed in groups");
    assert!(!opened.keeper.is_failing());
    // As after a kill, nothing is closed in order.
    let again = open(folder.path());
    let counts: Vec<_> = again
        .keys
        .iter()
        .map(|k| (k.key.epoch.0, k.tags.len()))
        .collect();
    assert_eq!(counts, [(5, 250), (6, 250)]);
}

#[tokio::test]
async fn a_forgotten_key_leaves_no_file_and_takes_no_tag() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path());
    opened.keeper.give(key(5));
    opened.keeper.give(tags(1, 5));
    answers_to(&mut opened, 1).await;
    opened.keeper.give(KeepOrder::Forget(Epoch(5)));
    opened.keeper.give(KeepOrder::Forget(Epoch(4)));
    opened.keeper.close().await;
    let logs = folder.path().join("data").join(FOLDER);
    assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 0);
    let mut opened = open(folder.path());
    assert!(opened.keys.is_empty());
    opened.keeper.give(tags(1, 5));
    assert_eq!(
        answers_to(&mut opened, 1).await,
        [Kept::Failed { ticket: 1 }]
    );
}

#[tokio::test]
async fn a_key_that_cannot_be_written_is_lost_and_a_disk_that_is_well_again_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path());
    let logs = folder.path().join("data").join(FOLDER);
    std::fs::remove_dir(&logs).unwrap();
    opened.keeper.give(key(5));
    opened.keeper.give(tags(1, 5));
    let got = answers_to(&mut opened, 1).await;
    assert_eq!(got, [Kept::KeyLost(Epoch(5)), Kept::Failed { ticket: 1 }]);
    assert!(opened.keeper.is_failing());
    std::fs::create_dir(&logs).unwrap();
    opened.keeper.give(key(6));
    opened.keeper.give(tags(2, 6));
    assert_eq!(
        answers_to(&mut opened, 2).await,
        [Kept::Durable { ticket: 2 }]
    );
    assert!(!opened.keeper.is_failing());
}

#[tokio::test]
async fn a_log_that_cannot_be_used_is_destroyed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    for order in [key(5), key(6), key(7)] {
        opened.keeper.give(order);
    }
    opened.keeper.close().await;
    let logs = folder.path().join("data").join(FOLDER);
    let path = |epoch| tag_log::path(&logs, Epoch(epoch));
    std::fs::write(path(5), b"torn").unwrap();
    std::fs::copy(path(7), path(6)).unwrap();
    std::fs::write(logs.join("epoch-8.tags.new"), b"half").unwrap();
    let opened = open(folder.path());
    let epochs: Vec<_> = opened.keys.iter().map(|k| k.key.epoch.0).collect();
    assert_eq!(epochs, [7]);
    assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 1);
}

/// A keeper whose log of epoch 5 is on a device that fails, and of epoch 6 on a good disk.
fn on_device(folder: &Path, device: &str) -> (Opened, PathBuf) {
    let KeepOrder::Key(broken) = key(5) else {
        panic!("an order to keep a key")
    };
    let node = NodeId([1; 28]);
    drop(TagLog::create(folder, &node, &broken).unwrap());
    let logs = Logs::from([(Epoch(5), TagLog::on_device(device, &broken))]);
    let health = Arc::new(Health::default());
    let (orders, taken) = jobs::sync_channel(ORDERS_MAX);
    let (answers_tx, answers) = mpsc::channel(ANSWERS_MAX);
    let desk = Desk::new(folder.to_owned(), node, logs, health.clone(), answers_tx);
    let thread =
        std::thread::spawn(move || desk.work(&taken, Stages::default().thread(Stage::Keep)));
    let keeper = Keeper {
        orders,
        thread,
        health,
    };
    let opened = Opened {
        keeper,
        keys: Vec::new(),
        answers,
    };
    opened.keeper.give(key(6));
    (opened, tag_log::path(folder, Epoch(5)))
}

#[tokio::test]
async fn a_full_disk_costs_packets_and_not_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (mut opened, file) = on_device(folder.path(), "/dev/full");
    // Both in one group: the one that fails is told first.
    opened.keeper.give(tags(1, 5));
    opened.keeper.give(tags(2, 6));
    let got = answers_to(&mut opened, 2).await;
    assert_eq!(
        got,
        [Kept::Failed { ticket: 1 }, Kept::Durable { ticket: 2 }]
    );
    opened.keeper.give(tags(3, 5));
    assert_eq!(
        answers_to(&mut opened, 3).await,
        [Kept::Failed { ticket: 3 }]
    );
    assert!(opened.keeper.is_failing() && file.exists());
    opened.keeper.give(tags(4, 6));
    answers_to(&mut opened, 4).await;
    assert!(!opened.keeper.is_failing());
}

#[tokio::test]
async fn a_disk_that_does_not_sync_costs_the_key() {
    let folder = tempfile::tempdir().unwrap();
    // It takes every write and refuses to sync.
    let (mut opened, file) = on_device(folder.path(), "/dev/null");
    opened.keeper.give(tags(1, 5));
    let got = answers_to(&mut opened, 1).await;
    assert_eq!(got, [Kept::KeyLost(Epoch(5)), Kept::Failed { ticket: 1 }]);
    assert!(!file.exists(), "the key is destroyed");
    opened.keeper.give(tags(2, 5));
    assert_eq!(
        answers_to(&mut opened, 2).await,
        [Kept::Failed { ticket: 2 }]
    );
    assert!(opened.keeper.is_failing());
    opened.keeper.give(tags(3, 6));
    assert_eq!(
        answers_to(&mut opened, 3).await,
        [Kept::Durable { ticket: 3 }]
    );
}
