//! What an application asks and the loop answers. Not here: HTTP ([`crate::api`]) and when an answer
//! may leave ([`crate::eventloop`]).

use crate::api::problem::Problem;
use crate::api::types::{ContactChange, NewApp, NewCard, NewContact, NewMessage};
use crate::apps::App;
use messaging::{ClientMessageId, ContactId, FailReason, MessageId, MessageState};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Questions that wait for the loop; an application that asks more waits in its connection.
pub(crate) const COMMANDS_MAX: usize = 64;

/// A question.
pub(crate) enum Ask {
    Info,
    Health,
    Status,
    /// A page of contacts: after this one, so many.
    Contacts(Option<ContactId>, usize),
    Contact(ContactId),
    NewCard(NewCard),
    NewContact(NewContact),
    ChangeContact(ContactId, ContactChange),
    RemoveContact(ContactId),
    Send(ContactId, ClientMessageId, NewMessage),
    MessageState(ContactId, ClientMessageId),
    Read(ContactId, MessageId),
    AcceptFile(ContactId, MessageId),
    CancelFile(ContactId, MessageId),
    WipeConversation(ContactId),
    /// A reader has dealt with everything up to this event.
    Acknowledge(u64),
    NewApp(NewApp),
    /// A page of applications.
    Apps(u32, usize),
    App(u32),
    RevokeApp(u32),
}

impl Ask {
    /// Whether it brings something that must be kept: refused while the disk is full.
    pub(crate) fn grows(&self) -> bool {
        matches!(
            self,
            Self::NewCard(_)
                | Self::NewContact(_)
                | Self::Send(..)
                | Self::AcceptFile(..)
                | Self::NewApp(_)
        )
    }

    /// Whether the answer must wait until something is durable.
    pub(crate) fn changes(&self) -> bool {
        match self {
            Self::Info
            | Self::Health
            | Self::Status
            | Self::Contacts(..)
            | Self::Contact(_)
            | Self::MessageState(..)
            | Self::Apps(..)
            | Self::App(_) => false,
            Self::NewCard(_)
            | Self::NewContact(_)
            | Self::ChangeContact(..)
            | Self::RemoveContact(_)
            | Self::Send(..)
            | Self::Read(..)
            | Self::AcceptFile(..)
            | Self::CancelFile(..)
            | Self::WipeConversation(_)
            | Self::Acknowledge(_)
            | Self::NewApp(_)
            | Self::RevokeApp(_) => true,
        }
    }
}

/// A success: a status, and JSON or nothing.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) json: Vec<u8>,
}

impl Told {
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value);
        Self {
            status,
            json: json.expect("numbers, strings and lists are always JSON"),
        }
    }

    pub(crate) fn nothing(status: u16) -> Self {
        Self {
            status,
            json: Vec::new(),
        }
    }
}

/// What the loop says.
pub(crate) type Reply = Result<Told, Problem>;

/// A question, who asks it (the owner, or an application), and where its answer goes.
pub(crate) struct Command {
    pub(crate) ask: Ask,
    pub(crate) by: Option<Arc<App>>,
    pub(crate) answer: oneshot::Sender<Reply>,
}

/// A message's state as the API names it, and why it failed.
pub(crate) fn state_text(state: MessageState) -> (&'static str, Option<String>) {
    let name = match state {
        MessageState::Queued => "queued",
        MessageState::Mixing => "mixing",
        MessageState::Stored => "stored",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Expired => "expired",
        MessageState::Failed(reason) => return ("failed", Some(reason_text(reason).to_owned())),
        _ => "unknown",
    };
    (name, None)
}

/// Why something was given up, as the API names it.
pub(crate) fn reason_text(reason: FailReason) -> &'static str {
    match reason {
        FailReason::InviteExpired => "invite_expired",
        FailReason::Wiped => "wiped",
        FailReason::FileGone => "file_gone",
        FailReason::Cancelled => "cancelled",
        FailReason::Damaged => "damaged",
        _ => "other",
    }
}
