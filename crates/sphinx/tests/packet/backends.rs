//! Every backend beside `sphinx-packet`: the same bytes, next hop, delay, tag and reason for
//! packets of every kind, in mixed batches of every size.
//!
//! `.ci/slow` runs the long one. A backend that this processor cannot run is SKIPPED, in so many words.

use crate::reference::{Keys, ROUTING_LEN, forge};
use crate::support::*;
use sphinx::{Backend, DiscardReason, PacketFormat, ReplayTag, Sphinx, SphinxSecret, Unwrapped};
use std::collections::{BTreeMap, BTreeSet};
use wire::frame::PacketBytes;
use wire::geometry::{PACKET_LEN, SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN};
use wire::rng::{KeyRng, Rng};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

/// What a packet in these tests may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    /// As honest people make it; at any hop of a request or a reply.
    Honest,
    /// With another node's key.
    OtherKey,
    /// One bit of the header changed.
    Header,
    /// One bit of the payload changed.
    Payload,
    /// Bit 255 of α set.
    Bit255,
    /// α of low order, the MAC right or wrong.
    LowOrder,
    /// Another encoding of α = 9, or 9 plus a point of low order.
    OtherAlpha,
    /// A right MAC over any flag, version and next hop.
    Forged,
    /// Bytes.
    Noise,
}

const KINDS: [Kind; 9] = [
    Kind::Honest,
    Kind::OtherKey,
    Kind::Header,
    Kind::Payload,
    Kind::Bit255,
    Kind::LowOrder,
    Kind::OtherAlpha,
    Kind::Forged,
    Kind::Noise,
];

/// Honest packets at every hop of routes of every length, with the node they are for.
fn pool() -> Vec<(u8, PacketBytes)> {
    let mut pool = Vec::new();
    for (len, seed) in (1..=5).flat_map(|len| (1..=2).map(move |seed| (len, seed))) {
        let request = Sphinx::build(&route(len), &plaintext(seed), &mut rng(seed)).unwrap();
        let block = Sphinx::build_surb(&reply_route(len), SURB, &mut rng(seed)).unwrap();
        let reply = Sphinx::use_surb(&block.0, &plaintext(seed)).unwrap().1;
        for mut packet in [request, reply] {
            for n in 1..=len {
                pool.push((n, packet.clone()));
                if let Unwrapped::Forward { packet: next, .. } = expect(one(n, &packet)) {
                    packet = next;
                }
            }
        }
    }
    pool
}

fn one(n: u8, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
    let batch = [(&secret(n), packet)];
    let mut results = Backend::SphinxPacket.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
    results.pop().unwrap()
}

struct Source {
    rng: KeyRng,
    pool: Vec<(u8, PacketBytes)>,
    low_order: Vec<[u8; 32]>,
    /// Other α of the secret of 9.
    other_alpha: Vec<[u8; 32]>,
}

