//! Identifiers. None of them is a secret by itself except [`SessionAddress`] and [`WriteToken`].
//!
//! The types without `Display` are the ones that must never reach a log at info or above.

use crate::codec::{DecodeError, Reader};
use crate::geometry::FORMAT_SPHINX;
use crate::keys::IdentityPublic;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Reads one.
            pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self)
            }
        }

        impl fmt::Debug for $name {
            /// The first four bytes: enough to tell two apart in a test, too little to link.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:02x}{:02x}{:02x}{:02x}…)"),
                    self.0[0], self.0[1], self.0[2], self.0[3])
            }
        }
    };
}

id!(
    /// A mix or a gateway: SHA-256 over its identity key, cut to 28 bytes.
    NodeId, 28
);
id!(
    /// Drawn once for a network; part of every handshake and every signature.
    NetworkId, 32
);
id!(
    /// Names an inbox at one gateway. Who knows it may not read it.
    InboxId, 32
);
id!(
    /// Names a cell in an inbox; the gateway and the receiver drop doubles by it.
    CellId, 16
);
id!(
    /// Names a single-use reply block to the one who made it. Never all zero.
    SurbId, 16
);
id!(
    /// SHA-256 of a directory's signed body.
    DirectoryHash, 32
);

impl NodeId {
    /// The id that belongs to an identity key.
    pub fn of(identity: &IdentityPublic) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"mizzle-node-id-v1");
        hash.update(identity.to_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut id = [0; 28];
        id.copy_from_slice(&digest[..28]);
        Self(id)
    }
}

impl fmt::Display for NodeId {
    /// Eight hex digits; a node's id is public.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// An epoch's number: `(unix time − genesis) / epoch length`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before, or the first.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The low 16 bits, as they stand in frame headers and node addresses.
    pub const fn hint(self) -> EpochHint {
        EpochHint(self.0 as u16)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The low 16 bits of the epoch whose key opens a packet at the hop it is sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, PartialOrd, Ord)]
pub struct EpochHint(pub u16);

/// A client's address at its entry gateway: 255 secret random bits, presented by the client when
/// it connects and named as next hop in its reply blocks. Known to the client and its gateway.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Zeroize, ZeroizeOnDrop)]
pub struct SessionAddress([u8; 32]);

impl SessionAddress {
    /// The first bit is set so that it can never be read as a node's address.
    pub fn from_random(mut bytes: [u8; 32]) -> Self {
        bytes[0] |= 0x80;
        Self(bytes)
    }

    /// Refuses bytes that could be a node's address.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, DecodeError> {
        if bytes[0] & 0x80 == 0 {
            Err(DecodeError::Invalid("session address"))
        } else {
            Ok(Self(bytes))
        }
    }

    /// As it stands in a handshake and in a routing header.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The 32 bytes that a routing header holds for the next hop. `docs/spec/packet.md` §3.
#[derive(Clone, PartialEq, Eq)]
pub enum NextHop {
    /// `00 ‖ format ‖ epoch hint (2) ‖ node id (28)`.
    Node {
        /// Who.
        id: NodeId,
        /// With the key of which epoch.
        epoch: EpochHint,
    },
    /// A client's session at this gateway.
    Session(SessionAddress),
}

impl NextHop {
    /// As it stands in a routing header.
    pub fn to_bytes(&self) -> [u8; 32] {
        match self {
            Self::Node { id, epoch } => {
                let mut out = [0; 32];
                out[1] = FORMAT_SPHINX;
                out[2..4].copy_from_slice(&epoch.0.to_be_bytes());
                out[4..].copy_from_slice(&id.0);
                out
            }
            Self::Session(address) => *address.as_bytes(),
        }
    }

    /// Refuses other formats and unknown address kinds.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, DecodeError> {
        if bytes[0] & 0x80 != 0 {
            return SessionAddress::from_bytes(bytes).map(Self::Session);
        }
        let mut reader = Reader::new(&bytes);
        if reader.u8()? != 0 || reader.u8()? != FORMAT_SPHINX {
            return Err(DecodeError::Invalid("next hop"));
        }
        let epoch = EpochHint(reader.u16()?);
        Ok(Self::Node {
            id: NodeId::decode(&mut reader)?,
            epoch,
        })
    }
}

/// Shows the right to write into one inbox. The gateway keeps only its hash.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct WriteToken(pub [u8; 32]);

impl WriteToken {
    /// What the gateway keeps.
    pub fn hash(&self) -> WriteTokenHash {
        let mut hash = Sha256::new();
        hash.update(b"mizzle-write-token-v1");
        hash.update(self.0);
        WriteTokenHash(hash.finalize().into())
    }
}

impl PartialEq for WriteToken {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for WriteToken {}

/// SHA-256 of a [`WriteToken`], compared in constant time.
#[derive(Clone, Copy)]
pub struct WriteTokenHash(pub [u8; 32]);

impl PartialEq for WriteTokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for WriteTokenHash {}

/// What somebody needs to write into an inbox: `gateway (28) ‖ inbox (32) ‖ token (32)`.
#[derive(Clone, PartialEq, Eq)]
pub struct InboxAddress {
    /// Where the inbox lies.
    pub gateway: NodeId,
    /// Which one.
    pub inbox: InboxId,
    /// The right to write.
    pub token: WriteToken,
}

impl InboxAddress {
    /// Length of the encoding in bytes.
    pub const LEN: usize = 28 + 32 + 32;

    /// As it stands in a contact card.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..28].copy_from_slice(&self.gateway.0);
        out[28..60].copy_from_slice(&self.inbox.0);
        out[60..].copy_from_slice(&self.token.0);
        out
    }

    /// Reads one.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            gateway: NodeId::decode(reader)?,
            inbox: InboxId::decode(reader)?,
            token: WriteToken(reader.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_a_session_are_never_mistaken_for_each_other() {
        let node = NextHop::Node {
            id: NodeId([0xff; 28]),
            epoch: EpochHint(0xffff),
        };
        assert!(NextHop::from_bytes(node.to_bytes()) == Ok(node));
        let session = NextHop::Session(SessionAddress::from_random([0; 32]));
        assert!(NextHop::from_bytes(session.to_bytes()) == Ok(session));
        let mut other_format = [0; 32];
        other_format[1] = 9;
        assert!(NextHop::from_bytes(other_format).is_err());
    }
}
