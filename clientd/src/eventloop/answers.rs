//! Answers to applications about contacts and messages. Those that change something are held until the
//! change is durable.

use super::EventLoop;
use crate::api::problem::Problem;
use crate::api::types::{
    CardMade, Contact, ContactChange, Contacts, Message, NewCard, NewContact, NewFile, NewMessage,
};
use crate::apps::App;
use crate::commands::{Ask, Reply, Told, state_text};
use messaging::{
    AppId, BlobRef, Card, ClientMessageId, ContactId, ContactSettings, ContactView, Draft,
    FileDraft, MessageId, Retention, SendOutcome,
};
use std::time::Duration;

/// How long a card can be used where nobody says otherwise.
const CARD_TTL: Duration = Duration::from_secs(7 * 86_400);
/// No card can be used longer.
const CARD_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// No message is tried longer.
const MESSAGE_TTL_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Longest name of a contact in bytes.
const NAME_MAX: usize = 32;

impl EventLoop {
    /// `by` asks; `None` is the owner.
    pub(super) fn answer(&mut self, ask: Ask, by: Option<&App>) -> Reply {
        match ask {
            Ask::Info => Ok(Told::json(200, &self.info())),
            Ask::Health => {
                let health = self.health();
                Ok(Told::json(if health.ready { 200 } else { 503 }, &health))
            }
            Ask::Status => Ok(Told::json(200, &self.status())),
            Ask::Contacts(after, limit) => Ok(Told::json(200, &self.contacts(after, limit, by))),
            Ask::Contact(contact) => self.contact(200, &contact),
            Ask::NewCard(card) => self.new_card(card),
            Ask::NewContact(contact) => self.new_contact(contact),
            Ask::ChangeContact(contact, change) => self.change_contact(&contact, change),
            Ask::RemoveContact(contact) => self.remove_contact(&contact),
            Ask::Send(contact, id, message) => self.send(&contact, id, message, by),
            Ask::MessageState(contact, id) => Ok(Told::json(200, &self.message(&contact, &id)?)),
            Ask::Read(contact, message) => self.read(&contact, &message),
            Ask::AcceptFile(contact, message) => self.accept_file(&contact, &message),
            Ask::CancelFile(contact, message) => self.cancel_file(&contact, &message),
            Ask::WipeConversation(contact) => self.wipe_conversation(&contact),
            Ask::Acknowledge(through) => self.acknowledge(through, by),
            Ask::NewApp(app) => self.new_app(app),
            Ask::Apps(after, limit) => Ok(Told::json(200, &self.apps(after, limit))),
            Ask::App(id) => self.app(id),
            Ask::RevokeApp(id) => self.revoke_app(id),
        }
    }

    fn contacts(&self, after: Option<ContactId>, limit: usize, by: Option<&App>) -> Contacts {
        let shown = |c: &ContactView| {
            after.is_none_or(|after| c.contact > after)
                && by.is_none_or(|app| app.sees(Some(&c.contact)))
        };
        let page = self.messenger.contacts().filter(shown).take(limit + 1);
        let mut contacts: Vec<Contact> = page.map(view).collect();
        let more = contacts.len() > limit;
        contacts.truncate(limit);
        let next = contacts.last().filter(|_| more).map(|c| c.id.clone());
        Contacts { contacts, next }
    }

    fn contact(&self, status: u16, id: &ContactId) -> Reply {
        let found = self.messenger.contacts().find(|c| c.contact == *id);
        let found = found.ok_or_else(Problem::unknown_contact)?;
        Ok(Told::json(status, &view(found)))
    }

    fn known(&self, id: &ContactId) -> Result<(), Problem> {
        let found = self.messenger.contacts().any(|c| c.contact == *id);
        found.then_some(()).ok_or_else(Problem::unknown_contact)
    }

    fn new_card(&mut self, card: NewCard) -> Reply {
        let name = card.name.unwrap_or_else(|| self.name.clone());
        let ttl = card
            .expires_in_seconds
            .map_or(CARD_TTL, Duration::from_secs);
        if ttl > CARD_TTL_MAX {
            let most = CARD_TTL_MAX.as_secs();
            let detail = format!("a card can be used for at most {most} seconds");
            return Err(Problem::new("bad_expiry", detail));
        }
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let card = self.messenger.handle_create_card(&name, ttl, now, unix)?;
        let made = CardMade {
            card: card.to_text(),
            expires_ms: card.expires().0,
        };
        Ok(Told::json(201, &made))
    }

    fn new_contact(&mut self, contact: NewContact) -> Reply {
        let name = contact.name.unwrap_or_else(|| self.name.clone());
        let card = Card::from_text(contact.card.trim())?;
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let id = self.messenger.handle_add_card(&card, &name, now, unix)?;
        self.contact(201, &id)
    }

    fn change_contact(&mut self, contact: &ContactId, change: ContactChange) -> Reply {
        let bad = |name: &String| {
            !(1..=NAME_MAX).contains(&name.len()) || name.chars().any(char::is_control)
        };
        if change.name.as_ref().is_some_and(bad) {
            let detail = "a name has 1 to 32 bytes and no control characters";
            return Err(Problem::new("bad_name", detail));
        }
        let settings = ContactSettings {
            name: change.name,
            verified: change.verified,
            favourite: change.favourite,
            receipts: change.receipts,
            retention: change.retention_seconds.map(retention),
        };
        let (now, unix) = (self.clock.now(), self.clock.unix());
        self.messenger
            .handle_settings(contact, settings, now, unix)?;
        self.contact(200, contact)
    }

