//! What honest senders and nodes do with each other.

use crate::support::*;
use proptest::prelude::*;
use sphinx::{BuildError, PacketFormat, Sphinx, Unwrapped};
use std::collections::BTreeSet;
use std::time::Duration;
use wire::ids::SurbId;
use wire::keys::SphinxPublic;

#[test]
fn requests_arrive_over_one_to_five_hops() {
    for len in 1..=5 {
        let route = route(len);
        let packet = Sphinx::build(&route, &plaintext(len), &mut rng(100 + len)).unwrap();
        let Unwrapped::Request { plaintext: got, .. } = walk(&route, packet) else {
            panic!("no request at the end of {len} hops");
        };
        assert!(got == Some(plaintext(len)), "plaintext over {len} hops");
    }
}

#[test]
fn replies_come_back_over_one_to_five_hops() {
    for len in 1..=5 {
        let route = reply_route(len);
        let (surb, recovery) = Sphinx::build_surb(&route, SURB, &mut rng(110 + len)).unwrap();
        let (first, packet) = Sphinx::use_surb(&surb, &plaintext(len)).unwrap();
        assert!(first == route[0].address, "first hop of {len}");
        let Unwrapped::Reply { surb, payload, .. } = walk(&route, packet) else {
            panic!("no reply at the end of {len} hops");
        };
        assert_eq!(surb, SURB);
        let opened = Sphinx::open_reply(&recovery, payload).unwrap();
        assert!(opened == plaintext(len), "plaintext over {len} hops");
    }
}

#[test]
fn every_hop_has_a_tag_of_its_own() {
    let mut tags = BTreeSet::new();
    for seed in 0..4 {
        let mut packet = Sphinx::build(&route(5), &plaintext(1), &mut rng(seed)).unwrap();
        for n in 1..=5 {
            let out = expect(Sphinx::unwrap(&secret(n), &packet));
            assert!(tags.insert(out.tag()), "tag of seed {seed} at hop {n}");
            if let Unwrapped::Forward { packet: onward, .. } = out {
                packet = onward;
            }
        }
    }
    assert_eq!(tags.len(), 20);
}

#[test]
fn delays_go_from_nothing_to_all_64_bits() {
    let asked = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_nanos(u64::MAX),
        Duration::MAX,
        Duration::MAX,
    ];
    let (mut asking, mut expected) = (route(5), route(5));
    for (i, delay) in asked.into_iter().enumerate() {
        asking[i].delay = delay;
        expected[i].delay = delay.min(Duration::from_nanos(u64::MAX));
    }
    let packet = Sphinx::build(&asking, &plaintext(1), &mut rng(1)).unwrap();
    assert!(matches!(walk(&expected, packet), Unwrapped::Request { .. }));
}

#[test]
fn routes_have_one_to_five_hops() {
    for len in [0, 6, 255] {
        let built = Sphinx::build(&route(len), &plaintext(1), &mut rng(1));
        assert!(built == Err(BuildError::RouteLength), "{len} hops");
        let surb = Sphinx::build_surb(&route(len), SURB, &mut rng(1));
        assert!(matches!(surb, Err(BuildError::RouteLength)), "{len} hops");
    }
}

#[test]
fn keys_of_low_order_are_refused_in_every_place() {
    for key in crate::alpha::low_order() {
        for at in 0..5 {
            let mut route = route(5);
            route[at].key = SphinxPublic(key);
            let built = Sphinx::build(&route, &plaintext(1), &mut rng(1));
            assert!(built == Err(BuildError::BadKey), "{key:02x?} at {at}");
            let surb = Sphinx::build_surb(&route, SURB, &mut rng(1));
            assert!(
                matches!(surb, Err(BuildError::BadKey)),
                "{key:02x?} at {at}"
            );
        }
    }
}

#[test]
fn a_reply_block_needs_an_id() {
    let surb = Sphinx::build_surb(&route(5), SurbId([0; 16]), &mut rng(1));
    assert!(matches!(surb, Err(BuildError::ZeroSurbId)));
}

#[test]
fn fresh_keys_differ_and_follow_the_seed() {
    let mut source = rng(3);
    let (a, b) = (Sphinx::generate(&mut source), Sphinx::generate(&mut source));
    assert!(Sphinx::public(&a) != Sphinx::public(&b));
    assert!(Sphinx::public(&a) == Sphinx::public(&Sphinx::generate(&mut rng(3))));
}

#[test]
fn alpha_follows_the_seed() {
    let build = |seed| Sphinx::build(&route(5), &plaintext(1), &mut rng(seed)).unwrap();
    assert_eq!(build(1)[..32], build(1)[..32]);
    assert_ne!(build(1)[..32], build(2)[..32]);
}

#[test]
fn recovery_material_survives_being_kept() {
    let (surb, recovery) = Sphinx::build_surb(&route(3), SURB, &mut rng(1)).unwrap();
    let kept = sphinx::SphinxRecovery::from_bytes(&recovery.expose_bytes()).unwrap();
    let (_, packet) = Sphinx::use_surb(&surb, &plaintext(4)).unwrap();
    let Unwrapped::Reply { payload, .. } = walk(&route(3), packet) else {
        panic!("no reply");
    };
    assert!(Sphinx::open_reply(&kept, payload).unwrap() == plaintext(4));
    for len in [0, 15, 16, 31, 33, 16 + 6 * 16] {
        assert!(
            sphinx::SphinxRecovery::from_bytes(&vec![1; len]).is_none(),
            "{len}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_batch_is_its_packets_one_by_one(
        picks in proptest::collection::vec((1u8..=3, 0usize..4, any::<bool>()), 0..12)
    ) {
        let packets: Vec<_> = (0..4u8)
            .map(|i| Sphinx::build(&route(1 + i % 3), &plaintext(i), &mut rng(i)).unwrap())
            .collect();
        let secrets: Vec<_> = (0..=3).map(secret).collect();
        let mut broken = packets.clone();
        broken.iter_mut().for_each(|packet| packet[40] ^= 1);
        let batch: Vec<_> = picks.iter().map(|&(key, packet, whole)| {
            let of = if whole { &packets } else { &broken };
            (&secrets[usize::from(key)], &of[packet])
        }).collect();
        let together = Sphinx::unwrap_batch(&batch);
        let apart: Vec<_> = batch.iter().map(|(s, p)| Sphinx::unwrap(s, p)).collect();
        prop_assert!(together == apart);
    }
}