impl Source {
    fn new(seed: u8) -> Self {
        let others = crate::alpha::BASE_PLUS_LOW_ORDER
            .into_iter()
            .chain([crate::alpha::BASE_NON_CANONICAL]);
        Self {
            rng: rng(seed),
            pool: pool(),
            low_order: crate::alpha::low_order().collect(),
            other_alpha: others.map(crate::vectors::array).collect(),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        (self.rng.next_u64() % end as u64) as usize
    }

    fn packet(&mut self, kind: Kind) -> (u8, PacketBytes) {
        let at = self.below(self.pool.len());
        let (mut n, mut packet) = self.pool[at].clone();
        let mut flip = |range: std::ops::Range<usize>, packet: &mut PacketBytes| {
            let at = range.start + self.below(range.len());
            packet[at] ^= 1 << self.below(8);
        };
        match kind {
            Kind::Honest => {}
            Kind::OtherKey => n = n % 5 + 1,
            Kind::Header => flip(0..SPHINX_HEADER_LEN, &mut packet),
            Kind::Payload => flip(SPHINX_HEADER_LEN..PACKET_LEN, &mut packet),
            Kind::Bit255 => packet[31] |= 0x80,
            Kind::LowOrder => {
                let at = self.below(self.low_order.len());
                let alpha = self.low_order[at];
                let routing = self.routing();
                packet = forge(alpha, &[0; 32], &routing, &self.payload());
                if self.below(4) == 0 {
                    packet[40] ^= 1;
                }
            }
            Kind::OtherAlpha => {
                let at = self.below(self.other_alpha.len());
                let alpha = self.other_alpha[at];
                let (shared, routing) = (Sphinx::public(&secret(n)).0, self.routing());
                packet = forge(alpha, &shared, &routing, &self.payload());
            }
            Kind::Forged => {
                let ephemeral = self.rng.bytes();
                let alpha = x25519(ephemeral, X25519_BASEPOINT_BYTES);
                let shared = x25519(ephemeral, Sphinx::public(&secret(n)).0);
                let routing = self.routing();
                packet = forge(alpha, &shared, &routing, &self.payload());
            }
            Kind::Noise => packet = Box::new(self.rng.bytes()),
        }
        (n, packet)
    }

    /// Mostly what could be read, sometimes not.
    fn routing(&mut self) -> [u8; ROUTING_LEN] {
        let mut routing = self.rng.bytes::<ROUTING_LEN>();
        routing[0] = [1, 1, 2, 2, 0, 3][self.below(6)];
        let version = [0x0104, 0x0104, 0x0104, 0x0103, 1, 0x0101][self.below(6)];
        routing[2..4].copy_from_slice(&u16::to_be_bytes(version));
        if routing[0] == 1 && self.below(4) > 0 {
            routing[4..6].copy_from_slice(&[0, 1]);
        }
        if routing[0] == 2 && self.below(2) == 0 {
            routing[36..52].fill(0);
        }
        routing
    }

    fn payload(&mut self) -> [u8; SPHINX_PAYLOAD_LEN] {
        let mut payload = self.rng.bytes();
        if self.below(2) == 0 {
            payload[..16].fill(0);
            payload[SPHINX_PAYLOAD_LEN - 1] = 1;
        }
        payload
    }
}

/// Those that this processor can run.
fn ours() -> Vec<Backend> {
    let (can, cannot) = [Backend::AwsLc, Backend::Avx512]
        .into_iter()
        .partition::<Vec<_>, _>(|backend| backend.is_available());
    for backend in cannot {
        println!(
            "SKIPPED: the backend {}, which this processor lacks",
            backend.name()
        );
    }
    can
}

/// At least `count` packets of each kind.
fn compare(count: usize, seed: u8) {
    let mut source = Source::new(seed);
    let secrets: Vec<SphinxSecret> = (0..=5).map(secret).collect();
    let mut seen = BTreeMap::<Kind, usize>::new();
    let mut reasons = BTreeMap::<&str, usize>::new();
    while KINDS
        .iter()
        .any(|kind| seen.get(kind).copied() < Some(count))
    {
        let kinds: Vec<Kind> = (0..1 + source.below(20))
            .map(|_| KINDS[source.below(KINDS.len())])
            .collect();
        let packets: Vec<_> = kinds.iter().map(|kind| source.packet(*kind)).collect();
        let batch: Vec<_> = packets
            .iter()
            .map(|(n, packet)| (&secrets[usize::from(*n)], packet))
            .collect();
        let theirs = Backend::SphinxPacket.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
        for backend in ours() {
            let results = backend.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
            assert_eq!(results.len(), theirs.len());
            for (i, (ours, theirs)) in results.iter().zip(&theirs).enumerate() {
                assert!(
                    ours == theirs,
                    "{backend:?}: {:?} at {i} of {kinds:?}",
                    kinds[i]
                );
            }
        }
        for (kind, result) in kinds.iter().zip(theirs) {
            *seen.entry(*kind).or_default() += 1;
            *reasons.entry(describe(&result)).or_default() += 1;
        }
    }
    for outcome in [
        "forward",
        "request",
        "garbage",
        "reply",
        "zero_secret",
        "bad_mac",
        "bad_version",
        "bad_routing",
    ] {
        assert!(
            reasons.get(outcome) >= Some(&(count / 20)),
            "{outcome}: {reasons:?}"
        );
    }
    println!("{seen:?}\n{reasons:?}");
}

fn describe(result: &Result<Unwrapped, DiscardReason>) -> &'static str {
    match result {
        Ok(Unwrapped::Forward { .. }) => "forward",
        Ok(Unwrapped::Request {
            plaintext: Some(_), ..
        }) => "request",
        Ok(Unwrapped::Request {
            plaintext: None, ..
        }) => "garbage",
        Ok(Unwrapped::Reply { .. }) => "reply",
        Err(reason) => reason.as_str(),
    }
}

