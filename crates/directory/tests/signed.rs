//! What is refused, and that nothing else is accepted: every truncation and every single bit.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod common;

use common::{EPOCH, SEED, directory, directory_of, network, signed_by};
use directory::testing::{self, nobodys_key};
use directory::{
    Directory, DirectoryRefused as Refused, Role, SignedDescriptor, SignedDirectory, hex,
};
use std::time::Duration;
use wire::codec::DecodeError;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NetworkId};
use wire::time::UnixTime;

fn descriptor(index: usize, role: Role) -> SignedDescriptor {
    SignedDescriptor::sign(
        testing::node(SEED, index, role, EPOCH, nobodys_key),
        UnixTime(1_800_000_000_000),
        &testing::node_secret(SEED, index),
        &testing::network_id(SEED),
    )
    .unwrap()
}

fn read_descriptor(bytes: &[u8]) -> Result<SignedDescriptor, String> {
    let signed = SignedDescriptor::decode(bytes).map_err(|e| e.to_string())?;
    let verified = signed.verify(&testing::network_id(SEED));
    verified.map_err(|e| e.to_string()).map(|()| signed)
}

fn read_directory(bytes: &[u8]) -> Result<Directory, Refused> {
    let signed = SignedDirectory::decode(bytes).map_err(Refused::Malformed)?;
    signed.verify(&network(1)).map(|d| (*d).clone())
}

