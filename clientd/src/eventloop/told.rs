//! What applications hear of the Messenger's events. Not here: numbers and rows of the log
//! (`crate::history`).

use super::EventLoop;
use crate::api::types::{ApiEvent, FileOffer};
use crate::commands::{reason_text, state_text};
use messaging::{ContactId, Event, FileRef, FileView, MessageId};
use store::{VaultId, Write};

impl EventLoop {
    /// What an application hears of an event; rows go into the batch.
    pub(super) fn take_event(&mut self, event: Event, writes: &mut Vec<Write>) -> Option<ApiEvent> {
        match event {
            Event::Write(record) => {
                writes.push(Write {
                    table: record.table as u8,
                    key: record.key,
                    value: record.value,
                    vault: record.vault.map(|contact| VaultId(contact.0)),
                });
                None
            }
            Event::ContactAdded {
                contact,
                name,
                by_invite,
                ..
            } => Some(ApiEvent::ContactAdded {
                contact: contact.to_string(),
                name,
                by_invite,
            }),
            Event::InviteUsed { contact, card } => Some(ApiEvent::InviteUsed {
                contact: contact.to_string(),
                card: directory::hex::encode(&card),
            }),
            Event::InviteExpired { card } => Some(ApiEvent::InviteExpired {
                card: directory::hex::encode(&card),
            }),
            Event::MessageReceived {
                contact,
                message_id,
                body,
                composed,
                file,
                ..
            } => {
                if let Some(file) = &file {
                    self.accept_small(&contact, &message_id, file.size);
                }
                Some(ApiEvent::MessageReceived {
                    contact: contact.to_string(),
                    name: self.name_of(&contact),
                    message_id: message_id.to_string(),
                    text: body,
                    composed_ms: composed.0,
                    file: file.map(offer),
                })
            }
            Event::MessageState { contact, id, state } => {
                let (state, reason) = state_text(state);
                Some(ApiEvent::MessageState {
                    contact: contact.to_string(),
                    id: id.as_str().to_owned(),
                    state: state.to_owned(),
                    reason,
                })
            }
            Event::FileProgress {
                contact,
                message,
                done,
                size,
            } => {
                let (id, message_id) = names(message);
                Some(ApiEvent::FileProgress {
                    contact: contact.to_string(),
                    id,
                    message_id,
                    done,
                    size,
                })
            }
            Event::FileFailed {
                contact,
                message,
                reason,
            } => {
                let (id, message_id) = names(message);
                Some(ApiEvent::FileFailed {
                    contact: contact.to_string(),
                    id,
                    message_id,
                    reason: reason_text(reason).to_owned(),
                })
            }
            Event::Ignored { reason } => {
                tracing::debug!(?reason, "a cell was ignored");
                None
            }
            Event::BlobWanted(_)
            | Event::BlobBegin { .. }
            | Event::BlobWrite { .. }
            | Event::FileDone { .. }
            | _ => None,
        }
    }

    /// A file that is small enough is fetched without asking a person.
    fn accept_small(&mut self, contact: &ContactId, message: &MessageId, size: u64) {
        if size > self.limits.auto_accept_max || size > self.limits.file_max {
            return;
        }
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let accepted = self
            .messenger
            .handle_accept_file(contact, message, now, unix);
        if let Err(error) = accepted {
            tracing::debug!(%error, "a file that came is not fetched by itself");
        }
    }
}

/// A file as a contact describes it.
pub(super) fn offer(file: FileView) -> FileOffer {
    FileOffer {
        name: file.name,
        media_type: file.media_type,
        size: file.size,
        sha256: directory::hex::encode(&file.hash),
    }
}

/// Our own name of a message, or the contact's.
fn names(message: FileRef) -> (Option<String>, Option<String>) {
    match message {
        FileRef::Outgoing(id) => (Some(id.as_str().to_owned()), None),
        FileRef::Incoming(id) => (None, Some(id.to_string())),
    }
}
