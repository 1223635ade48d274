//! How much room a file system has, and how much of it nobody may take.

use crate::error::{StoreError, While};
use std::path::Path;

/// No reserve is larger.
const RESERVE_MAX: u64 = 64 << 20;

/// A file system, now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Its size in bytes.
    pub(crate) total: u64,
    /// What an ordinary user may still write.
    pub(crate) free: u64,
}

impl Space {
    /// Asks the system.
    pub(crate) fn of(path: &Path) -> Result<Self, StoreError> {
        let stat = rustix::fs::statvfs(path)
            .map_err(std::io::Error::from)
            .while_doing("asking how much room the disk has")?;
        Ok(Self {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// What is kept free for fetching, acknowledging and deleting: 64 MiB, or a tenth of a small
    /// file system.
    pub(crate) fn reserve(self) -> u64 {
        RESERVE_MAX.min(self.total / 10)
    }
}
