//! What must survive a restart, as rows of a table. Not here: how rows become durable and
//! encrypted (`clientd`, `crates/store`), and what their values mean (`crate::messenger::rows`).

use crate::identity::ContactId;
use zeroize::Zeroizing;

/// Which table a row belongs to. The numbers are part of the stored format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    /// One row: version, own keys, reader secret.
    Own = 1,
    /// Contacts by id.
    Contact = 2,
    /// Invites that are open, by card digest.
    Invite = 3,
    /// Inboxes that are open, by inbox id.
    Inbox = 4,
    /// Outgoing messages that are not confirmed yet, by contact, sequence and page.
    Outgoing = 5,
    /// What is remembered of outgoing messages, by contact and sequence.
    Sent = 6,
    /// The newest messages that came, by contact, time and id.
    Received = 7,
    /// Cells of messages that are not complete yet, by arrival.
    Partial = 8,
    /// Pieces of long messages that are not complete yet, by contact, message and index.
    Piece = 9,
    /// Files that go out, by contact and sequence of their message.
    Sending = 10,
    /// Files that come or came, by contact and message.
    Receiving = 11,
    /// Which records of them are there, by contact, message and page.
    Page = 12,
    /// Spans of time of which all messages came, by contact and end.
    Past = 13,
}

impl Table {
    /// Every table, ascending.
    pub const ALL: [Self; 13] = [
        Self::Own,
        Self::Contact,
        Self::Invite,
        Self::Inbox,
        Self::Outgoing,
        Self::Sent,
        Self::Received,
        Self::Partial,
        Self::Piece,
        Self::Sending,
        Self::Receiving,
        Self::Page,
        Self::Past,
    ];

    /// The conversation whose wipe must destroy the row of this key. Rows that must outlive it (who
    /// the contact is, which messages came) belong to none.
    pub fn vault_of(self, key: &[u8]) -> Option<ContactId> {
        match self {
            Self::Outgoing
            | Self::Sent
            | Self::Piece
            | Self::Sending
            | Self::Receiving
            | Self::Page => key.first_chunk().copied().map(ContactId),
            Self::Own
            | Self::Contact
            | Self::Invite
            | Self::Inbox
            | Self::Received
            | Self::Partial
            | Self::Past => None,
        }
    }

    /// The table with this number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u8 == number)
    }
}

/// One row to write; a later one of the same table and key replaces it. No `Debug`: values hold
/// secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Which table.
    pub table: Table,
    /// Which row of it, at most 64 bytes.
    pub key: Vec<u8>,
    /// What it holds; `None` deletes the row.
    pub value: Option<Zeroizing<Vec<u8>>>,
    /// Whose wipe must destroy the row; `None` for what belongs to no single contact.
    pub vault: Option<ContactId>,
}
