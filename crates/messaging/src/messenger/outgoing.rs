//! What goes out: texts and Hellos, from acceptance to *stored*. Not here: which cell goes where
//! ([`super::dispatch`]), and sealing ([`crate::suite1`]).

use super::contacts::{Parcel, ParcelState, SENT_MAX, Sent};
use super::dispatch::{What, hello_candidates};
use super::path::Path;
use super::{Earliest, Messenger, UNANSWERED, rows};
use crate::draft::Draft;
use crate::error::SendError;
use crate::event::{ClientMessageId, Event, FailReason, MessageId, MessageState, SendOutcome};
use crate::identity::ContactId;
use crate::inner::{BODY_MAX, Inner};
use crate::order::{DepositHandle, DepositOutcome};
use crate::pair::expand;
use crate::records::Table;
use crate::suite1;
use std::time::Duration;
use wire::ids::{CellId, InboxAddress};
use wire::time::{Instant, UnixTime};

impl Messenger {
    /// Sends a text; idempotent by `id`, as long as the message is remembered.
    pub fn handle_send(
        &mut self,
        contact: &ContactId,
        id: ClientMessageId,
        draft: Draft,
        now: Instant,
        unix: UnixTime,
    ) -> Result<SendOutcome, SendError> {
        let Some(to) = self.contacts.get_mut(contact) else {
            return Err(SendError::UnknownContact);
        };
        let body = &draft.body;
        if draft.file.is_some() {
            return Err(SendError::BadFile("this version sends no files yet"));
        }
        if body.len() > BODY_MAX {
            return Err(SendError::TooLong { max: BODY_MAX });
        }
        let body_hash = *expand(&self.own_secret, &labelled(b"mizzle-own-body-v1", body));
        if let Some(before) = to.by_id.get(&id).and_then(|seq| to.sent.get(seq)) {
            return if before.body == body_hash {
                Ok(SendOutcome::Duplicate)
            } else {
                Err(SendError::Conflict)
            };
        }
        if to.outbox.len() >= self.config.outbox_max {
            return Err(SendError::OutboxFull);
        }
        let (seq, composed) = to.next_outgoing(unix);
        // Keyed, so that the contact cannot guess at the application's own ids; the same whenever
        // the application sends the same id again.
        let label = labelled(
            b"mizzle-own-message-id-v1",
            &format!("{contact}{}", id.as_str()),
        );
        let mut message_id = MessageId([0; 16]);
        message_id
            .0
            .copy_from_slice(&expand(&self.own_secret, &label)[..16]);
        let inner = Inner::Text {
            id: message_id,
            composed,
            body: body.clone(),
        };
        let sealed = suite1::seal(
            &self.config.network,
            &self.identity,
            &to.identity,
            &to.kem,
            &inner.encode(),
            &mut self.keys,
        );
        let cell = sealed
            .ok()
            .and_then(|s| s.cells.into_iter().next())
            .expect("a text of BODY_MAX bytes is one cell");
        let parcel = Parcel::new(CellId(self.keys.bytes()), cell);
        let sent = Sent {
            id: id.clone(),
            body: body_hash,
            composed,
            state: MessageState::Queued,
        };
        let (parcel_row, sent_row) = (rows::outgoing(&parcel), rows::sent(&sent));
        to.outbox.insert(seq, parcel);
        to.sent.insert(seq, sent);
        to.by_id.insert(id.clone(), seq);
        let key = rows::message_key(contact, seq);
        self.write(Table::Outgoing, key.clone(), parcel_row);
        self.write(Table::Sent, key, sent_row);
        self.events.push_back(Event::MessageState {
            contact: *contact,
            id,
            state: MessageState::Queued,
        });
        self.advance(now, unix);
        Ok(SendOutcome::Accepted)
    }

    /// A deposit came further. Outcomes of attempts that were given up are ignored.
    pub fn handle_deposit(&mut self, handle: DepositHandle, outcome: DepositOutcome, now: Instant) {
        let Some(what) = self.dispatch.attempts.get(&handle).copied() else {
            return;
        };
        if outcome != DepositOutcome::Mixing {
            self.dispatch.attempts.remove(&handle);
        }
        match what {
            What::Hello(contact, index) => self.hello_deposit(&contact, index, outcome, now),
            What::Text(contact, seq) => self.text_deposit(&contact, seq, outcome, now),
        }
        self.advance(now, self.clock.unix_at(now));
    }

