//! A network of three mixes, one in each layer, and three gateways, made of real keys: packets for
//! it can be built and taken apart by hand.

use directory::testing::{directory_on, node_secret};
use directory::{Directory, EpochSchedule, Parameters, Rate, SphinxKey};
use mizzle_core::gateway::{DirectoryDocument, Gateway, GatewayConfig, GatewayEvent};
use mizzle_core::hop::{Arrival, HopConfig, KeepOrder, Kept, KeyFor, Source};
use mizzle_core::mix::{Mix, MixEvent};
use mizzle_core::{Peer, Transmit};
use sphinx::{DiscardReason, Hop, PacketFormat, Sphinx, SphinxRecovery, SphinxSecret, Unwrapped};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{Epoch, NextHop, NodeId, SessionAddress, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Envelope, Plaintext, Reply, Request};
use wire::rng::{KeyRng, TrafficRng};
use wire::time::{Instant, UnixTime, WallAnchor};

pub(crate) const SEED: u64 = 5;
pub(crate) const EPOCH: Epoch = Epoch(10);
/// A moment well inside [`EPOCH`].
pub(crate) const NOW: Instant = Instant::from_nanos(10_000_000_000_000);
/// Nodes 0, 1, 2 are mixes of layers 0, 1, 2; 3, 4, 5 are gateways.
pub(crate) const GATEWAY: usize = 3;
const NODES: usize = 6;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn schedule() -> EpochSchedule {
    EpochSchedule {
        genesis: UnixTime(1_767_225_600_000),
        length: secs(600),
    }
}

/// [`NOW`] is 200 s after the start of [`EPOCH`].
pub(crate) fn anchor() -> WallAnchor {
    WallAnchor {
        instant: NOW,
        unix: schedule().start(EPOCH).saturating_add(secs(200)),
    }
}

/// When an epoch starts.
pub(crate) fn start(epoch: Epoch) -> Instant {
    anchor().instant_at(schedule().start(epoch))
}

pub(crate) fn parameters() -> Parameters {
    Parameters {
        // One loop in a quarter of an hour: nothing comes between.
        mix_loop_rate: Rate(1),
        puzzle_difficulty: 4,
        inbox_quota: 3,
        cell_ttl: secs(60),
        inbox_ttl_max: secs(200),
        ..Parameters::localnet()
    }
}

pub(crate) fn id(node: usize) -> NodeId {
    NodeId::of(&node_secret(SEED, node).public())
}

pub(crate) fn keys(n: u8) -> KeyRng {
    KeyRng::from_seed([n; 32])
}

pub(crate) fn traffic(n: u8) -> TrafficRng {
    TrafficRng::from_seed([n; 32])
}

/// A directory of `epoch` whose keys `key` gives.
pub(crate) fn directory(
    epoch: Epoch,
    parameters: Parameters,
    key: impl FnMut(usize, Epoch) -> SphinxPublic,
) -> Arc<Directory> {
    Arc::new(directory_on(schedule(), SEED, (1, 3), epoch, parameters, key).0)
}

pub(crate) fn document(directory: &Arc<Directory>) -> DirectoryDocument {
    DirectoryDocument {
        directory: directory.clone(),
        bytes: directory.encode_body().into(),
    }
}

/// All machines of the network's nodes, with their directory.
pub(crate) struct World {
    pub(crate) mixes: Vec<Mix<Sphinx>>,
    pub(crate) gateways: Vec<Gateway<Sphinx>>,
    /// What gateway 0 said while a packet was given to it.
    pub(crate) told: Vec<GatewayEvent>,
    pub(crate) directory: Arc<Directory>,
    public: BTreeMap<(usize, Epoch), SphinxPublic>,
    rng: KeyRng,
    surbs: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    /// A world whose nodes have other limits.
    pub(crate) fn with(hop: impl Fn(&mut HopConfig), gate: impl Fn(&mut GatewayConfig)) -> Self {
        let mut public = BTreeMap::new();
        let config = |node| {
            let mut config = HopConfig::new(id(node), schedule());
            hop(&mut config);
            config
        };
        let mut mixes = Vec::new();
        for node in 0..GATEWAY {
            let (traffic, keys) = (traffic(node as u8), keys(node as u8));
            let kept = Vec::new();
            let mut mix = Mix::<Sphinx>::new(config(node), kept, anchor(), traffic, keys, NOW);
            let published = settle(&mut mix);
            assert_eq!(published.len(), 3, "a new mix publishes its keys");
            public.extend(published.iter().map(|k| ((node, k.epoch), k.key)));
            mixes.push(mix);
        }
        let mut gateways = Vec::new();
        for node in GATEWAY..NODES {
            let (traffic, keys) = (traffic(node as u8), keys(node as u8));
            let mut config = GatewayConfig::new(config(node));
            gate(&mut config);
            let (kept, stored) = (Vec::new(), Vec::new());
            let mut gateway =
                Gateway::<Sphinx>::new(config, kept, stored, anchor(), traffic, keys, NOW);
            let events = settle_gateway(&mut gateway, NOW);
            let [GatewayEvent::PublishKeys(published)] = &events[..] else {
                panic!("a new gateway publishes its keys")
            };
            public.extend(published.iter().map(|k| ((node, k.epoch), k.key)));
            gateways.push(gateway);
        }
        let directory = directory(EPOCH, parameters(), |n, e| public[&(n, e)]);
        let mut world = Self {
            mixes,
            gateways,
            told: Vec::new(),
            directory,
            public,
            rng: keys(200),
            surbs: 0,
        };
        let directory = world.directory.clone();
        world.learn(&directory);
        world
    }

