//! Files between the Messenger and the disk. Not here: the threads that read, hash and write
//! ([`crate::files`]).

use super::EventLoop;
use crate::api::types::{ApiEvent, FileOffer};
use crate::files::reading::FileNews;
use crate::files::writing::FileJob;
use crate::storage::Work;
use messaging::{BlobWant, ContactId, Event, MessageId, MessageState};

/// A file whose records are all in a batch: to be hashed when that is durable.
pub(super) struct Check {
    contact: ContactId,
    transfer: MessageId,
    hash: [u8; 32],
}

impl EventLoop {
    /// What an event means for the disk. Gives back what applications may hear.
    pub(super) fn take_file_event(
        &mut self,
        event: Event,
        work: &mut Work,
        checks: &mut Vec<Check>,
    ) -> Option<Event> {
        match event {
            Event::BlobWanted(want) => {
                self.file_orders.want(want);
                return None;
            }
            Event::BlobBegin {
                contact,
                transfer,
                file,
            } => work.jobs.push(FileJob::Begin {
                contact,
                transfer,
                file,
            }),
            Event::BlobWrite {
                contact,
                transfer,
                index,
                bytes,
            } => work.jobs.push(FileJob::Write {
                contact,
                transfer,
                index,
                bytes,
            }),
            Event::FileDone {
                contact,
                transfer,
                hash_to_check,
            } => checks.push(Check {
                contact,
                transfer,
                hash: hash_to_check,
            }),
            Event::FileFailed {
                contact,
                message: messaging::FileRef::Incoming(transfer),
                ..
            } => {
                work.writes.extend(self.files.given_up(contact, transfer));
                return Some(event);
            }
            Event::MessageState {
                contact,
                ref id,
                state,
            } => {
                if is_last(state) {
                    let unix = self.clock.unix();
                    work.writes.extend(self.files.release(contact, id, unix));
                }
                return Some(event);
            }
            Event::Write(_)
            | Event::ContactAdded { .. }
            | Event::InviteUsed { .. }
            | Event::InviteExpired { .. }
            | Event::MessageReceived { .. }
            | Event::FileProgress { .. }
            | Event::FileFailed { .. }
            | Event::Ignored { .. }
            | _ => return Some(event),
        }
        None
    }

    /// Hashes what is durable now.
    pub(super) fn start_checks(&mut self, checks: Vec<Check>) {
        for check in checks {
            let Check {
                contact,
                transfer,
                hash,
            } = check;
            if !self.file_orders.check(contact, transfer, hash) {
                self.on_file_news(FileNews::Failed { contact, transfer });
            }
        }
    }

    /// Asks for records, as far as there is room; each one that comes wakes the loop, which asks on.
    pub(super) fn ask_for_records(&mut self) {
        for want in self.file_orders.ask() {
            self.give_record(&want, None);
        }
    }

    pub(super) fn on_file_news(&mut self, news: FileNews) {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        match news {
            FileNews::Record(want, bytes) => self.give_record(&want, bytes.as_deref()),
            FileNews::Checked {
                contact,
                transfer,
                right,
            } => {
                if right && let Some((info, row)) = self.files.finished(contact, transfer) {
                    self.state.writes.push(row);
                    self.state.told.push(ApiEvent::FileReceived {
                        contact: contact.to_string(),
                        message_id: transfer.to_string(),
                        blob: directory::hex::encode(&info.blob.0),
                        file: FileOffer {
                            name: info.name,
                            media_type: info.media_type,
                            size: info.size,
                            sha256: directory::hex::encode(&info.sha256),
                        },
                    });
                }
                self.messenger
                    .handle_file_checked(&contact, &transfer, right, now, unix);
            }
            FileNews::Failed { contact, transfer } => {
                // It may have ended in another way meanwhile.
                let _ = self
                    .messenger
                    .handle_cancel_file(&contact, &transfer, now, unix);
            }
        }
    }

    fn give_record(&mut self, want: &BlobWant, bytes: Option<&Vec<u8>>) {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let bytes = bytes.map(Vec::as_slice);
        self.messenger.handle_blob(want, bytes, now, unix);
    }
}

/// Whether a message needs its file no longer.
fn is_last(state: MessageState) -> bool {
    match state {
        MessageState::Queued | MessageState::Mixing | MessageState::Stored => false,
        MessageState::Delivered
        | MessageState::Read
        | MessageState::Expired
        | MessageState::Failed(_) => true,
        _ => false,
    }
}
