//! What building costs beside `sphinx-packet`, in one run: `cargo bench -p sphinx`.
//!
//! Each figure is the best of many short samples, ours and theirs in turns, so that what else the
//! machine does falls on both. The last lines are for scripts.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and prints"
)]

use sphinx::{Hop, PacketFormat, Sphinx};
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use std::hint::black_box;
use std::time::{Duration, Instant};
use wire::geometry::{PLAINTEXT_LEN, SPHINX_PAYLOAD_LEN};
use wire::ids::{EpochHint, NextHop, NodeId, SurbId};
use wire::rng::KeyRng;
use x25519_dalek::{PublicKey, StaticSecret};

const HOPS: u8 = 5;

fn route() -> Vec<Hop> {
    let hop = |n: u8| Hop {
        address: NextHop::Node {
            id: NodeId([n; 28]),
            epoch: EpochHint(1),
        },
        key: Sphinx::public(&Sphinx::generate(&mut KeyRng::from_seed([n; 32]))),
        delay: Duration::from_millis(50),
    };
    (1..=HOPS).map(hop).collect()
}

/// Microseconds of one call: the best sample.
struct Best(f64);

impl Best {
    fn new() -> Self {
        Self(f64::INFINITY)
    }

    fn sample(&mut self, calls: u32, mut call: impl FnMut()) {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(calls);
        self.0 = self.0.min(each);
    }
}

/// A request with its reply block, beside two packets by sphinx-packet.
fn build() -> f64 {
    let route = route();
    let plaintext = Box::new([7; PLAINTEXT_LEN]);
    let nodes: Vec<Node> = route
        .iter()
        .map(|hop| {
            let address = NodeAddressBytes::from_bytes(hop.address.to_bytes());
            Node::new(address, PublicKey::from(hop.key.0))
        })
        .collect();
    let delays = vec![Delay::new_from_millis(50); nodes.len()];
    let destination = Destination::new(DestinationAddressBytes::from_bytes([0; 32]), [0; 16]);
    let mut rng = KeyRng::from_seed([9; 32]);
    let (mut ours, mut theirs) = (Best::new(), Best::new());
    for _ in 0..60 {
        ours.sample(10, || {
            black_box(Sphinx::build_surb(&route, SurbId([1; 16]), &mut rng).unwrap());
            black_box(Sphinx::build(&route, &plaintext, &mut rng).unwrap());
        });
        theirs.sample(2, || {
            for _ in 0..2 {
                let packet = SphinxPacketBuilder::new()
                    .with_version(SINGLE_SEED_SURB_VERSION)
                    .with_payload_size(SPHINX_PAYLOAD_LEN)
                    .with_initial_secret(&StaticSecret::from(rng.bytes::<32>()))
                    .build_packet(&plaintext[..], &nodes, &destination, &delays);
                black_box(packet.unwrap());
            }
        });
    }
    println!(
        "build: request with reply block {:.1} us, two of sphinx-packet {:.1} us",
        ours.0, theirs.0
    );
    theirs.0 / ours.0
}

fn main() {
    let build = build();
    println!("ratio build {build:.2}");
}
