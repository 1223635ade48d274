//! What one authority wants of an epoch's directory. `docs/spec/directory.md` §8.

use crate::authority::{ADMITTED_MAX, Admitted};
use crate::body;
use crate::descriptor::{DESCRIPTOR_MAX, SignedDescriptor};
use crate::document::{Family, Role};
use crate::network::Network;
use crate::parameters::Parameters;
use sha2::{Digest, Sha256};
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::keys::IdentityPublic;

/// Most bytes of a ballot: the longest allow-list, each node with the longest descriptor of today.
pub const BALLOT_MAX: usize = 256 + ADMITTED_MAX * (49 + 2 + 512 + 28);

const MAGIC: [u8; 4] = *b"MZBL";
const VERSION: u8 = 2;
const COMMIT: &[u8] = b"mizzle-commitment-v1";

/// One authority's word on everything that is voted on.
#[derive(Clone, PartialEq, Eq)]
pub struct Ballot {
    /// For which epoch.
    pub epoch: Epoch,
    /// The directory that the new one follows; zeros where there is none.
    pub previous: DirectoryHash,
    /// Rates and limits.
    pub parameters: Parameters,
    /// Hides the author's share of the randomness until all ballots are fixed; see [`commitment`].
    pub commitment: [u8; 32],
    /// Who may take part, ascending by node id.
    pub admitted: Vec<Admitted>,
    /// The newest descriptor of each node that has one, ascending by node id.
    pub descriptors: Vec<SignedDescriptor>,
    /// Mixes that lose traffic by the reports that came here, ascending.
    pub suspects: Vec<NodeId>,
}

/// What hides a share. Bound to its author and epoch, so that nobody can commit to another's share.
pub fn commitment(network: &Network, epoch: Epoch, author: u8, share: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(COMMIT);
    hash.update(network.id().0);
    hash.update(epoch.0.to_be_bytes());
    hash.update([author]);
    hash.update(share);
    hash.finalize().into()
}

impl Ballot {
    /// Its only encoding, at most [`BALLOT_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.put(&MAGIC).u8(VERSION).u64(self.epoch.0);
        w.put(&self.previous.0);
        body::put_parameters(&mut w, &self.parameters);
        w.put(&self.commitment);
        w.u16(self.admitted.len() as u16);
        for node in &self.admitted {
            w.put(&node.identity.to_bytes());
            w.u8(match node.role {
                Role::Mix => 0,
                Role::Gateway => 1,
            });
            w.put(&node.family.0);
        }
        w.u16(self.descriptors.len() as u16);
        for signed in &self.descriptors {
            let bytes = signed.encode();
            w.u16(bytes.len() as u16).put(&bytes);
        }
        w.u16(self.suspects.len() as u16);
        self.suspects.iter().for_each(|id| {
            w.put(&id.0);
        });
        w.into_vec()
    }

    /// Reads what [`Ballot::encode`] wrote and nothing else. Descriptors' signatures are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > BALLOT_MAX {
            return Err(DecodeError::TooLong("ballot"));
        }
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC || r.u8()? != VERSION {
            return Err(DecodeError::Invalid("ballot magic or version"));
        }
        let ballot = Self {
            epoch: Epoch(r.u64()?),
            previous: DirectoryHash::decode(&mut r)?,
            parameters: body::parameters(&mut r)?,
            commitment: r.array()?,
            admitted: admitted(&mut r)?,
            descriptors: descriptors(&mut r)?,
            suspects: suspects(&mut r)?,
        };
        r.finish()?;
        Ok(ballot)
    }
}

fn admitted(r: &mut Reader<'_>) -> Result<Vec<Admitted>, DecodeError> {
    let mut out = Vec::new();
    for _ in 0..r.u16()? {
        out.push(Admitted {
            identity: IdentityPublic::decode(r)?,
            role: match r.u8()? {
                0 => Role::Mix,
                1 => Role::Gateway,
                _ => return Err(DecodeError::Invalid("role")),
            },
            family: Family(r.array()?),
        });
    }
    let id = |a: &Admitted| NodeId::of(&a.identity);
    if out.len() > ADMITTED_MAX || !out.is_sorted_by(|a, b| id(a) < id(b)) {
        return Err(DecodeError::Invalid("order of admitted nodes"));
    }
    Ok(out)
}

fn suspects(r: &mut Reader<'_>) -> Result<Vec<NodeId>, DecodeError> {
    let mut out = Vec::new();
    for _ in 0..r.u16()? {
        out.push(NodeId(r.array()?));
    }
    if out.len() > ADMITTED_MAX || !out.is_sorted_by(|a, b| a < b) {
        return Err(DecodeError::Invalid("order of suspects"));
    }
    Ok(out)
}

fn descriptors(r: &mut Reader<'_>) -> Result<Vec<SignedDescriptor>, DecodeError> {
    let mut out: Vec<SignedDescriptor> = Vec::new();
    for _ in 0..r.u16()? {
        let len = usize::from(r.u16()?);
        if len > DESCRIPTOR_MAX {
            return Err(DecodeError::TooLong("descriptor"));
        }
        out.push(SignedDescriptor::decode(r.slice(len)?)?);
    }
    let id = |d: &SignedDescriptor| d.descriptor.id();
    if out.len() > ADMITTED_MAX || !out.is_sorted_by(|a, b| id(a) < id(b)) {
        return Err(DecodeError::Invalid("order of descriptors"));
    }
    Ok(out)
}
