//! What authorities and nodes say wrongly in a vote, one by one: each has a name that says what to do, and changes nothing of
//! what the others decide. All of it together, at random: `vote.rs`.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

#[allow(dead_code, reason = "each test program uses its own part")]
#[path = "vote/ballots.rs"]
mod ballots;
mod common;

use ballots::{ballot, keys};
use common::{EPOCH, SEED, network};
use directory::testing::{authority_secret, node_secret};
use directory::vote::{
    Ballot, Phase, Statement, StatementKind, StatementRefused, Vote, VoteEvent, VoteTimes, tally,
};
use directory::{Directory, Network, SignedDescriptor};
use std::net::SocketAddr;
use wire::ids::Epoch;
use wire::time::UnixTime;

/// Authority 0 of four, with a ballot, while ballots go around.
fn under_way(network: &Network) -> (Vote, VoteTimes) {
    let times = VoteTimes::of(network, EPOCH);
    let own = (0, authority_secret(SEED, 0));
    let mut vote = Vote::new(network.clone(), EPOCH, own, None, None);
    let before = UnixTime(times.start.0 - 1000);
    vote.handle_ballot(
        ballot(network, (EPOCH, 0), 0),
        &mut keys(0, (EPOCH, 0)),
        before,
    );
    vote.handle_timeout(times.start);
    assert_eq!(vote.phase(), Phase::Ballots);
    (vote, times)
}

/// A ballot of authority 1 with signatures of these.
fn said(network: &Network, by: &[u8]) -> Statement {
    let mut statement = Statement {
        kind: StatementKind::Ballot,
        epoch: EPOCH,
        attempt: 0,
        author: 1,
        payload: ballot(network, (EPOCH, 0), 1).encode().into(),
        signatures: Vec::new(),
    };
    for signer in by {
        let secret = authority_secret(SEED, usize::from(*signer));
        statement.sign_for_test(network, *signer, &secret);
    }
    statement
}

/// Told at the end of the ballots: whose did not count.
fn missing(vote: &mut Vote, times: &VoteTimes) -> Vec<u8> {
    vote.handle_timeout(times.reveals());
    let mut missing = Vec::new();
    while let Some(event) = vote.poll_event() {
        if let VoteEvent::Missing(who) = event {
            missing = who;
        }
    }
    missing
}

#[test]
fn a_statement_that_does_not_count_has_a_name_and_the_operator_reads_who_is_missing() {
    let network = network(4);
    let round = VoteTimes::of(&network, EPOCH).round;
    let own = |change: fn(&mut Statement)| {
        let mut statement = said(&network, &[1]);
        change(&mut statement);
        statement
    };
    let cases = [
        // Late: in the second round with its author's signature alone, or after the last with all.
        (said(&network, &[1]), 1, Some(StatementRefused::TooLate)),
        (
            said(&network, &[1, 2, 3]),
            2,
            Some(StatementRefused::TooLate),
        ),
        // Another's vote, in its name or in one's own.
        (said(&network, &[2]), 0, Some(StatementRefused::Unsigned)),
        (own(|s| s.author = 2), 0, Some(StatementRefused::Unsigned)),
        (
            own(|s| {
                s.author = 2;
                s.signatures[0].0 = 2;
            }),
            0,
            Some(StatementRefused::BadSignature),
        ),
        (
            own(|s| s.payload = b"other words".as_slice().into()),
            0,
            Some(StatementRefused::BadSignature),
        ),
        // An old one, of another epoch or of another vote on this one, and one under a new date.
        (
            own(|s| s.epoch = Epoch(EPOCH.0 - 1)),
            0,
            Some(StatementRefused::OtherEpoch),
        ),
        (
            own(|s| s.attempt = 1),
            0,
            Some(StatementRefused::OtherEpoch),
        ),
        // By nobody that is known.
        (
            own(|s| s.author = 4),
            0,
            Some(StatementRefused::UnknownAuthority),
        ),
        // And what counts: in its round, or later with the signature of one that passed it on.
        (said(&network, &[1]), 0, None),
        (said(&network, &[1, 3]), 1, None),
    ];
    for (number, (statement, rounds_late, refused)) in cases.into_iter().enumerate() {
        let (mut vote, times) = under_way(&network);
        let at = times.start.saturating_add(round * rounds_late + round / 2);
        let taken = vote.handle_statement(statement, at);
        assert_eq!(taken, refused.map_or(Ok(true), Err), "case {number}");
        let others: &[u8] = if refused.is_some() {
            &[1, 2, 3]
        } else {
            &[2, 3]
        };
        assert_eq!(missing(&mut vote, &times), others, "case {number}");
    }
    for why in [
        StatementRefused::TooLate,
        StatementRefused::Unsigned,
        StatementRefused::BadSignature,
        StatementRefused::OtherEpoch,
        StatementRefused::UnknownAuthority,
    ] {
        assert!(why.to_string().len() > 20, "{why}");
    }
}

