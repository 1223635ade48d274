//! What an application asks and the loop answers. Not here: HTTP ([`crate::api`]) and when an answer
//! may leave ([`crate::eventloop`]).

use crate::api::problem::Problem;
use crate::api::types::{CardMade, Contact, Contacts, Health, Info, Message, Status};
use messaging::{ClientMessageId, ContactId, FailReason, MessageState};
use tokio::sync::oneshot;

/// Questions that wait for the loop; an application that asks more waits in its connection.
pub(crate) const COMMANDS_MAX: usize = 64;

/// A question.
pub(crate) enum Ask {
    Info,
    Health,
    Status,
    Contacts,
    NewCard {
        name: Option<String>,
        expires_in_seconds: Option<u64>,
    },
    NewContact {
        card: String,
        name: Option<String>,
    },
    Send {
        contact: ContactId,
        id: ClientMessageId,
        text: String,
    },
    MessageState {
        contact: ContactId,
        id: ClientMessageId,
    },
}

/// A success.
pub(crate) enum Told {
    Info(Info),
    Health(Health),
    Status(Box<Status>),
    Contacts(Contacts),
    Card(CardMade),
    Contact(Contact),
    /// Whether the message is new, and the message.
    Accepted(bool, Message),
    Message(Message),
}

/// What the loop says.
pub(crate) type Reply = Result<Told, Problem>;

/// A question and where its answer goes.
pub(crate) struct Command {
    pub(crate) ask: Ask,
    pub(crate) answer: oneshot::Sender<Reply>,
}

/// A message's state as the API names it, and why it failed.
pub(crate) fn state_text(state: MessageState) -> (&'static str, Option<String>) {
    match state {
        MessageState::Queued => ("queued", None),
        MessageState::Mixing => ("mixing", None),
        MessageState::Stored => ("stored", None),
        MessageState::Delivered => ("delivered", None),
        MessageState::Read => ("read", None),
        MessageState::Expired => ("expired", None),
        MessageState::Failed(FailReason::InviteExpired) => {
            ("failed", Some("invite_expired".to_owned()))
        }
        MessageState::Failed(_) => ("failed", None),
        _ => ("unknown", None),
    }
}
