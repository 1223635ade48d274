//! Files that go out. Not here: which record goes where and when it goes again
//! ([`crate::transfer::send`]).

use super::contacts::Contact;
use super::dispatch::{Turn, What};
use super::files::Heard;
use super::notes::NoteName;
use super::turns::Going;
use super::{Earliest, Messenger, View, rows};
use crate::draft::{BlobRef, BlobWant, FileRef};
use crate::event::{Event, FailReason, MessageId, MessageState};
use crate::identity::ContactId;
use crate::inner::Inner;
use crate::order::{DepositHandle, DepositOutcome, FlowKind, Order};
use crate::records::Table;
use crate::transfer::send::{Reach, SendAction};
use crate::transfer::{CancelReason, FileAccept, FileOffer, FileProgress, SendTransfer};
use std::collections::BTreeMap;
use wire::ids::NodeId;
use wire::time::Instant;
use zeroize::Zeroizing;

/// A file on its way to a contact.
pub(super) struct Sending {
    pub(super) transfer: SendTransfer,
    pub(super) blob: BlobRef,
    /// Without what is said about it; said again when the contact is silent.
    pub(super) offer: FileOffer,
    /// Deposits of its records.
    handles: BTreeMap<u32, DepositHandle>,
    heard: Heard,
    pub(super) turn: Going,
    /// As it was written down last.
    row: Zeroizing<Vec<u8>>,
}

impl Sending {
    pub(super) fn new(transfer: SendTransfer, blob: BlobRef, offer: FileOffer) -> Self {
        Self {
            transfer,
            blob,
            offer,
            handles: BTreeMap::new(),
            heard: Heard::default(),
            turn: Going::default(),
            row: Zeroizing::default(),
        }
    }
}

impl View {
    /// What a file's sender may put at a gateway.
    fn reach(&self, gateway: &NodeId) -> Reach {
        match (self.usable(gateway), self.failing.contains(gateway)) {
            (false, _) => Reach::None,
            (true, true) => Reach::Poor,
            (true, false) => Reach::Good,
        }
    }
}

impl Messenger {
    pub(super) fn write_sending(&mut self, id: &ContactId, seq: u64) {
        let Some(sending) = self.sending.get_mut(&(*id, seq)) else {
            return;
        };
        let row = rows::sending(sending);
        if row != sending.row {
            sending.row.clone_from(&row);
            self.write(Table::Sending, rows::message_key(id, seq), row);
        }
    }

    pub(super) fn see_view_sending(&mut self) {
        let pace = self.transfer_pace();
        let Some(view) = &self.view else {
            return;
        };
        for sending in self.sending.values_mut() {
            sending.transfer.handle_pace(pace);
            sending
                .transfer
                .handle_reach(&|gateway| view.reach(gateway));
        }
    }

    /// The contact wants a file, or says how far it is.
    pub(super) fn take_accept(&mut self, from: &ContactId, accept: &FileAccept, now: Instant) {
        let Some(seq) = self.sending_of(from, &accept.transfer) else {
            return self.answer_stranger(from, accept.transfer);
        };
        let Some(view) = &self.view else {
            return;
        };
        if let Some(sending) = self.sending.get_mut(&(*from, seq)) {
            let reach = |gateway: &NodeId| view.reach(gateway);
            // A report that contradicts the file is ignored: the next one may not.
            let _ = sending.transfer.handle_accept(accept, &reach, now);
        }
        self.offer_is_there(from, seq);
        self.write_sending(from, seq);
    }

    /// Whoever answers an offer has it.
    fn offer_is_there(&mut self, id: &ContactId, seq: u64) {
        let known = self.contacts.get(id);
        if known.is_some_and(|c| c.outbox.contains_key(&seq)) {
            self.finish_stored(id, seq);
        }
    }

    pub(super) fn take_progress(&mut self, from: &ContactId, report: &FileProgress, now: Instant) {
        let Some(seq) = self.sending_of(from, &report.transfer) else {
            return self.answer_stranger(from, report.transfer);
        };
        if let Some(sending) = self.sending.get_mut(&(*from, seq)) {
            // As above.
            let _ = sending.transfer.handle_progress(&report.report, now);
        }
        self.offer_is_there(from, seq);
        self.write_sending(from, seq);
    }

    fn sending_of(&self, id: &ContactId, message: &MessageId) -> Option<u64> {
        let seq = *self.contacts.get(id)?.by_message.get(message)?;
        self.sending.contains_key(&(*id, seq)).then_some(seq)
    }

    /// Word of a file that we do not send (any more). Whoever has it all says so for nothing.
    fn answer_stranger(&mut self, from: &ContactId, transfer: MessageId) {
        let known = self.contacts.get(from);
        let sent = known.and_then(|c| c.sent.get(c.by_message.get(&transfer)?));
        if sent.is_none_or(|s| s.is_over()) {
            self.note_cancel(from, transfer, CancelReason::Gone);
        }
    }

    /// What each transfer wants done.
    pub(super) fn drive_sending(&mut self, now: Instant) {
        let attempt = self.config.attempt_timeout;
        if self.view.is_none() {
            return;
        }
        for sending in self.sending.values_mut() {
            sending.transfer.handle_timeout(attempt, now);
        }
        self.give_turns(now);
        for key in self.sending.keys().copied().collect::<Vec<_>>() {
            while let Some(action) = self.sending.get_mut(&key).and_then(|s| s.poll_action(now)) {
                self.act(key, action);
            }
            self.tell_sending(key, now);
        }
    }

