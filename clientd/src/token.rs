//! How an application on this machine finds the daemon and proves that it may use it: the files
//! `api.addr` and `api.token` in the data folder, mode 0600, there while the daemon runs.

use runtime::data_dir::{DataDir, DataDirError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Holds the API's address.
pub(crate) const ADDRESS_FILE: &str = "api.addr";
/// Holds the token: 64 hex digits.
pub(crate) const TOKEN_FILE: &str = "api.token";

/// The right to use the API; new at each start. Wiped on drop, no `Debug`.
#[derive(Clone)]
pub(crate) struct Token(Zeroizing<String>);

impl Token {
    /// `bytes` are random.
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(directory::hex::encode(bytes)))
    }

    /// Compares in constant time.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// The two files, removed on drop.
pub(crate) struct Announcement {
    paths: [PathBuf; 2],
}

impl Announcement {
    /// Writes both files, each as a whole. Refuses to write where a link stands.
    pub(crate) fn write(
        dir: &DataDir,
        address: SocketAddr,
        token: &Token,
    ) -> Result<Self, DataDirError> {
        let files = [
            (ADDRESS_FILE, address.to_string()),
            (TOKEN_FILE, token.0.to_string()),
        ];
        for (name, text) in files {
            let path = dir.file(name);
            refuse_link(&path)?;
            // What a killed daemon left is of no use, and on a full disk it is the room for ours.
            let _ = std::fs::remove_file(&path);
            dir.write(name, Zeroizing::new(text).as_bytes())?;
        }
        Ok(Self {
            paths: [dir.file(ADDRESS_FILE), dir.file(TOKEN_FILE)],
        })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        for path in &self.paths {
            // Gone is gone, whoever removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn refuse_link(path: &Path) -> Result<(), DataDirError> {
    match path.symlink_metadata() {
        Ok(there) if !there.is_file() => Err(DataDirError::Io {
            action: "write the file (remove what stands there)",
            path: path.to_owned(),
            source: io::ErrorKind::AlreadyExists.into(),
        }),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_files_are_private_and_go_with_the_daemon() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path().join("data")).unwrap();
        let token = Token::new(&[7; 32]);
        let address = "127.0.0.1:7654".parse().unwrap();
        let announcement = Announcement::write(&dir, address, &token).unwrap();
        for name in [ADDRESS_FILE, TOKEN_FILE] {
            let mode = std::fs::metadata(dir.file(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let text = std::fs::read_to_string(dir.file(TOKEN_FILE)).unwrap();
        assert!(token.is(&text) && !token.is("") && !token.is(&text[1..]));
        assert!(!token.is(&text.replace('0', "1")));
        drop(announcement);
        assert!(!dir.file(TOKEN_FILE).exists() && !dir.file(ADDRESS_FILE).exists());
    }

    #[test]
    fn a_link_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path().join("data")).unwrap();
        let target = parent.path().join("elsewhere");
        std::fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, dir.file(TOKEN_FILE)).unwrap();
        let address = "127.0.0.1:7654".parse().unwrap();
        assert!(Announcement::write(&dir, address, &Token::new(&[1; 32])).is_err());
        assert_eq!(std::fs::read_to_string(target).unwrap(), "kept");
    }
}
