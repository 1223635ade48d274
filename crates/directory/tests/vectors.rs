//! Frozen bytes, accepted and refused. `docs/spec/directory.md` §11 says how to read them.
//!
//! `MIZZLE_WRITE_VECTORS=1 cargo test -p directory --test vectors -- --ignored` writes them anew
//! after a deliberate change of format.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test, which writes its vectors and may fail by panic"
)]

mod common;

use common::{EPOCH, SEED, directory, network, signed_by};
use directory::testing::{self, nobodys_key};
use directory::{Directory, DirectoryRefused, Rate, Role, SignedDescriptor, SignedDirectory, hex};
use std::fmt::Write as _;
use wire::geometry::GeometryHash;
use wire::ids::NetworkId;
use wire::time::UnixTime;

const DESCRIPTORS: &str = include_str!("vectors/descriptors.txt");
const DIRECTORIES: &str = include_str!("vectors/directories.txt");

/// `outcome<TAB>hex`, `#` begins a comment.
fn rows(text: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    let rows = text
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty());
    rows.map(|row| {
        let (outcome, digits) = row.split_once('\t').unwrap();
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        (outcome, pairs.map(byte).collect())
    })
}

fn descriptor_outcome(bytes: &[u8]) -> String {
    match SignedDescriptor::decode(bytes) {
        Err(error) => format!("{error:?}"),
        Ok(signed) => match signed.verify(&testing::network_id(SEED)) {
            Err(error) => format!("{error:?}"),
            Ok(()) => {
                assert_eq!(signed.encode(), bytes);
                format!("accepted {}", hex::encode(&signed.descriptor.id().0))
            }
        },
    }
}

fn directory_outcome(bytes: &[u8]) -> String {
    let signed = SignedDirectory::decode(bytes).map_err(DirectoryRefused::Malformed);
    match signed.and_then(|s| s.verify(&network(4))) {
        Err(error) => format!("{error:?}"),
        Ok(directory) => format!("accepted {}", hex::encode(&directory.hash().0)),
    }
}

#[test]
fn descriptors() {
    assert_eq!(rows(DESCRIPTORS).count(), descriptor_inputs().len());
    for (outcome, bytes) in rows(DESCRIPTORS) {
        assert_eq!(descriptor_outcome(&bytes), outcome);
    }
}

#[test]
fn directories() {
    assert_eq!(rows(DIRECTORIES).count(), directory_inputs().len());
    for (outcome, bytes) in rows(DIRECTORIES) {
        assert_eq!(directory_outcome(&bytes), outcome);
    }
}

#[test]
fn the_encoders_still_write_the_frozen_bytes() {
    for ((_, frozen), fresh) in rows(DESCRIPTORS).zip(descriptor_inputs()) {
        assert_eq!(frozen, fresh);
    }
    for ((_, frozen), fresh) in rows(DIRECTORIES).zip(directory_inputs()) {
        assert_eq!(frozen, fresh);
    }
}

fn descriptor_inputs() -> Vec<Vec<u8>> {
    let signed = |role, index| {
        let mut node = testing::node(SEED, index, role, EPOCH, nobodys_key);
        if role == Role::Gateway {
            node.addresses.push("[2001:db8::1]:20003".parse().unwrap());
        }
        let (time, secret) = (
            UnixTime(1_800_000_000_000),
            testing::node_secret(SEED, index),
        );
        SignedDescriptor::sign(node, time, &secret, &testing::network_id(SEED)).unwrap()
    };
    let (mix, gateway) = (signed(Role::Mix, 0), signed(Role::Gateway, 3));
    let changed = |at: usize, byte: u8| {
        let mut bytes = mix.encode();
        bytes[at] = byte;
        bytes
    };
    let mut port_zero = mix.clone();
    port_zero.descriptor.addresses[0].set_port(0);
    let mut zero_key = mix.clone();
    zero_key.descriptor.sphinx_keys[0].key.0 = [0; 32];
    let mut format = mix.clone();
    format.descriptor.sphinx_keys[1].format = 9;
    let mut order = mix.clone();
    order.descriptor.sphinx_keys.reverse();
    let mut clients = mix.clone();
    clients.descriptor.client_addresses = clients.descriptor.addresses.clone();
    let mut replayed_later = mix.clone();
    replayed_later.published.0 += 1;
    vec![
        mix.encode(),
        gateway.encode(),
        changed(4, 2),
        changed(45, 2),
        mix.encode()[..100].to_vec(),
        [&mix.encode()[..], &[0]].concat(),
        vec![0; directory::DESCRIPTOR_MAX + 1],
        port_zero.encode(),
        zero_key.encode(),
        format.encode(),
        order.encode(),
        clients.encode(),
        replayed_later.encode(),
    ]
}

fn directory_inputs() -> Vec<Vec<u8>> {
    let with = |change: fn(&mut Directory)| {
        let mut directory = directory();
        change(&mut directory);
        signed_by(&directory, &[0, 1, 2]).encode()
    };
    let good = with(|_| {});
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    vec![
        good.clone(),
        signed_by(&directory(), &[0, 1, 2, 3]).encode(),
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        flipped(4),
        flipped(9),
        flipped(good.len() - 1),
        flipped(good.len() - 65),
        flipped(200),
        signed_by(&directory(), &[0, 3]).encode(),
        signed_by(&directory(), &[0, 1, 2, 5]).encode(),
        with(|d| d.network = NetworkId([1; 32])),
        with(|d| d.geometry = GeometryHash([0; 32])),
        with(|d| d.schedule.length *= 2),
        with(|d| d.parameters.loop_rate = Rate(0)),
        with(|d| d.valid_from.0 -= 1),
        with(|d| {
            d.epoch = d.epoch.previous();
            d.valid_from = d.schedule.start(d.epoch);
        }),
    ]
}

#[test]
#[ignore = "writes the vectors"]
fn write() {
    if std::env::var_os("MIZZLE_WRITE_VECTORS").is_none() {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/");
    let text = |rows: Vec<(String, Vec<u8>)>| {
        let mut out = String::from("# outcome, tab, bytes. See docs/spec/directory.md, Vectors.\n");
        for (outcome, bytes) in rows {
            let _ = writeln!(out, "{outcome}\t{}", hex::encode(&bytes));
        }
        out
    };
    let descriptors = descriptor_inputs().into_iter();
    let descriptors = descriptors.map(|b| (descriptor_outcome(&b), b)).collect();
    std::fs::write(format!("{folder}descriptors.txt"), text(descriptors)).unwrap();
    let directories = directory_inputs().into_iter();
    let directories = directories.map(|b| (directory_outcome(&b), b)).collect();
    std::fs::write(format!("{folder}directories.txt"), text(directories)).unwrap();
    std::fs::write(format!("{folder}network.toml"), network(4).to_toml()).unwrap();
}
