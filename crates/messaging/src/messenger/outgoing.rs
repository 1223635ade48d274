//! What goes out: acceptance of messages, Hellos, and how messages end. Not here: the way between
//! ([`super::delivery`]), which cell goes where ([`super::dispatch`]), and sealing ([`crate::suite1`]).

use super::contacts::{Contact, Message, SENT_MAX, Sent, UnderWay, Way};
use super::dispatch::{What, hello_candidates};
use super::files::{self, SENDING_MAX};
use super::sending::Sending;
use super::{Earliest, Messenger, UNANSWERED, rows};
use crate::draft::{BODY_MAX, Draft, Retention};
use crate::error::SendError;
use crate::event::{ClientMessageId, Event, FailReason, MessageId, MessageState, SendOutcome};
use crate::identity::ContactId;
use crate::inner::Inner;
use crate::order::{DepositHandle, DepositOutcome};
use crate::pair::expand;
use crate::records::Table;
use crate::transfer::{CancelReason, FileKey, FileOffer, SendTransfer, Shape};
use sha2::{Digest, Sha256};
use std::time::Duration;
use wire::ids::InboxAddress;
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

impl Messenger {
    /// Sends a message; idempotent by `id`, as long as it is remembered.
    pub fn handle_send(
        &mut self,
        contact: &ContactId,
        id: ClientMessageId,
        draft: Draft,
        now: Instant,
        unix: UnixTime,
    ) -> Result<SendOutcome, SendError> {
        let Some(to) = self.contacts.get(contact) else {
            return Err(SendError::UnknownContact);
        };
        draft.file.as_ref().map_or(Ok(()), files::check)?;
        if draft.body.len() > BODY_MAX {
            return Err(SendError::TooLong { max: BODY_MAX });
        }
        let body = *expand(&self.own_secret, &content(&draft));
        if let Some(before) = to.by_id.get(&id).and_then(|seq| to.sent.get(seq)) {
            return match before.body == body {
                true => Ok(SendOutcome::Duplicate),
                false => Err(SendError::Conflict),
            };
        }
        let (seq, composed) = to.next_outgoing(unix);
        let message_id = self.message_id(contact, &id, &body);
        let offer = draft.file.as_ref().map(|file| FileOffer {
            id: message_id,
            composed,
            size: file.size,
            hash: file.hash,
            key: FileKey::from_bytes(self.keys.bytes()),
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            body: String::new(),
        });
        let inner = match &offer {
            None => Inner::Text {
                id: message_id,
                composed,
                body: draft.body,
            },
            Some(offer) => Inner::FileOffer(FileOffer {
                body: draft.body,
                ..offer.clone()
            }),
        };
        let inner = inner.encode();
        let files = self.sending.keys().filter(|(c, _)| c == contact).count();
        let of_contact: usize = to.outbox.values().map(|m| m.inner.len()).sum();
        if to.outbox.len() >= self.config.outbox_max
            || of_contact + inner.len() > self.config.outbox_bytes_max / 4
            || self.outbox_bytes + inner.len() > self.config.outbox_bytes_max
            || (offer.is_some() && files >= SENDING_MAX)
            || (offer.is_some() && self.sending.len() >= self.config.files_max)
        {
            return Err(SendError::OutboxFull);
        }
        let life = draft.expires_in.unwrap_or(self.config.message_ttl);
        let sent = Sent {
            id: id.clone(),
            message_id,
            body,
            composed: composed.at,
            expires: composed
                .at
                .saturating_add(life.min(self.config.message_ttl)),
            app: draft.app,
            state: MessageState::Queued,
            attempt: 0,
            stored: Vec::new(),
            file: offer.is_some(),
            offer_read: false,
        };
        let message = Message {
            inner,
            seed: Zeroizing::new(self.keys.bytes()),
            begun: false,
            active: None,
        };
        for (page, row) in rows::outgoing(&message).into_iter().enumerate() {
            self.write(Table::Outgoing, rows::page_key(contact, seq, page), row);
        }
        self.write(
            Table::Sent,
            rows::message_key(contact, seq),
            rows::sent(&sent),
        );
        self.outbox_bytes += message.inner.len();
        if let Some(to) = self.contacts.get_mut(contact) {
            to.take_sent(seq, sent);
            to.outbox.insert(seq, message);
        }
        if let (Some(offer), Some(file)) = (offer, draft.file) {
            let (shape, pace) = (Shape::new(offer.size), self.transfer_pace());
            let transfer = SendTransfer::new(offer.key.clone(), shape, pace, now);
            let sending = Sending::new(transfer, file.blob, offer);
            self.sending.insert((*contact, seq), sending);
            self.write_sending(contact, seq);
        }
        self.tell_state(contact, id, MessageState::Queued);
        self.advance(now, unix);
        Ok(SendOutcome::Accepted)
    }

