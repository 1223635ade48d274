//! A messenger from its rows. Everything that was written comes back; orders follow with the first
//! directory. Not here: what the rows hold ([`super::rows`]).

use super::{Messenger, MessengerConfig, RestoreError, rows};
use crate::event::MessageState;
use crate::identity::ContactId;
use crate::records::{Record, Table};
use crate::suite1::Opening;
use std::collections::BTreeMap;
use wire::codec::{DecodeError, Reader};
use wire::ids::InboxId;
use wire::rng::KeyRng;
use zeroize::Zeroizing;

type Rows = BTreeMap<(Table, Vec<u8>), Zeroizing<Vec<u8>>>;

impl Messenger {
    /// Later starts, from all rows that stand in the store; their order does not matter.
    pub fn restore(
        config: MessengerConfig,
        keys: KeyRng,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, RestoreError> {
        let standing = |r: Record| Some(((r.table, r.key), r.value?));
        let rows: Rows = records.into_iter().filter_map(standing).collect();
        let own = rows
            .get(&(Table::Own, Vec::new()))
            .ok_or(RestoreError::NoIdentity)?;
        let mut r = Reader::new(own);
        match r.u8().map_err(at(Table::Own))? {
            rows::VERSION => {}
            other => return Err(RestoreError::Version(other)),
        }
        let (identity, secret) = rows::decode_own(r).map_err(at(Table::Own))?;
        let mut messenger = Self::empty(config, keys, identity, secret);
        // Tables are numbered so that a contact comes before what belongs to it.
        for ((table, key), value) in &rows {
            messenger.take_row(*table, key, value).map_err(at(*table))?;
        }
        messenger.check_whole()?;
        Ok(messenger)
    }

    fn take_row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        match table {
            Table::Own => {}
            Table::Contact => {
                let contact = rows::decode_contact(value)?;
                self.contacts.insert(ContactId(fixed(key)?), contact);
            }
            Table::Invite => {
                self.invites
                    .insert(fixed(key)?, rows::decode_invite(value)?);
            }
            Table::Inbox => {
                let inbox = rows::decode_inbox(value)?;
                self.inboxes.insert(InboxId(fixed(key)?), inbox);
            }
            Table::Outgoing => {
                let (contact, seq) = rows::decode_message_key(key)?;
                let parcel = rows::decode_outgoing(value)?;
                self.contact_of(&contact)?.outbox.insert(seq, parcel);
            }
            Table::Sent => {
                let (contact, seq) = rows::decode_message_key(key)?;
                let (contact, sent) = (self.contact_of(&contact)?, rows::decode_sent(value)?);
                contact.by_id.insert(sent.id.clone(), seq);
                contact.sent.insert(seq, sent);
            }
            Table::Received => {
                let (contact, composed, id) = rows::decode_received_key(key)?;
                let contact = self.contact_of(&contact)?;
                // Rows come oldest first, so too many push out the oldest, as they should.
                contact.received.insert(id, composed);
            }
            Table::Partial => {
                let mut waiting = rows::decode_waiting(value)?;
                let opening = Opening::first(&self.config.network, &self.identity, &waiting.cell);
                waiting.opening = opening.ok();
                self.waiting
                    .insert(u64::from_be_bytes(fixed(key)?), waiting);
            }
        }
        Ok(())
    }

    fn contact_of(&mut self, id: &ContactId) -> Result<&mut super::contacts::Contact, DecodeError> {
        let missing = DecodeError::Invalid("contact");
        self.contacts.get_mut(id).ok_or(missing)
    }

    /// A message that is not finished has its cell, and the other way round.
    fn check_whole(&self) -> Result<(), RestoreError> {
        for contact in self.contacts.values() {
            let open = contact.sent.iter();
            let open = open.filter(|(_, s)| s.state == MessageState::Queued);
            if !open.map(|(seq, _)| seq).eq(contact.outbox.keys()) {
                let error = DecodeError::Invalid("unfinished message");
                let table = Table::Outgoing;
                return Err(RestoreError::Row { table, error });
            }
        }
        Ok(())
    }
}

fn at(table: Table) -> impl Fn(DecodeError) -> RestoreError {
    move |error| RestoreError::Row { table, error }
}

fn fixed<const N: usize>(key: &[u8]) -> Result<[u8; N], DecodeError> {
    key.try_into().map_err(|_| DecodeError::Invalid("key"))
}
