//! Authorities in virtual time: when they publish, whom they take, what survives restarts, and that
//! none signs twice for an epoch.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "authority/cluster.rs"]
mod cluster;
mod common;

use cluster::{Cluster, EPOCH_MS, MIXES, NODES, at, config, descriptor, id, places, start, upload};
use common::SEED;
use directory::testing::{self, nobodys_key};
use directory::vote::{Ballot, VoteTimes, ahead, tally};
use directory::{
    Accepted, Authority, AuthorityConfig, AuthorityError, AuthorityEvent, DescriptorRefused,
    Family, LAYERS, Network, NetworkAuthority, Record, Role, SignedDescriptor, SignedDirectory,
};
use std::net::SocketAddr;
use std::time::Duration;
use wire::ids::Epoch;
use wire::rng::KeyRng;
use wire::time::UnixTime;

#[test]
fn alone_the_first_directory_comes_soon_after_the_last_expected_node() {
    let mut one = Cluster::start(1, 1000);
    one.upload(0..NODES - 1, 2000);
    one.run_to(4000);
    assert!(one.newest(0).is_none());
    one.upload([NODES - 1], 4000);
    one.run_to(6000);
    let directory = one.newest(0).unwrap();
    assert_eq!(directory.epoch, Epoch(0));
    assert_eq!(directory.check_time(at(6000)), Ok(()));
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
}

#[test]
fn without_all_nodes_it_comes_after_the_grace_and_not_without_a_full_path() {
    let mut one = Cluster::start(1, 0);
    one.upload([0, 1, 6], 1000);
    one.run_to(20_000);
    assert!(one.newest(0).is_none());
    let told = one.told(0, |e| matches!(e, AuthorityEvent::TooFewNodes { .. }));
    assert_eq!(told, 1, "once for an epoch");
    // Who waits for nodes complains of nobody.
    assert_eq!(one.told(0, |e| matches!(e, AuthorityEvent::Missing(..))), 0);
    one.upload([2], 20_000);
    one.run_to(22_000);
    assert_eq!(one.newest(0).unwrap().nodes().count(), 4);
}

#[test]
fn successors_come_a_quarter_of_an_epoch_before_theirs() {
    for n in [1, 4] {
        let mut all = Cluster::start(n, 0);
        all.upload(0..NODES, 100);
        all.run_to(8000);
        let mut line = vec![all.newest(0).unwrap()];
        for epoch in 0..12 {
            let times = VoteTimes::of(&config(n).network, Epoch(epoch + 1));
            all.run_to(times.start.0 - at(0).0);
            assert_eq!(all.newest(0).unwrap().epoch, Epoch(epoch));
            all.run_to(times.signatures().0 - at(0).0 + 200);
            let left = times.end.saturating_since(at(all.ms()));
            assert!(left >= ahead(Duration::from_millis(EPOCH_MS)), "{left:?}");
            for i in 0..n {
                let newest = all.newest(i).unwrap();
                assert_eq!(newest.epoch, Epoch(epoch + 1), "of {n}");
                assert_eq!(newest.hash(), all.newest(0).unwrap().hash());
            }
            line.push(all.newest(0).unwrap());
        }
        // One line, each layer as it was.
        for pair in line.windows(2) {
            assert_eq!(pair[1].check_successor_of(&pair[0]), Ok(()));
            assert_eq!(pair[1].previous, pair[0].hash());
            assert_eq!(places(&pair[1]), places(&pair[0]));
            assert_ne!(pair[1].shared_random, pair[0].shared_random);
        }
        assert!(all.authority(0).directory(Epoch(12)).is_some());
        let forgotten = Epoch(12 - directory::KEPT_MAX as u64);
        assert!(all.authority(0).directory(forgotten).is_none());
    }
}