    /// Every node has this directory now.
    pub(crate) fn learn(&mut self, directory: &Arc<Directory>) {
        for mix in &mut self.mixes {
            mix.handle_directory(directory.clone(), anchor(), NOW);
        }
        for gateway in &mut self.gateways {
            gateway.handle_directory(document(directory), anchor(), NOW);
        }
    }

    /// A directory of the same nodes for the next epoch.
    pub(crate) fn next_directory(&self) -> Arc<Directory> {
        let key = |n, e: Epoch| {
            let known = self.public.get(&(n, e)).copied();
            known.unwrap_or_else(|| directory::testing::nobodys_key(n, e))
        };
        directory(EPOCH.next(), parameters(), key)
    }

    pub(crate) fn hop(&self, node: usize, epoch: Epoch, delay: Duration) -> Hop {
        Hop {
            address: NextHop::Node {
                id: id(node),
                epoch: epoch.hint(),
            },
            key: self.public[&(node, epoch)],
            delay,
        }
    }

    /// A packet that passes `node` for `next`; behind that is nobody.
    pub(crate) fn passing(&mut self, node: usize, next: NextHop, delay: Duration) -> PacketBytes {
        self.passing_in(EPOCH, node, next, delay)
    }

    pub(crate) fn passing_in(
        &mut self,
        epoch: Epoch,
        node: usize,
        next: NextHop,
        delay: Duration,
    ) -> PacketBytes {
        let first = self.hop(node, epoch, delay);
        let last = Hop {
            address: next,
            key: self.public[&(1, EPOCH)],
            delay: Duration::ZERO,
        };
        Sphinx::build(&[first, last], &plain(), &mut self.rng).unwrap()
    }

    /// A packet whose last hop is `node`.
    pub(crate) fn for_node(&mut self, node: usize, plaintext: &Plaintext) -> PacketBytes {
        let route = [self.hop(node, EPOCH, Duration::ZERO)];
        Sphinx::build(&route, plaintext, &mut self.rng).unwrap()
    }

    /// A reply packet whose last hop is `node`, by a reply block that it never made.
    pub(crate) fn stray_reply(&mut self, node: usize) -> PacketBytes {
        let route = [self.hop(node, EPOCH, Duration::ZERO)];
        let (surb, _) = Sphinx::build_surb(&route, SurbId([9; 16]), &mut self.rng).unwrap();
        Sphinx::use_surb(&surb, &plain()).unwrap().1
    }

    /// A request by a client to a gateway, whose reply goes over the mix of layer 0, and what reads
    /// that reply.
    pub(crate) fn request(&mut self, request: Request, reply_delay: Duration) -> Asked {
        self.surbs += 1;
        let mut surb_id = [1; 16];
        surb_id[1..9].copy_from_slice(&self.surbs.to_be_bytes());
        let secret = Sphinx::generate(&mut self.rng);
        let client = Hop {
            address: NextHop::Session(SessionAddress::from_random([3; 32])),
            key: Sphinx::public(&secret),
            delay: Duration::ZERO,
        };
        let back = [self.hop(0, EPOCH, Duration::ZERO), client];
        let (surb, recovery) = Sphinx::build_surb(&back, SurbId(surb_id), &mut self.rng).unwrap();
        let envelope = Envelope {
            surb,
            reply_delay,
            request,
        };
        Asked {
            plaintext: envelope.encode(),
            secret,
            recovery,
        }
    }

