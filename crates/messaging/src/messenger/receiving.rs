//! Files that come: from the offer over a person's word to the last record. Not here: which records
//! are there and what the sender is told ([`crate::transfer::receive`]), the bytes (`clientd`).

use super::files::Heard;
use super::inboxes::{Inbox, Purpose};
use super::notes::NoteName;
use super::{Earliest, Messenger, rows};
use crate::draft::{FileRef, FileView};
use crate::error::FileError;
use crate::event::{Event, FailReason, IgnoreReason, MessageId};
use crate::identity::ContactId;
use crate::inner::Inner;
use crate::records::Table;
use crate::transfer::formats::Report;
use crate::transfer::receive::{Control, Stage as Part};
use crate::transfer::select::gateways;
use crate::transfer::{CancelReason, FileKey, FileOffer, FileProgress, ReceiveTransfer, Shape};
use std::collections::BTreeSet;
use wire::ids::{InboxAddress, InboxId, NodeId, WriteToken};
use wire::request::Cell;
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

/// Files that come at once, each with four inboxes. Others wait for their turn.
const COMING_MAX: usize = 8;
/// Files of one contact that are remembered; beyond, the one that ends soonest is forgotten.
const REMEMBERED_MAX: usize = 128;
/// An inbox that was refused so often is given up for one at another gateway.
pub(super) const REFUSALS_MAX: u32 = 3;

/// How far a file is.
pub(super) enum Stage {
    /// Nobody said anything.
    Offered,
    /// Wanted, and others are before it.
    Wanted,
    /// On its way.
    Coming(Box<ReceiveTransfer>),
    /// Complete, or ended for this reason.
    Over(Option<CancelReason>),
}

/// A file that was offered to us.
pub(super) struct Receiving {
    pub(super) file: FileView,
    pub(super) key: FileKey,
    /// Forgotten then.
    pub(super) until: UnixTime,
    pub(super) stage: Stage,
    /// More inboxes may be needed.
    pub(super) choose: bool,
    /// The owner hashes it.
    checking: bool,
    heard: Heard,
    /// As it was written down last.
    row: Zeroizing<Vec<u8>>,
}

impl Receiving {
    pub(super) fn new(file: FileView, key: FileKey, until: UnixTime, stage: Stage) -> Self {
        Self {
            file,
            key,
            until,
            stage,
            choose: true,
            checking: false,
            heard: Heard::default(),
            row: Zeroizing::default(),
        }
    }

    fn is_coming(&self) -> bool {
        matches!(self.stage, Stage::Coming(_))
    }
}

impl Messenger {
    /// A person wants the file that a message offers.
    pub fn handle_accept_file(
        &mut self,
        contact: &ContactId,
        message: &MessageId,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), FileError> {
        if !self.contacts.contains_key(contact) {
            return Err(FileError::UnknownContact);
        }
        let Some(receiving) = self.receiving.get_mut(&(*contact, *message)) else {
            return Err(FileError::UnknownFile);
        };
        match receiving.stage {
            Stage::Offered => receiving.stage = Stage::Wanted,
            Stage::Wanted | Stage::Coming(_) => {}
            Stage::Over(_) => return Err(FileError::Over),
        }
        self.write_receiving(contact, message);
        self.advance(now, unix);
        Ok(())
    }

    /// The answer to [`Event::FileDone`]: whether the hash is right.
    pub fn handle_file_checked(
        &mut self,
        contact: &ContactId,
        transfer: &MessageId,
        right: bool,
        now: Instant,
        unix: UnixTime,
    ) {
        let receiving = self.receiving.get(&(*contact, *transfer));
        let checking = |s: &Stage| matches!(s, Stage::Coming(t) if t.stage() == Part::Checking);
        let size = receiving
            .filter(|r| checking(&r.stage))
            .map(|r| r.file.size);
        match (size, right) {
            (Some(size), true) => {
                self.close_transfer(contact, transfer, Stage::Over(None));
                self.say_complete(contact, transfer, size);
                self.events.push_back(Event::FileProgress {
                    contact: *contact,
                    message: FileRef::Incoming(*transfer),
                    done: size,
                    size,
                });
            }
            (Some(_), false) => {
                let reason = (CancelReason::Damaged, FailReason::Damaged);
                // It is there, so it ends.
                let _ = self.end_receiving(contact, transfer, reason, true);
            }
            (None, _) => {}
        }
        self.advance(now, unix);
    }

