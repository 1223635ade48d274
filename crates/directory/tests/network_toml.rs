//! `network.toml`: the frozen text, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod common;

use common::network;
use directory::{Network, NetworkError, NetworkTomlError, quorum};

const FROZEN: &str = include_str!("vectors/network.toml");

#[test]
fn the_frozen_text_is_read_and_written() {
    assert_eq!(Network::from_toml(FROZEN).unwrap(), network(4));
    assert_eq!(network(4).to_toml(), FROZEN);
}

#[test]
fn what_is_written_is_read() {
    for n in [1, 2, 3, 7, 64] {
        assert_eq!(Network::from_toml(&network(n).to_toml()), Ok(network(n)));
    }
}

#[test]
fn wrong_texts_are_refused_by_name() {
    let refused = |from: &str, to: &str| {
        assert!(FROZEN.contains(from), "{from}");
        Network::from_toml(&FROZEN.replacen(from, to, 1)).unwrap_err()
    };
    let syntax = |from, to, word: &str| {
        let NetworkTomlError::Syntax(why) = refused(from, to) else {
            panic!("no error of syntax: {to}");
        };
        assert!(why.contains(word), "{why}");
    };
    syntax("threshold", "treshold", "treshold");
    syntax("genesis = ", "genesis = -", "genesis");
    syntax("epoch_ms = 3600000", "epoch_ms = 3600.5", "epoch_ms");
    syntax("threshold = 3\n", "", "threshold");
    syntax("127.0.0.1:7800", "authority.example:7800", "address");
    syntax("[[authority]]", "[[authority]]\nname = \"a\"", "name");

    assert_eq!(
        refused("network_id = \"", "network_id = \"00"),
        NetworkTomlError::Key("network_id")
    );
    let network = |from, to| {
        let NetworkTomlError::Network(why) = refused(from, to) else {
            panic!("no error of the network: {to}");
        };
        why
    };
    let out_of_range = NetworkError::Threshold { least: 3, most: 4 };
    assert_eq!(network("threshold = 3", "threshold = 2"), out_of_range);
    assert_eq!(network("threshold = 3", "threshold = 5"), out_of_range);
    let too_short = network("epoch_ms = 3600000", "epoch_ms = 999");
    assert_eq!(too_short, NetworkError::EpochLength);
    assert_eq!(
        network("127.0.0.1:7800", "127.0.0.1:0"),
        NetworkError::Address
    );
    let addresses = "[\"127.0.0.1:40003\", \"[::1]:40003\"]";
    assert_eq!(network(addresses, "[]"), NetworkError::Bootstrap);
}

#[test]
fn a_public_network_has_public_addresses() {
    // Where nothing is said it is not: the frozen text is read as before.
    assert!(!Network::from_toml(FROZEN).unwrap().is_public());
    let stated = FROZEN.replacen("threshold = 3", "threshold = 3\npublic = false", 1);
    assert_eq!(Network::from_toml(&stated).unwrap(), network(4));
    let public = FROZEN.replacen("threshold = 3", "threshold = 3\npublic = true", 1);
    let refused = Network::from_toml(&public).unwrap_err();
    let loopback = "127.0.0.1:7800".parse().unwrap();
    assert_eq!(
        refused,
        NetworkTomlError::Network(NetworkError::NotPublic(loopback))
    );
    let reachable = public.replace("127.0.0.1", "9.9.9.9");
    // A bootstrap gateway has one on ::1 too.
    let gateway = "[::1]:40003".parse().unwrap();
    assert_eq!(
        Network::from_toml(&reachable),
        Err(NetworkTomlError::Network(NetworkError::NotPublic(gateway)))
    );
    let reachable = reachable.replace("[::1]", "[2a00::1]");
    let network = Network::from_toml(&reachable).unwrap();
    assert!(network.is_public());
    assert_eq!(network.to_toml(), reachable);
}

#[test]
fn keys_must_be_keys_and_different() {
    let identities: Vec<_> = FROZEN
        .lines()
        .filter(|l| l.starts_with("identity"))
        .collect();
    let twice = FROZEN.replacen(identities[1], identities[0], 1);
    let refused = Network::from_toml(&twice);
    assert_eq!(
        refused,
        Err(NetworkTomlError::Network(NetworkError::Duplicate))
    );
    let weak = format!("identity = \"01{}\"", "00".repeat(31));
    let refused = Network::from_toml(&FROZEN.replacen(identities[0], &weak, 1));
    assert!(matches!(refused, Err(NetworkTomlError::Key(_))));
}

#[test]
fn quorums() {
    let expected = [
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 3),
        (5, 4),
        (6, 4),
        (7, 5),
        (10, 7),
    ];
    for (n, least) in expected {
        assert_eq!(quorum(n), least, "{n}");
    }
    // Two quorums share more than f authorities, as soon as there are 4.
    for n in 4..=64 {
        let f = (n - 1) / 3;
        assert!(2 * usize::from(quorum(n)) - n > f);
    }
}
