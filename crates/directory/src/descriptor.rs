//! What a node uploads about itself, signed. `docs/spec/directory.md` §2.
//!
//! Not here: whether an authority admits the node ([`crate::Authority`]).

use crate::body;
use crate::document::NodeDescriptor;
use crate::network::Network;
use std::net::SocketAddr;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::NetworkId;
use wire::keys::{BadSignature, IdentitySecret, SIGNATURE_LEN};
use wire::time::UnixTime;

/// Most bytes of a signed descriptor. The longest possible one today takes 445.
pub const DESCRIPTOR_MAX: usize = 2048;

const MAGIC: [u8; 4] = *b"MZDN";
const VERSION: u8 = 1;
const CONTEXT: &str = "mizzle-descriptor-v1";

/// A descriptor with its node's signature. Holding one says nothing yet: see
/// [`SignedDescriptor::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedDescriptor {
    /// When the node wrote it; an authority keeps the newest and refuses older ones.
    pub published: UnixTime,
    /// What the node says.
    pub descriptor: NodeDescriptor,
    /// By the descriptor's identity over network id and all bytes before the signature.
    pub signature: [u8; SIGNATURE_LEN],
}

impl SignedDescriptor {
    /// Signs `descriptor` for one network. Refuses what [`SignedDescriptor::decode`] would refuse,
    /// so that a node learns from its own log what is wrong with its configuration. `secret` is
    /// that of `descriptor.identity`.
    pub fn sign(
        descriptor: NodeDescriptor,
        published: UnixTime,
        secret: &IdentitySecret,
        network: &NetworkId,
    ) -> Result<Self, DecodeError> {
        descriptor.check()?;
        if descriptor.identity != secret.public() {
            return Err(DecodeError::Invalid("identity"));
        }
        let message = message(network, &text(published, &descriptor));
        Ok(Self {
            signature: secret.sign(CONTEXT, &message),
            published,
            descriptor,
        })
    }

    /// Whether the node itself signed this, for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), BadSignature> {
        let message = message(network, &text(self.published, &self.descriptor));
        self.descriptor
            .identity
            .verify(CONTEXT, &message, &self.signature)
    }

    /// The first of its addresses that a node of `network` must not have: one that is not public in a public network.
    pub fn unreachable(&self, network: &Network) -> Option<SocketAddr> {
        let node = &self.descriptor;
        let mut all = node.addresses.iter().chain(&node.client_addresses);
        let found = all.find(|a| network.is_public() && !crate::is_public(a));
        found.copied()
    }

    /// Its only encoding, at most [`DESCRIPTOR_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = text(self.published, &self.descriptor);
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads what [`SignedDescriptor::encode`] wrote and nothing else; does not verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > DESCRIPTOR_MAX {
            return Err(DecodeError::TooLong("descriptor"));
        }
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC || r.u8()? != VERSION {
            return Err(DecodeError::Invalid("descriptor magic or version"));
        }
        let signed = Self {
            published: UnixTime(r.u64()?),
            descriptor: body::node(&mut r)?,
            signature: r.array()?,
        };
        r.finish()?;
        Ok(signed)
    }
}

fn text(published: UnixTime, descriptor: &NodeDescriptor) -> Vec<u8> {
    let mut w = Writer::default();
    w.put(&MAGIC).u8(VERSION).u64(published.0);
    body::put_node(&mut w, descriptor);
    w.into_vec()
}

fn message(network: &NetworkId, text: &[u8]) -> Vec<u8> {
    [&network.0[..], text].concat()
}
