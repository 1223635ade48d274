//! Making headers, requests and reply blocks. `docs/spec/packet.md` §2.3, §2.4, §2.6.
//!
//! One multiplication for each hop and one for α: what the specification writes as a chain of
//! multiplications is one by the product of their scalars ([`BlindedScalar`]).

use crate::foreign::{Secret32, x25519, x25519_base};
use crate::format::{BuildError, Hop};
use crate::keys::{FirstKeys, STREAM_LEN, xor};
use crate::layout::*;
use crate::lioness::PayloadKeys;
use crate::wipe::Wiped;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use std::sync::LazyLock;
use subtle::{Choice, ConditionallySelectable};
use wire::frame::PacketBytes;
use wire::geometry::{MAX_HOPS, PACKET_LEN, SPHINX_HEADER_LEN, SURB_LEN};
use wire::ids::SurbId;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::{KeyRng, Rng};
use zeroize::{Zeroize, Zeroizing};

/// The payload key seeds of a route's hops, in its order.
pub(crate) type Seeds = Zeroizing<Vec<[u8; SEED_LEN]>>;

/// A request over `route`.
pub(crate) fn request(
    route: &[Hop],
    plaintext: &Plaintext,
    rng: &mut KeyRng,
) -> Result<PacketBytes, BuildError> {
    let (header, seeds) = header(route, &REQUEST_ID, rng)?;
    Ok(sealed(&header, plaintext, &seeds))
}

/// A packet with this header, its payload encrypted for each seed, the last first.
pub(crate) fn sealed(
    header: &[u8; SPHINX_HEADER_LEN],
    plaintext: &Plaintext,
    seeds: &[[u8; SEED_LEN]],
) -> PacketBytes {
    let mut packet: PacketBytes = Box::new([0; PACKET_LEN]);
    let (front, payload) = parts_mut(&mut packet);
    *front = *header;
    write_plaintext(plaintext, payload);
    for seed in seeds.iter().rev() {
        PayloadKeys::of(seed).encrypt(payload);
    }
    packet
}

/// A reply block over `route`, and the seeds that open what comes back.
pub(crate) fn reply_block(
    route: &[Hop],
    id: SurbId,
    rng: &mut KeyRng,
) -> Result<(SurbBytes, Seeds), BuildError> {
    let (header, seeds) = header(route, &id.0, rng)?;
    let mut block: SurbBytes = Box::new([0; SURB_LEN]);
    block[..SPHINX_HEADER_LEN].copy_from_slice(&header);
    let first = route.first().ok_or(BuildError::RouteLength)?;
    block[SPHINX_HEADER_LEN..][..32].copy_from_slice(&first.address.to_bytes());
    let last = seeds.last().ok_or(BuildError::RouteLength)?;
    block[SPHINX_HEADER_LEN + 32..].copy_from_slice(last);
    Ok((block, seeds))
}

/// What a maker needs of a hop's keys.
struct BuilderKeys {
    first: FirstKeys,
    stream: Wiped<STREAM_LEN>,
    seed: [u8; SEED_LEN],
}

impl Drop for BuilderKeys {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

fn header(
    route: &[Hop],
    identifier: &[u8; SurbId::LEN],
    rng: &mut KeyRng,
) -> Result<([u8; SPHINX_HEADER_LEN], Seeds), BuildError> {
    if !(1..=MAX_HOPS).contains(&route.len()) {
        return Err(BuildError::RouteLength);
    }
    if route.iter().any(|hop| is_low_order(&hop.key)) {
        return Err(BuildError::BadKey);
    }
    let first_scalar = Zeroizing::new(rng.bytes());
    let keys = route_keys(route, &first_scalar);
    let mut routing = innermost(&keys, identifier, rng);
    let (last, before) = keys.split_last().ok_or(BuildError::RouteLength)?;
    let mut mac = last.first.mac(&routing);
    for ((hop, next), keys) in route.iter().zip(&route[1..]).zip(before).rev() {
        routing = wrapped(hop, next, &mac, &routing);
        xor(&mut routing, &*keys.stream);
        mac = keys.first.mac(&routing);
    }
    let mut header = [0; SPHINX_HEADER_LEN];
    header[..ALPHA_LEN].copy_from_slice(&x25519_base(&first_scalar));
    header[ALPHA_LEN..ROUTING_AT].copy_from_slice(&mac);
    header[ROUTING_AT..].copy_from_slice(&routing);
    let seeds = keys.iter().map(|keys| keys.seed).collect();
    Ok((header, Zeroizing::new(seeds)))
}

/// Each hop's keys.
fn route_keys(route: &[Hop], first_scalar: &[u8; 32]) -> Vec<BuilderKeys> {
    let mut scalar = BlindedScalar::new(first_scalar);
    let keys = route.iter().map(|hop| {
        let first = FirstKeys::of(&x25519(&scalar.clamped(), &hop.key.0));
        let all = first.finish();
        scalar.blind(all.blinding());
        BuilderKeys {
            stream: all.stream(),
            seed: *all.seed(),
            first,
        }
    });
    keys.collect()
}

/// The last hop's routing information, encrypted: what it reads, random padding, filler.
fn innermost(
    keys: &[BuilderKeys],
    identifier: &[u8; SurbId::LEN],
    rng: &mut KeyRng,
) -> [u8; ROUTING_LEN] {
    let mut routing = [0; ROUTING_LEN];
    let filled = HOP_LEN * (keys.len() - 1);
    let (own, filler) = routing.split_at_mut(ROUTING_LEN - filled);
    own[0] = FLAG_FINAL;
    own[1..ADDRESS_AT].copy_from_slice(&VERSION);
    own[IDENTIFIER_AT..PADDING_AT].copy_from_slice(identifier);
    rng.fill_bytes(&mut own[PADDING_AT..]);
    let (last, before) = keys.split_last().expect("a route has a hop");
    xor(own, &*last.stream);
    // What the hops before append when they read: zeros under the end of each one's stream.
    for (i, keys) in before.iter().enumerate() {
        let so_far = &mut filler[..HOP_LEN * (i + 1)];
        xor(so_far, &keys.stream[STREAM_LEN - so_far.len()..]);
    }
    routing
}

/// What `hop` reads, and behind it what it passes on.
fn wrapped(
    hop: &Hop,
    next: &Hop,
    next_mac: &[u8; MAC_LEN],
    next_routing: &[u8; ROUTING_LEN],
) -> [u8; ROUTING_LEN] {
    let mut routing = [0; ROUTING_LEN];
    routing[0] = FLAG_FORWARD;
    routing[1..ADDRESS_AT].copy_from_slice(&VERSION);
    routing[ADDRESS_AT..DELAY_AT].copy_from_slice(&next.address.to_bytes());
    routing[DELAY_AT..NEXT_MAC_AT].copy_from_slice(&delay_nanos(hop.delay).to_be_bytes());
    routing[NEXT_MAC_AT..HOP_LEN].copy_from_slice(next_mac);
    routing[HOP_LEN..].copy_from_slice(&next_routing[..ROUTING_LEN - HOP_LEN]);
    routing
}

/// The product of a packet's first scalar and the blinding factors so far, divided by 8, modulo
/// the order ℓ of the base point.
///
/// X25519 wants a multiple of 8 between 2²⁵⁴ and 2²⁵⁵, and knows no sign. The product k and −k have one
/// such number between them, because 8ℓ is a little more than 2²⁵⁵: if t = k/8 is below 2²⁵¹ then ℓ − t is not.
/// (Of the 2²⁵² values of t, 2¹²⁶ have none. No packet will ever meet one; it would die at its first hop.)
/// A multiple of 8 also takes away whatever part of low order a hop's key has, as the chain would. Only for
/// a key on the twist, to which nobody has the secret, is the result another than the chain's.
struct BlindedScalar(Scalar);

static ONE_EIGHTH: LazyLock<Scalar> = LazyLock::new(|| Scalar::from(8u8).invert());

impl BlindedScalar {
    fn new(first: &[u8; 32]) -> Self {
        let mut new = Self(*ONE_EIGHTH);
        new.blind(first);
        new
    }

