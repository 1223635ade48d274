//! Building a network as a scenario asks for it. Nobody has a directory at first: the authority
//! makes one of the descriptors that the nodes upload.

use super::{Actor, Engine, Event, FETCH_DELAY};
use crate::clock::{EventQueue, VirtualClock};
use crate::network::Links;
use crate::node::{
    Alarm, Identity, MemoryStore, SimAuthority, SimClient, SimGateway, SimMix, Told,
};
use crate::observer::Observer;
use crate::scenario::{Scenario, Secret};
use crate::trace::Trace;
use directory::{
    Authority, AuthorityConfig, DirectoryAssembler, LAYERS, Network, NetworkAuthority, Role,
    SignedDirectory,
};
use mizzle_core::client::{Client, ClientConfig, ClientSeeds};
use mizzle_core::gateway::inboxes::InboxHashKey;
use mizzle_core::gateway::{DirectoryDocument, Gateway, GatewayConfig};
use mizzle_core::hop::HopConfig;
use mizzle_core::mix::Mix;
use sphinx::PacketFormat;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use wire::ids::{Epoch, NetworkId, NodeId, SessionAddress};
use wire::keys::IdentitySecret;
use wire::rng::{KeyRng, TrafficRng};

/// The first directory comes a fraction of a second after the start.
const RECOVERY_ROUND: Duration = Duration::from_millis(50);
/// Clients try to connect from then on.
const CONNECT_AFTER: Duration = Duration::from_secs(1);

impl<F: PacketFormat> Engine<F> {
    /// A network at its first moment.
    pub fn new(scenario: Scenario) -> Self {
        let clock = VirtualClock::new(scenario.epoch_length);
        let mixes = build_mixes(&scenario, &clock);
        let gateways: Vec<_> = (0..scenario.gateways)
            .map(|i| build_gateway(&scenario, &clock, i))
            .collect();
        let clients = build_clients(&scenario, &clock, &gateways);
        let mixes_by_id = mixes.iter().enumerate();
        let mixes_by_id = mixes_by_id.map(|(i, m)| (m.identity.id(), Actor::Mix(i)));
        let gateways_by_id = gateways.iter().enumerate();
        let gateways_by_id = gateways_by_id.map(|(i, g)| (g.identity.id(), Actor::Gateway(i)));
        let by_session = clients.iter().enumerate();
        let by_session = by_session.map(|(i, c)| (c.sut.session().clone(), Actor::Client(i)));
        let links = TrafficRng::from_seed(scenario.derive(Secret::Links, 0));
        let mut engine = Self {
            by_id: mixes_by_id.chain(gateways_by_id).collect(),
            by_session: by_session.collect(),
            authority: build_authority(&scenario, &clock, &mixes, &gateways),
            links: Links::new(scenario.link, links),
            observer: Observer::default(),
            trace: Trace::new(scenario.keep_trace),
            queue: EventQueue::default(),
            tamper: None,
            amend: None,
            silent: BTreeSet::new(),
            next_thing: 0,
            lost: 0,
            hops: 0,
            scenario,
            clock,
            mixes,
            gateways,
            clients,
        };
        for actor in engine.nodes() {
            engine.drive(actor);
        }
        for i in 0..engine.clients.len() {
            let at = engine.now() + CONNECT_AFTER + Duration::from_millis(i as u64);
            engine.queue.push(at, Actor::Client(i), Event::Connect);
        }
        engine.drive(Actor::Authority);
        engine
    }

    pub(super) fn nodes(&self) -> Vec<Actor> {
        let mixes = (0..self.mixes.len()).map(Actor::Mix);
        mixes
            .chain((0..self.gateways.len()).map(Actor::Gateway))
            .collect()
    }

    /// A node asks the authority for a directory, and has it a little later.
    pub(super) fn fetch_directory(&mut self, actor: Actor, epoch: Epoch) {
        let Some((_, bytes)) = self.authority.sut.directory(epoch) else {
            return;
        };
        let mut signed = SignedDirectory::decode(bytes).expect("an authority's own document");
        let mut directory = signed.verify(&self.authority.network);
        if let (Some(amend), Ok(own)) = (&self.amend, &directory)
            && let Some(other) = amend(actor, own)
        {
            let seed = self
                .scenario
                .derive(Secret::Identity, Actor::Authority.number());
            signed = SignedDirectory::sign(&other, 0, &IdentitySecret::from_seed(&seed));
            directory = signed.verify(&self.authority.network);
        }
        let document = DirectoryDocument {
            directory: directory.expect("an authority's own document"),
            bytes: signed.encode().into(),
        };
        let apart = Duration::from_millis(actor.number() & 0x3ff);
        let at = self.now() + FETCH_DELAY + apart;
        self.queue.push(at, actor, Event::Directory(document));
    }
}

/// A number for each process of each machine, so that a restarted one draws anew.
pub(super) fn machine(actor: Actor, incarnation: u64) -> u64 {
    (incarnation << 12) | actor.number()
}

fn randomness(scenario: &Scenario, machine: u64) -> (TrafficRng, KeyRng) {
    (
        TrafficRng::from_seed(scenario.derive(Secret::Traffic, machine)),
        KeyRng::from_seed(scenario.derive(Secret::Keys, machine)),
    )
}

fn identity(scenario: &Scenario, role: Role, actor: Actor, index: usize) -> Identity {
    let seed = scenario.derive(Secret::Identity, actor.number());
    Identity::new(seed, role, index)
}

