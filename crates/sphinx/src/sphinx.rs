//! [`Sphinx`]: the format that goes over the network, by the crate `sphinx-packet`.
//!
//! The only file that imports `sphinx_packet` and `x25519_dalek`. Not here: the replay set (the
//! caller's, `mizzle_core::hop`), and what a request or a reply says (`wire::request`).
//! Specified in `docs/spec/packet.md`.
//!
//! Version 260 is named wherever a version can be named, and every secret comes from the caller's
//! [`KeyRng`]. Two things of `sphinx-packet` are as they are: it pads the last hop's routing
//! information from the process-wide generator (so equal seeds give packets that differ, in bytes
//! that no receiver reads), and it does not show the first of the three version bytes, which is therefore
//! ignored on receipt.

use crate::DiscardReason;
use crate::format::{BuildError, Hop, PacketFormat, PayloadBytes, ReplayTag, Unwrapped};
use sphinx_packet::header::SphinxHeader;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::payload::Payload;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{
    ErrorKind, ProcessedPacketData, SURB, SURBMaterial, SphinxPacket, SphinxPacketBuilder,
    SurbReplyRecovery,
};
use std::sync::LazyLock;
use std::time::Duration;
use subtle::ConstantTimeEq;
use wire::frame::{PacketBytes, boxed};
use wire::geometry::{
    MAX_HOPS, PACKET_LEN, PLAINTEXT_LEN, SPHINX_HEADER_LEN, SPHINX_PAYLOAD_LEN,
    SPHINX_PAYLOAD_OVERHEAD,
};
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Zero bytes in front of a plaintext; what is left of a changed payload has none.
const ZEROS_LEN: usize = SPHINX_PAYLOAD_OVERHEAD - 1;
/// The last byte of every honest payload.
const PADDING_MARKER: u8 = 1;
/// The identifier that stands in a request's header, where a reply has its [`SurbId`].
const REQUEST_ID: [u8; SurbId::LEN] = [0; SurbId::LEN];

const _: () = {
    assert!(sphinx_packet::header::HEADER_SIZE == SPHINX_HEADER_LEN);
    assert!(sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE == SPHINX_PAYLOAD_OVERHEAD);
    assert!(sphinx_packet::constants::MAX_PATH_LENGTH == MAX_HOPS);
    assert!(sphinx_packet::constants::IDENTIFIER_LENGTH == SurbId::LEN);
};

/// The format that goes over the network.
pub struct Sphinx;

/// A node's X25519 key for one epoch. Wiped on drop; no `Debug`, no `Clone`.
pub struct SphinxSecret(StaticSecret);

impl SphinxSecret {
    /// From 32 random bytes, which the caller wipes. They are clamped at use (RFC 7748).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StaticSecret::from(bytes))
    }
}

/// A reply block's identifier and all its payload key seeds. Wiped on drop; no `Debug`, no `Clone`.
pub struct SphinxRecovery(SurbReplyRecovery);

