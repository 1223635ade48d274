//! What comes in: cells become messages, messages become contacts and texts. Not here: sealing
//! ([`crate::suite1`]), pieces of long messages ([`super::pieces`]) and which inboxes there are
//! ([`super::inboxes`]).
//!
//! A cell is acknowledged when nothing of it can be lost any more: its message is handled and
//! written, or the cell itself is written because it waits for others. Waiting cells are bounded by
//! [`WAITING_MAX`] for each inbox; one more pushes out the oldest. Only a Hello has such cells, and
//! there is one for each card, so only junk is ever pushed out.

use super::contacts::{Contact, Forgotten, Known, Received};
use super::inboxes::Purpose;
use super::past::Change;
use super::pieces::Piece;
use super::{Messenger, rows};
use crate::composed::Composed;
use crate::event::{Event, IgnoreReason, MessageId};
use crate::identity::{ContactId, KemPublic};
use crate::inner::Inner;
use crate::order::Order;
use crate::pair::PairSecret;
use crate::records::Table;
use crate::suite1::{self, Message, OpenError, Opening};
use wire::ids::{CellId, InboxId};
use wire::request::Cell;
use wire::time::{Instant, UnixTime};

/// Cells of one inbox that may wait for others of their message.
pub(super) const WAITING_MAX: usize = 8;
/// Handled cells that are remembered, so that those fetched twice cost nothing.
const RECENT_MAX: usize = 256;

/// A cell that waits.
pub(super) struct WaitingCell {
    pub(super) inbox: InboxId,
    pub(super) cell_id: CellId,
    pub(super) cell: Cell,
    /// The message it begins; `None` for a cell whose beginning has not come yet (or never will).
    pub(super) opening: Option<Opening>,
}

impl Messenger {
    /// A cell was fetched from one of our inboxes. It is acknowledged in any case.
    pub fn handle_cell(
        &mut self,
        inbox: InboxId,
        cell_id: CellId,
        cell: &Cell,
        now: Instant,
        unix: UnixTime,
    ) {
        if !self.recent.contains(&(inbox, cell_id)) {
            if self.recent.len() >= RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back((inbox, cell_id));
            let handled = match self.inboxes.get(&inbox).map(|i| i.purpose) {
                Some(purpose) => self.take_cell((inbox, purpose), cell_id, cell, now),
                None => Err(IgnoreReason::UnknownInbox),
            };
            if let Err(reason) = handled {
                self.events.push_back(Event::Ignored { reason });
            }
        }
        self.dispatch
            .orders
            .push_back(Order::Acknowledge { inbox, cell_id });
        self.advance(now, unix);
    }

    fn take_cell(
        &mut self,
        (inbox, purpose): (InboxId, Purpose),
        cell_id: CellId,
        cell: &Cell,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        if let Purpose::Bulk { contact, transfer } = purpose {
            return self.take_bulk(&contact, &transfer, cell, now);
        }
        if let Purpose::Pair { contact, rank, .. } = purpose
            && let Some(piece) = self.open_piece(&contact, cell)
        {
            self.sign_of_life(&contact, &rank, now);
            let piece = piece.map_err(|_| IgnoreReason::Malformed)?;
            let id = piece.id;
            return match self.take_piece(&contact, piece, now)? {
                Piece::Kept => Ok(()),
                Piece::Whole(message) => self.take_message(purpose, *message, Some(id), now),
            };
        }
        let waits = |w: &WaitingCell| (w.inbox, w.cell_id) == (inbox, cell_id);
        if self.waiting.values().any(waits) {
            return Err(IgnoreReason::Duplicate);
        }
        let tag = suite1::tag_of(cell).map_err(reason)?;
        let wants = |w: &WaitingCell| w.opening.as_ref().and_then(Opening::wants) == Some(tag);
        let begun = self.waiting_of(purpose).find(|(_, w)| wants(w));
        if let Some(arrival) = begun.map(|(arrival, _)| *arrival) {
            return self.continue_message(arrival, cell, now);
        }
        let mut opening = match Opening::first(&self.config.network, &self.identity, cell) {
            Ok(opening) => opening,
            Err(OpenError::Unreadable) => return self.wait(inbox, cell_id, cell, None),
            Err(error) => return Err(reason(error)),
        };
        while let Some(tag) = opening.wants() {
            let later = |w: &WaitingCell| suite1::tag_of(&w.cell) == Ok(tag);
            let arrival = self.waiting_of(purpose).find(|(_, w)| later(w));
            let arrival = arrival.map(|(arrival, _)| *arrival);
            let Some(waiting) = arrival.and_then(|a| self.stop_waiting(a)) else {
                return self.wait(inbox, cell_id, cell, Some(opening));
            };
            // A changed copy of a cell does not open; the true one may still come.
            let _ = opening.add(&waiting.cell);
        }
        let message = opening.finish().map_err(reason)?;
        self.take_message(purpose, message, None, now)
    }

