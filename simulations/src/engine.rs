//! The event loop: takes the next thing that happens, hands it to the machine it happens to, and
//! carries away what the machine says, in the order that every driver keeps: events, transmits,
//! next deadline.
//!
//! Building the network is in `engine/build.rs`, carrying away in `engine/drive.rs`, what a person or a
//! fault does to it in `engine/acts.rs`.

mod acts;
mod build;
mod drive;
mod tamper;

pub use tamper::{Fate, Passing};

use crate::clock::{EventQueue, VirtualClock};
use crate::network::Links;
use crate::node::{SimAuthority, SimClient, SimGateway, SimMix};
use crate::observer::Observer;
use crate::scenario::Scenario;
use crate::trace::{Kind, Trace, TraceEvent};
use directory::{Assembled, SignedDescriptor, SignedDirectory};
use mizzle_core::gateway::DirectoryDocument;
use mizzle_core::hop::{Admitted, Arrival, KeyFor, Source};
use mizzle_core::stored::{InboxKey, StoreOp};
use sphinx::{Discards, PacketFormat, Unwrapped};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{EpochHint, NodeId, SessionAddress};
use wire::time::Instant;

/// A node fetches a directory so long after it was published; each at its own moment.
const FETCH_DELAY: Duration = Duration::from_millis(100);
/// A client that is turned away, or whose gateway is dead, tries again after this.
const RECONNECT: Duration = Duration::from_millis(500);

/// Who something happens to. Ties in time are broken in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Actor {
    /// The authority.
    Authority,
    /// A mix.
    Mix(usize),
    /// A gateway.
    Gateway(usize),
    /// A client.
    Client(usize),
}

impl Actor {
    /// A number of 12 bits, its own for each actor: 1,023 of a kind.
    pub fn number(self) -> u64 {
        let (kind, index) = match self {
            Self::Authority => (0, 0),
            Self::Mix(i) => (1, i),
            Self::Gateway(i) => (2, i),
            Self::Client(i) => (3, i),
        };
        (kind << 10) | (index as u64 & 0x3ff)
    }
}

/// What happens to an actor.
enum Event {
    Wake,
    Connect,
    Arrive {
        from: Actor,
        frame: Frame,
        number: u64,
    },
    Descriptor {
        /// Of the process that said it.
        incarnation: u64,
        signed: Box<SignedDescriptor>,
    },
    Directory(DirectoryDocument),
    Stored {
        incarnation: u64,
        ticket: u64,
        op: Box<StoreOp>,
    },
    Read {
        incarnation: u64,
        ticket: u64,
        key: InboxKey,
        sequence: u64,
    },
}

/// A network in virtual time.
pub struct Engine<F: PacketFormat> {
    scenario: Scenario,
    clock: VirtualClock,
    queue: EventQueue<Event>,
    links: Links,
    authority: SimAuthority,
    mixes: Vec<SimMix<F>>,
    gateways: Vec<SimGateway<F>>,
    clients: Vec<SimClient<F>>,
    by_id: BTreeMap<NodeId, Actor>,
    by_session: BTreeMap<SessionAddress, Actor>,
    observer: Observer,
    trace: Trace,
    tamper: Option<tamper::Tamper>,
    amend: Option<tamper::Amend>,
    /// Nodes that the authority hears nothing of.
    silent: BTreeSet<Actor>,
    next_thing: u64,
    lost: u64,
    hops: u64,
}