    /// Keyed, so that the contact cannot guess at the application's own ids; the same whenever the
    /// application sends the same again.
    fn message_id(&self, to: &ContactId, id: &ClientMessageId, body: &[u8; 32]) -> MessageId {
        let id = id.as_str().as_bytes();
        let label = [b"mizzle-own-message-id-v1", &to.0[..], body, id].concat();
        let mut message_id = MessageId([0; 16]);
        let derived = expand(&self.own_secret, &label);
        message_id.0.copy_from_slice(&derived[..16]);
        message_id
    }

    pub(super) fn tell_state(&mut self, to: &ContactId, id: ClientMessageId, state: MessageState) {
        self.events.push_back(Event::MessageState {
            contact: *to,
            id,
            state,
        });
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
            What::Cell(contact, seq, index) => {
                self.cell_deposit(&contact, (seq, index), outcome, now);
            }
            What::Note(contact, name) => self.note_deposit(&contact, name, outcome, now),
            What::Record(contact, seq, index) => {
                self.record_deposit((contact, seq), index, outcome, now);
            }
        }
        self.advance(now, self.clock.unix_at(now));
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
        match way_outcome(&mut parcel.way, outcome, now) {
            After::Left | After::Nothing => {}
            After::Stored(_) => {
                if hello.parcels.iter().all(|p| p.way.is_stored()) {
                    contact.hello = None;
                    contact.restart_paths();
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

    /// A message is under way no longer; `state` may be its last or, to who sends no receipts, the
    /// last that is heard of.
    pub(super) fn finish(&mut self, id: &ContactId, seq: u64, state: MessageState) {
        self.drop_outgoing(id, seq);
        self.raise(id, seq, state);
        // Also where the state is no news, what stands of it is.
        self.write_sent(id, seq);
        self.forget_old_sent(id);
    }

    /// A message is stored, and nothing more will be heard of that: for a text that is the end, an
    /// offer waits for its file.
    pub(super) fn finish_stored(&mut self, id: &ContactId, seq: u64) {
        let known = self.contacts.get(id);
        let file = known.and_then(|c| Some(c.sent.get(&seq)?.file));
        if file == Some(true) {
            self.drop_outgoing(id, seq);
            self.raise(id, seq, MessageState::Stored);
        } else {
            self.finish(id, seq, MessageState::Stored);
        }
    }

    /// Takes a message out of the outbox, with its rows.
    pub(super) fn drop_outgoing(&mut self, id: &ContactId, seq: u64) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let Some(mut message) = contact.outbox.remove(&seq) else {
            return;
        };
        let active = message.active.iter_mut().flat_map(|a| &mut a.cells);
        active.for_each(|way| self.dispatch.withdraw(way));
        self.outbox_bytes = self.outbox_bytes.saturating_sub(message.inner.len());
        for page in 0..rows::pages(&message) {
            self.erase(Table::Outgoing, rows::page_key(id, seq, page));
        }
    }

    /// Of finished messages only the newest are remembered.
    fn forget_old_sent(&mut self, id: &ContactId) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let mut forgotten = Vec::new();
        while contact.sent.len() - contact.outbox.len() > SENT_MAX {
            let open = |seq: &u64| contact.outbox.contains_key(seq);
            let Some(oldest) = contact.sent.keys().find(|seq| !open(seq)).copied() else {
                break;
            };
            contact.forget_sent(oldest);
            forgotten.push(oldest);
        }
        for seq in forgotten {
            self.erase(Table::Sent, rows::message_key(id, seq));
        }
    }

    /// Attempts without an outcome move on; messages and Hellos that are too old end.
    pub(super) fn expire_outgoing(&mut self, id: &ContactId, now: Instant, unix: UnixTime) {
        let (waits, timeout) = (self.config.waits(), self.config.attempt_timeout);
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let late = |way: &Way| {
            let under = way.under_way()?;
            (under.deadline(timeout) <= now).then_some(under.address.inbox)
        };
        let mut silent = Vec::new();
        for way in contact.ways_mut() {
            if let Some(inbox) = late(way) {
                self.dispatch.withdraw(way);
                silent.push(inbox);
            }
        }
        for inbox in silent {
            contact.path_refused(&inbox, now, waits);
        }
        if let Some(hello) = &mut contact.hello {
            let list = hello_candidates(&hello.invites, self.view.as_ref());
            for parcel in &mut hello.parcels {
                if let Some(inbox) = late(&parcel.way) {
                    self.dispatch.withdraw(&mut parcel.way);
                    hello.path.refused(&inbox, &list, now, waits);
                }
            }
        }
        self.expire_hello(id, unix);
        self.expire_messages(id, unix);
    }

    fn expire_messages(&mut self, id: &ContactId, unix: UnixTime) {
        let Some(contact) = self.contacts.get(id) else {
            return;
        };
        let expires = |seq: &u64| contact.sent.get(seq).map(|s| s.expires);
        let old = self.open_messages(id, contact);
        let old = old.filter(|seq| expires(seq).is_some_and(|at| at <= unix));
        let old: Vec<u64> = old.collect();
        let lost: Vec<u64> = match contact.lost {
            true => contact.outbox.keys().copied().collect(),
            false => Vec::new(),
        };
        // Times increase with numbers.
        let over = |s: &Sent| match contact.retention {
            Retention::Forever => false,
            Retention::For(time) => s.composed.saturating_add(time) <= unix,
        };
        let over = contact.sent.iter().take_while(|(_, s)| over(s));
        let over = over.filter(|(seq, s)| !contact.is_open(seq, s));
        let over: Vec<u64> = over.map(|(seq, _)| *seq).collect();
        let lost_state = MessageState::Failed(FailReason::InviteExpired);
        let old = old.into_iter().map(|seq| (seq, MessageState::Expired));
        for (seq, state) in old.chain(lost.into_iter().map(|seq| (seq, lost_state))) {
            self.end_sending(id, seq, state, Some(CancelReason::Gone));
            self.finish(id, seq, state);
        }
        self.forget_sent(id, &over);
    }

    /// Messages that may still come further: unconfirmed ones, and files.
    fn open_messages<'a>(
        &'a self,
        id: &ContactId,
        contact: &'a Contact,
    ) -> impl Iterator<Item = u64> + 'a {
        let files = self.sending.range((*id, 0)..=(*id, u64::MAX));
        let files = files.map(|((_, seq), _)| *seq);
        let outside = files.filter(|seq| !contact.outbox.contains_key(seq));
        contact.outbox.keys().copied().chain(outside)
    }

    /// Forgets what became of messages.
    pub(super) fn forget_sent(&mut self, id: &ContactId, seqs: &[u64]) {
        let Some(contact) = self.contacts.get_mut(id).filter(|_| !seqs.is_empty()) else {
            return;
        };
        for seq in seqs {
            contact.forget_sent(*seq);
        }
        for seq in seqs {
            self.erase(Table::Sent, rows::message_key(id, *seq));
        }
        self.write_contact(id);
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
                self.dispatch.withdraw(&mut parcel.way);
            }
        }
        // A stored text means that somebody opened the pair's inbox: the Hello came, only the news
        // of it did not.
        let stored = |s: &Sent| !s.stored.is_empty() || s.state == MessageState::Stored;
        contact.lost = !contact.is_confirmed() && !contact.sent.values().any(stored);
        self.write_contact(id);
    }

    pub(super) fn outgoing_deadlines(&self, next: &mut Earliest) {
        let timeout = self.config.attempt_timeout;
        let now = self.clock.instant;
        for (id, contact) in &self.contacts {
            if let Some(hello) = &contact.hello {
                let under = hello.parcels.iter().filter_map(|p| p.way.under_way());
                under.for_each(|u| next.offer(u.deadline(timeout), "message attempt"));
                if hello.path.not_before() > now {
                    next.offer(hello.path.not_before(), "message retry");
                }
                next.offer(self.clock.instant_at(hello.expires), "card expiry");
            }
            let under = contact.under_way();
            under.for_each(|u| next.offer(u.deadline(timeout), "message attempt"));
            if contact.wants_path() {
                let paths = contact.paths.iter().map(|p| p.not_before());
                let paths = paths.filter(|at| *at > now);
                paths.for_each(|at| next.offer(at, "message retry"));
            }
            let open = self.open_messages(id, contact);
            let expires = open.filter_map(|seq| Some(contact.sent.get(&seq)?.expires));
            if let Some(expires) = expires.min() {
                next.offer(self.clock.instant_at(expires), "message expiry");
            }
            if let Some(due) = contact.notes.due.filter(|_| contact.may_say()) {
                next.offer(due, "receipt");
            }
            contact.question_deadlines(next);
            contact.retention_deadline(next, &self.clock);
        }
    }
}