    /// Cells that wait in inboxes of the same card or contact. Others are none of their business: a
    /// copy of a first cell, put elsewhere, must not catch the later cells.
    fn waiting_of(&self, purpose: Purpose) -> impl Iterator<Item = (&u64, &WaitingCell)> {
        let same = move |w: &WaitingCell| {
            let inbox = self.inboxes.get(&w.inbox);
            inbox.is_some_and(|i| i.purpose.peer() == purpose.peer())
        };
        self.waiting.iter().filter(move |(_, w)| same(w))
    }

    fn continue_message(
        &mut self,
        arrival: u64,
        cell: &Cell,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        let Some(first) = self.waiting.get_mut(&arrival) else {
            return Err(IgnoreReason::Unreadable);
        };
        let first_inbox = first.inbox;
        let opening = first.opening.as_mut();
        opening.map_or(Err(IgnoreReason::Unreadable), |o| {
            o.add(cell).map_err(reason)
        })?;
        if first.opening.as_ref().is_some_and(|o| o.wants().is_some()) {
            // More than two cells: not in this version, CELLS_MAX says so.
            return Ok(());
        }
        let opening = self.stop_waiting(arrival).and_then(|w| w.opening);
        let message = opening.map_or(Err(OpenError::Malformed), Opening::finish);
        let message = message.map_err(reason)?;
        let purpose = self.inboxes.get(&first_inbox).map(|i| i.purpose);
        let purpose = purpose.ok_or(IgnoreReason::UnknownInbox)?;
        self.take_message(purpose, message, None, now)
    }

    fn wait(
        &mut self,
        inbox: InboxId,
        cell_id: CellId,
        cell: &Cell,
        opening: Option<Opening>,
    ) -> Result<(), IgnoreReason> {
        let here = self.waiting.iter().filter(|(_, w)| w.inbox == inbox);
        let here: Vec<u64> = here.map(|(arrival, _)| *arrival).collect();
        let arrival = self.waiting.last_key_value().map_or(0, |(a, _)| a + 1);
        let waiting = WaitingCell {
            inbox,
            cell_id,
            cell: cell.clone(),
            opening,
        };
        let row = rows::waiting(&waiting);
        self.waiting.insert(arrival, waiting);
        let oldest = here.first().filter(|_| here.len() >= WAITING_MAX);
        let pushed_out = oldest.and_then(|arrival| self.stop_waiting(*arrival));
        self.write(Table::Partial, arrival.to_be_bytes().to_vec(), row);
        match pushed_out {
            Some(_) => Err(IgnoreReason::Unreadable),
            None => Ok(()),
        }
    }

    fn stop_waiting(&mut self, arrival: u64) -> Option<WaitingCell> {
        let waiting = self.waiting.remove(&arrival)?;
        self.erase(Table::Partial, arrival.to_be_bytes().to_vec());
        Some(waiting)
    }

    /// Forgets all cells that wait in an inbox.
    pub(super) fn drop_waiting(&mut self, inbox: &InboxId) {
        let here = self.waiting.iter().filter(|(_, w)| w.inbox == *inbox);
        for arrival in here.map(|(a, _)| *a).collect::<Vec<_>>() {
            self.stop_waiting(arrival);
        }
    }

    /// `pieces` is what its pieces called it, where it came in pieces.
    fn take_message(
        &mut self,
        purpose: Purpose,
        message: Message,
        pieces: Option<MessageId>,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        let inner = Inner::decode(&message.inner).map_err(|_| IgnoreReason::Malformed)?;
        match (inner, purpose) {
            (Inner::Hello { card, kem, name }, Purpose::Invite(digest)) => {
                if card != digest {
                    return Err(IgnoreReason::WrongSender);
                }
                self.take_hello(&digest, &message, kem, name)
            }
            (Inner::Unknown, Purpose::Invite(_)) => Err(IgnoreReason::UnknownType),
            (_, Purpose::Invite(_) | Purpose::Bulk { .. }) => Err(IgnoreReason::WrongSender),
            (inner, Purpose::Pair { contact, rank, .. }) => {
                let from = self.contacts.get(&contact);
                if from.is_none_or(|c| c.identity != message.sender) {
                    return Err(IgnoreReason::WrongSender);
                }
                self.sign_of_life(&contact, &rank, now);
                self.take_inner(&contact, inner, pieces, now)
            }
        }
    }

