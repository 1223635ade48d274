//! What the [`Messenger`](crate::Messenger) tells its owner: what to write down, and what the
//! application should hear. Not here: what it asks of the network ([`crate::order`]).

use crate::draft::{BlobWant, FileRef, FileView};
use crate::identity::ContactId;
use crate::records::Record;
use std::fmt;
use wire::time::UnixTime;
use zeroize::Zeroizing;

/// A name given by an application to one of its outgoing messages: 1 to 64 characters out of
/// `A-Z a-z 0-9 . _ ~ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientMessageId(String);

impl ClientMessageId {
    /// Longest in characters.
    pub const MAX: usize = 64;

    /// Refuses other characters, none and too many.
    pub fn new(text: &str) -> Option<Self> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._~-".contains(&c);
        let fits = (1..=Self::MAX).contains(&text.len());
        (fits && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names a message between two contacts; doubles are dropped by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId(pub [u8; 16]);

impl fmt::Display for MessageId {
    /// 32 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// How far an outgoing message has come: each state is true when it is told, and never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum MessageState {
    /// Sealed and written down here.
    Queued,
    /// Left in a packet at least once.
    Mixing,
    /// Enough of it is durable in the contact's inboxes to be read as a whole.
    Stored,
    /// The contact's program has it durably, and said so.
    Delivered,
    /// The contact's application said that a person read it.
    Read,
    /// Not delivered (to a contact who sends no receipts: not stored) in time; given up.
    Expired,
    /// Given up for another reason.
    Failed(FailReason),
}

/// Why a message was given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum FailReason {
    /// The contact's card expired before the first contact was stored; ask for a new card.
    InviteExpired,
    /// A person wiped the conversation.
    Wiped,
    /// The file's bytes are gone.
    FileGone,
    /// One of the two ends cancelled the file.
    Cancelled,
    /// The file came out different from what was promised.
    Damaged,
}

/// Why a cell was acknowledged and had no other effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// The inbox is not (or no longer) ours.
    UnknownInbox,
    /// Suite byte unknown: written by a newer or a broken program.
    UnknownSuite,
    /// Opens with no key of ours, and was pushed out by newer ones that do not either.
    Unreadable,
    /// Opens, but its content breaks the specification.
    Malformed,
    /// Opens, but the signature inside is not the sender's.
    BadSignature,
    /// Opens, but comes from somebody who may not write to this inbox.
    WrongSender,
    /// Opens, but is of a kind this version does not know.
    UnknownType,
    /// Was here before.
    Duplicate,
    /// A first contact for an invite that another one has used, or from ourselves.
    InviteUsed,
    /// A first contact, but the list of contacts is full.
    ContactsFull,
}

/// Something for the owner. **Contract:** drain all events, make every [`Event::Write`] durable in
/// one atomic batch together with what the application must not miss, and only then drain
/// [`poll_transmit`](crate::Messenger::poll_transmit).
#[non_exhaustive]
pub enum Event {
    /// Write this down.
    Write(Record),
    /// Somebody is on the list of contacts now.
    ContactAdded {
        /// Who.
        contact: ContactId,
        /// What they call themselves.
        name: String,
        /// Whether a person compared keys; always false at first.
        verified: bool,
        /// Whether they came through an invite of ours (else we added their card).
        by_invite: bool,
    },
    /// A card of ours was used; its inboxes are closed.
    InviteUsed {
        /// By whom.
        contact: ContactId,
        /// Digest of the card, see [`Card::digest`](crate::Card::digest).
        card: [u8; 16],
    },
    /// A card of ours expired unused.
    InviteExpired {
        /// Digest of the card.
        card: [u8; 16],
    },
    /// A text came. Told once for each message.
    MessageReceived {
        /// From whom.
        contact: ContactId,
        /// Its name between the two.
        message_id: MessageId,
        /// What it says.
        body: String,
        /// When it was written, by the sender's clock; strictly increasing for one sender.
        composed: UnixTime,
        /// The file that it offers.
        file: Option<FileView>,
    },
    /// An outgoing message came further.
    MessageState {
        /// To whom.
        contact: ContactId,
        /// Which.
        id: ClientMessageId,
        /// How far.
        state: MessageState,
    },
    /// A record of a file is needed; answer with
    /// [`handle_blob`](crate::Messenger::handle_blob).
    BlobWanted(BlobWant),
    /// A file begins to come: make room for it.
    BlobBegin {
        /// From whom.
        contact: ContactId,
        /// Which.
        transfer: MessageId,
        /// What was offered.
        file: FileView,
    },
    /// A record of a file came: write it at `index` times
    /// [`FILE_RECORD_LEN`](crate::FILE_RECORD_LEN), durably in the same batch.
    BlobWrite {
        /// From whom.
        contact: ContactId,
        /// Of which file.
        transfer: MessageId,
        /// Which record.
        index: u32,
        /// What it holds.
        bytes: Zeroizing<Vec<u8>>,
    },
    /// All records of a file are written: hash it, and answer with
    /// [`handle_file_checked`](crate::Messenger::handle_file_checked).
    FileDone {
        /// From whom.
        contact: ContactId,
        /// Which.
        transfer: MessageId,
        /// SHA-256 that its content must have.
        hash_to_check: [u8; 32],
    },
    /// A file came further; about once a second.
    FileProgress {
        /// To or from whom.
        contact: ContactId,
        /// Which.
        message: FileRef,
        /// Bytes that are surely there.
        done: u64,
        /// Of so many.
        size: u64,
    },
    /// A file will not come: forget its bytes.
    FileFailed {
        /// To or from whom.
        contact: ContactId,
        /// Which.
        message: FileRef,
        /// Why.
        reason: FailReason,
    },
    /// A cell was acknowledged without effect.
    Ignored {
        /// Why.
        reason: IgnoreReason,
    },
}

/// Whether a message was new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendOutcome {
    /// It is new, sealed and (with the next batch) written down.
    Accepted,
    /// The same message was accepted before.
    Duplicate,
}
