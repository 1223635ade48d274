//! The authority in virtual time: when it publishes, whom it takes, and that it never signs twice.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod common;

use common::{SEED, network_on};
use directory::testing::{self, nobodys_key};
use directory::{
    Accepted, Admitted, Authority, AuthorityConfig, AuthorityError, AuthorityEvent,
    DescriptorRefused, Directory, EpochSchedule, Family, LAYERS, Parameters, Position, Role,
    SignedDescriptor, SignedDirectory, SphinxKey,
};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::geometry::FORMAT_SPHINX;
use wire::ids::{Epoch, NodeId};
use wire::time::UnixTime;

const MIXES: usize = 6;
const NODES: usize = 9;
const EPOCH_MS: u64 = 60_000;

fn schedule() -> EpochSchedule {
    EpochSchedule {
        genesis: testing::GENESIS,
        length: Duration::from_millis(EPOCH_MS),
    }
}

/// `ms` after genesis.
fn at(ms: u64) -> UnixTime {
    UnixTime(testing::GENESIS.0 + ms)
}

fn role(index: usize) -> Role {
    if index < MIXES {
        Role::Mix
    } else {
        Role::Gateway
    }
}

fn config() -> AuthorityConfig {
    let admitted = (0..NODES).map(|i| Admitted {
        identity: testing::node_secret(SEED, i).public(),
        role: role(i),
        family: Family::of(&format!("operator {}", i % 3)),
    });
    AuthorityConfig {
        network: network_on(schedule(), 1),
        parameters: Parameters::localnet(),
        admitted: admitted.collect(),
        expected_nodes: NODES,
        grace: Duration::from_secs(10),
    }
}

fn start(kept: Vec<SignedDirectory>, now: UnixTime) -> Authority {
    Authority::new(config(), testing::authority_secret(SEED, 0), kept, now).unwrap()
}

/// As a node that runs in `epoch` uploads it: keys for this epoch and the next two.
fn descriptor(index: usize, epoch: Epoch, published: UnixTime) -> SignedDescriptor {
    let mut node = testing::node(SEED, index, role(index), epoch, nobodys_key);
    let third = epoch.next().next();
    node.sphinx_keys.push(SphinxKey {
        epoch: third,
        format: FORMAT_SPHINX,
        key: nobodys_key(index, third),
    });
    let secret = testing::node_secret(SEED, index);
    SignedDescriptor::sign(node, published, &secret, &testing::network_id(SEED)).unwrap()
}

fn upload(authority: &mut Authority, indices: impl IntoIterator<Item = usize>, now: UnixTime) {
    for index in indices {
        let signed = descriptor(index, schedule().epoch_at(now), now);
        assert_eq!(
            authority.handle_descriptor(signed, now),
            Ok(Accepted::Stored)
        );
    }
}

/// Plays the owner: keeps what is to be kept. Returns what was published.
fn drain(authority: &mut Authority, disk: &mut Vec<SignedDirectory>, now: UnixTime) -> Vec<u64> {
    let mut published = Vec::new();
    while let Some(event) = authority.poll_event() {
        match event {
            AuthorityEvent::Persist(_, signed) => {
                disk.push(signed);
                authority.handle_persisted(now);
            }
            AuthorityEvent::Published(epoch, _) => published.push(epoch.0),
            AuthorityEvent::Blocked { .. } => {}
        }
    }
    published
}

fn newest(authority: &Authority) -> &Directory {
    authority.newest().unwrap().0
}

fn places(directory: &Directory) -> BTreeMap<NodeId, usize> {
    let place = |(node, position): (&directory::NodeDescriptor, Position)| match position {
        Position::Mix { layer, .. } => Some((node.id(), layer)),
        Position::Gateway { .. } => None,
    };
    directory.nodes().filter_map(place).collect()
}

