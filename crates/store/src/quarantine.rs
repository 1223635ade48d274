//! Setting a damaged store aside, and removing one for good.

use crate::error::{StoreError, While};
use crate::files::sync_parent;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wire::time::UnixTime;

/// Damaged stores that are kept; the oldest go first.
pub const QUARANTINED_MAX: usize = 3;

/// Files up to this length are overwritten before they are removed: all that hold keys.
const OVERWRITTEN_MAX: u64 = 2 << 20;

/// Renames a damaged store's folder to `<folder>.corrupt-<seconds>` and says how it is called now.
/// Nothing is left under the old name; older ones than [`QUARANTINED_MAX`] are removed.
pub fn quarantine(folder: &Path, now: UnixTime) -> Result<PathBuf, StoreError> {
    let mut seconds = now.0 / 1000;
    let aside = loop {
        let aside = beside(folder, &format!(".corrupt-{seconds}"));
        if !aside.exists() {
            break aside;
        }
        seconds += 1;
    };
    std::fs::rename(folder, &aside).while_doing("setting the damaged store aside")?;
    sync_parent(folder)?;
    let mut kept = quarantined(folder)?;
    while kept.len() > QUARANTINED_MAX {
        let oldest = kept.remove(0);
        std::fs::remove_dir_all(oldest).while_doing("removing an old damaged store")?;
    }
    Ok(aside)
}

/// The damaged stores that were set aside, oldest first.
pub fn quarantined(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let Some(name) = folder.file_name().and_then(|n| n.to_str()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{name}.corrupt-");
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty());
    let list = || -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(parent.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name();
            let seconds = name.to_str().and_then(|n| n.strip_prefix(&prefix));
            if let Some(seconds) = seconds.and_then(|s| s.parse().ok()) {
                found.push((seconds, entry.path()));
            }
        }
        Ok(found)
    };
    let mut found = list().while_doing("looking for damaged stores")?;
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Removes a folder for good: what is short, and so all that holds keys, is overwritten first;
/// then every file and folder is unlinked, durably. Nothing happens where there is none.
///
/// What of long files stays on the medium opens only with keys that stood in the short ones. A file
/// that cannot be overwritten or removed does not keep the others.
pub fn destroy(folder: &Path) -> Result<(), StoreError> {
    if !folder.exists() {
        return Ok(());
    }
    let overwritten = overwrite_all(folder);
    std::fs::remove_dir_all(folder).while_doing("removing the store")?;
    sync_parent(folder)?;
    overwritten.while_doing("overwriting the store's keys")
}

/// Overwrites one file with zeros, durably, and removes it. For key files.
pub fn destroy_file(path: &Path) -> Result<(), StoreError> {
    if !path.exists() {
        return Ok(());
    }
    overwrite(path).while_doing("overwriting a key")?;
    std::fs::remove_file(path).while_doing("removing a key")?;
    sync_parent(path)
}

/// `folder` with something behind its name.
pub(crate) fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn overwrite_all(folder: &Path) -> io::Result<()> {
    let mut result = Ok(());
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        let done = if kind.is_dir() {
            overwrite_all(&path)
        } else if kind.is_file() && entry.metadata()?.len() <= OVERWRITTEN_MAX {
            overwrite(&path)
        } else {
            Ok(())
        };
        result = result.and(done);
    }
    result
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    file.write_all(&vec![0; len.min(OVERWRITTEN_MAX) as usize])?;
    file.sync_all()
}
