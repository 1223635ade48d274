//! For any value: what is written is read back, in pieces of any order too; for any bytes: no panic.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod common;

use common::{SEED, network};
use directory::testing::{self, nobodys_key};
use directory::{
    Assembled, Directory, DirectoryAssembler, Family, LAYERS, Network, NodeDescriptor, Parameters,
    Preamble, Rate, Role, SignedDescriptor, SignedDirectory, SphinxKey, chunk,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use wire::frame::{DirectoryPart, Frame};
use wire::geometry::{FORMAT_SPHINX, GeometryHash};
use wire::ids::{DirectoryHash, Epoch, NetworkId};
use wire::keys::{IdentitySecret, SphinxPublic};
use wire::time::UnixTime;

fn address() -> impl Strategy<Value = SocketAddr> {
    let v4 = (1u8..224, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| [a, b, c, d].into());
    let v6 = any::<[u8; 15]>().prop_map(|rest| {
        let mut octets = [0x20; 16];
        octets[1..].copy_from_slice(&rest);
        octets.into()
    });
    let ip = prop_oneof![
        v4.prop_map(std::net::IpAddr::V4),
        v6.prop_map(std::net::IpAddr::V6)
    ];
    (ip, 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn node(role: Role) -> impl Strategy<Value = (NodeDescriptor, [u8; 32])> {
    let clients = match role {
        Role::Mix => 0..1,
        Role::Gateway => 1..5,
    };
    let key = any::<[u8; 32]>().prop_map(|mut key| {
        (key[5], key[31]) = (9, key[31] & 0x7f);
        key
    });
    (
        any::<[u8; 32]>(),
        any::<[u8; 16]>(),
        vec(address(), 1..5),
        vec(address(), clients),
        vec((0u64..1 << 60, key), 1..5),
    )
        .prop_map(move |(seed, family, addresses, client_addresses, keys)| {
            let mut epoch = 0;
            let keys = keys.into_iter().map(|(step, key)| {
                epoch += step + 1;
                SphinxKey {
                    epoch: Epoch(epoch),
                    format: FORMAT_SPHINX,
                    key: SphinxPublic(key),
                }
            });
            let node = NodeDescriptor {
                identity: IdentitySecret::from_seed(&seed).public(),
                role,
                family: Family(family),
                addresses,
                client_addresses,
                sphinx_keys: keys.collect(),
            };
            (node, seed)
        })
}

fn parameters() -> impl Strategy<Value = Parameters> {
    (
        any::<[u64; 5]>(),
        any::<[u32; 5]>(),
        any::<u16>(),
        any::<u8>(),
    )
        .prop_map(|(d, r, q, p)| {
            let d = d.map(Duration::from_nanos);
            Parameters {
                delay_mean: d[0],
                hop_allowance: d[1],
                payload_rate: Rate(r[0]),
                loop_rate: Rate(r[1]),
                mix_loop_rate: Rate(r[2]),
                downlink_rate: Rate(r[3]),
                key_overlap: d[2],
                inbox_period: r[4],
                inbox_ttl_max: d[3],
                cell_ttl: d[4],
                inbox_quota: q,
                puzzle_difficulty: p,
            }
        })
}

fn any_directory() -> impl Strategy<Value = Directory> {
    let mixes = || vec(node(Role::Mix).prop_map(|n| n.0), 1..4);
    let gateways = vec(node(Role::Gateway).prop_map(|n| n.0), 1..4);
    (
        any::<([u8; 32], [u8; 32], [u8; 32])>(),
        any::<[u64; 4]>(),
        parameters(),
        [mixes(), mixes(), mixes()],
        gateways,
    )
        .prop_filter_map(
            "two nodes with one key",
            |(ids, t, parameters, layers, gateways)| {
                let preamble = Preamble {
                    network: NetworkId(ids.0),
                    epoch: Epoch(t[0]),
                    schedule: testing::schedule(),
                    valid_from: UnixTime(t[1]),
                    valid_until: UnixTime(t[2]),
                    previous: DirectoryHash(ids.1),
                    geometry: GeometryHash::current(),
                    parameters,
                    shared_random: ids.2,
                    withheld: 0,
                };
                Directory::new(preamble, layers, gateways).ok()
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn descriptors_come_back(
        (descriptor, seed) in prop_oneof![node(Role::Mix), node(Role::Gateway)],
        published: u64,
    ) {
        let (secret, network) = (IdentitySecret::from_seed(&seed), NetworkId([3; 32]));
        let signed = SignedDescriptor::sign(descriptor, UnixTime(published), &secret, &network);
        let signed = signed.unwrap();
        let bytes = signed.encode();
        prop_assert!(bytes.len() <= directory::DESCRIPTOR_MAX);
        let read = SignedDescriptor::decode(&bytes).unwrap();
        prop_assert!(read.verify(&network).is_ok());
        prop_assert_eq!(read, signed);
    }

    #[test]
    fn bodies_come_back(directory in any_directory()) {
        let body = directory.encode_body();
        let read = Directory::decode_body(&body).unwrap();
        prop_assert_eq!(read.hash(), directory.hash());
        prop_assert_eq!(read.encode_body(), body);
        for layer in 0..LAYERS {
            prop_assert_eq!(read.layer(layer), directory.layer(layer));
        }
        prop_assert_eq!(read.gateways(), directory.gateways());
        prop_assert_eq!(read.parameters, directory.parameters);
    }

    #[test]
    fn garbage_is_an_error(bytes in vec(any::<u8>(), 0..600), cut in 0usize..40) {
        let _ = SignedDescriptor::decode(&bytes);
        let _ = Directory::decode_body(&bytes);
        if let Ok(signed) = SignedDirectory::decode(&bytes) {
            prop_assert!(signed.verify(&network(1)).is_err());
        }
        let text = network(1).to_toml();
        let _ = Network::from_toml(&text[cut..]);
        let _ = Network::from_toml(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn damaged_bodies_are_an_error_or_another_directory(
        directory in any_directory(), at: prop::sample::Index, byte: u8,
    ) {
        let mut body = directory.encode_body();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(read) = Directory::decode_body(&body) {
            prop_assert_eq!(read.encode_body(), body);
        }
    }

    #[test]
    fn pieces_come_together_in_any_order(
        order in vec(any::<prop::sample::Index>(), 0..40),
        reverse: bool,
    ) {
        let (document, hash) = long_document();
        let mut parts = DirectoryPart::cut(hash, Epoch(1), &document).unwrap();
        if reverse {
            parts.reverse();
        }
        let mut assembler = DirectoryAssembler::new();
        let mut done = None;
        let picked = order.iter().map(|i| parts[i.index(parts.len())].clone());
        for part in picked.chain(parts.clone()) {
            // As it goes over a link.
            let frame = Frame::decode(&Frame::DirectoryPart(part).encode()).unwrap();
            let Frame::DirectoryPart(part) = frame else { unreachable!() };
            match assembler.handle_part(part) {
                Assembled::Complete(signed) => { done.get_or_insert(signed.encode()); }
                Assembled::Incomplete => {}
                Assembled::Refused => panic!("refused"),
            }
        }
        prop_assert_eq!(done, Some(document));
    }
}

fn long_document() -> (Vec<u8>, DirectoryHash) {
    let (directory, _) =
        testing::directory(SEED, 20, 5, Epoch(1), Parameters::localnet(), nobodys_key);
    let signed = SignedDirectory::sign(&directory, 0, &testing::authority_secret(SEED, 0));
    (signed.encode(), directory.hash())
}

#[test]
fn chunks_of_answers_come_together_too() {
    let (document, hash) = long_document();
    let (parts, _) = chunk(&document, 0).unwrap();
    let mut assembler = DirectoryAssembler::new();
    for part in 0..parts {
        assert_eq!(assembler.next_chunk(&hash), part);
        let (_, bytes) = chunk(&document, part).unwrap();
        match assembler.handle_chunk(hash, part, parts, bytes.to_vec()) {
            Assembled::Incomplete => assert!(part + 1 < parts),
            Assembled::Complete(signed) => {
                assert_eq!(part + 1, parts);
                assert_eq!(signed.encode(), document);
            }
            Assembled::Refused => panic!("refused"),
        }
    }
    assert!(chunk(&document, parts).is_none());
}

#[test]
fn pieces_that_lie_are_refused() {
    let (document, hash) = long_document();
    let parts = DirectoryPart::cut(hash, Epoch(1), &document).unwrap();
    let mut assembler = DirectoryAssembler::new();
    let mut outcome = |part: DirectoryPart| match assembler.handle_part(part) {
        Assembled::Incomplete => "incomplete",
        Assembled::Complete(_) => "complete",
        Assembled::Refused => "refused",
    };
    // Another number of pieces than before: forgotten, and begun anew.
    assert_eq!(outcome(parts[0].clone()), "incomplete");
    let mut other = parts[1].clone();
    other.parts += 1;
    assert_eq!(outcome(other), "refused");
    // One byte changed on the way.
    for part in &parts[1..] {
        assert_eq!(outcome(part.clone()), "incomplete");
    }
    let mut changed = parts[0].clone();
    changed.bytes[100] ^= 1;
    assert_eq!(outcome(changed), "refused");
    // A length that no frame has.
    let mut short = parts[0].clone();
    short.bytes.pop();
    assert_eq!(outcome(short), "refused");
    // The right ones still come together afterwards.
    let all: Vec<_> = parts.into_iter().map(&mut outcome).collect();
    assert_eq!(all.last(), Some(&"complete"));
}

#[test]
fn a_third_document_takes_the_place_of_the_first() {
    let (document, hash) = long_document();
    let parts = DirectoryPart::cut(hash, Epoch(1), &document).unwrap();
    let mut assembler = DirectoryAssembler::new();
    let _ = assembler.handle_part(parts[0].clone());
    for other in [1, 2] {
        let mut part = parts[0].clone();
        part.hash = DirectoryHash([other; 32]);
        let _ = assembler.handle_part(part);
    }
    for part in &parts[1..] {
        let outcome = assembler.handle_part(part.clone());
        assert!(matches!(outcome, Assembled::Incomplete));
    }
    let outcome = assembler.handle_part(parts[0].clone());
    assert!(matches!(outcome, Assembled::Complete(_)));
}
