//! Signed directories on disk. What this authority signed is durable before anybody sees it, so that one
//! that was killed or lost power never signs a second one for an epoch.
//!
//! The newest that it signed, and one file for each place of a ring of [`KEPT_MAX`] of those that were
//! decided, by epoch: nothing has to be listed or cleaned up. Beside them stand the nodes' descriptors, so that a restart between two epochs does
//! not have to wait until every node comes by again; losing those costs no more than that.

use anyhow::Context as _;
use directory::{
    ADMITTED_MAX, DESCRIPTOR_MAX, DOCUMENT_MAX, KEPT_MAX, Record, SignedDescriptor, SignedDirectory,
};
use runtime::data_dir::{DataDir, DataDirError, write_atomic};
use wire::ids::Epoch;

const SIGNED_FILE: &str = "signed-by-us";
const DESCRIPTORS_FILE: &str = "descriptors";
const DESCRIPTORS_LEN_MAX: u64 = (ADMITTED_MAX * (2 + DESCRIPTOR_MAX)) as u64;

/// Everything that is kept. A damaged file is an error: going on without it could mean signing twice.
pub(crate) fn read(dir: &DataDir) -> anyhow::Result<Vec<Record>> {
    let mut kept = Vec::new();
    for name in (0..KEPT_MAX as u64).map(name) {
        if let Some((epoch, signed)) = read_one(dir, &name)? {
            kept.push(Record::Directory(epoch, signed));
        }
    }
    if let Some((epoch, signed)) = read_one(dir, SIGNED_FILE)? {
        kept.push(Record::Signature(epoch, signed));
    }
    Ok(kept)
}

fn read_one(dir: &DataDir, name: &str) -> anyhow::Result<Option<(Epoch, SignedDirectory)>> {
    let Some(bytes) = dir.read(name, DOCUMENT_MAX as u64)? else {
        return Ok(None);
    };
    let damaged = || {
        let file = dir.file(name);
        format!(
            "{} is damaged: restore it, or remove it once its epoch has passed",
            file.display()
        )
    };
    let signed = SignedDirectory::decode(&bytes).with_context(damaged)?;
    let epoch = signed.epoch().with_context(damaged)?;
    Ok(Some((epoch, signed)))
}

/// Returns when it is durable.
pub(crate) async fn write(dir: &DataDir, record: &Record) -> Result<(), DataDirError> {
    let name = match record {
        Record::Signature(..) => SIGNED_FILE.to_owned(),
        Record::Directory(epoch, _) => name(epoch.0 % KEPT_MAX as u64),
    };
    replace(dir, &name, record.document().encode()).await
}

/// The descriptors that were here before a restart. What cannot be read is left out: the nodes
/// will come by again.
pub(crate) fn read_descriptors(dir: &DataDir) -> anyhow::Result<Vec<SignedDescriptor>> {
    let bytes = dir.read(DESCRIPTORS_FILE, DESCRIPTORS_LEN_MAX)?;
    let mut rest = bytes.as_deref().unwrap_or_default();
    let mut descriptors = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let Some((one, behind)) = behind.split_at_checked(len) else {
            break;
        };
        descriptors.extend(SignedDescriptor::decode(one));
        rest = behind;
    }
    Ok(descriptors)
}

/// Replaces the descriptors on disk.
pub(crate) async fn write_descriptors<'a>(
    dir: &DataDir,
    descriptors: impl Iterator<Item = &'a SignedDescriptor>,
) -> Result<(), DataDirError> {
    let mut out = Vec::new();
    for descriptor in descriptors {
        let bytes = descriptor.encode();
        // At most DESCRIPTOR_MAX.
        out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        out.extend_from_slice(&bytes);
    }
    replace(dir, DESCRIPTORS_FILE, out).await
}

async fn replace(dir: &DataDir, name: &str, bytes: Vec<u8>) -> Result<(), DataDirError> {
    let path = dir.file(name);
    tokio::task::spawn_blocking(move || write_atomic(&path, &bytes))
        .await
        .expect("writing a file does not panic")
}

fn name(slot: u64) -> String {
    format!("directory-{slot}")
}
