//! What people and faults do to a network.

use super::build::{start_client, start_gateway};
use super::{Actor, Engine, Event};
use crate::scenario::Secret;
use mizzle_core::client::{
    Client, ClientEvent, DepositOrder, FetchClass, Flow, FlowClass, OpenOrder,
};
use mizzle_core::{Peer, Transmit};
use sphinx::PacketFormat;
use wire::frame::{Frame, boxed};
use wire::geometry::{CELL_LEN, PACKET_LEN};
use wire::ids::{CellId, InboxAddress, InboxId, WriteToken};
use wire::keys::IdentitySecret;
use wire::time::Instant;

impl<F: PacketFormat> Engine<F> {
    /// Does something to a client, as its owner would, and carries away what comes of it.
    pub fn with_client<R>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut Client<F>, Instant) -> R,
    ) -> R {
        let now = self.now();
        let result = act(&mut self.clients[client].sut, now);
        self.drive(Actor::Client(client));
        result
    }

    /// From now on a client's owner is whoever calls this: it gets all events, and acknowledges.
    pub fn take_mail(&mut self, client: usize) -> Vec<ClientEvent> {
        let mail = self.clients[client].mail.get_or_insert_default();
        std::mem::take(mail)
    }

    /// A client opens a fresh inbox. The address may be given to others at once.
    pub fn open(&mut self, client: usize, gateway: usize) -> InboxAddress {
        self.open_as(client, gateway, FetchClass::Contact)
    }

    /// The same, to be asked as often as `class` says.
    pub fn open_as(&mut self, client: usize, gateway: usize, class: FetchClass) -> InboxAddress {
        self.next_thing += 1;
        let thing = self.next_thing;
        let derive = |what| self.scenario.derive(what, thing);
        let token = WriteToken(derive(Secret::Token));
        let address = InboxAddress {
            gateway: self.gateways[gateway].identity.id(),
            inbox: InboxId(derive(Secret::Inbox)),
            token: token.clone(),
        };
        let order = OpenOrder {
            gateway: address.gateway,
            inbox: address.inbox,
            reader: IdentitySecret::from_seed(&derive(Secret::Reader)),
            token_hash: token.hash(),
            ttl_secs: 86_400,
            class,
        };
        let taken = self.with_client(client, |sut, now| sut.handle_open(order, now));
        assert!(taken, "a client has room for the inboxes of a scenario");
        address
    }

    /// A client's owner has a cell for somebody. Gives the cell's name, and the deposit's.
    pub fn deposit(&mut self, client: usize, to: &InboxAddress) -> (CellId, u64) {
        let class = FlowClass::Chat;
        self.deposit_as(client, to, Flow { class, peer: 0 })
    }

    /// The same, in a flow.
    pub fn deposit_as(&mut self, client: usize, to: &InboxAddress, flow: Flow) -> (CellId, u64) {
        self.next_thing += 1;
        let handle = self.next_thing;
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            self.scenario.derive(Secret::Cell, handle);
        let order = DepositOrder {
            handle,
            address: to.clone(),
            cell_id: CellId(id),
            cell: Box::new([handle as u8; CELL_LEN]),
            flow,
        };
        if self.scenario.faults.send_on_type {
            self.send_off_clock(client);
        }
        let taken = self.with_client(client, |sut, now| sut.handle_deposit(order, now));
        assert!(taken, "a client has room for the cells of a scenario");
        (CellId(id), handle)
    }

    /// A fault: a client sends a packet at once, and not on a tick.
    pub(super) fn send_off_clock(&mut self, client: usize) {
        let noise = Transmit {
            to: Peer::Node(self.clients[client].sut.entry()),
            at: self.now(),
            frame: Frame::Packet(Default::default(), boxed(vec![0; PACKET_LEN])),
        };
        self.send(Actor::Client(client), noise);
    }

    /// What a node says to the authority is lost from now on, or no longer. A directory that is voted on
    /// meanwhile leaves it out, and it goes on working for whoever still sends to it.
    pub fn silence(&mut self, node: Actor, silent: bool) {
        if silent {
            self.silent.insert(node);
        } else {
            self.silent.remove(&node);
        }
    }

    /// A gateway's process dies this moment. What its disk has done stays; the rest is gone.
    pub fn kill(&mut self, gateway: usize) {
        let (now, node) = (self.now(), &mut self.gateways[gateway]);
        if let Some(sut) = node.sut.take() {
            node.discarded_before += sut.hop().counters().discards.total();
        }
        for i in 0..self.clients.len() {
            if self.clients[i].entry == gateway {
                self.clients[i].sut.handle_disconnected(now);
                self.queue
                    .push(now + super::RECONNECT, Actor::Client(i), Event::Connect);
            }
        }
    }

    /// A client's process ends and starts again, with another address at the same entry gateway. What its owner
    /// does not tell the new one, that one does not know.
    pub fn restart_client(&mut self, client: usize) {
        let node = &mut self.clients[client];
        node.incarnation += 1;
        start_client(&self.scenario, &self.clock, client, node);
        let (session, actor) = (node.sut.session().clone(), Actor::Client(client));
        self.by_session.retain(|_, whose| *whose != actor);
        self.by_session.insert(session, actor);
        self.queue
            .push(self.clock.now() + super::RECONNECT, actor, Event::Connect);
        self.drive(actor);
    }

    /// A dead gateway's process starts again, with fresh keys, from what its disk holds.
    pub fn restart(&mut self, gateway: usize) {
        let node = &mut self.gateways[gateway];
        node.incarnation += 1;
        start_gateway(&self.scenario, &self.clock, gateway, node);
        let actor = Actor::Gateway(gateway);
        let epoch = self.clock.schedule().epoch_at(self.clock.unix());
        for epoch in [epoch, epoch.next()] {
            self.fetch_directory(actor, epoch);
        }
        self.drive(actor);
    }
}