#[test]
fn the_first_directory_comes_with_the_last_expected_node() {
    let (mut authority, mut disk) = (start(Vec::new(), at(1000)), Vec::new());
    upload(&mut authority, 0..NODES - 1, at(2000));
    assert!(drain(&mut authority, &mut disk, at(2000)).is_empty());
    upload(&mut authority, [NODES - 1], at(2500));
    assert_eq!(drain(&mut authority, &mut disk, at(2500)), [0]);
    let directory = newest(&authority);
    assert_eq!(directory.check_time(at(2500)), Ok(()));
    for layer in 0..LAYERS {
        assert_eq!(directory.layer(layer).len(), 2);
    }
    assert_eq!(directory.gateways().len(), 3);
    // Families come from the allow-list, keys are those of this epoch and the next.
    for (node, _) in directory.nodes() {
        assert_eq!(node.sphinx_keys.len(), 2);
        let index = (0..NODES).find(|i| testing::node_secret(SEED, *i).public() == node.identity);
        let operator = format!("operator {}", index.unwrap() % 3);
        assert_eq!(node.family, Family::of(&operator));
    }
    assert!(disk[0].verify(&config().network).is_ok());
}

#[test]
fn without_all_nodes_it_comes_after_the_grace_and_not_without_a_full_path() {
    let (mut authority, mut disk) = (start(Vec::new(), at(0)), Vec::new());
    upload(&mut authority, [0, 1, 6], at(1000));
    assert_eq!(authority.poll_timeout(), Some((at(10_000), "end of grace")));
    authority.handle_timeout(at(10_000));
    let blocked = AuthorityEvent::Blocked {
        epoch: Epoch(0),
        mixes: 2,
        gateways: 1,
    };
    assert!(authority.poll_event() == Some(blocked));
    authority.handle_timeout(at(10_001));
    assert!(authority.poll_event().is_none(), "told once");
    assert_eq!(authority.poll_timeout(), Some((at(EPOCH_MS), "next epoch")));
    upload(&mut authority, [2], at(11_000));
    assert_eq!(drain(&mut authority, &mut disk, at(11_000)), [0]);
}

#[test]
fn successors_come_in_the_middle_of_the_epoch_before() {
    let (mut authority, mut disk) = (start(Vec::new(), at(0)), Vec::new());
    upload(&mut authority, 0..NODES, at(100));
    assert_eq!(drain(&mut authority, &mut disk, at(100)), [0]);
    for epoch in 0..20 {
        let begin = epoch * EPOCH_MS;
        if epoch > 0 {
            upload(&mut authority, 0..NODES, at(begin + 1));
        }
        let middle = at(begin + EPOCH_MS / 2);
        assert_eq!(authority.poll_timeout(), Some((middle, "directory due")));
        authority.handle_timeout(UnixTime(middle.0 - 1));
        assert!(drain(&mut authority, &mut disk, middle).is_empty());
        authority.handle_timeout(middle);
        assert_eq!(drain(&mut authority, &mut disk, middle), [epoch + 1]);
    }
    // One line, each layer as it was, and no more kept than promised.
    let directories: Vec<_> = disk
        .iter()
        .map(|s| s.verify(&config().network).unwrap())
        .collect();
    for pair in directories.windows(2) {
        assert_eq!(pair[1].check_successor_of(&pair[0]), Ok(()));
        assert_eq!(pair[1].previous, pair[0].hash());
        assert_eq!(places(&pair[1]), places(&pair[0]));
        assert_ne!(pair[1].shared_random, pair[0].shared_random);
    }
    assert!(authority.directory(Epoch(20)).is_some());
    assert!(
        authority
            .directory(Epoch(20 - directory::KEPT_MAX as u64))
            .is_none()
    );
}