impl Contact {
    /// Puts what is remembered of a message in its places.
    pub(super) fn take_sent(&mut self, seq: u64, sent: Sent) {
        self.by_id.insert(sent.id.clone(), seq);
        self.by_message.insert(sent.message_id, seq);
        self.sent.insert(seq, sent);
    }

    /// Whether a message may still come further by itself.
    pub(super) fn is_open(&self, seq: &u64, sent: &Sent) -> bool {
        let file = sent.file && !sent.is_over() && sent.state < MessageState::Delivered;
        self.outbox.contains_key(seq) || file
    }

    fn retention_deadline(&self, next: &mut Earliest, clock: &wire::time::WallAnchor) {
        let Retention::For(time) = self.retention else {
            return;
        };
        let mut over = self.sent.iter().filter(|(seq, s)| !self.is_open(seq, s));
        if let Some((_, oldest)) = over.next() {
            next.offer(
                clock.instant_at(oldest.composed.saturating_add(time)),
                "retention",
            );
        }
    }
}

impl UnderWay {
    /// When to give this attempt up: it left and brings nothing, or never had a turn.
    fn deadline(&self, timeout: Duration) -> Instant {
        let never = self.ordered + timeout * UNANSWERED;
        self.sent.map_or(never, |sent| sent + timeout)
    }
}

/// What an outcome did to a cell.
pub(super) enum After {
    Left,
    Stored(InboxAddress),
    Refused(InboxAddress),
    Nothing,
}

pub(super) fn way_outcome(way: &mut Way, outcome: DepositOutcome, now: Instant) -> After {
    let Way::Under(under) = way else {
        return After::Nothing;
    };
    let address = under.address.clone();
    match outcome {
        DepositOutcome::Mixing => {
            under.sent.get_or_insert(now);
            After::Left
        }
        DepositOutcome::Stored => {
            *way = Way::Stored;
            After::Stored(address)
        }
        DepositOutcome::Refused => {
            *way = Way::Waiting;
            After::Refused(address)
        }
    }
}

/// Everything by which two messages of one id are told apart.
fn content(draft: &Draft) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"mizzle-own-body-v1\0");
    hash.update((draft.body.len() as u64).to_be_bytes());
    hash.update(draft.body.as_bytes());
    if let Some(file) = &draft.file {
        hash.update(file.hash);
        hash.update(file.size.to_be_bytes());
        hash.update([file.name.len() as u8]);
        hash.update(file.name.as_bytes());
        hash.update(file.media_type.as_bytes());
    }
    hash.finalize().to_vec()
}
