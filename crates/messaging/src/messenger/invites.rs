//! Cards: making one opens a fresh invite for one contact, adding one sends a Hello there. Not here:
//! what happens when a Hello comes in ([`super::incoming`]).

use super::contacts::{Contact, Hello, Parcel};
use super::path::Path;
use super::{Messenger, rows};
use crate::card::{Card, valid_name};
use crate::error::{AddError, CardError};
use crate::event::Event;
use crate::identity::ContactId;
use crate::inner::Inner;
use crate::pair::PairSecret;
use crate::records::Table;
use crate::suite1;
use std::time::Duration;
use wire::ids::{CellId, InboxAddress, InboxId, NodeId, WriteToken};
use wire::rng::pick;
use wire::time::{Instant, UnixTime};

/// A card that was given out and not used yet.
pub(super) struct Invite {
    pub(super) addresses: [InboxAddress; 2],
    pub(super) expires: UnixTime,
}

impl Messenger {
    /// A fresh card for one contact, with two inboxes of its own. `name` is what we call ourselves
    /// to them. Lives at most as long as the network lets an inbox live.
    pub fn handle_create_card(
        &mut self,
        name: &str,
        expires_in: Duration,
        now: Instant,
        unix: UnixTime,
    ) -> Result<Card, CardError> {
        if !valid_name(name) {
            return Err(CardError::BadName);
        }
        if expires_in.is_zero() {
            return Err(CardError::BadExpiry);
        }
        if self.invites.len() >= self.config.invites_max {
            return Err(CardError::TooManyInvites);
        }
        let [first, second] = self.invite_gateways()?;
        let view = self.view.as_ref().ok_or(CardError::NoDirectory)?;
        let longest = view.directory.parameters.inbox_ttl_max;
        let expires = unix.saturating_add(expires_in.min(longest));
        let mut fresh = |gateway| InboxAddress {
            gateway,
            inbox: InboxId(self.keys.bytes()),
            token: WriteToken(self.keys.bytes()),
        };
        let addresses = [fresh(first), fresh(second)];
        let card = Card::signed(
            &self.identity,
            self.config.network,
            addresses.clone(),
            expires,
            name.to_owned(),
        );
        let invite = Invite { addresses, expires };
        self.write(Table::Invite, card.digest().to_vec(), rows::invite(&invite));
        self.invites.insert(card.digest(), invite);
        self.stale = true;
        self.advance(now, unix);
        Ok(card)
    }

    /// Adds the owner of a card and sends them our Hello. `name` is what we call ourselves to them;
    /// they are listed under the name on the card. Somebody who never answered may be added again by
    /// another card.
    pub fn handle_add_card(
        &mut self,
        card: &Card,
        name: &str,
        now: Instant,
        unix: UnixTime,
    ) -> Result<ContactId, AddError> {
        if card.network != self.config.network {
            return Err(AddError::WrongNetwork);
        }
        if card.identity == self.identity.public() {
            return Err(AddError::OwnCard);
        }
        if !valid_name(name) {
            return Err(AddError::BadName);
        }
        let id = card.contact();
        let known = self.contacts.get(&id);
        if known.is_some_and(|c| c.is_confirmed() || c.card == card.digest()) {
            return Err(AddError::AlreadyAdded);
        }
        if card.expires <= unix {
            return Err(AddError::Expired);
        }
        if known.is_none() && self.contacts.len() >= self.config.contacts_max {
            return Err(AddError::TooManyContacts);
        }
        self.say_hello(card, name);
        self.advance(now, unix);
        Ok(id)
    }

    fn say_hello(&mut self, card: &Card, name: &str) {
        let inner = Inner::Hello {
            card: card.digest(),
            kem: self.identity.kem_public().clone(),
            name: name.to_owned(),
        };
        let sealed = suite1::seal(
            &self.config.network,
            &self.identity,
            &card.identity,
            &card.kem,
            &inner.encode(),
            &mut self.keys,
        );
        let Ok(sealed) = sealed else {
            unreachable!("a Hello with a name of NAME_MAX bytes fits two cells");
        };
        let own = self.identity.public();
        let secret = PairSecret::new(&sealed.export, &card.network, &own, &card.identity);
        let parcels = sealed
            .cells
            .into_iter()
            .map(|cell| Parcel::new(CellId(self.keys.bytes()), cell))
            .collect();
        let id = card.contact();
        let is_new = !self.contacts.contains_key(&id);
        let contact = self
            .contacts
            .entry(id)
            .or_insert_with(|| Contact::new(card.identity, card.kem.clone(), card.name.clone()));
        if let Some(mut old) = contact.hello.take() {
            for parcel in &mut old.parcels {
                self.dispatch.withdraw(&mut parcel.way);
            }
        }
        contact.kem = card.kem.clone();
        contact.card = card.digest();
        contact.lost = false;
        contact.paths = Default::default();
        contact.add_pair(secret, false);
        contact.hello = Some(Hello {
            invites: card.invites.clone(),
            expires: card.expires,
            parcels,
            path: Path::default(),
            holds_texts: true,
        });
        self.stale = true;
        self.write_contact(&id);
        if is_new {
            self.events.push_back(Event::ContactAdded {
                contact: id,
                name: card.name.clone(),
                verified: false,
                by_invite: false,
            });
        }
    }

    /// Two gateways at random: not our entry, and of different families where there are such.
    fn invite_gateways(&mut self) -> Result<[NodeId; 2], CardError> {
        let view = self.view.as_ref().ok_or(CardError::NoDirectory)?;
        let mut draw = || u64::from_be_bytes(self.keys.bytes());
        let all: Vec<_> = view
            .directory
            .gateways()
            .iter()
            .map(|g| (g.id(), g.family))
            .filter(|(id, _)| view.usable(id) && !view.failing.contains(id))
            .collect();
        let first = pick(draw(), all.len()).ok_or(CardError::TooFewGateways)?;
        let (first, family) = all[first];
        let mut others: Vec<_> = all.iter().filter(|(_, f)| *f != family).collect();
        if others.is_empty() {
            others = all.iter().filter(|(id, _)| *id != first).collect();
        }
        let second = pick(draw(), others.len()).ok_or(CardError::TooFewGateways)?;
        Ok([first, others[second].0])
    }

    /// Unused cards end a little after they say so, because a Hello may be on its way.
    pub(super) fn expire_invites(&mut self, unix: UnixTime) {
        let grace = self.config.close_grace;
        let over = |i: &Invite| i.expires.saturating_add(grace) <= unix;
        let expired: Vec<[u8; 16]> = self
            .invites
            .iter()
            .filter(|(_, invite)| over(invite))
            .map(|(digest, _)| *digest)
            .collect();
        for card in expired {
            self.drop_invite(&card);
            self.events.push_back(Event::InviteExpired { card });
        }
    }

    /// Forgets an invite and closes its inboxes at once.
    pub(super) fn drop_invite(&mut self, card: &[u8; 16]) {
        if let Some(invite) = self.invites.remove(card) {
            self.erase(Table::Invite, card.to_vec());
            for address in &invite.addresses {
                self.close_inbox(&address.inbox);
            }
        }
    }
}