    fn text_deposit(&mut self, id: &ContactId, seq: u64, outcome: DepositOutcome, now: Instant) {
        let waits = self.config.waits();
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(parcel) = contact.outbox.get_mut(&seq) else {
            return;
        };
        match parcel_outcome(parcel, outcome, now) {
            After::Left => {
                if let Some(sent) = contact.sent.get_mut(&seq)
                    && sent.state == MessageState::Queued
                {
                    sent.state = MessageState::Mixing;
                    self.events.push_back(Event::MessageState {
                        contact: *id,
                        id: sent.id.clone(),
                        state: MessageState::Mixing,
                    });
                }
            }
            After::Stored(address) => {
                contact.path.stored(&address.inbox);
                self.finish(id, seq, MessageState::Stored);
            }
            After::Refused(address) => {
                let list = contact.candidates.as_deref().unwrap_or_default();
                contact.path.refused(&address.inbox, list, now, waits);
            }
            After::Nothing => {}
        }
    }

    fn hello_deposit(
        &mut self,
        id: &ContactId,
        index: usize,
        outcome: DepositOutcome,
        now: Instant,
    ) {
        let waits = self.config.waits();
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(hello) = &mut contact.hello else {
            return;
        };
        let Some(parcel) = hello.parcels.get_mut(index) else {
            return;
        };
        match parcel_outcome(parcel, outcome, now) {
            After::Left | After::Nothing => {}
            After::Stored(_) => {
                if hello.parcels.iter().all(Parcel::is_stored) {
                    contact.hello = None;
                    contact.path.restart();
                }
                self.write_contact(id);
            }
            After::Refused(address) => {
                let list = hello_candidates(&hello.invites, self.view.as_ref());
                hello.path.refused(&address.inbox, &list, now, waits);
                hello.holds_texts = false;
            }
        }
    }