#[test]
fn a_node_that_falls_silent_is_left_out_and_comes_back() {
    let mut one = Cluster::start(1, 0);
    one.upload(0..NODES, 100);
    one.run_to(5000);
    // One falls silent just too late for the next vote, and comes back after the one after.
    for (epoch, there) in [(0, 0..NODES), (1, 1..NODES), (2, 0..NODES)] {
        let begin = epoch * EPOCH_MS;
        if epoch == 0 {
            let times = VoteTimes::of(&config(1).network, Epoch(1));
            one.run_to(times.sign_of_life(0, 0.5).0 - at(0).0 + 1);
            one.silence([0]);
        } else if epoch == 2 {
            one.upload([0], begin + 1);
        }
        one.run_to(begin + EPOCH_MS * 3 / 4);
        let newest = one.newest(0).unwrap();
        assert_eq!(newest.epoch, Epoch(epoch + 1));
        assert_eq!(newest.nodes().count(), there.len(), "in epoch {epoch}");
    }
}

/// In the midst of a vote the ballots that were handed in count; no epoch is lost, whoever changes what when.
#[test]
fn an_allow_list_changes_from_the_next_ballot_on_and_more_than_half_must_admit() {
    let mut all = Cluster::start(4, 0);
    all.upload(0..NODES, 100);
    let ballots = VoteTimes::of(&config(4).network, Epoch(1)).start.0 - at(0).0;
    for epoch in 0..6u64 {
        let begin = epoch * EPOCH_MS;
        let without_first = 1..NODES;
        match epoch {
            // One of four, before the vote: three admit it still.
            1 => [0].map(|i| all.admit(i, without_first.clone())).len(),
            // A second, while ballots go around: too late for this vote.
            2 => {
                all.run_to(begin + ballots + 500);
                [1].map(|i| all.admit(i, without_first.clone())).len()
            }
            // And back again.
            4 => [0, 1].map(|i| all.admit(i, 0..NODES)).len(),
            _ => 0,
        };
        if epoch == 4 {
            all.upload([0], begin + 1);
        }
        all.run_to(begin + EPOCH_MS - 1000);
        for i in 0..4 {
            let newest = all.newest(i).unwrap();
            assert_eq!(newest.epoch, Epoch(epoch + 1), "no epoch is lost");
            let there = NODES - usize::from(epoch == 3);
            assert_eq!(newest.nodes().count(), there, "in epoch {epoch}");
        }
        assert_eq!(
            all.authority(0).counts().0,
            NODES - usize::from((1..4).contains(&epoch))
        );
    }
    all.check_signed_once();
}

#[test]
fn an_empty_layer_gets_a_mix_from_the_largest() {
    let mut one = Cluster::start(1, 0);
    one.upload(0..NODES, 100);
    one.run_to(5000);
    let before = places(&one.newest(0).unwrap());
    let in_layer = |layer| (0..MIXES).filter(|i| before[&id(*i)] == layer).collect();
    let (first, second): (Vec<_>, Vec<_>) = (in_layer(0), in_layer(1));
    one.run_to(EPOCH_MS);
    let there = first.into_iter().chain(second).collect::<Vec<_>>();
    one.silence((0..MIXES).filter(|i| !there.contains(i)));
    one.run_to(EPOCH_MS + EPOCH_MS * 3 / 4);
    let directory = one.newest(0).unwrap();
    assert_eq!(directory.epoch, Epoch(2));
    let mut sizes = [0, 1, 2].map(|l| directory.layer(l).len());
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 2]);
}

