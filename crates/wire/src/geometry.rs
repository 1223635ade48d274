//! Sizes, as one value with compile-time assertions. Specified in `docs/spec/packet.md` §1.
//!
//! A frame, sealed by TLS 1.3, fills two full TCP segments on IPv6 with timestamps:
//! 2 × 1428 = 2856 bytes, less 22 for TLS (5 record header, 1 content type, 16 tag).

use sha2::{Digest, Sha256};

/// Bytes that TLS 1.3 with AES-256-GCM adds to one record.
pub const TLS_OVERHEAD_LEN: usize = 22;
/// Format id, kind, epoch hint.
pub const FRAME_HEADER_LEN: usize = 4;
/// A framed packet; the plaintext of one TLS record.
pub const FRAME_LEN: usize = FRAME_HEADER_LEN + PACKET_LEN;
/// A Sphinx packet: header and payload.
pub const PACKET_LEN: usize = 2830;
/// α (32), MAC (16) and the routing information of five hops (300).
pub const SPHINX_HEADER_LEN: usize = 348;
/// The part of a packet that is re-encrypted as a whole at every hop.
pub const SPHINX_PAYLOAD_LEN: usize = PACKET_LEN - SPHINX_HEADER_LEN;
/// Zero bytes in front of the plaintext (16) and the padding marker behind it (1).
pub const SPHINX_PAYLOAD_OVERHEAD: usize = 17;
/// What a request or a reply may fill; always filled whole.
pub const PLAINTEXT_LEN: usize = SPHINX_PAYLOAD_LEN - SPHINX_PAYLOAD_OVERHEAD;
/// A single-use reply block, version 260: header, first hop's address, one payload key seed.
pub const SURB_LEN: usize = SPHINX_HEADER_LEN + 32 + 16;
/// Reply block, reply delay (8), kind (1).
pub const REQUEST_HEADER_LEN: usize = SURB_LEN + 8 + 1;
/// What a request of any kind may fill behind its header.
pub const REQUEST_BODY_LEN: usize = PLAINTEXT_LEN - REQUEST_HEADER_LEN;
/// Status (1), epoch (8) and hash (32) of the answering gateway's directory.
pub const REPLY_HEADER_LEN: usize = 1 + 8 + 32;
/// What a reply of any kind may fill behind its header.
pub const REPLY_BODY_LEN: usize = PLAINTEXT_LEN - REPLY_HEADER_LEN;
/// The sealed cell that a `Deposit` carries: what inbox id, write token and cell id leave.
pub const CELL_LEN: usize = REQUEST_BODY_LEN - 32 - 32 - 16;
/// Most hops of a route, the last one included.
pub const MAX_HOPS: usize = 5;
/// The packet layout these constants describe; the first byte of a packet's frame.
pub const FORMAT_SPHINX: u8 = 1;
/// Version of the link protocol, checked in each handshake.
pub const PROTOCOL_VERSION: u16 = 2;

const _: () = {
    assert!(FRAME_LEN + TLS_OVERHEAD_LEN == 2 * 1428);
    assert!(SURB_LEN == 396);
    assert!(SPHINX_PAYLOAD_LEN == 2482);
    assert!(CELL_LEN == 1980);
    // A Fetch's reply carries count (2), cell id (16) and a cell.
    assert!(CELL_LEN + 18 <= REPLY_BODY_LEN);
};

/// Fingerprint of every size above; two programs whose geometry differs refuse each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GeometryHash(pub [u8; 32]);

impl GeometryHash {
    /// SHA-256 over the sizes as big-endian `u32`, in the order of `docs/spec/packet.md` §1.
    pub fn current() -> Self {
        let sizes = [
            FORMAT_SPHINX as usize,
            260,
            FRAME_HEADER_LEN,
            PACKET_LEN,
            SPHINX_HEADER_LEN,
            SPHINX_PAYLOAD_LEN,
            SURB_LEN,
            REQUEST_HEADER_LEN,
            REPLY_HEADER_LEN,
            CELL_LEN,
            MAX_HOPS,
        ];
        let mut hash = Sha256::new();
        hash.update(b"mizzle-geometry-v1");
        for size in sizes {
            hash.update((size as u32).to_be_bytes());
        }
        Self(hash.finalize().into())
    }
}
