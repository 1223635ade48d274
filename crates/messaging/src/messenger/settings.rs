//! What a person decides about a contact: name, verified, favourite, receipts; and the two ways to
//! wipe: a conversation, or the contact with it. Not here: how the store makes wiped rows unreadable.

use super::{Messenger, rows};
use crate::card::valid_name;
use crate::draft::{BlobWant, ContactSettings};
use crate::error::{FileError, UnknownContact};
use crate::event::{FailReason, MessageId, MessageState};
use crate::identity::ContactId;
use crate::records::Table;
use wire::ids::NodeId;
use wire::time::{Instant, UnixTime};

impl Messenger {
    /// Changes what is `Some`. A name that is not allowed is left as it was.
    pub fn handle_settings(
        &mut self,
        contact: &ContactId,
        settings: ContactSettings,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), UnknownContact> {
        let known = self.contacts.get_mut(contact).ok_or(UnknownContact)?;
        if let Some(name) = settings.name.filter(|name| valid_name(name)) {
            known.name = name;
        }
        known.verified = settings.verified.unwrap_or(known.verified);
        known.favourite = settings.favourite.unwrap_or(known.favourite);
        known.receipts = settings.receipts.unwrap_or(known.receipts);
        known.retention = settings.retention.unwrap_or(known.retention);
        self.write_contact(contact);
        self.advance(now, unix);
        Ok(())
    }

    /// Forgets a contact and everything said. Returns whether there was such a contact.
    pub fn handle_remove_contact(
        &mut self,
        contact: &ContactId,
        now: Instant,
        unix: UnixTime,
    ) -> bool {
        if !self.handle_forget(contact, now, unix) {
            return false;
        }
        if let Some(mut removed) = self.contacts.remove(contact) {
            for parcel in removed.hello.iter_mut().flat_map(|h| &mut h.parcels) {
                self.dispatch.withdraw(parcel);
            }
            for (composed, id) in removed.received.iter() {
                self.erase(Table::Received, rows::received_key(contact, composed, &id));
            }
        }
        self.erase(Table::Contact, contact.0.to_vec());
        for inbox in self.inboxes_of(contact) {
            self.close_inbox(&inbox);
        }
        self.advance(now, unix);
        true
    }

    /// Wipes a conversation: messages under way fail, what is remembered of all others goes. Who the
    /// contact is stays. Returns whether there was such a contact.
    pub fn handle_forget(&mut self, contact: &ContactId, now: Instant, unix: UnixTime) -> bool {
        let Some(known) = self.contacts.get(contact) else {
            return false;
        };
        let open: Vec<u64> = known.outbox.keys().copied().collect();
        for seq in open {
            self.finish(contact, seq, MessageState::Failed(FailReason::Wiped));
        }
        if let Some(known) = self.contacts.get_mut(contact) {
            known.by_id.clear();
            for (seq, _) in std::mem::take(&mut known.sent) {
                self.erase(Table::Sent, rows::message_key(contact, seq));
            }
        }
        self.advance(now, unix);
        true
    }

    /// The application's person read a message; told to the contact unless receipts are off for
    /// them. Returns whether that is news.
    pub fn handle_read(
        &mut self,
        _contact: &ContactId,
        _message: &MessageId,
        now: Instant,
        unix: UnixTime,
    ) -> bool {
        self.advance(now, unix);
        false
    }

    /// A gateway fails, or is back.
    pub fn handle_gateway(
        &mut self,
        _gateway: NodeId,
        _failing: bool,
        now: Instant,
        unix: UnixTime,
    ) {
        self.advance(now, unix);
    }

    /// A person wants the file that a message offers.
    pub fn handle_accept_file(
        &mut self,
        contact: &ContactId,
        _message: &MessageId,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), FileError> {
        self.advance(now, unix);
        match self.contacts.contains_key(contact) {
            true => Err(FileError::UnknownFile),
            false => Err(FileError::UnknownContact),
        }
    }

    /// Ends a file of either direction; the other end is told.
    pub fn handle_cancel_file(
        &mut self,
        contact: &ContactId,
        message: &MessageId,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), FileError> {
        self.handle_accept_file(contact, message, now, unix)
    }

    /// The answer to [`Event::BlobWanted`](crate::Event::BlobWanted); `None` when the bytes are gone.
    pub fn handle_blob(
        &mut self,
        _want: &BlobWant,
        _bytes: Option<&[u8]>,
        now: Instant,
        unix: UnixTime,
    ) {
        self.advance(now, unix);
    }

    /// The answer to [`Event::FileDone`](crate::Event::FileDone): whether the hash is right.
    pub fn handle_file_checked(
        &mut self,
        _contact: &ContactId,
        _transfer: &MessageId,
        _right: bool,
        now: Instant,
        unix: UnixTime,
    ) {
        self.advance(now, unix);
    }
}
