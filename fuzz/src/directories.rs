//! Directories over one that is held, and what authorities send each other.

use directory::testing::{self, authority_secret, nobodys_key};
use directory::vote::{Ballot, Statement, StatementKind, Vote, VoteTimes, commitment};
use directory::{
    Admitted, Bootstrap, Directory, Network, NetworkAuthority, Parameters, Role, SignedDescriptor,
    SignedDirectory, SignedReport, SplitProof, quorum,
};
use std::sync::OnceLock;
use std::time::Duration;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::time::UnixTime;

const SEED: u64 = 7;
const EPOCH: Epoch = Epoch(12);

fn network(n: usize) -> Network {
    let authorities = (0..n).map(|i| NetworkAuthority {
        identity: authority_secret(SEED, i).public(),
        address: ([127, 0, 0, 1], 7800 + i as u16).into(),
    });
    let bootstrap = Bootstrap {
        identity: testing::node_secret(SEED, 3).public(),
        client_addresses: vec![([127, 0, 0, 1], 40_003).into()],
    };
    let schedule = testing::schedule();
    let id = testing::network_id(SEED);
    Network::new(
        id,
        schedule,
        authorities.collect(),
        quorum(n),
        vec![bootstrap],
    )
    .expect("a test network is possible")
}

fn directory(epoch: Epoch) -> Directory {
    testing::directory(SEED, 1, 1, epoch, Parameters::localnet(), nobodys_key).0
}