    /// The answer in a reply that gateway 0 sent to the mix of layer 0.
    pub(crate) fn open(&mut self, asked: &Asked, transmit: &Transmit) -> Option<Reply> {
        assert!(transmit.to == Peer::Node(id(0)));
        let Frame::Packet(hint, packet) = &transmit.frame else {
            panic!("a reply is a packet")
        };
        let Some(key) = self.mixes[0].key_for(*hint, NOW) else {
            panic!("the mix has the key that the packet is for")
        };
        let Ok(Unwrapped::Forward { packet, .. }) = Sphinx::unwrap(&key.secret, packet) else {
            panic!("the mix passes it on")
        };
        let Ok(Unwrapped::Reply { payload, .. }) = Sphinx::unwrap(&asked.secret, &packet) else {
            return None;
        };
        let plaintext = Sphinx::open_reply(&asked.recovery, payload).ok()?;
        Some(Reply::decode(&plaintext).unwrap())
    }

    pub(crate) fn gateway(&mut self) -> &mut Gateway<Sphinx> {
        &mut self.gateways[0]
    }

    /// A packet comes to node 0, 1 or 2.
    pub(crate) fn give_mix(&mut self, node: usize, packet: &PacketBytes, now: Instant) {
        let mix = &mut self.mixes[node];
        if let Some(key) = mix.key_for(EPOCH.hint(), now) {
            let arrival = arrival(&key, packet, Source::Node, now);
            mix.handle_unwrapped(arrival, now);
            settle(mix);
        }
    }

    /// A packet comes to gateway 0.
    pub(crate) fn give_gateway(&mut self, packet: &PacketBytes, source: Source, now: Instant) {
        let gateway = &mut self.gateways[0];
        if let Some(key) = gateway.key_for(EPOCH.hint(), now) {
            let arrival = arrival(&key, packet, source, now);
            gateway.handle_unwrapped(arrival, now);
            self.told.extend(settle_gateway(gateway, now));
        }
    }

    pub(crate) fn mix_discards(&self, node: usize, reason: DiscardReason) -> u64 {
        self.mixes[node].hop().counters().discards.of(reason)
    }

    pub(crate) fn gateway_discards(&self, reason: DiscardReason) -> u64 {
        self.gateways[0].hop().counters().discards.of(reason)
    }
}

/// A disk for keys and tags that takes no time.
pub(crate) fn kept_at_once(order: &KeepOrder) -> Option<Kept> {
    match order {
        KeepOrder::Tags(batch) => Some(Kept::Durable {
            ticket: batch.ticket,
        }),
        KeepOrder::Key(_) | KeepOrder::Forget(_) => None,
    }
}

/// Keeps what a mix wants kept; the keys that it published.
pub(crate) fn settle(mix: &mut Mix<Sphinx>) -> Vec<SphinxKey> {
    let mut published = Vec::new();
    while let Some(event) = mix.poll_event() {
        match event {
            MixEvent::Keep(order) => kept_at_once(&order)
                .into_iter()
                .for_each(|k| mix.handle_kept(k)),
            MixEvent::PublishKeys(keys) => published = keys,
            MixEvent::Report(_) => {}
        }
    }
    published
}

/// Keeps what a gateway wants kept; everything else that it said.
pub(crate) fn settle_gateway(gateway: &mut Gateway<Sphinx>, now: Instant) -> Vec<GatewayEvent> {
    let mut told = Vec::new();
    while let Some(event) = gateway.poll_event() {
        match event {
            GatewayEvent::Keep(order) => {
                let kept = kept_at_once(&order);
                kept.into_iter().for_each(|k| gateway.handle_kept(k, now));
            }
            other @ (GatewayEvent::PublishKeys(_)
            | GatewayEvent::Report(_)
            | GatewayEvent::Store { .. }
            | GatewayEvent::Read { .. }
            | GatewayEvent::Expire(_)) => told.push(other),
        }
    }
    told
}

/// A request on its way, and what reads its reply.
pub(crate) struct Asked {
    pub(crate) plaintext: Plaintext,
    pub(crate) secret: SphinxSecret,
    pub(crate) recovery: SphinxRecovery,
}

/// What a daemon's unwrapping threads hand back.
pub(crate) fn arrival(
    key: &KeyFor<Sphinx>,
    packet: &PacketBytes,
    source: Source,
    now: Instant,
) -> Arrival {
    Arrival {
        unwrapped: key.unwrap(packet.clone()),
        epoch: key.epoch,
        received_at: now,
        source,
    }
}

/// A plaintext that says nothing.
pub(crate) fn plain() -> Plaintext {
    Box::new([0; wire::geometry::PLAINTEXT_LEN])
}

pub(crate) fn node(node: usize) -> NextHop {
    NextHop::Node {
        id: id(node),
        epoch: EPOCH.hint(),
    }
}