#[test]
fn nothing_is_shown_before_it_is_kept_and_the_same_is_kept_again() {
    let mut authority = start(1, 0, Vec::new(), at(0));
    upload(&mut authority, 0..NODES, at(100));
    let mut now;
    let first = loop {
        let (next, _) = authority.poll_timeout().unwrap();
        now = next.0 - at(0).0;
        authority.handle_timeout(next);
        if let Some(AuthorityEvent::Persist(record)) = authority.poll_event() {
            break record;
        }
    };
    assert!(matches!(&first, Record::Signature(Epoch(0), _)));
    assert!(authority.newest().is_none());
    authority.handle_persist_failed(at(now + 1));
    // Another descriptor in between changes nothing of what was signed.
    upload(&mut authority, [0], at(now + 2));
    assert!(authority.poll_event().is_none());
    authority.handle_timeout(at(now + 1001));
    assert!(authority.poll_event() == Some(AuthorityEvent::Persist(first.clone())));
    authority.handle_persisted(at(now + 1002));
    assert!(authority.newest().is_none(), "decided, and not yet kept");
    loop {
        match authority.poll_event() {
            Some(AuthorityEvent::Persist(Record::Directory(Epoch(0), signed))) => {
                assert!(signed.hash() == first.document().hash());
                authority.handle_persisted(at(now + 1003));
                break;
            }
            Some(_) => {}
            None => {
                let (next, _) = authority.poll_timeout().unwrap();
                now = next.0 - at(0).0;
                authority.handle_timeout(next);
            }
        }
    }
    assert!(authority.newest().is_some());
}

#[test]
fn one_of_four_is_killed_and_comes_back() {
    let mut all = Cluster::start(4, 0);
    all.upload(0..NODES, 100);
    all.run_to(8000);
    all.kill(3);
    all.run_to(EPOCH_MS);
    let first = all.newest(0).unwrap();
    assert_eq!(first.epoch, Epoch(1), "three are enough");
    assert!(all.told(0, |e| *e == AuthorityEvent::Missing(Epoch(1), vec![3])) == 1);
    // Back after the vote: it has no ballot in it, and fetches what the others decided.
    all.restart(3);
    all.run_to(EPOCH_MS + 2000);
    assert_eq!(all.newest(3).unwrap().hash(), first.hash());
    all.run_to(2 * EPOCH_MS);
    assert_eq!(all.newest(3).unwrap().hash(), all.newest(0).unwrap().hash());
    assert_eq!(all.newest(0).unwrap().epoch, Epoch(2));
    assert!(all.told(0, |e| matches!(e, AuthorityEvent::Missing(Epoch(2), _))) == 0);
}

#[test]
fn a_restart_in_every_part_of_a_vote_signs_nothing_twice_and_is_no_equivocation() {
    let times = VoteTimes::of(&config(4).network, Epoch(1));
    let (from, to) = (times.start.0 - at(0).0, times.end.0 - at(0).0);
    let round = u64::try_from(times.round.as_millis()).unwrap();
    for moment in (from - round..to).step_by(usize::try_from(round * 3 / 4).unwrap()) {
        let mut all = Cluster::start(4, 0);
        all.upload(0..NODES, 100);
        all.run_to(moment);
        all.kill(2);
        all.restart(2);
        all.run_to(2 * EPOCH_MS - 1);
        let accused = |e: &AuthorityEvent| matches!(e, AuthorityEvent::Equivocated(..));
        assert!((0..4).all(|i| all.told(i, accused) == 0), "at {moment}");
        // One signature for each epoch, and the same directories as the others.
        all.check_signed_once();
        assert_eq!(all.newest(0).unwrap().epoch, Epoch(2), "at {moment}");
        assert_eq!(all.newest(2).unwrap().hash(), all.newest(0).unwrap().hash());
    }
}

#[test]
fn below_the_threshold_there_is_nothing_and_above_it_it_goes_on() {
    let mut all = Cluster::start(4, 0);
    all.upload(0..NODES, 100);
    all.run_to(8000);
    all.kill(2);
    all.kill(3);
    all.run_to(3 * EPOCH_MS);
    assert_eq!(all.newest(0).unwrap().epoch, Epoch(0));
    let failed = |e: &AuthorityEvent| matches!(e, AuthorityEvent::Failed { .. });
    assert!(all.told(0, failed) >= 1);
    // The first directory is over. The third comes back: they vote at once, on this epoch.
    all.restart(2);
    all.run_to(3 * EPOCH_MS + 20_000);
    let newest = all.newest(0).unwrap();
    assert_eq!(newest.epoch, Epoch(3));
    assert_eq!(newest.check_time(at(3 * EPOCH_MS + 20_000)), Ok(()));
    all.check_signed_once();
}

