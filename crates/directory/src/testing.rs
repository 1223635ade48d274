//! Made-up networks for tests (feature `testing`). Never part of a daemon.
//!
//! Everything follows from the seed, so that a test's directory is the same next year.

use crate::document::{Directory, Family, LAYERS, NodeDescriptor, Preamble, Role, SphinxKey};
use crate::parameters::{EpochSchedule, Parameters};
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use wire::geometry::{FORMAT_SPHINX, GeometryHash};
use wire::ids::{DirectoryHash, Epoch, NetworkId};
use wire::keys::{IdentitySecret, SphinxPublic};
use wire::time::UnixTime;

/// Start of epoch 0 in test networks: 2026-01-01 00:00 UTC.
pub const GENESIS: UnixTime = UnixTime(1_767_225_600_000);

/// Epochs of one hour from [`GENESIS`].
pub fn schedule() -> EpochSchedule {
    EpochSchedule {
        genesis: GENESIS,
        length: Duration::from_secs(3600),
    }
}

/// The network id that belongs to `seed`.
pub fn network_id(seed: u64) -> NetworkId {
    NetworkId(derive(seed, "network", 0))
}

/// The identity key of node `index` (mixes of layer 0 first, then 1, 2, then gateways).
pub fn node_secret(seed: u64, index: usize) -> IdentitySecret {
    IdentitySecret::from_seed(&derive(seed, "node", index))
}

/// The identity key of authority `index`.
pub fn authority_secret(seed: u64, index: usize) -> IdentitySecret {
    IdentitySecret::from_seed(&derive(seed, "authority", index))
}

/// A node's descriptor, with keys for `epoch` and the next. Each node is a family of its own.
pub fn node(
    seed: u64,
    index: usize,
    role: Role,
    epoch: Epoch,
    mut keys: impl FnMut(usize, Epoch) -> SphinxPublic,
) -> NodeDescriptor {
    let listener = |port: u16| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port + index as u16))];
    let mut family = [0; 16];
    family.copy_from_slice(&derive(seed, "family", index)[..16]);
    NodeDescriptor {
        identity: node_secret(seed, index).public(),
        role,
        family: Family(family),
        addresses: listener(20_000),
        client_addresses: match role {
            Role::Mix => Vec::new(),
            Role::Gateway => listener(40_000),
        },
        sphinx_keys: [epoch, epoch.next()]
            .map(|epoch| SphinxKey {
                epoch,
                format: FORMAT_SPHINX,
                key: keys(index, epoch),
            })
            .to_vec(),
    }
}

/// A Sphinx public key that nobody has the secret of, for tests that send no packet.
pub fn nobodys_key(index: usize, epoch: Epoch) -> SphinxPublic {
    let mut key = derive(epoch.0, "sphinx", index);
    key[31] &= 0x7f;
    SphinxPublic(key)
}

/// A directory of 3 × `mixes_per_layer` mixes and `gateways` gateways, and their identity keys by
/// node index (mixes of layer 0 first, then 1, 2, then gateways). `keys` gives the Sphinx key of
/// node index and epoch, and is asked for `epoch` and the next.
pub fn directory(
    seed: u64,
    mixes_per_layer: usize,
    gateways: usize,
    epoch: Epoch,
    parameters: Parameters,
    keys: impl FnMut(usize, Epoch) -> SphinxPublic,
) -> (Directory, Vec<IdentitySecret>) {
    directory_on(
        schedule(),
        seed,
        (mixes_per_layer, gateways),
        epoch,
        parameters,
        keys,
    )
}

/// [`directory`] with epochs of another length; `shape` is (mixes in each layer, gateways).
pub fn directory_on(
    schedule: EpochSchedule,
    seed: u64,
    shape: (usize, usize),
    epoch: Epoch,
    parameters: Parameters,
    mut keys: impl FnMut(usize, Epoch) -> SphinxPublic,
) -> (Directory, Vec<IdentitySecret>) {
    let (mixes_per_layer, gateways) = shape;
    let mixes = LAYERS * mixes_per_layer;
    let layers = std::array::from_fn(|layer| {
        (layer * mixes_per_layer..(layer + 1) * mixes_per_layer)
            .map(|index| node(seed, index, Role::Mix, epoch, &mut keys))
            .collect()
    });
    let gateways: Vec<_> = (mixes..mixes + gateways)
        .map(|index| node(seed, index, Role::Gateway, epoch, &mut keys))
        .collect();
    let secrets = (0..mixes + gateways.len())
        .map(|index| node_secret(seed, index))
        .collect();
    let preamble = Preamble {
        network: network_id(seed),
        epoch,
        schedule,
        valid_from: schedule.start(epoch),
        valid_until: schedule.start(epoch.next().next()),
        previous: DirectoryHash([0; 32]),
        geometry: GeometryHash::current(),
        parameters,
        shared_random: derive(seed, "shared random", 0),
        withheld: 0,
    };
    let directory = Directory::new(preamble, layers, gateways)
        .expect("a test network has a mix in each layer and a gateway, all different");
    (directory, secrets)
}

fn derive(seed: u64, purpose: &str, index: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"mizzle-testing-v1");
    hash.update(seed.to_be_bytes());
    hash.update((index as u64).to_be_bytes());
    hash.update(purpose.as_bytes());
    hash.finalize().into()
}
