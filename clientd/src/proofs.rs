//! Proofs that authorities signed two directories of one epoch: verified, and kept in the data folder for a
//! person to hand on. `docs/spec/directory.md` §9.
//!
//! Not here: how the second directory comes (`mizzle_core::client` fetches it, or the entry gateway offers
//! it), and which of the two is gone by: the one that was here first.

use directory::{Network, SPLIT_PROOF_MAX, SignedDirectory, Split, SplitProof, hex};
use runtime::data_dir::DataDir;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wire::ids::{DirectoryHash, Epoch};

/// Most proofs that are kept. The first ones say all there is to say, so that further ones are only counted.
pub(crate) const PROOFS_MAX: usize = 8;

const PREFIX: &str = "split-";
const SUFFIX: &str = ".proof";

/// A proof on the disk.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Proven {
    pub(crate) epoch: Epoch,
    /// Where it is.
    pub(crate) file: PathBuf,
    /// So many authorities signed both.
    pub(crate) signed_both: usize,
    /// Whether both are valid.
    pub(crate) both_valid: bool,
    hashes: [DirectoryHash; 2],
}

/// What two documents came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Shown {
    /// A proof, and it is kept now.
    New(Proven),
    /// One that is kept already, or one too many.
    Known,
}

/// All proofs of one client.
pub(crate) struct Proofs {
    folder: PathBuf,
    network: Arc<Network>,
    kept: Vec<Proven>,
}

impl Proofs {
    /// With those of earlier runs, until a person removes them. What is damaged is said and left alone.
    pub(crate) fn open(dir: &DataDir, network: Arc<Network>) -> Self {
        let mut proofs = Self {
            folder: dir.path().to_owned(),
            network,
            kept: Vec::new(),
        };
        for name in names(&proofs.folder) {
            let file = proofs.folder.join(&name);
            let read = dir.read(&name, SPLIT_PROOF_MAX as u64);
            let bytes = read.ok().flatten().unwrap_or_default();
            let proof = SplitProof::decode(&bytes).ok();
            let split = proof.and_then(|p| p.verify(&proofs.network).ok());
            match split {
                Some(split) => proofs.kept.push(proven(split, file)),
                None => tracing::warn!(
                    file = %file.display(),
                    "this is no proof against the authorities of network.toml; remove it"
                ),
            }
        }
        proofs.kept.sort_by_key(|p| p.epoch);
        proofs
    }

    /// Those that are on the disk, oldest epoch first.
    pub(crate) fn kept(&self) -> &[Proven] {
        &self.kept
    }

    /// Verifies two documents, and keeps the proof; an error says why they prove nothing, or cannot be
    /// kept.
    pub(crate) fn show(
        &mut self,
        ours: SignedDirectory,
        other: SignedDirectory,
    ) -> Result<Shown, String> {
        let proof = SplitProof::new(ours, other);
        let split = proof.verify(&self.network).map_err(|e| e.to_string())?;
        let known = self.kept.iter().any(|p| p.hashes == split.hashes);
        if known || self.kept.len() >= PROOFS_MAX {
            return Ok(Shown::Known);
        }
        let [one, other] = split.hashes.map(|h| hex::encode(&h.0[..4]));
        let name = format!("{PREFIX}{}-{one}-{other}{SUFFIX}", split.epoch);
        let file = self.folder.join(name);
        runtime::data_dir::write_atomic(&file, &proof.encode()).map_err(|e| e.to_string())?;
        let proven = proven(split, file);
        self.kept.push(proven.clone());
        Ok(Shown::New(proven))
    }
}

fn proven(split: Split, file: PathBuf) -> Proven {
    Proven {
        epoch: split.epoch,
        file,
        signed_both: split.culprits.len(),
        both_valid: split.both_valid,
        hashes: split.hashes,
    }
}

/// Names of proofs in the folder, at most [`PROOFS_MAX`].
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
        .collect();
    names.sort();
    names.truncate(PROOFS_MAX);
    names
}
