//! Why the [`Messenger`](crate::Messenger) does not do what an application asks. Each error says
//! what to do. Not here: why a message came to nothing later ([`crate::event::FailReason`]).

use std::fmt;

/// Why a message is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// Nobody of that id is on the list.
    UnknownContact,
    /// The text is too long.
    TooLong {
        /// Most bytes.
        max: usize,
    },
    /// The same id was used for another text.
    Conflict,
    /// Too many messages to this contact wait; try again when some are delivered.
    OutboxFull,
    /// The file's name, type or size is not allowed; says which.
    BadFile(&'static str),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownContact => write!(f, "no such contact; add their card first"),
            Self::TooLong { max } => write!(f, "the text is longer than {max} bytes"),
            Self::Conflict => write!(f, "this message id was used for another text"),
            Self::OutboxFull => write!(f, "too many messages wait for this contact; try later"),
            Self::BadFile(why) => write!(f, "this file cannot be sent: {why}"),
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

/// Nobody of that id is on the list of contacts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownContact;

impl fmt::Display for UnknownContact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such contact; add their card first")
    }
}

impl std::error::Error for UnknownContact {}

/// Why a file is neither accepted nor cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileError {
    /// Nobody of that id is on the list.
    UnknownContact,
    /// No such message offers a file.
    UnknownFile,
    /// It is complete, cancelled or gone.
    Over,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownContact => write!(f, "no such contact; add their card first"),
            Self::UnknownFile => write!(f, "no such message offers a file"),
            Self::Over => write!(f, "this file is complete, cancelled or gone"),
        }
    }
}

impl std::error::Error for FileError {}
