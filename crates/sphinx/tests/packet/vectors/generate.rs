//! What made the files in `tests/vectors/`, once. Does nothing while they exist, so that a run of
//! all ignored tests leaves them alone: other bytes would be another format.

use super::{Fields, array, hex, path, sphinx_call};
use crate::forged::{forged, of_version};
use crate::reference::{ROUTING_LEN, forge};
use crate::support::*;
use sphinx::{Hop, PacketFormat, Sphinx, Unwrapped};
use std::fmt::Write as _;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::{SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN};
use wire::keys::SphinxPublic;
use wire::rng::Rng;

#[test]
#[ignore = "writes those of tests/vectors that are missing"]
fn generate() {
    for (name, text) in [
        ("request-1", request(&extreme_route(1))),
        ("request-5", request(&extreme_route(5))),
        ("reply-5", reply()),
        ("alpha", alpha()),
        ("failures", failures()),
        ("build-request", build("build")),
        ("build-reply", build("build_surb")),
    ] {
        if !path(name).exists() {
            let text = format!("# Specified in docs/spec/packet.md §6.\n\n{text}");
            std::fs::write(path(name), text).unwrap();
        }
    }
}

/// A block's text, and the packet that goes on from it.
fn block(comment: &str, call: &str, inputs: &[(&'static str, String)]) -> (String, PacketBytes) {
    let mut fields: Fields = inputs.iter().cloned().collect();
    let onward = sphinx_call(call, &mut fields);
    let mut text = format!("# {comment}\n{call}\n");
    for (name, value) in &fields {
        writeln!(text, "{name} = {value}").unwrap();
    }
    text.push('\n');
    (text, onward.unwrap_or_else(|| Box::new([0; _])))
}

fn unwrap_block(comment: &str, n: u8, packet: &PacketBytes) -> (String, PacketBytes) {
    let inputs = [
        ("secret", hex(&secret_bytes(n))),
        ("packet", hex(&packet[..])),
    ];
    block(comment, "unwrap", &inputs)
}

/// Every packet on its way over `route`.
fn walk_blocks(route: &[Hop], mut packet: PacketBytes) -> String {
    let mut text = String::new();
    for n in 1..=route.len() {
        let comment = format!("Hop {n} of {}.", route.len());
        let (block, onward) = unwrap_block(&comment, n as u8, &packet);
        text += &block;
        packet = onward;
    }
    text
}

fn extreme_route(len: u8) -> Vec<Hop> {
    let mut route = route(len);
    for (hop, nanos) in route.iter_mut().zip([0, 1, u64::MAX, 50_000_000]) {
        hop.delay = Duration::from_nanos(nanos);
    }
    route
}

fn request(route: &[Hop]) -> String {
    let packet = Sphinx::build(route, &plaintext(21), &mut rng(121)).unwrap();
    walk_blocks(route, packet)
}

fn reply() -> String {
    let mut route = reply_route(5);
    route[3].delay = Duration::from_nanos(123_456_789);
    let (surb, recovery) = Sphinx::build_surb(&route, SURB, &mut rng(122)).unwrap();
    let inputs = [
        ("surb", hex(&surb[..])),
        ("plaintext", hex(&plaintext(22)[..])),
    ];
    let (used, packet) = block("At the answering gateway.", "use_surb", &inputs);
    let Unwrapped::Reply { payload, .. } = walk(&route, packet.clone()) else {
        panic!("no reply");
    };
    let inputs = [
        ("recovery", hex(&recovery.expose_bytes())),
        ("payload", hex(&payload[..])),
    ];
    let (opened, _) = block("At the maker of the reply block.", "open_reply", &inputs);
    used + &walk_blocks(&route, packet) + &opened
}

fn alpha() -> String {
    let shared_secret = Sphinx::public(&secret(1)).0;
    let mut routing = [0; ROUTING_LEN];
    routing[..4].copy_from_slice(&[2, 0, 1, 4]);
    [
        ("The base point.", crate::alpha::base()),
        (
            "Its other encoding.",
            array(crate::alpha::BASE_NON_CANONICAL),
        ),
        (
            "The base point plus the point of order 2.",
            array(crate::alpha::BASE_PLUS_LOW_ORDER[0]),
        ),
        (
            "The base point plus a point of order 8, with bit 255 set.",
            crate::alpha::with_bit_255(array(crate::alpha::BASE_PLUS_LOW_ORDER[3])),
        ),
    ]
    .into_iter()
    .map(|(comment, alpha)| {
        let packet = forge(alpha, &shared_secret, &routing, &[0; SPHINX_PAYLOAD_LEN]);
        unwrap_block(comment, 1, &packet).0
    })
    .collect()
}

fn failures() -> String {
    let whole = one_hop_request();
    let flipped = |at: usize| {
        let mut packet = whole.clone();
        packet[at] ^= 0x10;
        packet
    };
    let zero = |alpha| {
        let mut routing = [0; ROUTING_LEN];
        routing[..4].copy_from_slice(&[2, 0, 1, 4]);
        forge(alpha, &[0; 32], &routing, &[0; SPHINX_PAYLOAD_LEN])
    };
    let low_order: Vec<_> = crate::alpha::low_order().collect();
    let mut text: String = [
        ("A key it is not for.", 2, whole.clone()),
        ("A bit of α changed.", 1, flipped(0)),
        ("A bit of the MAC changed.", 1, flipped(40)),
        ("A bit of the routing information changed.", 1, flipped(347)),
        ("α is zero and the MAC right.", 1, zero(low_order[0])),
        ("α is of order 8 and the MAC right.", 1, zero(low_order[4])),
        ("Version 259.", 1, of_version(259, 1)),
        ("Flag 3.", 1, forged(&[3, 0, 1, 4, 0, 1])),
        ("A next hop of kind 1.", 1, forged(&[1, 0, 1, 4, 1, 1])),
        ("A next hop of format 2.", 1, forged(&[1, 0, 1, 4, 0, 2])),
        ("A bit of the payload changed.", 1, flipped(2829)),
    ]
    .iter()
    .map(|(comment, n, packet)| unwrap_block(comment, *n, packet).0)
    .collect();
    let (mut surb, recovery) = Sphinx::build_surb(&route(1), SURB, &mut rng(123)).unwrap();
    surb[SPHINX_HEADER_LEN] = 1;
    let inputs = [
        ("surb", hex(&surb[..])),
        ("plaintext", hex(&plaintext(23)[..])),
    ];
    text += &block(
        "A reply block whose first hop is of kind 1.",
        "use_surb",
        &inputs,
    )
    .0;
    let inputs = [
        ("recovery", hex(&recovery.expose_bytes())),
        ("payload", hex(&rng(124).bytes::<SPHINX_PAYLOAD_LEN>())),
    ];
    text + &block("A payload of noise.", "open_reply", &inputs).0
}

/// Routes of one to five hops, one with a key that has a part of low order, one with a key that is
/// of low order itself.
fn build(call: &str) -> String {
    let of_len = |len: u8| (format!("{len} hops."), extreme_route(len));
    let mut mixed = extreme_route(5);
    mixed[2].key = SphinxPublic(array(crate::alpha::BASE_PLUS_LOW_ORDER[3]));
    let mut low = extreme_route(5);
    low[4].key = SphinxPublic(crate::alpha::low_order().nth(6).unwrap());
    let mut routes: Vec<_> = (1..=5).map(of_len).collect();
    routes.push((
        "The third key is the base point plus a point of order 8.".into(),
        mixed,
    ));
    routes.push(("The last key is of order 8.".into(), low));
    let blocks = routes.iter().zip(130u8..).map(|((comment, route), seed)| {
        let mut source = rng(seed);
        let mut random = source.bytes::<32>().to_vec();
        random.resize(32 + ROUTING_LEN - 60 * (route.len() - 1) - 52, 0);
        source.fill_bytes(&mut random[32..]);
        let hops = route.iter().map(|hop| {
            let delay = (hop.delay.as_nanos() as u64).to_be_bytes();
            [&hop.address.to_bytes()[..], &hop.key.0, &delay].concat()
        });
        let inputs = [
            ("seed", hex(&[seed; 32])),
            ("random", hex(&random)),
            ("route", hex(&hops.collect::<Vec<_>>().concat())),
            match call {
                "build" => ("plaintext", hex(&plaintext(seed)[..])),
                _ => ("identifier", hex(&[seed; 16])),
            },
        ];
        block(comment, call, &inputs).0
    });
    blocks.collect()
}
