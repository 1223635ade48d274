//! Link frames: one fixed length for all, one frame in one TLS record. `docs/spec/link.md`.
//!
//! ```text
//! format (1) ‖ kind (1) ‖ epoch hint (2) ‖ body (2830)
//! ```
//!
//! `format` is [`FORMAT_SPHINX`] on packets and 0 on everything else.

use crate::codec::{DecodeError, Reader, Writer};
use crate::geometry::{
    FORMAT_SPHINX, FRAME_HEADER_LEN, FRAME_LEN, GeometryHash, PACKET_LEN, PROTOCOL_VERSION,
};
use crate::ids::{DirectoryHash, Epoch, EpochHint, NetworkId, SessionAddress};
use crate::time::UnixTime;

/// The bytes of one frame.
pub type FrameBytes = Box<[u8; FRAME_LEN]>;
/// The bytes of one packet.
pub type PacketBytes = Box<[u8; PACKET_LEN]>;

/// Most document bytes that one `DirectoryPart` carries.
pub const PART_LEN: usize = PACKET_LEN - 32 - 8 - 2 - 2 - 2;
/// Most parts of one directory: 2.8 MB, some 10,000 nodes.
pub const PARTS_MAX: u16 = 1024;

const KIND_PACKET: u8 = 0;
const KIND_DUMMY: u8 = 1;
const KIND_HELLO: u8 = 2;
const KIND_DIRECTORY_PART: u8 = 3;

/// What two processes say to each other once TLS stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// A Sphinx packet, and the epoch whose key opens it at the receiver.
    Packet(EpochHint, PacketBytes),
    /// Nothing; keeps a gateway's downlink constant.
    Dummy,
    /// The first frame in each direction.
    Hello(Hello),
    /// A piece of the signed directory, gateway to client.
    DirectoryPart(DirectoryPart),
}

/// The first frame in each direction.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Must be [`PROTOCOL_VERSION`].
    pub version: u16,
    /// Must be the same at both ends.
    pub network: NetworkId,
    /// Must be [`GeometryHash::current`].
    pub geometry: GeometryHash,
    /// In what part this end speaks.
    pub speaker: Speaker,
}

/// Who says a [`Hello`], and what only such a one says.
#[derive(Clone, PartialEq, Eq)]
pub enum Speaker {
    /// A node, to a node.
    Node,
    /// A client, to its gateway: its own address there.
    Client(SessionAddress),
    /// A gateway, to a client: what its clock says, so that a client with a wrong one hears of it.
    Gateway(UnixTime),
}

/// Why a handshake ends here; each ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HelloMismatch {
    /// The peer speaks another version of the link protocol.
    Version,
    /// The peer belongs to another network.
    Network,
    /// The peer's packets have other sizes.
    Geometry,
}

impl std::fmt::Display for HelloMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version => write!(f, "the peer speaks another version of the link protocol"),
            Self::Network => write!(f, "the peer belongs to another network"),
            Self::Geometry => write!(f, "the peer's packets have another geometry"),
        }
    }
}

impl std::error::Error for HelloMismatch {}

impl Hello {
    /// Ours.
    pub fn new(network: NetworkId, speaker: Speaker) -> Self {
        Self {
            version: PROTOCOL_VERSION,
            network,
            geometry: GeometryHash::current(),
            speaker,
        }
    }

    /// Compares what must be equal at both ends.
    pub fn check(&self, network: &NetworkId) -> Result<(), HelloMismatch> {
        if self.version != PROTOCOL_VERSION {
            Err(HelloMismatch::Version)
        } else if self.network != *network {
            Err(HelloMismatch::Network)
        } else if self.geometry != GeometryHash::current() {
            Err(HelloMismatch::Geometry)
        } else {
            Ok(())
        }
    }
}

/// A piece of a signed directory.
#[derive(Clone, PartialEq, Eq)]
pub struct DirectoryPart {
    /// Hash of the signed body, so that pieces of two versions are never put together.
    pub hash: DirectoryHash,
    /// The directory's epoch.
    pub epoch: Epoch,
    /// Which piece, from 0.
    pub part: u16,
    /// How many there are, at most [`PARTS_MAX`].
    pub parts: u16,
    /// At most [`PART_LEN`] bytes; exactly so many in all but the last piece.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The frame's only encoding.
    pub fn encode(&self) -> FrameBytes {
        let mut w = Writer::with_capacity(FRAME_LEN);
        match self {
            Self::Packet(hint, packet) => {
                w.u8(FORMAT_SPHINX)
                    .u8(KIND_PACKET)
                    .u16(hint.0)
                    .put(&packet[..]);
            }
            Self::Dummy => {
                w.u8(0).u8(KIND_DUMMY).u16(0);
            }
            Self::Hello(hello) => {
                w.u8(0).u8(KIND_HELLO).u16(0);
                w.u16(hello.version)
                    .put(&hello.network.0)
                    .put(&hello.geometry.0);
                match &hello.speaker {
                    Speaker::Node => w.u8(0),
                    Speaker::Client(address) => w.u8(1).put(address.as_bytes()),
                    Speaker::Gateway(time) => w.u8(2).u64(time.0),
                };
            }
            Self::DirectoryPart(part) => {
                w.u8(0).u8(KIND_DIRECTORY_PART).u16(0);
                w.put(&part.hash.0)
                    .u64(part.epoch.0)
                    .u16(part.part)
                    .u16(part.parts);
                w.u16(part.bytes.len() as u16).put(&part.bytes);
            }
        }
        boxed(w.into_padded(FRAME_LEN))
    }

