//! X25519 beside RFC 7748 and x25519-dalek.

use super::detect;
use crate::avx512::Avx512;
use std::iter::repeat_n;
use wire::rng::{KeyRng, Rng};

type Pair = ([u8; 32], [u8; 32]);

/// Lanes of the widest call.
const MOST: usize = 16;

/// By the kernels, in batches of `size`.
fn ours(token: Avx512, pairs: &[Pair], size: usize) -> Vec<[u8; 32]> {
    let borrowed: Vec<_> = pairs.iter().map(|(k, u)| (k, u)).collect();
    let each = borrowed.chunks(size).flat_map(|batch| token.x25519(batch));
    each.map(|secret| *secret).collect()
}

fn hex(text: &str) -> [u8; 32] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

#[test]
fn the_vectors_of_rfc_7748_in_every_lane() {
    let Some(token) = detect() else { return };
    // §5.2.
    let vectors = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ];
    let mut rng = KeyRng::from_seed([1; 32]);
    for (k, u, expected) in vectors.map(|(k, u, out)| (hex(k), hex(u), hex(out))) {
        assert_eq!(*crate::foreign::x25519(&k, &u), expected);
        for size in 1..=MOST {
            for lane in 0..size {
                let mut pairs: Vec<Pair> = (0..size).map(|_| (rng.bytes(), rng.bytes())).collect();
                pairs[lane] = (k, u);
                let at = ours(token, &pairs, size)[lane];
                assert_eq!(at, expected, "lane {lane} of {size}");
            }
        }
    }
}

/// §5.2: k and u are 9 at first; then u becomes the old k, and k what came out. In all lanes, by both calls.
fn iterate(times: usize, size: usize, expected: &str) {
    let Some(token) = detect() else { return };
    let mut nine = [0; 32];
    nine[0] = 9;
    let mut pairs = vec![(nine, nine); size];
    for _ in 0..times {
        let out = ours(token, &pairs, size);
        for (pair, out) in pairs.iter_mut().zip(out) {
            *pair = (out, pair.0);
        }
    }
    for (lane, (k, _)) in pairs.iter().enumerate() {
        assert_eq!(*k, hex(expected), "lane {lane} of {size}");
    }
}

#[test]
fn once_and_a_thousand_times() {
    for size in [8, MOST] {
        iterate(
            1,
            size,
            "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        );
        iterate(
            1_000,
            size,
            "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
        );
    }
}

#[test]
#[ignore = "two minutes: RFC 7748's million iterations, by both calls"]
fn a_million_times() {
    for size in [8, MOST] {
        iterate(
            1_000_000,
            size,
            "7c3911e0ab2586fd864497297e575e6f3bc601c0883c30df5f4dd2d24f665424",
        );
    }
}

/// Little-endian, plus a number that may be negative.
fn plus(mut bytes: [u8; 32], add: i64) -> [u8; 32] {
    let mut carry = i128::from(add);
    for byte in &mut bytes {
        carry += i128::from(*byte);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
    }
    bytes
}

fn p() -> [u8; 32] {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    p
}

/// Points where something might be special: small and near p and 2²⁵⁵, single bits and single holes, patterns on
/// the borders of limbs, of low order; all with bit 255 clear and set.
fn edge_points() -> Vec<[u8; 32]> {
    let mut points: Vec<[u8; 32]> = (0..=20).map(|n| plus([0; 32], n)).collect();
    points.extend((-20..=18).map(|n| plus(p(), n)));
    points.extend(crate::layout::LOW_ORDER);
    for bit in 0..255 {
        let mut single = [0; 32];
        single[bit / 8] = 1 << (bit % 8);
        points.push(single);
        points.push(single.map(|byte| !byte));
        // All bits below, which ends on a limb's border for each multiple of 51; and all above.
        points.push(plus(single, -1));
        points.push(plus(single, -1).map(|byte| !byte));
    }
    let set = points.clone().into_iter().map(|mut point| {
        point[31] ^= 0x80;
        point
    });
    points.extend(set.collect::<Vec<_>>());
    points
}

fn edge_scalars(rng: &mut KeyRng) -> Vec<[u8; 32]> {
    let mut bit_254 = [0; 32];
    bit_254[31] = 0x40;
    // The order of the base point, 2²⁵² + …, and 8 times it, which clamping leaves as it is but for bit 254.
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut scalars = vec![[0; 32], [0xff; 32], [0x55; 32], [0xaa; 32], bit_254, order];
    scalars.extend((1..=8).map(|n| plus(bit_254, 8 * n)));
    scalars.extend((0..4).map(|_| rng.bytes::<32>()));
    scalars
}

/// Every pair in some lane of a batch of every size, shuffled so that each lane sees all kinds.
fn compare(token: Avx512, pairs: &[Pair], seed: u8) {
    let mut rng = KeyRng::from_seed([seed; 32]);
    let (mut rest, mut zeros) = (pairs, 0);
    while !rest.is_empty() {
        let size = (1 + rng.next_u64() as usize % MOST).min(rest.len());
        let (batch, later) = rest.split_at(size);
        rest = later;
        for (lane, (out, (k, u))) in ours(token, batch, size).iter().zip(batch).enumerate() {
            let expected = x25519_dalek::x25519(*k, *u);
            assert_eq!(*out, expected, "lane {lane} of {size}: {k:x?} {u:x?}");
            zeros += usize::from(expected == [0; 32]);
        }
    }
    println!("{} pairs, {zeros} with an all-zero result", pairs.len());
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], rng: &mut KeyRng) {
    for i in (1..items.len()).rev() {
        items.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
}

#[test]
fn fifty_thousand_pairs_are_as_dalek_has_them() {
    let Some(token) = detect() else { return };
    let mut rng = KeyRng::from_seed([2; 32]);
    let mut pairs: Vec<Pair> = Vec::new();
    let scalars = edge_scalars(&mut rng);
    for point in edge_points() {
        // All scalars would be four times as many; a quarter of them, another for each point.
        let start = (rng.next_u64() % 4) as usize;
        pairs.extend(scalars.iter().skip(start).step_by(4).map(|k| (*k, point)));
        pairs.push((rng.bytes(), point));
    }
    assert!(pairs.len() > 10_000, "{}", pairs.len());
    let missing = 51_000 - pairs.len();
    pairs.extend((0..missing).map(|_| (rng.bytes(), rng.bytes())));
    shuffle(&mut pairs, &mut rng);
    compare(token, &pairs, 3);
}

#[test]
fn every_edge_point_in_every_lane_beside_zeros() {
    // The shared inversion's own danger: a lane without an inverse beside one with.
    let Some(token) = detect() else { return };
    let mut rng = KeyRng::from_seed([4; 32]);
    let (good, low_order) = ((rng.bytes(), rng.bytes()), (rng.bytes(), [0; 32]));
    let expected = x25519_dalek::x25519(good.0, good.1);
    for mask in repeat_n((), 300)
        .map(|()| rng.next_u64())
        .chain([0, u64::MAX])
    {
        let is_good = |lane: usize| mask >> lane & 1 == 1;
        let pairs: Vec<Pair> = (0..MOST)
            .map(|lane| if is_good(lane) { good } else { low_order })
            .collect();
        for (lane, out) in ours(token, &pairs, MOST).into_iter().enumerate() {
            assert_eq!(
                out,
                if is_good(lane) { expected } else { [0; 32] },
                "{lane}"
            );
        }
    }
}