    fn take_inner(
        &mut self,
        from: &ContactId,
        inner: Inner,
        pieces: Option<MessageId>,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        match inner {
            Inner::Text { id, composed, body } => {
                if pieces.is_some_and(|pieces| pieces != id) {
                    return Err(IgnoreReason::Malformed);
                }
                self.take_text(from, (id, composed), body, now)
            }
            Inner::Receipt(receipt) => self.take_receipt(from, receipt, now),
            Inner::FileOffer(offer) => {
                if pieces.is_some_and(|pieces| pieces != offer.id) {
                    return Err(IgnoreReason::Malformed);
                }
                let unix = self.clock.unix_at(now);
                self.take_offer(from, offer, now, unix)
            }
            Inner::FileAccept(accept) => {
                self.take_accept(from, &accept, now);
                Ok(())
            }
            Inner::FileProgress(progress) => {
                self.take_progress(from, &progress, now);
                Ok(())
            }
            Inner::FileCancel(cancel) => {
                self.take_cancel(from, cancel);
                Ok(())
            }
            Inner::Unknown => Err(IgnoreReason::UnknownType),
            Inner::Hello { .. } => Err(IgnoreReason::WrongSender),
        }
    }

    fn take_hello(
        &mut self,
        card: &[u8; 16],
        message: &Message,
        kem: KemPublic,
        name: String,
    ) -> Result<(), IgnoreReason> {
        let (sender, own) = (message.sender, self.identity.public());
        let id = ContactId::of(&sender);
        if sender == own || !self.invites.contains_key(card) {
            return Err(IgnoreReason::InviteUsed);
        }
        let is_new = !self.contacts.contains_key(&id);
        if is_new && self.contacts.len() >= self.config.contacts_max {
            return Err(IgnoreReason::ContactsFull);
        }
        let network = self.config.network;
        let secret = PairSecret::new(&message.export, &network, &sender, &own);
        let contact = self.contacts.entry(id).or_insert_with(|| {
            let mut contact = Contact::new(sender, kem.clone(), name.clone());
            contact.by_invite = true;
            contact
        });
        contact.kem = kem;
        contact.restart_paths();
        contact.add_pair(secret, true);
        self.stale = true;
        self.write_contact(&id);
        if is_new {
            self.events.push_back(Event::ContactAdded {
                contact: id,
                name,
                verified: false,
                by_invite: true,
            });
        }
        self.drop_invite(card);
        self.events.push_back(Event::InviteUsed {
            contact: id,
            card: *card,
        });
        Ok(())
    }

    /// The contact wrote to an inbox derived from the secret of `rank`, so they have it.
    fn sign_of_life(&mut self, id: &ContactId, rank: &[u8; 32], now: Instant) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        for path in &mut contact.paths {
            if !path.is_proven() {
                path.restart();
            }
        }
        if contact.confirm(rank) {
            self.stale = true;
            self.write_contact(id);
        }
        self.heard_of(id, now);
    }

    fn take_text(
        &mut self,
        id: &ContactId,
        (message_id, composed): (MessageId, Composed),
        body: String,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        self.take_new(id, message_id, composed, now)?;
        self.events.push_back(Event::MessageReceived {
            contact: *id,
            message_id,
            body,
            composed: composed.at,
            file: None,
        });
        Ok(())
    }

    fn write_past(&mut self, id: &ContactId, past: Change) {
        for at in past.gone {
            self.erase(Table::Past, rows::past_key(id, at));
        }
        for span in past.new {
            self.write(Table::Past, rows::past_key(id, span.at), rows::past(span));
        }
    }

    /// Remembers a message that came, and that its sender is to be told so.
    pub(super) fn take_new(
        &mut self,
        id: &ContactId,
        message_id: MessageId,
        composed: Composed,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        let Some(contact) = self.contacts.get_mut(id) else {
            return Err(IgnoreReason::WrongSender);
        };
        if !contact.received.is_new(&message_id, composed.at) {
            if let Some(past) = contact.received.again(&message_id, composed) {
                self.write_past(id, past);
            }
            self.owe_again(id, &message_id, now);
            return Err(IgnoreReason::Duplicate);
        }
        let marks = if contact.receipts { Received::OWED } else { 0 };
        let known = Known { composed, marks };
        let forgotten = contact.received.insert(message_id, known);
        let key = rows::received_key(id, composed.at, &message_id);
        self.write(Table::Received, key, rows::received(known));
        if let Some(Forgotten { oldest, past }) = forgotten {
            self.erase(Table::Received, rows::received_key(id, oldest.0, &oldest.1));
            self.write_past(id, past);
        }
        if marks != 0 {
            self.owe(id, &message_id, marks, now);
        }
        Ok(())
    }
}

pub(super) fn reason(error: OpenError) -> IgnoreReason {
    match error {
        OpenError::UnknownSuite => IgnoreReason::UnknownSuite,
        OpenError::Unreadable => IgnoreReason::Unreadable,
        OpenError::Malformed => IgnoreReason::Malformed,
        OpenError::BadSignature => IgnoreReason::BadSignature,
    }
}