fn build_mixes<F: PacketFormat>(scenario: &Scenario, clock: &VirtualClock) -> Vec<SimMix<F>> {
    let mix = |i| {
        let actor = Actor::Mix(i);
        let identity = identity(scenario, Role::Mix, actor, i);
        let config = HopConfig::new(identity.id(), clock.schedule());
        let (traffic, keys) = randomness(scenario, machine(actor, 0));
        SimMix {
            sut: Mix::new(
                config,
                Vec::new(),
                clock.anchor(),
                traffic,
                keys,
                clock.now(),
            ),
            identity,
            alarm: Alarm::default(),
        }
    };
    (0..LAYERS * scenario.mixes_per_layer).map(mix).collect()
}

fn build_gateway<F: PacketFormat>(
    scenario: &Scenario,
    clock: &VirtualClock,
    i: usize,
) -> SimGateway<F> {
    let identity = identity(scenario, Role::Gateway, Actor::Gateway(i), i);
    let mut gateway = SimGateway {
        sut: None,
        identity,
        store: MemoryStore::default(),
        incarnation: 0,
        alarm: Alarm::default(),
        discarded_before: 0,
    };
    start_gateway(scenario, clock, i, &mut gateway);
    gateway
}

/// A new process of a gateway, from what its disk holds.
pub(super) fn start_gateway<F: PacketFormat>(
    scenario: &Scenario,
    clock: &VirtualClock,
    i: usize,
    gateway: &mut SimGateway<F>,
) {
    let hop = HopConfig::new(gateway.identity.id(), clock.schedule());
    let mut config = GatewayConfig::new(hop);
    config.inboxes.hash_key = InboxHashKey(scenario.derive(Secret::InboxHash, i as u64));
    let (traffic, keys) = randomness(scenario, machine(Actor::Gateway(i), gateway.incarnation));
    let (index, anchor) = (gateway.store.index(), clock.anchor());
    let now = clock.now();
    gateway.alarm = Alarm::default();
    gateway.sut = Some(Gateway::new(
        config,
        Vec::new(),
        index,
        anchor,
        traffic,
        keys,
        now,
    ));
}

fn build_clients<F: PacketFormat>(
    scenario: &Scenario,
    clock: &VirtualClock,
    gateways: &[SimGateway<F>],
) -> Vec<SimClient<F>> {
    let client = |(i, entry): (usize, &usize)| {
        let id = gateways[*entry].identity.id();
        SimClient {
            sut: new_client(scenario, clock, id, i, 0),
            entry: *entry,
            told: Told::default(),
            mail: None,
            assembler: DirectoryAssembler::new(),
            incarnation: 0,
            alarm: Alarm::default(),
        }
    };
    scenario.entries.iter().enumerate().map(client).collect()
}

fn new_client<F: PacketFormat>(
    scenario: &Scenario,
    clock: &VirtualClock,
    entry: NodeId,
    i: usize,
    incarnation: u64,
) -> Client<F> {
    let machine = machine(Actor::Client(i), incarnation);
    let (traffic, keys) = randomness(scenario, machine);
    // The first process of each has the number of its client alone.
    let session = scenario.derive(Secret::Session, (incarnation << 12) | i as u64);
    let seeds = ClientSeeds {
        traffic,
        keys,
        session: SessionAddress::from_random(session),
    };
    Client::new(
        ClientConfig::new(clock.schedule()),
        entry,
        clock.anchor(),
        seeds,
    )
}

/// A new process of a client, which knows nothing of the one before.
pub(super) fn start_client<F: PacketFormat>(
    scenario: &Scenario,
    clock: &VirtualClock,
    i: usize,
    client: &mut SimClient<F>,
) {
    let entry = client.sut.entry();
    client.sut = new_client(scenario, clock, entry, i, client.incarnation);
    client.assembler = DirectoryAssembler::new();
    client.alarm = Alarm::default();
    if let Some(mail) = &mut client.mail {
        mail.clear();
    }
}

fn build_authority<F: PacketFormat>(
    scenario: &Scenario,
    clock: &VirtualClock,
    mixes: &[SimMix<F>],
    gateways: &[SimGateway<F>],
) -> SimAuthority {
    let seed = scenario.derive(Secret::Identity, Actor::Authority.number());
    let secret = IdentitySecret::from_seed(&seed);
    let authority = NetworkAuthority {
        identity: secret.public(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000)),
    };
    let id = NetworkId(scenario.derive(Secret::Network, 0));
    let network = Network::new(id, clock.schedule(), vec![authority], 1, Vec::new())
        .and_then(|n| n.with_recovery_round(RECOVERY_ROUND))
        .expect("a scenario's epochs have a possible length");
    let keys = KeyRng::from_seed(scenario.derive(Secret::Keys, Actor::Authority.number()));
    let admitted: Vec<_> = mixes
        .iter()
        .map(|m| &m.identity)
        .chain(gateways.iter().map(|g| &g.identity))
        .map(Identity::admitted)
        .collect();
    let config = AuthorityConfig {
        network: network.clone(),
        parameters: scenario.parameters.clone(),
        expected_nodes: admitted.len(),
        admitted,
        grace: scenario.epoch_length / 10,
    };
    SimAuthority {
        sut: Authority::new(config, secret, Vec::new(), keys, clock.unix())
            .expect("a scenario's parameters are possible"),
        network,
        alarm: Alarm::default(),
    }
}
