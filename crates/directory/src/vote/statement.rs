//! What authorities send each other: something that one of them said, with the signatures of all who
//! passed it on. `docs/spec/directory.md` §8.

use crate::network::Network;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::Arc;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::{Epoch, NetworkId};
use wire::keys::{IdentitySecret, SIGNATURE_LEN};

use super::ballot::BALLOT_MAX;

/// Most bytes of an encoded statement.
pub const STATEMENT_MAX: usize = 5 + 1 + 8 + 4 + 1 + 4 + BALLOT_MAX + 1 + 64 * 65;

const MAGIC: [u8; 4] = *b"MZVS";
const VERSION: u8 = 1;
const CONTEXT: &str = "mizzle-vote-v1";
const REVEAL_LEN: usize = 32;

/// What was said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum StatementKind {
    /// A [`super::Ballot`].
    Ballot,
    /// The share that a ballot's commitment hides.
    Reveal,
}

impl StatementKind {
    fn number(self) -> u8 {
        match self {
            Self::Ballot => 1,
            Self::Reveal => 2,
        }
    }

    fn len_max(self) -> usize {
        match self {
            Self::Ballot => BALLOT_MAX,
            Self::Reveal => REVEAL_LEN,
        }
    }
}

/// Something that `author` said about `epoch`.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it is.
    pub kind: StatementKind,
    /// About which epoch's directory.
    pub epoch: Epoch,
    /// In which vote on it ([`super::VoteTimes::attempt`]).
    pub attempt: u32,
    /// Whose word it is: an index into `Network::authorities`.
    pub author: u8,
    /// The words.
    pub payload: Arc<[u8]>,
    /// The author's signature and those of all who passed it on, ascending by index.
    pub signatures: Vec<(u8, [u8; SIGNATURE_LEN])>,
}

/// Why a statement does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatementRefused {
    /// About another epoch than the one that is voted on, or of another vote on it.
    OtherEpoch,
    /// An index that is no authority's.
    UnknownAuthority,
    /// The author's own signature is missing.
    Unsigned,
    /// A signature does not hold.
    BadSignature,
    /// Too few have signed it for this round; it comes too late.
    TooLate,
}

impl fmt::Display for StatementRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherEpoch => "about another epoch; compare the authorities' clocks",
            Self::UnknownAuthority => "not by a listed authority; compare network.toml",
            Self::Unsigned => "without its author's signature",
            Self::BadSignature => "a signature does not hold",
            Self::TooLate => "too late for its round; compare the authorities' clocks",
        })
    }
}

impl std::error::Error for StatementRefused {}

impl Statement {
    /// Something of one's own.
    pub(super) fn by(
        (kind, epoch, attempt): (StatementKind, Epoch, u32),
        payload: Arc<[u8]>,
        network: &Network,
        (index, secret): (u8, &IdentitySecret),
    ) -> Self {
        let mut statement = Self {
            kind,
            epoch,
            attempt,
            author: index,
            payload,
            signatures: Vec::new(),
        };
        statement.countersign(network, index, secret);
        statement
    }

    /// Adds one's own signature, where it is not there yet.
    pub(super) fn countersign(&mut self, network: &Network, index: u8, secret: &IdentitySecret) {
        if let Err(at) = self.signatures.binary_search_by_key(&index, |s| s.0) {
            let signature = secret.sign(CONTEXT, &self.signed_text(network.id()));
            self.signatures.insert(at, (index, signature));
        }
    }

    /// Adds somebody's signature, for tests that play a dishonest authority.
    #[cfg(feature = "testing")]
    pub fn sign_for_test(&mut self, network: &Network, index: u8, secret: &IdentitySecret) {
        self.countersign(network, index, secret);
    }

    /// Whether every signature holds and the author's is among them.
    pub fn verify(&self, network: &Network) -> Result<(), StatementRefused> {
        if !self.signatures.iter().any(|s| s.0 == self.author) {
            return Err(StatementRefused::Unsigned);
        }
        // One signature twice is one signature.
        if !self.signatures.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(StatementRefused::BadSignature);
        }
        let text = self.signed_text(network.id());
        for (index, signature) in &self.signatures {
            let authority = network.authorities().get(usize::from(*index));
            let authority = authority.ok_or(StatementRefused::UnknownAuthority)?;
            let held = authority.identity.verify(CONTEXT, &text, signature);
            held.map_err(|_| StatementRefused::BadSignature)?;
        }
        Ok(())
    }

    /// What names the words.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.payload).into()
    }

    fn signed_text(&self, network: &NetworkId) -> Vec<u8> {
        let mut w = Writer::with_capacity(84);
        w.put(&network.0).u8(self.kind.number()).u64(self.epoch.0);
        w.u32(self.attempt).u8(self.author).put(&self.digest());
        w.into_vec()
    }

    /// Its only encoding, at most [`STATEMENT_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(36 + self.payload.len() + 65 * self.signatures.len());
        w.put(&MAGIC).u8(VERSION).u8(self.kind.number());
        w.u64(self.epoch.0).u32(self.attempt).u8(self.author);
        w.u32(self.payload.len() as u32).put(&self.payload);
        w.u8(self.signatures.len() as u8);
        for (index, signature) in &self.signatures {
            w.u8(*index).put(signature);
        }
        w.into_vec()
    }

    /// Reads what [`Statement::encode`] wrote and nothing else; does not verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > STATEMENT_MAX {
            return Err(DecodeError::TooLong("statement"));
        }
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC || r.u8()? != VERSION {
            return Err(DecodeError::Invalid("statement magic or version"));
        }
        let kind = match r.u8()? {
            1 => StatementKind::Ballot,
            2 => StatementKind::Reveal,
            _ => return Err(DecodeError::Invalid("statement kind")),
        };
        let epoch = Epoch(r.u64()?);
        let attempt = r.u32()?;
        let author = r.u8()?;
        let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        if len > kind.len_max() {
            return Err(DecodeError::TooLong("statement"));
        }
        let payload = r.slice(len)?.into();
        let count = r.u8()?;
        let signature = |r: &mut Reader<'_>| Ok((r.u8()?, r.array()?));
        let signatures = (0..count).map(|_| signature(&mut r));
        let signatures = signatures.collect::<Result<Vec<_>, DecodeError>>()?;
        r.finish()?;
        if !signatures.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::Invalid("order of signatures"));
        }
        Ok(Self {
            kind,
            epoch,
            attempt,
            author,
            payload,
            signatures,
        })
    }
}
