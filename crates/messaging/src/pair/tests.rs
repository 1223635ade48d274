//! Both ends derive the same; a gateway that leaves moves nothing else; frozen derivations.

use super::*;
use directory::{EpochSchedule, Family, NodeDescriptor, Parameters, Preamble, Role};
use std::time::Duration;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch};
use wire::keys::IdentitySecret;

fn key(seed: u8) -> IdentityPublic {
    IdentitySecret::from_seed(&[seed; 32]).public()
}

fn node(seed: u8, role: Role, family: u8) -> NodeDescriptor {
    NodeDescriptor {
        identity: key(seed),
        role,
        family: Family([family; 16]),
        addresses: Vec::new(),
        client_addresses: Vec::new(),
        sphinx_keys: Vec::new(),
    }
}

/// Gateways as (seed, family).
fn directory(gateways: &[(u8, u8)]) -> Directory {
    let preamble = Preamble {
        network: NetworkId([7; 32]),
        epoch: Epoch(0),
        schedule: EpochSchedule {
            genesis: UnixTime(1000),
            length: Duration::from_secs(10),
        },
        valid_from: UnixTime(0),
        valid_until: UnixTime(u64::MAX),
        previous: DirectoryHash([0; 32]),
        geometry: GeometryHash::current(),
        parameters: Parameters {
            inbox_period: 4,
            ..Parameters::localnet()
        },
        shared_random: [0; 32],
        withheld: 0,
    };
    let layers = [1, 2, 3].map(|n| vec![node(n, Role::Mix, n)]);
    let gateways = gateways.iter().map(|(s, f)| node(*s, Role::Gateway, *f));
    Directory::new(preamble, layers, gateways.collect()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn frozen_derivations() {
    let secret = PairSecret::new(&[0x11; 32], &NetworkId([7; 32]), &key(50), &key(51));
    let address = secret.address(&key(51), 3, NodeId([9; 28]));
    let score = secret.derive("mizzle-pair-gateway-v1", &key(51), 3, &NodeId([9; 28]));
    let got = [
        hex(secret.expose()),
        hex(&secret.rank()),
        hex(&address.inbox.0),
        hex(&address.token.0),
        hex(&score[..]),
    ];
    let vectors = include_str!("../../tests/vectors/pair.txt");
    let frozen = vectors.lines().filter_map(|l| l.split_once(" = "));
    let names = ["secret", "rank", "inbox", "token", "score"];
    let got: Vec<_> = names
        .into_iter()
        .zip(got.iter().map(String::as_str))
        .collect();
    assert_eq!(frozen.collect::<Vec<_>>(), got);
}

#[test]
fn every_part_of_the_derivation_counts() {
    let network = NetworkId([7; 32]);
    let secret = PairSecret::new(&[0x11; 32], &network, &key(50), &key(51));
    let inbox = |s: &PairSecret, reader, period, gateway| {
        let address = s.address(&key(reader), period, NodeId([gateway; 28]));
        assert!(address.inbox.0 != address.token.0);
        address.inbox
    };
    let other = PairSecret::new(&[0x11; 32], &network, &key(51), &key(50));
    let all = [
        inbox(&secret, 51, 3, 9),
        inbox(&secret, 50, 3, 9),
        inbox(&secret, 51, 4, 9),
        inbox(&secret, 51, 3, 8),
        inbox(&other, 51, 3, 9),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b));
    }
}

#[test]
fn a_gateway_that_leaves_moves_nothing_else() {
    let secret = PairSecret::from_bytes([3; 32]);
    let all: Vec<(u8, u8)> = (0..12).map(|n| (100 + n, n)).collect();
    let full = secret.ranking(&key(1), 0, &directory(&all));
    assert_eq!(full.len(), CANDIDATES_MAX);
    for (index, gone) in full.iter().enumerate() {
        let rest: Vec<_> = all
            .iter()
            .copied()
            .filter(|(s, f)| node(*s, Role::Gateway, *f).id() != *gone)
            .collect();
        let ranking = secret.ranking(&key(1), 0, &directory(&rest));
        let mut expected = full.clone();
        expected.remove(index);
        assert_eq!(ranking[..CANDIDATES_MAX - 1], expected);
    }
}

#[test]
fn a_reader_takes_two_operators_and_never_its_entry() {
    let directory = directory(&[(100, 1), (101, 1), (102, 2), (103, 2)]);
    let id = |seed: u8| NodeId::of(&key(seed));
    let ranking = [id(100), id(101), id(102), id(103)];
    let choice = |entry: u8| reader_choice(&ranking, &id(entry), &directory);
    assert_eq!(choice(99), [id(100), id(102)]);
    assert_eq!(choice(100), [id(101), id(102)]);
    assert_eq!(choice(102), [id(100), id(103)]);
    let one_family = reader_choice(&ranking[..2], &id(99), &directory);
    assert_eq!(one_family, [id(100), id(101)]);
    assert_eq!(reader_choice(&ranking[..1], &id(99), &directory), [id(100)]);
    assert_eq!(reader_choice(&ranking[..1], &id(100), &directory), []);
}

#[test]
fn periods_are_whole_epochs() {
    let directory = directory(&[(100, 1)]);
    let periods = Periods(&directory);
    assert_eq!(periods.start(2), UnixTime(1000 + 80_000));
    assert_eq!(periods.at(UnixTime(1000 + 79_999)), 1);
    assert_eq!(periods.at(UnixTime(1000 + 80_000)), 2);
    assert_eq!(periods.at(UnixTime(0)), 0);
    assert_eq!(periods.ahead(1), UnixTime(1000 + 70_000));
}
