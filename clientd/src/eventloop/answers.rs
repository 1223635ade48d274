//! Answers to applications. Those that change something are held until the change is durable.

use super::EventLoop;
use crate::api::problem::Problem;
use crate::api::types::{
    BytesPerSecond, CardMade, Contact, Contacts, DirectoryStatus, GatewayStatus, GuardStatus,
    Health, Info, Message, Queues, Status,
};
use crate::commands::{Ask, Reply, Told, state_text};
use messaging::{Card, ClientMessageId, ContactId, ContactView, Draft, SendOutcome};
use std::time::Duration;
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};

/// How long a card can be used where nobody says otherwise.
const CARD_TTL: Duration = Duration::from_secs(7 * 86_400);
/// No card can be used longer.
const CARD_TTL_MAX: Duration = Duration::from_secs(30 * 86_400);

impl EventLoop {
    pub(super) fn answer(&mut self, ask: Ask) -> Reply {
        match ask {
            Ask::Info => Ok(Told::Info(self.info())),
            Ask::Health => Ok(Told::Health(self.health())),
            Ask::Status => Ok(Told::Status(Box::new(self.status()))),
            Ask::Contacts => Ok(Told::Contacts(Contacts {
                contacts: self.messenger.contacts().map(contact).collect(),
            })),
            Ask::NewCard {
                name,
                expires_in_seconds,
            } => self.new_card(name, expires_in_seconds),
            Ask::NewContact { card, name } => self.new_contact(&card, name),
            Ask::Send { contact, id, text } => self.send(&contact, id, &text),
            Ask::MessageState { contact, id } => self.message(&contact, &id).map(Told::Message),
        }
    }

    fn new_card(&mut self, name: Option<String>, expires_in_seconds: Option<u64>) -> Reply {
        let name = name.unwrap_or_else(|| self.name.clone());
        let ttl = expires_in_seconds.map_or(CARD_TTL, Duration::from_secs);
        if ttl > CARD_TTL_MAX {
            let most = CARD_TTL_MAX.as_secs();
            let detail = format!("a card can be used for at most {most} seconds");
            return Err(Problem::new(400, "bad_expiry", detail));
        }
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let card = self.messenger.handle_create_card(&name, ttl, now, unix)?;
        Ok(Told::Card(CardMade {
            card: card.to_text(),
            expires_ms: card.expires().0,
        }))
    }

    fn new_contact(&mut self, card: &str, name: Option<String>) -> Reply {
        let name = name.unwrap_or_else(|| self.name.clone());
        let card = Card::from_text(card.trim())?;
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let id = self.messenger.handle_add_card(&card, &name, now, unix)?;
        let added = self.messenger.contacts().find(|c| c.contact == id);
        added
            .map(|view| Told::Contact(contact(view)))
            .ok_or_else(Problem::unknown_contact)
    }

    fn send(&mut self, contact: &ContactId, id: ClientMessageId, text: &str) -> Reply {
        let (now, unix) = (self.clock.now(), self.clock.unix());
        let sent = self
            .messenger
            .handle_send(contact, id.clone(), Draft::text(text), now, unix)?;
        let new = match sent {
            SendOutcome::Accepted => true,
            SendOutcome::Duplicate => false,
        };
        Ok(Told::Accepted(new, self.message(contact, &id)?))
    }

    fn message(&self, contact: &ContactId, id: &ClientMessageId) -> Result<Message, Problem> {
        if !self.messenger.contacts().any(|c| c.contact == *contact) {
            return Err(Problem::unknown_contact());
        }
        let state = self.messenger.message_state(contact, id);
        let unknown = || Problem::new(404, "unknown_message", "no such message is remembered");
        let (state, reason) = state.map(state_text).ok_or_else(unknown)?;
        Ok(Message {
            contact: contact.to_string(),
            id: id.as_str().to_owned(),
            state: state.to_owned(),
            reason,
        })
    }

    fn info(&self) -> Info {
        let network = self.client.view().held().next_back().map(|d| d.network);
        Info {
            daemon: "clientd".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            network: network.map(|n| directory::hex::encode(&n.0)),
            contact: ContactId::of(&self.messenger.identity()).to_string(),
            name: self.name.clone(),
            text_max: messaging::BODY_MAX,
        }
    }

