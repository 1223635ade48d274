//! Files that are there whole or not at all, whatever ends the program or fills the disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside its place, onto the disk, and then into its place.
pub fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("part");
    let put = || {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    put().inspect_err(|_| {
        // What is half written is of no use, and takes room.
        let _ = fs::remove_file(&draft);
    })
}
