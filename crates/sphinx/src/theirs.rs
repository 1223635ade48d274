//! One hop's work by `sphinx-packet`, whose format this is: what our own unwrapping is measured
//! against and held to, and a backend that a careful operator may choose. The only file that names
//! `sphinx_packet`.
//!
//! It does not show the first of the three version bytes, which is therefore ignored on receipt by
//! all backends.

use crate::DiscardReason;
use crate::format::{ReplayTag, Unwrapped};
use crate::layout::{REQUEST_ID, read_plaintext};
use crate::sphinx::SphinxSecret;
use sphinx_packet::header::SphinxHeader;
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{ErrorKind, ProcessedPacketData, SphinxPacket};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;
use wire::frame::{PacketBytes, boxed};
use wire::geometry::{MAX_HOPS, PACKET_LEN, SPHINX_HEADER_LEN, SPHINX_PAYLOAD_OVERHEAD};
use wire::ids::{NextHop, SurbId};
use x25519_dalek::StaticSecret;

const _: () = {
    assert!(sphinx_packet::header::HEADER_SIZE == SPHINX_HEADER_LEN);
    assert!(sphinx_packet::payload::PAYLOAD_OVERHEAD_SIZE == SPHINX_PAYLOAD_OVERHEAD);
    assert!(sphinx_packet::constants::MAX_PATH_LENGTH == MAX_HOPS);
    assert!(sphinx_packet::constants::IDENTIFIER_LENGTH == SurbId::LEN);
};

pub(crate) fn unwrap(
    secret: &SphinxSecret,
    packet: &PacketBytes,
    admit: impl FnOnce(ReplayTag) -> Result<(), DiscardReason>,
) -> Result<Unwrapped, DiscardReason> {
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
    let unwrapped = unwrapped(ReplayTag(tag), processed.data)?;
    admit(ReplayTag(tag))?;
    Ok(unwrapped)
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
