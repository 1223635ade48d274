//! Headers whose MAC is right and whose content no honest sender writes.

use crate::reference::{ROUTING_LEN, forge};
use crate::support::*;
use proptest::prelude::*;
use sphinx::{DiscardReason, PacketFormat, Sphinx, Unwrapped};
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;
use wire::frame::PacketBytes;
use wire::geometry::{PLAINTEXT_LEN, SPHINX_PAYLOAD_LEN};
use wire::rng::KeyRng;
use x25519_dalek::{PublicKey, StaticSecret};

/// For node 1: reads `start` there, then zeros. The payload is zeros, a plaintext of zeros, 01.
pub(crate) fn forged(start: &[u8]) -> PacketBytes {
    let mut routing = [0; ROUTING_LEN];
    routing[..start.len()].copy_from_slice(start);
    let mut payload = [0; SPHINX_PAYLOAD_LEN];
    payload[SPHINX_PAYLOAD_LEN - 1] = 1;
    let (alpha, shared_secret) = fresh();
    forge(alpha, &shared_secret, &routing, &payload)
}

/// An α, and node 1's secret with it.
fn fresh() -> ([u8; 32], [u8; 32]) {
    let ephemeral = StaticSecret::from([0x77; 32]);
    let node = PublicKey::from(Sphinx::public(&secret(1)).0);
    (
        PublicKey::from(&ephemeral).to_bytes(),
        ephemeral.diffie_hellman(&node).to_bytes(),
    )
}

/// Flag, version and the first bytes of an address, for node 1.
fn unwrap(start: &[u8]) -> Result<Unwrapped, DiscardReason> {
    Sphinx::unwrap(&secret(1), &forged(start))
}

/// By sphinx-packet itself, over nodes 1 to `len`.
pub(crate) fn of_version(version: u16, len: u8) -> PacketBytes {
    let nodes: Vec<_> = route(len)
        .into_iter()
        .map(|hop| {
            let address = NodeAddressBytes::from_bytes(hop.address.to_bytes());
            Node::new(address, PublicKey::from(hop.key.0))
        })
        .collect();
    let delays = vec![Delay::new_from_nanos(1); nodes.len()];
    let destination = Destination::new(DestinationAddressBytes::from_bytes([0; 32]), [0; 16]);
    let packet = SphinxPacketBuilder::new()
        .with_version(Version::new(version))
        .with_payload_size(SPHINX_PAYLOAD_LEN)
        .with_initial_secret(&StaticSecret::from([0x66; 32]))
        .build_packet(&plaintext(1)[..], &nodes, &destination, &delays)
        .unwrap();
    wire::frame::boxed(packet.to_bytes())
}

#[test]
fn only_version_260_is_taken() {
    for len in [1, 5] {
        for version in [0, 1, 257, 258, 259, 261, 0x0401, u16::MAX] {
            let result = Sphinx::unwrap(&secret(1), &of_version(version, len));
            assert_eq!(reason(result), DiscardReason::BadVersion, "{version}");
        }
        assert!(Sphinx::unwrap(&secret(1), &of_version(260, len)).is_ok());
    }
}

#[test]
fn the_first_version_byte_is_ignored_and_panics_nowhere() {
    for first in [0, 1, 0x7f, 0xff] {
        assert!(matches!(
            unwrap(&[2, first, 1, 4]),
            Ok(Unwrapped::Request {
                plaintext: Some(_),
                ..
            })
        ));
        let forward = unwrap(&[1, first, 1, 4, 0, 1]);
        assert!(matches!(forward, Ok(Unwrapped::Forward { .. })));
        let other = unwrap(&[2, first, 1, 3]);
        assert_eq!(reason(other), DiscardReason::BadVersion);
    }
}

#[test]
fn flags_other_than_forward_and_final_are_bad_routing() {
    for flag in (0..=255).filter(|flag| ![1, 2].contains(flag)) {
        let result = unwrap(&[flag, 0, 1, 4, 0, 1]);
        assert_eq!(reason(result), DiscardReason::BadRouting, "{flag}");
    }
}

#[test]
fn next_hops_of_unknown_kind_or_format_are_bad_routing() {
    for kind in 1..0x80 {
        let result = unwrap(&[1, 0, 1, 4, kind, 1]);
        assert_eq!(reason(result), DiscardReason::BadRouting, "kind {kind}");
    }
    for format in (0..=255).filter(|format| *format != 1) {
        let result = unwrap(&[1, 0, 1, 4, 0, format]);
        assert_eq!(reason(result), DiscardReason::BadRouting, "format {format}");
    }
}

#[test]
fn the_version_counts_before_the_next_hop() {
    let result = unwrap(&[1, 0, 1, 3, 0x01]);
    assert_eq!(reason(result), DiscardReason::BadVersion);
}

#[test]
fn a_plaintext_fills_its_payload_exactly() {
    // What sphinx-packet would read as a plaintext one byte shorter.
    let (alpha, shared_secret) = fresh();
    let mut routing = [0; ROUTING_LEN];
    routing[..4].copy_from_slice(&[2, 0, 1, 4]);
    for (at, value, whole) in [
        (SPHINX_PAYLOAD_LEN - 1, 1, true),
        (SPHINX_PAYLOAD_LEN - 2, 1, false),
        (SPHINX_PAYLOAD_LEN - 1, 2, false),
        (16, 1, false),
    ] {
        let mut payload = [0; SPHINX_PAYLOAD_LEN];
        payload[at] = value;
        let packet = forge(alpha, &shared_secret, &routing, &payload);
        let Ok(Unwrapped::Request { plaintext, .. }) = Sphinx::unwrap(&secret(1), &packet) else {
            panic!("no request");
        };
        let expected = whole.then(|| Box::new([0; PLAINTEXT_LEN]));
        assert!(plaintext == expected, "{value} at {at}");
    }
}

proptest! {
    #[test]
    fn no_routing_information_panics(
        seed in any::<[u8; 32]>(),
        flag in 0u8..4,
        version in prop_oneof![Just(260u16), 255u16..262],
    ) {
        let mut rng = KeyRng::from_seed(seed);
        let mut routing = rng.bytes::<ROUTING_LEN>();
        routing[0] = flag;
        routing[2..4].copy_from_slice(&version.to_be_bytes());
        let (alpha, shared_secret) = fresh();
        let packet = forge(alpha, &shared_secret, &routing, &rng.bytes());
        match Sphinx::unwrap(&secret(1), &packet) {
            Ok(_) => prop_assert!(version == 260 && (flag == 1 || flag == 2)),
            Err(DiscardReason::BadVersion) => prop_assert!(version != 260),
            Err(reason) => prop_assert_eq!(reason, DiscardReason::BadRouting),
        }
    }
}
