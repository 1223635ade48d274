//! Routes, plaintexts and outcomes for all tests here. Nothing below tests anything.

use sphinx::{DiscardReason, Hop, PacketFormat, Sphinx, SphinxSecret, Unwrapped};
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::PLAINTEXT_LEN;
use wire::ids::{EpochHint, NextHop, NodeId, SessionAddress, SurbId};
use wire::request::Plaintext;
use wire::rng::KeyRng;

/// A source that every call with the same `seed` repeats.
pub(crate) fn rng(seed: u8) -> KeyRng {
    KeyRng::from_seed([seed; 32])
}

/// The bytes of node `n`'s key.
pub(crate) fn secret_bytes(n: u8) -> [u8; 32] {
    rng(n).bytes()
}

/// Node `n`'s key.
pub(crate) fn secret(n: u8) -> SphinxSecret {
    SphinxSecret::from_bytes(secret_bytes(n))
}

/// Node `n` as a hop; its delay is `n` milliseconds and `n` nanoseconds.
pub(crate) fn hop(n: u8) -> Hop {
    Hop {
        address: NextHop::Node {
            id: NodeId([n; 28]),
            epoch: EpochHint(0xe000 + u16::from(n)),
        },
        key: Sphinx::public(&secret(n)),
        delay: Duration::from_nanos(u64::from(n) * 1_000_001),
    }
}

/// Nodes 1 to `len`.
pub(crate) fn route(len: u8) -> Vec<Hop> {
    (1..=len).map(hop).collect()
}

/// Nodes 1 to `len` − 1, then node `len` as a client behind its session address.
pub(crate) fn reply_route(len: u8) -> Vec<Hop> {
    let mut route = route(len);
    route.last_mut().unwrap().address = session();
    route
}

/// The client's address.
pub(crate) fn session() -> NextHop {
    NextHop::Session(SessionAddress::from_random([0x5c; 32]))
}

/// The one reply block's id.
pub(crate) const SURB: SurbId = SurbId([0x1d; 16]);

/// Full, and different for every `seed`. Begins with zeros and ends with a padding marker and
/// zeros, so that a reader who looks for either too far is caught.
pub(crate) fn plaintext(seed: u8) -> Plaintext {
    let mut bytes = Box::new(rng(seed).bytes::<PLAINTEXT_LEN>());
    bytes[..20].fill(0);
    bytes[PLAINTEXT_LEN - 20..].fill(0);
    bytes[PLAINTEXT_LEN - 9] = 1;
    bytes
}

/// Takes a packet over hops 1 to `len`, checks what each forwarding hop says against `route`,
/// and gives what the last hop sees.
pub(crate) fn walk(route: &[Hop], mut packet: PacketBytes) -> Unwrapped {
    let len = route.len();
    for (i, here) in route.iter().enumerate().take(len - 1) {
        let out = expect(Sphinx::unwrap(&secret(i as u8 + 1), &packet));
        let Unwrapped::Forward {
            next,
            delay,
            packet: onward,
            ..
        } = out
        else {
            panic!("hop {i} of {len} does not forward");
        };
        assert!(next == route[i + 1].address, "address at hop {i} of {len}");
        assert_eq!(delay, here.delay, "delay at hop {i} of {len}");
        packet = onward;
    }
    expect(Sphinx::unwrap(&secret(len as u8), &packet))
}

/// `Unwrapped` has no `Debug`, so `Result::unwrap` does not take it.
pub(crate) fn expect(result: Result<Unwrapped, DiscardReason>) -> Unwrapped {
    result.unwrap_or_else(|reason| panic!("discarded: {}", reason.as_str()))
}

/// The reason, or a panic.
pub(crate) fn reason(result: Result<Unwrapped, DiscardReason>) -> DiscardReason {
    match result {
        Ok(_) => panic!("not discarded"),
        Err(reason) => reason,
    }
}

/// A request for node 1 alone.
pub(crate) fn one_hop_request() -> PacketBytes {
    Sphinx::build(&route(1), &plaintext(9), &mut rng(90)).unwrap()
}
