//! Receipts, both ways: what the contact is still to be told, and what follows from what it tells.
//!
//! What came is told in batches, after a time drawn at random, so that a receipt does not say when
//! somebody came online. It is told until a gateway keeps it; a sender that heard nothing asks, by
//! sending a cell again. Not here: the bytes ([`crate::receipt`]), and when a sender asks
//! ([`super::delivery`]).

use super::contacts::{Contact, Marks, Message, Received, Way};
use super::notes::{Note, NoteName};
use super::outgoing::{After, way_outcome};
use super::{Messenger, rows};
use crate::event::{IgnoreReason, MessageId, MessageState};
use crate::fragment;
use crate::identity::ContactId;
use crate::inner::Inner;
use crate::order::DepositOutcome;
use crate::receipt::{Receipt, Told};
use crate::records::Table;
use std::time::Duration;
use wire::rng::pick;
use wire::time::{Instant, UnixTime};

impl Contact {
    /// Whether there is something to tell, and the last receipt is out of the way.
    pub(super) fn may_say(&self) -> bool {
        let something = match self.receipts {
            true => {
                let notes = &self.notes;
                notes.told_off || !notes.owed.is_empty() || !notes.asked.is_empty()
            }
            false => !self.notes.told_off,
        };
        something && !self.notes.by_name.contains_key(&NoteName::Receipt)
    }
}

impl Messenger {
    /// The application's person read a message; told to the contact unless receipts are off for
    /// them. Returns whether that is news.
    pub fn handle_read(
        &mut self,
        contact: &ContactId,
        message: &MessageId,
        now: Instant,
        unix: UnixTime,
    ) -> bool {
        let known = self.contacts.get_mut(contact);
        let before = known.and_then(|c| Some((c.receipts, c.received.get(message)?.marks)));
        let news = before.is_some_and(|(_, marks)| marks & Received::READ == 0);
        if let Some((receipts, _)) = before.filter(|_| news) {
            let owed = if receipts { Received::READ_OWED } else { 0 };
            self.mark(contact, message, Received::READ | owed, 0);
            if receipts {
                self.owe(contact, message, Received::READ_OWED, now);
            }
        }
        self.advance(now, unix);
        news
    }

    fn mark(&mut self, contact: &ContactId, message: &MessageId, set: Marks, clear: Marks) {
        let known = self.contacts.get_mut(contact);
        let news = known.and_then(|c| c.received.mark(message, set, clear));
        if let Some(known) = news {
            let key = rows::received_key(contact, known.composed.at, message);
            self.write(Table::Received, key, rows::received(known));
        }
    }

    /// The contact is to be told of a message.
    pub(super) fn owe(&mut self, id: &ContactId, message: &MessageId, mark: Marks, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(id) {
            *contact.notes.owed.entry(*message).or_default() |= mark;
        }
        self.receipt_soon(id, now);
    }

    /// The contact asks what is here of a message.
    pub(super) fn owe_pieces(&mut self, id: &ContactId, message: &MessageId, now: Instant) {
        if let Some(contact) = self.contacts.get_mut(id).filter(|c| c.receipts) {
            contact.notes.asked.insert(*message);
        }
        self.receipt_soon(id, now);
    }