    /// A message reaches its last state.
    pub(super) fn finish(&mut self, id: &ContactId, seq: u64, state: MessageState) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        if let Some(mut parcel) = contact.outbox.remove(&seq) {
            self.dispatch.withdraw(&mut parcel);
        }
        let Some(sent) = contact.sent.get_mut(&seq) else {
            return;
        };
        sent.state = state;
        let (client_id, row) = (sent.id.clone(), rows::sent(sent));
        let mut forgotten = Vec::new();
        while contact.sent.len() - contact.outbox.len() > SENT_MAX {
            let open = |seq: &u64| contact.outbox.contains_key(seq);
            let Some(oldest) = contact.sent.keys().find(|seq| !open(seq)).copied() else {
                break;
            };
            if let Some(old) = contact.sent.remove(&oldest) {
                contact.by_id.remove(&old.id);
            }
            forgotten.push(oldest);
        }
        self.write(Table::Sent, rows::message_key(id, seq), row);
        self.erase(Table::Outgoing, rows::message_key(id, seq));
        for seq in forgotten {
            self.erase(Table::Sent, rows::message_key(id, seq));
        }
        self.events.push_back(Event::MessageState {
            contact: *id,
            id: client_id,
            state,
        });
    }

    /// Attempts without an outcome move on; messages and Hellos that are too old end.
    pub(super) fn expire_outgoing(&mut self, id: &ContactId, now: Instant, unix: UnixTime) {
        let (waits, timeout) = (self.config.waits(), self.config.attempt_timeout);
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let late = |parcel: &Parcel| match &parcel.state {
            ParcelState::UnderWay { address, .. } => {
                let late = parcel.deadline(timeout).is_some_and(|at| at <= now);
                late.then_some(address.inbox)
            }
            ParcelState::Waiting | ParcelState::Stored => None,
        };
        for parcel in contact.outbox.values_mut() {
            if let Some(inbox) = late(parcel) {
                self.dispatch.withdraw(parcel);
                let list = contact.candidates.as_deref().unwrap_or_default();
                contact.path.refused(&inbox, list, now, waits);
            }
        }
        if let Some(hello) = &mut contact.hello {
            let list = hello_candidates(&hello.invites, self.view.as_ref());
            for parcel in &mut hello.parcels {
                if let Some(inbox) = late(parcel) {
                    self.dispatch.withdraw(parcel);
                    hello.path.refused(&inbox, &list, now, waits);
                }
            }
        }
        self.expire_hello(id, unix);
        let ttl = self.config.message_ttl;
        let Some(contact) = self.contacts.get(id) else {
            return;
        };
        let too_old = |seq: &u64| {
            let sent = contact.sent.get(seq);
            sent.is_some_and(|s| s.composed.saturating_add(ttl) <= unix)
        };
        let old: Vec<u64> = contact.outbox.keys().copied().take_while(too_old).collect();
        let lost: Vec<u64> = match contact.lost {
            true => contact.outbox.keys().copied().collect(),
            false => Vec::new(),
        };
        for seq in old {
            self.finish(id, seq, MessageState::Expired);
        }
        for seq in lost {
            self.finish(id, seq, MessageState::Failed(FailReason::InviteExpired));
        }
    }

    /// A Hello ends when the winning secret is known to both, or when the card expires.
    fn expire_hello(&mut self, id: &ContactId, unix: UnixTime) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let settled = contact.pairs.first().is_some_and(|p| p.confirmed);
        let over = |expires: UnixTime| settled || expires <= unix;
        if !contact.hello.as_ref().is_some_and(|h| over(h.expires)) {
            return;
        }
        if let Some(mut hello) = contact.hello.take() {
            for parcel in &mut hello.parcels {
                self.dispatch.withdraw(parcel);
            }
        }
        // A stored text means that somebody opened the pair's inbox: the Hello came, only the news
        // of it did not.
        let mut states = contact.sent.values().map(|s| s.state);
        contact.lost = !contact.is_confirmed() && !states.any(|s| s == MessageState::Stored);
        self.write_contact(id);
    }

    pub(super) fn outgoing_deadlines(&self, next: &mut Earliest) {
        let sent = |parcel: &Parcel, next: &mut Earliest| {
            if let Some(at) = parcel.deadline(self.config.attempt_timeout) {
                next.offer(at, "message attempt");
            }
        };
        for contact in self.contacts.values() {
            if let Some(hello) = &contact.hello {
                hello.parcels.iter().for_each(|p| sent(p, next));
                retry(&hello.path, self.clock.instant, next);
                next.offer(self.clock.instant_at(hello.expires), "card expiry");
            }
            // Only parcels in the window are ever under way; the first is the oldest.
            let in_window = contact.outbox.values().take(super::path::WINDOW);
            in_window.for_each(|p| sent(p, next));
            if let Some((seq, _)) = contact.outbox.first_key_value() {
                retry(&contact.path, self.clock.instant, next);
                if let Some(oldest) = contact.sent.get(seq) {
                    let expires = oldest.composed.saturating_add(self.config.message_ttl);
                    next.offer(self.clock.instant_at(expires), "message expiry");
                }
            }
        }
    }
}

impl Parcel {
    /// When to give this attempt up: it left and brings nothing, or never had a turn.
    fn deadline(&self, timeout: Duration) -> Option<Instant> {
        match self.state {
            ParcelState::UnderWay { ordered, sent, .. } => {
                Some(sent.map_or(ordered + timeout * UNANSWERED, |sent| sent + timeout))
            }
            ParcelState::Waiting | ParcelState::Stored => None,
        }
    }
}

fn retry(path: &Path, now: Instant, next: &mut Earliest) {
    if path.not_before() > now {
        next.offer(path.not_before(), "message retry");
    }
}

/// What an outcome did to a parcel.
enum After {
    Left,
    Stored(InboxAddress),
    Refused(InboxAddress),
    Nothing,
}

fn parcel_outcome(parcel: &mut Parcel, outcome: DepositOutcome, now: Instant) -> After {
    let ParcelState::UnderWay { address, sent, .. } = &mut parcel.state else {
        return After::Nothing;
    };
    match outcome {
        DepositOutcome::Mixing => {
            sent.get_or_insert(now);
            After::Left
        }
        DepositOutcome::Stored => {
            let address = address.clone();
            parcel.state = ParcelState::Stored;
            After::Stored(address)
        }
        DepositOutcome::Refused => {
            let address = address.clone();
            parcel.state = ParcelState::Waiting;
            After::Refused(address)
        }
    }
}

fn labelled(label: &[u8], text: &str) -> Vec<u8> {
    [label, b"\0", text.as_bytes()].concat()
}
