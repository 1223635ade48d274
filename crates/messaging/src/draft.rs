//! What an application hands to the [`Messenger`](crate::Messenger) to be said, and how it names
//! files. Not here: what it hears back ([`crate::event`]), and how a file travels (`crate::transfer`).

use crate::event::{ClientMessageId, MessageId};
use crate::identity::ContactId;
use std::time::Duration;

/// Most bytes of a text.
pub const BODY_MAX: usize = 261_120;

/// Which application sends. It has no meaning but fairness: messages to one contact are taken from
/// the applications in turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AppId(pub u32);

/// A message to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// The text, at most [`BODY_MAX`] bytes; with a file, what is said about it.
    pub body: String,
    /// Who sends.
    pub app: AppId,
    /// Given up when it takes longer; `None` is
    /// [`message_ttl`](crate::MessengerConfig::message_ttl), which is also the longest.
    pub expires_in: Option<Duration>,
    /// A file that goes with it.
    pub file: Option<FileDraft>,
}

impl Draft {
    /// A text and nothing else.
    pub fn text(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            app: AppId::default(),
            expires_in: None,
            file: None,
        }
    }
}

/// The owner's name of a file's bytes, which the Messenger never holds as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlobRef(pub [u8; 16]);

/// A file to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct FileDraft {
    /// Where its bytes are.
    pub blob: BlobRef,
    /// What it is called: 1 to 128 bytes, no control characters, no path separators.
    pub name: String,
    /// What it is, as a MIME type; at most 64 bytes.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub hash: [u8; 32],
}

/// A file that a contact offers. Its name is the sender's word: never a path to write to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileView {
    /// What it is called.
    pub name: String,
    /// What it is said to be.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub hash: [u8; 32],
}

/// Names the message that a file belongs to, in either direction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileRef {
    /// We send it.
    Outgoing(ClientMessageId),
    /// We receive it.
    Incoming(MessageId),
}

/// A piece of a file that is needed to send on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BlobWant {
    /// Of which transfer: the id of the message that offers the file.
    pub transfer: MessageId,
    /// To whom.
    pub contact: ContactId,
    /// Of which bytes.
    pub blob: BlobRef,
    /// Which record of them, counted from 0; the last one may be shorter.
    pub index: u32,
}

/// What a person decides about a contact; `None` leaves it as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ContactSettings {
    /// What we call them: 1 to 32 bytes, no control characters; another name is not taken.
    pub name: Option<String>,
    /// Whether a person compared keys.
    pub verified: Option<bool>,
    /// Whether their inboxes are read more often.
    pub favourite: Option<bool>,
    /// Whether we tell them what was delivered and read. Turned off, they are told so once.
    pub receipts: Option<bool>,
    /// How long what was said is kept here.
    pub retention: Option<Retention>,
}

/// How long what was said with a contact is kept on this device. The Messenger forgets its own part
/// (what became of messages) by it; texts and files are the owner's to delete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Retention {
    /// Until it is wiped.
    #[default]
    Forever,
    /// So long after it was written.
    For(Duration),
}