    /// A message came once more: its sender may not know that it is here.
    pub(super) fn owe_again(&mut self, id: &ContactId, message: &MessageId, now: Instant) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(known) = contact.received.get(message) else {
            return;
        };
        if !contact.receipts {
            // It may not know that we tell nothing.
            contact.notes.told_off = false;
            return self.receipt_soon(id, now);
        }
        let mut again = Received::OWED;
        if known.marks & Received::READ != 0 {
            again |= Received::READ_OWED;
        }
        self.owe(id, message, again, now);
    }

    /// Draws when the next receipt is due, unless that is drawn already.
    pub(super) fn receipt_soon(&mut self, id: &ContactId, now: Instant) {
        let longest = self.view.as_ref().map(|v| v.pace.receipt_delay);
        let steps = longest.unwrap_or(Duration::from_secs(1)).as_millis();
        let draw = u64::from_be_bytes(self.keys.bytes());
        let wait = pick(draw, usize::try_from(steps).unwrap_or(usize::MAX)).unwrap_or(0);
        if let Some(contact) = self.contacts.get_mut(id) {
            let at = now + Duration::from_millis(wait as u64);
            contact.notes.due.get_or_insert(at);
        }
    }

    /// Makes the receipt that is due.
    pub(super) fn say_receipts(&mut self, id: &ContactId, now: Instant, unix: UnixTime) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        if !contact.may_say() {
            return;
        }
        if contact.notes.due.is_none() {
            // After a restart, or since receipts were turned on or off.
            self.receipt_soon(id, now);
            return;
        }
        if contact.notes.due.is_none_or(|due| due > now) {
            return;
        }
        let notes = &mut contact.notes;
        notes.due = None;
        notes.number = unix.0.max(notes.number.saturating_add(1));
        let mut said = Vec::new();
        let mut entries = Vec::new();
        if contact.receipts {
            let asked = std::mem::take(&mut notes.asked);
            for message in asked {
                let partial = self.partials.get(&(*id, message));
                let bits = partial.map(|p| fragment::bitmap(p.pieces.indices()));
                let told = Told::Pieces(bits.unwrap_or_default());
                if contact.received.contains(&message) {
                    *notes.owed.entry(message).or_default() |= Received::OWED;
                } else if Receipt::fits(&entries, &told) {
                    entries.push((message, told));
                } else {
                    notes.asked.insert(message);
                }
            }
            while let Some((message, marks)) = notes.owed.first_key_value().map(|(m, k)| (*m, *k)) {
                let told = match marks & Received::READ_OWED {
                    0 => Told::Delivered,
                    _ => Told::Read,
                };
                if !Receipt::fits(&entries, &told) {
                    break;
                }
                notes.owed.remove(&message);
                entries.push((message, told));
                said.push((message, marks));
            }
        }
        let on = contact.receipts;
        let receipt = Receipt {
            number: notes.number,
            on,
            entries,
        };
        let note = Note {
            inner: Inner::Receipt(receipt).encode(),
            said,
            on,
            way: Way::Waiting,
        };
        notes.by_name.insert(NoteName::Receipt, note);
        if contact.may_say_more() {
            self.receipt_soon(id, now);
        }
    }

    /// A note came further.
    pub(super) fn note_deposit(
        &mut self,
        id: &ContactId,
        name: NoteName,
        outcome: DepositOutcome,
        now: Instant,
    ) {
        let waits = self.config.waits();
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(note) = contact.notes.by_name.get_mut(&name) else {
            return;
        };
        match way_outcome(&mut note.way, outcome, now) {
            After::Left | After::Nothing => {}
            After::Refused(address) => contact.path_refused(&address.inbox, now, waits),
            After::Stored(address) => {
                contact.path_stored(&address.inbox);
                let note = contact.notes.by_name.remove(&name);
                if let (NoteName::Receipt, Some(note)) = (name, note) {
                    self.receipt_stored(id, note);
                }
            }
        }
    }

    fn receipt_stored(&mut self, id: &ContactId, note: Note) {
        for (message, marks) in note.said {
            let contact = self.contacts.get(id);
            let owed = contact.and_then(|c| c.notes.owed.get(&message));
            let clear = marks & !owed.copied().unwrap_or(0);
            self.mark(id, &message, 0, clear);
        }
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let told_off = !note.on;
        if contact.receipts == note.on && contact.notes.told_off != told_off {
            contact.notes.told_off = told_off;
            self.write_contact(id);
        }
    }

    /// What the contact tells.
    pub(super) fn take_receipt(
        &mut self,
        id: &ContactId,
        receipt: Receipt,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        let Some(contact) = self.contacts.get_mut(id) else {
            return Err(IgnoreReason::WrongSender);
        };
        let newer = receipt.number > contact.their_receipts.1;
        let turned = newer && contact.their_receipts.0 != receipt.on;
        if newer {
            contact.their_receipts = (receipt.on, receipt.number);
        }
        for (message, told) in receipt.entries {
            let contact = self.contacts.get(id);
            let Some(seq) = contact.and_then(|c| c.by_message.get(&message).copied()) else {
                continue;
            };
            match told {
                Told::Delivered => self.confirmed(id, seq, MessageState::Delivered, now),
                Told::Read => self.confirmed(id, seq, MessageState::Read, now),
                Told::Pieces(here) => self.repair(id, seq, &here, now),
            }
        }
        if turned {
            self.write_contact(id);
            self.settle_without_receipts(id);
        }
        Ok(())
    }

    /// The contact has a message.
    fn confirmed(&mut self, id: &ContactId, seq: u64, state: MessageState, now: Instant) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(sent) = contact.sent.get_mut(&seq) else {
            return;
        };
        let waits_for_file = sent.file && sent.state < MessageState::Delivered;
        sent.offer_read |= waits_for_file && state == MessageState::Read;
        let active = contact.outbox.get(&seq).and_then(|m| m.active.as_ref());
        let settled = active.and_then(|a| a.settled.as_ref());
        if let Some(settled) = settled.filter(|_| sent.attempt == 0) {
            contact.trips.measured(now.saturating_since(settled.at));
        }
        if waits_for_file {
            // The offer is there; the message is when its file is.
            self.finish_stored(id, seq);
            return self.write_sent(id, seq);
        }
        match contact.outbox.contains_key(&seq) {
            true => self.finish(id, seq, state),
            false => self.raise(id, seq, state),
        }
    }

    /// The contact tells nothing any more: what is stored is as far as can be known.
    fn settle_without_receipts(&mut self, id: &ContactId) {
        let Some(contact) = self.contacts.get(id).filter(|c| !c.their_receipts.0) else {
            return;
        };
        let is_settled = |m: &Message| m.active.as_ref().is_some_and(|a| a.settled.is_some());
        let settled = contact.outbox.iter().filter(|(_, m)| is_settled(m));
        for seq in settled.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.finish_stored(id, seq);
        }
    }
}

impl Contact {
    /// Whether something is left for another receipt.
    fn may_say_more(&self) -> bool {
        self.receipts && !(self.notes.owed.is_empty() && self.notes.asked.is_empty())
    }
}
