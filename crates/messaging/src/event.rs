//! What the [`Messenger`](crate::Messenger) tells its owner: what to write down, and what the
//! application should hear. Not here: what it asks of the network ([`crate::order`]).

use crate::identity::ContactId;
use crate::records::Record;
use std::fmt;
use wire::time::UnixTime;

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

/// How far an outgoing message has come. Later suites add *delivered* and *read*.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum MessageState {
    /// Sealed and written down here.
    Queued,
    /// Left in a packet at least once.
    Mixing,
    /// Durable in the contact's inbox.
    Stored,
    /// Not stored within [`message_ttl`](crate::MessengerConfig::message_ttl); given up.
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

/// Why a message is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// Nobody of that id is on the list.
    UnknownContact,
    /// The text does not fit one cell.
    TooLong {
        /// Most bytes.
        max: usize,
    },
    /// The same id was used for another text.
    Conflict,
    /// Too many messages to this contact wait; try again when some are stored.
    OutboxFull,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownContact => write!(f, "no such contact; add their card first"),
            Self::TooLong { max } => write!(f, "the text is longer than {max} bytes"),
            Self::Conflict => write!(f, "this message id was used for another text"),
            Self::OutboxFull => write!(f, "too many messages wait for this contact; try later"),
        }
    }
}

impl std::error::Error for SendError {}

/// Why no card can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CardError {
    /// No directory is known yet; wait for the network.
    NoDirectory,
    /// The network has fewer than two gateways besides our own entry gateway.
    TooFewGateways,
    /// Too many cards wait to be used; let some expire.
    TooManyInvites,
    /// The name is empty, longer than 32 bytes, or has control characters.
    BadName,
    /// The time to expiry is zero.
    BadExpiry,
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory => write!(f, "no directory is known yet; wait for the network"),
            Self::TooFewGateways => {
                write!(
                    f,
                    "the network has fewer than two gateways besides the own entry"
                )
            }
            Self::TooManyInvites => write!(f, "too many unused cards; let some expire"),
            Self::BadName => write!(f, "a name has 1 to 32 bytes and no control characters"),
            Self::BadExpiry => write!(f, "a card must live for some time"),
        }
    }
}

impl std::error::Error for CardError {}

/// Why a card is not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddError {
    /// It is our own.
    OwnCard,
    /// Its owner is on the list already.
    AlreadyAdded,
    /// It is too old; ask for a new one.
    Expired,
    /// It belongs to another network.
    WrongNetwork,
    /// The list of contacts is full.
    TooManyContacts,
    /// Our own name is empty, longer than 32 bytes, or has control characters.
    BadName,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnCard => write!(f, "this is your own card; give it to somebody else"),
            Self::AlreadyAdded => write!(f, "the owner of this card is a contact already"),
            Self::Expired => write!(f, "this card has expired; ask for a new one"),
            Self::WrongNetwork => write!(f, "this card belongs to another network"),
            Self::TooManyContacts => write!(f, "the list of contacts is full"),
            Self::BadName => write!(f, "a name has 1 to 32 bytes and no control characters"),
        }
    }
}

impl std::error::Error for AddError {}
