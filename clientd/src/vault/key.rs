//! The key of the client's store: 32 random bytes in a file of mode 0600, or the same bytes wrapped under a
//! passphrase. Which of both it is, stands in the file.
//!
//! A passphrase comes from the terminal or from a file or descriptor that somebody names; never from the
//! command line itself or the environment, where others see it. How it becomes a key is
//! [`store::passphrase`]. Another passphrase replaces this one file and nothing else.

use runtime::data_dir::{DataDir, DataDirError};
use runtime::entropy::Entropy;
use runtime::keyfile;
use runtime::node::NodeError;
use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use store::passphrase::{self, Cost, PASSPHRASE_MAX, Passphrase, WRAPPED_LEN};
use wire::aead::SealKey;
use zeroize::Zeroizing;

/// Without it nothing in the folder can be read.
pub(crate) const KEY_FILE: &str = "store.key";

/// Where a passphrase is to be had, should the key be under one.
#[derive(Clone, Default)]
pub(crate) struct Unlock {
    /// This file's first line; `-` is standard input, `/dev/fd/3` a descriptor. `None`: the terminal.
    pub(crate) file: Option<PathBuf>,
    /// A key that is made now gets a passphrase too.
    pub(crate) wrap_new: bool,
}

impl Unlock {
    /// From this file, for a new key as well; without one from the terminal, for a key that has one.
    pub(crate) fn from_file(file: Option<PathBuf>) -> Self {
        let wrap_new = file.is_some();
        Self { file, wrap_new }
    }

    fn ask(&self, prompt: &str) -> Result<Passphrase, NodeError> {
        let bytes = match &self.file {
            Some(file) => first_line(file)?,
            None => from_terminal(prompt)?,
        };
        let wrong = || refused(format!("use 1 to {PASSPHRASE_MAX} bytes"));
        Passphrase::new(bytes).ok_or_else(wrong)
    }

    /// A passphrase that nobody knows yet: at the terminal it is asked for twice.
    fn ask_new(&self) -> Result<Passphrase, NodeError> {
        if self.file.is_none() {
            let first = from_terminal("New passphrase: ")?;
            if from_terminal("Once more: ")? != first {
                return Err(refused("the two are not the same; nothing was changed"));
            }
            let wrong = || refused(format!("use 1 to {PASSPHRASE_MAX} bytes"));
            return Passphrase::new(first).ok_or_else(wrong);
        }
        self.ask("")
    }
}

/// Reads the key, or makes it where there is none.
pub(crate) fn open(dir: &DataDir, unlock: &Unlock) -> Result<SealKey, NodeError> {
    let mut entropy = Entropy::os();
    let Some(bytes) = dir.read(KEY_FILE, WRAPPED_LEN as u64)?.map(Zeroizing::new) else {
        let seed = entropy.seed()?;
        let key = SealKey::from_bytes(*seed);
        if unlock.wrap_new {
            let wrapped = wrap(&key, &unlock.ask_new()?)?;
            dir.write(KEY_FILE, &wrapped)?;
        } else {
            keyfile::create(dir, KEY_FILE, &seed)?;
        }
        return Ok(key);
    };
    if passphrase::is_wrapped(&bytes) {
        let given = unlock.ask("Passphrase: ")?;
        return passphrase::unwrap(&bytes, &given).map_err(|error| refused(error.to_string()));
    }
    if unlock.file.is_some() {
        return Err(refused(
            "this client's key is under none; give it one with `clientd passphrase`",
        ));
    }
    // It says what is wrong with another length.
    let seed = keyfile::load(dir, KEY_FILE)?;
    let seed = seed.ok_or_else(|| refused("the key file is gone"))?;
    Ok(SealKey::from_bytes(*seed))
}

/// Puts the key under another passphrase, or under none; it stays the same key. What the old file held is
/// overwritten once the new one is durable.
pub(crate) fn change(dir: &DataDir, old: &Unlock, new: Option<&Unlock>) -> Result<(), NodeError> {
    if !dir.file(KEY_FILE).exists() {
        return Err(refused("there is no client in this folder yet"));
    }
    let key = open(dir, old)?;
    let before = File::options().write(true).open(dir.file(KEY_FILE))?;
    match new {
        Some(new) => dir.write(KEY_FILE, &wrap(&key, &new.ask_new()?)?)?,
        None => dir.write(KEY_FILE, key.expose())?,
    }
    overwrite(before)?;
    Ok(())
}

fn wrap(key: &SealKey, given: &Passphrase) -> Result<[u8; WRAPPED_LEN], NodeError> {
    let mut rng = Entropy::os().key_rng()?;
    let wrapped = passphrase::wrap(key, given, Cost::RECOMMENDED, &mut rng);
    wrapped.map_err(|error| refused(error.to_string()))
}