#[test]
fn packets_of_every_kind_are_read_as_sphinx_packet_reads_them() {
    // Nine kinds: more than ten thousand packets.
    compare(1_150, 1);
}

#[test]
#[ignore = "half a minute: ten thousand packets of every kind"]
fn ten_thousand_packets_of_every_kind_are_read_as_sphinx_packet_reads_them() {
    compare(10_000, 2);
}

#[test]
fn each_whole_batch_size_of_one_kind_is_read_alike() {
    let mut source = Source::new(3);
    let secrets: Vec<SphinxSecret> = (0..=5).map(secret).collect();
    for size in 0..=40 {
        let packets: Vec<_> = (0..size).map(|_| source.packet(Kind::Honest)).collect();
        let batch: Vec<_> = packets
            .iter()
            .map(|(n, packet)| (&secrets[usize::from(*n)], packet))
            .collect();
        let theirs = Backend::SphinxPacket.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
        for backend in ours() {
            let results = backend.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
            assert!(results == theirs, "{backend:?}, {size} packets");
        }
    }
}

#[test]
fn a_packet_that_is_not_admitted_dies_of_that_reason_and_no_other_does() {
    let mut source = Source::new(4);
    let secrets: Vec<SphinxSecret> = (0..=5).map(secret).collect();
    let packets: Vec<_> = (0..37)
        .map(|i| source.packet(KINDS[i % KINDS.len()]))
        .collect();
    let batch: Vec<_> = packets
        .iter()
        .map(|(n, packet)| (&secrets[usize::from(*n)], packet))
        .collect();
    let free = Backend::SphinxPacket.unwrap_batch_if(&batch, &mut |_, _| Ok(()));
    for backend in [vec![Backend::SphinxPacket], ours()].concat() {
        let mut asked: Vec<(usize, ReplayTag)> = Vec::new();
        let results = backend.unwrap_batch_if(&batch, &mut |at, tag| {
            asked.push((at, tag));
            if at % 3 == 0 {
                Err(DiscardReason::Replayed)
            } else {
                Ok(())
            }
        });
        let expected: Vec<_> = free
            .iter()
            .enumerate()
            .filter_map(|(at, result)| Some((at, result.as_ref().ok()?.tag())))
            .collect();
        assert!(asked == expected, "{backend:?}");
        for (at, (result, free)) in results.iter().zip(&free).enumerate() {
            if free.is_ok() && at % 3 == 0 {
                assert!(*result == Err(DiscardReason::Replayed), "{backend:?}: {at}");
            } else {
                assert!(result == free, "{backend:?}: {at}");
            }
        }
    }
}

#[test]
fn a_backend_can_be_forced_and_its_packets_are_the_same() {
    let packet = one_hop_request();
    let expected = one(1, &packet);
    let mut forced = BTreeSet::new();
    for backend in Backend::ALL {
        match backend.select() {
            Ok(()) => {
                assert_eq!(Backend::current(), backend);
                assert!(Sphinx::unwrap(&secret(1), &packet) == expected);
                forced.insert(backend.name());
            }
            Err(error) => {
                assert!(!backend.is_available());
                println!("SKIPPED: {error}");
            }
        }
    }
    assert!(forced.contains("aws-lc") && forced.contains("sphinx-packet"));
    Backend::best().select().unwrap();
}

#[test]
fn a_planted_difference_is_seen() {
    // The oracle's own test: a tag that differs in one bit is another outcome.
    let keys = Keys::of(&[1; 32]);
    let request = |tag| Unwrapped::Request {
        tag: ReplayTag(tag),
        plaintext: None,
    };
    let mut other = keys.tag;
    other[31] ^= 1;
    assert!(request(keys.tag) == request(keys.tag) && request(keys.tag) != request(other));
}
