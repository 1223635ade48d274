//! Files: what an application asks about them, and what both directions share. The halves of a
//! transfer are machines of their own ([`crate::transfer`]); here they get their inboxes, their way to the
//! contact and their rows. Not here: sending ([`super::sending`]), receiving ([`super::receiving`]).

use super::Messenger;
use super::contacts::Way;
use super::notes::{Note, NoteName};
use crate::draft::{BlobWant, FileDraft, FileRef};
use crate::error::{FileError, SendError};
use crate::event::{Event, FailReason, MessageId, MessageState};
use crate::identity::ContactId;
use crate::inner::Inner;
use crate::transfer::formats::{is_media_type, is_name};
use crate::transfer::{CancelReason, FileCancel, Pace};
use std::time::Duration;
use wire::time::{Instant, UnixTime};

/// Longest file: one gibibyte.
pub const FILE_MAX: u64 = 1 << 30;
/// Files that go to one contact, or wait for it, at once.
pub(super) const SENDING_MAX: usize = 16;
/// Progress is told no more often.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What an application heard last of a file.
#[derive(Clone, Copy, Default)]
pub(super) struct Heard {
    done: u64,
    at: Option<Instant>,
}

impl Heard {
    /// Whether it should hear of `done` bytes now.
    pub(super) fn is_news(&mut self, done: u64, now: Instant) -> bool {
        let soon = self.at.is_some_and(|at| now < at + TOLD_EVERY);
        let news = done != self.done && !soon;
        if news {
            (self.done, self.at) = (done, Some(now));
        }
        news
    }
}

/// Whether a file may be sent at all.
pub(super) fn check(file: &FileDraft) -> Result<(), SendError> {
    if !is_name(&file.name) {
        let why = "its name is empty, longer than 128 bytes, a path, or has control characters";
        return Err(SendError::BadFile(why));
    }
    if !is_media_type(&file.media_type) {
        let why = "its media type is longer than 64 characters or not ASCII";
        return Err(SendError::BadFile(why));
    }
    if file.size > FILE_MAX {
        return Err(SendError::BadFile("it is longer than 1 GiB"));
    }
    Ok(())
}

impl Messenger {
    /// Ends a file of either direction; the other end is told.
    pub fn handle_cancel_file(
        &mut self,
        contact: &ContactId,
        message: &MessageId,
        now: Instant,
        unix: UnixTime,
    ) -> Result<(), FileError> {
        let Some(known) = self.contacts.get(contact) else {
            return Err(FileError::UnknownContact);
        };
        let ours = known.by_message.get(message).copied();
        let ended = match ours {
            Some(seq) if self.sending.contains_key(&(*contact, seq)) => {
                let state = MessageState::Failed(FailReason::Cancelled);
                self.end_sending(contact, seq, state, Some(CancelReason::Person));
                Ok(())
            }
            Some(seq) if known.sent.get(&seq).is_some_and(|s| s.file) => Err(FileError::Over),
            Some(_) => Err(FileError::UnknownFile),
            None => {
                let reason = (CancelReason::Person, FailReason::Cancelled);
                self.end_receiving(contact, message, reason, true)
            }
        };
        self.advance(now, unix);
        ended
    }

    /// The answer to [`Event::BlobWanted`]; `None` when the bytes are gone.
    pub fn handle_blob(
        &mut self,
        want: &BlobWant,
        bytes: Option<&[u8]>,
        now: Instant,
        unix: UnixTime,
    ) {
        self.take_record(want, bytes, now);
        self.advance(now, unix);
    }

    /// The other end says that a file will not come.
    pub(super) fn take_cancel(&mut self, from: &ContactId, cancel: FileCancel) {
        let reason = match cancel.reason {
            CancelReason::Gone => FailReason::FileGone,
            CancelReason::Damaged => FailReason::Damaged,
            CancelReason::Person | CancelReason::TooLarge | CancelReason::NoRoom => {
                FailReason::Cancelled
            }
        };
        let known = self.contacts.get(from);
        match known.and_then(|c| c.by_message.get(&cancel.transfer).copied()) {
            Some(seq) => self.end_sending(from, seq, MessageState::Failed(reason), None),
            None => {
                let reason = (cancel.reason, reason);
                // Unknown or over already: there is nothing to end.
                let _ = self.end_receiving(from, &cancel.transfer, reason, false);
            }
        }
    }

    /// Everything about files that is due.
    pub(super) fn drive_files(&mut self, now: Instant, unix: UnixTime) {
        if self.sending.is_empty() && self.receiving.is_empty() {
            return;
        }
        self.drive_sending(now);
        self.drive_receiving(now, unix);
    }

    /// The view of the network changed.
    pub(super) fn files_see_view(&mut self) {
        self.see_view_sending();
        for receiving in self.receiving.values_mut() {
            receiving.choose = true;
        }
    }

    /// Ends all files of a contact, of both directions.
    pub(super) fn end_files(&mut self, id: &ContactId) {
        let ours = self.sending.keys().filter(|(c, _)| c == id);
        for seq in ours.map(|(_, seq)| *seq).collect::<Vec<_>>() {
            let state = MessageState::Failed(FailReason::Wiped);
            self.end_sending(id, seq, state, Some(CancelReason::Person));
        }
        let theirs = self.receiving.keys().filter(|(c, _)| c == id);
        for message in theirs.map(|(_, m)| *m).collect::<Vec<_>>() {
            let reason = (CancelReason::Person, FailReason::Wiped);
            // One that is over has ended.
            let _ = self.end_receiving(id, &message, reason, true);
            self.forget_receiving(id, &message);
        }
    }

    /// Rates and limits for transfers.
    pub(super) fn transfer_pace(&self) -> Pace {
        let view = self.view.as_ref();
        let patience = view.map_or(Duration::from_secs(60), |v| v.pace.base);
        let quota = view.map_or(1, |v| v.directory.parameters.inbox_quota);
        Pace::new(patience, quota)
    }

    /// Says something about a file to the contact; what was said before and is not stored goes.
    pub(super) fn put_note(&mut self, id: &ContactId, name: NoteName, inner: &Inner) {
        let Some(contact) = self.contacts.get_mut(id) else {
            return;
        };
        let note = Note {
            inner: inner.encode(),
            said: Vec::new(),
            on: true,
            way: Way::Waiting,
        };
        if let Some(mut old) = contact.notes.by_name.insert(name, note) {
            self.dispatch.withdraw(&mut old.way);
        }
    }

    pub(super) fn note_cancel(&mut self, id: &ContactId, transfer: MessageId, why: CancelReason) {
        let cancel = Inner::FileCancel(FileCancel {
            transfer,
            reason: why,
        });
        self.put_note(id, NoteName::Cancel(transfer), &cancel);
    }

    pub(super) fn tell_file_failed(&mut self, id: &ContactId, file: FileRef, reason: FailReason) {
        self.events.push_back(Event::FileFailed {
            contact: *id,
            message: file,
            reason,
        });
    }
}
