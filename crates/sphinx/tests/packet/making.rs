//! `docs/spec/packet.md` §2.3, §2.4 and §2.6 once more: making headers, requests and reply blocks, as
//! the page says it and with its chains of multiplications.
//!
//! Reference only, like `reference.rs`. Takes its randomness as bytes: x, then the padding.

use crate::reference::{Keys, ROUTING_LEN, apply_keystream, lioness_encrypt};
use wire::geometry::{SPHINX_PAYLOAD_LEN, SURB_LEN};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

const HOP_LEN: usize = 60;

/// One hop: how it is addressed, its key, its delay in nanoseconds.
pub(crate) struct Hop {
    pub(crate) address: [u8; 32],
    pub(crate) key: [u8; 32],
    pub(crate) delay: u64,
}

/// A header and its hops' payload key seeds.
fn header(route: &[Hop], identifier: [u8; 16], random: &[u8]) -> (Vec<u8>, Vec<[u8; 16]>) {
    let (x, padding) = random.split_first_chunk::<32>().unwrap();
    let mut scalars = vec![*x];
    let mut keys = Vec::new();
    for hop in route {
        let secret = scalars
            .iter()
            .fold(hop.key, |point, scalar| x25519(*scalar, point));
        let of_hop = Keys::of(&secret);
        scalars.push(of_hop.blinding);
        keys.push(of_hop);
    }
    let last = route.len() - 1;
    let mut filler = Vec::new();
    for keys in &keys[..last] {
        filler.extend([0; HOP_LEN]);
        let mut stream = [0; ROUTING_LEN + HOP_LEN];
        apply_keystream(&keys.stream, &mut stream);
        let end = &stream[stream.len() - filler.len()..];
        filler.iter_mut().zip(end).for_each(|(f, s)| *f ^= s);
    }
    let mut routing = [&[2, 0, 1, 4][..], &[0; 32], &identifier, padding].concat();
    apply_keystream(&keys[last].stream, &mut routing);
    routing.extend(&filler);
    assert_eq!(routing.len(), ROUTING_LEN);
    let mut mac = keys[last].mac(&routing);
    for i in (0..last).rev() {
        routing.truncate(ROUTING_LEN - HOP_LEN);
        let (next, delay) = (&route[i + 1].address, route[i].delay.to_be_bytes());
        routing = [&[1, 0, 1, 4][..], next, &delay, &mac, &routing].concat();
        apply_keystream(&keys[i].stream, &mut routing);
        mac = keys[i].mac(&routing);
    }
    let alpha = x25519(*x, X25519_BASEPOINT_BYTES);
    let header = [&alpha[..], &mac, &routing].concat();
    (header, keys.iter().map(|keys| keys.seed).collect())
}

/// A request's packet.
pub(crate) fn request(route: &[Hop], plaintext: &[u8], random: &[u8]) -> Vec<u8> {
    let (header, seeds) = header(route, [0; 16], random);
    let mut payload = [&[0; 16][..], plaintext, &[1]].concat();
    assert_eq!(payload.len(), SPHINX_PAYLOAD_LEN);
    for seed in seeds.iter().rev() {
        lioness_encrypt(seed, &mut payload);
    }
    [header, payload].concat()
}

/// A reply block, and its recovery material.
pub(crate) fn reply_block(
    route: &[Hop],
    identifier: [u8; 16],
    random: &[u8],
) -> (Vec<u8>, Vec<u8>) {
    let (header, seeds) = header(route, identifier, random);
    let block = [&header[..], &route[0].address, seeds.last().unwrap()].concat();
    assert_eq!(block.len(), SURB_LEN);
    let recovery = [&identifier[..], seeds.as_flattened()].concat();
    (block, recovery)
}
