//! Carries away what machines say, in the order of every driver: events, transmits, next deadline.

use super::{Actor, Engine, Event, Fate, Passing};
use crate::clock::START;
use crate::trace::{Kind, TraceEvent};
use directory::{AuthorityEvent, Network, vote};
use mizzle_core::client::ClientEvent;
use mizzle_core::gateway::GatewayEvent;
use mizzle_core::hop::{KeepOrder, Kept};
use mizzle_core::mix::MixEvent;
use mizzle_core::{Peer, Transmit};
use sphinx::PacketFormat;
use std::time::Duration;
use wire::frame::Frame;
use wire::time::UnixTime;

impl<F: PacketFormat> Engine<F> {
    /// Carries away what a machine says, and arms its next deadline.
    pub(super) fn drive(&mut self, actor: Actor) {
        let now = self.clock.now();
        let due = match actor {
            Actor::Authority => {
                self.drive_authority();
                let due = self.authority.sut.poll_timeout();
                let due = due.map(|(unix, _)| self.clock.anchor().instant_at(unix));
                self.authority.alarm.arm(due, now)
            }
            Actor::Mix(i) => {
                self.drive_mix(i);
                while let Some(transmit) = self.mixes[i].sut.poll_transmit() {
                    self.send(actor, transmit);
                }
                let mix = &mut self.mixes[i];
                mix.alarm.arm(mix.sut.poll_timeout(now).map(|t| t.0), now)
            }
            Actor::Gateway(i) => {
                self.drive_gateway(i);
                let gateway = &mut self.gateways[i];
                let due = gateway.sut.as_ref().and_then(|s| s.poll_timeout(now));
                gateway.alarm.arm(due.map(|t| t.0), now)
            }
            Actor::Client(i) => {
                self.drive_client(i);
                let client = &mut self.clients[i];
                let due = client.sut.poll_timeout().map(|t| t.0);
                client.alarm.arm(due, now)
            }
        };
        if let Some(at) = due {
            self.queue.push(at, actor, Event::Wake);
        }
    }

    fn drive_mix(&mut self, i: usize) {
        let now = self.clock.now();
        let mix = &mut self.mixes[i];
        while let Some(event) = mix.sut.poll_event() {
            match event {
                MixEvent::Keep(order) => {
                    if let Some(kept) = kept_at_once(&order) {
                        mix.sut.handle_kept(kept);
                    }
                }
                // One authority and honest mixes: nobody is to be marked.
                MixEvent::Report(_) => {}
                MixEvent::PublishKeys(keys) => {
                    let network = self.authority.network.id();
                    for after in uploads(&self.authority.network, self.clock.unix()) {
                        let unix = self.clock.unix().saturating_add(after);
                        let signed = mix.identity.descriptor(keys.clone(), unix, network);
                        let upload = Event::Descriptor {
                            incarnation: 0,
                            signed: Box::new(signed),
                        };
                        self.queue.push(now + after, Actor::Authority, upload);
                    }
                }
            }
        }
    }

    fn drive_authority(&mut self) {
        let unix = self.clock.unix();
        while let Some(event) = self.authority.sut.poll_event() {
            match event {
                AuthorityEvent::Persist(..) => self.authority.sut.handle_persisted(unix),
                AuthorityEvent::Published(epoch, _) => {
                    for actor in self.nodes() {
                        self.fetch_directory(actor, epoch);
                    }
                }
                // Alone, it has nobody to miss.
                AuthorityEvent::Missing(..)
                | AuthorityEvent::Withheld(..)
                | AuthorityEvent::Equivocated(..)
                | AuthorityEvent::SignedTwice(..)
                | AuthorityEvent::Blocked(..)
                | AuthorityEvent::TooFewNodes { .. }
                | AuthorityEvent::Failed { .. } => {}
            }
        }
    }