#[test]
fn after_a_restart_it_goes_on_where_it_was() {
    let mut one = Cluster::start(1, 0);
    one.upload(0..NODES, 100);
    one.run_to(5000);
    let first = one.newest(0).unwrap();
    one.kill(0);
    one.restart(0);
    assert_eq!(one.newest(0).unwrap().hash(), first.hash());
    one.run_to(EPOCH_MS / 2 - 1);
    assert_eq!(one.newest(0).unwrap().hash(), first.hash(), "signed twice");
    one.run_to(EPOCH_MS);
    assert_eq!(one.newest(0).unwrap().check_successor_of(&first), Ok(()));
    one.check_signed_once();
}

#[test]
fn a_clock_that_goes_back_makes_no_second_directory() {
    let mut one = Cluster::start(1, 5 * EPOCH_MS);
    one.upload(0..NODES, 5 * EPOCH_MS + 1);
    one.run_to(5 * EPOCH_MS + 5000);
    let newest = one.newest(0).unwrap();
    assert_eq!(newest.epoch, Epoch(5));
    for ms in [0, EPOCH_MS, 5 * EPOCH_MS, 5 * EPOCH_MS + EPOCH_MS / 2 - 1] {
        one.turn_clock(ms);
        one.run_to(ms + 100);
        assert_eq!(one.newest(0).unwrap().hash(), newest.hash());
    }
    one.check_signed_once();
}