    fn remove_contact(&mut self, contact: &ContactId) -> Reply {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        if !self.messenger.handle_remove_contact(contact, now, unix) {
            return Err(Problem::unknown_contact());
        }
        self.wipe_now(contact);
        Ok(Told::nothing(204))
    }

    fn wipe_conversation(&mut self, contact: &ContactId) -> Reply {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        if !self.messenger.handle_forget(contact, now, unix) {
            return Err(Problem::unknown_contact());
        }
        self.wipe_now(contact);
        Ok(Told::nothing(204))
    }

    /// Events of it go too, the vault with the batch, files before that.
    fn wipe_now(&mut self, contact: &ContactId) {
        self.history.forget(contact, &mut self.state.writes);
        self.state.wipes.push(*contact);
    }

    fn send(
        &mut self,
        contact: &ContactId,
        id: ClientMessageId,
        message: NewMessage,
        by: Option<&App>,
    ) -> Reply {
        let expires_in = message.expires_in_seconds.map(Duration::from_secs);
        if expires_in.is_some_and(|t| t.is_zero() || t > MESSAGE_TTL_MAX) {
            let most = MESSAGE_TTL_MAX.as_secs();
            let detail = format!("a message is tried for 1 to {most} seconds");
            return Err(Problem::new("bad_expiry", detail));
        }
        let file = message.file.map(|file| self.file_draft(file)).transpose()?;
        let blob = file.as_ref().map(|f| f.blob);
        let draft = Draft {
            body: message.text,
            app: AppId(by.map_or(0, |app| app.id)),
            expires_in,
            file,
        };
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let sent = self
            .messenger
            .handle_send(contact, id.clone(), draft, now, unix)?;
        let status = match sent {
            SendOutcome::Accepted => 202,
            SendOutcome::Duplicate => 200,
        };
        if let (SendOutcome::Accepted, Some(blob)) = (sent, blob) {
            let rows = self.files.attach(&blob, *contact, &id);
            self.state.writes.extend(rows.into_iter().flatten());
        }
        Ok(Told::json(status, &self.message(contact, &id)?))
    }

    fn file_draft(&self, file: NewFile) -> Result<FileDraft, Problem> {
        let blob = directory::hex::decode(&file.blob).map(BlobRef);
        let info = blob.and_then(|blob| self.files.info(&blob));
        let detail = "no such file is here; upload it first";
        let info = info.ok_or_else(|| Problem::new("unknown_blob", detail))?;
        let or = |text: String, other: &str| match text.is_empty() {
            true => other.to_owned(),
            false => text,
        };
        Ok(FileDraft {
            blob: info.blob,
            name: or(file.name.unwrap_or(info.name), "file"),
            media_type: or(info.media_type, "application/octet-stream"),
            size: info.size,
            hash: info.sha256,
        })
    }

    fn message(&self, contact: &ContactId, id: &ClientMessageId) -> Result<Message, Problem> {
        self.known(contact)?;
        let state = self.messenger.message_state(contact, id);
        let unknown = || Problem::new("unknown_message", "no such message is remembered");
        let (state, reason) = state.map(state_text).ok_or_else(unknown)?;
        Ok(Message {
            contact: contact.to_string(),
            id: id.as_str().to_owned(),
            state: state.to_owned(),
            reason,
        })
    }

    fn read(&mut self, contact: &ContactId, message: &MessageId) -> Reply {
        self.known(contact)?;
        let (now, unix) = (self.clock.now(), self.clock.unix());
        // Saying it twice is no news and no error.
        self.messenger.handle_read(contact, message, now, unix);
        Ok(Told::nothing(204))
    }

    fn accept_file(&mut self, contact: &ContactId, message: &MessageId) -> Reply {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        self.messenger
            .handle_accept_file(contact, message, now, unix)?;
        Ok(Told::nothing(202))
    }

    fn cancel_file(&mut self, contact: &ContactId, message: &MessageId) -> Reply {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        self.messenger
            .handle_cancel_file(contact, message, now, unix)?;
        Ok(Told::nothing(204))
    }

    /// What a contact calls themselves.
    pub(super) fn name_of(&self, id: &ContactId) -> String {
        let known = self.messenger.contacts().find(|c| c.contact == *id);
        known.map(|c| c.name).unwrap_or_default()
    }
}

/// 0 stands for ever.
fn retention(seconds: u64) -> Retention {
    match seconds {
        0 => Retention::Forever,
        seconds => Retention::For(Duration::from_secs(seconds)),
    }
}

fn view(view: ContactView) -> Contact {
    let retention_seconds = match view.retention {
        Retention::Forever => 0,
        Retention::For(time) => time.as_secs(),
    };
    Contact {
        id: view.contact.to_string(),
        name: view.name,
        verified: view.verified,
        established: view.established,
        favourite: view.favourite,
        receipts: view.receipts,
        retention_seconds,
        waiting: view.waiting,
    }
}
