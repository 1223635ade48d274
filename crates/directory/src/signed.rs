//! A directory with its authorities' signatures, and what makes one fit to go by.
//! `docs/spec/directory.md` §3 and §4.
//!
//! Not here: how it comes over a link in pieces ([`crate::DirectoryAssembler`]) and who makes it
//! ([`crate::Authority`]).

use crate::body::{self, BODY_MAX, DOCUMENT_MAX};
use crate::document::Directory;
use crate::network::Network;
use crate::refused::DirectoryRefused;
use std::sync::Arc;
use wire::codec::{DecodeError, Reader, Writer};
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NetworkId};
use wire::keys::{IdentitySecret, SIGNATURE_LEN};
use wire::time::UnixTime;

const CONTEXT: &str = "mizzle-directory-v1";
/// Magic and version stand in front of the network id.
const NETWORK_AT: std::ops::Range<usize> = 5..5 + NetworkId::LEN;
/// The epoch stands behind it.
const EPOCH_AT: usize = NETWORK_AT.end;

/// The document. Holding one says nothing yet: see [`SignedDirectory::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct SignedDirectory {
    body: Vec<u8>,
    /// Index into `Network::authorities`, ascending, and that authority's signature.
    signatures: Vec<(u8, [u8; SIGNATURE_LEN])>,
}

impl SignedDirectory {
    /// Signs with one authority's key; `index` is its place in `Network::authorities`.
    pub fn sign(directory: &Directory, index: u8, secret: &IdentitySecret) -> Self {
        let body = directory.encode_body();
        let signature = secret.sign(CONTEXT, &message(&directory.network, &body));
        Self {
            body,
            signatures: vec![(index, signature)],
        }
    }

    /// Adds the signatures of `other` that are not here yet. False, and no change, when `other`
    /// has another body.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.body != other.body {
            return false;
        }
        for signature in &other.signatures {
            if let Err(at) = self.signatures.binary_search_by_key(&signature.0, |s| s.0) {
                self.signatures.insert(at, *signature);
            }
        }
        true
    }

    /// How many signatures there are, good or not.
    pub fn signatures(&self) -> usize {
        self.signatures.len()
    }

    /// Who signed, good or not: indices into `Network::authorities`, ascending.
    pub fn signers(&self) -> impl Iterator<Item = u8> {
        self.signatures.iter().map(|s| s.0)
    }

    /// The epoch that the body begins with, if it begins like a directory's. Nobody's word for it.
    pub fn epoch(&self) -> Option<Epoch> {
        let begins = body::BEGIN.iter().any(|b| self.body.starts_with(b));
        let epoch = self.body.get(EPOCH_AT..)?.first_chunk()?;
        begins.then(|| Epoch(u64::from_be_bytes(*epoch)))
    }

    /// Adds somebody's signature to whatever the body is, for tests that play a dishonest authority.
    #[cfg(feature = "testing")]
    pub fn sign_for_test(&mut self, network: &NetworkId, index: u8, secret: &IdentitySecret) {
        if let Err(at) = self.signatures.binary_search_by_key(&index, |s| s.0) {
            let signature = secret.sign(CONTEXT, &message(network, &self.body));
            self.signatures.insert(at, (index, signature));
        }
    }

    /// Only the signatures of those whom `wanted` names.
    pub(crate) fn keep_signatures(&mut self, wanted: impl Fn(u8) -> bool) {
        self.signatures.retain(|s| wanted(s.0));
    }

    /// Whether every signature here is by an authority of `network` and holds, however few there are.
    pub(crate) fn verify_signers(&self, network: &Network) -> Result<(), DirectoryRefused> {
        let message = message(network.id(), &self.body);
        for (index, signature) in &self.signatures {
            network
                .authorities()
                .get(usize::from(*index))
                .ok_or(DirectoryRefused::UnknownAuthority(*index))?
                .identity
                .verify(CONTEXT, &message, signature)
                .map_err(|_| DirectoryRefused::BadSignature(*index))?;
        }
        Ok(())
    }

    /// SHA-256 of the body: the name of this version.
    pub fn hash(&self) -> DirectoryHash {
        body::hash_of(&self.body)
    }

    /// Its only encoding, at most [`DOCUMENT_MAX`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(5 + self.body.len() + 65 * self.signatures.len());
        w.u32(self.body.len() as u32).put(&self.body);
        w.u8(self.signatures.len() as u8);
        for (index, signature) in &self.signatures {
            w.u8(*index).put(signature);
        }
        w.into_vec()
    }

    /// Reads what [`SignedDirectory::encode`] wrote and nothing else. Looks neither into the body
    /// nor at the signatures.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > DOCUMENT_MAX {
            return Err(DecodeError::TooLong("directory document"));
        }
        let mut r = Reader::new(bytes);
        let len = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        if len > BODY_MAX {
            return Err(DecodeError::TooLong("directory"));
        }
        let body = r.slice(len)?.to_vec();
        let signatures = (0..r.u8()?)
            .map(|_| Ok((r.u8()?, r.array()?)))
            .collect::<Result<Vec<_>, DecodeError>>()?;
        r.finish()?;
        if !signatures.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::Invalid("order of signatures"));
        }
        Ok(Self { body, signatures })
    }

    /// The directory, if enough authorities of `network` signed it and it makes sense there. Says
    /// nothing about time ([`Directory::check_time`]) and about what is held already
    /// ([`Directory::check_successor_of`]).
    ///
    /// Every signature in the document must hold, those above the threshold too: so nobody can
    /// make a second encoding of a directory by adding garbage.
    pub fn verify(&self, network: &Network) -> Result<Arc<Directory>, DirectoryRefused> {
        let id = self.body.get(NETWORK_AT);
        if id.is_some_and(|id| *id != network.id().0) {
            return Err(DirectoryRefused::WrongNetwork);
        }
        self.verify_signers(network)?;
        // `decode` saw to it that no authority stands here twice.
        let (have, need) = (self.signatures.len(), usize::from(network.threshold()));
        if have < need {
            return Err(DirectoryRefused::TooFewSignatures { have, need });
        }
        self.read(network)
    }

    /// The directory, if it makes sense in `network`, whoever signed it.
    pub(crate) fn read(&self, network: &Network) -> Result<Arc<Directory>, DirectoryRefused> {
        let directory = Directory::decode_body(&self.body).map_err(DirectoryRefused::Malformed)?;
        if directory.hash() != self.hash() {
            let second_encoding = DecodeError::Invalid("encoding");
            return Err(DirectoryRefused::Malformed(second_encoding));
        }
        check_content(&directory, network)?;
        Ok(Arc::new(directory))
    }

    /// [`SignedDirectory::verify`], [`Directory::check_time`] and, when one is held,
    /// [`Directory::check_successor_of`] in one.
    pub fn accept(
        &self,
        network: &Network,
        held: Option<&Directory>,
        now: UnixTime,
    ) -> Result<Arc<Directory>, DirectoryRefused> {
        let directory = self.verify(network)?;
        directory.check_time(now)?;
        if let Some(held) = held {
            directory.check_successor_of(held)?;
        }
        Ok(directory)
    }
}