#[test]
fn refused_descriptors() {
    let mut authority = start(1, 0, Vec::new(), at(10 * EPOCH_MS));
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

    // Node 0's words by the key of node 1.
    let mut by_another = descriptor(0, epoch, now);
    by_another.signature = descriptor(1, epoch, now).signature;
    assert_eq!(refused(by_another), DescriptorRefused::BadSignature);

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

/// In a public network; and an authority that lets such a node pass all the same does not get it into a directory.
#[test]
fn a_node_that_not_everybody_reaches_is_refused_by_name() {
    let address = |text: &str| text.parse().unwrap();
    let authority = NetworkAuthority {
        identity: testing::authority_secret(SEED, 0).public(),
        address: address("9.9.9.9:7800"),
    };
    let schedule = config(1).network.schedule();
    let id = testing::network_id(SEED);
    let plain = Network::new(id, schedule, vec![authority], 1, Vec::new()).unwrap();
    let public = plain.clone().with_public_addresses().unwrap();
    let published = at(1000);
    let signed =
        |index: usize, change: fn(&mut directory::NodeDescriptor, SocketAddr), to: &str| {
            let mut node = descriptor(index, Epoch(0), published).descriptor;
            for (i, listener) in node
                .addresses
                .iter_mut()
                .chain(&mut node.client_addresses)
                .enumerate()
            {
                *listener = SocketAddr::from(([9, 9, 9, index as u8 + 1], 7000 + i as u16));
            }
            change(&mut node, address(to));
            let secret = testing::node_secret(SEED, index);
            SignedDescriptor::sign(node, published, &secret, &id).unwrap()
        };
    let outcome = |network: &Network, signed: SignedDescriptor| {
        let config = AuthorityConfig {
            network: network.clone(),
            ..config(1)
        };
        let (secret, keys) = (
            testing::authority_secret(SEED, 0),
            KeyRng::from_seed([1; 32]),
        );
        let mut authority = Authority::new(config, secret, Vec::new(), keys, published).unwrap();
        authority.handle_descriptor(signed, published)
    };
    let for_nodes: fn(&mut directory::NodeDescriptor, SocketAddr) = |n, a| n.addresses.push(a);
    let for_clients: fn(&mut directory::NodeDescriptor, SocketAddr) =
        |n, a| n.client_addresses.push(a);
    for private in [
        "127.0.0.1:1",
        "10.1.2.3:1",
        "192.168.0.1:1",
        "[::1]:1",
        "[fd00::1]:1",
        "169.254.1.1:1",
    ] {
        let refused = Err(DescriptorRefused::NotPublic(address(private)));
        assert_eq!(outcome(&public, signed(0, for_nodes, private)), refused);
        assert_eq!(
            outcome(&public, signed(MIXES, for_clients, private)),
            refused
        );
        // A network of one's own is a network too.
        let own = outcome(&plain, signed(0, for_nodes, private));
        assert_eq!(own, Ok(Accepted::Stored));
    }
    let good = outcome(&public, signed(0, for_nodes, "8.8.8.8:1"));
    assert_eq!(good, Ok(Accepted::Stored));
    let text = DescriptorRefused::NotPublic(address("10.1.2.3:1")).to_string();
    assert!(
        text.contains("10.1.2.3:1") && text.contains("announce"),
        "{text}"
    );

    // The tally does not rely on what authorities let pass.
    let bad = signed(0, for_nodes, "10.1.2.3:1");
    let mut nodes: Vec<_> = (1..NODES)
        .map(|i| signed(i, |_, _| {}, "8.8.8.8:1"))
        .collect();
    nodes.push(bad);
    nodes.sort_by_key(|d| d.descriptor.id());
    let mut admitted = config(1).admitted;
    admitted.sort_by_key(|a| wire::ids::NodeId::of(&a.identity));
    let ballot = Ballot {
        epoch: Epoch(1),
        previous: wire::ids::DirectoryHash([0; 32]),
        parameters: config(1).parameters,
        commitment: [0; 32],
        admitted,
        descriptors: nodes,
        suspects: Vec::new(),
    };
    for (network, there) in [(&public, NODES - 1), (&plain, NODES)] {
        let ballots = [Some(ballot.clone())];
        let times = VoteTimes {
            start: published,
            ..VoteTimes::of(network, Epoch(1))
        };
        let made = tally(network, (Epoch(1), times), &ballots, &[Some([7; 32])], None);
        assert_eq!(made.unwrap().directory.nodes().count(), there);
    }
}

#[test]
fn what_cannot_start_says_so() {
    let outcome = |config, secret, kept: Vec<SignedDirectory>| {
        let kept = kept.into_iter().map(|s| Record::Directory(Epoch(0), s));
        let keys = KeyRng::from_seed([1; 32]);
        Authority::new(config, secret, kept.collect(), keys, at(0)).err()
    };
    let secret = || testing::authority_secret(SEED, 0);
    assert_eq!(
        outcome(config(1), testing::authority_secret(SEED, 9), Vec::new()),
        Some(AuthorityError::NotListed)
    );
    let mut slow = config(1);
    slow.parameters.key_overlap = Duration::from_millis(EPOCH_MS);
    let bad = AuthorityError::BadParameter("key_overlap");
    assert_eq!(outcome(slow, secret(), Vec::new()), Some(bad));
    let mut twice = config(1);
    twice.admitted.push(twice.admitted[0]);
    let twice = outcome(twice, secret(), Vec::new());
    assert_eq!(twice, Some(AuthorityError::AdmittedTwice(id(0))));
    // Directories of a network with another schedule.
    let foreign = common::signed_by(&common::directory(), &[0]);
    let bad = outcome(config(1), secret(), vec![foreign]);
    assert!(matches!(bad, Some(AuthorityError::BadKept(_))));
    // Something that another authority signed.
    let other = common::signed_by(&common::directory(), &[1]);
    let kept = vec![Record::Signature(Epoch(12), other)];
    let keys = KeyRng::from_seed([1; 32]);
    let bad = Authority::new(config(4), secret(), kept, keys, at(0)).err();
    assert_eq!(bad, Some(AuthorityError::BadSigned));
}
