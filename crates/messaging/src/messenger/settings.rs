//! What a person decides about a contact: name, verified, favourite, receipts; and the two ways to
//! wipe: a conversation, or the contact with it. Not here: how the store makes wiped rows unreadable.

use super::{Messenger, rows};
use crate::card::valid_name;
use crate::draft::ContactSettings;
use crate::error::UnknownContact;
use crate::event::{FailReason, MessageState};
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
        if !known.receipts {
            known.notes.owed.clear();
            known.notes.asked.clear();
        }
        known.retention = settings.retention.unwrap_or(known.retention);
        self.write_contact(contact);
        // A favourite's inboxes are read as such.
        self.stale = true;
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
                self.dispatch.withdraw(&mut parcel.way);
            }
            for way in removed.ways_mut() {
                self.dispatch.withdraw(way);
            }
            for (id, known) in removed.received.iter() {
                let key = rows::received_key(contact, known.composed.at, &id);
                self.erase(Table::Received, key);
            }
            for at in removed.received.past().ends() {
                self.erase(Table::Past, rows::past_key(contact, at));
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
        let open = known.sent.iter().filter(|(seq, s)| known.is_open(seq, s));
        let open: Vec<u64> = open.map(|(seq, _)| *seq).collect();
        self.end_files(contact);
        for seq in open {
            self.finish(contact, seq, MessageState::Failed(FailReason::Wiped));
        }
        self.drop_partials(contact);
        let known = self.contacts.get(contact);
        let all = known.map(|c| c.sent.keys().copied().collect::<Vec<_>>());
        self.forget_sent(contact, &all.unwrap_or_default());
        self.advance(now, unix);
        true
    }

    /// A gateway fails, or is back. What is under way to one that fails goes elsewhere, and inboxes
    /// there get others beside them for as long.
    pub fn handle_gateway(&mut self, gateway: NodeId, failing: bool, now: Instant, unix: UnixTime) {
        let news = match failing {
            true => self.failing.insert(gateway),
            false => self.failing.remove(&gateway),
        };
        if let Some(view) = self.view.as_mut().filter(|_| news) {
            view.failing.clone_from(&self.failing);
            self.view_changed();
        }
        self.advance(now, unix);
    }
}