#[test]
fn every_truncation_of_a_descriptor_is_refused() {
    for role in [Role::Mix, Role::Gateway] {
        let bytes = descriptor(0, role).encode();
        assert_eq!(read_descriptor(&bytes).unwrap(), descriptor(0, role));
        for len in 0..bytes.len() {
            assert!(read_descriptor(&bytes[..len]).is_err(), "at {len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(read_descriptor(&longer).is_err());
    }
}

#[test]
fn every_flipped_bit_of_a_descriptor_is_refused() {
    let bytes = descriptor(3, Role::Gateway).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(read_descriptor(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn a_descriptor_holds_in_its_network_only() {
    let signed = descriptor(0, Role::Mix);
    assert!(signed.verify(&NetworkId([0; 32])).is_err());
}

#[test]
fn impossible_descriptors_are_not_signed() {
    type Change = fn(&mut directory::NodeDescriptor);
    let cases: [(&str, Change); 12] = [
        ("addresses", |d| d.addresses.clear()),
        ("addresses", |d| d.addresses = vec![d.addresses[0]; 5]),
        ("client addresses", |d| d.client_addresses.clear()),
        ("client addresses", |d| d.role = Role::Mix),
        ("sphinx keys", |d| d.sphinx_keys.clear()),
        ("sphinx key", |d| d.sphinx_keys[0].key.0 = [0; 32]),
        ("sphinx key format", |d| d.sphinx_keys[0].format = 2),
        ("order of sphinx keys", |d| d.sphinx_keys.reverse()),
        ("order of sphinx keys", |d| {
            d.sphinx_keys[1].epoch = d.sphinx_keys[0].epoch;
        }),
        ("address", |d| d.addresses[0].set_port(0)),
        ("address", |d| d.addresses[0] = "0.0.0.0:1".parse().unwrap()),
        ("address", |d| {
            d.client_addresses[0] = "[ff02::1]:1".parse().unwrap();
        }),
    ];
    for (field, change) in cases {
        let mut node = testing::node(SEED, 3, Role::Gateway, EPOCH, nobodys_key);
        change(&mut node);
        let secret = testing::node_secret(SEED, 3);
        let result = SignedDescriptor::sign(node, UnixTime(0), &secret, &testing::network_id(SEED));
        assert_eq!(result, Err(DecodeError::Invalid(field)));
    }
    let node = testing::node(SEED, 3, Role::Gateway, EPOCH, nobodys_key);
    let other = testing::node_secret(SEED, 4);
    let result = SignedDescriptor::sign(node, UnixTime(0), &other, &testing::network_id(SEED));
    assert_eq!(result, Err(DecodeError::Invalid("identity")));
}

#[test]
fn low_order_sphinx_keys_are_refused() {
    // 0, 1, p − 1, p, p + 1, 2²⁵⁵ − 1 and a canonical key with bit 255 set, little-endian.
    let ends = |first: u8, middle: u8, last: u8| {
        let mut key = [middle; 32];
        (key[0], key[31]) = (first, last);
        key
    };
    let mut high_bit = nobodys_key(0, EPOCH).0;
    high_bit[31] |= 0x80;
    for key in [
        ends(0, 0, 0),
        ends(1, 0, 0),
        ends(0xec, 0xff, 0x7f),
        ends(0xed, 0xff, 0x7f),
        ends(0xee, 0xff, 0x7f),
        ends(0xff, 0xff, 0x7f),
        high_bit,
        // The two points of order 8.
        hex::decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800").unwrap(),
        hex::decode("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157").unwrap(),
    ] {
        let mut node = testing::node(SEED, 0, Role::Mix, EPOCH, nobodys_key);
        node.sphinx_keys[1].key.0 = key;
        assert_eq!(node.check(), Err(DecodeError::Invalid("sphinx key")));
    }
    // p − 2 is an ordinary point.
    let mut node = testing::node(SEED, 0, Role::Mix, EPOCH, nobodys_key);
    node.sphinx_keys[1].key.0 = ends(0xeb, 0xff, 0x7f);
    assert_eq!(node.check(), Ok(()));
}

#[test]
fn every_truncation_of_a_directory_is_refused() {
    let bytes = signed_by(&directory(), &[0]).encode();
    let read = read_directory(&bytes).unwrap();
    assert_eq!(read.encode_body(), directory().encode_body());
    assert_eq!(read.hash(), directory().hash());
    for len in 0..bytes.len() {
        assert!(read_directory(&bytes[..len]).is_err(), "at {len}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(read_directory(&longer).is_err());
}

#[test]
fn every_flipped_bit_of_a_directory_is_refused() {
    let bytes = signed_by(&directory(), &[0]).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(read_directory(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn announced_lengths_allocate_nothing() {
    for bytes in [&[0xff; 4][..], &[0xff; 40], &[0, 0x2f, 0xff, 0xff, 0]] {
        assert!(SignedDirectory::decode(bytes).is_err());
    }
}

#[test]
fn content_that_does_not_fit_is_refused_though_signed() {
    type Change = fn(&mut Directory);
    let cases: [(Refused, Change); 8] = [
        (Refused::WrongNetwork, |d| d.network = NetworkId([1; 32])),
        (Refused::WrongGeometry, |d| {
            d.geometry = GeometryHash([0; 32]);
        }),
        (Refused::WrongSchedule, |d| d.schedule.genesis.0 += 1),
        (Refused::BadParameter("downlink_rate"), |d| {
            d.parameters.downlink_rate = d.parameters.payload_rate;
        }),
        (Refused::BadParameter("key_overlap"), |d| {
            d.parameters.key_overlap = d.schedule.length;
        }),
        (Refused::BadValidity, |d| d.valid_from.0 -= 1),
        (Refused::BadValidity, |d| d.valid_until = d.valid_from),
        (Refused::BadValidity, |d| {
            d.valid_until = UnixTime(u64::MAX);
        }),
    ];
    for (expected, change) in cases {
        let mut directory = directory();
        change(&mut directory);
        let signed = signed_by(&directory, &[0]);
        assert_eq!(signed.verify(&network(1)).err(), Some(expected));
    }
}

#[test]
fn a_node_without_both_keys_is_refused() {
    let mut moved = directory();
    moved.epoch = moved.epoch.next();
    (moved.valid_from, moved.valid_until) = (
        moved.schedule.start(moved.epoch),
        moved.schedule.start(moved.epoch.next()),
    );
    let refused = signed_by(&moved, &[0]).verify(&network(1)).err();
    assert!(matches!(refused, Some(Refused::MissingKey(_))));
}

#[test]
fn parameters_have_bounds() {
    use directory::{Parameters, Rate};
    type Change = fn(&mut Parameters);
    let cases: [(&str, Change); 14] = [
        ("delay_mean", |p| p.delay_mean = Duration::from_micros(999)),
        ("delay_mean", |p| p.delay_mean = Duration::from_secs(3601)),
        ("hop_allowance", |p| {
            p.hop_allowance = Duration::from_secs(11)
        }),
        ("payload_rate", |p| p.payload_rate = Rate(0)),
        ("loop_rate", |p| p.loop_rate = Rate(0)),
        ("mix_loop_rate", |p| p.mix_loop_rate = Rate(0)),
        ("mix_loop_rate", |p| p.mix_loop_rate = Rate(u32::MAX)),
        ("downlink_rate", |p| p.downlink_rate = Rate(12_000)),
        ("inbox_period", |p| p.inbox_period = 0),
        ("inbox_ttl_max", |p| p.inbox_ttl_max = Duration::ZERO),
        ("cell_ttl", |p| p.cell_ttl = Duration::from_millis(999)),
        ("inbox_quota", |p| p.inbox_quota = 0),
        ("puzzle_difficulty", |p| p.puzzle_difficulty = 25),
        ("key_overlap", |p| {
            p.key_overlap = Duration::from_secs(3600);
        }),
    ];
    for (name, change) in cases {
        let mut parameters = Parameters::localnet();
        change(&mut parameters);
        assert_eq!(parameters.check(&testing::schedule()), Err(name));
    }
    for good in [Parameters::localnet(), Parameters::wide()] {
        assert_eq!(good.check(&testing::schedule()), Ok(()));
    }
}

#[test]
fn enough_different_authorities_must_sign() {
    let (four, directory) = (network(4), directory());
    let outcome = |indices: &[u8]| signed_by(&directory, indices).verify(&four).err();
    assert_eq!(four.threshold(), 3);
    assert_eq!(outcome(&[0, 1, 2]), None);
    assert_eq!(outcome(&[3, 1, 0, 2]), None);
    let too_few = Refused::TooFewSignatures { have: 2, need: 3 };
    assert_eq!(outcome(&[1, 3]), Some(too_few));
    // The same one thrice counts once.
    let one = Refused::TooFewSignatures { have: 1, need: 3 };
    assert_eq!(outcome(&[2, 2, 2]), Some(one));
    assert_eq!(outcome(&[0, 1, 2, 4]), Some(Refused::UnknownAuthority(4)));
    // Signed by authority 3's key in the name of 2.
    let forged = SignedDirectory::sign(&directory, 2, &testing::authority_secret(SEED, 3));
    let mut signed = signed_by(&directory, &[0, 1, 3]);
    assert!(signed.merge(&forged));
    assert_eq!(signed.verify(&four).err(), Some(Refused::BadSignature(2)));
}

#[test]
fn signatures_of_another_body_do_not_mix() {
    let mut signed = signed_by(&directory(), &[0]);
    assert!(!signed.merge(&signed_by(&directory_of(EPOCH.next()), &[1])));
    // Twice the same authority in the bytes.
    let mut bytes = signed.encode();
    let entry = bytes[bytes.len() - 65..].to_vec();
    let count = bytes.len() - 66;
    bytes[count] = 2;
    bytes.extend_from_slice(&entry);
    let refused = SignedDirectory::decode(&bytes).err();
    assert_eq!(refused, Some(DecodeError::Invalid("order of signatures")));
}

#[test]
fn time_is_looked_at() {
    let (network, signed) = (network(1), signed_by(&directory(), &[0]));
    let schedule = network.schedule();
    let (start, end) = (schedule.start(EPOCH), schedule.start(Epoch(EPOCH.0 + 2)));
    let outcome = |now: u64| signed.accept(&network, None, UnixTime(now)).err();
    assert_eq!(outcome(start.0 - 1), Some(Refused::NotYetValid));
    assert_eq!(outcome(start.0), None);
    assert_eq!(outcome(end.0 - 1), None);
    assert_eq!(outcome(end.0), Some(Refused::Expired));
    assert_eq!(directory().check_not_expired(UnixTime(0)), Ok(()));
}

#[test]
fn an_older_or_another_directory_does_not_take_the_place_of_one_held() {
    let held = directory();
    let mut next = directory_of(EPOCH.next());
    let conflict = |epoch| Err(Refused::Conflicting(epoch));
    assert_eq!(next.check_successor_of(&held), conflict(EPOCH.next()));
    next.previous = held.hash();
    assert_eq!(next.check_successor_of(&held), Ok(()));
    assert_eq!(held.check_successor_of(&held), Ok(()));
    let later = directory_of(Epoch(EPOCH.0 + 5));
    assert_eq!(later.check_successor_of(&held), Ok(()));
    let rolled_back = Refused::OlderThanHeld {
        offered: EPOCH,
        held: EPOCH.next(),
    };
    assert_eq!(held.check_successor_of(&next), Err(rolled_back));
    // Another one of the same epoch.
    let bigger = testing::directory(SEED, 2, 1, EPOCH, held.parameters.clone(), nobodys_key);
    assert_eq!(bigger.0.check_successor_of(&held), conflict(EPOCH));
    assert_ne!(bigger.0.previous, DirectoryHash([1; 32]));
}

#[test]
fn every_refusal_says_something_to_do() {
    for refused in [
        Refused::Malformed(DecodeError::Truncated),
        Refused::WrongNetwork,
        Refused::WrongGeometry,
        Refused::WrongSchedule,
        Refused::UnknownAuthority(1),
        Refused::BadSignature(1),
        Refused::TooFewSignatures { have: 1, need: 3 },
        Refused::BadParameter("x"),
        Refused::BadValidity,
        Refused::Expired,
        Refused::NotYetValid,
        Refused::Conflicting(EPOCH),
    ] {
        assert!(refused.to_string().contains(';'), "{refused}");
    }
}
