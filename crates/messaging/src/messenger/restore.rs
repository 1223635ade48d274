//! A messenger from its rows. Everything that was written comes back; orders follow with the first
//! directory. Not here: what the rows hold ([`super::rows`]).

use super::contacts::{Received, Sent};
use super::pieces::Waiting;
use super::receiving::Stage;
use super::{Messenger, MessengerConfig, RestoreError, rows};
use crate::event::MessageState;
use crate::fragment::Added;
use crate::identity::ContactId;
use crate::records::{Record, Table};
use crate::suite1::Opening;
use std::collections::BTreeMap;
use wire::codec::{DecodeError, Reader};
use wire::ids::InboxId;
use wire::rng::KeyRng;
use wire::time::Instant;
use zeroize::Zeroizing;

/// How long unfinished messages must be, by contact and number.
type Lengths = BTreeMap<([u8; 32], u64), usize>;
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
        let mut lengths = Lengths::new();
        for ((table, key), value) in &rows {
            let taken = messenger.take_row((*table, key), value, &mut lengths);
            taken.map_err(at(*table))?;
        }
        messenger.check_whole(&lengths)?;
        Ok(messenger)
    }

    fn take_row(
        &mut self,
        (table, key): (Table, &[u8]),
        value: &[u8],
        lengths: &mut Lengths,
    ) -> Result<(), DecodeError> {
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
                let (contact, seq, page) = rows::decode_page_key(key)?;
                let contact = self.contact_of(&contact)?;
                if page == 0 {
                    let (message, length) = rows::decode_outgoing(value)?;
                    contact.outbox.insert(seq, message);
                    lengths.insert((contact.identity.to_bytes(), seq), length);
                    return Ok(());
                }
                // Pages come in their order.
                let message = contact.outbox.get_mut(&seq);
                let message = message.ok_or(DecodeError::Invalid("page"))?;
                let length = lengths.get(&(contact.identity.to_bytes(), seq));
                let room = length.map_or(0, |l| l.saturating_sub(message.inner.len()));
                if value.len() > room {
                    return Err(DecodeError::TooLong("message"));
                }
                message.inner.extend_from_slice(value);
            }
            Table::Sent => {
                let (contact, seq) = rows::decode_message_key(key)?;
                let (contact, sent) = (self.contact_of(&contact)?, rows::decode_sent(value)?);
                if let Some(message) = contact.outbox.get_mut(&seq) {
                    message.begun = sent.state != MessageState::Queued || !sent.stored.is_empty();
                }
                contact.take_sent(seq, sent);
            }
            Table::Received => {
                let (contact, composed, id) = rows::decode_received_key(key)?;
                let known = rows::decode_received(composed, value)?;
                let contact = self.contact_of(&contact)?;
                if contact.received.insert(id, known).is_some() {
                    return Err(DecodeError::Invalid("one received message too many"));
                }
                let owed = known.marks & (Received::OWED | Received::READ_OWED);
                if contact.receipts && owed != 0 {
                    contact.notes.owed.insert(id, owed);
                }
            }
            Table::Past => {
                let (contact, at) = rows::decode_past_key(key)?;
                let span = rows::decode_past(at, value)?;
                // Rows come oldest first.
                if !self.contact_of(&contact)?.received.past().restore(span) {
                    return Err(DecodeError::Invalid("past"));
                }
            }
            Table::Partial => {
                let mut waiting = rows::decode_waiting(value)?;
                let opening = Opening::first(&self.config.network, &self.identity, &waiting.cell);
                waiting.opening = opening.ok();
                self.waiting
                    .insert(u64::from_be_bytes(fixed(key)?), waiting);
            }
            Table::Sending => {
                let (contact, seq) = rows::decode_message_key(key)?;
                let pace = self.transfer_pace();
                let sending = rows::decode_sending(value, pace)?;
                let sent = self.contact_of(&contact)?.sent.get(&seq);
                if sent.is_none_or(|s| s.message_id != sending.offer.id || !s.file) {
                    return Err(DecodeError::Invalid("file without a message"));
                }
                self.sending.insert((contact, seq), sending);
            }
            Table::Receiving => {
                let (contact, id) = rows::decode_receiving_key(key)?;
                self.contact_of(&contact)?;
                let pace = self.transfer_pace();
                let receiving = rows::decode_receiving(id, value, pace)?;
                self.receiving.insert((contact, id), receiving);
            }
            Table::Page => {
                let (contact, id, page) = rows::decode_record_page_key(key)?;
                let receiving = self.receiving.get_mut(&(contact, id));
                let fits = match receiving.map(|r| &mut r.stage) {
                    Some(Stage::Coming(transfer)) => transfer.restore_page(page, value),
                    Some(Stage::Offered | Stage::Wanted | Stage::Over(_)) | None => false,
                };
                if !fits {
                    return Err(DecodeError::Invalid("page"));
                }
            }
            Table::Piece => {
                let (contact, id, index) = rows::decode_piece_key(key)?;
                self.contact_of(&contact)?;
                let piece = rows::decode_piece(id, index, value)?;
                let waiting = self.partials.entry((contact, id));
                let waiting = waiting.or_insert_with(|| {
                    self.begun += 1;
                    Waiting::new(piece.cut, self.begun, Instant::ZERO)
                });
                match waiting.pieces.add(piece) {
                    Added::More => {}
                    Added::Double | Added::Disagrees | Added::Enough => {
                        return Err(DecodeError::Invalid("piece"));
                    }
                }
            }
        }
        Ok(())
    }

    fn contact_of(&mut self, id: &ContactId) -> Result<&mut super::contacts::Contact, DecodeError> {
        let missing = DecodeError::Invalid("contact");
        self.contacts.get_mut(id).ok_or(missing)
    }

    /// A message that is not finished has its text, and the other way round.
    fn check_whole(&mut self, lengths: &Lengths) -> Result<(), RestoreError> {
        let mut bytes = 0;
        for contact in self.contacts.values() {
            let who = contact.identity.to_bytes();
            let whole = contact.outbox.iter().all(|(seq, message)| {
                let open = contact.sent.get(seq).is_some_and(|s| !s.is_over());
                open && lengths.get(&(who, *seq)) == Some(&message.inner.len())
            });
            let early = |s: &&Sent| s.state < MessageState::Stored;
            let open = contact.sent.iter().filter(|(_, s)| early(s));
            let mut gone = open.filter(|(seq, _)| !contact.outbox.contains_key(seq));
            if !whole || gone.next().is_some() {
                let error = DecodeError::Invalid("unfinished message");
                let table = Table::Outgoing;
                return Err(RestoreError::Row { table, error });
            }
            bytes += contact
                .outbox
                .values()
                .map(|m| m.inner.len())
                .sum::<usize>();
        }
        self.outbox_bytes = bytes;
        Ok(())
    }
}

fn at(table: Table) -> impl Fn(DecodeError) -> RestoreError {
    move |error| RestoreError::Row { table, error }
}

fn fixed<const N: usize>(key: &[u8]) -> Result<[u8; N], DecodeError> {
    key.try_into().map_err(|_| DecodeError::Invalid("key"))
}
