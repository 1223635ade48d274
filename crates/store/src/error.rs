//! What can go wrong with a store, and what to do about it. No text names an inbox, a contact or a
//! path; the daemon that prints it says which folder it means.

use std::io;

/// Why a store was not opened, or did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused; the store stops and acknowledges nothing more.
    #[error(
        "{what} failed: {source}. Check that the disk is healthy and has free space, \
         then start the process again"
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has this folder open.
    #[error("another process has this store open; stop it first, or name another folder")]
    Locked,
    /// Bytes on the disk are not what this program wrote.
    #[error(
        "the store is damaged ({what}). Restore its whole folder from a backup, or move the folder \
         away to start with an empty one"
    )]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The store was made with another key.
    #[error("the store was made with another key; give it the key file it was made with")]
    WrongKey,
    /// The passphrase is another one, or the file that it opens was changed. Nothing was touched.
    #[error(
        "the passphrase is wrong, or the file of the store's key was changed; nothing was touched: try \
         again, or restore that file from a backup"
    )]
    WrongPassphrase,
    /// The file of a key asks for more memory or time than a passphrase ever costs, or for none.
    #[error(
        "the file of the store's key asks for an impossible amount of memory or time: it was changed; \
         restore it from a backup"
    )]
    Cost,
    /// The store was made by a newer program.
    #[error("the store has format {found}, this program knows up to {known}; use a newer program")]
    Version {
        /// What stands in the file.
        found: u16,
        /// The newest that this program knows.
        known: u16,
    },
    /// As much is kept as may be; nothing was changed.
    #[error("the store is full; raise its limit, or wait until something is removed")]
    Full,
    /// The disk has no room for it; nothing was changed.
    #[error("the disk is full; make room on it, the store goes on by itself then")]
    NoSpace,
    /// Nothing is kept under this name or number; nothing was changed.
    #[error("there is no such thing in the store")]
    Missing,
    /// The cell's inbox is not open here; nothing was changed.
    #[error("there is no such inbox")]
    NoInbox,
    /// A key or value is longer than the store takes; nothing was changed.
    #[error("a record is longer than the store takes")]
    TooLong,
    /// An earlier failure stopped the store; what it holds in memory may not be on the disk.
    #[error("the store stopped after an earlier failure; start the process again")]
    Stopped,
}

impl StoreError {
    /// Whether the order was refused with nothing changed, and the store goes on.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Full | Self::NoSpace | Self::Missing | Self::NoInbox | Self::TooLong => true,
            Self::Io { .. }
            | Self::Locked
            | Self::Damaged { .. }
            | Self::WrongKey
            | Self::WrongPassphrase
            | Self::Cost
            | Self::Version { .. }
            | Self::Stopped => false,
        }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// Whether the system refused for want of room: on the disk, in a quota, or in the largest file.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [StorageFull, QuotaExceeded, FileTooLarge].contains(&error.kind())
}

/// Turns an I/O error into a [`StoreError`] that says what was tried.
pub(crate) trait While<T> {
    fn while_doing(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> While<T> for io::Result<T> {
    fn while_doing(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { what, source })
    }
}

/// For writes whose failure changes nothing: a full disk is a refusal.
pub(crate) trait OrNoSpace<T> {
    fn or_no_space(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> OrNoSpace<T> for io::Result<T> {
    fn or_no_space(self, what: &'static str) -> Result<T, StoreError> {
        match self {
            Err(error) if is_no_space(&error) => Err(StoreError::NoSpace),
            done => done.while_doing(what),
        }
    }
}
