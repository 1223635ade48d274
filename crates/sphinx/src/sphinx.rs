//! [`Sphinx`]: the format that goes over the network.
//!
//! Packets and reply blocks are made and read by us; one hop's work is `sphinx-packet`'s. The only
//! file that names `sphinx_packet`. Not here: the replay set (the caller's, `mizzle_core::hop`), and
//! what a request or a reply says (`wire::request`). Specified in `docs/spec/packet.md`.
//!
//! Version 260 is named wherever a version can be named, and every secret and every padding byte
//! comes from the caller's [`KeyRng`]: equal seeds give equal packets. `sphinx-packet` does not show
//! the first of the three version bytes, which is therefore ignored on receipt.

use crate::DiscardReason;
use crate::builder::{self, Seeds};
use crate::foreign::x25519_base;
use crate::format::{BuildError, Hop, PacketFormat, PayloadBytes, ReplayTag, Unwrapped};
use crate::layout::{REQUEST_ID, read_plaintext};
use crate::lioness::PayloadKeys;
use sphinx_packet::header::SphinxHeader;
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{ErrorKind, ProcessedPacketData, SphinxPacket};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;
use wire::frame::{PacketBytes, boxed};
use wire::geometry::{MAX_HOPS, PACKET_LEN, SPHINX_HEADER_LEN, SPHINX_PAYLOAD_OVERHEAD};
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

const _: () = {
    assert!(sphinx_packet::header::HEADER_SIZE == SPHINX_HEADER_LEN);
    assert!(sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE == SPHINX_PAYLOAD_OVERHEAD);
    assert!(sphinx_packet::constants::MAX_PATH_LENGTH == MAX_HOPS);
    assert!(sphinx_packet::constants::IDENTIFIER_LENGTH == SurbId::LEN);
};

/// The format that goes over the network.
pub struct Sphinx;

/// A node's X25519 key for one epoch. Wiped on drop; no `Debug`, no `Clone`.
pub struct SphinxSecret(Zeroizing<[u8; 32]>);

impl SphinxSecret {
    /// From 32 random bytes, which the caller wipes. They are clamped at use (RFC 7748).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// A reply block's identifier and all its payload key seeds. Wiped on drop; no `Debug`, no `Clone`.
pub struct SphinxRecovery {
    id: SurbId,
    seeds: Seeds,
}

impl SphinxRecovery {
    /// `identifier (16) ‖ seeds (16 for each hop)`; `None` unless it holds 1 to 5 seeds.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (seeds, []) = rest.as_chunks() else {
            return None;
        };
        (1..=MAX_HOPS).contains(&seeds.len()).then(|| Self {
            id: SurbId(*id),
            seeds: Zeroizing::new(seeds.to_vec()),
        })
    }

    /// What [`SphinxRecovery::from_bytes`] reads; the caller keeps it secret.
    pub fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.id.0[..], self.seeds.as_flattened()].concat())
    }
}

impl PacketFormat for Sphinx {
    type Secret = SphinxSecret;
    type Recovery = SphinxRecovery;

    fn generate(rng: &mut KeyRng) -> SphinxSecret {
        SphinxSecret(Zeroizing::new(rng.bytes()))
    }

    fn public(secret: &SphinxSecret) -> SphinxPublic {
        SphinxPublic(x25519_base(&secret.0))
    }

    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError> {
        builder::request(route, plaintext, rng)
    }

    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, SphinxRecovery), BuildError> {
        if id.0 == REQUEST_ID {
            return Err(BuildError::ZeroSurbId);
        }
        let (block, seeds) = builder::reply_block(route, id, rng)?;
        Ok((block, SphinxRecovery { id, seeds }))
    }

    fn unwrap(secret: &SphinxSecret, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        let packet = parse_packet(packet);
        let expanded = packet
            .header
            .compute_expanded_shared_secret(&StaticSecret::from(*secret.0));
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
        let bad = DiscardReason::BadSurb;
        let (header, rest) = surb.split_first_chunk().ok_or(bad)?;
        let (first, rest) = rest.split_first_chunk().ok_or(bad)?;
        let first = NextHop::from_bytes(*first).map_err(|_| bad)?;
        let (seed, []) = rest.as_chunks() else {
            return Err(bad);
        };
        Ok((first, builder::sealed(header, plaintext, seed)))
    }

    fn open_reply(
        recovery: &SphinxRecovery,
        mut payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason> {
        let mut last = None;
        for seed in recovery.seeds.iter().rev() {
            let keys = PayloadKeys::of(seed);
            keys.encrypt(&mut payload);
            last.get_or_insert(keys);
        }
        last.ok_or(DiscardReason::BadPayload)?.decrypt(&mut payload);
        read_plaintext(&payload[..]).ok_or(DiscardReason::BadPayload)
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

fn parse_packet(packet: &PacketBytes) -> SphinxPacket {
    SphinxPacket::from_bytes(&packet[..])
        .expect("a packet has one length, and no bytes of it are refused unread")
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