impl<F: PacketFormat> Engine<F> {
    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now() + duration);
    }

    /// Lets time pass until `end`, and everything happen that happens at or before it.
    pub fn run_until(&mut self, end: Instant) {
        while let Some((at, actor, event)) = self.queue.pop(end) {
            self.clock.advance_to(at);
            self.happen(actor, event);
        }
        self.clock.advance_to(end);
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What was asked for.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The authority.
    pub fn authority(&self) -> &SimAuthority {
        &self.authority
    }

    /// All mixes.
    pub fn mixes(&self) -> &[SimMix<F>] {
        &self.mixes
    }

    /// All gateways.
    pub fn gateways(&self) -> &[SimGateway<F>] {
        &self.gateways
    }

    /// All clients.
    pub fn clients(&self) -> &[SimClient<F>] {
        &self.clients
    }

    /// What was seen and what is true.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The run's fingerprint.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Packets that were lost on links or sent to dead gateways.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Packets that came to or left a mix or gateway.
    pub fn hop_events(&self) -> u64 {
        self.hops
    }

    /// Packets that died in the machines that run now, by actor.
    pub fn discards(&self) -> impl Iterator<Item = (Actor, &Discards)> {
        let mixes = self.mixes.iter().enumerate();
        let mixes = mixes.map(|(i, m)| (Actor::Mix(i), &m.sut.hop().counters().discards));
        let gateways = self.gateways.iter().enumerate();
        let gateways = gateways.filter_map(|(i, g)| {
            let sut = g.sut.as_ref()?;
            Some((Actor::Gateway(i), &sut.hop().counters().discards))
        });
        let clients = self.clients.iter().enumerate();
        let clients = clients.map(|(i, c)| (Actor::Client(i), &c.sut.counters().discards));
        mixes.chain(gateways).chain(clients)
    }

    fn happen(&mut self, actor: Actor, event: Event) {
        match event {
            // To whom nothing happens has nothing to say: most frames down to a client.
            Event::Arrive {
                frame: Frame::Dummy,
                number,
                ..
            } => return self.note(actor, Kind::Arrived, number),
            Event::Wake if !self.wake(actor) => return,
            Event::Wake => {}
            Event::Connect => self.connect(actor),
            Event::Arrive {
                from,
                frame,
                number,
            } => self.arrive(actor, from, frame, number),
            Event::Descriptor {
                incarnation,
                signed,
            } => {
                let unix = self.clock.unix();
                let of = signed.descriptor.id();
                let said = self.by_id.get(&of).is_none_or(|node| {
                    // A process that ended says nothing more, whatever it had planned to.
                    let lives = match node {
                        Actor::Gateway(i) => {
                            let gateway = &self.gateways[*i];
                            gateway.sut.is_some() && gateway.incarnation == incarnation
                        }
                        Actor::Authority | Actor::Mix(_) | Actor::Client(_) => true,
                    };
                    lives && !self.silent.contains(node)
                });
                if !said {
                    return;
                }
                // A refusal is the node's fault and shows as a directory without its keys.
                let _ = self.authority.sut.handle_descriptor(*signed, unix);
            }
            Event::Directory(document) => self.learn(actor, document),
            Event::Stored {
                incarnation,
                ticket,
                op,
            } => self.stored(actor, incarnation, ticket, *op),
            Event::Read {
                incarnation,
                ticket,
                key,
                sequence,
            } => self.read(actor, incarnation, ticket, key, sequence),
        }
        self.drive(actor);
    }

    /// `number` is that of a packet, or 0.
    fn count_hop(&mut self, actor: Actor, number: u64) {
        if number != 0 && matches!(actor, Actor::Mix(_) | Actor::Gateway(_)) {
            self.hops += 1;
        }
    }

    fn note(&mut self, actor: Actor, kind: Kind, number: u64) {
        self.trace.record(TraceEvent {
            at: self.clock.now(),
            actor,
            kind,
            number,
        });
    }

    /// Says whether it was the wake-up that is waited for.
    fn wake(&mut self, actor: Actor) -> bool {
        let now = self.clock.now();
        let rang = match actor {
            Actor::Authority => {
                let authority = &mut self.authority;
                let label = || authority.sut.poll_timeout().map(|t| t.1);
                let rang = authority.alarm.ring(now, actor, label);
                if rang {
                    authority.sut.handle_timeout(self.clock.unix());
                }
                rang
            }
            Actor::Mix(i) => {
                let mix = &mut self.mixes[i];
                let label = || mix.sut.poll_timeout(now).map(|t| t.1);
                let rang = mix.alarm.ring(now, actor, label);
                if rang {
                    mix.sut.handle_timeout(now);
                }
                rang
            }
            Actor::Gateway(i) => {
                let gateway = &mut self.gateways[i];
                let Some(sut) = &mut gateway.sut else {
                    return false;
                };
                let label = || sut.poll_timeout(now).map(|t| t.1);
                let rang = gateway.alarm.ring(now, actor, label);
                if rang {
                    sut.handle_timeout(now);
                }
                rang
            }
            Actor::Client(i) => {
                let client = &mut self.clients[i];
                let label = || client.sut.poll_timeout().map(|t| t.1);
                let rang = client.alarm.ring(now, actor, label);
                if rang {
                    client.sut.handle_timeout(now);
                }
                rang
            }
        };
        if rang {
            self.note(actor, Kind::Woken, 0);
        }
        rang
    }

    fn connect(&mut self, actor: Actor) {
        let (Actor::Client(i), now) = (actor, self.clock.now()) else {
            return;
        };
        let client = &mut self.clients[i];
        let gateway = &mut self.gateways[client.entry];
        let session = client.sut.session().clone();
        let taken = gateway
            .sut
            .as_mut()
            .is_some_and(|sut| sut.handle_connected(session, now));
        if !taken {
            return self.queue.push(now + RECONNECT, actor, Event::Connect);
        }
        let entry = Actor::Gateway(client.entry);
        client.sut.handle_connected(now);
        self.note(actor, Kind::Connected, 0);
        self.drive(entry);
    }

    fn arrive(&mut self, actor: Actor, from: Actor, frame: Frame, number: u64) {
        self.note(actor, Kind::Arrived, number);
        self.count_hop(actor, number);
        match (actor, frame) {
            (Actor::Mix(i), Frame::Packet(hint, packet)) => {
                let now = self.clock.now();
                let key = self.mixes[i].sut.key_for(hint, now);
                if let Some(arrival) = self.unwrap(actor, from, key, packet, number) {
                    self.mixes[i].sut.handle_unwrapped(arrival, now);
                }
            }
            (Actor::Gateway(i), Frame::Packet(hint, packet)) => {
                self.arrive_at_gateway(i, from, hint, packet, number);
            }
            (Actor::Client(i), Frame::Packet(_, packet)) => {
                let now = self.clock.now();
                self.observer.returned(number, now);
                self.clients[i].sut.handle_packet(&packet, now);
            }
            (Actor::Client(i), Frame::DirectoryPart(part)) => {
                let client = &mut self.clients[i];
                if let Assembled::Complete(signed) = client.assembler.handle_part(part) {
                    self.client_learns(i, &signed);
                }
            }
            (_, Frame::Dummy | Frame::Hello(_) | Frame::DirectoryPart(_)) => {}
            (Actor::Authority, Frame::Packet(..)) => {}
        }
    }

    fn arrive_at_gateway(
        &mut self,
        i: usize,
        from: Actor,
        hint: EpochHint,
        packet: PacketBytes,
        number: u64,
    ) {
        let now = self.clock.now();
        let Some(sut) = &mut self.gateways[i].sut else {
            self.lost += 1;
            return self.note(Actor::Gateway(i), Kind::Lost, number);
        };
        let key = sut.key_for(hint, now);
        let arrival = self.unwrap(Actor::Gateway(i), from, key, packet, number);
        if let (Some(arrival), Some(sut)) = (arrival, &mut self.gateways[i].sut) {
            sut.handle_unwrapped(arrival, now);
        }
    }

    /// What a daemon's pool of threads does.
    fn unwrap(
        &mut self,
        actor: Actor,
        from: Actor,
        key: Option<KeyFor<F>>,
        packet: PacketBytes,
        number: u64,
    ) -> Option<Arrival> {
        let now = self.clock.now();
        let key = key?;
        let unwrapped = key.unwrap(packet);
        match unwrapped.as_ref().map(Admitted::get) {
            Ok(Unwrapped::Reply { .. }) => self.observer.returned(number, now),
            Ok(what) => self.observer.unwrapped(number, actor, what, now),
            Err(_) => self.note(actor, Kind::Discarded, number),
        }
        let source = match from {
            Actor::Client(_) => Source::Client,
            Actor::Authority | Actor::Mix(_) | Actor::Gateway(_) => Source::Node,
        };
        Some(Arrival {
            unwrapped,
            epoch: key.epoch,
            received_at: now,
            source,
        })
    }

    fn learn(&mut self, actor: Actor, document: DirectoryDocument) {
        let (anchor, now) = (self.clock.anchor(), self.clock.now());
        self.note(actor, Kind::Directory, document.directory.epoch.0);
        match actor {
            Actor::Mix(i) => {
                let directory = document.directory;
                self.mixes[i].sut.handle_directory(directory, anchor, now);
            }
            Actor::Gateway(i) => {
                if let Some(sut) = &mut self.gateways[i].sut {
                    sut.handle_directory(document, anchor, now);
                }
            }
            Actor::Authority | Actor::Client(_) => {}
        }
    }

    fn client_learns(&mut self, i: usize, signed: &SignedDirectory) {
        let (anchor, now) = (self.clock.anchor(), self.clock.now());
        let directory = signed.verify(&self.authority.network);
        let directory = directory.and_then(|d| {
            d.check_not_expired(self.clock.unix())?;
            Ok(d)
        });
        if let Ok(directory) = directory {
            self.note(Actor::Client(i), Kind::Directory, directory.epoch.0);
            let client = &mut self.clients[i];
            client.sut.handle_directory(directory, anchor, now);
        }
    }

    fn stored(&mut self, actor: Actor, incarnation: u64, ticket: u64, op: StoreOp) {
        let (Actor::Gateway(i), now) = (actor, self.clock.now()) else {
            return;
        };
        let gateway = &mut self.gateways[i];
        if let Some(sut) = &mut gateway.sut
            && gateway.incarnation == incarnation
        {
            gateway.store.apply(op);
            sut.handle_stored(ticket, true, now);
            self.note(actor, Kind::Stored, ticket);
        }
    }

    fn read(&mut self, actor: Actor, incarnation: u64, ticket: u64, key: InboxKey, sequence: u64) {
        let (Actor::Gateway(i), now) = (actor, self.clock.now()) else {
            return;
        };
        let gateway = &mut self.gateways[i];
        if let Some(sut) = &mut gateway.sut
            && gateway.incarnation == incarnation
        {
            sut.handle_read(ticket, gateway.store.read(&key, sequence), now);
            self.note(actor, Kind::Read, ticket);
        }
    }
}
