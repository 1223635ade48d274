//! Folders and files that only their owner can read, and that are there after a power cut.

use crate::error::{StoreError, While};
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// How long to wait for a process that is just ending.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// A folder that no other process has open as a store. Unlocked on drop.
pub(crate) struct LockedFolder {
    path: PathBuf,
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder where it is missing, closes it to other users, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        make_folder(path)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(FILE_MODE)
            .open(path.join("lock"))
            .while_doing("opening the lock file")?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
                Err(TryLockError::Error(error)) => {
                    return Err(error).while_doing("locking the store");
                }
            }
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file of this store lies.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes `name` with `content` so that a power cut leaves all of it or nothing.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let temporary = self.join(&format!("{name}.new"));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(FILE_MODE)
                .open(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&temporary, self.join(name))
        };
        write().while_doing("creating a file of the store")?;
        self.sync()
    }

    /// Opens `name` for reading and writing; `None` when it is not there.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<File>, StoreError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.join(name));
        match opened {
            Ok(file) => {
                file.set_permissions(Permissions::from_mode(FILE_MODE))
                    .while_doing("closing a file of the store to other users")?;
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).while_doing("opening a file of the store"),
        }
    }

    /// Makes the names in this folder durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        sync_folder(&self.path)
    }
}

/// Makes a folder for its owner alone, or closes an old one to others; the name is durable.
pub(crate) fn make_folder(path: &Path) -> Result<(), StoreError> {
    if !path.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
            .while_doing("making the store's folder")?;
        sync_parent(path)?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
        .while_doing("closing the store's folder to other users")
}

/// Closes every file below `path` to other users and makes all of them durable, names included.
pub(crate) fn settle_tree(path: &Path) -> Result<(), StoreError> {
    let settle = || -> io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::set_permissions(entry.path(), Permissions::from_mode(FOLDER_MODE))?;
                folders.push(entry.path());
            } else {
                std::fs::set_permissions(entry.path(), Permissions::from_mode(FILE_MODE))?;
                File::open(entry.path())?.sync_all()?;
            }
        }
        Ok(folders)
    };
    let folders = settle().while_doing("syncing the store's files")?;
    folders.iter().try_for_each(|folder| settle_tree(folder))?;
    sync_folder(path)
}

/// Makes the name of a file or folder durable, or its absence.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .while_doing("syncing a folder of the store")
}
