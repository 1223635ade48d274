//! Directories as they come from the entry gateway: put together, verified, kept over restarts.
//!
//! Verifying a large directory takes longer than a tick's lead, so it is done beside the loop, which
//! hears of a directory only when it is good. At most two are kept: the newest and the one before. Of two that
//! contradict each other the first stays, and the two become a proof ([`crate::proofs`]).

use crate::proofs::{Proofs, Proven, Shown};
use directory::{
    Assembled, DOCUMENT_MAX, Directory, DirectoryAssembler, DirectoryRefused, Network,
    SignedDirectory,
};
use runtime::data_dir::{DataDir, DataDirError, write_atomic};
use std::path::PathBuf;
use std::sync::Arc;
use wire::codec::Reader;
use wire::frame::DirectoryPart;
use wire::ids::{DirectoryHash, Epoch};
use wire::time::UnixTime;

const FILE: &str = "directories";
const KEPT_MAX: usize = 2;

/// A verified directory and its document.
struct Held {
    directory: Arc<Directory>,
    document: Vec<u8>,
}

/// What became of a piece.
pub(crate) enum Offered {
    /// Nothing to go by yet, or nothing new.
    Nothing,
    /// A new directory to go by.
    New(Arc<Directory>),
    /// A document that is not gone by, and why.
    Refused(String),
    /// The same, and it proves something together with one that is held.
    Contradicts(String, Proven),
}

/// What became of a document that another gateway goes by.
#[derive(Debug, PartialEq)]
pub(crate) enum Compared {
    /// A proof, kept now.
    Proven(Proven),
    /// A proof that is kept already, or one too many.
    Known,
    /// It proves nothing, and why.
    Nothing(String),
}

/// All directories of the client.
pub(crate) struct Directories {
    network: Arc<Network>,
    file: PathBuf,
    assembler: DirectoryAssembler,
    /// Oldest first.
    held: Vec<Held>,
    /// The last document that was refused; its pieces are passed over when they come again.
    refused: Option<DirectoryHash>,
    proofs: Proofs,
}

impl Directories {
    /// With what earlier runs kept. An unreadable file costs a warning: the gateway sends it again.
    pub(crate) fn open(dir: &DataDir, network: Arc<Network>) -> Result<Self, DataDirError> {
        let mut directories = Self {
            proofs: Proofs::open(dir, network.clone()),
            network,
            file: dir.file(FILE),
            assembler: DirectoryAssembler::new(),
            held: Vec::new(),
            refused: None,
        };
        let longest = (KEPT_MAX * (DOCUMENT_MAX + 4)) as u64;
        if let Some(bytes) = dir.read(FILE, longest)?
            && directories.restore(&bytes).is_none()
        {
            tracing::warn!("the kept directories cannot be read; waiting for the gateway's");
        }
        Ok(directories)
    }

    fn restore(&mut self, bytes: &[u8]) -> Option<()> {
        let mut r = Reader::new(bytes);
        while r.remaining() > 0 {
            let len = usize::try_from(r.u32().ok()?).ok()?;
            let document = r.slice(len).ok()?.to_vec();
            let signed = SignedDirectory::decode(&document).ok()?;
            let directory = signed.verify(&self.network).ok()?;
            self.held.push(Held {
                directory,
                document,
            });
        }
        (self.held.len() <= KEPT_MAX).then_some(())
    }

    /// The newest that was ever gone by, whether it still holds or not.
    pub(crate) fn newest(&self) -> Option<Arc<Directory>> {
        self.held.last().map(|h| h.directory.clone())
    }

    /// Proofs on the disk, of earlier runs too.
    pub(crate) fn proofs(&self) -> &[Proven] {
        self.proofs.kept()
    }

    /// Those that are of use now or later, oldest first.
    pub(crate) fn usable(&self, now: UnixTime) -> Vec<Arc<Directory>> {
        let held = self.held.iter().map(|h| &h.directory);
        held.filter(|d| d.check_not_expired(now).is_ok())
            .cloned()
            .collect()
    }

    /// A piece from the gateway. Blocks for as long as verifying and writing take.
    pub(crate) fn handle_part(&mut self, part: DirectoryPart, now: UnixTime) -> Offered {
        let known = self.held.iter().any(|h| h.directory.hash() == part.hash);
        if known || self.refused == Some(part.hash) {
            return Offered::Nothing;
        }
        let hash = part.hash;
        let signed = match self.assembler.handle_part(part) {
            Assembled::Incomplete => return Offered::Nothing,
            Assembled::Complete(signed) => signed,
            Assembled::Refused => {
                return Offered::Refused("the gateway's pieces make no directory".into());
            }
        };
        match self.take(&signed, now) {
            Ok(directory) => Offered::New(directory),
            Err(why) => {
                // Too early is the one fault that time cures.
                self.refused = (why != DirectoryRefused::NotYetValid).then_some(hash);
                let words = why.to_string();
                let DirectoryRefused::Conflicting(epoch) = why else {
                    return Offered::Refused(words);
                };
                match self.compare(epoch, signed) {
                    Compared::Proven(proven) => Offered::Contradicts(words, proven),
                    Compared::Known | Compared::Nothing(_) => Offered::Refused(words),
                }
            }
        }
    }

    /// Another document of an epoch than the one that is held. Blocks for as long as verifying and writing
    /// take.
    pub(crate) fn compare(&mut self, epoch: Epoch, other: SignedDirectory) -> Compared {
        let ours = self.held.iter().find(|h| h.directory.epoch == epoch);
        let Some(ours) = ours.and_then(|h| SignedDirectory::decode(&h.document).ok()) else {
            return Compared::Nothing("no directory of that epoch is held any more".to_owned());
        };
        match self.proofs.show(ours, other) {
            Ok(Shown::New(proven)) => Compared::Proven(proven),
            Ok(Shown::Known) => Compared::Known,
            Err(why) => Compared::Nothing(why),
        }
    }

    fn take(
        &mut self,
        signed: &SignedDirectory,
        now: UnixTime,
    ) -> Result<Arc<Directory>, DirectoryRefused> {
        let directory = signed.verify(&self.network)?;
        directory.check_not_expired(now)?;
        let schedule = self.network.schedule();
        if directory.epoch > schedule.epoch_at(now).next() {
            return Err(DirectoryRefused::NotYetValid);
        }
        if let Some(newest) = self.held.last().map(|h| &h.directory) {
            // The one before the newest may come later, proven by the newest one's own word.
            let predecessor = newest.previous == directory.hash();
            if !predecessor {
                directory.check_successor_of(newest)?;
            }
        }
        let document = signed.encode();
        self.held.push(Held {
            directory: directory.clone(),
            document,
        });
        self.held.sort_by_key(|h| h.directory.epoch);
        let surplus = self.held.len().saturating_sub(KEPT_MAX);
        self.held.drain(..surplus);
        self.keep();
        Ok(directory)
    }

    /// What cannot be kept is asked for again after a restart; the client goes on.
    fn keep(&self) {
        let mut bytes = Vec::new();
        for held in &self.held {
            bytes.extend_from_slice(&(held.document.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&held.document);
        }
        if let Err(error) = write_atomic(&self.file, &bytes) {
            tracing::warn!(%error, "cannot keep the directory");
        }
    }
}