    fn act(&mut self, (contact, seq): (ContactId, u64), action: SendAction) {
        let Some(sending) = self.sending.get_mut(&(contact, seq)) else {
            return;
        };
        match action {
            SendAction::Want(index) => self.events.push_back(Event::BlobWanted(BlobWant {
                transfer: sending.offer.id,
                contact,
                blob: sending.blob,
                index,
            })),
            SendAction::Withdraw(index) => {
                if let Some(handle) = sending.handles.remove(&index) {
                    self.dispatch.attempts.remove(&handle);
                    self.dispatch.orders.push_back(Order::Cancel { handle });
                }
            }
            SendAction::Offer => {
                let known = self.contacts.get(&contact);
                // Until it is confirmed, the message itself sees to that.
                if known.is_some_and(|c| !c.outbox.contains_key(&seq)) {
                    let offer = sending.offer.clone();
                    let name = NoteName::File(offer.id);
                    self.put_note(&contact, name, &Inner::FileOffer(offer));
                }
            }
        }
    }

    fn tell_sending(&mut self, (contact, seq): (ContactId, u64), now: Instant) {
        let known = self.contacts.get(&contact);
        let id = known.and_then(|c| Some(c.sent.get(&seq)?.id.clone()));
        let (Some(id), Some(sending)) = (id, self.sending.get_mut(&(contact, seq))) else {
            return;
        };
        let (done, size) = (sending.transfer.done(), sending.offer.size);
        let complete = sending.transfer.is_complete();
        if complete || sending.heard.is_news(done, now) {
            self.events.push_back(Event::FileProgress {
                contact,
                message: FileRef::Outgoing(id),
                done,
                size,
            });
        }
        if complete {
            self.drop_sending(&contact, seq);
            self.finish(&contact, seq, MessageState::Delivered);
            let known = self.contacts.get(&contact);
            if known.is_some_and(|c| c.sent.get(&seq).is_some_and(|s| s.offer_read)) {
                self.raise(&contact, seq, MessageState::Read);
            }
        }
    }

    /// Bytes for a record, or that there are none.
    pub(super) fn take_record(&mut self, want: &BlobWant, bytes: Option<&[u8]>, now: Instant) {
        let Some(seq) = self.sending_of(&want.contact, &want.transfer) else {
            return;
        };
        let Some(sending) = self.sending.get_mut(&(want.contact, seq)) else {
            return;
        };
        let made = bytes.map(|bytes| sending.transfer.handle_record(want.index, bytes));
        match made {
            Some(Ok(Some(record))) => {
                let what = What::Record(want.contact, seq, want.index);
                let [peer @ .., _, _, _, _, _, _, _, _] = want.transfer.0;
                let turn = Turn {
                    flow: FlowKind::Bulk,
                    peer: u64::from_be_bytes(peer),
                };
                let cell = (record.cell_id, record.cell);
                let way = self
                    .dispatch
                    .deposit(what, turn, cell, &record.address, now);
                if let Some(under) = way.under_way() {
                    sending.handles.insert(want.index, under.handle);
                }
            }
            // Not wanted any more.
            Some(Ok(None)) => {}
            Some(Err(_)) | None => {
                let gone = MessageState::Failed(FailReason::FileGone);
                self.end_sending(&want.contact, seq, gone, Some(CancelReason::Gone));
            }
        }
    }

    /// A record's deposit came further.
    pub(super) fn record_deposit(
        &mut self,
        key: (ContactId, u64),
        index: u32,
        outcome: DepositOutcome,
        now: Instant,
    ) {
        let Some(sending) = self.sending.get_mut(&key) else {
            return;
        };
        match outcome {
            DepositOutcome::Mixing => sending.transfer.handle_mixing(index, now),
            DepositOutcome::Stored => {
                sending.handles.remove(&index);
                sending.transfer.handle_stored(index, now);
            }
            DepositOutcome::Refused => {
                sending.handles.remove(&index);
                sending.transfer.handle_refused(index, now);
            }
        }
    }

    /// A file is not sent any more, and its message ends.
    pub(super) fn end_sending(
        &mut self,
        id: &ContactId,
        seq: u64,
        state: MessageState,
        tell: Option<CancelReason>,
    ) {
        let Some(sending) = self.drop_sending(id, seq) else {
            return;
        };
        if let Some(reason) = tell {
            self.note_cancel(id, sending.offer.id, reason);
        }
        let known = self.contacts.get(id);
        let client_id = known.and_then(|c| Some(c.sent.get(&seq)?.id.clone()));
        if let (MessageState::Failed(reason), Some(client_id)) = (state, client_id) {
            self.tell_file_failed(id, FileRef::Outgoing(client_id), reason);
        }
        self.finish(id, seq, state);
    }

    fn drop_sending(&mut self, id: &ContactId, seq: u64) -> Option<Sending> {
        let sending = self.sending.remove(&(*id, seq))?;
        for handle in sending.handles.values().copied() {
            self.dispatch.attempts.remove(&handle);
            self.dispatch.orders.push_back(Order::Cancel { handle });
        }
        let name = NoteName::File(sending.offer.id);
        let known = self.contacts.get_mut(id);
        if let Some(mut note) = known.and_then(|c: &mut Contact| c.notes.by_name.remove(&name)) {
            self.dispatch.withdraw(&mut note.way);
        }
        self.erase(Table::Sending, rows::message_key(id, seq));
        Some(sending)
    }

    pub(super) fn sending_deadlines(&self, next: &mut Earliest) {
        let (attempt, now) = (self.config.attempt_timeout, self.clock.instant);
        if self.view.is_none() {
            return;
        }
        for sending in self.sending.values() {
            if let Some(at) = sending.transfer.poll_timeout(attempt, now) {
                next.offer(at, "file");
            }
        }
    }
}
