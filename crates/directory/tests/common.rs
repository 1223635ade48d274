//! A small network and its authorities, shared by the test programs of this folder.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
#![allow(dead_code, reason = "each test program uses its own part")]

use directory::testing;
use directory::{
    Bootstrap, Directory, EpochSchedule, Network, NetworkAuthority, Parameters, SignedDirectory,
    quorum,
};
use wire::ids::Epoch;

pub(crate) const SEED: u64 = 7;
pub(crate) const EPOCH: Epoch = Epoch(12);

/// `n` authorities at the least threshold.
pub(crate) fn network(n: usize) -> Network {
    network_on(testing::schedule(), n)
}

pub(crate) fn network_on(schedule: EpochSchedule, n: usize) -> Network {
    let authorities = (0..n).map(|i| NetworkAuthority {
        identity: testing::authority_secret(SEED, i).public(),
        address: format!("127.0.0.1:{}", 7800 + i).parse().unwrap(),
    });
    let bootstrap = Bootstrap {
        identity: testing::node_secret(SEED, 3).public(),
        client_addresses: vec![
            "127.0.0.1:40003".parse().unwrap(),
            "[::1]:40003".parse().unwrap(),
        ],
    };
    Network::new(
        testing::network_id(SEED),
        schedule,
        authorities.collect(),
        quorum(n),
        vec![bootstrap],
    )
    .unwrap()
}

/// One mix in each layer and one gateway.
pub(crate) fn directory() -> Directory {
    directory_of(EPOCH)
}

pub(crate) fn directory_of(epoch: Epoch) -> Directory {
    let parameters = Parameters::localnet();
    testing::directory(SEED, 1, 1, epoch, parameters, testing::nobodys_key).0
}

/// Signed by the authorities of these indices.
pub(crate) fn signed_by(directory: &Directory, indices: &[u8]) -> SignedDirectory {
    let mut parts = indices.iter().map(|i| {
        let secret = testing::authority_secret(SEED, usize::from(*i));
        SignedDirectory::sign(directory, *i, &secret)
    });
    let mut signed = parts.next().unwrap();
    for other in parts {
        assert!(signed.merge(&other));
    }
    signed
}
