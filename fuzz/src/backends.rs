//! Batches of packets at one hop, by each backend: `aws-lc`, `avx512` (where the processor can), and `sphinx-packet`,
//! whose format this is. They must agree on everything: bytes, next hops, delays, tags, reasons, and on whom they ask.

use crate::padded;
use crate::reference::{self, ROUTING_LEN};
use sphinx::{Backend, DiscardReason, ReplayTag, SphinxSecret, Unwrapped};
use wire::frame::PacketBytes;
use wire::geometry::{PACKET_LEN, SPHINX_PAYLOAD_LEN};

/// More than one batch of the widest kernel.
const MOST: usize = 20;

/// Bytes, one after another; zeros when they are used up.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

/// Kind and key; α or a scalar; what the hop reads first; where it is tampered with.
type Head = (u8, [u8; 32], [u8; 60], [u8; 2]);

/// The first byte says how many packets. For each: a byte for its kind and its key, its α or a scalar, and what the hop
/// reads first; what is left of the input is the payload of all, and decides whom the replay set refuses.
pub fn backends(data: &[u8]) {
    let mut source = Source(data);
    let size = 1 + usize::from(source.byte()) % MOST;
    let refused = u32::from_be_bytes(source.array());
    let heads: Vec<Head> = (0..size)
        .map(|_| {
            (
                source.byte(),
                source.array(),
                source.array(),
                source.array(),
            )
        })
        .collect();
    let payload = padded::<SPHINX_PAYLOAD_LEN>(source.0);
    let secrets = [[0x11; 32], [0xff; 32], [0; 32]];
    let keys = secrets.map(SphinxSecret::from_bytes);
    let packets: Vec<(usize, PacketBytes)> = heads
        .iter()
        .map(|(kind, alpha, start, at)| {
            let key = usize::from(kind >> 4) % keys.len();
            (
                key,
                packet(*kind, &secrets[key], *alpha, start, *at, &payload),
            )
        })
        .collect();
    let batch: Vec<_> = packets
        .iter()
        .map(|(key, packet)| (&keys[*key], packet))
        .collect();
    let expected = run(Backend::SphinxPacket, &batch, refused);
    for backend in [Backend::AwsLc, Backend::Avx512] {
        // Where the processor cannot, this is `aws-lc` once more.
        let ours = run(backend, &batch, refused);
        assert!(ours.0 == expected.0, "{backend:?}: other outcomes");
        assert!(ours.1 == expected.1, "{backend:?}: other questions");
    }
}

fn packet(
    kind: u8,
    secret: &[u8; 32],
    alpha: [u8; 32],
    start: &[u8; 60],
    at: [u8; 2],
    payload: &[u8; SPHINX_PAYLOAD_LEN],
) -> PacketBytes {
    let mut routing = [0; ROUTING_LEN];
    routing[..start.len()].copy_from_slice(start);
    if kind & 4 != 0 {
        // What can be read: forward or final.
        routing[..6].copy_from_slice(&[1 + (start[0] & 1), start[1], 1, 4, 0, 1]);
    }
    let shared = x25519_dalek::x25519(*secret, alpha);
    let mut packet = reference::forge(alpha, &shared, &routing, payload);
    match kind & 3 {
        // One bit is changed.
        1 => {
            let bit = usize::from(u16::from_be_bytes(at)) % (8 * PACKET_LEN);
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        // Another encoding of α, or another α.
        2 => packet[31] ^= 0x80,
        // No packet at all, but for its α.
        3 => packet[32..].copy_from_slice(&padded::<{ PACKET_LEN - 32 }>(start)[..]),
        _ => {}
    }
    packet
}

type Outcome = Result<Unwrapped, DiscardReason>;

/// What came out, and who was asked for.
fn run(
    backend: Backend,
    batch: &[(&SphinxSecret, &PacketBytes)],
    refused: u32,
) -> (Vec<Outcome>, Vec<(usize, ReplayTag)>) {
    let mut asked = Vec::new();
    let outcomes = backend.unwrap_batch_if(batch, &mut |at, tag| {
        asked.push((at, tag));
        if refused >> at & 1 == 1 {
            return Err(DiscardReason::Replayed);
        }
        Ok(())
    });
    (outcomes, asked)
}