#[test]
fn a_node_without_the_keys_is_left_out_and_comes_back_to_its_layer() {
    let (mut authority, mut disk) = (start(Vec::new(), at(0)), Vec::new());
    upload(&mut authority, 0..NODES, at(100));
    drain(&mut authority, &mut disk, at(100));
    let before = places(newest(&authority));
    // Keys for 0, 1, 2: enough for the directory of 1, not for that of 2.
    for (epoch, there) in [(0, 0..NODES), (1, 1..NODES), (2, 0..NODES)] {
        let begin = epoch * EPOCH_MS;
        if epoch > 0 {
            upload(&mut authority, there.clone(), at(begin + 1));
        }
        // The end of the grace, of which a quarter of an epoch is the most.
        authority.handle_timeout(at(begin + EPOCH_MS * 3 / 4));
        drain(&mut authority, &mut disk, at(begin + EPOCH_MS * 3 / 4));
        assert_eq!(newest(&authority).epoch, Epoch(epoch + 1));
        let count = newest(&authority).nodes().count();
        assert_eq!(count, there.len(), "in epoch {epoch}");
    }
    assert_eq!(places(newest(&authority)), before);
}

#[test]
fn an_empty_layer_gets_a_mix_from_the_largest() {
    let (mut authority, mut disk) = (start(Vec::new(), at(0)), Vec::new());
    upload(&mut authority, 0..NODES, at(100));
    drain(&mut authority, &mut disk, at(100));
    let before = &places(newest(&authority));
    let in_layer = |layer| (0..MIXES).filter(move |i| before[&id(*i)] == layer);
    let alive: Vec<_> = in_layer(0).chain(in_layer(1)).chain(MIXES..NODES).collect();
    upload(&mut authority, alive, at(EPOCH_MS + 1));
    for ms in [EPOCH_MS + 2, EPOCH_MS + EPOCH_MS * 3 / 4] {
        authority.handle_timeout(at(ms));
        drain(&mut authority, &mut disk, at(ms));
    }
    let directory = newest(&authority);
    assert_eq!(directory.epoch, Epoch(2));
    let mut sizes = [0, 1, 2].map(|l| directory.layer(l).len());
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 2]);
}

fn id(index: usize) -> NodeId {
    NodeId::of(&testing::node_secret(SEED, index).public())
}

#[test]
fn nothing_is_shown_before_it_is_kept_and_the_same_is_kept_again() {
    let mut authority = start(Vec::new(), at(0));
    upload(&mut authority, 0..NODES, at(100));
    let Some(AuthorityEvent::Persist(_, first)) = authority.poll_event() else {
        panic!("nothing to keep");
    };
    assert!(authority.newest().is_none());
    assert!(authority.poll_event().is_none());
    authority.handle_persist_failed(at(200));
    // Another descriptor in between changes nothing of what was signed.
    upload(&mut authority, [0], at(300));
    assert_eq!(authority.poll_timeout(), Some((at(1200), "keep again")));
    authority.handle_timeout(at(1200));
    let again = authority.poll_event();
    assert!(again == Some(AuthorityEvent::Persist(Epoch(0), first)));
    authority.handle_persisted(at(1300));
    assert!(authority.newest().is_some());
}

#[test]
fn after_a_restart_it_goes_on_where_it_was() {
    let mut disk = Vec::new();
    let mut first = start(Vec::new(), at(0));
    upload(&mut first, 0..NODES, at(100));
    drain(&mut first, &mut disk, at(100));
    // Killed, and started again with nothing but the disk: other nodes come first this time.
    let mut second = start(disk.clone(), at(200));
    assert_eq!(newest(&second).hash(), newest(&first).hash());
    upload(&mut second, (1..NODES).rev(), at(300));
    assert!(
        drain(&mut second, &mut disk, at(300)).is_empty(),
        "signed twice"
    );
    upload(&mut second, [0], at(301));
    second.handle_timeout(at(EPOCH_MS / 2));
    assert_eq!(drain(&mut second, &mut disk, at(EPOCH_MS / 2)), [1]);
    assert_eq!(newest(&second).check_successor_of(newest(&first)), Ok(()));
    assert_eq!(places(newest(&second)), places(newest(&first)));
}

