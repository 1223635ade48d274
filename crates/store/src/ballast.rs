//! Room that nobody else can take: a file of nothing beside a store, given back bit by bit when the
//! disk is full, so that what must never fail (fetching, acknowledging, deleting, a restart) does not.
//!
//! Two marks, from the size R of the reserve (64 MiB, or a tenth of a small file system):
//!
//! ```text
//!   free ≥ R/4, half the ballast there     the store may grow
//!   free < R/4                             as much of the ballast goes as brings it back to R/4
//! ```
//!
//! With less than half the ballast nothing grows; what is there is read, replaced and deleted. What
//! comes free above 3R/8 fills the ballast again. Where the file system cannot reserve room there is no
//! ballast, and free room alone decides.

use crate::error::{StoreError, While};
use crate::space::Space;
use rustix::fs::FallocateFlags;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const FILE: &str = "ballast";
/// The ballast shrinks and grows by multiples of this.
const STEP: u64 = 256 << 10;

/// The file and how much of it there is.
pub(crate) struct Ballast {
    folder: PathBuf,
    /// `None`: the file system reserves nothing.
    file: Option<File>,
    len: u64,
}

impl Ballast {
    /// Takes up the ballast of a folder, and gives so much of it back that a store can be opened on
    /// a full disk. It grows with [`Ballast::tend`], not here.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(FILE));
        // Not even a name can be made: there is nothing to give back either.
        let file = opened.ok();
        let len = match &file {
            Some(file) => file.metadata().while_doing("reading the ballast")?.len(),
            None => 0,
        };
        let mut ballast = Self {
            folder: folder.to_owned(),
            file,
            len,
        };
        ballast.keep_floor()?;
        Ok(ballast)
    }

    /// Whether the store may grow by `more` bytes.
    pub(crate) fn has_room_to_grow(&self, more: u64) -> Result<bool, StoreError> {
        let space = Space::of(&self.folder)?;
        let held = self.file.is_none() || self.len + STEP > space.reserve() / 2;
        Ok(held && space.free >= space.reserve() / 4 + more)
    }

    /// Gives back what is needed and takes what can be had. To be called about once a second.
    pub(crate) fn tend(&mut self) -> Result<(), StoreError> {
        let space = self.keep_floor()?;
        let wanted = space.reserve().saturating_sub(self.len);
        let spare = space.free.saturating_sub(space.reserve() * 3 / 8);
        let more = wanted.min(spare) / STEP * STEP;
        if more > 0 {
            self.grow(more);
        }
        Ok(())
    }

    /// Whether there is more left than work alone needs.
    pub(crate) fn is_spare(&self) -> Result<bool, StoreError> {
        let space = Space::of(&self.folder)?;
        Ok(space.free >= space.reserve() / 4)
    }

    /// Before anything is read, replaced or deleted: the log has its own reserve, but sled writes other
    /// files too, even while it reads. [`StoreError::NoSpace`] when the ballast is gone and they would
    /// find no room.
    pub(crate) fn room_to_work(&mut self) -> Result<(), StoreError> {
        let space = self.keep_floor()?;
        match space.free >= space.reserve() / 8 {
            true => Ok(()),
            false => Err(StoreError::NoSpace),
        }
    }

    /// Gives back so many bytes, or what there is, whatever the marks say.
    pub(crate) fn give(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.shrink(bytes)
    }

    fn keep_floor(&mut self) -> Result<Space, StoreError> {
        let space = Space::of(&self.folder)?;
        let lacking = (space.reserve() / 4).saturating_sub(space.free);
        if lacking == 0 || self.len == 0 {
            return Ok(space);
        }
        self.shrink(lacking)?;
        Space::of(&self.folder)
    }

    fn shrink(&mut self, by: u64) -> Result<(), StoreError> {
        let less = by.div_ceil(STEP).saturating_mul(STEP).min(self.len);
        if let (Some(file), true) = (&self.file, less > 0) {
            let rest = self.len - less;
            file.set_len(rest).while_doing("giving back the ballast")?;
            self.len = rest;
        }
        Ok(())
    }

    /// Takes what it can get: somebody else may have been faster.
    fn grow(&mut self, by: u64) {
        let Some(file) = &self.file else { return };
        match rustix::fs::fallocate(file, FallocateFlags::empty(), self.len, by) {
            Ok(()) => self.len += by,
            // An attempt that failed half way may have made the file longer.
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {
                let _ = file.set_len(self.len);
            }
            Err(_) => {
                let _ = file.set_len(0);
                (self.file, self.len) = (None, 0);
            }
        }
    }
}