fn overwrite(mut file: File) -> std::io::Result<()> {
    let len = file.metadata()?.len();
    std::io::copy(&mut std::io::repeat(0).take(len), &mut file)?;
    file.sync_all()
}

fn refused(message: impl Into<String>) -> NodeError {
    NodeError::value("passphrase", message)
}

fn from_terminal(prompt: &str) -> Result<Zeroizing<Vec<u8>>, NodeError> {
    let typed = rpassword::prompt_password(prompt).map_err(|error| {
        refused(format!(
            "this client's key is under one, and there is no terminal to ask for it ({error}): name a file \
             with --passphrase-file"
        ))
    });
    Ok(Zeroizing::new(typed?.into_bytes()))
}

/// The first line of a file, of standard input or of another descriptor, without its end.
fn first_line(path: &Path) -> Result<Zeroizing<Vec<u8>>, NodeError> {
    if path == Path::new("-") {
        let input = std::io::stdin();
        if input.is_terminal() {
            return from_terminal("Passphrase: ");
        }
        return Ok(line(input.lock())?);
    }
    let file = File::open(path).map_err(|source| DataDirError::Io {
        action: "open",
        path: path.to_owned(),
        source,
    })?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        let (path, fix) = (path.to_owned(), "600");
        return Err(DataDirError::NotPrivate { path, mode, fix }.into());
    }
    Ok(line(file)?)
}

/// Up to the end of the line, or one byte more than a passphrase has.
fn line(mut input: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Never grows, so that no copy stays behind.
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_MAX + 2));
    let mut byte = Zeroizing::new([0]);
    while line.len() < PASSPHRASE_MAX + 2 && input.read(&mut byte[..])? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path, name: &str, text: &str) -> Unlock {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        Unlock::from_file(Some(path))
    }

    #[test]
    fn a_key_gets_a_passphrase_another_one_and_none_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("client")).unwrap();
        let one = file(folder.path(), "one", "first horse\n");
        let two = file(
            folder.path(),
            "two",
            "second horse\r\nand a line that nobody reads",
        );
        let none = Unlock::default();
        let kept = || std::fs::read(dir.file(KEY_FILE)).unwrap();
        // None, one, two, none.
        let key = open(&dir, &none).unwrap();
        assert_eq!(kept(), key.expose());
        assert!(open(&dir, &one).is_err(), "a plain key with a passphrase");
        change(&dir, &none, Some(&one)).unwrap();
        let under_one = kept();
        assert!(under_one.len() == WRAPPED_LEN && passphrase::is_wrapped(&under_one));
        assert_eq!(open(&dir, &one).unwrap().expose(), key.expose());
        let error = open(&dir, &two).err().unwrap();
        assert_eq!(error.exit_code(), 78);
        assert!(error.to_string().contains("passphrase is wrong"), "{error}");
        assert_eq!(kept(), under_one, "a wrong one touches nothing");
        assert!(change(&dir, &two, None).is_err());
        assert_eq!(kept(), under_one);
        change(&dir, &one, Some(&two)).unwrap();
        assert!(open(&dir, &one).is_err());
        assert_eq!(open(&dir, &two).unwrap().expose(), key.expose());
        change(&dir, &two, None).unwrap();
        assert_eq!(kept(), key.expose());
        assert_eq!(open(&dir, &none).unwrap().expose(), key.expose());
    }

    #[test]
    fn what_the_old_file_held_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("client")).unwrap();
        open(&dir, &Unlock::default()).unwrap();
        // Another name of the same bytes on the disk.
        let other = folder.path().join("other");
        std::fs::hard_link(dir.file(KEY_FILE), &other).unwrap();
        let one = file(folder.path(), "one", "first horse\n");
        change(&dir, &Unlock::default(), Some(&one)).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), [0; 32]);
    }

    #[test]
    fn a_new_key_may_have_a_passphrase_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("client")).unwrap();
        let one = file(folder.path(), "one", "first horse");
        let key = open(&dir, &one).unwrap();
        assert_eq!(open(&dir, &one).unwrap().expose(), key.expose());
        assert!(std::fs::read(dir.file(KEY_FILE)).unwrap().len() == WRAPPED_LEN);
    }

    #[test]
    fn a_file_that_others_can_read_an_empty_and_a_long_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path().join("client")).unwrap();
        for (name, text) in [("empty", "\n"), ("long", &*"x".repeat(PASSPHRASE_MAX + 1))] {
            let error = open(&dir, &file(folder.path(), name, text)).err().unwrap();
            assert!(error.to_string().contains("1 to 1024 bytes"), "{error}");
        }
        let one = file(folder.path(), "one", "first horse");
        let path = one.file.clone().unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = open(&dir, &one).err().unwrap();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(!dir.file(KEY_FILE).exists());
    }
}