#[test]
fn a_clock_that_goes_back_makes_no_second_directory() {
    let (mut authority, mut disk) = (start(Vec::new(), at(5 * EPOCH_MS)), Vec::new());
    upload(&mut authority, 0..NODES, at(5 * EPOCH_MS + 1));
    drain(&mut authority, &mut disk, at(5 * EPOCH_MS + 1));
    for ms in [0, EPOCH_MS, 5 * EPOCH_MS, 5 * EPOCH_MS + EPOCH_MS / 2 - 1] {
        authority.handle_timeout(at(ms));
        assert!(drain(&mut authority, &mut disk, at(ms)).is_empty());
    }
    assert_eq!(disk.len(), 1);
}

#[test]
fn refused_descriptors() {
    let mut authority = start(Vec::new(), at(10 * EPOCH_MS));
    let now = at(10 * EPOCH_MS + 5000);
    let epoch = Epoch(10);
    let mut refused = |signed| authority.handle_descriptor(signed, now).unwrap_err();

    let stranger = descriptor(NODES, epoch, now);
    assert_eq!(refused(stranger), DescriptorRefused::NotAdmitted);

    let mut node = testing::node(SEED, 0, Role::Gateway, epoch, nobodys_key);
    let secret = testing::node_secret(SEED, 0);
    let network = testing::network_id(SEED);
    let gateway = SignedDescriptor::sign(node.clone(), now, &secret, &network).unwrap();
    assert_eq!(refused(gateway), DescriptorRefused::WrongRole);

    node = testing::node(SEED, 0, Role::Mix, epoch, nobodys_key);
    let elsewhere = testing::network_id(SEED + 1);
    let foreign = SignedDescriptor::sign(node, now, &secret, &elsewhere).unwrap();
    assert_eq!(refused(foreign), DescriptorRefused::BadSignature);

    let mut changed = descriptor(0, epoch, now);
    changed.descriptor.addresses[0].set_port(1);
    assert_eq!(refused(changed), DescriptorRefused::BadSignature);

    let late = descriptor(0, Epoch(8), at(8 * EPOCH_MS - 1));
    assert_eq!(refused(late), DescriptorRefused::TooOld);
    let early = descriptor(0, epoch, UnixTime(now.0 + 120_001));
    assert_eq!(refused(early), DescriptorRefused::FromTheFuture);
    let keyless = descriptor(0, Epoch(7), now);
    assert_eq!(refused(keyless), DescriptorRefused::NoUsableKey(epoch));

    let newer = descriptor(0, epoch, now);
    let older = descriptor(0, epoch, UnixTime(now.0 - 1));
    assert_eq!(
        authority.handle_descriptor(newer.clone(), now),
        Ok(Accepted::Stored)
    );
    assert_eq!(
        authority.handle_descriptor(newer, now),
        Ok(Accepted::Unchanged)
    );
    let replayed = authority.handle_descriptor(older, now);
    assert_eq!(replayed, Err(DescriptorRefused::Replayed));
    assert_eq!(authority.counts(), (NODES, 1, 1));
}

#[test]
fn what_cannot_start_says_so() {
    let outcome = |config, secret, kept| Authority::new(config, secret, kept, at(0)).err();
    let secret = || testing::authority_secret(SEED, 0);
    assert_eq!(
        outcome(config(), testing::authority_secret(SEED, 9), Vec::new()),
        Some(AuthorityError::NotListed)
    );
    let mut four = config();
    four.network = network_on(schedule(), 4);
    assert_eq!(
        outcome(four, secret(), Vec::new()),
        Some(AuthorityError::NeedsVotes)
    );
    let mut slow = config();
    slow.parameters.key_overlap = Duration::from_millis(EPOCH_MS);
    let bad = AuthorityError::BadParameter("key_overlap");
    assert_eq!(outcome(slow, secret(), Vec::new()), Some(bad));
    let mut twice = config();
    twice.admitted.push(twice.admitted[0]);
    let twice = outcome(twice, secret(), Vec::new());
    assert_eq!(twice, Some(AuthorityError::AdmittedTwice(id(0))));
    // Directories of a network with another schedule.
    let foreign = common::signed_by(&common::directory(), &[0]);
    let bad = outcome(config(), secret(), vec![foreign]);
    assert!(matches!(bad, Some(AuthorityError::BadKept(_))));
}
