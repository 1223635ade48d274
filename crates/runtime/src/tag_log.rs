//! One file for one epoch: a node's Sphinx key and every tag seen under it, appended and synced.
//!
//! Key and tags are one file on purpose: they cannot be parted, so neither outlives the other. What
//! is in it byte by byte, and how a torn end is told from damage, is in `docs/spec/packet.md`. Which
//! tags go in, and when a packet may leave, is `mizzle_core::hop`'s to say; the thread that calls
//! this is [`crate::node::keeper`].

mod format;

pub use format::{BATCH_MAX, HEADER_LEN};

use crate::data_dir::{DataDirError, io_error, require_private, sync_parent, write_atomic};
use format::{BatchMac, Read, header, read_header};
use mizzle_core::hop::{KeptKey, NodeKey, ShortTag};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use wire::ids::{Epoch, NodeId};

/// An open log. Dropping it closes the file and changes nothing.
pub struct TagLog {
    file: File,
    mac: BatchMac,
    end: u64,
}

/// Why a kept key is not used again.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The header is not one, or its checksum is wrong.
    #[error("its header is damaged")]
    Header,
    /// It says another node or epoch than the one it is opened for.
    #[error("it belongs to another node or epoch")]
    Other,
    /// What was durable once is not there as it was written.
    #[error("tags in it are damaged")]
    Tags,
    /// The system does not let it be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Why tags were not made durable.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// They could not be written; nothing is lost, and another try is worth while.
    #[error("writing replay tags failed: {0}")]
    Refused(io::Error),
    /// Syncing failed: nobody knows any more what is on the disk. The log must be destroyed.
    #[error("syncing replay tags failed: {0}")]
    Broken(io::Error),
}

/// The file of one epoch in `folder`.
pub fn path(folder: &Path, epoch: Epoch) -> PathBuf {
    folder.join(format!("epoch-{epoch}.tags"))
}

/// The epoch that a file's name says.
pub fn epoch_of(name: &str) -> Option<Epoch> {
    let number = name.strip_prefix("epoch-")?.strip_suffix(".tags")?;
    number.parse().ok().map(Epoch)
}

impl TagLog {
    /// Makes the file of a fresh key, durably and mode 0600, in the place of whatever was there.
    pub fn create(folder: &Path, node: &NodeId, key: &NodeKey) -> Result<Self, DataDirError> {
        let path = path(folder, key.epoch);
        write_atomic(&path, &header(node, key)[..])?;
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        Ok(Self {
            file,
            mac: BatchMac::new(&key.seed),
            end: HEADER_LEN as u64,
        })
    }

    /// Reads a log back, and cuts off a torn end: at most one batch, whose packets never left. At
    /// most `tags_max` tags are read: they fill the set, which then takes nothing.
    ///
    /// The outer error ends a start and says what to do; the inner one costs the node this key.
    pub fn open(
        folder: &Path,
        node: &NodeId,
        epoch: Epoch,
        tags_max: usize,
    ) -> Result<Result<(Self, KeptKey), Unusable>, DataDirError> {
        let path = path(folder, epoch);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = match file {
            Ok(file) => file,
            Err(error) => return Ok(Err(Unusable::Io(error))),
        };
        let metadata = file.metadata().map_err(io_error("read", &path))?;
        require_private(&path, &metadata, "600")?;
        Ok(Self::read(file, metadata.len(), node, epoch, tags_max))
    }

    fn read(
        file: File,
        len: u64,
        node: &NodeId,
        epoch: Epoch,
        tags_max: usize,
    ) -> Result<(Self, KeptKey), Unusable> {
        let mut reader = BufReader::new(&file);
        let (of, key) = read_header(&mut reader)?.ok_or(Unusable::Header)?;
        if of != *node || key.epoch != epoch {
            return Err(Unusable::Other);
        }
        let mac = BatchMac::new(&key.seed);
        let (mut tags, mut end) = (Vec::new(), HEADER_LEN as u64);
        while end < len {
            match format::read_batch(&mut reader, &mac, end, len)? {
                Read::Batch(batch) => {
                    end += format::batch_len(batch.len());
                    let room = tags_max.saturating_sub(tags.len());
                    tags.extend(batch.into_iter().take(room));
                }
                Read::None => {
                    reader.seek(SeekFrom::Start(end))?;
                    if !format::is_torn_end(&mut reader, &mac, end, len)? {
                        return Err(Unusable::Tags);
                    }
                    break;
                }
            }
        }
        if end < len {
            file.set_len(end)?;
        }
        // What the process before wrote and did not sync counts as seen, so let it be durable.
        file.sync_all()?;
        let kept = KeptKey { key, tags };
        Ok((Self { file, mac, end }, kept))
    }

    /// Appends tags; when this returns they are on the disk.
    pub fn append(&mut self, tags: &[ShortTag]) -> Result<(), AppendError> {
        // Never more than one batch is under way, so that a torn end is never longer.
        for batch in tags.chunks(BATCH_MAX) {
            let bytes = self.mac.batch(self.end, batch);
            let written = self.file.write_all_at(&bytes, self.end);
            written.map_err(AppendError::Refused)?;
            self.file.sync_data().map_err(AppendError::Broken)?;
            self.end += bytes.len() as u64;
        }
        Ok(())
    }

    /// A log on a device that fails.
    #[cfg(test)]
    pub(crate) fn on_device(device: &str, key: &NodeKey) -> Self {
        let file = OpenOptions::new().write(true).open(device);
        Self {
            file: file.expect("every Linux has it"),
            mac: BatchMac::new(&key.seed),
            end: HEADER_LEN as u64,
        }
    }

    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether no tag was ever appended.
    pub fn is_empty(&self) -> bool {
        self.end == HEADER_LEN as u64
    }
}

/// Overwrites the key where it stands, syncs, and removes the file. One that is missing is fine.
///
/// What a flash disk keeps of overwritten blocks is beyond this program.
pub fn destroy(folder: &Path, epoch: Epoch) -> Result<(), DataDirError> {
    let path = path(folder, epoch);
    let wipe = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(&path)?;
        file.write_all(&[0; HEADER_LEN])?;
        file.sync_data()
    };
    let wiped = match wipe() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io_error("wipe", &path)),
    };
    // Gone is better than there, wiped or not.
    std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
    sync_parent(&path)?;
    wiped
}

#[cfg(test)]
mod tests;
