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
    static MADE: RefCell<BTreeMap<(u64, bool, u64), Ballot>> = const { RefCell::new(BTreeMap::new()) };
}

/// A ballot; `variant` (below 7) makes it differ from others without making it invalid. Previous and
/// commitment are to be filled in, and suspects.
pub(crate) fn ballot(
    network: &directory::Network,
    (epoch, attempt): (Epoch, u32),
    variant: u64,
) -> Ballot {
    let (again, variant) = (attempt > 0, variant % 7);
    MADE.with_borrow_mut(|made| {
        let known = made.entry((epoch.0, again, variant));
        known
            .or_insert_with(|| make(network, (epoch, again), variant))
            .clone()
    })
}

/// Mixes that an honest author suspects: each of three by two thirds of them, the fourth by nobody.
pub(crate) fn suspects(author: usize, epoch: Epoch) -> Vec<NodeId> {
    let suspected = |j: &usize| !(author + j + epoch.0 as usize).is_multiple_of(3);
    let mut all: Vec<NodeId> = (0..MIXES - 1).filter(suspected).map(id).collect();
    all.sort_unstable();
    all
}

/// What liars say: everybody, and one that does not exist.
pub(crate) fn all_suspects() -> Vec<NodeId> {
    let mut all: Vec<NodeId> = (0..NODES + 1).map(id).collect();
    all.sort_unstable();
    all
}

fn id(index: usize) -> NodeId {
    NodeId::of(&node_secret(SEED, index).public())
}

fn make(network: &directory::Network, (epoch, again): (Epoch, bool), variant: u64) -> Ballot {
    // So that they count when the vote begins.
    let before = if again { 60_000 } else { 1_300_000 };
    let said = network.schedule().start(epoch).0 - before;
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
        let published = UnixTime(said + (variant + i as u64) * 1_000);
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

/// The randomness of `author`'s ballot in one vote on `epoch`.
pub(crate) fn keys(author: usize, (epoch, attempt): (Epoch, u32)) -> KeyRng {
    let mut seed = [author as u8 + 1 + 16 * (epoch.0 % 16) as u8; 32];
    seed[1] = attempt as u8;
    KeyRng::from_seed(seed)
}

/// What [`keys`] gives for a share.
pub(crate) fn share(author: usize, vote: (Epoch, u32)) -> [u8; 32] {
    keys(author, vote).bytes()
}