#[test]
fn two_ballots_of_one_are_a_proof_and_none_of_them_counts() {
    let network = network(4);
    let (mut vote, times) = under_way(&network);
    let mut other = said(&network, &[]);
    other.payload = ballot(&network, (EPOCH, 0), 2).encode().into();
    other.sign_for_test(&network, 1, &authority_secret(SEED, 1));
    let now = times.start.saturating_add(times.round / 4);
    for statement in [said(&network, &[1]), other] {
        assert_eq!(vote.handle_statement(statement, now), Ok(true));
    }
    // A third, and more: known to be a cheat already.
    let third = {
        let mut third = said(&network, &[]);
        third.payload = ballot(&network, (EPOCH, 0), 3).encode().into();
        third.sign_for_test(&network, 1, &authority_secret(SEED, 1));
        third
    };
    assert_eq!(vote.handle_statement(third, now), Ok(false));
    let Some(VoteEvent::Equivocated(proof)) = vote.poll_event() else {
        panic!("no proof")
    };
    assert_eq!((proof.one.author, proof.other.author), (1, 1));
    assert_eq!(missing(&mut vote, &times), [1, 2, 3]);
}

/// What four ballots come to, where the last has these descriptors besides.
fn decided(network: &Network, besides: Vec<SignedDescriptor>) -> Directory {
    let mut ballots: Vec<Option<Ballot>> = (0..4)
        .map(|i| Some(ballot(network, (EPOCH, 0), i)))
        .collect();
    let last = ballots[3].as_mut().unwrap();
    for descriptor in besides {
        let id = descriptor.descriptor.id();
        last.descriptors.retain(|d| d.descriptor.id() != id);
        last.descriptors.push(descriptor);
    }
    last.descriptors.sort_by_key(|d| d.descriptor.id());
    let times = VoteTimes::of(network, EPOCH);
    let shares = [Some([7; 32]); 4];
    let made = tally(network, (EPOCH, times), &ballots, &shares, None);
    made.unwrap().directory
}

#[test]
fn a_ballot_with_false_descriptors_changes_nothing_of_the_directory() {
    let network = network(4);
    let good = decided(&network, Vec::new());
    let times = VoteTimes::of(&network, EPOCH);
    let newest = UnixTime(times.start.0 - 1);
    let honest = ballot(&network, (EPOCH, 0), 0).descriptors;
    let of = |index: usize| {
        let identity = node_secret(SEED, index).public();
        let found = honest.iter().find(|d| d.descriptor.identity == identity);
        found.unwrap().descriptor.clone()
    };
    let elsewhere: SocketAddr = "192.0.2.77:9".parse().unwrap();
    let mut stolen = of(0);
    stolen.addresses = vec![elsewhere];

    // Node 0 by the key of node 1: what is not signed by its own is not gone by.
    let mut forged =
        SignedDescriptor::sign(stolen.clone(), newest, &node_secret(SEED, 0), network.id())
            .unwrap();
    let by_another = SignedDescriptor {
        signature: SignedDescriptor::sign(of(1), newest, &node_secret(SEED, 1), network.id())
            .unwrap()
            .signature,
        ..forged.clone()
    };
    forged.signature[3] ^= 1;
    // Good, but of long ago, and so signed that it would be the newest.
    let old = UnixTime(times.start.0 - 1_000_000);
    let old = SignedDescriptor::sign(stolen.clone(), old, &node_secret(SEED, 0), network.id());
    let ahead = UnixTime(times.start.0 + 200_000);
    let ahead = SignedDescriptor::sign(stolen.clone(), ahead, &node_secret(SEED, 0), network.id());
    // The same again.
    let again = honest[2].clone();
    // Nobody admitted it.
    let mut stranger = of(1);
    stranger.identity = node_secret(SEED, 30).public();
    let stranger =
        SignedDescriptor::sign(stranger, newest, &node_secret(SEED, 30), network.id()).unwrap();
    for (what, descriptor) in [
        ("by another's key", by_another),
        ("a wrong signature", forged),
        ("too old", old.unwrap()),
        ("from the future", ahead.unwrap()),
        ("a duplicate", again),
        ("a stranger", stranger),
    ] {
        let made = decided(&network, vec![descriptor]);
        assert_eq!(made.hash(), good.hash(), "{what}");
    }
    // Its own newest word does change it.
    let own = SignedDescriptor::sign(stolen, newest, &node_secret(SEED, 0), network.id());
    let made = decided(&network, vec![own.unwrap()]);
    assert_ne!(made.hash(), good.hash());
}