impl SphinxRecovery {
    /// `identifier (16) ‖ seeds (16 for each hop)`; `None` unless it holds 1 to 5 seeds.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        SurbReplyRecovery::from_bytes(bytes).ok().map(Self)
    }

    /// What [`SphinxRecovery::from_bytes`] reads; the caller keeps it secret.
    pub fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl PacketFormat for Sphinx {
    type Secret = SphinxSecret;
    type Recovery = SphinxRecovery;

    fn generate(rng: &mut KeyRng) -> SphinxSecret {
        SphinxSecret(draw_secret(rng))
    }

    fn public(secret: &SphinxSecret) -> SphinxPublic {
        SphinxPublic(PublicKey::from(&secret.0).to_bytes())
    }

    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError> {
        let route = Route::new(route)?;
        Ok(packet_bytes(&wrap(&route, plaintext, &draw_secret(rng))))
    }

    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, SphinxRecovery), BuildError> {
        if id.0 == REQUEST_ID {
            return Err(BuildError::ZeroSurbId);
        }
        let (surb, recovery) = wrap_surb(Route::new(route)?, id, draw_secret(rng));
        Ok((boxed(surb.to_bytes()), SphinxRecovery(recovery)))
    }

    fn unwrap(secret: &SphinxSecret, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        let packet = parse_packet(packet);
        let expanded = packet.header.compute_expanded_shared_secret(&secret.0);
        let tag = *expanded.replay_tag();
        if tag.ct_eq(&*ZERO_SECRET_TAG).into() {
            return Err(DiscardReason::ZeroSecret);
        }
        let processed = packet
            .process_with_expanded_secret(&expanded)
            .map_err(|error| discard_reason(error.kind()))?;
        if processed.version != SINGLE_SEED_SURB_VERSION {
            return Err(DiscardReason::BadVersion);
        }
        unwrapped(ReplayTag(tag), processed.data)
    }

    fn use_surb(
        surb: &SurbBytes,
        plaintext: &Plaintext,
    ) -> Result<(NextHop, PacketBytes), DiscardReason> {
        let (packet, first) = SURB::from_bytes(&surb[..])
            .and_then(|surb| surb.use_surb(&plaintext[..], SPHINX_PAYLOAD_LEN))
            .map_err(|_| DiscardReason::BadSurb)?;
        let first = NextHop::from_bytes(first.to_bytes()).map_err(|_| DiscardReason::BadSurb)?;
        Ok((first, packet_bytes(&packet)))
    }

    fn open_reply(
        recovery: &SphinxRecovery,
        payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason> {
        let opened = Payload::from_bytes(&payload[..])
            .and_then(|sealed| recovery.0.unseal(sealed))
            .map_err(|_| DiscardReason::BadPayload)?;
        read_plaintext(opened.as_bytes()).ok_or(DiscardReason::BadPayload)
    }
}

/// What the all-zero secret expands to: known to everybody, so that comparing tags tells it apart
/// without a second multiplication.
static ZERO_SECRET_TAG: LazyLock<[u8; 32]> = LazyLock::new(|| {
    let header = SphinxHeader::from_bytes(&[0; SPHINX_HEADER_LEN])
        .expect("a header has one length, and no bytes of it are refused unread");
    // α = 0 gives the zero secret with any key.
    *header
        .compute_expanded_shared_secret(&StaticSecret::from([1; 32]))
        .replay_tag()
});

