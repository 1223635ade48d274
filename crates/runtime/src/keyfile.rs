//! Key files: 32 secret bytes, readable by their owner alone.
//!
//! A file is written once and never changed. What the bytes mean is the caller's business;
//! [`load_or_create_identity`] is the commonest meaning. The folder is [`crate::data_dir`].

use crate::data_dir::{DataDir, DataDirError, create_private, read_private, sync_parent};
use crate::entropy::Entropy;
use std::path::Path;
use wire::keys::IdentitySecret;
use zeroize::Zeroizing;

/// A key file's length in bytes.
pub const KEY_LEN: usize = 32;

/// Reads a key; `None` when there is no such file. Refuses one that group or others can reach, and
/// one of another length.
pub fn load(dir: &DataDir, name: &str) -> Result<Option<Zeroizing<[u8; KEY_LEN]>>, DataDirError> {
    read(&dir.file(name))
}

/// An identity that is there, for a command that signs once and leaves the folder to whoever runs on it.
pub fn read_identity(path: &Path) -> Result<Option<IdentitySecret>, DataDirError> {
    Ok(read(path)?.map(|seed| IdentitySecret::from_seed(&seed)))
}

fn read(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_LEN]>>, DataDirError> {
    let Some(bytes) = read_private(path, KEY_LEN as u64)? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    match <[u8; KEY_LEN]>::try_from(&bytes[..]) {
        Ok(key) => Ok(Some(Zeroizing::new(key))),
        Err(_) => Err(DataDirError::WrongLength {
            path: path.to_owned(),
            found: bytes.len() as u64,
            expected: KEY_LEN as u64,
        }),
    }
}

/// Writes a key that must not be there yet, durably, mode 0600.
pub fn create(dir: &DataDir, name: &str, key: &[u8; KEY_LEN]) -> Result<(), DataDirError> {
    let path = dir.file(name);
    create_private(&path, key)?;
    sync_parent(&path)
}

/// The node's identity, made with a fresh seed at the first start.
pub fn load_or_create_identity(
    dir: &DataDir,
    name: &str,
    entropy: &mut Entropy,
) -> Result<IdentitySecret, DataDirError> {
    if let Some(seed) = load(dir, name)? {
        return Ok(IdentitySecret::from_seed(&seed));
    }
    let seed = entropy
        .seed()
        .map_err(crate::data_dir::io_error("draw a key for", &dir.file(name)))?;
    create(dir, name, &seed)?;
    Ok(IdentitySecret::from_seed(&seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, DataDir) {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path().join("data")).unwrap();
        (parent, dir)
    }

    #[test]
    fn an_identity_is_made_once() {
        let (_parent, dir) = folder();
        let mut entropy = Entropy::os();
        let first = load_or_create_identity(&dir, "identity.key", &mut entropy).unwrap();
        let again = load_or_create_identity(&dir, "identity.key", &mut entropy).unwrap();
        assert_eq!(first.public(), again.public());
        assert!(create(&dir, "identity.key", &[1; 32]).is_err());
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let (_parent, dir) = folder();
        for mode in [0o640, 0o604, 0o660] {
            let name = format!("key-{mode:o}");
            create(&dir, &name, &[1; 32]).unwrap();
            std::fs::set_permissions(dir.file(&name), PermissionsExt::from_mode(mode)).unwrap();
            let error = load(&dir, &name).err().unwrap();
            assert!(matches!(error, DataDirError::NotPrivate { .. }));
            assert!(error.to_string().contains("chmod 600"));
        }
    }

    #[test]
    fn another_length_is_refused() {
        let (_parent, dir) = folder();
        for len in [0, 31, 33, 64] {
            dir.write("key", &vec![1; len]).unwrap();
            assert!(matches!(
                load(&dir, "key"),
                Err(DataDirError::WrongLength { .. })
            ));
        }
    }
}
