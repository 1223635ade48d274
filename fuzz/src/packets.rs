//! Packets at one hop. Each is read twice: by `Sphinx`, and by the reference that shares no code with
//! it. They must agree on everything.

use crate::padded;
use crate::reference::{self, ROUTING_LEN, Read};
use sphinx::{PacketFormat, Sphinx, SphinxSecret, Unwrapped};
use std::sync::LazyLock;
use wire::frame::PacketBytes;
use wire::geometry::{PACKET_LEN, SPHINX_PAYLOAD_LEN};
use x25519_dalek::{PublicKey, StaticSecret};

const SECRET: [u8; 32] = [0x11; 32];

/// An α, and the node's shared secret with it.
static SHARED: LazyLock<([u8; 32], [u8; 32])> = LazyLock::new(|| {
    let ephemeral = StaticSecret::from([0x77; 32]);
    let node = PublicKey::from(&StaticSecret::from(SECRET));
    let secret = ephemeral.diffie_hellman(&node).to_bytes();
    (PublicKey::from(&ephemeral).to_bytes(), secret)
});

/// The first byte chooses:
/// 0: the input is a packet. 1: the input is what the hop reads, 300 bytes of routing information
/// and then the payload, under a MAC that is right. 2: the same, and then one bit of the packet is changed.
pub fn unwrap(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 3 {
        0 => compare(&padded::<PACKET_LEN>(data)),
        1 => compare(&forged(data)),
        _ => {
            let Some((at, data)) = data.split_first_chunk() else {
                return;
            };
            let bit = usize::from(u16::from_be_bytes(*at)) % (8 * PACKET_LEN);
            let mut packet = forged(data);
            packet[bit / 8] ^= 1 << (bit % 8);
            compare(&packet);
        }
    }
}

fn forged(data: &[u8]) -> PacketBytes {
    let (alpha, secret) = &*SHARED;
    let routing = padded::<ROUTING_LEN>(data);
    let payload = padded::<SPHINX_PAYLOAD_LEN>(data.get(ROUTING_LEN..).unwrap_or_default());
    reference::forge(*alpha, secret, &routing, &payload)
}

fn compare(packet: &PacketBytes) {
    let ours = Sphinx::unwrap(&SphinxSecret::from_bytes(SECRET), packet);
    match (ours, reference::unwrap(SECRET, &packet[..])) {
        (Err(reason), Err(expected)) => assert_eq!(reason, expected),
        (
            Ok(Unwrapped::Forward {
                tag,
                next,
                delay,
                packet,
            }),
            Ok(Read::Forward {
                tag: expected_tag,
                address,
                delay: expected_delay,
                packet: expected,
            }),
        ) => {
            assert!(tag.0 == expected_tag && next.to_bytes() == address);
            assert_eq!(delay.as_nanos(), u128::from(expected_delay));
            assert!(packet == expected);
        }
        (
            Ok(read),
            Ok(Read::Final {
                tag,
                identifier,
                payload: expected,
            }),
        ) => {
            assert!(read.tag().0 == tag);
            match read {
                Unwrapped::Request { plaintext, .. } => {
                    assert!(identifier == [0; 16]);
                    let rest = expected.strip_prefix(&[0; 16]);
                    let expected = rest.and_then(|rest| rest.strip_suffix(&[1]));
                    assert!(plaintext.as_ref().map(|p| &p[..]) == expected);
                }
                Unwrapped::Reply { surb, payload, .. } => {
                    assert!(identifier != [0; 16] && surb.0 == identifier);
                    assert!(payload[..] == expected[..]);
                }
                Unwrapped::Forward { .. } => panic!("a final packet goes on"),
            }
        }
        (Ok(_), _) | (_, Ok(_)) => panic!("only one of them takes the packet"),
    }
}
