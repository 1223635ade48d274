//! Two directories of one epoch: what they prove, and what proves nothing.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, which writes its vector and may fail by panic"
)]

mod common;

use common::{EPOCH, SEED, directory, directory_of, network, signed_by};
use directory::testing::authority_secret;
use directory::{Directory, Split, SplitProof, SplitRefused, hex};
use proptest::prelude::*;
use wire::ids::NetworkId;

const FROZEN: &str = include_str!("vectors/split.txt");

/// Another directory of the same epoch.
fn other() -> Directory {
    let mut d = directory();
    d.shared_random = [9; 32];
    d
}

fn proof(one: &[u8], two: &[u8]) -> SplitProof {
    SplitProof::new(signed_by(&directory(), one), signed_by(&other(), two))
}

#[test]
fn two_valid_ones_prove_who_signed_both() {
    let proof = proof(&[0, 1, 2], &[1, 2, 3]);
    let split = proof.verify(&network(4)).unwrap();
    let mut hashes = [
        signed_by(&directory(), &[0]).hash(),
        signed_by(&other(), &[0]).hash(),
    ];
    hashes.sort_by_key(|h| h.0);
    let expected = Split {
        epoch: EPOCH,
        hashes,
        culprits: vec![1, 2],
        both_valid: true,
    };
    assert_eq!(split, expected);
}

#[test]
fn one_signature_on_each_is_enough_against_its_author() {
    let split = proof(&[3], &[3]).verify(&network(4)).unwrap();
    assert_eq!((split.culprits, split.both_valid), (vec![3], false));
}

#[test]
fn what_proves_nothing_says_why() {
    let network = network(4);
    let refused = |proof: SplitProof| proof.verify(&network).unwrap_err();
    let all = [0, 1, 2];
    let same = SplitProof::new(signed_by(&directory(), &all), signed_by(&directory(), &[3]));
    assert_eq!(refused(same), SplitRefused::SameDirectory);
    let next = signed_by(&directory_of(EPOCH.next()), &all);
    let epochs = SplitProof::new(signed_by(&directory(), &all), next);
    assert_eq!(refused(epochs), SplitRefused::DifferentEpochs);
    assert_eq!(
        refused(proof(&[0, 1], &[2, 3])),
        SplitRefused::NobodySignedBoth
    );
    let mut forged = signed_by(&other(), &[0]);
    forged.sign_for_test(network.id(), 1, &authority_secret(SEED, 2));
    let forged = SplitProof::new(signed_by(&directory(), &all), forged);
    assert!(matches!(refused(forged), SplitRefused::Unsigned(_)));
    let mut elsewhere = directory();
    elsewhere.network = NetworkId([1; 32]);
    let elsewhere = SplitProof::new(signed_by(&elsewhere, &all), signed_by(&other(), &all));
    assert!(matches!(refused(elsewhere), SplitRefused::Unsigned(_)));
    for why in [SplitRefused::SameDirectory, SplitRefused::NobodySignedBoth] {
        assert!(!why.to_string().is_empty());
    }
}

#[test]
fn the_frozen_proof_still_proves() {
    let (culprits, digits) = FROZEN.lines().last().unwrap().split_once('\t').unwrap();
    let fresh = proof(&[0, 1, 2], &[1, 2, 3]).encode();
    assert_eq!(hex::encode(&fresh), digits);
    let split = SplitProof::decode(&fresh)
        .unwrap()
        .verify(&network(4))
        .unwrap();
    assert_eq!(format!("{:?}", split.culprits), culprits);
    // Every truncation and every single bit: refused, or it proves nothing.
    for len in 0..fresh.len() {
        assert!(SplitProof::decode(&fresh[..len]).is_err(), "at {len}");
    }
    assert!(SplitProof::decode(&[&fresh[..], &[0]].concat()).is_err());
    for bit in (0..fresh.len() * 8).step_by(7) {
        let mut bad = fresh.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let proves = SplitProof::decode(&bad).is_ok_and(|p| p.verify(&network(4)).is_ok());
        assert!(!proves, "bit {bit}");
    }
}

#[test]
#[ignore = "writes the vector"]
fn write() {
    if std::env::var_os("MIZZLE_WRITE_VECTORS").is_none() {
        return;
    }
    let digits = hex::encode(&proof(&[0, 1, 2], &[1, 2, 3]).encode());
    let text = format!(
        "# who signed both, tab, bytes. See docs/spec/directory.md, Vectors.\n[1, 2]\t{digits}\n"
    );
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/");
    std::fs::write(format!("{folder}split.txt"), text).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    /// Whoever signed what: the culprits are those in both, in either order of the two; nobody else.
    #[test]
    fn culprits_are_those_who_signed_both(one in 1u8..16, two in 1u8..16, turned: bool) {
        let of = |bits: u8| (0..4).filter(|i| bits >> i & 1 == 1).collect::<Vec<u8>>();
        let (a, b) = (signed_by(&directory(), &of(one)), signed_by(&other(), &of(two)));
        let proof = if turned { SplitProof::new(b, a) } else { SplitProof::new(a, b) };
        let again = SplitProof::decode(&proof.encode()).unwrap();
        prop_assert!(again == proof);
        match again.verify(&network(4)) {
            Ok(split) => {
                prop_assert_eq!(&split.culprits, &of(one & two));
                let enough = one.count_ones() >= 3 && two.count_ones() >= 3;
                prop_assert_eq!(split.both_valid, enough);
            }
            Err(why) => {
                prop_assert_eq!(why, SplitRefused::NobodySignedBoth);
                prop_assert_eq!(one & two, 0);
            }
        }
    }

    #[test]
    fn garbage_proves_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(SplitProof::decode(&bytes).is_err());
        prop_assert!(SplitProof::decode(&[b"MZSP\x01", &bytes[..]].concat()).is_err());
    }
}
