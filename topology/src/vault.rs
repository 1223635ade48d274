//! Signed directories on disk. Each is durable before it is shown, so that an authority that was
//! killed or lost power never signs a second one for an epoch.
//!
//! One file for each place of a ring of [`KEPT_MAX`], by epoch: nothing has to be listed or
//! cleaned up.

use anyhow::Context as _;
use directory::{DOCUMENT_MAX, KEPT_MAX, SignedDirectory};
use runtime::data_dir::{DataDir, DataDirError, write_atomic};
use wire::ids::Epoch;

/// Every directory that is kept. A damaged file is an error: going on without it could mean
/// signing twice.
pub(crate) fn read(dir: &DataDir) -> anyhow::Result<Vec<SignedDirectory>> {
    let mut kept = Vec::new();
    for slot in 0..KEPT_MAX as u64 {
        let name = name(slot);
        if let Some(bytes) = dir.read(&name, DOCUMENT_MAX as u64)? {
            let signed = SignedDirectory::decode(&bytes).with_context(|| {
                format!(
                    "{} is damaged: restore it, or remove it once its epoch has passed",
                    dir.file(&name).display()
                )
            })?;
            kept.push(signed);
        }
    }
    Ok(kept)
}

/// Returns when the document is durable.
pub(crate) async fn write(
    dir: &DataDir,
    epoch: Epoch,
    document: Vec<u8>,
) -> Result<(), DataDirError> {
    let path = dir.file(&name(epoch.0 % KEPT_MAX as u64));
    tokio::task::spawn_blocking(move || write_atomic(&path, &document))
        .await
        .expect("writing a file does not panic")
}

fn name(slot: u64) -> String {
    format!("directory-{slot}")
}
