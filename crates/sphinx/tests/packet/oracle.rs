//! Us beside `sphinx-packet` 0.8, whose format this is.

use crate::support::*;
use sphinx::{Hop, PacketFormat, Sphinx, Unwrapped};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{ProcessedPacketData, SphinxPacket, SurbReplyRecovery};
use wire::ids::SurbId;
use x25519_dalek::StaticSecret;

/// What sphinx-packet finds at the end of `route`: identifier and payload. At each hop before, what
/// the route says must stand.
fn theirs(route: &[Hop], packet: &[u8]) -> ([u8; 16], Vec<u8>) {
    let mut packet = SphinxPacket::from_bytes(packet).unwrap();
    for i in 0.. {
        let secret = StaticSecret::from(secret_bytes(i as u8 + 1));
        let processed = packet.process(&secret).unwrap();
        assert!(processed.version == SINGLE_SEED_SURB_VERSION);
        match processed.data {
            ProcessedPacketData::ForwardHop {
                next_hop_packet,
                next_hop_address,
                delay,
            } => {
                assert!(next_hop_address.to_bytes() == route[i + 1].address.to_bytes());
                assert_eq!(delay.to_duration(), route[i].delay);
                packet = next_hop_packet;
            }
            ProcessedPacketData::FinalHop {
                destination,
                identifier,
                payload,
            } => {
                assert_eq!((i, destination.as_bytes()), (route.len() - 1, [0; 32]));
                return (identifier, payload.as_bytes().to_vec());
            }
        }
    }
    unreachable!("every route ends")
}

#[test]
fn sphinx_packet_reads_our_requests_at_every_hop() {
    for len in 1..=5 {
        for seed in 0..20 {
            let packet = Sphinx::build(&route(len), &plaintext(seed), &mut rng(seed)).unwrap();
            let (identifier, payload) = theirs(&route(len), &packet[..]);
            assert_eq!(identifier, [0; 16]);
            let whole = [&[0; 16][..], &plaintext(seed)[..], &[1]].concat();
            assert!(payload == whole, "{len} hops, seed {seed}");
        }
    }
}

#[test]
fn sphinx_packet_carries_and_opens_the_replies_of_our_reply_blocks() {
    for len in 1..=5 {
        for seed in 1..=20 {
            let (route, id) = (reply_route(len), SurbId([seed; 16]));
            let (surb, recovery) = Sphinx::build_surb(&route, id, &mut rng(seed)).unwrap();
            let used = sphinx_packet::SURB::from_bytes(&surb[..]).unwrap();
            let plaintext = plaintext(seed);
            let size = wire::geometry::SPHINX_PAYLOAD_LEN;
            let (packet, first) = used.use_surb(&plaintext[..], size).unwrap();
            let (our_first, ours) = Sphinx::use_surb(&surb, &plaintext).unwrap();
            assert!(packet.to_bytes() == ours[..], "{len} hops, seed {seed}");
            assert!(first.to_bytes() == our_first.to_bytes());
            let (identifier, payload) = theirs(&route, &ours[..]);
            assert_eq!(identifier, id.0);
            let kept = SurbReplyRecovery::from_bytes(&recovery.expose_bytes()).unwrap();
            let sealed = sphinx_packet::payload::Payload::from_bytes(&payload).unwrap();
            let opened = kept.recover_plaintext(sealed).unwrap();
            assert!(opened[..plaintext.len()] == plaintext[..]);
            let Unwrapped::Reply { payload: mine, .. } = walk(&route, ours) else {
                panic!("no reply");
            };
            assert!(mine[..] == payload[..]);
            assert!(Sphinx::open_reply(&recovery, mine) == Ok(plaintext));
        }
    }
}

#[test]
fn equal_seeds_give_equal_bytes() {
    let build = |seed| Sphinx::build(&route(5), &plaintext(1), &mut rng(seed)).unwrap();
    assert!(build(1) == build(1) && build(1) != build(2));
    let block = |seed| Sphinx::build_surb(&route(1), SURB, &mut rng(seed)).unwrap();
    let ((a, kept_a), (b, kept_b)) = (block(1), block(1));
    assert!(a == b && kept_a.expose_bytes() == kept_b.expose_bytes());
    assert!(a != block(2).0);
}
