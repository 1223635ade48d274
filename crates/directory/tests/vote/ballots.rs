//! What authorities of the model vote for: a small network, of which each may have heard another version.

use crate::common::SEED;
use directory::testing::{nobodys_key, node, node_secret};
use directory::vote::Ballot;
use directory::{Admitted, Parameters, Role, SignedDescriptor};
use std::cell::RefCell;
use std::collections::BTreeMap;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::rng::KeyRng;
use wire::time::UnixTime;

const MIXES: usize = 4;
const NODES: usize = 5;

thread_local! {
    /// Signing the same descriptors again in each schedule would be most of the work.
    static MADE: RefCell<BTreeMap<(u64, u64), Ballot>> = const { RefCell::new(BTreeMap::new()) };
}

/// A ballot; `variant` (below 7) makes it differ from others without making it invalid. Previous and
/// commitment are to be filled in.
pub(crate) fn ballot(network: &directory::Network, epoch: Epoch, variant: u64) -> Ballot {
    MADE.with_borrow_mut(|made| {
        let known = made.entry((epoch.0, variant % 7));
        known
            .or_insert_with(|| make(network, epoch, variant % 7))
            .clone()
    })
}

fn make(network: &directory::Network, epoch: Epoch, variant: u64) -> Ballot {
    let start = network.schedule().start(epoch);
    let role = |i: usize| if i < MIXES { Role::Mix } else { Role::Gateway };
    let mut admitted = Vec::new();
    let mut descriptors = Vec::new();
    for i in 0..NODES {
        let descriptor = node(SEED, i, role(i), epoch, nobodys_key);
        admitted.push(Admitted {
            identity: descriptor.identity,
            role: role(i),
            family: descriptor.family,
        });
        let published = UnixTime(start.0 - 2_600_000 + (variant + i as u64) * 1_000);
        let signed =
            SignedDescriptor::sign(descriptor, published, &node_secret(SEED, i), network.id());
        descriptors.push(signed.unwrap());
    }
    admitted.sort_by_key(|a| NodeId::of(&a.identity));
    descriptors.sort_by_key(|d| d.descriptor.id());
    Ballot {
        epoch,
        previous: DirectoryHash([0; 32]),
        parameters: Parameters::localnet(),
        commitment: [0; 32],
        admitted,
        descriptors,
        suspects: Vec::new(),
    }
}

/// The randomness of `author`'s ballot for `epoch`.
pub(crate) fn keys(author: usize, epoch: Epoch) -> KeyRng {
    KeyRng::from_seed([author as u8 + 1 + 16 * (epoch.0 % 16) as u8; 32])
}

/// What [`keys`] gives for a share.
pub(crate) fn share(author: usize, epoch: Epoch) -> [u8; 32] {
    keys(author, epoch).bytes()
}