    fn drive_gateway(&mut self, i: usize) {
        let now = self.clock.now();
        let done = now + self.scenario.store_latency;
        loop {
            let gateway = &mut self.gateways[i];
            let incarnation = gateway.incarnation;
            let Some(event) = gateway.sut.as_mut().and_then(|sut| sut.poll_event()) else {
                break;
            };
            match event {
                GatewayEvent::Keep(order) => {
                    if let (Some(kept), Some(sut)) = (kept_at_once(&order), &mut gateway.sut) {
                        sut.handle_kept(kept, now);
                    }
                }
                GatewayEvent::Report(_) => {}
                GatewayEvent::PublishKeys(keys) => {
                    let network = self.authority.network.id();
                    for after in uploads(&self.authority.network, self.clock.unix()) {
                        let unix = self.clock.unix().saturating_add(after);
                        let signed = gateway.identity.descriptor(keys.clone(), unix, network);
                        let upload = Event::Descriptor {
                            incarnation,
                            signed: Box::new(signed),
                        };
                        self.queue.push(now + after, Actor::Authority, upload);
                    }
                }
                GatewayEvent::Store { ticket, op } => {
                    let stored = Event::Stored {
                        incarnation,
                        ticket,
                        op: Box::new(op),
                    };
                    self.queue.push(done, Actor::Gateway(i), stored);
                }
                GatewayEvent::Read {
                    ticket,
                    key,
                    sequence,
                } => {
                    let read = Event::Read {
                        incarnation,
                        ticket,
                        key,
                        sequence,
                    };
                    self.queue.push(done, Actor::Gateway(i), read);
                }
                GatewayEvent::Expire(before) => gateway.store.expire(before),
            }
        }
        while let Some(transmit) = self.gateways[i]
            .sut
            .as_mut()
            .and_then(|s| s.poll_transmit())
        {
            self.send(Actor::Gateway(i), transmit);
        }
    }

    fn drive_client(&mut self, i: usize) {
        let now = self.clock.now();
        while let Some(event) = self.clients[i].sut.poll_event() {
            let client = &mut self.clients[i];
            client.told.record(&event, now);
            if let Some(mail) = &mut client.mail {
                mail.push(event);
            } else if let ClientEvent::Cell(inbox, cell, _) = event {
                client.sut.handle_acknowledge(inbox, cell);
                if self.scenario.faults.ack_off_clock {
                    self.send_off_clock(i);
                }
            }
            self.note(Actor::Client(i), Kind::Told, 0);
        }
        while let Some(transmit) = self.clients[i].sut.poll_transmit() {
            self.send(Actor::Client(i), transmit);
        }
    }

    pub(super) fn send(&mut self, from: Actor, transmit: Transmit) {
        let to = match &transmit.to {
            Peer::Node(id) => self.by_id.get(id),
            Peer::Session(session) => self.by_session.get(session),
        };
        let Some(to) = to.copied() else { return };
        let faults = self.scenario.faults;
        let mut departs = transmit.at.max(self.clock.now());
        if let Actor::Client(i) = from
            && faults
                .late_when_busy
                .is_some_and(|after| departs >= START + after)
            && self.clients[i].sut.outbox_len() != (0, 0)
        {
            departs += Duration::from_micros(1);
        }
        if faults.no_dummies && transmit.frame == Frame::Dummy {
            return;
        }
        let number = match &transmit.frame {
            Frame::Packet(_, packet) => self.observer.number(packet, from, departs),
            Frame::Dummy | Frame::Hello(_) | Frame::DirectoryPart(_) => 0,
        };
        if number != 0 {
            let passing = Passing {
                at: departs,
                from,
                to,
                echo: number,
            };
            match self.fate(&passing) {
                Fate::Pass => {}
                Fate::Drop => {
                    self.lost += 1;
                    return self.note(from, Kind::Lost, number);
                }
                Fate::Hold(time) => departs += time,
            }
        }
        self.observer.sent(departs, from, to);
        self.count_hop(from, number);
        self.trace.record(TraceEvent {
            at: departs,
            actor: from,
            kind: Kind::Sent,
            number,
        });
        let may_be_lost = matches!(transmit.frame, Frame::Packet(..));
        let Some(arrives) = self.links.carry((from, to), departs, may_be_lost) else {
            self.lost += 1;
            return self.note(from, Kind::Lost, number);
        };
        let frame = transmit.frame;
        let arrive = Event::Arrive {
            from,
            frame,
            number,
        };
        self.queue.push(arrives, to, arrive);
    }
}

/// After its keys have changed a node hands in its descriptor at once, and again where real ones first
/// say before a vote that they live; those do so all the time.
fn uploads(network: &Network, unix: UnixTime) -> [Duration; 2] {
    let sign = vote::next_sign(network, unix, |_, _| 0.5);
    [Duration::ZERO, sign.saturating_since(unix)]
}

/// The disk of a simulated node takes no time and never fails; nor does it keep a key over a
/// restart, so that a restarted node draws new ones.
fn kept_at_once(order: &KeepOrder) -> Option<Kept> {
    match order {
        KeepOrder::Tags(batch) => Some(Kept::Durable {
            ticket: batch.ticket,
        }),
        KeepOrder::Key(_) | KeepOrder::Forget(_) => None,
    }
}