/// A report against the directory of the frozen ones: it is of a node of that, or has a name.
pub(crate) fn report(signed: &SignedReport) {
    static MAP: OnceLock<Directory> = OnceLock::new();
    let map = MAP.get_or_init(|| {
        testing::directory(SEED, 2, 1, EPOCH, Parameters::localnet(), nobodys_key).0
    });
    match signed.verify(&map.network, map) {
        Ok(()) => assert!(map.position(&NodeId::of(&signed.reporter)).is_some()),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// Any body, signed by the one authority of its network.
pub fn signed_body(body: &[u8]) -> SignedDirectory {
    let bytes = [&(body.len() as u32).to_be_bytes(), body, &[0]].concat();
    let mut signed =
        SignedDirectory::decode(&bytes).expect("a short body is no longer than one may be");
    signed.sign_for_test(&testing::network_id(SEED), 0, &authority_secret(SEED, 0));
    signed
}

/// A signed directory against one that is held: the authority is hostile and signs whatever the input makes
/// of a good successor. The input is changes to it: place (2), byte (1); one behind the end makes it longer.
/// What is accepted is of this network and of no earlier epoch, valid now, no second one of the held
/// epoch, and reads as it was written.
pub fn directory_chain(data: &[u8]) {
    static BASE: OnceLock<(Network, Directory, Vec<u8>)> = OnceLock::new();
    let (network, held, good) = BASE.get_or_init(|| {
        let (held, mut next) = (directory(EPOCH), directory(EPOCH.next()));
        next.previous = held.hash();
        (network(1), held, next.encode_body())
    });
    let mut body = good.clone();
    for change in data.chunks_exact(3).take(64) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        match body.get_mut(at) {
            Some(byte) => *byte = change[2],
            None => body.push(change[2]),
        }
    }
    let signed = signed_body(&body);
    let schedule = network.schedule();
    let now = UnixTime(schedule.start(EPOCH.next()).0 + 1000);
    match signed.accept(network, Some(held), now) {
        Ok(accepted) => {
            assert!(accepted.network == *network.id() && accepted.schedule == schedule);
            assert!(accepted.epoch >= held.epoch);
            assert!(accepted.epoch != held.epoch || accepted.hash() == held.hash());
            assert!(accepted.epoch != held.epoch.next() || accepted.previous == held.hash());
            assert!((accepted.valid_from..accepted.valid_until).contains(&now));
            assert!(accepted.encode_body() == body);
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// What authorities send each other: what can be read has one encoding, and a vote under way takes it or
/// leaves it. The first byte says what it is, the second when it comes.
pub fn vote(data: &[u8]) {
    let [choice, when, data @ ..] = data else {
        return;
    };
    static NETWORK: OnceLock<Network> = OnceLock::new();
    let network = NETWORK.get_or_init(|| network(4));
    let times = VoteTimes::of(network, EPOCH);
    let now = times
        .start
        .saturating_add(times.round / 16 * u32::from(*when));
    let under_way = || {
        let own = (0, authority_secret(SEED, 0));
        let mut vote = Vote::new(network.clone(), EPOCH, own, None, None);
        vote.handle_timeout(times.start);
        vote
    };
    match choice % 4 {
        0 => {
            if let Ok(statement) = Statement::decode(data) {
                assert!(statement.encode() == data);
                let mut vote = under_way();
                let _ = vote.handle_statement(statement, now);
                vote.handle_timeout(times.end.saturating_add(Duration::from_secs(1)));
                while vote.poll_event().is_some() || vote.poll_transmit().is_some() {}
            }
        }
        1 => {
            if let Ok(ballot) = Ballot::decode(data) {
                assert!(ballot.encode() == data);
            }
        }
        2 => {
            if let Ok(proof) = SplitProof::decode(data) {
                assert!(proof.encode() == data);
                let _ = proof.verify(network);
            }
        }
        _ => {
            if let Ok(signed) = SignedDirectory::decode(data) {
                under_way().handle_signature(signed, now);
            }
        }
    }
}

/// One good input of each kind for [`vote`].
pub fn vote_seeds() -> Vec<Vec<u8>> {
    let network = network(4);
    let node = testing::node(SEED, 0, Role::Mix, EPOCH, nobodys_key);
    let admitted = Admitted {
        identity: node.identity,
        role: Role::Mix,
        family: node.family,
    };
    // So that it counts.
    let published = UnixTime(VoteTimes::of(&network, EPOCH).start.0 - 60_000);
    let secret = testing::node_secret(SEED, 0);
    let signed = SignedDescriptor::sign(node, published, &secret, network.id());
    let ballot = Ballot {
        epoch: EPOCH,
        previous: DirectoryHash([0; 32]),
        parameters: Parameters::localnet(),
        commitment: commitment(&network, EPOCH, 1, &[5; 32]),
        admitted: vec![admitted],
        descriptors: signed.into_iter().collect(),
        suspects: vec![NodeId::of(&secret.public())],
    };
    assert!(
        ballot
            .descriptors
            .iter()
            .all(|d| d.descriptor.id() == NodeId::of(&secret.public()))
    );
    let statement = |kind, payload: Vec<u8>, by: &[u8]| {
        let mut statement = Statement {
            kind,
            epoch: EPOCH,
            attempt: 0,
            author: 1,
            payload: payload.into(),
            signatures: Vec::new(),
        };
        for i in by {
            let secret = authority_secret(SEED, usize::from(*i));
            statement.sign_for_test(&network, *i, &secret);
        }
        statement.encode()
    };
    let document = |epoch: Epoch, loops: u32| {
        let mut directory = directory(epoch);
        directory.parameters.inbox_period += loops;
        let mut signed = SignedDirectory::sign(&directory, 0, &authority_secret(SEED, 0));
        for i in 1..3u8 {
            signed.sign_for_test(network.id(), i, &authority_secret(SEED, usize::from(i)));
        }
        signed
    };
    let tagged = |choice: u8, when: u8, bytes: Vec<u8>| [&[choice, when][..], &bytes].concat();
    vec![
        tagged(
            0,
            1,
            statement(StatementKind::Ballot, ballot.encode(), &[1]),
        ),
        tagged(
            0,
            17,
            statement(StatementKind::Ballot, ballot.encode(), &[1, 3]),
        ),
        tagged(0, 33, statement(StatementKind::Reveal, vec![5; 32], &[1])),
        tagged(1, 0, ballot.encode()),
        tagged(
            2,
            0,
            SplitProof::new(document(EPOCH, 0), document(EPOCH, 1)).encode(),
        ),
        tagged(3, 70, document(EPOCH, 0).encode()),
    ]
}
