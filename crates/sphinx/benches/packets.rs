//! What building and unwrapping cost beside `sphinx-packet`, in one run: `cargo bench -p sphinx`.
//!
//! Each figure is the best of many samples, each short enough to fit between two interruptions, ours and
//! theirs in turns, so that what else the machine does falls on both. The last lines are for scripts.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark reads the clock and prints"
)]

use sphinx::{Backend, DiscardReason, Hop, PacketFormat, Sphinx, SphinxSecret};
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{ProcessedPacketData, SphinxPacket, SphinxPacketBuilder};
use std::hint::black_box;
use std::time::{Duration, Instant};
use wire::frame::PacketBytes;
use wire::geometry::{PLAINTEXT_LEN, SPHINX_PAYLOAD_LEN};
use wire::ids::{EpochHint, NextHop, NodeId, SurbId};
use wire::rng::KeyRng;
use x25519_dalek::{PublicKey, StaticSecret};

const HOPS: u8 = 5;
/// Packets of a batch.
const BATCH: usize = 16;
/// Of each figure.
const SAMPLES: usize = 1_000;

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

    fn sample(&mut self, call: impl FnOnce()) {
        let start = Instant::now();
        call();
        self.0 = self.0.min(start.elapsed().as_secs_f64() * 1e6);
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
    for _ in 0..SAMPLES {
        ours.sample(|| {
            black_box(Sphinx::build_surb(&route, SurbId([1; 16]), &mut rng).unwrap());
            black_box(Sphinx::build(&route, &plaintext, &mut rng).unwrap());
        });
        let secret = StaticSecret::from(rng.bytes::<32>());
        theirs.sample(|| {
            let packet = SphinxPacketBuilder::new()
                .with_version(SINGLE_SEED_SURB_VERSION)
                .with_payload_size(SPHINX_PAYLOAD_LEN)
                .with_initial_secret(&secret)
                .build_packet(&plaintext[..], &nodes, &destination, &delays);
            black_box(packet.unwrap());
        });
    }
    println!(
        "build: request with reply block {:.1} us, two of sphinx-packet {:.1} us",
        ours.0,
        2.0 * theirs.0
    );
    2.0 * theirs.0 / ours.0
}

/// Sixteen forward packets, as they come to one node.
struct Load {
    secret: SphinxSecret,
    packets: Vec<PacketBytes>,
}

impl Load {
    fn new() -> Self {
        let plaintext = Box::new([7; PLAINTEXT_LEN]);
        let mut rng = KeyRng::from_seed([8; 32]);
        Self {
            secret: Sphinx::generate(&mut KeyRng::from_seed([1; 32])),
            packets: (0..BATCH)
                .map(|_| Sphinx::build(&route(), &plaintext, &mut rng).unwrap())
                .collect(),
        }
    }

    fn batch(&self) -> Vec<(&SphinxSecret, &PacketBytes)> {
        self.packets.iter().map(|p| (&self.secret, p)).collect()
    }

    /// By sphinx-packet alone, from bytes to bytes, as ours.
    fn by_sphinx_packet(&self, secret: &StaticSecret) {
        for packet in &self.packets {
            let packet = SphinxPacket::from_bytes(&packet[..]).unwrap();
            let ProcessedPacketData::ForwardHop {
                next_hop_packet, ..
            } = packet.process(secret).unwrap().data
            else {
                panic!("every packet of the load goes on");
            };
            black_box(next_hop_packet.to_bytes());
        }
    }
}

/// Each backend's share of sphinx-packet's time.
fn unwrap() -> Vec<(Backend, f64)> {
    let good = Load::new();
    let mut bad = Load::new();
    bad.packets.iter_mut().for_each(|packet| packet[40] ^= 1);
    let theirs_secret = StaticSecret::from(KeyRng::from_seed([1; 32]).bytes::<32>());
    let backends: Vec<_> = [Backend::AwsLc, Backend::Avx512]
        .into_iter()
        .filter(|backend| backend.is_available())
        .collect();
    let mut theirs = Best::new();
    let mut ours: Vec<_> = backends
        .iter()
        .map(|_| std::array::from_fn::<_, 5, _>(|_| Best::new()))
        .collect();
    for _ in 0..SAMPLES {
        theirs.sample(|| good.by_sphinx_packet(&theirs_secret));
        for (backend, [whole, single, pair, tampered, replayed]) in backends.iter().zip(&mut ours) {
            let run = |batch: &[_], admit: Result<(), DiscardReason>| {
                black_box(backend.unwrap_batch_if(batch, &mut |_, _| admit));
            };
            whole.sample(|| run(&good.batch(), Ok(())));
            single.sample(|| run(&good.batch()[..1], Ok(())));
            pair.sample(|| run(&good.batch()[..2], Ok(())));
            tampered.sample(|| run(&bad.batch(), Ok(())));
            replayed.sample(|| run(&good.batch(), Err(DiscardReason::Replayed)));
        }
    }
    let theirs = theirs.0 / BATCH as f64;
    println!("unwrap, sphinx-packet: {theirs:.2} us each");
    for (backend, [whole, single, pair, tampered, replayed]) in backends.iter().zip(&ours) {
        let each = whole.0 / BATCH as f64;
        println!(
            "unwrap, {}: {each:.2} us each of 16, {:.2} alone, {:.2} each of 2; \
             bad MAC {:.2} ({:.0} %), replay {:.2} ({:.0} %)",
            backend.name(),
            single.0,
            pair.0 / 2.0,
            tampered.0 / BATCH as f64,
            tampered.0 / whole.0 * 100.0,
            replayed.0 / BATCH as f64,
            replayed.0 / whole.0 * 100.0,
        );
    }
    let ratio = |of: &[Best; 5]| theirs / (of[0].0 / BATCH as f64);
    backends.into_iter().zip(ours.iter().map(ratio)).collect()
}

fn main() {
    let build = build();
    let unwrap = unwrap();
    println!("ratio build {build:.2}");
    for (backend, ratio) in &unwrap {
        println!("ratio unwrap-{} {ratio:.2}", backend.name());
    }
    if !Backend::Avx512.is_available() {
        println!("SKIPPED: ratio unwrap-avx512, which this processor lacks");
    }
}
