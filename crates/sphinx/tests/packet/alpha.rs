//! One shared secret has many α (`docs/spec/packet.md` §5): the replay tag must not tell them
//! apart, and those that give no secret at all must be refused.

use crate::reference::{ROUTING_LEN, forge};
use crate::support::*;
use sphinx::{DiscardReason, PacketFormat, Sphinx};
use wire::geometry::SPHINX_PAYLOAD_LEN;

/// The u-coordinates of low order: orders 2, 4, 8 and 8 on the curve, 4 on the twist, and the
/// other encodings of 0 and 1.
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The base point (u = 9) plus each of the seven other points whose order divides 8.
pub(crate) const BASE_PLUS_LOW_ORDER: [&str; 7] = [
    "12c7711cc7711cc7711cc7711cc7711cc7711cc7711cc7711cc7711cc7711c47",
    "9082d437011e6b8107124deb516a0f441db7a2dc465f3852cb54831d11325121",
    "bdaa2fc8fee1947ef8edb214ae95f0bbe2485d23b9a0c7ad34ab7ce2eecdae1e",
    "bb72312170e8156f7a836313f85bee9b1fdce926ba9804a29e8d137ec67f2533",
    "d8861aa2787ad9268b7474b682e3bec3ce369a1e5e3147a26d377cfd20b5df75",
    "34da75aaa36589a450f3909138b0e8f74d2bc9b6ece81aeca9e9920ace660f1e",
    "34fc6cb7c8de58977770d95216ccdc6c8590becd919c07599414563b4ba4470f",
];

/// p + 9, another encoding of 9.
pub(crate) const BASE_NON_CANONICAL: &str =
    "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f";

/// Each of the low-order encodings, with bit 255 clear and set.
pub(crate) fn low_order() -> impl Iterator<Item = [u8; 32]> {
    LOW_ORDER.into_iter().flat_map(|hex| {
        let clear = crate::vectors::array(hex);
        [clear, with_bit_255(clear)]
    })
}

pub(crate) fn with_bit_255(mut alpha: [u8; 32]) -> [u8; 32] {
    alpha[31] |= 0x80;
    alpha
}

pub(crate) fn base() -> [u8; 32] {
    let mut base = [0; 32];
    base[0] = 9;
    base
}

#[test]
fn bit_255_of_alpha_changes_neither_tag_nor_outcome() {
    let packet = Sphinx::build(&route(5), &plaintext(1), &mut rng(1)).unwrap();
    let mut other = packet.clone();
    other[31] |= 0x80;
    assert!(other != packet);
    let (a, b) = (
        Sphinx::unwrap(&secret(1), &packet),
        Sphinx::unwrap(&secret(1), &other),
    );
    assert!(a == b && a.is_ok());
}

#[test]
fn every_alpha_of_one_secret_has_one_tag() {
    // With α = 9 the shared secret is the node's public key, and nobody needs α's logarithm.
    let shared_secret = Sphinx::public(&secret(1)).0;
    let mut routing = [0; ROUTING_LEN];
    routing[..4].copy_from_slice(&[2, 0, 1, 4]);
    let unwrap = |alpha| {
        let packet = forge(alpha, &shared_secret, &routing, &[0; SPHINX_PAYLOAD_LEN]);
        expect(Sphinx::unwrap(&secret(1), &packet)).tag()
    };
    let tag = unwrap(base());
    let others = BASE_PLUS_LOW_ORDER
        .into_iter()
        .chain([BASE_NON_CANONICAL])
        .map(crate::vectors::array);
    for alpha in others.chain([base()]) {
        assert!(unwrap(alpha) == tag, "{alpha:02x?}");
        assert!(unwrap(with_bit_255(alpha)) == tag, "{alpha:02x?}");
    }
}

#[test]
fn an_alpha_of_low_order_is_refused_even_with_the_mac_right() {
    let mut routing = [0; ROUTING_LEN];
    routing[..4].copy_from_slice(&[2, 0, 1, 4]);
    for alpha in low_order() {
        let packet = forge(alpha, &[0; 32], &routing, &[0; SPHINX_PAYLOAD_LEN]);
        for n in 1..=3 {
            let result = Sphinx::unwrap(&secret(n), &packet);
            assert_eq!(reason(result), DiscardReason::ZeroSecret, "{alpha:02x?}");
        }
    }
}