/// The u-coordinates of low order on the curve and its twist (orders 1, 2, 4 and 8), and those of
/// their other encodings that differ in more than the ignored bit 255.
const LOW_ORDER: [[u8; 32]; 7] = {
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

fn is_low_order(key: &SphinxPublic) -> bool {
    let mut masked = key.0;
    masked[31] &= 0x7f;
    LOW_ORDER.contains(&masked)
}

fn draw_secret(rng: &mut KeyRng) -> StaticSecret {
    StaticSecret::from(*Zeroizing::new(rng.bytes()))
}

fn destination(identifier: [u8; SurbId::LEN]) -> Destination {
    Destination::new(DestinationAddressBytes::from_bytes([0; 32]), identifier)
}

/// A checked route as sphinx-packet takes it.
struct Route {
    nodes: Vec<Node>,
    delays: Vec<Delay>,
}

impl Route {
    fn new(hops: &[Hop]) -> Result<Self, BuildError> {
        if !(1..=MAX_HOPS).contains(&hops.len()) {
            return Err(BuildError::RouteLength);
        }
        if hops.iter().any(|hop| is_low_order(&hop.key)) {
            return Err(BuildError::BadKey);
        }
        let nodes = hops
            .iter()
            .map(|hop| {
                let address = NodeAddressBytes::from_bytes(hop.address.to_bytes());
                Node::new(address, PublicKey::from(hop.key.0))
            })
            .collect();
        let mut delays: Vec<Delay> = hops.iter().map(|hop| delay(hop.delay)).collect();
        // The last hop has no delay field; sphinx-packet wants a value and writes it nowhere.
        delays[hops.len() - 1] = Delay::new_from_nanos(0);
        Ok(Self { nodes, delays })
    }
}

fn wrap(route: &Route, plaintext: &Plaintext, secret: &StaticSecret) -> SphinxPacket {
    SphinxPacketBuilder::new()
        .with_version(SINGLE_SEED_SURB_VERSION)
        .with_payload_size(SPHINX_PAYLOAD_LEN)
        .with_initial_secret(secret)
        .build_packet(
            &plaintext[..],
            &route.nodes,
            &destination(REQUEST_ID),
            &route.delays,
        )
        .expect("1 to 5 hops, as many delays, and a plaintext that fits by its type")
}

fn wrap_surb(route: Route, id: SurbId, secret: StaticSecret) -> (SURB, SurbReplyRecovery) {
    let material = SURBMaterial::new(
        route.nodes,
        route.delays,
        destination(id.0),
        SINGLE_SEED_SURB_VERSION,
    );
    SURB::new_recoverable(secret, material)
        .expect("1 to 5 hops, as many delays, version 260 and an identifier that is not zero")
}

fn parse_packet(packet: &PacketBytes) -> SphinxPacket {
    SphinxPacket::from_bytes(&packet[..])
        .expect("a packet has one length, and no bytes of it are refused unread")
}

/// Longer than 584 years stays 584 years.
fn delay(duration: Duration) -> Delay {
    Delay::new_from_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Of an error in processing a packet whose length is right: each kind has one cause there.
fn discard_reason(kind: ErrorKind) -> DiscardReason {
    match kind {
        ErrorKind::InvalidHeader => DiscardReason::BadMac,
        ErrorKind::InvalidRouting => DiscardReason::BadRouting,
        ErrorKind::InvalidPayload | ErrorKind::InvalidPacket | ErrorKind::InvalidSURB => {
            DiscardReason::BadPayload
        }
    }
}

fn unwrapped(tag: ReplayTag, data: ProcessedPacketData) -> Result<Unwrapped, DiscardReason> {
    match data {
        ProcessedPacketData::ForwardHop {
            next_hop_packet,
            next_hop_address,
            delay,
        } => Ok(Unwrapped::Forward {
            tag,
            next: NextHop::from_bytes(next_hop_address.to_bytes())
                .map_err(|_| DiscardReason::BadRouting)?,
            delay: delay.to_duration(),
            packet: packet_bytes(&next_hop_packet),
        }),
        // The destination address says nothing here: the packet has arrived.
        ProcessedPacketData::FinalHop {
            destination: _,
            identifier: REQUEST_ID,
            payload,
        } => Ok(Unwrapped::Request {
            tag,
            plaintext: read_plaintext(payload.as_bytes()),
        }),
        ProcessedPacketData::FinalHop {
            destination: _,
            identifier,
            payload,
        } => Ok(Unwrapped::Reply {
            tag,
            surb: SurbId(identifier),
            payload: boxed(payload.into_bytes()),
        }),
    }
}

fn packet_bytes(packet: &SphinxPacket) -> PacketBytes {
    let mut bytes = Vec::with_capacity(PACKET_LEN);
    bytes.extend_from_slice(&packet.header.to_bytes());
    bytes.extend_from_slice(packet.payload.as_bytes());
    boxed(bytes)
}

/// Reads `zeros (16) ‖ plaintext (2465) ‖ 01`. Stricter than sphinx-packet, which would take a
/// shorter plaintext.
fn read_plaintext(payload: &[u8]) -> Option<Plaintext> {
    let (zeros, rest) = payload.split_first_chunk::<ZEROS_LEN>()?;
    let (plaintext, marker) = rest.split_first_chunk::<PLAINTEXT_LEN>()?;
    (*zeros == [0; ZEROS_LEN] && marker == [PADDING_MARKER]).then(|| Box::new(*plaintext))
}