    /// The sender learns that all of it is here.
    fn say_complete(&mut self, id: &ContactId, transfer: &MessageId, size: u64) {
        let report = Report {
            number: u32::MAX,
            idle: false,
            complete: true,
            first_missing: Shape::new(size).records(),
            bitmap: Vec::new(),
        };
        let progress = Inner::FileProgress(FileProgress {
            transfer: *transfer,
            report,
        });
        self.put_note(id, NoteName::File(*transfer), &progress);
    }

    /// A contact offers a file, or asks what became of the offer.
    pub(super) fn take_offer(
        &mut self,
        from: &ContactId,
        offer: FileOffer,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), IgnoreReason> {
        let id = offer.id;
        if let Err(reason) = self.take_new(from, id, offer.composed, now) {
            self.asked_for_file(from, &id, now);
            return Err(reason);
        }
        let file = FileView {
            name: offer.name,
            media_type: offer.media_type,
            size: offer.size,
            hash: offer.hash,
        };
        let until = unix.saturating_add(self.config.message_ttl);
        let too_long = offer.size > super::files::FILE_MAX;
        let stage = match too_long {
            true => Stage::Over(Some(CancelReason::TooLarge)),
            false => Stage::Offered,
        };
        let receiving = Receiving::new(file.clone(), offer.key, until, stage);
        self.receiving.insert((*from, id), receiving);
        self.write_receiving(from, &id);
        self.events.push_back(Event::MessageReceived {
            contact: *from,
            message_id: id,
            body: offer.body,
            composed: offer.composed.at,
            file: Some(file),
        });
        if too_long {
            self.note_cancel(from, id, CancelReason::TooLarge);
            self.tell_file_failed(from, FileRef::Incoming(id), FailReason::Cancelled);
        }
        self.forget_surplus(from, &id);
        Ok(())
    }

    fn asked_for_file(&mut self, from: &ContactId, id: &MessageId, now: Instant) {
        match self.receiving.get_mut(&(*from, *id)) {
            None => self.note_cancel(from, *id, CancelReason::Person),
            Some(receiving) => match &mut receiving.stage {
                Stage::Offered | Stage::Wanted => {}
                Stage::Coming(transfer) => transfer.handle_asked(now),
                Stage::Over(None) => {
                    let size = receiving.file.size;
                    self.say_complete(from, id, size);
                }
                Stage::Over(Some(reason)) => {
                    let reason = *reason;
                    self.note_cancel(from, *id, reason);
                }
            },
        }
    }

    fn forget_surplus(&mut self, from: &ContactId, newest: &MessageId) {
        let of = |(key, r): (&(ContactId, MessageId), &Receiving)| {
            (key.0 == *from && key.1 != *newest && !r.is_coming()).then_some((r.until, key.1))
        };
        let others: Vec<_> = self.receiving.iter().filter_map(of).collect();
        if others.len() >= REMEMBERED_MAX
            && let Some((_, oldest)) = others.into_iter().min()
        {
            self.forget_receiving(from, &oldest);
        }
    }

    /// A file does not come. The owner forgets its bytes.
    pub(super) fn end_receiving(
        &mut self,
        id: &ContactId,
        message: &MessageId,
        (told, reason): (CancelReason, FailReason),
        tell: bool,
    ) -> Result<(), FileError> {
        let receiving = self.receiving.get(&(*id, *message));
        match receiving.map(|r| &r.stage) {
            None => return Err(FileError::UnknownFile),
            Some(Stage::Over(_)) => return Err(FileError::Over),
            Some(Stage::Offered | Stage::Wanted | Stage::Coming(_)) => {}
        }
        self.close_transfer(id, message, Stage::Over(Some(told)));
        if tell {
            self.note_cancel(id, *message, told);
        }
        self.tell_file_failed(id, FileRef::Incoming(*message), reason);
        Ok(())
    }

    /// Takes the inboxes and pages of a file away.
    fn close_transfer(&mut self, id: &ContactId, message: &MessageId, stage: Stage) {
        let Some(receiving) = self.receiving.get_mut(&(*id, *message)) else {
            return;
        };
        let before = std::mem::replace(&mut receiving.stage, stage);
        if let Stage::Coming(transfer) = before {
            for inbox in transfer.inboxes().map(|a| a.inbox).collect::<Vec<_>>() {
                self.close_inbox(&inbox);
            }
            for page in 0..transfer.pages() {
                self.erase(Table::Page, rows::record_page_key(id, message, page));
            }
        }
        let known = self.contacts.get_mut(id);
        let note = known.and_then(|c| c.notes.by_name.remove(&NoteName::File(*message)));
        if let Some(mut note) = note {
            self.dispatch.withdraw(&mut note.way);
        }
        self.write_receiving(id, message);
    }