    fn health(&self) -> Health {
        let now = self.clock.now();
        let directory_valid = self.client.view().current(now).is_some();
        let loop_returned = self.client.losses().total().returned > 0;
        let (inboxes_wanted, inboxes_open) = self.client.inboxes_len();
        let connected = self.state.connected;
        let opened = inboxes_open >= inboxes_wanted;
        Health {
            ready: connected && directory_valid && loop_returned && opened,
            connected,
            directory_valid,
            loop_returned,
            inboxes_wanted,
            inboxes_open,
        }
    }

    fn status(&self) -> Status {
        let health = self.health();
        let counters = self.client.counters();
        let (outbox_waiting, outbox_on_their_way) = self.client.outbox_len();
        let losses = self.client.losses();
        let gateways = losses.iter().map(|(gateway, l)| GatewayStatus {
            gateway: gateway.to_string(),
            sent: l.sent,
            returned: l.returned,
            late: l.late,
            lost: l.lost,
            lossy: l.lossy(),
        });
        let span = *self.span.borrow();
        Status {
            ready: health.ready,
            connected: health.connected,
            connections: self.state.connections,
            guard: self.guard_status(),
            directory: self.directory_status(),
            directory_problem: self.state.directory_problem.clone(),
            alarms: self.alarms(),
            gateways: gateways.collect(),
            queues: Queues {
                outbox_waiting,
                outbox_on_their_way,
                inboxes_wanted: health.inboxes_wanted,
                inboxes_open: health.inboxes_open,
                commits_pending: self.state.pending.len(),
            },
            packets_sent: counters.sent,
            packets_cover: counters.covers,
            packets_discarded: counters.discards.iter().map(|(_, n)| n).sum(),
            idle_ticks: counters.idle_ticks,
            bytes_per_second: self.bytes_per_second(),
            events_first: span.first,
            events_last: span.last(),
        }
    }

    fn guard_status(&self) -> GuardStatus {
        const DAY: u64 = 86_400;
        let unix = self.clock.unix();
        let guard = self.state.guard;
        GuardStatus {
            gateway: self.client.entry().to_string(),
            pinned: self.entry_pinned,
            since_days: guard.map(|g| unix.saturating_since(g.since).as_secs() / DAY),
            days_left: guard.map(|g| g.until.saturating_since(unix).as_secs() / DAY),
        }
    }

    fn directory_status(&self) -> Option<DirectoryStatus> {
        let unix = self.clock.unix();
        let current = self.client.view().current(self.clock.now())?;
        Some(DirectoryStatus {
            epoch: current.epoch.0,
            age_seconds: unix.saturating_since(current.valid_from).as_secs(),
            valid_for_seconds: current.valid_until.saturating_since(unix).as_secs(),
        })
    }

    /// What a person must see (design §1).
    fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        let lossy = self.client.losses().iter().filter(|(_, l)| l.lossy());
        for (gateway, _) in lossy {
            alarms.push(format!("many replies of gateway {gateway} are missing"));
        }
        if self.state.split_view {
            alarms.push("a gateway goes by another directory than we do".to_owned());
        }
        if let Some(problem) = &self.state.directory_problem {
            alarms.push(format!("a directory was refused: {problem}"));
        }
        alarms
    }

    fn bytes_per_second(&self) -> BytesPerSecond {
        let record = (FRAME_LEN + TLS_OVERHEAD_LEN) as f64;
        let current = self.client.view().current(self.clock.now());
        let (up, down) = current.map_or((0.0, 0.0), |d| {
            let p = &d.parameters;
            let up = p.payload_rate.per_second() + p.loop_rate.per_second();
            (up, p.downlink_rate.per_second())
        });
        BytesPerSecond {
            up: (up * record) as u64,
            down: (down * record) as u64,
        }
    }

    /// What a contact calls themselves.
    pub(super) fn name_of(&self, id: &ContactId) -> String {
        let known = self.messenger.contacts().find(|c| c.contact == *id);
        known.map(|c| c.name).unwrap_or_default()
    }
}

fn contact(view: ContactView) -> Contact {
    Contact {
        id: view.contact.to_string(),
        name: view.name,
        verified: view.verified,
        established: view.established,
        waiting: view.waiting,
    }
}
