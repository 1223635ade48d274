//! A daemon's data folder: private, locked against a second process, written atomically.
//!
//! Key files in it are [`crate::keyfile`]; databases are `crates/store`.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// Why a data folder or a file in it cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can get at it.
    #[error(
        "{} can be reached by other users (mode {mode:o}): run `chmod {fix} {}`",
        path.display(), path.display()
    )]
    NotPrivate {
        /// What is open.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The bits it should have.
        fix: &'static str,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to another user: run as that user or choose another folder", .0.display())]
    OtherOwner(PathBuf),
    /// Another process uses it.
    #[error(
        "{} is in use by another process: stop that one, or choose another data folder",
        .0.display()
    )]
    Locked(PathBuf),
    /// A file's length is not what its kind has.
    #[error(
        "{} has {found} bytes instead of {expected}: restore it from a backup, or remove it to \
         begin with a new one", path.display()
    )]
    WrongLength {
        /// Which file.
        path: PathBuf,
        /// How long it is.
        found: u64,
        /// How long it should be (at most, for files without a fixed length).
        expected: u64,
    },
}

/// A private folder, locked as long as this value lives.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the folder where it is missing (mode 0700), refuses one that others can reach, and
    /// locks it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(io_error("create the folder", &path))?;
        check_private(&path, "700")?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked(path)),
            Err(TryLockError::Error(source)) => Err(io_error("lock", &lock_path)(source)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file's place in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces a file as a whole, mode 0600. See [`write_atomic`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataDirError> {
        write_atomic(&self.file(name), bytes)
    }

    /// Reads a file of at most `len_max` bytes; `None` when there is none.
    pub fn read(&self, name: &str, len_max: u64) -> Result<Option<Vec<u8>>, DataDirError> {
        read_private(&self.file(name), len_max)
    }
}

/// Writes a temporary file of mode 0600, syncs it, renames it to `path` and syncs the folder:
/// after a crash the old or the new bytes are there, never a mixture.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match std::fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("remove", &temporary)(error)),
    }
    create_private(&temporary, bytes)?;
    std::fs::rename(&temporary, path).map_err(io_error("rename a file to", path))?;
    sync_parent(path)
}

/// Writes a file that must not exist yet, mode 0600, and syncs it.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create", path))?;
    file.write_all(bytes).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

/// Makes a file's name durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), DataDirError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("sync the folder", parent))
}

/// Reads a file that only its owner can reach; `None` when there is none.
pub(crate) fn read_private(path: &Path, len_max: u64) -> Result<Option<Vec<u8>>, DataDirError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    let metadata = file.metadata().map_err(io_error("read", path))?;
    require_private(path, &metadata, "600")?;
    let mut bytes = Vec::new();
    file.take(len_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    if bytes.len() as u64 > len_max {
        return Err(DataDirError::WrongLength {
            path: path.to_owned(),
            found: metadata.len(),
            expected: len_max,
        });
    }
    Ok(Some(bytes))
}

pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DataDirError + use<> {
    let path = path.to_owned();
    move |source| DataDirError::Io {
        action,
        path,
        source,
    }
}

fn check_private(path: &Path, fix: &'static str) -> Result<(), DataDirError> {
    let metadata = std::fs::metadata(path).map_err(io_error("read", path))?;
    require_private(path, &metadata, fix)
}

pub(crate) fn require_private(
    path: &Path,
    metadata: &std::fs::Metadata,
    fix: &'static str,
) -> Result<(), DataDirError> {
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(DataDirError::OtherOwner(path.to_owned()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::NotPrivate {
            path: path.to_owned(),
            mode,
            fix,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_holder_is_told_why() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked(_))));
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }

    #[test]
    fn an_open_folder_is_refused_with_the_cure() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let error = DataDir::open(&path).err().unwrap();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_and_replaced_as_a_whole() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path().join("data")).unwrap();
        assert!(dir.read("state", 10).unwrap().is_none());
        dir.write("state", b"one").unwrap();
        // A crash left half a temporary file behind.
        std::fs::write(dir.file("state.new"), b"tw").unwrap();
        dir.write("state", b"two").unwrap();
        assert_eq!(dir.read("state", 3).unwrap().unwrap(), b"two");
        assert!(matches!(
            dir.read("state", 2),
            Err(DataDirError::WrongLength { found: 3, .. })
        ));
        let mode = std::fs::metadata(dir.file("state")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
