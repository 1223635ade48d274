//! A directory of made-up gateways, and the choice among them.

use super::super::select::gateways;
use directory::{Directory, EpochSchedule, Family, NodeDescriptor, Parameters, Preamble, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NetworkId, NodeId};
use wire::keys::IdentitySecret;
use wire::rng::KeyRng;
use wire::time::UnixTime;

fn node(seed: u8, role: Role, family: u8) -> NodeDescriptor {
    NodeDescriptor {
        identity: IdentitySecret::from_seed(&[seed; 32]).public(),
        role,
        family: Family([family; 16]),
        addresses: Vec::new(),
        client_addresses: Vec::new(),
        sphinx_keys: Vec::new(),
    }
}

pub(super) fn gateway(n: u8) -> NodeId {
    node(100 + n, Role::Gateway, n).id()
}

/// Gateway n of family `families[n]`.
pub(super) fn directory(families: &[u8]) -> Directory {
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
        parameters: Parameters::localnet(),
        shared_random: [0; 32],
        withheld: 0,
    };
    let layers = [1, 2, 3].map(|n| vec![node(n, Role::Mix, 200 + n)]);
    let gateways = families.iter().zip(0..);
    let gateways = gateways.map(|(f, n)| node(100 + n, Role::Gateway, *f));
    Directory::new(preamble, layers, gateways.collect()).unwrap()
}

#[test]
fn families_first_and_never_the_entry_or_one_to_avoid() {
    // Two of each family; gateway 0 is the entry, 1 is there already, 2 is to be avoided.
    let directory = directory(&[0, 0, 1, 1, 2, 2, 3, 3]);
    let (entry, present) = (gateway(0), [gateway(1)]);
    let avoid = BTreeSet::from([gateway(2)]);
    let mut rng = KeyRng::from_seed([1; 32]);
    let mut often: BTreeMap<NodeId, u32> = BTreeMap::new();
    for _ in 0..2000 {
        let three = gateways(&directory, &entry, &avoid, &present, 3, &mut rng);
        let families: BTreeSet<u8> = three
            .iter()
            .map(|id| directory.node(id).unwrap().family.0[0])
            .collect();
        assert_eq!(families, BTreeSet::from([1, 2, 3]));
        three
            .into_iter()
            .for_each(|id| *often.entry(id).or_default() += 1);
    }
    assert_eq!(often.remove(&gateway(3)), Some(2000));
    assert_eq!(often.len(), 4);
    // 1000 expected, standard deviation 22.
    assert!(often.values().all(|n| n.abs_diff(1000) < 130), "{often:?}");
    let all = gateways(&directory, &entry, &avoid, &present, 9, &mut rng);
    assert_eq!(all.len(), 5);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 5);
    assert!(gateways(&directory, &entry, &avoid, &present, 0, &mut rng).is_empty());
}
