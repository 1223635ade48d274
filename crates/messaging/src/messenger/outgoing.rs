//! What goes out: texts and Hellos, from acceptance to *stored*. Not here: which candidate comes
//! next ([`super::path`]), and sealing ([`crate::suite1`]).

use super::contacts::{Contact, Parcel, ParcelState, SENT_MAX, Sent};
use super::path::Path;
use super::{Earliest, Messenger, View, rows};
use crate::event::{
    ClientMessageId, Event, FailReason, MessageId, MessageState, SendError, SendOutcome,
};
use crate::identity::ContactId;
use crate::inner::{BODY_MAX, Inner};
use crate::order::{DepositHandle, DepositOutcome, Order};
use crate::pair::{Periods, expand};
use crate::records::Table;
use crate::suite1;
use std::collections::{BTreeMap, VecDeque};
use wire::ids::{CellId, InboxAddress};
use wire::time::{Instant, UnixTime};

/// Which parcel an attempt carries.
#[derive(Clone, Copy)]
pub(super) enum What {
    Hello(ContactId, usize),
    Text(ContactId, u64),
}

/// Orders, and the attempts they make.
#[derive(Default)]
pub(super) struct Dispatch {
    attempts: BTreeMap<DepositHandle, What>,
    next: u64,
    pub(super) orders: VecDeque<Order>,
}

impl Dispatch {
    fn deposit(&mut self, what: What, parcel: &mut Parcel, address: &InboxAddress) {
        let handle = DepositHandle(self.next);
        self.next += 1;
        self.attempts.insert(handle, what);
        self.orders.push_back(Order::Deposit {
            handle,
            address: address.clone(),
            cell_id: parcel.cell_id,
            cell: parcel.cell.clone(),
        });
        parcel.state = ParcelState::UnderWay {
            handle,
            address: address.clone(),
            sent: None,
        };
    }

    /// Takes a parcel back; it waits again.
    pub(super) fn withdraw(&mut self, parcel: &mut Parcel) {
        if let ParcelState::UnderWay { handle, .. } = parcel.state {
            self.attempts.remove(&handle);
            self.orders.push_back(Order::Cancel { handle });
            parcel.state = ParcelState::Waiting;
        }
    }
}

impl Messenger {
    /// Sends a text; idempotent by `id`, as long as the message is remembered.
    pub fn handle_send(
        &mut self,
        contact: &ContactId,
        id: ClientMessageId,
        body: &str,
        now: Instant,
        unix: UnixTime,
    ) -> Result<SendOutcome, SendError> {
        let Some(to) = self.contacts.get_mut(contact) else {
            return Err(SendError::UnknownContact);
        };
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
            body: body.to_owned(),
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
            ParcelState::UnderWay {
                address,
                sent: Some(sent),
                ..
            } if *sent + timeout <= now => Some(address.inbox),
            ParcelState::UnderWay { .. } | ParcelState::Waiting | ParcelState::Stored => None,
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

    /// Takes back what is under way to gateways that are gone, or that are our entry now.
    pub(super) fn withdraw_unusable(&mut self) {
        let Some(view) = &self.view else {
            return;
        };
        for contact in self.contacts.values_mut() {
            let hello = contact.hello.iter_mut().flat_map(|h| &mut h.parcels);
            for parcel in contact.outbox.values_mut().chain(hello) {
                if let ParcelState::UnderWay { address, .. } = &parcel.state
                    && !view.usable(&address.gateway)
                {
                    self.dispatch.withdraw(parcel);
                }
            }
        }
    }

    /// Orders deposits for one contact, as far as path and window allow.
    pub(super) fn pump(&mut self, id: &ContactId, now: Instant, unix: UnixTime) {
        let (Some(view), Some(contact)) = (&self.view, self.contacts.get_mut(id)) else {
            return;
        };
        let confirmed = contact.is_confirmed();
        if let Some(hello) = &mut contact.hello {
            let list = hello_candidates(&hello.invites, Some(view));
            if let Some(target) = hello.path.target(&list)
                && hello.path.not_before() <= now
            {
                for (index, parcel) in hello.parcels.iter_mut().enumerate() {
                    if parcel.is_waiting() {
                        let what = What::Hello(*id, index);
                        self.dispatch.deposit(what, parcel, target);
                    }
                }
            }
            if hello.holds_texts && !confirmed {
                return;
            }
        }
        if contact.outbox.is_empty() || now < contact.path.not_before() {
            return;
        }
        let derive = || text_candidates(&contact.identity, &contact.pairs, view, unix);
        let list = contact.candidates.get_or_insert_with(derive);
        let Some(target) = contact.path.target(list) else {
            return;
        };
        let window = contact.path.window();
        for (seq, parcel) in contact.outbox.iter_mut().take(window) {
            if parcel.is_waiting() {
                let what = What::Text(*id, *seq);
                self.dispatch.deposit(what, parcel, target);
            }
        }
    }

    pub(super) fn outgoing_deadlines(&self, next: &mut Earliest) {
        let sent = |parcel: &Parcel, next: &mut Earliest| {
            if let ParcelState::UnderWay {
                sent: Some(sent), ..
            } = parcel.state
            {
                next.offer(sent + self.config.attempt_timeout, "message attempt");
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

fn hello_candidates(invites: &[InboxAddress; 2], view: Option<&View>) -> Vec<InboxAddress> {
    let usable = |a: &&InboxAddress| view.is_some_and(|v| v.usable(&a.gateway));
    invites.iter().filter(usable).cloned().collect()
}

/// Where a contact may read, best first: the ranking of each secret in turn, without our entry.
fn text_candidates(
    reader: &wire::keys::IdentityPublic,
    pairs: &[super::contacts::Pair],
    view: &View,
    unix: UnixTime,
) -> Vec<InboxAddress> {
    let period = Periods(&view.directory).at(unix);
    let of_pair = |pair: &super::contacts::Pair| {
        let ranking = pair.secret.ranking(reader, period, &view.directory);
        let usable = ranking.into_iter().filter(|g| view.usable(g));
        usable
            .map(|g| pair.secret.address(reader, period, g))
            .collect::<Vec<_>>()
    };
    pairs.iter().flat_map(of_pair).collect()
}

fn labelled(label: &[u8], text: &str) -> Vec<u8> {
    [label, b"\0", text.as_bytes()].concat()
}

impl Contact {
    /// Derive again where to write: the period or the directory changed.
    pub(super) fn forget_candidates(&mut self) {
        self.candidates = None;
    }
}