    /// Forgets that there was such a file.
    pub(super) fn forget_receiving(&mut self, id: &ContactId, message: &MessageId) {
        self.close_transfer(id, message, Stage::Over(None));
        if self.receiving.remove(&(*id, *message)).is_some() {
            self.erase(Table::Receiving, rows::receiving_key(id, message));
        }
    }

    pub(super) fn write_receiving(&mut self, id: &ContactId, message: &MessageId) {
        let Some(receiving) = self.receiving.get_mut(&(*id, *message)) else {
            return;
        };
        let row = rows::receiving(receiving);
        let pages = match &mut receiving.stage {
            Stage::Coming(transfer) => transfer.take_dirty(),
            Stage::Offered | Stage::Wanted | Stage::Over(_) => Vec::new(),
        };
        let news = row != receiving.row;
        if news {
            receiving.row.clone_from(&row);
            self.write(Table::Receiving, rows::receiving_key(id, message), row);
        }
        for (page, bytes) in pages {
            let key = rows::record_page_key(id, message, page);
            self.write(Table::Page, key, Zeroizing::new(bytes));
        }
    }

    /// A cell from an inbox of a transfer.
    pub(super) fn take_bulk(
        &mut self,
        id: &ContactId,
        message: &MessageId,
        cell: &Cell,
        now: Instant,
    ) -> Result<(), IgnoreReason> {
        let receiving = self.receiving.get_mut(&(*id, *message));
        let receiving = receiving.ok_or(IgnoreReason::UnknownInbox)?;
        let Stage::Coming(transfer) = &mut receiving.stage else {
            return Err(IgnoreReason::UnknownInbox);
        };
        use crate::transfer::bulk::BulkError;
        let taken = transfer.handle_cell(cell, now).map_err(|e| match e {
            BulkError::Unreadable => IgnoreReason::Unreadable,
            BulkError::Malformed => IgnoreReason::Malformed,
        })?;
        let (index, bytes) = taken.ok_or(IgnoreReason::Duplicate)?;
        self.events.push_back(Event::BlobWrite {
            contact: *id,
            transfer: *message,
            index,
            bytes,
        });
        self.write_receiving(id, message);
        Ok(())
    }

    /// A transfer's inbox stands, or is refused again and again.
    pub(super) fn bulk_inbox(
        &mut self,
        (id, message): (&ContactId, &MessageId),
        inbox: &InboxId,
        stands: bool,
        now: Instant,
    ) {
        let Some(receiving) = self.receiving.get_mut(&(*id, *message)) else {
            return;
        };
        let Stage::Coming(transfer) = &mut receiving.stage else {
            return;
        };
        if stands {
            transfer.handle_opened(inbox, now);
        } else {
            transfer.lose_inbox(inbox, now);
            receiving.choose = true;
            self.close_inbox(inbox);
            self.write_receiving(id, message);
        }
    }