impl Directory {
    /// Whether `now` lies within the time this directory is for.
    pub fn check_time(&self, now: UnixTime) -> Result<(), DirectoryRefused> {
        if now < self.valid_from {
            return Err(DirectoryRefused::NotYetValid);
        }
        self.check_not_expired(now)
    }

    /// Whether this directory is of use now or later: what to ask of one fetched ahead of its
    /// epoch.
    pub fn check_not_expired(&self, now: UnixTime) -> Result<(), DirectoryRefused> {
        if now >= self.valid_until {
            return Err(DirectoryRefused::Expired);
        }
        Ok(())
    }

    /// Whether this directory may take the place of `held`, which is still valid: not an older
    /// one, not another one of the same epoch, not one of another line.
    pub fn check_successor_of(&self, held: &Self) -> Result<(), DirectoryRefused> {
        if self.epoch < held.epoch {
            return Err(DirectoryRefused::OlderThanHeld {
                offered: self.epoch,
                held: held.epoch,
            });
        }
        let twin = self.epoch == held.epoch && self.hash() != held.hash();
        let stranger = self.epoch == held.epoch.next() && self.previous != held.hash();
        if twin || stranger {
            return Err(DirectoryRefused::Conflicting(self.epoch));
        }
        Ok(())
    }
}

fn check_content(directory: &Directory, network: &Network) -> Result<(), DirectoryRefused> {
    if directory.network != *network.id() {
        return Err(DirectoryRefused::WrongNetwork);
    }
    if directory.geometry != GeometryHash::current() {
        return Err(DirectoryRefused::WrongGeometry);
    }
    if directory.schedule != network.schedule() {
        return Err(DirectoryRefused::WrongSchedule);
    }
    directory
        .parameters
        .check(&directory.schedule)
        .map_err(DirectoryRefused::BadParameter)?;
    let (epoch, schedule) = (directory.epoch, directory.schedule);
    let latest = schedule.start(epoch.next().next().next());
    let (from, until) = (directory.valid_from, directory.valid_until);
    if from < schedule.start(epoch) || until <= from || until > latest {
        return Err(DirectoryRefused::BadValidity);
    }
    for (node, _) in directory.nodes() {
        if node.sphinx_key(epoch).is_none() || node.sphinx_key(epoch.next()).is_none() {
            return Err(DirectoryRefused::MissingKey(node.id()));
        }
    }
    Ok(())
}

fn message(network: &NetworkId, body: &[u8]) -> Vec<u8> {
    [&network.0[..], body].concat()
}
