//! A file system of some MiB, mounted for one test where this user may mount.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs of a given size; unmounted on drop.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, said loudly, where mounting is not allowed.
    pub(crate) fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        // Past the harness, which would swallow it.
        let text = b"SKIPPED: a small file system cannot be mounted here (needs root)\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text);
        None
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file of somebody else's that takes all the room there is.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("foreign");
        let mut file = std::fs::File::create(&path).unwrap();
        let chunk = vec![7; 64 * 1024];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        // The last pages.
        while std::io::Write::write_all(&mut file, &chunk[..512]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