    pub(super) fn drive_receiving(&mut self, now: Instant, unix: UnixTime) {
        let old = self.receiving.iter().filter(|(_, r)| r.until <= unix);
        for (id, message) in old.map(|(key, _)| *key).collect::<Vec<_>>() {
            let reason = (CancelReason::Gone, FailReason::FileGone);
            // One that is over is only forgotten.
            let _ = self.end_receiving(&id, &message, reason, false);
            self.forget_receiving(&id, &message);
        }
        if self.view.is_none() {
            return;
        }
        self.begin_receiving(now);
        let coming = self.receiving.iter().filter(|(_, r)| r.is_coming());
        for (id, message) in coming.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.choose_inboxes(&id, &message, now);
            self.drive_one(&id, &message, now);
        }
    }

    /// Those that are wanted begin while there is room.
    fn begin_receiving(&mut self, now: Instant) {
        let coming = self.receiving.values().filter(|r| r.is_coming()).count();
        let pace = self.transfer_pace();
        let waits = |r: &Receiving| matches!(r.stage, Stage::Wanted);
        let wanted = self.receiving.iter().filter(|(_, r)| waits(r));
        let wanted = wanted
            .map(|(key, _)| *key)
            .take(COMING_MAX.saturating_sub(coming));
        for (id, message) in wanted.collect::<Vec<_>>() {
            let Some(receiving) = self.receiving.get_mut(&(id, message)) else {
                continue;
            };
            let shape = Shape::new(receiving.file.size);
            let transfer = ReceiveTransfer::new(message, receiving.key.clone(), shape, pace, now);
            receiving.stage = Stage::Coming(Box::new(transfer));
            self.events.push_back(Event::BlobBegin {
                contact: id,
                transfer: message,
                file: receiving.file.clone(),
            });
        }
    }

    /// Opens inboxes at gateways that are of use, and gives up those at others. Where a gateway fails,
    /// another takes its place, and where there is none it is better than nothing.
    fn choose_inboxes(&mut self, id: &ContactId, message: &MessageId, now: Instant) {
        let pace = self.transfer_pace();
        let (Some(view), Some(receiving)) = (&self.view, self.receiving.get_mut(&(*id, *message)))
        else {
            return;
        };
        let Stage::Coming(transfer) = &mut receiving.stage else {
            return;
        };
        if !std::mem::replace(&mut receiving.choose, false) {
            return;
        }
        transfer.handle_pace(pace);
        let gone = transfer.inboxes().filter(|a| !view.usable(&a.gateway));
        let mut lost: Vec<InboxId> = gone.map(|a| a.inbox).collect();
        for inbox in &lost {
            transfer.lose_inbox(inbox, now);
        }
        let (directory, entry, failing) = (&view.directory, &view.entry, &view.failing);
        let mut present: Vec<NodeId> = transfer.inboxes().map(|a| a.gateway).collect();
        let poor = transfer.inboxes().filter(|a| failing.contains(&a.gateway));
        let mut poor: Vec<InboxId> = poor.map(|a| a.inbox).collect();
        let room = transfer.inboxes_wanted();
        let most = room + poor.len();
        let mut chosen = gateways(directory, entry, failing, &present, most, &mut self.keys);
        poor.truncate(chosen.len().saturating_sub(room));
        for inbox in &poor {
            transfer.lose_inbox(inbox, now);
        }
        lost.append(&mut poor);
        present.extend(&chosen);
        let left = room.saturating_sub(chosen.len());
        let none = BTreeSet::new();
        chosen.extend(gateways(
            directory,
            entry,
            &none,
            &present,
            left,
            &mut self.keys,
        ));
        let mut fresh = Vec::new();
        for gateway in chosen {
            let address = InboxAddress {
                gateway,
                inbox: InboxId(self.keys.bytes()),
                token: WriteToken(self.keys.bytes()),
            };
            transfer.add_inbox(address.clone());
            fresh.push(address);
        }
        transfer.handle_poor(&|gateway| failing.contains(gateway), now);
        let purpose = Purpose::Bulk {
            contact: *id,
            transfer: *message,
        };
        let until = receiving.until;
        for inbox in lost {
            self.close_inbox(&inbox);
        }
        for address in fresh {
            let inbox = Inbox::new(&address, purpose, until);
            let row = rows::inbox(&inbox);
            self.write(Table::Inbox, address.inbox.0.to_vec(), row);
            self.inboxes.insert(address.inbox, inbox);
        }
    }

    fn drive_one(&mut self, id: &ContactId, message: &MessageId, now: Instant) {
        let Some(receiving) = self.receiving.get_mut(&(*id, *message)) else {
            return;
        };
        let Stage::Coming(transfer) = &mut receiving.stage else {
            return;
        };
        transfer.handle_timeout(now);
        let control = transfer.poll_control(now);
        let checks = transfer.stage() == Part::Checking;
        let check = checks && !std::mem::replace(&mut receiving.checking, checks);
        let (done, size) = (transfer.done(), receiving.file.size);
        let hash = receiving.file.hash;
        let news = done < size && receiving.heard.is_news(done, now);
        self.write_receiving(id, message);
        if let Some(control) = control {
            let inner = match control {
                Control::Accept(accept) => Inner::FileAccept(accept),
                Control::Progress(progress) => Inner::FileProgress(progress),
            };
            self.put_note(id, NoteName::File(*message), &inner);
        }
        if news {
            self.events.push_back(Event::FileProgress {
                contact: *id,
                message: FileRef::Incoming(*message),
                done,
                size,
            });
        }
        if check {
            self.events.push_back(Event::FileDone {
                contact: *id,
                transfer: *message,
                hash_to_check: hash,
            });
        }
    }

    pub(super) fn receiving_deadlines(&self, next: &mut Earliest) {
        for receiving in self.receiving.values() {
            next.offer(self.clock.instant_at(receiving.until), "file end");
            if let Stage::Coming(transfer) = &receiving.stage
                && self.view.is_some()
                && let Some(at) = transfer.poll_timeout()
            {
                next.offer(at, "file");
            }
        }
    }
}
