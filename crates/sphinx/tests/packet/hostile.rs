//! Packets, reply blocks and payloads that somebody changed or made up.

use crate::support::*;
use proptest::prelude::*;
use sphinx::{DiscardReason, PacketFormat, Sphinx, Unwrapped};
use wire::geometry::{PACKET_LEN, SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN, SURB_LEN};
use wire::rng::KeyRng;

#[test]
fn another_key_gives_a_bad_mac() {
    let packet = Sphinx::build(&route(5), &plaintext(1), &mut rng(1)).unwrap();
    for n in 2..=5 {
        let result = Sphinx::unwrap(&secret(n), &packet);
        assert_eq!(reason(result), DiscardReason::BadMac);
    }
}

#[test]
fn a_bit_flipped_anywhere_in_the_header_gives_a_bad_mac() {
    let packet = Sphinx::build(&route(5), &plaintext(1), &mut rng(1)).unwrap();
    for at in 0..SPHINX_HEADER_LEN {
        let mut flipped = packet.clone();
        // Never bit 255 of α, which no implementation of X25519 reads (`alpha.rs`).
        flipped[at] ^= 1 << (at % 7);
        let result = Sphinx::unwrap(&secret(1), &flipped);
        assert_eq!(reason(result), DiscardReason::BadMac, "byte {at}");
    }
}

#[test]
fn a_bit_flipped_anywhere_in_the_payload_leaves_no_plaintext() {
    let packet = one_hop_request();
    let tag = expect(Sphinx::unwrap(&secret(1), &packet)).tag();
    for at in SPHINX_HEADER_LEN..PACKET_LEN {
        let mut flipped = packet.clone();
        flipped[at] ^= 1 << (at % 8);
        let expected = Unwrapped::Request {
            tag,
            plaintext: None,
        };
        let result = expect(Sphinx::unwrap(&secret(1), &flipped));
        assert!(result == expected, "byte {at}");
    }
}

#[test]
fn a_payload_tagged_at_the_first_hop_is_garbage_at_the_last() {
    let mut packet = Sphinx::build(&route(5), &plaintext(1), &mut rng(1)).unwrap();
    packet[PACKET_LEN - 1] ^= 0x80;
    assert!(matches!(
        walk(&route(5), packet),
        Unwrapped::Request {
            plaintext: None,
            ..
        }
    ));
}

#[test]
fn a_changed_reply_cannot_be_opened() {
    let (surb, recovery) = Sphinx::build_surb(&reply_route(5), SURB, &mut rng(1)).unwrap();
    let (_, packet) = Sphinx::use_surb(&surb, &plaintext(1)).unwrap();
    let Unwrapped::Reply { payload, .. } = walk(&reply_route(5), packet) else {
        panic!("no reply");
    };
    for at in (0..SPHINX_PAYLOAD_LEN).step_by(7) {
        let mut flipped = payload.clone();
        flipped[at] ^= 1 << (at % 8);
        let opened = Sphinx::open_reply(&recovery, flipped);
        assert!(opened == Err(DiscardReason::BadPayload), "byte {at}");
    }
    let (_, other) = Sphinx::build_surb(&reply_route(5), SURB, &mut rng(2)).unwrap();
    assert!(Sphinx::open_reply(&other, payload) == Err(DiscardReason::BadPayload));
}

#[test]
fn the_last_hop_of_a_reply_block_cannot_read_the_reply_without_its_recovery() {
    let (surb, _) = Sphinx::build_surb(&reply_route(2), SURB, &mut rng(1)).unwrap();
    let (_, packet) = Sphinx::use_surb(&surb, &plaintext(1)).unwrap();
    let Unwrapped::Reply { payload, .. } = walk(&reply_route(2), packet) else {
        panic!("no reply");
    };
    assert!(payload[16..SPHINX_PAYLOAD_LEN - 1] != plaintext(1)[..]);
}

#[test]
fn a_reply_block_whose_first_hop_cannot_be_read_is_bad() {
    let (surb, _) = Sphinx::build_surb(&route(5), SURB, &mut rng(1)).unwrap();
    // The kind of address, and the format.
    for (at, value) in [(0, 0x01), (0, 0x7f), (1, 0), (1, 2), (1, 0xff)] {
        let mut changed = surb.clone();
        changed[SPHINX_HEADER_LEN + at] = value;
        let used = Sphinx::use_surb(&changed, &plaintext(1));
        assert!(
            matches!(used, Err(DiscardReason::BadSurb)),
            "{value} at {at}"
        );
    }
}

#[test]
fn a_reply_block_with_a_garbage_header_dies_at_its_first_hop() {
    let (mut surb, _) = Sphinx::build_surb(&route(5), SURB, &mut rng(1)).unwrap();
    surb[100] ^= 1;
    let Ok((_, packet)) = Sphinx::use_surb(&surb, &plaintext(1)) else {
        panic!("nobody but the first hop can see that");
    };
    let result = Sphinx::unwrap(&secret(1), &packet);
    assert_eq!(reason(result), DiscardReason::BadMac);
}

#[test]
fn a_reply_block_with_another_seed_gives_a_reply_that_cannot_be_opened() {
    let (mut surb, recovery) = Sphinx::build_surb(&route(5), SURB, &mut rng(1)).unwrap();
    surb[SURB_LEN - 1] ^= 1;
    let (_, packet) = Sphinx::use_surb(&surb, &plaintext(1)).unwrap();
    let Unwrapped::Reply { payload, .. } = walk(&route(5), packet) else {
        panic!("no reply");
    };
    assert!(Sphinx::open_reply(&recovery, payload) == Err(DiscardReason::BadPayload));
}

proptest! {
    #[test]
    fn noise_is_discarded(seed in any::<[u8; 32]>(), key in 1u8..=5) {
        let packet = Box::new(KeyRng::from_seed(seed).bytes::<PACKET_LEN>());
        prop_assert!(Sphinx::unwrap(&secret(key), &packet) == Err(DiscardReason::BadMac));
    }

    #[test]
    fn any_bytes_may_be_a_reply_block(bytes in proptest::collection::vec(any::<u8>(), SURB_LEN)) {
        let surb = wire::frame::boxed(bytes);
        match Sphinx::use_surb(&surb, &plaintext(1)) {
            Ok((first, packet)) => {
                prop_assert!(first.to_bytes() == surb[SPHINX_HEADER_LEN..][..32]);
                prop_assert!(packet[..SPHINX_HEADER_LEN] == surb[..SPHINX_HEADER_LEN]);
            }
            Err(reason) => prop_assert_eq!(reason, DiscardReason::BadSurb),
        }
    }

    #[test]
    fn noise_is_no_reply(seed in any::<[u8; 32]>(), hops in 1usize..=5) {
        let mut rng = KeyRng::from_seed(seed);
        let material = rng.bytes::<96>();
        let recovery = sphinx::SphinxRecovery::from_bytes(&material[..16 + hops * 16]).unwrap();
        let opened = Sphinx::open_reply(&recovery, Box::new(rng.bytes()));
        prop_assert!(opened == Err(DiscardReason::BadPayload));
    }
}