    /// The first bytes of a frame that carries a packet; the packet is all that follows.
    pub const fn packet_header(hint: EpochHint) -> [u8; FRAME_HEADER_LEN] {
        let [high, low] = hint.0.to_be_bytes();
        [FORMAT_SPHINX, KIND_PACKET, high, low]
    }

    /// What a frame carries, if it is a packet: as [`Frame::decode`] reads it, without a copy.
    pub fn peek_packet(bytes: &[u8; FRAME_LEN]) -> Option<(EpochHint, &[u8; PACKET_LEN])> {
        let (header, packet) = bytes.split_first_chunk()?;
        let [FORMAT_SPHINX, KIND_PACKET, high, low] = *header else {
            return None;
        };
        let hint = EpochHint(u16::from_be_bytes([high, low]));
        Some((hint, packet.first_chunk()?))
    }

    /// Reads what [`Frame::encode`] wrote and nothing else.
    pub fn decode(bytes: &[u8; FRAME_LEN]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let (format, kind, hint) = (r.u8()?, r.u8()?, EpochHint(r.u16()?));
        if kind == KIND_PACKET {
            if format != FORMAT_SPHINX {
                return Err(DecodeError::Invalid("format"));
            }
            return Ok(Self::Packet(hint, boxed(r.rest().to_vec())));
        }
        if format != 0 || hint.0 != 0 {
            return Err(DecodeError::Invalid("format"));
        }
        let frame = match kind {
            KIND_DUMMY => Self::Dummy,
            KIND_HELLO => Self::Hello(Hello {
                version: r.u16()?,
                network: NetworkId::decode(&mut r)?,
                geometry: GeometryHash(r.array()?),
                speaker: match r.u8()? {
                    0 => Speaker::Node,
                    1 => Speaker::Client(SessionAddress::from_bytes(r.array()?)?),
                    2 => Speaker::Gateway(UnixTime(r.u64()?)),
                    _ => return Err(DecodeError::Invalid("speaker")),
                },
            }),
            KIND_DIRECTORY_PART => {
                let hash = DirectoryHash::decode(&mut r)?;
                let (epoch, part, parts) = (Epoch(r.u64()?), r.u16()?, r.u16()?);
                let len = usize::from(r.u16()?);
                if parts > PARTS_MAX || part >= parts {
                    return Err(DecodeError::Invalid("part"));
                }
                if len > PART_LEN || (part + 1 < parts && len < PART_LEN) || len == 0 {
                    return Err(DecodeError::Invalid("part length"));
                }
                let bytes = r.slice(len)?.to_vec();
                Self::DirectoryPart(DirectoryPart {
                    hash,
                    epoch,
                    part,
                    parts,
                    bytes,
                })
            }
            _ => return Err(DecodeError::Invalid("frame kind")),
        };
        r.finish_padding()?;
        Ok(frame)
    }
}

impl DirectoryPart {
    /// Cuts a signed document into frames. `None` when it has no byte or more than
    /// [`PARTS_MAX`] pieces.
    pub fn cut(hash: DirectoryHash, epoch: Epoch, document: &[u8]) -> Option<Vec<Self>> {
        let parts = u16::try_from(document.len().div_ceil(PART_LEN)).ok()?;
        (1..=PARTS_MAX).contains(&parts).then(|| {
            document
                .chunks(PART_LEN)
                .zip(0..)
                .map(|(chunk, part)| Self {
                    hash,
                    epoch,
                    part,
                    parts,
                    bytes: chunk.to_vec(),
                })
                .collect()
        })
    }
}

/// A vector of known length as a boxed array. The caller built it at that length.
pub fn boxed<const N: usize>(bytes: Vec<u8>) -> Box<[u8; N]> {
    bytes
        .into_boxed_slice()
        .try_into()
        .expect("an encoder fills its whole length")
}