    fn blind(&mut self, factor: &[u8; 32]) {
        let clamped = Zeroizing::new(clamp_integer(*factor));
        let factor = Zeroizing::new(Scalar::from_bytes_mod_order(*clamped));
        self.0 *= &*factor;
    }

    /// ± the product, as X25519 takes it.
    fn clamped(&self) -> Secret32 {
        let negative = Zeroizing::new(-self.0);
        // Bits 251 and 252 of t: 2²⁵¹ ≤ t < 2²⁵² where they are 1 and 0.
        let fits = Choice::from((self.0.as_bytes()[31] >> 3) & 1)
            & !Choice::from((self.0.as_bytes()[31] >> 4) & 1);
        let chosen = Zeroizing::new(Scalar::conditional_select(&negative, &self.0, fits));
        let mut out = Wiped(chosen.to_bytes());
        let mut carry = 0;
        for byte in out.iter_mut() {
            (*byte, carry) = ((*byte << 3) | carry, *byte >> 5);
        }
        out
    }
}

impl Drop for BlindedScalar {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x25519_dalek::x25519 as dalek;

    /// The base point plus the point of order 2, and plus one of order 8.
    const BASE_PLUS_ORDER_2: [u8; 32] = [
        0x12, 0xc7, 0x71, 0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71,
        0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71, 0x1c, 0xc7, 0x71,
        0x1c, 0x47,
    ];
    const BASE_PLUS_ORDER_8: [u8; 32] = [
        0xbb, 0x72, 0x31, 0x21, 0x70, 0xe8, 0x15, 0x6f, 0x7a, 0x83, 0x63, 0x13, 0xf8, 0x5b, 0xee,
        0x9b, 0x1f, 0xdc, 0xe9, 0x26, 0xba, 0x98, 0x04, 0xa2, 0x9e, 0x8d, 0x13, 0x7e, 0xc6, 0x7f,
        0x25, 0x33,
    ];

    #[test]
    fn one_multiplication_by_the_product_is_the_chain_of_multiplications() {
        let mut rng = KeyRng::from_seed([1; 32]);
        for round in 0..200 {
            // Points of the prime order, and such with a part of low order.
            let point = match round % 10 {
                0 => BASE_PLUS_ORDER_2,
                1 => BASE_PLUS_ORDER_8,
                _ => x25519_base(&rng.bytes()),
            };
            let factors: [[u8; 32]; MAX_HOPS] = std::array::from_fn(|_| rng.bytes());
            let mut product = BlindedScalar::new(&factors[0]);
            let mut chained = dalek(factors[0], point);
            for factor in &factors[1..] {
                assert_eq!(*x25519(&product.clamped(), &point), chained);
                product.blind(factor);
                chained = dalek(*factor, chained);
            }
            assert_eq!(*x25519(&product.clamped(), &point), chained);
        }
    }

    #[test]
    fn clamping_changes_nothing_of_a_product() {
        let mut rng = KeyRng::from_seed([2; 32]);
        let mut product = BlindedScalar::new(&rng.bytes());
        for _ in 0..1000 {
            assert_eq!(clamp_integer(*product.clamped()), *product.clamped());
            product.blind(&rng.bytes());
        }
    }
}
