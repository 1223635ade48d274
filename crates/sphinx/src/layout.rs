//! Where what stands in a packet, and the checks that need no key. `docs/spec/packet.md` §2.2, §2.4, §5.

use std::time::Duration;
use wire::geometry::{
    MAX_HOPS, PACKET_LEN, PLAINTEXT_LEN, SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN,
    SPHINX_PAYLOAD_OVERHEAD,
};
use wire::ids::SurbId;
use wire::keys::SphinxPublic;
use wire::request::Plaintext;

pub(crate) const ALPHA_LEN: usize = 32;
pub(crate) const MAC_LEN: usize = 16;
/// A payload key seed.
pub(crate) const SEED_LEN: usize = 16;
/// What one hop reads of the routing information.
pub(crate) const HOP_LEN: usize = 60;
pub(crate) const ROUTING_LEN: usize = MAX_HOPS * HOP_LEN;
/// Where the routing information begins.
pub(crate) const ROUTING_AT: usize = ALPHA_LEN + MAC_LEN;

/// First byte of what a hop reads.
pub(crate) const FLAG_FORWARD: u8 = 1;
pub(crate) const FLAG_FINAL: u8 = 2;
/// Sphinx 260, as a sender writes it.
pub(crate) const VERSION: [u8; 3] = [0, 1, 4];
/// Behind flag and version.
pub(crate) const ADDRESS_AT: usize = 4;
/// A forward hop's delay, a final hop's identifier.
pub(crate) const DELAY_AT: usize = ADDRESS_AT + 32;
pub(crate) const IDENTIFIER_AT: usize = DELAY_AT;
pub(crate) const NEXT_MAC_AT: usize = DELAY_AT + 8;
/// Where a final hop's padding begins.
pub(crate) const PADDING_AT: usize = IDENTIFIER_AT + SurbId::LEN;

/// Zero bytes in front of a plaintext; what is left of a changed payload has none.
pub(crate) const ZEROS_LEN: usize = SPHINX_PAYLOAD_OVERHEAD - 1;
/// The last byte of every honest payload.
const PADDING_MARKER: u8 = 1;
/// The identifier that stands in a request's header, where a reply has its [`SurbId`].
pub(crate) const REQUEST_ID: [u8; SurbId::LEN] = [0; SurbId::LEN];

const _: () = {
    assert!(ROUTING_AT + ROUTING_LEN == SPHINX_HEADER_LEN);
    assert!(NEXT_MAC_AT + MAC_LEN == HOP_LEN);
};

/// Header and payload.
pub(crate) fn parts_mut(
    packet: &mut [u8; PACKET_LEN],
) -> (&mut [u8; SPHINX_HEADER_LEN], &mut [u8; SPHINX_PAYLOAD_LEN]) {
    let (header, payload) = packet
        .split_first_chunk_mut()
        .expect("a packet begins with its header");
    (
        header,
        payload.try_into().expect("and the payload is the rest"),
    )
}

/// `zeros (16) ‖ plaintext (2465) ‖ 01`, into a payload's place.
pub(crate) fn write_plaintext(plaintext: &Plaintext, payload: &mut [u8; SPHINX_PAYLOAD_LEN]) {
    payload[..ZEROS_LEN].fill(0);
    payload[ZEROS_LEN..][..PLAINTEXT_LEN].copy_from_slice(&plaintext[..]);
    payload[SPHINX_PAYLOAD_LEN - 1] = PADDING_MARKER;
}

/// Reads what [`write_plaintext`] wrote and nothing else; sphinx-packet would take a shorter
/// plaintext.
pub(crate) fn read_plaintext(payload: &[u8]) -> Option<Plaintext> {
    let (zeros, rest) = payload.split_first_chunk::<ZEROS_LEN>()?;
    let (plaintext, marker) = rest.split_first_chunk::<PLAINTEXT_LEN>()?;
    (*zeros == [0; ZEROS_LEN] && marker == [PADDING_MARKER]).then(|| Box::new(*plaintext))
}

/// Longer than 584 years stays 584 years.
pub(crate) fn delay_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The u-coordinates of low order on the curve and its twist (orders 1, 2, 4 and 8), and those of
/// their other encodings that differ in more than the ignored bit 255.
pub(crate) const LOW_ORDER: [[u8; 32]; 7] = {
    // p = 2²⁵⁵ − 19, little-endian.
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    let (mut one, mut p_minus_1, mut p_plus_1) = ([0; 32], p, p);
    one[0] = 1;
    p_minus_1[0] = 0xec;
    p_plus_1[0] = 0xee;
    [[0; 32], one, ORDER_8_A, ORDER_8_B, p_minus_1, p, p_plus_1]
};
const ORDER_8_A: [u8; 32] = [
    0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
    0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
];
const ORDER_8_B: [u8; 32] = [
    0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
    0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
];

/// Whether the key gives the all-zero secret with every other.
pub(crate) fn is_low_order(key: &SphinxPublic) -> bool {
    let mut masked = key.0;
    masked[31] &= 0x7f;
    LOW_ORDER.contains(&masked)
}
